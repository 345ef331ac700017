//! The tile as Python sees it.

use crate::convert::{matrix, setting, to_matrix, value_error, values};
use crate::threads::{isa, pool};
use numpy::{PyArray1, PyArray2, PyReadonlyArray2, PyUntypedArrayMethods};
use ohmgrad_core::error::{Error, Result};
use ohmgrad_core::fields::Value;
use ohmgrad_core::pool::Pool;
use ohmgrad_core::tile::{self, Batch, MAX_VECTORS, State, TileSettings, ZeroShift};
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use std::sync::{Mutex, MutexGuard};

/// A crossbar with its algorithm.
#[pyclass(frozen, module = "ohmgrad._core")]
pub struct Tile {
    inner: Mutex<tile::Tile>,
    #[pyo3(get)]
    d_out: usize,
    #[pyo3(get)]
    d_in: usize,
}

impl Tile {
    /// The one way to the core: detach, lock, work, release, attach.
    fn with<T: Send>(&self, py: Python<'_>, work: impl Send + FnOnce(&mut tile::Tile, &Pool) -> Result<T>) -> PyResult<T> {
        let pool = pool()?;
        py.detach(|| {
            let mut tile = self.lock()?;
            work(&mut tile, &pool).map_err(value_error)
        })
    }

    fn lock(&self) -> PyResult<MutexGuard<'_, tile::Tile>> {
        let abandoned = |_| PyRuntimeError::new_err("the tile was abandoned half way through an earlier call that failed");
        self.inner.lock().map_err(abandoned)
    }

    /// The rows of an array with `lines` columns.
    fn vectors<'a>(field: &str, array: &'a PyReadonlyArray2<'_, f32>, lines: usize) -> PyResult<&'a [f32]> {
        check_shape(field, [array.shape()[0], array.shape()[1]], lines)?;
        Ok(array.as_slice()?)
    }

    /// Output lines.
    pub fn d_out(&self) -> usize {
        self.d_out
    }

    /// Input lines.
    pub fn d_in(&self) -> usize {
        self.d_in
    }

    /// A matrix of the tile's own shape.
    fn whole<'py>(&self, field: &str, object: &Bound<'py, PyAny>) -> PyResult<PyReadonlyArray2<'py, f32>> {
        let array = matrix(field, object)?;
        let [rows, columns] = [array.shape()[0], array.shape()[1]];
        if [rows, columns] != [self.d_out, self.d_in] {
            let allowed = format!("({}, {})", self.d_out, self.d_in);
            return Err(PyValueError::new_err(format!("{field} has shape ({rows}, {columns}), allowed: {allowed}")));
        }
        Ok(array)
    }
}

/// Refuses anything but one or more rows of `lines` columns.
pub fn check_shape(field: &str, [rows, columns]: [usize; 2], lines: usize) -> PyResult<()> {
    if columns != lines || rows == 0 {
        return Err(PyValueError::new_err(format!("{field} has shape ({rows}, {columns}), allowed: (1 or more, {lines})")));
    }
    Ok(())
}

/// Locks different tiles, in one order for all who lock several.
pub fn lock_all<'a>(tiles: &[&'a Tile]) -> PyResult<Vec<MutexGuard<'a, tile::Tile>>> {
    let mut order: Vec<_> = (0..tiles.len()).collect();
    let place = |at: &usize| std::ptr::from_ref(tiles[*at]);
    order.sort_by_key(place);
    if order.windows(2).any(|pair| place(&pair[0]) == place(&pair[1])) {
        return Err(PyValueError::new_err("jobs has a tile twice, allowed: different tiles"));
    }
    let mut locked: Vec<_> = order.into_iter().map(|at| Ok((at, tiles[at].lock()?))).collect::<PyResult<_>>()?;
    locked.sort_by_key(|(at, _)| *at);
    Ok(locked.into_iter().map(|(_, tile)| tile).collect())
}

/// A tile, its inputs, its errors, its learning rate.
type Job<'py> = (Bound<'py, Tile>, Bound<'py, PyAny>, Bound<'py, PyAny>, f64);

