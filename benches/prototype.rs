//! The throw-away bench that settled generator, normal, polynomials and block shape before the kernel was written; figures in PROTOTYPE.md.
//!
//! `rustc --edition 2024 -C opt-level=3 -C codegen-units=1 benches/prototype.rs -o target/prototype && target/prototype`

use std::hint::black_box;
use std::time::Instant;

const A: u32 = 0x9E37_79B9;
const B: u32 = 0x85EB_CA6B;

#[inline(always)]
fn hash2(lo: u32, hi: u32, s: u32) -> u32 {
    let mut h = (s ^ lo).wrapping_mul(0x21F0_AAAD);
    h ^= h >> 15;
    h = (h ^ hi).wrapping_mul(0x735A_2D97);
    h ^ (h >> 16)
}

#[inline(always)]
fn hash3(lo: u32, hi: u32, s: u32) -> u32 {
    let mut h = s ^ lo;
    h = (h ^ (h >> 16)).wrapping_mul(0x21F0_AAAD);
    h ^= h >> 15;
    h = (h ^ hi).wrapping_mul(0xD35A_2D97);
    h ^= h >> 15;
    h = h.wrapping_mul(0x2C1B_3C6D);
    h ^ (h >> 16)
}

#[inline(always)]
fn select(mask: u32, a: f32, b: f32) -> f32 {
    f32::from_bits((mask & a.to_bits()) | (!mask & b.to_bits()))
}

/// 32 - log2 of an integer valued float, to 2e-6.
#[inline(always)]
fn log(v: f32) -> f32 {
    let bits = v.to_bits();
    let e = (bits >> 23) as i32 as f32;
    let m = f32::from_bits((bits & 0x7F_FFFF) | 0x3F80_0000) - 1.0;
    let m2 = m * m;
    let p = (1.442_553_1 + m * -0.718_280_2) + m2 * (0.458_262_76 + m * -0.279_521_2) + (m2 * m2) * (0.123_435_47 + m * -0.026_451_875);
    (159.0 - e) - m * p
}

/// One word to one normal: a polynomial of degree 8 in sqrt(-log2 p), error 5e-5.
#[inline(always)]
fn inverse(u: u32) -> f32 {
    let y = log(((u & 0x7FFF_FFFF) | 1) as i32 as f32).sqrt();
    let y2 = y * y;
    let y4 = y2 * y2;
    let p = ((-2.328_504 + y * 3.332_831_8) + y2 * (-1.589_308_9 + y * 0.804_618))
        + y4 * ((-0.272_027_05 + y * 0.060_133_744) + y2 * (-0.008_320_755 + y * 6.526_761e-4) + y4 * -2.211_795_4e-5);
    f32::from_bits(p.to_bits() ^ (u & 0x8000_0000))
}

/// Two words to two normals (Box and Muller).
#[inline(always)]
fn pair(a: u32, b: u32) -> (f32, f32) {
    let r = ((log(((a & 0x7FFF_FFFF) | 1) as i32 as f32) - 1.0).max(0.0) * 1.386_294_4).sqrt();
    let t = ((b & 0x3FFF_FFFF) as i32 as f32 - 536_870_912.0) * (0.785_398_2 / 536_870_912.0);
    let t2 = t * t;
    let s = t * ((1.0 + t2 * -0.166_666_54) + (t2 * t2) * (0.008_332_161 + t2 * -1.951_53e-4));
    let c = (1.0 + t2 * -0.5) + (t2 * t2) * ((0.041_666_646 + t2 * -0.001_388_731_6) + (t2 * t2) * 2.443_315_7e-5);
    let swap = (((b << 1) as i32) >> 31) as u32;
    let even = (r * select(swap, c, s)).to_bits() ^ (b & 0x8000_0000);
    (f32::from_bits(even), f32::from_bits((r * select(swap, s, c)).to_bits() ^ (a & 0x8000_0000)))
}

trait Kernel {
    fn run(&mut self);
}

#[target_feature(enable = "avx2,bmi1,bmi2,popcnt,lzcnt")]
fn avx2<K: Kernel>(k: &mut K) {
    k.run()
}

#[target_feature(enable = "avx2,bmi1,bmi2,popcnt,lzcnt,avx512f,avx512bw,avx512dq,avx512vl,avx512vpopcntdq")]
fn avx512<K: Kernel>(k: &mut K) {
    k.run()
}

