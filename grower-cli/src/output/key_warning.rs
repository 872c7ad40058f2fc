//! The warning that a topic which grows moves keys; `topic grow` and the demo print it.

/// What growing does to records with keys.
pub(crate) fn key_warning(topic: &str, before: usize, after: u32) -> String {
    format!(
        "warning: a key of {topic} moves from partition hash(key) % {before} to hash(key) % {after}; the order between its \
         old and new records is lost"
    )
}
