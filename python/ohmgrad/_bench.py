"""How fast this machine is: what ``ohmgrad bench`` measures.

The workloads are those of ``benches/python/rows.py``: soft bounds with noise of 30 % between pulses, and the periphery
of ``IO.kit()``. Times are medians over rounds in which everything is measured once, so that a slow moment of the
machine falls on all of it; every sample begins with the same weights.
"""

from __future__ import annotations

import os
import platform
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import _core, demo
from .algorithms import Algorithm, AnalogSGD, TikiTaka
from .data import Dataset, arrays, digits
from .devices import SoftBounds
from .experiments.mnist_fcn import DEVICE
from .io import IO
from .nn import NLL, Linear, LogSoftmax, Sequential, Sigmoid
from .tile import Tile
from .train import evaluate

Floats = NDArray[np.float32]
Call = Callable[[], object]
Progress = Callable[[str, float], None]

LR = 0.01
RATE = 0.05  # of networks
BATCH = 10
ROUNDS = 9
ALGORITHMS: dict[str, Algorithm] = {"analog": AnalogSGD(), "tiki-taka": TikiTaka(fast_lr=0.01)}
"""What sweeps are estimated for, by the demo's names; the demo's own settings of them cost the same."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Workload:
    """A tile, a mini-batch of normal inputs and errors of these standard deviations, and the device's step.

    A `density` below 1 leaves that share of the inputs, uniform between 0 and 1.
    """

    d_out: int = 512
    d_in: int = 512
    batch: int = 64
    x: float = 0.3
    d: float = 0.1
    density: float = 1.0
    dw_min: float = 0.001

    @property
    def visits(self) -> int:
        """Cells times vectors."""
        return self.d_out * self.d_in * self.batch

    @property
    def shape(self) -> dict[str, int]:
        return {"d_out": self.d_out, "d_in": self.d_in, "batch": self.batch}

    def tile(self, *, count_pulses: bool = False) -> Tile:
        device = SoftBounds(dw_min=self.dw_min, dw_min_std=0.3)
        return Tile(self.d_out, self.d_in, device=device, io=IO.kit(), count_pulses=count_pulses)

    def inputs(self) -> tuple[Floats, Floats, Floats]:
        """Inputs, errors and weights."""
        rng = np.random.default_rng(2024)
        x = rng.standard_normal((self.batch, self.d_in)) * self.x
        if self.density < 1:
            x = rng.random(x.shape) * (rng.random(x.shape) < self.density)
        d = rng.standard_normal((self.batch, self.d_out)) * self.d
        w = rng.uniform(-0.5, 0.5, (self.d_out, self.d_in))
        return x.astype(np.float32), d.astype(np.float32), w.astype(np.float32)

    def pulses(self) -> int:
        """Pulses of the first mini-batch, at all cells together."""
        tile, (x, d, w) = self.tile(count_pulses=True), self.inputs()
        tile.set_weights(w)
        tile.update(x, d, LR)
        counts = tile.arrays["weight"].pulse_counts
        return int(counts.up.sum() + counts.down.sum())


UPDATES = {
    "light": Workload(),
    "heavy": Workload(x=1.0, d=1.0, dw_min=0.002),
    "sparse": Workload(d_out=256, d_in=784, batch=10, d=0.01, density=0.2),
}
LAYER = Workload(d_out=32, d_in=64, batch=10)


@dataclass(frozen=True, kw_only=True, slots=True)
class Network:
    """What sweeps are estimated for: data to train and to evaluate with, and sizes of the whole data sets."""

    title: str
    train: Dataset
    test: Dataset
    trained: int
    evaluated: int
    model: Callable[[str], Sequential]


def networks() -> dict[str, Network]:
    """The demo's network on its digits, and the papers' network for MNIST on random numbers that look like MNIST's."""
    train, validation, test = digits(validation=True)
    rng = np.random.default_rng(2024)
    # A share of 0.19 of MNIST's pixels is not zero.
    pixels = rng.random((1000, 784)) * (rng.random((1000, 784)) < 0.19)
    images = arrays(pixels.astype(np.float32), rng.integers(0, 10, 1000))
    return {
        "digits": Network(
            title="digits, 64-32-10",
            train=train,
            test=test,
            trained=len(train),
            evaluated=len(validation) + len(test),
            model=lambda algorithm: demo.model(algorithm, demo.DEVICE, 0),
        ),
        "mnist": Network(
            title="MNIST, 784-256-128-10",
            train=images,
            test=images,
            trained=60_000,
            evaluated=10_000,
            model=_mnist,
        ),
    }


