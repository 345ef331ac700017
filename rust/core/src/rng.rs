//! Streams: every random number is a pure function of a key and two counters, so threads, blocks and resumes cannot change it.
//!
//! **Keys.** A key is 64 bits; `key.child(tag) = mix64(key + (tag + 1) * G)` (the finaliser of splitmix64, `G` the golden ratio). Keys are chained,
//! never xored with raw counters: `key ^ row` would reuse one set of row keys for every key.
//! `Key::new(seed, kind, path, array)`: kind is init, device, run or eval; path the tile's name, its length first, then byte by byte; array its index in the plan, the one that
//! receives the gradient first.
//!
//! **Words.** `key.word(i, n)` with `s = i * 9E3779B9 + n * 85EBCA6B` (mod 2^32) is a three-multiply hash with half of the key entering before
//! the first and half before the second multiply. `i` is a line or a column, `n` counts.
//!
//! **Normals**: word `n` of `i` gives normal `n` of `i` ([`crate::normal`]).
//!
//! [`STREAM_VERSION`] names this layout together with every approximation in [`crate::math`] and [`crate::normal`].

use crate::normal::{normal, normals};
use crate::simd::{Group, Set, WIDTH};

/// Changes with any change of any random bit or approximation, together with a changelog entry.
pub const STREAM_VERSION: u64 = 2;

const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;
/// Odd multipliers of the two counters: no two (i, n) that differ by less than 44,316 in both share a word.
pub(crate) const STEP_I: u32 = 0x9E37_79B9;
/// See [`STEP_I`].
pub(crate) const STEP_N: u32 = 0x85EB_CA6B;

/// What a stream is for, at the top of the key chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Initial weights and shuffles.
    Init = 0,
    /// Device-to-device values.
    Device = 1,
    /// Pulses, cycle noise, products while training.
    Run = 2,
    /// Products while evaluating.
    Eval = 3,
}

/// What a run stream is used for, below the array.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Use {
    /// Cycle noise: then first vector of the call, row; counters (column, ordinal).
    Pulse = 0,
    /// Gradient trains of the input lines: then vector; counters (line, 32 * word + bit plane).
    TrainX = 1,
    /// The same of the error lines.
    TrainD = 2,
    /// Output noise of products: then vector, pass; counters (0, line).
    ForwardOut = 3,
    ForwardIn = 4,
    BackwardOut = 5,
    BackwardIn = 6,
    /// Read-outs of a transfer: then transfer, event, line read.
    ReadOut = 7,
    ReadIn = 8,
    /// Write trains of a transfer: then transfer, step, event, line read.
    WriteX = 9,
    WriteD = 10,
    /// Diffusion: then ends of mini-batches so far, row; counters (column, 0).
    Diffusion = 11,
    /// Rounding of a wanted number of pulses, below the train of the vector's error lines: then row; counters (column, 0).
    RoundCount = 16,
    /// Rounding of the probability of an input line, below its train; counters (line, 0).
    RoundX = 17,
    /// The same of the error lines.
    RoundD = 18,
    /// Write noise: then 0 and first vector of the call, or 1 and operation; then row; counters (column, changes in the call or 0).
    WriteNoise = 20,
    /// Resets: then 0 and operation, or 1, transfer, event, line read; then row; counters (column, 0), and (column, 2) for the choice of a cell.
    Reset = 21,
    /// Drift: then operation, row; counters (column, 0) and (column, 2).
    Drift = 22,
    /// Pulses of single cells: then operation, row; counters (column, ordinal).
    Program = 23,
    /// The reset of refreshed cells: then number of the look, row; counters (column, 0).
    Refresh = 24,
    /// The device of a cell that takes a vector: then what the vector is for, its number; counters (0, 0).
    Route = 25,
    /// A diffusion on its own: then operation, row; counters (column, 0).
    Diffuse = 26,
    /// The line at which an event starts: then transfer, event; counters (0, 0).
    Select = 27,
    /// Whether a line is reset: then transfer, event, line; counters (0, 0).
    ResetLine = 28,
    /// Whether a chopper flips: then transfer, event; counters (line, 0), (0, 0) where all lines flip together.
    Chop = 29,
    /// Whether it flips crossing lines: then transfer, pass; counters (line, 0).
    ChopCross = 30,
    /// Rounding of the inputs of a digital gradient to levels: then vector; counters (line, 0).
    BinX = 31,
    /// The same of its errors.
    BinD = 32,
    /// Write noise of cells that a step programs: then transfer, event, line, step, row; counters (column, 0).
    Copy = 33,
    /// The same of those that a chopper latches: then transfer, event, line, row; counters (column, 0).
    Latch = 34,
    /// Direction of a pulse of a zero-shift: then operation, cycle, row; counters (column, 0).
    Shift = 35,
    /// Read-outs of a zero-shift: then operation, cycle, column.
    ShiftRead = 36,
}

