//! A mini-batch of a whole network.

use crate::convert::{matrix, to_matrix, value_error};
use crate::functions::{check_bias, check_factors};
use crate::threads::{isa, pool};
use crate::tile::{Tile, check_shape, lock_all};
use numpy::{PyArray1, PyArray2, PyReadonlyArray1, PyUntypedArrayMethods};
use ohmgrad_core::error::{Error, Result};
use ohmgrad_core::network::{Digital, Linear, Pass, Stage};
use ohmgrad_core::ops::Activation;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyString;

type Row<'py> = PyReadonlyArray1<'py, f32>;
/// `a * o`, what errors are multiplied by for the update, what its rate is divided by, `a`, and `o` if it is learned.
type Factors<'py> = (Row<'py>, Option<Row<'py>>, f64, Row<'py>, Option<Row<'py>>);
type Matrix<'py> = (Bound<'py, Tile>, Factors<'py>, Option<Row<'py>>);

/// The name of a function, or a tile with its factors and its bias.
fn stage<'py>(object: Bound<'py, PyAny>) -> PyResult<Stage<Matrix<'py>>> {
    let Ok(name) = object.cast::<PyString>() else {
        return Ok(Stage::Linear(object.extract()?));
    };
    match name.to_str()? {
        "log_softmax" => Ok(Stage::LogSoftmax),
        name => Activation::named(name).map(Stage::Activation).map_err(value_error),
    }
}

/// Refuses factors and biases of other sizes than the outputs.
fn digital<'a>((tile, (both, scale, mean, a, o), bias): &'a Matrix) -> PyResult<Digital<'a>> {
    let lines = tile.get().d_out();
    let factors = |name: &str, row: &'a Row| check_factors(name, row.len(), lines).and_then(|()| Ok(row.as_slice()?));
    bias.iter().try_for_each(|bias| check_bias(bias.len(), lines))?;
    Ok(Digital {
        both: factors("both", both)?,
        scale: scale.as_ref().map(|scale| factors("scale", scale)).transpose()?,
        mean: *mean,
        a: factors("a", a)?,
        o: o.as_ref().map(|o| factors("o", o)).transpose()?,
        bias: bias.as_ref().map(|bias| bias.as_slice()).transpose()?,
    })
}

type Learned<'py> = Vec<[Option<Bound<'py, PyArray1<f32>>>; 2]>;

/// Forward, `loss(output, target)`, backward, update: the loss, the output before the update, and of each matrix the learned factors and the bias.
#[pyfunction]
pub fn train_step<'py>(
    py: Python<'py>,
    stages: Vec<Bound<'py, PyAny>>,
    x: &Bound<'py, PyAny>,
    target: &Bound<'py, PyAny>,
    loss: &Bound<'py, PyAny>,
    lr: f64,
) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyArray2<f32>>, Learned<'py>)> {
    let objects: Vec<_> = stages.into_iter().map(stage).collect::<PyResult<_>>()?;
    let x = matrix("x", x)?;
    let [rows, mut width] = [x.shape()[0], x.shape()[1]];
    let (mut tiles, mut stages) = (Vec::new(), Vec::with_capacity(objects.len()));
    for object in &objects {
        stages.push(object.each_ref().map(digital)?);
        if let Stage::Linear((tile, ..)) = object {
            let tile = tile.get();
            check_shape("x", [rows, width], tile.d_in())?;
            width = tile.d_out();
            tiles.push(tile);
        }
    }
    let (isa, pool, x) = (isa()?, pool()?, x.as_slice()?);
    let pass = with_tiles(py, &tiles, &stages, |stages| Pass::forward(&pool, isa, stages, x, rows))?;
    let y = to_matrix(py, pass.output().to_vec(), width)?;
    let [value, d]: [Bound<'py, PyAny>; 2] = loss.call1((&y, target))?.extract()?;
    let d = matrix("d", &d)?;
    if d.shape() != [rows, width] {
        let given = format!("({}, {})", d.shape()[0], d.shape()[1]);
        let allowed = format!("an array of the shape of the output, ({rows}, {width})");
        return Err(PyValueError::new_err(format!("d has shape {given}, allowed: {allowed}")));
    }
    let d = d.as_slice()?.to_vec();
    let learned = with_tiles(py, &tiles, &stages, |stages| pass.train(&pool, isa, stages, x, d, lr))?;
    let row = |values: Option<Vec<f32>>| values.map(|values| PyArray1::from_vec(py, values));
    Ok((value, y, learned.into_iter().map(|both| both.map(row)).collect()))
}

/// Does `work` with the stages, whose tiles are locked meanwhile.
fn with_tiles<T: Send>(
    py: Python<'_>,
    tiles: &[&Tile],
    stages: &[Stage<Digital>],
    work: impl Send + FnOnce(&mut [Stage<Linear>]) -> Result<T>,
) -> PyResult<T> {
    py.detach(|| {
        let mut guards = lock_all(tiles)?;
        let mut tiles = guards.iter_mut();
        let missing = || Error::new("stages", "have more matrices than tiles");
        let mut with_tile = |digital| tiles.next().map(|tile| Linear { tile, digital }).ok_or_else(missing);
        let stages = stages.iter().map(|stage| stage.map(&mut with_tile)).collect::<Result<Vec<_>>>();
        stages.and_then(|mut stages| work(&mut stages)).map_err(value_error)
    })
}