/// A mini-batch of several tiles, and its end; what one of them refuses changes none.
#[pyfunction]
pub fn train(py: Python<'_>, jobs: Vec<Job<'_>>) -> PyResult<()> {
    let arrays: Vec<_> = jobs.iter().map(|(_, x, d, _)| Ok((matrix("x", x)?, matrix("d", d)?))).collect::<PyResult<_>>()?;
    let mut parts = Vec::with_capacity(jobs.len());
    for ((tile, _, _, lr), (x, d)) in jobs.iter().zip(&arrays) {
        let tile = tile.get();
        parts.push((tile, Tile::vectors("x", x, tile.d_in)?, Tile::vectors("d", d, tile.d_out)?, *lr));
    }
    if parts.iter().any(|(tile, x, ..)| x.len() > MAX_VECTORS * tile.d_in) {
        // In parts, between which Ctrl-C is seen.
        jobs.iter().try_for_each(|(tile, x, d, lr)| tile.get().check_update(py, x, d, *lr))?;
        return jobs.iter().try_for_each(|(tile, x, d, lr)| tile.get().update(py, x, d, *lr).and_then(|()| tile.get().end_batch(py)));
    }
    let pool = pool()?;
    py.detach(|| {
        let mut tiles = lock_all(&parts.iter().map(|(tile, ..)| *tile).collect::<Vec<_>>())?;
        let batches = tiles.iter_mut().zip(&parts).map(|(tile, (_, x, d, lr))| Batch { tile, x, d, lr: *lr });
        tile::train(&pool, batches.collect()).map_err(value_error)
    })
}

#[pymethods]
impl Tile {
    #[new]
    #[pyo3(signature = (d_out, d_in, devices, plan, forward, backward, pulses, seeds, path, count_pulses=false))]
    #[allow(clippy::too_many_arguments)]
    fn new(
        py: Python<'_>,
        d_out: usize,
        d_in: usize,
        devices: &Bound<'_, PyAny>,
        plan: &Bound<'_, PyAny>,
        forward: &Bound<'_, PyAny>,
        backward: &Bound<'_, PyAny>,
        pulses: &Bound<'_, PyAny>,
        seeds: (u64, u64),
        path: String,
        count_pulses: bool,
    ) -> PyResult<Self> {
        let Value::Map(devices) = setting("devices", devices)? else {
            return Err(PyValueError::new_err("devices is not a mapping, allowed: a device for every array, by name"));
        };
        let settings = TileSettings {
            d_out,
            d_in,
            devices,
            plan: setting("plan", plan)?,
            forward: setting("forward", forward)?,
            backward: setting("backward", backward)?,
            pulses: setting("pulses", pulses)?,
            seeds,
            count_pulses,
            path,
            isa: isa()?,
        };
        let inner = py.detach(|| tile::Tile::new(settings)).map_err(value_error)?;
        Ok(Self { inner: Mutex::new(inner), d_out, d_in })
    }

    #[pyo3(signature = (x, training, noise = true))]
    fn forward<'py>(&self, py: Python<'py>, x: &Bound<'py, PyAny>, training: bool, noise: bool) -> PyResult<Bound<'py, PyArray2<f32>>> {
        let x = matrix("x", x)?;
        let vectors = Self::vectors("x", &x, self.d_in)?;
        let y = self.with(py, |tile, pool| tile.forward(pool, vectors, training, noise))?;
        to_matrix(py, y, self.d_out)
    }

    fn backward<'py>(&self, py: Python<'py>, d: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyArray2<f32>>> {
        let d = matrix("d", d)?;
        let vectors = Self::vectors("d", &d, self.d_out)?;
        let y = self.with(py, |tile, pool| tile.backward(pool, vectors))?;
        to_matrix(py, y, self.d_in)
    }

    fn update(&self, py: Python<'_>, x: &Bound<'_, PyAny>, d: &Bound<'_, PyAny>, lr: f64) -> PyResult<()> {
        let (x, d) = (matrix("x", x)?, matrix("d", d)?);
        let (x, d) = (Self::vectors("x", &x, self.d_in)?, Self::vectors("d", &d, self.d_out)?);
        if x.len() <= MAX_VECTORS * self.d_in {
            return self.with(py, |tile, pool| tile.update(pool, x, d, lr));
        }
        // The parts count as calls of their own, and between them Ctrl-C is seen; all is checked before the first.
        self.with(py, |tile, _| tile.check_update(x, d, lr))?;
        for (x, d) in x.chunks(MAX_VECTORS * self.d_in).zip(d.chunks(MAX_VECTORS * self.d_out)) {
            self.with(py, |tile, pool| tile.update(pool, x, d, lr))?;
            py.check_signals()?;
        }
        Ok(())
    }

