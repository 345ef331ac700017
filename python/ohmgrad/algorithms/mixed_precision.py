"""Mixed precision: the gradient is summed in digital memory, and whole steps of it are written to the array.

    chi <- chi - lr d x^T                                            every vector, exactly
    n   =  trunc(chi[i] / epsilon)                                   row i, when a transfer is due
    chi[i] <- chi[i] - n epsilon,    W[i] <- W[i] + transfer_lr epsilon n   in pulses

``W + chi`` is the weight that digital SGD would have, as long as the device does what it is told. ``chi`` has the sign
of a weight (the papers sum the gradient itself).

S. R. Nandakumar et al., "Mixed-precision deep learning based on computational memory", Front. Neurosci. 14:406 (2020);
parameters named as in aihwkit. Digital storage: one number per cell (``chi``), and a product of the size of the array
for every vector. Per sample, with transfers after every mini-batch of m: rows / m lines are written, none is read.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from .._record import Record
from ..calibration import ZeroShift
from ..pulses import PulseTrain
from .base import Every, Gradient, Plan, Rate, Term, Threshold, TileFacts, Transfer, Write, algorithms
from .fast_slow import require, require_rate


@algorithms.register
@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class MixedPrecision(Record):
    """An array ``weight`` and a digital matrix ``chi``.

    - ``transfer_every``: period of the writes in mini-batches, > 0.
    - ``n_rows_per_transfer``: rows written one after the other at each transfer, up to 2**20; -1: all of them.
      ``random_row``: each transfer starts at a random row. ``transfer_columns``: columns instead of rows.
    - ``granularity``: what counts as a step, >= 0; 0: the device's. ``transfer_lr``: factor on what is written, >= 0.
    - ``n_x_bins``, ``n_d_bins``: levels that the inputs and errors of the digital product are rounded to, of width
      ``max|v| / (n / 2)`` for each vector, up to 2**24; 0: none. ``stoc_round_x``, ``stoc_round_d``: by chance.
    - ``transfer_pulses``: of the writes, with both managements; None: :class:`ohmgrad.PulseTrain` with its defaults.
      Steps beyond ``desired_bl`` of one write are lost.
    - ``zero_shift``: how the array is calibrated when the tile is built, see :class:`ZeroShift`; None: not at all.

    Raises ValueError naming the field for a value out of range, TypeError for a value of another kind.

    >>> import ohmgrad as og
    >>> tile = og.Tile(1, 2, device=og.devices.ConstantStep(dw_min=0.25), algorithm=og.MixedPrecision())
    >>> tile.update([1.0, 0.5], [-1.0], lr=0.3)
    >>> tile.weights, tile.arrays["chi"].weights
    (array([[0.25, 0.  ]], dtype=float32), array([[0.05000001, 0.15      ]], dtype=float32))
    """

    transfer_every: float = 1.0
    n_rows_per_transfer: int = -1
    random_row: bool = False
    transfer_columns: bool = False
    granularity: float = 0.0
    transfer_lr: float = 1.0
    n_x_bins: int = 0
    n_d_bins: int = 0
    stoc_round_x: bool = True
    stoc_round_d: bool = True
    transfer_pulses: PulseTrain | None = None
    zero_shift: ZeroShift | None = None

    def __post_init__(self) -> None:
        Record.__post_init__(self)
        require(0 < self.transfer_every < inf, "transfer_every", self.transfer_every, "finite and > 0")
        rows = self.n_rows_per_transfer
        require(rows == -1 or rows >= 1, "n_rows_per_transfer", rows, "-1 or >= 1")
        require_rate("granularity", self.granularity)
        require_rate("transfer_lr", self.transfer_lr)
        for name in ("n_x_bins", "n_d_bins"):
            require(0 <= getattr(self, name) <= 1 << 24, name, getattr(self, name), "from 0 to 2**24")
        if (pulses := self.transfer_pulses) is not None:
            managed = pulses.update_management and pulses.update_bl_management
            require(managed, "transfer_pulses", pulses, "pulses with update_management and update_bl_management")

    def plan(self, tile: TileFacts) -> Plan:
        """The exact gradient on ``chi``, whole steps of its lines onto ``weight``."""
        step = self.granularity or tile.granularity("weight")
        write = Write(
            target="weight",
            source=(Term("chi"),),
            rate=Rate(step * self.transfer_lr),
            unit=step,
            threshold=Threshold(cap=2**31 - 1, forget=False),
            pulses=self.transfer_pulses or PulseTrain(),
        )
        return Plan(
            arrays=("weight",),
            digital=("chi",),
            weight=(Term("weight"),),
            gradient=Gradient(
                target="chi",
                rate=Rate(1.0, scaled=True),
                n_x_bins=self.n_x_bins,
                n_d_bins=self.n_d_bins,
                stoc_round_x=self.stoc_round_x,
                stoc_round_d=self.stoc_round_d,
            ),
            transfers=(
                Transfer(
                    every=Every(self.transfer_every, unit="batches"),
                    steps=(write,),
                    axis="columns" if self.transfer_columns else "rows",
                    reads=max(self.n_rows_per_transfer, 0),
                    random=self.random_row,
                ),
            ),
        )
