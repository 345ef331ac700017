//! Zero-shifting: pulses drive the cells of an array to their symmetric points, and what is read there becomes their reference.
//!
//! ```text
//! cycle       an up and a down pulse of every cell, or one pulse up or down by chance
//! reference   r <- r + mean of the reads after the last cycles
//! ```
//!
//! Pulse `n` of a cell has normal `(column, n)` of its row below the key of the operation. Direction, write noise and the noise of the reads belong to
//! the cycle.

use super::crossbar::{Crossbar, Lines, Moment};
use super::{Place, Tile};
use crate::device::{Cells, Model, Noise, Plane, REFERENCE, Visit, step};
use crate::error::{Error, Result};
use crate::fields::{Fields, Value};
use crate::mvm::{BoundManagement, Io, NoiseManagement, ReadChain, Side};
use crate::pool::{Machine, Pool};
use crate::pulse::pack::{load, neighbours};
use crate::pulse::{Count, Seen};
use crate::rng::{Key, STEP_I, STEP_N, Use};
use crate::simd::{Kernel, LANES, Set, WIDTH};
use std::ops::Range;

/// How an array is calibrated.
#[derive(Debug, Clone)]
pub struct ZeroShift {
    cycles: u32,
    random: bool,
    average: u32,
    io: Option<Io>,
}

impl ZeroShift {
    /// From named settings.
    pub fn new(settings: Value) -> Result<Self> {
        let mut f = Fields::new("zero_shift", settings)?;
        let cycles = f.whole("cycles", 1000, 1..=1 << 20)?;
        let shift = Self {
            cycles: cycles as u32,
            random: f.choice("mode", &[("alternating", false), ("random", true)])?,
            average: f.whole("average", 1, 1..=cycles)? as u32,
            io: f.optional("io")?.map(Io::new).transpose()?,
        };
        f.finish()?;
        if shift.io.is_some_and(|io| io.bound_management != BoundManagement::None || io.noise_management != NoiseManagement::None) {
            return Err(Error::value("zero_shift.io.bound_management, noise_management", "on", "\"none\" for both"));
        }
        if shift.io.is_some_and(|io| io.needs_whole_row()) {
            return Err(Error::new("zero_shift.io", "has effects of whole rows, allowed: those of single lines"));
        }
        Ok(shift)
    }

    /// Pulses of a cell in `cycles` cycles.
    fn pulses(&self, cycles: u32) -> u32 {
        if self.random { cycles } else { 2 * cycles }
    }
}

impl Tile {
    /// Calibrates an array. Refuses cells without a symmetric point.
    pub fn zero_shift(&mut self, pool: &Pool, array: &str, shift: &ZeroShift) -> Result<()> {
        let at = self.array(array)?;
        self.arrays[at].check_zero_shift()?;
        let moment = Moment::Operation(self.operation());
        let machine = Machine { isa: self.isa, pool };
        let mut sum = vec![0f32; self.rows * self.columns];
        let mut line = Vec::new();
        for cycle in shift.cycles - shift.average..shift.cycles {
            let cycles = if cycle == shift.cycles - shift.average { 0..cycle + 1 } else { cycle..cycle + 1 };
            let array = &mut self.arrays[at];
            array.shifted_parts().iter_mut().for_each(|part| part.shift(machine, shift, cycles.clone(), moment));
            let n = shift.pulses(cycle + 1);
            let fixed = array.fixed.child(Side::ReadColumns as u64);
            let chain = shift.io.as_ref().map(|io| ReadChain::new(self.isa, io, self.rows, fixed));
            for column in 0..self.columns {
                line.clear();
                array.shown_after(&Lines::Column(column), n, moment, &mut line);
                if let Some(chain) = &chain {
                    let key =
                        array.run.of(Use::ShiftRead).child(self.operations).child(u64::from(cycle)).child(column as u64).child(0).child(0);
                    chain.read(&mut line, key);
                }
                sum.iter_mut().skip(column).step_by(self.columns).zip(&line).for_each(|(sum, w)| *sum += w);
            }
        }
        let mean: Vec<f32> = sum.iter().map(|sum| sum / shift.average as f32).collect();
        self.arrays[at].shift_reference(&mean, shift.pulses(shift.cycles), moment);
        self.composite_is_fresh = false;
        Ok(())
    }

    /// The array that gets the gradient, if it is one.
    pub fn gradient_array(&self) -> Option<&str> {
        match self.plan.gradient.target {
            Place::Array(at) => Some(&self.plan.arrays[at]),
            Place::Digital(_) => None,
        }
    }
}

