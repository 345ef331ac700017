//! Bit trains: line `i` fires in a slot with probability `min(|value_i| * scale, 1)`, rounded to 24 bits, independently for each slot.
//!
//! The 32 slots of a word are decided together, bit plane by bit plane from the most significant one: slot `s` of line `i` compares its threshold
//! `T = rint(p 2^24)` with the 24-bit number whose bits are bit `s` of the words `(i, 32 word + plane)`, and fires if that number is below `T`.
//! Planes that no slot of the block needs are not drawn, which changes nothing.
//!
//! The kernel gets 31 slots per packed word and the sign of the value in bit 31.

use super::Scale;
use crate::pool::Pool;
use crate::rng::{Key, STEP_I, STEP_N};
use crate::simd::{Isa, Kernel, LANES};

/// Slots in a packed word.
pub(crate) const SLOTS: usize = 31;

/// Packed trains of all vectors of an update: `[block of lines][entry][lane]`; a vector has as many entries as its slots need.
#[derive(Debug, Default)]
pub(crate) struct Trains {
    words: Vec<u32>,
    entries: usize,
}

/// Which entries belong to which vector.
pub(crate) fn entry_starts(scales: &[Scale]) -> Vec<usize> {
    let mut starts = vec![0];
    for scale in scales {
        starts.push(starts[starts.len() - 1] + scale.bl.div_ceil(SLOTS));
    }
    starts
}

impl Trains {
    /// Draws the trains of `values` (`[vectors][lines]`) with `amplify(vector)` as scale and `key(vector)` as stream.
    /// `flip` turns every sign (a negative learning rate).
    pub(crate) fn draw(
        isa: Isa,
        pool: &Pool,
        values: &[f32],
        lines: usize,
        bl: &[usize],
        amplify: &[f64],
        keys: &[Key],
        flip: bool,
    ) -> Self {
        let entries: usize = bl.iter().map(|bl| bl.div_ceil(SLOTS)).sum();
        let mut words = vec![0u32; lines.div_ceil(LANES) * entries * LANES];
        let block = entries * LANES;
        if block > 0 {
            // About 2 ns a train, five of them a cell-sized unit of work.
            pool.chunks(&mut words, block, lines * entries * 4, 0, |at, words| {
                isa.run(Draw { words, values, lines, first: at * LANES, bl, amplify, keys, flip });
            });
        }
        Self { words, entries }
    }

    /// The words of one block of lines: `[entry][lane]`.
    pub(crate) fn block(&self, at: usize) -> &[[u32; LANES]] {
        let size = self.entries * LANES;
        self.words[at * size..(at + 1) * size].as_chunks().0
    }
}

struct Draw<'a> {
    words: &'a mut [u32],
    values: &'a [f32],
    lines: usize,
    first: usize,
    bl: &'a [usize],
    amplify: &'a [f64],
    keys: &'a [Key],
    flip: bool,
}

impl Kernel for Draw<'_> {
    #[inline(always)]
    fn run(self) {
        let lanes = LANES.min(self.lines - self.first);
        let mut entry = 0;
        let mut slots: Vec<[u32; LANES]> = Vec::new();
        for (vector, &bl) in self.bl.iter().enumerate() {
            if bl == 0 {
                continue;
            }
            let mut thresholds = [0u32; LANES];
            let mut signs = [0u32; LANES];
            let from = vector * self.lines + self.first;
            let values = &self.values[from..from + lanes];
            let mut any = false;
            for (lane, value) in values.iter().enumerate() {
                let p = value.abs() as f64 * self.amplify[vector];
                let p = if p > 1.0 { 1.0 } else { p };
                thresholds[lane] = (p * 16_777_216.0).round_ties_even() as u32;
                signs[lane] = ((*value < 0.0) != self.flip) as u32;
                any |= thresholds[lane] > 0;
            }
            let packed = bl.div_ceil(SLOTS);
            if any {
                slots.clear();
                for word in 0..bl.div_ceil(32) {
                    slots.push(draw_word(self.keys[vector], self.first as u32, word as u32, &thresholds));
                }
                for part in 0..packed {
                    let out = &mut self.words[(entry + part) * LANES..(entry + part + 1) * LANES];
                    let (at, shift) = (part * SLOTS / 32, part * SLOTS % 32);
                    let mask = if (part + 1) * SLOTS <= bl { 0x7FFF_FFFF } else { (1u32 << (bl - part * SLOTS)) - 1 };
                    for lane in 0..LANES {
                        let high = if shift > 1 && at + 1 < slots.len() { slots[at + 1][lane] << (32 - shift) } else { 0 };
                        let bits = ((slots[at][lane] >> shift) | high) & mask;
                        // A silent word stays zero, so that the kernel can skip it whatever its sign.
                        out[lane] = if bits == 0 { 0 } else { bits | (signs[lane] << 31) };
                    }
                }
            }
            entry += packed;
        }
    }
}

#[inline(always)]
fn draw_word(key: Key, first: u32, word: u32, thresholds: &[u32; LANES]) -> [u32; LANES] {
    let mut fire = [0u32; LANES];
    let mut undecided = [0u32; LANES];
    for lane in 0..LANES {
        let t = thresholds[lane];
        fire[lane] = 0u32.wrapping_sub(t >> 24);
        undecided[lane] = if t == 0 || t >> 24 == 1 { 0 } else { u32::MAX };
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
            break;
        }
    }
    fire
}
