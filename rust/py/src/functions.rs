//! Free functions: responses, checks, digital operations, raw streams.

use crate::convert::{contiguous, matrix, setting, to_matrix, value_error};
use crate::threads::isa;
use numpy::{PyArray1, PyArray2, PyReadonlyArray1, PyReadonlyArray2, PyReadonlyArrayDyn, PyUntypedArrayMethods};
use ohmgrad_core::device::Device;
use ohmgrad_core::devices::AnyModel;
use ohmgrad_core::fields::Fields;
use ohmgrad_core::mvm::Io;
use ohmgrad_core::ops::{self, Activation};
use ohmgrad_core::pulse::PulseTrain;
use ohmgrad_core::rng::{self, Key, Kind};
use ohmgrad_core::tile;
use ohmgrad_core::{error::Error, math};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyDict;

fn device(settings: &Bound<'_, PyAny>) -> PyResult<Device> {
    Device::new(setting("device", settings)?).map_err(value_error)
}

fn pulse_train(settings: &Bound<'_, PyAny>) -> PyResult<PulseTrain> {
    Fields::new("pulses", setting("pulses", settings)?).and_then(PulseTrain::new).map_err(value_error)
}

/// Refuses settings that make no device and no cell of several.
#[pyfunction]
pub fn validate_device(settings: &Bound<'_, PyAny>) -> PyResult<()> {
    tile::check_device(setting("device", settings)?).map_err(value_error)
}

/// Refuses settings that make no periphery.
#[pyfunction]
pub fn validate_io(settings: &Bound<'_, PyAny>) -> PyResult<()> {
    Fields::new("io", setting("io", settings)?).and_then(Io::new).map(|_| ()).map_err(value_error)
}

/// Refuses settings that make no pulse train.
#[pyfunction]
pub fn validate_pulses(settings: &Bound<'_, PyAny>) -> PyResult<()> {
    pulse_train(settings).map(|_| ())
}

/// Names of the device models.
#[pyfunction]
pub fn models() -> Vec<&'static str> {
    AnyModel::NAMES.to_vec()
}

type Pair<'py> = (Bound<'py, PyArray1<f64>>, Bound<'py, PyArray1<f64>>);

/// Noise-free `q_up(w)`, `q_down(w)` of the mean device.
#[pyfunction]
pub fn response<'py>(py: Python<'py>, settings: &Bound<'py, PyAny>, w: &Bound<'py, PyAny>) -> PyResult<Pair<'py>> {
    let w: PyReadonlyArray1<f64> = contiguous("w", w, "float64")?.extract()?;
    let (up, down) = device(settings)?.response(w.as_slice()?);
    Ok((PyArray1::from_vec(py, up), PyArray1::from_vec(py, down)))
}

/// Granularity, number of states, symmetric point (nan where there is none) and nominal bounds.
#[pyfunction]
pub fn device_facts<'py>(py: Python<'py>, settings: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyDict>> {
    let device = device(settings)?;
    let facts = PyDict::new(py);
    facts.set_item("granularity", device.granularity())?;
    facts.set_item("n_states", device.n_states())?;
    facts.set_item("dw_min", device.steps().0)?;
    facts.set_item("up_down", device.steps().1)?;
    facts.set_item("symmetric_point", device.symmetric_point().unwrap_or(f64::NAN))?;
    facts.set_item("w_max", device.bounds().0)?;
    facts.set_item("w_min", device.bounds().1)?;
    Ok(facts)
}

/// Granularity and number of states of a device or a cell of several.
#[pyfunction]
pub fn cell_facts(settings: &Bound<'_, PyAny>) -> PyResult<(f64, f64)> {
    tile::cell_facts(setting("device", settings)?).map_err(value_error)
}

/// Number of slots, amplification of the error lines and of the input lines.
#[pyfunction]
pub fn scale_factors(lr: f64, granularity: f64, x_max: f64, d_max: f64, pulses: &Bound<'_, PyAny>) -> PyResult<(usize, f64, f64)> {
    for (name, v, low) in
        [("lr", lr, f64::MIN), ("granularity", granularity, f64::MIN_POSITIVE), ("x_max", x_max, 0.0), ("d_max", d_max, 0.0)]
    {
        if !v.is_finite() || v < low {
            return Err(value_error(Error::value(name, v, format_args!("a finite number >= {low}"))));
        }
    }
    let scale = pulse_train(pulses)?.scale(lr, granularity, x_max, d_max);
    Ok((scale.bl, scale.d, scale.x))
}

