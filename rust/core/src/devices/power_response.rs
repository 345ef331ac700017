//! Power response (W25 eq. 144): `q_up = (1 - v / tau)^gamma`, `q_down = (1 + v / tau)^gamma`; 1 at zero, symmetric point 0.

use super::inverse;
use crate::device::{Cell, Facts, Model, POSITIVE};
use crate::error::Result;
use crate::fields::Fields;
use crate::math::Real;

/// See the head of this file.
#[derive(Debug, Clone)]
pub struct PowerResponse {
    tau: f64,
    gamma: f64,
}

impl PowerResponse {
    pub(super) fn new(fields: &mut Fields) -> Result<Self> {
        Ok(Self { tau: fields.real("tau", 1.0, POSITIVE)?, gamma: fields.real("gamma", 1.0, 1e-6..=100.0)? })
    }
}

impl Model for PowerResponse {
    #[inline(always)]
    fn prepare<R: Real>(&self, [w_max, w_min, ..]: [R; 4], _: [R; 2]) -> [R; 4] {
        [inverse(w_max), inverse(w_min), R::lit(self.gamma), R::lit(0.0)]
    }

    #[inline(always)]
    fn response<R: Real>(&self, cell: &Cell<R>, v: R, up: u32) -> R {
        let room = R::lit(1.0) - v * R::select(up, cell.k[0], cell.k[1]);
        // Rounding can leave a cell at its bound a hair outside.
        let room = if room < R::lit(0.0) { R::lit(0.0) } else { room };
        room.pow(cell.k[2])
    }

    fn facts(&self) -> Facts {
        Facts { bounds: Some((self.tau, -self.tau)), mult_noise: false, ..Facts::default() }
    }
}
