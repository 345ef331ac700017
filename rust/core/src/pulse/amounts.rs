//! What a cell gets of a vector where no train is sent to it: an increment, or a whole number of pulses, signed.
//!
//! ```text
//! product             dw = (-rate d_i) x_j, in f32, kept finite; summed left to right if the whole batch is given in one go
//! pulsed              u = |dw| / granularity in f64; ceil(u), floor(u) or floor(u + U); at most MAX_BL
//! mean count          n = clip(rint(BL p), 0, BL) of each line; rint(n_x n_d / BL)
//! implicit            rint(BL p_x p_d)
//! random increment    granularity N in f32, N the coincidences of two stochastic trains
//! ```
//!
//! Probabilities and counts are `f64` in the order written; ties go to the even number.

use super::trains::{SLOT_BITS, Side, Trains};
use super::update::{Job, Route};
use super::{MAX_BL, PulseTrain, PulseType, Rounding};
use crate::pool::Machine;
use crate::rng::Use;
use crate::simd::{LANES, Plain, finite};
use crate::tile::crossbar::Crossbar;
use std::ops::Range;

/// The amounts of all vectors of a job.
pub(super) struct Amounts<'a> {
    pub(super) job: &'a Job<'a>,
    /// The vectors that are taken.
    vectors: Vec<usize>,
    /// So many of them are given in one go.
    group: usize,
    granularity: f64,
    source: Source,
}

enum Source {
    Product,
    Pulses(Rounding),
    /// Signed numbers of the two sides, `[vectors][lines]`, and what their products are divided by.
    Lines {
        x: Vec<f64>,
        d: Vec<f64>,
        divisor: Vec<f64>,
    },
    Trains {
        x: Trains,
        d: Trains,
    },
}

impl<'a> Amounts<'a> {
    pub(super) fn new(machine: Machine, crossbar: &Crossbar, pulses: &PulseTrain, job: &'a Job<'a>) -> Self {
        let vectors: Vec<_> = job.vectors().collect();
        let source = match pulses.pulse_type {
            PulseType::Pulsed => Source::Pulses(pulses.rounding),
            PulseType::MeanCount | PulseType::DeterministicImplicit => lines(pulses, job),
            PulseType::RandomIncrement => {
                let [x, d] = job.trains(machine, pulses, &job.scales(pulses));
                Source::Trains { x, d }
            }
            _ => Source::Product,
        };
        let group = if pulses.sums() { vectors.len().max(1) } else { 1 };
        Self { job, vectors, group, granularity: crossbar.device.granularity(), source }
    }

    /// The vectors that are given in one go.
    pub(super) fn groups(&self) -> impl Iterator<Item = &[usize]> {
        self.vectors.chunks(self.group)
    }

    /// What the cells of row `line`, in the columns of the job, get of a group. False: nothing at all.
    #[inline(always)]
    pub(super) fn fill(&self, line: usize, group: &[usize], out: &mut [f32]) -> bool {
        let first = self.job.columns.first;
        let row = line - self.job.rows.first;
        let any = match &self.source {
            Source::Product | Source::Pulses(_) => self.products(row, group, out),
            Source::Lines { x, d, divisor } => count(x, d, divisor, row, group[0], out),
            Source::Trains { x, d } => {
                let b = group[0];
                coincide(x, d, x.begin(b)..x.begin(b + 1), self.granularity as f32, [line, first], out)
            }
        };
        if any && let Source::Pulses(rounding) = self.source {
            self.pulses(rounding, line, group[0], first, out);
        }
        if self.job.route != Route::Both {
            out.iter_mut().for_each(|amount| *amount = self.job.route.of(*amount));
        }
        any
    }

    #[inline(always)]
    fn products(&self, row: usize, group: &[usize], out: &mut [f32]) -> bool {
        if !self.job.given.is_empty() {
            let (rate, columns) = (self.job.rate(group[0]) as f32, self.job.columns.len);
            for (dw, u) in out.iter_mut().zip(&self.job.given[row * columns..]) {
                *dw = 0.0 + finite(rate * u);
            }
            return true;
        }
        let mut any = false;
        for b in group {
            let (x, d) = self.job.vector(*b);
            let scaled = finite(-(self.job.rate(*b) as f32) * d[row]);
            if scaled == 0.0 {
                continue;
            }
            // Loops, not closures: those are not compiled for the caller's instruction set.
            for (dw, x) in out.iter_mut().zip(x) {
                let before = if any { *dw } else { 0.0 };
                *dw = finite(before + finite(scaled * x));
            }
            any = true;
        }
        any
    }

