//! Threads that help whoever calls. They take part in a job if they are in time; nobody waits for one that has not begun.
//!
//! Waking a thread takes as long as a small update does. So a helper that has run out of work looks for more for a while before it sleeps.

use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How long a thread looks before it sleeps: about as long as waking it takes, so that it wastes no more than it saves.
const LINGER: Duration = Duration::from_micros(100);

/// What everybody who takes part runs, with a number of their own; the caller's is 0.
type Part<'a> = dyn Fn(usize) + Sync + 'a;
type Panic = Box<dyn Any + Send>;

thread_local! {
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread takes part in a job: not all others can be had for another.
pub(crate) fn inside() -> bool {
    INSIDE.get()
}

/// Runs a part, whatever comes of it.
fn take_part(part: &Part, at: usize) -> Result<(), Panic> {
    let before = INSIDE.replace(true);
    let end = catch_unwind(AssertUnwindSafe(|| part(at)));
    INSIDE.set(before);
    end
}

#[derive(Debug)]
pub(crate) struct Helpers {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    /// Jobs so far: changed under the lock, and looked at without.
    posted: AtomicU64,
    /// Helpers that take part in a job at this moment.
    busy: AtomicUsize,
    /// A job was posted, or all ends.
    news: Condvar,
    /// A helper has left a job.
    left: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// By rising number.
    jobs: Vec<Job>,
    asleep: usize,
    ends: bool,
}

struct Job {
    number: u64,
    part: &'static Part<'static>,
    /// Whether helpers may still join, and how many of them.
    open: bool,
    most: usize,
    joined: usize,
    left: usize,
    panic: Option<Panic>,
}

impl std::fmt::Debug for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.debug_struct("Job").field("number", &self.number).finish_non_exhaustive()
    }
}

impl Helpers {
    /// So many threads.
    pub(crate) fn new(count: usize) -> std::io::Result<Self> {
        let mut helpers = Self { shared: Arc::default(), threads: Vec::with_capacity(count) };
        for at in 1..=count {
            let (shared, thread) = (helpers.shared.clone(), thread::Builder::new().name(format!("ohmgrad-{at}")));
            helpers.threads.push(thread.spawn(move || shared.help(at))?);
        }
        Ok(helpers)
    }

    /// Whether nobody is left who could join a job at this moment.
    pub(crate) fn all_busy(&self) -> bool {
        self.shared.busy.load(Ordering::Relaxed) == self.threads.len()
    }

    /// Runs `part(0)` here and `part(i)` on the helpers that are in time, at most so many, or on all of them (`None`). It ends when all that have begun have
    /// ended; it panics if one of them has.
    #[allow(unsafe_code)]
    pub(crate) fn run(&self, part: &Part, most: Option<usize>) {
        // SAFETY: only helpers that have joined the job use it. `close` returns when nobody can join any more and all have left; nothing panics before it.
        let part = unsafe { std::mem::transmute::<&Part, &'static Part<'static>>(part) };
        let number = self.shared.post(part, most.unwrap_or(self.threads.len()));
        let own = take_part(part, 0);
        let theirs = self.shared.close(number, if most.is_none() { self.threads.len() } else { 0 });
        if let Some(panic) = own.err().or(theirs) {
            resume_unwind(panic);
        }
    }
}

