//! The pulse kernel: exact, event by event.
//!
//! A row of cells is worked off in blocks of [`LANES`] columns. Every lane owns a queue of up to 31 pulse signs: coincidences of a word are pushed, and
//! when a lane runs full, or at the end, pulses are popped two at a time in all lanes at once, each lane at its own place in time. The order
//! within a cell is exact and its n-th pulse always gets normal number n of its own stream, so queues, blocks and cuts leave no trace in the bits.

use super::trains::{SLOT_BITS, Trains};
use super::update::{Lines, Tally, on_lines};
use crate::device::{Cell, Cells, Model, Noise, OWN, Plane, REFERENCE, Visit, cell, step};
use crate::pool::Machine;
use crate::rng::{Key, STEP_I, STEP_N};
use crate::simd::{Kernel, LANES, select};
use crate::tile::crossbar::Crossbar;
use std::ops::Range;

/// The coincidences to apply: trains of the columns and of the rows, and the call's noise stream.
#[derive(Clone, Copy)]
pub(crate) struct Coincidences<'a> {
    pub(crate) x: &'a Trains,
    pub(crate) d: &'a Trains,
    pub(crate) key: Key,
}

/// Applies coincidences to the rows `lines` of `crossbar`.
pub(crate) fn pulse(machine: Machine, crossbar: &mut Crossbar, what: Coincidences, lines: Range<usize>, tally: Option<&mut Tally>) {
    struct Go<'a>(Machine<'a>, &'a mut [f32], &'a Cells, Noise, usize, Coincidences<'a>, Range<usize>, Option<&'a mut Tally>);
    impl Visit for Go<'_> {
        type Out = ();
        fn visit<M: Model>(self, model: &M) {
            let Go(machine, values, cells, noise, columns, what, lines, tally) = self;
            let work = lines.len() * columns * what.x.entries();
            on_lines(machine, values, tally, columns, lines, work, |lines| {
                let part = Rows { model, noise, cells, lines, columns, what };
                if noise.sigma == 0.0 { machine.isa.run(Quiet(part)) } else { machine.isa.run(Noisy(part)) }
            });
        }
    }
    let Crossbar { device, columns, values, cells, .. } = crossbar;
    device.model.visit(Go(machine, values, cells, device.noise(), *columns, what, lines, tally));
}

struct Rows<'a, M> {
    model: &'a M,
    noise: Noise,
    cells: &'a Cells,
    lines: Lines<'a>,
    columns: usize,
    what: Coincidences<'a>,
}

struct Noisy<'a, M>(Rows<'a, M>);
struct Quiet<'a, M>(Rows<'a, M>);

impl<M: Model> Kernel for Noisy<'_, M> {
    #[inline(always)]
    fn run(self) {
        self.0.run::<true>();
    }
}

impl<M: Model> Kernel for Quiet<'_, M> {
    #[inline(always)]
    fn run(self) {
        self.0.run::<false>();
    }
}

/// A block of one row, in registers while the whole mini-batch passes.
#[repr(align(64))]
struct Block {
    v: [f32; LANES],
    /// Signs of the waiting pulses, oldest in bit 0; set: up.
    queue: [u32; LANES],
    /// Ones above the length of the queue.
    free: [u32; LANES],
    ordinal: [u32; LANES],
    /// Up pulses so far, if they are counted.
    ups: Option<[u32; LANES]>,
    counter: [u32; LANES],
    cell: Cell<[f32; LANES]>,
}

