//! Decides what the threads of the sync pool do next, and when another thread starts.
//!
//! On a stalled disk each append may take long. So rounds never wait until threads are done with appends: another
//! thread starts for them, up to a limit.

use std::collections::VecDeque;
use std::time::Duration;

const THREADS_MAX: usize = 16;

/// Jobs of partitions `P`, partitions whose sync is delayed, and the number of threads.
#[derive(Debug)]
pub(super) struct JobQueue<P> {
    ready: VecDeque<Job<P>>,
    /// Partitions with unsynced bytes and no waiter.
    delayed: Vec<P>,
    /// When the first of them was delayed, on the monotonic clock.
    delayed_since: Option<Duration>,
    /// Partitions whose delay is over.
    due: VecDeque<P>,
    /// Threads that wait for a job. A woken thread counts as idle until it runs.
    idle_threads: usize,
    /// Ready jobs that append.
    ready_appends: usize,
    /// Threads that append.
    appending: usize,
    threads: usize,
    stopped: bool,
}

/// Work for one thread.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Job<P> {
    /// The claimed sync round of a partition.
    Round(P),
    /// The queued appends of a partition.
    Appends(P),
}

impl<P> Job<P> {
    fn appends(&self) -> bool {
        matches!(self, Self::Appends(_))
    }
}

impl<P> Default for JobQueue<P> {
    fn default() -> Self {
        Self {
            ready: VecDeque::new(),
            delayed: Vec::new(),
            delayed_since: None,
            due: VecDeque::new(),
            idle_threads: 0,
            ready_appends: 0,
            appending: 0,
            threads: 0,
            stopped: false,
        }
    }
}

impl<P> JobQueue<P> {
    /// Queues a job. True if a thread has to be started for it, which counts from now on.
    pub(super) fn push(&mut self, job: Job<P>) -> bool {
        self.add(job);
        self.start_thread(self.needs_thread())
    }

    /// Queues a job that must not wait for the calling thread. True if a thread has to be started for it, which counts
    /// from now on.
    pub(super) fn hand_over(&mut self, job: Job<P>) -> bool {
        self.add(job);
        self.start_thread(self.threads < THREADS_MAX && self.idle_threads < self.ready.len())
    }

    fn add(&mut self, job: Job<P>) {
        self.ready_appends += usize::from(job.appends());
        self.ready.push_back(job);
    }

    fn start_thread(&mut self, needed: bool) -> bool {
        self.threads += usize::from(needed);
        debug_assert!(self.threads <= THREADS_MAX && (0 < self.threads || self.stopped), "no thread takes the job");
        needed
    }

    /// Takes the next job. [`JobQueue::appends_done`] follows on one that appends.
    pub(super) fn pop(&mut self) -> Option<Job<P>> {
        let job = self.ready.pop_front()?;
        self.ready_appends -= usize::from(job.appends());
        self.appending += usize::from(job.appends());
        debug_assert!(self.appending <= self.threads && self.ready_appends <= self.ready.len());
        Some(job)
    }

    /// A thread is done with the appends that it took.
    pub(super) fn appends_done(&mut self) {
        debug_assert!(0 < self.appending, "appends end that have not begun");
        self.appending -= 1;
    }

    /// A thread found no job.
    pub(super) fn thread_idles(&mut self) {
        self.idle_threads += 1;
        debug_assert!(self.idle_threads + self.appending <= self.threads);
    }

    /// It looks for one again.
    pub(super) fn thread_woke(&mut self) {
        debug_assert!(0 < self.idle_threads, "a thread wakes that did not wait");
        self.idle_threads -= 1;
    }

    /// Lets a partition without a waiter be synced when the flush delay is over.
    pub(super) fn delay(&mut self, partition: P, now: Duration) {
        self.delayed.push(partition);
        self.delayed_since.get_or_insert(now);
    }

    /// The time until the delay of the first delayed partition is over; none if no partition is delayed.
    pub(super) fn due_in(&self, delay: Duration, now: Duration) -> Option<Duration> {
        self.delayed_since.map(|since| since.saturating_add(delay).saturating_sub(now))
    }

    /// Ends the delay of all delayed partitions.
    pub(super) fn begin_due(&mut self) {
        debug_assert!(self.due.is_empty(), "partitions whose delay is over were forgotten");
        self.delayed_since = None;
        self.due = std::mem::take(&mut self.delayed).into();
    }

    /// The next partition whose delay is over; none after a stop.
    pub(super) fn next_due(&mut self) -> Option<P> {
        if self.stopped { None } else { self.due.pop_front() }
    }

    /// Whether jobs wait for a thread.
    pub(super) fn is_behind(&self) -> bool {
        !self.ready.is_empty() || !self.due.is_empty()
    }

    pub(super) fn stop(&mut self) {
        self.stopped = true;
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stopped
    }

    /// Whether the job just queued needs another thread: an idle thread takes it soon, unless appends are before it.
    fn needs_thread(&self) -> bool {
        if 0 < self.idle_threads && (self.ready_appends == 0 || self.ready.len() <= self.idle_threads) {
            return false;
        }
        let all_append = self.threads == self.appending;
        self.threads < THREADS_MAX && (all_append || 1 < self.ready.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A queue whose one thread waits for a job.
    fn with_idle_thread() -> JobQueue<u32> {
        let mut queue = JobQueue::default();
        assert!(queue.push(Job::Round(0)), "the first job starts the first thread");
        assert_eq!(queue.pop(), Some(Job::Round(0)));
        queue.thread_idles();
        queue
    }

    #[test]
    fn no_round_waits_behind_appends_while_there_may_be_more_threads() {
        let mut queue = with_idle_thread();
        assert!(!queue.push(Job::Appends(1)));
        assert!(queue.push(Job::Round(2)), "the idle thread has the appends to do");

        let mut busy = with_idle_thread();
        assert!(!busy.push(Job::Appends(1)));
        busy.thread_woke();
        assert_eq!(busy.pop(), Some(Job::Appends(1)));
        assert!(busy.push(Job::Round(2)), "the only thread appends");
    }

    #[test]
    fn one_idle_thread_does_many_rounds() {
        let mut queue = with_idle_thread();
        assert!(!queue.push(Job::Round(1)));
        assert!(!queue.push(Job::Round(2)));
    }

    #[test]
    fn a_job_that_is_handed_over_never_waits_for_the_thread_that_does_so() {
        let mut queue = JobQueue::default();
        assert!(queue.push(Job::Round(0)));
        assert_eq!(queue.pop(), Some(Job::Round(0)));
        assert!(queue.hand_over(Job::Round(0)), "the only thread is the one that hands over");
        assert_eq!(queue.pop(), Some(Job::Round(0)));
        queue.thread_idles();
        assert!(!queue.hand_over(Job::Round(0)), "the other thread is idle");
        assert!(queue.hand_over(Job::Round(1)), "the idle thread has another job to do");
    }

    #[test]
    fn the_first_delayed_partition_decides_when_all_are_due() {
        let (mut queue, second) = (JobQueue::default(), Duration::from_secs(1));
        assert_eq!(queue.due_in(second, second), None);
        queue.delay(1, second);
        queue.delay(2, second * 3 / 2);
        assert_eq!(queue.due_in(second, second * 3 / 2), Some(second / 2));
        assert_eq!(queue.due_in(second / 4, second * 3 / 2), Some(Duration::ZERO), "a shorter delay holds at once");
        queue.begin_due();
        assert!(queue.is_behind());
        assert_eq!([queue.next_due(), queue.next_due(), queue.next_due()], [Some(1), Some(2), None]);
        assert_eq!(queue.due_in(second, second * 9), None);
    }
}
