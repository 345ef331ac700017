//! The analog matrix-vector product: DAC, crossbar, ADC, noise and bound management.
//!
//! For one vector `x` (algorithms 4.2; every step in `f32`, the products summed left to right over the inner index):
//!
//! ```text
//! alpha = 1 | nm_thres or 1 | max |x| (capped by nm_thres > 0)          alpha <= 0 and no input noise: y = 0
//! r = 1;  repeat
//!   v = x / (alpha r);  v = d_in rint(v / d_in);  v = clip(v, +-inp_bound);  v = v + inp_noise z
//!   z = sum_j W_ij v_j;       z = z + out_noise z';     z = d_out rint(z / d_out);  over = |z| > out_bound;  z = clip(z, +-out_bound)
//! until no output is over, or r > max_bm_factor, or r > max_bm_res / d_in;  else r = 2 r, all noise drawn afresh
//! y = z * (out_scale * (alpha r))
//! ```
//!
//! Quantise before clip, as in the field. `d = res * 2 * bound`, `res > 1` counts steps, a bound <= 0 is infinite and switches the quantiser off.

use crate::error::Result;
use crate::fields::Fields;
use crate::math::rint;
use crate::pool::Machine;
use crate::rng::{Key, add_normals};
use crate::simd::{Isa, Kernel, clip};

/// How inputs are scaled into the range of the DAC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoiseManagement {
    /// Not at all.
    None,
    /// By `nm_thres`.
    Constant,
    /// By the largest absolute value.
    AbsMax,
}

/// What happens when an output leaves the range of the ADC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BoundManagement {
    /// It is clipped.
    None,
    /// The product is repeated with inputs halved, as often as the stopping rules allow.
    Iterative,
}

/// The periphery of a crossbar (names as in the field). All zero: ideal.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Io {
    /// Exact products: nothing below applies but `out_scale`.
    pub is_perfect: bool,
    /// Range of the DAC, +-; <= 0: infinite.
    pub inp_bound: f32,
    /// Resolution of the DAC relative to its full range; <= 0: none.
    pub inp_res: f32,
    /// Standard deviation of the noise after the DAC.
    pub inp_noise: f32,
    /// Range of the ADC, +-; <= 0: infinite.
    pub out_bound: f32,
    /// Resolution of the ADC.
    pub out_res: f32,
    /// Standard deviation of the noise before the ADC.
    pub out_noise: f32,
    /// A digital factor on the outputs.
    pub out_scale: f32,
    /// See [`NoiseManagement`].
    pub noise_management: NoiseManagement,
    /// The constant factor, or the cap of the largest absolute value (0: none).
    pub nm_thres: f32,
    /// See [`BoundManagement`].
    pub bound_management: BoundManagement,
    /// No further repetition above this factor.
    pub max_bm_factor: f32,
    /// No further repetition above this many input steps.
    pub max_bm_res: f32,
}

impl Io {
    /// From named settings.
    pub fn new(mut f: Fields) -> Result<Self> {
        const ANY: std::ops::RangeInclusive<f64> = 0.0..=f64::INFINITY;
        const SIGNED: std::ops::RangeInclusive<f64> = f64::NEG_INFINITY..=f64::INFINITY;
        let io = Self {
            is_perfect: f.switch("is_perfect", false)?,
            inp_bound: f.real("inp_bound", 0.0, SIGNED)? as f32,
            inp_res: f.real("inp_res", 0.0, SIGNED)? as f32,
            inp_noise: f.real("inp_noise", 0.0, ANY)? as f32,
            out_bound: f.real("out_bound", 0.0, SIGNED)? as f32,
            out_res: f.real("out_res", 0.0, SIGNED)? as f32,
            out_noise: f.real("out_noise", 0.0, ANY)? as f32,
            out_scale: f.real("out_scale", 1.0, SIGNED)? as f32,
            noise_management: f.choice(
                "noise_management",
                &[("none", NoiseManagement::None), ("constant", NoiseManagement::Constant), ("abs_max", NoiseManagement::AbsMax)],
            )?,
            nm_thres: f.real("nm_thres", 0.0, ANY)? as f32,
            bound_management: f
                .choice("bound_management", &[("none", BoundManagement::None), ("iterative", BoundManagement::Iterative)])?,
            max_bm_factor: f.real("max_bm_factor", 1000.0, ANY)? as f32,
            max_bm_res: f.real("max_bm_res", 0.25, ANY)? as f32,
        };
        f.finish()?;
        Ok(io)
    }

