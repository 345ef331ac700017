//! One crossbar of one device: the stored values of its cells, their parameters, and its stream.
//!
//! A cell stores `v = w + reference`; the network sees `w`. With write noise what is seen is an **apparent** value, `v` plus noise that is drawn anew
//! whenever the cell was changed, while pulses, decay, diffusion, drift and reset work on the hidden, persistent `v`:
//!
//! ```text
//! decay      w <- (w - b) decay + b                      b the cell's reset target
//! diffusion  w <- w + diffusion z
//! reset      w <- b + reset_std z                        each cell asked for, with a probability
//! drift      w <- w0 max(t / t_0, 1)^-nu + w_noise_std z'   t the time since the cell was last changed, w0 its weight then
//!            nu <- nu - nu_k (ln((w0 - w_offset) / wg_ratio + g_offset) - log_g0) + nu_std nu z''
//! ```
//!
//! All of them clip to the bounds of the cell.

use crate::device::{Cells, DECAY, DIFFUSION, Device, Model, NU, Plane, REFERENCE, RESET, Visit, step};
use crate::error::{Error, Result, check_finite, check_matrix};
use crate::math::{exp, ln};
use crate::plan::Axis;
use crate::pulse::{Count, Seen, Tally};
use crate::rng::{Key, Use};
use crate::simd::clip;
use std::ops::Range;

/// Below the key of a change: its write noise. Rows have smaller tags.
const SHOWN: u64 = 1 << 32;

/// A crossbar of one device.
#[derive(Debug, Clone)]
pub(crate) struct Crossbar {
    pub(crate) device: Device,
    pub(crate) columns: usize,
    /// What the cells store: the seen weight plus the reference.
    pub(crate) values: Vec<f32>,
    /// What is seen of them, with write noise.
    apparent: Option<Vec<f32>>,
    pub(crate) cells: Cells,
    /// Its run stream.
    pub(crate) run: Key,
    clock: Option<Clock>,
    /// Pulses of every cell, if they are counted.
    pub(super) counts: Option<Vec<Count>>,
}

/// Since when a cell drifts: its weight then, its weight after the last call, the time since.
#[derive(Debug, Clone)]
struct Clock {
    start: Vec<f32>,
    last: Vec<f32>,
    time: Vec<f32>,
}

/// Which cells an operation is about.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Lines {
    All,
    Column(usize),
    Row(usize),
}

impl Lines {
    pub(crate) fn of(axis: Axis, line: usize) -> Self {
        if axis == Axis::Columns { Lines::Column(line) } else { Lines::Row(line) }
    }
}

/// To whose streams the noise of pulses belongs: an update call, by its first vector, or an operation.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Moment {
    Call(u64),
    Operation(u64),
}

impl Moment {
    /// The noise of pulses, below the run stream of a crossbar; then row.
    pub(crate) fn pulses(self, run: Key) -> Key {
        match self {
            Moment::Call(first_vector) => run.of(Use::Pulse).child(first_vector),
            Moment::Operation(number) => run.of(Use::Program).child(number),
        }
    }

    /// Its own number.
    pub(crate) fn number(self) -> u64 {
        match self {
            Moment::Call(number) | Moment::Operation(number) => number,
        }
    }

    /// Write noise; then row.
    pub(crate) fn shown(self, run: Key) -> Key {
        match self {
            Moment::Call(first_vector) => run.of(Use::WriteNoise).child(0).child(first_vector),
            Moment::Operation(number) => run.of(Use::WriteNoise).child(1).child(number),
        }
    }
}

impl Crossbar {
    /// Draws the cells; the weights start at 0 (as far as the bounds allow).
    pub(crate) fn new(device: Device, [rows, columns]: [usize; 2], draw: Key, run: Key, count: bool) -> Self {
        let cells = device.draw(draw, rows, columns);
        let size = rows * columns;
        let apparent = (device.write_noise() > 0.0).then(|| vec![0.0; size]);
        let counts = count.then(|| vec![Count::default(); size]);
        let mut crossbar = Self { device, columns, values: vec![0.0; size], apparent, cells, run, clock: None, counts };
        crossbar.set(&Lines::All, std::iter::repeat_n(0.0, size), Moment::Operation(0).shown(run));
        crossbar
    }

