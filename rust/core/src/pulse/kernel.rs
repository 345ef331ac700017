//! The pulse kernel: exact, event by event.
//!
//! A row of cells is worked off in blocks of [`LANES`] columns. Every lane owns a queue of up to 31 pulse signs: coincidences of a word are pushed, and
//! when a lane runs full, or at the end, pulses are popped two at a time in all lanes at once, each lane at its own place in time. The order
//! within a cell is exact and its n-th pulse always gets normal number n of its own stream, so queues, blocks and cuts leave no trace in the bits.

use super::notes::{Notes, Places, Seen, Stop};
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

/// Applies coincidences to the rows `lines` of `crossbar`, and notes cells on the way.
pub(crate) fn pulse(
    machine: Machine,
    crossbar: &mut Crossbar,
    what: Coincidences,
    lines: Range<usize>,
    tally: Option<&mut Tally>,
    notes: &mut Notes,
) {
    struct Go<'a>(
        Machine<'a>,
        &'a mut [f32],
        &'a Cells,
        Noise,
        usize,
        Coincidences<'a>,
        Range<usize>,
        Option<&'a mut Tally>,
        &'a mut Notes,
    );
    impl Visit for Go<'_> {
        type Out = ();
        fn visit<M: Model>(self, model: &M) {
            let Go(machine, values, cells, noise, columns, what, lines, tally, notes) = self;
            let work = lines.len() * columns * what.x.entries();
            on_lines(machine, values, tally, notes, columns, lines, work, |lines, places| {
                let part = Rows { model, noise, cells, lines, columns, what, places };
                if noise.sigma == 0.0 { machine.isa.run(Quiet(part)) } else { machine.isa.run(Noisy(part)) }
            });
        }
    }
    let Crossbar { device, columns, values, cells, .. } = crossbar;
    device.model.visit(Go(machine, values, cells, device.noise(), *columns, what, lines, tally, notes));
}

struct Rows<'a, M> {
    model: &'a M,
    noise: Noise,
    cells: &'a Cells,
    lines: Lines<'a>,
    columns: usize,
    what: Coincidences<'a>,
    places: &'a Places,
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
    /// Up pulses, if they are counted.
    ups: Option<[u32; LANES]>,
    warm: [u32; 4],
    counter: [u32; LANES],
    cell: Cell<[f32; LANES]>,
}

impl<M: Model> Rows<'_, M> {
    #[inline(always)]
    fn run<const NOISE: bool>(mut self) {
        // Entries in which the row fires, and those in which some line of the block fires in the same slots.
        let mut list: Vec<(u32, u32)> = Vec::with_capacity(self.what.x.entries());
        let mut hits: Vec<(u32, u32)> = Vec::with_capacity(self.what.x.entries());
        let mut stops: Vec<Stop> = Vec::new();
        let mut here: Vec<Stop> = Vec::new();
        let mut block = Block {
            v: [0.0; LANES],
            queue: [0; LANES],
            free: [0; LANES],
            ordinal: [0; LANES],
            ups: self.lines.counts.is_some().then_some([0; LANES]),
            warm: [0; 4],
            counter: [0; LANES],
            cell: Cell { w_max: [0.0; LANES], w_min: [0.0; LANES], dw_up: [0.0; LANES], dw_down: [0.0; LANES], k: [[0.0; LANES]; 4] },
        };
        // Cells that are all alike are loaded once.
        let uniform = self.cells.alike();
        let mut loaded = false;
        for row in 0..self.lines.values.len() / self.columns {
            let line = self.lines.first + row;
            self.begin_notes(row, &mut stops);
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
                    block.cell = load(self.model, self.cells, line * self.columns + first, lanes);
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
                if let (Some(ups), Some(counts)) = (&mut block.ups, &self.lines.counts) {
                    *ups = [0; LANES];
                    // Asks for the counts before the pulses, so that they are there afterwards.
                    for (warm, counts) in block.warm.iter_mut().zip(counts[at..at + lanes].chunks(LANES / 4)) {
                        *warm = counts[0].up;
                    }
                }
                here.clear();
                here.extend(stops.iter().filter_map(|stop| stop.within(first, lanes)));
                block.work::<M, NOISE>(self.model, self.noise, key, x, &hits, &here, self.lines.seen);
                self.lines.values[at..at + lanes].copy_from_slice(&block.v[..lanes]);
                if let (Some(ups), Some(counts)) = (&block.ups, &mut self.lines.counts) {
                    let mut pulses = block.ordinal;
                    if let Some(n) = &self.lines.n {
                        pulses[..lanes].iter_mut().zip(&n[at..]).for_each(|(pulses, before)| *pulses -= before);
                    }
                    // Where few cells got pulses, few counts are touched.
                    let mut left = pulses[..lanes].iter().enumerate().fold(0u32, |left, (lane, n)| left | (u32::from(*n != 0) << lane));
                    while left != 0 {
                        let lane = left.trailing_zeros() as usize;
                        counts[at + lane] = counts[at + lane].plus(ups[lane], pulses[lane]);
                        left &= left - 1;
                    }
                }
                if let Some(n) = &mut self.lines.n {
                    n[at..at + lanes].copy_from_slice(&block.ordinal[..lanes]);
                }
            }
        }
    }
}

