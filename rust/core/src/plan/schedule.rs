//! What a mini-batch will do, known before its first pulse: events with the turns of their lines, flips of choppers, rates and inputs of the gradient.
//!
//! ```text
//! auto_scale   max|x| <- (1 - t) max|x| + t max|x_b|, likewise of d, t = (1 - auto_scale) / m (f32), from the first that is not 0, before the rate of
//!              its vector; zeros are left out
//! bins         v <- b rint(v / b) or b rint(v / b + (U - 1/2)),   b = max|v| / (n / 2)
//! ```
//!
//! A chopper flips the sign of a line after its turn: by chance, or in the last pass of every so many; the crossing lines after the last line of a pass;
//! or all at once, at the end of the event.

use super::executor::Executor;
use super::{Axis, Chopper, Every, Flips, Place, Transfer, within_f32};
use crate::math::rint;
use crate::mvm::abs_max;
use crate::rng::{Key, Use};
use crate::simd::finite;

/// Counters and signs that decide about events and rates.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Counters {
    pub(crate) vectors: u64,
    pub(crate) batches: u64,
    pub(crate) transfers: Vec<TransferCounters>,
    /// The chopper's signs, 1 or -1: of the lines that are read, and of those that cross them.
    pub(crate) signs: Signs,
    /// Running maxima of |x| and |d|, 0 for none yet.
    pub(crate) largest: [f32; 2],
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

/// Signs of a chopper; both are empty in a plan without one.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Signs {
    pub(crate) line: Vec<f32>,
    pub(crate) cross: Vec<f32>,
}

const NAMES: [&str; 2] = ["chopper.line", "chopper.cross"];

impl Signs {
    pub(crate) fn new(lines: usize, crossing: usize) -> Self {
        Self { line: vec![1.0; lines], cross: vec![1.0; crossing] }
    }

    /// Both by the names that they have in a state; none in a plan without a chopper.
    pub(crate) fn named(&self) -> impl Iterator<Item = (&'static str, &Vec<f32>)> {
        NAMES.into_iter().zip([&self.line, &self.cross]).filter(|(_, signs)| !signs.is_empty())
    }

    pub(crate) fn named_mut(&mut self) -> impl Iterator<Item = (&'static str, &mut Vec<f32>)> {
        NAMES.into_iter().zip([&mut self.line, &mut self.cross]).filter(|(_, signs)| !signs.is_empty())
    }

    /// Those of the rows, and those of the columns.
    pub(crate) fn by_axis(&self, axis: Axis) -> [&[f32]; 2] {
        if axis == Axis::Columns { [&self.cross, &self.line] } else { [&self.line, &self.cross] }
    }
}

/// The events of a call, and what the gradient is made of.
pub(crate) struct Schedule {
    pub(crate) events: Vec<Event>,
    /// Rate of the gradient of each vector.
    pub(crate) rates: Vec<f64>,
    /// Inputs and errors of the gradient, where they are not those of the call.
    pub(crate) inputs: Option<[Vec<f32>; 2]>,
    /// Signs of the crossing lines, one after the other.
    pub(crate) crosses: Vec<Vec<f32>>,
}

/// What happens between two vectors.
pub(crate) struct Event {
    /// Vectors of the call done before it.
    pub(crate) after: usize,
    pub(crate) what: What,
    pub(crate) number: u64,
    /// Rate of the gradient of the vector before it.
    pub(crate) rho: f64,
}

pub(crate) enum What {
    /// A transfer, and the lines it reads.
    Transfer(usize, Vec<Turn>),
    /// The refresh of an array of one-sided cells.
    Refresh(usize),
}

/// The turn of a line in an event.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Turn {
    pub(crate) line: usize,
    /// Passes over all lines that were complete before.
    pub(crate) pass: u64,
    /// The chopper's sign of the line, and which of the crossing lines' signs are in force.
    pub(crate) sign: f32,
    pub(crate) cross: usize,
    /// Whether the chopper flips it afterwards.
    pub(crate) flips: bool,
}

