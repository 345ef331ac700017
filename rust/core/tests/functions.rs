//! Error bounds of the crate's functions against the `f64` functions of the standard library.
//!
//! Errors are counted in U = 2^-24, the largest relative error of one rounding. Every bound is derived: the sum of what the roundings and
//! the polynomial can do where the result is smallest against them. The largest error measured over one in eleven of all inputs stands
//! beside it.

use ohmgrad_core::math::{cos, exp, expm1, ln, pow, sigmoid, sin, tanh};

const U: f64 = 1.0 / 16_777_216.0;

/// Relative. Worst just below x = sqrt(1/2), where 0.347 - ln 2 cancels: f^2/2 0.09 U, f^3 p (7 roundings of 0.018) 0.13 U, their
/// difference 0.07 U, the two last sums 0.35 U each, the polynomial 0.21 U: 1.2 U of 0.347. Measured 1.94.
const LN: f64 = 3.5;
/// Relative. Worst at r = -ln 2 / 2, where e^r is 0.707: r 0.26 U, then r^2 q (4.5 roundings of 0.054) 0.24 U, r + r^2 q 0.29 U, the
/// polynomial 0.48 U, 1 + em 0.5 U, all over 0.707. Measured 1.93.
const EXP: f64 = 2.6;
/// Relative. Worst at r = -ln 2 / 2 with n = 1, where 2 em + 1 = 0.414: em carries 0.18 U from r, 0.12 U from r^2 q, 0.25 U from the sum,
/// 0.48 U from the polynomial (half units of their binades); twice that and the last rounding of 0.25 U over 0.414 are 5.6 U. Measured
/// 3.62.
const EXPM1: f64 = 6.0;
/// Relative. e / (e + 2) passes 2 / (e + 2) of e's error on: 5 of the 6 U where those arise (e = 0.414); a sum and a division. Measured
/// 4.19.
const TANH: f64 = 7.0;
/// Relative. exp, a sum, a division. Measured 2.76.
const SIGMOID: f64 = 4.6;
/// Absolute. r 0.5 U of which 0.7 arrives, 1 - r^2/2 0.75 U, the fourth-order term 0.06 U, the last sum 0.5 U (cosine at pi/4; the sine has
/// less). Measured 1.58.
const SINE: f64 = 1.7;
/// Relative, |x| <= pi/4: r is exact; the last sum 1 U, the cubic term (4.3 roundings of r^2/6) 0.3 U, the polynomial 0.34 U. Measured
/// 1.47.
const SINE_SMALL: f64 = 1.7;
/// Relative, as a function of |y ln x|: exp, and the errors of ln and of the product times |y ln x|. Measured 0.6 of it.
fn pow_bound(t: f64) -> f64 {
    EXP + (LN + 1.0) * t
}

/// Floats in their order.
fn index(x: f32) -> i64 {
    let magnitude = (x.to_bits() & 0x7FFF_FFFF) as i64;
    if x.is_sign_negative() { -magnitude } else { magnitude }
}

fn float(index: i64) -> f32 {
    let magnitude = f32::from_bits(index.unsigned_abs() as u32);
    if index < 0 { -magnitude } else { magnitude }
}

/// Every `stride`-th float of `[from, to]`, and `to`.
fn sweep(from: f32, to: f32, stride: usize) -> impl Iterator<Item = f32> {
    (index(from)..=index(to)).step_by(stride).map(float).chain([to])
}

