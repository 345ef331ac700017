//! The digital part of a network: activations, losses, sums. Every sum runs from left to right, so the bits are the same everywhere.

use crate::error::{Error, Result, check_finite};
use crate::math::{exp, ln, sigmoid, tanh};
use crate::rng::{Key, Kind};
use crate::simd::{Isa, Kernel, Set};

/// An element-wise non-linearity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// `1 / (1 + e^-x)`
    Sigmoid,
    /// The hyperbolic tangent.
    Tanh,
    /// `max(x, 0)`
    Relu,
}

impl Activation {
    /// By name.
    pub fn named(name: &str) -> Result<Self> {
        match name {
            "sigmoid" => Ok(Self::Sigmoid),
            "tanh" => Ok(Self::Tanh),
            "relu" => Ok(Self::Relu),
            _ => Err(Error::value("activation", format_args!("{name:?}"), "\"sigmoid\", \"tanh\", \"relu\"")),
        }
    }

    /// In place.
    pub fn apply(self, isa: Isa, x: &mut [f32]) {
        isa.run(Activate { kind: self, x });
    }

    /// `d` times the derivative, from the output `y`, in place of `d`.
    pub fn gradient(self, isa: Isa, y: &[f32], d: &mut [f32]) {
        isa.run(Slope { kind: self, y, d });
    }
}

struct Activate<'a> {
    kind: Activation,
    x: &'a mut [f32],
}

impl Kernel for Activate<'_> {
    #[inline(always)]
    fn run<S: Set>(self) {
        match self.kind {
            Activation::Sigmoid => self.x.iter_mut().for_each(|v| *v = sigmoid(*v)),
            Activation::Tanh => self.x.iter_mut().for_each(|v| *v = tanh(*v)),
            Activation::Relu => self.x.iter_mut().for_each(|v| *v = if *v > 0.0 { *v } else { 0.0 }),
        }
    }
}

struct Slope<'a> {
    kind: Activation,
    y: &'a [f32],
    d: &'a mut [f32],
}

impl Kernel for Slope<'_> {
    #[inline(always)]
    fn run<S: Set>(self) {
        let all = self.d.iter_mut().zip(self.y);
        match self.kind {
            Activation::Sigmoid => all.for_each(|(d, y)| *d *= y * (1.0 - y)),
            Activation::Tanh => all.for_each(|(d, y)| *d *= 1.0 - y * y),
            Activation::Relu => all.for_each(|(d, y)| *d *= if *y > 0.0 { 1.0 } else { 0.0 }),
        }
    }
}

/// `x - ln sum e^x` of each row, in place.
pub fn log_softmax(x: &mut [f32], classes: usize) {
    for row in x.chunks_exact_mut(classes) {
        let max = row.iter().fold(f32::NEG_INFINITY, |m, v| if *v > m { *v } else { m });
        let mut sum = 0.0;
        for v in row.iter_mut() {
            *v -= max;
            sum += exp(*v);
        }
        let norm = ln(sum);
        row.iter_mut().for_each(|v| *v -= norm);
    }
}

/// `d - softmax * sum d` of each row, from the log-probabilities `y`, in place of `d`.
pub fn log_softmax_gradient(y: &[f32], d: &mut [f32], classes: usize) {
    for (y, d) in y.chunks_exact(classes).zip(d.chunks_exact_mut(classes)) {
        let mut sum = 0.0;
        d.iter().for_each(|v| sum += v);
        d.iter_mut().zip(y).for_each(|(d, y)| *d -= exp(*y) * sum);
    }
}

fn check_targets(target: &[i64], rows: usize, classes: usize) -> Result<()> {
    if target.len() != rows || rows == 0 {
        return Err(Error::value("target", format_args!("{} labels", target.len()), format_args!("{rows}, one per row, at least one")));
    }
    match target.iter().find(|t| !(0..classes as i64).contains(*t)) {
        Some(label) => Err(Error::value("target", label, format_args!("0 to {}", classes - 1))),
        None => Ok(()),
    }
}

/// Negative log-likelihood of log-probabilities, mean over the batch, and its gradient.
pub fn nll(logp: &[f32], target: &[i64], classes: usize) -> Result<(f64, Vec<f32>)> {
    let rows = logp.len() / classes;
    check_targets(target, rows, classes)?;
    let mut d = vec![0.0; logp.len()];
    let mut loss = 0.0f64;
    for (row, label) in target.iter().enumerate() {
        let at = row * classes + *label as usize;
        loss -= logp[at] as f64;
        d[at] = -1.0 / rows as f32;
    }
    Ok((loss / rows as f64, d))
}

