//! One entry for every update of a crossbar, whatever its pulse type: gradients, writes of transfers, one-sided pairs.

use super::kernel::{self, Coincidences};
use super::notes::{Notes, Places, Seen};
use super::short::Short;
use super::trains::{Side, Trains};
use super::{PulseTrain, Scale, column, exact};
use crate::mvm::abs_max;
use crate::pool::Machine;
use crate::rng::Key;
use crate::tile::crossbar::Crossbar;
use std::ops::Range;

/// Streams of one vector.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Keys {
    /// Trains of the input lines.
    pub(crate) x: Key,
    /// Trains of the error lines.
    pub(crate) d: Key,
}

/// Which pulses reach the cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Route {
    /// All of them.
    Both,
    /// The up pulses alone.
    Up,
    /// The down pulses alone, and they go up.
    DownAsUp,
}

/// Consecutive lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) first: usize,
    pub(crate) len: usize,
}

impl Span {
    pub(crate) fn range(self) -> Range<usize> {
        self.first..self.first + self.len
    }
}

/// Rank-one updates of some rows and columns of a crossbar, one vector after the other: `values -= rate d x^T`.
#[derive(Clone, Copy)]
pub(crate) struct Job<'a> {
    /// `[m][columns]`
    pub(crate) x: &'a [f32],
    /// `[m][rows]`
    pub(crate) d: &'a [f32],
    /// `[rows][columns]`: increments over the rate, in place of x and d; empty: none are given.
    pub(crate) given: &'a [f32],
    pub(crate) rows: Span,
    pub(crate) columns: Span,
    /// The rate of each vector.
    pub(crate) rates: &'a [f64],
    /// How much of what this crossbar gets is seen in the weight: what the rates are divided by.
    pub(crate) share: f64,
    /// Mean change of the weight by a pulse: what the rates are divided by to give pulses.
    pub(crate) granularity: f64,
    /// The streams of each vector.
    pub(crate) keys: &'a [Keys],
    /// Noise of the call's pulses; then row.
    pub(crate) noise: Key,
    /// The vectors that this crossbar takes; none: all. The streams of the others stay unused.
    pub(crate) takes: Option<&'a [bool]>,
    pub(crate) route: Route,
}

/// What is noted of the pulses of each cell. An increment that is not made of pulses counts as one.
#[derive(Debug, Clone)]
pub(crate) struct Tally {
    /// Those of this update call: the ordinal of the next one. Without it they are numbered from 0: a cell gets pulses in one job of the call only.
    pub(crate) n: Option<Vec<u32>>,
    /// Those since the tile was built, if they are counted.
    pub(crate) counts: Option<Vec<Count>>,
}

/// Pulses up and down; they end at 2^32 - 1.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Count {
    pub(crate) up: u32,
    pub(crate) down: u32,
}

impl Count {
    /// With `ups` among `all` further pulses.
    #[inline(always)]
    pub(crate) fn plus(self, ups: u32, all: u32) -> Self {
        Self { up: self.up.saturating_add(ups), down: self.down.saturating_add(all - ups) }
    }
}

/// Carries out `job`, and notes what cells are in the middle of it; only updates by trains can be asked for that.
pub(crate) fn update(
    machine: Machine,
    crossbar: &mut Crossbar,
    pulses: &PulseTrain,
    job: &Job,
    tally: Option<&mut Tally>,
    notes: &mut Notes,
) {
    if !pulses.has_trains() {
        return exact::update(machine, crossbar, pulses, job, tally);
    }
    let [x, d] = job.trains(machine, pulses, &job.scales(pulses));
    let (x, d) = match job.route {
        Route::Both => (x, d),
        Route::Up => (x.by_sign(), d.answer(1)),
        Route::DownAsUp => (x.by_sign(), d.answer(0)),
    };
    if job.columns.len == 1 && crossbar.columns > 1 {
        return column::pulse_column(machine, crossbar, job.columns.first, [&x, &d], job.noise, tally);
    }
    let short = Short::where_better(machine.isa, &x, &d, [job.rows.len, job.columns.len]);
    let what = Coincidences { x: &x, d: &d, short: short.as_ref(), key: job.noise };
    kernel::pulse(machine, crossbar, what, job.rows.range(), tally, notes);
}

