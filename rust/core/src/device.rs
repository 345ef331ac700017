//! A device: how a cell answers a pulse, how its parameters spread, where its bounds are.
//!
//! One pulse at a cell with steps `dw_up`, `dw_down`, bounds `w_max`, `w_min` and response `q` (written per model, 1 at its nominal size):
//!
//! ```text
//! up:    v <- v + dw_up   * (q_up(v)   + sigma z m)        m = q (relative noise) or 1 (additive), z a fresh standard normal number
//! down:  v <- v - dw_down * (q_down(v) + sigma z m)        then v is clipped to [w_min, w_max]
//! ```
//!
//! `v = w + reference`: the stored value; the network sees `w = v - reference`.
//!
//! Cells are drawn once (all f32, in this order; `z_p` of parameter `p` from the device stream):
//!
//! ```text
//! w_max (1 + w_max_dtod z0)   w_min (1 + w_min_dtod z1)   gain = 1 + dw_min_dtod z2  or  exp(dw_min_dtod z2)   r = up_down_dtod z3
//! dw_up = dw_min ((gain + r) + min(up_down, 0))           dw_down = dw_min ((gain - r) - max(up_down, 0))
//! enforce_consistency: |dw|; bounds swapped if crossed, then |w_max|, -|w_min|
//! own parameters of the model (z5, z6, z7); bounds that are still crossed meet in the middle
//! reference = reference_mean + reference_std z4 [+ symmetric point]
//! decay = 1 - 1/t, t = lifetime (1 + lifetime_dtod z8); 0 where t <= 1; 1 without lifetime
//! diffusion = |diffusion (1 + diffusion_dtod z9)|      reset = reset + reset_dtod z10      nu = nu (1 + nu_dtod z11)
//! stuck where u12 < corrupt_devices_prob: steps 0, both bounds at low + (high - low) u13, uniform in the bounds within +-corrupt_devices_range
//! perfect_bias: cells of the last column have no spread, steps dw_min, 100 times the nominal bounds, no reference and do not age
//! ```
//!
//! `u_p` are uniform in [0, 1). The reference of a stuck cell is that of the cell as it would be.
//! At the end of a mini-batch (on request): `w <- w + diffusion z`, then `w <- w decay`, clipped.
//!
//! A model is one file in `devices/`: its own settings, own per-cell parameters and response. `devices/mod.rs` lists it once.

use crate::devices::AnyModel;
use crate::error::{Error, Result};
use crate::fields::{Fields, Value};
use crate::math::{self, Real};
use crate::rng::Key;
use crate::simd::{Group, Set, WIDTH, clip, finite, select};
use std::ops::RangeInclusive;

/// Parameters of a cell as the kernel sees them: common ones and up to four coefficients that the model prepared.
#[derive(Debug, Clone, Copy)]
pub struct Cell<R> {
    /// Upper bound of the stored value.
    pub w_max: R,
    /// Lower bound of the stored value.
    pub w_min: R,
    /// Size of an up step where the response is 1.
    pub dw_up: R,
    /// Size of a down step where the response is 1.
    pub dw_down: R,
    /// Whatever [`Model::prepare`] made.
    pub k: [R; 4],
}

/// What one file in `devices/` says.
pub trait Model: Send + Sync {
    /// Whether responses are worked out apart from the rest of a pulse: where one looks something up, and where one is so long that the compiler would not
    /// use the widest registers for both.
    const APART: bool = false;

