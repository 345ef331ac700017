//! The pulsed rank-one update: scale factors, bit trains, coincidences, and the updates that go without trains.

mod amounts;
mod column;
pub(crate) mod exact;
pub(crate) mod kernel;
mod notes;
pub(crate) mod pack;
mod short;
pub(crate) mod trains;
mod update;

#[cfg(test)]
mod tests;

pub(crate) use notes::{Note, Notes, Seen};
pub(crate) use update::{Count, Job, Keys, Route, Span, Tally, update};

use crate::error::Result;
use crate::fields::Fields;

/// The longest train, and the most pulses that an increment becomes.
pub const MAX_BL: usize = 16384;

/// How an update reaches the cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PulseType {
    /// One stochastic train per line; every coincidence is a pulse. Separate phases for positive and negative inputs (`stochastic`) give the same
    /// bits: all pulses of a vector at a cell have one sign.
    Stochastic,
    /// Without randomness: `rint(BL p)` pulses per line, `rint(n_x n_d / BL)` coincidences.
    MeanCount,
    /// Without randomness: `rint(BL p_x p_d)` coincidences, the probabilities rounded beforehand.
    DeterministicImplicit,
    /// The increment in pulses of full size: `|dw| / granularity`, rounded.
    Pulsed,
    /// The papers' mathematical update `w + dw q(w)`, clipped.
    AnalogUpdate,
    /// The mathematical update of the increment that the coincidences of stochastic trains would make.
    RandomIncrement,
    /// Exact increments, clipped to the bounds of the cells.
    NoneWithDevice,
    /// Exact increments.
    None,
}

/// How `|dw| / granularity` becomes a whole number of pulses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rounding {
    /// Up or down, such that the mean is right.
    Stochastic,
    /// Up.
    Ceil,
    /// Down.
    Floor,
}

/// Settings of a pulsed update (names and defaults as in the field).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PulseTrain {
    /// How an update reaches the cells.
    pub pulse_type: PulseType,
    /// Number of slots; the largest number if `update_bl_management`.
    pub desired_bl: usize,
    /// Otherwise, and without management of the length, a train of `desired_bl` slots that cannot hold the learning rate grows.
    pub fixed_bl: bool,
    /// Balance the probabilities of the two sides.
    pub update_management: bool,
    /// Choose the number of slots per vector.
    pub update_bl_management: bool,
    /// Factor on the largest |d| in the management.
    pub um_grad_scale: f64,
    /// Step of the probabilities, 0: none.
    pub res: f64,
    /// Round probabilities up or down, such that the mean is right.
    pub sto_round: bool,
    /// Step of the input lines' probabilities ([`PulseType::DeterministicImplicit`]).
    pub x_res_implicit: f64,
    /// Step of the error lines' probabilities.
    pub d_res_implicit: f64,
    /// Increments are summed over the vectors before they reach the cells ([`PulseType::Pulsed`] and those without pulses).
    pub whole_batch: bool,
    /// Of the number of pulses ([`PulseType::Pulsed`]).
    pub rounding: Rounding,
}

impl PulseTrain {
    /// From named settings.
    pub fn new(mut fields: Fields) -> Result<Self> {
        let pulse_type = fields.choice(
            "pulse_type",
            &[
                ("stochastic_compressed", PulseType::Stochastic),
                ("stochastic", PulseType::Stochastic),
                ("mean_count", PulseType::MeanCount),
                ("deterministic_implicit", PulseType::DeterministicImplicit),
                ("pulsed", PulseType::Pulsed),
                ("analog_update", PulseType::AnalogUpdate),
                ("random_increment", PulseType::RandomIncrement),
                ("none_with_device", PulseType::NoneWithDevice),
                ("none", PulseType::None),
            ],
        )?;
        // Resolutions above 1 count steps.
        let mut step = |name| -> Result<f64> {
            let res = fields.real(name, 0.0, 0.0..=1e9)?;
            Ok(if res > 1.0 { 1.0 / res } else { res })
        };
        let (res, x_res_implicit, d_res_implicit) = (step("res")?, step("x_res_implicit")?, step("d_res_implicit")?);
        let train = Self {
            pulse_type,
            desired_bl: fields.whole("desired_bl", 31, 1..=MAX_BL)?,
            fixed_bl: fields.switch("fixed_bl", true)?,
            update_management: fields.switch("update_management", true)?,
            update_bl_management: fields.switch("update_bl_management", true)?,
            um_grad_scale: fields.real("um_grad_scale", 1.0, 1e-9..=1e9)?,
            res,
            sto_round: fields.switch("sto_round", false)?,
            x_res_implicit,
            d_res_implicit,
            whole_batch: fields.choice("increment", &[("sample", false), ("batch", true)])?,
            rounding: fields
                .choice("rounding", &[("stochastic", Rounding::Stochastic), ("ceil", Rounding::Ceil), ("floor", Rounding::Floor)])?,
        };
        fields.finish()?;
        Ok(train)
    }

