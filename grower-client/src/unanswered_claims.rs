//! Claims of producer names without an answer: they may still take effect, so the next claim of the name repeats them.

use crate::error::{ConnectError, RequestError};
use crate::random_name::random_holder;
use grower_protocol::ids::{ProducerHolder, ProducerName};
use parking_lot::Mutex;
use std::collections::HashMap;

/// The holders of claims that a client gave up without an answer. None of them has written anything.
#[derive(Debug, Default)]
pub(crate) struct UnansweredClaims(Mutex<HashMap<ProducerName, ProducerHolder>>);

/// The holder of a claim under way. Dropped without an answer, it serves the next claim of the name.
pub(crate) struct ClaimHolder<'a> {
    claims: &'a UnansweredClaims,
    name: ProducerName,
    pub(crate) holder: ProducerHolder,
    pub(crate) is_repeated: bool,
    is_answered: bool,
}

impl<'a> ClaimHolder<'a> {
    /// Takes the holder of the last unanswered claim, or a random one.
    pub(crate) fn take(claims: &'a UnansweredClaims, name: &ProducerName) -> Result<Self, RequestError> {
        let repeated = claims.0.lock().remove(name);
        let holder = match repeated {
            Some(holder) => holder,
            None => random_holder().map_err(|error| RequestError::from(ConnectError::no_randomness(error)))?,
        };
        Ok(Self { claims, name: name.clone(), holder, is_repeated: repeated.is_some(), is_answered: false })
    }

    /// The broker answered: no attempt can change anything any more.
    pub(crate) fn answered(mut self) {
        self.is_answered = true;
    }
}

impl Drop for ClaimHolder<'_> {
    fn drop(&mut self) {
        if !self.is_answered {
            self.claims.0.lock().insert(self.name.clone(), self.holder);
        }
    }
}
