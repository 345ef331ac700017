"""Networks under several algorithms, each with settings of its own, and tables of what came out."""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise
from statistics import fmean, stdev
from typing import Any

from .._workers import Stoppable
from ..algorithms import Algorithm
from ..data import Dataset, digits, mnist
from ..devices import Cell, Device
from ..io import IO
from ..nn import NLL, Layer, Linear, LogSoftmax, Sequential, Sigmoid, Tanh
from ..pulses import PulseTrain
from ..train import fit


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """An algorithm with the settings that it is trained with; without one, layers are digital and exact.

    `omega` is the ``weight_scaling_omega`` of the layers, `published` the accuracies that it is to be compared with.
    """

    name: str
    algorithm: Algorithm | None
    lr: float = 0.05
    pulses: PulseTrain = field(default_factory=PulseTrain)
    omega: float = 0.0
    published: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """One training run: `network` is ``"digits"`` or the folder of MNIST's files."""

    entry: Entry
    device: Device | Cell
    network: str
    epochs: int
    seed: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """Test accuracy after every epoch, and the seconds that the run took."""

    accuracy: list[float]
    seconds: float


def train(job: Job) -> Outcome:
    """Trains one network."""
    started = time.perf_counter()
    parts = _data(job.network)
    with warnings.catch_warnings():
        # Cells that cannot hold their initial weight are part of what is measured.
        warnings.filterwarnings("ignore", message="layer .* initial weights")
        settings: dict[str, Any] = dict(io=IO.kit(), seed=job.seed)
        if job.entry.algorithm is not None:
            settings |= dict(device=job.device, algorithm=job.entry.algorithm, pulses=job.entry.pulses)
            settings |= dict(learn_out_scaling=True, weight_scaling_omega=job.entry.omega)
        model = Sequential(*_layers(job)).on(**settings)
    history = fit(
        model, *parts, epochs=job.epochs, batch_size=10, lr=job.entry.lr, loss=NLL(), seed=job.seed,
        callbacks=[Stoppable()], progress=False,
    )  # fmt: skip
    return Outcome(accuracy=history["test_accuracy"], seconds=time.perf_counter() - started)


def _layers(job: Job) -> list[Layer]:
    """64-32-10 with tanh on the digits, the papers' 784-256-128-10 with sigmoids on MNIST."""
    small = job.network == "digits"
    sizes: Sequence[int] = (64, 32, 10) if small else (784, 256, 128, 10)
    layers: list[Layer] = []
    for width, height in pairwise(sizes):
        layers += [Linear(width, height, digital=job.entry.algorithm is None), Tanh() if small else Sigmoid()]
    return [*layers[:-1], LogSoftmax()]


@cache
def _data(network: str) -> tuple[Dataset, Dataset]:
    return digits() if network == "digits" else mnist(network)


def mean_std(values: Sequence[float], unit: float = 0.01, digits: int = 1) -> str:
    """Numbers as ``92.3 ± 0.4``, in percent unless told; the spread over the runs only if there are two or more."""
    spread = f" ± {stdev(values) / unit:.{digits}f}" if len(values) > 1 else ""
    return f"{fmean(values) / unit:.{digits}f}{spread}"


def markdown(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"
