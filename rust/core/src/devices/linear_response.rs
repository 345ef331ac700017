//! Linear response with offset (W25): `q_up = (1 + c)(1 - v / tau)`, `q_down = (1 - c)(1 + v / tau)`; `F = 1 - c v / tau`, `G = v / tau - c`,
//! symmetric point `c tau`. Bounds are `+-tau`; with spread each cell has its own.

use super::inverse;
use crate::device::{Cell, Facts, Model, POSITIVE};
use crate::error::Result;
use crate::fields::Fields;
use crate::math::Real;

/// See the head of this file.
#[derive(Debug, Clone)]
pub struct LinearResponse {
    tau: f64,
    c: f64,
}

impl LinearResponse {
    pub(super) fn new(fields: &mut Fields) -> Result<Self> {
        Ok(Self { tau: fields.real("tau", 1.0, POSITIVE)?, c: fields.real("c", 0.0, -0.999_999..=0.999_999)? })
    }
}

impl Model for LinearResponse {
    #[inline(always)]
    fn prepare<R: Real>(&self, [w_max, w_min, ..]: [R; 4], _: [R; 2]) -> [R; 4] {
        let (up, down) = (R::lit(1.0) + R::lit(self.c), R::lit(1.0) - R::lit(self.c));
        [up, down, up * inverse(w_max), down * inverse(w_min)]
    }

    #[inline(always)]
    fn response<R: Real>(&self, cell: &Cell<R>, v: R, up: u32) -> R {
        R::select(up, cell.k[0], cell.k[1]) - v * R::select(up, cell.k[2], cell.k[3])
    }

    fn facts(&self) -> Facts {
        Facts { bounds: Some((self.tau, -self.tau)), mult_noise: false, ..Facts::default() }
    }
}
