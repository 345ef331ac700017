//! Training on crossbars of non-ideal resistive elements.
//!
//! Every weight is a device whose conductance moves in discrete, noisy, asymmetric pulses. This crate holds the device models ([`devices`]), the
//! streams of random numbers ([`rng`]), the update of a crossbar in pulses or without ([`pulse`]), the analog matrix-vector product with its periphery
//! ([`mvm`]) and the executor of training algorithms ([`plan`]). A [`tile::Tile`] puts them together: its arrays have cells of one device or of several,
//! and what happens to cells apart from updates (decay, diffusion, drift, reset, single pulses) is there, too. No Python, no files, no globals: the
//! thread [`pool`] is an argument.
//!
//! The same seed gives the same bits for any number of threads and any instruction set.
//!
//! ```
//! use ohmgrad_core::fields::Value;
//! use ohmgrad_core::pool::Pool;
//! use ohmgrad_core::simd::Isa;
//! use ohmgrad_core::tile::{Tile, TileSettings};
//!
//! fn map(settings: &[(&str, Value)]) -> Value {
//!     Value::Map(settings.iter().map(|(name, value)| (name.to_string(), value.clone())).collect())
//! }
//! let text = |name: &str| Value::Text(name.into());
//! let rate = map(&[("value", Value::Real(1.0)), ("scaled", Value::Bool(true))]);
//!
//! // Plain analog gradient descent on a 2 x 3 crossbar of soft-bounds devices.
//! let mut tile = Tile::new(TileSettings {
//!     d_out: 2,
//!     d_in: 3,
//!     devices: vec![("weight".into(), map(&[("model", text("SoftBounds")), ("dw_min", Value::Real(0.01))]))],
//!     plan: map(&[
//!         ("arrays", Value::List(vec![text("weight")])),
//!         ("digital", Value::List(vec![])),
//!         ("weight", Value::List(vec![map(&[("matrix", text("weight"))])])),
//!         ("gradient", map(&[("target", text("weight")), ("rate", rate)])),
//!         ("transfers", Value::List(vec![])),
//!     ]),
//!     forward: map(&[]),
//!     backward: map(&[]),
//!     pulses: map(&[]),
//!     seeds: (0, 0),
//!     count_pulses: false,
//!     path: "fc1".into(),
//!     isa: Isa::choose(None)?,
//! })?;
//! let pool = Pool::new(1)?;
//! tile.update(&pool, &[1.0, -1.0, 0.5], &[0.5, 0.0], 0.1)?;
//! let weights = tile.weights();
//! assert!(weights[0] < 0.0 && weights[1] > 0.0);
//! assert_eq!(&weights[3..], &[0.0; 3]);
//! # Ok::<(), ohmgrad_core::error::Error>(())
//! ```

pub mod device;
pub mod devices;
pub mod error;
pub mod fields;
mod helpers;
pub mod math;
pub mod mvm;
pub mod network;
pub mod normal;
pub mod ops;
pub mod plan;
pub mod pool;
pub mod pulse;
pub mod rng;
pub mod simd;
pub mod tile;
