//! Exponential step: with `y = 2 a v / (w_max - w_min) + b`,
//! `q_up = max(1 - A_up e^(gamma_up y), 0)`, `q_down = max(1 - A_down e^(-gamma_down y), 0)`; a negative `A` makes steps larger than `dw_min`.
//!
//! A pulse moves the value by `dw + sigma z (m + dw_min_std_add + dw_min_std_slope |v|)`, `dw` its size and `m = |dw|` (relative noise) or the cell's
//! step (additive). The granularity is the mean of the two steps at zero; `kit_compat`: the down step alone, as in aihwkit, where `up_down`
//! shrinks it.

use super::{expm1, inverse};
use crate::device::{Cell, Facts, LARGEST, Model, NOT_NEGATIVE, Noise, POSITIVE, read_steps};
use crate::error::{Error, Result};
use crate::fields::Fields;
use crate::math::{Real, Setting};
use crate::simd::select;

/// See the head of this file.
#[derive(Debug, Clone)]
pub struct ExpStep {
    size: [Setting; 2],
    /// That of down steps is negative.
    gamma: [Setting; 2],
    a: f64,
    b: f64,
    noise_add: f32,
    noise_slope: f32,
    steps: (f64, f64),
    granularity: f64,
}

impl ExpStep {
    pub(super) fn new(fields: &mut Fields) -> Result<Self> {
        let size = [fields.real("A_up", 0.00081, -LARGEST..=LARGEST)?, fields.real("A_down", 0.36833, -LARGEST..=LARGEST)?];
        let gamma = [fields.real("gamma_up", 12.44625, 0.0..=40.0)?, fields.real("gamma_down", 12.78785, 0.0..=40.0)?];
        let (a, b) = (fields.real("a", 0.244, -10.0..=10.0)?, fields.real("b", 0.2425, -10.0..=10.0)?);
        let steps = read_steps(fields)?;
        let at_zero = |i: usize, y: f64| {
            let q = 1.0 - size[i] * (expm1(gamma[i] * y) + 1.0);
            if q > 0.0 { q } else { 0.0 }
        };
        let shrunk = if steps.1 > 0.0 { 1.0 - steps.1 } else { 1.0 };
        let kit_compat = fields.switch("kit_compat", false)?;
        let granularity = if kit_compat { shrunk * at_zero(1, -b) } else { 0.5 * (at_zero(0, b) + at_zero(1, -b)) };
        if !POSITIVE.contains(&(steps.0 * granularity)) {
            let allowed = format!("a step at zero, of at most {LARGEST:e}");
            return Err(Error::value("device.A_up, A_down", format_args!("{}, {}", size[0], size[1]), allowed));
        }
        let noise_add = fields.real("dw_min_std_add", 0.0, NOT_NEGATIVE)? as f32;
        let noise_slope = fields.real("dw_min_std_slope", 0.0, NOT_NEGATIVE)? as f32;
        let (size, gamma) = (size.map(Setting::from), [gamma[0].into(), (-gamma[1]).into()]);
        Ok(Self { size, gamma, a, b, noise_add, noise_slope, steps, granularity })
    }
}

impl Model for ExpStep {
    const APART: bool = true;

    #[inline(always)]
    fn prepare<R: Real>(&self, [w_max, w_min, ..]: [R; 4], _: [R; 2]) -> [R; 4] {
        [R::lit(2.0 * self.a) * inverse(w_max - w_min), R::lit(0.0), R::lit(0.0), R::lit(0.0)]
    }

    #[inline(always)]
    fn response<R: Real>(&self, cell: &Cell<R>, v: R, up: u32) -> R {
        let y = v * cell.k[0] + R::lit(self.b);
        let power = (y * R::select(up, R::setting(self.gamma[0]), R::setting(self.gamma[1]))).expm1() + R::lit(1.0);
        let q = R::lit(1.0) - R::select(up, R::setting(self.size[0]), R::setting(self.size[1])) * power;
        if q > R::lit(0.0) { q } else { R::lit(0.0) }
    }

    #[inline(always)]
    fn moved(&self, cell: &Cell<f32>, noise: Noise, v: f32, up: u32, q: f32, z: f32) -> f32 {
        let size = select(up, cell.dw_up, -cell.dw_down);
        let m = (size * select(noise.relative, q, 1.0)).abs();
        v + (size * q + (noise.sigma * z) * ((m + self.noise_add) + self.noise_slope * v.abs()))
    }

    fn facts(&self) -> Facts {
        Facts { steps: Some(self.steps), granularity: self.granularity, ..Facts::default() }
    }
}
