"""Chopped Tiki-Taka (c-TTv2): signs that flip from pass to pass turn a wrong reference of the fast array into noise.

    W      = gamma c fast + slow                                      c = c_line c_cross, +-1 for each row and column
    fast   <- fast - rho * c d x^T                                    every vector, in pulses
    hidden <- hidden + s * c * read(fast, k)                          line k, when a transfer is due; then k <- k + 1
    n      =  clip(trunc(hidden), +-BL)                               pulses on slow[k], for steps of one granularity
    hidden <- momentum * hidden,  or  hidden - (1 - momentum) n       where n != 0  (forget_buffer, or not)
    c_line[k] <- -c_line[k]                                           with in_chop_prob, or in every so many passes

What the device adds to the reads by itself has the same sign before and after a flip, and cancels in ``hidden``; what
the gradient wrote changes its sign with ``c``. ``s = transfer_lr`` (times ``lr``) over ``buffer_granularity`` times the
granularity of ``fast`` (times ``auto_granularity / (lines |transfer_every|)``).

M. J. Rasch, F. Carta, O. Fagbohungbe, T. Gokmen, "Fast and robust analog in-memory deep neural network training", Nat.
Commun. 15, 7133 (2024); parameters named as in aihwkit. Digital storage: one number per cell (``hidden``) and a sign
for each line. Per sample, with transfers after every t-th vector: n_reads_per_transfer / t lines are read, and written
where the threshold is passed.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import Any

from ..pulses import PulseTrain
from .base import Accumulate, Chopper, Every, Gradient, Plan, Rate, Term, Threshold, TileFacts, Write, algorithms
from .fast_slow import FastSlow, check_buffer, require


@algorithms.register
@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class ChoppedTikiTakaV2(FastSlow):
    """Arrays ``fast`` and ``slow``, a digital matrix ``hidden``; set weights go to ``slow``.

    Beside the fields of :class:`~ohmgrad.algorithms.FastSlow`, of which ``transfer_every`` counts vectors by default,
    and a negative one is ``max(1, round(n_states / lines |transfer_every|))`` vectors:

    - ``in_chop_prob``: probability that a line flips after it was read, 0 to 1; with ``in_chop_random=False`` it flips
      in every ``max(ceil(1 / in_chop_prob), 2)``-th pass. ``out_chop_prob``: that a crossing line flips after a pass.
    - ``transfer_lr``: rate of the buffer, >= 0; ``scale_transfer_lr``: times the learning rate.
      ``correct_gradient_magnitudes``: over the rate of the gradient, with the granularity of ``slow`` instead.
    - ``buffer_granularity`` (> 0), ``auto_granularity`` (>= 0): the threshold in granularities, and in reads of a pass.
    - ``momentum``: what stays in the buffer, 0 to below 1; ``forget_buffer``: of all that it held, else of what was
      written. ``no_buffer``: nothing is kept from one read to the next.
    - ``step``: size of the written pulses in granularities, > 0.
    - ``auto_scale``: the gradient sends about ``fast_lr desired_bl`` pulses whatever its size, by running maxima of
      ``|x|`` and ``|d|`` with ``auto_momentum`` (0 to below 1).
    - ``transfer_pulses=None``: one slot without management, :meth:`ohmgrad.PulseTrain.single`. Of unmanaged trains
      with BL slots a line fires with probability 1 from ``sqrt(BL)`` pulses on: what is above that is lost.

    >>> import ohmgrad as og
    >>> og.ChoppedTikiTakaV2(fast_lr=0.1, auto_scale=True)
    ChoppedTikiTakaV2(fast_lr=0.1, auto_scale=True)
    """

    fast_lr: float = 1.0
    units_in_mbatch: bool = False
    in_chop_prob: float = 0.1
    in_chop_random: bool = True
    out_chop_prob: float = 0.0
    transfer_lr: float = 1.0
    scale_transfer_lr: bool = True
    buffer_granularity: float = 1.0
    auto_granularity: float = 0.0
    momentum: float = 0.0
    forget_buffer: bool = True
    no_buffer: bool = False
    step: float = 1.0
    auto_scale: bool = False
    auto_momentum: float = 0.99
    correct_gradient_magnitudes: bool = False

    def __post_init__(self) -> None:
        FastSlow.__post_init__(self)
        check_buffer(self)
        require(0 <= self.in_chop_prob <= 1, "in_chop_prob", self.in_chop_prob, "from 0 to 1")
        require(0 <= self.out_chop_prob <= 1, "out_chop_prob", self.out_chop_prob, "from 0 to 1")
        require(0 <= self.auto_momentum < 1, "auto_momentum", self.auto_momentum, "from 0 to below 1")

    def _check_period(self, name: str, period: float) -> None:
        require(period != 0, name, period, "not 0")
        require(-inf < period, name, period, "finite")
        if period > 0:
            FastSlow._check_period(self, name, period)

    def plan(self, tile: TileFacts) -> Plan:
        """The gradient on ``fast``; lines of it into ``hidden``, and from there pulses onto ``slow``."""
        chopped = self.in_chop_prob > 0 or self.out_chop_prob > 0
        buffer = Accumulate(
            into="hidden",
            source=(Term("fast", chopped=chopped),),
            gain=self._gain(tile),
            keep=0.0 if self.no_buffer else 1.0,
        )
        return Plan(
            arrays=("fast", "slow"),
            digital=("hidden",),
            weight=(Term("fast", factor=self.gamma, chopped=chopped), Term("slow")),
            gradient=self._scaled_gradient(chopped),
            transfers=(
                self._transfer(
                    self._schedule(tile), buffer, self._write(tile), chopper=self._chopper() if chopped else None
                ),
            ),
        )

    def _schedule(self, tile: TileFacts) -> Every:
        if self.transfer_every > 0:
            return self._every(self.transfer_every)
        return Every(max(1, round(tile.n_states("fast") / self._lines(tile) * -self.transfer_every)))

    def _gain(self, tile: TileFacts) -> Rate:
        unit = tile.granularity("slow" if self.correct_gradient_magnitudes else "fast") * self.buffer_granularity
        if self.auto_granularity > 0:
            unit *= self.auto_granularity / (self._lines(tile) * abs(self.transfer_every))
        return Rate(
            self.transfer_lr / unit,
            scaled=self.scale_transfer_lr,
            per_gradient_rate=self.correct_gradient_magnitudes,
        )

    def _scaled_gradient(self, chopped: bool) -> Gradient:
        return self._gradient(chopped=chopped, auto_scale=self.auto_momentum if self.auto_scale else None)

    def _chopper(self, **more: Any) -> Chopper:
        return Chopper(prob=self.in_chop_prob, random=self.in_chop_random, cross_prob=self.out_chop_prob, **more)

    def _write(self, tile: TileFacts, limit: float = 0.0, after_passes: int | None = None) -> Write:
        pulses = self.transfer_pulses or PulseTrain.single()
        return Write(
            target="slow",
            source=(Term("hidden"),),
            rate=Rate(self.step * tile.granularity("slow")),
            threshold=Threshold(
                cap=pulses.desired_bl,
                momentum=self.momentum,
                forget=self.forget_buffer,
                limit=limit * pulses.desired_bl,
            ),
            after_passes=after_passes,
            pulses=pulses,
        )
