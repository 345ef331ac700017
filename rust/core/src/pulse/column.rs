//! The pulses of a single column, as writes of transfers bring them: the cells of several rows side by side, entry by entry. Nothing is queued.

use super::kernel::groups;
use super::pack::{PACK, Stepper, Streams, load};
use super::trains::{SLOT_BITS, Trains};
use super::update::Tally;
use crate::device::{Cells, Model, Noise, Visit, step};
use crate::pool::{Machine, Work};
use crate::rng::{Key, word};
use crate::simd::{GROUPS, Group, Kernel, LANES, Set, WIDTH};
use crate::tile::crossbar::Crossbar;

/// Applies coincidences to a single column, the only one whose lines fire.
pub(super) fn pulse_column(
    machine: Machine,
    crossbar: &mut Crossbar,
    column: usize,
    [x, d]: [&Trains; 2],
    key: Key,
    tally: Option<&mut Tally>,
) {
    struct Go<'a>(Machine<'a>, &'a mut [f32], &'a Cells, Noise, [usize; 2], [&'a Trains; 2], Key, Option<&'a mut Tally>);
    impl Visit for Go<'_> {
        type Out = ();
        fn visit<M: Model>(self, model: &M) {
            let Go(machine, values, cells, noise, [column, columns], [x, d], key, tally) = self;
            let looks = (values.len() / columns) as u64;
            if looks < 4 {
                let pulses = one_by_one(model, cells, noise, values, [column, columns], [x, d], key, tally);
                return machine.pool.count(Work { looks, cells: looks, lanes: pulses, pulses, ..Work::default() });
            }
            let stepper = &mut Stepper::new(model, noise, cells);
            if noise.sigma == 0.0 {
                machine.isa.run(Column::<M, false> { stepper, values, columns, column, x, d, key, tally });
            } else {
                machine.isa.run(Column::<M, true> { stepper, values, columns, column, x, d, key, tally });
            }
            machine.pool.count(Work { looks, ..stepper.work });
        }
    }
    let Crossbar { device, columns, values, cells, .. } = crossbar;
    device.model.visit(Go(machine, values, cells, device.noise(), [column, *columns], [x, d], key, tally));
}

/// The same, cell by cell, which is quicker for a few rows; gives how many pulses there were.
#[allow(clippy::too_many_arguments)]
fn one_by_one<M: Model>(
    model: &M,
    cells: &Cells,
    noise: Noise,
    values: &mut [f32],
    [column, columns]: [usize; 2],
    [x, d]: [&Trains; 2],
    key: Key,
    mut tally: Option<&mut Tally>,
) -> u64 {
    let (x, mut pulses) = (x.block(column / LANES), 0);
    for (row, at) in (column..values.len()).step_by(columns).enumerate() {
        let before = tally.as_ref().and_then(|tally| tally.n.as_ref()).map_or(0, |n| n[at]);
        let (mut v, mut n, mut ups) = (values[at], before, 0);
        let (key, cell) = (key.child(row as u64), cells.cell(model, at));
        for (x, d) in x.iter().zip(d.block(row / LANES)) {
            let (x, d) = (x[column % LANES], d[row % LANES]);
            let up = (((x ^ d) as i32) >> 31) as u32;
            for _ in 0..(x & d & SLOT_BITS).count_ones() {
                let z = if noise.sigma == 0.0 { 0.0 } else { key.normal(column as u32, n) };
                v = step(model, &cell, noise, v, up, z);
                n += 1;
                ups += up & 1;
            }
        }
        values[at] = v;
        pulses += u64::from(n - before);
        if let Some(Tally { n: all, counts }) = &mut tally {
            all.iter_mut().for_each(|all| all[at] = n);
            counts.iter_mut().for_each(|counts| counts[at] = counts[at].plus(ups, n - before));
        }
    }
    pulses
}

struct Column<'a, 's, M, const NOISE: bool> {
    stepper: &'s mut Stepper<'a, M>,
    values: &'a mut [f32],
    columns: usize,
    column: usize,
    x: &'a Trains,
    d: &'a Trains,
    key: Key,
    tally: Option<&'a mut Tally>,
}

