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
//! diffusion = |diffusion (1 + diffusion_dtod z9)|
//! ```
//!
//! At the end of a mini-batch (on request): `w <- w + diffusion z`, then `w <- w decay`, clipped.
//!
//! A model is one file in `devices/`: its own settings, own per-cell parameters and response. `devices/mod.rs` lists it once.

use crate::devices::AnyModel;
use crate::error::{Error, Result};
use crate::fields::{Fields, Value};
use crate::math::{self, Real};
use crate::rng::Key;
use crate::simd::{clip, finite, select};
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

    /// The nominal bounds, where the model has another name for them than `w_max` and `w_min`.
    fn bounds(&self) -> Option<(f64, f64)> {
        None
    }

    /// Whether cycle noise scales with the response unless said otherwise.
    fn mult_noise(&self) -> bool {
        true
    }

    /// Size of a pulse at zero, relative to `dw_min`.
    fn granularity(&self) -> f64 {
        1.0
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
    let q = model.response(cell, v, up);
    let size = select(up, cell.dw_up, -cell.dw_down);
    let moved = v + size * (q + (noise.sigma * z) * select(noise.relative, q, 1.0));
    clip(moved, cell.w_min, cell.w_max)
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
}

impl Common {
    fn new(fields: &mut Fields, model: &AnyModel) -> Result<Self> {
        let (w_max, w_min) = match model.bounds() {
            Some(bounds) => bounds,
            None => (fields.real("w_max", 1.0, NOT_NEGATIVE)?, fields.real("w_min", -1.0, -LARGEST..=0.0)?),
        };
        Ok(Self {
            dw_min: fields.real("dw_min", 1e-3, POSITIVE)?,
            dw_min_dtod: fields.real("dw_min_dtod", 0.0, NOT_NEGATIVE)?,
            dw_min_dtod_log_normal: fields.switch("dw_min_dtod_log_normal", false)?,
            dw_min_std: fields.real("dw_min_std", 0.0, NOT_NEGATIVE)?,
            mult_noise: fields.switch("mult_noise", model.mult_noise())?,
            up_down: fields.real("up_down", 0.0, -1.0..=1.0)?,
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
        })
    }
}

/// A model with all its settings: what an array is made of.
#[derive(Debug, Clone)]
pub struct Device {
    pub(crate) model: AnyModel,
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
    /// w_max, w_min, dw_up, dw_down, reference, decay, diffusion, own ...
    pub(crate) planes: Vec<Plane>,
}

/// Where these stand among the planes.
pub(crate) const REFERENCE: usize = 4;
pub(crate) const DECAY: usize = 5;
pub(crate) const DIFFUSION: usize = 6;
pub(crate) const OWN: usize = 7;
const COMMON_NAMES: [&str; OWN] = ["w_max", "w_min", "dw_up", "dw_down", "reference", "decay", "diffusion"];

impl Device {
    /// From named settings; `model` names the model. Errors name the setting, its value and the allowed range.
    pub fn new(settings: Value) -> Result<Self> {
        let mut fields = Fields::new("device", settings)?;
        let name = fields.text("model")?;
        let model = AnyModel::new(&name, &mut fields)?;
        let common = Common::new(&mut fields, &model)?;
        fields.finish()?;
        let device = Self { model, common };
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
        self.common.dw_min * self.model.granularity()
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
        // Cells without spread draw nothing and are all alike: the parameters of one stand for all.
        let first = self.draw_cell(&|_| 0.0);
        if first == self.draw_cell(&|_| 1.0) {
            return Cells { planes: first[..self.parameter_names().len()].iter().map(|v| Plane::Uniform(*v)).collect() };
        }
        let mut planes: Vec<_> = (0..self.parameter_names().len()).map(|_| Vec::with_capacity(rows * columns)).collect();
        for row in 0..rows {
            for column in 0..columns {
                let values = self.draw_cell(&|p| key.child(p).child(row as u64).normal(column as u32, 0));
                for (plane, value) in planes.iter_mut().zip(values) {
                    plane.push(value);
                }
            }
        }
        Cells { planes: planes.into_iter().map(Plane::collect).collect() }
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
        let [w_max, w_min, up, down] = common;
        [w_max, w_min, up, down, reference, decay, diffusion, own[0], own[1]]
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
