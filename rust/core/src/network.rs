//! A mini-batch of a network: forward, loss, backward, update, without a way back to the caller in between.
//!
//! The bits are those of the same operations one by one.

use crate::error::{Error, Result};
use crate::ops::{self, Activation};
use crate::pool::Pool;
use crate::simd::Isa;
use crate::tile::{self, Batch, Tile};

/// A layer; `L` is what there is of a matrix.
#[derive(Debug, Clone, Copy)]
pub enum Stage<L> {
    /// A matrix.
    Linear(L),
    /// A function of every element.
    Activation(Activation),
    /// Log-softmax of every vector.
    LogSoftmax,
}

impl<L> Stage<L> {
    /// The same with a reference to what there is of a matrix.
    pub fn each_ref(&self) -> Stage<&L> {
        match self {
            Self::Linear(linear) => Stage::Linear(linear),
            Self::Activation(kind) => Stage::Activation(*kind),
            Self::LogSoftmax => Stage::LogSoftmax,
        }
    }

    /// The same with something else of a matrix.
    pub fn map<M, E>(self, f: impl FnOnce(L) -> std::result::Result<M, E>) -> std::result::Result<Stage<M>, E> {
        Ok(match self {
            Self::Linear(linear) => Stage::Linear(f(linear)?),
            Self::Activation(kind) => Stage::Activation(kind),
            Self::LogSoftmax => Stage::LogSoftmax,
        })
    }
}

/// `y = both * tile(x) + bias`.
#[derive(Debug)]
pub struct Linear<'a> {
    /// The matrix.
    pub tile: &'a mut Tile,
    /// What is around it.
    pub digital: Digital<'a>,
}

/// What is digital in a layer with a matrix: factors, one for all outputs or one for each, and a bias.
#[derive(Debug, Clone, Copy)]
pub struct Digital<'a> {
    /// `a * o`.
    pub both: &'a [f32],
    /// What errors are multiplied by for the update of the matrix, if by anything.
    pub scale: Option<&'a [f32]>,
    /// What the learning rate is divided by there.
    pub mean: f64,
    /// The fixed factors.
    pub a: &'a [f32],
    /// The learned ones, if they are learned.
    pub o: Option<&'a [f32]>,
    /// The bias, if there is one.
    pub bias: Option<&'a [f32]>,
}

/// What the stages of a network keep on the way forward.
#[derive(Debug)]
pub struct Pass {
    rows: usize,
    /// From the lowest to the highest stage.
    kept: Vec<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    y: Vec<f32>,
    /// The product, if that is not the output itself.
    product: Option<Vec<f32>>,
    /// The gradient that comes on the way back.
    d: Vec<f32>,
    /// What the matrix gets in its place, if that is something else.
    error: Option<Vec<f32>>,
}

/// The learned factors and the bias of a matrix, where there are any.
pub type Learned = [Option<Vec<f32>>; 2];

impl Pass {
    /// Takes a mini-batch of `rows` vectors forward, in training: `x` is `[rows][inputs]`.
    pub fn forward(pool: &Pool, isa: Isa, stages: &mut [Stage<Linear>], x: &[f32], rows: usize) -> Result<Self> {
        if rows == 0 || x.is_empty() || !x.len().is_multiple_of(rows) {
            return Err(Error::value("x", format_args!("{} values in {rows} vectors", x.len()), "one or more vectors of the same length"));
        }
        let mut kept: Vec<Kept> = Vec::with_capacity(stages.len());
        for stage in stages {
            let mut own = Kept::default();
            stage.forward(pool, isa, kept.last().map_or(x, |below| &below.y), rows, &mut own)?;
            kept.push(own);
        }
        Ok(Self { rows, kept })
    }

    /// The output, `[rows][outputs]`.
    pub fn output(&self) -> &[f32] {
        self.kept.last().map_or(&[], |last| &last.y)
    }