/// Cross-entropy of logits, mean over the batch, and its gradient.
pub fn cross_entropy(logits: &[f32], target: &[i64], classes: usize) -> Result<(f64, Vec<f32>)> {
    let mut logp = logits.to_vec();
    log_softmax(&mut logp, classes);
    let (loss, mut d) = nll(&logp, target, classes)?;
    log_softmax_gradient(&logp, &mut d, classes);
    Ok((loss, d))
}

/// Mean squared error over all elements and its gradient.
pub fn mse(y: &[f32], target: &[f32]) -> Result<(f64, Vec<f32>)> {
    if y.len() != target.len() || y.is_empty() {
        return Err(Error::value("target", format_args!("{} values", target.len()), format_args!("{}, at least one", y.len())));
    }
    check_finite("target", target)?;
    let scale = 2.0 / y.len() as f32;
    let mut loss = 0.0f64;
    let d = y
        .iter()
        .zip(target)
        .map(|(y, t)| {
            let e = y - t;
            loss += e as f64 * e as f64;
            scale * e
        })
        .collect();
    Ok((loss / y.len() as f64, d))
}

/// `y * scale + bias` of each row, in place; `scale` is one factor or one per column.
pub fn scale_bias(y: &mut [f32], scale: &[f32], bias: Option<&[f32]>, lines: usize) {
    for row in y.chunks_exact_mut(lines) {
        match scale {
            [one] => row.iter_mut().for_each(|y| *y *= one),
            _ => row.iter_mut().zip(scale).for_each(|(y, scale)| *y *= scale),
        }
        if let Some(bias) = bias {
            row.iter_mut().zip(bias).for_each(|(y, b)| *y += b);
        }
    }
}

/// The columns of `x` in blocks of these widths; what the widths have beyond the columns is ones. Refuses values that are not finite.
pub fn column_blocks(name: &str, x: &[f32], columns: usize, widths: &[usize]) -> Result<Vec<Vec<f32>>> {
    check_finite(name, x)?;
    let mut start = 0;
    let block = |width: &usize| {
        let end = columns.min(start + width);
        let mut block = Vec::with_capacity(x.len() / columns * width);
        for row in x.chunks_exact(columns) {
            block.extend_from_slice(&row[start..end]);
            block.extend(std::iter::repeat_n(1.0, start + width - end));
        }
        start = end;
        block
    };
    Ok(widths.iter().map(block).collect())
}

/// A step of plain SGD: `bias - lr sum d`, over rows.
pub fn bias_step(bias: &[f32], d: &[f32], lr: f32) -> Vec<f32> {
    let mut sum = vec![0.0; bias.len()];
    for row in d.chunks_exact(bias.len().max(1)) {
        sum.iter_mut().zip(row).for_each(|(s, d)| *s += d);
    }
    bias.iter().zip(sum).map(|(bias, sum)| bias - lr * sum).collect()
}

/// A step of plain SGD of the factors `o` behind `a * y`: `o - lr sum d (a y)`, over rows, and over columns if there is a single one. `a` is one factor
/// or one per column; sums are in `f64`.
pub fn factor_step(o: &[f32], a: &[f32], d: &[f32], y: &[f32], lr: f32, lines: usize) -> Vec<f32> {
    let mut slopes = vec![0.0; o.len()];
    // A single factor of either kind comes before or behind the sum, whichever is less.
    let within = o.len() < a.len();
    for (d, y) in d.chunks_exact(lines).zip(y.chunks_exact(lines)) {
        for (column, (d, y)) in d.iter().zip(y).enumerate() {
            let y = if within { y * a[column] } else { *y };
            slopes[if o.len() == 1 { 0 } else { column }] += *d as f64 * y as f64;
        }
    }
    let behind = |at: usize| if within { 1.0 } else { a[if a.len() == 1 { 0 } else { at }] };
    o.iter().zip(slopes).enumerate().map(|(at, (o, slope))| o - lr * (behind(at) * slope as f32)).collect()
}

/// Uniform numbers in `[-bound, bound)` from the init stream of `path`.
pub fn uniform_init(seed: u64, path: &str, rows: usize, columns: usize, bound: f32) -> Vec<f32> {
    let key = Key::new(seed, Kind::Init, path, 0);
    (0..rows)
        .flat_map(|row| {
            let key = key.child(row as u64);
            (0..columns).map(move |column| bound * (2.0 * key.uniform(column as u32, 0) - 1.0))
        })
        .collect()
}
