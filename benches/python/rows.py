"""The rows of the comparison: what is computed, with which inputs, and how much faster it is to be."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

LR = 0.01
NOISE = 0.3
"""Cycle noise of all devices."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """A workload: ``ops`` one after the other on a tile ``[d_out, d_in]`` with a mini-batch of ``batch`` vectors.

    ``x`` and ``d`` are the standard deviations of normal inputs; a ``density`` below 1 leaves that share of x, uniform
    between 0 and 1. ``device`` holds the model and all its fields that are not the default; ``calls`` are timed at once
    (on both sides as many, so that the weights go the same way); ``target`` is the ratio to reach.
    """

    title: str
    ops: tuple[str, ...] = ("update",)
    d_out: int = 512
    d_in: int = 512
    batch: int = 64
    x: float = 0.3
    d: float = 0.1
    density: float = 1.0
    device: dict[str, Any] = field(default_factory=dict)
    calls: int = 4
    target: float | None = None

    @property
    def per_cell(self) -> bool:
        """Whether times are given in ns per cell and sample, otherwise in ms per call."""
        return self.ops == ("update",)


def _device(model: str, dw_min: float = 0.001, **more: Any) -> dict[str, Any]:
    return {"model": model, "dw_min": dw_min, "dw_min_std": NOISE} | more


_SPREADS = {"dw_min_dtod": 0.3, "up_down_dtod": 0.01, "w_max_dtod": 0.3, "w_min_dtod": 0.3}
# An odd number: the peer takes the step of the node in the middle for its granularity, and that is then w = 0.
_NODES = [i / 30 - 1 for i in range(61)]
_SOFT = _device("SoftBounds")
_SMALL: dict[str, Any] = {
    "ops": ("forward", "backward", "update"),
    "batch": 10,
    "device": _SOFT,
    "calls": 200,
    "target": 10,
}

ROWS = {
    "constant": Row(title="L, constant step", device=_device("ConstantStep"), target=15),
    "soft": Row(title="L, soft bounds", device=_SOFT, target=20),
    "pow": Row(title="L, power step, gamma 1.5", device=_device("PowStep", pow_gamma=1.5), calls=2, target=40),
    "spreads": Row(title="L, soft bounds, all spreads", device=_SOFT | _SPREADS, target=15),
    "table": Row(
        title="L, 61-node table",
        device=_device("Tabulated", w=_NODES, q_up=[1 - w for w in _NODES], q_down=[1 + w for w in _NODES]),
        target=10,
    ),
    "H": Row(title="H, soft bounds", x=1.0, d=1.0, device=_device("SoftBounds", 0.002), calls=1, target=25),
    "S": Row(
        title="S, soft bounds", d_out=256, d_in=784, batch=10, d=0.01, density=0.2, device=_SOFT, calls=20, target=8
    ),
    "forward": Row(title="forward 512x512 b64", ops=("forward",), device=_SOFT, calls=20, target=5),
    "backward": Row(title="backward 512x512 b64", ops=("backward",), device=_SOFT, calls=20),
    "small10": Row(title="step of a layer 10x128 b10", d_out=10, d_in=128, **_SMALL),
    "small32": Row(title="step of a layer 32x64 b10", d_out=32, d_in=64, **_SMALL),
}
GROUPS = {"L": ["constant", "soft", "pow", "spreads", "table"], "small": ["small10", "small32"]}


def chosen(names: str | None) -> list[str]:
    """The rows named in a list with commas, groups taken apart; all for None. ValueError for an unknown name."""
    if names is None:
        return list(ROWS)
    rows = [row for name in names.split(",") for row in GROUPS.get(name, [name])]
    for row in rows:
        if row not in ROWS:
            raise ValueError(f"no row {row!r}; known: {', '.join([*ROWS, *GROUPS])}")
    return list(dict.fromkeys(rows))


def write_inputs(path: Path, names: list[str]) -> None:
    """The inputs of the rows as ``<row>.x``, ``<row>.d``, ``<row>.w`` (float32), for both sides to read."""
    arrays = {}
    for name in names:
        row, rng = ROWS[name], np.random.default_rng(2024)
        x = rng.standard_normal((row.batch, row.d_in)) * row.x
        if row.density < 1:
            x = rng.random(x.shape) * (rng.random(x.shape) < row.density)
        arrays[f"{name}.x"] = x.astype(np.float32)
        arrays[f"{name}.d"] = (rng.standard_normal((row.batch, row.d_out)) * row.d).astype(np.float32)
        arrays[f"{name}.w"] = rng.uniform(-0.5, 0.5, (row.d_out, row.d_in)).astype(np.float32)
    np.savez(path, **arrays)
