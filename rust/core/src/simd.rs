//! The only place that knows instruction sets.
//!
//! Kernels are written once, on plain arrays of a fixed number of values, and compiled three times; no operation is fused or reordered, so all three
//! give the same bits. What the compiler does not find is in [`Set`], by hand. `OHMGRAD_ISA=portable|avx2|avx512` forces one.

use crate::error::{Error, Result};

/// Lanes of a block, whatever the width of the registers.
pub const LANES: usize = 32;

/// Lanes of the widest register.
pub(crate) const WIDTH: usize = 16;
/// So many groups of [`WIDTH`] lanes are worked on in turns where operations wait for each other.
pub(crate) const GROUPS: usize = 4;
/// Values of a table that is looked up.
pub(crate) const TABLE: usize = 2 * WIDTH;
/// A group of lanes.
pub(crate) type Group<T> = [T; WIDTH];

/// An instruction set that kernels are compiled for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Isa {
    /// What the target guarantees.
    Portable,
    /// 256-bit integer and floating-point vectors.
    Avx2,
    /// 512-bit vectors with population counts.
    Avx512,
}

impl Isa {
    /// Its name, as `OHMGRAD_ISA` takes it.
    pub fn name(self) -> &'static str {
        match self {
            Isa::Portable => "portable",
            Isa::Avx2 => "avx2",
            Isa::Avx512 => "avx512",
        }
    }

    /// What this processor has, slowest first.
    pub fn available() -> Vec<Isa> {
        #[allow(unused_mut)]
        let mut isas = vec![Isa::Portable];
        #[cfg(target_arch = "x86_64")]
        {
            let bits = is_x86_feature_detected!("bmi1") && is_x86_feature_detected!("bmi2") && is_x86_feature_detected!("lzcnt");
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("popcnt") && bits {
                isas.push(Isa::Avx2);
                let wide = is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512vl")
                    && is_x86_feature_detected!("avx512vpopcntdq");
                if wide {
                    isas.push(Isa::Avx512);
                }
            }
        }
        isas
    }

    /// The fastest available, or the one asked for by name.
    pub fn choose(forced: Option<&str>) -> Result<Isa> {
        let available = Isa::available();
        match forced {
            None => Ok(available[available.len() - 1]),
            Some(name) => available.iter().copied().find(|isa| isa.name() == name).ok_or_else(|| {
                let names: Vec<_> = available.iter().map(|isa| isa.name()).collect();
                Error::value("OHMGRAD_ISA", name, names.join(", "))
            }),
        }
    }
}

/// A piece of work compiled for every instruction set. `run` and all it calls must be `#[inline(always)]`.
pub(crate) trait Kernel {
    fn run<S: Set>(self);
}

/// What some instruction sets have instructions for that the compiler does not find.
#[allow(unsafe_code)]
pub trait Set {
    /// Whether eight sums of a group, and what goes into them, fit into the registers.
    const MANY: bool = false;

    /// The values of tables at `places`, of which the lowest five bits count. Nearly all of them should be among the eight places from `often` on, which lie
    /// together in the tables.
    #[inline(always)]
    fn look_up<const N: usize>(tables: &[[f32; TABLE]; N], places: &Group<u32>, _often: u32) -> [Group<f32>; N] {
        one_by_one(tables, places)
    }

    /// The values at `at`.
    ///
    /// # Safety
    ///
    /// All of `at` are less than the number of values and 2^31. A value has four bytes, all of which are part of it.
    #[inline(always)]
    unsafe fn gather<T: Copy + Default>(values: &[T], at: &Group<u32>) -> Group<T> {
        let mut group = [T::default(); WIDTH];
        for (value, at) in group.iter_mut().zip(at) {
            // SAFETY: said to be so.
            *value = unsafe { *values.get_unchecked(*at as usize) };
        }
        group
    }

    /// The pairs at `at`: all of their first values, and all of their second ones.
    ///
    /// # Safety
    ///
    /// As above.
    #[inline(always)]
    unsafe fn gather_pairs<T: Copy + Default>(pairs: &[[T; 2]], at: &Group<u32>) -> [Group<T>; 2] {
        let mut groups = [[T::default(); WIDTH]; 2];
        for lane in 0..WIDTH {
            // SAFETY: said to be so.
            let pair = unsafe { pairs.get_unchecked(at[lane] as usize) };
            (groups[0][lane], groups[1][lane]) = (pair[0], pair[1]);
        }
        groups
    }

