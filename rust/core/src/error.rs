//! The one error type: every message names the field, the value and what is allowed.

use std::fmt;

/// Why a request was refused. Nothing has been changed when an operation returns one.
#[derive(Debug, Clone, PartialEq)]
pub struct Error {
    /// What was wrong, in the caller's words: `w_max`, `x`, `plan.gradient.target`.
    pub field: String,
    /// The value and the allowed range.
    pub message: String,
}

/// Short for results of this crate.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An error about `field`.
    pub fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { field: field.into(), message: message.into() }
    }

    /// The usual sentence: `w_max is -1, allowed: >= 0`.
    pub fn value(field: &str, value: impl fmt::Display, allowed: impl fmt::Display) -> Self {
        Self::new(field, format!("is {value}, allowed: {allowed}"))
    }

    /// The same error, with its field seen from one level further out: `device.w_max`.
    pub fn within(mut self, outer: &str) -> Self {
        self.field = format!("{outer}.{}", self.field);
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.field, self.message)
    }
}

impl std::error::Error for Error {}

/// Refuses a matrix that is not `rows x columns` or holds a value that is not finite.
pub(crate) fn check_matrix(field: &str, values: &[f32], rows: usize, columns: usize) -> Result<()> {
    if values.len() != rows * columns {
        return Err(Error::value(
            field,
            format_args!("an array of {} values", values.len()),
            format_args!("{rows} x {columns} = {}", rows * columns),
        ));
    }
    check_finite(field, values)
}

/// Refuses NaN and infinities, naming the first one.
pub(crate) fn check_finite(field: &str, values: &[f32]) -> Result<()> {
    // The sum of `v * 0` is zero exactly if every value is finite; it vectorises, `position` does not.
    let mut sums = [0f32; 16];
    let mut chunks = values.chunks_exact(16);
    for chunk in &mut chunks {
        for (sum, value) in sums.iter_mut().zip(chunk) {
            *sum += value * 0.0;
        }
    }
    let all: f32 = sums.iter().sum::<f32>() + chunks.remainder().iter().map(|v| v * 0.0).sum::<f32>();
    if all == 0.0 {
        return Ok(());
    }
    let at = values.iter().position(|v| !v.is_finite()).unwrap_or(0);
    Err(Error::new(field, format!("holds {} at flat index {at}, allowed: finite numbers", values[at])))
}
