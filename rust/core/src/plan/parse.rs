//! A plan from named settings. Errors name the field, the value and what is allowed.

use super::{Accumulate, Axis, Chopper, Every, Flips, Gradient, Place, Plan, Rate, Step, Term, Threshold, Transfer, Write};
use crate::error::{Error, Result};
use crate::fields::{Fields, Value};
use crate::mvm::{BoundManagement, Io, NoiseManagement};
use crate::pulse::PulseTrain;

/// The largest whole number that `f64` counts up to.
const LARGEST_WHOLE: usize = 1 << 53;

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
        let zero = Rate { value: 0.0, scaled: false, per_gradient_rate: false };
        let mut plan = Self {
            arrays: names(f.list("arrays")?)?,
            digital: names(f.list("digital")?)?,
            weight: Vec::new(),
            gradient: Gradient { target: Place::Array(0), rate: zero, chopped: false, auto_scale: None, bins: [(0, false); 2] },
            transfers: Vec::new(),
        };
        let mut all: Vec<&String> = plan.arrays.iter().chain(&plan.digital).collect();
        all.sort();
        if let Some(pair) = all.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(Error::value("plan.arrays, plan.digital", format_args!("{:?} twice", pair[0]), "every name once"));
        }
        plan.weight = plan.terms("plan.weight", f.list("weight")?)?;
        plan.gradient = plan.gradient(f.part("gradient")?)?;
        for transfer in f.list("transfers")? {
            let transfer = plan.transfer(Fields::new("plan.transfers", transfer)?)?;
            plan.transfers.push(transfer);
        }
        f.finish()?;
        plan.check_choppers()?;
        Ok(plan)
    }

    /// At most one chopper, and nothing chopped without it.
    fn check_choppers(&self) -> Result<()> {
        let choppers = self.transfers.iter().filter(|transfer| transfer.chopper.is_some()).count();
        if choppers > 1 {
            return Err(Error::value("plan.transfers.chopper", format_args!("in {choppers} transfers"), "in one at most"));
        }
        if choppers == 0 && (self.gradient.chopped || self.weight.iter().any(|term| term.chopped)) {
            return Err(Error::value("plan: chopped", "True", "False in a plan without a chopper"));
        }
        self.transfers.iter().try_for_each(|transfer| self.check_chopped(&transfer.steps))
    }

    /// No step with chopped terms in a plan without a chopper.
    pub(crate) fn check_chopped(&self, steps: &[Step]) -> Result<()> {
        if self.chopper().is_none() && steps.iter().flat_map(Step::source).any(|term| term.chopped) {
            return Err(Error::value("plan: chopped", "True", "False in a plan without a chopper"));
        }
        Ok(())
    }

    /// Refuses a learning rate that makes any rate overflow.
    pub(crate) fn check_rates(&self, lr: f64) -> Result<()> {
        check_rate(&self.gradient.rate, lr)?;
        self.transfers.iter().try_for_each(|transfer| Self::check_steps(&transfer.steps, lr))
    }

    /// The same of the steps of a transfer.
    pub(crate) fn check_steps(steps: &[Step], lr: f64) -> Result<()> {
        steps.iter().try_for_each(|step| match step {
            Step::Accumulate(step) => check_rate(&step.gain, lr),
            Step::Write(step) => check_rate(&step.rate, lr),
        })
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
                    chopped: f.switch("chopped", false)?,
                };
                f.finish()?;
                Ok(term)
            })
            .collect();
        match terms?.as_slice() {
            [] => Err(Error::value(field, "empty", "at least one term")),
            [.., last] if field == "plan.weight" && (last.factor == 0.0 || last.chopped) => {
                Err(Error::value(field, "a last term with a factor of 0 or a chopper", "another one: it takes weights that are set"))
            }
            terms => Ok(terms.to_vec()),
        }
    }

    fn gradient(&self, mut f: Fields) -> Result<Gradient> {
        let target = self.place("plan.gradient.target", &f.text("target")?)?;
        let rate = rate(f.part("rate")?)?;
        if rate.per_gradient_rate {
            return Err(Error::value("plan.gradient.rate.per_gradient_rate", "True", "False: it is the rate of the gradient itself"));
        }
        let mut bins = [(0, false); 2];
        for (bins, (levels, chance)) in bins.iter_mut().zip([("n_x_bins", "stoc_round_x"), ("n_d_bins", "stoc_round_d")]) {
            *bins = (f.whole(levels, 0, 0..=1 << 24)? as u32, f.switch(chance, true)?);
        }
        let gradient = Gradient {
            target,
            rate,
            chopped: f.switch("chopped", false)?,
            auto_scale: f.optional_real("auto_scale", 0.0..=1.0 - f64::EPSILON)?,
            bins,
        };
        f.finish()?;
        if matches!(target, Place::Array(_)) && gradient.bins.iter().any(|(levels, _)| *levels > 0) {
            return Err(Error::value("plan.gradient.n_x_bins, n_d_bins", "not 0", "0 where the target is an array"));
        }
        if matches!(target, Place::Digital(_)) && gradient.auto_scale.is_some() {
            return Err(Error::value("plan.gradient.auto_scale", "set", "None where the target is digital: it has no granularity"));
        }
        Ok(gradient)
    }

    pub(crate) fn transfer(&self, mut f: Fields) -> Result<Transfer> {
        let every = every(f.part("every")?)?;
        let io = Io::new(f.part("io")?)?;
        if io.bound_management != BoundManagement::None || io.noise_management != NoiseManagement::None {
            // A repeated read-out would couple all rows of the line, and a one-hot input needs no scaling.
            return Err(Error::value("plan.transfers.io.bound_management, noise_management", "on", "\"none\" for both"));
        }
        let axis = f.choice("axis", &[("columns", Axis::Columns), ("rows", Axis::Rows)])?;
        let reads = f.whole("reads", 1, 0..=1 << 20)?;
        let random = f.switch("random", false)?;
        let reset_prob = f.real("reset_prob", 0.0, 0.0..=1.0)? as f32;
        let chopper = f.optional("chopper")?.map(|chopper| self.chopper_of(chopper)).transpose()?;
        if random && chopper.is_some() {
            return Err(Error::value("plan.transfers.random", "True", "False with a chopper, which counts passes"));
        }
        let mut steps = Vec::new();
        for step in f.list("steps")? {
            steps.push(self.step(Fields::new("plan.transfers.steps", step)?, random)?);
        }
        f.finish()?;
        let mut sources = Vec::new();
        for term in steps.iter().flat_map(Step::source) {
            if let Place::Array(array) = term.place
                && !sources.contains(&array)
            {
                sources.push(array);
            }
        }
        Ok(Transfer { every, axis, reads, random, reset_prob, chopper, io, steps, sources })
    }

    fn chopper_of(&self, mut f: Fields) -> Result<Chopper> {
        let prob = f.real("prob", 0.0, 0.0..=1.0)?;
        let random = f.switch("random", true)?;
        let together = f.choice("scope", &[("line", false), ("array", true)])?;
        let cross_prob = f.real("cross_prob", 0.0, 0.0..=1.0)? as f32;
        if together && (!random || cross_prob > 0.0) {
            return Err(Error::value(
                "plan.transfers.chopper.scope",
                "\"array\" with flips in turn or of crossing lines",
                "\"line\" for those",
            ));
        }
        let flips = match (together, random || prob == 0.0) {
            (true, _) => Flips::Together,
            (_, true) => Flips::Random,
            _ => Flips::InTurn(((1.0 / prob).ceil() as u64).max(2)),
        };
        let latch = match f.list_or_none("latch")?.as_slice() {
            [] => None,
            [Value::Text(from), Value::Text(to)] => {
                let field = "plan.transfers.chopper.latch";
                match (self.place(field, from)?, self.place(field, to)?) {
                    (from @ Place::Digital(_), to) if from != to => Some((from, to)),
                    _ => return Err(Error::value(field, format_args!("{from:?}, {to:?}"), "a digital matrix and another one")),
                }
            }
            _ => return Err(Error::value("plan.transfers.chopper.latch", "no pair of names", "a digital matrix and another one")),
        };
        f.finish()?;
        Ok(Chopper { prob: prob as f32, flips, cross_prob, latch })
    }

    fn step(&self, mut f: Fields, random: bool) -> Result<Step> {
        if let Some(accumulate) = f.optional("accumulate")? {
            f.finish()?;
            return self.accumulate(accumulate).map(Step::Accumulate);
        }
        let write = f.part("write")?;
        f.finish()?;
        self.write(write, random).map(Step::Write)
    }

    fn accumulate(&self, mut f: Fields) -> Result<Accumulate> {
        let source = self.terms("plan.transfers.steps.accumulate.source", f.list("source")?)?;
        let into = self.place("plan.transfers.steps.accumulate.into", &f.text("into")?)?;
        let (gain, keep) = (rate(f.part("gain")?)?, f.real("keep", 1.0, 0.0..=f64::INFINITY)? as f32);
        f.finish()?;
        Ok(Accumulate { source, into, gain, keep })
    }

    fn write(&self, mut f: Fields, random: bool) -> Result<Write> {
        let source = self.terms("plan.transfers.steps.write.source", f.list("source")?)?;
        let name = f.text("target")?;
        let target = self.place("plan.transfers.steps.write.target", &name)?;
        if source.iter().any(|term| term.place == target) {
            let allowed = "a matrix that is not its own source";
            return Err(Error::value("plan.transfers.steps.write.target", format_args!("{name:?}"), allowed));
        }
        let threshold = f.optional("threshold")?.map(threshold).transpose()?;
        let consumed = matches!(source[..], [Term { place: Place::Digital(_), factor: 1.0, chopped: false }]);
        if threshold.is_some() && !consumed {
            return Err(Error::value(
                "plan.transfers.steps.write.source",
                "a sum, an array or a multiple",
                "one digital matrix, where there is a threshold",
            ));
        }
        let after_passes = match f.optional_real("after_passes", 0.0..=LARGEST_WHOLE as f64)? {
            Some(passes) if passes.fract() != 0.0 || random => {
                let allowed = "None or a whole number, and None for a random choice of lines";
                return Err(Error::value("plan.transfers.steps.write.after_passes", passes, allowed));
            }
            passes => passes.map(|passes| passes as u64),
        };
        let unit = f.real("unit", 1.0, 0.0..=f64::INFINITY)? as f32;
        if unit < f32::MIN_POSITIVE {
            return Err(Error::value("plan.transfers.steps.write.unit", unit, "a positive number"));
        }
        let write = Write {
            source,
            target,
            rate: rate(f.part("rate")?)?,
            unit,
            threshold,
            deadband: f.real("deadband", 0.0, 0.0..=f64::INFINITY)? as f32,
            after_passes,
            pulses: PulseTrain::new(f.part("pulses")?)?,
        };
        f.finish()?;
        Ok(write)
    }
}

