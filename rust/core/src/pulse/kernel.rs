//! The pulse kernel: exact, event by event.
//!
//! Row by row, every cell owns a queue of up to 31 pulse signs. Coincidences are pushed in blocks of [`LANES`] columns, word by word; a block of which a
//! queue runs full waits. Then all cells of the row that have pulses are packed, [`PACK`] at a time and such that those of a pack have about as
//! many, and popped: a pulse of each cell in a turn, each cell at its own place in time. The order within a cell is exact and its n-th pulse
//! always gets normal number n of its own stream, so queues, blocks, packs and cuts leave no trace in the bits.
//!
//! Where few columns fire, nothing is queued: the columns that fire in a word are the packs, and their coincidences with that of the row are popped at once.

use super::notes::{Notes, Places, Seen, Stop};
use super::pack::{PACK, Pack, load};
use super::trains::{Fired, SLOT_BITS, Trains};
use super::update::{Count, Lines, Span, Tally, on_lines};
use crate::device::{Cells, Model, Noise, Visit, step};
use crate::pool::{Machine, Work};
use crate::rng::{Key, STEP_I, STEP_N};
use crate::simd::{GROUPS, Group, Isa, Kernel, LANES, Plain, Set, Spots, WIDTH};
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

impl Coincidences<'_> {
    /// Nanoseconds that they take on so many cells, roughly: two for a pulse and an eighth for a cell to be looked at; where few columns fire, five for a
    /// pulse, far from the others, and two for a column and a row that fire. Nobody need know where even pulses in all slots would stay on one thread.
    fn work(&self, machine: Machine, [rows, columns]: [usize; 2]) -> usize {
        let cells = rows * columns;
        if rows == 1 || !machine.pool.splits(8 * cells * self.x.length()) {
            return 0;
        }
        let (x, d) = (self.x.fires(machine.isa), self.d.fires(machine.isa));
        let (looks, pulse) = match self.fired {
            Some(fired) => (2 * d.iter().enumerate().map(|(entry, rows)| fired.of(entry).0.len() * *rows as usize).sum::<usize>(), 5),
            None => (cells * self.x.entries() / 8, 2),
        };
        // The slots are taken for independent.
        let pulses = |((x, d), slots): ((u64, u64), u64)| (x * d).checked_div(slots).unwrap_or(0);
        looks + pulse * x.into_iter().zip(d).zip(self.x.slots()).map(pulses).sum::<u64>() as usize
    }
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
            let work = what.work(machine, [lines.len(), columns]);
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
    fn run<S: Set>(self) {
        self.0.run::<S, true>();
    }
}

impl<M: Model> Kernel for Quiet<'_, M> {
    #[inline(always)]
    fn run<S: Set>(self) {
        self.0.run::<S, false>();
    }
}

impl<M: Model> Rows<'_, M> {
    #[inline(always)]
    fn run<S: Set, const NOISE: bool>(self) {
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
            turns: vec![[0; LANES]; blocks],
            order: vec![0; (blocks + 1) * LANES],
            listed: 0,
            pack: Pack::new(),
            work: Work::default(),
        };
        if worker.uniform {
            worker.pack.cell = [load(model, cells, |values| [values[0]; WIDTH]); GROUPS];
        }
        // The words of the row, and blocks that have not got all of them, with the number that they have got.
        let (mut words, mut waiting) = (vec![0; what.x.entries().next_multiple_of(LANES)], Vec::with_capacity(blocks));
        let (mut stops, mut here) = (Vec::new(), Vec::new());
        // Ordinals of the next pulses, where no tally has them.
        let keeps = n.is_some();
        let mut own = if keeps { Vec::new() } else { vec![0; columns] };
        for (at, values) in values.chunks_exact_mut(columns).enumerate() {
            let (line, begin) = (first + at, at * columns);
            let n = n.as_mut().map_or(&mut own[..], |n| &mut n[begin..begin + columns]);
            places.begin(line, first, values, n, what.x, seen, &mut stops);
            let mut fires = 0;
            for (word, lanes) in words.iter_mut().zip(what.d.block(line / LANES)) {
                *word = lanes[line % LANES];
                fires |= *word;
            }
            if fires == 0 {
                continue;
            }
            let counts = counts.as_mut().map(|counts| &mut counts[begin..begin + columns]);
            let mut row = Row { key: what.key.child(line as u64), first: line * columns, values, n, keeps, begun: false, counts };
            if let Some(fired) = what.fired {
                machine.isa.run(Few::<M, NOISE> { worker: &mut worker, row: &mut row, fired, words: &words, stops: &stops, seen });
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
                    let got = worker.push::<S, NOISE>(&mut row, what.x, &words, block, from, &here, seen);
                    if got < what.x.entries() {
                        waiting[left] = (block, got);
                        left += 1;
                    }
                }
                waiting.truncate(left);
                worker.sort::<S>();
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
    /// Signs of the waiting pulses of each cell, oldest in bit 0; set: up. Beyond them, bits may be anything.
    signs: Vec<[u32; LANES]>,
    /// Ones above the number of waiting pulses.
    free: Vec<[u32; LANES]>,
    /// What columns are sorted by: the turns that they need; from five on, two numbers share a key.
    turns: Vec<[u8; LANES]>,
    /// The columns whose pulses are popped next: so many are listed.
    order: Vec<u32>,
    listed: usize,
    pack: Pack,
    work: Work,
}

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

