//! Soft bounds as the papers' scripts use them: the response of `SoftBounds`, additive noise by default, and spreads of the two slopes.
//!
//! A slope multiplied by `|1 + slope_dtod z|` moves the bound it leads to: `w_max <- w_max / |1 + slope_up_dtod z5|`, `w_min` likewise with z6.
//! With a log-normal gain this is the device of R24. `kit_compat`: weights that are set are clipped to the bounds as if there were no reference,
//! as in aihwkit.

use super::SoftBounds;
use crate::device::{Cell, Facts, Model, NOT_NEGATIVE};
use crate::error::Result;
use crate::fields::Fields;
use crate::math::Real;

/// See the head of this file.
#[derive(Debug, Clone)]
pub struct SoftBoundsReference {
    slope_up_dtod: f32,
    slope_down_dtod: f32,
    kit_compat: bool,
}

impl SoftBoundsReference {
    pub(super) fn new(fields: &mut Fields) -> Result<Self> {
        Ok(Self {
            slope_up_dtod: fields.real("slope_up_dtod", 0.0, NOT_NEGATIVE)? as f32,
            slope_down_dtod: fields.real("slope_down_dtod", 0.0, NOT_NEGATIVE)? as f32,
            kit_compat: fields.switch("kit_compat", false)?,
        })
    }
}

impl Model for SoftBoundsReference {
    fn draw(&self, common: &mut [f32; 4], z: &dyn Fn(u64) -> f32) -> [f32; 2] {
        if self.slope_up_dtod > 0.0 {
            common[0] /= (1.0 + self.slope_up_dtod * z(0)).abs();
        }
        if self.slope_down_dtod > 0.0 {
            common[1] /= (1.0 + self.slope_down_dtod * z(1)).abs();
        }
        [0.0; 2]
    }

    #[inline(always)]
    fn prepare<R: Real>(&self, common: [R; 4], own: [R; 2]) -> [R; 4] {
        SoftBounds.prepare(common, own)
    }

    #[inline(always)]
    fn response<R: Real>(&self, cell: &Cell<R>, v: R, up: u32) -> R {
        SoftBounds.response(cell, v, up)
    }

    fn facts(&self) -> Facts {
        Facts { mult_noise: false, clips_seen: self.kit_compat, ..Facts::default() }
    }
}
