//! Runs a mini-batch of a plan.
//!
//! The list of events (after which vector, which lines) follows from the counters alone. Between two events the gradient's pulses run row block by
//! row block; an event is a cut: all its lines are read, the largest value to write is found, then all are written. Ordinals of pulses are carried
//! over cuts, so where a call is cut leaves no trace.

use super::{Axis, Every, Place, Plan, Term, Transfer};
use crate::mvm::{Matrix, Mean, ReadChain, Side, Streams, product};
use crate::pool::Machine;
use crate::pulse::{Job, Keys, PulseTrain, Route, Tally, exact, update};
use crate::rng::{Key, Use};
use crate::tile::array::Array;
use crate::tile::crossbar::Lines;
use std::ops::Range;

/// Counters that decide about events.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Counters {
    pub(crate) vectors: u64,
    pub(crate) batches: u64,
    pub(crate) transfers: Vec<TransferCounters>,
}

/// Where a transfer stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct TransferCounters {
    /// The next line.
    pub(crate) pointer: u64,
    pub(crate) events: u64,
    /// Vectors since the last event (periods that are parts of a batch).
    pub(crate) since: u64,
}

/// What an update works on.
pub(crate) struct Executor<'a> {
    pub(crate) machine: Machine<'a>,
    pub(crate) plan: &'a Plan,
    pub(crate) pulses: &'a PulseTrain,
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    pub(crate) arrays: &'a mut [Array],
    pub(crate) digital: &'a mut [Vec<f32>],
    pub(crate) counters: &'a mut Counters,
    pub(crate) lr: f64,
    /// The run stream of the tile.
    pub(crate) run: Key,
    /// Vectors that this tile had seen before the call.
    pub(crate) first_vector: u64,
}

/// What happens between two vectors.
struct Event {
    /// Vectors of the call done before it.
    after: usize,
    what: What,
    number: u64,
}

enum What {
    /// A transfer, the first line it reads, and how many.
    Transfer(usize, usize, usize),
    /// The refresh of an array of one-sided cells.
    Refresh(usize),
}

/// A tally for each crossbar of each array that needs one.
type Tallies = Vec<Vec<Option<Tally>>>;

