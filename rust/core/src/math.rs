//! The functions of this crate: `ln`, `exp`, `expm1`, `pow`, `sin`, `cos`, `tanh`, `sigmoid` in `f32`.
//!
//! Built from IEEE `+ - * /` and integer operations in a fixed written order and never fused, so every processor, every
//! vector width and the NumPy reference give the same bits. Polynomials are minimax fits; `tests/functions.rs` holds the error bounds.

use std::f32::consts::LOG2_E;

/// ln 2 with so few bits that `n * LN2_HI` is exact for |n| < 2^14, and what is missing.
const LN2_HI: f32 = 0.693_359_4;
const LN2_LO: f32 = -2.121_944_4e-4;
/// Adding and subtracting 1.5 * 2^23 rounds to the nearest integer, ties to even, for |x| < 2^22.
const ROUND: f32 = 12_582_912.0;
/// pi / 2 in three parts of few bits (Cody and Waite).
const PIO2: [f32; 3] = [1.570_312_5, 4.837_513e-4, 7.549_79e-8];

const LN: [f32; 7] = [0.333_340_08, -0.250_024_65, 0.199_591_52, -0.165_401_19, 0.149_181_74, -0.145_596_64, 0.090_622_574];
const EXP: [f32; 5] = [0.5, 0.166_666_66, 0.041_659_977, 0.008_357_27, 0.001_447_423_8];
const SIN: [f32; 3] = [-0.166_666_67, 0.008_332_44, -1.952_751_5e-4];
const COS: [f32; 3] = [0.041_666_668, -0.001_388_819_2, 2.452_031_2e-5];

/// The natural logarithm of a positive normal number; zero counts as 2^-126 or so, negative numbers have no meaning here.
#[inline(always)]
pub fn ln(x: f32) -> f32 {
    // x = m 2^e with m in [1/sqrt 2, sqrt 2), so that f = m - 1 is small and ln is accurate around 1.
    let i = x.to_bits().wrapping_sub(0x3F35_04F3);
    let e = ((i as i32) >> 23) as f32;
    let f = f32::from_bits((i & 0x007F_FFFF) + 0x3F35_04F3) - 1.0;
    let f2 = f * f;
    let low = (LN[0] + f * LN[1]) + f2 * (LN[2] + f * LN[3]);
    let p = low + (f2 * f2) * ((LN[4] + f * LN[5]) + f2 * LN[6]);
    e * LN2_HI + (f + (((f2 * f) * p - 0.5 * f2) + e * LN2_LO))
}

/// `(e^r - 1, 2^n)` with `x = n ln 2 + r`, |r| <= ln 2 / 2, for |x| <= 87.
#[inline(always)]
fn exp_parts(x: f32) -> (f32, f32) {
    let t = x * LOG2_E + ROUND;
    let n = t - ROUND;
    let r = (x - n * LN2_HI) - n * LN2_LO;
    let r2 = r * r;
    let q = ((EXP[0] + r * EXP[1]) + r2 * (EXP[2] + r * EXP[3])) + (r2 * r2) * EXP[4];
    let scale = f32::from_bits(t.to_bits().wrapping_sub(0x4B40_0000).wrapping_add(127) << 23);
    (r + r2 * q, scale)
}

/// `e^x`; saturates at `e^87` and is zero below -87.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    let c = if x > 87.0 { 87.0 } else { x };
    let c = if c < -87.0 { -87.0 } else { c };
    let (em, scale) = exp_parts(c);
    let y = (1.0 + em) * scale;
    if x < -87.0 { 0.0 } else { y }
}

/// `e^x - 1` without cancellation; saturates at `e^87`.
#[inline(always)]
pub fn expm1(x: f32) -> f32 {
    let c = if x > 87.0 { 87.0 } else { x };
    let c = if c < -87.0 { -87.0 } else { c };
    let (em, scale) = exp_parts(c);
    scale * em + (scale - 1.0)
}

/// `x^y` for x >= 0 as `exp(y ln x)`: the relative error grows with |y ln x|. `0^y` is 0.
#[inline(always)]
pub fn pow(x: f32, y: f32) -> f32 {
    let p = exp(y * ln(x));
    if x > 0.0 { p } else { 0.0 }
}

