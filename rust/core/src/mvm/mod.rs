//! The analog matrix-vector product: DAC, crossbar, ADC, noise and bound management.
//!
//! For one vector `x` (algorithms 4.2; every step in `f32`, in the written order, sums left to right over the `n` lines in; `xi` are normals
//! drawn anew, `Xi` normals that an output line, or a cell, keeps for its life):
//!
//! ```text
//! alpha = 1 | nm_thres or 1 | a | a = max |x| | max(a, s) | mean of max |x|         alpha <= 0 and no input noise: y = 0
//!         max: a = max x;  max and abs_max: a capped by nm_thres > 0
//!         abs_max_np_sum: s = max(sum of x > 0, -sum of x < 0) nm_assumed_wmax / out_bound, at most a max_bm_res / d_in with a DAC of steps
//!         average_abs_max: m = (1 - nm_decay) m + nm_decay max |x|, the first m is the first max |x| > 0; evaluating does not move it
//! r = 1;  repeat
//!   v = x / (alpha r);  v = d_in rint(v / d_in) or d_in rint(v / d_in + (U - 1/2));  v = clip(v, +-inp_bound);  v = v + inp_noise xi
//!   v = v (1 - inp_asymmetry) where v < 0
//!   crossbar, with v (one_pass) or with max(v, 0) and then max(-v, 0) (pos_neg_separate*):
//!     z_i = sum_j W_ij v_j          with w_read_asymmetry_dtod: sum of W_ij v_j > 0 minus sum of W_ij (1 + dtod Xi_ij) (-v_j), v_j < 0
//!     z_i = z_i - c(a_i) sum_j W_ij (v_j (1 - (1 - j/n)^2)),   a_i = ir_drop n / ir_drop_g_ratio sum_j |W_ij| |v_j|,
//!                                                              c(a) = 0.05 a^3 - 0.2 a^2 + 0.5 a
//!     z_i = (z_i + v_offset_std Xi_i G_i) / (1 + r_series G_i / n),   G_i = sum_j max(W_ij - v_offset_w_min, 0)
//!     z_i = z_i + w_noise sqrt(sum_j v_j^2) xi  or  z_i + w_noise sqrt(sum_j |W_ij| v_j^2) xi
//!   pos_neg_separate: z = z+ - z-
//!   z = g z / (1 + n_i |z| / out_bound),   n_i = |out_nonlinearity (1 + out_nonlinearity_std Xi_i)|,   g = 1 + out_nonlinearity slope_calibration
//!   z = z (1 - out_asymmetry) where z < 0;   z = z + |out_noise (1 + out_noise_std Xi_i)| xi
//!   z = d_out rint(z / d_out) or d_out rint(z / d_out + (U - 1/2));  over = |z| > out_bound (or z > out_bound);  z = clip(z, +-out_bound)
//! until no output is over, or r > max_bm_factor, or r > max_bm_res / d_in;  else r = 2 r, all noise drawn afresh
//!   (iterative_worst_case: the first repetition leaves r = 1 and takes alpha of abs_max_np_sum)
//! y = z * (out_scale * (alpha r))                                 pos_neg_separate_digital_sum: y = y+ - y-
//! ```
//!
//! Quantise before clip, as in the field. `d = res * 2 * bound`, `res > 1` counts steps, a bound <= 0 is infinite and switches the quantiser off;
//! where something is measured by an infinite `out_bound`, that counts as 1. No conductance is negative, hence the `max` in `G`.
//!
//! Streams: below the keys of a pass, inputs have the normals `(0, line)` and the words `(1, line)` for rounding; outputs the normals `(0, line)`, for
//! the weights the normals `(1, line)`, and the words `(2, line)`. The negative half of a separate pass draws from the child 1 of the output key.
//! `Xi` come from the device key of the array, below the children `Side` and `Pattern`: normal `(0, line)`, or of a cell `(0, column)` below the row.