impl<M: Model, const NOISE: bool> Kernel for Column<'_, '_, M, NOISE> {
    #[inline(always)]
    fn run<S: Set>(mut self) {
        let (x, column, blocks) = (self.x.block(self.column / LANES), self.column % LANES, self.d.blocks());
        let (mut rows, mut len) = ([0; PACK], 0);
        for block in blocks.clone() {
            let mut meets = [0; LANES];
            for (x, d) in x.iter().zip(self.d.block(block)) {
                for lane in 0..LANES {
                    meets[lane] |= u8::from(x[column] & d[lane] & SLOT_BITS != 0);
                }
            }
            len = S::list(&meets, 1, (block * LANES) as u32, &mut rows, len);
            if len > PACK - LANES || (block + 1 == blocks.end && len > 0) {
                self.pop::<S>(&rows[..len]);
                len = 0;
            }
        }
    }
}

impl<M: Model, const NOISE: bool> Column<'_, '_, M, NOISE> {
    /// Pops the pulses of the cells in some rows.
    #[inline(always)]
    fn pop<S: Set>(&mut self, rows: &[u32]) {
        let Self { stepper, values, columns, column, x, d, key, tally } = self;
        let (at, len) = (groups(rows), rows.len());
        let count = len.div_ceil(WIDTH);
        let cells = at.map(|rows| rows.map(|row| row as usize * *columns + *column));
        let mut streams = Across { column: *column as u32, low: [[0; WIDTH]; GROUPS], high: [[0; WIDTH]; GROUPS] };
        for group in 0..count {
            for (lane, row) in at[group].iter().enumerate() {
                [streams.low[group][lane], streams.high[group][lane]] = key.child(u64::from(*row)).halves();
            }
            stepper.pack.v[group] = cells[group].map(|cell| values[cell]);
            let n = tally.as_ref().and_then(|tally| tally.n.as_ref());
            stepper.pack.number[group] = n.map_or([0; WIDTH], |n| cells[group].map(|cell| n[cell]));
            if !stepper.uniform {
                stepper.pack.cell[group] = load(stepper.model, stepper.cells, |values| cells[group].map(|cell| values[cell]));
            }
        }
        for (entry, x) in x.block(*column / LANES).iter().map(|x| x[*column % LANES]).enumerate().filter(|(_, x)| *x != 0) {
            let mut d = |row: u32| d.block(row as usize / LANES)[entry][row as usize % LANES];
            for (group, rows) in at.iter().enumerate().take(count) {
                for (lane, d) in rows.map(&mut d).iter().enumerate() {
                    stepper.pack.waits[group][lane] = if group * WIDTH + lane < len { x & d & SLOT_BITS } else { 0 };
                    stepper.pack.signs[group][lane] = (((x ^ d) as i32) >> 31) as u32;
                }
            }
            let popped = stepper.turns::<S, NOISE, false>(&streams, &at, count);
            if let Some(counts) = tally.as_mut().and_then(|tally| tally.counts.as_mut()) {
                let pulses = popped.ups.as_flattened().iter().zip(popped.pulses.as_flattened());
                for (cell, (ups, pulses)) in cells.as_flattened().iter().zip(pulses).take(len) {
                    counts[*cell] = counts[*cell].plus(*ups, *pulses);
                }
            }
        }
        stepper.work.cells += len as u64;
        let left = stepper.pack.v.as_flattened().iter().zip(stepper.pack.number.as_flattened());
        for (cell, (v, number)) in cells.as_flattened().iter().zip(left).take(len) {
            values[*cell] = *v;
            if let Some(n) = tally.as_mut().and_then(|tally| tally.n.as_mut()) {
                n[*cell] = *number;
            }
        }
    }
}

/// Cells of a column: each has the stream of its row.
struct Across {
    column: u32,
    low: [Group<u32>; GROUPS],
    high: [Group<u32>; GROUPS],
}

impl Streams for &Across {
    #[inline(always)]
    fn line(&self, _: u32) -> u32 {
        self.column
    }

    #[inline(always)]
    fn word(&self, group: usize, lane: usize, s: u32) -> u32 {
        word([self.low[group][lane], self.high[group][lane]], s)
    }
}