    /// Refuses what `update` would refuse.
    fn check_update(&self, py: Python<'_>, x: &Bound<'_, PyAny>, d: &Bound<'_, PyAny>, lr: f64) -> PyResult<()> {
        let (x, d) = (matrix("x", x)?, matrix("d", d)?);
        let (x, d) = (Self::vectors("x", &x, self.d_in)?, Self::vectors("d", &d, self.d_out)?);
        self.with(py, |tile, _| tile.check_update(x, d, lr))
    }

    fn set_plan(&self, py: Python<'_>, plan: &Bound<'_, PyAny>) -> PyResult<()> {
        let plan = setting("plan", plan)?;
        self.with(py, |tile, _| tile.set_plan(plan))
    }

    fn event(&self, py: Python<'_>, transfer: &Bound<'_, PyAny>, lines: Vec<usize>, lr: f64) -> PyResult<()> {
        let transfer = setting("transfer", transfer)?;
        self.with(py, |tile, pool| tile.event(pool, transfer, &lines, lr))
    }

    fn zero_shift(&self, py: Python<'_>, array: &str, shift: &Bound<'_, PyAny>) -> PyResult<()> {
        let shift = setting("zero_shift", shift).and_then(|shift| ZeroShift::new(shift).map_err(value_error))?;
        self.with(py, |tile, pool| tile.zero_shift(pool, array, &shift))
    }

    fn end_batch(&self, py: Python<'_>) -> PyResult<()> {
        self.with(py, |tile, _| {
            tile.end_batch();
            Ok(())
        })
    }

    #[pyo3(signature = (array))]
    fn decay(&self, py: Python<'_>, array: Option<&str>) -> PyResult<()> {
        self.with(py, |tile, _| tile.decay(array))
    }

    #[pyo3(signature = (array))]
    fn diffuse(&self, py: Python<'_>, array: Option<&str>) -> PyResult<()> {
        self.with(py, |tile, _| tile.diffuse(array))
    }

    #[pyo3(signature = (array, time))]
    fn drift(&self, py: Python<'_>, array: Option<&str>, time: f64) -> PyResult<()> {
        self.with(py, |tile, _| tile.drift(array, time))
    }

    #[pyo3(signature = (array, columns, prob))]
    fn reset(&self, py: Python<'_>, array: Option<&str>, columns: Vec<usize>, prob: f64) -> PyResult<()> {
        self.with(py, |tile, _| tile.reset(array, &columns, prob))
    }

    fn pulse_cells(&self, py: Python<'_>, array: &str, counts: PyReadonlyArray2<'_, i32>) -> PyResult<()> {
        let counts = counts.as_slice()?;
        self.with(py, |tile, _| tile.pulse_cells(array, counts))
    }

