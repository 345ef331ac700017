"""E-RIDER: the symmetric point of the residual array is tracked while it trains.

    W         = slow + gamma c (fast - reference)                     c = +-1, one sign for the whole array
    fast      <- fast - alpha c g F(fast) - alpha |g| G(fast)         every vector, in pulses; alpha = fast_lr
    mean      <- (1 - eta) mean + eta fast                            every step, all lines read
    slow      <- slow + beta c P F(slow) - beta |P| G(slow)           P = fast - reference, beta = transfer_lr
    c         <- -c,  reference <- mean                               with chop_prob after each step

While the sign flips the gradient averages out of ``fast``, and the mean of its reads is its symmetric point. The
reference is an array of its own, programmed at every flip. A step is a mini-batch, or a vector with
``units_in_mbatch=False``; then the errors of later vectors of a batch still belong to the old sign.

arXiv 2602.21321, whose equations (11), (12) and (18) could not be read; the form above is that of its text and its
proofs. Without flips (its RIDER, ``chop_prob=0``) ``slow - beta / eta mean`` is conserved on an ideal slow array, so it
cannot reach both limits; that is left out. Digital storage: one number per cell (``mean``) and a sign; analog: three
arrays. Per sample, with a step every mini-batch of m: lines / m lines are read and written.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..pulses import PulseTrain
from .base import Accumulate, Chopper, Plan, Rate, Term, TileFacts, Write, algorithms
from .fast_slow import FastSlow, require, require_rate


@algorithms.register
@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class ERIDER(FastSlow):
    """Arrays ``fast``, ``slow`` and ``reference``, a digital matrix ``mean``; set weights go to ``slow``.

    Beside the fields of :class:`~ohmgrad.algorithms.FastSlow`, of which ``n_reads_per_transfer`` is 0 (all lines):

    - ``eta``: rate of the mean of reads, > 0, at most 1.
    - ``chop_prob``: probability of a flip after each step, > 0, at most 1.
    - ``transfer_lr``: rate of the writes, >= 0; ``scale_transfer_lr``: times the learning rate.
    - ``transfer_pulses=None``: the mathematical update of arXiv 2602.21321, ``pulse_type="analog_update"``.

    >>> import ohmgrad as og
    >>> og.ERIDER(chop_prob=0.1)
    ERIDER(chop_prob=0.1)
    """

    gamma: float = 0.1
    fast_lr: float = 0.5
    n_reads_per_transfer: int = 0
    eta: float = 0.05
    chop_prob: float = 0.05
    transfer_lr: float = 0.05
    scale_transfer_lr: bool = False

    def __post_init__(self) -> None:
        FastSlow.__post_init__(self)
        require(0 < self.eta <= 1, "eta", self.eta, "> 0 and at most 1")
        require(
            0 < self.chop_prob <= 1, "chop_prob", self.chop_prob, "> 0 and at most 1: the reference is set at flips"
        )
        require_rate("transfer_lr", self.transfer_lr)

    def plan(self, tile: TileFacts) -> Plan:
        """The gradient on ``fast``; all of it into ``mean`` and, without the reference, onto ``slow``."""
        gamma = self.gamma
        write = Write(
            target="slow",
            source=(Term("fast", chopped=True), Term("reference", factor=-1.0, chopped=True)),
            rate=Rate(self.transfer_lr, scaled=self.scale_transfer_lr),
            pulses=self.transfer_pulses or PulseTrain(pulse_type="analog_update"),
        )
        residual = (Term("fast", factor=gamma, chopped=True), Term("reference", factor=-gamma, chopped=True))
        return Plan(
            arrays=("fast", "slow", "reference"),
            digital=("mean",),
            weight=(*residual, Term("slow")),
            gradient=self._gradient(chopped=True),
            transfers=(
                self._transfer(
                    self._every(self.transfer_every),
                    Accumulate(into="mean", source=(Term("fast"),), gain=Rate(self.eta), keep=1.0 - self.eta),
                    write,
                    chopper=Chopper(prob=self.chop_prob, scope="array", latch=("mean", "reference")),
                ),
            ),
        )