/// The largest error, in units of `bound(x)`, over sweeps of at least 4 million inputs; the error is divided by `scale(exact value)`.
fn worst(
    sweeps: &[(f32, f32, usize)],
    f: impl Fn(f32) -> f32,
    exact: impl Fn(f64) -> f64,
    scale: impl Fn(f64) -> f64,
    bound: impl Fn(f64) -> f64,
) -> f64 {
    let (mut inputs, mut worst) = (0, 0.0);
    for &(from, to, stride) in sweeps {
        for x in sweep(from, to, stride) {
            let (y, t) = (f(x) as f64, exact(x as f64));
            let error = if y == t { 0.0 } else { (y - t).abs() / (scale(t) * bound(x as f64) * U) };
            // Not `max`: it would lose a NaN.
            worst = if error <= worst { worst } else { error };
            inputs += 1;
        }
    }
    assert!(inputs >= 4_000_000, "{inputs}");
    worst
}

/// All floats of the range coarsely (most of them are tiny), the binades that matter finely.
const EXP_SWEEPS: [(f32, f32, usize); 3] = [(-87.0, 87.0, 1009), (-87.0, -0.01, 53), (0.01, 87.0, 53)];
const LN_SWEEPS: [(f32, f32, usize); 2] = [(f32::MIN_POSITIVE, f32::MAX, 1009), (0.35, 2.9, 11)];
const SINE_SWEEPS: [(f32, f32, usize); 3] = [(-8192.0, 8192.0, 1009), (-8192.0, -0.01, 83), (0.01, 8192.0, 83)];

fn relative(exact: f64) -> f64 {
    exact.abs()
}

fn absolute(_: f64) -> f64 {
    1.0
}

fn ln_error(f: impl Fn(f32) -> f32) -> f64 {
    worst(&LN_SWEEPS, f, f64::ln, relative, |_| LN)
}

fn exp_error(f: impl Fn(f32) -> f32) -> f64 {
    worst(&EXP_SWEEPS, f, f64::exp, relative, |_| EXP)
}

fn expm1_error(f: impl Fn(f32) -> f32) -> f64 {
    worst(&EXP_SWEEPS, f, f64::exp_m1, relative, |_| EXPM1)
}

fn sin_error(f: impl Fn(f32) -> f32) -> f64 {
    worst(&SINE_SWEEPS, f, f64::sin, absolute, |_| SINE)
}

fn cos_error(f: impl Fn(f32) -> f32) -> f64 {
    worst(&SINE_SWEEPS, f, f64::cos, absolute, |_| SINE)
}

fn tanh_error(f: impl Fn(f32) -> f32) -> f64 {
    worst(&[(-20.0, 20.0, 1009), (-10.0, -0.01, 41), (0.01, 10.0, 41)], f, f64::tanh, relative, |_| TANH)
}

fn sigmoid_error(f: impl Fn(f32) -> f32) -> f64 {
    // Below -87 the result is subnormal; see `saturation`.
    worst(&EXP_SWEEPS, f, |x| 1.0 / (1.0 + (-x).exp()), relative, |_| SIGMOID)
}

#[test]
fn ln_is_within_its_bound() {
    let error = ln_error(ln);
    assert!(error <= 1.0, "{error} of the bound");
    assert_eq!(ln(1.0).to_bits(), 0);
    assert_eq!(ln(0.0), -127.0 * std::f32::consts::LN_2, "zero is the smallest input, not -inf");
    assert!(ln(f32::MIN_POSITIVE) > ln(0.0) && ln(f32::MAX) < 128.0 * std::f32::consts::LN_2 + 1e-5);
}

#[test]
fn exponentials_are_within_their_bounds() {
    let errors = [exp_error(exp), expm1_error(expm1)];
    assert!(errors.iter().all(|error| *error <= 1.0), "{errors:?} of the bounds");
    assert_eq!((exp(0.0), exp(-0.0), expm1(0.0), expm1(-0.0)), (1.0, 1.0, 0.0, 0.0));
    // Without cancellation down to the smallest numbers, and subnormal ones pass through.
    for x in [1e-30f32, -1e-30, f32::MIN_POSITIVE, 1e-42, f32::from_bits(1)] {
        assert_eq!(expm1(x), x);
    }
}

