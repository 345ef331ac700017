//! An event: lines are read, then the steps run on them one line after the other.

use super::executor::{Executor, Tallies};
use super::schedule::Turn;
use super::{Accumulate, Axis, Flips, Place, Step, Term, Threshold, Transfer, Write};
use crate::mvm::{Matrix, Mean, ReadChain, Side, Streams, product};
use crate::pulse::{Job, Keys, Notes};
use crate::rng::{Key, Use};
use crate::simd::{Kernel, LANES, Set, clip, finite};
use crate::tile::crossbar::Lines;
use crate::tile::digital::transposed;

/// Notes of the crossbars of the gradient's array, and the first of them that belongs to the event.
pub(super) type Noted<'a> = (&'a [Notes], usize);

/// One event of a transfer.
#[derive(Clone, Copy)]
pub(super) struct Occasion<'a> {
    pub(super) transfer: &'a Transfer,
    /// Which of the plan's it is, and how many events it had before.
    pub(super) index: usize,
    pub(super) number: u64,
    /// Rate of the gradient of the vector before.
    pub(super) rho: f64,
    pub(super) turns: &'a [Turn],
    /// Signs of the crossing lines, one after the other.
    pub(super) crosses: &'a [Vec<f32>],
}

/// Memory of events, kept from one to the next.
#[derive(Debug, Clone, Default)]
pub(crate) struct Scratch {
    /// What was read: `[source][turn][cell of the line]`.
    seen: Vec<f32>,
    /// What a step works on: `[turn][cell of the line]`.
    sums: Vec<f32>,
    /// A line of a digital matrix, or of what an array is to be.
    line: Vec<f32>,
}

