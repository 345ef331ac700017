//! Bit trains: line `i` fires in a slot with probability `min(|value_i| * scale, 1)`, rounded to 24 bits, independently for each slot.
//!
//! With a resolution `res` the probability is `res rint(p / res)` before it is clipped, or `res rint(p / res + U - 1/2)` with a uniform `U` of the line.
//!
//! The 32 slots of a word are decided together, bit plane by bit plane from the most significant one: slot `s` of line `i` compares its threshold
//! `T = rint(p 2^24)` with the 24-bit number whose bits are bit `s` of the words `(i, 32 word + plane)`, and fires if that number is below `T`.
//! Planes that no slot of the block needs are not drawn, which changes nothing, nor are slots beyond the train decided.
//!
//! The kernel gets 31 slots per packed word and the sign of the value in bit 31.

use super::update::Span;
use crate::pool::{Machine, Pool, Work};
use crate::rng::{Key, STEP_I, STEP_N, Use};
use crate::simd::{Isa, Kernel, LANES, Set};

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
    /// Where the entries of each vector begin, and the end of the last one.
    begin: Vec<usize>,
}

/// Lines that fire, with their words, entry by entry.
#[derive(Debug)]
pub(super) struct Fired {
    lines: Vec<u32>,
    words: Vec<u32>,
    begin: Vec<usize>,
}

impl Fired {
    /// Those of an entry.
    #[inline(always)]
    pub(super) fn of(&self, entry: usize) -> (&[u32], &[u32]) {
        let own = self.begin[entry]..self.begin[entry + 1];
        (&self.lines[own.clone()], &self.words[own])
    }
}

/// One side of a call: the values of its lines (`[vectors][lines]`), and per vector the number of slots, the scale and the stream.
pub(crate) struct Side<'a> {
    pub(crate) values: &'a [f32],
    pub(crate) lines: Span,
    pub(crate) bl: &'a [usize],
    pub(crate) amplify: Vec<f64>,
    pub(crate) keys: Vec<Key>,
    /// Turns every sign of a vector (a negative learning rate).
    pub(crate) flip: Vec<bool>,
    /// Step of the probabilities, 0: none.
    pub(crate) res: f64,
    /// The stream of their rounding, below the vector's; none: to the nearest.
    pub(crate) rounding: Option<Use>,
}

impl Side<'_> {
    /// The values of `lanes` lines from `first` in a vector, and how likely each of them fires in a slot.
    #[inline(always)]
    pub(crate) fn probabilities(&self, vector: usize, first: usize, lanes: usize) -> (&[f32], [f64; LANES]) {
        let from = vector * self.lines.len + (first - self.lines.first);
        let (values, amplify) = (&self.values[from..from + lanes], self.amplify[vector]);
        let mut p = [0f64; LANES];
        for (p, value) in p.iter_mut().zip(values) {
            *p = value.abs() as f64 * amplify;
        }
        if self.res > 0.0 {
            self.round(vector, first, &mut p[..lanes]);
        }
        for p in &mut p {
            *p = if *p > 1.0 { 1.0 } else { *p };
        }
        (values, p)
    }

    #[inline(never)]
    fn round(&self, vector: usize, first: usize, p: &mut [f64]) {
        for (lane, p) in p.iter_mut().enumerate() {
            let uniform = |purpose: Use| self.keys[vector].of(purpose).uniform((first + lane) as u32, 0) as f64;
            *p = self.res * (*p / self.res + self.rounding.map_or(0.0, |purpose| uniform(purpose) - 0.5)).round_ties_even();
        }
    }
}

impl Trains {
    /// Draws the trains of one side.
    pub(crate) fn draw(Machine { isa, pool }: Machine, side: &Side) -> Self {
        let mut begin = vec![0];
        begin.extend(side.bl.iter().scan(0, |end, bl| {
            *end += bl.div_ceil(SLOTS);
            Some(*end)
        }));
        let entries = begin[side.bl.len()];
        let lines = side.lines.range();
        let first = lines.start / LANES;
        let mut words = vec![0u32; (lines.end.div_ceil(LANES) - first) * entries * LANES];
        if entries > 0 {
            pool.chunks(&mut words, entries * LANES, side.lines.len * entries * 4, 0, |at, words| {
                isa.run(Draw { words, side, block: (first + at) * LANES, pool });
            });
        }
        Self::packed(words, first, begin)
    }

    fn packed(words: Vec<u32>, first: usize, begin: Vec<usize>) -> Self {
        let entries = begin[begin.len() - 1];
        let blocks = words.as_chunks::<LANES>().0.chunks(entries.max(1));
        let mut any = Vec::with_capacity(blocks.len() * entries.next_multiple_of(LANES));
        for block in blocks {
            any.extend(block.iter().map(|lanes| lanes.iter().fold(0, |any, word| any | word) & SLOT_BITS));
            any.resize(any.len().next_multiple_of(LANES), 0);
        }
        Self { words, any, first, begin }
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
        let words = lanes.iter().flat_map(|lanes| [0, 1].map(|half| lanes.map(|word| f(half, word)))).flatten().collect();
        Self::packed(words, self.first, self.begin.iter().map(|entry| 2 * entry).collect())
    }

