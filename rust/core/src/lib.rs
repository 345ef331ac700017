//! Training on crossbars of non-ideal resistive elements: device models, stochastic pulse updates, analog matrix-vector products and plans.

pub mod device;
pub mod devices;
pub mod error;
pub mod fields;
pub mod math;
pub mod mvm;
pub mod ops;
pub mod plan;
pub mod pool;
pub mod pulse;
pub mod rng;
pub mod simd;
pub mod tile;