#[test]
fn sines_are_within_their_bounds() {
    let small = worst(&[(-0.785, 0.785, 1009), (-0.785, -0.01, 53), (0.01, 0.785, 53)], sin, f64::sin, relative, |_| SINE_SMALL);
    let errors = [sin_error(sin), cos_error(cos), small];
    assert!(errors.iter().all(|error| *error <= 1.0), "{errors:?} of the bounds");
    assert_eq!((sin(0.0), cos(0.0), cos(-0.0)), (0.0, 1.0, 1.0));
    for x in sweep(-8192.0, 8192.0, 10_007) {
        assert!(sin(x).abs() <= 1.0 && cos(x).abs() <= 1.0, "{x}");
        assert_eq!((sin(-x), cos(-x)), (-sin(x), cos(x)), "{x}");
    }
}

#[test]
fn squashing_functions_are_within_their_bounds() {
    let errors = [tanh_error(tanh), sigmoid_error(sigmoid)];
    assert!(errors.iter().all(|error| *error <= 1.0), "{errors:?} of the bounds");
    assert_eq!((tanh(0.0).to_bits(), tanh(-0.0).to_bits(), sigmoid(0.0), sigmoid(-0.0)), (0, 1 << 31, 0.5, 0.5));
    for x in sweep(-20.0, 20.0, 10_007) {
        assert_eq!(tanh(-x), -tanh(x), "{x}");
    }
}

/// Largest error of `f(x, y)` as a part of the bound: wherever `y ln x` lies in the range of exp, and over the bases and exponents of
/// devices.
fn pow_error(f: impl Fn(f32, f32) -> f32) -> f64 {
    let golden = |k: usize| (k as f64 * 0.618_033_988_749_895).fract();
    let whole = sweep(f32::MIN_POSITIVE, f32::MAX, 1009).enumerate().map(|(k, x)| {
        let t = 172.0 * golden(k) - 86.0;
        (x, if x == 1.0 { t as f32 } else { (t / (x as f64).ln()) as f32 })
    });
    let devices = sweep(1e-4, 2.0, 53).enumerate().map(|(k, x)| (x, (0.1 + 7.9 * golden(k)) as f32));
    let (mut worst, mut inputs) = (0.0, 0);
    for (x, y) in whole.chain(devices) {
        let t = y as f64 * (x as f64).ln();
        let error = (f(x, y) as f64 / (x as f64).powf(y as f64) - 1.0).abs() / (pow_bound(t.abs()) * U);
        worst = if error <= worst { worst } else { error };
        inputs += 1;
    }
    assert!(inputs >= 4_000_000, "{inputs}");
    worst
}

#[test]
fn pow_is_within_its_bound() {
    let error = pow_error(pow);
    assert!(error <= 1.0, "{error} of the bound");
    for y in [0.0, 1e-3, 0.5, 1.0, 3.7, 50.0, -1.0] {
        assert_eq!(pow(0.0, y), 0.0, "0^{y}");
        assert_eq!(pow(1.0, y), 1.0, "1^{y}");
    }
    for x in [1e-30, 0.3, 1.0, 7.0] {
        assert_eq!(pow(x, 0.0), 1.0, "{x}^0");
    }
}

