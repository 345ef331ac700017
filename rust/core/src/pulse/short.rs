//! Trains with few pulses: the slots of several vectors share a word.
//!
//! A word has room for 32 slots of consecutive entries, and the sign of each slot is in a word of its own. The coincidences of a cell in all these vectors
//! are one AND; the cells of a row that have any are listed, packed, and popped slot by slot. Nothing is queued.
//! An event's read-out in between has the pulses before it popped first, which are hardly ever any.

use super::kernel::{Kept, Row, Rows, pulses, spots};
use super::pack::{PACK, Stepper};
use super::trains::{SLOT_BITS, Trains, ones};
use super::update::Lines as Part;
use crate::device::Model;
use crate::rng::Key;
use crate::simd::{GROUPS, Group, Isa, Kernel, LANES, Set, WIDTH, keep_at};

/// Trains of both sides.
#[derive(Debug)]
pub(super) struct Short {
    /// Word and first slot of each entry, and those of the end.
    places: Vec<(usize, usize)>,
    x: Words,
    d: Words,
    columns: Firing,
    /// Coincidences, roughly.
    pub(super) pulses: usize,
}

/// Some lines side by side: their numbers, slots that fire, and those of them whose values are negative.
type Lines = [Group<u32>; 3];

/// The words of one side, `[word][lines]`: slots that fire, and those of them whose values are negative.
#[derive(Debug)]
struct Words {
    /// The first line, and how many groups of them there are.
    first: usize,
    groups: usize,
    words: Vec<[Group<u32>; 2]>,
}

/// The lines that fire in each word; filled up with silent ones.
#[derive(Debug)]
struct Firing {
    lines: Vec<Lines>,
    begin: Vec<usize>,
    /// The most of them in a word.
    most: usize,
}

/// Where each entry goes, and the end.
fn places(lengths: &[u32]) -> impl Iterator<Item = (usize, usize)> {
    lengths.iter().chain([&0]).scan((0, 0), |next, slots| {
        let slots = *slots as usize;
        let at = if next.1 + slots > u32::BITS as usize { (next.0 + 1, 0) } else { *next };
        *next = (at.0, at.1 + slots);
        Some(at)
    })
}

impl Short {
    /// The trains, if that takes less work than queues: where there are several rows to share them, most words of a cell are spared, and it has few pulses in
    /// each that is left.
    pub(super) fn where_better(isa: Isa, x: &Trains, d: &Trains, [rows, columns]: [usize; 2]) -> Option<Self> {
        let words = places(x.lengths()).last().map_or(0, |(word, _)| word + 1);
        if rows < 8 || x.entries() == 0 || 4 * x.firing(isa).min(words * columns) > x.entries() * columns {
            return None;
        }
        let pulses = pulses(isa, x, d);
        if pulses > words * columns * rows {
            return None;
        }
        let places: Vec<_> = places(x.lengths()).collect();
        let [x, d] = [x, d].map(|trains| Words::new(isa, trains, &places));
        let mut columns = Firing { lines: Vec::with_capacity(words * x.groups), begin: vec![0], most: 0 };
        isa.run(Find { words: &x, firing: &mut columns });
        Some(Self { places, x, d, columns, pulses })
    }

    /// The columns that rows will look at, altogether.
    pub(super) fn looks(&self) -> usize {
        let fires = |groups: &[[Group<u32>; 2]]| groups.iter().flat_map(|[fires, _]| fires).filter(|fires| **fires != 0).count();
        self.d.words.chunks(self.d.groups).zip(self.columns.words()).map(|(rows, columns)| fires(rows) * columns.len() * WIDTH).sum()
    }
}

impl Words {
    fn new(isa: Isa, trains: &Trains, places: &[(usize, usize)]) -> Self {
        let (first, groups) = (trains.blocks().start * LANES, trains.blocks().len() * LANES / WIDTH);
        let mut words = Self { first, groups, words: vec![[[0; WIDTH]; 2]; (places[places.len() - 1].0 + 1) * groups] };
        isa.run(Join { words: &mut words, trains, places });
        words
    }

    #[inline(always)]
    fn of(&self, word: usize, line: usize) -> [u32; 2] {
        let at = line - self.first;
        self.words[word * self.groups + at / WIDTH].map(|lanes| lanes[at % WIDTH])
    }
}

impl Firing {
    /// The lines of each word.
    #[inline(always)]
    fn words(&self) -> impl Iterator<Item = &[Lines]> {
        self.begin.windows(2).map(|ends| &self.lines[ends[0]..ends[1]])
    }
}

