//! `cargo bench -p ohmgrad-benches`, less than four minutes. Elements are cells times samples unless said; updates start from the same weights each time.

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, SamplingMode, Throughput, criterion_group, criterion_main};
use ohmgrad_benches::{
    Algorithm, LR, Settings, Work, agad, buffered, device, fast_to_slow, kit, map, numbers, sgd, spreads, text, tiki_taka,
};
use ohmgrad_core::devices::AnyModel;
use ohmgrad_core::error::Result;
use ohmgrad_core::fields::Value;
use ohmgrad_core::pool::Pool;
use ohmgrad_core::rng::Key;
use std::f64::consts::FRAC_PI_2;
use std::hint::black_box;
use std::time::{Duration, Instant};

type Group<'a> = BenchmarkGroup<'a, WallTime>;

/// The work, or an end with the reason.
fn made<T>(work: Result<T>) -> T {
    work.unwrap_or_else(|reason| panic!("{reason}"))
}

fn pools() -> Vec<Pool> {
    let cpus = std::thread::available_parallelism().map_or(1, |n| n.get());
    let mut threads = vec![cpus, 1];
    threads.dedup();
    threads.into_iter().map(|n| made(Pool::new(n))).collect()
}

/// Times `work` alone; before each of it the tile gets its weights again.
fn from_start(group: &mut Group, name: &str, elements: u64, tile: &mut Work, mut work: impl FnMut(&mut Work)) {
    group.throughput(Throughput::Elements(elements)).sampling_mode(SamplingMode::Flat);
    group.bench_function(name, |bencher| {
        bencher.iter_custom(|times| {
            let mut spent = Duration::ZERO;
            for _ in 0..times {
                made(tile.tile.set_weights(&tile.weights));
                let start = Instant::now();
                work(tile);
                spent += start.elapsed();
            }
            spent
        });
    });
}

fn update_at(group: &mut Group, name: &str, pool: &Pool, lr: f64, work: &mut Work) {
    from_start(group, &format!("{name}/{}T", pool.threads()), work.visits(), work, |work| {
        made(work.tile.update(pool, &work.x, &work.d, lr));
    });
}

fn update(group: &mut Group, name: &str, pool: &Pool, work: &mut Work) {
    update_at(group, name, pool, LR, work);
}

fn updates(c: &mut Criterion) {
    let pools = pools();
    let mut group = c.benchmark_group("update L 512x512 b64");
    for model in AnyModel::NAMES {
        pools.iter().for_each(|pool| update(&mut group, model, pool, &mut made(Work::light(model, &[]))));
    }
    pools.iter().for_each(|pool| update(&mut group, "SoftBounds, all spreads", pool, &mut made(Work::light("SoftBounds", &spreads()))));
    let portable = Settings { isa: Some("portable"), ..Settings::default() };
    update(&mut group, "SoftBounds, portable instructions", &pools[pools.len() - 1], &mut made(Work::new(portable)));
    group.finish();

    let mut group = c.benchmark_group("update H 512x512 b64");
    pools.iter().for_each(|pool| update(&mut group, "SoftBounds", pool, &mut made(Work::heavy("SoftBounds"))));
    group.finish();

    let mut group = c.benchmark_group("update S 256x784 b10");
    for (name, d) in [("SoftBounds", 0.01), ("SoftBounds, a tenth of the errors", 0.001)] {
        pools.iter().for_each(|pool| update(&mut group, name, pool, &mut made(Work::sparse(d, sgd()))));
    }
}

/// Density L on squares, and rising numbers of pulses: both should cost the same for a cell, or a pulse, whatever their number.
fn scale(c: &mut Criterion) {
    let pools = pools();
    let mut group = c.benchmark_group("scale, cells b16");
    for n in [64, 256, 1024, 4096] {
        let mut work = made(Work::new(Settings { shape: [n, n, 16], ..Settings::default() }));
        pools.iter().for_each(|pool| update(&mut group, &format!("{n}x{n}"), pool, &mut work));
    }
    group.finish();

    let mut group = c.benchmark_group("scale, pulses per cell and sample 512x512 b64");
    let mut work = made(Work::new(Settings { sizes: [1.0, 1.0], ..Settings::default() }));
    for pulses in [0.01, 0.1, 0.4, 1.2] {
        update_at(&mut group, &format!("{pulses}"), &pools[pools.len() - 1], pulses * 0.001 * FRAC_PI_2, &mut work);
    }
}

