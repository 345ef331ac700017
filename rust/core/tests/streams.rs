//! The random streams: known answers, value stability, and statistics of the numbers exactly as the kernel draws them.
//!
//! Every suite is a function of a generator, and a generator that should fail it goes through the same code. Seeds are fixed, so nothing
//! here is flaky: the thresholds say how surprising a failure would have been.

mod common;

use common::{Worst, cdf, erfc, flat_z};
use ohmgrad_core::normal::normal;
use ohmgrad_core::rng::{Key, Kind, STREAM_VERSION, mix64, permutation};

/// Standard errors allowed to sums over normals and to chi-squares: 5.7e-7 two-sided, below 1e-4 for the some 150 of them in this file.
const Z: f64 = 5.0;
/// Standard errors allowed to a correlation of two bits: 2.0e-9 two-sided, below 1e-4 for the up to 20,000 of them in one suite.
const Z_BITS: f64 = 6.0;
/// Critical value of sqrt(n) D at 0.1 % (Kolmogorov: 2 exp(-2 * 1.95^2) = 0.001).
const KOLMOGOROV: f64 = 1.95;
/// Numbers per correlation: 5 standard errors are 5 / sqrt(n) = 1.9e-3.
const SHAPE: Shape = Shape { vectors: 8, rows: 32, columns: 784, n: 34 };

// The uses below an array's key (`rng.rs`).
const PULSE: u64 = 0;
const TRAIN_X: u64 = 1;
const TRAIN_D: u64 = 2;

/// Everything that names a stream above the row.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Run {
    seed: u64,
    path: &'static str,
    array: u64,
    purpose: u64,
    vector: u64,
}

const RUN: Run = Run { seed: 1, path: "fc1", array: 0, purpose: PULSE, vector: 0 };

impl Run {
    fn key(self) -> Key {
        Key::new(self.seed, Kind::Run, self.path, self.array).child(self.purpose).child(self.vector)
    }
}

/// Pulse noise as the kernel draws it: run, then row; counters column and ordinal.
fn pulses(run: Run, row: u64) -> impl Fn(u32, u32) -> f32 {
    let key = run.key().child(row);
    move |column, n| key.normal(column, n)
}

/// The words below it.
fn words(run: Run, row: u64) -> impl Fn(u32, u32) -> u32 {
    let key = run.key().child(row);
    move |column, n| key.word(column, n)
}

/// Words of trains: the key ends with the vector (here in the row's place); counters line and 32 * word + bit plane.
fn trains(run: Run, vector: u64) -> impl Fn(u32, u32) -> u32 {
    let key = run.key().child(vector);
    move |line, n| key.word(line, 32 * (n / 24) + n % 24)
}

/// How far a normal may be from the exact one: 3.11e-5 of the fits, and three roundings by half of 2^-21 at most, of the last product and sum (below 8)
/// and, smaller, of all before.
const LAW: f64 = 3.11e-5 + 1.5 / 2_097_152.0;

/// The probability of a number further from zero than that of `word`, as documented, rounded to 24 bits as it becomes `f32`.
fn further(word: u32) -> f64 {
    ((word & 0x7FFF_FFFF) | 1) as f32 as f64 / 2_147_483_648.0
}

/// Whether the normal of a word is the documented one up to [`LAW`], whose tail probabilities are exact.
fn is_documented(word: u32, z: f32) -> bool {
    let tail = |z: f64| if z > 0.0 { erfc(z * std::f64::consts::FRAC_1_SQRT_2) } else { 2.0 - erfc(-z * std::f64::consts::FRAC_1_SQRT_2) };
    let distance = if word >> 31 == 0 { z as f64 } else { -z as f64 };
    tail(distance + LAW) < further(word) && further(word) < tail(distance - LAW)
}

// ---- Generators that must fail

/// Two multiplications on plain counters, raw xors in the place of the lower key chain: the design that was not taken.
fn weak_words(run: Run, row: u64) -> impl Fn(u32, u32) -> u32 {
    let key = raw_xors(run, row);
    move |column, n| {
        let mut h = (column ^ (n << 16) ^ key.0 as u32).wrapping_mul(0x21F0_AAAD);
        h ^= h >> 15;
        h = (h ^ (key.0 >> 32) as u32).wrapping_mul(0x735A_2D97);
        h ^ (h >> 16)
    }
}

/// Normals of them.
fn weak_normals(run: Run, row: u64) -> impl Fn(u32, u32) -> f32 {
    let words = weak_words(run, row);
    move |column, n| normal(words(column, n))
}

/// Vectors and rows xored into the key of an array.
fn raw_xors(run: Run, row: u64) -> Key {
    Key(Run { vector: 0, ..run }.key().0 ^ run.vector ^ row)
}

