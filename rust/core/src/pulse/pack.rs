//! Cells side by side: their parameters, and the turns in which their pulses are popped.

use crate::device::{Cell, Cells, Model, Noise, OWN, Plane, REFERENCE, cell, pulsed};
use crate::normal::normals;
use crate::rng::{Key, STEP_N};
use crate::simd::{GROUPS, Group, Set, WIDTH};

/// The most cells that are popped together.
pub(super) const PACK: usize = GROUPS * WIDTH;

/// Cells that are popped together.
#[repr(align(64))]
pub(super) struct Pack {
    pub(super) v: [Group<f32>; GROUPS],
    /// Signs of the pulses, the first one in bit 0, and a one for each that waits.
    pub(super) signs: [Group<u32>; GROUPS],
    pub(super) waits: [Group<u32>; GROUPS],
    /// Counter sums of the first normals.
    pub(super) counter: [Group<u32>; GROUPS],
    pub(super) cell: [Cell<Group<f32>>; GROUPS],
}

impl Pack {
    pub(super) fn new() -> Self {
        let (none, zero) = ([[0; WIDTH]; GROUPS], [[0.0; WIDTH]; GROUPS]);
        let cell = Cell { w_max: zero[0], w_min: zero[0], dw_up: zero[0], dw_down: zero[0], k: zero };
        Self { v: zero, signs: none, waits: none, counter: none, cell: [cell; GROUPS] }
    }

    /// Pulse number `turn` of every cell that has one.
    #[inline(always)]
    pub(super) fn turn<S: Set, M: Model, const NOISE: bool>(&mut self, model: &M, noise: Noise, key: Key, groups: usize, turn: u32) {
        let (mut z, bit) = ([[0f32; WIDTH]; GROUPS], 1 << turn);
        if NOISE {
            // In two loops, so that the groups wait for their long chains of operations at the same time.
            let mut words = [[0; WIDTH]; GROUPS];
            for (words, counter) in words.iter_mut().zip(&self.counter).take(groups) {
                for lane in 0..WIDTH {
                    words[lane] = key.word_at(counter[lane].wrapping_add(turn.wrapping_mul(STEP_N)));
                }
            }
            for (words, z) in words.iter().zip(&mut z).take(groups) {
                *z = normals::<S>(words);
            }
        }
        for (group, z) in z.iter().enumerate().take(groups) {
            let (cell, mut q) = (&self.cell[group], [0.0; WIDTH]);
            let up = |signs: u32| if signs & bit != 0 { u32::MAX } else { 0 };
            if M::APART {
                let mut ups = [0; WIDTH];
                for (up_here, signs) in ups.iter_mut().zip(&self.signs[group]) {
                    *up_here = up(*signs);
                }
                model.responses::<S>(cell, &self.v[group], &ups, &mut q);
            }
            for (lane, z) in z.iter().enumerate() {
                let (v, up, cell) = (self.v[group][lane], up(self.signs[group][lane]), cell.lane(lane));
                let q = if M::APART { q[lane] } else { model.response(&cell, v, up) };
                let next = pulsed(model, &cell, noise, v, up, q, *z);
                self.v[group][lane] = if self.waits[group][lane] & bit != 0 { next } else { v };
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
