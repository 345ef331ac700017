//! A tile: the arrays of one crossbar with its algorithm, its periphery and its counters.

pub(crate) mod array;
mod calibrate;
pub(crate) mod crossbar;
pub(crate) mod digital;

use crate::device::LARGEST;
use crate::error::{Error, Result, check_finite, check_matrix};
use crate::fields::{Fields, Value};
use crate::mvm::{Io, Matrix, Mean, NoiseManagement, Side, Streams, product};
use crate::plan::event::Scratch;
use crate::plan::executor::Executor;
use crate::plan::schedule::{Counters, Signs, TransferCounters};
use crate::plan::{Axis, Place, Plan, Step, Transfer};
use crate::pool::{Machine, Pool};
use crate::pulse::{PulseTrain, PulseType};
use crate::rng::{Key, Kind, Use};
use crate::simd::{Isa, finite};
use array::{Array, Origin};
pub use array::{cell_facts, check_device};
pub use calibrate::ZeroShift;
use crossbar::{Crossbar, Moment};
use digital::Digital;
use std::cmp::Reverse;

/// More vectors than this in one update count as several update calls.
pub const MAX_VECTORS: usize = 4096;

/// The largest array: 8192 x 8192.
pub const MAX_CELLS: usize = 1 << 26;

/// The most pulses of a cell that one call may ask for.
const MAX_PULSES: u32 = 1 << 20;

/// The most numbers that one product gives: four gibibytes.
const MAX_OUTPUTS: usize = 1 << 30;

/// A crossbar with its algorithm: forward and backward products, and the update.
#[derive(Debug, Clone)]
pub struct Tile {
    rows: usize,
    columns: usize,
    plan: Plan,
    forward: Io,
    backward: Io,
    pulses: PulseTrain,
    arrays: Vec<Array>,
    digital: Vec<Digital>,
    counters: Counters,
    /// Vectors that went forward in training, forward in evaluation, and backward.
    products: [u64; 3],
    batch_ends: u64,
    /// Running means of noise management, forward and backward; 0 for none yet.
    means: [f32; 2],
    /// Changes of arrays outside of updates: each has streams of its own.
    operations: u64,
    run: Key,
    eval: Key,
    /// The device key, which has the fixed patterns of both peripheries.
    fixed: Key,
    isa: Isa,
    composite: Vec<f32>,
    composite_is_fresh: bool,
    scratch: Scratch,
}

/// What a tile is made of.
#[derive(Debug, Clone)]
pub struct TileSettings {
    /// Output lines (rows).
    pub d_out: usize,
    /// Input lines (columns).
    pub d_in: usize,
    /// A device for every array of the plan, by name.
    pub devices: Vec<(String, Value)>,
    /// The algorithm.
    pub plan: Value,
    /// Periphery of the forward product.
    pub forward: Value,
    /// Periphery of the backward product.
    pub backward: Value,
    /// The gradient's pulses.
    pub pulses: Value,
    /// Seeds of device-to-device values and of all noise.
    pub seeds: (u64, u64),
    /// Count the pulses of every cell.
    pub count_pulses: bool,
    /// The tile's name: tiles with the same name and seeds share their streams.
    pub path: String,
    /// The instruction set to run on.
    pub isa: Isa,
}

/// A named part of a tile's state.
#[derive(Debug, Clone, PartialEq)]
pub enum State {
    /// A matrix, row by row, or one number for all cells.
    Values(Vec<f32>),
    /// Counters.
    Counts(Vec<u64>),
}

/// A mini-batch of a tile, see [`Tile::update`].
#[derive(Debug)]
pub struct Batch<'a> {
    /// The tile.
    pub tile: &'a mut Tile,
    /// Inputs.
    pub x: &'a [f32],
    /// Errors.
    pub d: &'a [f32],
    /// Learning rate.
    pub lr: f64,
}

impl Batch<'_> {
    /// Nanoseconds, roughly; many pulses take more.
    fn work(&self) -> usize {
        16 * (self.x.len() + self.d.len())
    }
}