/// The real words under such keys.
fn raw_key_words(run: Run, row: u64) -> impl Fn(u32, u32) -> u32 {
    let key = raw_xors(run, row);
    move |column, n| key.word(column, n)
}

/// Sums of 12 uniform numbers.
fn twelve_uniforms(run: Run, row: u64) -> impl Fn(u32, u32) -> f32 {
    let key = run.key().child(row);
    move |column, n| (0..12).map(|k| key.uniform(column, 12 * n + k)).sum::<f32>() - 6.0
}

/// A scale that is off by 0.2 %.
fn scaled(run: Run, row: u64) -> impl Fn(u32, u32) -> f32 {
    let z = pulses(run, row);
    move |column, n| 1.002 * z(column, n)
}

/// A leak of 0.3 % from the next column.
fn leaking(run: Run, row: u64) -> impl Fn(u32, u32) -> f32 {
    let z = pulses(run, row);
    move |column, n| z(column, n) + 0.003 * z(column + 1, n)
}

/// Bit 7 set once in 512 draws too often.
fn sticky(run: Run, row: u64) -> impl Fn(u32, u32) -> u32 {
    let word = words(run, row);
    move |column, n| word(column, n) | (((word(column, n + 1000) & 255 == 0) as u32) << 7)
}

// ---- Known answers

/// Computed by a script of its own from the formulas in the headers of `rng.rs` and `normal.rs`, not by this crate.
#[test]
fn known_answers() {
    assert_eq!([mix64(1), mix64(0x9E37_79B9_7F4A_7C15)], [0x5692_161D_100B_05E5, 0xE220_A839_7B1D_CDAF]);
    assert_eq!(Key::new(0, Kind::Init, "", 0), Key(0x445B_2AE0_A458_C9CB));
    assert_eq!(Key::new(0, Kind::Run, "0", 0), Key(0x38EA_5DB9_083D_30E2));
    assert_eq!(Key::new(1, Kind::Run, "fc1", 0), Key(0x8970_B39A_B7C1_08E4));
    assert_eq!(Key::new(u64::MAX, Kind::Eval, "naïve", 3), Key(0x4492_B6A2_BC8B_CAB7));
    // Key; i, n; word; the normal's bits and the same normal by f64 functions.
    let answers = [
        (0, 0, 0, 0x0000_0000, 0x40C7_5E38_u32, 6.230_260_137_989_043),
        (0, 1, 0, 0x233F_BE75, 0x3F8B_9E74, 1.090_750_195_750_561),
        (0, 0, 1, 0x7E99_3DBA, 0x3C60_9100, 0.013_722_314_377_018_25),
        (0, 783, 31, 0xF5B4_33C0, 0xBDCE_CA60, -0.100_985_635_680_932_47),
        (1, 0, 0, 0xC515_53E2, 0xBF1C_FFBC, -0.613_246_469_381_064_3),
        (1, 783, 31, 0xF11C_6E47, 0xBE15_D408, -0.146_305_575_240_326_45),
        (1 << 32, 0, 0, 0x2347_52A0, 0x3F8B_8D3D, 1.090_224_842_770_249_2),
        (1 << 32, 1, 0, 0x9C15_58A5, 0xBF9D_333F, -1.228_121_305_874_937_2),
        (0x0123_4567_89AB_CDEF, 0, 0, 0xE26A_50EA, 0xBE96_75E8, -0.293_853_935_097_964_5),
        (0x0123_4567_89AB_CDEF, 1, 0, 0x4764_F21A, 0x3F16_1066, 0.586_159_840_175_289_4),
        (0x0123_4567_89AB_CDEF, 783, 31, 0x3F95_35EE, 0x3F2D_FCBE, 0.679_626_388_523_084_5),
        (u64::MAX, 0, 0, 0x4101_7147, 0x3F29_840C, 0.662_178_942_525_366_1),
        (u64::MAX, u32::MAX, u32::MAX, 0x322B_9FFA, 0x3F5B_2904, 0.856_074_939_544_397),
    ];
    for (key, i, n, word, bits, normal) in answers {
        let key = Key(key);
        assert_eq!(key.word(i, n), word, "{key:?} {i} {n}");
        assert_eq!(key.uniform(i, n), (word >> 8) as f32 / 16_777_216.0, "{key:?} {i} {n}");
        assert_eq!(key.normal(i, n).to_bits(), bits, "{key:?} {i} {n}");
        assert!((key.normal(i, n) as f64 - normal).abs() < LAW, "{key:?} {i} {n}");
    }
}

