"""Digital SGD: the exact baseline.

    W <- W - lr * sum_b d_b x_b^T

The weight is a float32 matrix in digital memory: no pulses, no bounds, no cells. The forward and the backward product
still run through the tile's IO, which is ideal unless set. It has no parameters.
"""

from __future__ import annotations

from dataclasses import dataclass

from .._record import Record
from .base import Gradient, Plan, Rate, Term, TileFacts, algorithms


@algorithms.register
@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class DigitalSGD(Record):
    """Plain stochastic gradient descent on a digital matrix named ``weight``.

    >>> import ohmgrad as og
    >>> tile = og.Tile(1, 2, algorithm=og.DigitalSGD())
    >>> tile.update([1.0, 2.0], [1.0], lr=0.5)
    >>> tile.weights
    array([[-0.5, -1. ]], dtype=float32)
    """

    def plan(self, tile: TileFacts) -> Plan:
        """One digital matrix, the exact gradient on it."""
        gradient = Gradient(target="weight", rate=Rate(1.0, scaled=True))
        return Plan(digital=("weight",), weight=(Term("weight"),), gradient=gradient)
