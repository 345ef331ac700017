//! The settings of a periphery, and the factor of noise management.

use crate::error::Result;
use crate::fields::Fields;
use crate::simd::finite;

/// How positive and negative inputs go through the crossbar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MvType {
    /// Together.
    OnePass,
    /// One after the other; their difference is converted.
    PosNegSeparate,
    /// One after the other; both are converted, and the difference is digital.
    PosNegSeparateDigitalSum,
}

/// How inputs are scaled into the range of the DAC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoiseManagement {
    /// Not at all.
    None,
    /// By `nm_thres`.
    Constant,
    /// By the largest value; no output where none is positive.
    Max,
    /// By the largest absolute value.
    AbsMax,
    /// By the largest absolute value, or more if the outputs could leave the range of the ADC otherwise.
    AbsMaxNpSum,
    /// By the running mean of the largest absolute value.
    AverageAbsMax,
}

/// What happens when an output leaves the range of the ADC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BoundManagement {
    /// It is clipped.
    None,
    /// The product is repeated with inputs halved, as often as the stopping rules allow.
    Iterative,
    /// The same, but the first repetition scales inputs by [`NoiseManagement::AbsMaxNpSum`] instead.
    IterativeWorstCase,
}

/// Noise of the weights while they are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WeightNoise {
    /// None.
    None,
    /// The same for all cells.
    AdditiveConstant,
    /// Growing with the square root of the weight.
    PcmRead,
}

/// The periphery of a crossbar (names as in the field). All zero: ideal. What each does stands at the head of the module.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Io {
    /// Exact products: nothing below applies but `out_scale`.
    pub is_perfect: bool,
    /// See [`MvType`].
    pub mv_type: MvType,
    /// Range of the DAC, +-; <= 0: infinite.
    pub inp_bound: f32,
    /// Resolution of the DAC relative to its full range; <= 0: none.
    pub inp_res: f32,
    /// Standard deviation of the noise after the DAC.
    pub inp_noise: f32,
    /// Whether the DAC rounds at random, right in the mean.
    pub inp_sto_round: bool,
    /// What negative inputs lose, as a part of them.
    pub inp_asymmetry: f32,
    /// Range of the ADC, +-; <= 0: infinite.
    pub out_bound: f32,
    /// Resolution of the ADC.
    pub out_res: f32,
    /// Standard deviation of the noise before the ADC.
    pub out_noise: f32,
    /// How much `out_noise` differs between lines, relative.
    pub out_noise_std: f32,
    /// Whether the ADC rounds at random, right in the mean.
    pub out_sto_round: bool,
    /// What negative outputs lose, as a part of them.
    pub out_asymmetry: f32,
    /// Saturation of the outputs.
    pub out_nonlinearity: f32,
    /// How much it differs between lines, relative.
    pub out_nonlinearity_std: f32,
    /// Where the mean curve of saturation is exact, in units of `out_bound`; 0: at zero.
    pub slope_calibration: f32,
    /// A digital factor on the outputs.
    pub out_scale: f32,
    /// Strength of the noise of the weights.
    pub w_noise: f32,
    /// See [`WeightNoise`].
    pub w_noise_type: WeightNoise,
    /// See [`NoiseManagement`].
    pub noise_management: NoiseManagement,
    /// The constant factor, or the cap of the largest value (0: none).
    pub nm_thres: f32,
    /// The weight that [`NoiseManagement::AbsMaxNpSum`] reckons with.
    pub nm_assumed_wmax: f32,
    /// The part of a running mean that a vector replaces.
    pub nm_decay: f32,
    /// See [`BoundManagement`].
    pub bound_management: BoundManagement,
    /// No further repetition above this factor.
    pub max_bm_factor: f32,
    /// No further repetition above this many input steps.
    pub max_bm_res: f32,
    /// Whether outputs below the range count, too.
    pub bm_test_negative_bound: bool,
    /// Strength of the IR drop along output lines.
    pub ir_drop: f32,
    /// Conductance of a wire between two cells over that of a cell of weight 1.
    pub ir_drop_g_ratio: f32,
    /// Standard deviation of the voltage offsets of output lines.
    pub v_offset_std: f32,
    /// The weight of a cell without conductance.
    pub v_offset_w_min: f32,
    /// Resistance in series with an output line, over that of a cell of weight `v_offset_w_min + 1` divided by the number of lines.
    pub r_series: f32,
    /// How much weights differ between the two polarities of an input, relative.
    pub w_read_asymmetry_dtod: f32,
}

