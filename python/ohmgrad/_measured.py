"""Tables of measured steps, as CrossSim distributes them: a folder per device, plain or compressed.

A file ``dG_increasing*.txt[.gz]`` or ``dG_decreasing*.txt[.gz]`` has a line of text, the ``n`` conductances, ``m``
cumulative probabilities from 0 to 1, and ``m`` lines of ``n`` steps: the distribution of the step at each conductance.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterable
from itertools import pairwise
from math import isfinite
from pathlib import Path

Steps = tuple[list[float], list[float], list[float]]


def read_steps(folder: Path, direction: str) -> Steps:
    """Conductances, means and variances of the steps; ``direction`` is ``"increasing"`` or ``"decreasing"``.

    FileNotFoundError if the folder has no such file; ValueError naming the file if it has another form.
    """
    files = sorted([*folder.glob(f"dG_{direction}*.txt"), *folder.glob(f"dG_{direction}*.txt.gz")])
    if not files:
        raise FileNotFoundError(f"folder {str(folder)!r} has no dG_{direction}*.txt or dG_{direction}*.txt.gz")
    path = files[0]
    try:
        text = (gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()).decode()
        rows = [[float(v) for v in line.replace(",", " ").split()] for line in text.splitlines()[1:] if line.strip()]
    except (OSError, EOFError, zlib.error, ValueError) as error:
        raise ValueError(f"{path} is no table of steps: {error}") from None
    if len(rows) < 4 or not all(isfinite(v) for row in rows for v in row):
        raise ValueError(f"{path} has {len(rows)} rows of numbers, allowed: 4 or more, finite")
    conductances, probabilities, *steps = rows
    if len(steps) != len(probabilities) or any(len(row) != len(conductances) for row in steps):
        shape = f"{len(probabilities)} rows of {len(conductances)}"
        raise ValueError(f"{path} has {len(steps)} rows of steps, allowed: {shape}, as its first two rows say")
    if any(a > b for a, b in pairwise(probabilities)) or (probabilities[0], probabilities[-1]) != (0.0, 1.0):
        raise ValueError(f"{path} has probabilities that do not rise from 0 to 1")
    moments = [_moments(probabilities, [row[at] for row in steps]) for at in range(len(conductances))]
    return conductances, [mean for mean, _ in moments], [variance for _, variance in moments]


def _moments(probabilities: list[float], steps: list[float]) -> tuple[float, float]:
    """Mean and variance of a distribution whose quantiles are joined by straight lines."""
    quantiles = pairwise(zip(probabilities, steps, strict=True))
    parts = [(high - low, a, b) for (low, a), (high, b) in quantiles]
    mean = total(p * (a + b) / 2 for p, a, b in parts)
    # around the mean, so that nothing cancels
    around = [(p, a - mean, b - mean) for p, a, b in parts]
    return mean, total(p * (a * a + a * b + b * b) / 3 for p, a, b in around)


def total(values: Iterable[float]) -> float:
    """The sum from left to right: that of Python has other bits in other versions."""
    result = 0.0
    for value in values:
        result += value
    return result