def _mnist(algorithm: str) -> Sequential:
    layers = Linear(784, 256), Sigmoid(), Linear(256, 128), Sigmoid(), Linear(128, 10), LogSoftmax()
    with warnings.catch_warnings():
        # Whether cells can hold their initial weights is of no interest here.
        warnings.filterwarnings("ignore", message="layer .* initial weights")
        return Sequential(*layers).on(DEVICE, algorithm=ALGORITHMS[algorithm], io=IO.kit(), learn_out_scaling=True)


@dataclass(kw_only=True, slots=True)
class _Task:
    """`start` gives a call that begins anew, outside of the clock; at most `most` calls are timed at once."""

    name: str
    threads: int
    start: Callable[[], Call]
    most: int = 1_000_000
    calls: int = 1
    samples: list[float] = field(default_factory=list)

    def run(self) -> float:
        """One sample; returns the seconds that it took with all around it."""
        begun = time.perf_counter()
        if _core.threads() != self.threads:
            _core.set_threads(self.threads)
        # Threads, caches and pages are there before the clock starts.
        self.start()()
        call = self.start()
        started = time.perf_counter()
        for _ in range(self.calls):
            call()
        ended = time.perf_counter()
        self.samples.append((ended - started) / self.calls)
        return ended - begun

    @property
    def result(self) -> dict[str, Any]:
        times = {"seconds": median(self.samples), "lowest": min(self.samples), "highest": max(self.samples)}
        return {"threads": self.threads} | times


def measure(
    *, seconds: float, threads: int | None, runs: int, epochs: int, progress: Progress = lambda name, done: None
) -> dict[str, Any]:
    """Measure for about `seconds` on up to `threads` threads (`None`: all cores).

    `progress` is told what is measured next and which share of the time is over. The result can be written as JSON;
    in it a visit is one cell and one vector, ``seconds`` are those of one call (``lowest`` and ``highest`` those of
    the fastest and the slowest round), and there is

    - ``machine``: ``processor``, ``system``, ``python``, ``numpy``, and what ``ohmgrad info`` shows;
    - ``updates``: ``name``, shape, ``pulses_per_visit``, ``visits_per_second``, ``pulses_per_second``;
    - ``products``: ``forward`` and ``backward`` of the light workload, ``visits_per_second``;
    - ``layer``: the training step of a small layer, with ``steps_per_second``;
    - ``scaling``: the light update on 1, 2, 4, ... threads, and its ``speedup``;
    - ``training``: of each ``network`` and ``algorithm`` a training step of 10 vectors, with
      ``evaluation_seconds`` of an epoch, ``run_seconds`` of `epochs` epochs, and ``sweep_seconds`` of `runs` runs in
      ``processes`` processes, if each of them is as fast as one alone;
    - ``seconds``, ``rounds``, ``runs``, ``epochs``.
    """
    before, begun = _core.threads(), time.perf_counter()
    facts = _core.info()
    most = int(facts["cpus"]) if threads is None else threads
    counts = [n for n in (2**k for k in range(most.bit_length())) if n < most] + [most]
    nets = networks()
    tasks = _tasks(nets, counts, epochs)
    try:
        rounds = _rounds(tasks, begun, seconds, progress)
    finally:
        _core.set_threads(before)
    of = {task.name: task.result for task in tasks}
    updates = [
        {"name": name} | w.shape | of[name] | _rates(w, w.pulses(), of[name]["seconds"]) for name, w in UPDATES.items()
    ]
    light = UPDATES["light"]
    products = [
        {"name": name} | light.shape | of[name] | {"visits_per_second": light.visits / of[name]["seconds"]}
        for name in ("forward", "backward")
    ]
    scaling = [of[_on(n, most)] for n in counts]
    plans = [
        {"network": net.title, "algorithm": algorithm}
        | of[f"{name}, {algorithm}"]
        | _plan(net, of[f"{name}, {algorithm}"], of[f"{name}, evaluation"], runs, epochs)
        for name, net in nets.items()
        for algorithm in ALGORITHMS
    ]
    machine = {"processor": _processor(), "system": platform.system(), "python": platform.python_version()}
    return {
        "machine": machine | {"numpy": np.__version__} | facts | {"threads": most},
        "updates": updates,
        "products": products,
        "layer": LAYER.shape | of["layer"] | {"steps_per_second": 1 / of["layer"]["seconds"]},
        "scaling": [one | {"speedup": scaling[0]["seconds"] / one["seconds"]} for one in scaling],
        "training": plans,
        "seconds": time.perf_counter() - begun,
        "rounds": rounds,
        "runs": runs,
        "epochs": epochs,
    }