impl Io {
    /// From named settings.
    pub fn new(mut f: Fields) -> Result<Self> {
        const ANY: std::ops::RangeInclusive<f64> = 0.0..=f64::INFINITY;
        const SIGNED: std::ops::RangeInclusive<f64> = f64::NEG_INFINITY..=f64::INFINITY;
        const PART: std::ops::RangeInclusive<f64> = -1.0..=1.0;
        let mv_types = [
            ("one_pass", MvType::OnePass),
            ("pos_neg_separate", MvType::PosNegSeparate),
            ("pos_neg_separate_digital_sum", MvType::PosNegSeparateDigitalSum),
        ];
        let noise_managements = [
            ("none", NoiseManagement::None),
            ("constant", NoiseManagement::Constant),
            ("max", NoiseManagement::Max),
            ("abs_max", NoiseManagement::AbsMax),
            ("abs_max_np_sum", NoiseManagement::AbsMaxNpSum),
            ("average_abs_max", NoiseManagement::AverageAbsMax),
        ];
        let bound_managements = [
            ("none", BoundManagement::None),
            ("iterative", BoundManagement::Iterative),
            ("iterative_worst_case", BoundManagement::IterativeWorstCase),
        ];
        let w_noise_types =
            [("none", WeightNoise::None), ("additive_constant", WeightNoise::AdditiveConstant), ("pcm_read", WeightNoise::PcmRead)];
        let io = Self {
            is_perfect: f.switch("is_perfect", false)?,
            mv_type: f.choice("mv_type", &mv_types)?,
            inp_bound: f.real("inp_bound", 0.0, SIGNED)? as f32,
            inp_res: f.real("inp_res", 0.0, SIGNED)? as f32,
            inp_noise: f.real("inp_noise", 0.0, ANY)? as f32,
            inp_sto_round: f.switch("inp_sto_round", false)?,
            inp_asymmetry: f.real("inp_asymmetry", 0.0, PART)? as f32,
            out_bound: f.real("out_bound", 0.0, SIGNED)? as f32,
            out_res: f.real("out_res", 0.0, SIGNED)? as f32,
            out_noise: f.real("out_noise", 0.0, ANY)? as f32,
            out_noise_std: f.real("out_noise_std", 0.0, ANY)? as f32,
            out_sto_round: f.switch("out_sto_round", false)?,
            out_asymmetry: f.real("out_asymmetry", 0.0, PART)? as f32,
            out_nonlinearity: f.real("out_nonlinearity", 0.0, ANY)? as f32,
            out_nonlinearity_std: f.real("out_nonlinearity_std", 0.0, ANY)? as f32,
            slope_calibration: f.real("slope_calibration", 0.0, ANY)? as f32,
            out_scale: f.real("out_scale", 1.0, SIGNED)? as f32,
            w_noise: f.real("w_noise", 0.0, ANY)? as f32,
            w_noise_type: f.choice("w_noise_type", &w_noise_types)?,
            noise_management: f.choice("noise_management", &noise_managements)?,
            nm_thres: f.real("nm_thres", 0.0, ANY)? as f32,
            nm_assumed_wmax: f.real("nm_assumed_wmax", 0.6, ANY)? as f32,
            nm_decay: f.real("nm_decay", 1e-3, 0.0..=1.0)? as f32,
            bound_management: f.choice("bound_management", &bound_managements)?,
            max_bm_factor: f.real("max_bm_factor", 1000.0, ANY)? as f32,
            max_bm_res: f.real("max_bm_res", 0.25, ANY)? as f32,
            bm_test_negative_bound: f.switch("bm_test_negative_bound", true)?,
            ir_drop: f.real("ir_drop", 0.0, 0.0..=1e6)? as f32,
            ir_drop_g_ratio: f.real("ir_drop_g_ratio", 571_428.57, 1.0..=1e9)? as f32,
            v_offset_std: f.real("v_offset_std", 0.0, ANY)? as f32,
            v_offset_w_min: f.real("v_offset_w_min", -1.0, SIGNED)? as f32,
            r_series: f.real("r_series", 0.0, ANY)? as f32,
            w_read_asymmetry_dtod: f.real("w_read_asymmetry_dtod", 0.0, ANY)? as f32,
        };
        f.finish()?;
        Ok(io)
    }

