//! The names of a segment's files.

use grower_protocol::ids::Offset;

const LOG_SUFFIX: &str = ".growerlog";
const INDEX_SUFFIX: &str = ".growerindex";

/// Name of a segment's log file.
pub(crate) fn log_name(base: Offset) -> String {
    format!("{:020}{LOG_SUFFIX}", base.value())
}

/// Name of a segment's index file.
pub(crate) fn index_name(base: Offset) -> String {
    format!("{:020}{INDEX_SUFFIX}", base.value())
}

/// The base offset in a log file's name; none if it is another file.
pub(crate) fn base_of_log(name: &str) -> Option<Offset> {
    base_of(name, LOG_SUFFIX)
}

/// The base offset in an index file's name; none if it is another file.
pub(crate) fn base_of_index(name: &str) -> Option<Offset> {
    base_of(name, INDEX_SUFFIX)
}

fn base_of(name: &str, suffix: &str) -> Option<Offset> {
    let digits = name.strip_suffix(suffix)?;
    let plain = digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit());
    Offset::try_from(plain.then(|| digits.parse::<u64>().ok()).flatten()?).ok()
}

/// Names of a compacted segment's log and index until a manifest publishes them. Opening a log removes such files
/// unless its manifest names them.
pub(crate) fn compacted_names(base: Offset) -> (String, String) {
    (format!("{}.compacted.tmp", log_name(base)), format!("{}.compacted.tmp", index_name(base)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_name_is_the_base_offset_in_twenty_digits() {
        assert_eq!(log_name(Offset::new(3)), "00000000000000000003.growerlog");
        assert_eq!(index_name(Offset::MAX), "09223372036854775807.growerindex");
        assert_eq!(base_of_log("00000000000000000003.growerlog"), Some(Offset::new(3)));
        for other in ["3.growerlog", "0000000000000000000x.growerlog", "00000000000000000003.growerindex", "checkpoint"]
        {
            assert_eq!(base_of_log(other), None, "{other}");
        }
        assert_eq!(base_of_log("99999999999999999999.growerlog"), None, "no such offset");
    }
}