/// The first values of every kind of stream, computed as above. If this test fails, saved runs no longer resume with the same bits: change
/// `STREAM_VERSION` together with these numbers, and say so in the changelog.
#[test]
fn streams_have_not_changed() {
    const SAY: &str = "a stream changed: change STREAM_VERSION and the changelog as well";
    assert_eq!(STREAM_VERSION, 2, "with a new version come new values in this test and a line in the changelog");
    let (run, eval) = (Key::new(7, Kind::Run, "fc1", 0), Key::new(7, Kind::Eval, "fc1", 0));
    let bits = |key: Key, at: [(u32, u32); 3]| at.map(|(i, n)| key.normal(i, n).to_bits());
    // Pulses: vector 5, row 3.
    let pulse = run.child(PULSE).child(5).child(3);
    assert_eq!(bits(pulse, [(0, 0), (0, 1), (0, 2)]), [0x3F22_C73E, 0xBF55_E3E6, 0xBD40_3CE0], "{SAY}");
    assert_eq!(bits(pulse, [(1, 0), (33, 7), (0, 0)]), [0xBF02_F890, 0x3BB6_B000, 0x3F22_C73E], "{SAY}");
    // Trains: vector 5; (line, 32 * word + plane).
    let train = |purpose: u64| [(0, 0), (1, 23), (33, 69)].map(|(i, n)| run.child(purpose).child(5).word(i, n));
    assert_eq!(train(TRAIN_X), [0xB222_8E60, 0xC757_20E1, 0x0FFC_CB1C], "{SAY}");
    assert_eq!(train(TRAIN_D), [0x9CBE_F121, 0x93CC_213E, 0xE497_FB47], "{SAY}");
    // Roundings, below the trains of vector 5: of numbers of pulses (row 3), of probabilities.
    let round = |key: Key| [0, 1, 33].map(|line| key.uniform(line, 0) * 16_777_216.0);
    assert_eq!(round(run.child(TRAIN_D).child(5).child(16).child(3)), [507_595.0, 11_015_314.0, 9_017_472.0], "{SAY}");
    assert_eq!(round(run.child(TRAIN_X).child(5).child(17)), [16_150_727.0, 1_053_961.0, 5_066_607.0], "{SAY}");
    assert_eq!(round(run.child(TRAIN_D).child(5).child(18)), [5_431_599.0, 693_789.0, 14_570_076.0], "{SAY}");
    // Products: output and input noise, forward and backward: vector 5, pass 0.
    let lines = [(0, 0), (0, 1), (0, 9)];
    let products = [
        [0xBF48_6B8C, 0x3DB1_BD90, 0xBFAF_D0BC],
        [0x3F73_F27C, 0x3EE0_79C8, 0xBF6C_DFA4],
        [0xBDB6_68E0, 0xBECB_8148, 0xBF0A_590E],
        [0x3E2A_29B8, 0x3FF7_DDC8, 0x3E90_61A4],
    ];
    for (purpose, expected) in (3..).zip(products) {
        assert_eq!(bits(run.child(purpose).child(5).child(0), lines), expected, "{SAY}");
    }
    assert_eq!(bits(eval.child(3).child(5).child(0), lines), [0xBF50_539C, 0xBE25_F388, 0xBFED_4D3A], "{SAY}");
    // Transfers: transfer 1, event 6, line 2.
    let read = |purpose: u64| bits(run.child(purpose).child(1).child(6).child(2).child(0).child(0), lines);
    assert_eq!(read(7), [0x4018_81DF, 0xBF88_B969, 0x3F1B_24A6], "{SAY}");
    assert_eq!(read(8), [0x3E84_4A8C, 0x3F8B_E658, 0xBFD6_BD47], "{SAY}");
    let write = |purpose: u64| {
        let key = run.child(purpose).child(1).child(0).child(6).child(2);
        [(0, 0), (1, 23), (33, 69)].map(|(i, n)| key.word(i, n))
    };
    assert_eq!(write(9), [0xBDCE_B6F8, 0x7FAF_2759, 0x03E3_A5F3], "{SAY}");
    assert_eq!(write(10), [0xD634_1D0E, 0x1ADA_9060, 0xA561_7014], "{SAY}");
    // Devices: parameter, then row.
    let device =
        |parameter: u64, row: u64, column: u32| Key::new(7, Kind::Device, "fc1", 0).child(parameter).child(row).normal(column, 0).to_bits();
    assert_eq!([device(0, 0, 0), device(3, 2, 1), device(6, 1, 33)], [0x3FBB_8AF4, 0xBFA2_E507, 0x3D43_6760], "{SAY}");
    // Initial weights and shuffles.
    let init = |row: u64, column: u32| Key::new(7, Kind::Init, "fc1", 0).child(row).uniform(column, 0);
    let expected = [13_651_406.0, 7_564_346.0, 4_552_814.0].map(|v: f32| v / 16_777_216.0);
    assert_eq!([init(0, 0), init(2, 1), init(1, 33)], expected, "{SAY}");
    assert_eq!(ohmgrad_core::ops::uniform_init(7, "fc1", 3, 34, 1.0)[34 * 2 + 1], 2.0 * expected[1] - 1.0, "{SAY}");
    assert_eq!(permutation(Key::new(7, Kind::Init, "shuffle", 3), 12), [11, 8, 4, 10, 2, 5, 9, 0, 7, 6, 1, 3], "{SAY}");
}

