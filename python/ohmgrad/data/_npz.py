"""Arrays in NumPy's own files."""

from __future__ import annotations

import os
import zipfile
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np

from .._record import as_float
from ._dataset import Dataset, arrays, cut
from ._idx import read


def npz(
    path: str | os.PathLike[str],
    *,
    x: str = "x",
    y: str = "y",
    scale: float = 1.0,
    limit: int | None = None,
) -> Dataset:
    """The data set in two arrays of an ``.npz`` file, as :func:`numpy.savez` writes it; never pickled objects.

    **Arguments:**

    - `x`, `y`: names of the arrays. The inputs have shape ``[n, ...]`` and are flattened to ``[n, features]``; targets
      as for :func:`ohmgrad.data.arrays`.
    - `scale`: factor on the inputs, such as 1/255 for pixels, finite.
    - `limit`: take the first `limit` >= 1 vectors only.

    **Raises:** `FileNotFoundError`; `ValueError` or `TypeError` naming the file and what is wrong with it.

    >>> import numpy as np, ohmgrad as og, pathlib, tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> path = pathlib.Path(folder.name) / "images.npz"
    >>> np.savez(path, x_test=np.ones((5, 2, 3), np.uint8), y_test=np.arange(5))
    >>> og.data.npz(path, x="x_test", y="y_test", scale=1 / 255, limit=4)
    Dataset(4 vectors of 6 features, classes 0..3)
    >>> folder.cleanup()
    """
    content, factor = read(Path(path)), as_float("scale", scale)
    try:
        with np.load(BytesIO(content), allow_pickle=False) as stored:
            names = stored.files
            if missing := [name for name in (x, y) if name not in names]:
                raise ValueError(f"there is no array {missing[0]!r}; it has {', '.join(names) or 'none'}")
            inputs, targets = stored[x], stored[y]
        rows = cut(len(inputs) if inputs.ndim else 0, limit)
        if inputs.ndim > 2:
            inputs = inputs.reshape(len(inputs), -1)
        if factor != 1:
            if inputs.dtype.kind not in "biuf":
                raise TypeError(f"x: numbers are needed, got dtype {inputs.dtype}")
            with np.errstate(over="ignore"):
                inputs = inputs.astype(np.float32) * np.float32(factor)
        if inputs.ndim and targets.ndim and len(inputs) != len(targets):
            raise ValueError(f"y: {len(targets)} targets for {len(inputs)} vectors in x")
        return arrays(inputs[:rows] if inputs.ndim else inputs, targets[:rows] if targets.ndim else targets)
    except TypeError as error:
        raise TypeError(f"{path}: {error}") from error
    except (ValueError, AttributeError, OSError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"{path}: damaged, or not what it should be: {error}") from error
