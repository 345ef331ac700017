"""Training and evaluation of a network on a data set."""

from __future__ import annotations

import math
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import repeat
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _core
from ._progress import EpochBar
from ._record import as_bool, as_float, as_int, as_rate
from .data import Dataset, arrays
from .nn import CrossEntropy, Loss, Sequential

Data = Dataset | tuple[ArrayLike, ArrayLike]


class History(Mapping[str, list[float]]):
    """Numbers of a training run: ``history["test_accuracy"]`` is a list with one number per epoch.

    Keys: `lr`, `train_loss`, and `validation_loss`, `test_loss` where such data were given; for targets that are class
    numbers also `train_accuracy`, `validation_accuracy`, `test_accuracy` in [0, 1]. The numbers of the training set
    are means over the epoch while it runs; the others are taken after it.

    >>> history = History()
    >>> history.append({"train_loss": 0.5}); history.append({"train_loss": 0.25})
    >>> history["train_loss"], history
    ([0.5, 0.25], History(2 epochs, train_loss=0.25))
    """

    def __init__(self) -> None:
        self._values: dict[str, list[float]] = {}

    def append(self, epoch: Mapping[str, float]) -> None:
        """Add the numbers of one epoch."""
        for key, value in epoch.items():
            self._values.setdefault(key, []).append(value)

    @property
    def epochs(self) -> int:
        """Number of finished epochs."""
        return max((len(values) for values in self._values.values()), default=0)

    def to_dict(self) -> dict[str, list[float]]:
        """Copies of all lists, JSON-able."""
        return {key: list(values) for key, values in self._values.items()}

    def __getitem__(self, key: str) -> list[float]:
        if key not in self._values:
            raise KeyError(f"no {key!r} in this history; it has {', '.join(self._values) or 'no epoch yet'}")
        return list(self._values[key])

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        last = "".join(f", {key}={values[-1]:.4g}" for key, values in self._values.items())
        return f"History({self.epochs} epochs{last})"