impl Drop for Helpers {
    fn drop(&mut self) {
        self.shared.lock().ends = true;
        self.shared.news.notify_all();
        // Panics have reached those who called.
        self.threads.drain(..).for_each(|thread| drop(thread.join()));
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Posts a job; gives its number.
    fn post(&self, part: &'static Part<'static>, most: usize) -> u64 {
        let mut state = self.lock();
        let number = self.posted.load(Ordering::Relaxed) + 1;
        state.jobs.push(Job { number, part, open: true, most, joined: 0, left: 0, panic: None });
        self.posted.store(number, Ordering::Release);
        if state.asleep > 0 {
            self.news.notify_all();
        }
        number
    }

    /// Closes a job, once at least so many helpers have joined it, and waits until all that have joined have left.
    fn close(&self, number: u64, least: usize) -> Option<Panic> {
        let end = |state: &mut State| {
            let at = state.jobs.iter().position(|job| job.number == number)?;
            let job = &mut state.jobs[at];
            job.open &= job.joined < least;
            (!job.open && job.left == job.joined).then(|| state.jobs.remove(at))
        };
        let mut job = None;
        linger(|| {
            job = end(&mut self.lock());
            job.is_some()
        });
        if job.is_none() {
            let still = |state: &mut State| {
                job = end(state);
                job.is_none()
            };
            drop(self.left.wait_while(self.lock(), still));
        }
        job.and_then(|job| job.panic)
    }

    /// What helper `at` does all its life.
    fn help(&self, at: usize) {
        let mut seen = 0;
        loop {
            linger(|| self.posted.load(Ordering::Acquire) != seen);
            let mut state = self.lock();
            while self.posted.load(Ordering::Relaxed) == seen && !state.ends {
                state.asleep += 1;
                state = self.news.wait(state).unwrap_or_else(PoisonError::into_inner);
                state.asleep -= 1;
            }
            if state.ends {
                return;
            }
            let Some(job) = state.jobs.iter_mut().find(|job| job.open && job.joined < job.most && job.number > seen) else {
                seen = self.posted.load(Ordering::Relaxed);
                continue;
            };
            job.joined += 1;
            seen = job.number;
            let part = job.part;
            drop(state);
            self.busy.fetch_add(1, Ordering::Relaxed);
            let end = take_part(part, at);
            self.busy.fetch_sub(1, Ordering::Relaxed);
            let mut state = self.lock();
            if let Some(job) = state.jobs.iter_mut().find(|job| job.number == seen) {
                job.left += 1;
                job.panic = end.err().or(job.panic.take());
            }
            drop(state);
            self.left.notify_all();
        }
    }
}

/// Looks for a while whether something has happened.
fn linger(mut happened: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !happened() && begin.elapsed() < LINGER {
        (0..16).for_each(|_| std::hint::spin_loop());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    /// Who has taken part in a job for all.
    fn all(helpers: &Helpers, count: usize) -> Vec<usize> {
        let times: Vec<_> = (0..count).map(|_| AtomicUsize::new(0)).collect();
        helpers.run(&|at| _ = times[at].fetch_add(1, Ordering::Relaxed), None);
        times.iter().map(|times| times.load(Ordering::Relaxed)).collect()
    }

    #[test]
    fn all_take_part_once_awake_or_asleep() {
        let helpers = Helpers::new(3).unwrap();
        for pause in [0, 0, 1, 30] {
            thread::sleep(Duration::from_millis(pause));
            assert_eq!(all(&helpers, 4), [1; 4]);
        }
        assert_eq!(all(&Helpers::new(0).unwrap(), 1), [1]);
    }

    #[test]
    fn who_has_begun_is_waited_for_and_others_are_not() {
        let (helpers, inside, ended) = (Helpers::new(2).unwrap(), AtomicUsize::new(0), AtomicUsize::new(0));
        for most in [2, 1].repeat(1000) {
            let before = inside.load(Ordering::SeqCst);
            helpers.run(
                &|at| {
                    inside.fetch_add(1, Ordering::SeqCst);
                    // The caller goes to sleep at about the time when helpers leave.
                    (0..1 + at.min(1)).for_each(|_| linger(|| false));
                    ended.fetch_add(1, Ordering::SeqCst);
                },
                Some(most),
            );
            let now = inside.load(Ordering::SeqCst);
            assert_eq!(now, ended.load(Ordering::SeqCst));
            assert!((1..=1 + most).contains(&(now - before)));
        }
    }

    #[test]
    fn several_callers_at_once() {
        let helpers = Helpers::new(2).unwrap();
        thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| (0..300).for_each(|_| assert_eq!(all(&helpers, 3), [1; 3])));
            }
        });
    }

    #[test]
    fn a_panic_reaches_the_caller_and_leaves_the_helpers() {
        let helpers = Helpers::new(2).unwrap();
        for who in 0..3 {
            let end = catch_unwind(AssertUnwindSafe(|| helpers.run(&|at| assert_ne!(at, who), None)));
            assert!(end.is_err());
            assert_eq!(all(&helpers, 3), [1; 3]);
        }
    }
}
