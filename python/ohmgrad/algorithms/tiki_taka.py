"""Tiki-Taka: the gradient goes onto a fast array, and slower arrays learn from what is read there.

    W    = sum_i gamma_i T_i,    T_0 = fast, ..., T_(n-1) = slow      what the network sees
    fast <- fast - rho * d x^T                                        every vector, in pulses
    T_(i+1) <- T_(i+1) + beta_i * read(T_i, k) e_k^T                  line k, when transfer i is due; then k <- k + 1

with ``rho = fast_lr`` (times ``lr`` if ``scale_fast_lr``) and ``beta = transfer_lr`` (times ``lr`` if
``scale_transfer_lr``). The fast array is never reset unless asked: it forgets by drifting to its symmetric point, which
is the reference its reads count from. The slow array gets few, deliberate pulses.

T. Gokmen, W. Haensch, "Algorithm for training neural networks on resistive device arrays", Front. Neurosci. 14:103
(2020); parameters named as in aihwkit. Digital storage: none. Per sample, with transfers after every mini-batch of m:
n_reads_per_transfer / m lines are read and written.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, inf

from .base import Plan, Rate, Term, TileFacts, Write, algorithms
from .fast_slow import FastSlow, require, require_rate


@algorithms.register
@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class TikiTaka(FastSlow):
    """Two arrays, ``fast`` and ``slow``, or more with ``mid1``, ``mid2``, ... between; set weights go to ``slow``.

    Beside the fields of :class:`~ohmgrad.algorithms.FastSlow`:

    - ``gamma``: share of an array in the weight relative to the next slower one, ``gamma_i = gamma^(n-1-i)``.
      ``gamma_vec``: the shares one by one, fast first, the last not 0.
    - ``transfer_every`` is the period of the first transfer. Slower transfers wait for a full pass of the faster one:
      ``transfer_every (lines / n_reads_per_transfer)^i``. ``transfer_every_vec``: the periods one by one.
    - ``random_selection``: each transfer starts at a random line. ``with_reset_prob``: probability that a line is reset
      after it was read, 0 to 1.
    - ``transfer_lr``: rate of the writes, >= 0; ``transfer_lr_vec``: one by one; ``scale_transfer_lr``: times the
      learning rate. ``transfer_pulses=None``: the tile's pulses.

    The number of arrays is that of ``gamma_vec``, one more than that of ``transfer_every_vec`` or ``transfer_lr_vec``,
    and else 2.

    >>> import ohmgrad as og
    >>> og.TikiTaka(fast_lr=0.1, gamma=0.4)
    TikiTaka(gamma=0.4, fast_lr=0.1)
    >>> plan = og.TikiTaka(gamma_vec=(0.01, 0.1, 1.0)).plan(og.algorithms.TileFacts(d_out=10, d_in=64))
    >>> plan.arrays, [transfer.every.period for transfer in plan.transfers]
    (('fast', 'mid1', 'slow'), [1.0, 64.0])
    """

    gamma_vec: tuple[float, ...] = ()
    transfer_every_vec: tuple[float, ...] = ()
    random_selection: bool = False
    with_reset_prob: float = 0.0
    transfer_lr: float = 1.0
    transfer_lr_vec: tuple[float, ...] = ()
    scale_transfer_lr: bool = True

    def __post_init__(self) -> None:
        FastSlow.__post_init__(self)
        for gamma in self.gamma_vec:
            require(0 <= gamma < inf, "gamma_vec", gamma, "finite and >= 0")
        require(not self.gamma_vec or self.gamma_vec[-1] > 0, "gamma_vec", self.gamma_vec, "> 0 at its end")
        for period in self.transfer_every_vec:
            self._check_period("transfer_every_vec", period)
        require(0 <= self.with_reset_prob <= 1, "with_reset_prob", self.with_reset_prob, "from 0 to 1")
        require_rate("transfer_lr", self.transfer_lr)
        require_rate("transfer_lr_vec", *self.transfer_lr_vec)
        given = {
            "gamma_vec": len(self.gamma_vec),
            "transfer_every_vec": len(self.transfer_every_vec) + 1,
            "transfer_lr_vec": len(self.transfer_lr_vec) + 1,
        }
        for field, n in given.items():
            if getattr(self, field):
                require(n >= 2, field, getattr(self, field), "of two arrays or more")
                require(n == self.n_arrays, field, getattr(self, field), f"for {self.n_arrays} arrays like the others")

    @property
    def n_arrays(self) -> int:
        """Number of arrays, 2 or more."""
        if self.gamma_vec:
            return len(self.gamma_vec)
        return max(len(self.transfer_every_vec), len(self.transfer_lr_vec), 1) + 1

    def plan(self, tile: TileFacts) -> Plan:
        """The arrays from fast to slow, the gradient on the fast one, a transfer between any two neighbours."""
        n = self.n_arrays
        names = ("fast", *(f"mid{i}" for i in range(1, n - 1)), "slow")
        shares = self.gamma_vec or tuple(self.gamma ** (n - 1 - i) for i in range(n))
        rates = self.transfer_lr_vec or (self.transfer_lr,) * (n - 1)
        writes = (
            Write(
                target=target,
                source=(Term(source),),
                rate=Rate(rate, scaled=self.scale_transfer_lr),
                pulses=self.transfer_pulses,
            )
            for source, target, rate in zip(names, names[1:], rates, strict=False)
        )
        options = dict(random=self.random_selection, reset_prob=self.with_reset_prob)
        return Plan(
            arrays=names,
            weight=tuple(Term(name, factor=share) for name, share in zip(names, shares, strict=True)),
            gradient=self._gradient(),
            transfers=tuple(
                self._transfer(self._every(period), write, **options)
                for period, write in zip(self._periods(tile), writes, strict=True)
            ),
        )

    def _periods(self, tile: TileFacts) -> tuple[float, ...]:
        if self.transfer_every_vec:
            return self.transfer_every_vec
        lines = self._lines(tile)
        events_per_pass = lines / (self.n_reads_per_transfer or lines)
        periods = (self.transfer_every * events_per_pass**i for i in range(self.n_arrays - 1))
        return tuple(periods if self.units_in_mbatch else map(ceil, periods))
