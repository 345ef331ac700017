//! Tabulated response: `q_up` and `q_down` at nodes `w`, linear between them.
//!
//! The grid's ends are the nominal bounds; a cell with other bounds evaluates at its own position `(v - w_min) / (w_max - w_min)` between them.
//! A pulse at zero has size `dw_min (q_up(0) + q_down(0)) / 2`: that is the granularity.

use super::inverse;
use crate::device::{Cell, Facts, LARGEST, Model, NOT_NEGATIVE};
use crate::error::{Error, Result};
use crate::fields::Fields;
use crate::math::Real;
use crate::simd::{Group, Set, Spots, WIDTH, whole};

/// See the head of this file.
#[derive(Debug, Clone)]
pub struct Tabulated {
    bounds: (f64, f64),
    granularity: f64,
    table: Table,
}

impl Tabulated {
    pub(super) fn new(fields: &mut Fields) -> Result<Self> {
        let w = fields.reals("w", -LARGEST..=LARGEST)?;
        let q = [fields.reals("q_up", NOT_NEGATIVE)?, fields.reals("q_down", NOT_NEGATIVE)?];
        let n = w.len();
        if !(2..=4096).contains(&n) || w.windows(2).any(|p| p[0] >= p[1]) || w[0] > 0.0 || w[n - 1] < 0.0 {
            let allowed = "2 to 4096 strictly increasing nodes with w[0] <= 0 <= w[-1]";
            return Err(Error::value("device.w", format_args!("a grid of {n} nodes"), allowed));
        }
        for (name, values) in ["device.q_up", "device.q_down"].iter().zip(&q) {
            if values.len() != n {
                return Err(Error::value(name, format_args!("a table of {}", values.len()), format_args!("{n}, one per node of w")));
            }
        }
        let at: Vec<f64> = w.iter().map(|v| (v - w[0]) / (w[n - 1] - w[0])).collect();
        let table = Table::new(&at, &q);
        let zero = -w[0] / (w[n - 1] - w[0]);
        let granularity = 0.5 * (table.look_up(zero, u32::MAX) + table.look_up(zero, 0));
        if granularity <= 0.0 {
            return Err(Error::value("device.q_up, device.q_down", "0 at w = 0 (both)", "a step at zero"));
        }
        Ok(Self { bounds: (w[n - 1], w[0]), granularity, table })
    }
}

/// Two tables on one grid, and the search in it.
#[derive(Debug, Clone)]
pub(super) struct Table {
    /// Where each interval ends, in positions from 0 to 1; the last one never does.
    ends: Vec<f32>,
    /// The lines `[a, b]` of each interval, `a + b position`, down and up.
    lines: Vec<[[f64; 2]; 2]>,
    /// The interval in which each of equally many parts of the range begins, where the search starts, and the bits of its end.
    starts: Vec<[u32; 2]>,
    /// The most intervals that end in a part.
    most: usize,
    /// The lines as the kernel gathers them.
    flat: Vec<[f32; 2]>,
}

impl Table {
    /// Tables up and down at positions `at`, at least two, from 0 to 1.
    pub(super) fn new(at: &[f64], q: &[Vec<f64>; 2]) -> Self {
        let n = at.len();
        let line = |q: &[f64], i: usize| {
            let b = (q[i + 1] - q[i]) / (at[i + 1] - at[i]);
            [q[i] - b * at[i], b]
        };
        let lines: Vec<_> = (0..n - 1).map(|i| [line(&q[1], i), line(&q[0], i)]).collect();
        let flat = lines.as_flattened().iter().map(|line| line.map(|part| part as f32)).collect();
        let ends: Vec<f32> = at[1..n - 1].iter().map(|v| *v as f32).chain([f32::INFINITY]).collect();
        // So many parts that few of them hold more than one node; a power of two, so that the part of a position is exact.
        let parts = 4 * n.next_power_of_two();
        let start = |k: usize| ends.partition_point(|end| f64::from(*end) <= k as f64 / parts as f64);
        let most = (0..parts).map(|k| start(k + 1) - start(k)).max().unwrap_or(0);
        let starts = (0..parts).map(start).map(|start| [start as u32, ends[start].to_bits()]).collect();
        Self { ends, lines, starts, most, flat }
    }

    /// What [`Table::response`] needs of a cell, as [`Model::prepare`] gives it.
    #[inline(always)]
    pub(super) fn prepare<R: Real>([w_max, w_min, ..]: [R; 4]) -> [R; 4] {
        [inverse(w_max - w_min), R::lit(0.0), R::lit(0.0), R::lit(0.0)]
    }

    /// The tables at the cell's own position between its bounds.
    #[inline(always)]
    pub(super) fn response<R: Real>(&self, cell: &Cell<R>, v: R, up: u32) -> R {
        self.look_up((v - cell.w_min) * cell.k[0], up)
    }

    /// The same for a group of cells.
    #[inline(always)]
    pub(super) fn responses<S: Set>(&self, cell: &Cell<Group<f32>>, v: &Group<f32>, up: &Group<u32>, q: &mut Group<f32>) {
        let parts = self.starts.len() as f32;
        let (mut position, mut part) = ([0.0; WIDTH], [0; WIDTH]);
        for lane in 0..WIDTH {
            position[lane] = (v[lane] - cell.w_min[lane]) * cell.k[0][lane];
            part[lane] = whole(position[lane] * parts, parts - 1.0);
        }
        let [mut interval, ends] = Spots::new(&part, WIDTH).gather_pairs::<S, _>(&self.starts);
        let mut ends = ends.map(f32::from_bits);
        for further in (0..self.most).rev() {
            for lane in 0..WIDTH {
                interval[lane] += u32::from(ends[lane] <= position[lane]);
            }
            if further > 0 {
                ends = Spots::new(&interval, WIDTH).gather::<S, _>(&self.ends);
            }
        }
        for lane in 0..WIDTH {
            interval[lane] = 2 * interval[lane] + (up[lane] & 1);
        }
        let [a, b] = Spots::new(&interval, WIDTH).gather_pairs::<S, _>(&self.flat);
        for lane in 0..WIDTH {
            q[lane] = a[lane] + b[lane] * position[lane];
        }
    }

    /// The line through the tables at `position`, 0 to 1.
    #[inline(always)]
    pub(super) fn look_up<R: Real>(&self, position: R, up: u32) -> R {
        // The last interval that starts at or before the position.
        let part = (position * R::lit(self.starts.len() as f64)).f64() as usize;
        let mut interval = self.starts[part.min(self.starts.len() - 1)][0] as usize;
        for _ in 0..self.most {
            interval += usize::from(R::lit(f64::from(self.ends[interval])) <= position);
        }
        let [a, b] = self.lines[interval][usize::from(up != 0)];
        R::lit(a) + R::lit(b) * position
    }
}

impl Model for Tabulated {
    const APART: bool = true;

    #[inline(always)]
    fn prepare<R: Real>(&self, common: [R; 4], _: [R; 2]) -> [R; 4] {
        Table::prepare(common)
    }

    #[inline(always)]
    fn response<R: Real>(&self, cell: &Cell<R>, v: R, up: u32) -> R {
        self.table.response(cell, v, up)
    }

    #[inline(always)]
    fn responses<S: Set>(&self, cell: &Cell<Group<f32>>, v: &Group<f32>, up: &Group<u32>, q: &mut Group<f32>) {
        self.table.responses::<S>(cell, v, up, q);
    }

    fn facts(&self) -> Facts {
        Facts { bounds: Some(self.bounds), granularity: self.granularity, ..Facts::default() }
    }
}