    /// Names of the model's own per-cell parameters, at most two.
    fn own(&self) -> &'static [&'static str] {
        &[]
    }

    /// Draws them for one cell; `z(i)` gives independent normal numbers for i = 0, 1, 2. May move the bounds in `common` (`w_max, w_min, dw_up, dw_down`).
    fn draw(&self, _common: &mut [f32; 4], _z: &dyn Fn(u64) -> f32) -> [f32; 2] {
        [0.0; 2]
    }

    /// Coefficients for [`Model::response`], from `w_max, w_min, dw_up, dw_down` and the own parameters; once per call and cell.
    fn prepare<R: Real>(&self, common: [R; 4], own: [R; 2]) -> [R; 4];

    /// The response `q_up` (mask all ones) or `q_down` (mask zero) at the stored value `v`, apart from the cell's step.
    fn response<R: Real>(&self, cell: &Cell<R>, v: R, up: u32) -> R;

    /// The same for a group of cells, where responses are worked out apart; a model that looks something up can do it for all of them at once.
    #[inline(always)]
    fn responses<S: Set>(&self, cell: &Cell<Group<f32>>, v: &Group<f32>, up: &Group<u32>, q: &mut Group<f32>) {
        for lane in 0..WIDTH {
            q[lane] = self.response(&cell.lane(lane), v[lane], up[lane]);
        }
    }

    /// The stored value after one pulse, before it is clipped; `q` is the response there, `z` a fresh normal number.
    #[inline(always)]
    fn moved(&self, cell: &Cell<f32>, noise: Noise, v: f32, up: u32, q: f32, z: f32) -> f32 {
        let size = select(up, cell.dw_up, -cell.dw_down);
        v + size * (q + (noise.sigma * z) * select(noise.relative, q, 1.0))
    }

    /// What sets the model apart from the others before any cell is drawn.
    fn facts(&self) -> Facts {
        Facts::default()
    }
}

/// What a model says about itself as a whole.
#[derive(Debug, Clone, Copy)]
pub struct Facts {
    /// The nominal bounds `(w_max, w_min)`, where the model does not leave the fields of these names to [`Device`].
    pub bounds: Option<(f64, f64)>,
    /// `(dw_min, up_down)`, likewise.
    pub steps: Option<(f64, f64)>,
    /// Whether cycle noise scales with the response unless said otherwise.
    pub mult_noise: bool,
    /// Size of a pulse at zero, relative to `dw_min`.
    pub granularity: f64,
    /// Whether the model knows write noise.
    pub write_noise: bool,
    /// Whether weights that are set are clipped as they are seen, not as they are stored.
    pub clips_seen: bool,
}

impl Default for Facts {
    fn default() -> Self {
        Self { bounds: None, steps: None, mult_noise: true, granularity: 1.0, write_noise: true, clips_seen: false }
    }
}

/// Cycle noise: its size, and whether it scales with the response.
#[derive(Debug, Clone, Copy)]
pub struct Noise {
    /// Standard deviation relative to the step.
    pub sigma: f32,
    /// All ones: relative to the response; zero: additive.
    pub relative: u32,
}

/// One pulse.
#[inline(always)]
pub(crate) fn step<M: Model>(model: &M, cell: &Cell<f32>, noise: Noise, v: f32, up: u32, z: f32) -> f32 {
    pulsed(model, cell, noise, v, up, model.response(cell, v, up), z)
}

/// One pulse where the response is `q`.
#[inline(always)]
pub(crate) fn pulsed<M: Model>(model: &M, cell: &Cell<f32>, noise: Noise, v: f32, up: u32, q: f32, z: f32) -> f32 {
    clip(model.moved(cell, noise, v, up, q, z), cell.w_min, cell.w_max)
}

/// The mathematical update `v + dw q(v)` of an increment given in one go (W25 "Analog Update"), clipped.
#[inline(always)]
pub(crate) fn analog_step<M: Model>(model: &M, cell: &Cell<f32>, dw_min: f32, v: f32, dw: f32) -> f32 {
    let up = if dw >= 0.0 { u32::MAX } else { 0 };
    let q = finite((select(up, cell.dw_up, cell.dw_down) / dw_min) * model.response(cell, v, up));
    clip(v + dw * q, cell.w_min, cell.w_max)
}

/// Work that is written once for every model.
pub(crate) trait Visit {
    type Out;
    fn visit<M: Model>(self, model: &M) -> Self::Out;
}

