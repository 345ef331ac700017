"""Many runs at once: worker processes with one thread each."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from multiprocessing.synchronize import Event
from typing import TypeVar

from . import _core

J = TypeVar("J")
R = TypeVar("R")


def spread(work: Callable[[J], R], jobs: Sequence[J]) -> Generator[tuple[J, R], None, None]:
    """``(job, work(job))`` in the order in which they end, over one process per core of the affinity mask.

    A worker has one thread, which is faster than many threads on small layers; results do not depend on either. `work`
    is a function of a module. Ctrl-C, and leaving the iterator early, stop the workers as soon as what they run asks
    :func:`stopping`.
    """
    context = multiprocessing.get_context("spawn")
    stop = context.Event()
    workers = min(len(jobs), int(_core.info()["cpus"]))
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_start, initargs=(stop,)) as pool:
        try:
            with _ignoring_interrupts():
                futures: dict[Future[R], J] = {pool.submit(work, job): job for job in jobs}
            for future in as_completed(futures):
                yield futures[future], future.result()
        finally:
            stop.set()
            pool.shutdown(cancel_futures=True)


_stop: Event | None = None


def stopping() -> bool:
    """Whether this process is a worker that is to stop."""
    return _stop is not None and _stop.is_set()


class Stoppable:
    """A callback of :func:`ohmgrad.fit` that ends a run in a worker that is to stop."""

    def on_epoch_end(self, epoch: int, history: object, model: object) -> bool:
        """Whether to stop."""
        return stopping()


def _start(stop: Event) -> None:
    global _stop
    _stop = stop
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _core.set_threads(1)


def _end_with_parent() -> None:
    """Without this a worker whose parent was killed would wait for work forever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


@contextmanager
def _ignoring_interrupts() -> Iterator[None]:
    """Processes started in here inherit that Ctrl-C is not for them, from their first instruction on."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
