//! The pulse kernel: exact, event by event.
//!
//! Row by row, every cell owns a queue of up to 31 pulse signs. Coincidences are pushed in blocks of [`LANES`] columns, word by word; a block of which a
//! queue runs full waits. Then all cells of the row that have pulses are packed, [`LANES`] at a time and such that those of a pack have about as
//! many, and popped: two pulses of each cell in a turn, each cell at its own place in time. The order within a cell is exact and its n-th pulse
//! always gets normal number n of its own stream, so queues, blocks, packs and cuts leave no trace in the bits.

use super::notes::{Notes, Places, Seen, Stop};
use super::pack::{PACK, Pack, load};
use super::trains::{Fired, SLOT_BITS, SLOTS, Trains};
use super::update::{Count, Lines, Span, Tally, on_lines};
use crate::device::{Cells, Model, Noise, Visit, step};
use crate::pool::{Machine, Work};
use crate::rng::{Key, STEP_I, STEP_N};
use crate::simd::{GROUPS, Group, Isa, Kernel, LANES, WIDTH};
use crate::tile::crossbar::Crossbar;
use std::ops::Range;

/// The coincidences to apply: trains of the columns and of the rows, and the call's noise stream.
#[derive(Clone, Copy)]
pub(crate) struct Coincidences<'a> {
    pub(crate) x: &'a Trains,
    pub(crate) d: &'a Trains,
    /// The columns that fire, if they are few.
    pub(super) fired: Option<&'a Fired>,
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
            // A visit of a cell takes about half a nanosecond, much less where few columns fire.
            let work = lines.len() * columns * what.x.entries() / if what.fired.is_some() { 8 } else { 2 };
            on_lines(machine, values, tally, notes, columns, lines, work, |lines, places| {
                let part = Rows { model, noise, cells, lines, columns, what, places, machine };
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
    machine: Machine<'a>,
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

impl<M: Model> Rows<'_, M> {
    #[inline(always)]
    fn run<const NOISE: bool>(self) {
        let Rows { model, noise, cells, lines, columns, what, places, machine } = self;
        let Lines { first, values, mut n, mut counts, seen } = lines;
        let blocks = columns.div_ceil(LANES);
        let mut worker = Worker {
            isa: machine.isa,
            model,
            noise,
            cells,
            uniform: cells.alike(),
            signs: vec![[0; LANES]; blocks],
            free: vec![[u32::MAX; LANES]; blocks],
            by_turns: vec![0; TURNS * blocks * LANES],
            order: Vec::with_capacity(2 * columns),
            pack: Pack::new(),
            work: Work::default(),
        };
        if worker.uniform {
            worker.pack.cell = [load(model, cells, 0..1); GROUPS];
        }
        // Entries in which the row fires, and blocks that have not got all of them, with the number that they have got.
        let (mut list, mut waiting) = (Vec::with_capacity(what.x.entries()), Vec::with_capacity(blocks));
        let (mut stops, mut here) = (Vec::new(), Vec::new());
        // Ordinals of the next pulses, where no tally has them.
        let keeps = n.is_some();
        let mut own = if keeps { Vec::new() } else { vec![0; columns] };
        for (at, values) in values.chunks_exact_mut(columns).enumerate() {
            let (line, begin) = (first + at, at * columns);
            let n = n.as_mut().map_or(&mut own[..], |n| &mut n[begin..begin + columns]);
            places.begin(line, first, values, n, what.x, seen, &mut stops);
            list.clear();
            for (entry, words) in what.d.block(line / LANES).iter().enumerate() {
                if words[line % LANES] != 0 {
                    list.push((entry, words[line % LANES]));
                }
            }
            if list.is_empty() {
                continue;
            }
            let counts = counts.as_mut().map(|counts| &mut counts[begin..begin + columns]);
            let mut row = Row { key: what.key.child(line as u64), first: line * columns, values, n, keeps, begun: false, counts };
            if let Some(fired) = what.fired {
                worker.push_few::<NOISE>(&mut row, fired, &list, &stops, seen);
                worker.finish::<NOISE>(&mut row);
                continue;
            }
            waiting.clear();
            waiting.extend((0..blocks).map(|block| (block, 0)));
            while !waiting.is_empty() {
                let mut left = 0;
                for at in 0..waiting.len() {
                    let (block, from) = waiting[at];
                    here.clear();
                    here.extend(stops.iter().filter_map(|stop: &Stop| stop.within(block * LANES, LANES)));
                    let got = worker.push::<NOISE>(&mut row, &what, &list, block, from, &here, seen);
                    if got < list.len() {
                        waiting[left] = (block, got);
                        left += 1;
                    }
                }
                waiting.truncate(left);
                worker.sort(&row);
                if waiting.is_empty() {
                    worker.finish::<NOISE>(&mut row);
                } else {
                    worker.pop::<NOISE>(&mut row);
                }
            }
        }
        machine.pool.count(worker.work);
    }
}

/// The columns of a row whose cells are alike in how often they fire, and what waits for them.
struct Worker<'a, M> {
    isa: Isa,
    model: &'a M,
    noise: Noise,
    cells: &'a Cells,
    /// Whether all cells are alike.
    uniform: bool,
    /// Signs of the waiting pulses of each cell, oldest in bit 0; set: up.
    signs: Vec<[u32; LANES]>,
    /// Ones above the number of waiting pulses.
    free: Vec<[u32; LANES]>,
    /// Columns by the turns that they need: [`TURNS`] lists, each with room for all.
    by_turns: Vec<u32>,
    /// The columns whose pulses are popped next.
    order: Vec<u32>,
    pack: Pack,
    work: Work,
}

