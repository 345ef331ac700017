//! One entry for every update of a crossbar, whatever its pulse type: gradients, writes of transfers, one-sided pairs.

use super::kernel::{self, Coincidences};
use super::trains::{Side, Trains};
use super::{PulseTrain, PulseType, Scale, exact};
use crate::mvm::abs_max;
use crate::pool::Machine;
use crate::rng::{Key, Use};
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

/// Rank-one updates of a crossbar, one vector after the other: `values -= rate d x^T`.
#[derive(Clone, Copy)]
pub(crate) struct Job<'a> {
    /// `[m][columns]`
    pub(crate) x: &'a [f32],
    /// `[m][rows]`
    pub(crate) d: &'a [f32],
    pub(crate) rate: f64,
    /// Mean change of the weight by a pulse: what the rate is divided by.
    pub(crate) granularity: f64,
    /// The streams of each vector.
    pub(crate) keys: &'a [Keys],
    /// Noise of the call's pulses; then row.
    pub(crate) noise: Key,
    /// The vectors that this crossbar takes; none: all. The streams of the others stay unused.
    pub(crate) takes: Option<&'a [bool]>,
    pub(crate) route: Route,
    /// Every x is zero but at this column.
    pub(crate) column: Option<usize>,
    /// Every d is zero but at this row.
    pub(crate) row: Option<usize>,
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

/// Carries out `job`.
pub(crate) fn update(machine: Machine, crossbar: &mut Crossbar, pulses: &PulseTrain, job: &Job, tally: Option<&mut Tally>) {
    if pulses.pulse_type != PulseType::Stochastic {
        return exact::update(machine, crossbar, pulses, job, tally);
    }
    let (x, d) = job.trains(machine, pulses, &job.scales(pulses));
    let (x, d) = match job.route {
        Route::Both => (x, d),
        Route::Up => (x.by_sign(), d.answer(1)),
        Route::DownAsUp => (x.by_sign(), d.answer(0)),
    };
    let what = Coincidences { x: &x, d: &d, key: job.noise };
    match job.column {
        Some(column) => kernel::pulse_column(crossbar, column, what, tally),
        None => kernel::pulse(machine, crossbar, what, job.lines(crossbar), tally),
    }
}

impl<'a> Job<'a> {
    /// The vectors that are taken.
    pub(crate) fn vectors(&self) -> impl Iterator<Item = usize> {
        (0..self.keys.len()).filter(|b| self.takes.is_none_or(|takes| takes[*b]))
    }

    /// Inputs and errors of a vector.
    #[inline(always)]
    pub(crate) fn vector(&self, b: usize) -> (&'a [f32], &'a [f32]) {
        let (columns, rows) = (self.x.len() / self.keys.len(), self.d.len() / self.keys.len());
        (&self.x[b * columns..(b + 1) * columns], &self.d[b * rows..(b + 1) * rows])
    }

    /// The rows that can change.
    pub(crate) fn lines(&self, crossbar: &Crossbar) -> Range<usize> {
        self.row.map_or(0..crossbar.values.len() / crossbar.columns, |row| row..row + 1)
    }

    /// The columns that can change, of all `columns`.
    pub(crate) fn seen(&self, columns: usize) -> Range<usize> {
        self.column.map_or(0..columns, |column| column..column + 1)
    }

    /// Slots and amplifications of each vector; a vector that is not taken has none.
    pub(crate) fn scales(&self, pulses: &PulseTrain) -> Vec<Scale> {
        let mut scales = vec![Scale { bl: 0, d: 0.0, x: 0.0 }; self.keys.len()];
        for b in self.vectors() {
            let (x, d) = self.vector(b);
            let (x_max, d_max) = if pulses.managed() { (abs_max(x), abs_max(d)) } else { (0.0, 0.0) };
            scales[b] = pulses.scale(self.rate, self.granularity, x_max as f64, d_max as f64);
        }
        scales
    }

    /// The two sides, the first that of the input lines, with the resolutions of their probabilities.
    pub(crate) fn sides<'b>(&self, scales: &[Scale], bl: &'b [usize], res: [f64; 2], sto_round: bool) -> [Side<'b>; 2]
    where
        'a: 'b,
    {
        let m = self.keys.len();
        let x = Side {
            values: self.x,
            lines: self.x.len() / m,
            bl,
            amplify: scales.iter().map(|s| s.x).collect(),
            keys: self.keys.iter().map(|k| k.x).collect(),
            flip: false,
            res: res[0],
            rounding: sto_round.then_some(Use::RoundX),
        };
        let d = Side {
            values: self.d,
            lines: self.d.len() / m,
            bl,
            amplify: scales.iter().map(|s| s.d).collect(),
            keys: self.keys.iter().map(|k| k.d).collect(),
            flip: self.rate < 0.0,
            res: res[1],
            rounding: sto_round.then_some(Use::RoundD),
        };
        [x, d]
    }

    /// The trains of both sides, of vectors with these `scales`.
    pub(crate) fn trains(&self, machine: Machine, pulses: &PulseTrain, scales: &[Scale]) -> (Trains, Trains) {
        let bl: Vec<_> = scales.iter().map(|s| s.bl).collect();
        let [x, d] = self.sides(scales, &bl, [pulses.res; 2], pulses.sto_round);
        (Trains::draw(machine, &x), Trains::draw(machine, &d))
    }
}

/// Consecutive rows of a crossbar, with what is counted of their cells.
pub(crate) struct Lines<'a> {
    /// The first of them.
    pub(crate) first: usize,
    pub(crate) values: &'a mut [f32],
    pub(crate) n: Option<&'a mut [u32]>,
    pub(crate) counts: Option<&'a mut [Count]>,
}

/// Splits rows `lines` between the workers. `work` is what all of them cost, in cell visits.
pub(crate) fn on_lines(
    machine: Machine,
    values: &mut [f32],
    tally: Option<&mut Tally>,
    columns: usize,
    lines: Range<usize>,
    work: usize,
    f: impl Fn(Lines) + Sync,
) {
    let share = machine.pool.share(lines.len());
    let (cells, size) = (lines.start * columns..lines.end * columns, share * columns);
    let (n, counts) = tally.map_or((None, None), |tally| (tally.n.as_mut(), tally.counts.as_mut()));
    let mut n = n.map(|n| n[cells.clone()].chunks_mut(size));
    let mut counts = counts.map(|counts| counts[cells.clone()].chunks_mut(size));
    let mut parts: Vec<Lines> = Vec::new();
    for (at, values) in values[cells].chunks_mut(size).enumerate() {
        let (n, counts) = (n.as_mut().and_then(Iterator::next), counts.as_mut().and_then(Iterator::next));
        parts.push(Lines { first: lines.start + at * share, values, n, counts });
    }
    machine.pool.run(parts.into_iter(), work, share, |_, lines| f(lines));
}
