"""What pulses do to one cell: its response measured pulse by pulse, and trains of pulses up and down."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._record import as_int
from .devices import Device
from .seeds import Seeds
from .tile import Tile

__all__ = ["cell", "drawn_response", "mean", "noise_free", "pulse_train"]

Floats = NDArray[np.float64]

_NOISE = "dw_min_std", "dw_min_std_add", "dw_min_std_slope", "write_noise_std", "diffusion", "reset_std"


def noise_free(device: Device) -> Device:
    """The device without what changes from pulse to pulse; its cells are drawn as before.

    >>> import ohmgrad as og
    >>> og.curves.noise_free(og.devices.SoftBounds(dw_min_std=0.3, dw_min_dtod=0.1))
    SoftBounds(dw_min_dtod=0.1)
    """
    return _zeroed(device, [f.name for f in fields(device) if f.name in _NOISE])


def mean(device: Device) -> Device:
    """The device without noise and without spread: every cell is the mean cell.

    >>> import ohmgrad as og
    >>> og.curves.mean(og.devices.SoftBounds(dw_min_std=0.3, dw_min_dtod=0.1))
    SoftBounds()
    """
    spread = [f.name for f in fields(device) if f.name.endswith("_dtod")]
    others = [f.name for f in fields(device) if f.name in ("reference_std", "corrupt_devices_prob")]
    return _zeroed(noise_free(device), [*spread, *others])


def cell(
    device: Device, *, at: tuple[int, int] = (0, 0), shape: tuple[int, int] | None = None, seed: int | Seeds = 0
) -> tuple[Tile, tuple[int, int]]:
    """A tile of `shape` (just large enough unless given) with cells of `device`, and the place of one of them in it.

    Which values a cell has depends on `seed` and its row and column alone.
    **Raises:** `ValueError` for a cell outside the tile.

    >>> import ohmgrad as og
    >>> tile, (row, column) = og.curves.cell(og.devices.SoftBounds(w_max_dtod=0.1), at=(1, 2), seed=3)
    >>> tile.d_out, tile.d_in
    (2, 3)
    """
    at = as_int("cell", at[0]), as_int("cell", at[1])
    rows, columns = (at[0] + 1, at[1] + 1) if shape is None else shape
    if not (0 <= at[0] < rows and 0 <= at[1] < columns):
        raise ValueError(f"cell must be within the {rows} x {columns} cells, from 0,0 on, got {at[0]},{at[1]}")
    return Tile(rows, columns, device=device, seed=seed), at


def drawn_response(tile: Tile, at: tuple[int, int], w: Sequence[float]) -> tuple[Floats, Floats, Floats]:
    """The weights `w` as the cell `at` of a tile of :func:`cell` takes them, and its steps up and down from there.

    All are in units of the weight; steps are >= 0 where the cell moves as it should. The weights of the tile change.

    >>> import ohmgrad as og
    >>> tile, at = og.curves.cell(og.devices.ConstantStep(dw_min=0.25))
    >>> og.curves.drawn_response(tile, at, [0.0, 0.5, 1.0])
    (array([0. , 0.5, 1. ]), array([0.25, 0.25, 0.  ]), array([0.25, 0.25, 0.25]))
    """
    from_where, steps = [], []
    for weight in w:
        for sign in (1, -1):
            tile.set_weights(np.full((tile.d_out, tile.d_in), weight))
            before = float(tile.weights[at])
            _pulse(tile, at, sign)
            steps.append(sign * (float(tile.weights[at]) - before))
        from_where.append(before)
    return np.array(from_where), np.array(steps[::2]), np.array(steps[1::2])


def pulse_train(tile: Tile, at: tuple[int, int], pulses: int) -> Floats:
    """Weights of the cell `at` from its lower bound on: before, after each of `pulses` pulses up, and as many down.

    The result has shape ``[2 pulses + 1]``. The weights of the tile change.

    >>> import ohmgrad as og
    >>> tile, at = og.curves.cell(og.devices.ConstantStep(dw_min=0.5))
    >>> og.curves.pulse_train(tile, at, 3)
    array([-1. , -0.5,  0. ,  0.5,  0. , -0.5, -1. ])
    """
    tile.set_weights(np.full((tile.d_out, tile.d_in), -1e30))
    weights = [float(tile.weights[at])]
    for sign in [1] * pulses + [-1] * pulses:
        _pulse(tile, at, sign)
        weights.append(float(tile.weights[at]))
    return np.array(weights)


def _zeroed(device: Device, names: list[str]) -> Device:
    zeros: dict[str, Any] = dict.fromkeys(names, 0.0)
    return replace(device, **zeros)


def _pulse(tile: Tile, at: tuple[int, int], sign: int) -> None:
    counts = np.zeros((tile.d_out, tile.d_in), np.int64)
    counts[at] = sign
    tile.arrays["weight"].pulse(counts)
