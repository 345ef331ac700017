//! What statistical tests need: tails of the normal and the chi-square law, and a record of the worst of many comparisons.

use std::fmt;

/// `erfc(x)` for x >= 0 to about 1e-13: the series of positive terms of `erf` below 2.5, a continued fraction above.
pub fn erfc(x: f64) -> f64 {
    let gauss = (-x * x).exp() / std::f64::consts::PI.sqrt();
    if x < 2.5 {
        let (mut term, mut sum, mut k) = (2.0 * x, 2.0 * x, 1.0);
        while term > 1e-17 * sum {
            k += 2.0;
            term *= 2.0 * x * x / k;
            sum += term;
        }
        1.0 - gauss * sum
    } else {
        let tail = (1..=80).rev().fold(x, |tail, k| x + 0.5 * k as f64 / tail);
        gauss / tail
    }
}

/// The standard normal distribution function.
pub fn cdf(z: f64) -> f64 {
    let half = 0.5 * erfc(z.abs() * std::f64::consts::FRAC_1_SQRT_2);
    if z < 0.0 { half } else { 1.0 - half }
}

/// A chi-square value as a standard normal number (Wilson and Hilferty: good to a few percent of the tail from 30 degrees on).
pub fn chi_square_z(chi_square: f64, degrees: f64) -> f64 {
    let spread = 2.0 / (9.0 * degrees);
    ((chi_square / degrees).cbrt() - (1.0 - spread)) / spread.sqrt()
}

/// [`chi_square_z`] of counts that should be equal.
pub fn flat_z(counts: &[u32]) -> f64 {
    let expected = counts.iter().map(|&c| c as f64).sum::<f64>() / counts.len() as f64;
    let chi_square: f64 = counts.iter().map(|&c| (c as f64 - expected).powi(2) / expected).sum();
    chi_square_z(chi_square, (counts.len() - 1) as f64)
}

/// The worst of a number of comparisons, in standard errors.
#[derive(Default)]
pub struct Worst {
    /// How many there were.
    pub comparisons: usize,
    /// The largest distance.
    pub z: f64,
    what: String,
}

impl Worst {
    /// Takes note of one comparison.
    pub fn see(&mut self, z: f64, what: impl Fn() -> String) {
        self.comparisons += 1;
        assert!(z.is_finite(), "{}", what());
        if z.abs() > self.z {
            (self.z, self.what) = (z.abs(), what());
        }
    }
}

impl fmt::Display for Worst {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "worst of {} comparisons: {:.2} standard errors ({})", self.comparisons, self.z, self.what)
    }
}
