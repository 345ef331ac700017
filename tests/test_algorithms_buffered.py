"""What stands between the arrays: buffers, choppers and low-passes, the tests T-ALG-4 to 7 and 10 of the specification.

Where nothing is random, devices are ideal constant steps, increments are exact (`none_with_device`), and every number
is a sum and product of small multiples of powers of two: results are compared for equality. Means over replicas are
compared within 5 standard errors.
"""

# Tests bear the names of the specification.
# ruff: noqa: N802

from __future__ import annotations

from fractions import Fraction
from math import ceil
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import ohmgrad as og

Floats = NDArray[Any]

G = 2**-10
IDEAL = og.devices.ConstantStep(dw_min=G, w_max=64.0, w_min=-64.0)
EXACT = og.PulseTrain(pulse_type="none_with_device")
# what is written leaves the buffer, the rest stays: steps written + buffer = everything that was read
KEEP: dict[str, Any] = dict(momentum=0.0, forget_buffer=False)


def ideal(d_out: int, d_in: int, algorithm: og.algorithms.Algorithm, **settings: Any) -> og.Tile:
    return og.Tile(d_out, d_in, algorithm=algorithm, **dict(device=IDEAL, pulses=EXACT) | settings)


def silent(tile: og.Tile, vectors: int = 1, lr: float = 1.0) -> None:
    """A mini-batch without gradient: time passes."""
    tile.update(np.zeros((vectors, tile.d_in)), np.zeros((vectors, tile.d_out)), lr)


def steps(tile: og.Tile) -> Floats:
    """What the slow array got, in steps."""
    written: Floats = tile.arrays["slow"].weights.astype(np.float64) / tile.arrays["slow"].granularity
    return written


def hidden(tile: og.Tile) -> Floats:
    values: Floats = tile.arrays["hidden"].weights.astype(np.float64)
    return values


def signs(tile: og.Tile, columns: bool = True) -> Floats:
    """The chopper's signs of all cells, `[d_out, d_in]`."""
    state = tile.state_dict()
    line, cross = (1.0 - 2.0 * state[f"chopper.{side}"].astype(np.float64) for side in ("line", "cross"))
    return np.outer(cross, line) if columns else np.outer(line, cross)


def within(values: Floats, expected: float, axis: int | None = None) -> bool:
    """Whether the mean of independent values is as expected, within 5 standard errors."""
    n = values.size if axis is None else values.shape[axis]
    error = 5 * values.std(axis=axis, ddof=1) / np.sqrt(n)
    return bool(np.all(np.abs(values.mean(axis=axis) - expected) <= error))


# ---- T-ALG-4

# lr_t a / theta: what a read adds to the buffer, as a share of the threshold
SHARES = [Fraction(3, 8), Fraction(-3, 8), Fraction(1, 4), Fraction(5, 16), Fraction(-9, 64), Fraction(0)]


def write_times(share: Fraction, momentum: Fraction, events: int) -> list[tuple[int, Fraction]]:
    """After which reads of a cell it gets a pulse, and what stays in the buffer then, in thresholds.

    A constant read adds `share` each time. From a buffer of `h` the threshold 1 is reached after ceil((1 - h) / share)
    reads, for h = 0 ceil(theta / (lr_t a)); then `momentum` of what was reached stays.
    """
    times: list[tuple[int, Fraction]] = []
    time, h, size = 0, Fraction(0), abs(share)
    while size and (time := time + (n := ceil((1 - h) / size))) <= events:
        h = momentum * (h + n * size)
        times.append((time, h if share > 0 else -h))
    return times


