//! Workloads of the benchmarks: tiles and inputs, made from seeds.
//!
//! Densities are named after their coincidences per cell and sample: **L** is that of real training, **H** the dense one, **S** the first layer of a
//! network that sees handwritten digits.

mod plans;

pub use plans::{Algorithm, agad, buffered, fast_to_slow, sgd, tiki_taka};

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

/// Numbers by name.
pub fn numbers(settings: &[(&str, f64)]) -> Value {
    Value::Map(settings.iter().map(|(name, value)| (name.to_string(), Value::Real(*value))).collect())
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

/// A device with cycle noise 0.3. Tables get 61 nodes of the soft-bounds response; a step that follows from other settings is 0.001 about.
pub fn device(model: &str, dw_min: f64, more: &[(&str, Value)]) -> Value {
    let mut settings = vec![("model", text(model)), ("dw_min_std", Value::Real(0.3))];
    let nodes = |f: &dyn Fn(f64) -> f64| Value::List((0..61).map(|i| Value::Real(f(i as f64 / 30.0 - 1.0))).collect());
    let (up, down) = (nodes(&|w| 1.0 - w), nodes(&|w| 1.0 + w));
    match model {
        "SoftBoundsPmax" => settings.push(("p_max", Value::Real(2000.0))),
        _ => settings.push(("dw_min", Value::Real(dw_min))),
    }
    match model {
        "Tabulated" => settings.extend([("w", nodes(&|w| w)), ("q_up", up), ("q_down", down)]),
        "PiecewiseStep" => settings.extend([("u_up", up), ("u_down", down)]),
        _ => {}
    }
    for (name, value) in more {
        settings.retain(|(known, _)| known != name);
        settings.push((name, value.clone()));
    }
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

/// What a tile is made of; fields are those of [`Work::new`] and the usual ones.
pub struct Settings {
    /// Rows, columns, vectors of a mini-batch.
    pub shape: [usize; 3],
    /// Standard deviations of inputs and errors.
    pub sizes: [f32; 2],
    /// The devices of all arrays.
    pub device: Value,
    /// The algorithm.
    pub plan: Value,
    /// Of the gradient.
    pub pulses: Value,
    /// Of both products.
    pub io: Value,
    /// A name of an instruction set; `None`: what `OHMGRAD_ISA` says.
    pub isa: Option<&'static str>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            shape: [512, 512, 64],
            sizes: [0.3, 0.1],
            device: device("SoftBounds", 0.001, &[]),
            plan: sgd().0,
            pulses: map(&[]),
            io: kit(),
            isa: None,
        }
    }
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
    /// A crossbar and normal inputs.
    pub fn new(settings: Settings) -> Result<Self> {
        let Settings { shape: [rows, columns, batch], sizes: [x, d], device, plan, pulses, io, isa } = settings;
        let forced = std::env::var("OHMGRAD_ISA").ok();
        let arrays: &[&str] = if plan == sgd().0 { &["weight"] } else { &["fast", "slow"] };
        let tile = Tile::new(TileSettings {
            d_out: rows,
            d_in: columns,
            devices: arrays.iter().map(|name| (name.to_string(), device.clone())).collect(),
            plan,
            forward: io.clone(),
            backward: io,
            pulses,
            seeds: (1, 1),
            count_pulses: false,
            path: "bench".into(),
            isa: Isa::choose(isa.or(forced.as_deref()))?,
        })?;
        let weights = (0..(rows * columns) as u32).map(|i| Key(7).word(i, 0) as f32 / u32::MAX as f32 - 0.5).collect();
        Ok(Self { tile, weights, x: normals(1, batch * columns, x), d: normals(2, batch * rows, d), batch })
    }

    /// 512 x 512, 64 vectors, 0.19 coincidences per cell and sample.
    pub fn light(model: &str, more: &[(&str, Value)]) -> Result<Self> {
        Self::new(Settings { device: device(model, 0.001, more), ..Settings::default() })
    }

    /// The same with 3.1 coincidences.
    pub fn heavy(model: &str) -> Result<Self> {
        Self::new(Settings { sizes: [1.0, 1.0], device: device(model, 0.002, &[]), ..Settings::default() })
    }

    /// 256 x 784, 10 vectors of which 80 % is zero and the rest lies between 0 and 1, errors of size `d`.
    pub fn sparse(d: f32, (plan, pulses): Algorithm) -> Result<Self> {
        let mut work = Self::new(Settings { shape: [256, 784, 10], sizes: [0.0, d], plan, pulses, ..Settings::default() })?;
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