fn check_rate(rate: &Rate, lr: f64) -> Result<()> {
    match (rate.at(lr, 1.0) as f32).is_finite() && lr.is_finite() {
        true => Ok(()),
        false => Err(Error::value("lr", lr, "a number whose rates are finite in float32")),
    }
}

fn every(mut f: Fields) -> Result<Every> {
    let period = f.real("period", 1.0, 1e-9..=1e15)?;
    let vectors = f.choice("unit", &[("batches", false), ("vectors", true)])?;
    f.finish()?;
    match (vectors, period.fract() == 0.0) {
        (true, true) => Ok(Every::Vectors(period as u64)),
        (true, false) => Err(Error::value("plan.transfers.every.period", period, "a whole number of vectors")),
        (false, true) => Ok(Every::Batches(period as u64)),
        (false, false) => Ok(Every::PartOfBatch(period)),
    }
}

fn threshold(mut f: Fields) -> Result<Threshold> {
    let threshold = Threshold {
        cap: f.whole("cap", 1, 1..=(1 << 31) - 1)? as f32,
        momentum: f.real("momentum", 0.0, 0.0..=1.0)? as f32,
        forget: f.switch("forget", true)?,
        limit: f.real("limit", 0.0, 0.0..=f64::INFINITY)? as f32,
    };
    f.finish()?;
    Ok(threshold)
}

fn rate(mut f: Fields) -> Result<Rate> {
    let value = f.real("value", 1.0, 0.0..=f64::INFINITY)?;
    let rate = Rate { value, scaled: f.switch("scaled", false)?, per_gradient_rate: f.switch("per_gradient_rate", false)? };
    f.finish()?;
    Ok(rate)
}
