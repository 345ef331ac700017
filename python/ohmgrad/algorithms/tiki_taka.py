"""Tiki-Taka: the gradient goes onto a fast array, and slower arrays learn from what is read there.

    W    = sum_i gamma_i T_i,    T_0 = fast, ..., T_(n-1) = slow      what the network sees
    fast <- fast - rho * d x^T                                        every vector, in pulses
    T_(i+1) <- T_(i+1) + beta_i * read(T_i, k) e_k^T                  line k, when transfer i is due; then k <- k + 1

with ``rho = fast_lr`` (times ``lr`` if ``scale_fast_lr``) and ``beta = transfer_lr`` (times ``lr`` if
``scale_transfer_lr``). The fast array is never reset unless asked: it forgets by drifting to its symmetric point, which
is the reference its reads count from. The slow array gets few, deliberate pulses.

T. Gokmen, W. Haensch, "Algorithm for training neural networks on resistive device arrays", Front. Neurosci. 14:103
(2020); parameters named as in aihwkit.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, inf

from .._record import Record
from ..io import IO
from ..pulses import PulseTrain
from .base import Every, Gradient, Plan, Rate, Term, TileShape, Transfer, Write, algorithms


@algorithms.register
@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class TikiTaka(Record):
    """Two arrays, ``fast`` and ``slow``, or more with ``mid1``, ``mid2``, ... between; set weights go to ``slow``.

    - ``gamma``: share of an array in the weight relative to the next slower one, ``gamma_i = gamma^(n-1-i)``; >= 0 and
      finite; 0 hides all but ``slow``. ``gamma_vec``: the shares one by one, fast first, the last not 0.
    - ``fast_lr``: rate of the gradient on the fast array, > 0; ``scale_fast_lr``: times the learning rate.
    - ``transfer_every``: period of the first transfer, > 0, in mini-batches (a fraction is allowed), or in vectors (an
      integer >= 1) with ``units_in_mbatch=False``. Slower transfers wait for a full pass of the faster one:
      ``transfer_every (lines / n_reads_per_transfer)^i``. ``transfer_every_vec``: the periods one by one.
    - ``n_reads_per_transfer``: lines read one after the other at each transfer, up to 2**20; 0 reads all of them.
      ``transfer_columns``: lines are columns, else rows. ``random_selection``: each transfer starts at a random line.
      ``with_reset_prob``: probability that a line is reset after it was read, 0 to 1.
    - ``transfer_lr``: rate of the writes, >= 0; ``transfer_lr_vec``: one by one; ``scale_transfer_lr``: times the
      learning rate.
    - ``transfer_io``: periphery of the reads; None: the tile's forward IO. Reads have no noise and no bound
      management in any case. ``transfer_pulses``: pulses of the writes; None: the tile's.

    The number of arrays is that of ``gamma_vec``, one more than that of ``transfer_every_vec`` or ``transfer_lr_vec``,
    and else 2. Raises ValueError naming the field for a value out of range, TypeError for a value of another kind.

    >>> import ohmgrad as og
    >>> og.TikiTaka(fast_lr=0.1, gamma=0.4)
    TikiTaka(gamma=0.4, fast_lr=0.1)
    >>> plan = og.TikiTaka(gamma_vec=(0.01, 0.1, 1.0)).plan(og.algorithms.TileShape(d_out=10, d_in=64))
    >>> plan.arrays, [transfer.every.period for transfer in plan.transfers]
    (('fast', 'mid1', 'slow'), [1.0, 64.0])
    """

    gamma: float = 0.0
    gamma_vec: tuple[float, ...] = ()
    fast_lr: float = 0.01
    scale_fast_lr: bool = False
    transfer_every: float = 1.0
    transfer_every_vec: tuple[float, ...] = ()
    units_in_mbatch: bool = True
    n_reads_per_transfer: int = 1
    transfer_columns: bool = True
    random_selection: bool = False
    with_reset_prob: float = 0.0
    transfer_lr: float = 1.0
    transfer_lr_vec: tuple[float, ...] = ()
    scale_transfer_lr: bool = True
    transfer_io: IO | None = None
    transfer_pulses: PulseTrain | None = None

    def __post_init__(self) -> None:
        Record.__post_init__(self)
        for gamma in (self.gamma, *self.gamma_vec):
            _require(0 <= gamma < inf, "gamma, gamma_vec", gamma, "finite and >= 0")
        _require(not self.gamma_vec or self.gamma_vec[-1] > 0, "gamma_vec", self.gamma_vec, "> 0 at its end")
        _require(0 < self.fast_lr < inf, "fast_lr", self.fast_lr, "finite and > 0")
        for period in (self.transfer_every, *self.transfer_every_vec):
            _require(0 < period < inf, "transfer_every, transfer_every_vec", period, "finite and > 0")
            if not self.units_in_mbatch:
                whole = "an integer >= 1 when it counts vectors"
                _require(period.is_integer(), "transfer_every, transfer_every_vec", period, whole)
        _require(self.n_reads_per_transfer >= 0, "n_reads_per_transfer", self.n_reads_per_transfer, ">= 0")
        _require(0 <= self.with_reset_prob <= 1, "with_reset_prob", self.with_reset_prob, "from 0 to 1")
        for rate in (self.transfer_lr, *self.transfer_lr_vec):
            _require(0 <= rate < inf, "transfer_lr, transfer_lr_vec", rate, "finite and >= 0")
        _require_kind(IO, "transfer_io", self.transfer_io)
        _require_kind(PulseTrain, "transfer_pulses", self.transfer_pulses)
        given = {
            "gamma_vec": len(self.gamma_vec),
            "transfer_every_vec": len(self.transfer_every_vec) + 1,
            "transfer_lr_vec": len(self.transfer_lr_vec) + 1,
        }
        for field, n in given.items():
            if getattr(self, field):
                _require(n >= 2, field, getattr(self, field), "of two arrays or more")
                _require(n == self.n_arrays, field, getattr(self, field), f"for {self.n_arrays} arrays like the others")

    @property
    def n_arrays(self) -> int:
        """Number of arrays, 2 or more."""
        if self.gamma_vec:
            return len(self.gamma_vec)
        return max(len(self.transfer_every_vec), len(self.transfer_lr_vec), 1) + 1

    def plan(self, tile: TileShape) -> Plan:
        """The arrays from fast to slow, the gradient on the fast one, a transfer between any two neighbours."""
        n = self.n_arrays
        names = ("fast", *(f"mid{i}" for i in range(1, n - 1)), "slow")
        shares = self.gamma_vec or tuple(self.gamma ** (n - 1 - i) for i in range(n))
        rates = self.transfer_lr_vec or (self.transfer_lr,) * (n - 1)
        transfers = tuple(
            Transfer(
                every=Every(period, unit="batches" if self.units_in_mbatch else "vectors"),
                axis="columns" if self.transfer_columns else "rows",
                reads=self.n_reads_per_transfer,
                random=self.random_selection,
                reset_prob=self.with_reset_prob,
                io=self.transfer_io,
                steps=(
                    Write(
                        source=(Term(source),),
                        target=target,
                        rate=Rate(rate, scaled=self.scale_transfer_lr),
                        pulses=self.transfer_pulses,
                    ),
                ),
            )
            for source, target, period, rate in zip(names, names[1:], self._periods(tile), rates, strict=False)
        )
        return Plan(
            arrays=names,
            weight=tuple(Term(name, factor=share) for name, share in zip(names, shares, strict=True)),
            gradient=Gradient(target="fast", rate=Rate(self.fast_lr, scaled=self.scale_fast_lr)),
            transfers=transfers,
        )

    def _periods(self, tile: TileShape) -> tuple[float, ...]:
        if self.transfer_every_vec:
            return self.transfer_every_vec
        lines = tile.d_in if self.transfer_columns else tile.d_out
        events_per_pass = lines / (self.n_reads_per_transfer or lines)
        periods = (self.transfer_every * events_per_pass**i for i in range(self.n_arrays - 1))
        return tuple(periods if self.units_in_mbatch else map(ceil, periods))


def _require(holds: bool, name: str, value: object, allowed: str) -> None:
    if not holds:
        raise ValueError(f"{name} must be {allowed}, got {value!r}")


def _require_kind(kind: type[Record], name: str, value: object) -> None:
    if value is not None and not isinstance(value, kind):
        raise TypeError(f"{name} must be a {kind.__name__} or None, got {value!r}")
