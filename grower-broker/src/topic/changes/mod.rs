//! Changes of the metadata: decided one after the other, made durable together, then carried out in order.
//!
//! Changes wait in a queue. The caller that gets the lock takes all waiting changes, so changes of several connections
//! share one sync. Consecutive new topics are published by one update of the served map; changes of files are carried
//! out one by one. The answer follows the effect, so an acknowledged topic exists after any crash.

use super::Topics;
use crate::background;
use crate::critical::CriticalSection;
use crate::metadata::{Applied, Command, Image, Topic};
use grower_protocol::message::{ErrorCode, Failure};
use parking_lot::Mutex;
use std::sync::Arc;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

/// Decides on a command by an image. Called again if that image was not reached.
pub(crate) type Decide = Box<dyn Fn(&Image) -> Result<Command, Failure> + Send>;

/// The result of a change.
type ChangeResult = Result<Applied, Failure>;

/// Waiting changes in the order of their arrival. The task that holds the lock carries them out.
#[derive(Default)]
pub(super) struct ChangeQueue {
    waiting: Mutex<Vec<WaitingChange>>,
    pub(super) order: Arc<tokio::sync::Mutex<()>>,
}

pub(super) struct WaitingChange {
    decide: Decide,
    answer: oneshot::Sender<ChangeResult>,
}

impl ChangeQueue {
    fn push(&self, decisions: Vec<Decide>) -> Vec<oneshot::Receiver<ChangeResult>> {
        let mut waiting = self.waiting.lock();
        let mut push = |decide| {
            let (answer, answered) = oneshot::channel();
            waiting.push(WaitingChange { decide, answer });
            answered
        };
        decisions.into_iter().map(&mut push).collect()
    }

    /// Takes all waiting changes, except those with a caller that is gone: nothing of them happened yet.
    fn take(&self) -> Vec<WaitingChange> {
        let mut waiting = std::mem::take(&mut *self.waiting.lock());
        waiting.retain(|change| !change.answer.is_closed());
        waiting
    }
}

impl Topics {
    /// Decides on a command by the image, makes it durable, and carries it out.
    pub(crate) async fn change(
        self: &Arc<Self>,
        decide: impl Fn(&Image) -> Result<Command, Failure> + Send + 'static,
    ) -> ChangeResult {
        let changed = self.change_all(vec![Box::new(decide)]).await.pop();
        changed.unwrap_or_else(|| Err(unanswered()))
    }

    /// Makes several changes, each decided on the image after those before it, with an answer for each.
    pub(crate) async fn change_all(self: &Arc<Self>, decisions: Vec<Decide>) -> Vec<ChangeResult> {
        self.change_in(|topics| &topics.changes, decisions, Self::carry_out).await
    }

    /// Puts changes into a queue, where the next holder of its lock carries them out.
    pub(super) async fn change_in(
        self: &Arc<Self>,
        queue: fn(&Self) -> &ChangeQueue,
        decisions: Vec<Decide>,
        carry_out: fn(&Arc<Self>, Vec<WaitingChange>),
    ) -> Vec<ChangeResult> {
        let mut answers = queue(self).push(decisions);
        let lock = queue(self).order.clone().lock_owned().await;
        // An earlier holder of the lock may have carried out all of them. Otherwise they are carried out, even if this
        // future is dropped.
        if answers.iter_mut().any(|answer| answer.is_empty()) {
            let topics = self.clone();
            let carried_out = background::blocking(move || {
                carry_out(&topics, queue(&topics).take());
                drop(lock);
            });
            if let Err(error) = carried_out.await {
                tracing::error!(%error, "a change of the metadata failed");
            }
        }
        let mut changed = Vec::with_capacity(answers.len());
        for answer in answers {
            changed.push(answer.await.unwrap_or_else(|_| Err(unanswered())));
        }
        changed
    }

    /// Carries out changes. Runs under the lock, on a thread that may block.
    fn carry_out(self: &Arc<Self>, changes: Vec<WaitingChange>) {
        let _whole = CriticalSection::enter(&self.health, "a change of the topics");
        let mut changed = self.make_durable(&changes);
        let durable = changed.iter().flatten().count();
        self.perform_all(&mut changed);
        self.changed.notify_waiters();
        if changed.iter().flatten().count() < durable {
            self.request_retention(); // It repeats failed effects.
        }
        answer(changes, changed);
    }