    fn reference(&self) -> &Plane {
        &self.cells.planes[REFERENCE]
    }

    /// Whether what is stored is what is seen.
    pub(crate) fn is_plain(&self) -> bool {
        self.apparent.is_none() && matches!(self.reference(), Plane::Uniform(r) if *r == 0.0)
    }

    /// The weight that the network sees at flat index `at`.
    #[inline(always)]
    pub(crate) fn seen(&self, at: usize) -> f32 {
        let v = self.apparent.as_ref().unwrap_or(&self.values)[at];
        if matches!(self.reference(), Plane::Uniform(r) if *r == 0.0) { v } else { v - self.reference().at(at) }
    }

    /// The persistent weight behind it.
    pub(crate) fn hidden(&self, at: usize) -> f32 {
        self.values[at] - self.reference().at(at)
    }

    /// Stores the weight `w`, clipped to the cell's bounds.
    fn store(&mut self, at: usize, w: f32) {
        let plain = matches!(self.reference(), Plane::Uniform(r) if *r == 0.0);
        let v = if plain { w } else { w + self.reference().at(at) };
        self.values[at] = clip(v, self.cells.planes[1].at(at), self.cells.planes[0].at(at));
    }

    /// Draws the write noise of a cell afresh; `key` belongs to what happened.
    fn show(&mut self, at: usize, key: Key) {
        if let Some(apparent) = &mut self.apparent {
            let z = key.child((at / self.columns) as u64).normal((at % self.columns) as u32, 0);
            apparent[at] = self.values[at] + self.device.write_noise() * z;
        }
    }

    /// The stream of write noise after operation number `operation` of the tile.
    fn operation_key(&self, operation: u64) -> Key {
        Moment::Operation(operation).shown(self.run)
    }

    /// Sets the weights of some lines, in their order; `key` is the stream of their write noise.
    pub(crate) fn set(&mut self, lines: &Lines, w: impl Iterator<Item = f32>, key: Key) {
        for (at, w) in self.cells_of(lines).zip(w) {
            // The peer clips set weights to the bounds of the stored value.
            let w = if self.device.clips_seen() { clip(w, self.cells.planes[1].at(at), self.cells.planes[0].at(at)) } else { w };
            self.store(at, w);
            if self.device.write_noise_on_set() {
                self.show(at, key);
            } else if let Some(apparent) = &mut self.apparent {
                apparent[at] = self.values[at];
            }
        }
    }

    /// Sets what the persistent values are, and leaves what is seen of them alone.
    pub(crate) fn set_hidden(&mut self, w: &[f32]) {
        w.iter().enumerate().for_each(|(at, w)| self.store(at, *w));
    }

    /// `w <- change(w)` of all cells, clipped.
    fn change_all(&mut self, operation: u64, change: impl Fn(&Self, usize, f32) -> f32) {
        let key = self.operation_key(operation);
        for at in 0..self.values.len() {
            let w = change(self, at, self.hidden(at));
            self.store(at, w);
            self.show(at, key);
        }
    }

    fn diffused(&self, at: usize, w: f32, key: Key) -> f32 {
        w + self.cells.planes[DIFFUSION].at(at) * key.child((at / self.columns) as u64).normal((at % self.columns) as u32, 0)
    }

    fn decayed(&self, at: usize, w: f32) -> f32 {
        let decay = self.cells.planes[DECAY].at(at);
        match &self.cells.planes[RESET] {
            Plane::Uniform(0.0) => w * decay,
            target => (w - target.at(at)) * decay + target.at(at),
        }
    }

    /// Diffusion and decay at the `count`-th end of a mini-batch.
    pub(crate) fn end_batch(&mut self, count: u64, operation: u64) {
        let still = self.is_still();
        if still && self.is_lasting() {
            return;
        }
        let key = self.run.of(Use::Diffusion).child(count);
        self.change_all(operation, |this, at, w| this.decayed(at, if still { w } else { this.diffused(at, w, key) }));
    }

