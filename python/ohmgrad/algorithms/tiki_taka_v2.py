"""Tiki-Taka version 2: a digital buffer between the arrays integrates what is read, and gives it away in whole pulses.

    W      = gamma fast + slow
    fast   <- fast - rho * d x^T                                      every vector, in pulses
    hidden <- hidden + beta * read(fast, k)                           line k, when a transfer is due; then k <- k + 1
    n      =  clip(trunc(hidden / theta), +-BL)                       pulses on slow[k], for steps of one granularity
    hidden <- momentum * hidden,  or  hidden - (1 - momentum) n theta where n != 0  (forget_buffer, or not)

with ``beta = transfer_lr`` (times ``lr`` if ``scale_transfer_lr``, times ``gamma`` if that is not 0),
``theta = thres_scale`` times the granularity of ``slow``, and ``BL`` the ``desired_bl`` of the writes. The noise of the
reads averages out in the buffer before anything is written.

T. Gokmen, "Enabling training of neural networks on noisy hardware", Front. Artif. Intell. 4:699148 (2021), which is
:meth:`TikiTakaV2.original`; variants as in aihwkit, whose parameters' names these are. Digital storage: one number per
cell (``hidden``). Per sample, with transfers after every mini-batch of m: n_reads_per_transfer / m lines are read, and
written where the threshold is passed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from ..pulses import PulseTrain
from .base import Accumulate, Plan, Rate, Term, Threshold, TileFacts, Write, algorithms
from .chopped_tiki_taka_v2 import ChoppedTikiTakaV2
from .fast_slow import FastSlow, check_buffer, require


@algorithms.register
@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class TikiTakaV2(FastSlow):
    """Arrays ``fast`` and ``slow``, a digital matrix ``hidden``; set weights go to ``slow``.

    Beside the fields of :class:`~ohmgrad.algorithms.FastSlow`:

    - ``variant``: ``"buffered"`` as above (aihwkit's buffered compound), ``hidden`` in units of the weight; or
      ``"chopped"``: :class:`ChoppedTikiTakaV2` without its chopper, ``hidden`` in pulses, with
      ``theta = buffer_granularity`` times the granularity of ``fast``, times ``auto_granularity / (lines
      |transfer_every|)`` if ``auto_granularity`` is not 0.
    - ``transfer_lr``: rate of the buffer, >= 0; ``scale_transfer_lr``: times the learning rate.
    - ``thres_scale`` (``"buffered"``), ``buffer_granularity``, ``auto_granularity`` (``"chopped"``): the threshold, the
      first two > 0, the last >= 0.
    - ``momentum``: what stays in the buffer, 0 to below 1; ``forget_buffer``: of all that it held, else of what was
      written.
    - ``step``: size of the written pulses in granularities, > 0; 1: a line fires once for every pulse.
    - ``random_selection``, ``with_reset_prob``: as in :class:`TikiTaka`, ``"buffered"`` only.
    - ``transfer_pulses=None``: one slot without management, :meth:`ohmgrad.PulseTrain.single`. Of unmanaged trains
      with BL slots a line fires with probability 1 from ``sqrt(BL)`` pulses on: what is above that is lost.

    >>> import ohmgrad as og
    >>> og.TikiTakaV2.original(fast_lr=0.1)
    TikiTakaV2(fast_lr=0.1, momentum=0.0, forget_buffer=False)
    """

    variant: Literal["buffered", "chopped"] = "buffered"
    transfer_lr: float = 1.0
    scale_transfer_lr: bool = True
    thres_scale: float = 1.0
    buffer_granularity: float = 1.0
    auto_granularity: float = 0.0
    momentum: float = 0.1
    forget_buffer: bool = True
    step: float = 1.0
    random_selection: bool = False
    with_reset_prob: float = 0.0

    def __post_init__(self) -> None:
        FastSlow.__post_init__(self)
        require(self.variant in ("buffered", "chopped"), "variant", self.variant, "'buffered' or 'chopped'")
        check_buffer(self)
        require(0 < self.thres_scale < float("inf"), "thres_scale", self.thres_scale, "finite and > 0")
        require(0 <= self.with_reset_prob <= 1, "with_reset_prob", self.with_reset_prob, "from 0 to 1")
        other = {"buffered": ("buffer_granularity", "auto_granularity"), "chopped": _BUFFERED}[self.variant]
        for name in other:
            default = type(self).__dataclass_fields__[name].default
            require(getattr(self, name) == default, name, getattr(self, name), f"{default} for {self.variant!r}")

    @classmethod
    def original(cls, **overrides: Any) -> TikiTakaV2:
        """The algorithm as published: what is written leaves the buffer, the rest stays. ``overrides``: fields."""
        return cls(**dict(momentum=0.0, forget_buffer=False) | overrides)

    def plan(self, tile: TileFacts) -> Plan:
        """The gradient on ``fast``; lines of it into ``hidden``, and from there pulses onto ``slow``."""
        if self.variant == "chopped":
            names = (name for name in ChoppedTikiTakaV2.__dataclass_fields__ if hasattr(self, name))
            return ChoppedTikiTakaV2(in_chop_prob=0.0, **{name: getattr(self, name) for name in names}).plan(tile)
        pulses = self.transfer_pulses or PulseTrain.single()
        unit = tile.granularity("slow")
        threshold = Threshold(cap=pulses.desired_bl, momentum=self.momentum, forget=self.forget_buffer)
        return Plan(
            arrays=("fast", "slow"),
            digital=("hidden",),
            weight=(Term("fast", factor=self.gamma), Term("slow")),
            gradient=self._gradient(),
            transfers=(
                self._transfer(
                    self._every(self.transfer_every),
                    Accumulate(
                        into="hidden",
                        source=(Term("fast"),),
                        gain=Rate(self.transfer_lr * (self.gamma or 1.0), scaled=self.scale_transfer_lr),
                    ),
                    Write(
                        target="slow",
                        source=(Term("hidden"),),
                        rate=Rate(self.step * unit),
                        unit=self.thres_scale * unit,
                        threshold=threshold,
                        pulses=pulses,
                    ),
                    random=self.random_selection,
                    reset_prob=self.with_reset_prob,
                ),
            ),
        )


_BUFFERED = ("thres_scale", "random_selection", "with_reset_prob")
