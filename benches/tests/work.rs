//! What an update is made of, counted exactly: a guard of the kernel's speed that no noise of a machine can break. A change of the kernel that needs
//! less is welcome, and writes its numbers here.

use allocation_counter::measure;
use ohmgrad_benches::{Algorithm, LR, Settings, Work, agad, buffered, sgd, tiki_taka};
use ohmgrad_core::error::Result;
use ohmgrad_core::pool::{self, Pool};

/// The work of a tile's first update, and how often its first thread asks for memory.
fn count(mut work: Work, threads: usize) -> Result<(pool::Work, u64)> {
    let pool = Pool::new(threads)?;
    work.tile.set_weights(&work.weights)?;
    let mut done = Ok(());
    let allocations = measure(|| done = work.tile.update(&pool, &work.x, &work.d, LR)).count_total;
    done?;
    Ok((pool.work(), allocations))
}

#[test]
fn updates_take_no_more_work_than_they_did() {
    let small = |isa| move || Work::new(Settings { shape: [10, 128, 10], isa, ..Settings::default() });
    let sparse = |algorithm: fn() -> Algorithm| move || Work::sparse(0.01, algorithm());
    let work = |drawn, words, looks, cells, lanes, pulses| pool::Work { drawn, words, looks, cells, lanes, pulses };
    #[allow(clippy::type_complexity)]
    let works: [(&str, &dyn Fn() -> Result<Work>, (pool::Work, u64)); 8] = [
        ("light", &|| Work::light("SoftBounds", &[]), (work(346284, 279057, 0, 262140, 3391424, 3189615), 31)),
        ("heavy", &|| Work::heavy("SoftBounds"), (work(539160, 623994, 0, 4178331, 55430800, 51514034), 29)),
        ("sparse", &sparse(sgd), (work(31634, 0, 75808, 16151, 26304, 16745), 36)),
        ("sparse, Tiki-Taka", &sparse(|| tiki_taka(1)), (work(32794, 0, 76064, 16259, 26560, 16881), 60)),
        ("sparse, with a buffer", &sparse(buffered), (work(68545, 59088, 2560, 163843, 940912, 826317), 251)),
        ("sparse, AGAD", &sparse(agad), (work(31632, 0, 98496, 27029, 50864, 28822), 108)),
        ("small", &small(None), (work(6238, 212, 0, 1052, 2672, 2236), 31)),
        ("small, portable", &small(Some("portable")), (work(6238, 212, 0, 1052, 2672, 2236), 31)),
    ];
    for (name, work, (expected, allocations)) in works {
        for threads in [1, 2] {
            let (done, asked) = work().and_then(|work| count(work, threads)).unwrap();
            assert_eq!(done, expected, "{name}, {threads} threads");
            // With more threads, some memory is theirs.
            if threads == 1 {
                assert_eq!(asked, allocations, "{name}");
            }
        }
    }
}