    /// Whether no cell diffuses.
    fn is_still(&self) -> bool {
        self.cells.planes[DIFFUSION] == Plane::Uniform(0.0)
    }

    /// Whether no cell decays.
    fn is_lasting(&self) -> bool {
        self.cells.planes[DECAY] == Plane::Uniform(1.0)
    }

    /// One decay of all cells, if any has it.
    pub(crate) fn decay(&mut self, operation: u64) {
        if !self.is_lasting() {
            self.change_all(operation, |this, at, w| this.decayed(at, w));
        }
    }

    /// One diffusion of all cells, if any has it.
    pub(crate) fn diffuse(&mut self, operation: u64) {
        if self.is_still() {
            return;
        }
        let key = self.run.of(Use::Diffuse).child(operation);
        self.change_all(operation, |this, at, w| this.diffused(at, w, key));
    }

    /// Resets the cells of some columns, each with probability `prob`.
    pub(crate) fn reset(&mut self, columns: &[usize], prob: f32, operation: u64) {
        let (key, shown) = (self.run.of(Use::Reset).child(0).child(operation), self.operation_key(operation));
        for row in 0..self.values.len() / self.columns {
            let key = key.child(row as u64);
            for &column in columns {
                if prob >= 1.0 || key.uniform(column as u32, 2) < prob {
                    let at = row * self.columns + column;
                    self.reset_cell(at, key.normal(column as u32, 0));
                    self.show(at, shown);
                }
            }
        }
    }

    /// Programs a cell during an update call, at look number `number`: to `w`, or to its reset target.
    pub(crate) fn program(&mut self, at: usize, number: u64, w: Option<f32>) {
        let key = self.run.of(Use::Refresh).child(number);
        match w {
            Some(w) => self.store(at, w),
            None => self.reset_cell(at, key.child((at / self.columns) as u64).normal((at % self.columns) as u32, 0)),
        }
        self.show(at, key.child(SHOWN));
    }

    fn reset_cell(&mut self, at: usize, z: f32) {
        self.store(at, self.cells.planes[RESET].at(at) + self.device.reset_std() * z);
    }

    /// Resets a line during an update call, `key` being that of the event. Write noise of cells that were pulsed in the call stays that of their last
    /// pulse.
    pub(crate) fn reset_line(&mut self, lines: &Lines, key: Key) {
        for at in self.cells_of(lines) {
            self.reset_cell(at, key.child((at / self.columns) as u64).normal((at % self.columns) as u32, 0));
            self.show(at, key.child(SHOWN));
        }
    }

    /// Power-law drift over the time `dt`.
    pub(crate) fn drift(&mut self, dt: f32, operation: u64) {
        let drift = self.device.drift();
        if drift.is_none() {
            return;
        }
        let size = self.values.len();
        let mut clock = self.clock.take().unwrap_or_else(|| Clock {
            start: (0..size).map(|at| self.hidden(at)).collect(),
            last: (0..size).map(|at| self.hidden(at)).collect(),
            time: vec![0.0; size],
        });
        let key = self.run.of(Use::Drift).child(operation);
        let shown = self.operation_key(operation);
        for at in 0..size {
            let (w, key, column) = (self.hidden(at), key.child((at / self.columns) as u64), (at % self.columns) as u32);
            if (w - clock.last[at]).abs() > drift.reset_tol {
                (clock.start[at], clock.time[at]) = (w, 0.0);
            }
            clock.time[at] += dt;
            let (start, ratio) = (clock.start[at], clock.time[at] / drift.t_0);
            let mut nu = self.cells.planes[NU].at(at);
            if drift.nu_k != 0.0 {
                let g = (start - drift.w_offset) / drift.wg_ratio + drift.g_offset;
                nu -= drift.nu_k * (ln(if g > f32::MIN_POSITIVE { g } else { f32::MIN_POSITIVE }) - drift.log_g0);
            }
            if drift.nu_std > 0.0 {
                nu += (drift.nu_std * drift.nu) * key.normal(column, 0);
            }
            let mut w = if ratio > 1.0 { start * exp(-nu * ln(ratio)) } else { start };
            if drift.w_noise_std > 0.0 {
                w += drift.w_noise_std * key.normal(column, 2);
            }
            self.store(at, w);
            self.show(at, shown);
            clock.last[at] = self.hidden(at);
        }
        self.clock = Some(clock);
    }