/// A whole mini-batch of an algorithm, and its transfer alone (elements: cells read).
fn transfers(c: &mut Criterion) {
    let pools = pools();
    let mut group = c.benchmark_group("update with transfers 256x784 b10");
    let plans = [
        ("one column a batch", tiki_taka(1)),
        ("all columns a batch", tiki_taka(0)),
        ("TTv2, one a vector", buffered()),
        ("AGAD, one a vector", agad()),
    ];
    for (name, plan) in plans {
        pools.iter().for_each(|pool| update(&mut group, name, pool, &mut made(Work::sparse(0.001, plan.clone()))));
    }
    group.finish();

    let mut group = c.benchmark_group("transfer alone 256x784");
    let mut work = made(Work::sparse(0.01, tiki_taka(1)));
    made(work.tile.set_matrix("fast", &work.weights));
    for (name, lines) in [("one column", 1), ("all columns", 784)] {
        let lines: Vec<usize> = (0..lines).collect();
        for pool in &pools {
            from_start(&mut group, &format!("{name}/{}T", pool.threads()), 256 * lines.len() as u64, &mut work, |work| {
                made(work.tile.event(pool, fast_to_slow(1), &lines, LR));
            });
        }
    }
}

/// Forward, backward and update of single layers and of those of 784-256-128-10; elements are mini-batches of ten.
fn steps(c: &mut Criterion) {
    let pool = &pools()[0];
    let mut group = c.benchmark_group("step b10");
    let (sgd, tiki_taka) = (sgd(), tiki_taka(1));
    let network: &[[usize; 2]] = &[[256, 784], [128, 256], [10, 128]];
    type Step<'a> = (&'a str, &'a [[usize; 2]], Algorithm);
    let rows: [Step; 8] = [
        ("10x128", &[[10, 128]], sgd.clone()),
        ("10x128, Tiki-Taka", &[[10, 128]], tiki_taka.clone()),
        ("32x64", &[[32, 64]], sgd.clone()),
        ("32x64, Tiki-Taka", &[[32, 64]], tiki_taka.clone()),
        ("784-256-128-10", network, sgd),
        ("784-256-128-10, Tiki-Taka", network, tiki_taka),
        ("784-256-128-10, TTv2", network, buffered()),
        ("784-256-128-10, AGAD", network, agad()),
    ];
    for (name, layers, (plan, pulses)) in rows {
        let layer = |&[rows, columns]: &[usize; 2]| {
            let (plan, pulses) = (plan.clone(), pulses.clone());
            let settings = Settings { shape: [rows, columns, 10], sizes: [0.3, 0.001], plan, pulses, ..Settings::default() };
            let mut work = made(Work::new(settings));
            made(work.tile.set_weights(&work.weights));
            work
        };
        let mut layers: Vec<Work> = layers.iter().map(layer).collect();
        group.throughput(Throughput::Elements(1));
        group.bench_function(format!("{name}/{}T", pool.threads()), |bencher| {
            bencher.iter(|| {
                for work in &mut layers {
                    black_box(made(work.tile.forward(pool, &work.x, true, true)));
                    black_box(made(work.tile.backward(pool, &work.d)));
                    made(work.tile.update(pool, &work.x, &work.d, LR));
                }
            });
        });
    }
}

fn forward(group: &mut Group, name: &str, elements: u64, pool: &Pool, work: &mut Work) {
    made(work.tile.set_weights(&work.weights));
    group.throughput(Throughput::Elements(elements));
    group.bench_function(format!("{name}/{}T", pool.threads()), |bencher| {
        bencher.iter(|| made(work.tile.forward(pool, black_box(&work.x), true, true)));
    });
}

fn products(c: &mut Criterion) {
    let pools = pools();
    let exact = || map(&[("is_perfect", Value::Bool(true))]);
    let mut group = c.benchmark_group("product 512x512 b64");
    for pool in &pools {
        let mut work = made(Work::light("SoftBounds", &[]));
        let visits = work.visits();
        forward(&mut group, "forward", visits, pool, &mut work);
        group.bench_function(format!("backward/{}T", pool.threads()), |bencher| {
            bencher.iter(|| made(work.tile.backward(pool, black_box(&work.d))));
        });
        let mut work = made(Work::new(Settings { io: exact(), ..Settings::default() }));
        forward(&mut group, "exact", visits, pool, &mut work);
    }
    group.finish();

    // Tiles of one line, so that the other side's chain is what there is; elements are signals.
    let mut group = c.benchmark_group("chain b64");
    let converters =
        || map(&[("inp_bound", Value::Real(1.0)), ("inp_res", Value::Real(1.0 / 126.0)), ("noise_management", text("abs_max"))]);
    let ends = [
        ("input: exact", [1, 4096], exact()),
        ("input: DAC", [1, 4096], converters()),
        ("output: exact", [4096, 1], exact()),
        ("output: ADC", [4096, 1], numbers(&[("out_bound", 12.0), ("out_res", 1.0 / 510.0)])),
        ("output: noise", [4096, 1], numbers(&[("out_noise", 0.06)])),
        ("output: all", [4096, 1], kit()),
    ];
    for (name, [rows, columns], io) in ends {
        let mut work = made(Work::new(Settings { shape: [rows, columns, 64], io, ..Settings::default() }));
        forward(&mut group, name, 4096 * 64, &pools[pools.len() - 1], &mut work);
    }
}