/// Normals are those of their words, in every octave of the probability and of both signs.
#[test]
fn normals_are_those_of_their_words() {
    for octave in 0..31 {
        let steps = 1 << 12.min(octave);
        for step in 0..steps {
            let word = (1 << octave) + (step << (octave - octave.min(12)));
            for word in [word, word | 1 << 31, (2 * word - 1) | 1 << 31, (2 * word - 1) & 0x7FFF_FFFF] {
                let z = normal(word);
                assert!(is_documented(word, z) && z.abs() < 6.2307, "{word:#010x}: {z}");
            }
        }
    }
    assert_eq!((normal(1), normal(0)), (normal(0), -normal(1 << 31)));
    assert!(!is_documented(0, normal(0) + 5e-5) && !is_documented(0, normal(0) - 5e-5), "what is further off must be noticed");
}

/// Two counters below `limit` whose sums `i STEP_I + n STEP_N` agree in their lowest `bits` bits, as a difference (i, n).
fn shared_counters(limit: i64, bits: u32) -> Option<(i64, i64)> {
    let (step_i, step_n) = (0x9E37_79B9_u32, 0x85EB_CA6B_u32);
    let inverse = (0..5).fold(step_n, |x, _| x.wrapping_mul(2u32.wrapping_sub(step_n.wrapping_mul(x))));
    let ratio = 0u32.wrapping_sub(step_i.wrapping_mul(inverse));
    // i STEP_I + n STEP_N = 0 has one n for every i, up to multiples of 2^bits: the one nearest to zero.
    let nearest = |i: i64| ((ratio.wrapping_mul(i as u32) << (32 - bits)) as i32 >> (32 - bits)) as i64;
    (1..limit).map(|i| (i, nearest(i))).find(|(_, n)| n.abs() < limit)
}

/// Within a key a word depends on `i STEP_I + n STEP_N` alone, a bijection of which it is: the counters of one row are far from meeting.
/// They are also far from sums that differ in the top five bits only, which the hash mixes least: chi-squares of byte pairs of such words
/// are off by 20 to 400 standard errors in 4 million pairs (from the top six bits on by none), though their normals are uncorrelated.
#[test]
fn counters_share_no_words() {
    assert_eq!(shared_counters(44_316, 32), None);
    let (i, n) = shared_counters(44_317, 32).expect("the first shared word");
    assert_eq!((i, n), (44_316, 31_052));
    assert_eq!(Key(99).word(0, 0), Key(99).word(i as u32, n as u32));
    assert_eq!((shared_counters(9_789, 27), shared_counters(9_790, 27)), (None, Some((3_319, -9_789))));
}

// ---- Shapes of draws

#[derive(Clone, Copy)]
struct Shape {
    vectors: u64,
    rows: u64,
    columns: u32,
    n: u32,
}

impl Shape {
    fn count(self) -> usize {
        self.vectors as usize * self.rows as usize * self.columns as usize * self.n as usize
    }
}

/// All numbers of a shape, in order.
fn each<T, R: Fn(u32, u32) -> T>(shape: Shape, draw: &impl Fn(Run, u64) -> R, mut see: impl FnMut(T)) {
    for vector in 0..shape.vectors {
        for row in 0..shape.rows {
            let value = draw(Run { vector, ..RUN }, row);
            for column in 0..shape.columns {
                for n in 0..shape.n {
                    see(value(column, n));
                }
            }
        }
    }
}

/// Where the second number of a pair comes from.
#[derive(Clone, Copy)]
struct Lag {
    name: &'static str,
    from: Run,
    to: Run,
    vector: u64,
    row: u64,
    column: u32,
    n: u32,
}

const HERE: Lag = Lag { name: "", from: RUN, to: RUN, vector: 0, row: 0, column: 0, n: 0 };

