"""How cells answer pulses: the tests T-DEV-1 to 7 and 9 to 11 of the specification, for every model.

A single pulse at every cell: with one slot, no management and lr = granularity both line probabilities of unit inputs
are exactly 1, so each vector is one pulse everywhere, down for x d > 0.
"""

# Tests bear the names of the specification.
# ruff: noqa: N802

from __future__ import annotations

import gzip
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tables import ROWS, STEPPED, Row, named

import ohmgrad as og
from ohmgrad import devices

Floats = NDArray[Any]

SINGLE = og.PulseTrain(desired_bl=1, update_management=False, update_bl_management=False)
UP, DOWN = -1.0, 1.0


def tile_of(device: devices.Device, rows: int = 100, columns: int = 100, seed: int = 5) -> og.Tile:
    return og.Tile(rows, columns, device=device, pulses=SINGLE, seed=seed)


def pulse(tile: og.Tile, *directions: float) -> None:
    """One pulse at every cell for each of the directions, in order, within one update call."""
    d = np.repeat(np.array(directions)[:, None], tile.d_out, axis=1)
    tile.update(np.ones((len(directions), tile.d_in)), d, lr=tile.granularity())


def stored(tile: og.Tile) -> Floats:
    """What the cells hold, reference included."""
    return tile.state_dict()["weight.values"].astype(np.float64)


def cells(tile: og.Tile) -> dict[str, Floats]:
    return {name: plane.astype(np.float64) for name, plane in tile.arrays["weight"].parameters.items()}


def random_weights(tile: og.Tile, seed: int = 1) -> Floats:
    """Weights spread evenly over the range of each cell, reference subtracted."""
    cell = cells(tile)
    u = np.random.default_rng(seed).random((tile.d_out, tile.d_in))
    tile.set_weights(cell["w_min"] + u * (cell["w_max"] - cell["w_min"]) - cell["reference"])
    return stored(tile)


def expected(row: Row, v: Floats, cell: dict[str, Floats], direction: float) -> Floats:
    """One noise-free pulse by the formula."""
    step = cell["dw_up"] * row.q_up(v, cell) if direction == UP else -cell["dw_down"] * row.q_down(v, cell)
    return np.clip(v + step, cell["w_min"], cell["w_max"])


# ---- T-DEV-1


@pytest.mark.parametrize("direction", [UP, DOWN], ids=["up", "down"])
@pytest.mark.parametrize("row", ROWS, ids=named)
def test_T_DEV_1_single_pulse_is_the_formula(row: Row, direction: float) -> None:
    tile = tile_of(row.device)
    v, cell = random_weights(tile), cells(tile)
    pulse(tile, direction)
    # the bound asked for; steps are up to 0.1, so it is 1e-5 of a step
    np.testing.assert_allclose(stored(tile), expected(row, v, cell, direction), rtol=0, atol=1e-6)
    # and it can fail: a pulse of the other direction, or one at weight zero for all that depend on the weight
    assert np.abs(stored(tile) - expected(row, v, cell, -direction)).max() > 1e-2
    if row.name != "ConstantStep":
        assert np.abs(stored(tile) - np.clip(v + expected(row, 0 * v, cell, direction), -9, 9)).max() > 1e-3


@pytest.mark.parametrize("direction", [UP, DOWN], ids=["up", "down"])
@pytest.mark.parametrize("row", ROWS, ids=named)
def test_T_DEV_1_every_cell_follows_its_own_parameters(row: Row, direction: float) -> None:
    tile = tile_of(row.spread)
    v, cell = random_weights(tile), cells(tile)
    for name in ("w_max", "w_min", "dw_up", "dw_down", "reference"):
        assert len(np.unique(cell[name])) > 9000
    pulse(tile, direction)
    np.testing.assert_allclose(stored(tile), expected(row, v, cell, direction), rtol=0, atol=1e-6)
    # the weight that is seen: the difference of two float32 numbers up to 2.5 rounds by at most 2^-23
    np.testing.assert_allclose(tile.weights, stored(tile) - cell["reference"], rtol=0, atol=2**-23)
    assert np.abs(tile.weights - stored(tile)).max() > 0.1
    # the mean cell is not the answer
    mean = {name: np.full_like(v, value) for name, value in row.mean_cell().items()}
    assert np.abs(stored(tile) - expected(row, v, mean, direction)).max() > 1e-3


@pytest.mark.parametrize("row", ROWS, ids=named)
def test_T_DEV_1_response_functions_are_the_formulas(row: Row) -> None:
    device, cell = row.device, row.mean_cell()
    w = np.linspace(*device.bounds, 1001)
    up = row.q_up(w, cell) * cell["dw_up"] / device.dw_min
    down = row.q_down(w, cell) * cell["dw_down"] / device.dw_min
    # exponents of the mean cell are float32 numbers: 6e-8 relative, times |q ln q gamma| < 1
    np.testing.assert_allclose(device.q_up(w), up, rtol=0, atol=1e-7)
    np.testing.assert_allclose(device.q_down(w), down, rtol=0, atol=1e-7)
    np.testing.assert_allclose(device.F(w), (up + down) / 2, rtol=0, atol=1e-7)
    np.testing.assert_allclose(device.G(w), (down - up) / 2, rtol=0, atol=1e-7)
    # q_up + q_down = 2F and q_down - q_up = 2G, to the rounding of float64
    np.testing.assert_allclose(device.q_up(w) + device.q_down(w), 2 * device.F(w), rtol=0, atol=1e-14)
    np.testing.assert_allclose(device.q_down(w) - device.q_up(w), 2 * device.G(w), rtol=0, atol=1e-14)


# ---- T-DEV-2


