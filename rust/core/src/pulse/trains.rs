//! Bit trains: line `i` fires in a slot with probability `min(|value_i| * scale, 1)`, rounded to 24 bits, independently for each slot.
//!
//! With a resolution `res` the probability is `res rint(p / res)` before it is clipped, or `res rint(p / res + U - 1/2)` with a uniform `U` of the line.
//!
//! The 32 slots of a word are decided together, bit plane by bit plane from the most significant one: slot `s` of line `i` compares its threshold
//! `T = rint(p 2^24)` with the 24-bit number whose bits are bit `s` of the words `(i, 32 word + plane)`, and fires if that number is below `T`.
//! Bits that no slot of a line needs decide nothing, nor are slots beyond the train decided. The first planes are drawn for 16 lines side by side; what is
//! undecided then is one line in eight, and goes on with others of any vector.
//!
//! The kernel gets 31 slots per packed word and the sign of the value in bit 31.

use super::Scale;
use super::update::Job;
use crate::pool::{Machine, Pool, Work};
use crate::rng::{Key, STEP_I, STEP_N, Use, word};
use crate::simd::{Group, Isa, Kernel, LANES, Set, Spots, WIDTH, keep_at};
use std::ops::Range;
use std::sync::Arc;

/// Slots in a packed word.
pub(crate) const SLOTS: usize = 31;
/// The slots of a packed word, without its sign.
pub(crate) const SLOT_BITS: u32 = (1 << SLOTS) - 1;

/// Packed trains of all vectors of an update: `[block of lines][entry][lane]`; a vector has as many entries as its slots need.
#[derive(Debug)]
pub(crate) struct Trains {
    words: Vec<u32>,
    /// `[block of lines][entry]`: the slots in which any line of the block fires; with zeros up to a number of entries that [`LANES`] divides.
    any: Vec<u32>,
    /// The first block that there is.
    first: usize,
    entries: Arc<Entries>,
}

/// What both sides of a call share.
#[derive(Debug)]
struct Entries {
    /// Where those of each vector begin, and the end of the last one.
    begin: Vec<usize>,
    /// Slots of each.
    lengths: Vec<u32>,
}

impl Entries {
    fn new(scales: &[Scale]) -> Self {
        let mut begin = Vec::with_capacity(scales.len() + 1);
        let mut end = 0;
        begin.push(end);
        for scale in scales {
            end += scale.bl.div_ceil(SLOTS);
            begin.push(end);
        }
        let mut lengths = Vec::with_capacity(end);
        for &Scale { bl, .. } in scales {
            lengths.extend((0..bl).step_by(SLOTS).map(|start| (bl - start).min(SLOTS) as u32));
        }
        Self { begin, lengths }
    }
}

/// One side of a call.
#[derive(Clone, Copy)]
pub(crate) struct Side<'a> {
    pub(crate) job: &'a Job<'a>,
    /// Of each vector.
    pub(crate) scales: &'a [Scale],
    /// The input lines or else the error lines.
    pub(crate) inputs: bool,
    /// Step of the probabilities, 0: none.
    pub(crate) res: f64,
    /// Whether they are rounded up or down by chance, not to the nearest step.
    pub(crate) sto_round: bool,
}