impl Row<'_> {
    /// Notes the cells of a stop as they are.
    #[inline(always)]
    fn note(&self, stop: &Stop, seen: &mut [Seen]) {
        for (column, seen) in stop.columns.range().zip(&mut seen[stop.place..]) {
            *seen = Seen { v: self.values[column], n: self.n[column] };
        }
    }
}

impl<M: Model> Worker<'_, M> {
    /// Pushes the coincidences of a block of columns with the row's words from `from` on, until a queue is full; gives how many it has got then. At stops,
    /// cells have their pulses popped and are noted.
    #[allow(clippy::too_many_arguments)]
    #[inline(always)]
    fn push<S: Set, const NOISE: bool>(
        &mut self,
        row: &mut Row,
        x: &Trains,
        words: &[u32],
        block: usize,
        from: usize,
        stops: &[Stop],
        seen: &mut [Seen],
    ) -> usize {
        let (entries, x, any) = (x.entries(), x.block(block), x.any(block));
        let words = words.as_chunks::<LANES>().0;
        // Those before have been noted, and notes of the same moment again are the same.
        let mut stops = stops.iter().filter(|stop| stop.after >= from).peekable();
        for part in from / LANES..words.len() {
            let (x, words, first) = (&x[part * LANES..], &words[part], part * LANES);
            let mut meets = [0; LANES];
            for lane in 0..LANES {
                let meet = any[part][lane] & words[lane] & SLOT_BITS != 0 && first + lane >= from;
                meets[lane] = u8::from(meet);
            }
            let mut list = [0; LANES];
            let listed = S::list(&meets, 1, 0, &mut list, 0);
            let mut rest = &list[..listed];
            loop {
                // Up to the next stop, of which those at the end of these words may wait.
                let stop = stops.peek();
                let until = stop.map_or(rest.len(), |stop| rest.iter().take_while(|entry| first + (**entry as usize) < stop.after).count());
                let done = append(&mut self.signs[block], &mut self.free[block], x, words, &rest[..until]);
                self.work.words += done as u64;
                if done < until {
                    self.work.words += 1;
                    return first + rest[done] as usize;
                }
                rest = &rest[done..];
                match stops.next_if(|_| !rest.is_empty()) {
                    Some(stop) => self.note::<NOISE>(row, block, stop, seen),
                    None => break,
                }
            }
        }
        stops.for_each(|stop| self.note::<NOISE>(row, block, stop, seen));
        entries
    }

    /// Pops the pulses that are listed, if any of a stop's cells waits for one, and notes these cells.
    #[inline(always)]
    fn pop_and_note<const NOISE: bool>(&mut self, row: &mut Row, stop: &Stop, seen: &mut [Seen]) {
        if self.free.as_flattened()[stop.columns.range()].iter().any(|free| free & 1 == 0) {
            self.pop::<NOISE>(row);
        }
        row.note(stop, seen);
    }

    /// Pops the pulses of the cells of a stop, and notes these.
    #[inline(always)]
    fn note<const NOISE: bool>(&mut self, row: &mut Row, block: usize, stop: &Stop, seen: &mut [Seen]) {
        let columns = stop.columns.range();
        for lane in columns.clone().filter(|lane| self.free[block][*lane] & 1 == 0) {
            self.order[self.listed] = (block * LANES + lane) as u32;
            self.listed += 1;
        }
        let columns = Span { first: block * LANES + columns.start, len: columns.len() };
        self.pop_and_note::<NOISE>(row, &Stop { columns, ..*stop }, seen);
    }

    /// Lists the columns with pulses, those that need the most turns first.
    #[inline(always)]
    fn sort<S: Set>(&mut self) {
        // One less than the least of those that need any.
        let (mut least, mut most) = ([u8::MAX; LANES], [0; LANES]);
        for (turns, free) in self.turns.iter_mut().zip(&self.free) {
            for lane in 0..LANES {
                let pulses = (!free[lane]).count_ones();
                turns[lane] = if pulses <= 4 { pulses as u8 } else { 2 + pulses.div_ceil(2) as u8 };
                least[lane] = least[lane].min(turns[lane].wrapping_sub(1));
                most[lane] = most[lane].max(turns[lane]);
            }
        }
        let least = least.into_iter().fold(u8::MAX, u8::min);
        for key in (least.saturating_add(1)..=most.into_iter().fold(0, u8::max)).rev() {
            for (block, turns) in self.turns.iter().enumerate() {
                self.listed = S::list(turns, key, (block * LANES) as u32, &mut self.order, self.listed);
            }
        }
    }

    /// Pops the last pulses of the row, all of which are listed.
    #[inline(always)]
    fn finish<const NOISE: bool>(&mut self, row: &mut Row) {
        self.isa.run(Pop::<M, NOISE> { worker: self, row, last: true });
        if row.begun && !row.keeps {
            row.n.fill(0);
        }
    }

    /// Pops all pulses of the listed columns.
    #[inline(always)]
    fn pop<const NOISE: bool>(&mut self, row: &mut Row) {
        self.isa.run(Pop::<M, NOISE> { worker: self, row, last: false });
        row.begun = true;
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
    fn run<S: Set>(self) {
        let Self { worker, row, last } = self;
        // Ordinals all begin at 0, or need not be kept.
        let kept = Kept { before: row.begun || row.keeps, after: !last || row.keeps };
        for start in (0..worker.listed).step_by(PACK) {
            let columns = &worker.order[start..worker.listed.min(start + PACK)];
            let (at, lanes) = (groups(columns), columns.len());
            let spots = spots(&at, lanes);
            let (signs, free) = (worker.signs.as_flattened_mut(), worker.free.as_flattened_mut());
            for (group, spots) in spots.iter().enumerate().take(lanes.div_ceil(WIDTH)) {
                worker.pack.signs[group] = spots.gather::<S, _>(signs);
                worker.pack.waits[group] = spots.gather::<S, _>(free).map(|free| !free);
                spots.scatter::<S, _>(&[u32::MAX; WIDTH], free);
                worker.pack.waits[group].iter_mut().skip(lanes - group * WIDTH).for_each(|waits| *waits = 0);
            }
            worker.pop_pack::<S, NOISE>(row, &at, &spots, lanes, kept);
        }
        worker.listed = 0;
    }
}