@pytest.mark.parametrize("row", STEPPED, ids=named)
def test_T_DEV_2_bounds_hold_after_many_noisy_pulses(row: Row) -> None:
    # steps of up to a third of the range with noise as large as the steps: bounds are hit all the time
    device = replace(row.spread, dw_min=0.3, dw_min_std=1.0, mult_noise=False)
    tile = tile_of(device, 12, 35)
    cell = cells(tile)
    rng = np.random.default_rng(2)
    at_bound = 0
    for _ in range(25):
        # 12 x 35 cells, 25 calls of 10 vectors: 105 000 pulses
        pulse(tile, *rng.choice([UP, DOWN], 10))
        v = stored(tile)
        assert (v <= cell["w_max"]).all()
        assert (v >= cell["w_min"]).all()
        at_bound += int(((v == cell["w_max"]) | (v == cell["w_min"])).sum())
    assert at_bound > 100


# ---- T-DEV-3 and 4


@pytest.mark.parametrize("model", [devices.SoftBounds, devices.SoftBoundsReference])
@pytest.mark.parametrize("n", [1, 7, 100, 1000])
def test_T_DEV_3_soft_bounds_after_n_pulses(model: type[devices.SoftBounds], n: int) -> None:
    b, s = 0.6, 0.01
    for direction in (UP, DOWN):
        tile = tile_of(model(dw_min=s, w_max=b, w_min=-b), 10, 40)
        w0 = random_weights(tile)
        pulse(tile, *[direction] * n)
        end = b if direction == UP else -b
        # the tolerance asked for, n 1e-7: each pulse rounds by at most 2^-25 of the weight, here < 1
        np.testing.assert_allclose(tile.weights, end - (end - w0) * (1 - s / b) ** n, rtol=0, atol=n * 1e-7)
        if n <= 100:
            one_less = end - (end - w0) * (1 - s / b) ** (n - 1)
            assert np.abs(tile.weights - one_less).max() > 10 * n * 1e-7


@pytest.mark.parametrize("model", [devices.SoftBounds, devices.SoftBoundsReference])
def test_T_DEV_4_alternating_pulses_on_soft_bounds(model: type[devices.SoftBounds]) -> None:
    b, s = 0.6, 0.01
    a = s / b
    tile = tile_of(model(dw_min=s, w_max=b, w_min=-b), 4, 40)
    w0 = random_weights(tile)
    limit = -s / (2 - a)
    assert limit == pytest.approx(-0.0050420168, abs=5e-11)
    pulse(tile, *[UP, DOWN] * 20)
    # 40 pulses, each rounding by at most 2^-25 of a weight < 1
    np.testing.assert_allclose(tile.weights - limit, (w0 - limit) * (1 - a) ** 40, rtol=0, atol=40 * 2**-25)
    pulse(tile, *[UP, DOWN] * 1000)
    # At the fixed point one pulse rounds by at most 9e-10 (the response, about 1, by 2^-24, times s; the weight, below
    # 2^-7, by 2^-32); a pair forgets 1 - (1 - a)^2 = 0.033 of what came before: 2 * 9e-10 / 0.033 = 6e-8.
    np.testing.assert_allclose(tile.weights, limit, rtol=0, atol=6e-8)
    pulse(tile, UP)
    np.testing.assert_allclose(tile.weights, -limit, rtol=0, atol=6e-8)


# ---- T-DEV-5 and 6

N = 250 * 400


def check_mean(x: Floats, mean: float, sigma: float) -> None:
    """Within 4 standard errors of the mean of N draws with standard deviation sigma."""
    assert abs(x.mean() - mean) < 4 * sigma / np.sqrt(N)


def check_normal(x: Floats, mean: float, sigma: float) -> None:
    """Mean and standard deviation of N normal draws within 4 standard errors."""
    check_mean(x, mean, sigma)
    assert abs(x.std() - sigma) < 4 * sigma / np.sqrt(2 * N)


@pytest.mark.parametrize("row", STEPPED, ids=named)
def test_T_DEV_5_spread_of_the_cells(row: Row) -> None:
    power: dict[str, Any] = dict(pow_gamma_dtod=0.1, pow_up_down_dtod=0.05)
    linear: dict[str, Any] = dict(gamma_up_dtod=0.1, gamma_down_dtod=0.05)
    own = {"PowStep": power, "PowStepReference": power, "LinearStep": linear}.get(row.name, {})
    device = replace(
        row.device,
        dw_min=0.1,
        up_down=0.0,
        dw_min_dtod=0.15,
        up_down_dtod=0.02,
        w_max_dtod=0.1,
        w_min_dtod=0.2,
        reference_mean=0.3,
        reference_std=0.05,
        **own,
        enforce_consistency=False,
    )
    cell = cells(tile_of(device, 250, 400))
    low, high = device.bounds
    check_normal(cell["w_max"], high, 0.1 * high)
    check_normal(cell["w_min"], low, -0.2 * low)
    # gain +- r: variances add, the difference is twice r
    both = np.hypot(0.15, 0.02)
    check_normal(cell["dw_up"], 0.1, 0.1 * both)
    check_normal(cell["dw_down"], 0.1, 0.1 * both)
    check_normal(cell["dw_up"] - cell["dw_down"], 0.0, 0.1 * 0.04)
    check_normal(cell["reference"], 0.3, 0.05)
    if row.name == "PowStep":
        spread = np.hypot(0.1, 0.05)
        check_normal(cell["gamma_up"], 1.5 * 0.9, 1.5 * spread)
        check_normal(cell["gamma_down"], 1.5, 1.5 * spread)
        # same gain in both, opposite r: the mean of the two has the gain alone
        check_normal((cell["gamma_up"] + cell["gamma_down"]) / 2, 1.5 * 0.95, 1.5 * 0.1)
    if row.name == "LinearStep":
        check_normal(cell["gamma_up"], 0.6, 0.1)
        check_normal(cell["gamma_down"], 0.4, 0.05)
    # the draws of different parameters, and of neighbours in a row and in a column, are independent: r < 5 / sqrt N
    drawn = [cell[name] for name in ("w_max", "w_min", "dw_up", "reference")]
    pairs = [(a, b) for i, a in enumerate(drawn) for b in drawn[:i]]
    pairs += [(a[:, 1:], a[:, :-1]) for a in drawn] + [(a[1:], a[:-1]) for a in drawn]
    for a, b in pairs:
        assert abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]) < 5 / np.sqrt(a.size)


