"""The bundled digits and data sets of one's own."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import ohmgrad as og
from ohmgrad.data import Dataset, arrays, cifar10, cifar100, digits, fashion_mnist, idx, mnist, npz


def rows(*parts: Dataset) -> list[bytes]:
    return sorted(x.tobytes() + y.tobytes() for part in parts for x, y in zip(part.x, part.y, strict=True))


def test_digits_are_the_published_ones():
    train, test = digits()
    assert (train.x.shape, test.x.shape) == ((1437, 64), (360, 64))
    for part in (train, test):
        assert (part.x.dtype, part.y.dtype) == (np.float32, np.int64)
        assert (part.x.min(), part.x.max()) == (0.0, 1.0)
        assert ((16 * part.x) % 1 == 0).all()
    # How often each digit occurs among the 1,797 test images of the UCI data set, as its description says.
    assert np.bincount(np.concatenate((train.y, test.y))).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    # Two of the images with the same grey values and labels would be lost in a set, so the multiset is compared.
    everything = b"".join(rows(train, test))
    assert hashlib.sha256(everything).hexdigest() == "ea7310cc57b6d92bd15a2ad4c577fe0427bcf2eced78b7768be572924f7880c4"


def test_the_split_is_fixed_and_loses_nothing():
    train, validation, test = digits(validation=True)
    both, same_test = digits()
    assert [len(part) for part in (train, validation, test)] == [1077, 360, 360]
    assert rows(train, validation) == rows(both)
    np.testing.assert_array_equal(test.x, same_test.x)
    for part in (validation, test):
        assert np.bincount(part.y).tolist() == [36] * 10


def test_images_look_like_their_digits():
    """Nearest class mean is right for about nine of ten digits: labels and pixels belong together."""
    train, test = digits()
    means = np.array([train.x[train.y == digit].mean(0) for digit in range(10)])
    nearest = ((test.x[:, None] - means) ** 2).sum(2).argmin(1)
    assert (nearest == test.y).mean() > 0.85


def test_arrays_converts():
    made = arrays(np.arange(6, dtype=np.float64).reshape(2, 3).T, np.array([1, 0, 2], np.uint8))
    assert (made.x.dtype, made.y.dtype, made.x.flags.c_contiguous, len(made)) == (np.float32, np.int64, True, 3)
    assert made.classes
    assert not arrays([[1], [2]], [[0.5], [1.5]]).classes
    assert repr(arrays([[1], [2]], [[0.5], [1.5]])) == "Dataset(2 vectors of 1 features, 1 target values each)"


@pytest.mark.parametrize(
    ("x", "y", "error", "message"),
    [
        (np.zeros((0, 3)), np.zeros(0, int), ValueError, "x: the data set is empty"),
        (np.zeros(3), [0, 1, 2], ValueError, "x: shape"),
        ([[np.nan]], [0], ValueError, "x: all values must be finite"),
        ([[1e60]], [0], ValueError, "x: all values must be finite"),
        ([["a"]], [0], TypeError, "x: numbers are needed"),
        ([[1j]], [0], TypeError, "x: numbers are needed"),
        ([[1.0]], [0.5], TypeError, "y: class numbers must be integers"),
        ([[1.0]], [-1], ValueError, "y: class numbers must be >= 0, got -1"),
        ([[1.0]], [0, 1], ValueError, "y: 2 targets for 1 vectors"),
        ([[1.0]], [[np.inf]], ValueError, "y: all values must be finite"),
        ([[1.0]], 3, ValueError, "y: shape"),
    ],
)
def test_wrong_arrays_are_named(x, y, error, message):
    with pytest.raises(error, match=message):
        arrays(x, y)


def test_fit_takes_pairs_of_arrays():
    model = og.nn.Sequential(og.nn.Linear(2, 2, digital=True)).on()
    history = og.fit(model, ([[0, 1], [1, 0]], [0, 1]), epochs=1, batch_size=1, lr=0.1)
    assert set(history) == {"lr", "train_loss", "train_accuracy"}


def test_a_data_set_is_split_in_order():
    data = arrays(np.arange(10).reshape(5, 2), np.arange(5))
    first, rest = data.split(2)
    assert (first.y.tolist(), rest.y.tolist(), rest.x[0].tolist()) == ([0, 1], [2, 3, 4], [4.0, 5.0])
    for n, error in ((0, ValueError), (5, ValueError), (1.0, TypeError)):
        with pytest.raises(error, match=r"^n must be"):
            data.split(n)


# ---- files: small ones, made here

RNG = np.random.default_rng(5)
IMAGES = {"train": RNG.integers(0, 256, (12, 28, 28), np.uint8), "t10k": RNG.integers(0, 256, (5, 28, 28), np.uint8)}
LABELS = {"train": RNG.integers(0, 10, 12, np.uint8), "t10k": RNG.integers(0, 10, 5, np.uint8)}
CODES = {"u1": 8, "i1": 9, "i2": 11, "i4": 12, "f4": 13, "f8": 14}


def as_idx(values: NDArray[Any]) -> bytes:
    kind = values.dtype.str[1:]
    head = bytes([0, 0, CODES[kind], values.ndim]) + b"".join(n.to_bytes(4, "big") for n in values.shape)
    return head + values.astype(f">{kind}").tobytes()


def mnist_files(folder: Path, pack: Callable[[bytes], bytes] = bytes, end: str = "") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for part in IMAGES:
        (folder / f"{part}-images-idx3-ubyte{end}").write_bytes(pack(as_idx(IMAGES[part])))
        (folder / f"{part}-labels-idx1-ubyte{end}").write_bytes(pack(as_idx(LABELS[part])))
    return folder


def cifar_records(kinds: int, n: int, seed: int) -> NDArray[np.uint8]:
    rng = np.random.default_rng(seed)
    records = rng.integers(0, 256, (n, kinds + 3072), np.uint8)
    records[:, :kinds] = rng.integers(0, 10, (n, kinds), np.uint8)
    return records


def cifar_files(folder: Path) -> Path:
    for i in range(1, 6):
        (folder / f"data_batch_{i}.bin").write_bytes(cifar_records(1, 3, i).tobytes())
    (folder / "test_batch.bin").write_bytes(cifar_records(1, 2, 6).tobytes())
    (folder / "train.bin").write_bytes(cifar_records(2, 4, 7).tobytes())
    (folder / "test.bin").write_bytes(cifar_records(2, 2, 8).tobytes())
    return folder


@pytest.mark.parametrize("kind", CODES)
@pytest.mark.parametrize("shape", [(3,), (2, 3), (2, 3, 4)])
def test_idx_has_every_kind_of_number(kind, shape, tmp_path):
    values = np.arange(-3, np.prod(shape) - 3).astype(kind).reshape(shape)
    for name, content in (("plain", as_idx(values)), ("packed.gz", gzip.compress(as_idx(values)))):
        (tmp_path / name).write_bytes(content)
        read = idx(tmp_path / name)
        assert (read.dtype, read.shape) == (np.dtype(kind), shape)
        np.testing.assert_array_equal(read, values)


@pytest.mark.parametrize(
    ("pack", "end", "below"), [(bytes, "", ""), (gzip.compress, ".gz", ""), (gzip.compress, ".gz", "MNIST/raw")]
)
def test_mnist_is_read_as_it_lies_there(pack, end, below, tmp_path):
    mnist_files(tmp_path / below, pack, end)
    for part, data in zip(IMAGES, mnist(tmp_path), strict=True):
        assert (data.x.dtype, data.y.dtype, data.x.flags.c_contiguous) == (np.float32, np.int64, True)
        np.testing.assert_array_equal(data.x, IMAGES[part].reshape(-1, 784).astype(np.float32) / np.float32(255))
        np.testing.assert_array_equal(data.y, LABELS[part])


def test_normalize_and_limit(tmp_path):
    mnist_files(tmp_path)
    plain = mnist(tmp_path, limit=4)
    assert [len(part) for part in plain] == [4, 4]
    assert [len(part) for part in mnist(tmp_path, limit=7)] == [7, 5]
    for read, mean, deviation in ((mnist, 0.1307, 0.3081), (fashion_mnist, 0.2860, 0.3530)):
        scaled = read(tmp_path, normalize=True, limit=4)
        # one subtraction and one division of float32 numbers below 4
        np.testing.assert_allclose(scaled[0].x, (plain[0].x - mean) / deviation, rtol=0, atol=1e-6)
        np.testing.assert_array_equal(scaled[1].y, plain[1].y)
    for limit, error in ((0, ValueError), (-1, ValueError), (1.5, TypeError), (True, TypeError)):
        with pytest.raises(error, match=r"^limit must be"):
            mnist(tmp_path, limit=limit)
    with pytest.raises(TypeError, match=r"^normalize must be True or False"):
        mnist(tmp_path, normalize="no")


def test_cifar_is_read_colour_by_colour(tmp_path):
    cifar_files(tmp_path)
    train, test = cifar10(tmp_path)
    records = np.concatenate([cifar_records(1, 3, i) for i in range(1, 6)])
    np.testing.assert_array_equal(train.x, records[:, 1:].astype(np.float32) / np.float32(255))
    np.testing.assert_array_equal(train.y, records[:, 0])
    assert (len(test), test.x.shape[1]) == (2, 3072)
    scaled, _ = cifar10(tmp_path, normalize=True, limit=2)
    mean, deviation = np.repeat([[0.4914, 0.4822, 0.4465], [0.2470, 0.2435, 0.2616]], 1024, 1)
    np.testing.assert_allclose(scaled.x, (train.x[:2] - mean) / deviation, rtol=0, atol=1e-6)
    records = cifar_records(2, 4, 7)
    for column, labels in enumerate(("coarse", "fine")):
        train, test = cifar100(tmp_path, labels=labels)
        np.testing.assert_array_equal(train.y, records[:, column])
        np.testing.assert_array_equal(train.x, records[:, 2:].astype(np.float32) / np.float32(255))
    (tmp_path / "cifar-10-batches-bin").mkdir()
    for path in list(tmp_path.glob("*_batch*.bin")):
        path.rename(tmp_path / "cifar-10-batches-bin" / path.name)
    assert len(cifar10(tmp_path)[0]) == 15


def test_npz_takes_images_and_values(tmp_path):
    path = tmp_path / "data.npz"
    np.savez(path, x=IMAGES["train"], y=LABELS["train"], points=np.ones((4, 3)), targets=np.zeros((4, 2)))
    images = npz(path, scale=1 / 255)
    np.testing.assert_array_equal(images.x, IMAGES["train"].reshape(12, 784).astype(np.float32) * np.float32(1 / 255))
    assert images.classes
    values = npz(path, x="points", y="targets", limit=3)
    assert (values.x.shape, values.y.shape, values.classes) == ((3, 3), (3, 2), False)


def change(name: str, edit: Callable[[bytes], bytes]) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes(edit((folder / name).read_bytes()))


TRAIN, LABEL, TEST = "train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte"


@pytest.mark.parametrize(
    ("read", "spoil", "error", "names", "message"),
    [
        (mnist, lambda f: (f / TEST).unlink(), FileNotFoundError, "", "no t10k-images-idx3-ubyte or t10k"),
        (mnist, lambda f: (f / LABEL).unlink(), FileNotFoundError, "", "no train-labels-idx1-ubyte or train"),
        (mnist, change(TRAIN, lambda c: c[:-1]), ValueError, TRAIN, r"truncated: .* \[12, 28, 28\] .*9424 .*9423"),
        (mnist, change(TRAIN, lambda c: c + b"x"), ValueError, TRAIN, r"longer than it says.*9424 .*9425"),
        (mnist, change(TRAIN, lambda c: c[:9]), ValueError, TRAIN, "truncated"),
        (mnist, change(TRAIN, lambda c: b""), ValueError, TRAIN, "no IDX file: it begins with nothing"),
        (mnist, change(TRAIN, lambda c: b"\x89PNG"), ValueError, TRAIN, "no IDX file: it begins with 89504e47"),
        (mnist, change(TRAIN, lambda c: b"\0\0\x0a" + c[3:]), ValueError, TRAIN, "no IDX file"),
        (mnist, change(TRAIN, lambda c: c[:4] + b"\xff" * 12 + c[16:]), ValueError, TRAIN, "truncated"),
        (mnist, change(TRAIN, lambda c: gzip.compress(c)[:-9]), ValueError, TRAIN, "damaged or truncated gzip"),
        (mnist, change(TRAIN, lambda c: b"\x1f\x8b" + c), ValueError, TRAIN, "damaged or truncated gzip"),
        (mnist, change(TRAIN, lambda c: as_idx(LABELS["train"])), ValueError, TRAIN, r"28 x 28 .*uint8 \[12\]"),
        (mnist, change(LABEL, lambda c: as_idx(IMAGES["train"])), ValueError, LABEL, "labels of one byte"),
        (mnist, change(LABEL, lambda c: as_idx(LABELS["t10k"])), ValueError, LABEL, "5 labels for the 12 images"),
        (mnist, change(LABEL, lambda c: c[:-1] + b"\x0a"), ValueError, LABEL, "a label 10, allowed: 0 to 9"),
        (fashion_mnist, change(LABEL, lambda c: c[:-1] + b"\xff"), ValueError, LABEL, "a label 255, allowed: 0 to 9"),
        (cifar10, lambda f: (f / "data_batch_4.bin").unlink(), FileNotFoundError, "", "no data_batch_4.bin .*binary"),
        (cifar10, change("data_batch_2.bin", lambda c: c[:-1]), ValueError, "data_batch_2.bin", "3073 .*9218 bytes"),
        (cifar10, change("test_batch.bin", lambda c: b""), ValueError, "test_batch.bin", "truncated.* 0 bytes"),
        (cifar10, change("test_batch.bin", lambda c: b"\x0a" + c[1:]), ValueError, "test_batch.bin", "label 10, .*9"),
        (cifar100, change("train.bin", lambda c: b"\x14" + c[1:]), ValueError, "train.bin", "label 20, .*0 to 19"),
        (cifar100, change("test.bin", lambda c: b"\0\x64" + c[2:]), ValueError, "test.bin", "label 100, .*0 to 99"),
        (cifar100, change("test.bin", lambda c: c[:-2]), ValueError, "test.bin", "records of 3074 bytes"),
    ],
)
def test_a_wrong_file_is_named(read, spoil, error, names, message, tmp_path):
    mnist_files(tmp_path)
    cifar_files(tmp_path)
    read(tmp_path)
    spoil(tmp_path)
    with pytest.raises(error, match=message) as caught:
        read(tmp_path)
    assert str(caught.value).startswith(f"{tmp_path / names}: ")


@pytest.mark.parametrize(
    ("content", "options", "error", "message"),
    [
        (None, {}, FileNotFoundError, "there is no such file"),
        (b"", {}, ValueError, "damaged"),
        (b"PK\x03\x04 and no more", {}, ValueError, "damaged"),
        (slice(0, -30), {}, ValueError, "damaged"),
        ({"x": np.ones((2, 2))}, {}, ValueError, "there is no array 'y'; it has x"),
        ({"x": np.ones((2, 2)), "y": np.zeros(3, int)}, {}, ValueError, "y: 3 targets for 2 vectors"),
        ({"x": np.ones((2, 2)), "y": np.zeros(3, int)}, {"limit": 2}, ValueError, "y: 3 targets for 2 vectors"),
        ({"x": np.ones((2, 2)), "y": np.array(["a", "b"])}, {}, TypeError, "y: class numbers must be integers"),
        ({"x": np.array([["a"]]), "y": np.zeros(1, int)}, {"scale": 0.5}, TypeError, "x: numbers are needed"),
        ({"x": np.array([[None]]), "y": np.zeros(1, int)}, {}, ValueError, "allow_pickle=False"),
        ({"x": np.array(1.0), "y": np.zeros(1, int)}, {}, ValueError, "x: shape"),
        ({"x": np.ones((1, 1)), "y": np.zeros(1, int)}, {"scale": np.inf}, ValueError, "x: all values must be finite"),
        ({"x": np.ones((1, 1)), "y": np.zeros(1, int)}, {"limit": 0}, ValueError, "limit must be >= 1, got 0"),
    ],
)
def test_a_wrong_npz_is_named(content, options, error, message, tmp_path):
    path = tmp_path / "data.npz"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        np.savez(path, **(content if isinstance(content, dict) else {"x": np.ones((2, 2)), "y": np.zeros(2, int)}))
        if isinstance(content, slice):
            path.write_bytes(path.read_bytes()[content])
    with pytest.raises(error, match=message) as caught:
        npz(path, **options)
    assert str(caught.value).startswith(f"{path}: ")
