//! Updates without pulses, vector by vector and cell by cell: `dw = (-rate d_i) x_j` in `f32`, each product kept finite.

use super::PulseType;
use crate::device::{Cells, Model, Visit, analog_step};
use crate::pool::Machine;
use crate::simd::{Kernel, clip, finite};
use crate::tile::array::Array;

/// `values += (-rate d) x^T` for each vector in turn.
pub(crate) fn add(Machine { isa, pool }: Machine, values: &mut [f32], x: &[f32], d: &[f32], columns: usize, rate: f32) {
    let rows = values.len() / columns;
    let work = values.len() * (x.len() / columns);
    let chunk = columns * pool.share(rows);
    pool.chunks(values, chunk, work, chunk / columns, |at, values| {
        let first = at * chunk / columns;
        isa.run(Each { values, x, d, columns, rows, first, rate, change: |v: f32, dw: f32, _| v + dw });
    });
}

/// The same on an array, by one of the pulse types that need no pulses.
pub(crate) fn update(machine: Machine, array: &mut Array, pulse_type: PulseType, x: &[f32], d: &[f32], rate: f32) {
    if pulse_type == PulseType::None {
        return add(machine, &mut array.values, x, d, array.columns, rate);
    }
    struct Go<'a>(Machine<'a>, &'a mut [f32], &'a Cells, [&'a [f32]; 2], usize, f32, f32, PulseType);
    impl Visit for Go<'_> {
        type Out = ();
        fn visit<M: Model>(self, model: &M) {
            let Go(Machine { isa, pool }, values, cells, [x, d], columns, rate, dw_min, pulse_type) = self;
            let rows = values.len() / columns;
            let work = values.len() * (x.len() / columns) * 4;
            let chunk = columns * pool.share(rows);
            pool.chunks(values, chunk, work, chunk / columns, |at, values| {
                let first = at * chunk / columns;
                if pulse_type == PulseType::NoneWithDevice {
                    let change = |v: f32, dw: f32, at: usize| {
                        let (high, low) = (cells.planes[0].at(at), cells.planes[1].at(at));
                        clip(v + dw, low, high)
                    };
                    isa.run(Each { values, x, d, columns, rows, first, rate, change });
                } else {
                    let change = |v: f32, dw: f32, at: usize| analog_step(model, &cells.cell(model, at), dw_min, v, dw);
                    isa.run(Each { values, x, d, columns, rows, first, rate, change });
                }
            });
        }
    }
    let Array { device, columns, values, cells, .. } = array;
    device.model.visit(Go(machine, values, cells, [x, d], *columns, rate, device.dw_min(), pulse_type));
}

struct Each<'a, F> {
    values: &'a mut [f32],
    x: &'a [f32],
    d: &'a [f32],
    columns: usize,
    rows: usize,
    first: usize,
    rate: f32,
    change: F,
}

impl<F: Fn(f32, f32, usize) -> f32> Kernel for Each<'_, F> {
    #[inline(always)]
    fn run(self) {
        for (row, values) in self.values.chunks_exact_mut(self.columns).enumerate() {
            let line = self.first + row;
            for (x, d) in self.x.chunks_exact(self.columns).zip(self.d.chunks_exact(self.rows)) {
                let scaled = finite(-self.rate * d[line]);
                if scaled == 0.0 {
                    continue;
                }
                for (column, (v, x)) in values.iter_mut().zip(x).enumerate() {
                    *v = (self.change)(*v, finite(scaled * x), line * self.columns + column);
                }
            }
        }
    }
}
