"""Multi-tile Residual Learning: a cascade of arrays, each of which learns what the slower ones still lack.

    W         = sum_i gamma^(n-1-i) T_i,    T_0 = fast, ..., T_(n-1) = slow
    fast      <- fast - alpha g F(fast) - alpha |g| G(fast)                                every vector, in pulses
    T_(i+1)   <- T_(i+1) + beta_i T_i F(T_(i+1)) - beta_i |T_i| G(T_(i+1))                 line by line, every T_i

With few states per device the composite weight resolves about ``gamma^(n-1)`` of a step, and the error falls
exponentially with the number of arrays. Warm start: at stage k = 0, 1, ... the fast array hands over to array n-1-k
alone, from the slowest on, until the training loss stops falling; at stage n - 1 the cascade begins. A stage ends with
an epoch whose loss is above that of the one before (the first four stages), or with two of the last five such epochs.

arXiv 2510.02516 (residual learning on several tiles and time scales), whose tile N is ``fast`` here. Digital storage:
none. Per sample, with the first transfer after every t-th mini-batch of m vectors: n_reads_per_transfer / (t m) lines
are read and written, and as many more as the slower levels add.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from math import inf

from .base import Plan, TileFacts, Write, algorithms
from .fast_slow import FastSlow, require, require_rate
from .tiki_taka import TikiTaka


@algorithms.register
@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class MultiTileResidualLearning(FastSlow):
    """``n_arrays`` arrays ``fast``, ``mid1``, ..., ``slow``; set weights go to ``slow``.

    Beside the fields of :class:`~ohmgrad.algorithms.FastSlow`:

    - ``n_arrays``: 2 to 64. ``gamma``: share of an array in the weight relative to the next slower one.
    - ``transfer_every``: period of the first transfer; ``transfer_every_factor``: of each further one relative to the
      one before, > 0. ``transfer_lr``: rate of the first writes, >= 0; ``transfer_lr_factor``: likewise.
      ``scale_transfer_lr``: times the learning rate.
    - ``transfer_every_vec``, ``transfer_lr_vec``: n - 1 periods and rates one by one instead.
    - ``warm_start``: begin with one array after the other, as above; False: with the cascade.
      :func:`ohmgrad.fit` tells the network of every epoch's loss; loops of one's own call
      :meth:`ohmgrad.Tile.end_epoch`.
    - ``transfer_pulses=None``: the tile's pulses.

    The defaults are those of the paper for MNIST.

    >>> import ohmgrad as og
    >>> algorithm = og.MultiTileResidualLearning(n_arrays=4)
    >>> plan = algorithm.plan(og.algorithms.TileFacts(d_out=10, d_in=64, stage=3))
    >>> [term.factor for term in plan.weight], [transfer.every.period for transfer in plan.transfers]
    ([0.125, 0.25, 0.5, 1.0], [2.0, 10.0, 50.0])
    """

    n_arrays: int = 3
    gamma: float = 0.5
    transfer_every: float = 2.0
    transfer_every_factor: float = 5.0
    transfer_every_vec: tuple[float, ...] = ()
    transfer_lr: float = 0.1
    transfer_lr_factor: float = 1.2
    transfer_lr_vec: tuple[float, ...] = ()
    scale_transfer_lr: bool = False
    warm_start: bool = True

    def __post_init__(self) -> None:
        FastSlow.__post_init__(self)
        require(2 <= self.n_arrays <= 64, "n_arrays", self.n_arrays, "from 2 to 64")
        require_rate("transfer_lr", self.transfer_lr)
        for name in ("transfer_every_factor", "transfer_lr_factor"):
            require(0 < getattr(self, name) < inf, name, getattr(self, name), "finite and > 0")
        for name in ("transfer_every_vec", "transfer_lr_vec"):
            n = len(getattr(self, name))
            require(n in (0, self.n_arrays - 1), name, getattr(self, name), f"empty or of {self.n_arrays - 1} numbers")
        try:
            self._cascade()
        except OverflowError as error:
            factors = f"{self.transfer_every_factor} and {self.transfer_lr_factor}"
            message = f"transfer_every_factor and transfer_lr_factor are {factors}, allowed: powers that are finite"
            raise ValueError(f"{message} up to the {self.n_arrays - 2}th") from error

    def plan(self, tile: TileFacts) -> Plan:
        """The cascade, or at an earlier stage its first transfer to one of the slower arrays alone."""
        cascade = self._cascade().plan(tile)
        if not self.warm_start or tile.stage >= self.n_arrays - 1:
            return cascade
        first, *others = cascade.transfers
        target = cascade.arrays[self.n_arrays - 1 - tile.stage]
        writes = (step for step in first.steps if isinstance(step, Write))
        alone = replace(first, steps=tuple(replace(write, target=target) for write in writes))
        return replace(cascade, transfers=(alone, *(replace(other, steps=()) for other in others)))

    def end_of_epoch(self, stage: int, losses: Sequence[float]) -> int:
        """The next stage where the training loss, given for every epoch so far, has reached a plateau.

        >>> import ohmgrad as og
        >>> algorithm = og.MultiTileResidualLearning()
        >>> algorithm.end_of_epoch(0, [2.0, 1.5]), algorithm.end_of_epoch(0, [2.0, 1.5, 1.6])
        (0, 1)
        """
        if not self.warm_start or stage >= self.n_arrays - 1:
            return stage
        recent = losses[-6:]
        rises = [before < after for before, after in pairwise(recent)]
        return stage + (any(rises[-1:]) if stage <= 3 else sum(rises) >= 2)

    def _cascade(self) -> TikiTaka:
        n = self.n_arrays
        periods = self.transfer_every_vec or tuple(
            self.transfer_every * self.transfer_every_factor**i for i in range(n - 1)
        )
        rates = self.transfer_lr_vec or tuple(self.transfer_lr * self.transfer_lr_factor**i for i in range(n - 1))
        shared = {name: getattr(self, name) for name in FastSlow.__dataclass_fields__}
        vectors = dict(transfer_every_vec=periods, transfer_lr_vec=rates)
        return TikiTaka(**shared | dict(scale_transfer_lr=self.scale_transfer_lr) | vectors)