/// Updates several tiles, side by side if that pays, and ends their mini-batches. What one of them refuses changes none.
pub fn train(pool: &Pool, mut batches: Vec<Batch>) -> Result<()> {
    batches.iter().try_for_each(|batch| batch.tile.check_update(batch.x, batch.d, batch.lr))?;
    batches.sort_by_key(|batch| Reverse(batch.work()));
    // What others can take off the caller's thread.
    let work = batches.iter().skip(1).map(Batch::work).sum();
    pool.run(batches.into_iter(), work, 0, |_, Batch { tile, x, d, lr }| {
        tile.apply(pool, x, d, lr);
        tile.end_batch();
    });
    Ok(())
}

impl Tile {
    /// Builds the tile and draws its cells. Weights start at zero.
    pub fn new(settings: TileSettings) -> Result<Self> {
        let TileSettings { d_out: rows, d_in: columns, devices, plan, forward, backward, pulses, seeds, count_pulses, path, isa } =
            settings;
        for (name, n) in [("d_out", rows), ("d_in", columns)] {
            if !(1..=MAX_CELLS).contains(&n) {
                return Err(Error::value(name, n, format_args!("1 to {MAX_CELLS}")));
            }
        }
        if rows * columns > MAX_CELLS {
            return Err(Error::value("d_out * d_in", rows * columns, format_args!("up to {MAX_CELLS} cells")));
        }
        let plan = Plan::new(plan)?;
        plan.transfers.iter().try_for_each(|transfer| check_reads(transfer, [rows, columns]))?;
        let mut forward = Io::new(Fields::new("forward", forward)?)?;
        let mut backward = Io::new(Fields::new("backward", backward)?)?;
        if plan.weight.iter().all(|term| matches!(term.place, Place::Digital(_))) {
            // A purely digital weight has no periphery.
            let perfect = Value::Map(vec![("is_perfect".into(), Value::Bool(true))]);
            forward = Io::new(Fields::new("forward", perfect)?)?;
            backward = forward;
        }
        let pulses = PulseTrain::new(Fields::new("pulses", pulses)?)?;
        if let Some((name, _)) = devices.iter().find(|(name, _)| !plan.arrays.contains(name)) {
            return Err(Error::value("devices", format_args!("{name:?}"), format_args!("the arrays {}", plan.arrays.join(", "))));
        }
        let mut arrays = Vec::new();
        for (index, name) in plan.arrays.iter().enumerate() {
            let settings = devices.iter().find(|(n, _)| n == name).map(|(_, settings)| settings.clone());
            let settings = settings.ok_or_else(|| Error::value("devices", "none for ".to_string() + name, "one for every array"))?;
            let origin = Origin { seeds, path: &path, index: index as u64, count_pulses };
            arrays.push(Array::new(name, settings, [rows, columns], origin).map_err(|e| e.within(&format!("devices.{name}")))?);
        }
        let digital = (0..plan.digital.len()).map(|matrix| Digital::new([rows, columns], plan.by_columns(matrix))).collect();
        let signs = signs_of(&plan, [rows, columns]);
        let counters = Counters { transfers: vec![TransferCounters::default(); plan.transfers.len()], signs, ..Counters::default() };
        Ok(Self {
            rows,
            columns,
            plan,
            forward,
            backward,
            pulses,
            arrays,
            digital,
            counters,
            products: [0; 3],
            batch_ends: 0,
            means: [0.0; 2],
            operations: 0,
            run: Key::new(seeds.1, Kind::Run, &path, 0),
            eval: Key::new(seeds.1, Kind::Eval, &path, 0),
            fixed: Key::new(seeds.0, Kind::Device, &path, 0),
            isa,
            composite: Vec::new(),
            composite_is_fresh: false,
            scratch: Scratch::default(),
        })
    }

    /// Output lines.
    pub fn d_out(&self) -> usize {
        self.rows
    }

    /// Input lines.
    pub fn d_in(&self) -> usize {
        self.columns
    }