impl<M: Model> Rows<'_, M> {
    #[inline(always)]
    fn run<const NOISE: bool>(mut self) {
        // Entries in which the row fires, and those in which some line of the block fires in the same slots.
        let mut list: Vec<(u32, u32)> = Vec::with_capacity(self.what.x.entries());
        let mut hits: Vec<(u32, u32)> = Vec::with_capacity(self.what.x.entries());
        let mut block = Block {
            v: [0.0; LANES],
            queue: [0; LANES],
            free: [0; LANES],
            ordinal: [0; LANES],
            ups: self.lines.up.is_some().then_some([0; LANES]),
            counter: [0; LANES],
            cell: Cell { w_max: [0.0; LANES], w_min: [0.0; LANES], dw_up: [0.0; LANES], dw_down: [0.0; LANES], k: [[0.0; LANES]; 4] },
        };
        // Cells that are all alike are loaded once.
        let uniform = self.cells.planes.iter().all(|plane| matches!(plane, Plane::Uniform(_)));
        let mut loaded = false;
        for row in 0..self.lines.values.len() / self.columns {
            let line = self.lines.first + row;
            let words = self.what.d.block(line / LANES);
            list.clear();
            for (entry, words) in words.iter().enumerate() {
                let word = words[line % LANES];
                if word != 0 {
                    list.push((entry as u32, word));
                }
            }
            if list.is_empty() {
                continue;
            }
            let key = self.what.key.child(line as u64);
            for first in (0..self.columns).step_by(LANES) {
                let (x, any) = (self.what.x.block(first / LANES), self.what.x.any(first / LANES));
                hits.clear();
                hits.extend(list.iter().filter(|(entry, d)| any[*entry as usize] & d & SLOT_BITS != 0));
                if hits.is_empty() {
                    continue;
                }
                let lanes = LANES.min(self.columns - first);
                let at = row * self.columns + first;
                if !loaded {
                    block.load(self.model, self.cells, line * self.columns + first, lanes);
                    loaded = uniform;
                }
                block.v[..lanes].copy_from_slice(&self.lines.values[at..at + lanes]);
                for lane in 0..LANES {
                    block.counter[lane] = ((first + lane) as u32).wrapping_mul(STEP_I);
                }
                match &self.lines.n {
                    Some(n) => block.ordinal[..lanes].copy_from_slice(&n[at..at + lanes]),
                    None => block.ordinal = [0; LANES],
                }
                if let (Some(ups), Some(up)) = (&mut block.ups, &self.lines.up) {
                    ups[..lanes].copy_from_slice(&up[at..at + lanes]);
                }
                block.work::<M, NOISE>(self.model, self.noise, key, x, &hits);
                self.lines.values[at..at + lanes].copy_from_slice(&block.v[..lanes]);
                if let Some(n) = &mut self.lines.n {
                    n[at..at + lanes].copy_from_slice(&block.ordinal[..lanes]);
                }
                if let (Some(ups), Some(up)) = (&block.ups, &mut self.lines.up) {
                    up[at..at + lanes].copy_from_slice(&ups[..lanes]);
                }
            }
        }
    }
}

impl Block {
    /// The parameters of `lanes` cells from flat index `at`.
    #[inline(always)]
    fn load<M: Model>(&mut self, model: &M, cells: &Cells, at: usize, lanes: usize) {
        let mut raw = [[0f32; LANES]; 6];
        let planes = cells.planes[..REFERENCE].iter().chain(&cells.planes[OWN..]);
        for (raw, plane) in raw.iter_mut().zip(planes) {
            match plane {
                Plane::Uniform(v) => *raw = [*v; LANES],
                Plane::Dense(values) => raw[..lanes].copy_from_slice(&values[at..at + lanes]),
            }
        }
        for lane in 0..LANES {
            let [w_max, w_min, dw_up, dw_down, own, other] = raw.map(|plane| plane[lane]);
            let one = cell(model, [w_max, w_min, dw_up, dw_down], [own, other]);
            self.cell.w_max[lane] = w_max;
            self.cell.w_min[lane] = w_min;
            self.cell.dw_up[lane] = dw_up;
            self.cell.dw_down[lane] = dw_down;
            for k in 0..4 {
                self.cell.k[k][lane] = one.k[k];
            }
        }
    }

    /// Pushes the coincidences of the row's entries in `hits` with the columns, and pops all pulses.
    #[inline(always)]
    fn work<M: Model, const NOISE: bool>(&mut self, model: &M, noise: Noise, key: Key, x: &[[u32; LANES]], hits: &[(u32, u32)]) {
        self.queue = [0; LANES];
        self.free = [u32::MAX; LANES];
        for &(entry, d) in hits {
            let x = &x[entry as usize];
            let mut free = [0u32; LANES];
            loop {
                let mut fits = u32::MAX;
                for lane in 0..LANES {
                    free[lane] = self.free[lane] << (x[lane] & d & SLOT_BITS).count_ones();
                    fits &= free[lane];
                }
                if fits >> 31 == 1 {
                    break;
                }
                self.pop::<M, NOISE>(model, noise, key);
            }
            for lane in 0..LANES {
                let up = (((x[lane] ^ d) as i32) >> 31) as u32;
                self.queue[lane] |= up & (self.free[lane] ^ free[lane]);
            }
            self.free = free;
        }
        // An empty queue has bit 0 of its mask set.
        while self.free.iter().fold(u32::MAX, |all, free| all & free) & 1 == 0 {
            self.pop::<M, NOISE>(model, noise, key);
        }
    }