/// A row in which few columns fire: their coincidences are popped entry by entry.
struct Few<'a, 'w, 'r, M, const NOISE: bool> {
    worker: &'a mut Worker<'w, M>,
    row: &'a mut Row<'r>,
    fired: &'a Fired,
    words: &'a [u32],
    stops: &'a [Stop],
    seen: &'a mut [Seen],
}

impl<M: Model, const NOISE: bool> Kernel for Few<'_, '_, '_, M, NOISE> {
    #[inline(always)]
    fn run<S: Set>(self) {
        let Self { worker, row, fired, words, stops, seen } = self;
        let mut stops = stops.iter().peekable();
        for (entry, &d) in words.iter().enumerate().filter(|(_, d)| **d != 0) {
            while let Some(stop) = stops.next_if(|stop| stop.after <= entry) {
                row.note(stop, seen);
            }
            let (columns, x) = fired.of(entry);
            for (columns, x) in columns.chunks(PACK).zip(x.chunks(PACK)) {
                let (at, lanes) = (groups(columns), columns.len());
                let spots = spots(&at, lanes);
                for group in 0..lanes.div_ceil(WIDTH) {
                    let mut own = [0; WIDTH];
                    let part = &x[group * WIDTH..lanes.min((group + 1) * WIDTH)];
                    own[..part.len()].copy_from_slice(part);
                    for (lane, x) in own.iter().enumerate() {
                        worker.pack.signs[group][lane] = (((x ^ d) as i32) >> 31) as u32;
                        worker.pack.waits[group][lane] = !(u32::MAX << (x & d & SLOT_BITS).count_ones());
                    }
                }
                worker.work.words += lanes as u64;
                worker.pop_pack::<S, NOISE>(row, &at, &spots, lanes, Kept { before: true, after: true });
            }
        }
        stops.for_each(|stop| row.note(stop, seen));
        if !row.keeps {
            row.n.fill(0);
        }
    }
}

/// Whether ordinals count from those of pulses before, and whether they are counted for pulses to come.
#[derive(Clone, Copy)]
struct Kept {
    before: bool,
    after: bool,
}

/// Columns in groups, filled up with the first one.
#[inline(always)]
fn groups(columns: &[u32]) -> [Group<u32>; GROUPS] {
    let mut at = [[columns[0]; WIDTH]; GROUPS];
    at.as_flattened_mut()[..columns.len()].copy_from_slice(columns);
    at
}

#[inline(always)]
fn spots(at: &[Group<u32>; GROUPS], lanes: usize) -> [Spots<'_>; GROUPS] {
    std::array::from_fn(|group| Spots::new(&at[group], lanes.saturating_sub(group * WIDTH)))
}

