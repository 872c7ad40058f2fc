//! The only place that asks the system for randomness.

/// Random bytes.
///
/// # Panics
/// If the system gives none: no id could be trusted to be new.
pub(crate) fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the system gives random bytes");
    bytes
}