@pytest.mark.parametrize("columns", [True, False])
@pytest.mark.parametrize("momentum", [0.0, 0.25])
@pytest.mark.parametrize(
    ("settings", "lr", "gain", "theta"),
    [
        (dict(transfer_lr=0.25, scale_transfer_lr=False), 8.0, 0.25, G),
        (dict(transfer_lr=0.25), 0.5, 0.125, G),
        (dict(transfer_lr=0.25, gamma=0.5, thres_scale=4.0), 1.0, 0.125, 4 * G),
    ],
    ids=["unscaled", "scaled", "with gamma and a threshold of 4 steps"],
)
def test_T_ALG_4_reads_of_a_constant_array_are_written_in_single_pulses(
    settings: dict[str, Any], lr: float, gain: float, theta: float, momentum: float, columns: bool
) -> None:
    # so few that a quarter of a quarter ... of sixteenths still fits float32
    events = 18
    algorithm = og.TikiTakaV2(momentum=momentum, transfer_columns=columns, **settings)
    assert algorithm.forget_buffer
    n = len(SHARES)
    shares = [[SHARES[i], SHARES[n - 1 - i]] for i in range(n)]
    reads = np.array([[float(share) * theta / gain for share in row] for row in shares])
    reads = reads if columns else reads.T
    tile = ideal(reads.shape[0], reads.shape[1], algorithm, count_pulses=True)
    tile.arrays["fast"].weights = reads
    np.testing.assert_array_equal(tile.arrays["fast"].weights, reads)
    plans = [[write_times(share, Fraction(momentum), events) for share in row] for row in shares]
    if momentum == 0:
        # without a residual all intervals are the same; 3/8 needs 3 reads, 1/4 needs 4, and so on
        assert [plan[0][0] for plan, _ in plans if plan] == [3, 3, 4, 4, 8]
        assert all(time % plan[0][0] == 0 for row in plans for plan in row for time, _ in plan)
    else:
        # 9/8 at the first write: a quarter of it stays, and (1 - 9/32) / (3/8) needs two reads only
        assert [time for time, _ in plans[0][0][:2]] == [3, 5]
    for event in range(1, 2 * events + 1):
        silent(tile, lr=lr)
        pulses, rest = np.zeros((n, 2)), np.zeros((n, 2))
        for i in range(n):
            for line in range(2):
                # the lines take turns, line 0 first
                time = (event + 1 - line) // 2
                past = [entry for entry in plans[i][line] if entry[0] <= time]
                last, left = past[-1] if past else (0, Fraction(0))
                pulses[i, line] = len(past) if shares[i][line] > 0 else -len(past)
                rest[i, line] = float(left + (time - last) * shares[i][line])
        pulses, rest = (pulses, rest) if columns else (pulses.T, rest.T)
        np.testing.assert_array_equal(steps(tile), pulses, err_msg=f"event {event}")
        np.testing.assert_array_equal(hidden(tile) / theta, rest, err_msg=f"event {event}")
    counts = tile.arrays["slow"].pulse_counts
    np.testing.assert_array_equal(counts.up, np.maximum(pulses, 0))
    np.testing.assert_array_equal(counts.down, np.maximum(-pulses, 0))
    assert counts.up.max() >= 6
    assert counts.down.max() >= 6
    np.testing.assert_array_equal(tile.arrays["fast"].weights, reads)


def test_T_ALG_4_in_the_original_what_is_written_leaves_the_buffer() -> None:
    """Pulses + buffer = reads: after k reads floor(k share) pulses, up to one a read."""
    shares = np.array([3 / 8, -3 / 8, 1 / 4, 5 / 16, -9 / 64, 0.0, 1.0])
    tile = ideal(len(shares), 1, og.TikiTakaV2.original(transfer_lr=0.25, scale_transfer_lr=False))
    tile.arrays["fast"].weights = (shares * G / 0.25).reshape(-1, 1)
    for k in range(1, 65):
        silent(tile)
        np.testing.assert_array_equal(steps(tile)[:, 0], np.trunc(k * shares))
        np.testing.assert_array_equal(hidden(tile)[:, 0] / G, k * shares - np.trunc(k * shares))
    # with forgetting it would be fewer: 3/8 is written at every third read
    assert steps(tile)[0, 0] == 24 > 64 // 3