    /// Pulses of each cell, up where `counts` is positive.
    pub(crate) fn pulse_cells(&mut self, counts: &[i32], operation: u64) {
        struct Go<'a>(&'a mut Crossbar, &'a [i32], Key);
        impl Visit for Go<'_> {
            type Out = ();
            fn visit<M: Model>(self, model: &M) {
                let Go(this, counts, key) = self;
                let noise = this.device.noise();
                for (at, &count) in counts.iter().enumerate().filter(|(_, count)| **count != 0) {
                    let (key, column) = (key.child((at / this.columns) as u64), (at % this.columns) as u32);
                    let cell = this.cells.cell(model, at);
                    let up = if count > 0 { u32::MAX } else { 0 };
                    for n in 0..count.unsigned_abs() {
                        let z = if noise.sigma == 0.0 { 0.0 } else { key.normal(column, n) };
                        this.values[at] = step(model, &cell, noise, this.values[at], up, z);
                    }
                }
            }
        }
        let (key, shown) = (self.run.of(Use::Program).child(operation), self.operation_key(operation));
        let model = self.device.model.clone();
        model.visit(Go(self, counts, key));
        for (at, &count) in counts.iter().enumerate().filter(|(_, count)| **count != 0) {
            self.show(at, shown);
            if let Some(counts) = &mut self.counts {
                let n = count.unsigned_abs();
                counts[at] = counts[at].plus(if count > 0 { n } else { 0 }, n);
            }
        }
    }

    pub(crate) fn cells_of(&self, lines: &Lines) -> impl Iterator<Item = usize> + use<> {
        let (columns, size) = (self.columns, self.values.len());
        let (Range { start, end }, step) = match *lines {
            Lines::All => (0..size, 1),
            Lines::Column(column) => (column..size, columns),
            Lines::Row(row) => (row * columns..(row + 1) * columns, 1),
        };
        (start..end).step_by(step)
    }
}

/// During an update call.
impl Crossbar {
    /// A tally for the call, if anything needs it: `several` parts of a call reach a cell, write noise, or pulses that are counted. It has the
    /// counts until the call ends.
    pub(crate) fn tally(&mut self, several: bool) -> Option<Tally> {
        let ordinals = several || self.apparent.is_some();
        let needed = ordinals || self.counts.is_some();
        needed.then(|| Tally { n: ordinals.then(|| vec![0; self.values.len()]), counts: self.counts.take() })
    }

    /// Adds what a read-out sees of some cells in the middle of a call, in their order.
    pub(crate) fn seen_now(&self, lines: &Lines, tally: Option<&Tally>, moment: Moment, seen: &mut Vec<f32>) {
        let n = tally.and_then(|tally| tally.n.as_ref());
        seen.extend(self.cells_of(lines).map(|at| self.shown(at, Seen { v: self.values[at], n: n.map_or(0, |n| n[at]) }, moment)));
    }

    /// The same of cells that were noted, in their order.
    pub(crate) fn noted(&self, lines: &Lines, noted: impl Iterator<Item = Seen>, moment: Moment, seen: &mut Vec<f32>) {
        seen.extend(self.cells_of(lines).zip(noted).map(|(at, one)| self.shown(at, one, moment)));
    }

    /// The weight that is seen of a cell that stores `v` after `n` changes in the call.
    #[inline(always)]
    pub(crate) fn shown(&self, at: usize, seen: Seen, moment: Moment) -> f32 {
        let v = self.stored_after(at, seen, moment);
        if matches!(self.reference(), Plane::Uniform(r) if *r == 0.0) { v } else { v - self.reference().at(at) }
    }