    /// `y = W x` for each of the vectors in `x` (`[batch][d_in]`), through the forward periphery. Training and evaluation have noise of their own;
    /// without `noise` nothing is drawn and the tile stays as it is.
    pub fn forward(&mut self, pool: &Pool, x: &[f32], training: bool, noise: bool) -> Result<Vec<f32>> {
        let vectors = self.check_product("x", x, self.columns, self.rows)?;
        let (key, counter) = if training { (self.run, 0) } else { (self.eval, 1) };
        let (inp, out, fixed) = (key.of(Use::ForwardIn), key.of(Use::ForwardOut), self.fixed.child(Side::Forward as u64));
        let y = self.through(pool, x, true, Streams { inp, out, first: self.products[counter], fixed, noise }, training && noise);
        self.products[counter] += if noise { vectors as u64 } else { 0 };
        Ok(y)
    }

    /// `W^T d` for each of the vectors in `d` (`[batch][d_out]`), through the backward periphery, which has no bound management.
    pub fn backward(&mut self, pool: &Pool, d: &[f32]) -> Result<Vec<f32>> {
        let vectors = self.check_product("d", d, self.rows, self.columns)?;
        let (inp, out, fixed) = (self.run.of(Use::BackwardIn), self.run.of(Use::BackwardOut), self.fixed.child(Side::Backward as u64));
        let y = self.through(pool, d, false, Streams { inp, out, first: self.products[2], fixed, noise: true }, true);
        self.products[2] += vectors as u64;
        Ok(y)
    }

    fn through(&mut self, pool: &Pool, x: &[f32], forward: bool, streams: Streams, moves: bool) -> Vec<f32> {
        self.refresh_composite();
        let machine = Machine { isa: self.isa, pool };
        let matrix = Matrix { values: self.composite(), rows: self.rows, columns: self.columns, forward };
        let io = if forward { &self.forward } else { &self.backward };
        let mut mean = Mean { value: self.means[usize::from(!forward)], moves };
        let y = product(machine, io, matrix, x, streams, &mut mean, forward);
        self.means[usize::from(!forward)] = mean.value;
        y
    }

    /// One mini-batch: `x` is `[m][d_in]`, `d` is `[m][d_out]` and holds the gradient of the mean loss. More than [`MAX_VECTORS`] count as several.
    pub fn update(&mut self, pool: &Pool, x: &[f32], d: &[f32], lr: f64) -> Result<()> {
        self.check_update(x, d, lr)?;
        self.apply(pool, x, d, lr);
        Ok(())
    }

    /// [`Tile::update`] with what it does not refuse.
    fn apply(&mut self, pool: &Pool, x: &[f32], d: &[f32], lr: f64) {
        for (x, d) in x.chunks(MAX_VECTORS * self.columns).zip(d.chunks(MAX_VECTORS * self.rows)) {
            let Self { plan, pulses, arrays, digital, counters, scratch, .. } = self;
            let moment = Moment::Call(counters.vectors);
            let (machine, rows, columns) = (Machine { isa: self.isa, pool }, self.rows, self.columns);
            Executor { machine, plan, pulses, rows, columns, arrays, digital, counters, lr, run: self.run, moment, scratch }.update(x, d);
        }
        self.composite_is_fresh = false;
    }

    /// Replaces the plan by one with the same matrices, as many transfers, and a chopper of the same lines, if any. All else stays.
    pub fn set_plan(&mut self, plan: Value) -> Result<()> {
        let plan = Plan::new(plan)?;
        plan.transfers.iter().try_for_each(|transfer| check_reads(transfer, [self.rows, self.columns]))?;
        let transfers = (plan.transfers.len(), self.plan.transfers.len());
        if (&plan.arrays, &plan.digital) != (&self.plan.arrays, &self.plan.digital) || transfers.0 != transfers.1 {
            return Err(Error::new("plan", "has other matrices or another number of transfers than before, allowed: the same"));
        }
        let signs = signs_of(&plan, [self.rows, self.columns]);
        if signs.line.len() != self.counters.signs.line.len() {
            return Err(Error::new("plan", "has a chopper of other lines than before, allowed: the same"));
        }
        for (at, matrix) in self.digital.iter_mut().enumerate() {
            let mut next = Digital::new([self.rows, self.columns], plan.by_columns(at));
            next.set(&matrix.get());
            *matrix = next;
        }
        if plan.gradient.auto_scale.is_none() {
            self.counters.largest = [0.0; 2];
        }
        self.plan = plan;
        self.composite_is_fresh = false;
        Ok(())
    }

