"""What the algorithms must do by theory, on tiles: T-TH-9, 19, 20 and 21 of the specification, and its model of cost.

Rows of a tile in mode `analog_update` are independent replicas, in antithetic pairs as in `test_theory.py`, which has
T-TH-9 and 19 in mathematical form. Cells of a zero-shift are independent, too; rows that get pulses of one input are
not (T-TH-20), but have the law of scalar cells one by one.
"""

# Tests bear the names of the specification.
# ruff: noqa: N802

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from typing import Any, get_args

import numpy as np
import pytest
from numpy.typing import NDArray

import ohmgrad as og
from ohmgrad import theory
from ohmgrad.devices import (
    ConstantStep,
    ExponentialResponse,
    LinearResponse,
    PowerResponse,
    SoftBounds,
    SoftBoundsReference,
    Tabulated,
)

Floats = NDArray[Any]

PAIRS = 500
ANALOG = og.PulseTrain(pulse_type="analog_update")
ONE = np.ones((1, 1), np.float32)


def estimate(values: Floats) -> tuple[Any, Any]:
    """Mean and standard error over the antithetic pairs."""
    pairs = (values[..., :PAIRS] + values[..., PAIRS:]) / 2
    return pairs.mean(axis=-1), pairs.std(axis=-1, ddof=1) / np.sqrt(PAIRS)


def train(tile: og.Tile, *, optimum: float, sigma: float, curvature: float = 1.0, lr: float = 1.0) -> Iterator[None]:
    """A parabola for every row of a tile, with antithetic noise of the gradient; one update each time."""
    rng = np.random.default_rng(0)
    while True:
        noise = rng.standard_normal(PAIRS, dtype=np.float32)
        gradient = curvature * (tile.weights[:, 0] - optimum) + sigma * np.concatenate([noise, -noise])
        tile.update(ONE, gradient[None], lr)
        yield


def two_arrays(
    fast: Any, slow: Any, start: float, *, gamma: float, fast_rate: float, slow_rate: float, rows: int = 2 * PAIRS
) -> og.Tile:
    algorithm = og.TikiTaka(
        gamma=gamma, fast_lr=fast_rate, transfer_lr=slow_rate, scale_transfer_lr=False, n_reads_per_transfer=0
    )
    tile = og.Tile(rows, 1, device={"fast": fast, "slow": slow}, algorithm=algorithm, pulses=ANALOG)
    tile.set_weights(np.full((rows, 1), start))
    return tile


# ---- T-TH-9


def test_T_TH_9_error_of_runs_against_their_length_on_a_tile() -> None:
    device, optimum, gamma = LinearResponse(tau=1.0), 0.3, 0.4
    steps = np.array([900, 3600, 14_400])
    sgd, gradient, metric = [], [], []
    for k in steps:
        # 300 moments of a run from zero; sums over the replicas become means
        rate, every = 0.8 / float(np.sqrt(k)), int(k) // 300
        tile = og.Tile(2 * PAIRS, 1, device=device, pulses=ANALOG)
        run = train(tile, optimum=optimum, sigma=0.5, lr=rate)
        w = np.array([tile.weights[:, 0] for _ in islice(run, 0, int(k), every)], np.float64)
        sgd.append(theory.mean_squared_gradient(w - optimum) / w.shape[1])
        tile = two_arrays(device, device, 0.0, gamma=gamma, fast_rate=rate, slow_rate=rate / 10)
        run = train(tile, optimum=optimum, sigma=0.5)
        names = ("fast", "slow")
        states = [[tile.arrays[name].weights[:, 0] for name in names] for _ in islice(run, 0, int(k), every)]
        fast, slow = np.array(states, np.float64).transpose(1, 0, 2)
        g = slow + gamma * fast - optimum
        gradient.append(theory.mean_squared_gradient(g) / g.shape[1])
        metric.append(theory.residual_learning_metric(g, fast, slow, optimum=[optimum], gamma=gamma) / g.shape[1])

    def order(errors: Any) -> float:
        return float(np.polyfit(np.log(steps), np.log(errors), 1)[0])

    # the way from the start, 1 / (rate K), and the noise of the rate are both of order -1/2 in K; the next order is
    # relative sqrt(rate), 0.16 to 0.08, whose change by 8 % is 0.03 in the slope over a factor of 16
    assert order(gradient) == pytest.approx(-0.5, abs=0.06)
    assert order(metric) == pytest.approx(-0.5, abs=0.06)
    # Analog SGD keeps the square of its bias, so it ends flat
    bias = theory.stationary_point(device, lambda w: w - optimum, 0.5) - optimum
    assert order(np.array(sgd) - bias**2) == pytest.approx(-0.5, abs=0.06)
    assert order(sgd) > -0.15
    assert sgd[-1] > 3 * gradient[-1]


