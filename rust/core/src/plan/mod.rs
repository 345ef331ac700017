//! Plans: what an algorithm says, and the executor that runs it.
//!
//! A plan names crossbar **arrays** and **digital** matrices, the composite **weight** the network sees, where the **gradient** goes, and **transfers**:
//! events that read lines (columns or rows) and write them elsewhere. Everything an update does follows from its inputs, counters and keys before the first pulse.

pub(crate) mod executor;

use crate::error::{Error, Result};
use crate::fields::{Fields, Value};
use crate::mvm::{BoundManagement, Io, NoiseManagement};
use crate::pulse::PulseTrain;

/// A rate: `value`, times the learning rate if `scaled`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rate {
    value: f64,
    scaled: bool,
}

impl Rate {
    pub(crate) fn at(&self, lr: f64) -> f64 {
        if self.scaled { self.value * lr } else { self.value }
    }
}

/// Which matrix a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Array(usize),
    Digital(usize),
}

/// `factor * matrix`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Term {
    pub(crate) place: Place,
    pub(crate) factor: f32,
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

/// `target <- target - rate d x^T`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Gradient {
    pub(crate) target: Place,
    pub(crate) rate: Rate,
}

/// `target <- target + rate u` in pulses, `u` the sum of the source terms on the line read.
#[derive(Debug, Clone)]
pub(crate) struct Write {
    pub(crate) source: Vec<Term>,
    pub(crate) target: usize,
    pub(crate) rate: Rate,
    pub(crate) pulses: PulseTrain,
}

/// Which lines an event reads and writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Axis {
    Columns,
    Rows,
}