/// Neighbours of every kind. The last three differ in the top bits of the counter sum only, where a hash mixes least.
const LAGS: [Lag; 18] = [
    Lag { name: "column", column: 1, ..HERE },
    Lag { name: "column + 2", column: 2, ..HERE },
    Lag { name: "block of 32 columns", column: 32, ..HERE },
    Lag { name: "ordinal", n: 1, ..HERE },
    Lag { name: "ordinal + 2", n: 2, ..HERE },
    Lag { name: "word of a train", n: 24, ..HERE },
    Lag { name: "row", row: 1, ..HERE },
    Lag { name: "row + 2", row: 2, ..HERE },
    Lag { name: "vector", vector: 1, ..HERE },
    Lag { name: "mini-batch of 10", vector: 10, ..HERE },
    Lag { name: "array", to: Run { array: 1, ..RUN }, ..HERE },
    Lag { name: "seed", to: Run { seed: 2, ..RUN }, ..HERE },
    Lag { name: "seeds 0 and 1", from: Run { seed: 0, ..RUN }, ..HERE },
    Lag { name: "path fc1, fc2", to: Run { path: "fc2", ..RUN }, ..HERE },
    Lag { name: "path 0, 1", from: Run { path: "0", ..RUN }, to: Run { path: "1", ..RUN }, ..HERE },
    Lag { name: "top six bits", column: 7_199, n: 1_013, ..HERE },
    Lag { name: "top bit", column: 22_158, n: 15_526, ..HERE },
    Lag { name: "top two bits", column: 11_079, n: 7_763, ..HERE },
];

/// All pairs of a lag over [`SHAPE`].
fn pairs<T, R: Fn(u32, u32) -> T>(lag: Lag, draw: &impl Fn(Run, u64) -> R, mut see: impl FnMut(T, T)) {
    for vector in 0..SHAPE.vectors {
        for row in 0..SHAPE.rows {
            let here = draw(Run { vector: lag.from.vector + vector, ..lag.from }, row);
            let there = draw(Run { vector: lag.to.vector + vector + lag.vector, ..lag.to }, row + lag.row);
            for column in 0..SHAPE.columns {
                for n in 0..SHAPE.n {
                    see(here(column, n), there(column + lag.column, n + lag.n));
                }
            }
        }
    }
}

// ---- Normals: one at a time

const TEN_MILLION: Shape = Shape { vectors: 10, rows: 50, columns: 500, n: 40 };

/// Mean, variance, skewness and kurtosis by the Hermite polynomials, which are uncorrelated with variances 1, 2, 6 and 24.
fn moments<R: Fn(u32, u32) -> f32>(draw: impl Fn(Run, u64) -> R) -> Worst {
    let mut sums = [0f64; 4];
    each(TEN_MILLION, &draw, |z| {
        let z = z as f64;
        let z2 = z * z;
        sums[0] += z;
        sums[1] += z2 - 1.0;
        sums[2] += (z2 - 3.0) * z;
        sums[3] += (z2 - 6.0) * z2 + 3.0;
    });
    let mut worst = Worst::default();
    for ((sum, variance), name) in sums.into_iter().zip([1.0, 2.0, 6.0, 24.0]).zip(["mean", "variance", "skewness", "kurtosis"]) {
        worst.see(sum / (variance * TEN_MILLION.count() as f64).sqrt(), || name.to_string());
    }
    worst
}

#[test]
fn moments_are_normal() {
    let worst = moments(pulses);
    eprintln!("moments: {worst}");
    assert!(worst.z < Z, "{worst}");
    let control = moments(scaled);
    assert!(control.z > Z, "a scale of 1.002 must be noticed: {control}");
}

/// sqrt(n) D of Kolmogorov and Smirnov.
fn kolmogorov<R: Fn(u32, u32) -> f32>(draw: impl Fn(Run, u64) -> R) -> f64 {
    let mut values = Vec::with_capacity(TEN_MILLION.count());
    each(TEN_MILLION, &draw, |z| values.push(z));
    values.sort_unstable_by(f32::total_cmp);
    let n = values.len() as f64;
    let distance = values.iter().enumerate().fold(0.0, |d: f64, (k, z)| {
        let p = cdf(*z as f64);
        d.max(p - k as f64 / n).max((k + 1) as f64 / n - p)
    });
    n.sqrt() * distance
}

#[test]
fn distribution_is_normal() {
    let real = kolmogorov(pulses);
    eprintln!("Kolmogorov: {real:.3}");
    assert!(real < KOLMOGOROV, "{real}");
    let control = kolmogorov(twelve_uniforms);
    assert!(control > KOLMOGOROV, "sums of 12 uniforms must be noticed: {control}");
}

const TAILS: [f64; 5] = [2.0, 3.0, 4.0, 4.5, 5.0];

