//! The pulsed rank-one update: scale factors, bit trains, coincidences.

pub(crate) mod exact;
pub(crate) mod kernel;
pub(crate) mod trains;
mod update;

pub(crate) use update::{Job, Keys, Route, Tally, update};

use crate::error::Result;
use crate::fields::Fields;

/// How an update reaches the cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PulseType {
    /// One stochastic train per line; every coincidence is a pulse.
    StochasticCompressed,
    /// Exact increments, clipped to the bounds of the cells.
    NoneWithDevice,
    /// Exact increments.
    None,
    /// The papers' mathematical update `w + dw q(w)`, vector by vector, clipped.
    AnalogUpdate,
}

/// Settings of a pulsed update (names and defaults as in the field).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PulseTrain {
    /// How an update reaches the cells.
    pub pulse_type: PulseType,
    /// Number of slots; the largest number if `update_bl_management`.
    pub desired_bl: usize,
    /// Balance the probabilities of the two sides.
    pub update_management: bool,
    /// Choose the number of slots per vector.
    pub update_bl_management: bool,
}

impl PulseTrain {
    /// From named settings.
    pub fn new(mut fields: Fields) -> Result<Self> {
        let train = Self {
            pulse_type: fields.choice(
                "pulse_type",
                &[
                    ("stochastic_compressed", PulseType::StochasticCompressed),
                    ("none_with_device", PulseType::NoneWithDevice),
                    ("none", PulseType::None),
                    ("analog_update", PulseType::AnalogUpdate),
                ],
            )?,
            desired_bl: fields.whole("desired_bl", 31, 1..=16384)?,
            update_management: fields.switch("update_management", true)?,
            update_bl_management: fields.switch("update_bl_management", true)?,
        };
        fields.finish()?;
        Ok(train)
    }

    /// Words of memory that the trains of a vector take over `lines` lines.
    pub(crate) fn words(&self, lines: usize) -> usize {
        if self.pulse_type == PulseType::StochasticCompressed { self.desired_bl.div_ceil(trains::SLOTS) * lines } else { 0 }
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
    /// `A B = lr / (g BL)`; with management the largest probabilities are equal, or x at 1 and d clipped when more than `desired_bl` pulses are wanted.
    pub fn scale(&self, lr: f64, g: f64, x_max: f64, d_max: f64) -> Scale {
        let lr = lr.abs();
        let none = Scale { bl: 0, d: 0.0, x: 0.0 };
        if lr == 0.0 {
            return none;
        }
        let desired = self.desired_bl as f64;
        if !self.managed() {
            let both = (lr / (g * desired)).sqrt();
            return Scale { bl: self.desired_bl, d: both, x: both };
        }
        if x_max == 0.0 || d_max == 0.0 {
            return none;
        }
        let k = lr * x_max * d_max / g;
        let bl = if self.update_bl_management { k.ceil().min(desired).max(1.0) } else { desired };
        let both = (lr / (g * bl)).sqrt();
        // Management of the length implies balancing (KIT).
        let d_clipped = if k > desired { d_max * desired / k } else { d_max };
        Scale { bl: bl as usize, d: both * (x_max / d_clipped).sqrt(), x: both * (d_clipped / x_max).sqrt() }
    }
}
