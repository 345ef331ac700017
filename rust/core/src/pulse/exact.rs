//! Updates whose amount is computed for each cell ([`super::amounts`]): increments, or a number of pulses.

use super::amounts::Amounts;
use super::notes::Notes;
use super::pack::{load, neighbours};
use super::update::{Job, Lines, Tally, on_lines};
use super::{PulseTrain, PulseType};
use crate::device::{Cell, Cells, Device, Model, Noise, Plane, Visit, analog_step, step};
use crate::pool::Machine;
use crate::simd::{Kernel, LANES, Set, clip, finite, select};
use crate::tile::crossbar::Crossbar;

/// `values += (-rate d) x^T` for each vector in turn, in `f32`, each product and sum kept finite.
pub(crate) fn add(Machine { isa, pool }: Machine, values: &mut [f32], x: &[f32], d: &[f32], columns: usize, rates: &[f64]) {
    struct Add<'a>(&'a mut [f32], [&'a [f32]; 2], [usize; 3], &'a [f64]);
    impl Kernel for Add<'_> {
        #[inline(always)]
        fn run<S: Set>(self) {
            let Add(values, [x, d], [columns, rows, first], rates) = self;
            for (row, values) in values.chunks_exact_mut(columns).enumerate() {
                for ((x, d), rate) in x.chunks_exact(columns).zip(d.chunks_exact(rows)).zip(rates) {
                    let scaled = finite(-(*rate as f32) * d[first + row]);
                    if scaled != 0.0 {
                        for (v, x) in values.iter_mut().zip(x) {
                            *v = finite(*v + finite(scaled * x));
                        }
                    }
                }
            }
        }
    }
    let rows = values.len() / columns;
    let work = values.len() * (x.len() / columns);
    let chunk = columns * pool.share(rows, work);
    pool.chunks(values, chunk, work, chunk / columns, |at, values| {
        isa.run(Add(values, [x, d], [columns, rows, at * chunk / columns], rates));
    });
}

/// The same on a crossbar, by one of the pulse types that send no trains to the cells. A cell that gets nothing is left alone.
pub(super) fn update(machine: Machine, crossbar: &mut Crossbar, pulses: &PulseTrain, job: &Job, tally: Option<&mut Tally>) {
    struct Go<'a>(Each<'a>, &'a mut [f32], &'a Cells, &'a Device, Option<&'a mut Tally>, bool);
    impl Visit for Go<'_> {
        type Out = ();
        fn visit<M: Model>(self, model: &M) {
            let Go(each, values, cells, device, tally, counted) = self;
            if counted {
                let noise = device.noise();
                return each.on_lines(values, tally, |lines| each.pulse(model, noise, cells, lines));
            }
            let alike = cells.alike().then(|| load(model, cells, |values| [values[0]; LANES]));
            each.steps(values, tally, &Analog { model, cells, dw_min: device.dw_min(), alike });
        }
    }
    let amounts = Amounts::new(machine, crossbar, pulses, job);
    let each = Each { machine, columns: crossbar.columns, amounts: &amounts };
    let Crossbar { device, values, cells, .. } = crossbar;
    match pulses.pulse_type {
        PulseType::None => each.steps(values, tally, &Unbounded),
        PulseType::NoneWithDevice => each.steps(values, tally, &Bounded([&cells.planes[0], &cells.planes[1]])),
        PulseType::AnalogUpdate | PulseType::RandomIncrement => device.model.visit(Go(each, values, cells, device, tally, false)),
        _ => device.model.visit(Go(each, values, cells, device, tally, true)),
    }
}

/// Goes through rows and vectors.
#[derive(Clone, Copy)]
struct Each<'a> {
    machine: Machine<'a>,
    columns: usize,
    amounts: &'a Amounts<'a>,
}

impl Each<'_> {
    fn on_lines(&self, values: &mut [f32], tally: Option<&mut Tally>, f: impl Fn(Lines) + Sync) {
        let job = self.amounts.job;
        let work = job.rows.len * job.columns.len * job.keys.len() * 4;
        on_lines(self.machine, values, tally, &mut Notes::new(&[], 0), self.columns, job.rows.range(), work, |lines, _| f(lines));
    }

    fn steps(&self, values: &mut [f32], tally: Option<&mut Tally>, change: &(impl Change + Sync)) {
        self.on_lines(values, tally, |lines| self.machine.isa.run(Steps { each: *self, lines, change }));
    }
}

/// What increments do to cells.
trait Change {
    /// Changes up to [`LANES`] neighbours from flat index `at`, by increments of which none is zero but -0.
    fn change(&self, v: &mut [f32], dw: &[f32], at: usize);
}

/// `v + dw`, finite.
struct Unbounded;

impl Change for Unbounded {
    #[inline(always)]
    fn change(&self, v: &mut [f32], dw: &[f32], _: usize) {
        v.iter_mut().zip(dw).for_each(|(v, dw)| *v = finite(*v + dw));
    }
}