    /// Reads lines of arrays and runs steps with them, once and at once: an event of a transfer that is none of the plan. It has no chopper, no
    /// probability of a reset and no number of passes to wait for; `lines` stand for its reads.
    pub fn event(&mut self, pool: &Pool, transfer: Value, lines: &[usize], lr: f64) -> Result<()> {
        let transfer = self.plan.transfer(Fields::new("transfer", transfer)?)?;
        let waits = |step: &Step| matches!(step, Step::Write(write) if write.after_passes.is_some());
        if transfer.chopper.is_some() || transfer.reset_prob > 0.0 || transfer.steps.iter().any(waits) {
            return Err(Error::value("transfer.chopper, reset_prob, after_passes", "set", "None, 0 and None outside of plans"));
        }
        let (all, name) = if transfer.axis == Axis::Columns { (self.columns, "d_in") } else { (self.rows, "d_out") };
        let mut sorted = lines.to_vec();
        sorted.sort_unstable();
        if sorted.windows(2).any(|pair| pair[0] == pair[1]) || sorted.last().is_some_and(|last| *last >= all) {
            return Err(Error::value(
                "lines",
                format_args!("{lines:?}"),
                format_args!("different lines from 0 to {name} - 1 = {}", all - 1),
            ));
        }
        self.plan.check_chopped(&transfer.steps)?;
        Plan::check_steps(&transfer.steps, lr)?;
        for step in &transfer.steps {
            if let Step::Write(write) = step
                && let Place::Array(at) = write.target
                && write.pulses.pulse_type == PulseType::None
                && self.is_bounded(at)
            {
                let allowed = "the others: in the plan, updates of this array end at the bounds of its cells";
                return Err(Error::value("transfer.steps.write.pulses.pulse_type", "\"none\"", allowed));
            }
        }
        let moment = Moment::Operation(self.operation());
        let Self { plan, pulses, arrays, digital, counters, scratch, .. } = self;
        let (machine, rows, columns) = (Machine { isa: self.isa, pool }, self.rows, self.columns);
        Executor { machine, plan, pulses, rows, columns, arrays, digital, counters, lr, run: self.run, moment, scratch }
            .event(&transfer, lines);
        Ok(())
    }

    /// The number of an operation that changes arrays outside of updates.
    fn operation(&mut self) -> u64 {
        self.operations += 1;
        self.composite_is_fresh = false;
        self.operations
    }

    /// Does `work` with every crossbar of an array, or of all.
    fn crossbars(&mut self, array: Option<&str>, mut work: impl FnMut(&mut Crossbar, u64)) -> Result<()> {
        let chosen = array.map(|name| self.array(name)).transpose()?;
        let operation = self.operation();
        let arrays = self.arrays.iter_mut().enumerate().filter(|(at, _)| chosen.is_none_or(|chosen| chosen == *at));
        arrays.for_each(|(_, array)| array.parts_mut().iter_mut().for_each(|crossbar| work(crossbar, operation)));
        Ok(())
    }

    /// The end of a mini-batch: diffusion, then decay, of the cells that have them.
    pub fn end_batch(&mut self) {
        let (count, operation) = (self.batch_ends, self.operation());
        for array in &mut self.arrays {
            array.parts_mut().iter_mut().for_each(|crossbar| crossbar.end_batch(count, operation));
        }
        self.batch_ends += 1;
    }

    /// One decay of the cells of an array, or of all arrays.
    pub fn decay(&mut self, array: Option<&str>) -> Result<()> {
        self.crossbars(array, |crossbar, operation| crossbar.decay(operation))
    }

    /// One diffusion.
    pub fn diffuse(&mut self, array: Option<&str>) -> Result<()> {
        self.crossbars(array, |crossbar, operation| crossbar.diffuse(operation))
    }