    /// Puts the first `lanes` values of a group to `at`.
    ///
    /// # Safety
    ///
    /// As above for these, and they are all different.
    #[inline(always)]
    unsafe fn scatter<T: Copy>(group: &Group<T>, lanes: usize, at: &Group<u32>, values: &mut [T]) {
        for (value, at) in group.iter().zip(at).take(lanes) {
            // SAFETY: said to be so.
            *unsafe { values.get_unchecked_mut(*at as usize) } = *value;
        }
    }

    /// A list of values, no more than a group, in a group; the others are zero.
    #[inline(always)]
    fn load(values: &[f32]) -> Group<f32> {
        let mut group = [0.0; WIDTH];
        group[..values.len()].copy_from_slice(values);
        group
    }

    /// In how many lanes `kept` is not zero.
    #[inline(always)]
    fn count(kept: &Group<u32>) -> usize {
        kept.iter().fold(0, |count, kept| count + u32::from(*kept != 0)) as usize
    }

    /// Lists the values of the lanes in which `kept` is not zero, from the beginning of `list` on; all of it may be overwritten.
    #[inline(always)]
    fn keep(values: &Group<u32>, kept: &Group<u32>, list: &mut Group<u32>) {
        let mut end = 0;
        for (value, kept) in values.iter().zip(kept) {
            list[end % WIDTH] = *value;
            end += usize::from(*kept != 0);
        }
    }

    /// Lists `first + lane` of the lanes with `key`, in `list` from `at` on, where there is room for [`LANES`]; all of these may be overwritten. Gives the end.
    #[inline(always)]
    fn list(keys: &[u8; LANES], key: u8, first: u32, list: &mut [u32], at: usize) -> usize {
        let mut end = at;
        for (lane, own) in keys.iter().enumerate() {
            if *own == key {
                list[end] = first + lane as u32;
                end += 1;
            }
        }
        end
    }
}

#[inline(always)]
fn one_by_one<const N: usize>(tables: &[[f32; TABLE]; N], places: &Group<u32>) -> [Group<f32>; N] {
    let mut found = [[0.0; WIDTH]; N];
    for (found, table) in found.iter_mut().zip(tables) {
        for (found, place) in found.iter_mut().zip(places) {
            *found = table[*place as usize % TABLE];
        }
    }
    found
}

/// Nothing but what the compiler finds.
pub(crate) struct Plain;

impl Set for Plain {}

/// Only kernels compiled for AVX2 take this set.
#[cfg(target_arch = "x86_64")]
struct Avx2;

#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
impl Set for Avx2 {
    #[inline(always)]
    fn look_up<const N: usize>(tables: &[[f32; TABLE]; N], places: &Group<u32>, often: u32) -> [Group<f32>; N] {
        // SAFETY: compiled for AVX2.
        unsafe { look_up_eight(tables, places, often) }.unwrap_or_else(|| one_by_one(tables, places))
    }
}

/// Only kernels compiled for AVX-512 take this set.
#[cfg(target_arch = "x86_64")]
struct Avx512;

#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
impl Set for Avx512 {
    const MANY: bool = true;

    #[inline(always)]
    fn look_up<const N: usize>(tables: &[[f32; TABLE]; N], places: &Group<u32>, _often: u32) -> [Group<f32>; N] {
        // SAFETY: compiled for AVX-512.
        unsafe { look_up_all(tables, places) }
    }

    #[inline(always)]
    unsafe fn gather<T: Copy + Default>(values: &[T], at: &Group<u32>) -> Group<T> {
        // SAFETY: as above, and said to be so.
        unsafe { gather_wide(values, at) }
    }

    #[inline(always)]
    unsafe fn gather_pairs<T: Copy + Default>(pairs: &[[T; 2]], at: &Group<u32>) -> [Group<T>; 2] {
        // SAFETY: as above.
        unsafe { gather_pairs_wide(pairs, at) }
    }

    #[inline(always)]
    unsafe fn scatter<T: Copy>(group: &Group<T>, lanes: usize, at: &Group<u32>, values: &mut [T]) {
        // SAFETY: as above.
        unsafe { scatter_wide(group, lanes, at, values) }
    }

