"""Both sides of the comparison behind one interface. A side imports what it measures when it is made, not before."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rows import LR, ROWS, Row

Floats = NDArray[np.float32]

_SINGLE = 8
"""So many vectors are also updated one by one, where the pulses of a cell all have one sign."""


class Tile(ABC):
    """What a side must offer; inputs come through :meth:`Side.native` once, before the clock starts."""

    @abstractmethod
    def set(self, w: Floats) -> None: ...

    @abstractmethod
    def weights(self) -> Floats: ...

    @abstractmethod
    def update(self, x: Any, d: Any) -> None: ...

    @abstractmethod
    def forward(self, x: Any) -> Any: ...

    @abstractmethod
    def backward(self, d: Any) -> Any: ...


class Side(ABC):
    """One library: it samples what its rows do, for the comparison of laws, and times them."""

    def __init__(self, inputs: Path) -> None:
        self._inputs = dict(np.load(inputs))
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
    def native(self, values: Floats) -> Any:
        """An array as the library likes it."""

    def sample(self, name: str, seed: int) -> dict[str, float]:
        """What one new tile did in each op of a row, in a few numbers whose means both sides must share."""
        row = ROWS[name]
        x, d, w = (self._inputs[f"{name}.{part}"] for part in "xdw")
        tile = self.tile(row, seed)
        seen: dict[str, Any] = {}
        if "update" in row.ops:
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
        return {what: float(value) for what, value in seen.items()}

    def _update(self, tile: Tile, row: Row, x: Floats, d: Floats, w: Floats) -> dict[str, float]:
        def change(x: Floats, d: Floats) -> NDArray[np.float64]:
            tile.set(w)
            before = tile.weights().astype(np.float64)
            tile.update(self.native(x), self.native(d))
            return tile.weights() - before

        moved = change(x, d)
        singles = [np.abs(change(x[i : i + 1], d[i : i + 1])).mean() for i in range(min(_SINGLE, len(x)))]
        return {
            "slope of the change on -lr d x": _slope(moved, -LR * (d.T.astype(np.float64) @ x)),
            "slope of the change on w": _slope(moved, w.astype(np.float64)),
            "mean change": moved.mean(),
            "mean square of the change": (moved**2).mean(),
            # With constant steps: coincidences per cell and sample.
            "size of the change by one vector, in steps": np.mean(singles) / row.device["dw_min"],
        }

    def time(self, name: str, threads: int) -> float:
        """Seconds per call, from the same weights each time."""
        row = ROWS[name]
        x, d, w = (self._inputs[f"{name}.{part}"] for part in "xdw")
        if self._timed is None or self._timed[0] != name:
            self._timed = name, self.tile(row, 0)
        tile = self._timed[1]
        self.threads(threads)
        x, d = self.native(x), self.native(d)
        calls = {"update": lambda: tile.update(x, d), "forward": lambda: tile.forward(x)}
        calls["backward"] = lambda: tile.backward(d)
        ops = [calls[op] for op in row.ops]
        # Threads are made on first use.
        tile.forward(x)
        tile.set(w)
        start = time.perf_counter()
        for _ in range(row.calls):
            for op in ops:
                op()
        return (time.perf_counter() - start) / row.calls


def _slope(values: NDArray[Any], on: NDArray[np.float64]) -> float:
    return float((values * on).sum() / (on * on).sum())


class Ours(Side):
    """ohmgrad, through its public interface."""

    def __init__(self, inputs: Path) -> None:
        import ohmgrad

        super().__init__(inputs)
        self._library = ohmgrad

    def versions(self) -> dict[str, str]:
        from ohmgrad import _core

        info = _core.info()
        return {"ohmgrad": f"{info['version']} ({info['isa']})", "numpy": np.__version__}

    def threads(self, n: int) -> None:
        if self._library.threads() != n:
            self._library.threads(n)

    def native(self, values: Floats) -> Floats:
        return np.ascontiguousarray(values)

    def tile(self, row: Row, seed: int) -> Tile:
        og, fields = self._library, dict(row.device)
        device = getattr(og.devices, fields.pop("model"))(**fields)
        return _OurTile(og.Tile(row.d_out, row.d_in, device=device, io=og.IO.kit(), seed=seed))


class _OurTile(Tile):
    def __init__(self, tile: Any) -> None:
        self._tile = tile

    def set(self, w: Floats) -> None:
        self._tile.set_weights(w)

    def weights(self) -> Floats:
        weights: Floats = self._tile.weights
        return weights

    def update(self, x: Any, d: Any) -> None:
        self._tile.update(x, d, LR)

    def forward(self, x: Any) -> Any:
        return self._tile.forward(x)

    def backward(self, d: Any) -> Any:
        return self._tile.backward(d)


class Peer(Side):
    """aihwkit on the CPU: the compiled tile itself, without the layers around it."""

    def __init__(self, inputs: Path) -> None:
        import torch

        super().__init__(inputs)
        self._torch = torch

    def versions(self) -> dict[str, str]:
        from importlib.metadata import version

        return {name: version(name) for name in ("aihwkit", "torch", "numpy")}

    def threads(self, n: int) -> None:
        self._torch.set_num_threads(n)

    def native(self, values: Floats) -> Any:
        return self._torch.from_numpy(np.ascontiguousarray(values))

    def tile(self, row: Row, seed: int) -> Tile:
        from aihwkit.simulator.configs import SingleRPUConfig, devices
        from aihwkit.simulator.parameters import IOParameters, UpdateParameters
        from aihwkit.simulator.tiles.analog import AnalogTile

        fields: dict[str, Any] = dict.fromkeys(("dw_min_dtod", "up_down_dtod", "w_max_dtod", "w_min_dtod"), 0.0)
        fields |= {"w_max": 1.0, "w_min": -1.0, "construction_seed": seed + 1} | row.device
        model = fields.pop("model")
        if model == "Tabulated":
            # Its nodes are equally spaced over the range.
            del fields["w"]
            fields |= {"piecewise_up": fields.pop("q_up"), "piecewise_down": fields.pop("q_down")}
        names = {"Tabulated": "PiecewiseStepDevice"}
        device = getattr(devices, names.get(model, f"{model}Device"))(**fields)
        config = SingleRPUConfig(
            device=device,
            forward=IOParameters(),
            backward=IOParameters(),
            update=UpdateParameters(desired_bl=31, update_management=True, update_bl_management=True),
        )
        tile = AnalogTile(row.d_out, row.d_in, config).tile
        tile.set_learning_rate(LR)
        return _PeerTile(tile, self.native)


class _PeerTile(Tile):
    def __init__(self, tile: Any, native: Any) -> None:
        self._tile, self._native = tile, native

    def set(self, w: Floats) -> None:
        self._tile.set_weights(self._native(w))

    def weights(self) -> Floats:
        return np.array(self._tile.get_weights(), dtype=np.float32)

    def update(self, x: Any, d: Any) -> None:
        self._tile.update(x, d, False)

    def forward(self, x: Any) -> Any:
        return self._tile.forward(x)

    def backward(self, d: Any) -> Any:
        return self._tile.backward(d)