/// Sine and cosine of |r| <= pi / 4.
#[inline(always)]
fn sin_cos_small(r: f32) -> (f32, f32) {
    let t = r * r;
    let s = r + (r * t) * ((SIN[0] + t * SIN[1]) + (t * t) * SIN[2]);
    let c = (1.0 - 0.5 * t) + (t * t) * ((COS[0] + t * COS[1]) + (t * t) * COS[2]);
    (s, c)
}

/// `sin(x + quarter * pi/2)` for |x| <= 8192.
#[inline(always)]
fn sine(x: f32, quarter: u32) -> f32 {
    let t = x * std::f32::consts::FRAC_2_PI + ROUND;
    let n = t - ROUND;
    let (s, c) = sin_cos_small(((x - n * PIO2[0]) - n * PIO2[1]) - n * PIO2[2]);
    let quadrant = t.to_bits().wrapping_add(quarter);
    let y = if quadrant & 1 == 0 { s } else { c };
    f32::from_bits(y.to_bits() ^ ((quadrant & 2) << 30))
}

/// The sine of |x| <= 8192 (radians).
#[inline(always)]
pub fn sin(x: f32) -> f32 {
    sine(x, 0)
}

/// The cosine of |x| <= 8192 (radians).
#[inline(always)]
pub fn cos(x: f32) -> f32 {
    sine(x, 1)
}

/// The hyperbolic tangent.
#[inline(always)]
pub fn tanh(x: f32) -> f32 {
    let a = x.abs();
    let e = expm1(2.0 * if a > 10.0 { 10.0 } else { a });
    let y = e / (e + 2.0);
    f32::from_bits(y.to_bits() | (x.to_bits() & 0x8000_0000))
}

/// `1 / (1 + e^-x)`.
#[inline(always)]
pub fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// Rounds to the nearest integer, ties to even, as `f32::round_ties_even` does, but inline everywhere.
#[inline(always)]
pub(crate) fn rint(x: f32) -> f32 {
    let y = (x + ROUND) - ROUND;
    // From 2^22 on the trick loses bits; those inputs are integers or halves of no interest to a converter: keep them.
    if x.abs() < 4_194_304.0 { y } else { x }
}

/// A setting in both widths: a choice between two settings of 64 bits would halve the lanes of a kernel that works on 32.
#[derive(Debug, Clone, Copy)]
pub struct Setting(pub f64, f32);

impl From<f64> for Setting {
    fn from(v: f64) -> Self {
        Self(v, v as f32)
    }
}

/// The numbers in which responses are written: `f32` in the kernel, `f64` for theory and tables.
pub trait Real:
    Copy
    + PartialOrd
    + std::ops::Add<Output = Self>
    + std::ops::Sub<Output = Self>
    + std::ops::Mul<Output = Self>
    + std::ops::Div<Output = Self>
{
    /// A constant.
    fn lit(v: f64) -> Self;
    /// A setting.
    fn setting(v: Setting) -> Self;
    /// `self^y` for a base that is not negative.
    fn pow(self, y: Self) -> Self;
    /// `e^self - 1`.
    fn expm1(self) -> Self;
    /// `up` where the pulse goes up, `down` elsewhere; `mask` is all ones or zero.
    fn select(mask: u32, up: Self, down: Self) -> Self;
    /// As `f64`, for table look-ups.
    fn f64(self) -> f64;
}

impl Real for f32 {
    #[inline(always)]
    fn lit(v: f64) -> f32 {
        v as f32
    }
    #[inline(always)]
    fn setting(v: Setting) -> f32 {
        v.1
    }
    #[inline(always)]
    fn pow(self, y: f32) -> f32 {
        pow(self, y)
    }
    #[inline(always)]
    fn expm1(self) -> f32 {
        expm1(self)
    }
    #[inline(always)]
    fn select(mask: u32, up: f32, down: f32) -> f32 {
        crate::simd::select(mask, up, down)
    }
    #[inline(always)]
    fn f64(self) -> f64 {
        self as f64
    }
}

impl Real for f64 {
    fn lit(v: f64) -> f64 {
        v
    }
    fn setting(v: Setting) -> f64 {
        v.0
    }
    fn pow(self, y: f64) -> f64 {
        self.powf(y)
    }
    fn expm1(self) -> f64 {
        self.exp_m1()
    }
    fn select(mask: u32, up: f64, down: f64) -> f64 {
        if mask != 0 { up } else { down }
    }
    fn f64(self) -> f64 {
        self
    }
}