    /// Carries out changes of the named producers, which have no further effect.
    pub(super) fn carry_out_claims(self: &Arc<Self>, changes: Vec<WaitingChange>) {
        let _whole = CriticalSection::enter(&self.health, "a change of the named producers");
        let changed = self.make_durable(&changes);
        self.count_named_producers();
        answer(changes, changed);
    }

    /// Decides on commands and makes them durable.
    fn make_durable(&self, changes: &[WaitingChange]) -> Vec<ChangeResult> {
        let decided = decide_all(&self.image(), changes);
        let commands = decided.iter().flatten().cloned().collect();
        let proposed = Handle::current().block_on(self.metadata.propose_all(commands));
        let proposed = proposed.into_iter().map(|proposed| proposed.map_err(Failure::from)).collect();
        self.answers(changes, decided, proposed)
    }

    /// Pairs changes with answers. A change that was refused because of a command that then could not be written gets
    /// the error of that command.
    fn answers(
        &self,
        changes: &[WaitingChange],
        decided: Vec<Result<Command, Failure>>,
        proposed: Vec<ChangeResult>,
    ) -> Vec<ChangeResult> {
        let (image, unwritten) = (self.image(), proposed.iter().find_map(|proposed| proposed.clone().err()));
        let mut proposed = proposed.into_iter();
        let answer = |(change, decided): (&WaitingChange, Result<Command, Failure>)| match (decided, &unwritten) {
            (Ok(_), _) => proposed.next().unwrap_or_else(|| Err(unanswered())),
            (Err(refusal), None) => Err(refusal),
            (Err(_), Some(unwritten)) => Err((change.decide)(&image).err().unwrap_or_else(|| unwritten.clone())),
        };
        changes.iter().zip(decided).map(answer).collect()
    }

    /// Carries out commands in order. A failure becomes the answer to its change.
    fn perform_all(self: &Arc<Self>, changed: &mut [ChangeResult]) {
        let mut created = Vec::new();
        for at in 0..changed.len() {
            let Ok(applied) = changed[at].clone() else { continue };
            if let Applied::TopicCreated(topic) = applied {
                created.push((at, topic));
                continue;
            }
            self.serve_created(&mut created, changed);
            if let Err(failure) = self.perform(&applied) {
                changed[at] = Err(failure);
            }
        }
        self.serve_created(&mut created, changed);
    }

    fn serve_created(&self, created: &mut Vec<(usize, Arc<Topic>)>, changed: &mut [ChangeResult]) {
        let (positions, topics): (Vec<usize>, Vec<Arc<Topic>>) = created.drain(..).unzip();
        for (at, served) in positions.into_iter().zip(self.serve_now(&topics)) {
            if let Err(failure) = served {
                changed[at] = Err(failure);
            }
        }
    }

    fn perform(self: &Arc<Self>, applied: &Applied) -> Result<(), Failure> {
        match applied {
            Applied::TopicCreated(topic) | Applied::TopicGrown { topic, .. } => {
                self.serve_now(std::slice::from_ref(topic)).into_iter().collect()
            }
            Applied::TopicDeleted(topic) => self.stop_serving(topic),
            Applied::TopicAltered(topic) => Handle::current().block_on(self.configure(topic)),
            Applied::Done | Applied::ProducerIds(_) | Applied::ProducerClaimed(_) | Applied::TopicTrimmed => Ok(()),
        }
    }
}

fn answer(changes: Vec<WaitingChange>, changed: Vec<ChangeResult>) {
    for (change, changed) in changes.into_iter().zip(changed) {
        let _ = change.answer.send(changed); // The caller may be gone.
    }
}

/// Each decision sees the changes of those before it.
fn decide_all(image: &Image, changes: &[WaitingChange]) -> Vec<Result<Command, Failure>> {
    let mut image = Image::clone(image);
    let decide = |change: &WaitingChange| -> Result<Command, Failure> {
        let command = (change.decide)(&image)?;
        image.try_apply(command.clone())?;
        Ok(command)
    };
    changes.iter().map(decide).collect()
}

pub(super) fn unanswered() -> Failure {
    Failure::new(ErrorCode::Internal, "the result of the change is unknown: check what has changed")
}

#[cfg(test)]
mod tests;