@pytest.mark.parametrize("cap", [1, 3])
def test_T_ALG_4_no_more_steps_at_a_time_than_slots(cap: int) -> None:
    """n = clip(trunc(h), +-cap) leaves the buffer; of 1 - momentum of it, with a momentum."""
    pulses = og.PulseTrain(pulse_type="none_with_device", desired_bl=cap)
    shares = np.array([[2.75], [-2.75], [5.5], [0.5]])
    for momentum in (0.0, 0.25):
        algorithm = og.TikiTakaV2(
            momentum=momentum, forget_buffer=False, transfer_lr=0.25, scale_transfer_lr=False, transfer_pulses=pulses
        )
        tile = ideal(4, 1, algorithm)
        tile.arrays["fast"].weights = shares * G / 0.25
        h = np.zeros((4, 1))
        total = np.zeros((4, 1))
        for _ in range(6):
            silent(tile)
            h += shares
            n = np.clip(np.trunc(h), -cap, cap)
            h -= (1 - momentum) * n
            total += n
            np.testing.assert_array_equal(steps(tile), total)
            np.testing.assert_array_equal(hidden(tile) / G, h)
        # both the cap and what is below it were met
        assert np.abs(total).max() == 6 * cap
        assert 0 < total.min(where=total > 0, initial=99) < 6 * cap


# ---- T-ALG-5

CHOPPERS: list[dict[str, Any]] = [
    dict(in_chop_prob=0.3),
    dict(in_chop_prob=1.0),
    dict(in_chop_prob=0.3, in_chop_random=False),
    dict(in_chop_prob=0.0, out_chop_prob=0.5),
    dict(in_chop_prob=0.5, out_chop_prob=0.5),
]
# forgets everything at the end of a mini-batch: what is read later was written under one sign
FORGETFUL = og.devices.ConstantStep(dw_min=G, w_max=64.0, w_min=-64.0, lifetime=1.0)
BUFFERS = {"fast": FORGETFUL, "slow": IDEAL}


@pytest.mark.parametrize("columns", [True, False])
@pytest.mark.parametrize("chopper", CHOPPERS, ids=str)
def test_T_ALG_5_flips_do_not_change_what_is_learned(chopper: dict[str, Any], columns: bool) -> None:
    """c (-rho c d x^T) = -rho d x^T: buffer and slow array are the same bits for any flips, on ideal cells."""
    rates: dict[str, Any] = dict(
        fast_lr=0.25, transfer_lr=2.0**-8, scale_transfer_lr=False, transfer_columns=columns, **KEEP
    )
    plain = ideal(3, 4, og.TikiTakaV2(variant="chopped", units_in_mbatch=False, **rates), device=BUFFERS)
    chopped = ideal(3, 4, og.ChoppedTikiTakaV2(gamma=0.5, **rates, **chopper), device=BUFFERS, seed=5)
    flips = 0
    rng = np.random.default_rng(5)
    for _ in range(200):
        before = signs(chopped, columns)
        x, d = rng.integers(-2, 9, (1, 4)) / 8, rng.integers(-2, 9, (1, 3)) / 8
        for tile in (plain, chopped):
            tile.update(x, d, 1.0)
            np.testing.assert_array_equal(tile.arrays["hidden"].weights, plain.arrays["hidden"].weights)
            np.testing.assert_array_equal(tile.arrays["slow"].weights, plain.arrays["slow"].weights)
        np.testing.assert_array_equal(plain.arrays["fast"].weights, -0.25 * np.outer(d, x))
        np.testing.assert_array_equal(chopped.arrays["fast"].weights, before * plain.arrays["fast"].weights)
        # the weight shows the fast array with the signs of now
        after = signs(chopped, columns)
        mixed = 0.5 * after * chopped.arrays["fast"].weights + chopped.arrays["slow"].weights
        np.testing.assert_array_equal(chopped.weights, mixed)
        flips += int((before != after).any())
        for tile in (plain, chopped):
            tile.end_batch()
    assert np.abs(steps(plain)).max() >= 5
    assert flips >= 10


