"""From a gradient to pulses: the tests T-UPD-1 to 6 of the specification.

Statistics come from many update calls: every vector draws trains of its own, while the cells of a row or a column share
a train. Where one line fires with probability 1 the cells along it are independent and count as repeats.
"""

# Tests bear the names of the specification.
# ruff: noqa: N802

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tables import ROWS, STEPPED, Row, named

import ohmgrad as og
from ohmgrad import _core, devices

Floats = NDArray[Any]

PULSE_TYPES = ["stochastic_compressed", "none_with_device", "none", "analog_update"]


def unmanaged(bl: int) -> og.PulseTrain:
    return og.PulseTrain(desired_bl=bl, update_management=False, update_bl_management=False)


@pytest.fixture
def threads() -> Iterator[None]:
    """Puts the number of threads back as it was."""
    before = og.threads()
    yield
    og.threads(before)


# ---- T-UPD-1

GRID = [
    (lr, g, xm, dm, bl)
    for lr, g, xm, dm, bl in product(
        (0.003, 0.05, 0.7), (1e-4, 1e-3, 0.0171), (0.037, 0.8, 2.3), (1.7e-3, 0.095, 1.1), (1, 5, 31, 100)
    )
]


@pytest.mark.parametrize("um", [True, False], ids=["um", "no_um"])
@pytest.mark.parametrize("ublm", [True, False], ids=["ublm", "no_ublm"])
def test_T_UPD_1_scale_factors(um: bool, ublm: bool) -> None:
    clipped = 0
    for lr, g, xm, dm, desired in GRID:
        pulses = og.PulseTrain(desired_bl=desired, update_management=um, update_bl_management=ublm)
        bl, a, b = _core.scale_factors(lr, g, xm, dm, pulses.describe())
        k = lr * xm * dm / g
        # float64: a handful of operations, each 1.1e-16
        assert a * b == pytest.approx(lr / (g * bl), rel=1e-14)
        assert bl == (min(int(np.ceil(k)), desired) if ublm else desired)
        if not (um or ublm):
            assert a == b
        elif k <= desired:
            # the largest probabilities are equal, and with bl slots in the mean k pulses come
            assert b * xm == pytest.approx(a * dm, rel=1e-14)
            assert b * xm == pytest.approx(np.sqrt(k / bl), rel=1e-14)
            assert b * xm <= 1 + 1e-14
        else:
            clipped += 1
            # x is never clipped, d at |d| = dm desired / k
            assert b * xm == pytest.approx(1.0, rel=1e-14)
            assert a * dm == pytest.approx(k / desired, rel=1e-14)
        # the sign of the learning rate does not matter
        assert _core.scale_factors(-lr, g, xm, dm, pulses.describe()) == (bl, a, b)
    assert (um or ublm) == (clipped > 20)


@pytest.mark.parametrize(("lr", "xm", "dm"), [(0.0, 1.0, 1.0), (0.1, 0.0, 1.0), (0.1, 1.0, 0.0)])
def test_T_UPD_1_nothing_wanted_no_slots(lr: float, xm: float, dm: float) -> None:
    assert _core.scale_factors(lr, 0.001, xm, dm, og.PulseTrain().describe())[0] == 0


# ---- T-UPD-2

X, D, G, LR, BL = np.array([0.8, 0.5]), np.array([0.6, 0.3]), 0.01, 0.05, 10
REPEATS = 20_000


def increments(tile: og.Tile, x: Floats, d: Floats, lr: float, repeats: int, start: float = 0.0) -> Floats:
    """What `repeats` single vectors did to the weights, each from `start`: `[repeats, d_out * d_in]`."""
    w0 = np.full((tile.d_out, tile.d_in), start, np.float32)
    out = np.empty((repeats, w0.size), np.float32)
    x, d = np.asarray(x, np.float32)[None], np.asarray(d, np.float32)[None]
    for row in out:
        tile.set_weights(w0)
        tile.update(x, d, lr)
        row[:] = tile.weights.ravel()
    return out.astype(np.float64) - w0.ravel()


