"""The demo: four training algorithms on one non-ideal device, each at its own best learning rate.

A 64-32-10 network learns the bundled handwritten digits, on every learning rate and several seeds of device, noise,
initial weights and order of the data. The learning rate of an algorithm is chosen by validation accuracy; what is
reported is the test accuracy there. Nothing is asserted: the table shows what came out.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
import warnings
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cache
from multiprocessing.synchronize import Event
from statistics import fmean, stdev
from typing import Any

from . import _core, data
from .algorithms import Algorithm, AnalogSGD, ResidualLearning, TikiTaka
from .devices import Device, SoftBoundsReference
from .io import IO
from .nn import NLL, Linear, LogSoftmax, Sequential, Tanh
from .train import History, fit

ALGORITHMS: dict[str, Algorithm | None] = {
    "digital": None,
    "analog": AnalogSGD(),
    "tiki-taka": TikiTaka(fast_lr=0.01, gamma=0.0),
    "residual": ResidualLearning(fast_lr=0.01, gamma=0.4),
}
"""What can be compared; `digital` is plain SGD with exact products."""

DEVICE = SoftBoundsReference(
    w_max=0.6,
    w_min=-0.6,
    dw_min=0.005,
    dw_min_std=0.3,
    dw_min_dtod=0.3,
    w_max_dtod=0.3,
    w_min_dtod=0.3,
    up_down_dtod=0.01,
)
"""The demo's device: 240 states, and a spread of 30 % in steps and bounds."""

RATES = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2)
NEAR = 0.02  # a rate is as good as the best one if its validation accuracy lies within two points


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """What to run: all combinations of `algorithms` (keys of ALGORITHMS), learning `rates` and seeds 0..`seeds`-1."""

    device: Device = DEVICE
    algorithms: tuple[str, ...] = tuple(ALGORITHMS)
    rates: tuple[float, ...] = RATES
    seeds: int = 5
    epochs: int = 15


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """One training run: accuracies after every epoch, and the seconds it took."""

    algorithm: str
    lr: float
    seed: int
    seconds: float
    validation: list[float]
    test: list[float]


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """An algorithm at its best learning rate, chosen by the mean validation accuracy of the last epoch.

    `test`, `test_std`, `worst`: mean, standard deviation over the seeds (`None` for one seed) and smallest value (that
    of `worst_seed`) of the test accuracy there. `near`: the rates whose validation accuracy is at most NEAR below the
    best. `seconds_per_run`: the mean, on one thread.
    """

    algorithm: str
    lr: float
    validation: float
    test: float
    test_std: float | None
    worst: float
    worst_seed: int
    near: list[float]
    seconds_per_run: float


def model(algorithm: str, device: Device, seed: int) -> Sequential:
    """The demo's network under one of the ALGORITHMS."""
    digital = algorithm == "digital"
    layers = Linear(64, 32, digital=digital), Tanh(), Linear(32, 10, digital=digital), LogSoftmax()
    with warnings.catch_warnings():
        # Cells that cannot hold their initial weight are part of what is shown.
        warnings.filterwarnings("ignore", message="layer .* initial weights")
        return Sequential(*layers).on(
            device, algorithm=ALGORITHMS[algorithm], io=IO.kit(), seed=seed, learn_out_scaling=True
        )


def train(algorithm: str, lr: float, seed: int, settings: Settings, stop: Callable[[], bool] = lambda: False) -> Run:
    """One run; `stop` is asked after every epoch."""
    started = time.perf_counter()
    parts = _digits()
    history = fit(
        model(algorithm, settings.device, seed),
        parts[0],
        parts[2],
        validation=parts[1],
        epochs=settings.epochs,
        batch_size=10,
        lr=lr,
        loss=NLL(),
        seed=seed,
        callbacks=[_Stop(stop)],
        progress=False,
    )
    return Run(
        algorithm=algorithm,
        lr=lr,
        seed=seed,
        seconds=time.perf_counter() - started,
        validation=history["validation_accuracy"],
        test=history["test_accuracy"],
    )


@cache
def _digits() -> tuple[data.Dataset, data.Dataset, data.Dataset]:
    return data.digits(validation=True)


@dataclass(frozen=True, slots=True)
class _Stop:
    asked: Callable[[], bool]

    def on_epoch_end(self, epoch: int, history: History, model: Sequential) -> bool:
        return self.asked()


def runs(settings: Settings) -> Generator[Run, None, None]:
    """All runs in the order they finish, spread over one worker process per core of the affinity mask.

    A worker has one thread, which is faster than many threads on small layers; results do not depend on either.
    Ctrl-C, and leaving the iterator early, stop the workers after their current epoch.
    """
    jobs = [(a, lr, seed) for a in settings.algorithms for lr in settings.rates for seed in range(settings.seeds)]
    context = multiprocessing.get_context("spawn")
    stop = context.Event()
    workers = min(len(jobs), int(_core.info()["cpus"]))
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker, initargs=(stop,)) as pool:
        try:
            with _ignoring_interrupts():
                futures: list[Future[Run]] = [pool.submit(_work, *job, settings) for job in jobs]
            for future in as_completed(futures):
                yield future.result()
        finally:
            stop.set()
            pool.shutdown(cancel_futures=True)


_stop: Event


def _start_worker(stop: Event) -> None:
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


def _work(algorithm: str, lr: float, seed: int, settings: Settings) -> Run:
    return train(algorithm, lr, seed, settings, _stop.is_set)


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


def summary(settings: Settings, done: Sequence[Run]) -> list[Result]:
    """The result of every algorithm, in the order of `settings`."""
    return [_result(name, settings, [r for r in done if r.algorithm == name]) for name in settings.algorithms]


def _result(algorithm: str, settings: Settings, done: Sequence[Run]) -> Result:
    validation = {lr: fmean(r.validation[-1] for r in done if r.lr == lr) for lr in sorted(settings.rates)}
    best = max(validation, key=lambda lr: (validation[lr], -lr))
    test = {r.seed: r.test[-1] for r in done if r.lr == best}
    worst_seed = min(test, key=lambda seed: (test[seed], seed))
    return Result(
        algorithm=algorithm,
        lr=best,
        validation=validation[best],
        test=fmean(test.values()),
        test_std=stdev(test.values()) if len(test) > 1 else None,
        worst=test[worst_seed],
        worst_seed=worst_seed,
        near=[lr for lr in validation if validation[lr] >= validation[best] - NEAR],
        seconds_per_run=fmean(r.seconds for r in done),
    )


def to_json(settings: Settings, done: Sequence[Run]) -> dict[str, Any]:
    """Everything that came out, and under which circumstances."""
    info = _core.info()
    return {
        "format": "ohmgrad-demo",
        "format_version": 1,
        "ohmgrad": {key: info[key] for key in ("version", "stream_version", "isa", "cpus")},
        "settings": {
            "device": settings.device.describe(),
            "algorithms": {name: repr(ALGORITHMS[name] or "exact SGD") for name in settings.algorithms},
            "rates": list(settings.rates),
            "seeds": settings.seeds,
            "epochs": settings.epochs,
        },
        "summary": [asdict(result) for result in summary(settings, done)],
        "runs": [asdict(r) for r in sorted(done, key=lambda r: (settings.algorithms.index(r.algorithm), r.lr, r.seed))],
    }