@dataclass(frozen=True, kw_only=True, slots=True)
class StepLR:
    """The learning rate ``lr * gamma ** (epoch // step_size)``, for the `lr` of :func:`fit`; names as in PyTorch.

    - `lr`: the rate of the first epochs, >= 0; `step_size`: number of epochs between two changes, >= 1;
      `gamma`: what each change multiplies by, >= 0.

    >>> rate = StepLR(lr=0.1, step_size=30, gamma=0.5)
    >>> rate(0), rate(29), rate(30), rate(60)
    (0.1, 0.1, 0.05, 0.025)
    """

    lr: float
    step_size: int
    gamma: float = 0.1

    def __post_init__(self) -> None:
        as_rate("lr", self.lr)
        _positive("step_size", self.step_size)
        if not 0 <= as_float("gamma", self.gamma) < math.inf:
            raise ValueError(f"gamma must be finite and >= 0, got {self.gamma}")

    def __call__(self, epoch: int) -> float:
        """The rate of an epoch, counted from 0."""
        return self.lr * self.gamma ** (epoch // self.step_size)


class Callback(Protocol):
    """What is called during training."""

    def on_epoch_end(self, epoch: int, history: History, model: Sequential) -> bool | None:
        """After every epoch (numbered from 0), with the history so far; returning `True` ends the training."""
        ...


def evaluate(
    model: Sequential, data: Data, *, batch_size: int = 1000, loss: Loss | None = None, noise: bool = True
) -> dict[str, float]:
    """Mean loss, and accuracy in [0, 1] where the targets are class numbers, of `model` on `data`.

    The noise of an analog product comes from streams of its own: evaluating changes no later training step.

    **Arguments:** `data` a :class:`Dataset` or a pair ``(x, y)``; `batch_size` >= 1; `loss` defaults to
    :class:`ohmgrad.nn.CrossEntropy`; ``noise=False`` leaves out all noise of the products, and nothing else.

    >>> import ohmgrad as og
    >>> model = og.nn.Sequential(og.nn.Linear(64, 10, digital=True)).on()
    >>> sorted(og.evaluate(model, og.data.digits()[1]))
    ['accuracy', 'loss']
    """
    data, loss = _dataset(data), loss or CrossEntropy()
    size, noise = min(_positive("batch_size", batch_size), len(data)), as_bool("noise", noise)
    total, right = 0.0, 0
    for start in range(0, len(data), size):
        target = data.y[start : start + size]
        y = model.forward(data.x[start : start + size], False, noise)
        total += loss(y, target)[0] * len(target)
        right += _right(y, target) if data.classes else 0
    return {"loss": total / len(data)} | ({"accuracy": right / len(data)} if data.classes else {})


def fit(
    model: Sequential,
    train: Data,
    test: Data | None = None,
    *,
    epochs: int,
    batch_size: int,
    lr: float | Callable[[int], float],
    loss: Loss | None = None,
    validation: Data | None = None,
    seed: int = 0,
    shuffle: bool = True,
    callbacks: Sequence[Callback] = (),
    progress: bool | None = None,
) -> History:
    """Train `model` in place and return its :class:`History`.

    **Arguments:**

    - `train`, `test`, `validation`: :class:`Dataset` objects or pairs ``(x, y)``; the last two are only measured.
    - `epochs` >= 1; ``1 <= batch_size <= len(train)`` (a last, shorter batch of an epoch is trained too).
    - `lr`: the learning rate, finite and >= 0, or a callable that gives it from the epoch (0, 1, ...), such as
      :class:`ohmgrad.train.StepLR`.
    - `loss`: :class:`ohmgrad.nn.CrossEntropy` on logits unless given.
    - `seed`: of the order of the vectors, 0 <= seed < 2**64; with ``shuffle=False`` the order is that of `train`.
    - `callbacks`: objects with :meth:`Callback.on_epoch_end`.
    - `progress`: show a progress bar on stderr; `None`: if that is a terminal.

    The same seeds give the same weights, bit for bit, for any number of threads. Ctrl-C lets the running mini-batch
    finish and then raises `KeyboardInterrupt`, which leaves `model` as after a shorter training.

    **Raises:** `ValueError` or `TypeError` naming the argument before anything is trained.

    >>> import ohmgrad as og
    >>> train, test = og.data.digits()
    >>> network = og.nn.Sequential(og.nn.Linear(64, 10))
    >>> model = network.on(og.devices.SoftBounds(dw_min=0.001), algorithm=og.AnalogSGD(), seed=0)
    >>> history = og.fit(model, train, test, epochs=2, batch_size=10, lr=0.1)
    >>> history["test_accuracy"][-1] > 0.8
    True
    """
    train, loss = _dataset(train), loss or CrossEntropy()
    measured = {name: _dataset(d) for name, d in (("validation", validation), ("test", test)) if d is not None}
    for name, other in measured.items():
        if (other.x.shape[1], other.y.shape[1:]) != (train.x.shape[1], train.y.shape[1:]):
            raise ValueError(f"{name} must look like the training set, {train!r}, got {other!r}")
    _positive("epochs", epochs)
    if _positive("batch_size", batch_size) > len(train):
        raise ValueError(f"batch_size must be at most the number of training vectors, {len(train)}, got {batch_size}")
    if not 0 <= as_int("seed", seed) < 1 << 64:
        raise ValueError(f"seed must be >= 0 and < 2**64, got {seed}")
    rates: Iterable[float] = (
        [as_rate("lr", lr(epoch)) for epoch in range(epochs)] if callable(lr) else repeat(as_rate("lr", lr), epochs)
    )
    as_bool("shuffle", shuffle)
    if not callable(loss):
        raise TypeError(f"loss must be a callable such as ohmgrad.nn.CrossEntropy(), got {loss!r}")
    if not isinstance(callbacks, Sequence):
        raise TypeError(f"callbacks must be a sequence of callbacks, got {callbacks!r}")
    for callback in callbacks:
        if not callable(getattr(callback, "on_epoch_end", None)):
            raise TypeError(f"callbacks must have a method on_epoch_end(epoch, history, model), got {callback!r}")
    for name, data in ({"train": train} | measured).items():
        _check_targets(model, name, data)
    n, history = len(train), History()
    with EpochBar(progress, epochs, n) as bar, _interruptible() as interrupted:
        for epoch, rate in enumerate(rates):
            order = _core.permutation(seed, epoch, n) if shuffle else np.arange(n)
            total, right = 0.0, 0
            for start in range(0, n, batch_size):
                if interrupted():
                    return history
                rows = order[start : start + batch_size]
                target = train.y[rows]
                value, y = model.train_step(train.x[rows], target, loss, rate)
                total += value * len(rows)
                right += _right(y, target) if train.classes else 0
                bar.advance(epoch, start + len(rows), total, right if train.classes else None)
            numbers = {"lr": rate, "train_loss": total / n}
            if train.classes:
                numbers["train_accuracy"] = right / n
            for name, data in measured.items():
                numbers |= {f"{name}_{k}": v for k, v in evaluate(model, data, loss=loss).items()}
            history.append(numbers)
            if any([callback.on_epoch_end(epoch, history, model) for callback in callbacks]):
                break
    return history


def _dataset(data: Data) -> Dataset:
    return data if isinstance(data, Dataset) else arrays(*data)


def _positive(name: str, value: int) -> int:
    if as_int(name, value) < 1:
        raise ValueError(f"{name} must be >= 1, got {value}")
    return value


def _check_targets(model: Sequential, name: str, data: Dataset) -> None:
    """Refuse targets that the network has no outputs for."""
    outputs = model.outputs
    if outputs is None:
        return
    if not data.classes and data.y.shape[1:] != (outputs,):
        raise ValueError(f"{name}: targets of shape {data.y.shape} do not fit the network's {outputs} outputs")
    if data.classes and (wrong := data.y[(data.y < 0) | (data.y >= outputs)]).size:
        raise ValueError(f"{name}: there is a label {wrong[0]}, allowed: 0 to {outputs - 1}, the network's outputs")


def _right(y: NDArray[np.float32], target: NDArray[Any]) -> int:
    """How many vectors have their largest output at the target."""
    return int(np.count_nonzero(y.argmax(1) == target))


@contextmanager
def _interruptible() -> Iterator[Callable[[], bool]]:
    """Turn Ctrl-C into a question to be asked between mini-batches; a second Ctrl-C interrupts at once."""
    if threading.current_thread() is not threading.main_thread() or (
        signal.getsignal(signal.SIGINT) is not signal.default_int_handler
    ):
        yield lambda: False
        return
    asked = False

    def ask(number: int, frame: Any) -> None:
        nonlocal asked
        asked = True
        signal.signal(signal.SIGINT, signal.default_int_handler)

    signal.signal(signal.SIGINT, ask)
    try:
        yield lambda: asked
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if asked:
        raise KeyboardInterrupt