def _rounds(tasks: list[_Task], begun: float, seconds: float, progress: Progress) -> int:
    """All tasks by turns until the time is over, but once at least; returns how many rounds count."""

    def left() -> float:
        return max(0.0, begun + seconds - time.perf_counter())

    def once() -> list[float]:
        took = []
        for task in tasks:
            progress(task.name, 1 - left() / seconds)
            took.append(task.run())
        return took

    first = once()
    share = left() / (ROUNDS * len(tasks))
    for task, took in zip(tasks, first, strict=True):
        # What surrounds the calls comes out of a task's share as well.
        one = task.samples[0]
        task.calls = max(1, min(task.most, int((share - (took - one)) / one)))
    rounds, longest = 0, sum(first)
    while rounds < ROUNDS and longest <= left():
        if rounds == 0:
            # The first round had a cold machine and single calls.
            for task in tasks:
                task.samples.clear()
        longest = sum(once())
        rounds += 1
    progress("done", 1.0)
    return max(1, rounds)


def _on(n: int, most: int) -> str:
    """The light update on n threads."""
    return "light" if n == most else f"light, {n} threads"


def _tasks(nets: dict[str, Network], counts: list[int], epochs: int) -> list[_Task]:
    most, light = counts[-1], UPDATES["light"]
    tasks = [_Task(name=name, threads=most, start=_operations(w, "update")) for name, w in UPDATES.items()]
    tasks += [_Task(name=name, threads=most, start=_operations(light, name)) for name in ("forward", "backward")]
    tasks += [_Task(name=_on(n, most), threads=n, start=_operations(light, "update")) for n in counts[:-1]]
    # From here on one thread: that is faster on small matrices, and sweeps have a process for each core.
    tasks.append(_Task(name="layer", threads=1, start=_operations(LAYER, "forward", "backward", "update")))
    for name, net in nets.items():
        steps = epochs * -(-net.trained // BATCH)
        for algorithm in ALGORITHMS:
            start = _training(net, algorithm)
            tasks.append(_Task(name=f"{name}, {algorithm}", threads=1, start=start, most=steps))
        tasks.append(_Task(name=f"{name}, evaluation", threads=1, start=_evaluation(net)))
    return tasks


def _operations(w: Workload, *names: str) -> Callable[[], Call]:
    tile, (x, d, weights) = w.tile(), w.inputs()
    known: dict[str, Call] = {
        "forward": lambda: tile.forward(x),
        "backward": lambda: tile.backward(d),
        "update": lambda: tile.update(x, d, LR),
    }
    calls = [known[name] for name in names]

    def call() -> None:
        for each in calls:
            each()

    def start() -> Call:
        tile.set_weights(weights)
        return call

    return start


def _training(net: Network, algorithm: str) -> Callable[[], Call]:
    x, y, loss = net.train.x, net.train.y, NLL()
    last = len(x) - BATCH

    def start() -> Call:
        # A new network: steps get cheaper as it learns.
        model, at = net.model(algorithm), 0

        def step() -> None:
            nonlocal at
            rows = np.arange(at, at + BATCH)
            model.train_step(x[rows], y[rows], loss, RATE)
            at = 0 if at + BATCH > last else at + BATCH

        return step

    return start


def _evaluation(net: Network) -> Callable[[], Call]:
    model, loss = net.model("analog"), NLL()
    return lambda: lambda: evaluate(model, net.test, loss=loss)


def _rates(w: Workload, pulses: int, seconds: float) -> dict[str, float]:
    return {
        "pulses_per_visit": pulses / w.visits,
        "visits_per_second": w.visits / seconds,
        "pulses_per_second": pulses / seconds,
    }


def _plan(net: Network, step: dict[str, Any], evaluation: dict[str, Any], runs: int, epochs: int) -> dict[str, Any]:
    looks = net.evaluated / len(net.test) * evaluation["seconds"]
    run = epochs * (-(-net.trained // BATCH) * step["seconds"] + looks)
    processes = min(runs, int(_core.info()["cpus"]))
    return {
        "evaluation_seconds": looks,
        "run_seconds": run,
        "processes": processes,
        "sweep_seconds": -(-runs // processes) * run,
    }


def _processor() -> str:
    """The processor's name where the system tells it."""
    if os.path.exists("/proc/cpuinfo"):
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as lines:
            for line in lines:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
