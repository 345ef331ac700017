//! `cargo bench -p ohmgrad-benches`, about three minutes. Elements are cells times samples unless said; updates start from the same weights each time.

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, SamplingMode, Throughput, criterion_group, criterion_main};
use ohmgrad_benches::{LR, Work, device, map, sgd, spreads, tiki_taka};
use ohmgrad_core::devices::AnyModel;
use ohmgrad_core::error::Result;
use ohmgrad_core::fields::Value;
use ohmgrad_core::pool::Pool;
use ohmgrad_core::rng::Key;
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

fn update(group: &mut Group, name: &str, pool: &Pool, work: &mut Work) {
    group.throughput(Throughput::Elements(work.visits())).sampling_mode(SamplingMode::Flat);
    group.bench_function(format!("{name}/{}T", pool.threads()), |bencher| {
        bencher.iter_custom(|times| {
            let mut spent = Duration::ZERO;
            for _ in 0..times {
                made(work.tile.set_weights(&work.weights));
                let start = Instant::now();
                made(work.tile.update(pool, &work.x, &work.d, LR));
                spent += start.elapsed();
            }
            spent
        });
    });
}

fn updates(c: &mut Criterion) {
    let pools = pools();
    let mut group = c.benchmark_group("update L 512x512 b64");
    for model in AnyModel::NAMES {
        pools.iter().for_each(|pool| update(&mut group, model, pool, &mut made(Work::light(model, &[]))));
    }
    pools.iter().for_each(|pool| update(&mut group, "SoftBounds, all spreads", pool, &mut made(Work::light("SoftBounds", &spreads()))));
    group.finish();

    let mut group = c.benchmark_group("update H 512x512 b64");
    pools.iter().for_each(|pool| update(&mut group, "SoftBounds", pool, &mut made(Work::heavy("SoftBounds"))));
    group.finish();

    let mut group = c.benchmark_group("update S 256x784 b10");
    pools.iter().for_each(|pool| update(&mut group, "SoftBounds", pool, &mut made(Work::sparse("SoftBounds", sgd()))));
    group.finish();
}

fn transfers(c: &mut Criterion) {
    let mut group = c.benchmark_group("transfer 256x784 b10");
    for (name, reads) in [("one column", 1), ("all columns", 0)] {
        pools().iter().for_each(|pool| update(&mut group, name, pool, &mut made(Work::sparse("SoftBounds", tiki_taka(reads)))));
    }
}

fn products(c: &mut Criterion) {
    let mut group = c.benchmark_group("product 512x512 b64");
    let mut work = made(Work::light("SoftBounds", &[]));
    made(work.tile.set_weights(&work.weights));
    group.throughput(Throughput::Elements(work.visits()));
    for pool in &pools() {
        group.bench_function(format!("forward/{}T", pool.threads()), |bencher| {
            bencher.iter(|| made(work.tile.forward(pool, black_box(&work.x), true, true)));
        });
        group.bench_function(format!("backward/{}T", pool.threads()), |bencher| {
            bencher.iter(|| made(work.tile.backward(pool, black_box(&work.d))));
        });
    }
}

/// Sizes that fill no block: elements are cells times samples still.
fn awkward(c: &mut Criterion) {
    let pool = &pools()[0];
    let mut group = c.benchmark_group("awkward b8");
    for n in [1, 7, 17, 100, 513] {
        let mut work = made(Work::new([n, n, 8], [0.3, 0.1], device("SoftBounds", 0.001, &[]), sgd(), map(&[])));
        update(&mut group, &format!("update {n}x{n}"), pool, &mut work);
        group.bench_function(format!("forward {n}x{n}/{}T", pool.threads()), |bencher| {
            bencher.iter(|| made(work.tile.forward(pool, black_box(&work.x), true, true)));
        });
    }
}

/// What random numbers cost. Trains: elements are trains of 31 slots, drawn for one row whose own line is silent, so that no cell is visited.
fn random(c: &mut Criterion) {
    let mut group = c.benchmark_group("random");
    let unmanaged = map(&[("update_management", Value::Bool(false)), ("update_bl_management", Value::Bool(false))]);
    let mut work = made(Work::new([1, 4096, 64], [0.3, 0.0], device("SoftBounds", 0.001, &[]), sgd(), unmanaged));
    for pool in &pools() {
        update(&mut group, "trains 4096 lines b64", pool, &mut work);
    }
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
}

criterion_group! {
    name = benches;
    config = Criterion::default().warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_millis(1500)).sample_size(15).nresamples(2000);
    targets = updates, transfers, products, awkward, random
}
criterion_main!(benches);
