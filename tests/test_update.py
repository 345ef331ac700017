"""From a gradient to pulses: the tests T-UPD-1 to 7 of the specification.

Statistics come from many update calls: every vector draws trains of its own, while the cells of a row or a column share
a train. Where one line fires with probability 1 the cells along it are independent and count as repeats.
"""

# Tests bear the names of the specification.
# ruff: noqa: N802

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tables import ROWS, STEPPED, Row, named

import ohmgrad as og
from ohmgrad import _core, devices

Floats = NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A type of update: its pulses, and what it draws from the run stream."""

    pulses: og.PulseTrain
    # The sizes of updates are random, so that they need the run stream even where the device has no noise.
    random: bool = False
    # Updates are made of pulses of the device, with its cycle noise.
    pulsed: bool = True
    # Sizes come from trains, which saturate.
    trains: bool = True


KINDS = {
    "stochastic_compressed": Kind(pulses=og.PulseTrain(), random=True),
    "stochastic": Kind(pulses=og.PulseTrain(pulse_type="stochastic"), random=True),
    "rounded by chance": Kind(pulses=og.PulseTrain(res=0.1, sto_round=True), random=True),
    "mean_count": Kind(pulses=og.PulseTrain(pulse_type="mean_count")),
    "deterministic_implicit": Kind(pulses=og.PulseTrain(pulse_type="deterministic_implicit")),
    "random_increment": Kind(pulses=og.PulseTrain(pulse_type="random_increment"), random=True, pulsed=False),
    "pulsed": Kind(pulses=og.PulseTrain(pulse_type="pulsed"), random=True, trains=False),
    "pulsed, batch": Kind(pulses=og.PulseTrain(pulse_type="pulsed", increment="batch"), random=True, trains=False),
    "pulsed, ceil": Kind(pulses=og.PulseTrain(pulse_type="pulsed", rounding="ceil"), trains=False),
    "pulsed, floor": Kind(pulses=og.PulseTrain(pulse_type="pulsed", rounding="floor"), trains=False),
    **{
        name: Kind(pulses=og.PulseTrain(pulse_type=name), pulsed=False, trains=False)  # type: ignore[arg-type]
        for name in ("analog_update", "none_with_device", "none")
    },
    "analog_update, batch": Kind(
        pulses=og.PulseTrain(pulse_type="analog_update", increment="batch"), pulsed=False, trains=False
    ),
}
EVERY_KIND = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)


def unmanaged(bl: int, **fields: Any) -> og.PulseTrain:
    return og.PulseTrain.unmanaged(desired_bl=bl, **fields)


# ---- T-UPD-1

GRID = [
    (lr, g, xm, dm, bl)
    for lr, g, xm, dm, bl in product(
        (0.003, 0.05, 0.7), (1e-4, 1e-3, 0.0171), (0.037, 0.8, 2.3), (1.7e-3, 0.095, 1.1), (1, 5, 31, 100)
    )
]


@pytest.mark.parametrize("fixed", [True, False], ids=["fixed", "growing"])
@pytest.mark.parametrize("grad_scale", [1.0, 0.3])
@pytest.mark.parametrize("um", [True, False], ids=["um", "no_um"])
@pytest.mark.parametrize("ublm", [True, False], ids=["ublm", "no_ublm"])
def test_T_UPD_1_scale_factors(um: bool, ublm: bool, grad_scale: float, fixed: bool) -> None:
    clipped = grown = 0
    for lr, g, xm, dm, desired in GRID:
        pulses = og.PulseTrain(
            desired_bl=desired,
            update_management=um,
            update_bl_management=ublm,
            um_grad_scale=grad_scale,
            fixed_bl=fixed,
        )
        bl, a, b = _core.scale_factors(lr, g, xm, dm, pulses.describe())
        # the management takes the largest d for `grad_scale` times as large
        k = lr * xm * (grad_scale * dm) / g
        # the sign of the learning rate does not matter
        assert _core.scale_factors(-lr, g, xm, dm, pulses.describe()) == (bl, a, b)
        # float64: a handful of operations, each 1.1e-16
        grows = not (fixed or ublm) and lr > g * desired
        if grows:
            grown += 1
            assert bl == np.ceil(lr / g)
            assert a * b == pytest.approx(1.0, rel=1e-14)
        else:
            assert bl == (min(int(np.ceil(k)), desired) if ublm else desired)
            assert a * b == pytest.approx(lr / (g * bl), rel=1e-14)
        if not (um or ublm):
            assert a == b
            continue
        # the ratio of the two: d is clipped at |d| = dm desired / k, with management of the length x at 1
        largest = grad_scale * dm * min(1, desired / k)
        assert a / b == pytest.approx(xm / largest, rel=1e-14)
        if grows:
            continue
        if k <= desired:
            # with bl slots in the mean k pulses come
            assert b * xm == pytest.approx(np.sqrt(k / bl), rel=1e-14)
            assert b * xm <= 1 + 1e-14
        else:
            clipped += 1
            assert b * xm == pytest.approx(1.0, rel=1e-14)
            assert grad_scale * a * dm == pytest.approx(k / desired, rel=1e-14)
    # where trains grow, none of the grid is left that desired_bl slots cannot hold
    assert (clipped > 20) == (ublm or (um and fixed))
    assert (grown > 20) == (not (fixed or ublm))


def test_T_UPD_1_trains_grow_to_16384_slots() -> None:
    pulses = unmanaged(1, fixed_bl=False)
    assert _core.scale_factors(16.384, 1e-3, 1.0, 1.0, pulses.describe())[0] == 16384
    bl, a, b = _core.scale_factors(20.0, 1e-3, 1.0, 1.0, pulses.describe())
    # more would be needed: probabilities grow instead
    assert (bl, a) == (16384, b)
    assert a * b == pytest.approx(20 / 16.384, rel=1e-14)


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


@pytest.mark.parametrize("bl", [1, 2, 30, 31, 32, 33, 62, 63, 64, 65, 200, 16384])
def test_T_UPD_2_slots_of_a_train_count_and_are_independent(bl: int) -> None:
    """Pulse numbers are binomial for every length of train, whatever the packing of slots into words."""
    n = 40_000 if bl < 1000 else 2000
    p = 0.37
    tile = og.Tile(1, n, device=devices.ConstantStep(dw_min=2**-10, w_min=-16.0), pulses=unmanaged(bl), seed=bl)
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


def test_T_UPD_2_random_increments_have_the_law_of_trains_without_noise() -> None:
    device = devices.ConstantStep(dw_min=G, dw_min_std=0.3)
    tile = og.Tile(2, 2, device=device, pulses=unmanaged(BL, pulse_type="random_increment"), seed=12)
    both = np.sqrt(LR / (G * BL))
    expected = covariance_of(X * both, D * both, BL, G, 0.0)
    check_moments(increments(tile, X, D, LR, REPEATS), np.array([-0.024, -0.015, -0.012, -0.0075]), expected)


@pytest.mark.parametrize("sigma", [0.0, 0.3])
def test_T_UPD_2_pulsed_increments(sigma: float) -> None:
    """`|dw| / g = n + f` becomes `n` or, with probability `f`, `n + 1` pulses, at every cell by itself."""
    tile = og.Tile(
        2,
        2,
        device=devices.ConstantStep(dw_min=G, dw_min_std=sigma),
        pulses=og.PulseTrain(pulse_type="pulsed"),
        seed=13,
    )
    lr = 0.053
    dw = lr * np.outer(D, X).ravel()
    rest = dw / G % 1
    variance = G**2 * (rest * (1 - rest) + sigma**2 * dw / G)
    sample = increments(tile, X, D, lr, REPEATS)
    check_moments(sample, -dw, np.diag(variance))
    with pytest.raises(AssertionError):
        check_moments(sample, -dw * 1.05, np.diag(variance))


# How many pulses come without randomness; p_x = B |x| and p_d = A |d|.
COUNTS: dict[str, tuple[og.PulseTrain, Callable[[Floats, Floats], Floats]]] = {
    "mean_count": (
        unmanaged(20, pulse_type="mean_count"),
        lambda px, pd: np.rint(np.rint(20 * px) * np.rint(20 * pd) / 20),
    ),
    "mean_count, rounded": (
        unmanaged(20, pulse_type="mean_count", res=0.11),
        lambda px, pd: np.rint(
            np.rint(20 * np.minimum(0.11 * np.rint(px / 0.11), 1))
            * np.rint(20 * np.minimum(0.11 * np.rint(pd / 0.11), 1))
            / 20
        ),
    ),
    "implicit": (
        unmanaged(20, pulse_type="deterministic_implicit"),
        lambda px, pd: np.rint(20 * px * pd),
    ),
    "implicit, rounded": (
        unmanaged(20, pulse_type="deterministic_implicit", x_res_implicit=0.13, d_res_implicit=4.0),
        lambda px, pd: np.rint(20 * np.minimum(0.13 * np.rint(px / 0.13), 1) * (0.25 * np.rint(pd / 0.25))),
    ),
}


@pytest.mark.parametrize(("pulses", "count"), COUNTS.values(), ids=COUNTS)
def test_counts_without_randomness_are_their_formulas(
    pulses: og.PulseTrain, count: Callable[[Floats, Floats], Floats]
) -> None:
    g = 2.0**-10
    rng = np.random.default_rng(1)
    # as float32, as the tile sees them
    x, d = (rng.uniform(-1.2, 1.2, n).astype(np.float32) for n in (40, 30))
    tile = og.Tile(30, 40, device=devices.ConstantStep(dw_min=g), pulses=pulses, seed=1)
    # lr = g BL makes both factors 1
    tile.update(x, d, lr=20 * g)
    px, pd = (np.minimum(np.abs(v.astype(np.float64)), 1)[None] for v in (x, d))
    expected = -np.sign(np.outer(d, x)) * count(px, pd.T)
    np.testing.assert_array_equal(tile.weights / g, expected)
    assert len(np.unique(expected)) > 10


@pytest.mark.parametrize("p", [0.03, 0.2, 0.37, 0.77, 0.99])
def test_probabilities_in_steps(p: float) -> None:
    """Rounded to multiples of `res`, or up and down by chance with the right mean, one choice for a whole train."""
    n, bl, res, g = 20_000, 16, 0.25, 2.0**-10
    counts = {}
    for sto_round in (False, True):
        pulses = unmanaged(bl, res=res, sto_round=sto_round)
        tile = og.Tile(1, n, device=devices.ConstantStep(dw_min=g), pulses=pulses, seed=5)
        tile.update(np.full(n, p), [-1.0], lr=g * bl)
        counts[sto_round] = tile.weights[0].astype(np.float64) / g
    nearest = res * np.rint(p / res)
    assert abs(counts[False].mean() - bl * nearest) <= 5 * np.sqrt(bl * nearest * (1 - nearest) / n)
    # up with probability f = frac(p / res); the variance of the mean count adds to that of the counts
    low, f = res * np.floor(p / res), p / res % 1
    inner = [bl * q * (1 - q) for q in (low, low + res)]
    variance = (1 - f) * inner[0] + f * inner[1] + f * (1 - f) * (bl * res) ** 2
    assert abs(counts[True].mean() - bl * p) < 5 * np.sqrt(variance / n)
    squares = (counts[True] - bl * p) ** 2
    assert abs(squares.mean() - variance) < 5 * squares.std() / np.sqrt(n)


def test_a_train_that_grows_holds_the_learning_rate() -> None:
    """`ceil(lr / g)` slots and probabilities `|x|`, `|d|`: more pulses than `desired_bl`."""
    n, g, p = 20_000, 2.0**-10, 0.37
    tile = og.Tile(1, n, device=devices.ConstantStep(dw_min=g), pulses=unmanaged(5, fixed_bl=False), seed=6)
    tile.update(np.full(n, p), [-1.0], lr=99.5 * g)
    counts = tile.weights[0].astype(np.float64) / g
    assert counts.max() > 5
    assert abs(counts.mean() - 100 * p) < 5 * np.sqrt(100 * p * (1 - p) / n)


# ---- T-UPD-3


@pytest.mark.parametrize("lr", [0.04, -0.04])
@EVERY_KIND
@pytest.mark.parametrize("row", STEPPED, ids=named)
def test_T_UPD_3_signs(row: Row, kind: Kind, lr: float) -> None:
    # one vector, so that every cell sees one sign of x and one of d; the third lines stay silent
    x = np.array([1.0, -1.0, 0.0]) * 0.8
    d = np.array([1.0, -1.0, 0.0]) * 0.5
    tile = og.Tile(3, 3, device=replace(row.device, dw_min=1e-3), pulses=kind.pulses, seed=2)
    # k > 10: that none of 10 or more slots with p > 0.8 fires has a probability below 1e-7
    tile.update(x, d, lr)
    np.testing.assert_array_equal(np.sign(tile.weights), -np.sign(lr) * np.outer(np.sign(d), np.sign(x)))


@EVERY_KIND
def test_T_UPD_3_a_negative_rate_is_a_negative_gradient(kind: Kind) -> None:
    rng = np.random.default_rng(3)
    x, d = rng.normal(size=(20, 33)), rng.normal(size=(20, 7))
    tiles = [og.Tile(7, 33, device=ROWS[1].noisy, pulses=kind.pulses, seed=4) for _ in range(3)]
    tiles[0].update(x, d, -0.01)
    tiles[1].update(x, -d, 0.01)
    tiles[2].update(x, d, 0.01)
    # trains and roundings depend on magnitudes only: even the same pulses
    np.testing.assert_array_equal(tiles[0].weights, tiles[1].weights)
    assert not np.array_equal(tiles[0].weights, tiles[2].weights)


@EVERY_KIND
def test_T_UPD_3_silent_updates_change_nothing(kind: Kind) -> None:
    tile = og.Tile(4, 5, device=ROWS[1].noisy, pulses=kind.pulses, seed=5)
    tile.set_weights(np.full((4, 5), 0.1))
    before = tile.weights
    x, d = np.ones((3, 5)), np.ones((3, 4))
    for args in ((x, d, 0.0), (0 * x, d, 0.1), (x, 0 * d, 0.1)):
        tile.update(*args)
        np.testing.assert_array_equal(tile.weights, before)
    tile.update(x, d, 0.1)
    assert not np.array_equal(tile.weights, before)


# ---- exact pulse types: their formulas


@pytest.mark.parametrize("increment", ["sample", "batch"])
@pytest.mark.parametrize("row", ROWS, ids=named)
def test_exact_pulse_types_are_their_formulas(row: Row, increment: Any) -> None:
    """`w + dw`, the same clipped, and `w + dw F - |dw| G` clipped; `dw = -lr d x` of each vector, or their sum."""
    rng = np.random.default_rng(6)
    x, d, lr = rng.normal(size=(6, 9)), rng.normal(size=(6, 8)), 0.05
    for pulse_type in ("none", "none_with_device", "analog_update"):
        pulses = og.PulseTrain(pulse_type=pulse_type, increment=increment)  # type: ignore[arg-type]
        tile = og.Tile(8, 9, device=row.spread, pulses=pulses, seed=7)
        parameters = tile.arrays["weight"].parameters
        cell = {name: plane.astype(np.float64) for name, plane in parameters.items()}
        dw_min = row.device.dw_min
        tile.set_weights(rng.uniform(-0.8, 0.8, (8, 9)))
        v = tile.state_dict()["weight.values"].astype(np.float64)
        free = v.copy()
        tile.update(x, d, lr)
        given = -lr * np.einsum("bi,bj->bij", d, x)
        for dw in given if increment == "sample" else [given.sum(axis=0)]:
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


def test_a_batch_of_opposite_samples_is_no_increment() -> None:
    """Given one by one, up and down leave what the asymmetry makes of them; their sum is zero."""
    x, d = np.ones((2, 1)), np.array([[1.0], [-1.0]])
    for pulse_type in ("analog_update", "pulsed"):
        moved = {}
        for increment in ("sample", "batch"):
            pulses = og.PulseTrain(pulse_type=pulse_type, increment=increment)  # type: ignore[arg-type]
            tile = og.Tile(1, 1, device=devices.SoftBounds(dw_min=2**-10), pulses=pulses)
            tile.set_weights([[0.5]])
            tile.update(x, d, lr=2**-4)
            moved[increment] = float(tile.weights[0, 0]) - 0.5
        assert moved["batch"] == 0
        # down 2^-4 * 1.5, then up 2^-4 * (1 - 0.406): pulses of 2^-10 follow that to first order, 2^-4 / 2
        assert moved["sample"] == pytest.approx(-(2**-4) * (1.5 - 0.59375), rel=0.05)


def test_pulsed_increments_end_at_16384_pulses() -> None:
    device = devices.ConstantStep(dw_min=2**-20)
    for increment in ("sample", "batch"):
        tile = og.Tile(1, 2, device=device, pulses=og.PulseTrain(pulse_type="pulsed", increment=increment))  # type: ignore[arg-type]
        tile.update([-1.0, 1e38], [1.0], lr=1e38)
        np.testing.assert_array_equal(tile.weights, [[16384 * 2**-20, -16384 * 2**-20]])


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


@pytest.mark.parametrize(
    "kind", [kind for kind in KINDS.values() if kind.trains], ids=lambda kind: kind.pulses.pulse_type
)
def test_T_UPD_5_saturation_of_every_train(kind: Kind) -> None:
    """Wherever sizes come from trains, `desired_bl` steps are the most."""
    g, desired = 2.0**-10, 7
    pulses = replace(kind.pulses, desired_bl=desired)
    tile = og.Tile(2, 2, device=devices.ConstantStep(dw_min=g), pulses=pulses, seed=8)
    tile.update([0.8, -0.8], [0.5, -0.5], lr=4 * desired * g / 0.4)
    np.testing.assert_array_equal(tile.weights, desired * g * np.array([[-1, 1], [1, -1]]))


# ---- T-UPD-6


def run(device: devices.Device, pulses: og.PulseTrain, seed: int) -> bytes:
    rng = np.random.default_rng(9)
    tile = og.Tile(37, 67, device=device, pulses=pulses, seed=og.Seeds(device=1, noise=seed))
    for batch in (1, 5):
        tile.update(rng.normal(size=(batch, 67)), rng.normal(size=(batch, 37)), 0.02)
    return tile.weights.tobytes()


@pytest.mark.usefixtures("threads")
@EVERY_KIND
@pytest.mark.parametrize("row", ROWS, ids=named)
def test_T_UPD_6_same_seed_same_bits_for_any_number_of_threads(row: Row, kind: Kind) -> None:
    results = []
    for n in (1, 2):
        og.threads(n)
        _core.set_split_threshold(0)
        before = _core.rows_by_worker()
        results.append(run(row.noisy, kind.pulses, seed=3))
        # all rows were worked on, by as many workers as there are (chunks count whole: at least 2 x 37)
        done = np.subtract(_core.rows_by_worker(), before)
        assert len(done) == n
        assert (done > 0).all()
        assert done.sum() >= 74
    assert results[0] == results[1]
    # noise needs the seed, exact increments need none
    assert (run(row.noisy, kind.pulses, seed=4) == results[0]) == (not kind.random and not kind.pulsed)
    # without noise of the device only random sizes do
    one, other = (run(row.spread, kind.pulses, seed) for seed in (3, 4))
    assert (one == other) == (not kind.random)


# ---- T-UPD-7: pulses against the mathematical update

TAU, CYCLE = 0.75, 0.4


def one_increment(dw: float, g: float, w0: float, pulses: og.PulseTrain, n: int = 1, noise: float = 0.0) -> Floats:
    """Where an increment takes `n` cells of linear response that start at `w0`."""
    device = devices.LinearResponse(tau=TAU, dw_min=g, dw_min_std=noise)
    tile = og.Tile(1, n, device=device, pulses=pulses, seed=10)
    tile.set_weights(np.full((1, n), w0))
    tile.update(np.ones(n), [-1.0], lr=dw)
    return tile.weights[0].astype(np.float64)


def distance(dw: float, g: float, w0: float, rounding: Any) -> float:
    """Pulsed less mathematical update."""
    pulsed = one_increment(dw, g, w0, og.PulseTrain(pulse_type="pulsed", rounding=rounding))
    return float((pulsed - one_increment(dw, g, w0, og.PulseTrain(pulse_type="analog_update")))[0])


@pytest.mark.parametrize("w0", [-0.3, 0.0, 0.3])
def test_T_UPD_7_slope_two_in_the_increment(w0: float) -> None:
    """`n` pulses of `g = dw / n` go to `tau - (tau - w) (1 - g / tau)^n`, about `-(1 - w/tau) dw^2 / (2 tau)` off."""
    g, errors = 2.0**-14, []
    for n in (128, 256, 512):
        dw = n * g
        error = distance(dw, g, w0, "ceil")
        # whole numbers of pulses are not rounded; up to 512 additions, each to 2^-25 of a value below 1
        exact = TAU - (TAU - w0) * (1 - g / TAU) ** n - (w0 + dw * (1 - w0 / TAU))
        assert error == pytest.approx(exact, abs=n * 2**-25)
        # the next terms: dw g / (2 tau) and dw^3 / (6 tau^2)
        leading = -(1 - w0 / TAU) * dw**2 / (2 * TAU)
        assert error == pytest.approx(leading, rel=g / dw + dw / (3 * TAU) + n * 2**-25 / abs(leading))
        errors.append(error)
    # what is left of the next terms and of rounding: below 5 per cent, 0.07 in the slope
    slopes = np.diff(np.log2(np.abs(errors)))
    np.testing.assert_allclose(slopes, 2, atol=0.07)


@pytest.mark.parametrize(("rounding", "sign"), [("ceil", 1), ("floor", -1)])
def test_T_UPD_7_slope_one_in_the_granularity(rounding: str, sign: int) -> None:
    """Half a pulse too much or too little: `+-g / 2` beside the part that only depends on the increment."""
    dw, w0, errors = 0.03, 0.15, []
    # that part, for granularity to zero
    smooth = (TAU - w0) * (1 - np.exp(-dw / TAU)) - dw * (1 - w0 / TAU)
    counts = np.array([8, 16, 32, 64, 128])
    for n in counts:
        g = dw / (n + 0.5)
        error = distance(dw, g, w0, rounding)
        pulses = n + (rounding == "ceil")
        exact = TAU - (TAU - w0) * (1 - g / TAU) ** pulses - (w0 + dw * (1 - w0 / TAU))
        assert error == pytest.approx(exact, abs=(pulses + 2) * 2**-24)
        errors.append(error - smooth)
    assert (np.sign(errors) == sign).all()
    # g/2 times the response 1 - w/tau; relative to that come up to 2 dw / tau (floor) and terms of the size of g / tau
    g = dw / (counts + 0.5)
    np.testing.assert_allclose(errors, sign * g / 2 * (1 - w0 / TAU), rtol=2 * (dw + g[0]) / TAU)
    slope = np.log(errors[-1] / errors[0]) / np.log(g[-1] / g[0])
    assert slope == pytest.approx(1, abs=0.02)


def test_T_UPD_7_stochastic_rounding_has_no_bias_of_first_order() -> None:
    """The mean keeps the part of second order alone, to `g dw` and the standard error of the rounding."""
    dw, w0, n = 0.03, 0.15, 40_000
    g = dw / 8.5
    sample = one_increment(dw, g, w0, og.PulseTrain(pulse_type="pulsed"), n)
    smooth = TAU - (TAU - w0) * np.exp(-dw / TAU)
    spread = g / 2 * (1 - w0 / TAU)
    assert sample.std() == pytest.approx(spread, rel=0.06)
    # (1 - g/tau)^n against exp(-dw/tau): half of dw g / tau^2 of tau - w
    assert abs(sample.mean() - smooth) < 5 * sample.std() / np.sqrt(n) + (TAU - w0) * dw * g / TAU**2
    assert abs(sample.mean() - smooth) < 0.05 * spread


@pytest.mark.parametrize("dw", [0.02, 0.08])
@pytest.mark.parametrize("g", [2.0**-11, 2.0**-9])
def test_T_UPD_7_cycle_noise(g: float, dw: float) -> None:
    """The noise of `n` pulses adds up to `sqrt(g dw) sigma`, less what later pulses forget."""
    cells, w0 = 40_000, 0.1
    n, a = np.ceil(dw / g), 1 - g / TAU
    pulses = og.PulseTrain(pulse_type="pulsed", rounding="ceil")
    sample = one_increment(dw, g, w0, pulses, cells, CYCLE)
    std = g * CYCLE * np.sqrt((1 - a ** (2 * n)) / (1 - a**2))
    # the standard error of a standard deviation is std / sqrt(2 n)
    assert abs(sample.std() - std) < 5 * std / np.sqrt(2 * cells)
    # ceil adds at most a pulse; forgetting takes n g / tau of the variance
    assert std == pytest.approx(np.sqrt(g * dw) * CYCLE, rel=max(n * g / TAU, g / dw))
