//! What an update is made of, counted exactly: a guard of the kernel's speed that no noise of a machine can break. A change of the kernel that needs
//! less is welcome, and writes its numbers here.

use ohmgrad_benches::{LR, Settings, Work, sgd};
use ohmgrad_core::error::Result;
use ohmgrad_core::pool::{self, Pool};

fn count(mut work: Work, threads: usize) -> Result<pool::Work> {
    let pool = Pool::new(threads)?;
    work.tile.set_weights(&work.weights)?;
    work.tile.update(&pool, &work.x, &work.d, LR)?;
    Ok(pool.work())
}

#[test]
fn updates_take_no_more_work_than_they_did() {
    let small = |isa| move || Work::new(Settings { shape: [10, 128, 10], isa, ..Settings::default() });
    let works: [(&str, &dyn Fn() -> Result<Work>, pool::Work); 5] = [
        ("light", &|| Work::light("SoftBounds", &[]), pool::Work { planes: 16769, words: 272572, lanes: 3664128, pulses: 3194954 }),
        ("heavy", &|| Work::heavy("SoftBounds"), pool::Work { planes: 23062, words: 624916, lanes: 65927296, pulses: 52025658 }),
        ("sparse", &|| Work::sparse(0.01, sgd()), pool::Work { planes: 1550, words: 16080, lanes: 35072, pulses: 16080 }),
        ("small", &small(None), pool::Work { planes: 351, words: 240, lanes: 5408, pulses: 2805 }),
        ("small, portable", &small(Some("portable")), pool::Work { planes: 351, words: 240, lanes: 5408, pulses: 2805 }),
    ];
    for (name, work, expected) in works {
        for threads in [1, 2] {
            assert_eq!(work().and_then(|work| count(work, threads)).unwrap(), expected, "{name}, {threads} threads");
        }
    }
}
