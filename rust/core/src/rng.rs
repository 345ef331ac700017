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
//! **Normals** come in pairs (Box and Muller): words `2p` and `2p + 1` of `i` give normals `2p` and `2p + 1` of `i`. 31 bits make the radius (at most
//! 6.56), 30 bits an angle within +-pi/4 (both rounded to `f32` on the way), one bit swaps sine and cosine, two bits are the signs.
//!
//! [`STREAM_VERSION`] names this layout together with every approximation in [`crate::math`].

use crate::math::{ln, sin_cos_small};
use crate::simd::{GROUPS, Group, WIDTH};

/// Changes with any change of any random bit or approximation, together with a changelog entry.
pub const STREAM_VERSION: u64 = 1;

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
        let mut h = s ^ self.0 as u32;
        h = (h ^ (h >> 16)).wrapping_mul(0x21F0_AAAD);
        h ^= h >> 15;
        h = (h ^ (self.0 >> 32) as u32).wrapping_mul(0xD35A_2D97);
        h ^= h >> 15;
        h = h.wrapping_mul(0x2C1B_3C6D);
        h ^ (h >> 16)
    }

    /// Normals `n` and `n + 1` for even `n`, at counter sum `s` of `(i, n)`.
    #[inline(always)]
    pub(crate) fn normals_at(self, s: u32) -> (f32, f32) {
        let a = self.word_at(s);
        let b = self.word_at(s.wrapping_add(STEP_N));
        normal_pair(a, b)
    }

    /// The standard normal number for counters `i` and `n`.
    #[inline(always)]
    pub fn normal(self, i: u32, n: u32) -> f32 {
        let (even, odd) = self.normals_at(i.wrapping_mul(STEP_I).wrapping_add((n & !1).wrapping_mul(STEP_N)));
        if n & 1 == 0 { even } else { odd }
    }

    /// A number in [0, 1) with 24 bits.
    #[inline(always)]
    pub fn uniform(self, i: u32, n: u32) -> f32 {
        (self.word(i, n) >> 8) as f32 * (1.0 / 16_777_216.0)
    }
}

/// Adds `sigma` times normals `0, 1, 2, ...` of counter 0 to `values`.
#[inline(always)]
pub(crate) fn add_normals(key: Key, sigma: f32, values: &mut [f32]) {
    with_normals(key, 0, values, |v, z| v + sigma * z);
}

/// Puts `f` of a value and of its normal, `0, 1, 2, ...` of `counter`, in the place of the value.
#[inline(always)]
pub(crate) fn with_normals(key: Key, counter: u32, values: &mut [f32], f: impl Fn(f32, f32) -> f32) {
    const PAIRS: usize = 16;
    let base = counter.wrapping_mul(STEP_I);
    for (block, values) in values.chunks_mut(2 * PAIRS).enumerate() {
        let mut z = [[0f32; 2]; PAIRS];
        for (pair, z) in z.iter_mut().enumerate() {
            let n = 2 * (block * PAIRS + pair) as u32;
            let (even, odd) = key.normals_at(base.wrapping_add(n.wrapping_mul(STEP_N)));
            *z = [even, odd];
        }
        values.iter_mut().zip(z.as_flattened()).for_each(|(v, z)| *v = f(*v, *z));
    }
}

/// Normals `n` and `n + 1` at the counter sums `s` of even `n`, those of the groups of lanes that `s` has.
///
/// In several loops, so that the groups wait for their long chains of operations at the same time.
#[inline(always)]
pub(crate) fn normals(key: Key, s: &[Group<u32>], even: &mut [Group<f32>], odd: &mut [Group<f32>]) {
    let (mut a, mut b, mut r) = ([[0u32; WIDTH]; GROUPS], [[0u32; WIDTH]; GROUPS], [[0f32; WIDTH]; GROUPS]);
    for ((s, a), b) in s.iter().zip(&mut a).zip(&mut b) {
        for lane in 0..WIDTH {
            a[lane] = key.word_at(s[lane]);
            b[lane] = key.word_at(s[lane].wrapping_add(STEP_N));
        }
    }
    let a = &a[..s.len()];
    for (a, r) in a.iter().zip(&mut r) {
        for lane in 0..WIDTH {
            r[lane] = radius(a[lane]);
        }
    }
    for ((((a, b), r), even), odd) in a.iter().zip(&b).zip(&r).zip(even).zip(odd) {
        for lane in 0..WIDTH {
            (even[lane], odd[lane]) = directed(r[lane], a[lane], b[lane]);
        }
    }
}

/// Two independent standard normal numbers from two words.
#[inline(always)]
fn normal_pair(a: u32, b: u32) -> (f32, f32) {
    directed(radius(a), a, b)
}

#[inline(always)]
fn radius(a: u32) -> f32 {
    let u = ((a & 0x7FFF_FFFF) | 1) as i32 as f32 * (1.0 / 2_147_483_648.0);
    (-2.0 * ln(u)).sqrt()
}

#[inline(always)]
fn directed(radius: f32, a: u32, b: u32) -> (f32, f32) {
    let angle = ((b & 0x3FFF_FFFF) as i32 as f32 - 536_870_912.0) * (std::f32::consts::FRAC_PI_4 / 536_870_912.0);
    let (s, c) = sin_cos_small(angle);
    let swap = 0u32.wrapping_sub((b >> 30) & 1);
    let first = f32::from_bits((swap & c.to_bits()) | (!swap & s.to_bits()));
    let second = f32::from_bits((swap & s.to_bits()) | (!swap & c.to_bits()));
    let even = f32::from_bits((radius * first).to_bits() ^ (b & 0x8000_0000));
    let odd = f32::from_bits((radius * second).to_bits() ^ (a & 0x8000_0000));
    (even, odd)
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
