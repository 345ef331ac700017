"""What the algorithms do with their arrays: the tests T-ALG-1 to 3 of the specification, and the rates that scale.

Devices are ideal constant steps and increments exact (`none_with_device`): every number below is a sum and product of
small multiples of powers of two, so that results are compared for equality.
"""

# Tests bear the names of the specification.
# ruff: noqa: N802

from __future__ import annotations

from math import ceil
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tables import ALGORITHMS, named

import ohmgrad as og

Floats = NDArray[Any]

IDEAL = og.devices.ConstantStep(dw_min=2**-10, w_max=64.0, w_min=-64.0)
EXACT = og.PulseTrain(pulse_type="none_with_device")


def ideal(d_out: int, d_in: int, algorithm: og.algorithms.Algorithm, **settings: Any) -> og.Tile:
    return og.Tile(d_out, d_in, device=IDEAL, algorithm=algorithm, **dict(pulses=EXACT) | settings)


def eighths(rows: int, columns: int, shift: int = 0) -> Floats:
    """Multiples of 1/8 between -1 and 1, all columns different."""
    return ((np.arange(rows * columns) * 5 + shift) % 17 - 8).reshape(rows, columns) / 8


def silent(tile: og.Tile, vectors: int, lr: float = 1.0) -> None:
    """A mini-batch without gradient: time passes."""
    tile.update(np.zeros((vectors, tile.d_in)), np.zeros((vectors, tile.d_out)), lr)


# ---- without transfers


@pytest.mark.parametrize("algorithm", [og.DigitalSGD(), og.AnalogSGD()], ids=named)
def test_the_gradient_of_a_mini_batch_is_the_sum_of_its_vectors(algorithm: og.algorithms.Algorithm) -> None:
    tile = ideal(3, 4, algorithm)
    w, x, d = eighths(3, 4), eighths(5, 4, 1), eighths(5, 3, 2)
    tile.set_weights(w)
    tile.update(x, d, lr=0.25)
    np.testing.assert_array_equal(tile.weights, w - 0.25 * d.T @ x)
    tile.update(x[:1], d[:1], lr=-0.5)
    np.testing.assert_array_equal(tile.weights, w - 0.25 * d.T @ x + 0.5 * np.outer(d[0], x[0]))


def test_digital_weights_have_no_bounds_and_no_periphery() -> None:
    tile = og.Tile(2, 2, algorithm=og.DigitalSGD(), io=og.IO.kit())
    tile.set_weights([[100.0, 0.0], [0.0, -100.0]])
    np.testing.assert_array_equal(tile.forward([3.0, 1.0]), [300.0, -100.0])
    np.testing.assert_array_equal(tile.backward([3.0, 1.0]), [300.0, -100.0])
    analog = og.Tile(2, 2, algorithm=og.AnalogSGD())
    analog.set_weights([[100.0, 0.0], [0.0, -100.0]])
    np.testing.assert_array_equal(analog.weights, [[1.0, 0.0], [0.0, -1.0]])


# ---- T-ALG-1


