//! Soft bounds by their pulse curves: with `B = (range_max - range_min) / (1 - e^(-alpha p_max))`, `p` pulses lead
//!
//! ```text
//! up from range_min:     w = range_min + B (1 - e^(-alpha p))        down from range_max:     w = range_max - B (1 - e^(-alpha p))
//! ```
//!
//! So `w_max = range_min + B`, `w_min = range_max - B`, and a pulse goes `1 - e^-alpha` of the way that is left: a `SoftBounds` device with these
//! bounds, where the larger of the two steps at zero is `dw_min` and `up_down` shrinks the other.
//! `kit_compat`: the translation of aihwkit, `w_min = range_min`, `up_down = 1 + 2 range_min / B`, `dw_min = alpha B`, which leaves the down curve.

use super::{SoftBounds, expm1};
use crate::device::{Cell, Facts, LARGEST, Model, POSITIVE};
use crate::error::{Error, Result};
use crate::fields::Fields;
use crate::math::Real;

/// See the head of this file.
#[derive(Debug, Clone)]
pub struct SoftBoundsPmax {
    bounds: (f64, f64),
    steps: (f64, f64),
}

impl SoftBoundsPmax {
    pub(super) fn new(fields: &mut Fields) -> Result<Self> {
        let p_max = fields.real("p_max", 1000.0, 1.0..=LARGEST)?;
        let alpha = fields.real("alpha", 0.0005, 1e-9..=100.0)?;
        let high = fields.real("range_max", 1.0, 0.0..=LARGEST)?;
        let low = fields.real("range_min", -1.0, -LARGEST..=0.0)?;
        let kit_compat = fields.switch("kit_compat", false)?;
        let span = (high - low) / -expm1(-alpha * p_max);
        let (w_max, w_min) = (low + span, if kit_compat { low } else { high - span });
        let larger = if w_max > -w_min { w_max } else { -w_min };
        let steps = if kit_compat {
            (alpha * span, 1.0 + 2.0 * low / span)
        } else if w_max > -w_min {
            (-expm1(-alpha) * larger, 1.0 + w_min / w_max)
        } else {
            (-expm1(-alpha) * larger, -(1.0 + w_max / w_min))
        };
        if !(larger <= LARGEST && POSITIVE.contains(&steps.0)) {
            let allowed = format!("range_min < range_max, and bounds and steps of at most {LARGEST:e}");
            let value = format!("{low}, {high}, {alpha}, {p_max}");
            return Err(Error::value("device.range_min, range_max, alpha, p_max", value, allowed));
        }
        Ok(Self { bounds: (w_max, w_min), steps })
    }
}

impl Model for SoftBoundsPmax {
    #[inline(always)]
    fn prepare<R: Real>(&self, common: [R; 4], own: [R; 2]) -> [R; 4] {
        SoftBounds.prepare(common, own)
    }

    #[inline(always)]
    fn response<R: Real>(&self, cell: &Cell<R>, v: R, up: u32) -> R {
        SoftBounds.response(cell, v, up)
    }

    fn facts(&self) -> Facts {
        Facts { bounds: Some(self.bounds), steps: Some(self.steps), ..Facts::default() }
    }
}
