"""Mixed precision, several arrays, calibration, tracked references and what choppers and running maxima do by chance.

The tests T-ALG-8, 9, 11 and 12 of the specification, and its decisions on choppers, scales, periods and lines.
Where nothing is random, numbers are sums and products of small multiples of powers of two and compared for equality.
Means and rates are compared within 5 standard errors.
"""

# Tests bear the names of the specification.
# ruff: noqa: N802

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil, log
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import ohmgrad as og
from ohmgrad.algorithms import Every, Gradient, Plan, Rate, Term, TileFacts, Transfer, Write

Floats = NDArray[Any]

G = 2**-10
IDEAL = og.devices.ConstantStep(dw_min=G, w_max=64.0, w_min=-64.0)
EXACT = og.PulseTrain(pulse_type="none_with_device")
ANALOG = og.PulseTrain(pulse_type="analog_update")


def ideal(d_out: int, d_in: int, algorithm: og.algorithms.Algorithm, **settings: Any) -> og.Tile:
    return og.Tile(d_out, d_in, algorithm=algorithm, **dict(device=IDEAL, pulses=EXACT) | settings)


def silent(tile: og.Tile, vectors: int = 1, lr: float = 1.0) -> None:
    """A mini-batch without gradient: time passes."""
    tile.update(np.zeros((vectors, tile.d_in)), np.zeros((vectors, tile.d_out)), lr)


def weights(tile: og.Tile, name: str) -> Floats:
    values: Floats = tile.arrays[name].weights.astype(np.float64)
    return values


def flipped(tile: og.Tile, side: str) -> Floats:
    """Which lines have the sign -1: `line` those that are read, `cross` the others."""
    state: Floats = tile.state_dict()[f"chopper.{side}"].astype(bool)
    return state


def eighths(rows: int, columns: int, shift: int = 0) -> Floats:
    """Multiples of 1/8 between -1 and 1, all columns different."""
    return ((np.arange(rows * columns) * 5 + shift) % 17 - 8).reshape(rows, columns) / 8


# ---- T-ALG-8

STEP = 2**-6
COARSE = og.devices.ConstantStep(dw_min=STEP, w_max=64.0, w_min=-64.0)
WRITES = [og.PulseTrain(pulse_type="deterministic_implicit"), og.PulseTrain(pulse_type="mean_count"), EXACT]


@pytest.mark.parametrize("pulses", WRITES, ids=lambda pulses: pulses.pulse_type)
@pytest.mark.parametrize(
    "settings",
    [
        {},
        dict(transfer_every=2),
        dict(transfer_every=0.5),
        dict(n_rows_per_transfer=1),
        dict(n_rows_per_transfer=2, random_row=True),
        dict(granularity=2 * STEP),
        dict(transfer_columns=True, n_rows_per_transfer=3),
    ],
    ids=str,
)
def test_T_ALG_8_array_and_memory_together_are_exact(settings: dict[str, Any], pulses: og.PulseTrain) -> None:
    """W_t + chi_t = W_0 - sum lr d x^T, without tolerance, while cells do what they are told.

    With trains that are not random n steps are n pulses. A batch brings at most 2 lr = 1/8, 8 steps, so that a line
    that waits for two other batches is below the 31 that a write can take; chance leaves none alone for longer here.
    """
    tile = og.Tile(3, 4, device=COARSE, algorithm=og.MixedPrecision(transfer_pulses=pulses, **settings), seed=3)
    start = w = eighths(3, 4)
    tile.set_weights(w)
    largest = 0.0
    for t in range(30):
        x, d = eighths(2, 4, 3 * t), eighths(2, 3, 7 * t + 1)
        tile.update(x, d, lr=1 / 16)
        w = w - d.T @ x / 16
        chi = weights(tile, "chi")
        np.testing.assert_array_equal(weights(tile, "weight") + chi, w)
        largest = max(largest, float(np.abs(chi).max()) / STEP)
    assert np.abs(tile.weights - start).max() > 10 * STEP
    # what is less than a step always waits, more than that only where not all lines are written after every batch
    assert largest > 0.9
    assert (largest < 1) == (not settings or settings == dict(transfer_every=0.5))


def test_T_ALG_8_stochastic_writes_are_exact_in_the_mean() -> None:
    """A row of n = 20, 10, 5, 1 steps is written in BL = 20 slots, in all of which the largest fires.

    The others get n pulses in the mean with the variance n (1 - n / BL); memory gives away n steps.
    """
    rows, n = 4000, np.array([20.0, 10.0, -5.0, 1.0])
    tile = og.Tile(rows, 4, device=COARSE, algorithm=og.MixedPrecision(), seed=7)
    tile.update(n, np.full(rows, -STEP), lr=1.0)
    assert not weights(tile, "chi").any()
    pulses = weights(tile, "weight") / STEP
    np.testing.assert_array_equal(pulses[:, 0], 20.0)
    spread = np.sqrt(np.abs(n) * (1 - np.abs(n) / 20))
    assert (np.abs(pulses.mean(axis=0) - n) <= 5 * spread / np.sqrt(rows)).all()
    # a sum of BL coin tosses: its standard deviation is known to 1 / sqrt(2 rows), a little more where tosses are rare
    np.testing.assert_allclose(pulses.std(axis=0), spread, rtol=5 * np.sqrt(3 / (4 * rows)))
    assert (spread[1:] > 0.9).all()


@pytest.mark.parametrize("bl", [8, 31])
@pytest.mark.parametrize("sign", [1, -1])
def test_T_ALG_8_steps_beyond_the_train_are_lost(sign: int, bl: int) -> None:
    """Of n steps that leave the memory at once, max(n - desired_bl, 0) reach no cell."""
    pulses = None if bl == 31 else og.PulseTrain(desired_bl=bl)
    for n in (0.75, 1.0, bl - 0.5, float(bl), bl + 1.25, 3.5 * bl):
        tile = og.Tile(1, 1, device=COARSE, algorithm=og.MixedPrecision(transfer_pulses=pulses), count_pulses=True)
        tile.update([n], [-sign * STEP], lr=1.0)
        whole = np.trunc(n)
        assert tile.arrays["chi"].weights.item() == sign * (n - whole) * STEP
        assert tile.weights.item() == sign * min(whole, bl) * STEP
        counts = tile.arrays["weight"].pulse_counts
        assert int((counts.up if sign > 0 else counts.down).item()) == min(whole, bl)
        assert tile.weights.item() + tile.arrays["chi"].weights.item() == sign * (n - max(whole - bl, 0)) * STEP


def test_T_ALG_8_a_factor_on_the_writes_is_no_factor_on_the_memory() -> None:
    tile = ideal(1, 1, og.MixedPrecision(transfer_lr=0.5, transfer_pulses=EXACT), device=COARSE)
    tile.update([5.25], [-STEP], lr=1.0)
    assert tile.arrays["chi"].weights.item() == 0.25 * STEP
    assert tile.weights.item() == 2.5 * STEP


