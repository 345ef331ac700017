//! Linear response with a shifted symmetric point (W24): `q_up = 1 - (v - shift) / tau_max`, `q_down = 1 - (v - shift) / tau_min`; both are 1 at
//! `shift`. Bounds are `shift + tau_max`, `shift + tau_min`; a cell with other bounds evaluates at its own position between them.

use super::inverse;
use crate::device::{Cell, Facts, LARGEST, Model, POSITIVE};
use crate::error::{Error, Result};
use crate::fields::Fields;
use crate::math::Real;

/// See the head of this file.
#[derive(Debug, Clone)]
pub struct ShiftedLinear {
    tau_max: f64,
    tau_min: f64,
    shift: f64,
}

impl ShiftedLinear {
    pub(super) fn new(fields: &mut Fields) -> Result<Self> {
        let tau_max = fields.real("tau_max", 1.0, POSITIVE)?;
        let tau_min = fields.real("tau_min", -1.0, -LARGEST..=-1e-30)?;
        let shift = fields.real("shift", 0.0, -LARGEST..=LARGEST)?;
        if !(-tau_max..=-tau_min).contains(&shift) {
            let allowed = format!("{:?} to {:?}, so that zero is within the bounds", -tau_max, -tau_min);
            return Err(Error::value("device.shift", shift, allowed));
        }
        Ok(Self { tau_max, tau_min, shift })
    }
}

impl Model for ShiftedLinear {
    #[inline(always)]
    fn prepare<R: Real>(&self, [w_max, w_min, ..]: [R; 4], _: [R; 2]) -> [R; 4] {
        let (k, span) = (inverse(w_max - w_min), self.tau_max - self.tau_min);
        [k * R::lit(span / self.tau_max), k * R::lit(span / self.tau_min), R::lit(0.0), R::lit(0.0)]
    }

    #[inline(always)]
    fn response<R: Real>(&self, cell: &Cell<R>, v: R, up: u32) -> R {
        (R::select(up, cell.w_max, cell.w_min) - v) * R::select(up, cell.k[0], cell.k[1])
    }

    fn facts(&self) -> Facts {
        Facts { bounds: Some((self.shift + self.tau_max, self.shift + self.tau_min)), mult_noise: false, ..Facts::default() }
    }
}