def test_T_DEV_5_log_normal_gain() -> None:
    sigma = 0.5
    device = devices.SoftBounds(dw_min=0.1, dw_min_dtod=sigma, dw_min_dtod_log_normal=True)
    gain = cells(tile_of(device, 250, 400))["dw_up"] / 0.1
    check_normal(np.log(gain), 0.0, sigma)
    mean = np.exp(sigma**2 / 2)
    check_mean(gain, mean, mean * np.sqrt(np.exp(sigma**2) - 1))
    # the standard error of a median is 1 / (2 f sqrt N), f the density there: sigma sqrt(pi / 2 N)
    assert abs(np.median(gain) - 1) < 4 * sigma * np.sqrt(np.pi / 2 / N)


def test_T_DEV_5_slopes_move_the_bounds() -> None:
    device = devices.SoftBoundsReference(w_max=0.8, w_min=-0.4, slope_up_dtod=0.1, slope_down_dtod=0.2)
    cell = cells(tile_of(device, 250, 400))
    # a float32 division and product: relative 2^-23; 1 + 0.2 N is positive for all N of this generator (|N| < 5 here)
    check_normal(0.8 / cell["w_max"], 1.0, 0.1)
    check_normal(-0.4 / cell["w_min"], 1.0, 0.2)


def test_T_DEV_5_arrays_and_seeds_have_cells_of_their_own() -> None:
    device = devices.SoftBounds(dw_min_dtod=0.2)
    tiles = {s: og.Tile(250, 400, device=device, algorithm=og.TikiTaka(), seed=s) for s in (1, 2)}
    fast, slow = (tiles[1].arrays[name].parameters["dw_up"] for name in ("fast", "slow"))
    for other in (slow, tiles[2].arrays["fast"].parameters["dw_up"]):
        assert abs(np.corrcoef(fast.ravel(), other.ravel())[0, 1]) < 5 / np.sqrt(N)
    again = og.Tile(250, 400, device=device, algorithm=og.TikiTaka(), seed=og.Seeds(device=1, noise=9))
    np.testing.assert_array_equal(again.arrays["fast"].parameters["dw_up"], fast)


@pytest.mark.parametrize("consistent", [True, False])
def test_T_DEV_5_repair_of_drawn_cells(consistent: bool) -> None:
    # draws far out of order: steps of both signs, bounds on the wrong side
    device = devices.SoftBounds(
        dw_min=0.1, dw_min_dtod=2.0, w_max_dtod=2.0, w_min_dtod=2.0, enforce_consistency=consistent
    )
    cell = cells(tile_of(device))
    steps = np.concatenate([cell["dw_up"].ravel(), cell["dw_down"].ravel()])
    if consistent:
        assert (steps >= 0).all()
        assert (cell["w_max"] >= 0).all()
        assert (cell["w_min"] <= 0).all()
    else:
        assert (steps < 0).mean() > 0.2
        met = cell["w_max"] == cell["w_min"]
        # P(w_min > w_max) = P(N(2, 8) < 0) = 0.24; five standard errors of 10 000 draws are 0.021
        assert abs(met.mean() - 0.2398) < 0.0215
        assert (cell["w_max"] >= cell["w_min"]).all()


@pytest.mark.parametrize("row", STEPPED, ids=named)
@pytest.mark.parametrize(("up_down", "ratio"), [(0.3, 1 / 0.7), (-0.3, 0.7), (0.0, 1.0)])
def test_T_DEV_6_up_down_shrinks_one_side(row: Row, up_down: float, ratio: float) -> None:
    tile = tile_of(replace(row.device, up_down=up_down, dw_min=0.01), 1, 1)
    cell = cells(tile)
    # three float32 operations each: relative 6 * 2^-24
    assert cell["dw_up"].item() / cell["dw_down"].item() == pytest.approx(ratio, rel=4e-7)
    assert max(cell["dw_up"].item(), cell["dw_down"].item()) == pytest.approx(0.01, rel=4e-7)
    pulse(tile, UP)
    up = tile.weights.item() / row.q_up(0.0, row.mean_cell())
    tile.set_weights([[0.0]])
    pulse(tile, DOWN)
    down = -tile.weights.item() / row.q_down(0.0, row.mean_cell())
    assert up / down == pytest.approx(ratio, rel=2e-6)


# ---- T-DEV-7


@pytest.mark.parametrize("row", [row for row in STEPPED if row.name != "ConstantStep"], ids=named)
def test_T_DEV_7_subtracted_symmetric_point_is_zero(row: Row) -> None:
    # a symmetric point off zero for every model
    calm: dict[str, float] = dict(
        dw_min_dtod=0.1, w_max_dtod=0.1, w_min_dtod=0.1, reference_mean=0.0, reference_std=0.0
    )
    uneven = replace(row.spread, up_down=-0.4, dw_min=0.01, **calm)
    tile = tile_of(replace(uneven, subtract_symmetry_point=True), 20, 30)
    plain = tile_of(uneven, 20, 30)
    tile.set_weights(np.full((20, 30), 0.2))
    # more than ten times the forgetting time of n_states / 4 pairs: n_states is at most 600
    pulse(tile, *[UP, DOWN] * 2000)
    pulse(plain, *[UP, DOWN] * 2000)
    cell = cells(tile)
    v = stored(tile)
    step = np.maximum(cell["dw_up"] * row.q_up(v, cell), cell["dw_down"] * row.q_down(v, cell))
    assert (np.abs(tile.weights) <= step).all()
    # without the subtraction the same cells rest at the symmetric point of their own, many steps from zero
    np.testing.assert_allclose(stored(plain), v, rtol=0, atol=1e-5)
    assert np.median(np.abs(plain.weights) / step) > 3