    /// Up to two pulses in every lane: normals `n` and `n + 1` of an even ordinal `n`, only the second of a pair where the ordinal is odd.
    #[inline(always)]
    fn pop<M: Model, const NOISE: bool>(&mut self, model: &M, noise: Noise, key: Key) {
        // A loop of its own: it is vectorised even where the response is not (tables).
        let (mut even_z, mut odd_z) = ([0f32; LANES], [0f32; LANES]);
        if NOISE {
            for lane in 0..LANES {
                let pair = (self.ordinal[lane] & !1).wrapping_mul(STEP_N);
                (even_z[lane], odd_z[lane]) = key.normals_at(self.counter[lane].wrapping_add(pair));
            }
        }
        if let Some(ups) = &mut self.ups {
            for (lane, ups) in ups.iter_mut().enumerate() {
                let up = self.queue[lane] & !self.free[lane];
                *ups += (up & 1) + ((up >> 1) & !self.ordinal[lane] & 1);
            }
        }
        for lane in 0..LANES {
            let (queue, free, n) = (self.queue[lane], self.free[lane], self.ordinal[lane]);
            let odd = 0u32.wrapping_sub(n & 1);
            let (even_z, odd_z) = (even_z[lane], odd_z[lane]);
            let c = &self.cell;
            let cell = Cell {
                w_max: c.w_max[lane],
                w_min: c.w_min[lane],
                dw_up: c.dw_up[lane],
                dw_down: c.dw_down[lane],
                k: [c.k[0][lane], c.k[1][lane], c.k[2][lane], c.k[3][lane]],
            };
            let mut v = self.v[lane];
            let idle = 0u32.wrapping_sub(free & 1);
            let up = 0u32.wrapping_sub(queue & 1);
            v = select(idle, v, step(model, &cell, noise, v, up, select(odd, odd_z, even_z)));
            let idle_second = 0u32.wrapping_sub((free >> 1) & 1) | odd;
            let up = 0u32.wrapping_sub((queue >> 1) & 1);
            v = select(idle_second, v, step(model, &cell, noise, v, up, odd_z));
            let popped = (!idle & 1) + (!idle_second & !idle & 1);
            self.v[lane] = v;
            self.queue[lane] = queue >> popped;
            self.free[lane] = ((free as i32) >> popped) as u32;
            self.ordinal[lane] = n + popped;
        }
    }
}

/// The same on a single column, the only one whose lines fire.
pub(crate) fn pulse_column(crossbar: &mut Crossbar, column: usize, what: Coincidences, tally: Option<&mut Tally>) {
    struct Go<'a>(&'a mut [f32], &'a Cells, Noise, usize, usize, Coincidences<'a>, Option<&'a mut Tally>);
    impl Visit for Go<'_> {
        type Out = ();
        fn visit<M: Model>(self, model: &M) {
            let Go(values, cells, noise, columns, column, what, mut tally) = self;
            let x = what.x.block(column / LANES);
            for row in 0..values.len() / columns {
                let at = row * columns + column;
                let (mut v, mut n, mut ups) = (values[at], tally.as_ref().map_or(0, |tally| tally.n[at]), 0);
                let mut ready = None;
                for (x, d) in x.iter().zip(what.d.block(row / LANES)) {
                    let (x, d) = (x[column % LANES], d[row % LANES]);
                    let up = (((x ^ d) as i32) >> 31) as u32;
                    for _ in 0..(x & d & SLOT_BITS).count_ones() {
                        let (key, cell) = *ready.get_or_insert_with(|| (what.key.child(row as u64), cells.cell(model, at)));
                        let z = if noise.sigma == 0.0 { 0.0 } else { key.normal(column as u32, n) };
                        v = step(model, &cell, noise, v, up, z);
                        n += 1;
                        ups += up & 1;
                    }
                }
                values[at] = v;
                if let Some(tally) = &mut tally {
                    tally.n[at] = n;
                    if let Some(up) = &mut tally.up {
                        up[at] += ups;
                    }
                }
            }
        }
    }
    let Crossbar { device, columns, values, cells, .. } = crossbar;
    device.model.visit(Go(values, cells, device.noise(), *columns, column, what, tally));
}

impl Cells {
    /// The kernel's cell at flat index `at`.
    #[inline(always)]
    pub(crate) fn cell<M: Model>(&self, model: &M, at: usize) -> Cell<f32> {
        let p = |i: usize| self.planes[i].at(at);
        let own = model.own().len();
        cell(model, [p(0), p(1), p(2), p(3)], [if own > 0 { p(OWN) } else { 0.0 }, if own > 1 { p(OWN + 1) } else { 0.0 }])
    }
}