    /// Drift over a time, for devices that drift.
    pub fn drift(&mut self, array: Option<&str>, time: f64) -> Result<()> {
        if !(0.0..=LARGEST).contains(&time) {
            return Err(Error::value("time", time, format_args!("0 to {LARGEST:?}")));
        }
        self.crossbars(array, |crossbar, operation| crossbar.drift(time as f32, operation))
    }

    /// Resets the cells of some columns, each with probability `prob`.
    pub fn reset(&mut self, array: Option<&str>, columns: &[usize], prob: f64) -> Result<()> {
        if !(0.0..=1.0).contains(&prob) {
            return Err(Error::value("prob", prob, "0 to 1"));
        }
        if let Some(column) = columns.iter().find(|column| **column >= self.columns) {
            return Err(Error::value("columns", column, format_args!("0 to {}", self.columns - 1)));
        }
        self.crossbars(array, |crossbar, operation| crossbar.reset(columns, prob as f32, operation))
    }

    /// Pulses of each cell of an array, row by row; up where `counts` is positive.
    pub fn pulse_cells(&mut self, array: &str, counts: &[i32]) -> Result<()> {
        let at = self.array(array)?;
        if counts.len() != self.rows * self.columns {
            let allowed = format!("{} x {} = {}", self.rows, self.columns, self.rows * self.columns);
            return Err(Error::value("counts", format_args!("an array of {} values", counts.len()), allowed));
        }
        if let Some(count) = counts.iter().find(|count| count.unsigned_abs() > MAX_PULSES) {
            return Err(Error::value("counts", count, format_args!("-{MAX_PULSES} to {MAX_PULSES}")));
        }
        let operation = self.operation();
        self.arrays[at].pulse_cells(counts, operation);
        Ok(())
    }

    /// Pulses up and down that every cell of an array got so far, if the tile counts them.
    pub fn pulse_counts(&self, array: &str) -> Result<[Vec<u64>; 2]> {
        let counts = self.arrays[self.array(array)?].pulse_counts();
        counts.ok_or_else(|| Error::new("pulse_counts", "are not there: this tile was built with count_pulses=False"))
    }

    /// What [`Tile::update`] would refuse.
    pub fn check_update(&self, x: &[f32], d: &[f32], lr: f64) -> Result<()> {
        let vectors = self.check_vectors("x", x, self.columns)?;
        let errors = self.check_vectors("d", d, self.rows)?;
        if vectors != errors {
            return Err(Error::value("d", format_args!("{errors} vectors"), format_args!("{vectors}, one for each of x")));
        }
        self.plan.check_rates(lr)
    }

    fn check_product(&self, field: &str, values: &[f32], lines_in: usize, lines_out: usize) -> Result<usize> {
        let vectors = self.check_vectors(field, values, lines_in)?;
        if vectors * lines_out > MAX_OUTPUTS {
            return Err(Error::value(
                field,
                format_args!("{vectors} vectors"),
                format_args!("up to {} at a time", MAX_OUTPUTS / lines_out),
            ));
        }
        Ok(vectors)
    }

    fn check_vectors(&self, field: &str, values: &[f32], lines: usize) -> Result<usize> {
        if values.is_empty() || !values.len().is_multiple_of(lines) {
            return Err(Error::value(field, format_args!("{} values", values.len()), format_args!("one or more vectors of {lines}")));
        }
        check_finite(field, values)?;
        Ok(values.len() / lines)
    }
}

/// Weights.
impl Tile {
    /// The one array that is the whole weight, as it is stored.
    fn plain(&self) -> Option<&[f32]> {
        let mut terms = self.plan.weight.iter().filter(|term| term.factor != 0.0);
        match (terms.next(), terms.next()) {
            (Some(term), None) if term.factor == 1.0 && !term.chopped => match term.place {
                Place::Array(at) => self.arrays[at].plain(),
                Place::Digital(at) => Some(self.digital[at].rows()),
            },
            _ => None,
        }
    }

    fn composite(&self) -> &[f32] {
        self.plain().unwrap_or(&self.composite)
    }

