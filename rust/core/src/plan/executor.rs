//! Runs a mini-batch of a plan.
//!
//! The list of events (after which vector, which columns) follows from the counters alone. Between two events the gradient's pulses run row block by
//! row block; an event is a cut: all its columns are read, the largest value to write is found, then all are written. Ordinals of pulses are carried
//! over cuts, so where a call is cut leaves no trace.

use super::{Every, Place, Plan, Term, Transfer};
use crate::mvm::{Matrix, Mean, ReadChain, Streams, abs_max, product};
use crate::pool::Machine;
use crate::pulse::kernel::{self, Coincidences};
use crate::pulse::trains::{SLOTS, Side, Trains};
use crate::pulse::{PulseTrain, PulseType, Scale, exact};
use crate::rng::Use;
use crate::simd::LANES;
use crate::tile::array::Array;
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
    /// The next column.
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
    /// Vectors that this tile had seen before the call.
    pub(crate) first_vector: u64,
}

struct Event {
    /// Vectors of the call done before it.
    after: usize,
    transfer: usize,
    number: u64,
    lines: Vec<usize>,
}

impl Executor<'_> {
    /// One mini-batch: `x` is `[m][columns]`, `d` is `[m][rows]`.
    pub(crate) fn update(&mut self, x: &[f32], d: &[f32]) {
        let m = x.len() / self.columns;
        let events = self.schedule(m);
        let runs = self.runs(&events, m);
        let mut ordinals = self.ordinals(&events, &runs);
        let mut events = events.iter().peekable();
        for run in runs {
            self.gradient(x, d, run.clone(), &mut ordinals);
            while let Some(event) = events.next_if(|event| event.after == run.end) {
                self.run_event(event, &mut ordinals);
            }
        }
    }

    /// The call cut into runs of vectors: at its events, and where the trains of a longer run would take too much memory.
    fn runs(&self, events: &[Event], m: usize) -> Vec<Range<usize>> {
        let words = self.pulses.desired_bl.div_ceil(SLOTS) * (self.rows + self.columns);
        let longest = (MAX_WORDS / words).max(1);
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
    fn ordinals(&self, events: &[Event], runs: &[Range<usize>]) -> Vec<Option<Vec<u32>>> {
        let several = |array: usize| {
            let gradient = if self.plan.gradient.target == Place::Array(array) { runs.len() } else { 0 };
            let mut written: Vec<usize> = Vec::new();
            for event in events {
                let writes = self.plan.transfers[event.transfer].steps.iter().filter(|step| step.target == array).count();
                (0..writes).for_each(|_| written.extend(&event.lines));
            }
            written.sort_unstable();
            let again = written.windows(2).any(|pair| pair[0] == pair[1]);
            gradient + usize::from(!written.is_empty()) + usize::from(again) > 1
        };
        (0..self.arrays.len()).map(|array| several(array).then(|| vec![0; self.rows * self.columns])).collect()
    }

    /// The events of the next `m` vectors; counters move on.
    fn schedule(&mut self, m: usize) -> Vec<Event> {
        let mut events = Vec::new();
        for vector in 0..m {
            self.counters.vectors += 1;
            for (index, transfer) in self.plan.transfers.iter().enumerate() {
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
                let reads = if transfer.reads == 0 { self.columns } else { transfer.reads };
                let lines = (0..reads).map(|r| (counters.pointer as usize + r) % self.columns).collect();
                events.push(Event { after: vector + 1, transfer: index, number: counters.events, lines });
                counters.pointer = ((counters.pointer as usize + reads) % self.columns) as u64;
                counters.events += 1;
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
    fn gradient(&mut self, x: &[f32], d: &[f32], run: Range<usize>, ordinals: &mut [Option<Vec<u32>>]) {
        let first = self.first_vector + run.start as u64;
        let x = &x[run.start * self.columns..run.end * self.columns];
        let d = &d[run.start * self.rows..run.end * self.rows];
        let rate = self.plan.gradient.rate.at(self.lr);
        match self.plan.gradient.target {
            Place::Digital(target) => exact::add(self.machine, &mut self.digital[target], x, d, self.columns, rate as f32),
            Place::Array(target) if self.pulses.pulse_type != PulseType::StochasticCompressed => {
                exact::update(self.machine, &mut self.arrays[target], self.pulses.pulse_type, x, d, rate as f32);
            }
            Place::Array(target) => {
                let (x, d) = self.trains(&self.arrays[target], x, d, rate, first);
                let array = &mut self.arrays[target];
                let key = array.pulse_key(self.first_vector);
                kernel::pulse(self.machine, array, Coincidences { x: &x, d: &d, key }, ordinals[target].as_mut());
            }
        }
    }

    /// The trains of both sides, for vectors that are `first` and the following of the tile.
    fn trains(&self, array: &Array, x: &[f32], d: &[f32], rate: f64, first: u64) -> (Trains, Trains) {
        let granularity = array.device.granularity();
        let scales: Vec<Scale> = (x.chunks_exact(self.columns).zip(d.chunks_exact(self.rows)))
            .map(|(x, d)| {
                let (x_max, d_max) = if self.pulses.managed() { (abs_max(x), abs_max(d)) } else { (0.0, 0.0) };
                self.pulses.scale(rate, granularity, x_max as f64, d_max as f64)
            })
            .collect();
        let bl: Vec<_> = scales.iter().map(|s| s.bl).collect();
        let draw = |values: &[f32], lines: usize, purpose: Use, amplify: fn(&Scale) -> f64, flip: bool| {
            let key = array.run.of(purpose);
            let keys: Vec<_> = (0..bl.len()).map(|b| key.child(first + b as u64)).collect();
            let amplify: Vec<_> = scales.iter().map(amplify).collect();
            Trains::draw(self.machine, &Side { values, lines, bl: &bl, amplify: &amplify, keys: &keys, flip })
        };
        (draw(x, self.columns, Use::TrainX, |s| s.x, false), draw(d, self.rows, Use::TrainD, |s| s.d, rate < 0.0))
    }

    fn run_event(&mut self, event: &Event, ordinals: &mut [Option<Vec<u32>>]) {
        let plan = self.plan;
        let transfer = &plan.transfers[event.transfer];
        let chain = ReadChain::new(&transfer.io);
        // Every source is read before anything is written.
        let sums: Vec<Vec<Vec<f32>>> = event
            .lines
            .iter()
            .map(|&line| transfer.steps.iter().map(|step| self.read(event, transfer, &chain, &step.source, line)).collect())
            .collect();
        for (&line, sums) in event.lines.iter().zip(&sums) {
            for (index, (step, u)) in transfer.steps.iter().zip(sums).enumerate() {
                self.write_column(event, index, step, line, u, &mut ordinals[step.target]);
            }
        }
    }

    /// The sum of `terms` on a column; arrays are read through the transfer's periphery.
    fn read(&self, event: &Event, transfer: &Transfer, chain: &ReadChain, terms: &[Term], line: usize) -> Vec<f32> {
        let mut sum: Vec<f32> = Vec::new();
        for term in terms {
            let seen = match term.place {
                Place::Digital(at) => self.digital[at].iter().skip(line).step_by(self.columns).copied().collect(),
                Place::Array(at) => self.read_array(&self.arrays[at], event, transfer, chain, line),
            };
            if sum.is_empty() {
                sum = seen.iter().map(|v| term.factor * v).collect();
            } else {
                sum.iter_mut().zip(seen).for_each(|(s, v)| *s += term.factor * v);
            }
        }
        sum
    }

    fn read_array(&self, array: &Array, event: &Event, transfer: &Transfer, chain: &ReadChain, line: usize) -> Vec<f32> {
        let key = |purpose: Use| array.run.of(purpose).child(event.transfer as u64).child(event.number).child(line as u64);
        if transfer.io.needs_whole_row() {
            let values: Vec<f32> = (0..array.values.len()).map(|at| array.seen(at)).collect();
            let matrix = Matrix { values: &values, rows: self.rows, columns: self.columns, forward: true };
            let mut x = vec![0.0; self.columns];
            x[line] = 1.0;
            let streams = Streams { inp: key(Use::ReadIn), out: key(Use::ReadOut), first: 0, fixed: array.fixed, noise: true };
            return product(self.machine, &transfer.io, matrix, &x, streams, &mut Mean::default(), false);
        }
        let mut z: Vec<f32> = (0..self.rows).map(|row| array.seen(row * self.columns + line)).collect();
        chain.read(self.machine.isa, &mut z, key(Use::ReadOut).child(0).child(0), array.fixed);
        z
    }

    /// `target[:, line] += rate u` in pulses: `x` is the unit vector of the line, `d = -u`.
    fn write_column(&mut self, event: &Event, index: usize, step: &super::Write, line: usize, u: &[f32], ordinals: &mut Option<Vec<u32>>) {
        let rate = step.rate.at(self.lr);
        let array = &mut self.arrays[step.target];
        let d: Vec<f32> = u.iter().map(|u| -u).collect();
        let mut x = vec![0.0; self.columns];
        x[line] = 1.0;
        if step.pulses.pulse_type != PulseType::StochasticCompressed {
            return exact::update(self.machine, array, step.pulses.pulse_type, &x, &d, rate as f32);
        }
        let scale = step.pulses.scale(rate, array.device.granularity(), 1.0, abs_max(&d) as f64);
        if scale.bl == 0 {
            return;
        }
        let key = |purpose: Use| {
            let event_key = array.run.of(purpose).child(event.transfer as u64).child(index as u64).child(event.number);
            [event_key.child(line as u64)]
        };
        let bl = [scale.bl];
        let x_side = Side { values: &x, lines: self.columns, bl: &bl, amplify: &[scale.x], keys: &key(Use::WriteX), flip: false };
        let d_side = Side { values: &d, lines: self.rows, bl: &bl, amplify: &[scale.d], keys: &key(Use::WriteD), flip: rate < 0.0 };
        let (x, d) = (Trains::draw(self.machine, &x_side), Trains::draw(self.machine, &d_side));
        let column: Vec<u32> = x.block(line / LANES).iter().map(|words| words[line % LANES]).collect();
        let key = array.pulse_key(self.first_vector);
        kernel::pulse_column(array, line, &column, &d, key, ordinals.as_mut());
    }
}
