//! Cells side by side: their parameters, and the turns in which their pulses are popped.

use crate::device::{Cell, Cells, Model, Noise, OWN, Plane, REFERENCE, cell, pulsed};
use crate::normal::normals;
use crate::pool::Work;
use crate::rng::{Key, STEP_I, STEP_N};
use crate::simd::{GROUPS, Group, Set, WIDTH};

/// The most cells that are popped together.
pub(super) const PACK: usize = GROUPS * WIDTH;

/// Cells that are popped together.
#[repr(align(64))]
pub(super) struct Pack {
    pub(super) v: [Group<f32>; GROUPS],
    /// Ordinals of their next pulses.
    pub(super) number: [Group<u32>; GROUPS],
    /// Signs of the pulses, the first one in the lowest bit, and a one for each that waits.
    pub(super) signs: [Group<u32>; GROUPS],
    pub(super) waits: [Group<u32>; GROUPS],
    pub(super) cell: [Cell<Group<f32>>; GROUPS],
    /// Counter sums of the first normals.
    counter: [Group<u32>; GROUPS],
}

/// The noise of the cells of a pack.
pub(super) trait Streams: Copy {
    /// The counter of the cell at `at`.
    fn line(&self, at: u32) -> u32;

    /// The word of a cell at a counter sum.
    fn word(&self, group: usize, lane: usize, s: u32) -> u32;
}

/// Cells of a row have one stream, and columns for counters.
impl Streams for Key {
    #[inline(always)]
    fn line(&self, at: u32) -> u32 {
        at
    }

    #[inline(always)]
    fn word(&self, _: usize, _: usize, s: u32) -> u32 {
        self.word_at(s)
    }
}

/// Pulses of the cells of a pack, and those that went up.
pub(super) struct Popped {
    pub(super) ups: [Group<u32>; GROUPS],
    pub(super) pulses: [Group<u32>; GROUPS],
}

/// How pulses move cells, the cells that they move, and what was done.
pub(super) struct Stepper<'a, M> {
    pub(super) model: &'a M,
    pub(super) noise: Noise,
    pub(super) cells: &'a Cells,
    /// Whether all cells are alike.
    pub(super) uniform: bool,
    pub(super) pack: Pack,
    pub(super) work: Work,
}

impl<'a, M: Model> Stepper<'a, M> {
    pub(super) fn new(model: &'a M, noise: Noise, cells: &'a Cells) -> Self {
        let (none, zero) = ([[0; WIDTH]; GROUPS], [[0.0; WIDTH]; GROUPS]);
        let uniform = cells.alike();
        let cell = load(model, cells, |_| zero[0]);
        let pack = Pack { v: zero, number: none, signs: none, waits: none, cell: [cell; GROUPS], counter: none };
        Self { model, noise, cells, uniform, pack, work: Work::default() }
    }

    /// Pops all pulses that wait in the first `groups` of cells at `at`. Unless they are `QUEUED`, they may wait anywhere in their words, and are taken from
    /// them.
    #[inline(always)]
    pub(super) fn turns<S: Set, const NOISE: bool, const QUEUED: bool>(
        &mut self,
        streams: impl Streams,
        at: &[Group<u32>; GROUPS],
        groups: usize,
    ) -> Popped {
        let Self { model, noise, pack, work, .. } = self;
        let (mut ups, mut pulses) = ([[0u32; WIDTH]; GROUPS], [[0u32; WIDTH]; GROUPS]);
        let mut turns = [0; GROUPS];
        for group in 0..groups {
            for lane in 0..WIDTH {
                ups[group][lane] = (pack.signs[group][lane] & pack.waits[group][lane]).count_ones();
                pulses[group][lane] = pack.waits[group][lane].count_ones();
                let line = streams.line(at[group][lane]).wrapping_mul(STEP_I);
                pack.counter[group][lane] = line.wrapping_add(pack.number[group][lane].wrapping_mul(STEP_N));
                turns[group] = turns[group].max(pulses[group][lane]);
                pack.number[group][lane] += pulses[group][lane];
            }
            work.pulses += u64::from(pulses[group].iter().sum::<u32>());
        }
        // The last groups have the fewest pulses, mostly.
        let mut going = groups;
        for turn in 0.. {
            while going > 0 && turns[going - 1] <= turn {
                going -= 1;
            }
            if going == 0 {
                break;
            }
            pack.turn::<S, M, NOISE, QUEUED>(*model, *noise, streams, going, turn);
            work.lanes += (going * WIDTH) as u64;
        }
        Popped { ups, pulses }
    }
}

impl Pack {
    /// Pulse number `turn` of every cell that has one.
    #[inline(always)]
    fn turn<S: Set, M: Model, const NOISE: bool, const QUEUED: bool>(
        &mut self,
        model: &M,
        noise: Noise,
        streams: impl Streams,
        groups: usize,
        turn: u32,
    ) {
        let mut z = [[0f32; WIDTH]; GROUPS];
        if NOISE {
            // In two loops, so that the groups wait for their long chains of operations at the same time.
            let mut words = [[0; WIDTH]; GROUPS];
            for (group, words) in words.iter_mut().enumerate().take(groups) {
                for (lane, word) in words.iter_mut().enumerate() {
                    *word = streams.word(group, lane, self.counter[group][lane].wrapping_add(turn.wrapping_mul(STEP_N)));
                }
            }
            for (words, z) in words.iter().zip(&mut z).take(groups) {
                *z = normals::<S>(words);
            }
        }
        for (group, z) in z.iter().enumerate().take(groups) {
            let (cell, v, signs) = (&self.cell[group], self.v[group], self.signs[group]);
            let (mut up, mut has, mut q, mut next) = ([0; WIDTH], [0; WIDTH], [0.0; WIDTH], v);
            for lane in 0..WIDTH {
                let waits = self.waits[group][lane];
                let bit = if QUEUED { 1 << turn } else { waits & waits.wrapping_neg() };
                has[lane] = waits & bit;
                up[lane] = if signs[lane] & bit != 0 { u32::MAX } else { 0 };
                if !QUEUED {
                    self.waits[group][lane] = waits ^ bit;
                }
            }
            if M::APART {
                model.responses::<S>(cell, &v, &up, &mut q);
            }
            for lane in 0..WIDTH {
                let (v, up, cell) = (v[lane], up[lane], cell.lane(lane));
                let q = if M::APART { q[lane] } else { model.response(&cell, v, up) };
                let moved = pulsed(model, &cell, noise, v, up, q, z[lane]);
                next[lane] = if has[lane] != 0 { moved } else { v };
            }
            self.v[group] = next;
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