/// One more than the turns that a full queue can need.
const TURNS: usize = SLOTS.div_ceil(2) + 2;

/// A row of cells.
struct Row<'a> {
    /// The stream of its noise.
    key: Key,
    /// Flat index of its first cell.
    first: usize,
    values: &'a mut [f32],
    n: &'a mut [u32],
    /// Whether ordinals are kept for the next job; otherwise they end at 0.
    keeps: bool,
    /// Whether pulses have been popped already.
    begun: bool,
    counts: Option<&'a mut [Count]>,
}

impl<M: Model> Worker<'_, M> {
    /// Pushes the coincidences of a block of columns with the entries in `list` from `from` on, until a queue is full; gives how many it has got then. At
    /// stops, cells have their pulses popped and are noted.
    #[allow(clippy::too_many_arguments)]
    #[inline(always)]
    fn push<const NOISE: bool>(
        &mut self,
        row: &mut Row,
        what: &Coincidences,
        list: &[(usize, u32)],
        block: usize,
        from: usize,
        stops: &[Stop],
        seen: &mut [Seen],
    ) -> usize {
        let (x, any) = (what.x.block(block), what.x.any(block));
        // Those before have been noted, and notes of the same moment again are the same.
        let mut stops = stops.iter().filter(|stop| from == 0 || stop.after > list[from - 1].0).peekable();
        for (at, &(entry, d)) in list.iter().enumerate().skip(from) {
            while let Some(stop) = stops.next_if(|stop| stop.after <= entry) {
                self.note::<NOISE>(row, block, stop, seen);
            }
            if any[entry] & d & SLOT_BITS != 0 {
                self.work.words += 1;
                if !fits(&mut self.signs[block], &mut self.free[block], &x[entry], d) {
                    return at;
                }
            }
        }
        stops.for_each(|stop| self.note::<NOISE>(row, block, stop, seen));
        list.len()
    }

    /// Pushes the coincidences of all columns, column by column: few of them fire. They are left to be popped.
    #[inline(always)]
    fn push_few<const NOISE: bool>(&mut self, row: &mut Row, fired: &Fired, list: &[(usize, u32)], stops: &[Stop], seen: &mut [Seen]) {
        self.order.clear();
        let mut stops = stops.iter().peekable();
        for &(entry, d) in list {
            while let Some(stop) = stops.next_if(|stop| stop.after <= entry) {
                self.pop_and_note::<NOISE>(row, stop, seen);
            }
            let mut rest = fired.of(entry);
            self.work.words += rest.len() as u64;
            loop {
                rest = few_fit(self.signs.as_flattened_mut(), self.free.as_flattened_mut(), &mut self.order, rest, d);
                if rest.is_empty() {
                    break;
                }
                self.pop::<NOISE>(row);
            }
        }
        stops.for_each(|stop| self.pop_and_note::<NOISE>(row, stop, seen));
    }

    /// Pops the pulses that are listed, and notes the cells of a stop.
    #[inline(always)]
    fn pop_and_note<const NOISE: bool>(&mut self, row: &mut Row, stop: &Stop, seen: &mut [Seen]) {
        self.pop::<NOISE>(row);
        for (column, seen) in stop.columns.range().zip(&mut seen[stop.place..]) {
            *seen = Seen { v: row.values[column], n: row.n[column] };
        }
    }

    /// Pops the pulses of the cells of a stop, and notes these.
    #[inline(always)]
    fn note<const NOISE: bool>(&mut self, row: &mut Row, block: usize, stop: &Stop, seen: &mut [Seen]) {
        let columns = stop.columns.range();
        self.order.clear();
        self.order.extend(columns.clone().filter(|lane| self.free[block][*lane] & 1 == 0).map(|lane| (block * LANES + lane) as u32));
        let columns = Span { first: block * LANES + columns.start, len: columns.len() };
        self.pop_and_note::<NOISE>(row, &Stop { columns, ..*stop }, seen);
    }

    /// Lists the columns with pulses, those that need the most turns first.
    #[inline(always)]
    fn sort(&mut self, row: &Row) {
        let mut sizes = [0; TURNS];
        let room = self.by_turns.len() / TURNS;
        for (block, free) in self.free.iter().enumerate() {
            let mut busy = 0u32;
            for (lane, free) in free.iter().enumerate() {
                busy |= (!free & 1) << lane;
            }
            while busy != 0 {
                let lane = busy.trailing_zeros() as usize;
                let column = block * LANES + lane;
                let turns = ((free[lane].trailing_zeros() + (row.n[column] & 1)).div_ceil(2)) as usize;
                self.by_turns[turns * room + sizes[turns]] = column as u32;
                sizes[turns] += 1;
                busy &= busy - 1;
            }
        }
        self.order.clear();
        for turns in (1..TURNS).rev() {
            self.order.extend_from_slice(&self.by_turns[turns * room..][..sizes[turns]]);
        }
    }

    /// Pops the last pulses of the row, all of which are listed.
    #[inline(always)]
    fn finish<const NOISE: bool>(&mut self, row: &mut Row) {
        let begun = row.begun;
        self.isa.run(Pop::<M, NOISE> { worker: self, row, last: true });
        if begun && !row.keeps {
            row.n.fill(0);
        }
    }

    /// Pops all pulses of the listed columns.
    #[inline(always)]
    fn pop<const NOISE: bool>(&mut self, row: &mut Row) {
        row.begun = true;
        self.isa.run(Pop::<M, NOISE> { worker: self, row, last: false });
    }
}