@pytest.mark.parametrize("columns", [True, False])
def test_T_ALG_1_transfers_line_by_line(columns: bool) -> None:
    rho, every = 0.25, 3
    algorithm = og.TikiTaka(
        transfer_every=every,
        units_in_mbatch=False,
        transfer_lr=rho,
        scale_transfer_lr=False,
        transfer_columns=columns,
    )
    tile = ideal(4, 5, algorithm)
    fast, slow = eighths(4, 5), eighths(4, 5, 3)
    tile.arrays["fast"].weights = fast
    tile.arrays["slow"].weights = slow
    expected = slow.copy()
    for vector in range(1, 40):
        silent(tile, 1)
        # the first transfer comes after exactly `every` vectors, and after the last line comes the first again
        if vector % every == 0:
            line = (vector // every - 1) % (5 if columns else 4)
            at = (slice(None), line) if columns else (line, slice(None))
            expected[at] += rho * fast[at]
        np.testing.assert_array_equal(tile.arrays["slow"].weights, expected, err_msg=f"after vector {vector}")
        np.testing.assert_array_equal(tile.arrays["fast"].weights, fast)


@pytest.mark.parametrize("columns", [True, False])
@pytest.mark.parametrize("reads", [1, 2, 3, 4, 5, 0])
def test_T_ALG_1_several_lines_at_once_and_the_pointer_wraps(reads: int, columns: bool) -> None:
    algorithm = og.TikiTaka(
        n_reads_per_transfer=reads, transfer_lr=0.5, scale_transfer_lr=False, transfer_columns=columns
    )
    tile = ideal(3, 5, algorithm) if columns else ideal(5, 3, algorithm)
    fast = eighths(tile.d_out, tile.d_in)
    tile.arrays["fast"].weights = fast
    times = np.zeros(5)
    lines = 0
    for _ in range(6):
        silent(tile, 2)
        for _ in range(reads or 5):
            times[lines % 5] += 1
            lines += 1
        each = times if columns else times[:, None]
        np.testing.assert_array_equal(tile.arrays["slow"].weights, 0.5 * fast * each)


def test_T_ALG_1_no_more_reads_than_lines() -> None:
    with pytest.raises(ValueError, match=r"reads is 6, allowed: .* 5"):
        ideal(3, 5, og.TikiTaka(n_reads_per_transfer=6))
    with pytest.raises(ValueError, match=r"reads is 4, allowed: .* 3"):
        ideal(3, 5, og.TikiTaka(n_reads_per_transfer=4, transfer_columns=False))


@pytest.mark.parametrize("columns", [True, False])
def test_T_ALG_1_one_full_pass_in_pulses_adds_the_array_in_the_mean(columns: bool) -> None:
    """The same with stochastic trains on both sides: the mean over many tiles is the exact transfer."""
    rho, g, tiles = 0.5, 2**-7, 400
    device = og.devices.ConstantStep(dw_min=g, w_max=8.0, w_min=-8.0)
    fast = eighths(3, 4)
    algorithm = og.TikiTaka(transfer_lr=rho, scale_transfer_lr=False, transfer_columns=columns)
    total, squares = np.zeros((3, 4)), np.zeros((3, 4))
    for seed in range(tiles):
        tile = og.Tile(3, 4, device=device, algorithm=algorithm, pulses=og.PulseTrain(desired_bl=100), seed=seed)
        tile.arrays["fast"].weights = fast
        for _ in range(4 if columns else 3):
            silent(tile, 1)
        change = tile.arrays["slow"].weights.astype(np.float64)
        total += change
        squares += (change - rho * fast) ** 2
    # at most 64 pulses are wanted, trains have up to 100 slots: nothing is clipped, and the mean number of pulses k
    # has the variance k (1 - k / BL) < k with BL = ceil of the line's largest k
    k = rho * np.abs(fast) / g
    error = 5 * g * np.sqrt(k / tiles)
    assert (np.abs(total / tiles - rho * fast) <= error).all()
    bl = np.ceil(k.max(axis=0 if columns else 1, keepdims=True))
    np.testing.assert_array_equal((k * (1 - k / bl) > 1e-9), squares > 0)


def test_T_ALG_1_the_gradient_comes_before_the_transfer() -> None:
    """W <- W + beta P with the new P (eq. 11)."""
    algorithm = og.TikiTaka(fast_lr=0.5, transfer_lr=0.25, scale_transfer_lr=False, n_reads_per_transfer=0)
    tile = ideal(2, 3, algorithm)
    x, d = eighths(1, 3, 1), eighths(1, 2, 4)
    assert x.all()
    assert d.all()
    p = w = np.zeros((2, 3))
    for _ in range(3):
        tile.update(x, d, lr=1.0)
        p = p - 0.5 * np.outer(d, x)
        w = w + 0.25 * p
        np.testing.assert_array_equal(tile.arrays["fast"].weights, p)
        np.testing.assert_array_equal(tile.arrays["slow"].weights, w)


@pytest.mark.parametrize("columns", [True, False])
def test_T_ALG_1_random_transfers_start_at_any_line_alike(columns: bool) -> None:
    n, events, reads = 5, 4000, 2
    algorithm = og.TikiTaka(
        transfer_every=1, units_in_mbatch=False, n_reads_per_transfer=reads, transfer_columns=columns,
        random_selection=True, transfer_lr=2**-10, scale_transfer_lr=False,
    )  # fmt: skip
    tile = ideal(1, n, algorithm) if columns else ideal(n, 1, algorithm)
    tile.arrays["fast"].weights = np.ones((tile.d_out, tile.d_in))
    starts = np.zeros(n)
    before = np.zeros(n)
    for _ in range(events):
        silent(tile, 1)
        now = tile.arrays["slow"].weights.ravel() * 2**10
        # a line and the next one, the first after the last
        (start,) = (k for k in range(n) if now[k] > before[k] and now[(k + 1) % n] > before[(k + 1) % n])
        assert now.sum() - before.sum() == reads
        starts[start] += 1
        before = now
    # Binomial with p = 1 / n
    assert (np.abs(starts - events / n) < 5 * np.sqrt(events / n * (1 - 1 / n))).all()


@pytest.mark.parametrize("prob", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("columns", [True, False])
def test_T_ALG_1_lines_are_reset_after_they_were_read(columns: bool, prob: float) -> None:
    n, read = 2000, 1500
    algorithm = og.TikiTaka(n_reads_per_transfer=read, with_reset_prob=prob, transfer_columns=columns, transfer_lr=1.0)
    tile = ideal(2, n, algorithm) if columns else ideal(n, 2, algorithm)
    tile.arrays["fast"].weights = np.ones((tile.d_out, tile.d_in))
    silent(tile, 1)
    fast, slow = (tile.arrays[name].weights if columns else tile.arrays[name].weights.T for name in ("fast", "slow"))
    # what was read is what was there before, and other lines stay
    np.testing.assert_array_equal(slow, np.tile(np.arange(n) < read, (2, 1)))
    np.testing.assert_array_equal(fast[0], fast[1], err_msg="a line is reset as a whole")
    assert set(fast[0]) <= {0.0, 1.0}
    assert fast[0, read:].all()
    assert abs((fast[0, :read] == 0).sum() - prob * read) <= 5 * np.sqrt(read * prob * (1 - prob))


@pytest.mark.parametrize("columns", [True, False])
@pytest.mark.parametrize("reads", [1, 2, 3, 0])
@pytest.mark.parametrize("levels", [2, 3, 4])
def test_T_ALG_1_every_level_waits_for_a_pass_of_the_one_before(levels: int, reads: int, columns: bool) -> None:
    """Periods `every (lines / reads)^i`, rounded up; a level reads what the one before wrote at the same vector."""
    shape, every, rho = (4, 2) if not columns else (2, 4), 2, 0.5
    algorithm = og.TikiTaka(
        transfer_every=every, units_in_mbatch=False, n_reads_per_transfer=reads, transfer_columns=columns,
        gamma=0.5, fast_lr=0.125, transfer_lr_vec=(rho,) * levels, scale_transfer_lr=False,
    )  # fmt: skip
    wide = og.devices.ConstantStep(dw_min=2**-10, w_max=2.0**20, w_min=-(2.0**20))
    tile = og.Tile(*shape, device=wide, algorithm=algorithm, pulses=EXACT)
    names = ["fast", *(f"mid{i}" for i in range(1, levels)), "slow"]
    assert list(tile.arrays) == names
    arrays = [np.zeros((4, 2)) for _ in names]
    pointers = [0] * levels
    periods = [ceil(every * (4 / (reads or 4)) ** level) for level in range(levels)]
    for vector in range(1, 65):
        tile.update(np.ones((1, shape[1])), -np.ones((1, shape[0])), 1.0)
        arrays[0] += 0.125
        for level in range(levels):
            if vector % periods[level] == 0:
                for _ in range(reads or 4):
                    arrays[level + 1][pointers[level] % 4] += rho * arrays[level][pointers[level] % 4]
                    pointers[level] += 1
        for name, expected in zip(names, arrays, strict=True):
            seen = tile.arrays[name].weights
            np.testing.assert_array_equal(seen.T if columns else seen, expected, err_msg=f"{name}, {vector}")
        mixed = sum(0.5 ** (levels - i) * each for i, each in enumerate(arrays))
        np.testing.assert_array_equal(tile.weights.T if columns else tile.weights, mixed)


def test_T_ALG_1_writes_are_clipped_to_the_slow_cells() -> None:
    devices = {"fast": IDEAL, "slow": og.devices.ConstantStep(w_max=0.5, w_min=-0.25)}
    algorithm = og.TikiTaka(transfer_lr=1.0, scale_transfer_lr=False, n_reads_per_transfer=0)
    tile = og.Tile(1, 2, device=devices, algorithm=algorithm, pulses=EXACT)
    tile.arrays["fast"].weights = [[0.375, -0.375]]
    silent(tile, 1)
    np.testing.assert_array_equal(tile.arrays["slow"].weights, [[0.375, -0.25]])
    silent(tile, 1)
    np.testing.assert_array_equal(tile.arrays["slow"].weights, [[0.5, -0.25]])


def test_T_ALG_1_the_read_out_has_a_periphery_of_its_own() -> None:
    fast = np.array([[0.3], [0.9], [-7.0]])
    # steps of 0.25 and a range of +-2; the tile's own IO would scale, and repeat what is out of range
    coarse = dict(out_bound=2.0, out_res=1 / 16)
    for algorithm, io in (
        (og.TikiTaka(transfer_io=og.IO(**coarse)), og.IO.kit()),
        (og.TikiTaka(), og.IO(**coarse, noise_management="abs_max", bound_management="iterative")),
    ):
        tile = ideal(3, 1, algorithm, io=io)
        tile.arrays["fast"].weights = fast
        silent(tile, 1)
        np.testing.assert_array_equal(tile.arrays["slow"].weights, [[0.25], [1.0], [-2.0]])


def test_T_ALG_1_reads_count_from_the_reference() -> None:
    device = og.devices.ConstantStep(dw_min=2**-10, w_max=4.0, w_min=-4.0, reference_mean=0.5)
    tile = og.Tile(2, 1, device=device, algorithm=og.TikiTaka(), pulses=EXACT)
    tile.arrays["fast"].weights = [[0.25], [0.0]]
    silent(tile, 1)
    np.testing.assert_array_equal(tile.arrays["slow"].weights, [[0.25], [0.0]])


def test_T_ALG_1_read_noise_is_fresh_for_every_read() -> None:
    n = 40_000
    io = og.IO(out_noise=0.125)
    tile = ideal(n, 1, og.TikiTaka(transfer_io=io), seed=3)
    reads = []
    for _ in range(2):
        before = tile.arrays["slow"].weights
        silent(tile, 1)
        reads.append((tile.arrays["slow"].weights - before).astype(np.float64) / 0.125)
    for z in reads:
        assert abs(z.mean()) < 5 / np.sqrt(n)
        assert abs(z.std() - 1) < 5 / np.sqrt(2 * n)
    assert abs((reads[0] * reads[1]).mean()) < 5 / np.sqrt(n)


# ---- T-ALG-2

# After which vectors of 24 a transfer must happen, for calls of these sizes.
PERIODS = [
    (dict(transfer_every=2, units_in_mbatch=False), [1] * 24, range(2, 25, 2)),
    (dict(transfer_every=5, units_in_mbatch=False), [3] * 8, range(5, 25, 5)),
    (dict(transfer_every=5, units_in_mbatch=False), [24], range(5, 25, 5)),
    (dict(transfer_every=1), [3] * 8, range(3, 25, 3)),
    (dict(transfer_every=2), [4] * 6, range(8, 25, 8)),
    # periods in mini-batches count mini-batches: a short one shifts nothing
    (dict(transfer_every=2), [4, 4, 1, 4, 4, 4, 3], (8, 13, 21)),
    # a fraction of a mini-batch of m vectors: every ceil(period m) vectors, here 2
    (dict(transfer_every=0.5), [3] * 8, range(2, 25, 2)),
    (dict(transfer_every=0.5), [4] * 6, range(2, 25, 2)),
    (dict(transfer_every=0.25), [8] * 3, range(2, 25, 2)),
    (dict(transfer_every=1.5), [3] * 8, range(5, 25, 5)),
    (dict(transfer_every=1.5), [4] * 6, range(6, 25, 6)),
    (dict(transfer_every=0.1), [1] * 24, range(1, 25)),
]


@pytest.mark.parametrize("columns", [True, False])
@pytest.mark.parametrize(("settings", "calls", "expected"), PERIODS, ids=str)
def test_T_ALG_2_periods(settings: dict[str, Any], calls: list[int], expected: Any, columns: bool) -> None:
    # Every vector adds 1 / 8 to every cell of the fast array, and the k-th event copies line k: a clock.
    rates = dict(fast_lr=0.125, transfer_lr=1.0, scale_transfer_lr=False)
    algorithm = og.TikiTaka(transfer_columns=columns, **rates, **settings)
    tile = ideal(1, 24, algorithm) if columns else ideal(24, 1, algorithm)
    for m in calls:
        tile.update(np.ones((m, tile.d_in)), -np.ones((m, tile.d_out)), lr=1.0)
    assert sum(calls) == 24
    assert tile.arrays["fast"].weights[0, 0] == 24 / 8
    times = tile.arrays["slow"].weights.ravel() * 8
    assert [int(t) for t in times if t] == list(expected)


# ---- T-ALG-3


@pytest.mark.parametrize("gamma", [0.0, 0.25, 1.0])
def test_T_ALG_3_gamma_mixes_the_fast_array_in(gamma: float) -> None:
    tile = ideal(3, 4, og.TikiTaka(gamma=gamma))
    fast, slow, x, d = eighths(3, 4), eighths(3, 4, 3), eighths(2, 4, 1), eighths(2, 3, 2)
    tile.arrays["fast"].weights = fast
    tile.arrays["slow"].weights = slow
    w = gamma * fast + slow
    np.testing.assert_array_equal(tile.weights, w)
    y, g = tile.forward(x), tile.backward(d)
    np.testing.assert_array_equal(y, x @ w.T)
    np.testing.assert_array_equal(g, d @ w)
    tile.arrays["fast"].weights = -fast
    assert np.array_equal(tile.forward(x), y) == (gamma == 0)
    assert np.array_equal(tile.backward(d), g) == (gamma == 0)
    tile.arrays["slow"].weights = -slow
    np.testing.assert_array_equal(tile.forward(x), -y)


@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=named)
def test_T_ALG_3_set_weights_go_to_the_last_term(algorithm: og.algorithms.Algorithm) -> None:
    tile = ideal(3, 4, algorithm)
    for name in tile.arrays:
        tile.arrays[name].weights = np.ones((3, 4))
    w = eighths(3, 4)
    tile.set_weights(w)
    np.testing.assert_array_equal(tile.weights, w)
    carrier, factor = tile.carrier
    np.testing.assert_array_equal(factor * tile.arrays[carrier].weights, w)
    assert not any(tile.arrays[name].weights.any() for name in tile.arrays if name != carrier)


@pytest.mark.parametrize("columns", [True, False])
def test_T_ALG_3_many_levels_mix_by_powers(columns: bool) -> None:
    tile = ideal(3, 4, og.TikiTaka(gamma=0.5, transfer_lr_vec=(1.0, 1.0, 1.0), transfer_columns=columns))
    x, d = eighths(2, 4, 1), eighths(2, 3, 2)
    w = np.zeros((3, 4))
    for level, name in enumerate(["fast", "mid1", "mid2", "slow"]):
        tile.arrays[name].weights = eighths(3, 4, level)
        w += 0.5 ** (3 - level) * eighths(3, 4, level)
    np.testing.assert_array_equal(tile.weights, w)
    np.testing.assert_array_equal(tile.forward(x), x @ w.T)
    np.testing.assert_array_equal(tile.backward(d), d @ w)
    hidden = ideal(3, 4, og.TikiTaka(gamma_vec=(0.0, 0.25, 1.0), transfer_columns=columns))
    hidden.arrays["mid1"].weights = eighths(3, 4)
    y = hidden.forward(x)
    np.testing.assert_array_equal(y, x @ (0.25 * eighths(3, 4)).T)
    hidden.arrays["fast"].weights = eighths(3, 4, 5)
    np.testing.assert_array_equal(hidden.forward(x), y)


def test_T_ALG_3_residual_learning_mixes_four_tenths() -> None:
    tile = ideal(2, 2, og.ResidualLearning())
    tile.arrays["fast"].weights = [[1.0, 0.0], [0.0, -2.0]]
    np.testing.assert_array_equal(tile.weights, np.array([[0.4, 0.0], [0.0, -0.8]], np.float32))


# ---- rates


@pytest.mark.parametrize("lr", [0.25, 2.0])
@pytest.mark.parametrize("scale_fast", [False, True])
@pytest.mark.parametrize("scale_transfer", [False, True])
def test_rates_follow_the_learning_rate_if_they_say_so(lr: float, scale_fast: bool, scale_transfer: bool) -> None:
    algorithm = og.TikiTaka(
        fast_lr=0.5,
        scale_fast_lr=scale_fast,
        transfer_lr=0.25,
        scale_transfer_lr=scale_transfer,
        n_reads_per_transfer=0,
    )
    tile = ideal(2, 3, algorithm)
    x, d = eighths(1, 3, 1), eighths(1, 2, 4)
    tile.update(x, d, lr)
    p = -0.5 * (lr if scale_fast else 1) * np.outer(d, x)
    np.testing.assert_array_equal(tile.arrays["fast"].weights, p)
    np.testing.assert_array_equal(tile.arrays["slow"].weights, 0.25 * (lr if scale_transfer else 1) * p)


def test_transfers_may_have_pulses_of_their_own() -> None:
    device = og.devices.ConstantStep(dw_min=2**-10, w_max=4.0, w_min=-4.0)
    # one slot: a column moves by one step at most, in the direction of what was read
    algorithm = og.TikiTaka(transfer_pulses=og.PulseTrain(desired_bl=1), transfer_lr=1.0, n_reads_per_transfer=0)
    tile = og.Tile(2, 2, device=device, algorithm=algorithm, pulses=EXACT)
    tile.arrays["fast"].weights = [[0.5, -0.5], [0.5, 0.0]]
    silent(tile, 1)
    np.testing.assert_array_equal(tile.arrays["slow"].weights * 2**10, [[1.0, -1.0], [1.0, 0.0]])


@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=named)
def test_every_algorithm_learns_a_linear_map(algorithm: og.algorithms.Algorithm) -> None:
    rng = np.random.default_rng(0)
    target = rng.uniform(-0.4, 0.4, (3, 5))
    tile = og.Tile(
        3, 5, device=og.devices.SoftBounds(dw_min=1e-3), algorithm=algorithm, io=og.IO(out_noise=0.01), seed=1
    )
    start = float(np.mean((tile.weights - target) ** 2))
    for _ in range(1600):
        x = rng.normal(size=(4, 5))
        d = (tile.forward(x) - x @ target.T) / 4
        tile.update(x, d, lr=0.1)
    # soft bounds bias Analog SGD, not by more than a tenth of what there was to learn
    assert float(np.mean((tile.weights - target) ** 2)) < 0.1 * start
