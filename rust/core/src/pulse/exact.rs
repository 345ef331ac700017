//! Updates whose amount is computed for each cell ([`super::amounts`]): increments, or a number of pulses.

use super::amounts::Amounts;
use super::update::{Job, Lines, Tally, on_lines};
use super::{PulseTrain, PulseType};
use crate::device::{Cell, Cells, Device, Model, Noise, Visit, analog_step, step};
use crate::pool::Machine;
use crate::simd::{Kernel, clip, finite};
use crate::tile::crossbar::Crossbar;
use std::ops::Range;

/// `values += (-rate d) x^T` for each vector in turn, in `f32`, each product and sum kept finite.
pub(crate) fn add(Machine { isa, pool }: Machine, values: &mut [f32], x: &[f32], d: &[f32], columns: usize, rate: f32) {
    struct Add<'a>(&'a mut [f32], [&'a [f32]; 2], [usize; 3], f32);
    impl Kernel for Add<'_> {
        #[inline(always)]
        fn run(self) {
            let Add(values, [x, d], [columns, rows, first], rate) = self;
            for (row, values) in values.chunks_exact_mut(columns).enumerate() {
                for (x, d) in x.chunks_exact(columns).zip(d.chunks_exact(rows)) {
                    let scaled = finite(-rate * d[first + row]);
                    if scaled != 0.0 {
                        values.iter_mut().zip(x).for_each(|(v, x)| *v = finite(*v + finite(scaled * x)));
                    }
                }
            }
        }
    }
    let rows = values.len() / columns;
    let work = values.len() * (x.len() / columns);
    let chunk = columns * pool.share(rows);
    pool.chunks(values, chunk, work, chunk / columns, |at, values| {
        isa.run(Add(values, [x, d], [columns, rows, at * chunk / columns], rate));
    });
}

/// The same on a crossbar, by one of the pulse types that send no trains to the cells. A cell that gets nothing is left alone.
pub(super) fn update(machine: Machine, crossbar: &mut Crossbar, pulses: &PulseTrain, job: &Job, tally: Option<&mut Tally>) {
    struct Go<'a>(Machine<'a>, &'a mut [f32], &'a Cells, &'a Device, PulseType, Each<'a>, Range<usize>, Option<&'a mut Tally>);
    impl Visit for Go<'_> {
        type Out = ();
        fn visit<M: Model>(self, model: &M) {
            let Go(machine, values, cells, device, pulse_type, each, lines, tally) = self;
            let work = lines.len() * each.columns * each.amounts.job.keys.len() * 4;
            let (noise, dw_min) = (device.noise(), device.dw_min());
            on_lines(machine, values, tally, each.columns, lines, work, |lines| match pulse_type {
                PulseType::None => machine.isa.run(Steps { each, lines, change: |v: f32, dw: f32, _| finite(v + dw) }),
                PulseType::NoneWithDevice => {
                    let change = |v: f32, dw: f32, at: usize| {
                        let (high, low) = (cells.planes[0].at(at), cells.planes[1].at(at));
                        clip(v + dw, low, high)
                    };
                    machine.isa.run(Steps { each, lines, change });
                }
                PulseType::AnalogUpdate | PulseType::RandomIncrement => {
                    let change = |v: f32, dw: f32, at: usize| analog_step(model, &cells.cell(model, at), dw_min, v, dw);
                    machine.isa.run(Steps { each, lines, change });
                }
                _ => each.pulse(model, noise, cells, lines),
            });
        }
    }
    let amounts = Amounts::new(machine, crossbar, pulses, job);
    let each = Each { columns: crossbar.columns, amounts: &amounts };
    let lines = job.lines(crossbar);
    let Crossbar { device, values, cells, .. } = crossbar;
    device.model.visit(Go(machine, values, cells, device, pulses.pulse_type, each, lines, tally));
}

/// Goes through rows and vectors.
#[derive(Clone, Copy)]
struct Each<'a> {
    columns: usize,
    amounts: &'a Amounts<'a>,
}

struct Steps<'a, F> {
    each: Each<'a>,
    lines: Lines<'a>,
    change: F,
}

impl<F: Fn(f32, f32, usize) -> f32> Kernel for Steps<'_, F> {
    #[inline(always)]
    fn run(self) {
        let Self { each: Each { columns, amounts }, mut lines, change } = self;
        let seen = amounts.job.seen(columns);
        let mut amount = vec![0f32; seen.len()];
        for row in 0..lines.values.len() / columns {
            let line = lines.first + row;
            let cells = row * columns + seen.start..row * columns + seen.end;
            let first = line * columns + seen.start;
            for group in amounts.groups() {
                if !amounts.fill(line, group, seen.clone(), &mut amount) {
                    continue;
                }
                for (at, (v, dw)) in lines.values[cells.clone()].iter_mut().zip(&amount).enumerate() {
                    let moved = change(*v, *dw, first + at);
                    *v = if *dw == 0.0 { *v } else { moved };
                }
                if let Some(n) = &mut lines.n {
                    n[cells.clone()].iter_mut().zip(&amount).for_each(|(n, dw)| *n += u32::from(*dw != 0.0));
                }
                if let Some(up) = &mut lines.up {
                    up[cells.clone()].iter_mut().zip(&amount).for_each(|(up, dw)| *up += u32::from(*dw > 0.0));
                }
            }
        }
    }
}

impl Each<'_> {
    /// Amounts are numbers of pulses, which are applied one after the other.
    fn pulse<M: Model>(&self, model: &M, noise: Noise, cells: &Cells, mut lines: Lines) {
        let Self { columns, amounts } = *self;
        let seen = amounts.job.seen(columns);
        let mut amount = vec![0f32; seen.len()];
        for row in 0..lines.values.len() / columns {
            let line = lines.first + row;
            let (key, at) = (amounts.job.noise.child(line as u64), row * columns);
            let mut ready: Vec<Option<(Cell<f32>, u32)>> = vec![None; seen.len()];
            for group in amounts.groups() {
                if !amounts.fill(line, group, seen.clone(), &mut amount) {
                    continue;
                }
                for ((column, ready), amount) in seen.clone().zip(&mut ready).zip(&amount) {
                    if *amount == 0.0 {
                        continue;
                    }
                    let before = lines.n.as_ref().map_or(0, |n| n[at + column]);
                    let (cell, ordinal) = ready.get_or_insert_with(|| (cells.cell(model, line * columns + column), before));
                    let (pulses, up) = (amount.abs() as u32, if *amount > 0.0 { u32::MAX } else { 0 });
                    let mut v = lines.values[at + column];
                    for n in *ordinal..*ordinal + pulses {
                        let z = if noise.sigma == 0.0 { 0.0 } else { key.normal(column as u32, n) };
                        v = step(model, cell, noise, v, up, z);
                    }
                    *ordinal += pulses;
                    lines.values[at + column] = v;
                    if let Some(n) = &mut lines.n {
                        n[at + column] = *ordinal;
                    }
                    if let Some(ups) = &mut lines.up {
                        ups[at + column] += up & pulses;
                    }
                }
            }
        }
    }
}