# ---- T-TH-19


@pytest.mark.parametrize(
    ("fast_rate", "slow_rate", "curvature", "optimum"),
    [(0.02, 0.005, 1.0, 0.0), (0.04, 0.01, 0.5, 0.0), (0.01, 0.005, 2.0, 0.3)],
)
def test_T_TH_19_undamped_frequency(fast_rate: float, slow_rate: float, curvature: float, optimum: float) -> None:
    fast = LinearResponse(tau=2.0, c=0.3, subtract_symmetry_point=True)
    # F is 0.91 at the symmetric points. The slow device has its own at 0.3; at zero its q_up is 1.3, its q_down 0.7
    slow = LinearResponse(tau=1.0, c=0.3)
    frequency = theory.tiki_taka_frequency(
        fast, slow, optimum, fast_rate=fast_rate, slow_rate=slow_rate, curvature=curvature
    )
    halves = np.sqrt(0.91) if optimum else 2 / (1 / np.sqrt(1.3) + 1 / np.sqrt(0.7))
    assert frequency == pytest.approx(np.sqrt(fast_rate * slow_rate * curvature * 0.91) * halves, rel=1e-9)
    start = 0.004
    tile = two_arrays(fast, slow, optimum + start, gamma=0.0, fast_rate=fast_rate, slow_rate=slow_rate, rows=1)
    w = np.empty(round(8.5 * np.pi / frequency))
    for step in range(w.size):
        w[step] = tile.weights[0, 0] - optimum
        tile.update(ONE, [[curvature * w[step]]], 1.0)
    crossings = np.flatnonzero(np.diff(np.sign(w)))
    assert crossings.size == 8
    # whole periods to a step of 300 to 700; it forgets by its own gradient alone, a hundredth of the frequency
    np.testing.assert_allclose(crossings[2:] - crossings[:-2], 2 * np.pi / frequency, atol=2)
    assert np.abs(w[-crossings[0] :]).max() > 0.8 * start


