//! Soft bounds: `q_up = 1 - v / w_max`, `q_down = 1 - v / w_min`; steps shrink linearly towards the bound they move to.

use super::inverse;
use crate::device::{Cell, Model};
use crate::error::Result;
use crate::fields::Fields;
use crate::math::Real;

/// See the head of this file.
#[derive(Debug, Clone)]
pub struct SoftBounds;

impl SoftBounds {
    pub(super) fn new(_: &mut Fields) -> Result<Self> {
        Ok(Self)
    }
}

impl Model for SoftBounds {
    #[inline(always)]
    fn prepare<R: Real>(&self, [w_max, w_min, ..]: [R; 4], _: [R; 2]) -> [R; 4] {
        [inverse(w_max), inverse(w_min), R::lit(0.0), R::lit(0.0)]
    }

    #[inline(always)]
    fn response<R: Real>(&self, cell: &Cell<R>, v: R, up: u32) -> R {
        R::lit(1.0) - v * R::select(up, cell.k[0], cell.k[1])
    }
}