impl Side<'_> {
    pub(crate) fn lines(&self) -> Range<usize> {
        if self.inputs { self.job.columns.range() } else { self.job.rows.range() }
    }

    /// The stream of a vector.
    #[inline(always)]
    fn key(&self, vector: usize) -> Key {
        let keys = &self.job.keys[vector];
        if self.inputs { keys.x } else { keys.d }
    }

    /// Whether every sign of a vector is turned (a negative learning rate).
    #[inline(always)]
    pub(crate) fn flip(&self, vector: usize) -> bool {
        !self.inputs && self.job.rates[vector] < 0.0
    }

    /// The values of a vector on [`LANES`] lines from `first` on, and the lanes of the side's own lines, which may begin and end within them.
    #[inline(always)]
    pub(crate) fn values<S: Set>(&self, vector: usize, first: usize) -> ([f32; LANES], Range<usize>) {
        let (lines, (x, d)) = (self.lines(), self.job.vector(vector));
        let (from, end) = (lines.start.max(first), lines.end.min(first + LANES));
        let (own, lanes) = (&(if self.inputs { x } else { d })[from - lines.start..end - lines.start], from - first..end - first);
        if let Some(values) = own.first_chunk() {
            return (*values, lanes);
        }
        let mut values = [0.0; LANES];
        if lanes.start == 0 {
            let (low, high) = own.split_at(own.len().min(WIDTH));
            let halves = values.as_chunks_mut().0;
            (halves[0], halves[1]) = (S::load(low), S::load(high));
        } else {
            values[lanes.clone()].copy_from_slice(own);
        }
        (values, lanes)
    }

    /// How likely each of these lines fires in a slot.
    #[inline(always)]
    pub(crate) fn probabilities(&self, vector: usize, first: usize, values: &[f32; LANES], lanes: Range<usize>) -> [f64; LANES] {
        let scale = &self.scales[vector];
        let amplify = if self.inputs { scale.x } else { scale.d };
        let mut p = [0f64; LANES];
        for lane in 0..LANES {
            p[lane] = values[lane].abs() as f64 * amplify;
        }
        if self.res > 0.0 {
            self.round(vector, first + lanes.start, &mut p[lanes]);
        }
        for p in &mut p {
            *p = if *p > 1.0 { 1.0 } else { *p };
        }
        p
    }

    /// What the random numbers of the lines of a block are compared with.
    #[inline(always)]
    fn thresholds<S: Set>(&self, vector: usize, block: usize) -> [u32; LANES] {
        let (values, lanes) = self.values::<S>(vector, block);
        let p = self.probabilities(vector, block, &values, lanes);
        let mut thresholds = [0u32; LANES];
        for lane in 0..LANES {
            // Rounds to an integer in the low bits, ties to even.
            thresholds[lane] = (p[lane] * 16_777_216.0 + 6_755_399_441_055_744.0).to_bits() as u32;
        }
        thresholds
    }

    /// The signs of the lines of a block, in the highest bit.
    #[inline(always)]
    fn signs<S: Set>(&self, vector: usize, block: usize) -> [u32; LANES] {
        let (values, _) = self.values::<S>(vector, block);
        let flip = u32::from(self.flip(vector));
        let mut signs = [0u32; LANES];
        for lane in 0..LANES {
            signs[lane] = (u32::from(values[lane] < 0.0) ^ flip) << 31;
        }
        signs
    }

    #[inline(never)]
    fn round(&self, vector: usize, first: usize, p: &mut [f64]) {
        for (lane, p) in p.iter_mut().enumerate() {
            let purpose = if self.inputs { Use::RoundX } else { Use::RoundD };
            let uniform = || self.key(vector).of(purpose).uniform((first + lane) as u32, 0) as f64;
            *p = self.res * (*p / self.res + if self.sto_round { uniform() - 0.5 } else { 0.0 }).round_ties_even();
        }
    }
}

impl Trains {
    /// Draws the trains of both sides of a call, whose scales are the same.
    pub(crate) fn draw(Machine { isa, pool }: Machine, sides: &[Side; 2]) -> [Self; 2] {
        let shared = Arc::new(Entries::new(sides[0].scales));
        let entries = shared.lengths.len();
        let (size, any_size) = (entries * LANES, entries.next_multiple_of(LANES));
        let mut both = sides.map(|side| {
            let (first, end) = (side.lines().start / LANES, side.lines().end.div_ceil(LANES));
            let (words, any) = (vec![0; (end - first) * size], vec![0; (end - first) * any_size]);
            Self { words, any, first, entries: shared.clone() }
        });
        if entries > 0 {
            let blocks = both.iter().map(|trains| trains.words.len() / size).sum();
            let work = sides.iter().map(|side| side.lines().len()).sum::<usize>() * entries * 4;
            let share = pool.share(blocks, work).min((AT_ONCE / size).max(1));
            let mut parts = Vec::with_capacity(blocks.div_ceil(share) + 1);
            for (side, Self { words, any, first, .. }) in sides.iter().zip(&mut both) {
                let blocks = (*first..).step_by(share).zip(words.chunks_mut(share * size)).zip(any.chunks_mut(share * any_size));
                parts.extend(blocks.map(|((block, words), any)| Draw {
                    words,
                    any,
                    side,
                    begin: &shared.begin,
                    first: block * LANES,
                    pool,
                }));
            }
            pool.run(parts.into_iter(), work, 0, |_, part| isa.run(part));
        }
        both
    }

