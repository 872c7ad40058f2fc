//! Corruption: every single bit of a small partition flipped in turn, and files that lost their middle, their end or
//! all of themselves.

#[path = "../log_kit/mod.rs"]
mod log_kit;
mod stopped;

mod flipped_bits;
mod lost_files;
mod misdirected;

mod any_damage;
