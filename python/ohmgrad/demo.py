"""The demo: training algorithms on one non-ideal device, each at its own best learning rate.

A 64-32-10 network learns the bundled handwritten digits, on every learning rate and several seeds of device, noise,
initial weights and order of the data. The learning rate of an algorithm is chosen by validation accuracy; what is
reported is the test accuracy there. Nothing is asserted: the table shows what came out.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import cache, partial
from statistics import fmean, stdev
from typing import Any

from . import _core, data
from ._workers import Stoppable, spread
from .algorithms import (
    AGAD,
    ERIDER,
    Algorithm,
    AnalogSGD,
    ChoppedTikiTakaV2,
    MixedPrecision,
    MultiTileResidualLearning,
    ResidualLearning,
    ResidualLearningV2,
    TikiTaka,
    TikiTakaV2,
)
from .devices import Device, SoftBoundsReference
from .io import IO
from .nn import NLL, Linear, LogSoftmax, Sequential, Tanh
from .train import fit

ALGORITHMS: dict[str, Algorithm | None] = {
    "digital": None,
    "analog": AnalogSGD(),
    "tiki-taka": TikiTaka(fast_lr=0.01, gamma=0.0),
    "residual": ResidualLearning(fast_lr=0.01, gamma=0.4),
    "tiki-taka-v2": TikiTakaV2(fast_lr=0.01, units_in_mbatch=False),
    "residual-v2": ResidualLearningV2(units_in_mbatch=False),
    "c-ttv2": ChoppedTikiTakaV2(fast_lr=0.1, auto_scale=True),
    "agad": AGAD(),
    "multi-tile": MultiTileResidualLearning(),
    "mixed-precision": MixedPrecision(),
    "e-rider": ERIDER(fast_lr=0.05, transfer_lr=0.01),
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
    algorithms: tuple[str, ...] = ("digital", "analog", "tiki-taka", "residual")
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


def train(algorithm: str, lr: float, seed: int, settings: Settings) -> Run:
    """One run."""
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
        callbacks=[Stoppable()],
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


def runs(settings: Settings) -> Generator[Run, None, None]:
    """All runs in the order they finish, spread over all cores.

    Ctrl-C, and leaving the iterator early, stop the workers after their current epoch.
    """
    jobs = [(a, lr, seed) for a in settings.algorithms for lr in settings.rates for seed in range(settings.seeds)]
    with closing(spread(partial(_work, settings), jobs)) as done:
        for _, run in done:
            yield run


def _work(settings: Settings, job: tuple[str, float, int]) -> Run:
    return train(*job, settings)


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