    /// Every entry as two: first its lines of positive sign alone, then those of negative sign.
    pub(super) fn by_sign(&self) -> Self {
        self.twice(|half, word| if word >> 31 == half { word } else { 0 })
    }

    /// The other side of [`Trains::by_sign`]: in the half of sign `s` the words of sign `answer ^ s` alone, and they get the sign `1 ^ s`, so
    /// that every coincidence goes up. With an answer of 1 those remain that went up anyway, with 0 those that went down.
    pub(super) fn answer(&self, answer: u32) -> Self {
        self.twice(|half, word| if word != 0 && word >> 31 == answer ^ half { (word & SLOT_BITS) | ((1 ^ half) << 31) } else { 0 })
    }

    fn twice(&self, f: impl Fn(u32, u32) -> u32) -> Self {
        let lanes = self.words.as_chunks::<LANES>().0;
        let words: Vec<_> = lanes.iter().flat_map(|lanes| [0, 1].map(|half| lanes.map(|word| f(half, word)))).flatten().collect();
        let entries = 2 * self.entries();
        let any_size = entries.next_multiple_of(LANES);
        let mut any = vec![0; self.blocks().len() * any_size];
        let blocks = words.as_chunks::<LANES>().0.chunks(entries.max(1));
        blocks.zip(any.chunks_mut(any_size.max(1))).for_each(|(block, any)| fire_any(block, any));
        let begin = self.entries.begin.iter().map(|entry| 2 * entry).collect();
        let lengths = self.entries.lengths.iter().flat_map(|slots| [*slots; 2]).collect();
        Self { words, any, first: self.first, entries: Arc::new(Entries { begin, lengths }) }
    }

    /// How often lines fire in each entry.
    pub(super) fn fires(&self, isa: Isa) -> Vec<u64> {
        let mut fires = vec![0; self.entries()];
        isa.run(Fires { words: &self.words, fires: &mut fires });
        fires
    }

    /// In how many slots of each entry any line fires.
    pub(super) fn slots(&self) -> impl Iterator<Item = u64> {
        let entries = self.entries();
        (0..entries).map(move |entry| {
            let any = self.any.iter().skip(entry).step_by(entries.next_multiple_of(LANES)).fold(0, |all, any| all | any);
            u64::from(any.count_ones())
        })
    }

    /// Slots of each entry.
    pub(super) fn lengths(&self) -> &[u32] {
        &self.entries.lengths
    }

    /// The blocks of lines that there are.
    pub(super) fn blocks(&self) -> Range<usize> {
        self.first..self.first + self.words.len() / (self.entries() * LANES).max(1)
    }

    /// The lines that fire, entry by entry.
    pub(super) fn firing(&self, isa: Isa) -> usize {
        let mut firing = 0;
        isa.run(Count { words: &self.words, firing: &mut firing });
        firing as usize
    }

    /// Number of words per line.
    pub(crate) fn entries(&self) -> usize {
        self.entries.lengths.len()
    }

    /// Where the entries of vector `b` begin, or end for the number of vectors.
    pub(crate) fn begin(&self, b: usize) -> usize {
        self.entries.begin[b]
    }

    /// Per entry, the slots in which any line of the block fires; beyond the last one, none.
    pub(crate) fn any(&self, at: usize) -> &[[u32; LANES]] {
        let size = self.entries().next_multiple_of(LANES);
        self.any[(at - self.first) * size..][..size].as_chunks().0
    }

    /// The words of one block of lines: `[entry][lane]`.
    pub(crate) fn block(&self, at: usize) -> &[[u32; LANES]] {
        let size = self.entries() * LANES;
        self.words[(at - self.first) * size..][..size].as_chunks().0
    }
}

struct Fires<'a> {
    words: &'a [u32],
    fires: &'a mut [u64],
}

impl Kernel for Fires<'_> {
    #[inline(always)]
    fn run<S: Set>(self) {
        let entries = self.words.as_chunks::<LANES>().0.iter().enumerate();
        let size = self.fires.len();
        entries.for_each(|(at, lanes)| {
            self.fires[at % size] += u64::from(lanes.iter().map(|word| (word & SLOT_BITS).count_ones()).sum::<u32>())
        });
    }
}