    /// Takes the gradient `d` of the output back to the lowest matrix, and trains all stages, which must be those that went forward. What one of them refuses
    /// changes no weight, but noise has been drawn.
    pub fn train(self, pool: &Pool, isa: Isa, stages: &mut [Stage<Linear>], x: &[f32], mut d: Vec<f32>, lr: f64) -> Result<Vec<Learned>> {
        let Self { rows, mut kept } = self;
        // Nothing below needs a gradient.
        let lowest = stages.iter().position(|stage| matches!(stage, Stage::Linear(_))).unwrap_or(stages.len());
        for (at, (stage, kept)) in stages.iter_mut().zip(&mut kept).enumerate().skip(lowest).rev() {
            d = stage.backward(pool, isa, d, at > lowest, rows, kept)?;
        }
        let inputs = std::iter::once(x).chain(kept.iter().map(|kept| &kept.y[..]));
        let batches = stages.iter_mut().zip(&kept).zip(inputs).filter_map(|((stage, kept), x)| match stage {
            Stage::Linear(Linear { tile, digital }) => {
                Some(Batch { tile, x, d: kept.error.as_ref().unwrap_or(&kept.d), lr: lr / digital.mean })
            }
            _ => None,
        });
        tile::train(pool, batches.collect())?;
        let learned = stages.iter().zip(&kept).filter_map(|(stage, kept)| match stage {
            Stage::Linear(linear) => Some(linear.learned(kept, lr as f32)),
            _ => None,
        });
        Ok(learned.collect())
    }
}

impl Stage<Linear<'_>> {
    fn forward(&mut self, pool: &Pool, isa: Isa, x: &[f32], rows: usize, kept: &mut Kept) -> Result<()> {
        let Kept { y, product, .. } = kept;
        match self {
            Stage::Linear(Linear { tile, digital: Digital { both, bias, .. } }) => {
                *y = tile.forward(pool, x, true, true)?;
                if bias.is_some() || *both != [1.0] {
                    *product = Some(y.clone());
                    ops::scale_bias(y, both, *bias, tile.d_out());
                }
            }
            Stage::Activation(kind) => {
                y.extend_from_slice(x);
                kind.apply(isa, y);
            }
            Stage::LogSoftmax => {
                y.extend_from_slice(x);
                ops::log_softmax(y, x.len() / rows);
            }
        }
        Ok(())
    }

    /// The gradient for the input from that for the output; a matrix keeps the latter, and gives the former if somebody needs it.
    fn backward(&mut self, pool: &Pool, isa: Isa, mut d: Vec<f32>, needed: bool, rows: usize, kept: &mut Kept) -> Result<Vec<f32>> {
        match self {
            Stage::Linear(Linear { tile, digital: Digital { both, scale, .. } }) => {
                let times = |factors: &[f32]| {
                    let mut error = d.clone();
                    ops::scale_bias(&mut error, factors, None, tile.d_out());
                    error
                };
                let error = scale.map(times);
                let below = match &error {
                    _ if !needed => Vec::new(),
                    // Mostly they are the same.
                    Some(error) if *scale == Some(both) => tile.backward(pool, error)?,
                    _ if *both == [1.0] => tile.backward(pool, &d)?,
                    _ => tile.backward(pool, &times(both))?,
                };
                (kept.d, kept.error) = (d, error);
                return Ok(below);
            }
            Stage::Activation(kind) => kind.gradient(isa, &kept.y, &mut d),
            Stage::LogSoftmax => ops::log_softmax_gradient(&kept.y, &mut d, kept.y.len() / rows),
        }
        Ok(d)
    }
}

impl Linear<'_> {
    /// The learned factors and the bias after a step of plain SGD.
    fn learned(&self, kept: &Kept, lr: f32) -> Learned {
        let (Digital { a, o, bias, .. }, Kept { y, product, d, .. }) = (self.digital, kept);
        let o = o.map(|o| ops::factor_step(o, a, d, product.as_ref().unwrap_or(y), lr, self.tile.d_out()));
        [o, bias.map(|bias| ops::bias_step(bias, d, lr))]
    }
}