mod converters;
mod currents;
mod io;
mod multiply;

pub use io::{BoundManagement, Io, MvType, NoiseManagement, WeightNoise};
pub(crate) use io::{Mean, abs_max};
pub(crate) use multiply::{Matrix, multiply};

use crate::pool::Machine;
use crate::rng::{Key, with_normals};
use crate::simd::{Isa, Kernel, Set};
use converters::{Outputs, convert_in};
use currents::{Currents, weight_noise};

/// Whose lines a fixed pattern belongs to: children of an array's device key above those of its parameters.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Side {
    /// Forward products of the tile (its first array's key).
    Forward = 1000,
    /// Backward products of the tile.
    Backward = 1001,
    /// Read-outs of columns of the array.
    ReadColumns = 1002,
    /// Read-outs of rows.
    ReadRows = 1003,
}

/// What a fixed pattern is of.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Pattern {
    Noise = 0,
    Nonlinearity = 1,
    Offset = 2,
    Reading = 3,
}

/// `|mean (1 + std Xi)|` for every line.
fn pattern(isa: Isa, key: Key, mean: f32, std: f32, lines: usize) -> Vec<f32> {
    let mut values = vec![0.0; lines];
    fill_normals(isa, key, 0, &mut values);
    values.iter_mut().for_each(|v| *v = (mean * (1.0 + std * *v)).abs());
    values
}

/// Puts normals `(counter, 0)`, `(counter, 1)`, ... into `values`.
fn fill_normals(isa: Isa, key: Key, counter: u32, values: &mut [f32]) {
    isa.run(FillNormals { key, counter, values });
}

struct FillNormals<'a> {
    key: Key,
    counter: u32,
    values: &'a mut [f32],
}

impl Kernel for FillNormals<'_> {
    #[inline(always)]
    fn run<S: Set>(self) {
        with_normals::<S>(self.key, self.counter, self.values, |_, z| z);
    }
}

/// Where the random numbers of a product come from: streams of the input and the output side, the number of the first vector, and the key of the
/// fixed patterns. Without `noise` nothing is drawn anew: rounding is to the nearest then, fixed patterns stay.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Streams {
    pub(crate) inp: Key,
    pub(crate) out: Key,
    pub(crate) first: u64,
    pub(crate) fixed: Key,
    pub(crate) noise: bool,
}

/// One vector on its way through the chain.
struct Vector {
    index: usize,
    alpha: f32,
    r: f32,
    pass: u64,
}

impl Vector {
    /// What the inputs are divided by.
    fn scale(&self) -> f32 {
        // With input noise alone a silent vector is not scaled.
        let alpha = if self.alpha > 0.0 { self.alpha } else { 1.0 };
        alpha * self.r
    }
}