    /// `sum of factor [c] matrix`, terms in order, those with factor 0 left out.
    fn refresh_composite(&mut self) {
        if self.composite_is_fresh || self.plain().is_some() {
            return;
        }
        let mut sum: Vec<f32> = std::mem::take(&mut self.composite);
        sum.resize(self.rows * self.columns, 0.0);
        let mut first = true;
        for term in self.plan.weight.iter().filter(|term| term.factor != 0.0) {
            let signs = self.plan.chopper().filter(|_| term.chopped);
            let signs = signs.map(|(owner, _)| self.counters.signs.by_axis(self.plan.transfers[owner].axis));
            let add = Add { sum: &mut sum, first, factor: term.factor, columns: self.columns, signs };
            match term.place {
                Place::Digital(at) => add.from(|i| self.digital[at].rows()[i]),
                Place::Array(at) => match self.arrays[at].plain() {
                    Some(values) => add.from(|i| values[i]),
                    None => add.from(|i| self.arrays[at].seen(i)),
                },
            }
            first = false;
        }
        self.composite = sum;
        self.composite_is_fresh = true;
    }

    /// A copy of the weight that the network sees.
    pub fn weights(&mut self) -> Vec<f32> {
        self.refresh_composite();
        self.composite().to_vec()
    }

    /// Puts `w` (divided by its factor, clipped to each cell's bounds) into the last term of the weight and zero into all else.
    pub fn set_weights(&mut self, w: &[f32]) -> Result<()> {
        check_matrix("weights", w, self.rows, self.columns)?;
        let operation = self.operation();
        self.arrays.iter_mut().for_each(|array| array.clear(operation));
        let zeros = vec![0.0; w.len()];
        self.digital.iter_mut().for_each(|matrix| matrix.set(&zeros));
        let last = self.plan.weight[self.plan.weight.len() - 1];
        let scaled: Vec<f32> = w.iter().map(|w| finite(w / last.factor)).collect();
        match last.place {
            Place::Array(at) => self.arrays[at].set_all(&scaled, operation),
            Place::Digital(at) => self.digital[at].set(&scaled),
        }
        Ok(())
    }

    /// A copy of an array as the network sees it, or of a digital matrix.
    pub fn matrix(&self, name: &str) -> Result<Vec<f32>> {
        Ok(match self.plan.place("array", name)? {
            Place::Array(at) => (0..self.rows * self.columns).map(|i| self.arrays[at].seen(i)).collect(),
            Place::Digital(at) => self.digital[at].get(),
        })
    }

    /// Sets an array (clipped to each cell's bounds) or a digital matrix.
    pub fn set_matrix(&mut self, name: &str, w: &[f32]) -> Result<()> {
        let place = self.plan.place("array", name)?;
        check_matrix(name, w, self.rows, self.columns)?;
        let operation = self.operation();
        match place {
            Place::Array(at) => self.arrays[at].set_all(w, operation),
            Place::Digital(at) => self.digital[at].set(w),
        }
        Ok(())
    }

    /// The persistent weights of an array, which write noise hides.
    pub fn hidden(&self, array: &str) -> Result<Vec<f32>> {
        Ok(self.arrays[self.array(array)?].hidden())
    }

    /// Sets them, clipped to each cell's bounds; what is seen stays until the cell changes.
    pub fn set_hidden(&mut self, array: &str, w: &[f32]) -> Result<()> {
        let at = self.array(array)?;
        check_matrix(array, w, self.rows, self.columns)?;
        self.composite_is_fresh = false;
        self.arrays[at].set_hidden(w)
    }

    fn array(&self, name: &str) -> Result<usize> {
        match self.plan.place("array", name)? {
            Place::Array(at) => Ok(at),
            Place::Digital(_) if self.plan.arrays.is_empty() => {
                Err(Error::new("array", "is asked for, but this algorithm has none: it is digital"))
            }
            Place::Digital(_) => Err(Error::value("array", format_args!("{name:?} (digital)"), self.plan.arrays.join(", "))),
        }
    }

    /// Mean change of an array's weight by a pulse at zero.
    pub fn granularity(&self, array: &str) -> Result<f64> {
        Ok(self.arrays[self.array(array)?].granularity())
    }

    /// The nominal range of an array's weight in units of that.
    pub fn n_states(&self, array: &str) -> Result<f64> {
        Ok(self.arrays[self.array(array)?].n_states())
    }

