"""The progress bar of a training run; rich is loaded only when a bar is shown."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from rich.progress import Progress


class EpochBar:
    """A bar over all vectors of a training run with loss, accuracy and the time left, on stderr.

    `show`: `None` means if stderr is a terminal; `done`: vectors that were trained before a run was resumed.
    """

    _EVERY = 0.1  # seconds between two changes of the bar: a training step may take a few microseconds

    def __init__(self, show: bool | None, epochs: int, vectors: int, done: int = 0) -> None:
        self._show = sys.stderr.isatty() if show is None else show
        self._epochs, self._vectors, self._done = epochs, vectors, done
        self._progress: Progress | None = None
        self._next = 0.0

    def __enter__(self) -> Self:
        if self._show:
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

            text = TextColumn("epoch {task.fields[epoch]}  {task.fields[numbers]}")
            self._progress = Progress(text, BarColumn(), TimeRemainingColumn(), console=Console(stderr=True))
            total, first = self._epochs * self._vectors, min(self._done // self._vectors + 1, self._epochs)
            where = f"{first}/{self._epochs}"
            self._task = self._progress.add_task("", total=total, completed=self._done, epoch=where, numbers="")
            self._progress.start()
        return self

    def advance(self, epoch: int, done: int, loss: float, right: int | None) -> None:
        """Show the state after `done` vectors of an epoch, given their summed loss and number of right answers."""
        if self._progress is None or (time.monotonic() < self._next and done < self._vectors):
            return
        self._next = time.monotonic() + self._EVERY
        numbers = f"loss {loss / done:.4f}" + ("" if right is None else f"  accuracy {right / done:.2%}")
        where = f"{epoch + 1}/{self._epochs}"
        self._progress.update(self._task, completed=epoch * self._vectors + done, epoch=where, numbers=numbers)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._progress is not None:
            self._progress.stop()
