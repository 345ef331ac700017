"""The bundled handwritten digits: E. Alpaydin, C. Kaynak, UCI Machine Learning Repository, 1998 (CC BY 4.0)."""

from __future__ import annotations

from importlib.resources import files
from typing import Literal, overload

import numpy as np

from ._dataset import Dataset


@overload
def digits(validation: Literal[False] = False) -> tuple[Dataset, Dataset]: ...
@overload
def digits(validation: Literal[True]) -> tuple[Dataset, Dataset, Dataset]: ...
def digits(validation: bool = False) -> tuple[Dataset, ...]:
    """Load 1,797 real handwritten digits, 8x8 pixels, as ``(train, test)`` or ``(train, validation, test)``.

    **Arguments:**

    - `validation`: with `False`, 1,437 images for training and 360 for the test; with `True`, the 1,437 are split
      into 1,077 for training and 360 for choosing hyperparameters. The 360 test images are the same either way,
      36 of every digit.

    **Returns:** :class:`Dataset` objects: `x` float32 ``[n, 64]`` in [0, 1] (sixteenths), `y` int64 ``[n]`` in 0..9.

    Source: E. Alpaydin, C. Kaynak, *Optical Recognition of Handwritten Digits*, UCI Machine Learning Repository,
    1998, DOI 10.24432/C50P49, licence CC BY 4.0.

    >>> import ohmgrad as og
    >>> [len(part) for part in og.data.digits()], [len(part) for part in og.data.digits(validation=True)]
    ([1437, 360], [1077, 360, 360])
    """
    folder = files(__package__)
    with (folder / "digits.npz").open("rb") as file, np.load(file) as stored:
        x = stored["x"].astype(np.float32) / np.float32(16)
        y = stored["y"].astype(np.int64)
    rows = {}
    for line in (folder / "digits_split.txt").read_text(encoding="ascii").splitlines():
        name, *numbers = line.split()
        rows[name] = np.array(numbers, dtype=np.int64)
    if not validation:
        rows["train"] = np.sort(np.concatenate((rows["train"], rows.pop("validation"))))
    return tuple(Dataset(x[rows[name]], y[rows[name]]) for name in ("train", "validation", "test") if name in rows)