/// Applies `work` to a copy of the rows of `x`.
fn on_rows<'py>(
    py: Python<'py>,
    name: &str,
    x: &Bound<'py, PyAny>,
    work: impl FnOnce(&mut [f32], usize),
) -> PyResult<Bound<'py, PyArray2<f32>>> {
    let x = matrix(name, x)?;
    let columns = x.shape()[1];
    let mut y = x.as_slice()?.to_vec();
    if columns > 0 {
        work(&mut y, columns);
    }
    to_matrix(py, y, columns.max(1))
}

/// Refuses arrays of different shapes.
fn same_shape(y: &PyReadonlyArray2<'_, f32>, d: &PyReadonlyArray2<'_, f32>) -> PyResult<()> {
    if y.shape() != d.shape() {
        let allowed = format!("{:?}", y.shape());
        return Err(value_error(Error::value("the second array", format_args!("of shape {:?}", d.shape()), allowed)));
    }
    Ok(())
}

/// Element-wise non-linearity.
#[pyfunction]
pub fn activation<'py>(py: Python<'py>, kind: &str, x: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyArray2<f32>>> {
    let kind = Activation::named(kind).map_err(value_error)?;
    let isa = isa()?;
    on_rows(py, "x", x, |x, _| kind.apply(isa, x))
}

/// `d` times the derivative at the output `y`.
#[pyfunction]
pub fn activation_grad<'py>(
    py: Python<'py>,
    kind: &str,
    y: &Bound<'py, PyAny>,
    d: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyArray2<f32>>> {
    let kind = Activation::named(kind).map_err(value_error)?;
    let (y, d) = (matrix("y", y)?, matrix("d", d)?);
    same_shape(&y, &d)?;
    let isa = isa()?;
    on_rows(py, "d", d.as_any(), |d, _| kind.gradient(isa, y.as_slice().unwrap_or_default(), d))
}

/// `x - ln sum e^x` of each row.
#[pyfunction]
pub fn log_softmax<'py>(py: Python<'py>, x: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyArray2<f32>>> {
    on_rows(py, "x", x, ops::log_softmax)
}

/// The gradient through `log_softmax`, from its output `y`.
#[pyfunction]
pub fn log_softmax_grad<'py>(py: Python<'py>, y: &Bound<'py, PyAny>, d: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyArray2<f32>>> {
    let (y, d) = (matrix("y", y)?, matrix("d", d)?);
    same_shape(&y, &d)?;
    on_rows(py, "d", d.as_any(), |d, classes| ops::log_softmax_gradient(y.as_slice().unwrap_or_default(), d, classes))
}

type Loss<'py> = (f64, Bound<'py, PyArray2<f32>>);

fn labels<'py>(target: &Bound<'py, PyAny>) -> PyResult<PyReadonlyArray1<'py, i64>> {
    if let Ok(labels) = target.extract::<PyReadonlyArray1<'py, i64>>()
        && labels.as_slice().is_ok()
    {
        return Ok(labels);
    }
    let array = contiguous("target", target, "int64")?;
    array.extract().map_err(|_| value_error(Error::new("target", "has more than one dimension, allowed: one label per row")))
}

/// Negative log-likelihood of log-probabilities, mean over the batch, and its gradient.
#[pyfunction]
pub fn nll<'py>(py: Python<'py>, logp: &Bound<'py, PyAny>, target: &Bound<'py, PyAny>) -> PyResult<Loss<'py>> {
    let (logp, target) = (matrix("logp", logp)?, labels(target)?);
    let classes = logp.shape()[1];
    let (loss, d) = ops::nll(logp.as_slice()?, target.as_slice()?, classes.max(1)).map_err(value_error)?;
    Ok((loss, to_matrix(py, d, classes)?))
}

