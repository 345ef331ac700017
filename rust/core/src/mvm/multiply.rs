//! The exact products with a matrix, summed from left to right and vectorised over vectors or outputs.

use crate::pool::Machine;
use crate::simd::Kernel;

/// A matrix as the product sees it: `forward` sums over columns, backward over rows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Matrix<'a> {
    pub(crate) values: &'a [f32],
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    pub(crate) forward: bool,
}

impl Matrix<'_> {
    /// Lines in and lines out.
    pub(crate) fn lines(&self) -> (usize, usize) {
        if self.forward { (self.columns, self.rows) } else { (self.rows, self.columns) }
    }
}

/// `y[b][i] = sum_j W[i][j] v[b][j]` (forward) or `y[b][j] = sum_i W[i][j] v[b][i]`, each sum from left to right.
pub(crate) fn multiply(Machine { isa, pool }: Machine, matrix: Matrix, v: &[f32], y: &mut [f32]) {
    let Matrix { values, rows, columns, forward } = matrix;
    let batch = v.len() / matrix.lines().0;
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
        let chunk = pool.share(rows, work).next_multiple_of(4);
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
        let chunk = columns * pool.share(batch, work);
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
