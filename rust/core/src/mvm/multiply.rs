//! The exact products with a matrix of finite weights, summed from left to right and vectorised over vectors or outputs.

use crate::pool::Machine;
use crate::simd::{Group, Isa, Kernel, Set, WIDTH, keep_at};

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
    if forward {
        // Lanes are vectors; y comes as [row][vector padded].
        let blocks: Vec<Block> = v.chunks(BATCH * columns).map(|v| Block::new(isa, v, columns)).collect();
        let (width, work) = (blocks.len() * BATCH, rows * blocks.iter().map(|block| block.columns.len()).sum::<usize>() / 2);
        let mut out = vec![0f32; rows * width];
        let chunk = pool.share(rows, work).next_multiple_of(ROWS);
        pool.chunks(&mut out, chunk * width, work, 0, |at, out| {
            isa.run(Forward { values, columns, first: at * chunk, blocks: &blocks, out, width });
        });
        let rows_out = rows;
        for (b, y) in y.chunks_exact_mut(rows_out).enumerate() {
            for (i, y) in y.iter_mut().enumerate() {
                *y = out[i * width + b];
            }
        }
    } else {
        // Lanes are columns; y comes as [strip][vector][lane].
        let mut out = vec![0f32; columns.div_ceil(STRIP) * batch * STRIP];
        let work = values.len() * batch.next_multiple_of(VECTORS) / 35;
        let chunk = pool.share(columns.div_ceil(STRIP), work);
        pool.chunks(&mut out, chunk * batch * STRIP, work, 0, |at, out| {
            isa.run(Backward { values, rows, columns, first: at * chunk, v, out });
        });
        for (strip, out) in out.chunks_exact(batch * STRIP).enumerate() {
            let width = STRIP.min(columns - strip * STRIP);
            for (y, out) in y.chunks_exact_mut(columns).zip(out.chunks_exact(STRIP)) {
                y[strip * STRIP..][..width].copy_from_slice(&out[..width]);
            }
        }
    }
}

/// Columns side by side in a backward product.
const STRIP: usize = 16;
/// Vectors at a time.
const VECTORS: usize = 4;

/// Vectors side by side in a forward product.
const BATCH: usize = 16;
/// The most rows at a time.
const ROWS: usize = 8;

/// Vectors side by side, without the columns where all of them are zero: these add nothing to a sum, which is never a negative zero.
struct Block {
    columns: Vec<u32>,
    /// What the vectors have there.
    values: Vec<Aligned>,
}

#[derive(Clone, Copy)]
#[repr(align(64))]
struct Aligned([f32; BATCH]);

impl Block {
    fn new(isa: Isa, v: &[f32], columns: usize) -> Self {
        let mut block = Self { columns: Vec::new(), values: Vec::new() };
        isa.run(Fill { block: &mut block, v, columns });
        block
    }
}

struct Fill<'a> {
    block: &'a mut Block,
    v: &'a [f32],
    columns: usize,
}

impl Kernel for Fill<'_> {
    #[inline(always)]
    fn run<S: Set>(self) {
        let Self { block, v, columns } = self;
        // All bits but the sign.
        let mut any = vec![0u32; columns.next_multiple_of(WIDTH)];
        for v in v.chunks_exact(columns) {
            any.iter_mut().zip(v).for_each(|(any, v)| *any |= v.to_bits() << 1);
        }
        let (mut list, mut len) = (vec![0; any.len() + WIDTH], 0);
        for (group, any) in any.as_chunks::<WIDTH>().0.iter().enumerate() {
            let lines: Group<u32> = std::array::from_fn(|lane| (group * WIDTH + lane) as u32);
            keep_at::<S>(&lines, any, &mut list, len);
            len += S::count(any);
        }
        list.truncate(len);
        block.values.resize(len, Aligned([0.0; BATCH]));
        for (lane, v) in v.chunks_exact(columns).enumerate() {
            for (values, column) in block.values.iter_mut().zip(&list) {
                values.0[lane] = v[*column as usize];
            }
        }
        block.columns = list;
    }
}

struct Forward<'a> {
    values: &'a [f32],
    columns: usize,
    first: usize,
    blocks: &'a [Block],
    out: &'a mut [f32],
    width: usize,
}

impl Kernel for Forward<'_> {
    #[inline(always)]
    fn run<S: Set>(self) {
        if S::MANY { self.rows::<ROWS>() } else { self.rows::<{ ROWS / 2 }>() }
    }
}

impl Forward<'_> {
    #[inline(always)]
    fn rows<const ROWS: usize>(self) {
        for (group, out) in self.out.chunks_mut(ROWS * self.width).enumerate() {
            let first = self.first + ROWS * group;
            let count = out.len() / self.width;
            // A ragged last group repeats its last row, whose sums are dropped.
            let row = |k: usize| {
                let at = (first + k.min(count - 1)) * self.columns;
                &self.values[at..at + self.columns]
            };
            let rows: [_; ROWS] = std::array::from_fn(row);
            for (block, Block { columns, values }) in self.blocks.iter().enumerate() {
                let mut sums = [[0f32; BATCH]; ROWS];
                for (column, Aligned(v)) in columns.iter().zip(values) {
                    for (sum, row) in sums.iter_mut().zip(rows) {
                        let w = row[*column as usize];
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
    /// The first strip.
    first: usize,
    v: &'a [f32],
    out: &'a mut [f32],
}

impl Kernel for Backward<'_> {
    #[inline(always)]
    fn run<S: Set>(self) {
        let batch = self.v.len() / self.rows;
        let mut narrow = Vec::new();
        for (strip, out) in self.out.chunks_exact_mut(batch * STRIP).enumerate() {
            let first = (self.first + strip) * STRIP;
            let (mut values, mut step) = (&self.values[first..], self.columns);
            let width = STRIP.min(self.columns - first);
            if width < STRIP || batch > 4 * VECTORS {
                // The last columns, filled up; and what many vectors need, for rows may be just so far apart that they push each other out of the cache.
                narrow.resize(self.rows * STRIP, 0.0);
                for (all, row) in narrow.chunks_exact_mut(STRIP).zip(self.values.chunks_exact(self.columns)) {
                    all[..width].copy_from_slice(&row[first..first + width]);
                }
                (values, step) = (&narrow, STRIP);
            }
            for (group, out) in out.chunks_mut(VECTORS * STRIP).enumerate() {
                let count = out.len() / STRIP;
                // A ragged last group repeats its last vector, whose sums are dropped.
                let vector = |k: usize| {
                    let at = (group * VECTORS + k.min(count - 1)) * self.rows;
                    &self.v[at..at + self.rows]
                };
                let vectors: [_; VECTORS] = [vector(0), vector(1), vector(2), vector(3)];
                let mut sums = [[0f32; STRIP]; VECTORS];
                for (row, w) in values.chunks(step).enumerate().take(self.rows) {
                    let Some(w) = w.first_chunk::<STRIP>() else { break };
                    for (sum, v) in sums.iter_mut().zip(vectors) {
                        let v = v[row];
                        for lane in 0..STRIP {
                            sum[lane] += w[lane] * v;
                        }
                    }
                }
                out.copy_from_slice(&sums.as_flattened()[..count * STRIP]);
            }
        }
    }
}