/// The pulses of the columns that a worker has listed; the last ones of the row or not.
struct Pop<'a, 'w, 'r, M, const NOISE: bool> {
    worker: &'a mut Worker<'w, M>,
    row: &'a mut Row<'r>,
    last: bool,
}

impl<M: Model, const NOISE: bool> Kernel for Pop<'_, '_, '_, M, NOISE> {
    #[inline(always)]
    fn run(self) {
        let Self { worker, row, last } = self;
        let (signs, free) = (worker.signs.as_flattened_mut(), worker.free.as_flattened_mut());
        let order = std::mem::take(&mut worker.order);
        for columns in order.chunks(PACK) {
            let groups = columns.len().div_ceil(WIDTH);
            let pack = &mut worker.pack;
            let (mut ups, mut pulses) = ([[0u32; WIDTH]; GROUPS], [[0u32; WIDTH]; GROUPS]);
            let (mut number, mut taken) = ([0u32; PACK], [u32::MAX; PACK]);
            for (lane, column) in columns.iter().enumerate() {
                let at = *column as usize;
                pack.v.as_flattened_mut()[lane] = row.values[at];
                pack.signs.as_flattened_mut()[lane] = std::mem::take(&mut signs[at]);
                taken[lane] = std::mem::replace(&mut free[at], u32::MAX);
                number[lane] = row.n[at];
                pack.counter.as_flattened_mut()[lane] = *column;
            }
            let mut all = 0;
            for (group, (number, taken)) in number.as_chunks().0.iter().zip(taken.as_chunks().0).take(groups).enumerate() {
                let (number, taken): (&Group<u32>, &Group<u32>) = (number, taken);
                for lane in 0..WIDTH {
                    let odd = number[lane] & 1;
                    ups[group][lane] = pack.signs[group][lane].count_ones();
                    pulses[group][lane] = (!taken[lane]).count_ones();
                    pack.signs[group][lane] <<= odd;
                    pack.places[group][lane] = !taken[lane] << odd;
                    let line = pack.counter[group][lane].wrapping_mul(STEP_I);
                    pack.counter[group][lane] = line.wrapping_add((number[lane] ^ odd).wrapping_mul(STEP_N));
                    all |= pack.places[group][lane];
                }
            }
            if !worker.uniform {
                for (cell, columns) in pack.cell.iter_mut().zip(columns.chunks(WIDTH)) {
                    *cell = load(worker.model, worker.cells, columns.iter().map(|column| row.first + *column as usize));
                }
            }
            let turns = (u32::BITS - all.leading_zeros()).div_ceil(2);
            worker.work.lanes += (2 * turns as usize * groups * WIDTH) as u64;
            for _ in 0..turns {
                pack.turn::<M, NOISE>(worker.model, worker.noise, row.key, groups);
            }
            let (v, pulses) = (pack.v.as_flattened(), pulses.as_flattened());
            worker.work.pulses += pulses[..columns.len()].iter().map(|n| u64::from(*n)).sum::<u64>();
            for (lane, column) in columns.iter().enumerate() {
                let at = *column as usize;
                row.values[at] = v[lane];
                row.n[at] = if last && !row.keeps { 0 } else { number[lane] + pulses[lane] };
            }
            if let Some(counts) = &mut row.counts {
                for (lane, column) in columns.iter().enumerate() {
                    counts[*column as usize] = counts[*column as usize].plus(ups.as_flattened()[lane], pulses[lane]);
                }
            }
        }
        worker.order = order;
        worker.order.clear();
    }
}

