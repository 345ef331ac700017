"""CIFAR-10 and CIFAR-100 in their binary versions (A. Krizhevsky, cs.toronto.edu/~kriz/cifar.html, 2009)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

import numpy as np

from .._record import as_bool
from ._dataset import Dataset, as_images, as_labels, cut
from ._idx import read

_PIXELS = 3 * 32 * 32
_SCALES_10 = (0.4914, 0.2470), (0.4822, 0.2435), (0.4465, 0.2616)
_SCALES_100 = (0.5071, 0.2673), (0.4865, 0.2564), (0.4409, 0.2762)
_Scales = tuple[tuple[float, float], ...]


def cifar10(
    folder: str | os.PathLike[str], *, normalize: bool = False, limit: int | None = None
) -> tuple[Dataset, Dataset]:
    """CIFAR-10 as ``(train, test)``, from the files of its binary version in `folder`. Nothing is downloaded.

    These are ``data_batch_1.bin`` to ``data_batch_5.bin`` and ``test_batch.bin``, also in the archive's own folder
    ``cifar-10-batches-bin`` below `folder`.

    **Arguments:**

    - `normalize`: subtract the mean of each colour and divide by its standard deviation (0.4914, 0.4822, 0.4465 and
      0.2470, 0.2435, 0.2616); else the pixels are in [0, 1]. `x` is float32, ``[n, 3072]``: the red, the green and the
      blue image, each row by row.
    - `limit`: take the first `limit` >= 1 images of each part only.

    **Raises:** `FileNotFoundError` for a missing file; `ValueError` for one that is truncated or something else,
    naming the file and what is wrong with it.

    >>> import ohmgrad as og
    >>> og.data.cifar10("no-such-folder")
    Traceback (most recent call last):
    FileNotFoundError: no-such-folder: there is no data_batch_1.bin (the binary version of CIFAR-10)
    """
    names = {"train": [f"data_batch_{i}.bin" for i in range(1, 6)], "test": ["test_batch.bin"]}
    return _parts(Path(folder), "CIFAR-10", "cifar-10-batches-bin", names, (10,), 0, normalize, _SCALES_10, limit)


def cifar100(
    folder: str | os.PathLike[str],
    *,
    labels: Literal["fine", "coarse"] = "fine",
    normalize: bool = False,
    limit: int | None = None,
) -> tuple[Dataset, Dataset]:
    """CIFAR-100 as ``(train, test)``, from ``train.bin`` and ``test.bin`` of its binary version; see :func:`cifar10`.

    The files may lie in ``cifar-100-binary`` below `folder`.

    **Arguments:** `labels`: ``"fine"``, 100 classes, or ``"coarse"``, 20. `normalize`: means 0.5071, 0.4865, 0.4409,
    standard deviations 0.2673, 0.2564, 0.2762. `limit`: as for :func:`cifar10`.

    >>> import ohmgrad as og
    >>> og.data.cifar100("no-such-folder")
    Traceback (most recent call last):
    FileNotFoundError: no-such-folder: there is no train.bin (the binary version of CIFAR-100)
    """
    if labels not in ("fine", "coarse"):
        raise ValueError(f"labels must be 'fine' or 'coarse', got {labels!r}")
    names, column = {"train": ["train.bin"], "test": ["test.bin"]}, ["coarse", "fine"].index(labels)
    return _parts(
        Path(folder), "CIFAR-100", "cifar-100-binary", names, (20, 100), column, normalize, _SCALES_100, limit
    )


def _parts(
    folder: Path,
    title: str,
    below: str,
    names: dict[str, list[str]],
    classes: tuple[int, ...],
    column: int,
    normalize: bool,
    scales: _Scales,
    limit: int | None,
) -> tuple[Dataset, Dataset]:
    """Both parts of a data set of records: one byte per kind of label, then the pixels."""
    record, made = len(classes) + _PIXELS, []
    for files in names.values():
        x, y = [], []
        for name in files:
            path = next((p for p in (folder / name, folder / below / name) if p.is_file()), None)
            if path is None:
                raise FileNotFoundError(f"{folder}: there is no {name} (the binary version of {title})")
            content = read(path)
            if not content or len(content) % record:
                raise ValueError(
                    f"{path}: truncated, or no file of {title}: records of {record} bytes are needed, it has "
                    f"{len(content)} bytes"
                )
            rows = np.frombuffer(content, np.uint8).reshape(-1, record)
            # All kinds of labels are looked at: a file of another kind shows there.
            labels = [as_labels(path, rows[:, i], n) for i, n in enumerate(classes)]
            x.append(rows[:, len(classes) :])
            y.append(labels[column])
        images, targets = np.concatenate(x), np.concatenate(y)
        kept = cut(len(images), limit)
        made.append(
            Dataset(as_images(images[:kept], 3, scales if as_bool("normalize", normalize) else None), targets[:kept])
        )
    return made[0], made[1]