    fn factor(&self, x: &[f32]) -> f32 {
        match self.noise_management {
            NoiseManagement::None => 1.0,
            NoiseManagement::Constant if self.nm_thres > 0.0 => self.nm_thres,
            NoiseManagement::Constant => 1.0,
            NoiseManagement::AbsMax => {
                let max = abs_max(x);
                if self.nm_thres > 0.0 && max > self.nm_thres { self.nm_thres } else { max }
            }
        }
    }

    /// Whether a product may be repeated with scale `r`.
    fn may_repeat(&self, r: f32, step_in: f32) -> bool {
        self.bound_management == BoundManagement::Iterative && r <= self.max_bm_factor && (step_in <= 0.0 || r <= self.max_bm_res / step_in)
    }
}

/// The quantiser's step, 0 for none.
fn resolution(res: f32, bound: f32) -> f32 {
    let res = if res > 1.0 { 1.0 / res } else { res };
    if res > 0.0 && bound > 0.0 { res * 2.0 * bound } else { 0.0 }
}

/// The largest absolute value.
pub(crate) fn abs_max(x: &[f32]) -> f32 {
    let mut lanes = [0f32; 16];
    let mut chunks = x.chunks_exact(16);
    for chunk in &mut chunks {
        for (m, v) in lanes.iter_mut().zip(chunk) {
            let a = v.abs();
            *m = if a > *m { a } else { *m };
        }
    }
    lanes.iter().chain(chunks.remainder()).fold(0.0, |m, v| if v.abs() > m { v.abs() } else { m })
}

/// Where the noise of a product comes from: streams of the input and the output side, and the number of the first vector.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Streams {
    pub(crate) inp: Key,
    pub(crate) out: Key,
    pub(crate) first: u64,
}

/// A matrix as the product sees it: `forward` sums over columns, backward over rows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Matrix<'a> {
    pub(crate) values: &'a [f32],
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    pub(crate) forward: bool,
}

/// One vector on its way through the chain.
struct Vector {
    index: usize,
    alpha: f32,
    r: f32,
    pass: u64,
}

/// Products of all vectors of `x` (`[batch][lines in]`) with `matrix`; returns `[batch][lines out]`.
/// `manage_bounds` is false for the backward product, which has no bound management.
pub(crate) fn product(machine: Machine, io: &Io, matrix: Matrix, x: &[f32], streams: Streams, manage_bounds: bool) -> Vec<f32> {
    let (lines_in, lines_out) = if matrix.forward { (matrix.columns, matrix.rows) } else { (matrix.rows, matrix.columns) };
    let batch = x.len() / lines_in;
    let mut y = vec![0f32; batch * lines_out];
    if io.is_perfect {
        multiply(machine, matrix, x, &mut y);
        if io.out_scale != 1.0 {
            y.iter_mut().for_each(|v| *v *= io.out_scale);
        }
        return y;
    }
    let (step_in, step_out) = (resolution(io.inp_res, io.inp_bound), resolution(io.out_res, io.out_bound));
    let mut open: Vec<Vector> = (0..batch)
        .map(|index| Vector { index, alpha: io.factor(&x[index * lines_in..][..lines_in]), r: 1.0, pass: 0 })
        .filter(|v| v.alpha > 0.0 || io.inp_noise > 0.0)
        .collect();
    let mut inputs = Vec::new();
    let mut outputs = Vec::new();
    while !open.is_empty() {
        inputs.clear();
        for v in &open {
            let from = inputs.len();
            inputs.extend_from_slice(&x[v.index * lines_in..][..lines_in]);
            let key = streams.inp.child(streams.first + v.index as u64).child(v.pass);
            machine.isa.run(InputChain {
                v: &mut inputs[from..],
                scale: v.scale(),
                step: step_in,
                bound: io.inp_bound,
                noise: io.inp_noise,
                key,
            });
        }
        outputs.clear();
        outputs.resize(open.len() * lines_out, 0.0);
        multiply(machine, matrix, &inputs, &mut outputs);
        let mut again = Vec::new();
        for (v, z) in open.into_iter().zip(outputs.chunks_exact_mut(lines_out)) {
            let key = streams.out.child(streams.first + v.index as u64).child(v.pass);
            let mut over = false;
            let y = &mut y[v.index * lines_out..][..lines_out];
            let back = io.out_scale * v.scale();
            machine.isa.run(OutputChain { z, y, step: step_out, bound: io.out_bound, noise: io.out_noise, key, back, over: &mut over });
            if over && manage_bounds && io.may_repeat(v.r, step_in) {
                again.push(Vector { r: 2.0 * v.r, pass: v.pass + 1, ..v });
            }
        }
        open = again;
    }
    y
}

