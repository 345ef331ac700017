"""Laws of ten million random numbers as kernels use them: noise of pulses and of products, weights, trains.

``rust/core/tests/streams.rs`` has the laws of the streams themselves. Here they have gone through vector instructions,
blocks of 32 and the arithmetic around them. Bounds are five standard errors (probability 6e-7) of the exact law.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import comb, erf, sqrt

import numpy as np
import pytest
from numpy.typing import NDArray

import ohmgrad as og
from ohmgrad import _core

Floats = NDArray[np.float64]

ROWS, COLUMNS = 3200, 3200
N = ROWS * COLUMNS
Z = 5.0
KOLMOGOROV = 2.75  # of sqrt(n) D: 2 exp(-2 * 2.75^2) = 5e-7
LAGS = [(0, 1), (0, 2), (0, 32), (1, 0), (1, 1)]
"""Neighbours: rows and columns apart; blocks have 32 columns."""


class Law:
    """What numbers are compared with: polynomials of mean 0 with their variances, a distribution, tails."""

    def __init__(
        self,
        polynomials: dict[str, tuple[Callable[[Floats], Floats], float]],
        cdf: Callable[[float], float],
        grid: Floats,
        tails: tuple[float, ...],
        largest: float,
    ) -> None:
        self.polynomials, self.cdf, self.grid, self.tails, self.largest = polynomials, cdf, grid, tails, largest


# Hermite's and Legendre's polynomials are uncorrelated under their laws.
NORMAL = Law(
    {
        "mean": (lambda z: z, 1.0),
        "variance": (lambda z: z**2 - 1, 2.0),
        "skewness": (lambda z: z**3 - 3 * z, 6.0),
        "kurtosis": (lambda z: z**4 - 6 * z**2 + 3, 24.0),
    },
    lambda z: 0.5 * (1 + erf(z / sqrt(2))),
    np.linspace(-5, 5, 2001),
    (2.0, 3.0, 4.0, 4.5),
    6.2304,
)
UNIFORM = Law(
    {
        "mean": (lambda u: u, 1 / 3),
        "variance": (lambda u: (3 * u**2 - 1) / 2, 1 / 5),
        "skewness": (lambda u: (5 * u**3 - 3 * u) / 2, 1 / 7),
        "kurtosis": (lambda u: (35 * u**4 - 30 * u**2 + 3) / 8, 1 / 9),
    },
    lambda u: (1 + u) / 2,
    np.linspace(-1, 1, 2001),
    (0.9, 0.99, 0.9999, 0.99999),
    1.0,
)


def blocks(values: NDArray[np.float32], overlap: int = 0) -> Iterator[Floats]:
    """Rows in float64, a part at a time, with so many of the next part."""
    for first in range(0, len(values), 400):
        yield values[first : first + 400 + overlap].astype(np.float64)


def check(values: NDArray[np.float32], law: Law) -> None:
    """Moments, tails, the distribution, and neighbours."""
    n = values.size
    assert np.abs(values).max() <= law.largest
    sums = dict.fromkeys(law.polynomials, 0.0)
    below = np.zeros(len(law.grid))
    beyond = np.zeros((2, len(law.tails)))
    for block in blocks(values):
        for name, (polynomial, _) in law.polynomials.items():
            sums[name] += float(polynomial(block).sum())
        ordered = np.sort(block, axis=None)
        below += np.searchsorted(ordered, law.grid, side="right")
        beyond[0] += block.size - np.searchsorted(ordered, law.tails, side="left")
        beyond[1] += np.searchsorted(ordered, -np.array(law.tails), side="right")
    for name, (_, variance) in law.polynomials.items():
        assert abs(sums[name]) < Z * sqrt(variance * n), name
    distance = np.abs(below / n - [law.cdf(float(at)) for at in law.grid]).max()
    assert sqrt(n) * distance < KOLMOGOROV, "distribution"
    for at, tail in enumerate(law.tails):
        expected = n * (1 - law.cdf(tail))
        assert (np.abs(beyond[:, at] - expected) < Z * sqrt(expected)).all(), f"beyond {tail}"
    neighbours(values, law)


def neighbours(values: NDArray[np.float32], law: Law) -> None:
    """Correlations of neighbours and of their squares."""
    rows, columns = values.shape
    pairs = [law.polynomials[name] for name in ("mean", "variance")]
    for down, right in LAGS:
        sums, count = [0.0, 0.0], (rows - down) * (columns - right)
        for block in blocks(values, down):
            here, there = block[: len(block) - down, : columns - right], block[down:, right:]
            for which, (polynomial, _) in enumerate(pairs):
                sums[which] += float((polynomial(here) * polynomial(there)).sum())
        for total, (_, variance) in zip(sums, pairs, strict=True):
            assert abs(total) < Z * variance * sqrt(count), f"neighbours {down}, {right}"


def noise_of_pulses() -> NDArray[np.float32]:
    """One pulse at every cell, from zero, where a step and its noise are all there is."""
    device = og.devices.ConstantStep(dw_min=0.5, dw_min_std=0.5, w_max=64.0, w_min=-64.0)
    tile = og.Tile(ROWS, COLUMNS, device=device, pulses=og.PulseTrain.single(), seed=3)
    tile.update(np.ones(COLUMNS), np.full(ROWS, -1.0), lr=0.5)
    return (tile.weights - np.float32(0.5)) * np.float32(4)


def noise_of_products() -> NDArray[np.float32]:
    tile = og.Tile(COLUMNS, 1, io=og.IO(out_noise=1.0), seed=3)
    tile.set_weights(np.zeros((COLUMNS, 1)))
    return tile.forward(np.ones((ROWS, 1), np.float32))


def noise_of_transposed_products() -> NDArray[np.float32]:
    tile = og.Tile(1, COLUMNS, io=og.IO(), backward_io=og.IO(out_noise=1.0), seed=3)
    tile.set_weights(np.zeros((1, COLUMNS)))
    return tile.backward(np.ones((ROWS, 1), np.float32))


def spread_of_cells() -> NDArray[np.float32]:
    """The reference of a cell is a normal number times its spread."""
    device = og.devices.SoftBounds(w_max=16.0, w_min=-16.0, reference_std=1.0)
    tile = og.Tile(ROWS, COLUMNS, device=device, seed=3)
    return np.asarray(tile.arrays["weight"].parameters["reference"])


@pytest.mark.parametrize(
    "draw",
    [
        noise_of_pulses,
        noise_of_products,
        pytest.param(noise_of_transposed_products, marks=pytest.mark.slow),
        pytest.param(spread_of_cells, marks=pytest.mark.slow),
    ],
)
def test_normals(draw: Callable[[], NDArray[np.float32]]) -> None:
    values = draw()
    assert values.shape == (ROWS, COLUMNS)
    check(values, NORMAL)


def test_uniform_weights() -> None:
    check(_core.uniform_init(3, "fc1", ROWS, COLUMNS, 1.0), UNIFORM)


WRONG: dict[str, tuple[str, Callable[[NDArray[np.float32]], NDArray[np.float32]]]] = {
    "shifted": ("mean", lambda z: z + np.float32(0.003)),
    "scaled": ("variance", lambda z: z * np.float32(1.002)),
    "skewed": ("skewness", lambda z: z + np.float32(0.002) * (z * z - 1)),
    "long tails": ("kurtosis", lambda z: z + np.float32(0.001) * (z * z * z - 3 * z)),
    "in steps": ("distribution", lambda z: np.round(z * 100) / np.float32(100)),
    "cut": ("beyond 4.5", lambda z: np.where(np.abs(z) > 4.5, np.sign(z), z)),
    "leaking": ("neighbours 0, 1", lambda z: z + np.float32(0.003) * np.roll(z, 1, axis=1)),
    "leaking down": ("neighbours 1, 0", lambda z: z + np.float32(0.003) * np.roll(z, 1, axis=0)),
}


@pytest.mark.slow
@pytest.mark.parametrize(("what", "change"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_found(what: str, change: Callable[[NDArray[np.float32]], NDArray[np.float32]]) -> None:
    values = change(noise_of_products())
    with pytest.raises(AssertionError, match=f"^{what}"):
        check(values, NORMAL)


BL = 20
LINES = N // BL


@pytest.mark.parametrize("side", ["x", "d"])
@pytest.mark.parametrize("p", [2e-4, 0.05, 0.37, 0.5, 0.9])
def test_trains(p: float, side: str) -> None:
    """Ten million slots: the number of ones of a line is binomial, and independent of its neighbours'."""
    device = og.devices.ConstantStep(dw_min=2**-10)
    pulses = og.PulseTrain(desired_bl=BL, update_management=False, update_bl_management=False)
    d_out, d_in = (1, LINES) if side == "x" else (LINES, 1)
    tile = og.Tile(d_out, d_in, device=device, pulses=pulses, seed=4)
    one, many = np.ones(1), np.full(LINES, p)
    # this rate makes both amplifications 1: the other side fires in every slot
    x, d = (many, one) if side == "x" else (one, many)
    tile.update(x, d, lr=BL * 2**-10)
    counts = (-tile.weights.ravel() * 2**10).astype(np.int64)
    seen = np.bincount(counts, minlength=BL + 1)
    assert len(seen) == BL + 1
    # probabilities have 24 bits
    expected = [LINES * comb(BL, k) * p**k * (1 - p) ** (BL - k) for k in range(BL + 1)]
    for k in range(BL + 1):
        # below 25 a Poisson number is no normal one: its tail is longer, and 5 more cover it
        assert abs(seen[k] - expected[k]) < Z * sqrt(expected[k]) + (Z if expected[k] < 25 else 0), k
    variance = BL * p * (1 - p)
    assert abs(counts.mean() - BL * p) < Z * sqrt(variance / LINES)
    fourth = variance * (1 + 3 * (BL - 2) * p * (1 - p))
    assert abs(((counts - BL * p) ** 2).mean() - variance) < Z * sqrt((fourth - variance**2) / LINES)
    z = (counts - BL * p) / sqrt(variance)
    for lag in (1, 2, 31, 32, 64):
        assert abs((z[lag:] * z[:-lag]).mean()) < Z / sqrt(LINES - lag), lag
