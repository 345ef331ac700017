//! Cells side by side: their parameters, and the turns in which their pulses are popped.

use crate::device::{Cell, Cells, Model, Noise, OWN, Plane, REFERENCE, cell, pulsed};
use crate::rng::{Key, STEP_N, normals};
use crate::simd::{GROUPS, Group, WIDTH};

/// The most cells that are popped together.
pub(super) const PACK: usize = GROUPS * WIDTH;

/// Cells that are popped together.
#[repr(align(64))]
pub(super) struct Pack {
    pub(super) v: [Group<f32>; GROUPS],
    /// Signs and places of the pulses; bit 0 has the next even ordinal.
    pub(super) signs: [Group<u32>; GROUPS],
    pub(super) places: [Group<u32>; GROUPS],
    /// Counter sums of the next normals.
    pub(super) counter: [Group<u32>; GROUPS],
    pub(super) cell: [Cell<Group<f32>>; GROUPS],
}

impl Pack {
    pub(super) fn new() -> Self {
        let (none, zero) = ([[0; WIDTH]; GROUPS], [[0.0; WIDTH]; GROUPS]);
        let cell = Cell { w_max: zero[0], w_min: zero[0], dw_up: zero[0], dw_down: zero[0], k: zero };
        Self { v: zero, signs: none, places: none, counter: none, cell: [cell; GROUPS] }
    }

    /// Up to two pulses of every cell, with normals `n` and `n + 1` of an even ordinal `n`.
    #[inline(always)]
    pub(super) fn turn<M: Model, const NOISE: bool>(&mut self, model: &M, noise: Noise, key: Key, groups: usize) {
        let (mut even, mut odd) = ([[0f32; WIDTH]; GROUPS], [[0f32; WIDTH]; GROUPS]);
        if NOISE {
            normals(key, &self.counter[..groups], &mut even, &mut odd);
        }
        for (place, z) in [(1, &even), (2, &odd)] {
            for (group, z) in z.iter().enumerate().take(groups) {
                let (cell, mut q) = (&self.cell[group], [0.0; WIDTH]);
                let up = |signs: u32| if signs & place != 0 { u32::MAX } else { 0 };
                if M::APART {
                    let mut ups = [0; WIDTH];
                    for (up_here, signs) in ups.iter_mut().zip(&self.signs[group]) {
                        *up_here = up(*signs);
                    }
                    model.responses(cell, &self.v[group], &ups, &mut q);
                }
                for (lane, z) in z.iter().enumerate() {
                    let (v, up, cell) = (self.v[group][lane], up(self.signs[group][lane]), cell.lane(lane));
                    let q = if M::APART { q[lane] } else { model.response(&cell, v, up) };
                    let next = pulsed(model, &cell, noise, v, up, q, *z);
                    self.v[group][lane] = if self.places[group][lane] & place != 0 { next } else { v };
                }
            }
        }
        for group in 0..groups {
            for lane in 0..WIDTH {
                self.signs[group][lane] >>= 2;
                self.places[group][lane] >>= 2;
                self.counter[group][lane] = self.counter[group][lane].wrapping_add(STEP_N.wrapping_mul(2));
            }
        }
    }
}

/// The parameters of `N` cells; `of` takes theirs from all of a kind.
#[inline(always)]
pub(crate) fn load<M: Model, const N: usize>(model: &M, cells: &Cells, of: impl Fn(&[f32]) -> [f32; N]) -> Cell<[f32; N]> {
    let mut raw = [[0f32; N]; 6];
    let planes = cells.planes[..REFERENCE].iter().chain(&cells.planes[OWN..]);
    for (raw, plane) in raw.iter_mut().zip(planes) {
        match plane {
            Plane::Uniform(v) => *raw = [*v; N],
            Plane::Dense(values) => *raw = of(values),
        }
    }
    let mut all = Cell { w_max: raw[0], w_min: raw[1], dw_up: raw[2], dw_down: raw[3], k: [[0.0; N]; 4] };
    for lane in 0..N {
        let [w_max, w_min, dw_up, dw_down, own, other] = raw.map(|plane| plane[lane]);
        let one = cell(model, [w_max, w_min, dw_up, dw_down], [own, other]);
        for k in 0..4 {
            all.k[k][lane] = one.k[k];
        }
    }
    all
}

/// `len` neighbours from flat index `at` on, for [`load`].
#[inline(always)]
pub(crate) fn neighbours<const N: usize>(at: usize, len: usize) -> impl Fn(&[f32]) -> [f32; N] {
    move |values| {
        let mut own = [0f32; N];
        own[..len].copy_from_slice(&values[at..at + len]);
        own
    }
}

impl<const N: usize> Cell<[f32; N]> {
    /// One of the cells.
    #[inline(always)]
    pub(crate) fn lane(&self, lane: usize) -> Cell<f32> {
        Cell {
            w_max: self.w_max[lane],
            w_min: self.w_min[lane],
            dw_up: self.dw_up[lane],
            dw_down: self.dw_down[lane],
            k: [self.k[0][lane], self.k[1][lane], self.k[2][lane], self.k[3][lane]],
        }
    }
}

impl Cells {
    /// Whether pulses move all cells in the same way.
    pub(crate) fn alike(&self) -> bool {
        let used = self.planes[..REFERENCE].iter().chain(&self.planes[OWN..]);
        used.into_iter().all(|plane| matches!(plane, Plane::Uniform(_)))
    }

    /// The kernel's cell at flat index `at`.
    #[inline(always)]
    pub(crate) fn cell<M: Model>(&self, model: &M, at: usize) -> Cell<f32> {
        let p = |i: usize| self.planes[i].at(at);
        let own = model.own().len();
        cell(model, [p(0), p(1), p(2), p(3)], [if own > 0 { p(OWN) } else { 0.0 }, if own > 1 { p(OWN + 1) } else { 0.0 }])
    }
}