def test_T_ALG_8_rows_take_turns() -> None:
    """Two rows of five per transfer: 0 1, 2 3, 4 0, 1 2, ...; what was not written waits in memory."""
    tile = ideal(5, 1, og.MixedPrecision(n_rows_per_transfer=2, transfer_pulses=EXACT), device=COARSE)
    w, chi, row = np.zeros(5), np.zeros(5), 0
    for _ in range(12):
        tile.update([1.0], np.full(5, -STEP), lr=1.0)
        chi += 1
        for _ in range(2):
            w[row] += chi[row]
            chi[row] = 0
            row = (row + 1) % 5
        np.testing.assert_array_equal(weights(tile, "weight")[:, 0] / STEP, w)
        np.testing.assert_array_equal(weights(tile, "chi")[:, 0] / STEP, chi)


@pytest.mark.parametrize("columns", [False, True])
def test_T_ALG_8_random_rows_are_alike(columns: bool) -> None:
    n, events, reads = 5, 4000, 2
    algorithm = og.MixedPrecision(
        n_rows_per_transfer=reads, random_row=True, transfer_columns=columns, transfer_pulses=EXACT
    )
    tile = ideal(1, n, algorithm) if columns else ideal(n, 1, algorithm)
    starts = np.zeros(n)
    for _ in range(events):
        # a step for every line: those that are written have nothing left
        tile.update(np.ones(tile.d_in), np.full(tile.d_out, -G), lr=1.0)
        written = weights(tile, "chi").ravel() == 0
        assert written.sum() == reads
        (start,) = np.flatnonzero(written & np.roll(written, -1))
        starts[start] += 1
    assert (np.abs(starts - events / n) < 5 * np.sqrt(events / n * (1 - 1 / n))).all()
    assert starts.std() > 0


# ---- T-ALG-9

NOISY = og.devices.SoftBounds(
    dw_min=0.01, dw_min_dtod=0.3, dw_min_std=0.3, w_max_dtod=0.3, w_min_dtod=0.3, up_down_dtod=0.05
)


def trained(algorithm: og.algorithms.Algorithm, seed: int = 9, stages: bool = False) -> dict[str, Floats]:
    """The state after 60 noisy mini-batches, without what says at which stage an algorithm is."""
    tile = og.Tile(3, 5, device=NOISY, algorithm=algorithm, io=og.IO.kit(), seed=seed)
    rng = np.random.default_rng(9)
    tile.set_weights(rng.uniform(-0.3, 0.3, (3, 5)))
    for epoch in range(3):
        for _ in range(20):
            x = rng.normal(size=(4, 5))
            tile.update(x, tile.forward(x) - x[:, :3], lr=0.1)
            tile.end_batch()
        if stages:
            # growing losses: the next stage after each epoch, as long as there is one
            tile.end_epoch([float(1 + i) for i in range(epoch + 2)])
    state = {name: values for name, values in tile.state_dict().items() if name != "stage"}
    assert np.abs(state["fast.values"]).max() > 0.01
    return state


def same(one: dict[str, Floats], other: dict[str, Floats]) -> bool:
    assert one.keys() == other.keys()
    return all(np.array_equal(one[name], other[name]) for name in one)


SHARED: list[dict[str, Any]] = [
    dict(gamma=0.5, transfer_every=2.0, transfer_lr=0.1),
    dict(gamma=0.1, transfer_every=0.5, transfer_lr=0.5, fast_lr=0.5, scale_fast_lr=True, scale_transfer_lr=True),
    dict(gamma=0.0, transfer_every=3.0, transfer_lr=0.3, units_in_mbatch=False, n_reads_per_transfer=2),
    dict(gamma=0.2, transfer_every=1.0, transfer_lr=0.2, transfer_columns=False, transfer_io=og.IO(out_noise=0.1)),
]


@pytest.mark.parametrize("settings", SHARED, ids=str)
def test_T_ALG_9_two_arrays_are_tiki_taka_bit_for_bit(settings: dict[str, Any]) -> None:
    expected = trained(og.TikiTaka(**dict(scale_transfer_lr=False) | settings))
    assert np.abs(expected["slow.values"]).max() > 0.01
    two = og.MultiTileResidualLearning(n_arrays=2, warm_start=False, **settings)
    assert same(trained(two), expected)
    # with two arrays the warm start is the cascade from the beginning, and so is its only other stage
    assert same(trained(replace(two, warm_start=True)), expected)
    assert same(trained(replace(two, warm_start=True), stages=True), expected)
    assert not same(trained(two, seed=10), expected)
    others: list[dict[str, Any]] = [dict(gamma=0.3), dict(transfer_every=4.0), dict(transfer_lr=0.15)]
    for other in others:
        assert not same(trained(replace(two, **other)), expected), other


def test_T_ALG_9_three_arrays_are_tiki_taka_with_vectors() -> None:
    three = og.MultiTileResidualLearning(
        gamma=0.5, transfer_every=1.0, transfer_every_factor=2.0, transfer_lr=0.25, warm_start=False
    )
    vectors: dict[str, Any] = dict(
        gamma_vec=(0.25, 0.5, 1.0), transfer_every_vec=(1.0, 2.0), transfer_lr_vec=(0.25, 0.25 * 1.2)
    )
    expected = trained(og.TikiTaka(scale_transfer_lr=False, **vectors))
    assert same(trained(three), expected)
    assert np.abs(expected["slow.values"]).max() > 0.01
    # with the warm start the slowest array learns first
    assert not same(trained(replace(three, warm_start=True)), expected)


# ---- T-ALG-11


def calibrated(device: og.devices.Device, shift: og.ZeroShift, start: Any, seed: int = 0) -> og.Tile:
    """A tile of one row, one cell for every number in `start`, after its zero-shift."""
    row = np.atleast_1d(start).astype(np.float64).reshape(1, -1)
    tile = og.Tile(1, row.size, device=device, seed=seed)
    tile.set_weights(row)
    tile.arrays["weight"].zero_shift(shift)
    return tile


def reference(tile: og.Tile) -> Floats:
    """The references of a row."""
    values: Floats = tile.arrays["weight"].parameters["reference"][0].astype(np.float64)
    return values


