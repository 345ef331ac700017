"""The digital factors around a tile: how effective weights and the conductances of a crossbar belong together."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import _core
from .._record import as_bool, as_float, as_int

Floats = NDArray[np.float32]

DEFAULTS: dict[str, Any] = {
    "learn_out_scaling": False,
    "out_scaling_columnwise": False,
    "weight_scaling_omega": 0.0,
    "weight_scaling_columnwise": False,
    "weight_scaling_lr_compensation": False,
    "digital_bias": True,
    "max_input_size": 0,
    "max_output_size": 0,
}
"""Settings of the mapping, as they are unless set."""


def chosen(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of the mapping among `settings`, checked; those that are `None` or not there as in `DEFAULTS`."""
    given = {field: settings.get(field) for field in DEFAULTS}
    return {field: DEFAULTS[field] if v is None else _checked(field, v) for field, v in given.items()}


def _checked(field: str, value: object) -> object:
    if isinstance(DEFAULTS[field], bool):
        return as_bool(field, value)
    if isinstance(DEFAULTS[field], int):
        if not 0 <= (size := as_int(field, value)) < 2**31:
            raise ValueError(f"{field} must be an integer from 0 (any size) to 2**31 - 1, got {size}")
        return size
    if not 0 <= (number := as_float(field, value)) < math.inf:
        raise ValueError(f"{field} must be finite and >= 0, got {value}")
    return number


class Factors:
    """The factors behind a matrix of `lines` outputs: `a` is fixed, `o` is learned; one value, or one per output.

    A weight ``W`` in the crossbar is the effective weight ``a * o * W``. Both are float32, of shape ``[1]`` or
    ``[lines]``, and 1 in the beginning. `settings` are what :func:`chosen` gives; :class:`ohmgrad.nn.Linear` explains.
    """

    def __init__(self, lines: int, settings: Mapping[str, Any]) -> None:
        self._omega, self._learns = settings["weight_scaling_omega"], settings["learn_out_scaling"]
        self._compensates = settings["weight_scaling_lr_compensation"]
        self.take(
            np.ones(lines if self._omega and settings["weight_scaling_columnwise"] else 1, np.float32),
            np.ones(lines if self._learns and settings["out_scaling_columnwise"] else 1, np.float32),
        )

    def take(self, a: Floats, o: Floats) -> None:
        """Set both factors."""
        self.a, self.o = a, o
        # Training runs learn `o` in every step, mostly with an `a` of 1: without the products by it.
        only_o = _is_one(a)
        self.both = o if only_o else a * o
        """``a * o``."""
        # What forward, backward and update passes need of them, which are many.
        self._is_one = _is_one(self.both)
        # fsum is exact until it rounds, on every machine.
        self._mean = math.fsum(a.tolist()) / a.size if self._compensates else 1.0
        scale = o if only_o or self._compensates else o / a
        self._scale = None if _is_one(scale) else scale
        self.for_core = self.both, self._scale, self._mean, a, o if self._learns else None
        """What the core needs of them in a step of a whole network."""

    def fit(self, w: Floats) -> None:
        """Choose `a` so that the crossbar holds `w`, ``[lines, columns]``, in [-omega, omega]; a line of zeros keeps 1.

        **Raises:** `ValueError` when a factor is beyond float32.
        """
        if not self._omega:
            return
        largest = np.abs(w).max(axis=1) if self.a.size > 1 else np.abs(w).max().reshape(1)
        factors = [v / self._omega if v else 1.0 for v in largest.tolist()]
        for factor in factors:
            if not 2.0**-126 <= factor < 2.0**128:
                raise ValueError(f"weight_scaling_omega: {self._omega} makes a factor of {factor}, beyond float32")
        self.take(np.array(factors, np.float32), self.o)

    def output(self, y: Floats, bias: Floats | None) -> Floats:
        """``a * o * y + bias``, ``[batch, lines]``."""
        return y if bias is None and self._is_one else _core.scale_bias(y, self.both, bias)

    def error(self, d: Floats) -> Floats:
        """``a * o * d``: what goes back through the crossbar."""
        return d if self._is_one else d * self.both

    def step(self, d: Floats, lr: float) -> tuple[Floats, float]:
        """Errors and rate for the update of the crossbar: ``o * d / a`` at `lr`, or ``o * d`` at ``lr / mean(a)``."""
        return d if self._scale is None else d * self._scale, lr / self._mean

    def learn(self, d: Floats, y: Floats, lr: float, bias: Floats | None) -> Floats | None:
        """``o - lr * dL/do`` with ``dL/do = sum d * (a * y)`` over the batch (and the outputs, for a single `o`).

        Returns ``bias - lr * sum d``.
        """
        if not self._learns and bias is None:
            return None
        o, bias = _core.digital_step(d, y, lr, self.a, self.o if self._learns else None, bias)
        if o is not None:
            self.take(self.a, o)
        return bias


def _is_one(scale: Floats) -> bool:
    return scale.size == 1 and bool(scale[0] == 1)