@pytest.mark.parametrize("chopper", [None, *CHOPPERS], ids=str)
def test_T_ALG_5_in_pulses_flips_do_not_change_the_mean(chopper: dict[str, Any] | None) -> None:
    """The same with stochastic trains: every read is -k steps in the mean, k = rho d x / g, with a variance below |k|.

    The gain is s = 1/64 per step, so after n reads of a line slow + buffer is -n s k, its variance below n s^2 |k|.
    """
    rates: dict[str, Any] = dict(fast_lr=0.25, transfer_lr=1 / 64, scale_transfer_lr=False, **KEEP)
    algorithm: og.algorithms.Algorithm
    if chopper is None:
        algorithm = og.TikiTakaV2(variant="chopped", units_in_mbatch=False, **rates)
    else:
        algorithm = og.ChoppedTikiTakaV2(**rates, **chopper)
    tile = ideal(3, 4, algorithm, device=BUFFERS, pulses=og.PulseTrain(), seed=11)
    x, d = np.array([1.0, -0.5, 0.25, -1.0]), np.array([0.0625, -0.03125, 0.015625])
    reads = 500
    for _ in range(reads * 4):
        tile.update(x, d, 1.0)
        tile.end_batch()
    k = 0.25 * np.outer(d, x) / G
    assert np.abs(k).max() == 16
    error = 5 * np.sqrt(reads * np.abs(k)) / 64
    got = steps(tile) + hidden(tile)
    assert (np.abs(got + reads * k / 64) < error).all()
    assert (np.abs(reads * k / 64) > 2 * error).all()
    assert (got != -reads * k / 64).any()


@pytest.mark.parametrize("columns", [True, False])
@pytest.mark.parametrize("algorithm", [og.ChoppedTikiTakaV2, og.AGAD], ids=lambda kind: kind.__name__)
def test_T_ALG_5_turning_the_array_with_the_signs_changes_nothing(algorithm: Any, columns: bool) -> None:
    """An array `c a` under the signs `c` is read as `a`.

    AGAD counts reads from its reference, and takes whole steps out of its buffer for n_s + 1 = 4 passes without
    writing them; reads of up to 3/16 are no step by then.
    """
    a = np.arange(-6.0, 6.0).reshape(3, 4) / 8
    rates: dict[str, Any] = dict(transfer_lr=G / 4, scale_transfer_lr=False, transfer_columns=columns, **KEEP)
    tile = ideal(3, 4, algorithm(in_chop_prob=0.4, out_chop_prob=0.3, **rates), seed=2)
    times = np.zeros((3, 4))
    lines, seen = (4 if columns else 3), set()
    for event in range(60):
        c = signs(tile, columns)
        seen.add(c.tobytes())
        counted_from = tile.arrays["reference"].weights if "reference" in tile.arrays else 0.0
        tile.arrays["fast"].weights = c * a + counted_from
        silent(tile)
        at = (slice(None), event % lines) if columns else (event % lines, slice(None))
        times[at] += 1
        # float32: 20 sums of numbers below 4, rounded by 2^-24 of them, and references that are no powers of two
        np.testing.assert_allclose(steps(tile) + hidden(tile), times * a / 4, rtol=0, atol=20 * 2**-22)
    assert len(seen) > 10
    assert np.abs(steps(tile)).max() >= 2


@pytest.mark.parametrize("prob", [0.1, 0.5, 0.9])
def test_T_ALG_5_an_array_that_remembers_is_read_with_mixed_signs(prob: float) -> None:
    """Cells that never forget keep what older signs wrote: only then do flips matter.

    A constant gradient writes u per vector. Without a chopper read k shows k u; with signs that flip with probability p
    the mean of c_k sum_(t <= k) c_t u is u (1 + (1 - 2p) + ... + (1 - 2p)^(k-1)) = u (1 - (1 - 2p)^k) / (2p).
    """
    n, u = 3000, 2.0**-6
    rates: dict[str, Any] = dict(fast_lr=1.0, transfer_lr=G, scale_transfer_lr=False, n_reads_per_transfer=0, **KEEP)
    # no threshold is met: 20 reads of up to 20 u
    tile = ideal(1, n, og.ChoppedTikiTakaV2(in_chop_prob=prob, buffer_granularity=2.0**9, **rates), seed=4)
    before = hidden(tile)[0]
    for k in range(1, 21):
        tile.update(np.ones(n), [-u], 1.0)
        now = hidden(tile)[0]
        read = (now - before) * 2**9 / u
        before = now
        # every column has a chopper of its own: n replicas
        expected = (1 - (1 - 2 * prob) ** k) / (2 * prob)
        if k == 1:
            np.testing.assert_array_equal(read, 1.0)
        else:
            assert within(read, expected), k
    # which is not the k of an array without a chopper
    assert not within(read, 20.0)
    assert not steps(tile).any()