struct Join<'a> {
    words: &'a mut Words,
    trains: &'a Trains,
    places: &'a [(usize, usize)],
}

impl Kernel for Join<'_> {
    #[inline(always)]
    fn run<S: Set>(self) {
        let Self { words: Words { groups, words, .. }, trains, places } = self;
        for (at, block) in trains.blocks().enumerate() {
            for half in 0..LANES / WIDTH {
                let mut put = |word: usize, joined| words[word * *groups + at * (LANES / WIDTH) + half] = joined;
                let (mut joined, mut own) = ([[0; WIDTH]; 2], 0);
                for (entry, &(word, slot)) in trains.block(block).iter().map(|entry| &entry.as_chunks::<WIDTH>().0[half]).zip(places) {
                    if word != own {
                        put(own, joined);
                        (joined, own) = ([[0; WIDTH]; 2], word);
                    }
                    let [fires, signs] = &mut joined;
                    for lane in 0..WIDTH {
                        let slots = (entry[lane] & SLOT_BITS) << slot;
                        fires[lane] |= slots;
                        signs[lane] |= if (entry[lane] as i32) < 0 { slots } else { 0 };
                    }
                }
                put(own, joined);
            }
        }
    }
}

struct Find<'a> {
    words: &'a Words,
    firing: &'a mut Firing,
}

impl Kernel for Find<'_> {
    #[inline(always)]
    fn run<S: Set>(self) {
        let Self { words: Words { first, groups, words }, firing: Firing { lines, begin, most } } = self;
        let mut list = List::new(groups * WIDTH);
        let mut all: Vec<Lines> = Vec::with_capacity(*groups);
        for word in words.chunks(*groups) {
            all.clear();
            all.extend(
                word.iter()
                    .zip((*first as u32..).step_by(WIDTH))
                    .map(|([fires, signs], first)| [std::array::from_fn(|lane| first + lane as u32), *fires, *signs]),
            );
            list.fill::<S>(&all, [u32::MAX, 0]);
            list.round();
            lines.extend(list.groups());
            *most = list.len.max(*most);
            begin.push(lines.len());
        }
    }
}

/// Lines or cells with their slots, and signs of these.
struct List {
    /// Room for all numbers, then for all slots and for all signs.
    values: Vec<u32>,
    len: usize,
}

impl List {
    /// Room for so many, and a group more.
    fn new(lines: usize) -> Self {
        Self { values: vec![0; 3 * (lines + WIDTH)], len: 0 }
    }

    /// Numbers, slots and signs.
    #[inline(always)]
    fn parts(&mut self) -> [&mut [u32]; 3] {
        let room = self.values.len() / 3;
        let (at, rest) = self.values.split_at_mut(room);
        let (fires, signs) = rest.split_at_mut(room);
        [at, fires, signs]
    }

    fn push(&mut self, line: [u32; 3]) {
        let len = self.len;
        self.parts().into_iter().zip(line).for_each(|(values, value)| values[len] = value);
        self.len += 1;
    }

    /// Lists the lines that fire in slots `d` of a word, with their signs turned.
    #[inline(always)]
    fn fill<S: Set>(&mut self, groups: &[Lines], [d, turn]: [u32; 2]) {
        let [ats, all, turned] = self.parts();
        let mut len = 0;
        for [lines, fires, signs] in groups {
            let (mut meets, mut up) = ([0; WIDTH], [0; WIDTH]);
            for lane in 0..WIDTH {
                meets[lane] = fires[lane] & d;
                up[lane] = signs[lane] ^ turn;
            }
            for (values, list) in [(lines, &mut *ats), (&meets, &mut *all), (&up, &mut *turned)] {
                keep_at::<S>(values, &meets, list, len);
            }
            len += S::count(&meets);
        }
        self.len = len;
    }

    /// Fills the last group up with silent copies of the first line.
    #[inline(always)]
    fn round(&mut self) {
        let len = self.len;
        let [at, fires, _] = self.parts();
        let first = at[0];
        at[len..][..WIDTH].fill(first);
        fires[len..][..WIDTH].fill(0);
    }

    /// All groups.
    #[inline(always)]
    fn groups(&mut self) -> impl Iterator<Item = Lines> {
        let groups = self.len.div_ceil(WIDTH);
        let [at, fires, signs] = self.parts().map(|part| part.as_chunks().0);
        at.iter().zip(fires).zip(signs).map(|((at, fires), signs)| [*at, *fires, *signs]).take(groups)
    }
}

/// Lists the cells of a row that have coincidences in a word.
struct Meet<'a> {
    columns: &'a [Lines],
    row: [u32; 2],
    list: &'a mut List,
}

