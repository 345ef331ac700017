//! The pulse kernel: exact, event by event.
//!
//! Row by row, every cell owns a queue of up to 31 pulse signs. Coincidences are pushed in blocks of [`LANES`] columns, word by word; a block of which a
//! queue runs full waits. Then all cells of the row that have pulses are packed, [`PACK`] at a time and such that those of a pack have about as
//! many, and popped: a pulse of each cell in a turn, each cell at its own place in time. The order within a cell is exact and its n-th pulse
//! always gets normal number n of its own stream, so queues, blocks, packs and cuts leave no trace in the bits.
//!
//! Trains with few pulses go another way ([`super::short`]).

use super::notes::{Notes, Places, Seen, Stop};
use super::pack::{PACK, Stepper, load};
use super::short::{Short, pulse_rows};
use super::trains::{SLOT_BITS, Trains};
use super::update::{Count, Lines, Span, Tally, on_lines};
use crate::device::{Cells, Model, Noise, Visit};
use crate::pool::Machine;
use crate::rng::Key;
use crate::simd::{GROUPS, Group, Isa, Kernel, LANES, Plain, Set, Spots, WIDTH};
use crate::tile::crossbar::Crossbar;
use std::ops::Range;

/// The coincidences to apply: trains of the columns and of the rows, and the call's noise stream.
#[derive(Clone, Copy)]
pub(crate) struct Coincidences<'a> {
    pub(crate) x: &'a Trains,
    pub(crate) d: &'a Trains,
    /// The same trains with several vectors to a word, where that is less work.
    pub(super) short: Option<&'a Short>,
    pub(crate) key: Key,
}

impl Coincidences<'_> {
    /// Nanoseconds that they take on so many cells, roughly: two for a pulse and an eighth for a cell to be looked at. Nobody need know where even pulses in all
    /// slots would stay on one thread.
    fn work(&self, machine: Machine, [rows, columns]: [usize; 2]) -> usize {
        let cells = rows * columns;
        if rows == 1 || !machine.pool.splits(8 * cells * self.x.lengths().iter().sum::<u32>() as usize) {
            return 0;
        }
        match self.short {
            Some(short) => short.looks() / 8 + 2 * short.pulses,
            None => cells * self.x.entries() / 8 + 2 * pulses(machine.isa, self.x, self.d),
        }
    }
}

/// The coincidences that trains make, roughly: slots are taken for independent.
pub(super) fn pulses(isa: Isa, x: &Trains, d: &Trains) -> usize {
    let fires = x.fires(isa).into_iter().zip(d.fires(isa)).zip(x.slots());
    fires.map(|((x, d), slots)| (x * d).checked_div(slots).unwrap_or(0)).sum::<u64>() as usize
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
                match (what.short, noise.sigma == 0.0) {
                    (Some(short), true) => pulse_rows::<M, false>(part, short),
                    (Some(short), false) => pulse_rows::<M, true>(part, short),
                    (None, true) => machine.isa.run(Quiet(part)),
                    (None, false) => machine.isa.run(Noisy(part)),
                }
            });
        }
    }
    let Crossbar { device, columns, values, cells, .. } = crossbar;
    device.model.visit(Go(machine, values, cells, device.noise(), *columns, what, lines, tally, notes));
}

/// Some rows of a crossbar, and what comes to them.
pub(super) struct Rows<'a, M> {
    pub(super) model: &'a M,
    pub(super) noise: Noise,
    pub(super) cells: &'a Cells,
    pub(super) lines: Lines<'a>,
    pub(super) columns: usize,
    pub(super) what: Coincidences<'a>,
    pub(super) places: &'a Places,
    pub(super) machine: Machine<'a>,
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
            stepper: Stepper::new(model, noise, cells),
            key: what.key,
            signs: vec![[0; LANES]; blocks],
            free: vec![[u32::MAX; LANES]; blocks],
            turns: vec![[0; LANES]; blocks],
            order: vec![0; (blocks + 1) * LANES],
            listed: 0,
        };
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
            worker.key = what.key.child(line as u64);
            let mut row = Row { first: line * columns, values, n, keeps, begun: false, counts };
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
        machine.pool.count(worker.stepper.work);
    }
}