# ---- T-ALG-6

OFFSET, DELTA, SHARE = 0.2, 0.05, 0.09


@pytest.mark.parametrize("pulsed", [False, True], ids=["increments", "pulses"])
@pytest.mark.parametrize("name", ["buffered", "chopper off", "random flips", "regular flips", "agad"])
def test_T_ALG_6_choppers_remove_an_offset(name: str, pulsed: bool) -> None:
    """The fast array sits at a symmetric point of 0.2 while there is noise and no gradient.

    q_up = (1 + c)(1 - w), q_down = (1 - c)(1 + w) with c = 0.2: an increment of +-delta, both alike, changes w in the
    mean by -delta G(w) = -delta (w - c). It begins at c, so E w = c after every vector, whatever the flips: the noise
    has no sign of its own. A read adds s c_k (w - R) to the buffer. With everything that is written leaving the buffer,
    slow (in steps) + buffer after T reads is in the mean

        no chopper      s c T                                      slope s c per read
        random flips    s c (1 - (1 - 2p)^T) / (2p)                E c_k = (1 - 2p)^k
        regular flips   0                                          after an even number of periods
        AGAD            s c n_s (1 - m + m^2 - ...)                m = 2^-n_s: R is the mean of the period before,
                                                                   leaky with share 1/2, which lacks m of it, m^2, ...

    Columns are replicas, each with noise and a chopper of its own. T = 1000 reads, n_s = 1 / p = 10.
    """
    n, reads = 400, 1000
    rates: dict[str, Any] = dict(fast_lr=DELTA, scale_transfer_lr=False, n_reads_per_transfer=0, **KEEP)
    fine: dict[str, Any] = dict(transfer_lr=SHARE * DELTA, **rates)
    at_end: dict[str, tuple[og.algorithms.Algorithm, float]] = {
        "buffered": (og.TikiTakaV2(**dict(rates, transfer_lr=SHARE * G)), OFFSET * SHARE * reads),
        "chopper off": (og.TikiTakaV2(variant="chopped", **fine), OFFSET * SHARE * reads),
        "random flips": (og.ChoppedTikiTakaV2(in_chop_prob=0.1, **fine), OFFSET * SHARE * (1 - 0.8**reads) / 0.2),
        "regular flips": (og.ChoppedTikiTakaV2(in_chop_prob=0.1, in_chop_random=False, **fine), 0.0),
        "agad": (og.AGAD(in_chop_prob=0.1, auto_scale=False, **fine), OFFSET * SHARE * 10 / (1 + 2**-10)),
    }
    algorithm, expected = at_end[name]
    devices = {"fast": og.devices.LinearResponse(c=OFFSET, tau=1.0, dw_min=DELTA), "slow": IDEAL}
    assert devices["fast"].symmetric_point == pytest.approx(OFFSET)
    # one slot that fires for sure gives each cell one pulse of the sign of its noise
    pulses = og.PulseTrain.single() if pulsed else og.PulseTrain(pulse_type="analog_update")
    tile = og.Tile(1, n, device=devices, algorithm=algorithm, pulses=pulses, seed=8)
    tile.arrays["fast"].weights = np.full((1, n), OFFSET)
    rng = np.random.default_rng(8)
    unit = G if name == "buffered" else 1.0
    halfway = np.zeros(n)
    for k in range(reads):
        tile.update(rng.choice([-1.0, 1.0], n), [1.0], 1.0)
        if k == 10 and name == "agad":
            # nothing was lost in the passes without writes
            assert np.abs(hidden(tile)).max() < 1
            assert not steps(tile).any()
        if k + 1 == reads // 2:
            halfway = (steps(tile) + hidden(tile) / unit)[0]
    assert within(tile.arrays["fast"].weights[0].astype(np.float64), OFFSET)
    # y = w - c <- y + delta (1 - c^2 - (1 + c) y), or y - delta (1 - c^2 + (1 - c) y): mean of the squares
    # V = (1 - 2 delta + delta^2 (1 + c^2)) V + delta^2 (1 - c^2)^2; nearly normal
    spread = DELTA * (1 - OFFSET**2) / np.sqrt(2 * DELTA - DELTA**2 * (1 + OFFSET**2))
    assert abs(tile.arrays["fast"].weights.std() / spread - 1) < 5 / np.sqrt(2 * n)
    total = (steps(tile) + hidden(tile) / unit)[0]
    assert within(total, expected)
    ramp = OFFSET * SHARE * reads
    assert within(total, ramp) == (name in ("buffered", "chopper off"))
    if expected == ramp:
        # linear: as much in the second half, up to the unwritten rest, below one step, of both moments
        assert within(total - halfway, ramp / 2)
        assert abs(steps(tile).mean() - ramp) < 1 + 5 * total.std() / np.sqrt(n)
    else:
        # the ramp of 18 steps is gone: less than a fifteenth of it is left
        assert abs(steps(tile).mean()) < ramp / 15