/// Sizes that fill no block: elements are cells times samples still.
fn awkward(c: &mut Criterion) {
    let pool = &pools()[0];
    let mut group = c.benchmark_group("awkward b8");
    for n in [1, 7, 17, 100, 513] {
        let mut work = made(Work::new(Settings { shape: [n, n, 8], ..Settings::default() }));
        let visits = work.visits();
        update(&mut group, &format!("update {n}x{n}"), pool, &mut work);
        forward(&mut group, &format!("forward {n}x{n}"), visits, pool, &mut work);
    }
}

/// What an update is made of, as far as parts can be had alone.
fn parts(c: &mut Criterion) {
    let pools = pools();
    let one = &pools[pools.len() - 1];
    let unmanaged = || map(&[("update_management", Value::Bool(false)), ("update_bl_management", Value::Bool(false))]);

    // Trains of 31 slots for one row whose own line is silent: no cell is visited. Elements are trains.
    let mut group = c.benchmark_group("trains");
    let mut work = made(Work::new(Settings { shape: [1, 4096, 64], sizes: [0.3, 0.0], pulses: unmanaged(), ..Settings::default() }));
    pools.iter().for_each(|pool| update(&mut group, "4096 lines b64", pool, &mut work));
    group.finish();

    // Lines that fire in three slots of a hundred: most of the time goes into finding out that nothing coincides, in 97 of 100 cells.
    let mut group = c.benchmark_group("coincidences 512x512 b64");
    let rare = device("ConstantStep", 0.001, &[("dw_min_std", Value::Real(0.0))]);
    let settings = || Settings { device: rare.clone(), pulses: unmanaged(), ..Settings::default() };
    let mut work = made(Work::new(Settings { sizes: [0.0, 0.0], ..settings() }));
    // sqrt(lr / (dw_min 31)) times this is 0.03.
    work.x.iter_mut().chain(&mut work.d).for_each(|line| *line = 0.0528);
    pools.iter().for_each(|pool| update(&mut group, "rare", pool, &mut work));
    update(&mut group, "0.19 a cell, steps without noise", one, &mut made(Work::new(settings())));
    group.finish();

    // Up and down in turn, three of each. Elements are pulses.
    let mut group = c.benchmark_group("pulses by hand 256x256");
    let counts: Vec<i32> = (0..256 * 256).map(|i| if i % 2 == 0 { 3 } else { -3 }).collect();
    for model in AnyModel::NAMES {
        let mut work = made(Work::new(Settings { shape: [256, 256, 1], device: device(model, 0.001, &[]), ..Settings::default() }));
        from_start(&mut group, model, 3 * counts.len() as u64, &mut work, |work| made(work.tile.pulse_cells("weight", &counts)));
    }
}

/// What random numbers cost.
fn random(c: &mut Criterion) {
    let mut group = c.benchmark_group("random");
    let n = 1 << 14;
    group.throughput(Throughput::Elements(n as u64));
    let mut words = vec![0u32; n];
    group.bench_function("words, one by one", |bencher| {
        bencher.iter(|| words.iter_mut().zip(0..).for_each(|(word, i)| *word = black_box(Key(5)).word(i, 0)));
    });
    let mut normals = vec![0f32; n];
    group.bench_function("normals, one by one", |bencher| {
        bencher.iter(|| normals.iter_mut().zip(0..).for_each(|(normal, i)| *normal = black_box(Key(5)).normal(i, 0)));
    });
    let walking = device("SoftBounds", 0.001, &[("diffusion", Value::Real(0.001))]);
    let mut work = made(Work::new(Settings { shape: [512, 512, 1], device: walking, ..Settings::default() }));
    let cells = work.visits();
    from_start(&mut group, "normals, diffusion 512x512", cells, &mut work, |work| made(work.tile.diffuse(None)));
}

criterion_group! {
    name = benches;
    config = Criterion::default().warm_up_time(Duration::from_millis(150)).measurement_time(Duration::from_millis(700)).sample_size(12).nresamples(2000);
    targets = updates, scale, transfers, steps, products, awkward, parts, random
}
criterion_main!(benches);
