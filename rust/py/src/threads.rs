//! The process's pool and instruction set: made on first use, anew in a forked child.

use crate::convert::value_error;
use ohmgrad_core::pool::{Pool, SPLIT_THRESHOLD, Work};
use ohmgrad_core::rng::STREAM_VERSION;
use ohmgrad_core::simd::Isa;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use std::sync::{Arc, Mutex, PoisonError};

/// The pool with the id of the process that made it: threads do not survive a fork.
static POOL: Mutex<Option<(u32, Arc<Pool>)>> = Mutex::new(None);

/// The pool of this process.
pub fn pool() -> PyResult<Arc<Pool>> {
    let mut slot = POOL.lock().unwrap_or_else(PoisonError::into_inner);
    let process = std::process::id();
    match &*slot {
        Some((owner, pool)) if *owner == process => return Ok(pool.clone()),
        _ => {}
    }
    let threads = slot.as_ref().map_or_else(cpus, |(_, pool)| pool.threads());
    let pool = Arc::new(Pool::new(threads).map_err(value_error)?);
    // The parent's pool must not be dropped here: joining its threads would wait for ever.
    if let Some((_, old)) = slot.replace((process, pool.clone())) {
        std::mem::forget(old);
    }
    Ok(pool)
}

/// Processors that this process may use.
fn cpus() -> usize {
    std::thread::available_parallelism().map_or(1, |n| n.get())
}

/// The instruction set: the fastest there is, or the one that `OHMGRAD_ISA` names.
pub fn isa() -> PyResult<Isa> {
    let forced = std::env::var("OHMGRAD_ISA").ok();
    Isa::choose(forced.as_deref()).map_err(value_error)
}

/// Number of worker threads.
#[pyfunction]
pub fn threads() -> PyResult<usize> {
    Ok(pool()?.threads())
}

/// Sets the number of worker threads.
#[pyfunction]
pub fn set_threads(py: Python<'_>, n: usize) -> PyResult<()> {
    let pool = Arc::new(Pool::new(n).map_err(value_error)?);
    let old = POOL.lock().unwrap_or_else(PoisonError::into_inner).replace((std::process::id(), pool));
    py.detach(|| match old {
        Some((owner, pool)) if owner != std::process::id() => std::mem::forget(pool),
        other => drop(other),
    });
    Ok(())
}

/// Rows of crossbars that each worker has updated since the pool was made.
#[pyfunction]
pub fn rows_by_worker() -> PyResult<Vec<u64>> {
    Ok(pool()?.rows_by_worker())
}

/// What pulsed updates were made of since then.
#[pyfunction]
pub fn work(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
    let (Work { drawn, words, looks, cells, lanes, pulses }, work) = (pool()?.work(), PyDict::new(py));
    let parts = [("drawn", drawn), ("words", words), ("looks", looks), ("cells", cells), ("lanes", lanes), ("pulses", pulses)];
    parts.iter().try_for_each(|(name, n)| work.set_item(name, n))?;
    Ok(work)
}

/// Calls with less work than this (in nanoseconds, roughly) stay on the caller's thread; 0: all workers take part in all others.
#[pyfunction]
#[pyo3(signature = (work = SPLIT_THRESHOLD))]
pub fn set_split_threshold(work: usize) -> PyResult<()> {
    pool()?.set_split_threshold(work);
    Ok(())
}

/// How updates are divided: in chunks of so many rows (0: as is good), and with a cut after every vector. The results do not depend on it.
#[pyfunction]
#[pyo3(signature = (rows = 0, cut_everywhere = false))]
pub fn set_division(rows: usize, cut_everywhere: bool) -> PyResult<()> {
    let pool = pool()?;
    pool.set_share(rows);
    pool.set_cut_everywhere(cut_everywhere);
    Ok(())
}

/// Version, stream version, instruction set that executes, sets this processor has, threads, processors.
#[pyfunction]
pub fn info(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
    let info = PyDict::new(py);
    info.set_item("version", env!("CARGO_PKG_VERSION"))?;
    info.set_item("stream_version", STREAM_VERSION)?;
    info.set_item("isa", isa()?.name())?;
    info.set_item("isas", Isa::available().iter().map(|isa| isa.name()).collect::<Vec<_>>())?;
    info.set_item("threads", pool()?.threads())?;
    info.set_item("cpus", cpus())?;
    Ok(info)
}