impl Crossbar {
    /// Some cycles of pulses on all cells.
    fn shift(&mut self, machine: Machine, shift: &ZeroShift, cycles: Range<u32>, moment: Moment) {
        struct Go<'a>(Machine<'a>, &'a mut [f32], &'a Cells, Noise, usize, Cycles<'a>);
        impl Visit for Go<'_> {
            type Out = ();
            fn visit<M: Model>(self, model: &M) {
                let Go(machine, values, cells, noise, columns, cycles) = self;
                let work = values.len() * cycles.cycles.len() * 4;
                let share = machine.pool.share(values.len() / columns, work);
                machine.pool.chunks(values, share * columns, work, share, |at, values| {
                    machine.isa.run(Shift { model, values, cells, noise, columns, first: at * share, cycles: &cycles });
                });
            }
        }
        let run = self.run;
        let direction = run.of(Use::Shift).child(moment.number());
        let direction = |cycle: u32| direction.child(u64::from(cycle));
        let Self { device, columns, values, cells, counts, .. } = self;
        let cycles = Cycles { noise: moment.pulses(run), direction: &direction, random: shift.random, cycles };
        if let Some(counts) = counts {
            for (at, count) in counts.iter_mut().enumerate() {
                let all = shift.pulses(cycles.cycles.len() as u32);
                let ups = match shift.random {
                    true => cycles.cycles.clone().filter(|cycle| cycles.goes_up(*cycle, at / *columns, at % *columns)).count() as u32,
                    false => all / 2,
                };
                *count = Count::plus(*count, ups, all);
            }
        }
        device.model.visit(Go(machine, values, cells, device.noise(), *columns, cycles));
    }

    /// Makes what was read part of the reference, and what is seen that of the last pulse.
    pub(super) fn shift_reference(&mut self, w: impl Iterator<Item = f32>, n: u32, moment: Moment) {
        let shown: Vec<f32> = (0..self.values.len()).map(|at| self.stored_after(at, Seen { v: self.values[at], n }, moment)).collect();
        self.show_all(shown);
        let reference = &self.cells.planes[REFERENCE];
        self.cells.planes[REFERENCE] = Plane::collect(w.enumerate().map(|(at, w)| reference.at(at) + w).collect());
    }
}

/// Which cycles, and their streams.
struct Cycles<'a> {
    /// Cycle noise, then row.
    noise: Key,
    /// Of a cycle; then row.
    direction: &'a (dyn Fn(u32) -> Key + Sync),
    random: bool,
    cycles: Range<u32>,
}

impl Cycles<'_> {
    fn goes_up(&self, cycle: u32, row: usize, column: usize) -> bool {
        (self.direction)(cycle).child(row as u64).word(column as u32, 0) >> 31 == 1
    }
}

struct Shift<'a, M> {
    model: &'a M,
    values: &'a mut [f32],
    cells: &'a Cells,
    noise: Noise,
    columns: usize,
    first: usize,
    cycles: &'a Cycles<'a>,
}

impl<M: Model> Kernel for Shift<'_, M> {
    #[inline(always)]
    fn run<S: Set>(self) {
        let Self { model, values, cells, noise, columns, first, cycles } = self;
        for (row, values) in values.chunks_exact_mut(columns).enumerate() {
            let row = first + row;
            let key = cycles.noise.child(row as u64);
            for (block, values) in values.chunks_mut(LANES).enumerate() {
                let cell = load::<M, LANES>(model, cells, neighbours(row * columns + block * LANES, values.len()));
                let mut v = [0f32; LANES];
                v[..values.len()].copy_from_slice(values);
                let mut up = [u32::MAX; LANES];
                let pulses = if cycles.random { 1 } else { 2 };
                for cycle in cycles.cycles.clone() {
                    if cycles.random {
                        let key = (cycles.direction)(cycle).child(row as u64);
                        for (lane, up) in up.iter_mut().enumerate() {
                            *up = ((key.word((block * LANES + lane) as u32, 0) as i32) >> 31) as u32;
                        }
                    }
                    for pulse in 0..pulses {
                        let n = pulses * cycle + pulse;
                        let mut z = [0f32; LANES];
                        if noise.sigma != 0.0 {
                            for (group, z) in z.as_chunks_mut::<WIDTH>().0.iter_mut().enumerate() {
                                let column = (block * LANES + group * WIDTH) as u32;
                                let s = std::array::from_fn(|lane| {
                                    (column + lane as u32).wrapping_mul(STEP_I).wrapping_add(n.wrapping_mul(STEP_N))
                                });
                                *z = key.normals_at::<S>(&s);
                            }
                        }
                        for (lane, z) in z.into_iter().enumerate() {
                            let up = if cycles.random { up[lane] } else { 0u32.wrapping_sub(1 - pulse) };
                            v[lane] = step(model, &cell.lane(lane), noise, v[lane], up, z);
                        }
                    }
                }
                values.copy_from_slice(&v[..values.len()]);
            }
        }
    }
}
