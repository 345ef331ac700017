//! Constant step: `q_up = q_down = 1`; a hard clip at the bounds instead of saturation (Gokmen and Vlasov 2016).

use crate::device::{Cell, Facts, Model};
use crate::error::Result;
use crate::fields::Fields;
use crate::math::Real;

/// See the head of this file.
#[derive(Debug, Clone)]
pub struct ConstantStep;

impl ConstantStep {
    pub(super) fn new(_: &mut Fields) -> Result<Self> {
        Ok(Self)
    }
}

impl Model for ConstantStep {
    #[inline(always)]
    fn prepare<R: Real>(&self, _: [R; 4], _: [R; 2]) -> [R; 4] {
        [R::lit(0.0); 4]
    }

    #[inline(always)]
    fn response<R: Real>(&self, _: &Cell<R>, _: R, _: u32) -> R {
        R::lit(1.0)
    }

    fn facts(&self) -> Facts {
        Facts { write_noise: false, ..Facts::default() }
    }
}
