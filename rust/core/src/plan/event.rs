//! An event: lines are read, then the steps run on them one line after the other.

use super::executor::{Executor, Tallies};
use super::schedule::Turn;
use super::{Accumulate, Axis, Flips, Place, Step, Term, Threshold, Transfer, Write};
use crate::mvm::{Matrix, Mean, ReadChain, Side, Streams, product};
use crate::pulse::{Keys, Notes};
use crate::rng::{Key, Use};
use crate::simd::{Kernel, clip, finite};
use crate::tile::crossbar::Lines;

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

/// What events read, and scratch for their lines.
struct Readings<'a> {
    /// `[source][turn][cell of the line]`
    seen: Vec<f32>,
    sources: &'a [usize],
    turns: &'a [Turn],
    /// Cells of a line.
    cells: usize,
}

impl Readings<'_> {
    fn of(&self, array: usize, turn: usize) -> &[f32] {
        let source = self.sources.iter().position(|source| *source == array).unwrap_or(0);
        &self.seen[(source * self.turns.len() + turn) * self.cells..][..self.cells]
    }
}

impl Executor<'_> {
    /// An event of a transfer.
    pub(super) fn transfer(&mut self, occasion: Occasion, noted: Option<Noted>, tallies: &mut Tallies) {
        let Occasion { transfer, index, number, rho, turns, crosses } = occasion;
        let cells = if transfer.axis == Axis::Columns { self.rows } else { self.columns };
        let key = |key: Key, line: usize| key.child(index as u64).child(number).child(line as u64);
        let mut seen = Vec::with_capacity(transfer.sources.len() * turns.len() * cells);
        for &source in &transfer.sources {
            let noted = noted.filter(|_| self.plan.gradient.target == Place::Array(source));
            self.read_array(source, transfer, turns, noted, tallies, &key, &mut seen);
        }
        let readings = Readings { seen, sources: &transfer.sources, turns, cells };
        let (mut sum, mut line) = (vec![0f32; cells], vec![0f32; cells]);
        for (place, turn) in turns.iter().enumerate() {
            let lines = Lines::of(transfer.axis, turn.line);
            self.reset_sources(transfer, turn.line, &|of| key(of, turn.line));
            for (at, step) in transfer.steps.iter().enumerate() {
                self.sum(step.source(), &readings, place, crosses, &lines, &mut sum);
                match step {
                    Step::Accumulate(step) => {
                        let key = |run: Key| key(run.of(Use::Copy), turn.line).child(at as u64);
                        self.accumulate(step, &lines, rho, &sum, &mut line, tallies, &key);
                    }
                    Step::Write(step) => {
                        // Counters from a state may be anything.
                        let ordinal = number.wrapping_mul(turns.len() as u64).wrapping_add(place as u64);
                        let tags = [index as u64, at as u64, number, turn.line as u64];
                        self.write(step, transfer.axis, turn, rho, &mut sum, tags, ordinal, tallies);
                    }
                }
            }
            if turn.flips && transfer.chopper.is_some_and(|chopper| chopper.flips != Flips::Together) {
                self.latch(transfer, &lines, &mut line, &|of| key(of.of(Use::Latch), turn.line));
            }
        }
        if turns.first().is_some_and(|turn| turn.flips) && transfer.chopper.is_some_and(|chopper| chopper.flips == Flips::Together) {
            for all in 0..self.rows * self.columns / cells {
                self.latch(transfer, &Lines::of(transfer.axis, all), &mut line, &|of| key(of.of(Use::Latch), all));
            }
        }
    }

    /// `sum of factor [c] source` on the line of a turn.
    fn sum(&self, terms: &[Term], readings: &Readings, place: usize, crosses: &[Vec<f32>], lines: &Lines, sum: &mut [f32]) {
        let turn = &readings.turns[place];
        let mut gathered = Vec::new();
        for (at, term) in terms.iter().enumerate() {
            let values = match term.place {
                Place::Array(array) => readings.of(array, place),
                Place::Digital(matrix) => {
                    gathered.resize(sum.len(), 0.0);
                    self.digital[matrix].read(lines, &mut gathered);
                    &gathered
                }
            };
            let (sign, cross) = if term.chopped { (turn.sign, crosses[turn.cross].as_slice()) } else { (1.0, [].as_slice()) };
            self.machine.isa.run(Sum { sum, values, factor: term.factor, sign, cross, first: at == 0 });
        }
    }

    /// `into <- keep into + gain sum`, `key` that of the step.
    #[allow(clippy::too_many_arguments)]
    fn accumulate(
        &mut self,
        step: &Accumulate,
        lines: &Lines,
        rho: f64,
        sum: &[f32],
        line: &mut Vec<f32>,
        tallies: &Tallies,
        key: &dyn Fn(Key) -> Key,
    ) {
        let gain = step.gain.at(self.lr, rho) as f32;
        match step.into {
            Place::Digital(into) => self.digital[into].read(lines, line),
            Place::Array(into) => {
                line.clear();
                self.arrays[into].seen_now(lines, &tallies[into], self.moment, line);
            }
        }
        self.machine.isa.run(Filter { line, sum, keep: step.keep, gain });
        self.put(step.into, lines, line, key);
    }

    /// Sets a line of a matrix; on an array it is programmed.
    fn put(&mut self, place: Place, lines: &Lines, values: &[f32], key: &dyn Fn(Key) -> Key) {
        match place {
            Place::Digital(matrix) => self.digital[matrix].write(lines, values),
            Place::Array(array) => self.arrays[array].set(lines, values, key),
        }
    }

    /// Copies what the chopper latches on a line.
    fn latch(&mut self, transfer: &Transfer, lines: &Lines, line: &mut [f32], key: &dyn Fn(Key) -> Key) {
        if let Some((Place::Digital(from), to)) = transfer.chopper.and_then(|chopper| chopper.latch) {
            self.digital[from].read(lines, line);
            self.put(to, lines, line, key);
        }
    }

    /// `target += rate u` on the line of a turn, `u` made of `sum`, in pulses: on columns `x` is 1 on that line and `d = -u`; on rows `d` is 1 and `x = -u`.
    #[allow(clippy::too_many_arguments)]
    fn write(
        &mut self,
        step: &Write,
        axis: Axis,
        turn: &Turn,
        rho: f64,
        sum: &mut [f32],
        tags: [u64; 4],
        ordinal: u64,
        tallies: &mut Tallies,
    ) {
        let lines = Lines::of(axis, turn.line);
        let mut any = false;
        self.machine.isa.run(Amount { sum, unit: step.unit, deadband: step.deadband, any: &mut any });
        if let (Some(threshold), [Term { place: Place::Digital(source), .. }]) = (step.threshold, step.source.as_slice()) {
            let mut kept = vec![0.0; sum.len()];
            self.digital[*source].read(&lines, &mut kept);
            self.machine.isa.run(Consume { sum, kept: &mut kept, unit: step.unit, threshold, any: &mut any });
            self.digital[*source].write(&lines, &kept);
        }
        if !any || step.after_passes.is_some_and(|passes| turn.pass <= passes) {
            return;
        }
        let rate = step.rate.at(self.lr, rho);
        match step.target {
            Place::Digital(target) => {
                let mut line = vec![0.0; sum.len()];
                self.digital[target].read(&lines, &mut line);
                let rate = rate as f32;
                line.iter_mut().zip(sum).for_each(|(v, u)| *v = finite(*v + finite(rate * *u)));
                self.digital[target].write(&lines, &line);
            }
            Place::Array(target) => {
                sum.iter_mut().for_each(|u| *u = -*u);
                let run = self.arrays[target].run;
                let key = |purpose: Use| tags.iter().fold(run.of(purpose), |key, tag| key.child(*tag));
                let (keys, rates) = ([Keys { x: key(Use::WriteX), d: key(Use::WriteD) }], [rate]);
                let (x, d): (&[f32], &[f32]) = if axis == Axis::Columns { (&[1.0], sum) } else { (sum, &[1.0]) };
                let job = self.job(x, d, self.spans(axis, turn.line), &rates, &keys);
                self.pulse(target, &step.pulses, job, &[ordinal], Use::WriteX, &[], tallies);
            }
        }
    }

    /// What the periphery of a transfer shows of the lines of an array, one after the other.
    #[allow(clippy::too_many_arguments)]
    fn read_array(
        &self,
        at: usize,
        transfer: &Transfer,
        turns: &[Turn],
        noted: Option<Noted>,
        tallies: &Tallies,
        event: &dyn Fn(Key, usize) -> Key,
        seen: &mut Vec<f32>,
    ) {
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
                let key = |purpose: Use| event(array.run.of(purpose), turn.line);
                let streams = Streams { inp: key(Use::ReadIn), out: key(Use::ReadOut), first: 0, fixed, noise: true };
                seen.extend(product(self.machine, &transfer.io, matrix, &x, streams, &mut Mean::default(), false));
            }
            return;
        }
        let chain = ReadChain::new(&transfer.io);
        for (place, turn) in turns.iter().enumerate() {
            let from = seen.len();
            match noted {
                Some((notes, first)) => array.noted(&Lines::of(transfer.axis, turn.line), notes, first + place, self.moment, seen),
                None => array.seen_now(&Lines::of(transfer.axis, turn.line), &tallies[at], self.moment, seen),
            }
            let key = event(array.run.of(Use::ReadOut), turn.line);
            chain.read(self.machine.isa, &mut seen[from..], key.child(0).child(0), fixed);
        }
    }

    /// Resets the line of every source array, with the transfer's probability.
    fn reset_sources(&mut self, transfer: &Transfer, line: usize, event: &dyn Fn(Key) -> Key) {
        if transfer.reset_prob == 0.0 || event(self.run.of(Use::ResetLine)).uniform(0, 0) >= transfer.reset_prob {
            return;
        }
        let lines = Lines::of(transfer.axis, line);
        for &source in &transfer.sources {
            for crossbar in self.arrays[source].parts_mut() {
                crossbar.reset_line(&lines, event(crossbar.run.of(Use::Reset).child(1)));
            }
        }
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
    fn run(self) {
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
    fn run(self) {
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
    fn run(self) {
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
    fn run(self) {
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
