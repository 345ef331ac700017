"""What both sides of the comparison do: the same work behind one interface, sampled and timed."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from courses import COURSES, Course, Layers, Network, initial
from numpy.typing import NDArray
from rows import EVERY, SOFT, SPREADS, Floats, Row, inputs, weights

WARM = 0.05
"""Seconds of other work before the clock starts: threads are made on first use, and processors at rest need a while."""
_SINGLE = 8
"""So many vectors are also updated one by one, where the pulses of a cell all have one sign."""


class Tile(ABC):
    """What a side must offer; inputs come through :meth:`Side.native` once, before the clock starts."""

    @abstractmethod
    def set(self, w: Floats) -> None: ...

    @abstractmethod
    def weights(self) -> Floats: ...

    @abstractmethod
    def fast(self) -> Floats:
        """The fast array of Tiki-Taka."""

    @abstractmethod
    def update(self, x: Any, d: Any) -> None: ...

    @abstractmethod
    def forward(self, x: Any) -> Any: ...

    @abstractmethod
    def backward(self, d: Any) -> Any: ...


class Learner(ABC):
    """A network in training."""

    @abstractmethod
    def step(self, x: Any, y: Any) -> float:
        """One mini-batch; its loss."""

    @abstractmethod
    def weights(self) -> list[Floats]:
        """Of every layer."""

    @abstractmethod
    def fast(self) -> list[Floats]:
        """The fast array of every layer, if it has one."""


class Side(ABC):
    """One library: it samples what its rows do, for the comparison of laws, and times them."""

    def __init__(self, path: Path) -> None:
        self._inputs = dict(np.load(path))
        self._timed: tuple[str, Tile] | None = None

    @abstractmethod
    def versions(self) -> dict[str, str]:
        """Names and versions of what is measured."""

    @abstractmethod
    def threads(self, n: int) -> None:
        """Sets the number of threads."""

    @abstractmethod
    def tile(self, row: Row, seed: int) -> Tile:
        """A new tile."""

    @abstractmethod
    def learner(self, network: Network, seed: int, start: Layers) -> Learner:
        """A new network with these weights."""

    @abstractmethod
    def native(self, values: NDArray[Any]) -> Any:
        """An array as the library likes it."""

    def sample(self, name: str, seed: int) -> dict[str, float]:
        """What new tiles or networks did in a row, in a few numbers whose means both sides must share."""
        seen = self._learn(COURSES[name], seed) if name in COURSES else self._work(EVERY[name], *self._xd(name), seed)
        return {what: float(value) for what, value in seen.items()}

    def time(self, name: str, threads: int) -> float:
        """Seconds per call or per course, from the same weights each time."""
        self.threads(threads)
        return self._time_course(COURSES[name]) if name in COURSES else self._time_tile(name, EVERY[name])

    def memory(self, kind: str, n: int) -> float:
        """Bytes per cell and array by which this process grows with a tile ``n x n`` that is used; run it only once."""
        row = Row(title=kind, d_out=n, d_in=n, batch=1, device=SOFT | (SPREADS if kind == "spreads" else {}))
        if kind == "two arrays":
            row = Row(title=kind, d_out=n, d_in=n, batch=1, device=SOFT, tiki_taka=True)
        # Libraries, threads and pools are there before.
        small = Row(title="first", d_out=8, d_in=8, batch=1, device=row.device, tiki_taka=row.tiki_taka)
        w, before = weights(row), 0
        for one in (small, row):
            x, d = map(self.native, inputs(one))
            before = _resident()
            tile = self.tile(one, 0)
            tile.set(w[: one.d_out, : one.d_in])
            tile.update(x, d)
            tile.forward(x)
        return (_resident() - before) / (n * n * (2 if row.tiki_taka else 1))

    def _xd(self, name: str) -> tuple[Floats, Floats]:
        stored = f"{name}.x" in self._inputs
        return (self._inputs[f"{name}.x"], self._inputs[f"{name}.d"]) if stored else inputs(EVERY[name])

    def _work(self, row: Row, x: Floats, d: Floats, seed: int) -> dict[str, Any]:
        tile, w = self.tile(row, seed), weights(row)
        seen: dict[str, Any] = {}
        if row.tiki_taka:
            seen |= self._transfer(tile, row, x, d, w)
        elif "update" in row.ops:
            seen |= self._update(tile, row, x, d, w)
        for op, v, matrix in (("forward", x, w), ("backward", d, w.T)):
            if op in row.ops:
                tile.set(w)
                y = np.asarray(getattr(tile, op)(self.native(v)), dtype=np.float64)
                exact = v.astype(np.float64) @ matrix.T
                error = y - exact
                seen |= {
                    f"{op}: slope on the exact product": _slope(y, exact),
                    f"{op}: mean error": error.mean(),
                    f"{op}: mean square of the error": (error**2).mean(),
                }
        return seen

    def _update(self, tile: Tile, row: Row, x: Floats, d: Floats, w: Floats) -> dict[str, Any]:
        def change(x: Floats, d: Floats) -> NDArray[np.float64]:
            tile.set(w)
            before = tile.weights().astype(np.float64)
            given = self.native(x), self.native(d)
            for _ in range(row.sampled):
                tile.update(*given)
            return tile.weights() - before

        moved = change(x, d)
        singles = [np.abs(change(x[i : i + 1], d[i : i + 1])).mean() for i in range(min(_SINGLE, len(x)))]
        return {
            "slope of the change on -lr d x": _slope(moved, -row.lr * row.sampled * (d.T.astype(np.float64) @ x)),
            "slope of the change on w": _slope(moved, w.astype(np.float64)),
            "mean change": moved.mean(),
            "mean square of the change": (moved**2).mean(),
            # With constant steps: coincidences per cell and sample.
            "size of the change by one vector, in steps": np.mean(singles) / (row.sampled * row.device["dw_min"]),
        }

    def _transfer(self, tile: Tile, row: Row, x: Floats, d: Floats, w: Floats) -> dict[str, Any]:
        """What happened to both arrays after many mini-batches."""
        tile.set(w)
        given, before = (self.native(x), self.native(d)), tile.weights().astype(np.float64)
        for _ in range(row.sampled):
            tile.update(*given)
        moved, fast = tile.weights() - before, tile.fast().astype(np.float64)
        return {
            "fast: slope on -d x": _slope(fast, -(d.T.astype(np.float64) @ x)),
            "fast: mean square": (fast**2).mean(),
            "slow: slope of the change on fast": _slope(moved, fast),
            "slow: mean change": moved.mean(),
            "slow: mean square of the change": (moved**2).mean(),
        }

    def _learn(self, course: Course, seed: int) -> dict[str, Any]:
        batches = self._batches(course)
        seen: dict[str, Any] = {}
        for network in course.networks:
            learner = self.learner(network, seed, initial(network, self._inputs))
            before = learner.weights()
            losses = [learner.step(x, y) for x, y in batches]
            n = round(len(losses) * course.tail)
            late = float(np.mean(losses[-n:]))
            if network.classes:
                seen[f"loss of the first {len(losses) - n}"] = np.mean(losses[:-n])
                seen[f"loss of the last {n} of {len(losses)}"] = late
                for i, (old, new) in enumerate(zip(before, learner.weights(), strict=True)):
                    seen[f"layer {i}: mean square of the change"] = np.square(new.astype(np.float64) - old).mean()
                for i, fast in enumerate(learner.fast()):
                    seen[f"layer {i}: mean square of the fast array"] = np.square(fast, dtype=np.float64).mean()
            else:
                seen[f"{network.name}: log10 of the last losses"] = np.log10(late)
        return seen

    def _batches(self, course: Course) -> list[tuple[Any, Any]]:
        xs, ys = (self._inputs[f"{course.data}.{part}"] for part in "xy")
        return [(self.native(x), self.native(y)) for x, y in zip(xs, ys, strict=True)] * course.repeated

    def _time_course(self, course: Course) -> float:
        batches = self._batches(course)
        first, *learners = [
            self.learner(network, 0, initial(network, self._inputs))
            for network in (course.networks[0], *course.networks)
        ]
        _warm(lambda: first.step(*batches[0]))
        start = time.perf_counter()
        for learner in learners:
            for x, y in batches:
                learner.step(x, y)
        return time.perf_counter() - start

    def _time_tile(self, name: str, row: Row) -> float:
        if self._timed is None or self._timed[0] != name:
            self._timed = None
            self._timed = name, self.tile(row, 0)
        tile = self._timed[1]
        x, d = map(self.native, self._xd(name))
        calls: dict[str, Callable[[], Any]] = {
            "update": lambda: tile.update(x, d),
            "forward": lambda: tile.forward(x),
            "backward": lambda: tile.backward(d),
        }
        ops = [calls[op] for op in row.ops]
        _warm(lambda: tile.forward(x))
        tile.set(weights(row))
        start = time.perf_counter()
        for _ in range(row.calls):
            for op in ops:
                op()
        return (time.perf_counter() - start) / row.calls


def _warm(work: Callable[[], Any]) -> None:
    began = time.perf_counter()
    while time.perf_counter() - began < WARM:
        work()


def _slope(values: NDArray[Any], on: NDArray[np.float64]) -> float:
    return float((values * on).sum() / (on * on).sum())


def _resident() -> int:
    """Bytes of this process in memory; where the system does not say, the most it ever had."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096
    except OSError:
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