def check_moments(dw: Floats, mean: Floats, covariance: Floats) -> None:
    """Means and all covariances within 5 standard errors, those from the sample's own fourth moments."""
    n = len(dw)
    centred = dw - mean
    assert (np.abs(dw.mean(axis=0) - mean) < 5 * np.sqrt(np.diag(covariance) / n)).all()
    for i, j in product(range(dw.shape[1]), repeat=2):
        products = centred[:, i] * centred[:, j]
        assert abs(products.mean() - covariance[i, j]) < 5 * products.std() / np.sqrt(n), (i, j)


def covariance_of(px: Floats, pd: Floats, bl: int, s: float, sigma: float) -> Floats:
    """Of the increments of a 2 x 2 constant-step tile, row by row (section 3.5)."""
    out = np.zeros((4, 4))
    for (i, j), (k, m) in product(np.ndindex(2, 2), repeat=2):
        if (i, j) == (k, m):
            p = px[j] * pd[i]
            c = bl * p * (1 - p + sigma**2)
        elif i == k:
            c = bl * pd[i] * (1 - pd[i]) * px[j] * px[m]
        elif j == m:
            c = bl * px[j] * (1 - px[j]) * pd[i] * pd[k]
        else:
            c = 0.0
        out[2 * i + j, 2 * k + m] = s**2 * c
    return out


def test_T_UPD_2_the_specification_s_numbers() -> None:
    both = np.sqrt(LR / (G * BL))
    px, pd = X * both, D * both
    np.testing.assert_allclose(px, [0.56569, 0.35355], atol=5e-6)
    np.testing.assert_allclose(pd, [0.42426, 0.21213], atol=5e-6)
    c = covariance_of(px, pd, BL, G, 0.0)
    np.testing.assert_allclose(np.diag(c), [1.824e-4, 1.275e-4, 1.056e-4, 6.9375e-5], rtol=1e-3)
    assert c[0, 1] == pytest.approx(4.885e-5, rel=1e-3)
    assert c[0, 2] == pytest.approx(2.211e-5, rel=1e-3)
    assert c[0, 3] == c[1, 2] == 0


@pytest.mark.parametrize("sigma", [0.0, 0.3])
def test_T_UPD_2_mean_and_covariances(sigma: float) -> None:
    # sigma is seeded too, so that the two runs are independent
    device = devices.ConstantStep(dw_min=G, dw_min_std=sigma)
    tile = og.Tile(2, 2, device=device, pulses=unmanaged(BL), seed=11 + int(10 * sigma))
    dw = increments(tile, X, D, LR, REPEATS)
    both = np.sqrt(LR / (G * BL))
    expected = covariance_of(X * both, D * both, BL, G, sigma)
    check_moments(dw, np.array([-0.024, -0.015, -0.012, -0.0075]), expected)
    # the check can fail: five per cent (12 standard errors) more in the largest mean, or no shared trains at all
    with pytest.raises(AssertionError):
        check_moments(dw, np.array([-0.024, -0.015, -0.012, -0.0075]) * 1.05, expected)
    with pytest.raises(AssertionError):
        check_moments(dw, np.array([-0.024, -0.015, -0.012, -0.0075]), np.diag(np.diag(expected)))
    # one vector's trains say nothing about the next one's
    z = (dw - dw.mean(axis=0)) / dw.std(axis=0)
    for lag in (1, 2, 16):
        assert (np.abs((z[lag:, :, None] * z[:-lag, None, :]).mean(axis=0)) < 5 / np.sqrt(REPEATS)).all()
    if sigma == 0:
        # counts are whole: at most BL pulses of G; weights below 1 round by 2^-25 each
        np.testing.assert_allclose(dw / G, np.round(dw / G), rtol=0, atol=BL * 2**-25 / G)
        assert (dw > -(BL + 0.5) * G).all()