/// Settings of devices end here: far beyond anything physical, and such that no product of them overflows.
pub(crate) const LARGEST: f64 = 1e9;
pub(crate) const NOT_NEGATIVE: RangeInclusive<f64> = 0.0..=LARGEST;
pub(crate) const POSITIVE: RangeInclusive<f64> = 1e-30..=LARGEST;

/// Settings that every model has.
#[derive(Debug, Clone)]
struct Common {
    dw_min: f64,
    dw_min_dtod: f64,
    dw_min_dtod_log_normal: bool,
    dw_min_std: f64,
    mult_noise: bool,
    up_down: f64,
    up_down_dtod: f64,
    w_max: f64,
    w_min: f64,
    w_max_dtod: f64,
    w_min_dtod: f64,
    reference_mean: f64,
    reference_std: f64,
    subtract_symmetry_point: bool,
    enforce_consistency: bool,
    lifetime: f64,
    lifetime_dtod: f64,
    diffusion: f64,
    diffusion_dtod: f64,
    reset: f64,
    reset_dtod: f64,
    reset_std: f64,
    drift: Drift,
    write_noise_std: f64,
    apply_write_noise_on_set: bool,
    corrupt_devices_prob: f64,
    corrupt_devices_range: f64,
    perfect_bias: bool,
}

/// The fields `dw_min` and `up_down`.
pub(crate) fn read_steps(fields: &mut Fields) -> Result<(f64, f64)> {
    Ok((fields.real("dw_min", 1e-3, POSITIVE)?, fields.real("up_down", 0.0, -1.0..=1.0)?))
}

/// The fields `w_max` and `w_min`.
pub(crate) fn read_bounds(fields: &mut Fields) -> Result<(f64, f64)> {
    Ok((fields.real("w_max", 1.0, NOT_NEGATIVE)?, fields.real("w_min", -1.0, -LARGEST..=0.0)?))
}

impl Common {
    fn new(fields: &mut Fields, facts: Facts) -> Result<Self> {
        let (w_max, w_min) = facts.bounds.map_or_else(|| read_bounds(fields), Ok)?;
        let (dw_min, up_down) = facts.steps.map_or_else(|| read_steps(fields), Ok)?;
        let write_noise_std = fields.real("write_noise_std", 0.0, NOT_NEGATIVE)?;
        if write_noise_std > 0.0 && !facts.write_noise {
            return Err(Error::value("device.write_noise_std", write_noise_std, "0: this model has no write noise"));
        }
        Ok(Self {
            dw_min,
            dw_min_dtod: fields.real("dw_min_dtod", 0.0, NOT_NEGATIVE)?,
            dw_min_dtod_log_normal: fields.switch("dw_min_dtod_log_normal", false)?,
            dw_min_std: fields.real("dw_min_std", 0.0, NOT_NEGATIVE)?,
            mult_noise: fields.switch("mult_noise", facts.mult_noise)?,
            up_down,
            up_down_dtod: fields.real("up_down_dtod", 0.0, NOT_NEGATIVE)?,
            w_max,
            w_min,
            w_max_dtod: fields.real("w_max_dtod", 0.0, NOT_NEGATIVE)?,
            w_min_dtod: fields.real("w_min_dtod", 0.0, NOT_NEGATIVE)?,
            reference_mean: fields.real("reference_mean", 0.0, -LARGEST..=LARGEST)?,
            reference_std: fields.real("reference_std", 0.0, NOT_NEGATIVE)?,
            subtract_symmetry_point: fields.switch("subtract_symmetry_point", false)?,
            enforce_consistency: fields.switch("enforce_consistency", true)?,
            lifetime: fields.real("lifetime", 0.0, NOT_NEGATIVE)?,
            lifetime_dtod: fields.real("lifetime_dtod", 0.0, NOT_NEGATIVE)?,
            diffusion: fields.real("diffusion", 0.0, NOT_NEGATIVE)?,
            diffusion_dtod: fields.real("diffusion_dtod", 0.0, NOT_NEGATIVE)?,
            reset: fields.real("reset", 0.0, -LARGEST..=LARGEST)?,
            reset_dtod: fields.real("reset_dtod", 0.0, NOT_NEGATIVE)?,
            reset_std: fields.real("reset_std", 0.0, NOT_NEGATIVE)?,
            drift: fields.optional("drift")?.map_or_else(|| Ok(Drift::NONE), Drift::new)?,
            write_noise_std,
            apply_write_noise_on_set: fields.switch("apply_write_noise_on_set", true)?,
            corrupt_devices_prob: fields.real("corrupt_devices_prob", 0.0, 0.0..=1.0)?,
            corrupt_devices_range: fields.real("corrupt_devices_range", 0.1, NOT_NEGATIVE)?,
            perfect_bias: fields.switch("perfect_bias", false)?,
        })
    }
}