/// The columns of a row whose cells are alike in how often they fire, and what waits for them.
struct Worker<'a, M> {
    isa: Isa,
    stepper: Stepper<'a, M>,
    /// The stream of the row's noise.
    key: Key,
    /// Signs of the waiting pulses of each cell, oldest in bit 0; set: up. Beyond them, bits may be anything.
    signs: Vec<[u32; LANES]>,
    /// Ones above the number of waiting pulses.
    free: Vec<[u32; LANES]>,
    /// What columns are sorted by: the turns that they need; from five on, two numbers share a key.
    turns: Vec<[u8; LANES]>,
    /// The columns whose pulses are popped next: so many are listed.
    order: Vec<u32>,
    listed: usize,
}

/// A row of cells.
pub(super) struct Row<'a> {
    /// Flat index of its first cell.
    pub(super) first: usize,
    pub(super) values: &'a mut [f32],
    pub(super) n: &'a mut [u32],
    /// Whether ordinals are kept for the next job; otherwise they end at 0.
    pub(super) keeps: bool,
    /// Whether pulses have been popped already.
    pub(super) begun: bool,
    pub(super) counts: Option<&'a mut [Count]>,
}

impl Row<'_> {
    /// Notes the cells of a stop as they are.
    #[inline(always)]
    pub(super) fn note(&self, stop: &Stop, seen: &mut [Seen]) {
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
                self.stepper.work.words += done as u64;
                if done < until {
                    self.stepper.work.words += 1;
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
                let pack = &mut worker.stepper.pack;
                pack.signs[group] = spots.gather::<S, _>(signs);
                pack.waits[group] = spots.gather::<S, _>(free).map(|free| !free);
                spots.scatter::<S, _>(&[u32::MAX; WIDTH], free);
                pack.waits[group].iter_mut().skip(lanes - group * WIDTH).for_each(|waits| *waits = 0);
            }
            worker.stepper.pop::<S, NOISE, true>(worker.key, row, &at, &spots, lanes, kept);
        }
        worker.listed = 0;
    }
}

/// Whether ordinals count from those of pulses before, and whether they are counted for pulses to come.
#[derive(Clone, Copy)]
pub(super) struct Kept {
    pub(super) before: bool,
    pub(super) after: bool,
}

/// Columns in groups, filled up with the first one.
#[inline(always)]
pub(super) fn groups(columns: &[u32]) -> [Group<u32>; GROUPS] {
    let mut at = [[columns[0]; WIDTH]; GROUPS];
    at.as_flattened_mut()[..columns.len()].copy_from_slice(columns);
    at
}

#[inline(always)]
pub(super) fn spots(at: &[Group<u32>; GROUPS], lanes: usize) -> [Spots<'_>; GROUPS] {
    std::array::from_fn(|group| Spots::new(&at[group], lanes.saturating_sub(group * WIDTH)))
}

impl<M: Model> Stepper<'_, M> {
    /// Pops the pulses of a pack of a row's cells, whose signs and waiting pulses are there.
    #[allow(clippy::too_many_arguments)]
    #[inline(always)]
    pub(super) fn pop<S: Set, const NOISE: bool, const QUEUED: bool>(
        &mut self,
        key: Key,
        row: &mut Row,
        at: &[Group<u32>; GROUPS],
        spots: &[Spots; GROUPS],
        lanes: usize,
        kept: Kept,
    ) {
        let groups = lanes.div_ceil(WIDTH);
        for (group, spots) in spots.iter().enumerate().take(groups) {
            self.pack.v[group] = spots.gather::<S, _>(row.values);
            self.pack.number[group] = if kept.before { spots.gather::<S, _>(row.n) } else { [0; WIDTH] };
            if !self.uniform {
                // One load after the other: 5 % less for L with all spreads than by gathering.
                self.pack.cell[group] = load(self.model, self.cells, |values| spots.gather::<Plain, _>(&values[row.first..]));
            }
        }
        let popped = self.turns::<S, NOISE, QUEUED>(key, at, groups);
        self.work.cells += lanes as u64;
        for (group, spots) in spots.iter().enumerate().take(groups) {
            spots.scatter::<S, _>(&self.pack.v[group], row.values);
            if kept.after {
                spots.scatter::<S, _>(&self.pack.number[group], row.n);
            }
        }
        if let Some(counts) = &mut row.counts {
            let own = at.as_flattened().iter().zip(popped.ups.as_flattened()).zip(popped.pulses.as_flattened());
            for ((at, ups), pulses) in own.take(lanes) {
                counts[*at as usize] = counts[*at as usize].plus(*ups, *pulses);
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