/// Nothing beyond the bounds of a range differs from the value at the bound, nothing within exceeds it, and no function falls where it
/// should rise by more than its error bound allows (`ln`, `exp`, `expm1` and `sigmoid` not at all).
#[test]
fn saturation_is_monotone() {
    let beyond = |from: f32| sweep(from, f32::MAX, 1_000_003).chain([f32::INFINITY]);
    let top = exp(87.0);
    assert!((top as f64 / 87f64.exp() - 1.0).abs() < EXP * U);
    for x in beyond(87.0) {
        assert_eq!((exp(x), expm1(x), pow(std::f32::consts::E, x.max(87.1))), (top, top, top), "{x}");
    }
    assert!(exp(-87.0) >= f32::MIN_POSITIVE);
    let low = sigmoid(-87.0);
    assert!(low >= f32::MIN_POSITIVE, "1 / e^87 is normal: the same on processors that flush subnormal numbers");
    for x in beyond(float(index(87.0) + 1)) {
        assert_eq!((exp(-x), expm1(-x)), (0.0, -1.0), "-{x}");
        assert!(sigmoid(-x) >= low && sigmoid(-x) == low, "-{x}");
    }
    assert!(pow(1e-30, 5.0) == 0.0 && pow(1e30, 5.0) == top && pow(1e30, -5.0) == 0.0);
    for x in beyond(9.02) {
        assert_eq!((tanh(x), tanh(-x)), (1.0, -1.0), "{x}");
    }
    for x in beyond(16.7) {
        assert_eq!(sigmoid(x), 1.0, "{x}");
    }
    rises("ln", ln, f32::MIN_POSITIVE, f32::MAX, 0.0);
    rises("exp", exp, -100.0, 100.0, 0.0);
    rises("expm1", expm1, -100.0, 100.0, 0.0);
    rises("sigmoid", sigmoid, -100.0, 100.0, 0.0);
    rises("tanh", tanh, -20.0, 20.0, 2.0 * TANH * U);
}

/// `f` never falls, between neighbouring floats and from one place to the next, by more than the relative `slack`.
fn rises(name: &str, f: impl Fn(f32) -> f32, from: f32, to: f32, slack: f64) {
    let mut last = f(from);
    for x in sweep(from, to, 1009) {
        for x in [x, float(index(x) + 1).min(to)] {
            let y = f(x);
            assert!(y as f64 >= last as f64 - slack * (last as f64).abs(), "{name} at {x}");
            last = y;
        }
    }
}

/// The crate's functions again, with coefficients to choose: the negative controls.
mod copy {
    pub const LN: [f32; 7] = [0.333_340_08, -0.250_024_65, 0.199_591_52, -0.165_401_19, 0.149_181_74, -0.145_596_64, 0.090_622_574];
    pub const EXP: [f32; 5] = [0.5, 0.166_666_66, 0.041_659_977, 0.008_357_27, 0.001_447_423_8];
    pub const SIN: [f32; 3] = [-0.166_666_67, 0.008_332_44, -1.952_751_5e-4];
    pub const COS: [f32; 3] = [0.041_666_668, -0.001_388_819_2, 2.452_031_2e-5];
    const LN2: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];
    const PIO2: [f32; 3] = [1.570_312_5, 4.837_513e-4, 7.549_79e-8];
    const ROUND: f32 = 12_582_912.0;

    pub fn ln(c: [f32; 7], x: f32) -> f32 {
        let i = x.to_bits().wrapping_sub(0x3F35_04F3);
        let e = ((i as i32) >> 23) as f32;
        let f = f32::from_bits((i & 0x007F_FFFF) + 0x3F35_04F3) - 1.0;
        let f2 = f * f;
        let p = ((c[0] + f * c[1]) + f2 * (c[2] + f * c[3])) + (f2 * f2) * ((c[4] + f * c[5]) + f2 * c[6]);
        e * LN2[0] + (f + (((f2 * f) * p - 0.5 * f2) + e * LN2[1]))
    }

    /// `(e^r - 1, 2^n)`.
    fn parts(c: [f32; 5], x: f32) -> (f32, f32) {
        let n = (x * std::f32::consts::LOG2_E + ROUND) - ROUND;
        let r = (x - n * LN2[0]) - n * LN2[1];
        let r2 = r * r;
        let q = ((c[0] + r * c[1]) + r2 * (c[2] + r * c[3])) + (r2 * r2) * c[4];
        (r + r2 * q, f32::from_bits(((n as i32 + 127) as u32) << 23))
    }

    pub fn exp(c: [f32; 5], x: f32) -> f32 {
        let (em, scale) = parts(c, x);
        (1.0 + em) * scale
    }

    pub fn expm1(c: [f32; 5], x: f32) -> f32 {
        let (em, scale) = parts(c, x);
        scale * em + (scale - 1.0)
    }

    pub fn tanh(c: [f32; 5], x: f32) -> f32 {
        let e = expm1(c, 2.0 * x.abs().min(10.0));
        (e / (e + 2.0)).copysign(x)
    }

    pub fn sigmoid(c: [f32; 5], x: f32) -> f32 {
        1.0 / (1.0 + if -x < -87.0 { 0.0 } else { exp(c, -x) })
    }

    pub fn sine(s: [f32; 3], c: [f32; 3], x: f32, quarter: i32) -> f32 {
        let n = (x * std::f32::consts::FRAC_2_PI + ROUND) - ROUND;
        let r = ((x - n * PIO2[0]) - n * PIO2[1]) - n * PIO2[2];
        let t = r * r;
        let quadrant = n as i32 + quarter;
        let y = if quadrant & 1 == 0 {
            r + (r * t) * ((s[0] + t * s[1]) + (t * t) * s[2])
        } else {
            (1.0 - 0.5 * t) + (t * t) * ((c[0] + t * c[1]) + (t * t) * c[2])
        };
        if quadrant & 2 == 0 { y } else { -y }
    }
}

