//! Records with one delivery each or one for all.

use crate::error::ProduceError;
use crate::producer::{Deliveries, Delivery};
use crate::record::Ack;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

/// Records by their first value, and their outcomes.
pub(super) enum SentRecords {
    One(u32, Delivery),
    Many(u32, Deliveries),
}

impl SentRecords {
    /// The outcome of each record, if there is one.
    pub(super) fn outcomes(self) -> Vec<(u32, Option<Result<Ack, ProduceError>>)> {
        let mut context = Context::from_waker(Waker::noop());
        match self {
            Self::One(value, delivery) => match pin!(delivery).poll(&mut context) {
                Poll::Ready(outcome) => vec![(value, Some(outcome))],
                Poll::Pending => vec![(value, None)],
            },
            Self::Many(first, deliveries) => {
                let (acks, failed) = match pin!(deliveries).poll(&mut context) {
                    Poll::Ready(Ok(acks)) => (acks, Vec::new()),
                    Poll::Ready(Err(error)) => (error.acks().clone(), error.failed().to_vec()),
                    Poll::Pending => return vec![(first, None)],
                };
                let acked = acks.ranges().iter().flat_map(|range| range.records.clone().zip(range.iter().map(Ok)));
                let failed =
                    failed.iter().flat_map(|range| range.records.clone().map(|at| (at, Err(range.error.clone()))));
                let mut outcomes: Vec<_> = acked.chain(failed).collect();
                outcomes.sort_by_key(|(at, _)| *at);
                assert!(outcomes.iter().map(|(at, _)| *at).eq(0..outcomes.len()), "each record has one outcome");
                outcomes.into_iter().map(|(at, outcome)| (first + at as u32, Some(outcome))).collect()
            }
        }
    }
}