/// The finaliser of splitmix64 (Stafford's variant 13).
#[inline(always)]
pub fn mix64(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// The word at counter sum `s` of the stream whose key has these halves, low and high.
#[inline(always)]
pub(crate) fn word([low, high]: [u32; 2], s: u32) -> u32 {
    let mut h = s ^ low;
    h = (h ^ (h >> 16)).wrapping_mul(0x21F0_AAAD);
    h ^= h >> 15;
    h = (h ^ high).wrapping_mul(0xD35A_2D97);
    h ^= h >> 15;
    h = h.wrapping_mul(0x2C1B_3C6D);
    h ^ (h >> 16)
}

/// The key of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key(pub u64);

impl Key {
    /// The stream of `kind` of array `array` of the tile at `path`.
    pub fn new(seed: u64, kind: Kind, path: &str, array: u64) -> Self {
        let root = Key(0).child(STREAM_VERSION).child(seed).child(kind as u64);
        let named = path.bytes().fold(root.child(path.len() as u64), |key, byte| key.child(byte as u64));
        named.child(array)
    }

    /// The key one level down.
    #[inline(always)]
    pub fn child(self, tag: u64) -> Self {
        Key(mix64(self.0.wrapping_add(tag.wrapping_add(1).wrapping_mul(GOLDEN))))
    }

    #[inline(always)]
    pub(crate) fn of(self, purpose: Use) -> Self {
        self.child(purpose as u64)
    }

    /// 32 random bits for counters `i` and `n`.
    #[inline(always)]
    pub fn word(self, i: u32, n: u32) -> u32 {
        self.word_at(i.wrapping_mul(STEP_I).wrapping_add(n.wrapping_mul(STEP_N)))
    }

    /// The word at counter sum `s = i * STEP_I + n * STEP_N`.
    #[inline(always)]
    pub(crate) fn word_at(self, s: u32) -> u32 {
        word(self.halves(), s)
    }

    /// What [`word`] takes.
    #[inline(always)]
    pub(crate) fn halves(self) -> [u32; 2] {
        [self.0 as u32, (self.0 >> 32) as u32]
    }

    /// The standard normal number for counters `i` and `n`.
    #[inline(always)]
    pub fn normal(self, i: u32, n: u32) -> f32 {
        normal(self.word(i, n))
    }

    /// The normals at counter sums `s`.
    #[inline(always)]
    pub(crate) fn normals_at<S: Set>(self, s: &Group<u32>) -> Group<f32> {
        let mut words = [0; WIDTH];
        for (word, s) in words.iter_mut().zip(s) {
            *word = self.word_at(*s);
        }
        normals::<S>(&words)
    }

    /// A number in [0, 1) with 24 bits.
    #[inline(always)]
    pub fn uniform(self, i: u32, n: u32) -> f32 {
        (self.word(i, n) >> 8) as f32 * (1.0 / 16_777_216.0)
    }
}

/// Adds `sigma` times normals `0, 1, 2, ...` of counter 0 to `values`.
#[inline(always)]
pub(crate) fn add_normals<S: Set>(key: Key, sigma: f32, values: &mut [f32]) {
    with_normals::<S>(key, 0, values, |v, z| v + sigma * z);
}

/// Puts `f` of a value and of its normal, `0, 1, 2, ...` of `counter`, in the place of the value.
#[inline(always)]
pub(crate) fn with_normals<S: Set>(key: Key, counter: u32, values: &mut [f32], f: impl Fn(f32, f32) -> f32) {
    let base = counter.wrapping_mul(STEP_I);
    for (group, values) in values.chunks_mut(WIDTH).enumerate() {
        let mut s = [0; WIDTH];
        for (lane, s) in s.iter_mut().enumerate() {
            *s = base.wrapping_add(((group * WIDTH + lane) as u32).wrapping_mul(STEP_N));
        }
        values.iter_mut().zip(key.normals_at::<S>(&s)).for_each(|(v, z)| *v = f(*v, z));
    }
}

/// A permutation of `0..n` (Fisher and Yates; the index below `k` is the high half of a 32 x 32 bit product).
pub fn permutation(key: Key, n: usize) -> Vec<i64> {
    let mut order: Vec<i64> = (0..n as i64).collect();
    for k in (1..n).rev() {
        let j = (key.word(k as u32, 0) as u64 * (k as u64 + 1)) >> 32;
        order.swap(k, j as usize);
    }
    order
}
