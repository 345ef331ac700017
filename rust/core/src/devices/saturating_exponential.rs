//! Saturating exponential response (W24 eq. 25), concave near the bounds: `q_up = 1 - e^(-gamma_up (w_max - v) / (w_max - w_min))`,
//! `q_down = 1 - e^(-gamma_down (v - w_min) / (w_max - w_min))`. The granularity is the mean of the two steps at zero.

use super::{expm1, inverse};
use crate::device::{Cell, Facts, Model, read_bounds};
use crate::error::{Error, Result};
use crate::fields::Fields;
use crate::math::Real;

/// See the head of this file.
#[derive(Debug, Clone)]
pub struct SaturatingExponential {
    gamma: [f64; 2],
    bounds: (f64, f64),
    granularity: f64,
}

impl SaturatingExponential {
    pub(super) fn new(fields: &mut Fields) -> Result<Self> {
        let gamma = [fields.real("gamma_up", 1.0, 1e-6..=40.0)?, fields.real("gamma_down", 1.0, 1e-6..=40.0)?];
        let (w_max, w_min) = read_bounds(fields)?;
        if w_max - w_min < f64::from(f32::MIN_POSITIVE) {
            return Err(Error::value("device.w_max, w_min", format_args!("{w_max}, {w_min}"), "w_min < w_max"));
        }
        let room = |gamma: f64, bound: f64| -expm1(-gamma * bound / (w_max - w_min));
        let granularity = 0.5 * (room(gamma[0], w_max) + room(gamma[1], -w_min));
        Ok(Self { gamma, bounds: (w_max, w_min), granularity })
    }
}

impl Model for SaturatingExponential {
    #[inline(always)]
    fn prepare<R: Real>(&self, [w_max, w_min, ..]: [R; 4], _: [R; 2]) -> [R; 4] {
        let k = inverse(w_max - w_min);
        [R::lit(self.gamma[0]) * k, R::lit(self.gamma[1]) * k, R::lit(0.0), R::lit(0.0)]
    }

    #[inline(always)]
    fn response<R: Real>(&self, cell: &Cell<R>, v: R, up: u32) -> R {
        let room = R::select(up, v - cell.w_max, cell.w_min - v);
        R::lit(0.0) - (room * R::select(up, cell.k[0], cell.k[1])).expm1()
    }

    fn facts(&self) -> Facts {
        Facts { bounds: Some(self.bounds), mult_noise: false, granularity: self.granularity, ..Facts::default() }
    }
}