    /// The longest train that there can be.
    fn longest(&self) -> usize {
        if self.fixed_bl || self.update_bl_management { self.desired_bl } else { MAX_BL }
    }

    /// Words of memory that a vector takes over `lines` lines.
    pub(crate) fn words(&self, lines: usize) -> usize {
        match self.pulse_type {
            PulseType::Stochastic | PulseType::RandomIncrement => self.longest().div_ceil(trains::SLOTS) * lines,
            PulseType::MeanCount | PulseType::DeterministicImplicit => 2 * lines,
            _ => 0,
        }
    }

    /// Whether trains are sent to the cells, and every coincidence is a pulse.
    pub(crate) fn has_trains(&self) -> bool {
        self.pulse_type == PulseType::Stochastic
    }

    /// Whether cells get increments, or numbers of pulses that are made of increments.
    pub(crate) fn increments(&self) -> bool {
        matches!(self.pulse_type, PulseType::Pulsed | PulseType::AnalogUpdate | PulseType::NoneWithDevice | PulseType::None)
    }

    /// Whether cells take any increment as it is.
    pub(crate) fn given(&self) -> bool {
        self.increments() && self.pulse_type != PulseType::Pulsed
    }

    /// Whether increments are summed over vectors, so that a cut shows.
    pub(crate) fn sums(&self) -> bool {
        self.whole_batch && self.increments()
    }

    /// Whether the scale factors need the largest |x| and |d|.
    pub(crate) fn managed(&self) -> bool {
        self.update_management || self.update_bl_management
    }
}

/// Number of slots and amplification of the two sides, for one vector.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scale {
    /// Slots; 0: no pulses.
    pub bl: usize,
    /// Amplification of the error lines (`A`).
    pub d: f64,
    /// Amplification of the input lines (`B`).
    pub x: f64,
}

impl PulseTrain {
    /// Scale factors for learning rate `lr`, granularity `g` and the largest |x| and |d| (algorithms 3.2, in its written order, `f64`).
    ///
    /// `A B = lr / (g BL)`, or `A = B = 1` in a train that grew; with management the largest probabilities are equal, or x at 1 and d clipped when more
    /// than `desired_bl` pulses are wanted.
    pub fn scale(&self, lr: f64, g: f64, x_max: f64, d_max: f64) -> Scale {
        let lr = lr.abs();
        let none = Scale { bl: 0, d: 0.0, x: 0.0 };
        if lr == 0.0 {
            return none;
        }
        let desired = self.desired_bl as f64;
        let mut bl = desired;
        let mut both = (lr / (g * bl)).sqrt();
        if !self.fixed_bl && !self.update_bl_management && g * desired < lr {
            bl = (lr / g).ceil().min(MAX_BL as f64);
            both = if lr / g <= bl { 1.0 } else { (lr / (g * bl)).sqrt() };
        }
        if !self.managed() {
            return Scale { bl: bl as usize, d: both, x: both };
        }
        if x_max == 0.0 || d_max == 0.0 {
            return none;
        }
        let d_max = self.um_grad_scale * d_max;
        let k = lr * x_max * d_max / g;
        if self.update_bl_management {
            bl = k.ceil().min(desired).max(1.0);
            both = (lr / (g * bl)).sqrt();
        }
        // Management of the length implies balancing (KIT).
        let d_clipped = if k > desired { d_max * desired / k } else { d_max };
        Scale { bl: bl as usize, d: both * (x_max / d_clipped).sqrt(), x: both * (d_clipped / x_max).sqrt() }
    }
}
