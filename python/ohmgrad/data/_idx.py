"""IDX files, the format of MNIST and its family (Y. LeCun, C. Cortes, C. Burges, yann.lecun.com/exdb/mnist)."""

from __future__ import annotations

import gzip
import math
import os
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._record import as_bool
from ._dataset import Dataset, as_images, as_labels, cut

_TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_PARTS = {"train": "train", "test": "t10k"}


def idx(path: str | os.PathLike[str]) -> NDArray[Any]:
    """The array in an IDX file, plain or compressed with gzip, in its own shape and kind of numbers.

    The file is two zero bytes, a byte for the kind of numbers, a byte for the number of dimensions, each dimension as
    a big-endian 32-bit integer, and the numbers in C order.

    **Raises:** `FileNotFoundError`; `ValueError` for a file that is damaged, truncated or of another kind, naming the
    file and what is wrong with it.

    >>> import ohmgrad as og, pathlib, tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> path = pathlib.Path(folder.name) / "labels-idx1-ubyte"
    >>> _ = path.write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 3, 7, 2, 1]))
    >>> og.data.idx(path)
    array([7, 2, 1], dtype=uint8)
    >>> folder.cleanup()
    """
    content = read(Path(path))
    if content[:2] == b"\x1f\x8b":
        try:
            content = gzip.decompress(content)
        except (OSError, EOFError, zlib.error) as error:
            raise ValueError(f"{path}: a damaged or truncated gzip file ({error})") from error
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] not in _TYPES or not content[3]:
        raise ValueError(f"{path}: no IDX file: it begins with {content[:4].hex() or 'nothing'}, not with 0000")
    start = 4 + 4 * content[3]
    shape = tuple(int.from_bytes(content[i : i + 4], "big") for i in range(4, start, 4))
    kind = np.dtype(_TYPES[content[2]])
    need, size = start + math.prod(shape) * kind.itemsize, len(content)
    if size < start or size != need:
        what = "truncated" if size < max(start, need) else "longer than it says"
        raise ValueError(f"{path}: {what}: its head announces {list(shape)} {kind.name}, {need} bytes, it has {size}")
    return np.frombuffer(content, kind, offset=start).reshape(shape).astype(kind.newbyteorder("="))


def mnist(
    folder: str | os.PathLike[str], *, normalize: bool = False, limit: int | None = None
) -> tuple[Dataset, Dataset]:
    """The MNIST digits as ``(train, test)``, from the four IDX files in `folder`, plain or compressed with gzip.

    The files have their usual names, ``train-images-idx3-ubyte``, ``train-labels-idx1-ubyte``,
    ``t10k-images-idx3-ubyte``, ``t10k-labels-idx1-ubyte``, with or without ``.gz``; they may also lie in
    ``MNIST/raw``, where torchvision puts them. Nothing is downloaded.

    **Arguments:**

    - `normalize`: subtract the mean 0.1307 of the training pixels and divide by their standard deviation 0.3081; else
      the pixels are in [0, 1]. `x` is float32, ``[n, 784]``, rows of the image one after the other.
    - `limit`: take the first `limit` >= 1 images of each part only.

    **Raises:** `FileNotFoundError` for a missing file; `ValueError` for one that is damaged, truncated or something
    else, naming the file and what is wrong with it.

    >>> import ohmgrad as og
    >>> og.data.mnist("no-such-folder")
    Traceback (most recent call last):
    FileNotFoundError: no-such-folder: there is no train-images-idx3-ubyte or train-images-idx3-ubyte.gz
    """
    return _family(folder, "MNIST", (0.1307, 0.3081), normalize, limit)


def fashion_mnist(
    folder: str | os.PathLike[str], *, normalize: bool = False, limit: int | None = None
) -> tuple[Dataset, Dataset]:
    """Fashion-MNIST (H. Xiao, K. Rasul, R. Vollgraf, arXiv 1708.07747) as ``(train, test)``; see :func:`mnist`.

    The files have the names of MNIST's, in `folder` or its ``FashionMNIST/raw``; the mean is 0.2860 and the standard
    deviation 0.3530.

    >>> import ohmgrad as og
    >>> og.data.fashion_mnist("no-such-folder")
    Traceback (most recent call last):
    FileNotFoundError: no-such-folder: there is no train-images-idx3-ubyte or train-images-idx3-ubyte.gz
    """
    return _family(folder, "FashionMNIST", (0.2860, 0.3530), normalize, limit)


def read(path: Path) -> bytes:
    """The content of a regular file: a pipe would wait for ever."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: there is no such file")
    return path.read_bytes()


def _family(
    folder: str | os.PathLike[str], name: str, scale: tuple[float, float], normalize: bool, limit: int | None
) -> tuple[Dataset, Dataset]:
    parts = []
    for part in _PARTS.values():
        images, labels = (_find(Path(folder), name, f"{part}-{what}-ubyte") for what in ("images-idx3", "labels-idx1"))
        x, y = idx(images), idx(labels)
        if x.dtype != np.uint8 or x.shape[1:] != (28, 28) or not len(x):
            raise ValueError(f"{images}: images of 28 x 28 bytes are needed, got {x.dtype.name} {list(x.shape)}")
        if y.dtype != np.uint8 or y.ndim != 1:
            raise ValueError(f"{labels}: labels of one byte are needed, got {y.dtype.name} {list(y.shape)}")
        if len(x) != len(y):
            raise ValueError(f"{labels}: {len(y)} labels for the {len(x)} images of {images.name}")
        labelled = as_labels(labels, y, 10)
        rows = cut(len(x), limit)
        parts.append(
            Dataset(as_images(x[:rows], 1, [scale] if as_bool("normalize", normalize) else None), labelled[:rows])
        )
    return parts[0], parts[1]


def _find(folder: Path, name: str, file: str) -> Path:
    for place in (folder, folder / name / "raw"):
        for path in (place / file, place / f"{file}.gz"):
            if path.is_file():
                return path
    raise FileNotFoundError(f"{folder}: there is no {file} or {file}.gz")