    #[inline(always)]
    fn load(values: &[f32]) -> Group<f32> {
        // SAFETY: as above.
        unsafe { load_wide(values) }
    }

    #[inline(always)]
    fn count(kept: &Group<u32>) -> usize {
        // SAFETY: as above.
        unsafe { count_wide(kept) }
    }

    #[inline(always)]
    fn keep(values: &Group<u32>, kept: &Group<u32>, list: &mut Group<u32>) {
        // SAFETY: as above.
        unsafe { keep_wide(values, kept, list) }
    }

    #[inline(always)]
    fn list(keys: &[u8; LANES], key: u8, first: u32, list: &mut [u32], at: usize) -> usize {
        // SAFETY: as above.
        at + unsafe { list_wide(keys, key, first, &mut list[at..at + LANES]) }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
fn avx2<K: Kernel>(kernel: K) {
    kernel.run::<Avx2>()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt,avx512f,avx512bw,avx512dq,avx512vl,avx512vpopcntdq")]
fn avx512<K: Kernel>(kernel: K) {
    kernel.run::<Avx512>()
}

/// A function of its own here, too: work that is asked for in several places is there once.
#[inline(never)]
fn portable<K: Kernel>(kernel: K) {
    kernel.run::<Plain>()
}

impl Isa {
    /// Runs `kernel` with this instruction set.
    #[inline]
    #[allow(unsafe_code)]
    pub(crate) fn run<K: Kernel>(self, kernel: K) {
        match self {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: an `Isa` other than `Portable` only comes out of `available`, which asked the processor.
            Isa::Avx2 => unsafe { avx2(kernel) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            Isa::Avx512 => unsafe { avx512(kernel) },
            _ => portable(kernel),
        }
    }
}

/// [`Set::keep`], in `list` from `at` on, where there is room for a group.
#[inline(always)]
pub(crate) fn keep_at<S: Set>(values: &Group<u32>, kept: &Group<u32>, list: &mut [u32], at: usize) {
    if let Some(list) = list[at..].first_chunk_mut() {
        S::keep(values, kept, list);
    }
}

/// Where the values of a group lie in arrays.
pub(crate) struct Spots<'a> {
    at: &'a Group<u32>,
    /// Lanes that count.
    lanes: usize,
}

#[allow(unsafe_code)]
impl<'a> Spots<'a> {
    /// The first `lanes` count; gathering takes all.
    #[inline(always)]
    pub(crate) fn new(at: &'a Group<u32>, lanes: usize) -> Self {
        Self { at, lanes: lanes.min(WIDTH) }
    }

    /// Checks that all of them are within an array of so many values.
    #[inline(always)]
    fn check<S: Set>(&self, len: usize) {
        let end = len.min(1 << 31) as u32;
        assert!(S::count(&self.at.map(|at| u32::from(at >= end))) == 0);
    }

    /// The values there, of four bytes each.
    #[inline(always)]
    pub(crate) fn gather<S: Set, T: Copy + Default>(&self, values: &[T]) -> Group<T> {
        const { assert!(size_of::<T>() == 4) };
        self.check::<S>(values.len());
        // SAFETY: checked; only numbers are gathered.
        unsafe { S::gather(values, self.at) }
    }

    /// The pairs there, of numbers of four bytes.
    #[inline(always)]
    pub(crate) fn gather_pairs<S: Set, T: Copy + Default>(&self, pairs: &[[T; 2]]) -> [Group<T>; 2] {
        const { assert!(size_of::<T>() == 4) };
        self.check::<S>(pairs.len());
        // SAFETY: checked.
        unsafe { S::gather_pairs(pairs, self.at) }
    }

    /// Puts the values that count there.
    #[inline(always)]
    pub(crate) fn scatter<S: Set, T: Copy>(&self, group: &Group<T>, values: &mut [T]) {
        const { assert!(size_of::<T>() == 4) };
        self.check::<S>(values.len());
        // SAFETY: checked.
        unsafe { S::scatter(group, self.lanes, self.at, values) }
    }
}

#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn gather_wide<T: Copy + Default>(values: &[T], at: &Group<u32>) -> Group<T> {
    use std::arch::x86_64::*;
    let mut group = [T::default(); WIDTH];
    // SAFETY: places and values are a register long, and what lies there is said to be within `values`.
    unsafe {
        let found = _mm512_i32gather_epi32::<4>(_mm512_loadu_si512(at.as_ptr().cast()), values.as_ptr().cast());
        _mm512_storeu_si512(group.as_mut_ptr().cast(), found);
    }
    group
}

#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn gather_pairs_wide<T: Copy + Default>(pairs: &[[T; 2]], at: &Group<u32>) -> [Group<T>; 2] {
    use std::arch::x86_64::*;
    const HALF: usize = WIDTH / 2;
    let mut groups = [[T::default(); WIDTH]; 2];
    // SAFETY: places are a register long, of which each half asks for a register of pairs; what lies there is said to be within `pairs`.
    unsafe {
        let half = |first: usize| {
            let at = _mm256_loadu_si256(at.as_ptr().add(first).cast());
            _mm512_i32gather_epi64::<8>(at, pairs.as_ptr().cast())
        };
        let (low, high) = (half(0), half(HALF));
        let firsts = _mm512_set_epi32(30, 28, 26, 24, 22, 20, 18, 16, 14, 12, 10, 8, 6, 4, 2, 0);
        for (group, which) in groups.iter_mut().zip([firsts, _mm512_add_epi32(firsts, _mm512_set1_epi32(1))]) {
            _mm512_storeu_si512(group.as_mut_ptr().cast(), _mm512_permutex2var_epi32(low, which, high));
        }
    }
    groups
}

#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn scatter_wide<T: Copy>(group: &Group<T>, lanes: usize, at: &Group<u32>, values: &mut [T]) {
    use std::arch::x86_64::*;
    let first = ((1u32 << lanes) - 1) as u16;
    // SAFETY: places and values are a register long, and where the first ones go is said to be within `values`.
    unsafe {
        let (at, group) = (_mm512_loadu_si512(at.as_ptr().cast()), _mm512_loadu_si512(group.as_ptr().cast()));
        _mm512_mask_i32scatter_epi32::<4>(values.as_mut_ptr().cast(), first, at, group);
    }
}

