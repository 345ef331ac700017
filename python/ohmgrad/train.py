"""Training and evaluation of a network on a data set."""

from __future__ import annotations

import math
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _core
from ._progress import EpochBar
from ._record import as_bool, as_float, as_int, as_rate
from ._run import Run, fingerprint
from .callbacks import Callback as Callback
from .callbacks import EarlyStop as EarlyStop
from .callbacks import JsonLines as JsonLines
from .data import Dataset, arrays
from .history import History as History
from .nn import CrossEntropy, Loss, Sequential

Data = Dataset | tuple[ArrayLike, ArrayLike]


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
    checkpoint: str | os.PathLike[str] | None = None,
    checkpoint_every: int | None = None,
    resume: str | os.PathLike[str] | None = None,
) -> History:
    """Train `model` in place and return its :class:`History`.

    **Arguments:**

    - `train`, `test`, `validation`: :class:`Dataset` objects or pairs ``(x, y)``; the last two are only measured.
    - `epochs` >= 1; ``1 <= batch_size <= len(train)`` (a last, shorter batch of an epoch is trained too).
    - `lr`: the learning rate, finite and >= 0, or a callable that gives it from the epoch (0, 1, ...), such as
      :class:`ohmgrad.train.StepLR`.
    - `loss`: :class:`ohmgrad.nn.CrossEntropy` on logits unless given.
    - `seed`: of the order of the vectors, 0 <= seed < 2**64; with ``shuffle=False`` the order is that of `train`.
    - `callbacks`: objects with :meth:`Callback.on_epoch_end`, such as :class:`ohmgrad.train.EarlyStop` and
      :class:`ohmgrad.train.JsonLines`.
    - `progress`: show a progress bar on stderr; `None`: if that is a terminal.
    - `checkpoint`: a file to keep the run in, replaced before the first mini-batch, after every epoch, after every
      `checkpoint_every` >= 1 mini-batches of the run where that is given, and by Ctrl-C. It holds the model, the place
      in the run, the history and the states of callbacks; :func:`ohmgrad.load` reads the model.
    - `resume`: a checkpoint to go on from; what `model` was before is replaced. All arguments that decide about the
      result must be what they were (the network and its settings, the data, `batch_size`, the rates of the epochs
      begun, the name of the loss, `seed`, `shuffle`, callbacks with a state); `epochs` may grow. A run that a callback
      ended stays ended. Give `checkpoint`, too, to keep the run up to date.

    The same seeds give the same weights, bit for bit, for any number of threads, and a resumed run gives the bits of
    one that was never interrupted. Ctrl-C lets the running mini-batch finish, saves the checkpoint, and then raises
    `KeyboardInterrupt`, which leaves `model` as after a shorter training.

    **Raises:** `ValueError` or `TypeError` naming the argument before anything is trained; `OSError` for a checkpoint
    that cannot be written or read; `ValueError` for one that is damaged, of a newer format or of another run, naming
    the difference. `model` is as before then, unless a file could not be written in the middle of the run.

    >>> import ohmgrad as og
    >>> train, test = og.data.digits()
    >>> network = og.nn.Sequential(og.nn.Linear(64, 10))
    >>> model = network.on(og.devices.SoftBounds(dw_min=0.001), algorithm=og.AnalogSGD(), seed=0)
    >>> history = og.fit(model, train, test, epochs=2, batch_size=10, lr=0.1)
    >>> history["test_accuracy"][-1] > 0.8
    True

    One epoch, and later the other one, from a file:

    >>> import pathlib, tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> run = pathlib.Path(folder.name) / "run.safetensors"
    >>> model = network.on(og.devices.SoftBounds(dw_min=0.001), algorithm=og.AnalogSGD(), seed=0)
    >>> first = og.fit(model, train, test, epochs=1, batch_size=10, lr=0.1, checkpoint=run)
    >>> both = og.fit(model, train, test, epochs=2, batch_size=10, lr=0.1, resume=run, checkpoint=run)
    >>> both.to_dict() == history.to_dict()
    True
    >>> folder.cleanup()
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
    rate = _schedule(lr, epochs)
    shuffle = as_bool("shuffle", shuffle)
    if not callable(loss):
        raise TypeError(f"loss must be a callable such as ohmgrad.nn.CrossEntropy(), got {loss!r}")
    if not isinstance(callbacks, Sequence):
        raise TypeError(f"callbacks must be a sequence of callbacks, got {callbacks!r}")
    for callback in callbacks:
        if not callable(getattr(callback, "on_epoch_end", None)):
            raise TypeError(f"callbacks must have a method on_epoch_end(epoch, history, model), got {callback!r}")
    for name, data in ({"train": train} | measured).items():
        _check_targets(model, name, data)
    for name, path in (("checkpoint", checkpoint), ("resume", resume)):
        if path is not None and not isinstance(path, str | os.PathLike):
            raise TypeError(f"{name} must be a path, got {path!r}")
    if checkpoint_every is not None:
        _positive("checkpoint_every", checkpoint_every)
        if checkpoint is None:
            raise ValueError(f"checkpoint_every is {checkpoint_every}, and there is no checkpoint to be written")
    settings: dict[str, Any] = {
        "loss": getattr(loss, "__name__", type(loss).__name__),
        "batch_size": as_int("batch_size", batch_size),
        "seed": as_int("seed", seed),
        "shuffle": shuffle,
    }
    if checkpoint is not None or resume is not None:
        parts = {"train": train, "validation": measured.get("validation"), "test": measured.get("test")}
        settings |= {name: None if data is None else fingerprint(data) for name, data in parts.items()}
    n, batches, run = len(train), -(-len(train) // batch_size), Run(settings=settings, rate=rate, callbacks=callbacks)

    def save() -> None:
        if checkpoint is not None:
            run.save(checkpoint, model)

    if resume is not None:
        run.resume(resume, model, epochs, n)
    save()
    for callback in callbacks:
        if hasattr(callback, "on_start"):
            callback.on_start(run.history, model)
    with EpochBar(progress, epochs, n, run.epoch * n + run.position) as bar, _interruptible() as interrupted:
        while run.epoch < epochs and not run.stopped:
            order = _core.permutation(seed, run.epoch, n) if shuffle else np.arange(n)
            while run.position < n:
                if interrupted():
                    save()
                    return run.history
                rows = order[run.position : run.position + batch_size]
                target = train.y[rows]
                value, y = model.train_step(train.x[rows], target, loss, rate(run.epoch))
                run.add(len(rows), value, _right(y, target) if train.classes else 0)
                bar.advance(run.epoch, run.position, run.loss, run.right if train.classes else None)
                done = run.epoch * batches + -(-run.position // batch_size)
                if checkpoint_every is not None and done % checkpoint_every == 0 and run.position < n:
                    save()
            numbers = {"lr": rate(run.epoch), "train_loss": run.loss / n}
            if train.classes:
                numbers["train_accuracy"] = run.right / n
            for name, data in measured.items():
                numbers |= {f"{name}_{k}": v for k, v in evaluate(model, data, loss=loss).items()}
            run.end_epoch(numbers, model)
            save()
    return run.history


def _dataset(data: Data) -> Dataset:
    return data if isinstance(data, Dataset) else arrays(*data)


def _positive(name: str, value: int) -> int:
    if as_int(name, value) < 1:
        raise ValueError(f"{name} must be >= 1, got {value}")
    return value


def _schedule(lr: float | Callable[[int], float], epochs: int) -> Callable[[int], float]:
    """The learning rate of an epoch; all of them are checked."""
    if callable(lr):
        return [as_rate("lr", lr(epoch)) for epoch in range(epochs)].__getitem__
    constant = as_rate("lr", lr)
    return lambda epoch: constant


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
