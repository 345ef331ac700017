"""AGAD: the reference of the fast array is measured on the fly, between one flip of the chopper and the next.

    W         = gamma c fast + slow                                   c = c_line c_cross, +-1 for each row and column
    fast      <- fast - rho * c d x^T                                 every vector, in pulses
    v         =  read(fast, k)                                        line k, when a transfer is due; then k <- k + 1
    hidden    <- hidden + s * c * (v - reference)
    n         =  clip(trunc(hidden), +-BL)                            pulses on slow[k], once n_s passes are complete
    hidden    <- momentum * hidden,  or  hidden - (1 - momentum) n    where n != 0  (forget_buffer, or not)
    mean      <- (1 - m_s) mean + m_s v
    c_line[k] <- -c_line[k],  reference <- mean                       in every n_s-th pass

    n_s = max(ceil(1 / in_chop_prob), 2),    m_s = min(tail_weightening / n_s, 1)

What the fast array held at the end of the last period is what it counts from in this one: no symmetric point has to be
known, and the array may hardly forget. ``s`` as in :class:`ChoppedTikiTakaV2`.

M. J. Rasch, F. Carta, O. Fagbohungbe, T. Gokmen, "Fast and robust analog in-memory deep neural network training", Nat.
Commun. 15, 7133 (2024), with the leaky mean as in aihwkit (the paper prints its second term with a minus); parameters
named as there. Digital storage: three numbers per cell (``hidden``, ``mean``, ``reference``) and a sign for each line.
Reads and writes per sample as in c-TTv2.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil, inf

from .base import Accumulate, Plan, Rate, Term, TileFacts, algorithms
from .chopped_tiki_taka_v2 import ChoppedTikiTakaV2
from .fast_slow import require


@algorithms.register
@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class AGAD(ChoppedTikiTakaV2):
    """:class:`ChoppedTikiTakaV2` with a reference of its own: digital matrices ``hidden``, ``mean`` and ``reference``.

    Beside its fields, of which ``in_chop_random`` stays False and ``in_chop_prob`` is not 0:

    - ``tail_weightening``: weight of the latest reads in the mean, > 0; as many of a period as make 1 count alike.
    - ``subtract_reference``: the weight has ``gamma c (fast - reference)`` instead of ``gamma c fast``. With that and
      ``gamma > 0`` this is the algorithm in the published code of E-RIDER (arXiv 2602.21321; see :class:`ERIDER`).
    - ``buffer_cap``: without ``forget_buffer``, what stays in the buffer is at most so many times ``desired_bl`` of the
      writes, >= 0; 0: any.

    >>> import ohmgrad as og
    >>> og.AGAD(in_chop_prob=0.05)
    AGAD(in_chop_prob=0.05)
    """

    fast_lr: float = 0.1
    in_chop_random: bool = False
    auto_scale: bool = True
    tail_weightening: float = 5.0
    subtract_reference: bool = False
    buffer_cap: float = 0.0

    def __post_init__(self) -> None:
        ChoppedTikiTakaV2.__post_init__(self)
        allowed = "from 1e-9 to 1: the reference is taken at its flips"
        require(self.in_chop_prob >= 1e-9, "in_chop_prob", self.in_chop_prob, allowed)
        require(not self.in_chop_random, "in_chop_random", self.in_chop_random, "False: periods have a fixed length")
        require(0 < self.tail_weightening < inf, "tail_weightening", self.tail_weightening, "finite and > 0")
        require(0 <= self.buffer_cap < inf, "buffer_cap", self.buffer_cap, "finite and >= 0")

    def plan(self, tile: TileFacts) -> Plan:
        """As in c-TTv2, with reads counted from ``reference``, and their ``mean`` latched into it at a flip."""
        passes = max(ceil(1 / self.in_chop_prob), 2)
        share = min(self.tail_weightening / passes, 1.0)
        residual = (Term("fast", chopped=True), Term("reference", factor=-1.0, chopped=True))
        seen = residual if self.subtract_reference else residual[:1]
        return Plan(
            arrays=("fast", "slow"),
            digital=("hidden", "mean", "reference"),
            weight=(*(replace(term, factor=self.gamma * term.factor) for term in seen), Term("slow")),
            gradient=self._scaled_gradient(True),
            transfers=(
                self._transfer(
                    self._schedule(tile),
                    Accumulate(
                        into="hidden",
                        source=residual,
                        gain=self._gain(tile),
                        keep=0.0 if self.no_buffer else 1.0,
                    ),
                    self._write(tile, limit=self.buffer_cap, after_passes=passes),
                    Accumulate(into="mean", source=(Term("fast"),), gain=Rate(share), keep=1.0 - share),
                    chopper=self._chopper(latch=("mean", "reference")),
                ),
            ),
        )