impl<M: Model> Worker<'_, M> {
    /// Pops the pulses of a pack, whose signs and waiting pulses are there.
    #[inline(always)]
    fn pop_pack<S: Set, const NOISE: bool>(
        &mut self,
        row: &mut Row,
        at: &[Group<u32>; GROUPS],
        spots: &[Spots; GROUPS],
        lanes: usize,
        kept: Kept,
    ) {
        let (n, values, pack) = (&mut *row.n, &mut *row.values, &mut self.pack);
        let groups = lanes.div_ceil(WIDTH);
        let (mut ups, mut pulses, mut number) = ([[0u32; WIDTH]; GROUPS], [[0u32; WIDTH]; GROUPS], [[0u32; WIDTH]; GROUPS]);
        let mut turns = [0; GROUPS];
        for group in 0..groups {
            let spots = &spots[group];
            pack.v[group] = spots.gather::<S, _>(values);
            if kept.before {
                number[group] = spots.gather::<S, _>(n);
            }
            if !self.uniform {
                // One load after the other: 5 % less for L with all spreads than by gathering.
                pack.cell[group] = load(self.model, self.cells, |values| spots.gather::<Plain, _>(&values[row.first..]));
            }
            for lane in 0..WIDTH {
                ups[group][lane] = (pack.signs[group][lane] & pack.waits[group][lane]).count_ones();
                pulses[group][lane] = pack.waits[group][lane].count_ones();
                let line = at[group][lane].wrapping_mul(STEP_I);
                pack.counter[group][lane] = line.wrapping_add(number[group][lane].wrapping_mul(STEP_N));
                turns[group] = turns[group].max(pulses[group][lane]);
                number[group][lane] += pulses[group][lane];
            }
        }
        // The last groups have the fewest pulses, mostly.
        let mut going = groups;
        for turn in 0.. {
            while going > 0 && turns[going - 1] <= turn {
                going -= 1;
            }
            if going == 0 {
                break;
            }
            pack.turn::<S, M, NOISE>(self.model, self.noise, row.key, going, turn);
            self.work.lanes += (going * WIDTH) as u64;
        }
        for group in 0..groups {
            self.work.pulses += u64::from(pulses[group].iter().sum::<u32>());
            spots[group].scatter::<S, _>(&pack.v[group], values);
            if kept.after {
                spots[group].scatter::<S, _>(&number[group], n);
            }
        }
        if let Some(counts) = &mut row.counts {
            for ((column, ups), pulses) in at.as_flattened().iter().zip(ups.as_flattened()).zip(pulses.as_flattened()).take(lanes) {
                counts[*column as usize] = counts[*column as usize].plus(*ups, *pulses);
            }
        }
    }
}

/// `signs` with bit 31 of `up` in the places `new`.
#[inline(always)]
fn signed(signs: u32, new: u32, up: u32) -> u32 {
    (signs & !new) | (((up as i32) >> 31) as u32 & new)
}

/// Appends the coincidences of some entries to the queues of a block, until one of them would run over; gives for how many there was room.
#[inline(always)]
fn append(signs: &mut [u32; LANES], free: &mut [u32; LANES], x: &[[u32; LANES]], d: &[u32; LANES], entries: &[u32]) -> usize {
    let (mut queue, mut room) = (*signs, *free);
    let mut done = 0;
    for entry in entries {
        let (x, d) = (&x[*entry as usize], d[*entry as usize]);
        let mut next = [0u32; LANES];
        let mut over = 0;
        for lane in 0..LANES {
            next[lane] = room[lane] << (x[lane] & d & SLOT_BITS).count_ones();
            over |= !next[lane] & 1 << 31;
        }
        if over != 0 {
            break;
        }
        for lane in 0..LANES {
            queue[lane] = signed(queue[lane], room[lane] ^ next[lane], x[lane] ^ d);
        }
        room = next;
        done += 1;
    }
    (*signs, *free) = (queue, room);
    done
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
                let words = || x.iter().zip(what.d.block(row / LANES)).map(|(x, d)| (x[column % LANES], d[row % LANES]));
                // Cells without a pulse, which are most, are not even looked at: they are far apart.
                if words().all(|(x, d)| x & d & SLOT_BITS == 0) {
                    continue;
                }
                let at = row * columns + column;
                let before = tally.as_ref().and_then(|tally| tally.n.as_ref()).map_or(0, |n| n[at]);
                let (mut v, mut n, mut ups) = (values[at], before, 0);
                let (key, cell) = (what.key.child(row as u64), cells.cell(model, at));
                for (x, d) in words() {
                    let up = (((x ^ d) as i32) >> 31) as u32;
                    for _ in 0..(x & d & SLOT_BITS).count_ones() {
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