@pytest.mark.parametrize("ratio", [8.0, 2.0, 0.5])
@pytest.mark.parametrize(("gamma", "sigma"), [(0.0, 0.5), (0.4, 0.2), (0.1, 0.3)])
def test_T_TH_19_critical_damping(gamma: float, sigma: float, ratio: float) -> None:
    fast = LinearResponse(tau=0.8, c=0.2, subtract_symmetry_point=True)
    slow, rate, start = LinearResponse(tau=1.0), 0.005, 0.02
    damping = theory.tiki_taka_damping(fast, sigma, gamma=gamma, rate=rate)
    # rate (F gamma h + Sigma / tau): F = 0.96 = 1 - c^2, and G' = 1 / tau
    assert damping == pytest.approx(rate * (0.96 * gamma + sigma * np.sqrt(2 / np.pi) / 0.8), rel=1e-6)
    # ratio: four times the square of the frequency over that of the damping, one at the critical point
    transfer = ratio * damping**2 / (4 * rate * 0.96)
    frequency = theory.tiki_taka_frequency(fast, slow, 0.0, fast_rate=rate, slow_rate=transfer)
    assert (2 * frequency / damping) ** 2 == pytest.approx(ratio, rel=1e-9)
    tile = two_arrays(fast, slow, start, gamma=gamma, fast_rate=rate, slow_rate=transfer)
    # up to the first turning point and back half the way, or 3 relaxation times of the fast array
    turns = np.pi / (frequency * np.sqrt(1 - 1 / ratio)) if ratio > 1 else 2 / damping
    run = train(tile, optimum=0.0, sigma=sigma)
    slow_weights = [tile.arrays["slow"].weights[:, 0] for _ in islice(run, round(1.5 * turns))]
    mean, error = estimate(np.array(slow_weights, np.float64))
    # the oscillator in steps: P first, then W with the new P
    p, w, expected = 0.0, start, []
    for _ in mean:
        p -= rate * 0.96 * w + damping * p
        w += transfer * p
        expected.append(w)
    # the slow array forgets as well, transfer E|P| a step: at most 3 % of the damping; and the response of both arrays
    # to weights of 0.02 and reads of 0.06 is of second order
    assert (np.abs(mean - expected) < 5 * error + 0.04 * start).all()
    if ratio > 1:
        overshoot = start * np.exp(-np.pi / np.sqrt(ratio - 1))
        assert min(mean) == pytest.approx(-overshoot, abs=0.03 * start)
        assert min(mean) < -0.02 * start
        assert abs(int(np.argmin(mean)) - turns) < 0.1 * turns
    else:
        assert min(mean) > 0.1 * start


# ---- T-TH-20


