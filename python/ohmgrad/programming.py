"""Write and verify: weights onto a crossbar, pulse by pulse, until what is read is what was wanted.

    repeat   e = w - read        n = rint(e / granularity), at most `max_pulses` in size, 0 where |e| <= tolerance
             n pulses on every cell, up where n > 0

The closed loop corrects spread, asymmetry and noise of the cells; what is out of reach is reported, not hidden.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from ._arrays import as_float32
from ._record import Record, as_float, as_int

if TYPE_CHECKING:
    from .tile import Tile

__all__ = ["ProgramReport", "program"]


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class ProgramReport(Record):
    """What programming did.

    - ``rounds``: readings that were followed by pulses; ``pulses``: all of them.
    - ``within``: share of cells whose weight, without the noise of a reading, is within the tolerance in the end.
    - ``error_mean``, ``error_std``, ``error_max``: of that weight minus the wanted one, the last in absolute value.
    """

    rounds: int
    pulses: int
    within: float
    error_mean: float
    error_std: float
    error_max: float


def program(
    tile: Tile,
    w: ArrayLike,
    *,
    tolerance: float | None = None,
    max_rounds: int = 100,
    max_pulses: int = 10,
    reads: int = 0,
) -> ProgramReport:
    """Program the weight of ``tile`` to ``w``, ``[d_out, d_in]``, by pulses on the array that carries its weights.

    - ``tolerance``: of a weight, > 0; None: the granularity of that array. ``max_rounds`` >= 1. ``max_pulses``: of a
      cell in one round, 1 to 2**20. ``reads``: readings through the periphery that are averaged in a round, >= 0; 0:
      the exact weight.

    Other arrays of the tile stay as they are. Raises ValueError or TypeError naming the argument; KeyboardInterrupt
    between two rounds.

    >>> import ohmgrad as og
    >>> tile = og.Tile(2, 2, device=og.devices.SoftBounds(dw_min=0.01, dw_min_std=0.3, dw_min_dtod=0.3))
    >>> report = tile.program([[0.5, -0.2], [0.0, 0.1]])
    >>> report.within, report.error_max < 0.01
    (1.0, True)
    """
    target = as_float32("w", w, (tile.d_out, tile.d_in))
    name, factor = tile.carrier
    step = abs(factor) * tile.granularity(name)
    limit = step if tolerance is None else as_float("tolerance", tolerance)
    if not 0 < limit < 2.0**128:
        raise ValueError(f"tolerance must be > 0 and finite in float32, got {tolerance}")
    if not 1 <= as_int("max_pulses", max_pulses) <= 1 << 20:
        raise ValueError(f"max_pulses must be 1 to 2**20, got {max_pulses}")
    for field, value, low in (("max_rounds", max_rounds, 1), ("reads", reads, 0)):
        if as_int(field, value) < low:
            raise ValueError(f"{field} must be >= {low}, got {value}")
    # A step that float32 rounds to zero would divide zero by zero.
    unit = max(np.float32(step), np.finfo(np.float32).tiny)
    array, sign = tile.arrays[name], 1 if factor > 0 else -1
    rounds = pulses = 0
    for _ in range(max_rounds):
        error = target - (tile.read_weights(reads) if reads else tile.weights)
        with np.errstate(over="ignore"):
            pulses_needed = np.rint(error / unit)
        wanted = np.clip(pulses_needed, -max_pulses, max_pulses).astype(np.int32)
        # What rounds to no pulse but is out of tolerance gets one.
        wanted = np.where(wanted == 0, np.sign(error).astype(np.int32), wanted)
        counts = np.where(np.abs(error) > limit, wanted, 0)
        if not counts.any():
            break
        array.pulse(sign * counts)
        rounds, pulses = rounds + 1, pulses + int(np.abs(counts, dtype=np.int64).sum())
    left = tile.weights.astype(np.float64) - target
    return ProgramReport(
        rounds=rounds,
        pulses=pulses,
        within=float(np.mean(np.abs(left) <= limit)),
        error_mean=float(left.mean()),
        error_std=float(left.std()),
        error_max=float(np.abs(left).max()),
    )
