//! Power step: `q_up = ((w_max - v) / (w_max - w_min))^gamma_up`, `q_down = ((v - w_min) / (w_max - w_min))^gamma_down`.
//!
//! Per cell, with `r = pow_up_down_dtod z6`:
//! `gamma_up = pow_gamma ((1 + pow_gamma_dtod z5) + r + min(pow_up_down, 0))`, `gamma_down = pow_gamma ((1 + pow_gamma_dtod z5) - r - max(pow_up_down, 0))`,
//! absolute values taken. A pulse at zero between symmetric bounds has size `dw_min 2^-pow_gamma`: that is the granularity.
//! It is the power response of W24 (eq. 24); that of W25 is 1 at zero, see `PowerResponse`.

use super::inverse;
use crate::device::{Cell, Facts, Model, NOT_NEGATIVE};
use crate::error::Result;
use crate::fields::Fields;
use crate::math::Real;

/// See the head of this file.
#[derive(Debug, Clone)]
pub struct PowStep {
    pow_gamma: f64,
    pow_gamma_dtod: f32,
    pow_up_down: f64,
    pow_up_down_dtod: f32,
}

impl PowStep {
    pub(super) fn new(fields: &mut Fields) -> Result<Self> {
        Ok(Self {
            pow_gamma: fields.real("pow_gamma", 1.0, 1e-6..=100.0)?,
            pow_gamma_dtod: fields.real("pow_gamma_dtod", 0.0, NOT_NEGATIVE)? as f32,
            pow_up_down: fields.real("pow_up_down", 0.0, -1.0..=1.0)?,
            pow_up_down_dtod: fields.real("pow_up_down_dtod", 0.0, NOT_NEGATIVE)? as f32,
        })
    }
}

impl Model for PowStep {
    const APART: bool = true;

    fn own(&self) -> &'static [&'static str] {
        &["gamma_up", "gamma_down"]
    }

    fn draw(&self, _: &mut [f32; 4], z: &dyn Fn(u64) -> f32) -> [f32; 2] {
        let spread = |std: f32, i: u64| if std == 0.0 { 0.0 } else { std * z(i) };
        let (gain, r) = (1.0 + spread(self.pow_gamma_dtod, 0), spread(self.pow_up_down_dtod, 1));
        let up = self.pow_gamma as f32 * ((gain + r) + self.pow_up_down.min(0.0) as f32);
        let down = self.pow_gamma as f32 * ((gain - r) - self.pow_up_down.max(0.0) as f32);
        [up.abs(), down.abs()]
    }

    #[inline(always)]
    fn prepare<R: Real>(&self, [w_max, w_min, ..]: [R; 4], [up, down]: [R; 2]) -> [R; 4] {
        [inverse(w_max - w_min), up, down, R::lit(0.0)]
    }

    #[inline(always)]
    fn response<R: Real>(&self, cell: &Cell<R>, v: R, up: u32) -> R {
        let room = R::select(up, cell.w_max - v, v - cell.w_min);
        (room * cell.k[0]).pow(R::select(up, cell.k[1], cell.k[2]))
    }

    fn facts(&self) -> Facts {
        // Not the system's `powf`: this number decides about pulses, so it must be the same everywhere.
        let (mut rest, mut root, mut size) = (self.pow_gamma.fract(), 0.5f64, 0.5f64.powi(self.pow_gamma as i32));
        for _ in 0..f64::MANTISSA_DIGITS {
            (rest, root) = (2.0 * rest, root.sqrt());
            if rest >= 1.0 {
                (rest, size) = (rest - 1.0, size * root);
            }
        }
        Facts { granularity: size, ..Facts::default() }
    }
}