/// Cross-entropy of logits, mean over the batch, and its gradient.
#[pyfunction]
pub fn cross_entropy<'py>(py: Python<'py>, logits: &Bound<'py, PyAny>, target: &Bound<'py, PyAny>) -> PyResult<Loss<'py>> {
    let (logits, target) = (matrix("logits", logits)?, labels(target)?);
    let classes = logits.shape()[1];
    let (loss, d) = ops::cross_entropy(logits.as_slice()?, target.as_slice()?, classes.max(1)).map_err(value_error)?;
    Ok((loss, to_matrix(py, d, classes)?))
}

/// Mean squared error over all elements, and its gradient.
#[pyfunction]
pub fn mse<'py>(py: Python<'py>, y: &Bound<'py, PyAny>, target: &Bound<'py, PyAny>) -> PyResult<Loss<'py>> {
    let (y, target) = (matrix("y", y)?, matrix("target", target)?);
    same_shape(&y, &target)?;
    let (loss, d) = ops::mse(y.as_slice()?, target.as_slice()?).map_err(value_error)?;
    Ok((loss, to_matrix(py, d, y.shape()[1])?))
}

/// One factor, or one per column.
pub fn check_factors(name: &str, len: usize, lines: usize) -> PyResult<()> {
    match len {
        n if n == 1 || n == lines => Ok(()),
        n => Err(value_error(Error::value(name, format_args!("{n} values"), format_args!("1 or {lines}")))),
    }
}

/// One number per column.
pub fn check_bias(len: usize, lines: usize) -> PyResult<()> {
    match len {
        n if n == lines => Ok(()),
        n => Err(value_error(Error::value("bias", format_args!("{n} values"), lines))),
    }
}

/// `y * scale + bias` of each row; `scale` is one factor or one per column.
#[pyfunction]
pub fn scale_bias<'py>(
    py: Python<'py>,
    y: &Bound<'py, PyAny>,
    scale: PyReadonlyArray1<'py, f32>,
    bias: Option<PyReadonlyArray1<'py, f32>>,
) -> PyResult<Bound<'py, PyArray2<f32>>> {
    let y = matrix("y", y)?;
    let lines = y.shape()[1];
    check_factors("scale", scale.len(), lines)?;
    bias.iter().try_for_each(|bias| check_bias(bias.len(), lines))?;
    let (scale, bias) = (scale.as_slice()?, bias.as_ref().map(|b| b.as_slice()).transpose()?);
    on_rows(py, "y", y.as_any(), |y, lines| ops::scale_bias(y, scale, bias, lines))
}

/// The columns of `x` in blocks of these widths, with `one` followed by a column of ones; refuses other widths and infinite values.
#[pyfunction]
pub fn column_blocks<'py>(
    py: Python<'py>,
    name: &str,
    x: &Bound<'py, PyAny>,
    widths: Vec<usize>,
    one: bool,
) -> PyResult<Vec<Bound<'py, PyArray2<f32>>>> {
    let x = matrix(name, x)?;
    let [rows, columns] = [x.shape()[0], x.shape()[1]];
    let wanted = widths.iter().sum::<usize>() - usize::from(one);
    if columns != wanted || rows == 0 || columns == 0 {
        return Err(PyValueError::new_err(format!("{name} has shape ({rows}, {columns}), allowed: (1 or more, {wanted})")));
    }
    let blocks = ops::column_blocks(name, x.as_slice()?, columns, &widths).map_err(value_error)?;
    blocks.into_iter().zip(widths).map(|(block, width)| to_matrix(py, block, width)).collect()
}

type Row<'py> = Bound<'py, PyArray1<f32>>;