impl Executor<'_> {
    /// One mini-batch: `x` is `[m][columns]`, `d` is `[m][rows]`.
    pub(crate) fn update(&mut self, x: &[f32], d: &[f32]) {
        let m = x.len() / self.columns;
        let events = self.schedule(m);
        let runs = self.runs(&events, m);
        let mut tallies = self.tallies(&events, &runs);
        let mut events = events.iter().peekable();
        for run in runs {
            self.gradient(x, d, run.clone(), &mut tallies);
            while let Some(event) = events.next_if(|event| event.after == run.end) {
                match &event.what {
                    What::Transfer(index, start, reads) => {
                        let lines: Vec<usize> = self.lines_read(*index, *start, *reads).collect();
                        self.transfer(*index, event.number, &lines, &mut tallies);
                    }
                    What::Refresh(array) => self.arrays[*array].refresh(event.number),
                }
            }
        }
        for (array, tallies) in self.arrays.iter_mut().zip(tallies) {
            array.close(tallies, self.first_vector);
        }
    }

    /// The call cut into runs of vectors: at its events, and where the trains of a longer run would take too much memory.
    fn runs(&self, events: &[Event], m: usize) -> Vec<Range<usize>> {
        let longest = (MAX_WORDS / self.pulses.words(self.rows + self.columns).max(1)).max(1);
        let mut runs = Vec::new();
        let mut start = 0;
        for end in events.iter().map(|event| event.after).chain([m]) {
            while start < end {
                let stop = end.min(start + longest);
                runs.push(start..stop);
                start = stop;
            }
        }
        runs
    }

    /// Pulse counts of the arrays whose cells can get pulses in more than one part of the call; elsewhere ordinals simply start at 0.
    fn tallies(&mut self, events: &[Event], runs: &[Range<usize>]) -> Tallies {
        let several = |array: usize| {
            let gradient = if self.plan.gradient.target == Place::Array(array) { runs.len() } else { 0 };
            // Lines that were written: columns, then rows.
            let mut written = [vec![false; self.columns], vec![false; self.rows]];
            let mut again = false;
            for event in events {
                if let What::Transfer(index, start, reads) = event.what {
                    let transfer = &self.plan.transfers[index];
                    for _ in transfer.steps.iter().filter(|step| step.target == array) {
                        let written = &mut written[usize::from(transfer.axis == Axis::Rows)];
                        self.lines_read(index, start, reads).for_each(|line| again |= std::mem::replace(&mut written[line], true));
                    }
                }
            }
            let [columns, rows] = written.map(|lines| lines.contains(&true));
            gradient + usize::from(columns || rows) + usize::from(again || (columns && rows)) > 1
        };
        let several: Vec<bool> = (0..self.arrays.len()).map(several).collect();
        self.arrays.iter_mut().zip(several).map(|(array, several)| array.tallies(several)).collect()
    }

    /// The lines of transfer `index`.
    fn all_lines(&self, index: usize) -> usize {
        if self.plan.transfers[index].axis == Axis::Columns { self.columns } else { self.rows }
    }

    /// So many lines from `start` on; after the last one comes the first.
    fn lines_read(&self, index: usize, start: usize, reads: usize) -> impl Iterator<Item = usize> + use<> {
        let all = self.all_lines(index);
        (0..reads).map(move |r| (start + r) % all)
    }

    /// The events of the next `m` vectors; counters move on.
    fn schedule(&mut self, m: usize) -> Vec<Event> {
        let mut events = Vec::new();
        for vector in 0..m {
            self.counters.vectors += 1;
            for (index, transfer) in self.plan.transfers.iter().enumerate() {
                let all = self.all_lines(index);
                let counters = &mut self.counters.transfers[index];
                let due = match transfer.every {
                    Every::Vectors(period) => self.counters.vectors.is_multiple_of(period),
                    Every::Batches(period) => vector == m - 1 && (self.counters.batches + 1).is_multiple_of(period),
                    Every::PartOfBatch(part) => {
                        counters.since += 1;
                        let due = counters.since >= part_of_batch(part, m);
                        if due {
                            counters.since = 0;
                        }
                        due
                    }
                };
                if !due {
                    continue;
                }
                let reads = if transfer.reads == 0 { all } else { transfer.reads };
                let start = if transfer.random {
                    let word = self.run.of(Use::Select).child(index as u64).child(counters.events).word(0, 0);
                    ((u64::from(word) * all as u64) >> 32) as usize
                } else {
                    counters.pointer as usize
                };
                events.push(Event { after: vector + 1, what: What::Transfer(index, start, reads), number: counters.events });
                counters.pointer = ((start + reads) % all) as u64;
                counters.events += 1;
            }
            for (index, array) in self.arrays.iter().enumerate() {
                if let Some(refresh) = array.refresh
                    && self.counters.vectors.is_multiple_of(refresh.every)
                {
                    let number = self.counters.vectors / refresh.every;
                    events.push(Event { after: vector + 1, what: What::Refresh(index), number });
                }
            }
        }
        self.counters.batches += 1;
        events
    }
}

/// `ceil(part m)`, not misled by the rounding of a decimal: 0.07 of 100 are 7.
fn part_of_batch(part: f64, m: usize) -> u64 {
    (part * m as f64 * (1.0 - 1e-12)).ceil() as u64
}

/// Trains of a run take at most this many words, 256 MiB.
const MAX_WORDS: usize = 1 << 26;