    /// Its stored value as it is seen.
    #[inline(always)]
    pub(crate) fn stored_after(&self, at: usize, Seen { v, n }: Seen, moment: Moment) -> f32 {
        match &self.apparent {
            None => v,
            Some(apparent) if n == 0 => apparent[at],
            Some(_) => self.apparent_at(at, v, n, moment),
        }
    }

    /// Stored values as they are seen from now on, where there is write noise.
    pub(crate) fn show_all(&mut self, values: Vec<f32>) {
        if let Some(apparent) = &mut self.apparent {
            *apparent = values;
        }
    }

    fn apparent_at(&self, at: usize, v: f32, n: u32, moment: Moment) -> f32 {
        let key = moment.shown(self.run).child((at / self.columns) as u64);
        v + self.device.write_noise() * key.normal((at % self.columns) as u32, n)
    }

    /// The end of an update call.
    pub(crate) fn close(&mut self, tally: Option<Tally>, moment: Moment) {
        let Some(tally) = tally else { return };
        if let (Some(mut apparent), Some(n)) = (self.apparent.take(), &tally.n) {
            for (at, &n) in n.iter().enumerate().filter(|(_, n)| **n > 0) {
                apparent[at] = self.apparent_at(at, self.values[at], n, moment);
            }
            self.apparent = Some(apparent);
        }
        self.counts = tally.counts;
    }
}

/// Parameters and saved state.
impl Crossbar {
    fn index_of(&self, name: &str) -> Result<usize> {
        let names = self.device.parameter_names();
        names.iter().position(|n| *n == name).ok_or_else(|| Error::value("parameter", format_args!("{name:?}"), names.join(", ")))
    }

    pub(crate) fn parameter(&self, name: &str) -> Result<Vec<f32>> {
        let plane = &self.cells.planes[self.index_of(name)?];
        Ok((0..self.values.len()).map(|at| plane.at(at)).collect())
    }

    /// Sets a per-cell parameter; stored values are clipped to the bounds then in force.
    pub(crate) fn set_parameter(&mut self, name: &str, values: &[f32]) -> Result<()> {
        let index = self.index_of(name)?;
        check_matrix(name, values, self.values.len() / self.columns, self.columns)?;
        let plane = |other: usize, at: usize| if other == index { values[at] } else { self.cells.planes[other].at(at) };
        check_planes(name, values.len(), plane)?;
        self.cells.planes[index] = Plane::collect(values.to_vec());
        for at in 0..self.values.len() {
            self.values[at] = clip(self.values[at], self.cells.planes[1].at(at), self.cells.planes[0].at(at));
        }
        Ok(())
    }

    /// Pulses up and down so far, if they are counted.
    pub(crate) fn counts(&self) -> Option<[Vec<u64>; 2]> {
        let counts = self.counts.as_ref()?;
        Some([counts.iter().map(|count| count.up.into()).collect(), counts.iter().map(|count| count.down.into()).collect()])
    }

    /// Everything that changes, by name.
    pub(crate) fn state(&self) -> Vec<(String, super::State)> {
        use super::State::{Counts, Values};
        let mut state = vec![("values".into(), Values(self.values.clone()))];
        for (name, plane) in self.device.parameter_names().iter().zip(&self.cells.planes) {
            let values = match plane {
                Plane::Uniform(v) => vec![*v],
                Plane::Dense(values) => values.clone(),
            };
            state.push((name.to_string(), Values(values)));
        }
        if let Some(apparent) = &self.apparent {
            state.push(("apparent".into(), Values(apparent.clone())));
        }
        if let Some(Clock { start, last, time }) = &self.clock {
            for (name, values) in [("drift_start", start), ("drift_last", last), ("drift_time", time)] {
                state.push((name.into(), Values(values.clone())));
            }
        }
        for (name, counts) in ["pulses_up", "pulses_down"].iter().zip(self.counts().into_iter().flatten()) {
            state.push((name.to_string(), Counts(counts)));
        }
        state
    }

