//! From the voltages of the DAC to the currents before the ADC: the products, what disturbs them, and the noise of the weights.

use super::io::{Io, MvType, WeightNoise};
use super::multiply::{Matrix, multiply};
use super::{Pattern, fill_normals};
use crate::pool::Machine;
use crate::rng::Key;
use crate::simd::Isa;

/// A matrix with the disturbances of one periphery.
pub(crate) struct Currents<'a> {
    machine: Machine<'a>,
    io: &'a Io,
    matrix: Matrix<'a>,
    /// What negative inputs see, where that is something else.
    other: Option<Vec<f32>>,
    /// `|W|`, where it is needed.
    magnitudes: Vec<f32>,
    /// What a voltage offset adds to each output line; empty for nothing.
    offset: Vec<f32>,
    /// What the resistance in series divides each output line by; empty for nothing.
    divisor: Vec<f32>,
}

/// Which inputs go through together.
#[derive(Clone, Copy, PartialEq)]
enum Part {
    Whole,
    Positive,
    Negative,
}

impl<'a> Currents<'a> {
    pub(crate) fn new(machine: Machine<'a>, io: &'a Io, matrix: Matrix<'a>, fixed: Key) -> Self {
        let (lines_in, lines_out) = matrix.lines();
        let other = (io.w_read_asymmetry_dtod > 0.0).then(|| {
            let key = fixed.child(Pattern::Reading as u64);
            let mut other = matrix.values.to_vec();
            let mut xi = vec![0.0; matrix.columns];
            for (row, values) in other.chunks_exact_mut(matrix.columns).enumerate() {
                fill_normals(machine.isa, key.child(row as u64), 0, &mut xi);
                values.iter_mut().zip(&xi).for_each(|(w, xi)| *w *= 1.0 + io.w_read_asymmetry_dtod * xi);
            }
            other
        });
        let needs_magnitudes = io.ir_drop > 0.0 || (io.w_noise > 0.0 && io.w_noise_type == WeightNoise::PcmRead);
        let magnitudes = if needs_magnitudes { matrix.values.iter().map(|w| w.abs()).collect() } else { Vec::new() };
        let (mut offset, mut divisor) = (Vec::new(), Vec::new());
        if io.v_offset_std > 0.0 || io.r_series > 0.0 {
            let conductances: Vec<f32> = matrix.values.iter().map(|w| (w - io.v_offset_w_min).max(0.0)).collect();
            let mut sums = vec![0.0; lines_out];
            multiply(machine, Matrix { values: &conductances, ..matrix }, &vec![1.0; lines_in], &mut sums);
            if io.v_offset_std > 0.0 {
                offset = vec![0.0; lines_out];
                fill_normals(machine.isa, fixed.child(Pattern::Offset as u64), 0, &mut offset);
                offset.iter_mut().zip(&sums).for_each(|(o, sum)| *o = io.v_offset_std * *o * sum);
            }
            if io.r_series > 0.0 {
                divisor = sums.iter().map(|sum| 1.0 + io.r_series * sum / lines_in as f32).collect();
            }
        }
        Self { machine, io, matrix, other, magnitudes, offset, divisor }
    }

    /// What arrives before the ADC for the voltages `v` (`[vectors][lines in]`): one matrix `[vectors][lines out]`, or two whose difference is
    /// made after the ADC. `keys` are the output streams of the vectors.
    pub(crate) fn of(&self, v: &[f32], keys: &[Key]) -> Vec<Vec<f32>> {
        if self.io.mv_type == MvType::OnePass {
            return vec![self.part(Part::Whole, v, keys)];
        }
        let second: Vec<Key> = keys.iter().map(|key| key.child(1)).collect();
        let mut plus = self.part(Part::Positive, &positive(v), keys);
        let minus = self.part(Part::Negative, &negative(v), &second);
        if self.io.mv_type == MvType::PosNegSeparateDigitalSum {
            return vec![plus, minus];
        }
        plus.iter_mut().zip(&minus).for_each(|(plus, minus)| *plus -= minus);
        vec![plus]
    }

