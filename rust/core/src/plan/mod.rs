//! Plans: what an algorithm says, and the executor that runs it.
//!
//! A plan names crossbar **arrays** and **digital** matrices, the composite **weight** the network sees, where the **gradient** goes, and **transfers**:
//! events that read lines (columns or rows) and run steps on them. With the learning rate `lr`, the rate `rho` of the gradient of the vector before the
//! event, and `c` the sign of the chopper for what is chopped (all of a line in `f32`, in the order written):
//!
//! ```text
//! weight       W = sum factor [c] matrix
//! gradient     target <- target - rho [c] d x^T,     rho = rate,  or with auto_scale  rate desired_bl g / (max|x| max|d|), running maxima (f64)
//! rate         value [|lr|] [/ |rho|]; that of the gradient has the sign of lr                                                             (f64)
//! accumulate   into <- keep into + gain s,           s = sum factor [c] source;   keep = 0: gain s alone
//! write        u = s / unit, 0 where |s| <= deadband;   target <- target + rate u, in pulses on an array, exactly on a digital matrix
//! threshold    n = clip(trunc(u), +-cap) is written in place of u; where n != 0 the source keeps momentum s (forget), or
//!              s - ((1 - momentum) n) unit, within +-limit if there is one
//! ```
//!
//! What an event reads of arrays it reads through its periphery before any of its steps; digital matrices are what the steps before made of them. After
//! the steps of a line its chopper may flip, and what is latched is copied. Everything an update does (events, lines, signs, rates) follows from its
//! inputs, counters and keys before the first pulse.

pub(crate) mod event;
pub(crate) mod executor;
mod parse;
pub(crate) mod schedule;

use crate::mvm::Io;
use crate::pulse::PulseTrain;

/// A rate: `value`, times the learning rate if `scaled`, over the rate of the gradient if `per_gradient_rate`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rate {
    value: f64,
    scaled: bool,
    per_gradient_rate: bool,
}

impl Rate {
    /// The rate at learning rate `lr` where the gradient had the rate `rho`; without any gradient nothing is accumulated.
    pub(crate) fn at(&self, lr: f64, rho: f64) -> f64 {
        let value = if self.scaled { self.value * lr.abs() } else { self.value };
        match self.per_gradient_rate {
            true if rho == 0.0 => 0.0,
            true => within_f32(value / rho.abs()),
            false => value,
        }
    }

    /// The same for the gradient, which a negative learning rate turns round.
    pub(crate) fn of_gradient(&self, lr: f64) -> f64 {
        let rate = self.at(lr, 1.0);
        if lr < 0.0 { -rate } else { rate }
    }
}

/// What `f32` can hold of a number.
fn within_f32(v: f64) -> f64 {
    v.clamp(-f64::from(f32::MAX), f64::from(f32::MAX))
}

/// Which matrix a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Array(usize),
    Digital(usize),
}

/// `factor [c] matrix`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Term {
    pub(crate) place: Place,
    pub(crate) factor: f32,
    pub(crate) chopped: bool,
}

/// When an event happens; counted after the vector.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Every {
    Vectors(u64),
    /// After the last vector of every n-th update call.
    Batches(u64),
    /// After every `ceil(part * m)` vectors, `m` the size of the call.
    PartOfBatch(f64),
}

/// `target <- target - rate [c] d x^T`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Gradient {
    pub(crate) target: Place,
    pub(crate) rate: Rate,
    pub(crate) chopped: bool,
    /// Momentum of the running maxima that the rate is divided by.
    pub(crate) auto_scale: Option<f64>,
    /// Levels of x and d on a digital target, 0 for none, and whether they are rounded by chance.
    pub(crate) bins: [(u32, bool); 2],
}

/// `into <- keep into + gain sum(source)`.
#[derive(Debug, Clone)]
pub(crate) struct Accumulate {
    pub(crate) source: Vec<Term>,
    pub(crate) into: Place,
    pub(crate) gain: Rate,
    pub(crate) keep: f32,
}

/// `target <- target + rate u`, `u = sum(source) / unit`.
#[derive(Debug, Clone)]
pub(crate) struct Write {
    pub(crate) source: Vec<Term>,
    pub(crate) target: Place,
    pub(crate) rate: Rate,
    pub(crate) unit: f32,
    pub(crate) threshold: Option<Threshold>,
    pub(crate) deadband: f32,
    /// Pulses only once more than this many passes over all lines are complete.
    pub(crate) after_passes: Option<u64>,
    pub(crate) pulses: PulseTrain,
}