/// Power-law drift of a weight left alone: `w ((t + dt) / t_0)^-nu`, where the exponent of a cell is
/// `nu (1 + nu_dtod z) - nu_k (log((w - w_offset) / wg_ratio + g_offset) - log_g0) + nu_std nu z`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Drift {
    /// Mean exponent.
    pub nu: f32,
    /// Time at which drift is counted from; > 0.
    pub t_0: f32,
    /// Relative spread of the exponent over the cells.
    pub nu_dtod: f32,
    /// Fresh variation of the exponent at every call, relative to `nu`.
    pub nu_std: f32,
    /// How the exponent falls with the logarithm of the conductance.
    pub nu_k: f32,
    /// Logarithm of the conductance where it is `nu`.
    pub log_g0: f32,
    /// Added to the conductance of a weight.
    pub g_offset: f32,
    /// The weight of conductance `g_offset`.
    pub w_offset: f32,
    /// Weight per conductance; > 0.
    pub wg_ratio: f32,
    /// Noise of a weight at every call.
    pub w_noise_std: f32,
    /// A weight that changed by more than this drifts from its beginning.
    pub reset_tol: f32,
}

impl Drift {
    const NONE: Self = Self {
        nu: 0.0,
        t_0: 1.0,
        nu_dtod: 0.0,
        nu_std: 0.0,
        nu_k: 0.0,
        log_g0: 0.0,
        g_offset: 0.0,
        w_offset: 0.0,
        wg_ratio: 1.0,
        w_noise_std: 0.0,
        reset_tol: 1e-7,
    };

    /// Whether nothing drifts.
    pub(crate) fn is_none(&self) -> bool {
        self.nu == 0.0 && self.nu_k == 0.0 && self.w_noise_std == 0.0
    }

    fn new(mut fields: Fields) -> Result<Self> {
        let none = Self::NONE;
        let mut real = |name, default: f32, range| Ok(fields.real(name, f64::from(default), range)? as f32);
        let any = -LARGEST..=LARGEST;
        let drift = Self {
            nu: real("nu", none.nu, any.clone())?,
            t_0: real("t_0", none.t_0, POSITIVE)?,
            nu_dtod: real("nu_dtod", none.nu_dtod, NOT_NEGATIVE)?,
            nu_std: real("nu_std", none.nu_std, NOT_NEGATIVE)?,
            nu_k: real("nu_k", none.nu_k, any.clone())?,
            log_g0: real("log_g0", none.log_g0, any.clone())?,
            g_offset: real("g_offset", none.g_offset, any.clone())?,
            w_offset: real("w_offset", none.w_offset, any)?,
            wg_ratio: real("wg_ratio", none.wg_ratio, POSITIVE)?,
            w_noise_std: real("w_noise_std", none.w_noise_std, NOT_NEGATIVE)?,
            reset_tol: real("reset_tol", none.reset_tol, NOT_NEGATIVE)?,
        };
        fields.finish()?;
        Ok(drift)
    }
}

/// A model with all its settings: what an array is made of.
#[derive(Debug, Clone)]
pub struct Device {
    pub(crate) model: AnyModel,
    facts: Facts,
    common: Common,
}

/// A per-cell parameter: one number for all cells, or one each.
#[derive(Debug, Clone, PartialEq)]
pub enum Plane {
    /// The same everywhere.
    Uniform(f32),
    /// Row by row.
    Dense(Vec<f32>),
}