    /// Replaces what changes (from a saved state), all or nothing; `part` gives a named part if there is one.
    pub(crate) fn restore(&mut self, field: &str, bounded: bool, part: &mut dyn FnMut(&str) -> Option<super::State>) -> Result<()> {
        use super::State;
        let (rows, columns) = (self.values.len() / self.columns, self.columns);
        let missing = |name: &str| Error::new(format!("{field}.{name}"), "is missing");
        let mut values = |name: &str| match part(name) {
            None => Ok(None),
            Some(State::Values(values)) => Ok(Some(values)),
            Some(State::Counts(_)) => Err(Error::new(format!("{field}.{name}"), "holds counters, allowed: float32 values")),
        };
        let matrix = |name: &str, values: Option<Vec<f32>>| -> Result<Vec<f32>> {
            let values = values.ok_or_else(|| missing(name))?;
            check_matrix(&format!("{field}.{name}"), &values, rows, columns).map(|()| values)
        };
        let stored = matrix("values", values("values")?)?;
        let mut planes = Vec::new();
        for name in self.device.parameter_names() {
            let plane = values(name)?.ok_or_else(|| missing(name))?;
            let what = format!("{field}.{name}");
            if plane.len() == 1 {
                check_finite(&what, &plane)?
            } else {
                check_matrix(&what, &plane, rows, columns)?
            }
            planes.push(plane);
        }
        let plane = |p: usize, at: usize| planes[p][if planes[p].len() == 1 { 0 } else { at }];
        check_planes(field, stored.len(), plane)?;
        if bounded && let Some(at) = (0..stored.len()).find(|at| !(plane(1, *at)..=plane(0, *at)).contains(&stored[*at])) {
            let allowed = format!("{} to {}, the bounds of the cell", plane(1, at), plane(0, at));
            return Err(Error::value(&format!("{field}.values"), format_args!("{} at flat index {at}", stored[at]), allowed));
        }
        let apparent = match &self.apparent {
            Some(_) => Some(matrix("apparent", values("apparent")?)?),
            None => None,
        };
        let clock = match (self.device.drift().is_none(), values("drift_start")?) {
            (false, Some(start)) => Some(Clock {
                start: matrix("drift_start", Some(start))?,
                last: matrix("drift_last", values("drift_last")?)?,
                time: matrix("drift_time", values("drift_time")?)?,
            }),
            (true, Some(_)) => return Err(Error::new(format!("{field}.drift_start"), "is unknown: this device does not drift")),
            (_, None) => None,
        };
        let mut counts = self.counts();
        for (name, counts) in ["pulses_up", "pulses_down"].iter().zip(counts.iter_mut().flatten()) {
            match part(name) {
                Some(State::Counts(saved)) if saved.len() == counts.len() => *counts = saved,
                _ => {
                    return Err(Error::value(
                        &format!("{field}.{name}"),
                        "missing or of another size",
                        format_args!("{rows} x {columns} counts"),
                    ));
                }
            }
        }
        let short = |n: u64| n.min(u64::from(u32::MAX)) as u32;
        let counts =
            counts.map(|[up, down]| up.into_iter().zip(down).map(|(up, down)| Count { up: short(up), down: short(down) }).collect());
        (self.values, self.apparent, self.clock, self.counts) = (stored, apparent, clock, counts);
        self.cells.planes = planes.into_iter().map(Plane::collect).collect();
        Ok(())
    }
}

/// Refuses parameters that contradict each other; `plane(p, at)` is parameter `p` of cell `at`.
fn check_planes(field: &str, cells: usize, plane: impl Fn(usize, usize) -> f32) -> Result<()> {
    for at in 0..cells {
        let (high, low, decay, diffusion) = (plane(0, at), plane(1, at), plane(DECAY, at), plane(DIFFUSION, at));
        if low > high {
            return Err(Error::value(field, format_args!("a w_min of {low} and a w_max of {high} at flat index {at}"), "w_min <= w_max"));
        }
        if !(0.0..=1.0).contains(&decay) || diffusion < 0.0 {
            let what = format!("a decay of {decay} and a diffusion of {diffusion} at flat index {at}");
            return Err(Error::value(field, what, "decay 0 to 1, diffusion >= 0"));
        }
    }
    Ok(())
}