impl Vector {
    /// What the inputs are divided by.
    fn scale(&self) -> f32 {
        // With input noise alone a silent vector is not scaled.
        let alpha = if self.alpha > 0.0 { self.alpha } else { 1.0 };
        alpha * self.r
    }
}

/// The read-out chain of one value that came through the crossbar as `z` from a one-hot input of height 1.
pub(crate) struct ReadChain {
    /// What the DAC makes of 1.
    pub(crate) one: f32,
    step_out: f32,
    bound: f32,
    noise: f32,
    back: f32,
}

impl ReadChain {
    pub(crate) fn new(io: &Io) -> Self {
        let mut one = [1.0f32];
        let mut back = io.out_scale;
        if !io.is_perfect {
            let alpha = io.factor(&one);
            back = io.out_scale * alpha;
            let chain = InputChain {
                v: &mut one,
                scale: alpha,
                step: resolution(io.inp_res, io.inp_bound),
                bound: io.inp_bound,
                noise: 0.0,
                key: Key(0),
            };
            chain.run();
        }
        let ideal = io.is_perfect;
        Self {
            one: one[0],
            step_out: if ideal { 0.0 } else { resolution(io.out_res, io.out_bound) },
            bound: if ideal { 0.0 } else { io.out_bound },
            noise: if ideal { 0.0 } else { io.out_noise },
            back,
        }
    }

    /// Reads a line of values in place.
    pub(crate) fn read(&self, isa: Isa, z: &mut [f32], key: Key) {
        let mut y = vec![0.0; z.len()];
        let mut over = false;
        z.iter_mut().for_each(|v| *v *= self.one);
        isa.run(OutputChain {
            z,
            y: &mut y,
            step: self.step_out,
            bound: self.bound,
            noise: self.noise,
            key,
            back: self.back,
            over: &mut over,
        });
        z.copy_from_slice(&y);
    }
}

struct InputChain<'a> {
    v: &'a mut [f32],
    scale: f32,
    step: f32,
    bound: f32,
    noise: f32,
    key: Key,
}

impl Kernel for InputChain<'_> {
    #[inline(always)]
    fn run(self) {
        for v in self.v.iter_mut() {
            *v /= self.scale;
        }
        if self.step > 0.0 {
            for v in self.v.iter_mut() {
                *v = self.step * rint(*v / self.step);
            }
        }
        if self.bound > 0.0 {
            for v in self.v.iter_mut() {
                *v = clip(*v, -self.bound, self.bound);
            }
        }
        if self.noise > 0.0 {
            add_normals(self.key, self.noise, self.v);
        }
    }
}

struct OutputChain<'a> {
    z: &'a mut [f32],
    y: &'a mut [f32],
    step: f32,
    bound: f32,
    noise: f32,
    key: Key,
    back: f32,
    over: &'a mut bool,
}

impl Kernel for OutputChain<'_> {
    #[inline(always)]
    fn run(self) {
        if self.noise > 0.0 {
            add_normals(self.key, self.noise, self.z);
        }
        if self.step > 0.0 {
            for z in self.z.iter_mut() {
                *z = self.step * rint(*z / self.step);
            }
        }
        let mut over = 0;
        for (y, z) in self.y.iter_mut().zip(self.z) {
            let mut v = *z;
            if self.bound > 0.0 {
                over |= (v.abs() > self.bound) as u32;
                v = clip(v, -self.bound, self.bound);
            }
            *y = v * self.back;
        }
        *self.over = over != 0;
    }
}