impl Plane {
    /// The value of cell `at` (row by row).
    #[inline(always)]
    pub fn at(&self, at: usize) -> f32 {
        match self {
            Plane::Uniform(v) => *v,
            Plane::Dense(values) => values[at],
        }
    }

    pub(crate) fn collect(values: Vec<f32>) -> Self {
        match values.first() {
            Some(first) if values.iter().all(|v| v.to_bits() == first.to_bits()) => Plane::Uniform(*first),
            _ => Plane::Dense(values),
        }
    }
}

/// The drawn parameters of an array's cells, in the order of [`Device::parameter_names`].
#[derive(Debug, Clone)]
pub(crate) struct Cells {
    /// w_max, w_min, dw_up, dw_down, reference, decay, diffusion, reset, nu, own ...
    pub(crate) planes: Vec<Plane>,
}

/// Where these stand among the planes.
pub(crate) const REFERENCE: usize = 4;
pub(crate) const DECAY: usize = 5;
pub(crate) const DIFFUSION: usize = 6;
pub(crate) const RESET: usize = 7;
pub(crate) const NU: usize = 8;
pub(crate) const OWN: usize = 9;
const COMMON_NAMES: [&str; OWN] = ["w_max", "w_min", "dw_up", "dw_down", "reference", "decay", "diffusion", "reset", "nu"];

impl Device {
    /// From named settings; `model` names the model. Errors name the setting, its value and the allowed range.
    pub fn new(settings: Value) -> Result<Self> {
        let mut fields = Fields::new("device", settings)?;
        let name = fields.text("model")?;
        let model = AnyModel::new(&name, &mut fields)?;
        let facts = model.facts();
        let common = Common::new(&mut fields, facts)?;
        fields.finish()?;
        let device = Self { model, facts, common };
        if device.common.subtract_symmetry_point && device.symmetric_point().is_none() {
            return Err(Error::value(
                "device.subtract_symmetry_point",
                "True",
                format_args!("False: this {name} has no symmetric point between its bounds"),
            ));
        }
        Ok(device)
    }

    /// Mean size of a pulse at zero: what the pulse generator divides by.
    pub fn granularity(&self) -> f64 {
        self.common.dw_min * self.facts.granularity
    }

    /// The range in units of the granularity.
    pub fn n_states(&self) -> f64 {
        (self.common.w_max - self.common.w_min) / self.granularity()
    }

    /// Nominal bounds `(w_max, w_min)`.
    pub fn bounds(&self) -> (f64, f64) {
        (self.common.w_max, self.common.w_min)
    }

