"""The bundled digits and data sets of one's own."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

import ohmgrad as og
from ohmgrad.data import Dataset, arrays, digits


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
