//! Exponential response (W25 eq. 145): `q_up = (e^(gamma (1 - v / tau)) - 1) / (e^gamma - 1)`, `q_down` with `1 + v / tau`; 1 at zero, convex,
//! linear for gamma -> 0.

use super::inverse;
use crate::device::{Cell, Facts, Model, POSITIVE};
use crate::error::Result;
use crate::fields::Fields;
use crate::math::Real;

/// See the head of this file.
#[derive(Debug, Clone)]
pub struct ExponentialResponse {
    tau: f64,
    gamma: f64,
}

impl ExponentialResponse {
    pub(super) fn new(fields: &mut Fields) -> Result<Self> {
        Ok(Self { tau: fields.real("tau", 1.0, POSITIVE)?, gamma: fields.real("gamma", 1.0, 1e-6..=40.0)? })
    }
}

impl Model for ExponentialResponse {
    #[inline(always)]
    fn prepare<R: Real>(&self, [w_max, w_min, ..]: [R; 4], _: [R; 2]) -> [R; 4] {
        let gamma = R::lit(self.gamma);
        [gamma * inverse(w_max), gamma * inverse(w_min), gamma, R::lit(1.0) / gamma.expm1()]
    }

    #[inline(always)]
    fn response<R: Real>(&self, cell: &Cell<R>, v: R, up: u32) -> R {
        (cell.k[2] - v * R::select(up, cell.k[0], cell.k[1])).expm1() * cell.k[3]
    }

    fn facts(&self) -> Facts {
        Facts { bounds: Some((self.tau, -self.tau)), mult_noise: false, ..Facts::default() }
    }
}