def test_T_UPD_2_managed_trains_and_realised_steps() -> None:
    """With management the probabilities shift between the sides; a cell's own step scales its increments."""
    pulses = og.PulseTrain(desired_bl=40)
    tile = og.Tile(2, 2, device=devices.ConstantStep(dw_min=1e-3), pulses=pulses, seed=3)
    steps = np.array([[1.5e-3, 1e-3], [0.5e-3, 2e-3]])
    tile.arrays["weight"].parameters["dw_down"] = steps
    x, d, lr = np.array([0.9, 0.3]), np.array([0.25, 0.7]), 0.05
    bl, a, b = _core.scale_factors(lr, 1e-3, 0.9, 0.7, pulses.describe())
    # k = 31.5: trains of more than one 31-slot word
    assert bl == 32
    dw = increments(tile, x, d, lr, REPEATS)
    # float32 steps, x and d are 3e-8 off, the standard error is above 1e-3 of the mean
    check_moments(
        dw,
        -lr * np.outer(d, x).ravel() * steps.ravel() / 1e-3,
        covariance_of(b * x, a * d, bl, 1.0, 0.0) * np.outer(steps.ravel(), steps.ravel()),
    )


@pytest.mark.parametrize("bl", [1, 2, 30, 31, 32, 33, 62, 63, 64, 65, 200])
def test_T_UPD_2_slots_of_a_train_count_and_are_independent(bl: int) -> None:
    """Pulse numbers are binomial for every length of train, whatever the packing of slots into words."""
    n = 40_000
    p = 0.37
    tile = og.Tile(1, n, device=devices.ConstantStep(dw_min=2**-10, w_min=-1.0), pulses=unmanaged(bl), seed=bl)
    # lr = g bl makes both factors 1; d = 1 fires in every slot, so the columns are independent
    tile.update(np.full(n, p), [1.0], lr=bl * 2**-10)
    counts = -tile.weights[0].astype(np.float64) * 2**10
    assert (counts == np.round(counts)).all()
    assert counts.min() >= 0
    assert counts.max() <= bl
    variance = bl * p * (1 - p)
    assert abs(counts.mean() - bl * p) < 5 * np.sqrt(variance / n)
    # the fourth central moment of the binomial gives the standard error of the variance
    fourth = variance * (1 + 3 * (bl - 2) * p * (1 - p))
    assert abs(((counts - bl * p) ** 2).mean() - variance) < 5 * np.sqrt((fourth - variance**2) / n)


# ---- T-UPD-3


@pytest.mark.parametrize("lr", [0.04, -0.04])
@pytest.mark.parametrize("pulse_type", PULSE_TYPES)
@pytest.mark.parametrize("row", STEPPED, ids=named)
def test_T_UPD_3_signs(row: Row, pulse_type: Any, lr: float) -> None:
    # 4 vectors of one cell each, so that every cell sees one sign of x and one of d; the fifth line stays silent
    x = np.array([1.0, -1.0, 0.0]) * 0.8
    d = np.array([1.0, -1.0, 0.0]) * 0.5
    tile = og.Tile(3, 3, device=replace(row.device, dw_min=1e-3), pulses=og.PulseTrain(pulse_type=pulse_type), seed=2)
    # k > 10: that none of 10 or more slots with p > 0.8 fires has a probability below 1e-7
    tile.update(x, d, lr)
    np.testing.assert_array_equal(np.sign(tile.weights), -np.sign(lr) * np.outer(np.sign(d), np.sign(x)))


@pytest.mark.parametrize("pulse_type", PULSE_TYPES)
def test_T_UPD_3_a_negative_rate_is_a_negative_gradient(pulse_type: Any) -> None:
    rng = np.random.default_rng(3)
    x, d = rng.normal(size=(20, 33)), rng.normal(size=(20, 7))
    tiles = [
        og.Tile(7, 33, device=ROWS[1].noisy, pulses=og.PulseTrain(pulse_type=pulse_type), seed=4) for _ in range(3)
    ]
    tiles[0].update(x, d, -0.01)
    tiles[1].update(x, -d, 0.01)
    tiles[2].update(x, d, 0.01)
    # trains depend on magnitudes only: even the same pulses
    np.testing.assert_array_equal(tiles[0].weights, tiles[1].weights)
    assert not np.array_equal(tiles[0].weights, tiles[2].weights)


