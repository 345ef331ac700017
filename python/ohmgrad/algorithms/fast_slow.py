"""What algorithms with a fast and a slow array have in common: fields, and the parts of a plan that these make."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import Any

from .._record import Record
from ..calibration import ZeroShift
from ..io import IO
from ..pulses import PulseTrain
from .base import Accumulate, Every, Gradient, Rate, TileFacts, Transfer, Write


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class FastSlow(Record):
    """Fields of every algorithm whose gradient goes onto an array ``fast`` that is read line by line.

    - ``gamma``: share of the fast array in the weight, >= 0 and finite; 0 hides it from the network.
    - ``fast_lr``: rate of the gradient on the fast array, > 0; ``scale_fast_lr``: times the learning rate.
    - ``transfer_every``: period of the transfers, > 0, in mini-batches (a fraction is allowed), or in vectors (an
      integer >= 1) with ``units_in_mbatch=False``.
    - ``n_reads_per_transfer``: lines read one after the other at each transfer, up to 2**20; 0 reads all of them.
      ``transfer_columns``: lines are columns, else rows.
    - ``transfer_io``: periphery of the reads; None: the tile's forward IO. Reads have no noise and no bound
      management in any case. ``transfer_pulses``: pulses of the writes.
    - ``zero_shift``: how the fast array is calibrated when the tile is built, see :class:`ZeroShift`; None: not at all.

    Raises ValueError naming the field for a value out of range, TypeError for a value of another kind.
    """

    gamma: float = 0.0
    fast_lr: float = 0.01
    scale_fast_lr: bool = False
    transfer_every: float = 1.0
    units_in_mbatch: bool = True
    n_reads_per_transfer: int = 1
    transfer_columns: bool = True
    transfer_io: IO | None = None
    transfer_pulses: PulseTrain | None = None
    zero_shift: ZeroShift | None = None

    def __post_init__(self) -> None:
        Record.__post_init__(self)
        require(0 <= self.gamma < inf, "gamma", self.gamma, "finite and >= 0")
        require(0 < self.fast_lr < inf, "fast_lr", self.fast_lr, "finite and > 0")
        self._check_period("transfer_every", self.transfer_every)
        require(self.n_reads_per_transfer >= 0, "n_reads_per_transfer", self.n_reads_per_transfer, ">= 0")

    def _check_period(self, name: str, period: float) -> None:
        require(0 < period < inf, name, period, "finite and > 0")
        if not self.units_in_mbatch:
            require(period >= 1 and period.is_integer(), name, period, "an integer >= 1 when it counts vectors")

    def _lines(self, tile: TileFacts) -> int:
        return tile.d_in if self.transfer_columns else tile.d_out

    def _every(self, period: float) -> Every:
        return Every(period, unit="batches" if self.units_in_mbatch else "vectors")

    def _gradient(self, **more: Any) -> Gradient:
        return Gradient(target="fast", rate=Rate(self.fast_lr, scaled=self.scale_fast_lr), **more)

    def _transfer(self, every: Every, *steps: Accumulate | Write, **more: Any) -> Transfer:
        return Transfer(
            every=every,
            steps=steps,
            axis="columns" if self.transfer_columns else "rows",
            reads=self.n_reads_per_transfer,
            io=self.transfer_io,
            **more,
        )


def require(holds: bool, name: str, value: object, allowed: str) -> None:
    """ValueError naming a field unless its value is allowed."""
    if not holds:
        raise ValueError(f"{name} must be {allowed}, got {value!r}")


def require_rate(name: str, *values: float) -> None:
    """ValueError naming a rate that is negative or not finite."""
    for value in values:
        require(0 <= value < inf, name, value, "finite and >= 0")


def check_buffer(algorithm: Any) -> None:
    """ValueError naming a field of a buffer between the arrays that is out of range."""
    require_rate("transfer_lr", algorithm.transfer_lr)
    for name in ("buffer_granularity", "step"):
        require(0 < getattr(algorithm, name) < inf, name, getattr(algorithm, name), "finite and > 0")
    require_rate("auto_granularity", algorithm.auto_granularity)
    require(0 <= algorithm.momentum < 1, "momentum", algorithm.momentum, "from 0 to below 1")