impl Kernel for Meet<'_> {
    #[inline(always)]
    fn run<S: Set>(self) {
        self.list.fill::<S>(self.columns, self.row);
    }
}

/// Applies coincidences to some rows.
pub(super) fn pulse_rows<M: Model, const NOISE: bool>(part: Rows<M>, short: &Short) {
    let Rows { model, noise, cells, lines, columns, what, places, machine } = part;
    let Part { first, values, mut n, mut counts, seen } = lines;
    let mut stepper = Stepper::new(model, noise, cells);
    // Of the cells that are popped early there are hardly ever any.
    let (mut list, mut early, mut gone) = (List::new(short.columns.most), None, Vec::new());
    let (keeps, mut stops) = (n.is_some(), Vec::new());
    let mut own = if keeps { Vec::new() } else { vec![0; columns] };
    for (at, values) in values.chunks_exact_mut(columns).enumerate() {
        let (line, begin) = (first + at, at * columns);
        let n = n.as_mut().map_or(&mut own[..], |n| &mut n[begin..begin + columns]);
        places.begin(line, first, values, n, what.x, seen, &mut stops);
        let mut stops = stops.iter().peekable();
        let counts = counts.as_mut().map(|counts| &mut counts[begin..begin + columns]);
        let key = what.key.child(line as u64);
        let mut row = Row { first: line * columns, values, n, keeps, begun: false, counts };
        for (word, firing) in short.columns.words().enumerate() {
            let [d, turn] = short.d.of(word, line);
            gone.clear();
            while let Some(stop) = stops.next_if(|stop| short.places[stop.after].0 == word) {
                let before = d & ones(short.places[stop.after].1);
                for column in stop.columns.range() {
                    let [x, signs] = short.x.of(word, column);
                    let done = gone.iter().filter(|(other, _)| *other == column).fold(0, |done, (_, slots)| done | slots);
                    let slots = x & before & !done;
                    if slots != 0 {
                        early.get_or_insert_with(|| List::new(columns)).push([column as u32, slots, signs ^ turn]);
                        gone.push((column, slots));
                    }
                }
                if let Some(list) = early.as_mut().filter(|list| list.len > 0) {
                    machine.isa.run(Pop::<M, NOISE> { stepper: &mut stepper, key, row: &mut row, list, last: false });
                }
                if row.begun {
                    row.note(stop, seen);
                }
            }
            if d == 0 {
                continue;
            }
            machine.isa.run(Meet { columns: firing, row: [d, turn], list: &mut list });
            for (column, slots) in &gone {
                let len = list.len;
                let [at, fires, _] = list.parts();
                at[..len].binary_search(&(*column as u32)).iter().for_each(|at| fires[*at] &= !slots);
            }
            stepper.work.looks += (firing.len() * WIDTH) as u64;
            let last = word == short.places[what.x.entries()].0;
            machine.isa.run(Pop::<M, NOISE> { stepper: &mut stepper, key, row: &mut row, list: &mut list, last });
        }
        if row.begun && !keeps {
            row.n.fill(0);
        }
    }
    machine.pool.count(stepper.work);
}

/// The coincidences of listed cells; the last ones of the row or not.
struct Pop<'a, 'w, 'r, M, const NOISE: bool> {
    stepper: &'a mut Stepper<'w, M>,
    key: Key,
    row: &'a mut Row<'r>,
    list: &'a mut List,
    last: bool,
}

impl<M: Model, const NOISE: bool> Kernel for Pop<'_, '_, '_, M, NOISE> {
    #[inline(always)]
    fn run<S: Set>(self) {
        let Self { stepper, key, row, list, last } = self;
        let kept = Kept { before: row.begun || row.keeps, after: !last || row.keeps };
        list.round();
        let len = list.len;
        let [ats, fires, signs] = list.parts();
        for start in (0..len).step_by(PACK) {
            let (lanes, mut at) = (PACK.min(len - start), [[0; WIDTH]; GROUPS]);
            for (group, at) in at.iter_mut().enumerate().take(lanes.div_ceil(WIDTH)) {
                let own = start + group * WIDTH..start + (group + 1) * WIDTH;
                at.copy_from_slice(&ats[own.clone()]);
                stepper.pack.signs[group].copy_from_slice(&signs[own.clone()]);
                stepper.pack.waits[group].copy_from_slice(&fires[own]);
            }
            let spots = spots(&at, lanes);
            stepper.pop::<S, NOISE, false>(key, row, &at, &spots, lanes, kept);
        }
        row.begun |= !last && len > 0;
        list.len = 0;
    }
}