struct Count<'a> {
    words: &'a [u32],
    firing: &'a mut u32,
}

impl Kernel for Count<'_> {
    #[inline(always)]
    fn run<S: Set>(self) {
        *self.firing = self.words.iter().map(|word| u32::from(*word != 0)).sum();
    }
}

/// The slots in which any line of a block fires, entry by entry.
#[inline(always)]
fn fire_any(block: &[[u32; LANES]], any: &mut [u32]) {
    for (any, lanes) in any.iter_mut().zip(block) {
        *any = lanes.iter().fold(0, |any, word| any | word) & SLOT_BITS;
    }
}

struct Draw<'a> {
    /// Those of some blocks of lines.
    words: &'a mut [u32],
    /// The slots in which any line of these blocks fires.
    any: &'a mut [u32],
    side: &'a Side<'a>,
    /// Where the entries of each vector begin, and the end of the last one.
    begin: &'a [usize],
    /// The first of the lines of the first block.
    first: usize,
    pool: &'a Pool,
}

impl Kernel for Draw<'_> {
    #[inline(always)]
    fn run<S: Set>(self) {
        let Self { words, any, side, begin, first, pool } = self;
        let entries = begin[side.scales.len()];
        let (size, any_size) = (entries * LANES, entries.next_multiple_of(LANES));
        // Slots as they are drawn, 32 to a word.
        let drawn: usize = side.scales.iter().map(|scale| scale.bl.div_ceil(32)).sum();
        let mut fires = vec![0; words.len() / size * drawn * LANES];
        let mut undecided = Undecided::new();
        let mut place = 0;
        for block in (first..).step_by(LANES).take(words.len() / size) {
            for (vector, &Scale { bl, .. }) in side.scales.iter().enumerate().filter(|(_, scale)| scale.bl > 0) {
                let thresholds = side.thresholds::<S>(vector, block);
                for word in 0..bl.div_ceil(32) {
                    for thresholds in thresholds.as_chunks().0 {
                        if thresholds.iter().fold(0, |any, threshold| any | threshold) != 0 {
                            let line = (block + place % LANES) as u32;
                            let first = line.wrapping_mul(STEP_I).wrapping_add((32 * word as u32).wrapping_mul(STEP_N));
                            undecided.draw::<S>(side.key(vector), first, ones(bl - 32 * word), thresholds, place, &mut fires);
                        }
                        place += WIDTH;
                    }
                }
            }
        }
        while undecided.len > 0 {
            undecided.plane::<S>(&mut fires);
        }
        pool.count(Work { drawn: undecided.drawn, ..Work::default() });
        let mut fires = fires.as_chunks::<LANES>().0;
        for (at, (words, any)) in words.chunks_exact_mut(size).zip(any.chunks_exact_mut(any_size)).enumerate() {
            for (vector, &Scale { bl, .. }) in side.scales.iter().enumerate() {
                let (own, rest) = fires.split_at(bl.div_ceil(32));
                fires = rest;
                let signs = side.signs::<S>(vector, first + at * LANES);
                let words = &mut words.as_chunks_mut::<LANES>().0[begin[vector]..begin[vector + 1]];
                for (part, out) in words.iter_mut().enumerate() {
                    let (at, shift, mask) = (part * SLOTS / 32, part * SLOTS % 32, ones(bl - part * SLOTS) & SLOT_BITS);
                    let low = &own[at];
                    let high = own.get(at + 1).filter(|_| shift > 1).unwrap_or(&[0; LANES]);
                    for lane in 0..LANES {
                        let bits = ((low[lane] >> shift) | ((high[lane] << 1) << (31 - shift))) & mask;
                        // A silent word stays zero, so that the kernel can skip it whatever its sign.
                        out[lane] = if bits == 0 { 0 } else { bits | signs[lane] };
                    }
                }
            }
            fire_any(words.as_chunks().0, any);
        }
    }
}

/// The lowest `n` bits, or all of them.
#[inline(always)]
pub(super) fn ones(n: usize) -> u32 {
    if n < 32 { (1 << n) - 1 } else { u32::MAX }
}