@pytest.mark.parametrize("pulse_type", PULSE_TYPES)
def test_T_UPD_3_silent_updates_change_nothing(pulse_type: Any) -> None:
    tile = og.Tile(4, 5, device=ROWS[1].noisy, pulses=og.PulseTrain(pulse_type=pulse_type), seed=5)
    tile.set_weights(np.full((4, 5), 0.1))
    before = tile.weights
    x, d = np.ones((3, 5)), np.ones((3, 4))
    for args in ((x, d, 0.0), (0 * x, d, 0.1), (x, 0 * d, 0.1)):
        tile.update(*args)
        np.testing.assert_array_equal(tile.weights, before)
    tile.update(x, d, 0.1)
    assert not np.array_equal(tile.weights, before)


# ---- exact pulse types: their formulas


@pytest.mark.parametrize("row", ROWS, ids=named)
def test_exact_pulse_types_are_their_formulas(row: Row) -> None:
    """Vector by vector: `w + dw`, the same clipped, and `w + dw F - |dw| G` clipped, with `dw = -lr d x`."""
    rng = np.random.default_rng(6)
    x, d, lr = rng.normal(size=(6, 9)), rng.normal(size=(6, 8)), 0.05
    for pulse_type in PULSE_TYPES[1:]:
        tile = og.Tile(8, 9, device=row.spread, pulses=og.PulseTrain(pulse_type=pulse_type), seed=7)
        parameters = tile.arrays["weight"].parameters
        cell = {name: plane.astype(np.float64) for name, plane in parameters.items()}
        dw_min = row.device.dw_min
        tile.set_weights(rng.uniform(-0.8, 0.8, (8, 9)))
        v = tile.state_dict()["weight.values"].astype(np.float64)
        free = v.copy()
        tile.update(x, d, lr)
        for xb, db in zip(x, d, strict=True):
            dw = -lr * np.outer(db, xb)
            free += dw
            if pulse_type == "analog_update":
                up = cell["dw_up"] / dw_min * row.q_up(v, cell)
                down = cell["dw_down"] / dw_min * row.q_down(v, cell)
                dw = dw * (down + up) / 2 - np.abs(dw) * (down - up) / 2
            v = v + dw
            if pulse_type != "none":
                v = np.clip(v, cell["w_min"], cell["w_max"])
        # six vectors, each rounding by a few 2^-24 of values below 1; responses to a few 1e-7 of increments below 0.5
        np.testing.assert_allclose(tile.state_dict()["weight.values"], v, rtol=0, atol=3e-6)
        if pulse_type != "none":
            assert np.abs(free - v).max() > 0.01


# ---- T-UPD-4


@pytest.mark.parametrize(
    ("model", "relative", "variance"),
    [(devices.SoftBounds, True, 1.8647e-3), (devices.SoftBoundsReference, False, 2.4542e-3)],
    ids=["relative", "additive"],
)
def test_T_UPD_4_soft_bounds_closed_form(model: type[devices.SoftBounds], relative: bool, variance: float) -> None:
    s, b, w0, sigma, p, bl = 0.05, 0.8, 0.3, 0.3, 0.4, 12
    a = s / b
    mean = b + (w0 - b) * (1 - p * a) ** bl
    if relative:
        r = (1 - p) + p * ((1 - a) ** 2 + a**2 * sigma**2)
        square = (w0 - b) ** 2 * r**bl
    else:
        r = (1 - p) + p * (1 - a) ** 2
        square = (w0 - b) ** 2 * r**bl + p * s**2 * sigma**2 * (1 - r**bl) / (1 - r)
    assert mean == pytest.approx(0.43100, abs=5e-6)
    assert square - (mean - b) ** 2 == pytest.approx(variance, rel=5e-5)
    # d = -1 fires in every slot and upwards, so the columns of a row are independent repeats; four seeds
    n = 50_000
    device = model(dw_min=s, w_max=b, w_min=-b, dw_min_std=sigma)
    assert device.mult_noise == relative
    samples = []
    for seed in range(4):
        tile = og.Tile(1, n, device=device, pulses=unmanaged(bl), seed=seed)
        tile.set_weights(np.full((1, n), w0))
        tile.update(np.full(n, p), [-1.0], lr=s * bl)
        samples.append(tile.weights[0].astype(np.float64))
    w = np.concatenate(samples)
    assert abs(w.mean() - mean) < 5 * np.sqrt(variance / w.size)
    squares = (w - mean) ** 2
    assert abs(squares.mean() - variance) < 5 * squares.std() / np.sqrt(w.size)