/// `y[b][i] = sum_j W[i][j] v[b][j]` (forward) or `y[b][j] = sum_i W[i][j] v[b][i]`, each sum from left to right.
pub(crate) fn multiply(Machine { isa, pool }: Machine, matrix: Matrix, v: &[f32], y: &mut [f32]) {
    let Matrix { values, rows, columns, forward } = matrix;
    let lines_in = if forward { columns } else { rows };
    let batch = v.len() / lines_in;
    let work = values.len() * batch / 8;
    if forward {
        // Lanes are vectors: v becomes [block of vectors][column][lane], y comes as [row][vector padded].
        let blocks = batch.div_ceil(BATCH);
        let mut packed = vec![0f32; blocks * columns * BATCH];
        for (b, v) in v.chunks_exact(columns).enumerate() {
            let at = (b / BATCH) * columns * BATCH + b % BATCH;
            for (j, v) in v.iter().enumerate() {
                packed[at + j * BATCH] = *v;
            }
        }
        let width = blocks * BATCH;
        let mut out = vec![0f32; rows * width];
        let chunk = pool.share(rows).next_multiple_of(4);
        pool.chunks(&mut out, chunk * width, work, 0, |at, out| {
            isa.run(Forward { values, columns, first: at * chunk, packed: &packed, out, width });
        });
        let rows_out = rows;
        for (b, y) in y.chunks_exact_mut(rows_out).enumerate() {
            for (i, y) in y.iter_mut().enumerate() {
                *y = out[i * width + b];
            }
        }
    } else {
        let chunk = columns * pool.share(batch);
        pool.chunks(y, chunk, work, 0, |at, y| {
            isa.run(Backward { values, rows, columns, v: &v[at * chunk / columns * rows..], y });
        });
    }
}

/// Columns of a strip of a backward product.
const STRIP: usize = 256;

/// Vectors side by side in a forward product.
const BATCH: usize = 16;

struct Forward<'a> {
    values: &'a [f32],
    columns: usize,
    first: usize,
    packed: &'a [f32],
    out: &'a mut [f32],
    width: usize,
}

impl Kernel for Forward<'_> {
    #[inline(always)]
    fn run(self) {
        for (quad, out) in self.out.chunks_mut(4 * self.width).enumerate() {
            let first = self.first + 4 * quad;
            let count = out.len() / self.width;
            // Four rows at a time; a ragged last group repeats its last row, whose sums are dropped.
            let row = |k: usize| {
                let at = (first + k.min(count - 1)) * self.columns;
                &self.values[at..at + self.columns]
            };
            let rows = [row(0), row(1), row(2), row(3)];
            for (block, v) in self.packed.chunks_exact(self.columns * BATCH).enumerate() {
                let mut sums = [[0f32; BATCH]; 4];
                for (j, v) in v.as_chunks::<BATCH>().0.iter().enumerate() {
                    for (sum, row) in sums.iter_mut().zip(rows) {
                        let w = row[j];
                        for lane in 0..BATCH {
                            sum[lane] += w * v[lane];
                        }
                    }
                }
                for (k, sum) in sums.iter().enumerate().take(count) {
                    out[k * self.width + block * BATCH..][..BATCH].copy_from_slice(sum);
                }
            }
        }
    }
}

struct Backward<'a> {
    values: &'a [f32],
    rows: usize,
    columns: usize,
    v: &'a [f32],
    y: &'a mut [f32],
}

impl Kernel for Backward<'_> {
    #[inline(always)]
    fn run(self) {
        // Strips of columns whose rows stay in the cache for all vectors; four rows at a time, added one after the other.
        for first in (0..self.columns).step_by(STRIP) {
            let width = STRIP.min(self.columns - first);
            let row = |i: usize| &self.values[i * self.columns + first..][..width];
            for (v, y) in self.v.chunks_exact(self.rows).zip(self.y.chunks_exact_mut(self.columns)) {
                let y = &mut y[first..first + width];
                let (quads, rest) = v.as_chunks::<4>();
                for (quad, f) in quads.iter().enumerate() {
                    let [a, b, c, d] = [0, 1, 2, 3].map(|k| row(4 * quad + k));
                    for ((((y, a), b), c), d) in y.iter_mut().zip(a).zip(b).zip(c).zip(d) {
                        *y = (((*y + a * f[0]) + b * f[1]) + c * f[2]) + d * f[3];
                    }
                }
                for (k, f) in rest.iter().enumerate() {
                    for (y, w) in y.iter_mut().zip(row(4 * quads.len() + k)) {
                        *y += w * f;
                    }
                }
            }
        }
    }
}
