//! Arrays and settings from Python, errors to Python.

use numpy::ndarray::Array2;
use numpy::{PyArray2, PyReadonlyArray2, PyReadonlyArrayDyn, PyUntypedArrayMethods};
use ohmgrad_core::error::Error;
use ohmgrad_core::fields::Value;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyFloat, PyInt, PyList, PyString, PyTuple};

/// Core errors are `ValueError`s.
pub fn value_error(error: Error) -> PyErr {
    PyValueError::new_err(error.to_string())
}

/// A two-dimensional `float32` array in C order; anything NumPy can convert safely is converted.
pub fn matrix<'py>(field: &str, object: &Bound<'py, PyAny>) -> PyResult<PyReadonlyArray2<'py, f32>> {
    let array = match object.extract::<PyReadonlyArray2<'py, f32>>() {
        Ok(array) if array.is_c_contiguous() && array.as_slice().is_ok() => return Ok(array),
        _ => contiguous(field, object, "float32")?,
    };
    array.extract().map_err(|_| {
        let shape = array.getattr("shape").map(|s| s.to_string()).unwrap_or_default();
        PyValueError::new_err(format!("{field} has shape {shape}, allowed: two dimensions"))
    })
}

/// Any array as `float32` in C order, whatever its shape.
pub fn values<'py>(field: &str, object: &Bound<'py, PyAny>) -> PyResult<PyReadonlyArrayDyn<'py, f32>> {
    Ok(contiguous(field, object, "float32")?.extract()?)
}

/// `numpy.require` (C order, aligned) with an error that names the field; complex, text and objects are refused.
pub fn contiguous<'py>(field: &str, object: &Bound<'py, PyAny>, dtype: &str) -> PyResult<Bound<'py, PyAny>> {
    let py = object.py();
    let numpy = py.import("numpy")?;
    let refuse = |what: String| PyTypeError::new_err(format!("{field} is {what}, allowed: an array of real numbers"));
    let array = numpy.call_method1("asarray", (object,)).map_err(|_| refuse(format!("a {}", object.get_type())))?;
    let kind: String = array.getattr("dtype")?.getattr("kind")?.extract()?;
    if !matches!(kind.as_str(), "f" | "i" | "u" | "b") {
        return Err(refuse(format!("of dtype {}", array.getattr("dtype")?)));
    }
    if dtype == "int64" && kind == "f" {
        return Err(PyTypeError::new_err(format!("{field} is of dtype {}, allowed: integers", array.getattr("dtype")?)));
    }
    // Values that float32 cannot hold become infinite and are refused by name a moment later: no warning on the way.
    let errstate = PyDict::new(py);
    errstate.set_item("over", "ignore")?;
    let guard = numpy.call_method("errstate", (), Some(&errstate))?;
    guard.call_method0("__enter__")?;
    let converted = numpy.call_method1("require", (&array, dtype, ["C_CONTIGUOUS", "ALIGNED"]));
    guard.call_method1("__exit__", (py.None(), py.None(), py.None()))?;
    let converted = converted?;
    if array.getattr("ndim")?.extract::<usize>()? == 0 {
        return Err(PyValueError::new_err(format!("{field} is a single number, allowed: an array")));
    }
    Ok(converted)
}

/// A new `[rows][columns]` array.
pub fn to_matrix<'py>(py: Python<'py>, values: Vec<f32>, columns: usize) -> PyResult<Bound<'py, PyArray2<f32>>> {
    let rows = values.len() / columns;
    let matrix = Array2::from_shape_vec([rows, columns], values);
    // In one object; a vector that is given another shape is two.
    matrix.map(|matrix| PyArray2::from_owned_array(py, matrix)).map_err(|e| PyValueError::new_err(e.to_string()))
}

/// Settings: dictionaries, lists, names, numbers and switches.
pub fn setting(field: &str, object: &Bound<'_, PyAny>) -> PyResult<Value> {
    if object.is_none() {
        Ok(Value::None)
    } else if let Ok(v) = object.cast::<PyBool>() {
        Ok(Value::Bool(v.is_true()))
    } else if object.is_instance_of::<PyFloat>() || object.is_instance_of::<PyInt>() {
        // An integer beyond all floats counts as infinite and is refused by the field's range.
        Ok(Value::Real(object.extract().unwrap_or(f64::INFINITY)))
    } else if let Ok(v) = object.cast::<PyString>() {
        Ok(Value::Text(v.to_string()))
    } else if let Ok(v) = object.cast::<PyDict>() {
        let pairs: PyResult<Vec<_>> = v
            .iter()
            .map(|(name, value)| {
                let name: String = name.extract()?;
                let value = setting(&name, &value)?;
                Ok((name, value))
            })
            .collect();
        Ok(Value::Map(pairs?))
    } else if object.is_instance_of::<PyList>() || object.is_instance_of::<PyTuple>() {
        let items: PyResult<Vec<_>> = object.try_iter()?.map(|item| setting(field, &item?)).collect();
        Ok(Value::List(items?))
    } else if object.hasattr("__float__")? {
        // NumPy scalars.
        Ok(Value::Real(object.call_method0("__float__")?.extract()?))
    } else {
        Err(PyTypeError::new_err(format!("{field} is a {}, allowed: a number, a name, a switch, a list or a mapping", object.get_type())))
    }
}