@pytest.mark.parametrize(("step", "bound"), [(0.01, 0.6), (0.05, 1.0), (0.25, 1.0)])
@pytest.mark.parametrize("start", [0.5, -0.6, 0.0])
def test_T_ALG_11_pairs_contract_to_half_a_step(start: float, step: float, bound: float) -> None:
    """A pair maps w to (1 - a)^2 w - a s, a = s / b: a distance to -s / (2 - a) shrinks by (1 - a)^2."""
    device = og.devices.SoftBounds(dw_min=step, w_max=bound, w_min=-bound)
    a = step / bound
    fixed = -step / (2 - a)
    # each pulse rounds the weight by 2^-25 and the step by less, and forgets older roundings by 1 - a
    rounding = 2 * 2**-25 / a
    for cycles in (1, 2, 5, 20, 100):
        expected = fixed + (start - fixed) * (1 - a) ** (2 * cycles)
        got = reference(calibrated(device, og.ZeroShift(cycles=cycles), start))
        np.testing.assert_allclose(got, expected, rtol=0, atol=rounding)
    # from there on half a step is missing: s / 2 (1 + a / 2 + ...)
    settled = reference(calibrated(device, og.ZeroShift(cycles=2000), start))
    np.testing.assert_allclose(settled, fixed, rtol=0, atol=rounding)
    assert step / 2 <= abs(fixed) <= step / 2 * (1 + a)


@pytest.mark.parametrize(("step", "bound"), [(0.01, 0.6), (0.05, 1.0)])
@pytest.mark.parametrize("tolerance", [0.1, 0.01, 0.001])
def test_T_ALG_11_how_many_pairs_it_takes(tolerance: float, step: float, bound: float) -> None:
    """n = ln(|w0| / delta) / (-2 ln(1 - a)), |w0| and delta counted from the fixed point."""
    device = og.devices.SoftBounds(dw_min=step, w_max=bound, w_min=-bound)
    a = step / bound
    fixed, start = -step / (2 - a), 0.5
    n = log((start - fixed) / tolerance) / (-2 * log(1 - a))
    assert n % 1 > 0.01
    assert n > 2
    for cycles, reached in ((ceil(n), True), (ceil(n) - 1, False)):
        distance = reference(calibrated(device, og.ZeroShift(cycles=cycles), start)) - fixed
        assert (distance <= tolerance) == reached
    # finer steps need more pairs in proportion
    fine = replace(device, dw_min=step / 4)
    distance = reference(calibrated(fine, og.ZeroShift(cycles=ceil(n)), start)) + step / 4 / (2 - a / 4)
    assert distance == pytest.approx((start + step / 4 / (2 - a / 4)) * (1 - a / 4) ** (2 * ceil(n)), rel=1e-4)


def mean_factor(a: float, reads: int) -> float:
    """Variance of the mean of successive reads over that of one: their correlation after k pulses is f^k, f = 1 - a.

    (1 / L^2) sum_(i, j) f^|i - j| = ((1 + f) / (1 - f) - 2 f (1 - f^L) / (L (1 - f)^2)) / L
    """
    f = 1 - a
    return ((1 + f) / (1 - f) - 2 * f * (1 - f**reads) / (reads * (1 - f) ** 2)) / reads


def test_the_factor_of_averages_is_the_sum_over_all_pairs() -> None:
    for a, reads in ((0.05, 1), (0.05, 40), (0.3, 7)):
        i = np.arange(reads)
        assert mean_factor(a, reads) == pytest.approx(((1 - a) ** abs(i[:, None] - i)).mean(), rel=1e-12)
    assert mean_factor(0.05, 1) == pytest.approx(1)


@pytest.mark.parametrize("average", [1, 10, 40, 200])
@pytest.mark.parametrize(("step", "bound"), [(0.05, 1.0), (0.02, 0.2)])
def test_T_ALG_11_random_pulses_end_up_around_the_symmetric_point(step: float, bound: float, average: int) -> None:
    """w <- (1 - a) w +- s: mean 0, variance s^2 (1 + f^2 + f^4 + ...) = s^2 / (2a - a^2), f = 1 - a."""
    cells, a = 20_000, step / bound
    device = og.devices.SoftBounds(dw_min=step, w_max=bound, w_min=-bound)
    shift = og.ZeroShift(cycles=600, mode="random", average=average)
    got = reference(calibrated(device, shift, np.full(cells, 0.5 * bound), seed=average))
    # the start is forgotten: 0.95^400 = 1e-9
    variance = step**2 / (2 * a - a**2) * mean_factor(a, average)
    assert abs(got.mean()) < 5 * np.sqrt(variance / cells)
    # sums of many signs have lighter tails than a normal number: its variance is uncertain by at most sqrt(2 / cells)
    assert abs(got.var() / variance - 1) < 5 * np.sqrt(2 / cells)
    # which tells an average from a single read, and much more than half a step from what pairs leave
    assert (mean_factor(a, average) < 0.9) == (average > 1)
    assert average > 1 or np.sqrt(variance) > step


def test_T_ALG_11_random_pulses_forget_the_start() -> None:
    """After n pulses: mean w0 (1 - a)^n, variance s^2 (1 - (1 - a)^(2n)) / (2a - a^2); all cells go their own way."""
    cells, step, n, start = 20_000, 0.05, 12, 0.75
    device = og.devices.SoftBounds(dw_min=step)
    got = reference(calibrated(device, og.ZeroShift(cycles=n, mode="random"), np.full(cells, start)))
    f = 1 - step
    variance = step**2 * (1 - f ** (2 * n)) / (1 - f**2)
    assert abs(got.mean() - start * f**n) < 5 * np.sqrt(variance / cells)
    assert abs(got.var() / variance - 1) < 5 * np.sqrt(2 / cells)
    assert len(set(got)) > 2**n / 2


@pytest.mark.parametrize("average", [1, 25])
def test_T_ALG_11_noise_of_the_reads_averages_out(average: int) -> None:
    """After so many pairs all reads are of the fixed point: what is left is the noise, sigma / sqrt(average)."""
    cells, sigma, step = 20_000, 0.125, 0.05
    device = og.devices.SoftBounds(dw_min=step)
    # a read-out neither scales nor repeats
    io = og.IO(out_noise=sigma, noise_management="abs_max", bound_management="iterative", out_bound=4.0)
    shift = og.ZeroShift(cycles=400, average=average, io=io)
    tile = calibrated(device, shift, np.full(cells, 0.5))
    noise = reference(tile) + step / (2 - step)
    std = sigma / np.sqrt(average)
    # 1e-6: float32, see above; a standard deviation of normal numbers is uncertain by 1 / sqrt(2 cells)
    assert abs(noise.mean()) < 5 * std / np.sqrt(cells) + 1e-6
    assert abs(noise.std() / std - 1) < 5 / np.sqrt(2 * cells)
    # the cells are where they were: what is read now lacks the error of the reference
    np.testing.assert_allclose(tile.weights[0], -noise, rtol=0, atol=2e-6)
    exact = calibrated(device, replace(shift, io=None), np.full(cells, 0.5))
    assert not exact.weights.any()
    assert reference(exact).std() == 0


