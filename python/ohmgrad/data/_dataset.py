"""A data set is a pair of arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


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