impl Executor<'_> {
    /// An event of a transfer. Lines differ, and all of a step happens on one line: it makes no difference that a step is done with all lines
    /// before the next one begins.
    pub(super) fn transfer(&mut self, occasion: Occasion, noted: Option<Noted>, tallies: &mut Tallies) {
        let Occasion { transfer, turns, .. } = occasion;
        let mut scratch = std::mem::take(self.scratch);
        let cells = if transfer.axis == Axis::Columns { self.rows } else { self.columns };
        scratch.line.resize(cells, 0.0);
        scratch.seen.clear();
        for &source in &transfer.sources {
            let noted = noted.filter(|_| self.plan.gradient.target == Place::Array(source));
            self.read_array(source, occasion, noted, tallies, &mut scratch.seen);
        }
        turns.iter().for_each(|turn| self.reset_sources(occasion, turn.line));
        for (at, step) in transfer.steps.iter().enumerate() {
            scratch.sums.resize(turns.len() * cells, 0.0);
            for (place, (turn, sum)) in turns.iter().zip(scratch.sums.chunks_exact_mut(cells)).enumerate() {
                let seen = |source: usize| &scratch.seen[(source * turns.len() + place) * cells..][..cells];
                self.sum(step.source(), occasion, turn, seen, &mut scratch.line, sum);
                if let Step::Accumulate(step) = step {
                    self.accumulate(step, at, occasion, turn, sum, &mut scratch.line, tallies);
                }
            }
            if let Step::Write(step) = step {
                self.write(step, at, occasion, &mut scratch, tallies);
            }
        }
        let together = transfer.chopper.is_some_and(|chopper| chopper.flips == Flips::Together);
        if !together {
            turns.iter().filter(|turn| turn.flips).for_each(|turn| self.latch(occasion, turn.line, &mut scratch.line));
        } else if turns.first().is_some_and(|turn| turn.flips) {
            (0..self.rows * self.columns / cells).for_each(|line| self.latch(occasion, line, &mut scratch.line));
        }
        *self.scratch = scratch;
    }

    /// `sum of factor [c] source` on the line of a turn; `seen` is what was read of an array there.
    fn sum<'a>(
        &self,
        terms: &[Term],
        occasion: Occasion,
        turn: &Turn,
        seen: impl Fn(usize) -> &'a [f32],
        line: &mut [f32],
        sum: &mut [f32],
    ) {
        let Occasion { transfer, crosses, .. } = occasion;
        for (at, term) in terms.iter().enumerate() {
            let values = match term.place {
                Place::Array(array) => seen(transfer.sources.iter().position(|source| *source == array).unwrap_or(0)),
                Place::Digital(matrix) => {
                    self.digital[matrix].read(&Lines::of(transfer.axis, turn.line), line);
                    &*line
                }
            };
            let (sign, cross) = if term.chopped { (turn.sign, crosses[turn.cross].as_slice()) } else { (1.0, [].as_slice()) };
            self.machine.isa.run(Sum { sum, values, factor: term.factor, sign, cross, first: at == 0 });
        }
    }

    /// `into <- keep into + gain sum` on the line of a turn.
    #[allow(clippy::too_many_arguments)]
    fn accumulate(
        &mut self,
        step: &Accumulate,
        at: usize,
        occasion: Occasion,
        turn: &Turn,
        sum: &[f32],
        line: &mut Vec<f32>,
        tallies: &Tallies,
    ) {
        let gain = step.gain.at(self.lr, occasion.rho) as f32;
        let lines = Lines::of(occasion.transfer.axis, turn.line);
        match step.into {
            Place::Digital(into) => self.digital[into].read(&lines, line),
            Place::Array(into) => {
                line.clear();
                self.arrays[into].seen_now(&lines, &tallies[into], self.moment, line);
            }
        }
        self.machine.isa.run(Filter { line, sum, keep: step.keep, gain });
        self.put(step.into, &lines, line, &|run| occasion.key(run.of(Use::Copy), turn.line).child(at as u64));
    }

    /// Sets a line of a matrix; on an array it is programmed.
    fn put(&mut self, place: Place, lines: &Lines, values: &[f32], key: &dyn Fn(Key) -> Key) {
        match place {
            Place::Digital(matrix) => self.digital[matrix].write(lines, values),
            Place::Array(array) => self.arrays[array].set(lines, values, key),
        }
    }

    /// Copies what the chopper latches on a line.
    fn latch(&mut self, occasion: Occasion, line: usize, values: &mut [f32]) {
        let lines = Lines::of(occasion.transfer.axis, line);
        if let Some((Place::Digital(from), to)) = occasion.transfer.chopper.and_then(|chopper| chopper.latch) {
            self.digital[from].read(&lines, values);
            self.put(to, &lines, values, &|run| occasion.key(run.of(Use::Latch), line));
        }
    }

    /// `target += rate u` on the lines of all turns, `u` made of the sums.
    fn write(&mut self, step: &Write, at: usize, occasion: Occasion, scratch: &mut Scratch, tallies: &mut Tallies) {
        let Occasion { transfer, rho, turns, .. } = occasion;
        let cells = scratch.line.len();
        let rate = step.rate.at(self.lr, rho);
        let several = turns.len() > 1;
        let whole = matches!(step.target, Place::Array(target) if self.arrays[target].takes_all()) && step.pulses.given() && several;
        // A job for each line takes longer than its pulses where it has few cells, and longer than silent lines unless there are many.
        let side_by_side = step.pulses.has_trains() && several && cells < 4 && self.all_lines(transfer.axis) <= 8 * LANES;
        for (place, (turn, u)) in turns.iter().zip(scratch.sums.chunks_exact_mut(cells)).enumerate() {
            let lines = Lines::of(transfer.axis, turn.line);
            let mut any = self.amount(step, &lines, u, &mut scratch.line);
            if step.after_passes.is_some_and(|passes| turn.pass <= passes) {
                u.fill(0.0);
                any = false;
            }
            match step.target {
                _ if whole || !any => {}
                Place::Digital(target) => {
                    self.digital[target].read(&lines, &mut scratch.line);
                    let rate = rate as f32;
                    scratch.line.iter_mut().zip(&*u).for_each(|(v, u)| *v = finite(*v + finite(rate * *u)));
                    self.digital[target].write(&lines, &scratch.line);
                }
                Place::Array(target) => {
                    // On columns `x` is 1 on that line and `d = -u`; on rows `d` is 1 and `x = -u`.
                    u.iter_mut().for_each(|u| *u = -*u);
                    if side_by_side {
                        continue;
                    }
                    let (keys, rates) = ([occasion.write_keys(self.arrays[target].run, at, turn)], [rate]);
                    let (x, d): (&[f32], &[f32]) = if transfer.axis == Axis::Columns { (&[1.0], u) } else { (u, &[1.0]) };
                    let job = self.job(x, d, self.spans(transfer.axis, turn.line, 1), &rates, &keys);
                    self.pulse(target, &step.pulses, job, &[occasion.ordinal(place)], Use::WriteX, &[], tallies);
                }
            }
        }
        match step.target {
            Place::Array(target) if whole => self.write_whole(target, step, occasion, rate, &scratch.sums, cells, tallies),
            Place::Array(target) if side_by_side => self.write_side_by_side(target, step, at, occasion, rate, &scratch.sums, tallies),
            _ => {}
        }
    }

    /// The same for all turns in one job, a vector for each.
    #[allow(clippy::too_many_arguments)]
    fn write_side_by_side(
        &mut self,
        target: usize,
        step: &Write,
        at: usize,
        occasion: Occasion,
        rate: f64,
        u: &[f32],
        tallies: &mut Tallies,
    ) {
        let Occasion { transfer: Transfer { axis, .. }, turns, .. } = occasion;
        let (all, run) = (self.all_lines(*axis), self.arrays[target].run);
        let mut ones = vec![0.0; turns.len() * all];
        turns.iter().zip(ones.chunks_exact_mut(all)).for_each(|(turn, ones)| ones[turn.line] = 1.0);
        let (x, d): (&[f32], &[f32]) = if *axis == Axis::Columns { (&ones, u) } else { (u, &ones) };
        let keys: Vec<_> = turns.iter().map(|turn| occasion.write_keys(run, at, turn)).collect();
        let ordinals: Vec<_> = (0..turns.len()).map(|place| occasion.ordinal(place)).collect();
        let rates = vec![rate; turns.len()];
        let job = self.job(x, d, self.spans(*axis, 0, all), &rates, &keys);
        self.pulse(target, &step.pulses, job, &ordinals, Use::WriteX, &[], tallies);
    }

    /// The same with increments that need no trains, all at once where lines lie side by side.
    #[allow(clippy::too_many_arguments)]
    fn write_whole(
        &mut self,
        target: usize,
        step: &Write,
        occasion: Occasion,
        rate: f64,
        sums: &[f32],
        cells: usize,
        tallies: &mut Tallies,
    ) {
        let Occasion { transfer, turns, .. } = occasion;
        let keys = [Keys { x: self.run, d: self.run }];
        let mut begin = 0;
        for part in turns.chunk_by(|a, b| a.line + 1 == b.line) {
            let u = &sums[begin * cells..(begin + part.len()) * cells];
            begin += part.len();
            let turned = if transfer.axis == Axis::Columns { transposed(u, cells) } else { u.to_vec() };
            let spans = self.spans(transfer.axis, part[0].line, part.len());
            let rates = [rate];
            let job = Job { given: &turned, ..self.job(&[], &[], spans, &rates, &keys) };
            self.pulse(target, &step.pulses, job, &[0], Use::WriteX, &[], tallies);
        }
    }

    /// Makes amounts of sums, in units, and takes from the source what a threshold takes. False: nothing is left to write.
    fn amount(&mut self, step: &Write, lines: &Lines, u: &mut [f32], kept: &mut [f32]) -> bool {
        let mut any = false;
        self.machine.isa.run(Amount { sum: u, unit: step.unit, deadband: step.deadband, any: &mut any });
        if let (Some(threshold), [Term { place: Place::Digital(source), .. }]) = (step.threshold, step.source.as_slice()) {
            self.digital[*source].read(lines, kept);
            self.machine.isa.run(Consume { sum: u, kept, unit: step.unit, threshold, any: &mut any });
            self.digital[*source].write(lines, kept);
        }
        any
    }

    /// Adds what the periphery of a transfer shows of the lines of an array, one after the other.
    fn read_array(&self, at: usize, occasion: Occasion, noted: Option<Noted>, tallies: &Tallies, seen: &mut Vec<f32>) {
        let Occasion { transfer, turns, .. } = occasion;
        let array = &self.arrays[at];
        let forward = transfer.axis == Axis::Columns;
        let fixed = array.fixed.child(if forward { Side::ReadColumns } else { Side::ReadRows } as u64);
        if transfer.io.needs_whole_row() {
            let mut values = Vec::new();
            array.seen_now(&Lines::All, &tallies[at], self.moment, &mut values);
            let matrix = Matrix { values: &values, rows: self.rows, columns: self.columns, forward };
            for turn in turns {
                let mut x = vec![0.0; if forward { self.columns } else { self.rows }];
                x[turn.line] = 1.0;
                let key = |purpose: Use| occasion.key(array.run.of(purpose), turn.line);
                let streams = Streams { inp: key(Use::ReadIn), out: key(Use::ReadOut), first: 0, fixed, noise: true };
                seen.extend(product(self.machine, &transfer.io, matrix, &x, streams, &mut Mean::default(), false));
            }
            return;
        }
        let from = seen.len();
        match noted {
            Some((notes, first)) => {
                for (place, turn) in turns.iter().enumerate() {
                    array.noted(&Lines::of(transfer.axis, turn.line), notes, first + place, self.moment, seen);
                }
            }
            None => {
                for turn in turns {
                    array.seen_now(&Lines::of(transfer.axis, turn.line), &tallies[at], self.moment, seen);
                }
            }
        }
        let cells = if forward { self.rows } else { self.columns };
        let chain = ReadChain::new(self.machine.isa, &transfer.io, cells, fixed);
        let work = (seen.len() - from) * 4;
        self.machine.pool.chunks(&mut seen[from..], cells, work, 0, |place, z| {
            let key = occasion.key(array.run.of(Use::ReadOut), turns[place].line);
            chain.read(z, key.child(0).child(0));
        });
    }

    /// Resets a line of every source array, with the transfer's probability.
    fn reset_sources(&mut self, occasion: Occasion, line: usize) {
        let transfer = occasion.transfer;
        if transfer.reset_prob == 0.0 || occasion.key(self.run.of(Use::ResetLine), line).uniform(0, 0) >= transfer.reset_prob {
            return;
        }
        let lines = Lines::of(transfer.axis, line);
        for &source in &transfer.sources {
            for crossbar in self.arrays[source].parts_mut() {
                crossbar.reset_line(&lines, occasion.key(crossbar.run.of(Use::Reset).child(1), line));
            }
        }
    }
}