SPREAD = og.devices.SoftBounds(
    dw_min=0.02, dw_min_dtod=0.2, up_down=0.1, up_down_dtod=0.1, w_max=0.8, w_max_dtod=0.2, w_min_dtod=0.2
)


def test_T_ALG_11_every_cell_reads_zero_at_its_own_symmetric_point() -> None:
    """Up: v <- (1 - p) v + u, down: v <- (1 - q) v - d, with p = u / b_max, q = d / |b_min| of the cell.

    The steps are equal at w* = (u - d) / (p + q), and S = u - p w* there. Counted from it a pair maps y to
    (1 - q)((1 - p) y + S) - S, with the fixed point -S q / (p + q - p q), half a step below, and contracts by
    (1 - p)(1 - q).
    """
    cells, cycles = 400, 3000
    tile = calibrated(SPREAD, og.ZeroShift(cycles=cycles), np.zeros(cells), seed=4)
    own = {name: values[0].astype(np.float64) for name, values in tile.arrays["weight"].parameters.items()}
    p, q = own["dw_up"] / own["w_max"], own["dw_down"] / -own["w_min"]
    point = (own["dw_up"] - own["dw_down"]) / (p + q)
    step = own["dw_up"] - p * point
    np.testing.assert_allclose(step, own["dw_down"] + q * point, rtol=1e-6)
    rest = -step * q / (p + q - p * q)
    contraction = (1 - p) * (1 - q)
    left = np.abs(point + rest) * contraction**cycles
    assert left.max() < 1e-6
    # each pair rounds a few times by 2^-25
    tolerance = left + 4 * 2**-25 / (1 - contraction)
    assert (np.abs(own["reference"] - (point + rest)) <= tolerance).all()
    assert (np.abs(rest) < step).all()
    # symmetric points differ by much more than that, and from the nominal one
    assert point.std() > 5 * np.abs(rest).max()
    assert not tile.weights.any()
    # one more pair of pulses leads back: zero is where the calibration ended
    tile.arrays["weight"].pulse(np.ones((1, cells), np.int64))
    assert (np.abs(tile.weights[0] - (step - p * rest)) <= tolerance + 2**-24).all()
    tile.arrays["weight"].pulse(np.full((1, cells), -1))
    assert (np.abs(tile.weights[0]) <= tolerance + 2**-23).all()


def test_T_ALG_11_bounds_and_resets_are_those_of_the_cell_and_of_the_shifted_weight() -> None:
    """Reads count from the reference, so the range of a weight is b - r; a reset leads to a weight."""
    device = replace(SPREAD, reset=0.25, reset_std=0.0)
    tile = calibrated(device, og.ZeroShift(cycles=1000), np.zeros(100), seed=5)
    array = tile.arrays["weight"]
    r, high, low = (array.parameters[name] for name in ("reference", "w_max", "w_min"))
    assert np.abs(r).max() > 0.05
    tile.set_weights(np.full((1, 100), 10.0))
    # v - r is rounded once
    np.testing.assert_array_equal(tile.weights, high - r)
    tile.set_weights(np.full((1, 100), -10.0))
    np.testing.assert_array_equal(tile.weights, low - r)
    tile.set_weights(np.full((1, 100), 0.125))
    np.testing.assert_allclose(tile.weights, 0.125, rtol=0, atol=2**-24)
    tile.reset()
    inside = high - r > 0.25
    np.testing.assert_allclose(tile.weights[inside], 0.25, rtol=0, atol=2**-24)
    assert inside.sum() > 50
    # updates end at the same bounds
    for _ in range(400):
        tile.update(np.ones(100), [-1.0], lr=1.0)
    np.testing.assert_allclose(tile.weights, high - r, rtol=0, atol=1e-5)
    # a second calibration finds the same points, and sets its reference on top
    array.zero_shift(og.ZeroShift(cycles=3000))
    assert not tile.weights.any()
    np.testing.assert_allclose(array.parameters["reference"], r, rtol=0, atol=2e-5)


