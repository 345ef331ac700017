"""Calibration of an array: its symmetric point becomes the reference that every read subtracts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ._record import Record, settings
from .io import IO

__all__ = ["ZeroShift"]


@settings.register
@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class ZeroShift(Record):
    """Zero-shifting: pulses drive every cell to its symmetric point, and what is read there becomes its reference.

    - ``cycles``: how often, 1 to 2**20: an up and a down pulse each time, or one pulse in a direction of its own for
      every cell with ``mode="random"``.
    - ``average``: the reads after so many of the last cycles are averaged, 1 to ``cycles``; 1: the last one alone.
    - ``io``: periphery of the reads, column by column; None: exact. Reads have no noise and no bound management.

    On soft bounds ``+-b`` with steps ``s`` a pair of pulses multiplies the distance to its fixed point, half a step
    from the symmetric point, by ``(1 - s/b)^2``; random pulses end up around the symmetric point with the variance
    ``s^2 / (2a - a^2)``, ``a = s/b``.

    H. Kim et al., "Zero-shifting technique for deep neural network training on resistive cross-point arrays", arXiv
    1907.10228. Raises ValueError naming the field for a value out of range, TypeError for a value of another kind.

    >>> import ohmgrad as og
    >>> device = og.devices.SoftBounds(dw_min=0.01, w_max=0.6, w_min=-0.2)
    >>> tile = og.Tile(1, 1, device=device)
    >>> tile.arrays["weight"].zero_shift(og.ZeroShift(cycles=1000))
    >>> bool(abs(tile.arrays["weight"].parameters["reference"] - device.symmetric_point)[0, 0] < 0.01)
    True
    """

    cycles: int = 1000
    mode: Literal["alternating", "random"] = "alternating"
    average: int = 1
    io: IO | None = None

    def __post_init__(self) -> None:
        Record.__post_init__(self)
        if not 1 <= self.cycles <= 1 << 20:
            raise ValueError(f"cycles must be from 1 to 2**20, got {self.cycles}")
        if self.mode not in ("alternating", "random"):
            raise ValueError(f"mode must be 'alternating' or 'random', got {self.mode!r}")
        if not 1 <= self.average <= self.cycles:
            raise ValueError(f"average must be from 1 to cycles = {self.cycles}, got {self.average}")
        if self.io is not None and not isinstance(self.io, IO):
            raise TypeError(f"io must be an IO or None, got {self.io!r}")