impl Occasion<'_> {
    /// The stream of the turn of a line, below what it is for.
    fn key(&self, purpose: Key, line: usize) -> Key {
        purpose.child(self.index as u64).child(self.number).child(line as u64)
    }

    /// The streams of what step `at` writes on the line of a turn; `run` is that of the array.
    fn write_keys(&self, run: Key, at: usize, turn: &Turn) -> Keys {
        let tags = [self.index as u64, at as u64, self.number, turn.line as u64];
        let key = |purpose: Use| tags.iter().fold(run.of(purpose), |key, tag| key.child(*tag));
        Keys { x: key(Use::WriteX), d: key(Use::WriteD) }
    }

    /// The number of a turn among all of its transfer. Counters from a state may be anything.
    fn ordinal(&self, place: usize) -> u64 {
        self.number.wrapping_mul(self.turns.len() as u64).wrapping_add(place as u64)
    }
}

/// `sum <- [sum +] factor value [sign]`.
struct Sum<'a> {
    sum: &'a mut [f32],
    values: &'a [f32],
    factor: f32,
    sign: f32,
    /// Signs of the crossing lines; empty: all 1.
    cross: &'a [f32],
    first: bool,
}

impl Kernel for Sum<'_> {
    #[inline(always)]
    fn run<S: Set>(self) {
        for (at, (sum, v)) in self.sum.iter_mut().zip(self.values).enumerate() {
            let sign = if self.cross.is_empty() { self.sign } else { self.sign * self.cross[at] };
            let v = (self.factor * v) * sign;
            *sum = if self.first { v } else { *sum + v };
        }
    }
}