    /// Names of the per-cell parameters.
    pub fn parameter_names(&self) -> Vec<&'static str> {
        COMMON_NAMES.iter().chain(self.model.own()).copied().collect()
    }

    pub(crate) fn noise(&self) -> Noise {
        Noise { sigma: self.common.dw_min_std as f32, relative: if self.common.mult_noise { u32::MAX } else { 0 } }
    }

    pub(crate) fn dw_min(&self) -> f32 {
        self.common.dw_min as f32
    }

    /// `(dw_min, up_down)`: given, or derived by the model.
    pub fn steps(&self) -> (f64, f64) {
        (self.common.dw_min, self.common.up_down)
    }

    /// Standard deviation of what a reset leaves around its target.
    pub fn reset_std(&self) -> f32 {
        self.common.reset_std as f32
    }

    /// How weights drift.
    pub fn drift(&self) -> Drift {
        self.common.drift
    }

    /// Standard deviation of what is seen around what is stored, in units of the weight.
    pub fn write_noise(&self) -> f32 {
        self.common.write_noise_std as f32 * self.dw_min()
    }

    /// Whether setting weights draws write noise, too.
    pub fn write_noise_on_set(&self) -> bool {
        self.common.apply_write_noise_on_set
    }

    /// Whether weights that are set are clipped as they are seen, to bounds without the reference.
    pub fn clips_seen(&self) -> bool {
        self.facts.clips_seen
    }

    /// Noise-free responses `(q_up, q_down)` of the mean device at each stored value, in units of `dw_min`.
    pub fn response(&self, v: &[f64]) -> (Vec<f64>, Vec<f64>) {
        struct At<'a>(&'a [f64], [f64; 4], [f64; 2], f64);
        impl Visit for At<'_> {
            type Out = (Vec<f64>, Vec<f64>);
            fn visit<M: Model>(self, model: &M) -> Self::Out {
                let At(v, common, own, dw_min) = self;
                let cell = cell(model, common, own);
                let q = |up: u32, size: f64| v.iter().map(|v| size / dw_min * model.response(&cell, *v, up)).collect();
                (q(u32::MAX, common[2]), q(0, common[3]))
            }
        }
        let (common, own) = self.mean();
        self.model.visit(At(v, common, own, self.common.dw_min))
    }

    /// The stored value where an up and a down pulse have the same mean size, if there is one between the nominal bounds.
    pub fn symmetric_point(&self) -> Option<f64> {
        let gap = |v: f64| {
            let (up, down) = self.response(&[v]);
            down[0] - up[0]
        };
        let (mut low, mut high) = (self.common.w_min, self.common.w_max);
        if gap(low) > 0.0 || gap(high) < 0.0 || gap(low) == gap(high) {
            return None;
        }
        for _ in 0..200 {
            let middle = 0.5 * (low + high);
            match gap(middle) {
                0.0 => return Some(middle),
                g if g > 0.0 => high = middle,
                _ => low = middle,
            }
        }
        Some(0.5 * (low + high))
    }

    /// The mean cell: `([w_max, w_min, dw_up, dw_down], own)`.
    fn mean(&self) -> ([f64; 4], [f64; 2]) {
        let c = &self.common;
        let (up, down) = (c.dw_min * (1.0 + c.up_down.min(0.0)), c.dw_min * (1.0 - c.up_down.max(0.0)));
        let own = self.model.draw(&mut [0.0; 4], &|_| 0.0).map(f64::from);
        ([c.w_max, c.w_min, up, down], own)
    }

    /// Draws the cells of a `rows x columns` array from its device stream.
    pub(crate) fn draw(&self, key: Key, rows: usize, columns: usize) -> Cells {
        let c = &self.common;
        // Cells without spread draw nothing and are all alike: the parameters of one stand for all.
        let first = self.draw_cell(&|_| 0.0);
        if c.corrupt_devices_prob == 0.0 && !c.perfect_bias && first == self.draw_cell(&|_| 1.0) {
            return Cells { planes: first[..self.parameter_names().len()].iter().map(|v| Plane::Uniform(*v)).collect() };
        }
        let mut planes: Vec<_> = (0..self.parameter_names().len()).map(|_| Vec::with_capacity(rows * columns)).collect();
        for row in 0..rows {
            for column in 0..columns {
                let values = if c.perfect_bias && column + 1 == columns {
                    self.ideal_cell()
                } else {
                    let mut values = self.draw_cell(&|p| key.child(p).child(row as u64).normal(column as u32, 0));
                    self.corrupt(&mut values, &|p| key.child(p).child(row as u64).uniform(column as u32, 0));
                    values
                };
                for (plane, value) in planes.iter_mut().zip(values) {
                    plane.push(value);
                }
            }
        }
        Cells { planes: planes.into_iter().map(Plane::collect).collect() }
    }

    /// One cell of the last column, where that is perfect.
    fn ideal_cell(&self) -> [f32; OWN + 2] {
        let c = &self.common;
        let own = self.model.draw(&mut [0.0; 4], &|_| 0.0);
        let step = self.dw_min();
        [100.0 * c.w_max as f32, 100.0 * c.w_min as f32, step, step, 0.0, 1.0, 0.0, 0.0, 0.0, own[0], own[1]]
    }

    /// Makes a drawn cell one that is stuck, with the probability given.
    fn corrupt(&self, values: &mut [f32; OWN + 2], u: &dyn Fn(u64) -> f32) {
        let c = &self.common;
        if c.corrupt_devices_prob == 0.0 || u(12) >= c.corrupt_devices_prob as f32 {
            return;
        }
        let range = c.corrupt_devices_range as f32;
        let low = if values[1] > -range { values[1] } else { -range };
        let high = if values[0] < range { values[0] } else { range };
        let stuck = low + (high - low) * u(13);
        values[..REFERENCE].copy_from_slice(&[stuck, stuck, 0.0, 0.0]);
    }

    fn draw_cell(&self, z: &dyn Fn(u64) -> f32) -> [f32; OWN + 2] {
        let c = &self.common;
        // A spread of zero draws nothing: `1 + 0 z` would be exact anyway, but the draw costs time.
        let spread = |std: f64, p: u64| if std == 0.0 { 0.0 } else { std as f32 * z(p) };
        let mut w_max = c.w_max as f32 * (1.0 + spread(c.w_max_dtod, 0));
        let mut w_min = c.w_min as f32 * (1.0 + spread(c.w_min_dtod, 1));
        let xi = spread(c.dw_min_dtod, 2);
        let gain = if c.dw_min_dtod_log_normal { math::exp(xi) } else { 1.0 + xi };
        let r = spread(c.up_down_dtod, 3);
        let mut up = c.dw_min as f32 * ((gain + r) + c.up_down.min(0.0) as f32);
        let mut down = c.dw_min as f32 * ((gain - r) - c.up_down.max(0.0) as f32);
        if c.enforce_consistency {
            (up, down) = (up.abs(), down.abs());
            if w_min > w_max {
                (w_max, w_min) = (w_min, w_max);
            }
            (w_max, w_min) = (w_max.abs(), -w_min.abs());
        }
        let mut common = [w_max, w_min, up, down];
        let own = self.model.draw(&mut common, &|i| z(5 + i));
        if common[1] > common[0] {
            common[0] = 0.5 * (common[0] + common[1]);
            common[1] = common[0];
        }
        let mut reference = c.reference_mean as f32 + spread(c.reference_std, 4);
        if c.subtract_symmetry_point {
            reference += self.model.visit(SymmetricPoint(common, own));
        }
        let t = c.lifetime as f32 * (1.0 + spread(c.lifetime_dtod, 8));
        let decay = if c.lifetime == 0.0 {
            1.0
        } else if t > 1.0 {
            1.0 - 1.0 / t
        } else {
            0.0
        };
        let diffusion = (c.diffusion as f32 * (1.0 + spread(c.diffusion_dtod, 9))).abs();
        let reset = c.reset as f32 + spread(c.reset_dtod, 10);
        let nu = c.drift.nu * (1.0 + spread(f64::from(c.drift.nu_dtod), 11));
        let [w_max, w_min, up, down] = common;
        [w_max, w_min, up, down, reference, decay, diffusion, reset, nu, own[0], own[1]]
    }
}

/// The kernel's cell of a model.
#[inline(always)]
pub(crate) fn cell<M: Model, R: Real>(model: &M, common: [R; 4], own: [R; 2]) -> Cell<R> {
    let [w_max, w_min, dw_up, dw_down] = common;
    Cell { w_max, w_min, dw_up, dw_down, k: model.prepare(common, own) }
}

/// Bisection for the root of `dw_down q_down - dw_up q_up` of one cell; without a root it ends at a bound.
struct SymmetricPoint([f32; 4], [f32; 2]);

impl Visit for SymmetricPoint {
    type Out = f32;
    fn visit<M: Model>(self, model: &M) -> f32 {
        let c = cell(model, self.0, self.1);
        let (mut low, mut high) = (c.w_min, c.w_max);
        for _ in 0..48 {
            let middle = 0.5 * (low + high);
            let gap = c.dw_down * model.response(&c, middle, 0) - c.dw_up * model.response(&c, middle, u32::MAX);
            if gap > 0.0 { high = middle } else { low = middle }
        }
        0.5 * (low + high)
    }
}
