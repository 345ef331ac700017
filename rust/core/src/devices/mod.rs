//! The closed list of models: one file each, one line here.

use crate::device::{Facts, Model, Visit};
use crate::error::{Error, Result};
use crate::fields::Fields;

macro_rules! models {
    ($($module:ident :: $name:ident),* $(,)?) => {
        $(mod $module; pub use $module::$name;)*

        /// Any of the models.
        #[derive(Debug, Clone)]
        pub enum AnyModel {
            $(#[doc = concat!("[`", stringify!($name), "`]")] $name($name),)*
        }

        impl AnyModel {
            /// The names of all models.
            pub const NAMES: &'static [&'static str] = &[$(stringify!($name)),*];

            /// The model called `name`, with its own settings taken from `fields`.
            pub(crate) fn new(name: &str, fields: &mut Fields) -> Result<Self> {
                match name {
                    $(stringify!($name) => Ok(AnyModel::$name($name::new(fields)?)),)*
                    _ => Err(Error::value("device.model", format_args!("{name:?}"), Self::NAMES.join(", "))),
                }
            }

            pub(crate) fn visit<V: Visit>(&self, work: V) -> V::Out {
                match self { $(AnyModel::$name(model) => work.visit(model),)* }
            }

            pub(crate) fn own(&self) -> &'static [&'static str] {
                match self { $(AnyModel::$name(model) => model.own(),)* }
            }

            pub(crate) fn draw(&self, common: &mut [f32; 4], z: &dyn Fn(u64) -> f32) -> [f32; 2] {
                match self { $(AnyModel::$name(model) => model.draw(common, z),)* }
            }

            pub(crate) fn facts(&self) -> Facts {
                match self { $(AnyModel::$name(model) => model.facts(),)* }
            }
        }
    };
}

models! {
    constant_step::ConstantStep,
    soft_bounds::SoftBounds,
    soft_bounds_reference::SoftBoundsReference,
    pow_step::PowStep,
    linear_response::LinearResponse,
    power_response::PowerResponse,
    exponential_response::ExponentialResponse,
    tabulated::Tabulated,
    linear_step::LinearStep,
    soft_bounds_pmax::SoftBoundsPmax,
    exp_step::ExpStep,
    pow_step_reference::PowStepReference,
    piecewise_step::PiecewiseStep,
    shifted_linear::ShiftedLinear,
    saturating_exponential::SaturatingExponential,
}

use tabulated::Table;

/// `e^x - 1` for settings: a granularity decides about pulses, so it must be the same everywhere, which the system's functions are not.
pub(crate) fn expm1(x: f64) -> f64 {
    let (mut y, mut doublings) = (x, 0);
    while y.abs() > 0.03125 {
        (y, doublings) = (0.5 * y, doublings + 1);
    }
    // The series to y^12 / 12!, then e^2y - 1 = (e^y - 1) (e^y - 1 + 2).
    let series = (1..=12).rev().fold(0.0, |sum, n| (1.0 + sum) * (y / f64::from(n)));
    (0..doublings).fold(series, |e, _| e * (e + 2.0))
}

/// `1 / v`, and 0 for a bound at (next to) zero: the response then does not fall towards it, and clipping stops the cell there.
#[inline(always)]
pub(crate) fn inverse<R: crate::math::Real>(v: R) -> R {
    let tiny = R::lit(f32::MIN_POSITIVE as f64);
    if v < tiny && R::lit(0.0) - v < tiny { R::lit(0.0) } else { R::lit(1.0) / v }
}