    /// Names of the per-cell parameters of an array; those of cells of several devices begin with the device's number.
    pub fn parameter_names(&self, array: &str) -> Result<Vec<String>> {
        Ok(self.arrays[self.array(array)?].parameter_names())
    }

    /// A copy of a per-cell parameter of an array.
    pub fn parameter(&self, array: &str, name: &str) -> Result<Vec<f32>> {
        self.arrays[self.array(array)?].parameter(name)
    }

    /// Sets a per-cell parameter; stored values are clipped to the bounds then in force.
    pub fn set_parameter(&mut self, array: &str, name: &str, values: &[f32]) -> Result<()> {
        let at = self.array(array)?;
        self.composite_is_fresh = false;
        self.arrays[at].set_parameter(name, values)
    }
}

/// Refuses a transfer that reads more lines than there are.
fn check_reads(transfer: &Transfer, [rows, columns]: [usize; 2]) -> Result<()> {
    let (lines, name) = if transfer.axis == Axis::Columns { (columns, "d_in") } else { (rows, "d_out") };
    if transfer.reads > lines {
        return Err(Error::value("plan.transfers.reads", transfer.reads, format_args!("0 (all) to {name} = {lines}")));
    }
    Ok(())
}

/// The signs of a plan's chopper before it has flipped any.
fn signs_of(plan: &Plan, [rows, columns]: [usize; 2]) -> Signs {
    plan.chopper().map_or_else(Signs::default, |(owner, _)| match plan.transfers[owner].axis {
        Axis::Columns => Signs::new(columns, rows),
        Axis::Rows => Signs::new(rows, columns),
    })
}

/// `sum <- sum + (factor value) sign`, or that alone for the first term.
struct Add<'a> {
    sum: &'a mut [f32],
    first: bool,
    factor: f32,
    columns: usize,
    /// Signs of rows and columns.
    signs: Option<[&'a [f32]; 2]>,
}

impl Add<'_> {
    #[inline(always)]
    fn from(self, value: impl Fn(usize) -> f32) {
        let Self { sum, first, factor, columns, signs } = self;
        let Some([rows, across]) = signs else {
            for (at, s) in sum.iter_mut().enumerate() {
                let v = factor * value(at);
                *s = if first { v } else { *s + v };
            }
            return;
        };
        for (row, (sum, sign)) in sum.chunks_exact_mut(columns).zip(rows).enumerate() {
            for (column, (s, across)) in sum.iter_mut().zip(across).enumerate() {
                let v = (factor * value(row * columns + column)) * (sign * across);
                *s = if first { v } else { *s + v };
            }
        }
    }
}

/// Saved state.
impl Tile {
    /// Single numbers that move on, 0 for none yet: the running means of the peripheries that have one, the running maxima of the gradient.
    fn running(&mut self) -> Vec<(&'static str, &mut f32)> {
        let managed = [&self.forward, &self.backward].map(|io| io.noise_management == NoiseManagement::AverageAbsMax);
        let means = ["forward.average_abs_max", "backward.average_abs_max"].into_iter().zip(&mut self.means);
        let largest = ["gradient.max_abs_x", "gradient.max_abs_d"].into_iter().zip(&mut self.counters.largest);
        let scaled = self.plan.gradient.auto_scale.is_some();
        let used = means.zip(managed).filter_map(|(mean, managed)| managed.then_some(mean));
        used.chain(largest.filter(|_| scaled)).collect()
    }

    /// Everything needed to go on bit for bit, by name.
    pub fn state(&mut self) -> Vec<(String, State)> {
        let mut state = Vec::new();
        self.arrays.iter().for_each(|array| state.extend(array.state()));
        for (name, matrix) in self.plan.digital.iter().zip(&self.digital) {
            state.push((format!("{name}.values"), State::Values(matrix.get())));
        }
        for (name, number) in self.running() {
            state.push((name.into(), State::Values(vec![*number])));
        }
        for (name, signs) in self.counters.signs.named() {
            state.push((name.into(), State::Counts(signs.iter().map(|sign| u64::from(*sign < 0.0)).collect())));
        }
        let mut counts = vec![self.counters.vectors, self.counters.batches];
        counts.extend(self.products);
        counts.extend([self.batch_ends, self.operations]);
        for transfer in &self.counters.transfers {
            counts.extend([transfer.pointer, transfer.events, transfer.since]);
        }
        state.push(("counters".into(), State::Counts(counts)));
        state
    }