def toy(tiles: int, seed: int, targets: int = 64, steps: int = 30_000, epoch: int = 1000) -> float:
    """Mean squared error of scalar weights at the end, in the pulses of the theory, times of the tiles far apart."""
    b = np.random.default_rng(seed).uniform(-1, 1, targets)
    algorithm = og.MultiTileResidualLearning(
        n_arrays=tiles,
        gamma=0.5,
        fast_lr=0.5,
        transfer_every=10.0,
        transfer_every_factor=20.0,
        transfer_lr=0.01,
        transfer_lr_factor=1.0,
    )
    pulses = og.PulseTrain(
        pulse_type="random_increment", update_management=False, update_bl_management=False, desired_bl=31
    )
    device = SoftBounds(dw_min=0.5)
    tile = og.Tile(targets, 1, device=device, algorithm=algorithm, pulses=pulses, seed=seed)
    losses, squares = [], np.empty(steps)
    for step in range(steps):
        error = tile.weights[:, 0] - b
        squares[step] = (error**2).mean()
        tile.update(ONE, 2 * error[None], 1.0)
        if step % epoch == epoch - 1:
            losses.append(squares[step + 1 - epoch : step + 1].mean())
            tile.end_epoch(losses)
    assert tile.stage == tiles - 1, "the cascade has begun"
    return float(squares[-steps // 4 :].mean())


def test_T_TH_20_the_error_falls_with_the_number_of_tiles() -> None:
    """Four states per device; each tile makes the root of the mean squared error smaller by about ``gamma = 0.5``.

    With the settings of the published toy it grows instead: see `ohmgrad.experiments.multi_tile_toy`.
    """
    error = np.sqrt([toy(n, seed=0) for n in (2, 3, 4, 5)])
    # far from smaller steps of one tile: sqrt(dw_min / 2) times a few tenths
    assert 0.1 < error[0] < 0.2
    # of 64 targets and the few that are lost at a time; see the spread of the experiment over seeds
    assert (error[1:] < 0.9 * error[:-1]).all()
    rate = np.polyfit(np.arange(4), np.log(error), 1)[0]
    assert 0.35 < np.exp(rate) < 0.75


# ---- T-TH-21

SHIFTED = [
    SoftBounds(dw_min=0.02),
    SoftBounds(dw_min=0.05, w_max=0.8, up_down=0.2),
    SoftBounds(dw_min=0.01, w_min=-0.5),
]


def stored(array: Any) -> Floats:
    """What the cells hold; after a zero-shift it is the reference."""
    return np.asarray(array.weights + array.parameters["reference"], np.float64)


@pytest.mark.parametrize("device", SHIFTED, ids=repr)
@pytest.mark.parametrize("start", ["low", "high"])
def test_T_TH_21_zero_shifting_stays_below_its_bounds(device: SoftBounds, start: str) -> None:
    cells, cycles = 500, 300
    w0 = 0.9 * device.bounds[start == "high"]
    tile = og.Tile(cells, 1, device=device)
    array, centre = tile.arrays["weight"], device.symmetric_point
    array.weights = np.full((cells, 1), w0)
    step = og.ZeroShift(cycles=1, mode="random")
    w = np.full((cells, 1), w0)
    total, spread = 0.0, 0.0
    for n in range(cycles + 1):
        distance = (w - centre) ** 2
        error = distance.std() / np.sqrt(cells)
        # a mean of 500 cells is not above a bound on the expectation by more than its own error
        assert distance.mean() < theory.zero_shift_last_bound(device, w0, n) + 5 * error
        if n:
            assert total / n < theory.zero_shift_mean_bound(device, w0, n) * (1 + 5 / np.sqrt(cells))
        total += float((np.asarray(device.G(w)) ** 2).mean())
        array.zero_shift(step)
        w, spread = stored(array), distance.mean()
    # the bounds are not far away: the first in its decay, the second by the factors that q_max = 2 makes of F = 1
    early = round(0.5 / device.dw_min / max(device.bounds))
    assert theory.zero_shift_last_bound(device, w0, early) > 0.2 * (w0 - centre) ** 2
    assert total / cycles > theory.zero_shift_mean_bound(device, w0, cycles) / 8
    # and what random pulses end up with is known: 6 % is the error of a variance of 500 cells, 5 times that
    at = theory.zero_shift_spread(device)
    assert spread == pytest.approx(at**2, rel=5 * np.sqrt(2 / cells))
    # one call does the same
    tile = og.Tile(cells, 1, device=device, seed=1)
    array = tile.arrays["weight"]
    array.weights = np.full((cells, 1), w0)
    array.zero_shift(og.ZeroShift(cycles=cycles, mode="random"))
    assert ((stored(array) - centre) ** 2).mean() == pytest.approx(at**2, rel=5 * np.sqrt(2 / cells))


def test_T_TH_21_an_average_of_reads_is_better() -> None:
    device, cells = SoftBounds(dw_min=0.02), 1000
    spreads = []
    for average in (1, 1000):
        tile = og.Tile(cells, 1, device=device)
        tile.arrays["weight"].zero_shift(og.ZeroShift(cycles=1500, mode="random", average=average))
        spreads.append(float(tile.arrays["weight"].parameters["reference"].std()))
    # correlated over 1 / a = 50 pulses: (1 + rho) / (1 - rho) of them, rho = 1 - a, are worth one
    assert spreads[1] / spreads[0] == pytest.approx(np.sqrt((2 - 0.02) / 0.02 / 1000), rel=0.15)


@pytest.mark.parametrize("device", SHIFTED, ids=repr)
def test_T_TH_21_pairs_of_pulses_until_a_tolerance(device: SoftBounds) -> None:
    def off(cycles: int) -> float:
        tile = og.Tile(1, 1, device=device)
        array = tile.arrays["weight"]
        array.weights = [[device.bounds[1]]]
        array.zero_shift(og.ZeroShift(cycles=cycles))
        return float(array.parameters["reference"][0, 0])

    # after many pairs: the fixed point after a down pulse, below the symmetric point by half a step if a_up = a_down
    a_up, a_down = device.dw_min / device.w_max, device.dw_min * (1 - device.up_down) / -device.w_min
    settled, step = off(5000), device.dw_min * device.F(device.symmetric_point)
    below = (device.symmetric_point - settled) / step
    assert below == pytest.approx(a_down / (a_up + a_down), rel=2 * max(a_up, a_down))
    # the distance to it shrinks by the same factor with each pair
    distance = device.bounds[1] - settled
    for tolerance in (0.1, 0.01):
        pairs = theory.zero_shift_cycles(device, distance, tolerance)
        assert abs(off(int(pairs)) - settled) >= tolerance * 0.999
        assert abs(off(int(pairs) + 1) - settled) <= tolerance * 1.001
    # closed form of the specification
    closed = np.log(distance / 0.01) / -np.log((1 - a_up) * (1 - a_down))
    assert theory.zero_shift_cycles(device, distance, 0.01) == pytest.approx(closed, rel=1e-6)


def test_T_TH_21_counts_of_pulses() -> None:
    # S26: more than 2000 pulses for 1 % at steps of 0.001, with either kind of pulses
    fine = SoftBounds(dw_min=0.001)
    assert theory.zero_shift_cycles(fine, 1.0, 0.01) == pytest.approx(np.log(100) / (-2 * np.log(0.999)), rel=1e-6)
    random = theory.zero_shift_cycles(fine, 1.0, 0.1, mode="random")
    assert random == pytest.approx(np.log(200) / 0.002, rel=1e-6)
    # where the decaying part of the bound has become half of the square
    floor = theory.zero_shift_last_bound(fine, 1.0, 10**6)
    assert theory.zero_shift_last_bound(fine, 1.0, round(random)) - floor == pytest.approx(0.1**2 / 2, rel=0.01)
    assert floor == pytest.approx(0.001 * 4, rel=1e-3)
    # additive and relative cycle noise alike at the symmetric point
    clean = theory.zero_shift_spread(SoftBounds(dw_min=0.01))
    for mult_noise in (True, False):
        noisy = SoftBoundsReference(dw_min=0.01, dw_min_std=1.0, mult_noise=mult_noise)
        assert theory.zero_shift_spread(noisy) == pytest.approx(np.sqrt(2) * clean)


@pytest.mark.parametrize("device", [PowerResponse(gamma=2.0), ExponentialResponse(gamma=2.0), LinearResponse(c=0.2)])
def test_T_TH_21_bounds_for_other_responses(device: Any) -> None:
    """Of one-sided tests: the mean over cells stays below; here the constants come from the whole curve."""
    device, cells, w0 = replace(device, dw_min=0.02), 300, 0.8
    tile = og.Tile(cells, 1, device=device)
    array = tile.arrays["weight"]
    array.weights = np.full((cells, 1), w0)
    total = 0.0
    for n in range(1, 201):
        total += float((np.asarray(device.G(stored(array))) ** 2).mean())
        array.zero_shift(og.ZeroShift(cycles=1, mode="random"))
        assert total / n < theory.zero_shift_mean_bound(device, w0, n) * 1.1
        distance = (stored(array) - device.symmetric_point) ** 2
        assert distance.mean() < theory.zero_shift_last_bound(device, w0, n) * 1.1


# ---- T-COST-1


def test_T_COST_1_the_published_times() -> None:
    published = {
        "TikiTakaV2": 56.3,
        "ChoppedTikiTakaV2": 56.3,
        "AGAD": 62.1,
        "AnalogSGD": 30.9,
        "MixedPrecision": 3024.5,
        "MultiTileResidualLearning": 95.9,
    }
    assert set(published) == set(get_args(theory.Costed))
    for name, time in published.items():
        # as printed, to one decimal; 95.85 is rounded up there
        assert theory.update_time(name) == pytest.approx(time, abs=0.051)  # type: ignore[arg-type]
        # all of them are algorithms of the package
        assert name in og.__all__


def test_T_COST_1_what_the_time_depends_on() -> None:
    # the analog part does not depend on the size of the array, but for mixed precision; the digital one is linear
    for name in get_args(theory.Costed):
        fast = [theory.update_time(name, n, throughput=1e12) for n in (256, 512)]
        growth = theory.update_time(name, 2048) / theory.update_time(name, 1024)
        if name == "MixedPrecision":
            assert fast[1] == pytest.approx(2 * fast[0], rel=1e-6)
            assert growth == pytest.approx(4.0, rel=0.02)
        else:
            assert fast[0] == pytest.approx(fast[1], rel=1e-6)
            assert growth < 2
    rare = [theory.update_time(name, reads_every=10_000) for name in ("TikiTakaV2", "AGAD", "AnalogSGD")]
    assert rare[0] == pytest.approx(rare[2], rel=1e-3)
    assert rare[1] == pytest.approx(rare[2], rel=1e-3)


def test_T_COST_1_storage_is_that_of_the_digital_matrices() -> None:
    for name in ("AnalogSGD", "TikiTakaV2", "ChoppedTikiTakaV2", "AGAD"):
        tile = og.Tile(16, 16, algorithm=getattr(og, name)())
        digital = set(tile.arrays) - {"weight", "fast", "slow"}
        assert theory.digital_storage(name, 16) == len(digital) * 16**2 + 2 * 16
    assert theory.digital_storage("MultiTileResidualLearning", 16) == 32
    assert theory.digital_storage("MixedPrecision", 16, batch=8) == 16**2 + 2 * 16 * 8


# ---- the rest


def test_values_out_of_range_are_named() -> None:
    device = LinearResponse()
    two = Tabulated(w=[-1, -0.5, 0.5, 1], q_up=[1, 0.5, 1, 0], q_down=[0, 1, 0.5, 1])
    cases: list[tuple[Any, str]] = [
        (
            lambda: theory.tiki_taka_damping(device, -1.0, gamma=0.1, rate=0.1),
            r"sigma must be finite and >= 0, got -1.0",
        ),
        (
            lambda: theory.tiki_taka_damping(device, 0.5, gamma=0.1, rate=-0.1),
            r"rate must be finite and >= 0, got -0.1",
        ),
        (lambda: theory.tiki_taka_damping(ConstantStep(), 0.5, gamma=0.1, rate=0.1), "symmetric point"),
        (
            lambda: theory.tiki_taka_frequency(device, device, 0.0, fast_rate=0.1, slow_rate=float("inf")),
            "slow_rate must be finite and >= 0, got inf",
        ),
        (lambda: theory.zero_shift_cycles(device, 0.1, 0.2), r"distance must be >= tolerance = 0.2, got 0.1"),
        (lambda: theory.zero_shift_cycles(device, 1.0, 0.0), r"tolerance must be finite and > 0, got 0.0"),
        (
            lambda: theory.zero_shift_cycles(device, 1.0, 0.1, mode="up"),  # type: ignore[arg-type]
            "mode must be 'alternating' or 'random', got 'up'",
        ),
        (lambda: theory.zero_shift_mean_bound(device, 0.5, 0), "cycles must be an integer >= 1, got 0"),
        (lambda: theory.zero_shift_last_bound(device, 0.5, -1), "cycles must be an integer >= 0, got -1"),
        (lambda: theory.zero_shift_last_bound(two, 0.5, 1), "device must have one symmetric point"),
        (lambda: theory.zero_shift_spread(ConstantStep()), "symmetric point"),
        (lambda: theory.update_time("SGD"), "algorithm must be one of AnalogSGD, .*, got 'SGD'"),  # type: ignore[arg-type]
        (lambda: theory.digital_storage("SGD"), "algorithm must be one of AnalogSGD, .*, got 'SGD'"),  # type: ignore[arg-type]
        (lambda: theory.update_time("AGAD", reads_every=0), "reads_every must be an integer >= 1, got 0"),
        (
            lambda: theory.update_time("MultiTileResidualLearning", reads_every=1),
            "reads_every must be an integer >= 2, got 1",
        ),
        (lambda: theory.update_time("AGAD", throughput=0.0), r"throughput must be finite and > 0, got 0.0"),
        (lambda: theory.digital_storage("AGAD", 0), "n must be finite and > 0, got 0"),
    ]
    for call, message in cases:
        with pytest.raises(ValueError, match=message):
            call()