/// The parameters of `lanes` cells from flat index `at`.
#[inline(always)]
pub(crate) fn load<M: Model>(model: &M, cells: &Cells, at: usize, lanes: usize) -> Cell<[f32; LANES]> {
    let mut raw = [[0f32; LANES]; 6];
    let planes = cells.planes[..REFERENCE].iter().chain(&cells.planes[OWN..]);
    for (raw, plane) in raw.iter_mut().zip(planes) {
        match plane {
            Plane::Uniform(v) => *raw = [*v; LANES],
            Plane::Dense(values) => raw[..lanes].copy_from_slice(&values[at..at + lanes]),
        }
    }
    let mut block = Cell { w_max: raw[0], w_min: raw[1], dw_up: raw[2], dw_down: raw[3], k: [[0.0; LANES]; 4] };
    for lane in 0..LANES {
        let [w_max, w_min, dw_up, dw_down, own, other] = raw.map(|plane| plane[lane]);
        let one = cell(model, [w_max, w_min, dw_up, dw_down], [own, other]);
        for k in 0..4 {
            block.k[k][lane] = one.k[k];
        }
    }
    block
}

impl Cell<[f32; LANES]> {
    /// One of the cells.
    #[inline(always)]
    pub(crate) fn lane(&self, lane: usize) -> Cell<f32> {
        Cell {
            w_max: self.w_max[lane],
            w_min: self.w_min[lane],
            dw_up: self.dw_up[lane],
            dw_down: self.dw_down[lane],
            k: [self.k[0][lane], self.k[1][lane], self.k[2][lane], self.k[3][lane]],
        }
    }
}

impl<M: Model> Rows<'_, M> {
    /// Lists what is noted of a row, by entries, and notes its cells as they are now, which is true of those that get no pulses.
    fn begin_notes(&mut self, row: usize, stops: &mut Vec<Stop>) {
        stops.clear();
        for stop in self.places.stops(self.lines.first + row, self.lines.first) {
            let at = row * self.columns + stop.columns.first;
            for (i, seen) in self.lines.seen[stop.place..][..stop.columns.len].iter_mut().enumerate() {
                *seen = Seen { v: self.lines.values[at + i], n: self.lines.n.as_ref().map_or(0, |n| n[at + i]) };
            }
            stops.push(Stop { after: self.what.x.begin(stop.after), ..stop });
        }
    }
}

