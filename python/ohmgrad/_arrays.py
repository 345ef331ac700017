"""Arrays that users give, as floats."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def as_float32(name: str, values: ArrayLike, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """``values`` as a new float32 array of ``shape``; TypeError unless real numbers, ValueError unless finite.

    >>> as_float32("bias", [1, 2], (2,))
    array([1., 2.], dtype=float32)
    """
    given = np.asarray(values)
    if given.dtype.kind not in "fiub":
        raise TypeError(f"{name}: real numbers are needed, got dtype {given.dtype}")
    with np.errstate(over="ignore"):
        made = given.astype(np.float32)
    if made.shape != shape:
        raise ValueError(f"{name}: shape {shape} is needed, got {made.shape}")
    if not np.isfinite(made).all():
        raise ValueError(f"{name}: all values must be finite")
    return made


def as_float64(values: ArrayLike) -> NDArray[np.float64]:
    """``values`` as a float64 array of any shape; TypeError unless real numbers.

    >>> as_float64([1, 2])
    array([1., 2.])
    """
    given = np.asarray(values)
    if given.dtype.kind not in "fiub":
        raise TypeError(f"real numbers are needed, got an array of dtype {given.dtype}")
    return given.astype(np.float64, copy=False)