/// Appends the coincidences of a word to the queues of a block, unless one of them runs over.
#[inline(always)]
fn fits(signs: &mut [u32; LANES], free: &mut [u32; LANES], x: &[u32; LANES], d: u32) -> bool {
    let mut next = [0u32; LANES];
    let mut all = u32::MAX;
    for lane in 0..LANES {
        next[lane] = free[lane] << (x[lane] & d & SLOT_BITS).count_ones();
        all &= next[lane];
    }
    if all >> 31 == 0 {
        return false;
    }
    for lane in 0..LANES {
        let up = (((x[lane] ^ d) as i32) >> 31) as u32;
        signs[lane] |= up & (free[lane] ^ next[lane]);
    }
    *free = next;
    true
}

/// Appends the coincidences of a word with those of some columns, and lists the columns that had none before. Gives what is left where a queue would
/// run over.
#[inline(always)]
fn few_fit<'a>(signs: &mut [u32], free: &mut [u32], order: &mut Vec<u32>, fired: &'a [(u32, u32)], d: u32) -> &'a [(u32, u32)] {
    let (mut busy, signs) = (order.len(), &mut signs[..free.len()]);
    order.resize(busy + fired.len(), 0);
    let mut done = 0;
    for &(column, x) in fired {
        let free = &mut free[column as usize];
        let next = *free << (x & d & SLOT_BITS).count_ones();
        if next >> 31 == 0 {
            break;
        }
        order[busy] = column;
        busy += usize::from(*free == u32::MAX && next != u32::MAX);
        let up = (((x ^ d) as i32) >> 31) as u32;
        signs[column as usize] |= up & (*free ^ next);
        *free = next;
        done += 1;
    }
    order.truncate(busy);
    &fired[done..]
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
