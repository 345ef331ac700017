"""Where a training run stands, in memory and in its checkpoint."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import numpy as np

from . import _core, checkpoint
from ._record import as_bool, as_int
from .data import Dataset
from .history import History
from .nn import Sequential


@dataclass(kw_only=True, slots=True)
class Run:
    """The counters of a run, which :meth:`save` writes beside the model and :meth:`resume` takes up again.

    - `settings`: what decides about the run beside the model and the learning rates, as JSON values.
    - `rate`: the learning rate of an epoch.
    - `epoch`: finished epochs; `position`, `loss`, `right`: of the running epoch the vectors trained so far, the sum
      of their losses and the number of right answers.
    - `stopped`: whether a callback ended the run.
    """

    settings: Mapping[str, Any]
    rate: Callable[[int], float]
    callbacks: Sequence[Any]
    epoch: int = 0
    position: int = 0
    loss: float = 0.0
    right: int = 0
    stopped: bool = False
    history: History = field(default_factory=History)

    def add(self, vectors: int, loss: float, right: int) -> None:
        """Count a mini-batch with its mean loss and its number of right answers."""
        self.position += vectors
        self.loss += float(loss) * vectors
        self.right += right

    def end_epoch(self, numbers: Mapping[str, float], model: Sequential) -> None:
        """Put the numbers of an epoch into the history, tell the model, and ask the callbacks whether to go on."""
        self.history.append(numbers)
        model.end_epoch(self.history["train_loss"])
        self.stopped = any([callback.on_epoch_end(self.epoch, self.history, model) for callback in self.callbacks])
        self.epoch, self.position, self.loss, self.right = self.epoch + 1, 0, 0.0, 0

    def save(self, path: str | os.PathLike[str], model: Sequential) -> None:
        """Replace the checkpoint at `path`."""
        run = {
            "settings": self.settings,
            "lr": [self.rate(epoch) for epoch in range(self.epoch + (self.position > 0))],
            "epoch": self.epoch,
            "position": self.position,
            "loss": _to_json(self.loss),
            "right": self.right,
            "stopped": self.stopped,
            "history": {key: [_to_json(v) for v in values] for key, values in self.history.to_dict().items()},
            "callbacks": [[_name(callback), _state(callback)] for callback in self._remembering()],
        }
        checkpoint.save_as(checkpoint.RUN, path, model, run=run)

    def resume(self, path: str | os.PathLike[str], model: Sequential, epochs: int, vectors: int) -> None:
        """Go on where the checkpoint at `path` was written; after an error `model` and the callbacks are as before."""
        kind, header, state = checkpoint.read(path)
        with checkpoint.wrong_in(path):
            if kind != checkpoint.RUN:
                raise ValueError("a model and no run; ohmgrad.load reads it")
            streams = _core.info()["stream_version"]
            if header["stream_version"] != streams:
                raise ValueError(
                    f"written with random streams {header['stream_version']}, and this version has {streams}: the run "
                    "cannot go on bit for bit; ohmgrad.load reads its model"
                )
            run = header["run"]
            if len(run["lr"]) > epochs:
                raise ValueError(f"epochs must be >= {len(run['lr'])}, which the run has begun, got {epochs}")
            self._compare(run, model.config(), header["config"])
            epoch, position, right = (as_int(name, run[name]) for name in ("epoch", "position", "right"))
            if not (epoch >= 0 and 0 <= position < vectors and 0 <= right <= position):
                raise ValueError(f"epoch {epoch}, position {position}, right {right}: no place in {vectors} vectors")
            history, rates = History.from_dict(run["history"]), len(run["lr"])
            if rates != epoch + (position > 0) or len(run["history"].get("train_loss", ())) != epoch:
                raise ValueError(f"{rates} rates and {history!r} after {epoch} epochs")
            loss, stopped = float(run["loss"]), as_bool("stopped", run["stopped"])
            self._load(model, state, [remembered for _, remembered in run["callbacks"]])
        self.epoch, self.position, self.loss, self.right = epoch, position, loss, right
        self.stopped, self.history = stopped, history

    def _compare(self, run: Mapping[str, Any], mine: Any, theirs: Any) -> None:
        """Refuse to go on with anything else than the run began with."""
        if mine != theirs:
            # Only names that are known get through, and settings that the writer did not have yet are filled in.
            theirs = Sequential.from_config(theirs).config()
        pairs = [
            ({"model": mine}, {"model": theirs}),
            (self.settings, run["settings"]),
            (
                {"lr": {f"epoch {epoch}": self.rate(epoch) for epoch in range(len(run["lr"]))}},
                {"lr": {f"epoch {epoch}": rate for epoch, rate in enumerate(run["lr"])}},
            ),
            (
                {"callbacks with a state": [_name(callback) for callback in self._remembering()]},
                {"callbacks with a state": [name for name, _ in run["callbacks"]]},
            ),
        ]
        for here, there in pairs:
            if difference := _difference("", here, there):
                raise ValueError(f"another run: {difference}")

    def _load(self, model: Sequential, state: Mapping[str, Any], remembered: Sequence[Any]) -> None:
        callbacks = self._remembering()
        before = [callback.state_dict() for callback in callbacks]
        try:
            for callback, theirs in zip(callbacks, remembered, strict=True):
                callback.load_state_dict(theirs)
            model.load_state_dict(state)
        except BaseException:
            for callback, mine in zip(callbacks, before, strict=True):
                callback.load_state_dict(mine)
            raise

    def _remembering(self) -> list[Any]:
        return [callback for callback in self.callbacks if hasattr(callback, "state_dict")]


def fingerprint(data: Dataset) -> str:
    """Shapes and a checksum of a data set."""
    digest = sha256()
    for array in (data.x, data.y):
        digest.update(np.ascontiguousarray(array).data)
    shapes = ", ".join(f"{name} {list(a.shape)} {a.dtype.name}" for name, a in (("x", data.x), ("y", data.y)))
    return f"{shapes}, sha256 {digest.hexdigest()}"


def _name(value: object) -> str:
    return type(value).__name__


def _state(callback: Any) -> Any:
    """What a callback remembers, as it comes back from a file."""
    try:
        return json.loads(json.dumps(callback.state_dict(), allow_nan=False))
    except (TypeError, ValueError) as error:
        raise ValueError(f"callbacks: the state of {_name(callback)} cannot be written as JSON: {error}") from error


def _to_json(value: float) -> float | str:
    """A number that `float` takes back, also one that JSON does not have."""
    return value if math.isfinite(value) else str(value)


def _difference(place: str, here: Any, there: Any) -> str | None:
    """Where two JSON values differ first, in words; `None` if they are equal."""
    if isinstance(here, Mapping) and isinstance(there, Mapping):
        keys = [*here, *(key for key in there if key not in here)]
        parts = [(f"{place}.{key}".removeprefix("."), here.get(key), there.get(key)) for key in keys]
    elif isinstance(here, list) and isinstance(there, list):
        if len(here) != len(there):
            return f"{place} has {len(there)} members there and {len(here)} here"
        parts = [(f"{place}.{i}", a, b) for i, (a, b) in enumerate(zip(here, there, strict=True))]
    else:
        return None if here == there else f"{place} is {there!r} there and {here!r} here"
    return next((found for part in parts if (found := _difference(*part))), None)