/// Numbers beyond each of [`TAILS`] on each side, in units of the square root of what is expected.
fn tails<R: Fn(u32, u32) -> f32>(shape: Shape, draw: impl Fn(Run, u64) -> R) -> Worst {
    let mut beyond = [[0u64; 5]; 2];
    each(shape, &draw, |z| {
        if z.abs() >= 2.0 {
            let side = &mut beyond[(z < 0.0) as usize];
            TAILS.iter().zip(side).for_each(|(tail, count)| *count += (z.abs() >= *tail as f32) as u64);
        }
    });
    let mut worst = Worst::default();
    for (at, tail) in TAILS.iter().enumerate() {
        let expected = shape.count() as f64 * 0.5 * erfc(tail * std::f64::consts::FRAC_1_SQRT_2);
        for (side, sign) in beyond.iter().zip([1.0, -1.0]) {
            worst.see((side[at] as f64 - expected) / expected.sqrt(), || format!("{} beyond {} for {expected:.1}", side[at], sign * tail));
        }
        let both = beyond[0][at] + beyond[1][at];
        worst.see((both as f64 - 2.0 * expected) / (2.0 * expected).sqrt(), || format!("{both} beyond {tail} for {:.1}", 2.0 * expected));
    }
    worst
}

/// A hundred million numbers, so that 57 beyond 5 are expected and too few can be noticed as well.
#[test]
fn tails_are_normal() {
    let worst = tails(Shape { vectors: 100, ..TEN_MILLION }, pulses);
    eprintln!("tails: {worst}");
    assert!(worst.z < Z, "{worst}");
    let control = tails(TEN_MILLION, twelve_uniforms);
    assert!(control.z > Z, "sums of 12 uniforms must be noticed: {control}");
}

/// The point that normals `n` and `n + 1` of a cell make has an angle and an `exp(-radius^2 / 2)` that are uniform and independent.
fn isotropy<R: Fn(u32, u32) -> f32>(draw: impl Fn(Run, u64) -> R) -> f64 {
    let mut counts = vec![0u32; 32 * 16];
    let ordinals = LAGS.into_iter().find(|lag| lag.name == "ordinal").expect("a lag of one ordinal");
    pairs(ordinals, &draw, |x, y| {
        let (x, y) = (x as f64, y as f64);
        let angle = ((y.atan2(x) / std::f64::consts::TAU).rem_euclid(1.0) * 32.0) as usize % 32;
        let radius = ((-0.5 * (x * x + y * y)).exp() * 16.0) as usize;
        counts[angle * 16 + radius.min(15)] += 1;
    });
    flat_z(&counts)
}

#[test]
fn neighbouring_normals_are_isotropic() {
    let real = isotropy(pulses);
    eprintln!("neighbours: {real:.2}");
    assert!(real.abs() < Z, "{real}");
    // One bit for the signs of two.
    let control = isotropy(|run, row| {
        let z = pulses(run, row);
        move |column, n| z(column, n).copysign(z(column, n & !1))
    });
    assert!(control.abs() > Z, "a shared sign must be noticed: {control}");
    let control = isotropy(|run, row| {
        let z = pulses(run, row);
        move |column, n| z(column, n) + 0.01 * z(column, n + 1)
    });
    assert!(control.abs() > Z, "a leak of 1 % must be noticed: {control}");
}

// ---- Normals: neighbours

/// Correlations of neighbours, of their squares, and of either square with the other.
fn correlations<R: Fn(u32, u32) -> f32>(draw: impl Fn(Run, u64) -> R, lags: &[Lag]) -> Worst {
    let mut worst = Worst::default();
    for lag in lags {
        let mut sums = [0f64; 4];
        pairs(*lag, &draw, |a, b| {
            let (a, b) = (a as f64, b as f64);
            let (a2, b2) = (a * a - 1.0, b * b - 1.0);
            sums[0] += a * b;
            sums[1] += a2 * b2;
            sums[2] += a2 * b;
            sums[3] += a * b2;
        });
        for ((sum, variance), name) in sums.into_iter().zip([1.0, 4.0, 2.0, 2.0]).zip(["z z", "z^2 z^2", "z^2 z", "z z^2"]) {
            worst.see(sum / (variance * SHAPE.count() as f64).sqrt(), || format!("{name}, {}", lag.name));
        }
    }
    worst
}

#[test]
fn neighbouring_normals_are_uncorrelated() {
    const { assert!(SHAPE.vectors * SHAPE.rows * SHAPE.columns as u64 * SHAPE.n as u64 >= 6_250_000) };
    let worst = correlations(pulses, &LAGS);
    eprintln!("correlations: {worst}");
    assert!(worst.z < Z, "{worst}");
    for (name, control) in [("a leak of 0.3 %", correlations(leaking, &LAGS[..1])), ("a weak hash", correlations(weak_normals, &LAGS))] {
        eprintln!("control, {name}: {control}");
        assert!(control.z > Z, "{name} must be noticed: {control}");
    }
}