/// A step of plain SGD of the factors `o` behind `a * y`, and of the bias behind them; what is `None` stays.
#[pyfunction]
pub fn digital_step<'py>(
    py: Python<'py>,
    d: &Bound<'py, PyAny>,
    y: &Bound<'py, PyAny>,
    lr: f64,
    a: PyReadonlyArray1<'py, f32>,
    o: Option<PyReadonlyArray1<'py, f32>>,
    bias: Option<PyReadonlyArray1<'py, f32>>,
) -> PyResult<(Option<Row<'py>>, Option<Row<'py>>)> {
    let (d, y, lr) = (matrix("d", d)?, matrix("y", y)?, lr as f32);
    same_shape(&d, &y)?;
    let lines = d.shape()[1];
    check_factors("a", a.len(), lines)?;
    o.iter().try_for_each(|o| check_factors("o", o.len(), lines))?;
    bias.iter().try_for_each(|bias| check_bias(bias.len(), lines))?;
    let (d, y, a) = (d.as_slice()?, y.as_slice()?, a.as_slice()?);
    let row = |values: Vec<f32>| PyArray1::from_vec(py, values);
    let o = o.as_ref().map(|o| o.as_slice()).transpose()?.map(|o| row(ops::factor_step(o, a, d, y, lr, lines.max(1))));
    let bias = bias.as_ref().map(|bias| bias.as_slice()).transpose()?.map(|bias| row(ops::bias_step(bias, d, lr)));
    Ok((o, bias))
}

/// Uniform numbers in `[-bound, bound)` from the init stream of `path`.
#[pyfunction]
pub fn uniform_init<'py>(
    py: Python<'py>,
    seed: u64,
    path: &str,
    rows: usize,
    cols: usize,
    bound: f32,
) -> PyResult<Bound<'py, PyArray2<f32>>> {
    to_matrix(py, ops::uniform_init(seed, path, rows, cols, bound), cols)
}

/// The order of `n` samples in an epoch.
#[pyfunction]
pub fn permutation(py: Python<'_>, seed: u64, epoch: u64, n: usize) -> Bound<'_, PyArray1<i64>> {
    PyArray1::from_vec(py, rng::permutation(Key::new(seed, Kind::Init, "shuffle", epoch), n))
}

/// This package's own functions, element by element: exp, ln, expm1, sin, cos, tanh, sigmoid; pow of the two rows of `x`.
#[pyfunction]
pub fn functions<'py>(py: Python<'py>, name: &str, x: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyArray1<f32>>> {
    let x: PyReadonlyArrayDyn<f32> = contiguous("x", x, "float32")?.extract()?;
    let x = x.as_slice()?;
    let each = |f: fn(f32) -> f32| x.iter().map(|v| f(*v)).collect();
    let y: Vec<f32> = match name {
        "exp" => each(math::exp),
        "ln" => each(math::ln),
        "expm1" => each(math::expm1),
        "sin" => each(math::sin),
        "cos" => each(math::cos),
        "tanh" => each(math::tanh),
        "sigmoid" => each(math::sigmoid),
        "pow" => {
            let (base, exponent) = x.split_at(x.len() / 2);
            base.iter().zip(exponent).map(|(x, y)| math::pow(*x, *y)).collect()
        }
        _ => return Err(value_error(Error::value("name", format_args!("{name:?}"), "exp, ln, expm1, sin, cos, tanh, sigmoid, pow"))),
    };
    Ok(PyArray1::from_vec(py, y))
}

fn stream(key: &[u64]) -> Key {
    key.iter().fold(Key(0), |key, tag| key.child(*tag))
}

/// Words of the stream at the end of a chain of tags.
#[pyfunction]
pub fn words<'py>(
    py: Python<'py>,
    key: Vec<u64>,
    i: PyReadonlyArray1<'py, u32>,
    n: PyReadonlyArray1<'py, u32>,
) -> Bound<'py, PyArray1<u32>> {
    let key = stream(&key);
    PyArray1::from_iter(py, i.as_array().iter().zip(n.as_array()).map(|(i, n)| key.word(*i, *n)))
}

/// Normals of the stream at the end of a chain of tags.
#[pyfunction]
pub fn normals<'py>(
    py: Python<'py>,
    key: Vec<u64>,
    i: PyReadonlyArray1<'py, u32>,
    n: PyReadonlyArray1<'py, u32>,
) -> Bound<'py, PyArray1<f32>> {
    let key = stream(&key);
    PyArray1::from_iter(py, i.as_array().iter().zip(n.as_array()).map(|(i, n)| key.normal(*i, *n)))
}