impl<'a> Job<'a> {
    /// The vectors that are taken.
    pub(crate) fn vectors(&self) -> impl Iterator<Item = usize> {
        (0..self.keys.len()).filter(|b| self.takes.is_none_or(|takes| takes[*b]))
    }

    /// Inputs and errors of a vector, on the job's lines.
    #[inline(always)]
    pub(crate) fn vector(&self, b: usize) -> (&'a [f32], &'a [f32]) {
        let (columns, rows) = (self.columns.len, self.rows.len);
        (&self.x[b * columns..(b + 1) * columns], &self.d[b * rows..(b + 1) * rows])
    }

    /// The rate of a vector.
    #[inline(always)]
    pub(crate) fn rate(&self, b: usize) -> f64 {
        match self.share {
            1.0 => self.rates[b],
            share => (self.rates[b] / share).clamp(-f64::from(f32::MAX), f64::from(f32::MAX)),
        }
    }

    /// Slots and amplifications of each vector; a vector that is not taken has none.
    pub(crate) fn scales(&self, pulses: &PulseTrain) -> Vec<Scale> {
        let mut scales = vec![Scale { bl: 0, d: 0.0, x: 0.0 }; self.keys.len()];
        for b in self.vectors() {
            let (x, d) = self.vector(b);
            let (x_max, d_max) = if pulses.managed() { (abs_max(x), abs_max(d)) } else { (0.0, 0.0) };
            scales[b] = pulses.scale(self.rate(b), self.granularity, x_max as f64, d_max as f64);
        }
        scales
    }

    /// The two sides, the first that of the input lines, with the resolutions of their probabilities.
    pub(crate) fn sides<'b>(&'b self, scales: &'b [Scale], [x, d]: [f64; 2], sto_round: bool) -> [Side<'b>; 2] {
        [(true, x), (false, d)].map(|(inputs, res)| Side { job: self, scales, inputs, res, sto_round })
    }

    /// The trains of both sides, of vectors with these `scales`.
    pub(crate) fn trains(&self, machine: Machine, pulses: &PulseTrain, scales: &[Scale]) -> [Trains; 2] {
        Trains::draw(machine, &self.sides(scales, [pulses.res; 2], pulses.sto_round))
    }
}

/// Consecutive rows of a crossbar, with what is counted and noted of their cells.
pub(crate) struct Lines<'a> {
    /// The first of them.
    pub(crate) first: usize,
    pub(crate) values: &'a mut [f32],
    pub(crate) n: Option<&'a mut [u32]>,
    pub(crate) counts: Option<&'a mut [Count]>,
    pub(crate) seen: &'a mut [Seen],
}

/// Splits rows `lines` between the workers. `work` is what all of them cost, in nanoseconds, roughly.
#[allow(clippy::too_many_arguments)]
pub(crate) fn on_lines(
    machine: Machine,
    values: &mut [f32],
    tally: Option<&mut Tally>,
    notes: &mut Notes,
    columns: usize,
    lines: Range<usize>,
    work: usize,
    f: impl Fn(Lines, &Places) + Sync,
) {
    let share = machine.pool.share(lines.len(), work);
    let Notes { places, seen } = notes;
    let (cells, size) = (lines.start * columns..lines.end * columns, share * columns);
    let (n, counts) = tally.map_or((None, None), |tally| (tally.n.as_mut(), tally.counts.as_mut()));
    let mut n = n.map(|n| n[cells.clone()].chunks_mut(size));
    let mut counts = counts.map(|counts| counts[cells.clone()].chunks_mut(size));
    let mut seen = places.split(seen, lines.clone(), share);
    let mut parts: Vec<Lines> = Vec::new();
    for (at, values) in values[cells].chunks_mut(size).enumerate() {
        let (n, counts) = (n.as_mut().and_then(Iterator::next), counts.as_mut().and_then(Iterator::next));
        parts.push(Lines { first: lines.start + at * share, values, n, counts, seen: seen.next().unwrap_or_default() });
    }
    machine.pool.run(parts.into_iter(), work, share, |_, lines| f(lines, places));
}