#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
#[inline]
#[target_feature(enable = "avx512f")]
fn look_up_all<const N: usize>(tables: &[[f32; TABLE]; N], places: &Group<u32>) -> [Group<f32>; N] {
    use std::arch::x86_64::*;
    let mut found = [[0.0; WIDTH]; N];
    for (found, table) in found.iter_mut().zip(tables) {
        // SAFETY: the table is two registers long, places and values one.
        unsafe {
            let (low, high) = (_mm512_loadu_ps(table.as_ptr()), _mm512_loadu_ps(table.as_ptr().add(WIDTH)));
            let values = _mm512_permutex2var_ps(low, _mm512_loadu_si512(places.as_ptr().cast()), high);
            _mm512_storeu_ps(found.as_mut_ptr(), values);
        }
    }
    found
}

/// Only where all places are among the eight.
#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
#[inline]
#[target_feature(enable = "avx2")]
fn look_up_eight<const N: usize>(tables: &[[f32; TABLE]; N], places: &Group<u32>, often: u32) -> Option<[Group<f32>; N]> {
    use std::arch::x86_64::*;
    const HALF: usize = WIDTH / 2;
    let first = _mm256_set1_epi32(often as i32);
    // SAFETY: the places are two registers long.
    let halves = unsafe { [_mm256_loadu_si256(places.as_ptr().cast()), _mm256_loadu_si256(places.as_ptr().add(HALF).cast())] };
    let halves = halves.map(|places| _mm256_sub_epi32(places, first));
    if _mm256_testz_si256(_mm256_or_si256(halves[0], halves[1]), _mm256_set1_epi32(!7)) == 0 {
        return None;
    }
    let mut found = [[0.0; WIDTH]; N];
    for (found, table) in found.iter_mut().zip(tables) {
        let table = &table[often as usize % TABLE..][..HALF];
        // SAFETY: half of a group is a register long.
        unsafe {
            let table = _mm256_loadu_ps(table.as_ptr());
            _mm256_storeu_ps(found.as_mut_ptr(), _mm256_permutevar8x32_ps(table, halves[0]));
            _mm256_storeu_ps(found.as_mut_ptr().add(HALF), _mm256_permutevar8x32_ps(table, halves[1]));
        }
    }
    Some(found)
}

