//! Named settings from outside (a Python dataclass, a file) read into Rust structures, with errors that name field, value and range.

use crate::error::{Error, Result};
use std::ops::RangeInclusive;

/// A setting as it arrives: what JSON can say, plus non-finite numbers (which are refused by name).
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Nothing.
    None,
    /// A switch.
    Bool(bool),
    /// A number; integers too, as long as they are exact in `f64`.
    Real(f64),
    /// A choice or a name.
    Text(String),
    /// A table or a list.
    List(Vec<Value>),
    /// Named settings.
    Map(Vec<(String, Value)>),
}

impl std::fmt::Display for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Value::None => write!(f, "None"),
            Value::Bool(v) => write!(f, "{v}"),
            Value::Real(v) if v.fract() == 0.0 && v.abs() < 1e15 => write!(f, "{v}"),
            Value::Real(v) => write!(f, "{v:?}"),
            Value::Text(v) => write!(f, "{v:?}"),
            Value::List(v) => write!(f, "a list of {}", v.len()),
            Value::Map(_) => write!(f, "a mapping"),
        }
    }
}

/// Takes settings out of a map one by one; what is left over at the end is unknown and refused.
#[derive(Debug, Clone)]
pub struct Fields {
    owner: String,
    left: Vec<(String, Value)>,
    known: Vec<&'static str>,
}

impl Fields {
    /// The settings of `owner` (a device, an `IO`, a plan).
    pub fn new(owner: &str, value: Value) -> Result<Self> {
        match value {
            Value::Map(left) => Ok(Self { owner: owner.into(), left, known: Vec::new() }),
            other => Err(Error::value(owner, other, "a mapping of settings")),
        }
    }

    fn take(&mut self, name: &'static str) -> Option<Value> {
        self.known.push(name);
        let at = self.left.iter().position(|(n, _)| n == name)?;
        Some(self.left.swap_remove(at).1)
    }

    fn fail<T>(&self, name: &str, value: &Value, allowed: &str) -> Result<T> {
        Err(Error::value(&format!("{}.{name}", self.owner), value, allowed))
    }

    /// A number in `range` that `f32` can hold, or `default` if it was not given.
    pub fn real(&mut self, name: &'static str, default: f64, range: RangeInclusive<f64>) -> Result<f64> {
        let value = self.take(name).unwrap_or(Value::Real(default));
        match value {
            Value::Real(v) if (v as f32).is_finite() && range.contains(&v) => Ok(v),
            other => self.fail(name, &other, &describe(&range)),
        }
    }

    /// A number in `range` that `f32` can hold, or nothing.
    pub fn optional_real(&mut self, name: &'static str, range: RangeInclusive<f64>) -> Result<Option<f64>> {
        match self.take(name).unwrap_or(Value::None) {
            Value::None => Ok(None),
            Value::Real(v) if (v as f32).is_finite() && range.contains(&v) => Ok(Some(v)),
            other => self.fail(name, &other, &format!("None, or {}", describe(&range))),
        }
    }

    /// A whole number in `range`, or `default`.
    pub fn whole(&mut self, name: &'static str, default: usize, range: RangeInclusive<usize>) -> Result<usize> {
        let value = self.take(name).unwrap_or(Value::Real(default as f64));
        match value {
            Value::Real(v) if v >= 0.0 && v.fract() == 0.0 && range.contains(&(v as usize)) => Ok(v as usize),
            other => self.fail(name, &other, &format!("a whole number from {} to {}", range.start(), range.end())),
        }
    }

    /// A switch, or `default`.
    pub fn switch(&mut self, name: &'static str, default: bool) -> Result<bool> {
        match self.take(name).unwrap_or(Value::Bool(default)) {
            Value::Bool(v) => Ok(v),
            other => self.fail(name, &other, "True or False"),
        }
    }

    /// One of a closed set of names; the first is the default.
    pub fn choice<T: Copy>(&mut self, name: &'static str, options: &[(&str, T)]) -> Result<T> {
        let value = self.take(name).unwrap_or(Value::Text(options[0].0.into()));
        if let Value::Text(text) = &value
            && let Some((_, option)) = options.iter().find(|(n, _)| n == text)
        {
            return Ok(*option);
        }
        let names: Vec<_> = options.iter().map(|(n, _)| format!("{n:?}")).collect();
        self.fail(name, &value, &names.join(", "))
    }

    /// A list of numbers in `range` that `f32` can hold; it must be given.
    pub fn reals(&mut self, name: &'static str, range: RangeInclusive<f64>) -> Result<Vec<f64>> {
        self.list(name)?
            .into_iter()
            .map(|v| match v {
                Value::Real(v) if (v as f32).is_finite() && range.contains(&v) => Ok(v),
                other => self.fail(name, &other, &describe(&range)),
            })
            .collect()
    }

    /// A list; it must be given.
    pub fn list(&mut self, name: &'static str) -> Result<Vec<Value>> {
        match self.take(name) {
            Some(Value::List(list)) => Ok(list),
            other => self.fail(name, &other.unwrap_or(Value::None), "a list"),
        }
    }

    /// A list, empty where there is none.
    pub fn list_or_none(&mut self, name: &'static str) -> Result<Vec<Value>> {
        match self.take(name).unwrap_or(Value::None) {
            Value::None => Ok(Vec::new()),
            Value::List(list) => Ok(list),
            other => self.fail(name, &other, "None, or a list"),
        }
    }

    /// A name; it must be given.
    pub fn text(&mut self, name: &'static str) -> Result<String> {
        match self.take(name) {
            Some(Value::Text(text)) => Ok(text),
            other => self.fail(name, &other.unwrap_or(Value::None), "a name"),
        }
    }

    /// Settings of a part; they must be given.
    pub fn part(&mut self, name: &'static str) -> Result<Fields> {
        let value = self.take(name).unwrap_or(Value::None);
        Fields::new(&format!("{}.{name}", self.owner), value)
    }

    /// Settings of a part that can be left out, or `None`.
    pub fn optional(&mut self, name: &'static str) -> Result<Option<Fields>> {
        match self.take(name).unwrap_or(Value::None) {
            Value::None => Ok(None),
            value => Fields::new(&format!("{}.{name}", self.owner), value).map(Some),
        }
    }

    /// Refuses what nobody took.
    pub fn finish(self) -> Result<()> {
        match self.left.first() {
            None => Ok(()),
            Some((name, value)) => {
                let known = self.known.join(", ");
                Err(Error::new(format!("{}.{name}", self.owner), format!("is unknown (value {value}), known: {known}")))
            }
        }
    }
}

fn describe(range: &RangeInclusive<f64>) -> String {
    match (range.start().is_finite(), range.end().is_finite()) {
        (true, true) => format!("{:?} to {:?}", range.start(), range.end()),
        (true, false) => format!("{:?} or more, finite in float32", range.start()),
        (false, true) => format!("{:?} or less, finite in float32", range.end()),
        (false, false) => "a number finite in float32".into(),
    }
}