// ---- Words

/// Bytes and bits of words, one at a time.
fn flatness<R: Fn(u32, u32) -> u32>(draw: impl Fn(Run, u64) -> R) -> Worst {
    let mut bytes = vec![[0u32; 256]; 4];
    each(TEN_MILLION, &draw, |word| word.to_le_bytes().iter().zip(&mut bytes).for_each(|(byte, counts)| counts[*byte as usize] += 1));
    let mut worst = Worst::default();
    let n = TEN_MILLION.count() as f64;
    for (at, counts) in bytes.iter().enumerate() {
        worst.see(flat_z(counts), || format!("byte {at}"));
        for bit in 0..8 {
            let ones: u32 = (0..256).filter(|value| value >> bit & 1 == 1).map(|value| counts[value]).sum();
            worst.see((2.0 * ones as f64 - n) / n.sqrt(), || format!("bit {}", 8 * at + bit));
        }
    }
    worst
}

#[test]
fn words_are_uniform() {
    for (name, worst) in [("pulses", flatness(words)), ("trains", flatness(|run, row| trains(Run { purpose: TRAIN_X, ..run }, row)))] {
        eprintln!("flatness of {name}: {worst}");
        assert!(worst.z < Z, "{name}: {worst}");
    }
    let control = flatness(sticky);
    assert!(control.z > Z, "a bit set too often must be noticed: {control}");
}

/// `uniform` over 4096 equal cells.
fn uniformity<R: Fn(u32, u32) -> f32>(draw: impl Fn(Run, u64) -> R) -> f64 {
    let mut counts = vec![0u32; 4096];
    each(TEN_MILLION, &draw, |u| {
        assert!((0.0..1.0).contains(&u), "{u}");
        counts[(u * 4096.0) as usize] += 1;
    });
    flat_z(&counts)
}

#[test]
fn uniforms_are_uniform() {
    let uniform = |run: Run, row: u64| {
        let key = run.key().child(row);
        move |column: u32, n: u32| key.uniform(column, n)
    };
    let real = uniformity(uniform);
    eprintln!("uniformity: {real:.2}");
    assert!(real.abs() < Z, "{real}");
    let control = uniformity(|run, row| {
        let u = uniform(run, row);
        move |column, n| u(column, n).powf(1.01)
    });
    assert!(control > Z, "u^1.01 must be noticed: {control}");
}

/// Correlation of every bit with every bit of the neighbour, and the chi-square of every pair of bytes at one place.
fn bit_correlations<R: Fn(u32, u32) -> u32>(draw: impl Fn(Run, u64) -> R, lags: &[Lag]) -> [Worst; 2] {
    let (mut bits, mut bytes) = (Worst::default(), Worst::default());
    for lag in lags {
        let mut unequal = vec![[0u32; 32]; 32];
        let mut byte_pairs = vec![vec![0u32; 65_536]; 4];
        // 64 pairs at a time: word k of a plane holds the bits k of 64 words.
        let (mut filled, mut a_planes, mut b_planes) = (0, [0u64; 32], [0u64; 32]);
        pairs(*lag, &draw, |a: u32, b: u32| {
            for (place, counts) in byte_pairs.iter_mut().enumerate() {
                let (x, y) = (a >> (8 * place) & 255, b >> (8 * place) & 255);
                counts[(x << 8 | y) as usize] += 1;
            }
            for k in 0..32 {
                a_planes[k] |= ((a >> k & 1) as u64) << filled;
                b_planes[k] |= ((b >> k & 1) as u64) << filled;
            }
            filled += 1;
            if filled == 64 {
                for (row, a) in unequal.iter_mut().zip(&a_planes) {
                    row.iter_mut().zip(&b_planes).for_each(|(count, b)| *count += (a ^ b).count_ones());
                }
                (filled, a_planes, b_planes) = (0, [0; 32], [0; 32]);
            }
        });
        assert_eq!(filled, 0, "the shape must be a multiple of 64");
        let n = SHAPE.count() as f64;
        for (j, row) in unequal.iter().enumerate() {
            for (k, count) in row.iter().enumerate() {
                bits.see((2.0 * *count as f64 - n) / n.sqrt(), || format!("bits {j} and {k}, {}", lag.name));
            }
        }
        for (place, counts) in byte_pairs.iter().enumerate() {
            bytes.see(flat_z(counts), || format!("bytes {place}, {}", lag.name));
        }
    }
    [bits, bytes]
}