# ---- T-ALG-7

# in_chop_prob, tail_weightening, n_s = max(ceil(1 / prob), 2), m_s = min(tail / n_s, 1)
PERIODS = [
    (0.1, 5.0, 10, 0.5),
    (0.1, 10.0, 10, 1.0),
    (0.4, 5.0, 3, 1.0),
    (0.4, 1.5, 3, 0.5),
    (1.0, 1.0, 2, 0.5),
]


@pytest.mark.parametrize("columns", [True, False])
@pytest.mark.parametrize(("prob", "tail", "period", "share"), PERIODS)
def test_T_ALG_7_agad_absorbs_a_constant_offset(
    prob: float, tail: float, period: int, share: float, columns: bool
) -> None:
    """All reads are r. After k of them the mean is r (1 - (1 - m_s)^k); in period j it counts from that of k = j n_s.

    So the buffer grows by s r for n_s passes, and then by +-s r (1 - m_s)^(j n_s): not at all for m_s = 1.
    """
    r, s = 0.5, 1 / 8
    algorithm = og.AGAD(
        in_chop_prob=prob, tail_weightening=tail, transfer_lr=s * G, scale_transfer_lr=False, transfer_columns=columns
    )
    tile = ideal(2, 3, algorithm)
    tile.arrays["fast"].weights = np.full((2, 3), r)
    lines = 3 if columns else 2
    h = 0.0
    for k in range(1, 2 * period + 1):
        for _ in range(lines):
            silent(tile)
        # passes and periods are counted from 0, k is the number of passes that are complete
        j = (k - 1) // period
        missing = (1 - share) ** (j * period)
        h += (-1) ** j * s * r * missing
        np.testing.assert_array_equal(hidden(tile), np.full((2, 3), h), err_msg=f"pass {k}")
        np.testing.assert_array_equal(tile.arrays["mean"].weights, np.full((2, 3), r * (1 - (1 - share) ** k)))
        latched = r * (1 - (1 - share) ** (k // period * period))
        np.testing.assert_array_equal(tile.arrays["reference"].weights, np.full((2, 3), latched))
    # what came after the first n_s passes is at most as much again, times what the mean lacked
    assert abs(hidden(tile)[0, 0] - period * s * r) <= period * s * r * (1 - share) ** period
    assert not steps(tile).any()


@pytest.mark.parametrize(("prob", "tail", "period", "share"), PERIODS)
def test_T_ALG_7_agad_writes_nothing_for_one_pass_more_than_a_period(
    prob: float, tail: float, period: int, share: float
) -> None:
    """Every read adds 1 to the buffer, which is a step: written in pass n_s + 2, 3, ..., taken out and lost before."""
    algorithm = og.AGAD(in_chop_prob=prob, tail_weightening=tail, transfer_lr=G, scale_transfer_lr=False)
    tile = ideal(2, 3, algorithm)
    for k in range(1, 3 * period + 1):
        for line in range(3):
            tile.arrays["fast"].weights = signs(tile) + tile.arrays["reference"].weights
            silent(tile)
            # what is written during pass k, up to this line
            expected = np.full((2, 3), max(0, k - 1 - (period + 1)))
            expected[:, : line + 1] = max(0, k - (period + 1))
            np.testing.assert_array_equal(steps(tile), expected)
            assert not hidden(tile).any()
    assert steps(tile).max() == 2 * period - 1


@pytest.mark.parametrize(("cap", "kept"), [(0.0, [4.5, 9.0, 13.5]), (2.0, [2.0, 2.0, 2.0]), (6.0, [4.5, 6.0, 6.0])])
def test_T_ALG_7_what_stays_in_the_buffer_is_capped(cap: float, kept: list[float]) -> None:
    """Reads of 5.5 steps, one of which leaves: at most buffer_cap times one slot stays, unless the buffer forgets."""
    for forget in (False, True):
        algorithm = og.AGAD(
            buffer_cap=cap, transfer_lr=G, scale_transfer_lr=False, momentum=0.25 if forget else 0.0,
            forget_buffer=forget,
        )  # fmt: skip
        tile = ideal(2, 1, algorithm)
        tile.arrays["fast"].weights = [[5.5], [-5.5]]
        h = 0.0
        for expected in kept:
            silent(tile)
            h = 0.25 * (h + 5.5) if forget else expected
            np.testing.assert_array_equal(hidden(tile), [[h], [-h]])


def test_T_ALG_5_without_a_buffer_every_read_is_for_itself() -> None:
    """h = s c v: what was there is dropped, and what a read leaves is seen until the next one."""
    algorithm = og.ChoppedTikiTakaV2(no_buffer=True, in_chop_prob=0.0, transfer_lr=G, scale_transfer_lr=False, **KEEP)
    tile = ideal(4, 1, algorithm)
    tile.arrays["fast"].weights = [[0.75], [-0.75], [1.25], [-2.5]]
    for event in range(1, 5):
        silent(tile)
        np.testing.assert_array_equal(steps(tile)[:, 0], [0, 0, event, -event])
        np.testing.assert_array_equal(hidden(tile)[:, 0], [0.75, -0.75, 0.25, -1.5])


# ---- T-ALG-10


@pytest.mark.parametrize("beta", [0.1, 0.25, 1.0])
def test_T_ALG_10_the_low_pass_converges_geometrically(beta: float) -> None:
    """H_k = P (1 - (1 - beta_h)^k) after k reads of a line; the other line waits for its turn."""
    p = np.array([[0.5, -0.75], [-8.0, 0.001]])
    tile = ideal(2, 2, og.ResidualLearningV2(beta_h=beta))
    tile.arrays["fast"].weights = p
    p = tile.arrays["fast"].weights.astype(np.float64)
    for event in range(1, 41):
        silent(tile, vectors=2)
        k = np.array([(event + 1) // 2, event // 2])
        # float32: 2^-24 of what is kept and of what is added, and of their sum, summed over 1 / beta reads
        np.testing.assert_allclose(hidden(tile), p * (1 - (1 - beta) ** k), rtol=3 * 2**-24 / beta)
        np.testing.assert_array_equal(tile.arrays["fast"].weights, p)
    assert (np.abs(1 - hidden(tile) / p) > 0.1).all() == (beta == 0.1)


@pytest.mark.parametrize("beta", [0.1, 0.5])
def test_T_ALG_10_the_low_pass_reduces_the_noise_of_reads(beta: float) -> None:
    """H <- (1 - b) H + b z has the variance b^2 / (1 - (1 - b)^2) = b / (2 - b), times that of z."""
    n, sigma, reads = 40_000, 0.125, 120
    tile = ideal(n, 1, og.ResidualLearningV2(beta_h=beta, transfer_io=og.IO(out_noise=sigma)), seed=6)
    tile.arrays["fast"].weights = np.full((n, 1), 0.5)
    for _ in range(reads - 1):
        silent(tile)
    before = hidden(tile)[:, 0] - 0.5
    silent(tile)
    now = hidden(tile)[:, 0] - 0.5
    # of the start 0.9^120 = 3e-6 is left; normal: a standard deviation is uncertain by 1 / sqrt(2 n)
    std = sigma * np.sqrt(beta / (2 - beta))
    assert abs(now.std() / std - 1) < 5 / np.sqrt(2 * n)
    assert abs(now.mean()) < 5 * std / np.sqrt(n) + 0.5 * (1 - beta) ** reads
    # from read to read 1 - beta of it stays
    correlation = np.corrcoef(before, now)[0, 1]
    assert abs(correlation - (1 - beta)) < 5 * (1 - (1 - beta) ** 2) / np.sqrt(n)


@pytest.mark.parametrize("sign", [1, -1])
def test_T_ALG_10_residuals_up_to_a_step_never_pulse(sign: int) -> None:
    """Above it a cell gets a pulse with probability min(1, beta_w |H| / g), and H stays."""
    # beta_h = 1/2 with H = P: H stays exactly
    g, beta, cells, reads = G, 0.125, 4000, 5
    ratios = np.array([0.0, 0.25, 1.0, 1.0 + 2**-20, 1.5, 3.0, 6.0, 8.0, 40.0])
    h = sign * g * np.repeat(ratios, cells).reshape(-1, 1)
    tile = ideal(h.size, 1, og.ResidualLearningV2(beta_h=0.5, beta_w=beta, gamma=0.0), count_pulses=True, seed=9)
    tile.arrays["fast"].weights = h
    tile.arrays["hidden"].weights = h
    np.testing.assert_array_equal(tile.arrays["hidden"].weights, h)
    for _ in range(reads):
        silent(tile)
    np.testing.assert_array_equal(tile.arrays["hidden"].weights, h)
    written = (sign * steps(tile)).reshape(len(ratios), cells)
    assert written.min() == 0
    assert written.max() == reads
    p = np.where(ratios > 1, np.minimum(1, beta * ratios), 0)
    assert (p == [0, 0, 0, beta * (1 + 2**-20), 0.1875, 0.375, 0.75, 1, 1]).all()
    error = 5 * np.sqrt(cells * reads * p * (1 - p))
    assert (np.abs(written.sum(axis=1) - cells * reads * p) <= error).all()
    # certain where p is 0 or 1
    assert not written[p == 0].any()
    assert (written[p == 1] == reads).all()
    counts = tile.arrays["slow"].pulse_counts
    assert not (counts.down if sign > 0 else counts.up).any()


def test_T_ALG_10_pulses_of_different_reads_are_independent() -> None:
    """Of two reads both write with p^2."""
    cells, p = 40_000, 0.25
    tile = ideal(cells, 1, og.ResidualLearningV2(beta_h=0.5, beta_w=0.125, gamma=0.0), seed=10)
    for name in ("fast", "hidden"):
        tile.arrays[name].weights = np.full((cells, 1), 2 * G)
    silent(tile)
    first = steps(tile)[:, 0]
    silent(tile)
    second = steps(tile)[:, 0] - first
    for count, q in ((first, p), (second, p), (first * second, p * p)):
        assert set(count) == {0.0, 1.0}
        assert abs(count.sum() - cells * q) < 5 * np.sqrt(cells * q * (1 - q))


@pytest.mark.parametrize("columns", [True, False])
@pytest.mark.parametrize("auto", [0.0, 12.0])
def test_T_ALG_10_whole_thresholds_are_written_for_sure(auto: float, columns: bool) -> None:
    """mode='threshold': trunc(beta_w H / theta) pulses, one slot at most one; H is not consumed.

    theta is the step of the fast array, times auto_granularity / (lines transfer_every): 12 / (3 * 2) = 2 here.
    """
    beta, theta = 0.25, G * (2 if auto else 1)
    shares = np.array([0.5, 1.0 - 2**-20, 1.0, 1.5, 7.0])
    h = (np.concatenate([shares, -shares]) * theta / beta)[:, None] * np.ones(3)
    h = h if columns else h.T
    algorithm = og.ResidualLearningV2(
        beta_h=0.5, beta_w=beta, mode="threshold", auto_granularity=auto, transfer_every=2, n_reads_per_transfer=0,
        transfer_columns=columns,
    )  # fmt: skip
    tile = ideal(h.shape[0], h.shape[1], algorithm)
    for name in ("fast", "hidden"):
        tile.arrays[name].weights = h
    for _ in range(6):
        silent(tile)
    np.testing.assert_array_equal(tile.arrays["hidden"].weights, h)
    np.testing.assert_array_equal(steps(tile), 3 * np.sign(h) * (np.abs(h) * beta >= theta))