/// `c` with coefficient `at` off by 0.2 %, far less than a wrong digit in the middle.
fn perturbed<const N: usize>(mut c: [f32; N], at: usize) -> [f32; N] {
    c[at] *= 1.002;
    c
}

#[test]
fn the_copies_are_copies() {
    use copy::{COS, EXP, LN, SIN};
    for x in sweep(f32::MIN_POSITIVE, f32::MAX, 10_007) {
        assert_eq!(copy::ln(LN, x), ln(x), "{x}");
    }
    for x in sweep(-87.0, 87.0, 10_007) {
        let ours = [copy::exp(EXP, x), copy::expm1(EXP, x), copy::tanh(EXP, x), copy::sigmoid(EXP, x)];
        assert_eq!(ours, [exp(x), expm1(x), tanh(x), sigmoid(x)], "{x}");
    }
    for x in sweep(-8192.0, 8192.0, 10_007) {
        assert_eq!([copy::sine(SIN, COS, x, 0), copy::sine(SIN, COS, x, 1)], [sin(x), cos(x)], "{x}");
    }
}

/// Negative control: every bound notices an error of 0.2 % in one coefficient.
#[test]
fn a_wrong_coefficient_exceeds_the_bound() {
    use copy::{COS, EXP, LN, SIN};
    for at in 0..5 {
        let c = perturbed(LN, at);
        assert!(ln_error(|x| copy::ln(c, x)) > 1.0, "ln, coefficient {at}");
    }
    for at in 0..3 {
        let c = perturbed(EXP, at);
        let exp = |x| copy::exp(c, x);
        assert!(exp_error(exp) > 1.0, "exp, coefficient {at}");
        assert!(expm1_error(|x| copy::expm1(c, x)) > 1.0, "expm1, coefficient {at}");
        assert!(tanh_error(|x| copy::tanh(c, x)) > 1.0, "tanh, coefficient {at}");
        assert!(sigmoid_error(|x| copy::sigmoid(c, x)) > 1.0, "sigmoid, coefficient {at}");
    }
    for at in 0..2 {
        let (s, c) = (perturbed(SIN, at), perturbed(COS, at));
        assert!(sin_error(|x| copy::sine(s, COS, x, 0)) > 1.0, "sin, coefficient {at}");
        assert!(cos_error(|x| copy::sine(SIN, c, x, 1)) > 1.0, "cos, coefficient {at}");
    }
    let c = perturbed(LN, 0);
    assert!(pow_error(|x, y| copy::exp(EXP, y * copy::ln(c, x))) > 1.0, "pow");
}
