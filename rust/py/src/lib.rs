//! `ohmgrad._core`: marshalling between Python and `ohmgrad-core`, nothing else.
//!
//! Arrays are converted to `float32` in C order or refused; every call that works on a matrix detaches from Python before it takes the tile's lock and
//! never attaches while holding it; panics do not cross the boundary.

mod convert;
mod functions;
mod network;
mod threads;
mod tile;

use pyo3::prelude::*;

#[pymodule]
mod _core {
    #[pymodule_export]
    use crate::functions::{
        activation, activation_grad, cell_facts, column_blocks, cross_entropy, device_facts, digital_step, functions, log_softmax,
        log_softmax_grad, models, mse, nll, normals, permutation, response, scale_bias, scale_factors, uniform_init, validate_device,
        validate_io, validate_pulses, words,
    };
    #[pymodule_export]
    use crate::network::train_step;
    #[pymodule_export]
    use crate::threads::{info, rows_by_worker, set_division, set_split_threshold, set_threads, threads, work};
    #[pymodule_export]
    use crate::tile::{Tile, train};
}
