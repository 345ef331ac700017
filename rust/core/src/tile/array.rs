//! One crossbar: the stored values of its cells, their parameters, and its stream.

use crate::device::{Cells, DECAY, DIFFUSION, Device, Plane, REFERENCE};
use crate::error::{Error, Result, check_finite, check_matrix};
use crate::mvm::Side;
use crate::rng::{Key, Kind, Use};
use crate::simd::clip;

/// A crossbar of one device.
#[derive(Debug, Clone)]
pub(crate) struct Array {
    pub(crate) name: String,
    pub(crate) device: Device,
    pub(crate) columns: usize,
    /// What the cells store: the seen weight plus the reference.
    pub(crate) values: Vec<f32>,
    pub(crate) cells: Cells,
    /// Its run stream.
    pub(crate) run: Key,
    /// The fixed patterns of its read-outs.
    pub(crate) fixed: Key,
}

impl Array {
    /// Draws the cells; the weights start at 0 (as far as the bounds allow).
    pub(crate) fn new(name: &str, device: Device, [rows, columns]: [usize; 2], seeds: (u64, u64), path: &str, index: u64) -> Self {
        let key = Key::new(seeds.0, Kind::Device, path, index);
        let cells = device.draw(key, rows, columns);
        let run = Key::new(seeds.1, Kind::Run, path, index);
        let mut array =
            Self { name: name.into(), device, columns, values: vec![0.0; rows * columns], cells, run, fixed: key.child(Side::Read as u64) };
        array.fill(0.0);
        array
    }

    pub(crate) fn pulse_key(&self, first_vector: u64) -> Key {
        self.run.of(Use::Pulse).child(first_vector)
    }

    fn reference(&self) -> &Plane {
        &self.cells.planes[REFERENCE]
    }

    /// Whether what is stored is what is seen.
    pub(crate) fn is_plain(&self) -> bool {
        matches!(self.reference(), Plane::Uniform(r) if *r == 0.0)
    }

    /// The weight that the network sees at flat index `at`.
    #[inline(always)]
    pub(crate) fn seen(&self, at: usize) -> f32 {
        if self.is_plain() { self.values[at] } else { self.values[at] - self.reference().at(at) }
    }

    /// Stores the seen weight `w`, clipped to the cell's bounds.
    fn store(&mut self, at: usize, w: f32) {
        let v = if self.is_plain() { w } else { w + self.reference().at(at) };
        self.values[at] = clip(v, self.cells.planes[1].at(at), self.cells.planes[0].at(at));
    }

    pub(crate) fn fill(&mut self, w: f32) {
        (0..self.values.len()).for_each(|at| self.store(at, w));
    }

    pub(crate) fn set(&mut self, w: impl Iterator<Item = f32>) {
        w.enumerate().for_each(|(at, w)| self.store(at, w));
    }

    /// Diffusion and decay at the `count`-th end of a mini-batch.
    pub(crate) fn end_batch(&mut self, count: u64) {
        let planes = &self.cells.planes;
        let (still, lasting) = (planes[DIFFUSION] == Plane::Uniform(0.0), planes[DECAY] == Plane::Uniform(1.0));
        if still && lasting {
            return;
        }
        let key = self.run.of(Use::Diffusion).child(count);
        for at in 0..self.values.len() {
            let mut w = self.seen(at);
            if !still {
                let z = key.child((at / self.columns) as u64).normal((at % self.columns) as u32, 0);
                w += self.cells.planes[DIFFUSION].at(at) * z;
            }
            self.store(at, w * self.cells.planes[DECAY].at(at));
        }
    }

    fn index_of(&self, name: &str) -> Result<usize> {
        let names = self.device.parameter_names();
        names.iter().position(|n| *n == name).ok_or_else(|| Error::value("parameter", format_args!("{name:?}"), names.join(", ")))
    }

    pub(crate) fn parameter(&self, name: &str) -> Result<Vec<f32>> {
        let plane = &self.cells.planes[self.index_of(name)?];
        Ok((0..self.values.len()).map(|at| plane.at(at)).collect())
    }

    /// Sets a per-cell parameter; stored values are clipped to the bounds then in force.
    pub(crate) fn set_parameter(&mut self, name: &str, values: &[f32]) -> Result<()> {
        let index = self.index_of(name)?;
        check_matrix(name, values, self.values.len() / self.columns, self.columns)?;
        let plane = |other: usize, at: usize| if other == index { values[at] } else { self.cells.planes[other].at(at) };
        check_planes(name, values.len(), plane)?;
        self.cells.planes[index] = Plane::collect(values.to_vec());
        for at in 0..self.values.len() {
            self.values[at] = clip(self.values[at], self.cells.planes[1].at(at), self.cells.planes[0].at(at));
        }
        Ok(())
    }

    /// Replaces values and parameters (from a saved state), all or nothing.
    pub(crate) fn restore(&mut self, values: Vec<f32>, planes: Vec<Vec<f32>>) -> Result<()> {
        let (rows, columns) = (self.values.len() / self.columns, self.columns);
        check_matrix(&self.name, &values, rows, columns)?;
        let names = self.device.parameter_names();
        for (name, plane) in names.iter().zip(&planes) {
            if plane.len() == 1 { check_finite(name, plane)? } else { check_matrix(name, plane, rows, columns)? }
        }
        let plane = |p: usize, at: usize| planes[p][if planes[p].len() == 1 { 0 } else { at }];
        check_planes(&self.name, values.len(), plane)?;
        if let Some(at) = (0..values.len()).find(|at| !(plane(1, *at)..=plane(0, *at)).contains(&values[*at])) {
            let allowed = format!("{} to {}, the bounds of the cell", plane(1, at), plane(0, at));
            return Err(Error::value(&format!("{}.values", self.name), format_args!("{} at flat index {at}", values[at]), allowed));
        }
        self.values = values;
        self.cells.planes = planes.into_iter().map(Plane::collect).collect();
        Ok(())
    }
}

/// Refuses parameters that contradict each other; `plane(p, at)` is parameter `p` of cell `at`.
fn check_planes(field: &str, cells: usize, plane: impl Fn(usize, usize) -> f32) -> Result<()> {
    for at in 0..cells {
        let (high, low, decay, diffusion) = (plane(0, at), plane(1, at), plane(DECAY, at), plane(DIFFUSION, at));
        if low > high {
            return Err(Error::value(field, format_args!("a w_min of {low} and a w_max of {high} at flat index {at}"), "w_min <= w_max"));
        }
        if !(0.0..=1.0).contains(&decay) || diffusion < 0.0 {
            let what = format!("a decay of {decay} and a diffusion of {diffusion} at flat index {at}");
            return Err(Error::value(field, what, "decay 0 to 1, diffusion >= 0"));
        }
    }
    Ok(())
}
