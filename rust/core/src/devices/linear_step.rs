//! Linear step: `q_up = 1 - gamma_up v / ref_up`, `q_down = 1 - gamma_down v / ref_down`; a soft bound is `gamma = 1` with the cell's own bounds.
//!
//! `ref_up`, `ref_down` are the nominal `w_max`, `w_min`, or the bounds of the cell (`mean_bound_reference` off). Reversed, a step grows towards its
//! bound: `ref_up = w_min - reverse_offset`, `ref_down = w_max + reverse_offset`. Per cell `gamma = |gamma + gamma_dtod z|` (z5 up, z6 down),
//! without the absolute value if `allow_increasing`.

use super::inverse;
use crate::device::{Cell, Facts, LARGEST, Model, NOT_NEGATIVE, read_bounds};
use crate::error::Result;
use crate::fields::Fields;
use crate::math::Real;

/// See the head of this file.
#[derive(Debug, Clone)]
pub struct LinearStep {
    gamma: [f32; 2],
    gamma_dtod: [f32; 2],
    reverse: [bool; 2],
    reverse_offset: f64,
    mean_bound_reference: bool,
    allow_increasing: bool,
    bounds: (f64, f64),
}

impl LinearStep {
    pub(super) fn new(fields: &mut Fields) -> Result<Self> {
        let any = -LARGEST..=LARGEST;
        Ok(Self {
            gamma: [fields.real("gamma_up", 0.0, any.clone())? as f32, fields.real("gamma_down", 0.0, any)? as f32],
            gamma_dtod: [
                fields.real("gamma_up_dtod", 0.0, NOT_NEGATIVE)? as f32,
                fields.real("gamma_down_dtod", 0.0, NOT_NEGATIVE)? as f32,
            ],
            reverse: [fields.switch("reverse_up", false)?, fields.switch("reverse_down", false)?],
            reverse_offset: fields.real("reverse_offset", 0.01, NOT_NEGATIVE)?,
            mean_bound_reference: fields.switch("mean_bound_reference", true)?,
            allow_increasing: fields.switch("allow_increasing", false)?,
            bounds: read_bounds(fields)?,
        })
    }
}

impl Model for LinearStep {
    fn own(&self) -> &'static [&'static str] {
        &["gamma_up", "gamma_down"]
    }

    fn draw(&self, _: &mut [f32; 4], z: &dyn Fn(u64) -> f32) -> [f32; 2] {
        [0, 1].map(|i| {
            let spread = if self.gamma_dtod[i] == 0.0 { 0.0 } else { self.gamma_dtod[i] * z(i as u64) };
            let gamma = self.gamma[i] + spread;
            if self.allow_increasing { gamma } else { gamma.abs() }
        })
    }

    #[inline(always)]
    fn prepare<R: Real>(&self, [w_max, w_min, ..]: [R; 4], [up, down]: [R; 2]) -> [R; 4] {
        let (high, low) = if self.mean_bound_reference { (R::lit(self.bounds.0), R::lit(self.bounds.1)) } else { (w_max, w_min) };
        let offset = R::lit(self.reverse_offset);
        let to_up = if self.reverse[0] { low - offset } else { high };
        let to_down = if self.reverse[1] { high + offset } else { low };
        [up * inverse(to_up), down * inverse(to_down), R::lit(0.0), R::lit(0.0)]
    }

    #[inline(always)]
    fn response<R: Real>(&self, cell: &Cell<R>, v: R, up: u32) -> R {
        R::lit(1.0) - v * R::select(up, cell.k[0], cell.k[1])
    }

    fn facts(&self) -> Facts {
        Facts { bounds: Some(self.bounds), ..Facts::default() }
    }
}
