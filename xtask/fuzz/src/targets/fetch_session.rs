//! Requests to a fetch session, and the partitions that it reads.

use crate::Target;
use grower_broker::fuzzed::fetch_session_actions;

pub(super) const FETCH_SESSION: Target = Target {
    name: "fetch-session",
    about: "appends, deletes, trims, requests, lost answers and resumes in any order: each slot stands in one place, the \
            accounts add up, and the client reads each partition in order and without a gap",
    run: fetch_session_actions,
    seeds,
    allocates: 64 << 20,
};

fn seeds() -> Vec<Vec<u8>> {
    let (append, add, gather, answer, take_in, resume) = ([0, 0, 4], [3, 0, 4], [5, 200], [6], [7], [9, 0, 4]);
    let read = [&append[..], &add, &gather, &answer].concat();
    vec![[&read[..], &take_in].concat(), [&read[..], &resume, &gather, &answer, &take_in].concat()]
}