    /// Whether the plan updates an array, and every update of it ends at the bounds of its cells.
    fn is_bounded(&self, array: usize) -> bool {
        let gradient = (self.plan.gradient.target == Place::Array(array)).then_some(&self.pulses);
        let writes = self.plan.transfers.iter().flat_map(|transfer| &transfer.steps).filter_map(|step| match step {
            Step::Write(write) if write.target == Place::Array(array) => Some(&write.pulses),
            _ => None,
        });
        let mut updates = writes.chain(gradient).peekable();
        updates.peek().is_some() && updates.all(|pulses| pulses.pulse_type != PulseType::None)
    }

    /// Takes a state of a tile with the same settings; refuses anything missing, unknown or of another shape, and is then unchanged.
    pub fn load_state(&mut self, mut state: Vec<(String, State)>) -> Result<()> {
        let mut take = |name: &str| state.iter().position(|(n, _)| n == name).map(|at| state.swap_remove(at).1);
        let mut next = self.clone();
        for (at, array) in next.arrays.iter_mut().enumerate() {
            array.restore(self.is_bounded(at), &mut take)?;
        }
        let missing = |name: &str| Error::new(format!("state.{name}"), "is missing");
        let mut values = |name: &str| match take(name) {
            Some(State::Values(values)) => Ok(values),
            Some(State::Counts(_)) => Err(Error::new(format!("state.{name}"), "holds counters, allowed: float32 values")),
            None => Err(missing(name)),
        };
        for (name, matrix) in self.plan.digital.iter().zip(&mut next.digital) {
            let stored = values(&format!("{name}.values"))?;
            check_matrix(name, &stored, self.rows, self.columns).map_err(|e| e.within("state"))?;
            matrix.set(&stored);
        }
        for (name, number) in next.running() {
            let saved = values(name)?;
            match saved[..] {
                [saved] if saved >= 0.0 && saved.is_finite() => *number = saved,
                _ => return Err(Error::value(&format!("state.{name}"), format_args!("{saved:?}"), "one number >= 0, finite")),
            }
        }
        for (name, signs) in next.counters.signs.named_mut() {
            match take(name).ok_or_else(|| missing(name))? {
                State::Counts(turned) if turned.len() == signs.len() && turned.iter().all(|turned| *turned < 2) => {
                    signs.iter_mut().zip(turned).for_each(|(sign, turned)| *sign = if turned == 1 { -1.0 } else { 1.0 });
                }
                _ => {
                    return Err(Error::new(
                        format!("state.{name}"),
                        format!("is not what this tile has, allowed: {} counts of 0 or 1", signs.len()),
                    ));
                }
            }
        }
        let expected = 7 + 3 * self.counters.transfers.len();
        match take("counters").ok_or_else(|| missing("counters"))? {
            State::Counts(counts) if counts.len() == expected => {
                (next.counters.vectors, next.counters.batches) = (counts[0], counts[1]);
                next.products.copy_from_slice(&counts[2..5]);
                (next.batch_ends, next.operations) = (counts[5], counts[6]);
                let lines = self.plan.transfers.iter().map(|t| if t.axis == Axis::Columns { self.columns } else { self.rows });
                for ((transfer, lines), counts) in next.counters.transfers.iter_mut().zip(lines).zip(counts[7..].chunks_exact(3)) {
                    *transfer = TransferCounters { pointer: counts[0] % lines as u64, events: counts[1], since: counts[2] };
                }
            }
            _ => return Err(Error::new("state.counters", format!("is not what this tile has, allowed: {expected} counts"))),
        }
        if let Some((name, _)) = state.first() {
            return Err(Error::new(format!("state.{name}"), "is unknown to this tile"));
        }
        next.composite_is_fresh = false;
        *self = next;
        Ok(())
    }
}