/// Products of all vectors of `x` (`[batch][lines in]`) with `matrix`; returns `[batch][lines out]`. `mean` is the running mean of this direction.
/// `manage_bounds` is false for the backward product, which has no bound management.
pub(crate) fn product(
    machine: Machine,
    io: &Io,
    matrix: Matrix,
    x: &[f32],
    streams: Streams,
    mean: &mut Mean,
    manage_bounds: bool,
) -> Vec<f32> {
    let (lines_in, lines_out) = matrix.lines();
    let batch = x.len() / lines_in;
    let mut y = vec![0f32; batch * lines_out];
    if io.is_perfect {
        multiply(machine, matrix, x, &mut y);
        if io.out_scale != 1.0 {
            y.iter_mut().for_each(|v| *v *= io.out_scale);
        }
        return y;
    }
    let io = &if streams.noise { *io } else { io.quiet() };
    let matrix = Currents::new(machine, io, matrix, streams.fixed);
    let outputs = Outputs::new(machine.isa, io, lines_out, streams.fixed);
    let vector = |index: usize| &x[index * lines_in..][..lines_in];
    let (mut open, mut inputs) = (Vec::with_capacity(batch), Vec::with_capacity(x.len()));
    open.extend(
        (0..batch)
            .map(|index| Vector { index, alpha: io.factor(vector(index), mean), r: 1.0, pass: 0 })
            .filter(|v| v.alpha > 0.0 || io.inp_noise > 0.0),
    );
    while !open.is_empty() {
        let key = |side: Key, v: &Vector| side.child(streams.first + v.index as u64).child(v.pass);
        inputs.clear();
        for v in &open {
            let from = inputs.len();
            inputs.extend_from_slice(vector(v.index));
            convert_in(machine.isa, io, &mut inputs[from..], v.scale(), key(streams.inp, v));
        }
        let keys: Vec<Key> = open.iter().map(|v| key(streams.out, v)).collect();
        let mut currents = matrix.of(&inputs, &keys);
        let mut again = Vec::new();
        for (at, v) in open.into_iter().enumerate() {
            let y = &mut y[v.index * lines_out..][..lines_out];
            let back = io.out_scale * v.scale();
            let lines = at * lines_out..(at + 1) * lines_out;
            let mut over = outputs.convert(machine.isa, &mut currents[0][lines.clone()], back, keys[at]);
            y.copy_from_slice(&currents[0][lines.clone()]);
            if let Some(negative) = currents.get_mut(1) {
                over |= outputs.convert(machine.isa, &mut negative[lines.clone()], back, keys[at].child(1));
                y.iter_mut().zip(&negative[lines]).for_each(|(y, other)| *y -= other);
            }
            if over && manage_bounds && io.may_repeat(v.r) {
                let worst_case = io.bound_management == BoundManagement::IterativeWorstCase && v.pass == 0;
                let (alpha, r) = if worst_case { (io.worst_case(vector(v.index)), 1.0) } else { (v.alpha, 2.0 * v.r) };
                again.push(Vector { alpha, r, pass: v.pass + 1, ..v });
            }
        }
        open = again;
    }
    y
}

/// The read-out of lines by one-hot inputs of height 1, for peripheries that do not need the whole row ([`Io::needs_whole_row`]).
pub(crate) struct ReadChain<'a> {
    isa: Isa,
    io: &'a Io,
    /// What the DAC makes of 1.
    one: f32,
    /// The factor behind the ADC.
    back: f32,
    outputs: Outputs<'a>,
}

impl<'a> ReadChain<'a> {
    /// For lines of so many cells; `fixed` is the key of what output lines keep.
    pub(crate) fn new(isa: Isa, io: &'a Io, cells: usize, fixed: Key) -> Self {
        let mut one = [1.0];
        let mut back = io.out_scale;
        if !io.is_perfect {
            let alpha = io.factor(&one, &mut Mean::default());
            back = io.out_scale * alpha;
            convert_in(Isa::Portable, io, &mut one, alpha, Key(0));
        }
        Self { isa, io, one: one[0], back, outputs: Outputs::new(isa, io, cells, fixed) }
    }

    /// Reads a line of values in place, with the stream `key` of the noise.
    pub(crate) fn read(&self, z: &mut [f32], key: Key) {
        if self.io.is_perfect {
            return z.iter_mut().for_each(|v| *v = (0.0 + *v) * self.back);
        }
        let square = self.one * self.one;
        let noisy = self.io.w_noise > 0.0 && self.io.w_noise_type != WeightNoise::None;
        let sums: Vec<f32> = match self.io.w_noise_type {
            _ if !noisy => Vec::new(),
            WeightNoise::PcmRead => z.iter().map(|w| w.abs() * square).collect(),
            _ => vec![square],
        };
        z.iter_mut().for_each(|v| *v = 0.0 + *v * self.one);
        if noisy {
            weight_noise(self.isa, self.io.w_noise, z, &sums, key);
        }
        self.outputs.convert(self.isa, z, self.back, key);
    }
}
