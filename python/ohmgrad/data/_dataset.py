"""A data set is a pair of arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._record import as_int


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """Inputs and targets of one part of a data set. Make one with :func:`arrays`.

    - `x`: float32, shape ``[n, features]``.
    - `y`: int64 class numbers, shape ``[n]``, or float32 values to be fitted, shape ``[n, outputs]``.

    >>> import ohmgrad as og
    >>> train, test = og.data.digits()
    >>> test
    Dataset(360 vectors of 64 features, classes 0..9)
    """

    x: NDArray[np.float32]
    y: NDArray[Any]

    def __len__(self) -> int:
        return len(self.x)

    @property
    def classes(self) -> bool:
        """Whether the targets are class numbers (so that there is an accuracy)."""
        return self.y.ndim == 1

    def split(self, n: int) -> tuple[Dataset, Dataset]:
        """The first `n` vectors and the rest, 1 <= `n` < len, sharing memory with this one.

        >>> import ohmgrad as og
        >>> train, validation = og.data.digits()[0].split(1000)
        >>> len(train), len(validation)
        (1000, 437)
        """
        if not 1 <= as_int("n", n) < len(self):
            raise ValueError(f"n must be >= 1 and < {len(self)}, the number of vectors, got {n}")
        return Dataset(self.x[:n], self.y[:n]), Dataset(self.x[n:], self.y[n:])

    def __repr__(self) -> str:
        what = f"classes {self.y.min()}..{self.y.max()}" if self.classes else f"{self.y.shape[1]} target values each"
        return f"Dataset({len(self)} vectors of {self.x.shape[1]} features, {what})"


def arrays(x: ArrayLike, y: ArrayLike) -> Dataset:
    """Make a :class:`Dataset` of two arrays.

    **Arguments:**

    - `x`: finite numbers, shape ``[n, features]``, n >= 1; taken as float32.
    - `y`: class numbers (integers >= 0), shape ``[n]``, or finite values, shape ``[n, outputs]``.

    **Raises:** `ValueError` naming the array when a shape, a value or the number of vectors is wrong; `TypeError` when
    the content is no numbers.

    >>> import ohmgrad as og
    >>> og.data.arrays([[0.0, 1.0], [1.0, 0.0]], [1, 0])
    Dataset(2 vectors of 2 features, classes 0..1)
    """
    inputs = _float32("x", x)
    if len(inputs) == 0:
        raise ValueError("x: the data set is empty; at least one vector is needed")
    targets = np.asarray(y)
    if targets.ndim == 1:
        if targets.dtype.kind not in "iu":
            raise TypeError(f"y: class numbers must be integers, got dtype {targets.dtype} (other values: 2-D)")
        targets = np.ascontiguousarray(targets, dtype=np.int64)
        if len(targets) and targets.min() < 0:
            raise ValueError(f"y: class numbers must be >= 0, got {targets.min()}")
    else:
        targets = _float32("y", targets)
    if len(targets) != len(inputs):
        raise ValueError(f"y: {len(targets)} targets for {len(inputs)} vectors in x")
    return Dataset(inputs, targets)


def _float32(name: str, values: ArrayLike) -> NDArray[np.float32]:
    given = np.asarray(values)
    if given.dtype.kind not in "biuf":
        raise TypeError(f"{name}: numbers are needed, got dtype {given.dtype}")
    if given.ndim != 2:
        raise ValueError(f"{name}: shape [n, features] is needed, got {given.shape}")
    with np.errstate(over="ignore"):
        made = np.ascontiguousarray(given, dtype=np.float32)
    if not np.isfinite(made).all():
        raise ValueError(f"{name}: all values must be finite float32 numbers")
    return made


def cut(n: int, limit: int | None) -> int:
    """How many of `n` vectors a `limit` leaves."""
    if limit is not None and as_int("limit", limit) < 1:
        raise ValueError(f"limit must be >= 1, got {limit}")
    return n if limit is None else min(n, limit)


def as_images(
    pixels: NDArray[np.uint8], colours: int, scales: Sequence[tuple[float, float]] | None
) -> NDArray[np.float32]:
    """Bytes ``[n, ...]`` as float32 ``[n, features]`` in [0, 1], or scaled by (mean, deviation) of each colour."""
    made = pixels.reshape(len(pixels), colours, -1).astype(np.float32) / np.float32(255)
    if scales is not None:
        mean, deviation = (np.array(values, np.float32)[:, None] for values in zip(*scales, strict=True))
        made = (made - mean) / deviation
    return made.reshape(len(pixels), -1)


def as_labels(path: Path, labels: NDArray[np.uint8], classes: int) -> NDArray[np.int64]:
    """Labels of a file as int64 class numbers; ValueError naming the file for one that is no class."""
    if labels.size and (largest := int(labels.max())) >= classes:
        raise ValueError(f"{path}: there is a label {largest}, allowed: 0 to {classes - 1}")
    return labels.astype(np.int64)
