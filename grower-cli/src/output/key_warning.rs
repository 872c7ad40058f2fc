//! The warning that a growing topic moves keys; `topic grow` and the demo print it.

/// Warns that keys move when `topic` grows from `before` to `after` partitions.
pub(crate) fn key_warning(topic: &str, before: usize, after: u32) -> String {
    format!(
        "warning: a key of {topic} moves from partition hash(key) % {before} to hash(key) % {after}; the order between its \
         old and new records is lost"
    )
}