/// Whole numbers are written, and leave their digital source.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Threshold {
    pub(crate) cap: f32,
    pub(crate) momentum: f32,
    pub(crate) forget: bool,
    /// Bound of what stays behind without forgetting; 0: none.
    pub(crate) limit: f32,
}

/// What is done with a line that was read.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    Accumulate(Accumulate),
    Write(Write),
}

impl Step {
    pub(crate) fn source(&self) -> &[Term] {
        match self {
            Step::Accumulate(step) => &step.source,
            Step::Write(step) => &step.source,
        }
    }

    /// What the step changes beside a digital source that it consumes.
    pub(crate) fn target(&self) -> Place {
        match self {
            Step::Accumulate(step) => step.into,
            Step::Write(step) => step.target,
        }
    }
}

/// Signs of lines that flip after they were read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Chopper {
    pub(crate) prob: f32,
    pub(crate) flips: Flips,
    /// Of the crossing lines, after each pass.
    pub(crate) cross_prob: f32,
    /// Copied where a sign flips: from, to.
    pub(crate) latch: Option<(Place, Place)>,
}

/// Which signs a chopper flips, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flips {
    /// A line by chance, at each of its reads.
    Random,
    /// A line in every so many passes.
    InTurn(u64),
    /// All lines by chance, at each event.
    Together,
}

/// Which lines an event reads and writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Axis {
    Columns,
    Rows,
}

/// An event: for each of `reads` lines, read the sources, then run the steps.
#[derive(Debug, Clone)]
pub(crate) struct Transfer {
    pub(crate) every: Every,
    pub(crate) axis: Axis,
    /// 0: all lines.
    pub(crate) reads: usize,
    /// Whether each event starts at a line of its own choice.
    pub(crate) random: bool,
    /// With which probability a line is reset after it was read.
    pub(crate) reset_prob: f32,
    pub(crate) chopper: Option<Chopper>,
    pub(crate) io: Io,
    pub(crate) steps: Vec<Step>,
    /// The arrays that it reads, each once.
    pub(crate) sources: Vec<usize>,
}

impl Transfer {
    /// Whether an event reads a digital matrix.
    pub(crate) fn reads_digital(&self, matrix: usize) -> bool {
        let place = Place::Digital(matrix);
        let latched = self.chopper.and_then(|chopper| chopper.latch).is_some_and(|(from, _)| from == place);
        latched || self.steps.iter().any(|step| step.source().iter().any(|term| term.place == place))
    }

    /// Whether an event changes a matrix.
    pub(crate) fn changes(&self, place: Place) -> bool {
        let reset = self.reset_prob > 0.0 && self.sources.iter().any(|array| place == Place::Array(*array));
        let latched = self.chopper.and_then(|chopper| chopper.latch).is_some_and(|(_, to)| to == place);
        let consumed =
            |step: &Step| matches!(step, Step::Write(write) if write.threshold.is_some() && write.source.iter().any(|t| t.place == place));
        reset || latched || self.steps.iter().any(|step| step.target() == place || consumed(step))
    }
}

/// A whole algorithm.
#[derive(Debug, Clone)]
pub struct Plan {
    pub(crate) arrays: Vec<String>,
    pub(crate) digital: Vec<String>,
    pub(crate) weight: Vec<Term>,
    pub(crate) gradient: Gradient,
    pub(crate) transfers: Vec<Transfer>,
}

impl Plan {
    /// The transfer that owns the plan's chopper, and that chopper.
    pub(crate) fn chopper(&self) -> Option<(usize, Chopper)> {
        self.transfers.iter().enumerate().find_map(|(at, transfer)| transfer.chopper.map(|chopper| (at, chopper)))
    }

    /// Whether the lines of a digital matrix are columns: those of the transfers that use it, unless the network or the gradient do, too.
    pub(crate) fn by_columns(&self, digital: usize) -> bool {
        let place = Place::Digital(digital);
        let whole = self.gradient.target == place || self.weight.iter().any(|term| term.place == place);
        let uses = |t: &Transfer| t.axis == Axis::Columns && (t.changes(place) || t.reads_digital(digital));
        !whole && self.transfers.iter().any(uses)
    }
}