impl Executor<'_> {
    /// What the vectors `x`, `d` will do; counters and signs move on.
    pub(super) fn schedule(&mut self, x: &[f32], d: &[f32]) -> Schedule {
        let m = x.len() / self.columns;
        let gradient = self.plan.gradient;
        let rounded = gradient.bins.iter().any(|(levels, _)| *levels > 0);
        let mut schedule = Schedule {
            events: Vec::new(),
            rates: Vec::with_capacity(m),
            inputs: (gradient.chopped || rounded).then(|| [x.to_vec(), d.to_vec()]),
            crosses: Vec::new(),
        };
        for b in 0..m {
            let (first, second) = (b * self.columns..(b + 1) * self.columns, b * self.rows..(b + 1) * self.rows);
            let rho = self.gradient_rate([&x[first.clone()], &d[second.clone()]], m);
            schedule.rates.push(rho);
            if let Some([x, d]) = &mut schedule.inputs {
                self.prepare([&mut x[first], &mut d[second]]);
            }
            self.counters.vectors += 1;
            self.due(b, m, rho, &mut schedule);
        }
        self.counters.batches += 1;
        schedule
    }

    /// The rate of the gradient of one vector of `m`; running maxima move on.
    fn gradient_rate(&mut self, vector: [&[f32]; 2], m: usize) -> f64 {
        let rate = self.plan.gradient.rate.of_gradient(self.lr);
        let (Some(momentum), Place::Array(target)) = (self.plan.gradient.auto_scale, self.plan.gradient.target) else { return rate };
        let share = ((1.0 - momentum) / m as f64) as f32;
        for (largest, v) in self.counters.largest.iter_mut().zip(vector.map(abs_max)) {
            if *largest <= 0.0 {
                *largest = v;
            } else if v > 0.0 {
                *largest = (1.0 - share) * *largest + share * v;
            }
        }
        let [x, d] = self.counters.largest.map(f64::from);
        let scaled = rate * (self.pulses.desired_bl as f64 * self.arrays[target].granularity());
        within_f32(if x > 0.0 && d > 0.0 { scaled / (x * d) } else { scaled })
    }

    /// Rounds the inputs of the gradient to levels, and gives them the signs of the chopper.
    fn prepare(&self, [x, d]: [&mut [f32]; 2]) {
        let gradient = &self.plan.gradient;
        for (values, (levels, chance), purpose) in [(&mut *x, gradient.bins[0], Use::BinX), (&mut *d, gradient.bins[1], Use::BinD)] {
            let key = self.run.of(purpose).child(self.counters.vectors);
            round_to_levels(values, levels, chance.then_some(key));
        }
        if gradient.chopped {
            let [columns, rows] = self.signs(Axis::Columns);
            x.iter_mut().zip(columns).for_each(|(x, sign)| *x *= sign);
            d.iter_mut().zip(rows).for_each(|(d, sign)| *d *= sign);
        }
    }

    /// The events after vector `b` of `m`.
    fn due(&mut self, b: usize, m: usize, rho: f64, schedule: &mut Schedule) {
        let after = b + 1;
        for (index, transfer) in self.plan.transfers.iter().enumerate() {
            let all = self.all_lines(transfer.axis);
            let counters = &mut self.counters.transfers[index];
            let due = match transfer.every {
                Every::Vectors(period) => self.counters.vectors.is_multiple_of(period),
                Every::Batches(period) => after == m && (self.counters.batches + 1).is_multiple_of(period),
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
            let number = counters.events;
            let start = if transfer.random {
                let word = self.run.of(Use::Select).child(index as u64).child(number).word(0, 0);
                ((u64::from(word) * all as u64) >> 32) as usize
            } else {
                counters.pointer as usize
            };
            counters.pointer = ((start + reads) % all) as u64;
            counters.events = number.wrapping_add(1);
            let turns = self.turns(index, number, start, reads, &mut schedule.crosses);
            schedule.events.push(Event { after, what: What::Transfer(index, turns), number, rho });
        }
        for (index, array) in self.arrays.iter().enumerate() {
            if let Some(refresh) = array.refresh
                && self.counters.vectors.is_multiple_of(refresh.every)
            {
                let number = self.counters.vectors / refresh.every;
                schedule.events.push(Event { after, what: What::Refresh(index), number, rho });
            }
        }
    }

    /// The turns of `reads` lines from `start` on (after the last line comes the first); choppers flip.
    fn turns(&mut self, index: usize, number: u64, start: usize, reads: usize, crosses: &mut Vec<Vec<f32>>) -> Vec<Turn> {
        let Transfer { chopper, axis, .. } = self.plan.transfers[index];
        let all = self.all_lines(axis);
        let mut turns = Vec::with_capacity(reads);
        let [_, crossing] = self.signs(axis);
        if crosses.last().is_none_or(|last| last != crossing) {
            crosses.push(crossing.to_vec());
        }
        for read in 0..reads {
            let line = (start + read) % all;
            // Lines are read in turn from the first one on, unless an event starts anywhere; then nothing asks for passes.
            let pass = number.wrapping_mul(reads as u64).wrapping_add(read as u64) / all as u64;
            let sign = self.signs(axis)[0].get(line).copied().unwrap_or(1.0);
            let flips = chopper.is_some_and(|chopper| self.flips(&chopper, index, number, line, pass));
            turns.push(Turn { line, pass, sign, cross: crosses.len() - 1, flips });
            let Some(chopper) = chopper else { continue };
            if flips && chopper.flips != Flips::Together {
                self.counters.signs.line[line] *= -1.0;
            }
            if line + 1 == all && chopper.cross_prob > 0.0 {
                let key = self.run.of(Use::ChopCross).child(index as u64).child(pass);
                for (at, sign) in self.counters.signs.cross.iter_mut().enumerate() {
                    *sign *= if key.uniform(at as u32, 0) < chopper.cross_prob { -1.0 } else { 1.0 };
                }
                crosses.push(self.counters.signs.cross.clone());
            }
        }
        if turns.first().is_some_and(|turn| turn.flips) && chopper.is_some_and(|chopper| chopper.flips == Flips::Together) {
            self.counters.signs.line.iter_mut().for_each(|sign| *sign *= -1.0);
        }
        turns
    }

    /// Signs of the lines along an axis, and of those that cross them.
    pub(crate) fn signs(&self, axis: Axis) -> [&[f32]; 2] {
        let owner = self.plan.chopper().map_or(Axis::Columns, |(owner, _)| self.plan.transfers[owner].axis);
        let [rows, columns] = self.counters.signs.by_axis(owner);
        if axis == Axis::Columns { [columns, rows] } else { [rows, columns] }
    }

    /// Whether the chopper of transfer `index` flips a line after its turn.
    fn flips(&self, chopper: &Chopper, index: usize, number: u64, line: usize, pass: u64) -> bool {
        let key = || self.run.of(Use::Chop).child(index as u64).child(number);
        match chopper.flips {
            Flips::Random => key().uniform(line as u32, 0) < chopper.prob,
            Flips::InTurn(passes) => pass % passes == passes - 1,
            Flips::Together => key().uniform(0, 0) < chopper.prob,
        }
    }
}

/// `ceil(part m)`, not misled by the rounding of a decimal: 0.07 of 100 are 7.
fn part_of_batch(part: f64, m: usize) -> u64 {
    (part * m as f64 * (1.0 - 1e-12)).ceil() as u64
}

/// Rounds to `levels` levels of the largest |v|; 0: not at all. `key` is the stream of rounding by chance.
fn round_to_levels(values: &mut [f32], levels: u32, key: Option<Key>) {
    let width = abs_max(values) / (0.5 * levels as f32);
    if levels == 0 || width == 0.0 {
        return;
    }
    for (line, v) in values.iter_mut().enumerate() {
        let shift = key.map_or(0.0, |key| key.uniform(line as u32, 0) - 0.5);
        *v = finite(width * rint(*v / width + shift));
    }
}
