"""What can be called while :func:`ohmgrad.fit` trains: the contract, an early stop, a history on disk."""

from __future__ import annotations

import errno
import json
import math
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from ._record import as_float, as_int, as_str
from .checkpoint import write
from .history import History
from .nn import Sequential


class Callback(Protocol):
    """What is called during training.

    Two more things are used where a callback has them:

    - ``on_start(history, model)``: before the first mini-batch; the history is empty unless the run is resumed.
    - ``state_dict()`` and ``load_state_dict(state)``: what the callback remembers, as JSON values. It goes into the
      checkpoints of the run and comes back, before `on_start`, when the run is resumed.
    """

    def on_epoch_end(self, epoch: int, history: History, model: Sequential) -> bool | None:
        """After every epoch (numbered from 0), with the history so far; returning `True` ends the training."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class EarlyStop:
    """End the training when a number of the history has not improved for some epochs.

    - `metric`: a key of the :class:`History`; one that ends in ``_loss`` is to fall, one in ``_accuracy`` to rise.
    - `patience`: number of epochs without improvement after which the training ends, >= 1.
    - `min_delta`: what counts as improvement is a change by more than this, finite and >= 0.

    It looks at the history alone, so a resumed run stops where an uninterrupted one does. A number that is NaN is no
    improvement.

    >>> import ohmgrad as og
    >>> stop = og.train.EarlyStop(metric="validation_loss", patience=2)
    >>> history = og.History.from_dict({"validation_loss": [0.9, 0.5, 0.6, 0.5]})
    >>> stop.best_epoch(history), stop.on_epoch_end(3, history, None)
    (1, True)
    """

    metric: str
    patience: int
    min_delta: float = 0.0

    def __post_init__(self) -> None:
        if not as_str("metric", self.metric).endswith(("_loss", "_accuracy")):
            raise ValueError(f"metric must end in '_loss' or '_accuracy', got {self.metric!r}")
        if as_int("patience", self.patience) < 1:
            raise ValueError(f"patience must be >= 1, got {self.patience}")
        if not 0 <= as_float("min_delta", self.min_delta) < math.inf:
            raise ValueError(f"min_delta must be finite and >= 0, got {self.min_delta}")

    def best_epoch(self, history: History) -> int:
        """The last epoch (from 0) that brought an improvement; -1 if there was none."""
        sign = -1.0 if self.metric.endswith("_loss") else 1.0
        best, at = -math.inf, -1
        for epoch, value in enumerate(history[self.metric]):
            if sign * value - best > self.min_delta:
                best, at = sign * value, epoch
        return at

    def on_epoch_end(self, epoch: int, history: History, model: Sequential | None) -> bool:
        """Whether the last improvement is at least `patience` epochs ago."""
        return epoch - self.best_epoch(history) >= self.patience

    def state_dict(self) -> dict[str, Any]:
        """Its settings: they decide about the run, and the rest follows from the history."""
        return asdict(self)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Refuse a run that was started with other settings; `ValueError` naming the setting."""
        for name, here in self.state_dict().items():
            if state[name] != here:
                raise ValueError(f"{name} of EarlyStop is {here!r} here, the run has {state[name]!r}")


class JsonLines:
    """The history as a file with one line of JSON per epoch: ``{"epoch": 0, "lr": 0.1, "train_loss": ...}``.

    At the start of a run the file is replaced by the history so far (nothing unless the run is resumed), then every
    epoch adds its line; numbers that are not finite are written as `null`. Raises `OSError` when the file cannot be
    written; it then holds the lines from before.

    >>> import ohmgrad as og, tempfile, pathlib
    >>> folder = tempfile.TemporaryDirectory()
    >>> lines = og.train.JsonLines(pathlib.Path(folder.name) / "history.jsonl")
    >>> lines.on_start(og.History.from_dict({"lr": [0.1, 0.05], "train_loss": [2.0, 1.5]}))
    >>> print(lines.path.read_text(), end="")
    {"epoch": 0, "lr": 0.1, "train_loss": 2.0}
    {"epoch": 1, "lr": 0.05, "train_loss": 1.5}
    >>> folder.cleanup()
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    def on_start(self, history: History, model: Sequential | None = None) -> None:
        """Replace the file by the history so far."""
        write(self.path, b"".join(_line(history, epoch) for epoch in range(history.epochs)))

    def on_epoch_end(self, epoch: int, history: History, model: Sequential | None) -> None:
        """Add the line of an epoch."""
        line = _line(history, epoch)
        with self.path.open("ab", buffering=0) as file:
            size = file.seek(0, os.SEEK_END)
            try:
                if file.write(line) < len(line):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))
            except BaseException:
                file.truncate(size)
                raise

    def __repr__(self) -> str:
        return f"JsonLines({str(self.path)!r})"


def _line(history: History, epoch: int) -> bytes:
    numbers = {key: value if math.isfinite(value) else None for key, value in history.epoch(epoch).items()}
    return (json.dumps({"epoch": epoch} | numbers) + "\n").encode()
