//! Workloads of the benchmarks: tiles and inputs, made from seeds.
//!
//! Densities are named after their coincidences per cell and sample: **L** is that of real training, **H** the dense one, **S** the first layer of a
//! network that sees handwritten digits.

use ohmgrad_core::error::Result;
use ohmgrad_core::fields::Value;
use ohmgrad_core::rng::Key;
use ohmgrad_core::simd::Isa;
use ohmgrad_core::tile::{Tile, TileSettings};

/// Learning rate of all workloads.
pub const LR: f64 = 0.01;

/// Named settings.
pub fn map(settings: &[(&str, Value)]) -> Value {
    Value::Map(settings.iter().map(|(name, value)| (name.to_string(), value.clone())).collect())
}

/// A name or a choice.
pub fn text(name: &str) -> Value {
    Value::Text(name.into())
}

fn rate(value: f64, scaled: bool) -> Value {
    map(&[("value", Value::Real(value)), ("scaled", Value::Bool(scaled))])
}

fn terms(names: &[&str]) -> Value {
    Value::List(names.iter().map(|name| map(&[("matrix", text(name))])).collect())
}

fn names(names: &[&str]) -> Value {
    Value::List(names.iter().map(|name| text(name)).collect())
}

/// Gradient descent on one array.
pub fn sgd() -> Value {
    map(&[
        ("arrays", names(&["weight"])),
        ("digital", names(&[])),
        ("weight", terms(&["weight"])),
        ("gradient", map(&[("target", text("weight")), ("rate", rate(1.0, true))])),
        ("transfers", Value::List(vec![])),
    ])
}

/// Tiki-Taka: the gradient on a fast array; after every mini-batch `reads` of its columns (0: all) are written to a slow one.
pub fn tiki_taka(reads: usize) -> Value {
    let write = map(&[("source", terms(&["fast"])), ("target", text("slow")), ("rate", rate(1.0, true)), ("pulses", map(&[]))]);
    let every = map(&[("period", Value::Real(1.0)), ("unit", text("batches"))]);
    let transfer = map(&[
        ("every", every),
        ("reads", Value::Real(reads as f64)),
        ("io", map(&[("out_noise", Value::Real(0.06))])),
        ("steps", Value::List(vec![map(&[("write", write)])])),
    ]);
    map(&[
        ("arrays", names(&["fast", "slow"])),
        ("digital", names(&[])),
        ("weight", terms(&["slow"])),
        ("gradient", map(&[("target", text("fast")), ("rate", rate(0.01, false))])),
        ("transfers", Value::List(vec![transfer])),
    ])
}

/// The usual periphery: 7 bit in, 9 bit out, output noise, noise and bound management.
pub fn kit() -> Value {
    map(&[
        ("inp_bound", Value::Real(1.0)),
        ("inp_res", Value::Real(1.0 / 126.0)),
        ("out_bound", Value::Real(12.0)),
        ("out_res", Value::Real(1.0 / 510.0)),
        ("out_noise", Value::Real(0.06)),
        ("noise_management", text("abs_max")),
        ("bound_management", text("iterative")),
    ])
}

/// A device with cycle noise 0.3. A table gets 61 nodes of the soft-bounds response.
pub fn device(model: &str, dw_min: f64, more: &[(&str, Value)]) -> Value {
    let mut settings = vec![("model", text(model)), ("dw_min", Value::Real(dw_min)), ("dw_min_std", Value::Real(0.3))];
    if model == "Tabulated" {
        let nodes = |f: &dyn Fn(f64) -> f64| Value::List((0..61).map(|i| Value::Real(f(i as f64 / 30.0 - 1.0))).collect());
        settings.extend([("w", nodes(&|w| w)), ("q_up", nodes(&|w| 1.0 - w)), ("q_down", nodes(&|w| 1.0 + w))]);
    }
    settings.extend(more.iter().cloned());
    map(&settings)
}

/// Spreads of everything that all models have.
pub fn spreads() -> [(&'static str, Value); 4] {
    [("dw_min_dtod", 0.3), ("up_down_dtod", 0.01), ("w_max_dtod", 0.3), ("w_min_dtod", 0.3)].map(|(name, std)| (name, Value::Real(std)))
}

/// `n` normal numbers times `scale`.
pub fn normals(key: u64, n: usize, scale: f32) -> Vec<f32> {
    let key = Key(0).child(key);
    (0..n as u32).map(|i| scale * key.normal(i, 0)).collect()
}

/// A tile, its weights before every update, and a mini-batch.
pub struct Work {
    /// The tile.
    pub tile: Tile,
    /// Uniform within +-0.5.
    pub weights: Vec<f32>,
    /// `[batch][d_in]`
    pub x: Vec<f32>,
    /// `[batch][d_out]`
    pub d: Vec<f32>,
    /// Vectors.
    pub batch: usize,
}

impl Work {
    /// A crossbar of `rows x columns` with devices `device` and the algorithm `plan`, inputs of the given sizes.
    pub fn new([rows, columns, batch]: [usize; 3], [x, d]: [f32; 2], device: Value, plan: Value, pulses: Value) -> Result<Self> {
        let isa = Isa::choose(std::env::var("OHMGRAD_ISA").ok().as_deref())?;
        let arrays: &[&str] = if plan == sgd() { &["weight"] } else { &["fast", "slow"] };
        let tile = Tile::new(TileSettings {
            d_out: rows,
            d_in: columns,
            devices: arrays.iter().map(|name| (name.to_string(), device.clone())).collect(),
            plan,
            forward: kit(),
            backward: kit(),
            pulses,
            seeds: (1, 1),
            count_pulses: false,
            path: "bench".into(),
            isa,
        })?;
        let weights = (0..(rows * columns) as u32).map(|i| Key(7).word(i, 0) as f32 / u32::MAX as f32 - 0.5).collect();
        Ok(Self { tile, weights, x: normals(1, batch * columns, x), d: normals(2, batch * rows, d), batch })
    }

    /// 512 x 512, 64 vectors, 0.19 coincidences per cell and sample.
    pub fn light(model: &str, more: &[(&str, Value)]) -> Result<Self> {
        Self::new([512, 512, 64], [0.3, 0.1], device(model, 0.001, more), sgd(), map(&[]))
    }

    /// The same with 3.1 coincidences.
    pub fn heavy(model: &str) -> Result<Self> {
        Self::new([512, 512, 64], [1.0, 1.0], device(model, 0.002, &[]), sgd(), map(&[]))
    }

    /// 256 x 784, 10 vectors of which 80 % is zero and the rest lies between 0 and 1.
    pub fn sparse(model: &str, plan: Value) -> Result<Self> {
        let mut work = Self::new([256, 784, 10], [0.0, 0.01], device(model, 0.001, &[]), plan, map(&[]))?;
        for (i, x) in work.x.iter_mut().enumerate() {
            let uniform = |n| Key(3).word(i as u32, n) as f32 / u32::MAX as f32;
            *x = if uniform(0) < 0.2 { uniform(1) } else { 0.0 };
        }
        Ok(work)
    }

    /// Cells times vectors.
    pub fn visits(&self) -> u64 {
        (self.weights.len() * self.batch) as u64
    }
}
