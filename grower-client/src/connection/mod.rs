//! Connections to brokers: opened with an introduction, shared by many requests, replaced when they break.
//!
//! [`Dialer`] opens a [`Link`]; a [`Lane`] keeps one link for each address and reconnects. Answers may come in any order.
//! Whatever goes wrong closes the link, and every request waiting on it learns of it: nothing is retried down here.

mod dialer;
mod lane;
mod link;
mod pending;
mod pump;

pub(crate) use dialer::{Dialer, DialerSettings};
pub(crate) use lane::Lane;
pub(crate) use link::Link;
pub(crate) use pending::Answer;