# ---- T-UPD-5


@pytest.mark.parametrize("row", STEPPED, ids=named)
@pytest.mark.parametrize("desired", [1, 5, 31, 32, 100])
def test_T_UPD_5_saturation(row: Row, desired: int) -> None:
    """Four times too much is wanted: the largest element gets exactly `desired_bl` pulses, in every vector."""
    g = 2.0**-12
    x, d = np.array([0.8, 0.4, -0.8]), np.array([0.2, -0.8, 0.05])
    # k = lr 0.64 / g = 4 desired
    lr = 4 * desired * g / 0.64
    for ublm in (True, False):
        device = replace(row.device, dw_min=row.device.dw_min * g / row.device.granularity)
        tile = og.Tile(3, 3, device=device, pulses=og.PulseTrain(desired_bl=desired, update_bl_management=ublm), seed=8)
        one = og.Tile(3, 3, device=device, pulses=unmanaged(1))
        tile.update(np.tile(x, (3, 1)), np.tile(d, (3, 1)), lr)
        one.update(np.tile(np.sign(x), (3 * desired, 1)), np.tile(np.sign(d), (3 * desired, 1)), tile.granularity())
        # lines at probability 1 always fire: d above a quarter of the largest, x at its largest
        always = np.outer(np.abs(d) >= 0.2, np.abs(x) == 0.8)
        assert always.sum() == 4
        np.testing.assert_array_equal(tile.weights[always], one.weights[always])
        if desired > 5:
            # x at half: p = 1/2 in 3 desired slots; the chance of all or none is below 2^-92
            assert (np.abs(tile.weights[:2, 1]) < np.abs(one.weights[:2, 1])).all()
            assert (tile.weights[:2, 1] != 0).all()


# ---- T-UPD-6


def run(row: Row, pulse_type: Any, seed: int) -> bytes:
    rng = np.random.default_rng(9)
    pulses = og.PulseTrain(pulse_type=pulse_type)
    tile = og.Tile(37, 67, device=row.noisy, pulses=pulses, seed=og.Seeds(device=1, noise=seed))
    for batch in (1, 5):
        tile.update(rng.normal(size=(batch, 67)), rng.normal(size=(batch, 37)), 0.02)
    return tile.weights.tobytes()


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("pulse_type", PULSE_TYPES)
@pytest.mark.parametrize("row", ROWS, ids=named)
def test_T_UPD_6_same_seed_same_bits_for_any_number_of_threads(row: Row, pulse_type: Any) -> None:
    results = []
    for n in (1, 2):
        og.threads(n)
        _core.set_split_threshold(0)
        before = _core.work()
        results.append(run(row, pulse_type, seed=3))
        # all rows were worked on, by as many workers as there are (chunks count whole: at least 2 x 37)
        done = np.subtract(_core.work(), before)
        assert len(done) == n
        assert (done > 0).all()
        assert done.sum() >= 74
    assert results[0] == results[1]
    # noise needs the seed, exact increments need none
    assert (run(row, pulse_type, seed=4) == results[0]) == (pulse_type != "stochastic_compressed")