    /// The lines that fire in each entry with their words, if they are few: at most one in eight.
    pub(super) fn fired(&self) -> Option<Fired> {
        let fires = |word: &&u32| **word != 0;
        let count = self.words.iter().filter(fires).count();
        if 8 * count > self.words.len() {
            return None;
        }
        let (mut lines, mut words, mut begin) = (Vec::with_capacity(count), Vec::with_capacity(count), vec![0]);
        let blocks = self.words.len() / (self.entries() * LANES).max(1);
        for entry in 0..self.entries() {
            for at in 0..blocks {
                if self.any(self.first + at).as_flattened()[entry] != 0 {
                    let block = &self.block(self.first + at)[entry];
                    let first = (self.first + at) * LANES;
                    for (lane, word) in block.iter().enumerate().filter(|(_, word)| **word != 0) {
                        lines.push((first + lane) as u32);
                        words.push(*word);
                    }
                }
            }
            begin.push(lines.len());
        }
        Some(Fired { lines, words, begin })
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

    /// Number of words per line.
    pub(crate) fn entries(&self) -> usize {
        self.begin[self.begin.len() - 1]
    }

    /// Where the entries of vector `b` begin, or end for the number of vectors.
    pub(crate) fn begin(&self, b: usize) -> usize {
        self.begin[b]
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

struct Draw<'a> {
    words: &'a mut [u32],
    side: &'a Side<'a>,
    /// The first line of the block.
    block: usize,
    pool: &'a Pool,
}

impl Kernel for Draw<'_> {
    #[inline(always)]
    fn run<S: Set>(self) {
        let side = self.side;
        // A job may begin and end within a block.
        let lines = side.lines.range();
        let (first, end) = (lines.start.max(self.block), lines.end.min(self.block + LANES));
        let lanes = first - self.block..end - self.block;
        let mut words = self.words.as_chunks_mut::<LANES>().0.iter_mut();
        let mut slots: Vec<[u32; LANES]> = Vec::new();
        let mut planes = 0;
        for (vector, &bl) in side.bl.iter().enumerate() {
            let packed = bl.div_ceil(SLOTS);
            let (values, p) = side.probabilities(vector, first, end - first);
            let (mut thresholds, mut signs) = ([0u32; LANES], [0u32; LANES]);
            for (threshold, p) in thresholds[lanes.clone()].iter_mut().zip(&p) {
                // Rounds to an integer in the low bits, ties to even.
                *threshold = (p * 16_777_216.0 + 6_755_399_441_055_744.0).to_bits() as u32;
            }
            let flip = u32::from(side.flip[vector]);
            for (sign, value) in signs[lanes.clone()].iter_mut().zip(values) {
                *sign = (u32::from(*value < 0.0) ^ flip) << 31;
            }
            if bl == 0 || thresholds.iter().fold(0, |any, threshold| any | threshold) == 0 {
                words.by_ref().take(packed).for_each(drop);
                continue;
            }
            slots.clear();
            for word in 0..bl.div_ceil(32) as u32 {
                let (fire, drawn) = draw_word(side.keys[vector], self.block as u32, word, ones(bl - 32 * word as usize), &thresholds);
                slots.push(fire);
                planes += drawn;
            }
            for (part, out) in words.by_ref().take(packed).enumerate() {
                let (at, shift, mask) = (part * SLOTS / 32, part * SLOTS % 32, ones(bl - part * SLOTS) & SLOT_BITS);
                let low = &slots[at];
                let high = slots.get(at + 1).filter(|_| shift > 1).unwrap_or(&[0; LANES]);
                for lane in 0..LANES {
                    let bits = ((low[lane] >> shift) | ((high[lane] << 1) << (31 - shift))) & mask;
                    // A silent word stays zero, so that the kernel can skip it whatever its sign.
                    out[lane] = if bits == 0 { 0 } else { bits | signs[lane] };
                }
            }
        }
        self.pool.count(Work { planes, ..Work::default() });
    }
}

/// The lowest `n` bits, or all of them.
#[inline(always)]
fn ones(n: usize) -> u32 {
    if n < 32 { (1 << n) - 1 } else { u32::MAX }
}

#[inline(always)]
fn draw_word(key: Key, first: u32, word: u32, slots: u32, thresholds: &[u32; LANES]) -> ([u32; LANES], u64) {
    let mut fire = [0u32; LANES];
    let mut undecided = [0u32; LANES];
    for lane in 0..LANES {
        let t = thresholds[lane];
        fire[lane] = 0u32.wrapping_sub(t >> 24);
        undecided[lane] = if t == 0 || t >> 24 == 1 { 0 } else { slots };
    }
    for plane in 0..24 {
        let n = (32 * word + plane).wrapping_mul(STEP_N);
        let mut left = 0;
        for lane in 0..LANES {
            let drawn = key.word_at((first + lane as u32).wrapping_mul(STEP_I).wrapping_add(n));
            let bit = 0u32.wrapping_sub((thresholds[lane] >> (23 - plane)) & 1);
            fire[lane] |= undecided[lane] & bit & !drawn;
            undecided[lane] &= !(bit ^ drawn);
            left |= undecided[lane];
        }
        if left == 0 {
            return (fire, u64::from(plane) + 1);
        }
    }
    (fire, 24)
}
