"""Tiki-Taka: the gradient goes onto a fast array, and a slow array learns from what is read there.

    W    = gamma * fast + slow                                    what the network sees
    fast <- fast - rho * d x^T                                    every vector, in pulses
    slow <- slow + beta * read(fast, k) e_k^T                     column k, when a transfer is due; then k <- k + 1

with ``rho = fast_lr`` (times ``lr`` if ``scale_fast_lr``) and ``beta = transfer_lr`` (times ``lr`` if
``scale_transfer_lr``). The fast array is never reset: it forgets by drifting to its symmetric point, which is the
reference its reads count from. The slow array gets few, deliberate pulses.

T. Gokmen, W. Haensch, "Algorithm for training neural networks on resistive device arrays", Front. Neurosci. 14:103
(2020); parameters named as in aihwkit.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from .._record import Record
from ..io import IO
from ..pulses import PulseTrain
from .base import Every, Gradient, Plan, Rate, Term, TileShape, Transfer, Write, algorithms


@algorithms.register
@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class TikiTaka(Record):
    """Two arrays, ``fast`` and ``slow``; weights that are set go to ``slow``.

    - ``gamma``: share of the fast array in the weight, >= 0 and finite; 0 hides it.
    - ``fast_lr``: rate of the gradient on the fast array, > 0; ``scale_fast_lr``: times the learning rate.
    - ``transfer_every``: period of the transfers, > 0, in mini-batches; in vectors (an integer >= 1) with
      ``units_in_mbatch=False``. A fraction of a mini-batch is allowed.
    - ``n_reads_per_transfer``: columns read one after the other at each transfer, >= 0; 0 reads all of them.
    - ``transfer_lr``: rate of the writes on the slow array, >= 0; ``scale_transfer_lr``: times the learning rate.
    - ``transfer_io``: periphery of the reads; None: the tile's forward IO. Reads have no noise and no bound
      management in any case.
    - ``transfer_pulses``: pulses of the writes; None: the tile's.

    Raises ValueError naming the field for a value out of range, TypeError for a value of another kind.

    >>> import ohmgrad as og
    >>> og.TikiTaka(fast_lr=0.1, gamma=0.4)
    TikiTaka(gamma=0.4, fast_lr=0.1)
    """

    gamma: float = 0.0
    fast_lr: float = 0.01
    scale_fast_lr: bool = False
    transfer_every: float = 1.0
    units_in_mbatch: bool = True
    n_reads_per_transfer: int = 1
    transfer_lr: float = 1.0
    scale_transfer_lr: bool = True
    transfer_io: IO | None = None
    transfer_pulses: PulseTrain | None = None

    def __post_init__(self) -> None:
        Record.__post_init__(self)
        _require(0 <= self.gamma < inf, "gamma", self.gamma, "finite and >= 0")
        _require(0 < self.fast_lr < inf, "fast_lr", self.fast_lr, "finite and > 0")
        _require(0 < self.transfer_every < inf, "transfer_every", self.transfer_every, "finite and > 0")
        if not self.units_in_mbatch:
            whole = self.transfer_every.is_integer()
            _require(whole, "transfer_every", self.transfer_every, "an integer >= 1 when it counts vectors")
        _require(self.n_reads_per_transfer >= 0, "n_reads_per_transfer", self.n_reads_per_transfer, ">= 0")
        _require(0 <= self.transfer_lr < inf, "transfer_lr", self.transfer_lr, "finite and >= 0")
        _require_kind(IO, "transfer_io", self.transfer_io)
        _require_kind(PulseTrain, "transfer_pulses", self.transfer_pulses)

    def plan(self, tile: TileShape) -> Plan:
        """Two arrays, the gradient on the fast one, one transfer between them."""
        write = Write(
            source=(Term("fast"),),
            target="slow",
            rate=Rate(self.transfer_lr, scaled=self.scale_transfer_lr),
            pulses=self.transfer_pulses,
        )
        transfer = Transfer(
            every=Every(self.transfer_every, unit="batches" if self.units_in_mbatch else "vectors"),
            reads=self.n_reads_per_transfer,
            io=self.transfer_io,
            steps=(write,),
        )
        return Plan(
            arrays=("fast", "slow"),
            weight=(Term("fast", factor=self.gamma), Term("slow")),
            gradient=Gradient(target="fast", rate=Rate(self.fast_lr, scaled=self.scale_fast_lr)),
            transfers=(transfer,),
        )


def _require(holds: bool, name: str, value: object, allowed: str) -> None:
    if not holds:
        raise ValueError(f"{name} must be {allowed}, got {value!r}")


def _require_kind(kind: type[Record], name: str, value: object) -> None:
    if value is not None and not isinstance(value, kind):
        raise TypeError(f"{name} must be a {kind.__name__} or None, got {value!r}")
