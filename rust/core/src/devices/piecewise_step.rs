//! Piecewise linear step: `q_up` and `q_down` are tables `u_up`, `u_down` at nodes equally spaced between the bounds of the cell, linear between
//! them; a single number is a constant. The granularity is `dw_min u_up[n / 2]`, as in aihwkit.

use super::Table;
use crate::device::{Cell, Facts, Model, NOT_NEGATIVE, POSITIVE};
use crate::error::{Error, Result};
use crate::fields::Fields;
use crate::math::Real;
use crate::simd::{Group, Set};

/// See the head of this file.
#[derive(Debug, Clone)]
pub struct PiecewiseStep {
    table: Table,
    granularity: f64,
}

impl PiecewiseStep {
    pub(super) fn new(fields: &mut Fields) -> Result<Self> {
        let mut u = [fields.reals("u_up", NOT_NEGATIVE)?, fields.reals("u_down", NOT_NEGATIVE)?];
        let n = u[0].len();
        if !(1..=4096).contains(&n) || u[1].len() != n {
            let value = format!("tables of {n} and {}", u[1].len());
            return Err(Error::value("device.u_up, u_down", value, "1 to 4096 numbers, as many up as down"));
        }
        let granularity = u[0][n / 2];
        if !POSITIVE.contains(&granularity) {
            return Err(Error::value("device.u_up", format_args!("{granularity} in the middle"), "a step in the middle"));
        }
        if n == 1 {
            u.iter_mut().for_each(|u| u.push(u[0]));
        }
        let last = u[0].len() - 1;
        let at: Vec<f64> = (0..=last).map(|i| i as f64 / last as f64).collect();
        Ok(Self { table: Table::new(&at, &u), granularity })
    }
}

impl Model for PiecewiseStep {
    const APART: bool = true;

    #[inline(always)]
    fn prepare<R: Real>(&self, common: [R; 4], _: [R; 2]) -> [R; 4] {
        Table::prepare(common)
    }

    #[inline(always)]
    fn response<R: Real>(&self, cell: &Cell<R>, v: R, up: u32) -> R {
        self.table.response(cell, v, up)
    }

    #[inline(always)]
    fn responses<S: Set>(&self, cell: &Cell<Group<f32>>, v: &Group<f32>, up: &Group<u32>, q: &mut Group<f32>) {
        self.table.responses::<S>(cell, v, up, q);
    }

    fn facts(&self) -> Facts {
        Facts { granularity: self.granularity, ..Facts::default() }
    }
}
