"""Residual Learning version 2: a low-pass between the residual array and the slow one takes out the noise of the reads.

    W    = slow + gamma fast                                          gradients g are taken here
    fast <- fast - alpha g F(fast) - alpha |g| G(fast)                every vector, in pulses; alpha = fast_lr
    H    <- (1 - beta_h) H + beta_h read(fast, k)                     line k, when a transfer is due    (eq. 14)
    slow <- slow + beta_w H F(slow) - beta_w |H| G(slow)              where |H| > g                     (eq. 15)

``g`` is the granularity of ``slow``; ``H`` is not consumed. In pulses (``mode="paper"``) a cell gets one with the
probability ``min(1, beta_w |H| / g)``, if ``|H|`` is above its threshold. With ``mode="threshold"`` it gets
``trunc(beta_w H / theta)`` of them, at most ``desired_bl``, ``theta`` being the granularity of ``fast`` (times
``auto_granularity / (lines |transfer_every|)``): the rule that the settings of the authors' scripts are made for.

Z. Wu, Q. Xiao, T. Gokmen, O. Fagbohungbe, T. Chen, "Analog in-memory training on general non-ideal resistive elements",
NeurIPS 2025, arXiv 2502.06309, which writes beta for both rates and means the absolute value in its threshold. Digital
storage: one number per cell (``hidden``). Per sample, with transfers after every mini-batch of m: n_reads_per_transfer
/ m lines are read and, in part, written.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import Any, Literal

from ..pulses import PulseTrain
from .base import Accumulate, Plan, Rate, Term, Threshold, TileFacts, Write, algorithms
from .fast_slow import FastSlow, require, require_rate


@algorithms.register
@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class ResidualLearningV2(FastSlow):
    """Arrays ``fast`` and ``slow``, a digital matrix ``hidden``; set weights go to ``slow``.

    Beside the fields of :class:`~ohmgrad.algorithms.FastSlow`:

    - ``beta_h``: rate of the low-pass, > 0, at most 1; ``beta_w``: rate of the writes, > 0.
    - ``mode``: ``"paper"`` or ``"threshold"``, as above; ``auto_granularity``, >= 0, is for the latter.
    - ``random_selection``: each transfer starts at a random line.
    - ``transfer_pulses=None``: one slot without management, :meth:`ohmgrad.PulseTrain.single`.

    >>> import ohmgrad as og
    >>> og.ResidualLearningV2(beta_w=0.05)
    ResidualLearningV2(beta_w=0.05)
    """

    gamma: float = 0.4
    fast_lr: float = 1.0
    scale_fast_lr: bool = True
    beta_h: float = 0.1
    beta_w: float = 0.1
    mode: Literal["paper", "threshold"] = "paper"
    auto_granularity: float = 0.0
    random_selection: bool = False

    def __post_init__(self) -> None:
        FastSlow.__post_init__(self)
        require(0 < self.beta_h <= 1, "beta_h", self.beta_h, "> 0 and at most 1")
        require(0 < self.beta_w < inf, "beta_w", self.beta_w, "finite and > 0")
        require(self.mode in ("paper", "threshold"), "mode", self.mode, "'paper' or 'threshold'")
        require_rate("auto_granularity", self.auto_granularity)
        used = self.mode == "threshold" or self.auto_granularity == 0
        require(used, "auto_granularity", self.auto_granularity, "0 for mode='paper', whose threshold is a granularity")

    def plan(self, tile: TileFacts) -> Plan:
        """The gradient on ``fast``; lines of it through the low-pass ``hidden``, and from there onto ``slow``."""
        pulses = self.transfer_pulses or PulseTrain.single()
        steps = (
            Accumulate(into="hidden", source=(Term("fast"),), gain=Rate(self.beta_h), keep=1.0 - self.beta_h),
            Write(
                target="slow",
                source=(Term("hidden"),),
                rate=Rate(tile.granularity("slow")),
                pulses=pulses,
                **self._rule(tile, pulses),
            ),
        )
        return Plan(
            arrays=("fast", "slow"),
            digital=("hidden",),
            weight=(Term("fast", factor=self.gamma), Term("slow")),
            gradient=self._gradient(),
            transfers=(self._transfer(self._every(self.transfer_every), *steps, random=self.random_selection),),
        )

    def _rule(self, tile: TileFacts, pulses: PulseTrain) -> dict[str, Any]:
        if self.mode == "paper":
            unit = tile.granularity("slow")
            return dict(unit=unit / self.beta_w, deadband=unit)
        unit = tile.granularity("fast")
        if self.auto_granularity > 0:
            unit *= self.auto_granularity / (self._lines(tile) * self.transfer_every)
        keep = Threshold(cap=pulses.desired_bl, momentum=1.0, forget=False)
        return dict(unit=unit / self.beta_w, threshold=keep)