const ISAS: [&str; 3] = ["portable", "avx2", "avx512"];

fn has(isa: &str) -> bool {
    match isa {
        "avx2" => is_x86_feature_detected!("avx2"),
        "avx512" => is_x86_feature_detected!("avx512vpopcntdq"),
        _ => true,
    }
}

fn run<K: Kernel>(isa: &str, k: &mut K) {
    // SAFETY: `has` was asked first.
    match isa {
        "avx2" => unsafe { avx2(k) },
        "avx512" => unsafe { avx512(k) },
        _ => k.run(),
    }
}

fn median(mut f: impl FnMut()) -> f64 {
    f();
    let mut times: Vec<f64> = (0..15)
        .map(|_| {
            let start = Instant::now();
            f();
            start.elapsed().as_secs_f64()
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times[7]
}

struct Fill<const WHAT: u8>(Vec<f32>, u32);

impl<const WHAT: u8> Kernel for Fill<WHAT> {
    #[inline(always)]
    fn run(&mut self) {
        let (lo, hi) = (self.1, 777);
        for (block, out) in self.0.chunks_exact_mut(64).enumerate() {
            // Plain loops: a closure would not be compiled for the instruction set.
            match WHAT {
                0 => {
                    for l in 0..64 {
                        out[l] = f32::from_bits(hash2(lo, hi, ((block * 64 + l) as u32).wrapping_mul(A)) >> 2);
                    }
                }
                1 => {
                    for l in 0..64 {
                        out[l] = f32::from_bits(hash3(lo, hi, ((block * 64 + l) as u32).wrapping_mul(A)) >> 2);
                    }
                }
                2 => {
                    for l in 0..64 {
                        out[l] = inverse(hash3(lo, hi, ((block * 64 + l) as u32).wrapping_mul(A)));
                    }
                }
                _ => {
                    let (first, second) = out.split_at_mut(32);
                    for l in 0..32 {
                        let s = ((block * 64 + l) as u32).wrapping_mul(A);
                        (first[l], second[l]) = pair(hash3(lo, hi, s), hash3(lo, hi, s.wrapping_add(B)));
                    }
                }
            }
        }
    }
}

fn fill<const WHAT: u8>(name: &str) {
    let figures = ISAS.iter().filter(|isa| has(isa)).map(|isa| {
        let mut work = Fill::<WHAT>(vec![0.0; 1 << 14], 5);
        let t = median(|| {
            for i in 0..64 {
                work.1 = work.1.wrapping_add(i);
                run(isa, &mut work);
                black_box(&work.0);
            }
        });
        format!("{isa} {:.2}", t * 1e9 / 64.0 / 16384.0)
    });
    println!("{name:34} {}", figures.collect::<Vec<_>>().join("  "));
}

/// The queue kernel of soft bounds: `L` lanes, `PAIR`: pops two pulses with a pair of normals, otherwise one with one.
struct Queue<const L: usize, const PAIR: bool> {
    w: Vec<f32>,
    x: Vec<u32>,
    d: Vec<u32>,
    rows: usize,
    columns: usize,
    vectors: usize,
}

struct Lanes<const L: usize> {
    w: [f32; L],
    queue: [u32; L],
    free: [u32; L],
    counter: [u32; L],
}

#[inline(always)]
fn step(w: f32, queue: u32, free: u32, z: f32) -> f32 {
    let (up, idle) = (0u32.wrapping_sub(queue & 1), 0u32.wrapping_sub(free & 1));
    let q = 1.0 - w * select(up, 1.0, -1.0);
    let v = w + select(up, 0.001, -0.001) * (q + (0.3 * z) * q);
    select(idle, w, v.clamp(-1.0, 1.0))
}

impl<const L: usize> Lanes<L> {
    #[inline(always)]
    fn pop<const PAIR: bool>(&mut self, lo: u32, hi: u32) {
        for l in 0..L {
            let (c, queue, free) = (self.counter[l], self.queue[l], self.free[l]);
            if PAIR {
                let (z0, z1) = pair(hash3(lo, hi, c), hash3(lo, hi, c.wrapping_add(B)));
                self.w[l] = step(step(self.w[l], queue, free, z0), queue >> 1, free >> 1, z1);
                self.queue[l] = queue >> 2;
                self.free[l] = ((free as i32) >> 2) as u32;
                self.counter[l] = c.wrapping_add((2 - (free & 1) - ((free >> 1) & 1)).wrapping_mul(B));
            } else {
                self.w[l] = step(self.w[l], queue, free, inverse(hash3(lo, hi, c)));
                self.queue[l] = queue >> 1;
                self.free[l] = ((free as i32) >> 1) as u32;
                self.counter[l] = c.wrapping_add(((free & 1) ^ 1).wrapping_mul(B));
            }
        }
    }
}

impl<const L: usize, const PAIR: bool> Kernel for Queue<L, PAIR> {
    #[inline(always)]
    fn run(&mut self) {
        const BITS: u32 = 0x7FFF_FFFF;
        let mut list: Vec<(usize, u32)> = Vec::new();
        let mut s = Lanes::<L> { w: [0.0; L], queue: [0; L], free: [0; L], counter: [0; L] };
        for row in 0..self.rows {
            list.clear();
            list.extend((0..self.vectors).map(|e| (e, self.d[row * self.vectors + e])).filter(|(_, d)| d & BITS != 0));
            let (lo, hi) = (row as u32 ^ 0x1234_5678, 0x9ABC_DEF0);
            for block in 0..self.columns / L {
                let w = &mut self.w[row * self.columns + block * L..][..L];
                s.w.copy_from_slice(w);
                (s.queue, s.free) = ([0; L], [u32::MAX; L]);
                for l in 0..L {
                    s.counter[l] = ((block * L + l) as u32).wrapping_mul(A);
                }
                for &(entry, d) in &list {
                    let x: &[u32; L] = self.x[(block * self.vectors + entry) * L..][..L].try_into().unwrap();
                    if x.iter().fold(0, |any, x| any | (x & d & BITS)) == 0 {
                        continue;
                    }
                    let mut free = [0u32; L];
                    loop {
                        let mut fits = u32::MAX;
                        for l in 0..L {
                            free[l] = s.free[l] << ((x[l] & d & BITS).count_ones() & 31);
                            fits &= free[l];
                        }
                        if fits >> 31 == 1 {
                            break;
                        }
                        s.pop::<PAIR>(lo, hi);
                    }
                    for l in 0..L {
                        let up = (((x[l] ^ d) as i32) >> 31) as u32;
                        s.queue[l] |= up & (s.free[l] ^ free[l]);
                        s.free[l] = free[l];
                    }
                }
                while s.free.iter().fold(u32::MAX, |all, f| all & f) & 1 == 0 {
                    s.pop::<PAIR>(lo, hi);
                }
                w.copy_from_slice(&s.w);
            }
        }
    }
}

fn queue<const L: usize, const PAIR: bool>() {
    // Probability of a slot per line so that 31 slots give 0.19, 3.1 and 0.05 coincidences.
    for (name, p, rows, columns, vectors) in [("L", 0.0775, 512, 512, 64), ("H", 0.319, 512, 512, 64), ("S", 0.04, 256, 768, 10)] {
        let figures = ISAS.iter().filter(|isa| has(isa)).map(|isa| {
            let mut counter = 0u32;
            let mut uniform = || {
                counter += 1;
                hash3(1, 2, counter) as f64 / 4_294_967_296.0
            };
            let mut word = || (0..31).fold(((uniform() < 0.5) as u32) << 31, |w, slot| w | (((uniform() < p) as u32) << slot));
            let x = (0..columns * vectors).map(|_| word()).collect();
            let d = (0..rows * vectors).map(|_| word()).collect();
            let mut work = Queue::<L, PAIR> { w: vec![0.1; rows * columns], x, d, rows, columns, vectors };
            let t = median(|| run(isa, &mut work));
            format!("{isa} {:.2}", t * 1e9 / (rows * columns * vectors) as f64)
        });
        println!(
            "{L:3} lanes, {} {name}: {}",
            if PAIR { "two pulses a round " } else { "one pulse a round  " },
            figures.collect::<Vec<_>>().join("  ")
        );
    }
}

fn main() {
    println!("ns per value");
    fill::<0>("hash, 2 multiplies");
    fill::<1>("hash, 3 multiplies");
    fill::<2>("3 multiplies + inverse distribution");
    fill::<3>("3 multiplies + Box-Muller pairs");
    println!("ns per cell and sample, one thread");
    queue::<16, false>();
    queue::<32, false>();
    queue::<64, false>();
    queue::<16, true>();
    queue::<32, true>();
    queue::<64, true>();
}