    fn part(&self, part: Part, v: &[f32], keys: &[Key]) -> Vec<f32> {
        let mut z = match (&self.other, part) {
            (None, _) | (_, Part::Positive) => self.product(self.matrix.values, v),
            (Some(other), Part::Negative) => self.product(other, v),
            (Some(other), Part::Whole) => {
                let mut z = self.product(self.matrix.values, &positive(v));
                z.iter_mut().zip(self.product(other, &negative(v))).for_each(|(z, other)| *z -= other);
                z
            }
        };
        let (lines_in, lines_out) = self.matrix.lines();
        if self.io.ir_drop > 0.0 {
            self.drop(v, &mut z);
        }
        for z in z.chunks_exact_mut(lines_out) {
            z.iter_mut().zip(&self.offset).for_each(|(z, offset)| *z += offset);
            z.iter_mut().zip(&self.divisor).for_each(|(z, divisor)| *z /= divisor);
        }
        if self.io.w_noise > 0.0 {
            let sums = match self.io.w_noise_type {
                WeightNoise::None => return z,
                WeightNoise::AdditiveConstant => v.chunks_exact(lines_in).map(square).collect(),
                WeightNoise::PcmRead => self.product(&self.magnitudes, &v.iter().map(|v| v * v).collect::<Vec<_>>()),
            };
            let per_vector = sums.len() / keys.len();
            for ((z, sums), key) in z.chunks_exact_mut(lines_out).zip(sums.chunks_exact(per_vector)).zip(keys) {
                weight_noise(self.machine.isa, self.io.w_noise, z, sums, *key);
            }
        }
        z
    }

    /// `z -= c t`: a wire of resistance loses voltage to the currents it carries (Rasch et al., Nat. Commun. 14, 5282, 2023).
    fn drop(&self, v: &[f32], z: &mut [f32]) {
        let lines_in = self.matrix.lines().0;
        let load = self.product(&self.magnitudes, &v.iter().map(|v| v.abs()).collect::<Vec<_>>());
        let position: Vec<f32> = (0..lines_in).map(|j| 1.0 - j as f32 / lines_in as f32).collect();
        let placed: Vec<f32> = v.chunks_exact(lines_in).flat_map(|v| v.iter().zip(&position).map(|(v, p)| v * (1.0 - p * p))).collect();
        let placed = self.product(self.matrix.values, &placed);
        let strength = self.io.ir_drop * lines_in as f32 / self.io.ir_drop_g_ratio;
        for ((z, load), placed) in z.iter_mut().zip(load).zip(placed) {
            let a = strength * load;
            *z -= ((0.05 * a - 0.2) * a + 0.5) * a * placed;
        }
    }

    fn product(&self, values: &[f32], v: &[f32]) -> Vec<f32> {
        let (lines_in, lines_out) = self.matrix.lines();
        let mut z = vec![0.0; v.len() / lines_in * lines_out];
        multiply(self.machine, Matrix { values, ..self.matrix }, v, &mut z);
        z
    }
}

/// Adds noise of the weights, `strength sqrt(sum) normal`, with one sum for all lines or one for each.
pub(crate) fn weight_noise(isa: Isa, strength: f32, z: &mut [f32], sums: &[f32], key: Key) {
    let mut noise = vec![0.0; z.len()];
    fill_normals(isa, key, 1, &mut noise);
    for (at, (z, noise)) in z.iter_mut().zip(noise).enumerate() {
        *z += strength * sums[if sums.len() == 1 { 0 } else { at }].sqrt() * noise;
    }
}

/// `sum_j v_j^2`.
fn square(v: &[f32]) -> f32 {
    v.iter().fold(0.0, |sum, v| sum + v * v)
}

fn positive(v: &[f32]) -> Vec<f32> {
    v.iter().map(|v| if *v > 0.0 { *v } else { 0.0 }).collect()
}

fn negative(v: &[f32]) -> Vec<f32> {
    v.iter().map(|v| if *v < 0.0 { -v } else { 0.0 }).collect()
}
