//! Threads: a pool is an argument, never a global. Work is split by rows or lines, never within a sum, so the bits do not depend on it.

use crate::error::{Error, Result};
use crate::helpers::{Helpers, inside};
use crate::simd::Isa;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

/// The caller and its helpers, and the counters that show what they did.
#[derive(Debug)]
pub struct Pool {
    helpers: Helpers,
    threads: usize,
    split_threshold: AtomicUsize,
    share: AtomicUsize,
    cut_everywhere: AtomicBool,
    rows: Vec<AtomicU64>,
    work: [AtomicU64; 6],
}

/// What pulsed updates were made of. It depends on the work alone, not on threads, chunks or instruction sets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Work {
    /// Random words that were drawn for trains.
    pub drawn: u64,
    /// Words of a block of columns that were compared with that of a row.
    pub words: u64,
    /// Columns that were compared with a row where pulses are few, and rows with a single column.
    pub looks: u64,
    /// Cells that were taken and put back, each with all pulses that waited for it.
    pub cells: u64,
    /// Lanes that were stepped, a pulse each at most.
    pub lanes: u64,
    /// Pulses.
    pub pulses: u64,
}

/// What kernels run on: an instruction set and the worker threads.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Machine<'a> {
    pub(crate) isa: Isa,
    pub(crate) pool: &'a Pool,
}

/// Less work than this is done sooner by one thread. Work is in nanoseconds, roughly.
pub const SPLIT_THRESHOLD: usize = 1 << 13;

/// So much work is worth offering to helpers that are still busy.
const LONG: usize = 8 * SPLIT_THRESHOLD;

impl Pool {
    /// A pool of `threads` workers, of which one is the caller's own thread.
    pub fn new(threads: usize) -> Result<Self> {
        if !(1..=1024).contains(&threads) {
            return Err(Error::value("threads", threads, "1 to 1024"));
        }
        let helpers = Helpers::new(threads - 1).map_err(|e| Error::new("threads", format!("could not be started: {e}")))?;
        Ok(Self {
            helpers,
            threads,
            split_threshold: AtomicUsize::new(SPLIT_THRESHOLD),
            share: AtomicUsize::new(0),
            cut_everywhere: AtomicBool::new(false),
            rows: (0..threads).map(|_| AtomicU64::new(0)).collect(),
            work: Default::default(),
        })
    }

    /// Number of workers.
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// Rows of crossbars that each worker has updated so far.
    pub fn rows_by_worker(&self) -> Vec<u64> {
        self.rows.iter().map(|n| n.load(Ordering::Relaxed)).collect()
    }

    /// The work of all updates by trains so far.
    pub fn work(&self) -> Work {
        let [drawn, words, looks, cells, lanes, pulses] = self.work.each_ref().map(|n| n.load(Ordering::Relaxed));
        Work { drawn, words, looks, cells, lanes, pulses }
    }

    pub(crate) fn count(&self, work: Work) {
        let Work { drawn, words, looks, cells, lanes, pulses } = work;
        for (sum, n) in self.work.iter().zip([drawn, words, looks, cells, lanes, pulses]) {
            sum.fetch_add(n, Ordering::Relaxed);
        }
    }

    /// Calls with less work than this (in nanoseconds, roughly) stay on the caller's thread; 0: all workers take part in all others that are not part of
    /// another.
    pub fn set_split_threshold(&self, work: usize) {
        self.split_threshold.store(work, Ordering::Relaxed);
    }

    /// Work is given out in chunks of so many rows; 0: as is good. The results do not depend on it, which tests show.
    pub fn set_share(&self, rows: usize) {
        self.share.store(rows, Ordering::Relaxed);
    }

    /// Updates are cut after every vector. The results do not depend on it, which tests show.
    pub fn set_cut_everywhere(&self, cut: bool) {
        self.cut_everywhere.store(cut, Ordering::Relaxed);
    }

    pub(crate) fn cuts_everywhere(&self) -> bool {
        self.cut_everywhere.load(Ordering::Relaxed)
    }

    /// A good number of rows per chunk: two to four chunks per worker, the more work the more, of 2 us at least; or all of them where the work stays on one
    /// thread.
    pub(crate) fn share(&self, rows: usize, work: usize) -> usize {
        match self.share.load(Ordering::Relaxed) {
            0 if self.splits(work) => {
                let chunks = (work / (8 * SPLIT_THRESHOLD)).clamp(2, 4) * self.threads;
                rows.div_ceil(chunks.min(4 * work / SPLIT_THRESHOLD).max(1)).max(1)
            }
            0 => rows.max(1),
            share => share,
        }
    }

    /// Whether so much work is done by several threads: not where it is part of other work, short, and all helpers have parts of it.
    pub(crate) fn splits(&self, work: usize) -> bool {
        self.threads > 1 && work >= self.split_threshold.load(Ordering::Relaxed) && !(inside() && work < LONG && self.helpers.all_busy())
    }

    /// Runs `f(index, chunk)` on every chunk of `data`; `rows` is what a chunk counts for.
    pub(crate) fn chunks<T: Send>(&self, data: &mut [T], size: usize, work: usize, rows: usize, f: impl Fn(usize, &mut [T]) + Sync) {
        self.run(data.chunks_mut(size), work, rows, f);
    }

    /// The same for chunks made beforehand.
    pub(crate) fn run<C: Send>(&self, chunks: impl ExactSizeIterator<Item = C>, work: usize, rows: usize, f: impl Fn(usize, C) + Sync) {
        let count = chunks.len();
        if !self.splits(work) || count <= 1 {
            self.rows[0].fetch_add((rows * count) as u64, Ordering::Relaxed);
            return chunks.enumerate().for_each(|(at, chunk)| f(at, chunk));
        }
        let slots: Vec<Mutex<Option<C>>> = chunks.map(|chunk| Mutex::new(Some(chunk))).collect();
        // Each worker has a part of the chunks, so that rows stay in its cache from call to call, and helps the others when it is through with it. If all
        // take part, nobody else takes the first one of a part.
        let all = self.split_threshold.load(Ordering::Relaxed) == 0 && !inside();
        let begin = |worker: usize| worker * count / self.threads;
        let taken: Vec<AtomicUsize> = (0..self.threads).map(|_| AtomicUsize::new(usize::from(all))).collect();
        let take = |worker: usize| {
            let next = |owner: usize| {
                let at = begin(owner) + taken[owner].fetch_add(1, Ordering::Relaxed);
                (at < begin(owner + 1)).then_some(at)
            };
            (0..self.threads).find_map(|further| next((worker + further) % self.threads))
        };
        let part = |worker: usize| {
            let own = (all && begin(worker) < begin(worker + 1)).then_some(begin(worker));
            for at in own.into_iter().chain(std::iter::from_fn(|| take(worker))) {
                let chunk = slots[at].lock().ok().and_then(|mut slot| slot.take());
                if let Some(chunk) = chunk {
                    f(at, chunk);
                    self.rows[worker].fetch_add(rows as u64, Ordering::Relaxed);
                }
            }
        };
        self.helpers.run(&part, (!all).then_some(count - 1));
    }
}
