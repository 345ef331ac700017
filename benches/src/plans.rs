//! Algorithms as the Python side writes them.

use crate::{map, text};
use ohmgrad_core::fields::Value;

/// A plan, and the pulses of its gradient.
pub type Algorithm = (Value, Value);

fn rate(value: f64, scaled: bool) -> Value {
    map(&[("value", Value::Real(value)), ("scaled", Value::Bool(scaled))])
}

/// Matrices with their factors; a name that starts with `+` is chopped.
fn terms(of: &[(&str, f64)]) -> Value {
    let term = |&(name, factor): &(&str, f64)| {
        let chopped = name.starts_with('+');
        map(&[("matrix", text(name.trim_start_matches('+'))), ("factor", Value::Real(factor)), ("chopped", Value::Bool(chopped))])
    };
    Value::List(of.iter().map(term).collect())
}

fn names(names: &[&str]) -> Value {
    Value::List(names.iter().map(|name| text(name)).collect())
}

fn plan(arrays: &[&str], digital: &[&str], weight: &str, gradient: Value, transfers: Vec<Value>) -> Value {
    map(&[
        ("arrays", names(arrays)),
        ("digital", names(digital)),
        ("weight", terms(&[(weight, 1.0)])),
        ("gradient", gradient),
        ("transfers", Value::List(transfers)),
    ])
}

/// Gradient descent on one array.
pub fn sgd() -> Algorithm {
    (plan(&["weight"], &[], "weight", map(&[("target", text("weight")), ("rate", rate(1.0, true))]), vec![]), map(&[]))
}

/// Tiki-Taka: the gradient on a fast array; after every mini-batch `reads` of its columns (0: all) are written to a slow one.
pub fn tiki_taka(reads: usize) -> Algorithm {
    let gradient = map(&[("target", text("fast")), ("rate", rate(0.01, false))]);
    (plan(&["fast", "slow"], &[], "slow", gradient, vec![fast_to_slow(reads)]), map(&[]))
}

/// The transfer of [`tiki_taka`].
pub fn fast_to_slow(reads: usize) -> Value {
    let write = map(&[("source", terms(&[("fast", 1.0)])), ("target", text("slow")), ("rate", rate(1.0, true)), ("pulses", map(&[]))]);
    transfer("batches", reads, vec![map(&[("write", write)])], &[])
}

/// Tiki-Taka with a buffer, a column after every vector.
pub fn buffered() -> Algorithm {
    let gradient = map(&[("target", text("fast")), ("rate", rate(1.0, false))]);
    let steps = vec![accumulate("hidden", &[("fast", 1.0)], 1000.0, 1.0), from_buffer(false, &[])];
    (plan(&["fast", "slow"], &["hidden"], "slow", gradient, vec![transfer("vectors", 1, steps, &[])]), five())
}

/// AGAD, a column after every vector.
pub fn agad() -> Algorithm {
    let gradient =
        map(&[("target", text("fast")), ("rate", rate(0.1, false)), ("chopped", Value::Bool(true)), ("auto_scale", Value::Real(0.99))]);
    let steps = vec![
        accumulate("hidden", &[("+fast", 1.0), ("+reference", -1.0)], 1000.0, 1.0),
        from_buffer(true, &[("after_passes", Value::Real(10.0))]),
        accumulate("mean", &[("fast", 1.0)], 0.5, 0.5),
    ];
    let chopper = map(&[("prob", Value::Real(0.1)), ("random", Value::Bool(false)), ("latch", names(&["mean", "reference"]))]);
    let transfers = vec![transfer("vectors", 1, steps, &[("chopper", chopper)])];
    (plan(&["fast", "slow"], &["hidden", "mean", "reference"], "slow", gradient, transfers), five())
}

fn five() -> Value {
    map(&[("desired_bl", Value::Real(5.0))])
}

fn transfer(unit: &str, reads: usize, steps: Vec<Value>, more: &[(&str, Value)]) -> Value {
    let every = map(&[("period", Value::Real(1.0)), ("unit", text(unit))]);
    let mut settings = vec![
        ("every", every),
        ("reads", Value::Real(reads as f64)),
        ("io", map(&[("out_noise", Value::Real(0.06))])),
        ("steps", Value::List(steps)),
    ];
    settings.extend(more.iter().cloned());
    map(&settings)
}

fn accumulate(into: &str, source: &[(&str, f64)], gain: f64, keep: f64) -> Value {
    let step = map(&[("into", text(into)), ("source", terms(source)), ("gain", rate(gain, keep == 1.0)), ("keep", Value::Real(keep))]);
    map(&[("accumulate", step)])
}

fn from_buffer(managed: bool, more: &[(&str, Value)]) -> Value {
    let pulses = map(&[
        ("desired_bl", Value::Real(1.0)),
        ("update_management", Value::Bool(managed)),
        ("update_bl_management", Value::Bool(managed)),
    ]);
    let mut settings = vec![
        ("source", terms(&[("hidden", 1.0)])),
        ("target", text("slow")),
        ("rate", rate(0.001, false)),
        ("threshold", map(&[("cap", Value::Real(1.0)), ("momentum", Value::Real(0.0)), ("forget", Value::Bool(true))])),
        ("pulses", pulses),
    ];
    settings.extend(more.iter().cloned());
    map(&[("write", map(&settings))])
}