/// An event: for each of `reads` lines, read the sources, then write.
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
    pub(crate) io: Io,
    pub(crate) steps: Vec<Write>,
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
    /// From named settings; refuses names that the plan does not declare.
    pub fn new(settings: Value) -> Result<Self> {
        let mut f = Fields::new("plan", settings)?;
        let names = |list: Vec<Value>| -> Result<Vec<String>> {
            list.into_iter()
                .map(|v| match v {
                    // Parts of a state have names like `fast.0.values`.
                    Value::Text(name) if !name.is_empty() && !name.contains('.') => Ok(name),
                    other => Err(Error::value("plan.arrays, plan.digital", other, "names without dots")),
                })
                .collect()
        };
        let mut plan = Self {
            arrays: names(f.list("arrays")?)?,
            digital: names(f.list("digital")?)?,
            weight: Vec::new(),
            gradient: Gradient { target: Place::Array(0), rate: Rate { value: 0.0, scaled: false } },
            transfers: Vec::new(),
        };
        let mut all: Vec<&String> = plan.arrays.iter().chain(&plan.digital).collect();
        all.sort();
        if let Some(pair) = all.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(Error::value("plan.arrays, plan.digital", format_args!("{:?} twice", pair[0]), "every name once"));
        }
        plan.weight = plan.terms("plan.weight", f.list("weight")?)?;
        let mut gradient = f.part("gradient")?;
        plan.gradient =
            Gradient { target: plan.place("plan.gradient.target", &gradient.text("target")?)?, rate: rate(gradient.part("rate")?)? };
        gradient.finish()?;
        for transfer in f.list("transfers")? {
            let transfer = plan.transfer(Fields::new("plan.transfers", transfer)?)?;
            plan.transfers.push(transfer);
        }
        f.finish()?;
        Ok(plan)
    }

    /// Refuses a learning rate that makes any rate overflow.
    pub(crate) fn check_rates(&self, lr: f64) -> Result<()> {
        let writes = self.transfers.iter().flat_map(|transfer| &transfer.steps).map(|step| &step.rate);
        match writes.chain([&self.gradient.rate]).all(|rate| (rate.at(lr) as f32).is_finite() && lr.is_finite()) {
            true => Ok(()),
            false => Err(Error::value("lr", lr, "a number whose rates are finite in float32")),
        }
    }

    pub(crate) fn place(&self, field: &str, name: &str) -> Result<Place> {
        let at = |names: &[String]| names.iter().position(|n| n == name);
        match (at(&self.arrays), at(&self.digital)) {
            (Some(i), _) => Ok(Place::Array(i)),
            (_, Some(i)) => Ok(Place::Digital(i)),
            _ => {
                let known: Vec<_> = self.arrays.iter().chain(&self.digital).cloned().collect();
                Err(Error::value(field, format_args!("{name:?}"), known.join(", ")))
            }
        }
    }

    fn terms(&self, field: &str, list: Vec<Value>) -> Result<Vec<Term>> {
        let terms: Result<Vec<Term>> = list
            .into_iter()
            .map(|value| {
                let mut f = Fields::new(field, value)?;
                let term = Term {
                    place: self.place(&format!("{field}.matrix"), &f.text("matrix")?)?,
                    factor: f.real("factor", 1.0, f64::NEG_INFINITY..=f64::INFINITY)? as f32,
                };
                f.finish()?;
                Ok(term)
            })
            .collect();
        match terms?.as_slice() {
            [] => Err(Error::value(field, "empty", "at least one term")),
            [.., last] if field == "plan.weight" && last.factor == 0.0 => Err(Error::value(field, "a last factor of 0", "another number")),
            terms => Ok(terms.to_vec()),
        }
    }

    fn transfer(&self, mut f: Fields) -> Result<Transfer> {
        let mut every = f.part("every")?;
        let period = every.real("period", 1.0, 1e-9..=1e15)?;
        let vectors = every.choice("unit", &[("batches", false), ("vectors", true)])?;
        every.finish()?;
        let every = match (vectors, period.fract() == 0.0) {
            (true, true) => Every::Vectors(period as u64),
            (true, false) => return Err(Error::value("plan.transfers.every.period", period, "a whole number of vectors")),
            (false, true) => Every::Batches(period as u64),
            (false, false) => Every::PartOfBatch(period),
        };
        let io = Io::new(f.part("io")?)?;
        if io.bound_management != BoundManagement::None || io.noise_management != NoiseManagement::None {
            // A repeated read-out would couple all rows of the line, and a one-hot input needs no scaling.
            return Err(Error::value("plan.transfers.io.bound_management, noise_management", "on", "\"none\" for both"));
        }
        let axis = f.choice("axis", &[("columns", Axis::Columns), ("rows", Axis::Rows)])?;
        let reads = f.whole("reads", 1, 0..=1 << 20)?;
        let random = f.switch("random", false)?;
        let reset_prob = f.real("reset_prob", 0.0, 0.0..=1.0)? as f32;
        let mut steps = Vec::new();
        for step in f.list("steps")? {
            let mut step = Fields::new("plan.transfers.steps", step)?;
            let mut write = step.part("write")?;
            step.finish()?;
            let source = self.terms("plan.transfers.steps.write.source", write.list("source")?)?;
            let name = write.text("target")?;
            let target = match self.place("plan.transfers.steps.write.target", &name)? {
                Place::Array(at) if source.iter().all(|t| t.place != Place::Array(at)) => at,
                _ => {
                    return Err(Error::value(
                        "plan.transfers.steps.write.target",
                        format_args!("{name:?}"),
                        "an array that is not its own source",
                    ));
                }
            };
            let (rate, pulses) = (rate(write.part("rate")?)?, PulseTrain::new(write.part("pulses")?)?);
            write.finish()?;
            steps.push(Write { source, target, rate, pulses });
        }
        f.finish()?;
        Ok(Transfer { every, axis, reads, random, reset_prob, io, steps })
    }
}

fn rate(mut f: Fields) -> Result<Rate> {
    let rate = Rate { value: f.real("value", 1.0, 0.0..=f64::INFINITY)?, scaled: f.switch("scaled", false)? };
    f.finish()?;
    Ok(rate)
}