def test_T_DEV_7_no_symmetric_point_to_subtract() -> None:
    with pytest.raises(ValueError, match=r"subtract_symmetry_point .* no symmetric point"):
        devices.ConstantStep(subtract_symmetry_point=True)


# ---- T-DEV-9 and 10


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0, 3.0])
def test_T_DEV_9_power_response_is_a_power_step(gamma: float) -> None:
    tau, dw = 0.6, 0.02
    power = tile_of(devices.PowerResponse(dw_min=dw, tau=tau, gamma=gamma))
    step = tile_of(devices.PowStep(dw_min=dw * 2**gamma, w_max=tau, w_min=-tau, pow_gamma=gamma))
    unscaled = tile_of(devices.PowStep(dw_min=dw, w_max=tau, w_min=-tau, pow_gamma=gamma))
    assert power.granularity() == pytest.approx(step.granularity(), rel=1e-12)
    for direction in (UP, DOWN):
        for tile in (power, step, unscaled):
            random_weights(tile)
            pulse(tile, direction)
        np.testing.assert_allclose(power.weights, step.weights, rtol=0, atol=1e-6)
        assert np.abs(power.weights - unscaled.weights).max() > 1e-3


def test_T_DEV_10_exponential_response_becomes_linear() -> None:
    tau = 0.5
    curved = devices.ExponentialResponse(dw_min=0.1, tau=tau, gamma=1e-4)
    linear = devices.LinearResponse(dw_min=0.1, tau=tau)
    w = np.linspace(-tau, tau, 1001)
    # (e^(g z) - 1) / (e^g - 1) = z (1 + g (z - 1) / 2 + ...) with z = 1 -+ w / tau between 0 and 2
    np.testing.assert_allclose(curved.q_up(w), linear.q_up(w), rtol=1e-4, atol=1e-12)
    np.testing.assert_allclose(curved.q_down(w), linear.q_down(w), rtol=1e-4, atol=1e-12)
    tiles = [tile_of(device) for device in (curved, linear, replace(curved, gamma=1.0))]
    for direction in (UP, DOWN):
        for tile in tiles:
            random_weights(tile)
            pulse(tile, direction)
        # 1e-4 of a response up to 2, times the step, and the rounding of weights below 1
        np.testing.assert_allclose(tiles[0].weights, tiles[1].weights, rtol=0, atol=0.1 * 1e-4 + 2**-23)
        assert np.abs(tiles[2].weights - tiles[1].weights).max() > 1e-3


@pytest.mark.parametrize("gamma", [1e-4, 0.5, 1.0, 4.0, 20.0])
def test_T_DEV_10_exponential_response_is_one_at_zero(gamma: float) -> None:
    device = devices.ExponentialResponse(dw_min=0.01, gamma=gamma)
    assert device.q_up(0.0) == pytest.approx(1.0, abs=1e-12)
    assert device.q_down(0.0) == pytest.approx(1.0, abs=1e-12)
    tile = tile_of(device, 1, 1)
    pulse(tile, UP)
    # own expm1 and one division in float32: a few 2^-24 relative
    assert tile.weights.item() == pytest.approx(0.01, rel=1e-6)


# ---- T-DEV-11


@pytest.mark.parametrize("relative", [True, False], ids=["relative", "additive"])
@pytest.mark.parametrize("row", STEPPED, ids=named)
def test_T_DEV_11_cycle_noise(row: Row, relative: bool) -> None:
    sigma, n = 0.3, 320 * 320
    device = replace(row.device, dw_min=0.01, dw_min_std=sigma, mult_noise=relative)
    cell = cells(tile_of(device, 1, 1))
    for at in (0.0, 0.5 * device.bounds[1]):
        tile = tile_of(device, 320, 320)
        tile.set_weights(np.full((320, 320), at))
        for direction, step, q in ((UP, cell["dw_up"], row.q_up), (DOWN, -cell["dw_down"], row.q_down)):
            start = stored(tile)
            pulse(tile, direction)
            response = q(start, {name: plane.item() for name, plane in cell.items()})
            scale = response if relative else 1.0
            # a standard normal number for every cell, up to the rounding of weights (1e-7 of 3e-3)
            z = (stored(tile) - start - step * response) / (step * sigma * scale)
            # five standard errors of mean, deviation, skewness and kurtosis
            assert abs(z.mean()) < 5 / np.sqrt(n)
            assert abs(z.std() - 1) < 5 / np.sqrt(2 * n)
            assert abs((z**3).mean()) < 5 * np.sqrt(15 / n)
            assert abs((z**4).mean() - 3) < 5 * np.sqrt(96 / n)
            # rows and columns do not share it
            for a, b in ((z[1:], z[:-1]), (z[:, 1:], z[:, :-1])):
                assert abs((a * b).mean()) < 5 / np.sqrt(a.size)


