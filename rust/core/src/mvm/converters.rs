//! The two ends of the crossbar: DAC and ADC.

use super::io::Io;
use super::{Pattern, fill_normals, pattern};
use crate::math::rint;
use crate::rng::{Key, add_normals};
use crate::simd::{Isa, Kernel, Set, clip};

/// From numbers to voltages, in place. `scale` is what the numbers are divided by.
pub(crate) fn convert_in(isa: Isa, io: &Io, v: &mut [f32], scale: f32, key: Key) {
    let rounding = Rounding { step: io.step_in(), stochastic: io.inp_sto_round, key, counter: 1 };
    isa.run(InputChain { v, scale, rounding, bound: io.inp_bound, noise: io.inp_noise, key, asymmetry: io.inp_asymmetry });
}

/// The output side of one direction: converter, and what differs between its lines.
pub(crate) struct Outputs<'a> {
    io: &'a Io,
    /// Standard deviations of the noise of the lines; empty: that of the settings.
    noise: Vec<f32>,
    /// Saturation of the lines; empty: none.
    nonlinearity: Vec<f32>,
}

impl<'a> Outputs<'a> {
    pub(crate) fn new(isa: Isa, io: &'a Io, lines: usize, fixed: Key) -> Self {
        let spread = |of: Pattern, mean: f32, std: f32| pattern(isa, fixed.child(of as u64), mean, std, lines);
        let noise =
            if io.out_noise > 0.0 && io.out_noise_std > 0.0 { spread(Pattern::Noise, io.out_noise, io.out_noise_std) } else { Vec::new() };
        let nonlinearity = if io.out_nonlinearity > 0.0 {
            spread(Pattern::Nonlinearity, io.out_nonlinearity, io.out_nonlinearity_std)
        } else {
            Vec::new()
        };
        Self { io, noise, nonlinearity }
    }

    /// From currents to numbers times `back`, in place, for one vector; says whether a number was beyond the range.
    pub(crate) fn convert(&self, isa: Isa, z: &mut [f32], back: f32, key: Key) -> bool {
        let io = self.io;
        if !self.nonlinearity.is_empty() {
            let gain = 1.0 + io.out_nonlinearity * io.slope_calibration;
            for (z, n) in z.iter_mut().zip(&self.nonlinearity) {
                *z = gain * *z / (1.0 + n * z.abs() / io.out_unit());
            }
        }
        if io.out_asymmetry != 0.0 {
            weaken_negative(z, io.out_asymmetry);
        }
        let mut noise = io.out_noise;
        if !self.noise.is_empty() {
            noise = 0.0;
            let mut xi = vec![0.0; z.len()];
            fill_normals(isa, key, 0, &mut xi);
            z.iter_mut().zip(&self.noise).zip(xi).for_each(|((z, sigma), xi)| *z += sigma * xi);
        }
        let mut over = false;
        let rounding = Rounding { step: io.step_out(), stochastic: io.out_sto_round, key, counter: 2 };
        let below = io.bm_test_negative_bound;
        isa.run(OutputChain { z, rounding, bound: io.out_bound, noise, key, back, below, over: &mut over });
        over
    }
}

struct Rounding {
    step: f32,
    stochastic: bool,
    key: Key,
    counter: u32,
}

impl Rounding {
    /// What the converter makes of the value of a line.
    #[inline(always)]
    fn round(&self, line: usize, v: f32) -> f32 {
        if self.step <= 0.0 {
            v
        } else if self.stochastic {
            self.step * rint(v / self.step + (self.key.uniform(self.counter, line as u32) - 0.5))
        } else {
            self.step * rint(v / self.step)
        }
    }
}

#[inline(always)]
fn weaken_negative(values: &mut [f32], asymmetry: f32) {
    for v in values.iter_mut() {
        *v = if *v < 0.0 { *v * (1.0 - asymmetry) } else { *v };
    }
}

struct InputChain<'a> {
    v: &'a mut [f32],
    scale: f32,
    rounding: Rounding,
    bound: f32,
    noise: f32,
    key: Key,
    asymmetry: f32,
}

impl Kernel for InputChain<'_> {
    #[inline(always)]
    fn run<S: Set>(self) {
        for (line, v) in self.v.iter_mut().enumerate() {
            let rounded = self.rounding.round(line, *v / self.scale);
            *v = if self.bound > 0.0 { clip(rounded, -self.bound, self.bound) } else { rounded };
        }
        if self.noise > 0.0 {
            add_normals::<S>(self.key, self.noise, self.v);
        }
        if self.asymmetry != 0.0 {
            weaken_negative(self.v, self.asymmetry);
        }
    }
}

struct OutputChain<'a> {
    z: &'a mut [f32],
    rounding: Rounding,
    bound: f32,
    noise: f32,
    key: Key,
    back: f32,
    below: bool,
    over: &'a mut bool,
}

impl Kernel for OutputChain<'_> {
    #[inline(always)]
    fn run<S: Set>(self) {
        if self.noise > 0.0 {
            add_normals::<S>(self.key, self.noise, self.z);
        }
        let mut over = 0;
        for (line, z) in self.z.iter_mut().enumerate() {
            let mut v = self.rounding.round(line, *z);
            if self.bound > 0.0 {
                let tested = if self.below { v.abs() } else { v };
                over |= (tested > self.bound) as u32;
                v = clip(v, -self.bound, self.bound);
            }
            *z = v * self.back;
        }
        *self.over = over != 0;
    }
}