impl Block {
    /// Pushes the coincidences of the row's entries in `hits` with the columns, and pops all pulses. At `stops` all pulses of the entries before are
    /// popped, and lanes noted in `seen`.
    #[allow(clippy::too_many_arguments)]
    #[inline(always)]
    fn work<M: Model, const NOISE: bool>(
        &mut self,
        model: &M,
        noise: Noise,
        key: Key,
        x: &[[u32; LANES]],
        hits: &[(u32, u32)],
        mut stops: &[Stop],
        seen: &mut [Seen],
    ) {
        self.queue = [0; LANES];
        self.free = [u32::MAX; LANES];
        for &(entry, d) in hits {
            while let [stop, later @ ..] = stops
                && stop.after <= entry as usize
            {
                self.drain::<M, NOISE>(model, noise, key);
                self.note(stop, seen);
                stops = later;
            }
            let x = &x[entry as usize];
            let (mut free, mut count) = ([0u32; LANES], [0u32; LANES]);
            for lane in 0..LANES {
                count[lane] = (x[lane] & d & SLOT_BITS).count_ones();
            }
            loop {
                let mut fits = u32::MAX;
                for lane in 0..LANES {
                    free[lane] = self.free[lane] << count[lane];
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
            if let Some(ups) = &mut self.ups {
                for lane in 0..LANES {
                    ups[lane] += (((x[lane] ^ d) as i32) >> 31) as u32 & count[lane];
                }
            }
            self.free = free;
        }
        self.drain::<M, NOISE>(model, noise, key);
        stops.iter().for_each(|stop| self.note(stop, seen));
    }

    /// Pops all pulses.
    #[inline(always)]
    fn drain<M: Model, const NOISE: bool>(&mut self, model: &M, noise: Noise, key: Key) {
        // An empty queue has bit 0 of its mask set.
        while self.free.iter().fold(u32::MAX, |all, free| all & free) & 1 == 0 {
            self.pop::<M, NOISE>(model, noise, key);
        }
    }

    /// Notes the lanes of a stop.
    #[inline(always)]
    fn note(&self, stop: &Stop, seen: &mut [Seen]) {
        for (lane, seen) in stop.columns.range().zip(&mut seen[stop.place..]) {
            *seen = Seen { v: self.v[lane], n: self.ordinal[lane] };
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
        for lane in 0..LANES {
            let (queue, free, n) = (self.queue[lane], self.free[lane], self.ordinal[lane]);
            let odd = 0u32.wrapping_sub(n & 1);
            let (even_z, odd_z) = (even_z[lane], odd_z[lane]);
            let cell = self.cell.lane(lane);
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
                let before = tally.as_ref().and_then(|tally| tally.n.as_ref()).map_or(0, |n| n[at]);
                let (mut v, mut n, mut ups) = (values[at], before, 0);
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
                if let Some(Tally { n: all, counts }) = &mut tally {
                    all.iter_mut().for_each(|all| all[at] = n);
                    counts.iter_mut().for_each(|counts| counts[at] = counts[at].plus(ups, n - before));
                }
            }
        }
    }
    let Crossbar { device, columns, values, cells, .. } = crossbar;
    device.model.visit(Go(values, cells, device.noise(), *columns, column, what, tally));
}

impl Cells {
    /// Whether pulses move all cells in the same way.
    pub(crate) fn alike(&self) -> bool {
        let used = self.planes[..REFERENCE].iter().chain(&self.planes[OWN..]);
        used.into_iter().all(|plane| matches!(plane, Plane::Uniform(_)))
    }

    /// The kernel's cell at flat index `at`.
    #[inline(always)]
    pub(crate) fn cell<M: Model>(&self, model: &M, at: usize) -> Cell<f32> {
        let p = |i: usize| self.planes[i].at(at);
        let own = model.own().len();
        cell(model, [p(0), p(1), p(2), p(3)], [if own > 0 { p(OWN) } else { 0.0 }, if own > 1 { p(OWN + 1) } else { 0.0 }])
    }
}