#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
#[inline]
#[target_feature(enable = "avx512f")]
fn load_wide(values: &[f32]) -> Group<f32> {
    use std::arch::x86_64::*;
    assert!(values.len() <= WIDTH);
    let (mut group, lanes) = ([0.0; WIDTH], ((1u32 << values.len()) - 1) as u16);
    // SAFETY: only the lanes that there are values for are read, and a group is a register long.
    unsafe { _mm512_storeu_ps(group.as_mut_ptr(), _mm512_maskz_loadu_ps(lanes, values.as_ptr())) };
    group
}

#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
#[inline]
#[target_feature(enable = "popcnt,avx512f")]
fn count_wide(kept: &Group<u32>) -> usize {
    use std::arch::x86_64::*;
    // SAFETY: a group is a register long.
    let kept = unsafe { _mm512_loadu_si512(kept.as_ptr().cast()) };
    _mm512_test_epi32_mask(kept, kept).count_ones() as usize
}

#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
#[inline]
#[target_feature(enable = "avx512f")]
fn keep_wide(values: &Group<u32>, kept: &Group<u32>, list: &mut Group<u32>) {
    use std::arch::x86_64::*;
    // SAFETY: all three are a register long.
    unsafe {
        let (values, kept) = (_mm512_loadu_si512(values.as_ptr().cast()), _mm512_loadu_si512(kept.as_ptr().cast()));
        let values = _mm512_maskz_compress_epi32(_mm512_test_epi32_mask(kept, kept), values);
        _mm512_storeu_si512(list.as_mut_ptr().cast(), values);
    }
}

#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
#[inline]
#[target_feature(enable = "popcnt,avx512f,avx512bw,avx512vl")]
fn list_wide(keys: &[u8; LANES], key: u8, first: u32, list: &mut [u32]) -> usize {
    use std::arch::x86_64::*;
    // SAFETY: 32 keys are 32 bytes.
    let keys = unsafe { _mm256_loadu_si256(keys.as_ptr().cast()) };
    let own = _mm256_cmpeq_epi8_mask(keys, _mm256_set1_epi8(key as i8));
    let (low, high) = (own as u16, (own >> WIDTH) as u16);
    let lanes = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    let first = _mm512_add_epi32(lanes, _mm512_set1_epi32(first as i32));
    let second = _mm512_add_epi32(first, _mm512_set1_epi32(WIDTH as i32));
    let begin = low.count_ones() as usize;
    assert!(list.len() >= LANES);
    // SAFETY: the list has room for all lanes, and `begin` is at most half of them.
    unsafe {
        _mm512_storeu_si512(list.as_mut_ptr().cast(), _mm512_maskz_compress_epi32(low, first));
        _mm512_storeu_si512(list.as_mut_ptr().add(begin).cast(), _mm512_maskz_compress_epi32(high, second));
    }
    begin + high.count_ones() as usize
}

/// `a` where the mask is all ones, `b` where it is zero.
#[inline(always)]
pub(crate) fn select(mask: u32, a: f32, b: f32) -> f32 {
    if (mask as i32) < 0 { a } else { b }
}

/// `v`, where overflow ends at the largest number: infinity times zero would be no number at all.
#[inline(always)]
pub(crate) fn finite(v: f32) -> f32 {
    clip(v, f32::MIN, f32::MAX)
}

/// The whole part of `v` within `[0, high]`, `high` less than 2^31.
#[inline(always)]
#[allow(unsafe_code)]
pub(crate) fn whole(v: f32, high: f32) -> u32 {
    assert!(high < 2_147_483_648.0);
    // SAFETY: clipped to a range of whole numbers that fit; NaN ends in it, too.
    (unsafe { clip(v, 0.0, high).to_int_unchecked::<i32>() }) as u32
}

/// `v` within `[low, high]`, by comparison, so that NaN (an overflow times zero) ends at a bound, the same one everywhere.
#[inline(always)]
pub(crate) fn clip(v: f32, low: f32, high: f32) -> f32 {
    let v = if v < high { v } else { high };
    if v > low { v } else { low }
}