impl Executor<'_> {
    /// `target -= rate d x^T` for a run of vectors.
    fn gradient(&mut self, x: &[f32], d: &[f32], run: Range<usize>, tallies: &mut Tallies) {
        let first = self.first_vector + run.start as u64;
        let x = &x[run.start * self.columns..run.end * self.columns];
        let d = &d[run.start * self.rows..run.end * self.rows];
        let rate = self.plan.gradient.rate.at(self.lr);
        match self.plan.gradient.target {
            Place::Digital(target) => exact::add(self.machine, &mut self.digital[target], x, d, self.columns, rate as f32),
            Place::Array(target) => {
                let array = &self.arrays[target];
                let (x_key, d_key) = (array.run.of(Use::TrainX), array.run.of(Use::TrainD));
                let numbers: Vec<u64> = (first..first + run.len() as u64).collect();
                let keys: Vec<Keys> = numbers.iter().map(|n| Keys { x: x_key.child(*n), d: d_key.child(*n) }).collect();
                self.pulse(target, self.pulses, self.job(x, d, rate, &keys), &numbers, Use::TrainX, tallies);
            }
        }
    }

    /// A job for a whole array of which every crossbar will take its share.
    fn job<'a>(&self, x: &'a [f32], d: &'a [f32], rate: f64, keys: &'a [Keys]) -> Job<'a> {
        Job { x, d, rate, granularity: 1.0, keys, noise: self.run, takes: None, route: Route::Both, column: None, row: None }
    }

    /// Rank-one updates of an array; `numbers` decide which device of a cell takes a vector.
    fn pulse(&mut self, target: usize, pulses: &PulseTrain, job: Job, numbers: &[u64], purpose: Use, tallies: &mut Tallies) {
        let array = &mut self.arrays[target];
        let granularity = array.granularity();
        for ((crossbar, takes, route, seen), tally) in array.routes(numbers, purpose).into_iter().zip(&mut tallies[target]) {
            let noise = crossbar.pulse_key(self.first_vector);
            // Increments are of the weight; of pulses the granularity knows what is seen.
            let rate = if pulses.increments() { (job.rate / seen).clamp(-f64::from(f32::MAX), f64::from(f32::MAX)) } else { job.rate };
            let share = Job { rate, granularity, noise, takes: takes.as_deref(), route, ..job };
            update(self.machine, crossbar, pulses, &share, tally.as_mut());
        }
    }

    /// An event of transfer `index`: every source is read before anything is written.
    fn transfer(&mut self, index: usize, number: u64, lines: &[usize], tallies: &mut Tallies) {
        let plan = self.plan;
        let transfer = &plan.transfers[index];
        let chain = ReadChain::new(&transfer.io);
        let event = |key: Key, line: usize| key.child(index as u64).child(number).child(line as u64);
        let sums: Vec<Vec<Vec<f32>>> = lines
            .iter()
            .map(|&line| {
                let each = |step: &super::Write| self.read(transfer, &chain, &step.source, line, tallies, &|key| event(key, line));
                transfer.steps.iter().map(each).collect()
            })
            .collect();
        for (place, (&line, sums)) in lines.iter().zip(&sums).enumerate() {
            self.reset_sources(transfer, line, &|key| event(key, line));
            for (at, (step, u)) in transfer.steps.iter().zip(sums).enumerate() {
                let run = self.arrays[step.target].run;
                let key = |purpose: Use| run.of(purpose).child(index as u64).child(at as u64).child(number).child(line as u64);
                let keys = [Keys { x: key(Use::WriteX), d: key(Use::WriteD) }];
                // Counters from a state may be anything.
                let ordinal = number.wrapping_mul(lines.len() as u64).wrapping_add(place as u64);
                self.write_line(transfer.axis, step, line, u, &keys, ordinal, tallies);
            }
        }
    }

    fn lines(&self, axis: Axis, line: usize) -> Lines {
        if axis == Axis::Columns { Lines::Column(line) } else { Lines::Row(line) }
    }

    /// The sum of `terms` on a line; arrays are read through the transfer's periphery.
    fn read(
        &self,
        transfer: &Transfer,
        chain: &ReadChain,
        terms: &[Term],
        line: usize,
        tallies: &Tallies,
        event: &dyn Fn(Key) -> Key,
    ) -> Vec<f32> {
        let mut sum: Vec<f32> = Vec::new();
        for term in terms {
            let seen = match term.place {
                Place::Digital(at) if transfer.axis == Axis::Columns => {
                    self.digital[at].iter().skip(line).step_by(self.columns).copied().collect()
                }
                Place::Digital(at) => self.digital[at][line * self.columns..][..self.columns].to_vec(),
                Place::Array(at) => self.read_array(at, transfer, chain, line, &tallies[at], event),
            };
            if sum.is_empty() {
                sum = seen.iter().map(|v| term.factor * v).collect();
            } else {
                sum.iter_mut().zip(seen).for_each(|(s, v)| *s += term.factor * v);
            }
        }
        sum
    }

    fn read_array(
        &self,
        at: usize,
        transfer: &Transfer,
        chain: &ReadChain,
        line: usize,
        tallies: &[Option<Tally>],
        event: &dyn Fn(Key) -> Key,
    ) -> Vec<f32> {
        let array = &self.arrays[at];
        let key = |purpose: Use| event(array.run.of(purpose));
        let forward = transfer.axis == Axis::Columns;
        let fixed = array.fixed.child(if forward { Side::ReadColumns } else { Side::ReadRows } as u64);
        if transfer.io.needs_whole_row() {
            let values = array.seen_now(&Lines::All, tallies, self.first_vector);
            let matrix = Matrix { values: &values, rows: self.rows, columns: self.columns, forward };
            let mut x = vec![0.0; if forward { self.columns } else { self.rows }];
            x[line] = 1.0;
            let streams = Streams { inp: key(Use::ReadIn), out: key(Use::ReadOut), first: 0, fixed, noise: true };
            return product(self.machine, &transfer.io, matrix, &x, streams, &mut Mean::default(), false);
        }
        let mut z = array.seen_now(&self.lines(transfer.axis, line), tallies, self.first_vector);
        chain.read(self.machine.isa, &mut z, key(Use::ReadOut).child(0).child(0), fixed);
        z
    }

    /// Resets the line of every source array, with the transfer's probability.
    fn reset_sources(&mut self, transfer: &Transfer, line: usize, event: &dyn Fn(Key) -> Key) {
        if transfer.reset_prob == 0.0 || event(self.run.of(Use::ResetLine)).uniform(0, 0) >= transfer.reset_prob {
            return;
        }
        let lines = self.lines(transfer.axis, line);
        let is_source = |at: usize| transfer.steps.iter().any(|step| step.source.iter().any(|term| term.place == Place::Array(at)));
        for (_, array) in self.arrays.iter_mut().enumerate().filter(|(at, _)| is_source(*at)) {
            for crossbar in array.parts_mut() {
                crossbar.reset_line(&lines, event(crossbar.run.of(Use::Reset).child(1)));
            }
        }
    }

    /// `target[:, line] += rate u` in pulses: `x` is the unit vector of the line and `d = -u`; on rows `d` is the unit vector and `x = -u`.
    #[allow(clippy::too_many_arguments)]
    fn write_line(
        &mut self,
        axis: Axis,
        step: &super::Write,
        line: usize,
        u: &[f32],
        keys: &[Keys; 1],
        number: u64,
        tallies: &mut Tallies,
    ) {
        let negative: Vec<f32> = u.iter().map(|u| -u).collect();
        let mut unit = vec![0.0; if axis == Axis::Columns { self.columns } else { self.rows }];
        unit[line] = 1.0;
        let rate = step.rate.at(self.lr);
        let job = match axis {
            Axis::Columns => Job { column: Some(line), ..self.job(&unit, &negative, rate, keys) },
            Axis::Rows => Job { row: Some(line), ..self.job(&negative, &unit, rate, keys) },
        };
        self.pulse(step.target, &step.pulses, job, &[number], Use::WriteX, tallies);
    }
}