/// `line <- keep line + gain sum`; what is not kept does not matter, even if it is no number.
struct Filter<'a> {
    line: &'a mut [f32],
    sum: &'a [f32],
    keep: f32,
    gain: f32,
}

impl Kernel for Filter<'_> {
    #[inline(always)]
    fn run<S: Set>(self) {
        for (v, sum) in self.line.iter_mut().zip(self.sum) {
            let more = self.gain * sum;
            *v = finite(if self.keep == 0.0 { more } else { self.keep * *v + more });
        }
    }
}

/// `u <- u / unit`, 0 where `|u| <= deadband`.
struct Amount<'a> {
    sum: &'a mut [f32],
    unit: f32,
    deadband: f32,
    any: &'a mut bool,
}

impl Kernel for Amount<'_> {
    #[inline(always)]
    fn run<S: Set>(self) {
        let mut any = 0;
        for u in self.sum.iter_mut() {
            *u = finite(if u.abs() > self.deadband { *u / self.unit } else { 0.0 });
            any |= u32::from(*u != 0.0);
        }
        *self.any = any != 0;
    }
}

/// `u <- clip(trunc(u), +-cap)`, and what stays behind of the source.
struct Consume<'a> {
    sum: &'a mut [f32],
    kept: &'a mut [f32],
    unit: f32,
    threshold: Threshold,
    any: &'a mut bool,
}

impl Kernel for Consume<'_> {
    #[inline(always)]
    fn run<S: Set>(self) {
        let Threshold { cap, momentum, forget, limit } = self.threshold;
        let bound = if limit > 0.0 && !forget { limit } else { f32::MAX };
        let mut any = 0;
        for (u, kept) in self.sum.iter_mut().zip(self.kept) {
            let n = clip(u.trunc(), -cap, cap);
            let rest = if forget { momentum * *kept } else { *kept - ((1.0 - momentum) * n) * self.unit };
            *kept = if n != 0.0 { clip(rest, -bound, bound) } else { *kept };
            *u = n;
            any |= u32::from(n != 0.0);
        }
        *self.any = any != 0;
    }
}