    /// Increments become pulses.
    #[inline(never)]
    fn pulses(&self, rounding: Rounding, line: usize, vector: usize, first: usize, out: &mut [f32]) {
        let key = self.job.keys[vector].d.of(Use::RoundCount).child(line as u64);
        for (at, amount) in out.iter_mut().enumerate() {
            let wanted = amount.abs() as f64 / self.granularity;
            let n = match rounding {
                Rounding::Ceil => wanted.ceil(),
                Rounding::Floor => wanted.floor(),
                Rounding::Stochastic => (wanted + key.uniform((first + at) as u32, 0) as f64).floor(),
            };
            *amount = (n.min(MAX_BL as f64) as f32).copysign(*amount);
        }
    }
}

/// Numbers of the two sides for the types without randomness.
fn lines(pulses: &PulseTrain, job: &Job) -> Source {
    let scales = job.scales(pulses);
    let implicit = pulses.pulse_type == PulseType::DeterministicImplicit;
    let res = if implicit { [pulses.x_res_implicit, pulses.d_res_implicit] } else { [pulses.res; 2] };
    let [x, d] = job.sides(&scales, res, pulses.sto_round && !implicit);
    let numbers = |side: &Side, of: fn(f64, f64) -> f64| {
        let lines = side.lines();
        let mut numbers = Vec::with_capacity(scales.len() * lines.len());
        for (vector, scale) in scales.iter().enumerate() {
            for first in lines.clone().step_by(LANES) {
                let (values, own) = side.values::<Plain>(vector, first);
                let p = side.probabilities(vector, first, &values, own.clone());
                let signed = |value: &f32, n: f64| if (*value < 0.0) != side.flip(vector) { -n } else { n };
                numbers.extend(values[own].iter().zip(p).map(|(value, p)| signed(value, of(scale.bl as f64, p))));
            }
        }
        numbers
    };
    if implicit {
        Source::Lines { x: numbers(&x, |bl, p| bl * p), d: numbers(&d, |_, p| p), divisor: vec![1.0; scales.len()] }
    } else {
        let fired = |bl: f64, p: f64| (bl * p).round_ties_even();
        let divisor = scales.iter().map(|scale| scale.bl.max(1) as f64).collect();
        Source::Lines { x: numbers(&x, fired), d: numbers(&d, fired), divisor }
    }
}

#[inline(never)]
fn count(x: &[f64], d: &[f64], divisor: &[f64], row: usize, b: usize, out: &mut [f32]) -> bool {
    let (columns, rows) = (x.len() / divisor.len(), d.len() / divisor.len());
    let d = d[b * rows + row];
    let x = &x[b * columns..];
    out.iter_mut().zip(x).for_each(|(n, x)| *n = -(x * d / divisor[b]).round_ties_even() as f32);
    d != 0.0
}

#[inline(never)]
fn coincide(x: &Trains, d: &Trains, entries: Range<usize>, granularity: f32, [line, first]: [usize; 2], out: &mut [f32]) -> bool {
    let d = &d.block(line / LANES)[entries.clone()];
    for (at, amount) in out.iter_mut().enumerate() {
        let column = first + at;
        let mut n = 0;
        for (x, d) in x.block(column / LANES)[entries.clone()].iter().zip(d) {
            let (x, d) = (x[column % LANES], d[line % LANES]);
            let size = (x & d & SLOT_BITS).count_ones() as i32;
            n += if (x ^ d) >> 31 == 1 { size } else { -size };
        }
        *amount = granularity * n as f32;
    }
    d.iter().any(|d| d[line % LANES] != 0)
}

impl Route {
    /// What this route makes of an amount.
    #[inline(always)]
    fn of(self, amount: f32) -> f32 {
        match self {
            Route::Both => amount,
            Route::Up if amount > 0.0 => amount,
            Route::DownAsUp if amount < 0.0 => -amount,
            _ => 0.0,
        }
    }
}
