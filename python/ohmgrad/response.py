"""Response functions of a device, noise-free and in float64: what a pulse does to the mean cell at weight ``w``.

One pulse moves the weight by ``+dw_min q_up(w)`` or ``-dw_min q_down(w)``. The symmetric part ``F`` and the asymmetric
part ``G`` decide what training does (arXiv 2502.06309):

    F(w) = (q_down(w) + q_up(w)) / 2        G(w) = (q_down(w) - q_up(w)) / 2

The symmetric point is the root of ``G``: there a pair of an up and a down pulse leaves the weight in place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from . import _core
from ._arrays import as_float64
from ._record import Record

__all__ = ["Response", "Table"]

Curve = NDArray[np.float64]
Grid = NDArray[Any] | Sequence[float]


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class Response(Record):
    """What every device can tell about itself; weights are numbers (the answer is a float) or arrays of any shape.

    >>> from ohmgrad.devices import LinearResponse
    >>> device = LinearResponse(tau=2.0, c=0.5, dw_min=0.01)
    >>> device.q_up(0.0), device.q_down(0.0)
    (1.5, 0.5)
    >>> device.G([-1.0, 0.0, 1.0])
    array([-1. , -0.5,  0. ])
    >>> round(device.symmetric_point, 12), device.n_states, device.bounds
    (1.0, 400.0, (-2.0, 2.0))
    """

    @overload
    def q_up(self, w: float) -> float: ...
    @overload
    def q_up(self, w: Grid) -> Curve: ...
    def q_up(self, w: float | Grid) -> float | Curve:
        """Step of an up pulse at ``w`` in units of ``dw_min``."""
        return _evaluate(self, w, _up)

    @overload
    def q_down(self, w: float) -> float: ...
    @overload
    def q_down(self, w: Grid) -> Curve: ...
    def q_down(self, w: float | Grid) -> float | Curve:
        """Step of a down pulse at ``w`` in units of ``dw_min``."""
        return _evaluate(self, w, _down)

    @overload
    def F(self, w: float) -> float: ...
    @overload
    def F(self, w: Grid) -> Curve: ...
    def F(self, w: float | Grid) -> float | Curve:  # noqa: N802
        """Symmetric part of the response at ``w``, ``(q_down + q_up) / 2``."""
        return _evaluate(self, w, _symmetric)

    @overload
    def G(self, w: float) -> float: ...
    @overload
    def G(self, w: Grid) -> Curve: ...
    def G(self, w: float | Grid) -> float | Curve:  # noqa: N802
        """Asymmetric part of the response at ``w``, ``(q_down - q_up) / 2``."""
        return _evaluate(self, w, _asymmetric)

    @property
    def symmetric_point(self) -> float:
        """The weight where ``q_up = q_down``; nan where there is none."""
        return self._facts()["symmetric_point"]

    @property
    def granularity(self) -> float:
        """The nominal step that pulse counts refer to, in weight units."""
        return self._facts()["granularity"]

    @property
    def n_states(self) -> float:
        """Number of steps over the nominal range, ``(w_max - w_min) / granularity``."""
        return self._facts()["n_states"]

    @property
    def bounds(self) -> tuple[float, float]:
        """The nominal range ``(w_min, w_max)``."""
        facts = self._facts()
        return facts["w_min"], facts["w_max"]

    def _facts(self) -> dict[str, float]:
        return _core.device_facts(self.describe())


class Table(tuple[float, ...]):
    """Values of a measured response: a tuple of floats that can be called like the function it samples."""

    _device: Response
    _combine: Callable[[Curve, Curve], Curve]

    @classmethod
    def up(cls, values: Iterable[float], device: Response) -> Table:
        """The table ``q_up`` of ``device``."""
        return cls._bound(values, device, _up)

    @classmethod
    def down(cls, values: Iterable[float], device: Response) -> Table:
        """The table ``q_down`` of ``device``."""
        return cls._bound(values, device, _down)

    @classmethod
    def _bound(cls, values: Iterable[float], device: Response, combine: Callable[[Curve, Curve], Curve]) -> Table:
        table = cls(values)
        table._device, table._combine = device, combine
        return table

    @overload
    def __call__(self, w: float) -> float: ...
    @overload
    def __call__(self, w: Grid) -> Curve: ...
    def __call__(self, w: float | Grid) -> float | Curve:
        return _evaluate(self._device, w, self._combine)


def _up(up: Curve, down: Curve) -> Curve:
    return up


def _down(up: Curve, down: Curve) -> Curve:
    return down


def _symmetric(up: Curve, down: Curve) -> Curve:
    return (down + up) / 2


def _asymmetric(up: Curve, down: Curve) -> Curve:
    return (down - up) / 2


def _evaluate(device: Response, w: float | Grid, combine: Callable[[Curve, Curve], Curve]) -> float | Curve:
    grid = as_float64(w)
    values = combine(*_core.response(device.describe(), grid.reshape(-1))).reshape(grid.shape)
    return float(values) if values.ndim == 0 else values
