"""Analog SGD: the gradient goes straight onto the array, in pulses.

    W <- W + DW * F(W) - |DW| * G(W) + noise,        DW = -lr d x^T      for each vector in turn

T. Gokmen, Y. Vlasov, "Acceleration of deep neural network training with resistive cross-point devices", Front.
Neurosci. 10:333 (2016); the equation is the mean over the pulses, arXiv 2406.12774. Where the response of the device
is not symmetric, the term with G pulls the weight to the symmetric point. Digital storage: none; nothing is read or
written but the gradient.
"""

from __future__ import annotations

from dataclasses import dataclass

from .._record import Record
from ..calibration import ZeroShift
from .base import Gradient, Plan, Rate, Term, TileFacts, algorithms


@algorithms.register
@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class AnalogSGD(Record):
    """Pulsed stochastic gradient descent on one array named ``weight``.

    - ``zero_shift``: how the array is calibrated when the tile is built, see :class:`ZeroShift`; None: not at all.

    >>> import ohmgrad as og
    >>> tile = og.Tile(1, 2, algorithm=og.AnalogSGD())
    >>> list(tile.arrays)
    ['weight']
    """

    zero_shift: ZeroShift | None = None

    def plan(self, tile: TileFacts) -> Plan:
        """One array, pulses of the gradient on it."""
        gradient = Gradient(target="weight", rate=Rate(1.0, scaled=True))
        return Plan(arrays=("weight",), weight=(Term("weight"),), gradient=gradient)
