//! Standard normal numbers, one from each word of random bits.
//!
//! The lowest 31 bits, made odd and rounded to `f32`, are `p`; `p / 2^31` is the probability of a number further from zero, and the top bit is the sign. In each
//! octave of `p` the distance is a polynomial of the mantissa, at most 3.2e-5 off (`tests/streams.rs`); the largest is 6.23.

use crate::simd::{Group, Set, TABLE, WIDTH};

/// Coefficients of the powers of the mantissa in [1, 2), minimax fits. The octave from 2^e on is at place `e - 1 mod 32`; that below 2^31 ends at zero, and
/// 2^31 itself is zero.
#[rustfmt::skip]
static DISTANCE: [[f32; TABLE]; 5] = [
    [
        6.3950744, 6.2883973, 6.1799693, 6.0697036, 5.9575047, 5.8432693, 5.7268853, 5.6082287, 5.4871645, 5.3635435, 5.237201,
        5.1079545, 4.975599, 4.8399057, 4.700618, 4.557444, 4.410053, 4.2580624, 4.101035, 3.938459, 3.7697346, 3.5941517, 3.4108603,
        3.218832, 3.0168092, 2.8032343, 2.57616, 2.3331292, 2.0709963, 1.7783124, 0.0, 6.5000815,
    ],
    [
        -0.44128665, -0.44878164, -0.45666555, -0.46497282, -0.4737424, -0.48301828, -0.4928506, -0.5032966, -0.5144221, -0.5263032,
        -0.53902805, -0.55270016, -0.56744134, -0.5833962, -0.6007381, -0.6196765, -0.64046735, -0.66342705, -0.68895197, -0.7175455,
        -0.7498582, -0.7867464, -0.8293621, -0.87929434, -0.9387992, -1.0111899, -1.1015264, -1.2178881, -1.3736929, -1.5691031, 0.0,
        -0.43414986,
    ],
    [
        0.22707887, 0.23083492, 0.23478024, 0.23893109, 0.24330571, 0.24792467, 0.25281125, 0.2579919, 0.2634969, 0.26936093, 0.2756241,
        0.28233284, 0.28954148, 0.2973139, 0.30572572, 0.3148672, 0.32484692, 0.33579686, 0.34787878, 0.36129317, 0.37629113, 0.3931906,
        0.4123983, 0.4344385, 0.4599872, 0.48990166, 0.52519745, 0.5667928, 0.61416805, 0.63280326, 0.0, 0.22349758,
    ],
    [
        -0.068807065, -0.06993592, -0.07112116, -0.07236761, -0.073680624, -0.075066276, -0.07653141, -0.07808381, -0.07973234,
        -0.08148718, -0.08336004, -0.0853645, -0.08751638, -0.08983425, -0.09234005, -0.095059894, -0.09802512, -0.101273686,
        -0.104851976, -0.10881728, -0.11324109, -0.11821368, -0.123850234, -0.13029934, -0.1377543, -0.14646769, -0.15676995,
        -0.16910182, -0.18407072, -0.18869255, 0.0, -0.067730315,
    ],
    [
        0.008687688, 0.008829653, 0.008978682, 0.009135371, 0.009300393, 0.009474502, 0.00965855, 0.0098535055, 0.010060472,
        0.010280713, 0.010515684, 0.01076707, 0.011036829, 0.011327264, 0.011641087, 0.011981525, 0.012352447, 0.012758531, 0.013205484,
        0.013700347, 0.014251893, 0.0148711745, 0.01557228, 0.016373355, 0.017297987, 0.018376967, 0.019650226, 0.02116636, 0.022924807,
        0.021138832, 0.0, 0.00855225,
    ],
];

/// The place of the octave from 2^23 on; one number in 256 is below it.
const OFTEN: u32 = 127 + 23;

/// The place of the coefficients, of which the lowest five bits count, and the mantissa.
#[inline(always)]
fn octave(word: u32) -> (u32, f32) {
    let bits = (((word & 0x7FFF_FFFF) | 1) as i32 as f32).to_bits();
    (bits >> 23, f32::from_bits((bits & 0x007F_FFFF) | 0x3F80_0000))
}

#[inline(always)]
fn distance(c: [f32; 5], m: f32) -> f32 {
    c[0] + m * (c[1] + m * (c[2] + m * (c[3] + m * c[4])))
}

#[inline(always)]
fn signed(distance: f32, word: u32) -> f32 {
    f32::from_bits(distance.to_bits() ^ (word & 0x8000_0000))
}

/// The number of a word.
#[inline(always)]
pub fn normal(word: u32) -> f32 {
    let (place, m) = octave(word);
    signed(distance(DISTANCE.each_ref().map(|c| c[place as usize % TABLE]), m), word)
}

/// The numbers of a group of words.
#[inline(always)]
pub(crate) fn normals<S: Set>(words: &Group<u32>) -> Group<f32> {
    let (mut places, mut m, mut z) = ([0u32; WIDTH], [0f32; WIDTH], [0f32; WIDTH]);
    for lane in 0..WIDTH {
        (places[lane], m[lane]) = octave(words[lane]);
    }
    let c = S::look_up(&DISTANCE, &places, OFTEN);
    for lane in 0..WIDTH {
        z[lane] = signed(distance([c[0][lane], c[1][lane], c[2][lane], c[3][lane], c[4][lane]], m[lane]), words[lane]);
    }
    z
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::{Isa, Kernel};

    /// Words and their numbers.
    struct Numbers<'a>(&'a [Group<u32>], &'a mut Vec<f32>);

    impl Kernel for Numbers<'_> {
        #[inline(always)]
        fn run<S: Set>(self) {
            self.0.iter().for_each(|words| self.1.extend(normals::<S>(words)));
        }
    }

    #[test]
    fn groups_of_words_have_their_numbers_on_every_instruction_set() {
        let octaves =
            (0..31).map(|e| std::array::from_fn(|lane| ((1 << e) + (((1u64 << e) * lane as u64) >> 4) as u32) | (lane as u32 & 1) << 31));
        let mixed = std::array::from_fn(|lane| 3 << (2 * lane as u32).min(30));
        let words: Vec<Group<u32>> = octaves.chain([mixed, [0; WIDTH], [u32::MAX; WIDTH]]).collect();
        for isa in Isa::available() {
            let mut numbers = Vec::new();
            isa.run(Numbers(&words, &mut numbers));
            for (word, z) in words.as_flattened().iter().zip(numbers) {
                assert_eq!(z.to_bits(), normal(*word).to_bits(), "{word:#010x}, {isa:?}");
            }
        }
    }
}
