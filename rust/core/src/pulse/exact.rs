//! Updates without pulses, vector by vector and cell by cell: `dw = (-rate d_i) x_j` in `f32`, each product kept finite.

use super::PulseType;
use super::update::{Job, Lines, Route, Tally, on_lines};
use crate::device::{Cells, Model, Visit, analog_step};
use crate::pool::Machine;
use crate::simd::{Kernel, clip, finite};
use crate::tile::crossbar::Crossbar;
use std::ops::Range;

/// `values += (-rate d) x^T` for each vector in turn.
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
                        values.iter_mut().zip(x).for_each(|(v, x)| *v += finite(scaled * x));
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

/// The same on an crossbar, by one of the pulse types that need no pulses. A cell with `dw = 0` is left alone.
pub(crate) fn update(machine: Machine, crossbar: &mut Crossbar, pulse_type: PulseType, job: &Job, tally: Option<&mut Tally>) {
    struct Go<'a>(Machine<'a>, &'a mut [f32], &'a Cells, usize, f32, PulseType, &'a Job<'a>, Range<usize>, Option<&'a mut Tally>);
    impl Visit for Go<'_> {
        type Out = ();
        fn visit<M: Model>(self, model: &M) {
            let Go(machine, values, cells, columns, dw_min, pulse_type, job, lines, tally) = self;
            let work = lines.len() * columns * job.keys.len() * 4;
            on_lines(machine, values, tally, columns, lines, work, |lines| match pulse_type {
                PulseType::None => machine.isa.run(Each { lines, columns, job, change: |v: f32, dw: f32, _| v + dw }),
                PulseType::NoneWithDevice => {
                    let change = |v: f32, dw: f32, at: usize| {
                        let (high, low) = (cells.planes[0].at(at), cells.planes[1].at(at));
                        clip(v + dw, low, high)
                    };
                    machine.isa.run(Each { lines, columns, job, change });
                }
                _ => {
                    let change = |v: f32, dw: f32, at: usize| analog_step(model, &cells.cell(model, at), dw_min, v, dw);
                    machine.isa.run(Each { lines, columns, job, change });
                }
            });
        }
    }
    let lines = job.lines(crossbar);
    let Crossbar { device, columns, values, cells, .. } = crossbar;
    device.model.visit(Go(machine, values, cells, *columns, device.dw_min(), pulse_type, job, lines, tally));
}

struct Each<'a, F> {
    lines: Lines<'a>,
    columns: usize,
    job: &'a Job<'a>,
    change: F,
}

impl<F: Fn(f32, f32, usize) -> f32> Kernel for Each<'_, F> {
    #[inline(always)]
    fn run(self) {
        let Self { mut lines, columns, job, change } = self;
        let seen = job.column.map_or(0..columns, |column| column..column + 1);
        let rate = job.rate as f32;
        for row in 0..lines.values.len() / columns {
            let line = lines.first + row;
            for (_, x, d) in job.vectors() {
                let scaled = finite(-rate * d[line]);
                if scaled == 0.0 {
                    continue;
                }
                let cells = row * columns + seen.start..row * columns + seen.end;
                let increment = |x: f32| job.route.of(finite(scaled * x));
                let first = line * columns + seen.start;
                for (at, (v, x)) in lines.values[cells.clone()].iter_mut().zip(&x[seen.clone()]).enumerate() {
                    let dw = increment(*x);
                    let moved = change(*v, dw, first + at);
                    *v = if dw == 0.0 { *v } else { moved };
                }
                if let Some(n) = &mut lines.n {
                    n[cells.clone()].iter_mut().zip(&x[seen.clone()]).for_each(|(n, x)| *n += u32::from(increment(*x) != 0.0));
                }
                if let Some(up) = &mut lines.up {
                    up[cells].iter_mut().zip(&x[seen.clone()]).for_each(|(up, x)| *up += u32::from(increment(*x) > 0.0));
                }
            }
        }
    }
}

impl Route {
    /// What this route makes of an increment.
    #[inline(always)]
    fn of(self, dw: f32) -> f32 {
        match self {
            Route::Both => dw,
            Route::Up if dw > 0.0 => dw,
            Route::DownAsUp if dw < 0.0 => -dw,
            _ => 0.0,
        }
    }
}