def test_T_DEV_11_noise_in_numbers() -> None:
    """The example of the specification: half the noise at half the bound if it is relative, all of it if additive."""
    n = 320 * 320
    for model, share in ((devices.SoftBounds, 0.5), (devices.SoftBoundsReference, 1.0)):
        tile = tile_of(model(dw_min=0.01, dw_min_std=0.3), 320, 320)
        for at, factor in ((0.0, 1.0), (0.5, share)):
            tile.set_weights(np.full((320, 320), at))
            pulse(tile, UP)
            assert abs(tile.weights.std() - 0.003 * factor) < 5 * 0.003 * factor / np.sqrt(2 * n)


def test_T_DEV_11_pulses_of_one_cell_have_noise_of_their_own() -> None:
    # constant steps, no bounds in reach: increments of the same cells in one call of two vectors and in later calls
    device = devices.ConstantStep(dw_min=0.01, dw_min_std=0.3)
    tile, both = tile_of(device, 320, 320), tile_of(device, 320, 320)
    pulse(tile, UP)
    first = stored(tile)
    pulse(tile, UP)
    second = stored(tile) - first
    pulse(both, UP, UP)
    n = 320 * 320
    a, b = ((step - 0.01) / 0.003 for step in (first, second))
    assert abs((a * b).mean()) < 5 / np.sqrt(n)
    # the variance of the sum of two is twice that of one
    assert abs(stored(both).var() / 0.003**2 - 2) < 5 * 2 * np.sqrt(2 / n)


# ---- families in closed form (section 2.6)


@pytest.mark.parametrize("model", [devices.LinearStep, devices.PiecewiseStep])
def test_constant_steps_are_linear_steps_without_slope(model: type[devices.Device]) -> None:
    settings: dict[str, Any] = dict(dw_min=0.01, dw_min_std=0.3, dw_min_dtod=0.2, w_max_dtod=0.1)
    tiles = [tile_of(device(**settings), 20, 30) for device in (devices.ConstantStep, model)]
    for tile in tiles:
        pulse(tile, *[UP, DOWN, UP] * 30)
    np.testing.assert_array_equal(tiles[0].weights, tiles[1].weights)


def test_soft_bounds_are_linear_steps_that_end_at_their_own_bounds() -> None:
    settings: dict[str, Any] = dict(dw_min=0.01, dw_min_std=0.3, w_max_dtod=0.1, w_min_dtod=0.1)
    slopes: dict[str, Any] = dict(gamma_up=1.0, gamma_down=1.0)
    plain, own, nominal = (
        tile_of(device, 20, 30)
        for device in (
            devices.SoftBounds(**settings),
            devices.LinearStep(**settings, **slopes, mean_bound_reference=False),
            devices.LinearStep(**settings, **slopes),
        )
    )
    for tile in (plain, own, nominal):
        pulse(tile, *[UP, DOWN, UP] * 30)
    np.testing.assert_array_equal(plain.weights, own.weights)
    assert np.abs(plain.weights - nominal.weights).max() > 1e-3


def test_reversed_linear_steps_grow_towards_their_bound() -> None:
    device = devices.LinearStep(
        gamma_up=0.5, gamma_down=0.8, w_min=-0.5, reverse_up=True, reverse_down=True, reverse_offset=0.1
    )
    # 1 - 0.5 w / (-0.5 - 0.1) and 1 - 0.8 w / (1 + 0.1)
    w = np.linspace(-0.5, 1.0, 7)
    np.testing.assert_allclose(device.q_up(w), 1 + 0.5 * w / 0.6, rtol=0, atol=1e-7)
    np.testing.assert_allclose(device.q_down(w), 1 - 0.8 * w / 1.1, rtol=0, atol=1e-7)


def test_steps_grow_only_if_allowed() -> None:
    settings: dict[str, Any] = dict(gamma_up=-0.5, gamma_up_dtod=0.1)
    positive = cells(tile_of(devices.LinearStep(**settings), 250, 400))["gamma_up"]
    either = cells(tile_of(devices.LinearStep(**settings, allow_increasing=True), 250, 400))["gamma_up"]
    check_normal(either, -0.5, 0.1)
    np.testing.assert_array_equal(positive, np.abs(either))


@pytest.mark.parametrize(("low", "high"), [(-1.0, 1.0), (-0.3, 0.5), (-0.5, 0.0)])
def test_soft_bounds_follow_the_pulse_curves_they_are_given_by(low: float, high: float) -> None:
    alpha, p_max = 0.01, 200
    device = devices.SoftBoundsPmax(alpha=alpha, p_max=p_max, range_min=low, range_max=high)
    kit = replace(device, kit_compat=True)
    span = (high - low) / -np.expm1(-alpha * p_max)
    assert device.bounds == pytest.approx((high - span, low + span), abs=1e-12)
    assert kit.bounds == pytest.approx((low, low + span), abs=1e-12)
    assert (kit.dw_min, kit.up_down) == pytest.approx((alpha * span, 1 + 2 * low / span), abs=1e-12)
    assert device.symmetric_point == pytest.approx((low + high) / 2, abs=1e-12)
    for p in (1, 50, p_max):
        up, down = tile_of(device, 1, 1), tile_of(device, 1, 1)
        up.set_weights([[low]])
        down.set_weights([[high]])
        pulse(up, *[UP] * p)
        pulse(down, *[DOWN] * p)
        travelled = -span * np.expm1(-alpha * p)
        # float32: each pulse rounds by at most 2^-24 of a weight < 1, and the step by a few 2^-24 of itself
        tolerance = p * 2**-24 + 1e-6
        np.testing.assert_allclose(up.weights, low + travelled, rtol=0, atol=tolerance)
        np.testing.assert_allclose(down.weights, high - travelled, rtol=0, atol=tolerance)
    # after p_max pulses it has gone all the way; by the other translation it has not
    np.testing.assert_allclose(down.weights, low, rtol=0, atol=2e-5)
    other = tile_of(kit, 1, 1)
    other.set_weights([[high]])
    pulse(other, *[DOWN] * p_max)
    assert abs(other.weights.item() - low) > 0.01