/// `v + dw` within the bounds of the cells.
struct Bounded<'a>([&'a Plane; 2]);

impl Change for Bounded<'_> {
    #[inline(always)]
    fn change(&self, v: &mut [f32], dw: &[f32], at: usize) {
        let [w_max, w_min] = self.0;
        match (w_max, w_min) {
            (Plane::Dense(w_max), Plane::Dense(w_min)) => {
                for (((v, dw), high), low) in v.iter_mut().zip(dw).zip(&w_max[at..]).zip(&w_min[at..]) {
                    *v = clip(*v + dw, *low, *high);
                }
            }
            _ => v.iter_mut().zip(dw).enumerate().for_each(|(i, (v, dw))| *v = clip(*v + dw, w_min.at(at + i), w_max.at(at + i))),
        }
    }
}

/// The mathematical update; a cell that gets nothing stays as it is.
struct Analog<'a, M> {
    model: &'a M,
    cells: &'a Cells,
    dw_min: f32,
    /// The parameters of a block of cells, if all cells are alike.
    alike: Option<Cell<[f32; LANES]>>,
}

impl<M: Model> Change for Analog<'_, M> {
    #[inline(always)]
    fn change(&self, v: &mut [f32], dw: &[f32], at: usize) {
        let one = |cell: &Cell<f32>, v: f32, dw: f32| {
            // A response below 0 would turn the sign of -0.
            let given = 0u32.wrapping_sub(u32::from(dw != 0.0));
            select(given, analog_step(self.model, cell, self.dw_min, v, dw), v)
        };
        if v.len() == 1 {
            v[0] = one(&self.cells.cell(self.model, at), v[0], dw[0]);
            return;
        }
        let own;
        let cells = match &self.alike {
            Some(cells) => cells,
            None => {
                own = load(self.model, self.cells, neighbours(at, v.len()));
                &own
            }
        };
        let (mut block, mut given) = ([0f32; LANES], [-0.0; LANES]);
        block[..v.len()].copy_from_slice(v);
        given[..v.len()].copy_from_slice(dw);
        for lane in 0..LANES {
            block[lane] = one(&cells.lane(lane), block[lane], given[lane]);
        }
        v.copy_from_slice(&block[..v.len()]);
    }
}

struct Steps<'a, C> {
    each: Each<'a>,
    lines: Lines<'a>,
    change: &'a C,
}

impl<C: Change> Kernel for Steps<'_, C> {
    #[inline(always)]
    fn run<S: Set>(self) {
        let Self { each: Each { columns, amounts, .. }, mut lines, change } = self;
        let seen = amounts.job.columns.range();
        let mut amount = vec![0f32; seen.len()];
        for row in 0..lines.values.len() / columns {
            let line = lines.first + row;
            let cells = row * columns + seen.start..row * columns + seen.end;
            let first = line * columns + seen.start;
            for group in amounts.groups() {
                if !amounts.fill(line, group, &mut amount) {
                    continue;
                }
                // Any v plus -0 is v; to leave it unwritten instead would make slow masked stores.
                amount.iter_mut().for_each(|dw| *dw = if *dw == 0.0 { -0.0 } else { *dw });
                for (at, (v, dw)) in lines.values[cells.clone()].chunks_mut(LANES).zip(amount.chunks(LANES)).enumerate() {
                    change.change(v, dw, first + at * LANES);
                }
                if let Some(n) = &mut lines.n {
                    n[cells.clone()].iter_mut().zip(&amount).for_each(|(n, dw)| *n += u32::from(*dw != 0.0));
                }
                if let Some(counts) = &mut lines.counts {
                    let counts = counts[cells.clone()].iter_mut().zip(&amount);
                    counts.for_each(|(count, dw)| *count = count.plus(u32::from(*dw > 0.0), u32::from(*dw != 0.0)));
                }
            }
        }
    }
}

impl Each<'_> {
    /// Amounts are numbers of pulses, which are applied one after the other.
    fn pulse<M: Model>(&self, model: &M, noise: Noise, cells: &Cells, mut lines: Lines) {
        let Self { columns, amounts, .. } = *self;
        let seen = amounts.job.columns.range();
        let mut amount = vec![0f32; seen.len()];
        for row in 0..lines.values.len() / columns {
            let line = lines.first + row;
            let (key, at) = (amounts.job.noise.child(line as u64), row * columns);
            let mut ready: Vec<Option<(Cell<f32>, u32)>> = vec![None; seen.len()];
            for group in amounts.groups() {
                if !amounts.fill(line, group, &mut amount) {
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
                    if let Some(counts) = &mut lines.counts {
                        counts[at + column] = counts[at + column].plus(up & pulses, pulses);
                    }
                }
            }
        }
    }
}