    /// The same without anything drawn anew at each product.
    pub(crate) fn quiet(&self) -> Self {
        Self { inp_noise: 0.0, out_noise: 0.0, w_noise: 0.0, inp_sto_round: false, out_sto_round: false, ..*self }
    }

    /// Whether reading one line takes the whole row of cells: where silent lines speak, too, and where their cells matter.
    pub(crate) fn needs_whole_row(&self) -> bool {
        let speaking = self.inp_noise > 0.0 || self.inp_sto_round || self.mv_type == MvType::PosNegSeparateDigitalSum;
        !self.is_perfect && (speaking || self.ir_drop > 0.0 || self.v_offset_std > 0.0 || self.r_series > 0.0)
    }

    /// The step of the DAC, 0 for none.
    pub(crate) fn step_in(&self) -> f32 {
        resolution(self.inp_res, self.inp_bound)
    }

    /// The step of the ADC, 0 for none.
    pub(crate) fn step_out(&self) -> f32 {
        resolution(self.out_res, self.out_bound)
    }

    /// The range of the ADC where something is measured by it: 1 if it is infinite.
    pub(crate) fn out_unit(&self) -> f32 {
        if self.out_bound > 0.0 { self.out_bound } else { 1.0 }
    }

    /// What noise management divides the inputs by; <= 0 for none. `mean` is the running mean of this direction.
    pub(crate) fn factor(&self, x: &[f32], mean: &mut Mean) -> f32 {
        match self.noise_management {
            NoiseManagement::None => 1.0,
            NoiseManagement::Constant if self.nm_thres > 0.0 => self.nm_thres,
            NoiseManagement::Constant => 1.0,
            NoiseManagement::Max => self.capped(x.iter().fold(0.0, |m, v| if *v > m { *v } else { m })),
            NoiseManagement::AbsMax => self.capped(abs_max(x)),
            NoiseManagement::AbsMaxNpSum => self.worst_case(x),
            NoiseManagement::AverageAbsMax => mean.next(abs_max(x), self.nm_decay),
        }
    }

    /// The factor of [`NoiseManagement::AbsMaxNpSum`].
    pub(crate) fn worst_case(&self, x: &[f32]) -> f32 {
        let (mut positive, mut negative) = (0f32, 0f32);
        for v in x {
            if *v > 0.0 {
                positive += v;
            } else {
                negative -= v;
            }
        }
        let sum = finite(if positive > negative { positive } else { negative });
        let max = self.capped(abs_max(x));
        let mut wanted = finite(sum * self.nm_assumed_wmax / self.out_unit());
        if self.step_in() > 0.0 {
            let most = max * self.max_bm_res / self.step_in();
            wanted = if wanted < most { wanted } else { most };
        }
        if wanted > max { wanted } else { max }
    }

    fn capped(&self, max: f32) -> f32 {
        if self.nm_thres > 0.0 && max > self.nm_thres { self.nm_thres } else { max }
    }

    /// Whether a product may be repeated after one with scale `r`.
    pub(crate) fn may_repeat(&self, r: f32) -> bool {
        let step_in = self.step_in();
        self.bound_management != BoundManagement::None && r <= self.max_bm_factor && (step_in <= 0.0 || r <= self.max_bm_res / step_in)
    }
}

/// The quantiser's step, 0 for none.
fn resolution(res: f32, bound: f32) -> f32 {
    let res = if res > 1.0 { 1.0 / res } else { res };
    if res > 0.0 && bound > 0.0 { res * 2.0 * bound } else { 0.0 }
}

/// The running mean of the largest absolute inputs of one direction.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Mean {
    /// 0: none yet.
    pub(crate) value: f32,
    /// Whether vectors move it; otherwise they are scaled by it as it is, or by their own largest value if there is none.
    pub(crate) moves: bool,
}

impl Mean {
    fn next(&mut self, max: f32, decay: f32) -> f32 {
        let value = if self.value > 0.0 && self.moves {
            (1.0 - decay) * self.value + decay * max
        } else if self.value > 0.0 {
            self.value
        } else {
            max
        };
        if self.moves {
            self.value = value;
        }
        value
    }
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