def test_steps_of_pulse_curves_are_derived() -> None:
    with pytest.raises(TypeError, match="dw_min"):
        devices.SoftBoundsPmax(dw_min=0.1)  # type: ignore[call-arg]
    with pytest.raises(ValueError, match="up_down"):
        replace(devices.SoftBoundsPmax(), up_down=0.1)


def test_an_exponential_step_with_the_settings_of_the_kit() -> None:
    device = devices.ExpStep(dw_min=0.01)
    assert device.symmetric_point == pytest.approx(0.0, abs=1e-4)
    assert device.q_up(1.0) == pytest.approx(0.65, abs=0.01)
    assert device.q_down(-1.0) == pytest.approx(0.62, abs=0.01)
    # one slope for both directions: the ratio at zero to the three digits known, and no symmetric point within bounds
    for gamma, ratio in ((0.5, -0.195), (1.0, -0.168), (2.0, -0.127), (3.0, -0.097), (4.0, -0.074)):
        equal = devices.ExpStep(gamma_up=gamma, gamma_down=gamma)
        assert equal.G(0.0) / equal.F(0.0) == pytest.approx(ratio, abs=1e-3)
        assert np.isnan(equal.symmetric_point)
    assert device.granularity == pytest.approx(0.01 * device.F(0.0), rel=1e-12)
    kit = replace(device, kit_compat=True, up_down=0.3)
    assert kit.granularity == pytest.approx(0.01 * kit.q_down(0.0), rel=1e-12)


@pytest.mark.parametrize("relative", [True, False], ids=["relative", "additive"])
def test_noise_of_an_exponential_step_grows_with_the_weight(relative: bool) -> None:
    sigma, add, slope, n = 0.3, 0.02, 0.05, 320 * 320
    noise: dict[str, Any] = dict(dw_min_std=sigma, dw_min_std_add=add, dw_min_std_slope=slope, mult_noise=relative)
    device = devices.ExpStep(dw_min=0.01, **noise)
    for at in (0.0, 0.5, -0.5):
        for direction, q in ((UP, device.q_up(at)), (DOWN, device.q_down(at))):
            tile = tile_of(device, 320, 320)
            tile.set_weights(np.full((320, 320), at))
            pulse(tile, direction)
            step = 0.01 * q
            expected = sigma * ((step if relative else 0.01) + add + slope * abs(at))
            moved = stored(tile) - at
            assert abs(moved.mean() + direction * step) < 5 * expected / np.sqrt(n)
            assert abs(moved.std() - expected) < 5 * expected / np.sqrt(2 * n)


def test_a_piecewise_step_is_a_table_with_even_nodes() -> None:
    up, down = [1.9, 1.2, 0.9, 0.8, 0.1], [0.0, 0.7, 0.8, 1.3, 2.2]
    spread: dict[str, Any] = dict(dw_min=0.05, w_max_dtod=0.1, w_min_dtod=0.1)
    pieces = devices.PiecewiseStep(u_up=up, u_down=down, w_min=-0.5, **spread)
    table = devices.Tabulated(w=np.linspace(-0.5, 1.0, 5), q_up=up, q_down=down, **spread)
    assert pieces.granularity == 0.05 * 0.9
    for direction in (UP, DOWN):
        tiles = [tile_of(device) for device in (pieces, table)]
        for tile in tiles:
            random_weights(tile)
            # not the single pulse of this file: that is one of the granularity, which differs
            tile.update(np.ones(100), np.full(100, direction), lr=tile.granularity())
        np.testing.assert_array_equal(tiles[0].weights, tiles[1].weights)


def test_power_steps_with_and_without_reference_are_the_same() -> None:
    settings: dict[str, Any] = dict(dw_min=0.05, pow_gamma=1.7, pow_gamma_dtod=0.1, reference_std=0.1, dw_min_std=0.3)
    tiles = [tile_of(model(**settings), 20, 30) for model in (devices.PowStep, devices.PowStepReference)]
    for tile in tiles:
        pulse(tile, *[UP, DOWN, UP] * 10)
    np.testing.assert_array_equal(tiles[0].weights, tiles[1].weights)


def test_responses_of_the_papers_in_closed_form() -> None:
    shifted = devices.ShiftedLinear(tau_max=1.5, tau_min=-0.5, shift=0.25)
    assert shifted.symmetric_point == pytest.approx(0.25, abs=1e-12)
    assert (shifted.q_up(0.25), shifted.q_down(0.25)) == pytest.approx((1.0, 1.0), abs=1e-12)
    assert (shifted.q_up(1.75), shifted.q_down(-0.25)) == pytest.approx((0.0, 0.0), abs=1e-12)
    for gamma in (0.1, 2.0, 10.0):
        device = devices.SaturatingExponential(dw_min=0.01, gamma_up=gamma, gamma_down=gamma)
        assert device.q_up(0.0) == pytest.approx(1 - np.exp(-gamma / 2), rel=1e-12)
        assert device.granularity == pytest.approx(0.01 * (1 - np.exp(-gamma / 2)), rel=1e-12)
        assert device.symmetric_point == pytest.approx(0.0, abs=1e-12)
    # concave towards the bound, where the exponential response of W25 is convex
    w = np.linspace(-1.0, 1.0, 101)
    assert (np.diff(devices.SaturatingExponential(gamma_up=3.0).q_up(w), 2) < 0).all()
    assert (np.diff(devices.ExponentialResponse(gamma=3.0).q_up(w), 2) > 0).all()