@pytest.mark.parametrize(
    ("algorithm", "arrays"),
    [
        (og.AnalogSGD(), {"weight"}),
        (og.MixedPrecision(), {"weight"}),
        (og.TikiTaka(), {"fast"}),
        (og.MultiTileResidualLearning(), {"fast"}),
        (og.AGAD(), {"fast"}),
        (og.ERIDER(), {"fast"}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_T_ALG_11_algorithms_calibrate_the_array_of_the_gradient(algorithm: Any, arrays: set[str]) -> None:
    """Once, when the tile is built; all other arrays keep the reference that they were drawn with."""
    shift = og.ZeroShift(cycles=500)
    tile = og.Tile(4, 3, device=SPREAD, algorithm=replace(algorithm, zero_shift=shift), seed=1)
    plain = og.Tile(4, 3, device=SPREAD, algorithm=algorithm, seed=1)
    changed = set()
    for name, array in tile.arrays.items():
        assert not array.weights.any()
        # AGAD's reference is a digital matrix, E-RIDER's an array
        if isinstance(array, og.tile.Array):
            assert not plain.arrays[name].parameters["reference"].any()
            if (found := array.parameters["reference"]).any():
                changed.add(name)
                plain.arrays[name].zero_shift(shift)
                np.testing.assert_array_equal(found, plain.arrays[name].parameters["reference"])
    assert changed == arrays


# ---- T-ALG-12


def rider_twin(
    algorithm: og.ERIDER, device: og.devices.Device, start: Floats, errors: Floats
) -> tuple[og.Tile, dict[str, Floats], int]:
    """A tile on given errors (rows of one input), and the equations of E-RIDER in float64 beside it.

    Only when the sign flips is taken from the tile. Returns both at the end, and the number of flips.
    """
    tile = og.Tile(start.size, 1, device=device, algorithm=algorithm, pulses=ANALOG, seed=12)
    tile.set_weights(start.reshape(-1, 1))
    zero = np.zeros(start.size)
    state = {"fast": zero, "slow": weights(tile, "slow")[:, 0], "reference": zero, "mean": zero}
    sign, flips = 1.0, 0

    def moved(w: Floats, dw: Floats) -> Floats:
        changed: Floats = np.clip(w + dw * device.F(w) - np.abs(dw) * device.G(w), -1, 1)
        return changed

    def composite() -> Floats:
        w: Floats = state["slow"] + algorithm.gamma * sign * (state["fast"] - state["reference"])
        return w

    for t, error in enumerate(errors):
        tile.update([1.0], error, lr=1.0)
        state["fast"] = moved(state["fast"], -algorithm.fast_lr * sign * error)
        state["mean"] = (1 - algorithm.eta) * state["mean"] + algorithm.eta * state["fast"]
        residual = state["fast"] - state["reference"]
        state["slow"] = moved(state["slow"], algorithm.transfer_lr * sign * residual)
        now = -1.0 if flipped(tile, "line")[0] else 1.0
        if now != sign:
            flips += 1
            before, expected = composite(), state["mean"] - state["reference"]
            state["reference"], old, sign = state["mean"], sign, now
            # W jumps by -gamma c ((P - Q) + (P - Q_old)), c the sign before: it is not continuous
            jump = -algorithm.gamma * old * (2 * state["fast"] - 2 * state["mean"] + expected)
            np.testing.assert_allclose(composite() - before, jump, rtol=0, atol=1e-12)
            # what is programmed is the mean, as it is
            np.testing.assert_array_equal(tile.arrays["reference"].weights, tile.arrays["mean"].weights)
        for name, values in state.items():
            np.testing.assert_allclose(weights(tile, name)[:, 0], values, rtol=0, atol=2e-6, err_msg=f"{name}, {t}")
        np.testing.assert_allclose(tile.weights[:, 0], composite(), rtol=0, atol=4e-6)
    return tile, state, flips


@pytest.mark.parametrize("c", [0.0, 0.2])
def test_T_ALG_12_erider_follows_its_equations(c: float) -> None:
    rng = np.random.default_rng(12)
    algorithm = og.ERIDER(gamma=0.25, fast_lr=0.05, transfer_lr=0.1, eta=0.125, chop_prob=0.1)
    device = og.devices.LinearResponse(c=c)
    errors = rng.normal(0.2, 0.5, (300, 6))
    tile, state, flips = rider_twin(algorithm, device, np.linspace(-0.5, 0.5, 6), errors)
    # binomial with 300 steps of probability 0.1
    assert abs(flips - 30) < 5 * np.sqrt(300 * 0.1 * 0.9)
    assert np.abs(state["reference"]).max() > 0.05
    assert np.abs(tile.weights - tile.arrays["slow"].weights).max() > 0.01


def test_T_ALG_12_the_weight_jumps_at_a_flip() -> None:
    """fast 1/2, reference 1/8 and mean 1/4, c = 1: W is slow + gamma 3/8, and after the flip slow - gamma 1/4."""
    algorithm = og.ERIDER(gamma=0.5, eta=0.5, chop_prob=1.0, transfer_lr=0.25, transfer_pulses=EXACT)
    tile = ideal(2, 3, algorithm)
    for name, value in (("fast", 0.5), ("reference", 0.125), ("mean", 0.0)):
        tile.arrays[name].weights = np.full((2, 3), value)
    assert (tile.weights == 0.5 * 0.375).all()
    silent(tile)
    # mean = (0 + 1/2) / 2; slow = 1/4 (1/2 - 1/8), with the old sign and the old reference
    assert (tile.arrays["mean"].weights == 0.25).all()
    assert (tile.arrays["slow"].weights == 0.25 * 0.375).all()
    assert (tile.arrays["reference"].weights == 0.25).all()
    assert flipped(tile, "line").all()
    assert (tile.weights == 0.25 * 0.375 - 0.5 * 0.25).all()
    silent(tile)
    # mean = (1/4 + 1/2) / 2; slow goes back by 1/4 (1/2 - 1/4)
    assert (tile.arrays["slow"].weights == 0.25 * (0.375 - 0.25)).all()
    assert (tile.arrays["reference"].weights == 0.375).all()
    assert not flipped(tile, "line").any()


def test_T_ALG_12_the_reference_is_an_array_with_bounds() -> None:
    devices = {"fast": IDEAL, "slow": IDEAL, "reference": og.devices.ConstantStep(w_max=0.25, w_min=-0.125)}
    tile = ideal(1, 2, og.ERIDER(eta=1.0, chop_prob=1.0), device=devices)
    tile.arrays["fast"].weights = [[0.5, -0.5]]
    silent(tile)
    np.testing.assert_array_equal(tile.arrays["mean"].weights, [[0.5, -0.5]])
    np.testing.assert_array_equal(tile.arrays["reference"].weights, [[0.25, -0.125]])


def tracked(c: float, chop_prob: float, runs: int) -> Floats:
    """Where Q is in the scalar problem f = (W - 0.3)^2 / 2 with gradient noise 0.5: one number per run.

    The sign is one for a whole tile, and what it carries into P is the same for all its rows: tiles are the replicas,
    their 10 rows only average the noise of the gradient. W starts where longer runs end (0.25), P at 0.5, far from both
    symmetric points. P forgets with alpha E|g| = 0.01 * 0.5 sqrt(2 / pi) = 1 / 250 per step, and Q follows within 1 /
    eta = 20: after 1500 steps 0.3 %, less than 0.002, of the start is left. Then 1500 steps are averaged.
    """
    algorithm = og.ERIDER(gamma=0.1, fast_lr=0.01, eta=0.05, chop_prob=chop_prob, transfer_lr=0.001)
    device = og.devices.LinearResponse(tau=1.0, c=c)
    rows, steps, discard = 10, 3000, 1500
    means = np.zeros(runs)
    for run in range(runs):
        tile = og.Tile(rows, 1, device=device, algorithm=algorithm, pulses=ANALOG, seed=run)
        tile.set_weights(np.full((rows, 1), 0.25))
        tile.arrays["fast"].weights = np.full((rows, 1), 0.5)
        noise = 0.5 * np.random.default_rng(run).standard_normal((steps, rows), dtype=np.float32) - np.float32(0.3)
        one, times = np.ones(1, np.float32), 0
        for t in range(steps):
            tile.update(one, tile.weights[:, 0] + noise[t], 1.0)
            if t >= discard and t % 20 == 0:
                means[run] += tile.arrays["mean"].weights.mean()
                times += 1
        means[run] /= times
    return means


@pytest.mark.parametrize("c", [0.0, 0.2])
def test_T_ALG_12_the_reference_tracks_the_symmetric_point(c: float) -> None:
    q = tracked(c, 0.05, runs=40)
    error = 5 * q.std(ddof=1) / np.sqrt(len(q))
    # 5 % of tau; runs differ by about 0.015, so their mean is known to 0.012
    assert error < 0.02
    assert abs(q.mean() - c) + error < 0.05


def test_T_ALG_12_without_flips_it_does_not() -> None:
    """W then settles where P stands still at a reference that nobody sets: P and Q go to 0 and not to 0.2."""
    q = tracked(0.2, 1e-9, runs=4)
    assert q.mean() + 5 * q.std(ddof=1) / 2 < 0.2 - 0.05


# ---- choppers


def flips_of(tile: og.Tile, side: str, events: int) -> Floats:
    """Which lines flip at which event, `[events, lines]`."""
    before, rows = flipped(tile, side), []
    for _ in range(events):
        silent(tile)
        now = flipped(tile, side)
        rows.append(before != now)
        before = now
    return np.array(rows)


@pytest.mark.parametrize("columns", [True, False])
@pytest.mark.parametrize("prob", [0.02, 0.1, 0.5, 1.0])
def test_lines_flip_by_chance_after_their_own_reads(prob: float, columns: bool) -> None:
    lines, events, reads = 50, 2000, 20
    algorithm = og.ChoppedTikiTakaV2(in_chop_prob=prob, transfer_columns=columns, n_reads_per_transfer=reads)
    tile = ideal(1, lines, algorithm) if columns else ideal(lines, 1, algorithm)
    flips = flips_of(tile, "line", events)
    # event e reads lines 20 e, 20 e + 1, ... modulo 50
    turn = np.zeros((events, lines), bool)
    for event in range(events):
        turn[event, (reads * event + np.arange(reads)) % lines] = True
    assert not flips[~turn].any()
    assert not flipped(tile, "cross").any()
    turns = turn.sum(axis=0)
    assert (turns == events * reads / lines).all()
    # binomial, for all lines together and for each of them; twice the same fate for two lines is p^2
    total = turn.sum()
    assert abs(flips.sum() - total * prob) <= 5 * np.sqrt(total * prob * (1 - prob))
    assert (np.abs(flips.sum(axis=0) - turns * prob) <= 5 * np.sqrt(turns * prob * (1 - prob))).all()
    both = (flips[:, 0] & flips[:, 1])[turn[:, 0] & turn[:, 1]]
    pair = prob**2
    assert abs(both.sum() - len(both) * pair) <= 5 * np.sqrt(len(both) * pair * (1 - pair))
    # and from one turn to the next
    own = flips[:, 0][turn[:, 0]]
    again = own[1:] & own[:-1]
    # neighbouring pairs share a turn: their covariance p^3 - p^4 comes twice
    spread = pair * (1 - pair) + 2 * (prob**3 - prob**4)
    assert abs(again.sum() - len(again) * pair) <= 5 * np.sqrt(len(again) * spread)


@pytest.mark.parametrize("columns", [True, False])
@pytest.mark.parametrize("prob", [0.1, 0.5, 1.0])
def test_crossing_lines_flip_by_chance_after_a_pass(prob: float, columns: bool) -> None:
    lines, passes, crossing = 3, 1000, 40
    algorithm = og.ChoppedTikiTakaV2(in_chop_prob=0.0, out_chop_prob=prob, transfer_columns=columns)
    tile = ideal(crossing, lines, algorithm) if columns else ideal(lines, crossing, algorithm)
    flips = flips_of(tile, "cross", passes * lines)
    assert flips.shape == (passes * lines, crossing)
    assert not flipped(tile, "line").any()
    after_the_last = np.arange(passes * lines) % lines == lines - 1
    assert not flips[~after_the_last].any()
    counts = flips[after_the_last].sum(axis=0)
    assert (np.abs(counts - passes * prob) <= 5 * np.sqrt(passes * prob * (1 - prob))).all()
    total = passes * crossing
    assert abs(counts.sum() - total * prob) <= 5 * np.sqrt(total * prob * (1 - prob))


@pytest.mark.parametrize("prob", [0.05, 0.5, 1.0])
def test_the_chopper_of_an_array_flips_all_lines_at_once(prob: float) -> None:
    steps = 4000
    tile = ideal(2, 3, og.ERIDER(chop_prob=prob))
    flips = flips_of(tile, "line", steps)
    assert (flips == flips[:, :1]).all()
    assert abs(flips[:, 0].sum() - steps * prob) <= 5 * np.sqrt(steps * prob * (1 - prob))
    assert not flipped(tile, "cross").any()


@pytest.mark.parametrize("kind", [og.ChoppedTikiTakaV2, og.AGAD], ids=lambda kind: kind.__name__)
@pytest.mark.parametrize(("prob", "period"), [(0.1, 10), (0.3, 4), (0.5, 2), (0.7, 2), (1.0, 2)])
def test_regular_flips_come_in_the_last_pass_of_a_period(kind: Any, prob: float, period: int) -> None:
    """n_s = max(ceil(1 / prob), 2): passes n_s - 1, 2 n_s - 1, ..., counted from 0; each line after its own read."""
    lines = 3
    tile = ideal(2, lines, kind(in_chop_prob=prob, in_chop_random=False))
    flips = flips_of(tile, "line", 4 * period * lines)
    for event, row in enumerate(flips):
        expected = np.zeros(lines, bool)
        expected[event % lines] = event // lines % period == period - 1
        np.testing.assert_array_equal(row, expected, err_msg=f"event {event}")
    assert flips.sum() == 4 * lines


def test_flips_do_not_depend_on_the_gradient() -> None:
    tiles = [ideal(2, 3, og.ChoppedTikiTakaV2(out_chop_prob=0.3), seed=seed) for seed in (1, 1, 2)]
    same_flips, other_flips = True, True
    for t in range(60):
        silent(tiles[0])
        for tile in tiles[1:]:
            tile.update(eighths(1, 3, t), eighths(1, 2, t), lr=0.5)
        for side in ("line", "cross"):
            same_flips &= np.array_equal(flipped(tiles[0], side), flipped(tiles[1], side))
            other_flips &= np.array_equal(flipped(tiles[0], side), flipped(tiles[2], side))
    assert same_flips
    assert not other_flips


# ---- automatic scale


@pytest.mark.parametrize("kind", [og.ChoppedTikiTakaV2, og.AGAD], ids=lambda kind: kind.__name__)
def test_auto_scale_sends_as_many_pulses_for_any_scale(kind: Any) -> None:
    """rho = fast_lr BL g / (mu_x mu_d): at a cell of x_max, d_max fast_lr BL = 15.5 pulses per vector, 16 slots."""
    vectors, fast_lr, bl = 400, 0.5, 31
    x, d = np.array([1.0, -0.5, 0.125]), np.array([0.25, -1.0])
    k = fast_lr * bl * np.abs(np.outer(d, x))
    seen = []
    for scale_x, scale_d in ((1.0, 1.0), (2.0**-20, 2.0**9), (1e-3, 1.0), (1.0, 3e4)):
        algorithm = kind(auto_scale=True, fast_lr=fast_lr, scale_fast_lr=False, transfer_every=10**6)
        tile = ideal(2, 3, algorithm, pulses=og.PulseTrain(desired_bl=bl), count_pulses=True, seed=3)
        tile.update(np.tile(scale_x * x, (vectors, 1)), np.tile(scale_d * d, (vectors, 1)), lr=0.7)
        counts = tile.arrays["fast"].pulse_counts
        pulses = (counts.up + counts.down).astype(float)
        seen.append(pulses)
        # 16 slots, and never more: the variance is k (1 - k / 16)
        assert (np.abs(pulses - vectors * k) <= 5 * np.sqrt(vectors * k * (1 - k / 16))).all()
    # a power of two changes no bit
    np.testing.assert_array_equal(seen[0], seen[1])
    assert pulses.max() > 15 * vectors


def test_auto_scale_is_scaled_by_the_learning_rate_only_if_told() -> None:
    for scaled, lr in ((False, 0.25), (True, 0.25), (True, 2.0)):
        algorithm = og.ChoppedTikiTakaV2(
            auto_scale=True, fast_lr=0.5, scale_fast_lr=scaled, transfer_every=10**6, in_chop_prob=0.0
        )
        tile = ideal(1, 1, algorithm, pulses=replace(EXACT, desired_bl=8))
        tile.update([0.5], [-4.0], lr)
        assert weights(tile, "fast").item() == 4 * G * (lr if scaled else 1)


@pytest.mark.parametrize("m", [1, 2, 4])
def test_auto_scale_follows_running_maxima(m: int) -> None:
    """The first value that is not 0 begins them; then mu <- (1 - s) mu + s max, s = (1 - momentum) / m, zeros left out.

    The rate of a vector has the maxima that it was part of. rho d x^T in steps: fast_lr BL (d / mu_d) (x / mu_x).
    """
    algorithm = og.ChoppedTikiTakaV2(
        auto_scale=True, auto_momentum=0.5, fast_lr=0.25, transfer_every=10**6, in_chop_prob=0.0
    )
    tile = ideal(2, 3, algorithm, pulses=replace(EXACT, desired_bl=8))
    sizes_x = [0.0, 1.0, 4.0, 4.0, 0.0, 0.25, 2.0, 2.0, 64.0, 1.0, 1.0, 0.0]
    sizes_d = [0.0, 0.5, 0.5, 0.0, 8.0, 8.0, 1.0, 1e-4, 1.0, 0.0, 1.0, 1.0]
    x = np.outer(sizes_x, [0.5, -1.0, 0.25])
    d = np.outer(sizes_d, [-1.0, 0.75])
    share = 0.5 / m
    mu_x = mu_d = 0.0
    expected, smallest, largest = np.zeros((2, 3)), 1e9, 0.0
    for first in range(0, len(x), m):
        tile.update(x[first : first + m], d[first : first + m], lr=1.0)
        for b in range(first, first + m):
            if sizes_x[b] > 0:
                mu_x = (1 - share) * mu_x + share * sizes_x[b] if mu_x > 0 else sizes_x[b]
            if sizes_d[b] > 0:
                mu_d = (1 - share) * mu_d + share * sizes_d[b] if mu_d > 0 else sizes_d[b]
            if mu_x > 0 and mu_d > 0:
                expected -= 0.25 * 8 * G / (mu_x * mu_d) * np.outer(d[b], x[b])
                smallest, largest = min(smallest, mu_x), max(largest, mu_x)
        # float32: maxima, rate, increments and sums are rounded to 2^-24 each
        np.testing.assert_allclose(weights(tile, "fast"), expected, rtol=0, atol=1e-6 * G * 100)
        state = tile.state_dict()
        np.testing.assert_allclose(state["gradient.max_abs_x"], mu_x, rtol=1e-6)
        np.testing.assert_allclose(state["gradient.max_abs_d"], mu_d, rtol=1e-6)
    assert largest > 5 * smallest > 0
    assert np.abs(expected).max() > 2 * G


# ---- gradient magnitudes, granularities


FINE_SLOW = {"fast": replace(IDEAL, dw_min=2**-6), "slow": IDEAL}


@pytest.mark.parametrize("fast_lr", [2**-4, 2**-2, 1.0])
@pytest.mark.parametrize("kind", [og.ChoppedTikiTakaV2, og.AGAD], ids=lambda kind: kind.__name__)
def test_correct_gradient_magnitudes_divides_by_the_rate_of_the_gradient(kind: Any, fast_lr: float) -> None:
    """s = lr_t / rho / (bg g_C / g_A), bg = b g_A: buffer s rho d x = lr_t d x / (b g_C) for any rho.

    Without it s = lr_t / bg, and the buffer is lr_t rho d x / (b g_A).
    """
    common = dict(
        fast_lr=fast_lr, auto_scale=False, transfer_lr=2**-12, buffer_granularity=2.0, n_reads_per_transfer=0,
        scale_transfer_lr=False,
    )  # fmt: skip
    x, d = eighths(1, 3, 1), eighths(1, 2, 4)
    for correct, unit in ((True, 2.0 * G), (False, 2.0 * 2**-6 / fast_lr)):
        tile = ideal(2, 3, kind(correct_gradient_magnitudes=correct, **common), device=FINE_SLOW)
        tile.update(x, d, lr=0.5)
        np.testing.assert_array_equal(weights(tile, "fast"), -fast_lr * np.outer(d, x))
        np.testing.assert_array_equal(weights(tile, "hidden"), -(2**-12) / unit * np.outer(d, x))
        assert weights(tile, "hidden").any()


def test_correct_gradient_magnitudes_takes_the_rate_of_the_vector_of_the_event() -> None:
    """With maxima 1, 4, 4 of x, BL = 8 and a momentum of 1/2 the rates are 8, 8 / 2.5 and 8 / 3.25 granularities."""
    algorithm = og.ChoppedTikiTakaV2(
        auto_scale=True, auto_momentum=0.5, correct_gradient_magnitudes=True, in_chop_prob=0.0, transfer_every=3,
        transfer_lr=2**-10, scale_transfer_lr=False, n_reads_per_transfer=0,
    )  # fmt: skip
    tile = ideal(1, 1, algorithm, device=FINE_SLOW, pulses=replace(EXACT, desired_bl=8))
    for x, m, mu in ((1.0, 1, 1.0), (4.0, 1, 2.5), (4.0, 1, 3.25)):
        tile.update([x] * m, [-1.0], lr=1.0)
        rho = 8 * 2**-6 / mu
    fast = 8 * 2**-6 * (1 / 1.0 + 4 / 2.5 + 4 / 3.25)
    assert weights(tile, "fast").item() == pytest.approx(fast, rel=1e-6)
    # 2^-10 / rho / g_C; nothing is written below 1, and what is above is taken out
    h = 2**-10 / rho / G * fast
    assert h > 1
    assert weights(tile, "slow").item() == G
    assert weights(tile, "hidden").item() == 0.0
    keep = ideal(1, 1, replace(algorithm, forget_buffer=False), device=FINE_SLOW, pulses=replace(EXACT, desired_bl=8))
    keep.update([[1.0], [4.0], [4.0]], [[-1.0]] * 3, lr=1.0)
    # in one mini-batch of three the share of a vector is a third of 1/2: maxima 1, 1.5, 1 + 11/12
    mus = (1.0, 1.5, 1.5 + 2.5 / 6)
    h = mus[2] / (8 * 2**-6) * 8 * 2**-6 * (1 / mus[0] + 4 / mus[1] + 4 / mus[2])
    assert weights(keep, "hidden").item() == pytest.approx(h - 1, rel=1e-5)


@pytest.mark.parametrize("columns", [True, False])
@pytest.mark.parametrize("every", [2, -2.0])
def test_auto_granularity_counts_lines_and_periods(every: float, columns: bool) -> None:
    """bg = b g_A auto_granularity / (lines |transfer_every|); here 2 * 48 / (3 * 2) = 16 or 2 * 48 / (2 * 2) = 24."""
    algorithm = og.ChoppedTikiTakaV2(
        transfer_every=every, buffer_granularity=2.0, auto_granularity=48.0, n_reads_per_transfer=0,
        transfer_columns=columns, transfer_lr=2**-8, scale_transfer_lr=False, in_chop_prob=0.0,
    )  # fmt: skip
    # 64 states: -2.0 is every round(64 / lines * 2) vectors
    device = replace(IDEAL, w_max=1.0, w_min=-1.0, dw_min=2**-5)
    tile = ideal(2, 3, algorithm, device=device)
    tile.arrays["fast"].weights = fast = eighths(2, 3)
    silent(tile, 1 if every > 0 else round(64 / (3 if columns else 2) * 2) - 1)
    assert not weights(tile, "hidden").any()
    silent(tile)
    unit = (16 if columns else 24) * 2**-5
    np.testing.assert_allclose(weights(tile, "hidden"), fast * 2**-8 / unit, rtol=2**-22)
    assert weights(tile, "hidden").any()


# ---- periods and lines


@pytest.mark.parametrize("units_in_mbatch", [False, True])
@pytest.mark.parametrize("kind", [og.ChoppedTikiTakaV2, og.AGAD], ids=lambda kind: kind.__name__)
@pytest.mark.parametrize(
    ("shape", "columns", "every", "vectors"),
    [
        # 32 states over 5, 3 or 64 lines
        ((3, 5), True, -1.0, 6),
        ((3, 5), True, -2.0, 13),
        ((3, 5), True, -0.1, 1),
        ((3, 5), True, -0.01, 1),
        ((3, 5), False, -1.0, 11),
        ((1, 64), True, -1.0, 1),
        ((1, 64), True, -3.0, 2),
        ((1, 64), True, -3.1, 2),
    ],
)
def test_a_negative_period_is_that_share_of_the_states_per_line(
    shape: tuple[int, int], columns: bool, every: float, vectors: int, kind: Any, units_in_mbatch: bool
) -> None:
    """max(1, round(n_states / lines |transfer_every|)) vectors, in any unit."""
    device = og.devices.ConstantStep(dw_min=2**-4, w_max=1.5, w_min=-0.5)
    algorithm = kind(transfer_every=every, units_in_mbatch=units_in_mbatch, transfer_columns=columns, auto_scale=False)
    tile = ideal(shape[0], shape[1], algorithm, device=device)
    assert tile.n_states("fast") == 32
    tile.arrays["fast"].weights = np.full(shape, 2**-6)
    before, events = np.zeros(shape), []
    for vector in range(1, 6 * vectors + 1):
        silent(tile)
        now = weights(tile, "hidden")
        if (now != before).any():
            events.append(vector)
        before = now
    assert events == [vectors * i for i in range(1, 7)]


def test_a_negative_period_counts_vectors_across_mini_batches() -> None:
    device = og.devices.ConstantStep(dw_min=2**-4, w_max=1.5, w_min=-0.5)
    algorithm = og.ChoppedTikiTakaV2(transfer_every=-1.0, fast_lr=2**-8, in_chop_prob=0.0)
    tile = ideal(1, 5, algorithm, device=device)
    for _ in range(6):
        tile.update(np.ones((4, 5)), -np.ones((4, 1)), lr=2**-8)
    # every vector adds 2^-8: what line k holds of it tells when it was read, after vector 6 (k + 1)
    times = weights(tile, "hidden")[0] / (2**-8 * 2**4) * 2**8
    np.testing.assert_array_equal(times, [6, 12, 18, 24, 0])


@pytest.mark.parametrize("columns", [True, False])
@pytest.mark.parametrize("kind", [og.TikiTakaV2, og.ResidualLearningV2], ids=lambda kind: kind.__name__)
def test_random_selection_starts_at_any_line_alike(kind: Any, columns: bool) -> None:
    n, events, reads = 5, 4000, 2
    algorithm = kind(random_selection=True, n_reads_per_transfer=reads, transfer_columns=columns)
    tile = ideal(1, n, algorithm) if columns else ideal(n, 1, algorithm)
    tile.arrays["fast"].weights = np.full((tile.d_out, tile.d_in), 2**-30)
    starts = np.zeros(n)
    for _ in range(events):
        tile.arrays["hidden"].weights = np.zeros((tile.d_out, tile.d_in))
        silent(tile)
        read = weights(tile, "hidden").ravel() != 0
        assert read.sum() == reads
        (start,) = np.flatnonzero(read & np.roll(read, -1))
        starts[start] += 1
    # binomial with p = 1 / n
    assert (np.abs(starts - events / n) < 5 * np.sqrt(events / n * (1 - 1 / n))).all()
    assert starts.std() > 0


@dataclass(frozen=True, kw_only=True)
class Late:
    """Copies lines, after some passes."""

    after_passes: int | None
    reads: int

    def plan(self, tile: TileFacts) -> Plan:
        write = Write(
            target="slow", source=(Term("fast"),), rate=Rate(1.0), pulses=EXACT, after_passes=self.after_passes
        )
        return Plan(
            arrays=("fast", "slow"),
            weight=(Term("slow"),),
            gradient=Gradient(target="fast", rate=Rate(1.0)),
            transfers=(Transfer(every=Every(1), steps=(write,), reads=self.reads),),
        )


@pytest.mark.parametrize("passes", [None, 0, 1, 2, 5])
@pytest.mark.parametrize("reads", [1, 2, 3, 0])
def test_after_passes_waits_for_more_complete_passes(passes: int | None, reads: int) -> None:
    """Read number i (from 0) is part of pass i // lines: written if more than so many are complete before."""
    lines = 3
    tile = ideal(1, lines, Late(after_passes=passes, reads=reads))
    tile.arrays["fast"].weights = np.full((1, lines), G)
    times, i = np.zeros(lines), 0
    for _ in range(30):
        silent(tile)
        for _ in range(reads or lines):
            times[i % lines] += passes is None or i // lines > passes
            i += 1
        np.testing.assert_array_equal(weights(tile, "slow")[0] / G, times)
    assert times.min() >= (1 if passes != 5 or reads != 1 else 3)
