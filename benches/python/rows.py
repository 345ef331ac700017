"""Rows of single tiles: what is computed, with which inputs, and how much faster it is to be."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import pi
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
NOISE = 0.3
"""Cycle noise of all devices."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """A workload: ``ops`` one after the other on a tile ``[d_out, d_in]`` with a mini-batch of ``batch`` vectors.

    ``x`` and ``d`` are the standard deviations of normal inputs; a ``density`` below 1 leaves that share of x, uniform
    between 0 and 1; ``trained`` takes both from the first layer of a network that has learnt a little. ``device`` holds
    the model and all its fields that are not the default; with ``tiki_taka`` there are two arrays of it. ``calls`` are
    timed at once (on both sides as many, so that the weights go the same way), ``sampled`` of them are compared;
    ``target`` is the ratio to reach; ``portable`` runs ours with the portable instruction set.
    """

    title: str
    ops: tuple[str, ...] = ("update",)
    d_out: int = 512
    d_in: int = 512
    batch: int = 64
    x: float = 0.3
    d: float = 0.1
    density: float = 1.0
    trained: bool = False
    lr: float = 0.01
    device: dict[str, Any] = field(default_factory=dict)
    tiki_taka: bool = False
    calls: int = 4
    sampled: int = 1
    target: float | None = None
    portable: bool = False

    @property
    def unit(self) -> str:
        """Updates in ns per cell and sample, all else in ms per call."""
        return "ns" if self.ops == ("update",) else "ms"

    @property
    def scale(self) -> float:
        """Units per second of a call."""
        return 1e9 / (self.d_out * self.d_in * self.batch) if self.unit == "ns" else 1e3


def _device(model: str, dw_min: float = 0.001, **more: Any) -> dict[str, Any]:
    return {"model": model, "dw_min": dw_min, "dw_min_std": NOISE} | more


SPREADS = {"dw_min_dtod": 0.3, "up_down_dtod": 0.01, "w_max_dtod": 0.3, "w_min_dtod": 0.3}
SOFT = _device("SoftBounds")
# An odd number: the peer takes the step of the node in the middle for its granularity, and that is then w = 0.
_NODES = [i / 30 - 1 for i in range(61)]
_TABLE = _device("Tabulated", w=_NODES, q_up=[1 - w for w in _NODES], q_down=[1 + w for w in _NODES])
_STEP: dict[str, Any] = {"ops": ("forward", "backward", "update"), "batch": 10, "device": SOFT, "calls": 200}
# The pulses of one update are too few for a comparison.
_TWO: dict[str, Any] = _STEP | {"tiki_taka": True, "sampled": 200}
_FIRST: dict[str, Any] = {"d_out": 256, "d_in": 784, "batch": 10, "device": SOFT, "calls": 200, "target": 8}

ROWS = {
    "L-constant": Row(title="L, constant step", device=_device("ConstantStep"), target=15),
    "L-soft": Row(title="L, soft bounds", device=SOFT, target=20),
    "L-soft-portable": Row(title="L, soft bounds, portable instructions", device=SOFT, portable=True),
    "L-exp": Row(title="L, exponential step", device=_device("ExpStep"), calls=2, target=20),
    "L-pow": Row(title="L, power step, gamma 1.5", device=_device("PowStep", pow_gamma=1.5), calls=2, target=40),
    "L-spreads": Row(title="L, soft bounds, all spreads", device=SOFT | SPREADS, target=15),
    "L-table": Row(title="L, 61-node table", device=_TABLE, target=10),
    "H-soft": Row(title="H, soft bounds", x=1.0, d=1.0, device=_device("SoftBounds", 0.002), calls=1, target=25),
    "S-soft": Row(title="S, soft bounds", d=0.01, density=0.2, **_FIRST),
    "S-trained": Row(title="S, first layer of a trained network", trained=True, lr=0.05, sampled=40, **_FIRST),
    "forward": Row(title="forward 512x512 b64", ops=("forward",), device=SOFT, calls=20, target=5),
    "backward": Row(title="backward 512x512 b64", ops=("backward",), device=SOFT, calls=20, target=5),
    "small-10x128": Row(title="step of a layer 10x128 b10", d_out=10, d_in=128, target=10, **_STEP),
    "small-32x64": Row(title="step of a layer 32x64 b10", d_out=32, d_in=64, target=10, **_STEP),
    "small-10x128-tiki-taka": Row(title="step of a layer 10x128 b10, Tiki-Taka", d_out=10, d_in=128, target=10, **_TWO),
    "small-32x64-tiki-taka": Row(title="step of a layer 32x64 b10, Tiki-Taka", d_out=32, d_in=64, target=10, **_TWO),
}

CELLS = {
    f"cells-{n}": Row(title=f"{n} x {n}", d_out=n, d_in=n, batch=16, device=SOFT, calls=max(1, 2**22 // n**2))
    for n in (64, 128, 256, 512, 1024, 2048, 4096, 8192)
}
"""Squares of L: time against cells."""

PEERS_CELLS = 4096**2
"""The peer needs tens of bytes for a cell: larger tiles are ours alone."""

PULSES = {
    f"pulses-{n:g}": Row(title=f"{n:g}", x=1.0, d=1.0, lr=n * 0.001 * pi / 2, device=SOFT, calls=2)
    for n in (0.01, 0.03, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.2)
}
"""Rising learning rates: time against pulses per cell and sample, in the mean lr E|x| E|d| / dw_min."""

EVERY = ROWS | CELLS | PULSES


def weights(row: Row) -> Floats:
    """What every run starts from: uniform within +-0.5. Both sides draw it, since it may be large."""
    return np.random.default_rng(2025).random((row.d_out, row.d_in), np.float32) - np.float32(0.5)


def inputs(row: Row) -> tuple[Floats, Floats]:
    """x and d of a row that is not ``trained``."""
    rng = np.random.default_rng(2024)
    x = rng.standard_normal((row.batch, row.d_in)) * row.x
    if row.density < 1:
        x = rng.random(x.shape) * (rng.random(x.shape) < row.density)
    d = rng.standard_normal((row.batch, row.d_out)) * row.d
    return x.astype(np.float32), d.astype(np.float32)