#[test]
fn neighbouring_words_are_independent() {
    // Trains, with the coincidence of both sides (x against d) beside the lags of the kernel. For the top bits alone see
    // `counters_share_no_words`.
    let x = Run { purpose: TRAIN_X, ..RUN };
    let d = Run { purpose: TRAIN_D, ..RUN };
    let lags: Vec<Lag> = LAGS[..15]
        .iter()
        .map(|lag| Lag { from: Run { purpose: TRAIN_X, ..lag.from }, to: Run { purpose: TRAIN_X, ..lag.to }, ..*lag })
        .chain([Lag { name: "x and d", from: x, to: d, ..HERE }])
        .collect();
    for (name, [bits, bytes]) in [("trains", bit_correlations(trains, &lags)), ("pulses", bit_correlations(words, &LAGS[15..16]))] {
        eprintln!("{name}, bits: {bits}; bytes: {bytes}");
        assert!(bits.comparisons <= 20_000 && bits.z < Z_BITS, "{name}: {bits}");
        assert!(bytes.z < Z, "{name}: {bytes}");
    }
    let [bits, bytes] = bit_correlations(weak_words, &LAGS[..1]);
    eprintln!("control, bits: {bits}; bytes: {bytes}");
    assert!(bits.z > Z_BITS, "a weak hash must be noticed: {bits}");
    assert!(bytes.z > Z, "a weak hash must be noticed: {bytes}");
}

/// Pairs of equal words among 2^22 of many rows against the Poisson law. Words of one key are a bijection of their counters and never
/// equal, so pairs within a row do not count.
fn collisions<R: Fn(u32, u32) -> u32>(draw: impl Fn(Run, u64) -> R) -> f64 {
    let shape = Shape { vectors: 16, rows: 1024, columns: 128, n: 2 };
    let mut values = Vec::with_capacity(shape.count());
    each(shape, &draw, |word| values.push(word));
    values.sort_unstable();
    let pairs: usize = values.chunk_by(|a, b| a == b).map(|equal| equal.len() * (equal.len() - 1) / 2).sum();
    let expected = (values.len() as f64) * (values.len() - 256) as f64 / 2f64.powi(33);
    (pairs as f64 - expected) / expected.sqrt()
}

/// Equal spacings between 4096 sorted words of 64 rows, in 500 vectors: Poisson with mean 4096^3 / 2^34 = 4 each.
fn birthday_spacings<R: Fn(u32, u32) -> u32>(draw: impl Fn(Run, u64) -> R) -> f64 {
    let mut equal = 0;
    for vector in 0..500 {
        let run = Run { vector, ..RUN };
        let mut days: Vec<u32> = (0..64).map(|row| draw(run, row)).flat_map(|word| (0..64).map(move |column| word(column, 0))).collect();
        days.sort_unstable();
        let mut spacings: Vec<u32> = days.windows(2).map(|pair| pair[1] - pair[0]).chain([days[0].wrapping_sub(days[4095])]).collect();
        spacings.sort_unstable();
        equal += spacings.windows(2).filter(|pair| pair[0] == pair[1]).count();
    }
    (equal as f64 - 2000.0) / 2000f64.sqrt()
}

#[test]
fn rows_collide_as_often_as_chance_has_it() {
    for (name, suite) in [("collisions", collisions as fn(_) -> f64), ("birthday spacings", birthday_spacings)] {
        let real = suite(words);
        eprintln!("{name}: {real:.2}");
        assert!(real.abs() < Z, "{name}: {real}");
    }
    for (name, control) in [("collisions", collisions(raw_key_words)), ("birthday spacings", birthday_spacings(weak_words))] {
        eprintln!("control, {name}: {control:.2}");
        assert!(control > Z, "{name} under raw xors must be noticed: {control}");
    }
}

/// How many rows of all the streams of a few networks have the first two words of another one.
fn repeated_rows<R: Fn(u32, u32) -> u32>(draw: impl Fn(Run, u64) -> R) -> usize {
    let mut first = Vec::new();
    for seed in 0..16 {
        for path in ["0", "1", "10", "fc1", "fc2"] {
            for (array, purpose) in (0..3).flat_map(|array| (0..11).map(move |purpose| (array, purpose))) {
                for vector in [0, 1, 2, 10, 4096] {
                    for row in 0..64 {
                        let word = draw(Run { seed, path, array, purpose, vector }, row);
                        first.push((word(0, 0) as u64) << 32 | word(1, 0) as u64);
                    }
                }
            }
        }
    }
    let all = first.len();
    first.sort_unstable();
    first.dedup();
    all - first.len()
}

/// 845,000 rows: chance repeats one with probability 2e-8.
#[test]
fn no_two_rows_share_a_stream() {
    assert_eq!(repeated_rows(words), 0);
    assert!(repeated_rows(raw_key_words) > 0, "keys made by xor must be noticed: runs share their rows");
}
