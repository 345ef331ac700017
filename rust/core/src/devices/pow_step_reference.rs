//! Power step whose reference is subtracted: the response of `PowStep`, whose settings it has, without write noise.
//!
//! `kit_compat`: weights that are set are clipped to the bounds as if there were no reference, as in aihwkit.

use super::PowStep;
use crate::device::{Cell, Facts, Model};
use crate::error::Result;
use crate::fields::Fields;
use crate::math::Real;

/// See the head of this file.
#[derive(Debug, Clone)]
pub struct PowStepReference {
    step: PowStep,
    kit_compat: bool,
}

impl PowStepReference {
    pub(super) fn new(fields: &mut Fields) -> Result<Self> {
        Ok(Self { step: PowStep::new(fields)?, kit_compat: fields.switch("kit_compat", false)? })
    }
}

impl Model for PowStepReference {
    fn own(&self) -> &'static [&'static str] {
        self.step.own()
    }

    fn draw(&self, common: &mut [f32; 4], z: &dyn Fn(u64) -> f32) -> [f32; 2] {
        self.step.draw(common, z)
    }

    #[inline(always)]
    fn prepare<R: Real>(&self, common: [R; 4], own: [R; 2]) -> [R; 4] {
        self.step.prepare(common, own)
    }

    #[inline(always)]
    fn response<R: Real>(&self, cell: &Cell<R>, v: R, up: u32) -> R {
        self.step.response(cell, v, up)
    }

    fn facts(&self) -> Facts {
        Facts { write_noise: false, clips_seen: self.kit_compat, ..self.step.facts() }
    }
}