    fn pulse_counts<'py>(&self, py: Python<'py>, array: &str) -> PyResult<Vec<Bound<'py, PyArray1<u64>>>> {
        let counts = self.with(py, |tile, _| tile.pulse_counts(array))?;
        Ok(counts.map(|counts| PyArray1::from_vec(py, counts)).to_vec())
    }

    fn hidden<'py>(&self, py: Python<'py>, array: &str) -> PyResult<Bound<'py, PyArray2<f32>>> {
        let w = self.with(py, |tile, _| tile.hidden(array))?;
        to_matrix(py, w, self.d_in)
    }

    fn set_hidden(&self, py: Python<'_>, array: &str, w: &Bound<'_, PyAny>) -> PyResult<()> {
        let w = self.whole(array, w)?;
        let w = w.as_slice()?;
        self.with(py, |tile, _| tile.set_hidden(array, w))
    }

    fn weights<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyArray2<f32>>> {
        let w = self.with(py, |tile, _| Ok(tile.weights()))?;
        to_matrix(py, w, self.d_in)
    }

    fn set_weights(&self, py: Python<'_>, w: &Bound<'_, PyAny>) -> PyResult<()> {
        let w = self.whole("weights", w)?;
        let w = w.as_slice()?;
        self.with(py, |tile, _| tile.set_weights(w))
    }

    fn matrix<'py>(&self, py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyArray2<f32>>> {
        let w = self.with(py, |tile, _| tile.matrix(name))?;
        to_matrix(py, w, self.d_in)
    }

    fn set_matrix(&self, py: Python<'_>, name: &str, w: &Bound<'_, PyAny>) -> PyResult<()> {
        let w = self.whole(name, w)?;
        let w = w.as_slice()?;
        self.with(py, |tile, _| tile.set_matrix(name, w))
    }

    fn parameters(&self, py: Python<'_>, array: &str) -> PyResult<Vec<String>> {
        self.with(py, |tile, _| tile.parameter_names(array))
    }

    fn parameter<'py>(&self, py: Python<'py>, array: &str, name: &str) -> PyResult<Bound<'py, PyArray2<f32>>> {
        let values = self.with(py, |tile, _| tile.parameter(array, name))?;
        to_matrix(py, values, self.d_in)
    }

    fn set_parameter(&self, py: Python<'_>, array: &str, name: &str, values: &Bound<'_, PyAny>) -> PyResult<()> {
        let values = self.whole(name, values)?;
        let values = values.as_slice()?;
        self.with(py, |tile, _| tile.set_parameter(array, name, values))
    }

    fn granularity(&self, py: Python<'_>, array: &str) -> PyResult<f64> {
        self.with(py, |tile, _| tile.granularity(array))
    }

    fn n_states(&self, py: Python<'_>, array: &str) -> PyResult<f64> {
        self.with(py, |tile, _| tile.n_states(array))
    }

    /// A tile of its own with the same cells, state and streams.
    #[pyo3(signature = (memo, /))]
    fn __deepcopy__(&self, py: Python<'_>, memo: &Bound<'_, PyAny>) -> PyResult<Self> {
        let _ = memo;
        let inner = self.with(py, |tile, _| Ok(tile.clone()))?;
        Ok(Self { inner: Mutex::new(inner), d_out: self.d_out, d_in: self.d_in })
    }

    fn state<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let state = self.with(py, |tile, _| Ok(tile.state()))?;
        let out = PyDict::new(py);
        for (name, part) in state {
            match part {
                State::Counts(counts) => out.set_item(name, PyArray1::from_vec(py, counts))?,
                State::Values(values) if values.len() == 1 && !name.ends_with(".values") => {
                    out.set_item(name, PyArray1::from_vec(py, values))?
                }
                State::Values(values) => out.set_item(name, to_matrix(py, values, self.d_in)?)?,
            }
        }
        Ok(out)
    }

    fn load_state(&self, py: Python<'_>, state: &Bound<'_, PyDict>) -> PyResult<()> {
        let own = self.with(py, |tile, _| Ok(tile.state()))?;
        let mut parts = Vec::new();
        for (name, value) in state {
            let name: String = name.extract()?;
            let part = match value.extract::<numpy::PyReadonlyArray1<u64>>() {
                Ok(counts) => State::Counts(counts.as_array().to_vec()),
                Err(_) => {
                    let values = values(&name, &value)?;
                    // One number stands for a whole plane, and is all that there is of a gradient.
                    let plane = |(known, own): &(String, State)| *known == name && matches!(own, State::Values(_));
                    let plane = own.iter().any(plane) && !name.starts_with("gradient.");
                    if plane && values.len() != 1 && values.shape() != [self.d_out, self.d_in] {
                        let allowed = format!("({}, {})", self.d_out, self.d_in);
                        return Err(PyValueError::new_err(format!("state.{name} has shape {:?}, allowed: {allowed}", values.shape())));
                    }
                    State::Values(values.as_slice()?.to_vec())
                }
            };
            parts.push((name, part));
        }
        self.with(py, |tile, _| tile.load_state(parts).map_err(|e: Error| e))
    }
}
