use super::fuzzed::fetch_session_actions;
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]
    #[test]
    fn a_session_reads_what_a_reader_of_each_partition_reads(actions in prop::collection::vec(any::<u8>(), 0..400)) {
        fetch_session_actions(&actions);
    }
}
