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

#[cfg(test)]
mod tests {
    use super::expm1;

    /// Largest error over all settings can ask for, in units of 2^-53 of the result times its condition.
    ///
    /// The series has 2.1 roundings and a doubling 2. An error at y arrives at x times C(x) / C(y), with the condition C(x) = x / (1 - e^-x) of
    /// the function: up to C = 1 that are five doublings and the series, above it 1 + 1/2 + 1/4 + ... of two roundings, all times C(x) where that
    /// is more than 1. The system's function, which has no error here, may have two more.
    /// Measured 6.5.
    fn worst(f: impl Fn(f64) -> f64) -> f64 {
        let mut worst = 0.0;
        for k in 0..400_000 {
            let size = 10f64.powf(-12.0 + 14.845 * f64::from(k) / 400_000.0);
            for x in [size, -size] {
                let condition = (x / -(-x).exp_m1()).max(1.0);
                let error = (f(x) / x.exp_m1() - 1.0).abs() / (condition * 2f64.powi(-53));
                // Not `max`: it would lose a NaN.
                worst = if error <= worst { worst } else { error };
            }
        }
        worst
    }

    #[test]
    fn exponentials_of_settings_are_within_their_bound() {
        let error = worst(expm1);
        assert!(error <= 18.0, "{error}");
        assert_eq!((expm1(0.0), expm1(-1e3)), (0.0, -1.0));
        // A series that ends too early, and an argument that is off in its last bits.
        let short = |x: f64| if x.abs() > 0.03125 { expm1(x) } else { (1..=5).rev().fold(0.0, |sum, n| (1.0 + sum) * (x / f64::from(n))) };
        assert!(worst(short) > 18.0);
        assert!(worst(|x| expm1(x * (1.0 + 1e-14))) > 18.0);
    }
}