/// Lines of which some slots are not decided after the first planes, of whatever vector: few, so they are put side by side.
struct Undecided {
    lists: [[u32; ROOM]; 7],
    len: usize,
    /// Words drawn so far.
    drawn: u64,
}

/// Lines that there is room for.
const ROOM: usize = 256;

/// About so many words are drawn before they are packed: they stay in a cache.
const AT_ONCE: usize = 1 << 16;

/// Some lines: counter sums of their next words, the halves of their keys, bits of their thresholds that are not compared yet, from the highest on.
type Open = [Group<u32>; 7];
/// Then the slots that are not decided,
const LEFT: usize = 4;
/// those that fire,
const FIRES: usize = 5;
/// and where these are kept.
const PLACE: usize = 6;

impl Undecided {
    fn new() -> Self {
        Self { lists: [[0; ROOM]; 7], len: 0, drawn: 0 }
    }

    /// Draws the first planes of a word of slots of a group of lines, the first of which has the counter sum `first`.
    #[inline(always)]
    fn draw<S: Set>(&mut self, key: Key, first: u32, slots: u32, thresholds: &Group<u32>, place: usize, fires: &mut [u32]) {
        let [low, high] = key.halves().map(|half| [half; WIDTH]);
        let [mut counter, mut bits, mut left, mut fire, mut places] = [[0; WIDTH]; 5];
        for (lane, threshold) in thresholds.iter().enumerate() {
            counter[lane] = first.wrapping_add((lane as u32).wrapping_mul(STEP_I));
            bits[lane] = threshold << 8;
            left[lane] = if threshold << 8 == 0 { 0 } else { slots };
            fire[lane] = if threshold >> 24 == 1 { slots } else { 0 };
            places[lane] = (place + lane) as u32;
        }
        let mut open = [counter, low, high, bits, left, fire, places];
        // So many that one line in eight is left.
        let planes = 3 + slots.count_ones().next_power_of_two().ilog2();
        for _ in 0..planes {
            next_plane(&mut open);
        }
        self.drawn += u64::from(planes) * WIDTH as u64;
        fires[place..place + WIDTH].copy_from_slice(&open[FIRES]);
        self.keep::<S>(&open);
        while self.len > ROOM - WIDTH {
            self.plane::<S>(fires);
        }
    }

    /// Draws the next plane of all lines, and drops those that are decided then.
    #[inline(always)]
    fn plane<S: Set>(&mut self, fires: &mut [u32]) {
        let len = std::mem::take(&mut self.len);
        self.drawn += len as u64;
        for first in (0..len).step_by(WIDTH) {
            let mut open: Open = [[0; WIDTH]; 7];
            for (open, list) in open.iter_mut().zip(&self.lists) {
                *open = list.as_chunks().0[first / WIDTH];
            }
            let lanes = WIDTH.min(len - first);
            next_plane(&mut open);
            open[LEFT].iter_mut().skip(lanes).for_each(|left| *left = 0);
            open[PLACE].iter_mut().skip(lanes).for_each(|place| *place = 0);
            Spots::new(&open[PLACE], lanes).scatter::<S, _>(&open[FIRES], fires);
            self.keep::<S>(&open);
        }
    }

    /// Lists those that are not decided, behind the others.
    #[inline(always)]
    fn keep<S: Set>(&mut self, open: &Open) {
        let left = S::count(&open[LEFT]);
        if left == 0 {
            return;
        }
        for (values, list) in open.iter().zip(&mut self.lists) {
            keep_at::<S>(values, &open[LEFT], list, self.len);
        }
        self.len += left;
    }
}

/// Compares another bit of the thresholds.
#[inline(always)]
fn next_plane(open: &mut Open) {
    let [counter, low, high, bits, left, fires, _] = open;
    for lane in 0..WIDTH {
        let drawn = word([low[lane], high[lane]], counter[lane]);
        let bit = ((bits[lane] as i32) >> 31) as u32;
        fires[lane] |= left[lane] & bit & !drawn;
        bits[lane] <<= 1;
        // Without further bits no number is below the threshold.
        left[lane] = if bits[lane] == 0 { 0 } else { left[lane] & !(bit ^ drawn) };
        counter[lane] = counter[lane].wrapping_add(STEP_N);
    }
}