def test_a_measured_device_moves_as_it_was_measured(tmp_path: Path) -> None:
    """Tables as they are distributed: uniform steps around a mean, in siemens, one file compressed."""
    conductances = np.linspace(1e-4, 3e-4, 21)
    probabilities = np.linspace(0, 1, 11)
    means = {"increasing": 6e-6 - 1e4 * (conductances - 1e-4) ** 2 / 100, "decreasing": -2e-6 - 0.01 * conductances}
    half = 3e-6
    for direction, mean in means.items():
        steps = mean + (2 * probabilities[:, None] - 1) * half
        rows = [conductances, probabilities, *steps]
        text = "\n".join(["a line of text", *(", ".join(repr(float(v)) for v in row) for row in rows)])
        if direction == "increasing":
            (tmp_path / "dG_increasing7.txt.gz").write_bytes(gzip.compress(text.encode()))
        else:
            (tmp_path / "dG_decreasing.txt").write_text(text, "utf-8")
    device = devices.Tabulated.from_tables(tmp_path)
    w = np.array(device.w)
    np.testing.assert_allclose(w, np.linspace(-1, 1, 21), rtol=0, atol=1e-12)
    # a siemens is 2 / 2e-4 weights
    np.testing.assert_allclose(device.dw_min * device.q_up(w), 1e4 * means["increasing"], rtol=1e-9)
    np.testing.assert_allclose(device.dw_min * device.q_down(w), -1e4 * means["decreasing"], rtol=1e-9)
    assert device.granularity == pytest.approx(device.dw_min, rel=1e-12)
    # a uniform distribution of half width h has the variance h^2 / 3
    assert device.dw_min * device.dw_min_std == pytest.approx(1e4 * half / np.sqrt(3), rel=1e-9)
    assert not device.mult_noise
    assert devices.Tabulated.from_tables(tmp_path, dw_min_std=0.0).dw_min_std == 0
    tile = tile_of(device, 250, 400)
    tile.set_weights(np.full((250, 400), 0.5))
    pulse(tile, UP)
    check_normal(stored(tile) - 0.5, device.dw_min * device.q_up(0.5), 1e4 * half / np.sqrt(3))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("text\n1 2\n0 1\n0 0\n0 x", "no table of steps: .*'x'"),
        ("text\n1 2\n0 1", "2 rows of numbers, allowed: 4 or more"),
        ("text\n1 2\n0 1\n0 0\n0 nan", "allowed: 4 or more, finite"),
        ("text\n1 2\n0 1\n0 0\n0 0\n0 0", "3 rows of steps, allowed: 2 rows of 2"),
        ("text\n1 2\n0 1\n0 0\n0 0 0", "2 rows of steps, allowed: 2 rows of 2"),
        ("text\n1 2\n0 0.5\n0 0\n0 0", "do not rise from 0 to 1"),
        ("text\n2 1\n0 1\n1 1\n1 1", "conductances that differ or do not rise"),
    ],
)
def test_a_table_of_another_form_names_the_file(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(FileNotFoundError, match="has no dG_increasing"):
        devices.Tabulated.from_tables(tmp_path)
    for direction in ("increasing", "decreasing"):
        (tmp_path / f"dG_{direction}.txt").write_text(text, "utf-8")
    with pytest.raises(ValueError, match=message) as caught:
        devices.Tabulated.from_tables(tmp_path)
    assert str(tmp_path) in str(caught.value)


def test_a_broken_table_names_the_file(tmp_path: Path) -> None:
    whole = gzip.compress(b"text\n1 2\n0 1\n1 1\n1 1" * 9)
    for data in (b"text", whole[:-9], whole[:20] + b"!!!!" + whole[24:], gzip.compress(b"\xff\xfe")):
        (tmp_path / "dG_increasing.txt.gz").write_bytes(data)
        with pytest.raises(ValueError, match=r"dG_increasing\.txt\.gz (is no table|has 0 rows)"):
            devices.Tabulated.from_tables(tmp_path)


# ---- reset targets, exponents of drift, stuck and perfect cells (section 2.4)


def test_reset_targets_and_drift_exponents_are_drawn() -> None:
    drift = devices.Drift(nu=0.05, nu_dtod=0.3)
    device = devices.SoftBounds(reset=0.1, reset_dtod=0.02, drift=drift)
    cell = cells(tile_of(device, 250, 400))
    # the spread of the target is added, that of the exponent relative
    check_normal(cell["reset"], 0.1, 0.02)
    check_normal(cell["nu"], 0.05, 0.05 * 0.3)
    assert abs(np.corrcoef(cell["reset"].ravel(), cell["nu"].ravel())[0, 1]) < 5 / np.sqrt(N)


def test_parameters_without_spread_take_no_memory() -> None:
    state = tile_of(devices.SoftBounds(dw_min_dtod=0.1)).state_dict()
    sizes = {name.removeprefix("weight."): value.size for name, value in state.items() if name.startswith("weight.")}
    assert {name for name, size in sizes.items() if size > 1} == {"values", "dw_up", "dw_down"}


@pytest.mark.parametrize("row", ROWS, ids=named)
def test_stuck_cells(row: Row) -> None:
    share, limit = 0.2, 0.05
    healthy = cells(tile_of(row.spread, 250, 400))
    tile = tile_of(replace(row.spread, corrupt_devices_prob=share, corrupt_devices_range=limit), 250, 400)
    cell = cells(tile)
    stuck = cell["w_max"] == cell["w_min"]
    assert abs(stuck.mean() - share) < 4 * np.sqrt(share * (1 - share) / N)
    for name in ("dw_up", "dw_down"):
        np.testing.assert_array_equal(cell[name][stuck], 0.0)
    # everything else is as in healthy cells, and so are these
    for name, plane in cell.items():
        other = ~stuck if name in ("w_max", "w_min", "dw_up", "dw_down") else np.full_like(stuck, True)
        np.testing.assert_array_equal(plane[other], healthy[name][other])
    low, high = np.maximum(healthy["w_min"], -limit), np.minimum(healthy["w_max"], limit)
    u = ((cell["w_max"] - low) / (high - low))[stuck]
    # uniform: mean 1/2, variance 1/12, of which the standard error is sqrt(1/180) / sqrt(n)
    assert abs(u.mean() - 0.5) < 4 * np.sqrt(1 / 12 / u.size)
    assert abs(u.var() - 1 / 12) < 4 * np.sqrt(1 / 180 / u.size)
    # float32 rounds the ends by 2^-24 of them; the range is 0.1 or so
    assert u.min() > -1e-5
    assert u.max() < 1 + 1e-5
    before = stored(tile)
    pulse(tile, UP, UP, DOWN)
    np.testing.assert_array_equal(stored(tile)[stuck], before[stuck])
    assert (stored(tile)[~stuck] != before[~stuck]).mean() > 0.9


@pytest.mark.parametrize("row", ROWS, ids=named)
def test_a_perfect_bias_column(row: Row) -> None:
    device = replace(row.noisy, perfect_bias=True, corrupt_devices_prob=0.5, reset_dtod=0.1)
    cell, plain = (cells(tile_of(d, 20, 30)) for d in (device, replace(device, perfect_bias=False)))
    for name, plane in cell.items():
        np.testing.assert_array_equal(plane[:, :-1], plain[name][:, :-1])
    low, high = device.bounds
    ideal = dict(w_max=100 * high, w_min=100 * low, dw_up=device.dw_min, dw_down=device.dw_min, decay=1.0)
    nothing = dict.fromkeys(("reference", "diffusion", "reset", "nu"), 0.0)
    for name, value in (ideal | nothing).items():
        np.testing.assert_allclose(cell[name][:, -1], value, rtol=1e-6, atol=0)
    # whatever the bounds, a pulse at zero is that of the mean cell, but for the asymmetry
    tile = tile_of(replace(row.spread, perfect_bias=True), 20, 30)
    pulse(tile, UP)
    # float32: a few roundings of the response, and of the bounds, which are 100 times what is left between them
    step = device.dw_min * row.q_up(0.0, row.mean_cell())
    np.testing.assert_allclose(tile.weights[:, -1], step, rtol=1e-5, atol=0)


# ---- decay and diffusion (section 2.5)


@pytest.mark.parametrize("row", ROWS, ids=named)
def test_cells_decay_at_the_end_of_a_mini_batch(row: Row) -> None:
    tile = tile_of(replace(row.spread, diffusion=0.0))
    random_weights(tile)
    w, decay = tile.weights.astype(np.float64), cells(tile)["decay"]
    assert np.unique(decay).size > 5000
    for _ in range(3):
        tile.end_batch()
    # towards zero as it is seen; three products, and sums with the reference, each rounding by 2^-24 of values below 1
    np.testing.assert_allclose(tile.weights, w * decay**3, rtol=0, atol=9 * 2**-24)
    assert np.abs(tile.weights - w).max() > 0.01


def test_decay_factors_are_drawn() -> None:
    cell = cells(tile_of(devices.SoftBounds(lifetime=50.0, lifetime_dtod=0.1), 250, 400))
    check_normal(1 / (1 - cell["decay"]), 50.0, 5.0)
    # cells that would last less than one mini-batch forget all at once: P(N < -1.98) = 0.02385 at a spread of 1/2
    short = cells(tile_of(devices.SoftBounds(lifetime=100.0, lifetime_dtod=0.5), 250, 400))["decay"]
    assert abs((short == 0).mean() - 0.02385) < 5 * np.sqrt(0.024 / N)
    assert ((short == 0) | ((short > 0) & (short < 1))).all()
    np.testing.assert_array_equal(cells(tile_of(devices.SoftBounds()))["decay"], 1.0)


def test_cells_diffuse_at_the_end_of_a_mini_batch() -> None:
    tile = tile_of(devices.SoftBounds(diffusion=0.01), 250, 400)
    steps = []
    for _ in range(3):
        before = stored(tile)
        tile.end_batch()
        steps.append(stored(tile) - before)
    for i, step in enumerate(steps):
        check_normal(step, 0.0, 0.01)
        for other in [*steps[:i], np.roll(step, 1, axis=0), np.roll(step, 1, axis=1)]:
            assert abs(np.corrcoef(step.ravel(), other.ravel())[0, 1]) < 5 / np.sqrt(N)
    spread = cells(tile_of(devices.SoftBounds(diffusion=0.01, diffusion_dtod=0.1), 250, 400))
    check_normal(spread["diffusion"], 0.01, 0.001)


@pytest.mark.parametrize("row", ROWS, ids=named)
def test_diffusion_stays_within_bounds(row: Row) -> None:
    tile = tile_of(replace(row.spread, diffusion=10.0, lifetime=0.0), 30, 30)
    tile.end_batch()
    cell, v = cells(tile), stored(tile)
    # a step of some ten ranges: cells end at one bound or the other
    assert ((v == cell["w_max"]) | (v == cell["w_min"])).mean() > 0.8
    assert (v <= cell["w_max"]).all()
    assert (v >= cell["w_min"]).all()


def test_diffusion_comes_before_decay() -> None:
    tile = tile_of(devices.SoftBounds(diffusion=0.01, lifetime=2.0), 250, 400)
    tile.end_batch()
    check_normal(stored(tile), 0.0, 0.01 * 0.5)


def test_cells_of_a_plain_device_do_not_age() -> None:
    tile = tile_of(devices.SoftBounds(dw_min_std=0.3))
    random_weights(tile)
    before = stored(tile)
    tile.end_batch()
    np.testing.assert_array_equal(stored(tile), before)
