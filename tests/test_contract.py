"""What holds for every algorithm of the table, whatever its plan says.

Means, schedules, copies, divisions of work, devices, peripheries and pulses; the signs of choppers, summaries, and
what an algorithm may have beside a plan: a calibration, a step of its own, stages. That a run resumes in the middle of
an epoch with the same bits is in `test_resume.py`, for every pair of device and algorithm.
"""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path
from typing import Any, get_args, get_type_hints

import numpy as np
import pytest
from numpy.typing import NDArray
from tables import ALGORITHMS, ROWS, named
from test_resume import Counting, bits

import ohmgrad as og
from ohmgrad import _core
from ohmgrad.algorithms import Accumulate, Algorithm, Chopper, Plan, Rate, Term, Threshold, TileFacts, Write
from ohmgrad.devices import ConstantStep, OneSided, ReferenceCell, ShiftedLinear, SoftBounds, Vector
from ohmgrad.nn import Linear, Sequential, Tanh

# Cells with spread bounds cannot hold every initial weight.
pytestmark = pytest.mark.filterwarnings("ignore:layer .* initial weights are beyond the bounds:UserWarning")

Floats = NDArray[Any]

EXACT = og.PulseTrain(pulse_type="none_with_device")
PULSE_TYPES: tuple[Any, ...] = get_args(get_type_hints(og.PulseTrain)["pulse_type"])
PRESETS = {
    "ideal": og.IO(),
    "kit": og.IO.kit(),
    "paper": og.IO.paper(),
    "standard": og.IO.standard(),
    "kit_device": og.IO.kit_device(),
}

PAIR = ROWS[1].noisy, ROWS[3].noisy
UP_ALONE = replace(
    SoftBounds(dw_min=0.02, dw_min_std=0.4, dw_min_dtod=0.3, reset_std=0.02), w_max=0.6, w_min=0.0, w_max_dtod=0.2
)
# All devices of the table, write noise, and cells of several devices.
DEVICES: dict[str, Any] = {
    **{row.name: row.noisy for row in ROWS},
    "write noise": replace(ROWS[1].noisy, write_noise_std=1.0),
    **{f"vector, {policy}": Vector(PAIR, gamma_vec=(0.7, 0.6), update_policy=policy) for policy in
       get_args(get_type_hints(Vector)["update_policy"])},
    "reference cell": ReferenceCell(PAIR),
    "one-sided pair": OneSided((UP_ALONE, UP_ALONE), refresh_every=3, refresh_upper_thres=0.3, refresh_lower_thres=0.1),
}  # fmt: skip


def far(dw_min: float) -> ConstantStep:
    """An ideal device: steps of one size, bounds far away."""
    return ConstantStep(dw_min=dw_min, w_max=2.0**10, w_min=-(2.0**10))


def eighths(rows: int, columns: int, shift: int = 0) -> Floats:
    """Multiples of 1/8 between -1 and 1."""
    return ((np.arange(rows * columns) * 5 + shift) % 17 - 8).reshape(rows, columns) / 8


def having(algorithm: Algorithm, **fields: Any) -> Any:
    """The algorithm with those of the fields that it has."""
    settings: Any = algorithm
    return replace(settings, **{name: value for name, value in fields.items() if hasattr(algorithm, name)})


def plan_of(tile: og.Tile) -> Plan:
    facts = TileFacts(d_out=tile.d_out, d_in=tile.d_in, device=tile.device, stage=tile.stage)
    plan: Plan = tile.algorithm.plan(facts)
    return plan


def plan_on(algorithm: Algorithm) -> Plan:
    return algorithm.plan(TileFacts(d_out=3, d_in=5, device=far(2**-8)))


def exactly(algorithm: Algorithm) -> Any:
    """The algorithm with exact writes; where there are thresholds, of as many steps as its trains have slots."""
    steps = [step for transfer in plan_on(algorithm).transfers for step in transfer.steps]
    slots = {(step.pulses or EXACT).desired_bl for step in steps if isinstance(step, Write)}
    return having(algorithm, transfer_pulses=replace(EXACT, desired_bl=max(slots, default=1)))


def matrices(tile: og.Tile) -> dict[str, Floats]:
    return {name: matrix.weights.astype(np.float64) for name, matrix in tile.arrays.items()}


def state_of(tile: og.Tile) -> dict[str, bytes]:
    return {name: value.tobytes() for name, value in tile.state_dict().items()}


def signs(tile: og.Tile) -> Floats:
    """The chopper's signs of all cells, as the state has them: 1 means turned."""
    state = tile.state_dict()
    if "chopper.line" not in state:
        return np.ones((tile.d_out, tile.d_in))
    line, cross = (1.0 - 2.0 * state[f"chopper.{name}"].astype(np.float64) for name in ("line", "cross"))
    (axis,) = (transfer.axis for transfer in plan_of(tile).transfers if transfer.chopper is not None)
    return np.outer(cross, line) if axis == "columns" else np.outer(line, cross)


def diagonal(first: Sequence[Any], second: Sequence[Any], name: Callable[[Any], str]) -> list[Any]:
    """All pairs; those outside a sample in which each value occurs are slow."""
    sample = {(k % len(first), k % len(second)) for k in range(max(len(first), len(second)))}
    return [
        pytest.param(a, b, id=f"{name(a)}-{name(b)}", marks=[] if (i, j) in sample else pytest.mark.slow)
        for i, a in enumerate(first)
        for j, b in enumerate(second)
    ]


def word(value: Any) -> str:
    return value if isinstance(value, str) else named(value)


# ---- means


class Rates:
    """The rate of each vector's gradient by the fields of the algorithm: constant, or scaled by running maxima."""

    def __init__(self, tile: og.Tile) -> None:
        self.algorithm: Any = tile.algorithm
        self.tile = tile
        self.largest: list[float] = [0.0, 0.0]

    def __call__(self, x: Floats, d: Floats, lr: float) -> list[float]:
        rate = getattr(self.algorithm, "fast_lr", 1.0) * (lr if getattr(self.algorithm, "scale_fast_lr", True) else 1.0)
        if not getattr(self.algorithm, "auto_scale", False):
            return [rate] * len(x)
        share, rates = (1 - self.algorithm.auto_momentum) / len(x), []
        for vectors in zip(x, d, strict=True):
            new = [float(np.abs(vector).max()) for vector in vectors]
            self.largest = [(1 - share) * a + share * b if a else b for a, b in zip(self.largest, new, strict=True)]
            scale = self.tile.pulses.desired_bl * self.tile.granularity() / (self.largest[0] * self.largest[1])
            rates.append(rate * scale)
        return rates


def gathered(tile: og.Tile) -> Floats:
    """The gradient's matrix, and what it has given away in whole steps of itself."""
    plan = plan_of(tile)
    writes = (step for transfer in plan.transfers for step in transfer.steps if isinstance(step, Write))
    target = plan.gradient.target
    takers = {write.target for write in writes if write.source == (Term(target),) and write.threshold is not None}
    assert all(taker in plan.arrays for taker in takers)
    total: Floats = np.sum([tile.arrays[name].weights.astype(np.float64) for name in {target, *takers}], axis=0)
    return total


def thirds(rows: int, columns: int, shift: int) -> Floats:
    """0 to three quarters, up and down: on every one of six levels, so that rounding to them changes nothing."""
    values = ((np.arange(rows * columns) * 3 + shift) % 7 - 3).reshape(rows, columns) / 4
    values[:, 0] = 0.75
    return values


@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=named)
def test_an_exact_gradient_is_the_product_of_its_vectors(algorithm: Algorithm) -> None:
    """`target - rho c d x^T`, whatever the transfers do meanwhile."""
    algorithm = having(algorithm, transfer_pulses=EXACT)
    tile = og.Tile(3, 5, device=far(2**-10), algorithm=algorithm, pulses=EXACT, seed=3)
    rates, checked, seen = Rates(tile), 0, set()
    for call, m in enumerate((1, 4, 1, 2, 1, 1, 3, 1, 4, 1, 1, 4)):
        x, d = thirds(m, 5, call), thirds(m, 3, 2 * call + 1)
        lr = 2.0 ** -(call % 3)
        c, before = signs(tile), gathered(tile)
        tile.update(x, d, lr)
        rho = rates(x, d, lr)
        # signs of one vector are those before it; of several, those of all if none has turned since
        if m > 1 and not np.array_equal(c, signs(tile)):
            continue
        checked += m > 1
        seen.add(c.tobytes())
        expected = -c * np.einsum("b,bi,bj->ij", rho, d, x)
        after = gathered(tile)
        # five matrices added, as many numbers that are products of a few others: 32 roundings of what is largest
        size = max(np.abs(before).max(), np.abs(after).max(), 1.0)
        np.testing.assert_allclose(after - before, expected, rtol=0, atol=32 * 2**-24 * size)
        assert np.abs(expected).max() > 1e-3
    assert checked >= 1
    # where signs flip, other signs than those at the start were seen
    chopper = any(transfer.chopper is not None for transfer in plan_of(tile).transfers)
    assert (len(seen) > 1) == chopper


def check_mean(name: str, errors: Sequence[Floats], size: float) -> bool:
    """The mean of independent errors is 0 within five standard errors, which are small enough to tell; is it noisy?

    Without noise they are 0 but for roundings: a few dozen sums of float32 numbers.
    """
    all_of = np.array(errors)
    standard_error = all_of.std(axis=0) / np.sqrt(len(all_of))
    assert (np.abs(all_of.mean(axis=0)) <= 5 * standard_error + 32 * 2**-24 * max(size, 1.0)).all(), name
    assert 5 * standard_error.max() < 0.2 * max(size, 2**-8), (name, standard_error.max(), size)
    return bool(standard_error.max() > 2**-16)


TILES = 160


@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=named)
def test_the_mean_gradient_is_the_product_of_its_vectors(algorithm: Algorithm) -> None:
    """The same in stochastic trains, with every rounding by chance and writes in pulses: right in the mean.

    256 slots hold what is wanted of every vector, at most 3/32 of a weight in steps of 2^-8; so nothing is clipped.
    """
    errors, noisy, size = [], False, 0.0
    lr = 2**-5
    for seed in range(TILES):
        pulses = og.PulseTrain(desired_bl=256)
        tile = og.Tile(3, 5, device=far(2**-8), algorithm=algorithm, pulses=pulses, seed=seed)
        rates, expected = Rates(tile), np.zeros((3, 5))
        for call in range(6):
            x, d = eighths(1, 5, call), eighths(1, 3, 7 * call + 3)
            expected -= signs(tile) * rates(x, d, lr)[0] * np.outer(d, x)
            tile.update(x, d, lr)
        errors.append(gathered(tile) - expected)
        size = max(size, float(np.abs(expected).max()))
    noisy = check_mean("gradient", errors, size)
    gradient = plan_on(algorithm).gradient
    assert noisy == (gradient.target in plan_on(algorithm).arrays or gradient.n_x_bins > 0)


def is_linear(algorithm: Algorithm) -> bool:
    """Whether what an event does is linear in the matrices: no threshold, no dead band."""
    steps = [step for transfer in plan_on(algorithm).transfers for step in transfer.steps]
    return not any(isinstance(step, Write) and (step.threshold or step.deadband) for step in steps)


@pytest.mark.parametrize("algorithm", [one for one in ALGORITHMS if is_linear(one)], ids=named)
def test_the_mean_of_a_linear_plan_is_that_of_exact_increments(algorithm: Algorithm) -> None:
    """Gradient and transfers together: every matrix, and the weight. The exact twin has the same flips."""
    exact, lr, calls = exactly(algorithm), 2**-4, 6
    errors: dict[str, list[Floats]] = {}
    size: dict[str, float] = {}
    for seed in range(TILES):
        tile, twin = (
            og.Tile(3, 5, device=far(2**-8), algorithm=one, pulses=pulses, seed=seed)
            for one, pulses in ((algorithm, og.PulseTrain(desired_bl=256)), (exact, EXACT))
        )
        for call in range(calls):
            # errors of one sign: what is read does not average out
            x, d = eighths(2, 5, call) ** 2, -(eighths(2, 3, 7 * call + 3) ** 2)
            tile.update(x, d, lr)
            twin.update(x, d, lr)
        ends = matrices(tile) | {"W": tile.weights}, matrices(twin) | {"W": twin.weights}
        for name in ends[0]:
            errors.setdefault(name, []).append(ends[0][name] - ends[1][name])
            size[name] = max(size.get(name, 0.0), float(np.abs(ends[1][name]).max()))
    noisy = {name: check_mean(name, errors[name], size[name]) for name in errors}
    plan = plan_on(algorithm)
    assert noisy[plan.gradient.target] == (plan.gradient.target in plan.arrays)
    assert size["W"] > 0
    assert all(size[write.target] > 2**-9 for transfer in plan.transfers for write in transfer.steps
               if isinstance(write, Write) and transfer.every.period < 2)  # fmt: skip


@pytest.mark.parametrize("algorithm", [one for one in ALGORITHMS if plan_on(one).transfers], ids=named)
def test_the_mean_of_transfers_is_that_of_exact_increments(algorithm: Algorithm) -> None:
    """What is read is given and new in every call, there is no gradient: thresholds are passed at the same moments.

    Steps are 2^-8, what is read at most 2^-5: no write wants more of a cell than its trains can do.
    """
    exact, lr = exactly(algorithm), 0.25
    errors: dict[str, list[Floats]] = {}
    size: dict[str, float] = {}
    writes = [step for transfer in plan_on(algorithm).transfers for step in transfer.steps if isinstance(step, Write)]
    source = plan_on(algorithm).gradient.target
    for seed in range(TILES):
        twins = [og.Tile(3, 5, device=far(2**-8), algorithm=one, seed=seed) for one in (algorithm, exact)]
        for tile in twins:
            if "hidden" in tile.arrays:
                tile.arrays["hidden"].weights = eighths(3, 5, 3) / 32
            for call in range(8):
                tile.arrays[source].weights = eighths(3, 5, 3 * call) / 32
                tile.update(np.zeros((8, 5)), np.zeros((8, 3)), lr)
        ends = [matrices(tile) for tile in twins]
        for name in ends[0]:
            errors.setdefault(name, []).append(ends[0][name] - ends[1][name])
            size[name] = max(size.get(name, 0.0), float(np.abs(ends[1][name]).max()))
    noisy = {name: check_mean(name, errors[name], size[name]) for name in errors}
    for write in writes:
        assert size[write.target] >= 2**-8
        certain = write.threshold is not None and write.threshold.cap == 1
        trains = write.pulses is None or write.pulses.pulse_type == "stochastic_compressed"
        assert noisy[write.target] == (trains and not certain), write.target


# ---- schedules


@pytest.mark.parametrize("scaled", [True, False])
@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=named)
def test_the_gradient_follows_the_learning_rate_of_its_call(algorithm: Algorithm, scaled: bool) -> None:
    """Unless `scale_fast_lr` says no, then its sign alone: rates of one call after the other, from the same state."""
    follows = scaled or not hasattr(algorithm, "scale_fast_lr")
    algorithm = having(algorithm, scale_fast_lr=scaled, transfer_pulses=EXACT)
    # steps so coarse that nothing digital is written; auto_scale multiplies by them
    tile = og.Tile(3, 5, device=far(2.0), algorithm=algorithm, pulses=EXACT)
    target = plan_of(tile).gradient.target
    for call, lr in enumerate((2**-4, 2**-2, 0.0, 2**-6)):
        x, d = thirds(2, 5, call), thirds(2, 3, call + 2)
        changes = []
        for factor in (1.0, 4.0, -1.0, 0.0):
            twin = copy.deepcopy(tile)
            twin.update(x, d, factor * lr)
            changes.append(twin.arrays[target].weights.astype(np.float64) - tile.arrays[target].weights)
        for factor, change in zip((1.0, 4.0, -1.0, 0.0), changes, strict=True):
            # a sum of numbers of their size, rounded a few times
            atol = 2**-20 * max(np.abs(changes[1]).max(), np.abs(tile.arrays[target].weights).max())
            expected = factor if follows else -1.0 if factor * lr < 0 else 1.0
            np.testing.assert_allclose(change, changes[0] * expected, rtol=0, atol=atol)
        assert (np.abs(changes[0]).max() > 0) == (lr != 0 or not follows)
        tile.update(x, d, lr)


@pytest.mark.parametrize("scaled", [True, False])
@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=named)
def test_transfers_follow_the_learning_rate_if_they_say_so(algorithm: Algorithm, scaled: bool) -> None:
    """`scale_transfer_lr` is about the buffer, or where there is none, about the writes; nothing else changes."""
    follows = scaled and hasattr(algorithm, "scale_transfer_lr")
    algorithm = having(algorithm, scale_transfer_lr=scaled, transfer_pulses=EXACT)
    # steps so coarse that no threshold is passed
    tile = og.Tile(3, 5, device=far(4.0), algorithm=algorithm, pulses=EXACT)
    plan = plan_of(tile)
    steps = [step for transfer in plan.transfers for step in transfer.steps]
    writes = {step.target for step in steps if isinstance(step, Write)}
    rated = {"hidden"} if "hidden" in plan.digital else writes
    # slower levels of a cascade read what the first of them has just written
    reads_rated = {step.target for step in steps if isinstance(step, Write) and {t.matrix for t in step.source} & rated}
    moved = set()
    tile.arrays[plan.gradient.target].weights = eighths(3, 5, 3) / 8
    for lr in (2**-4, 2**-2, 2**-6, 2**-3, 2**-5, 2**-4):
        before, ends = matrices(tile), []
        for factor in (1.0, 2.0):
            twin = copy.deepcopy(tile)
            twin.update(np.zeros(5), np.zeros(3), factor * lr)
            ends.append(matrices(twin))
        for name in before.keys() - (reads_rated if follows else set()):
            first, second = (end[name] - before[name] for end in ends)
            if follows and name in rated:
                np.testing.assert_allclose(second, 2 * first, rtol=0, atol=2**-20)
            else:
                np.testing.assert_array_equal(second, first, err_msg=name)
            moved |= {name} if first.any() else set()
        tile.update(np.zeros(5), np.zeros(3), lr)
    if follows:
        assert moved >= rated - reads_rated


# ---- copies


def namespace() -> dict[str, Any]:
    return {name: getattr(og, name) for name in og.__all__} | vars(og.devices) | {"Tile": og.Tile}


def rebuilt(tile: og.Tile) -> og.Tile:
    twin = og.Tile.from_config(tile.config())
    twin.load_state_dict(tile.state_dict())
    return twin


def evaluated(tile: og.Tile) -> og.Tile:
    twin = eval(repr(tile), namespace())
    assert isinstance(twin, og.Tile)
    twin.load_state_dict(tile.state_dict())
    return twin


COPIES: dict[str, Callable[[og.Tile], og.Tile]] = {
    "deepcopy": copy.deepcopy,
    "copy": copy.copy,
    "pickle": lambda tile: pickle.loads(pickle.dumps(tile)),
    "config": rebuilt,
    "repr": evaluated,
}


def train(tile: og.Tile, calls: int = 3, lr: float = 0.1, first: int = 0) -> list[bytes]:
    """Mini-batches of several sizes with all that belongs to them; what comes out."""
    rng, out = np.random.default_rng(first), []
    for call in range(calls):
        m = 4 + call % 3
        x, d = rng.normal(size=(m, tile.d_in)), rng.normal(size=(m, tile.d_out))
        out += [tile.forward(x), tile.backward(d), tile.forward(x, training=False)]
        tile.update(x, d, lr)
        tile.end_batch()
    return [values.tobytes() for values in [*out, tile.weights]]


@pytest.mark.parametrize("kind", COPIES)
@pytest.mark.parametrize(("algorithm", "device"), diagonal(ALGORITHMS, list(DEVICES), word))
def test_a_copy_goes_on_like_the_tile_and_leaves_it_alone(algorithm: Algorithm, device: str, kind: str) -> None:
    tile = og.Tile(
        3, 5, device=DEVICES[device], algorithm=algorithm, io=og.IO.kit(), backward_io=og.IO.standard(),
        pulses=og.PulseTrain(desired_bl=7), count_pulses=True, seed=og.Seeds(device=3, noise=4), name="t",
    )  # fmt: skip
    train(tile)
    before = state_of(tile)
    twin = COPIES[kind](tile)
    assert type(twin) is og.Tile
    assert twin is not tile
    assert (twin.config(), repr(twin)) == (tile.config(), repr(tile))
    assert state_of(twin) == before
    theirs = train(twin, first=1)
    assert state_of(tile) == before != state_of(twin)
    assert train(tile, first=1) == theirs
    assert state_of(tile) == state_of(twin)


@pytest.mark.parametrize(("algorithm", "device"), diagonal(ALGORITHMS, list(DEVICES), word))
def test_a_saved_network_goes_on_bit_for_bit(
    algorithm: Algorithm, device: str, tmp_path: Path, task: og.data.Dataset
) -> None:
    model = Sequential(Linear(6, 4), Tanh(), Linear(4, 3)).on(
        DEVICES[device], algorithm=algorithm, io=og.IO.kit(), seed=5, learn_out_scaling=True
    )

    def learn(model: Sequential, first: int) -> list[float]:
        loss = og.nn.CrossEntropy()
        parts = ((task.x[at : at + 7], task.y[at : at + 7]) for at in range(first, first + 35, 7))
        return [float(model.train_step(x, y, loss, 0.1)[0]) for x, y in parts]

    learn(model, 0)
    og.save(tmp_path / "model", model)
    before = bits(model)
    other = og.load(tmp_path / "model")
    assert bits(other) == before
    losses = learn(other, 35)
    assert bits(model) == before != bits(other)
    assert learn(model, 35) == losses
    assert bits(model) == bits(other)


# ---- divisions of work

# Rows of a chunk (0: any), cuts after every vector, threads.
DIVISIONS = [(0, False, 1), (0, True, 2), (1, False, 1), (2, True, 1), (3, False, 2), (100, False, 2)]


@pytest.fixture
def divided() -> Iterator[None]:
    """Puts the division of work and the number of threads back as they were."""
    before = og.threads()
    yield
    _core.set_division()
    og.threads(before)
    _core.set_split_threshold()


def divide(rows: int, cut: bool, threads: int) -> None:
    if og.threads() != threads:
        og.threads(threads)
    _core.set_division(rows, cut)
    _core.set_split_threshold(0)


def check_divisions(algorithm: Algorithm, device: Any, **settings: Any) -> None:
    ends: list[tuple[list[bytes], dict[str, bytes]]] = []
    fresh = state_of(og.Tile(7, 37, device=device, algorithm=algorithm, **settings))
    for division in DIVISIONS:
        divide(*division)
        tile = og.Tile(7, 37, device=device, algorithm=algorithm, **settings)
        ends.append((train(tile, lr=0.05), state_of(tile)))
        assert ends[-1] == ends[0], division
    moved = {name for name, value in ends[0][1].items() if value != fresh[name]}
    assert moved > {"counters"}


@pytest.mark.usefixtures("divided")
@pytest.mark.parametrize(("algorithm", "device"), diagonal(ALGORITHMS, list(DEVICES), word))
def test_how_work_is_divided_leaves_no_trace(algorithm: Algorithm, device: str) -> None:
    """On every kind of cell, with noisy reads; whatever algorithm and cell, and (below) whatever the pulses."""
    check_divisions(algorithm, DEVICES[device], io=og.IO.kit(), count_pulses=True)


# What an update gives to the device in one go is a setting of its own where there are no trains.
TRAINS = [og.PulseTrain(pulse_type=kind, desired_bl=9) for kind in PULSE_TYPES]
TRAINS += [replace(train, increment="batch") for train in TRAINS[4:]]


def train_name(value: Any) -> str:
    return f"{value.pulse_type}-{value.increment}" if isinstance(value, og.PulseTrain) else named(value)


@pytest.mark.usefixtures("divided")
@pytest.mark.parametrize(("algorithm", "pulses"), diagonal(ALGORITHMS, TRAINS, train_name))
def test_how_work_is_divided_leaves_no_trace_on_pulses(algorithm: Algorithm, pulses: og.PulseTrain) -> None:
    """Of the gradient and, of the same kind or another one, of the writes."""
    for k in (0, 4):
        writes = TRAINS[(TRAINS.index(pulses) + k) % len(TRAINS)]
        device = list(DEVICES.values())[(3 * TRAINS.index(pulses) + ALGORITHMS.index(algorithm)) % len(DEVICES)]
        check_divisions(having(algorithm, transfer_pulses=writes), device, pulses=pulses, io=og.IO.kit())


# ---- everything with everything


def check_run(algorithm: Algorithm, device: Any, io: og.IO, pulses: og.PulseTrain) -> None:
    tile = og.Tile(3, 5, device=device, algorithm=having(algorithm, transfer_pulses=pulses), io=io, pulses=pulses)
    fresh = state_of(tile)
    for call in range(3):
        x, d = eighths(4, 5, call), eighths(4, 3, call + 3)
        assert np.isfinite(tile.forward(x)).all()
        assert np.isfinite(tile.backward(d)).all()
        tile.update(x, d, 0.5)
        tile.end_batch()
    assert np.isfinite(tile.weights).all()
    assert all(np.isfinite(values).all() for values in matrices(tile).values())
    after = state_of(tile)
    assert any(after[name] != fresh[name] for name in after if name.endswith(".values")), (io, pulses)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=named)
def test_every_algorithm_runs_on_every_device(algorithm: Algorithm, device: str) -> None:
    """With a periphery and a kind of pulses each, in turn."""
    at = ALGORITHMS.index(algorithm) + list(DEVICES).index(device)
    presets = list(PRESETS.values())
    for k in range(2):
        check_run(algorithm, DEVICES[device], presets[(at + k) % len(presets)], TRAINS[(at + 5 * k) % len(TRAINS)])


@pytest.mark.slow
@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=named)
def test_every_algorithm_runs_on_every_device_with_everything(algorithm: Algorithm, device: str) -> None:
    for io in PRESETS.values():
        for pulses in TRAINS:
            check_run(algorithm, DEVICES[device], io, pulses)


@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=named)
def test_every_array_may_have_a_device_of_its_own(algorithm: Algorithm) -> None:
    own = {"soft": replace(ROWS[1].noisy, dw_min=0.01), "pow": ROWS[3].noisy, "cell": Vector(PAIR)}
    arrays = plan_on(algorithm).arrays
    devices: dict[str, Any] = dict(zip(arrays, own.values(), strict=False))
    tile = og.Tile(3, 5, device=devices, algorithm=algorithm, seed=2)
    assert tile.device == devices
    for name, device in devices.items():
        assert tile.granularity(name) == pytest.approx(device.granularity, rel=1e-6)
        alone = og.Tile(3, 5, device=device)
        assert list(tile.arrays[name].parameters) == list(alone.arrays["weight"].parameters)
    train(tile)
    assert np.isfinite(tile.weights).all()
    # settings and state go round
    twin = rebuilt(tile)
    assert train(twin, first=1) == train(tile, first=1)
    # an array too many, an array too few
    with pytest.raises(ValueError, match="device names the arrays"):
        og.Tile(3, 5, device=devices | {"attic": own["soft"]}, algorithm=algorithm)
    for name in arrays:
        with pytest.raises(ValueError, match="device names the arrays"):
            og.Tile(3, 5, device={k: v for k, v in devices.items() if k != name}, algorithm=algorithm)


@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=named)
def test_every_array_has_cells_of_its_own(algorithm: Algorithm) -> None:
    """Also with one device for all: drawn anew for each array, and set without a trace on the others."""
    tile = og.Tile(3, 5, device=ROWS[1].noisy, algorithm=algorithm, seed=2)
    names = plan_on(algorithm).arrays
    drawn = [tile.arrays[name].parameters["w_max"] for name in names]
    assert len({values.tobytes() for values in drawn}) == len(names)
    for name in names:
        before = state_of(tile)
        tile.arrays[name].parameters["dw_up"] = np.full((3, 5), 0.125)
        after = state_of(tile)
        assert {key for key in after if after[key] != before[key]} == {f"{name}.dw_up"}


# ---- without a gradient


@pytest.mark.parametrize("io", [og.IO(), og.IO(inp_bound=1.0, inp_res=1 / 126, out_bound=4.0, out_res=1 / 510)])
@pytest.mark.parametrize(("algorithm", "device"), diagonal(ALGORITHMS, list(DEVICES), word))
def test_without_a_gradient_the_weight_stays(algorithm: Algorithm, device: str, io: og.IO) -> None:
    """From weights that were set, without noise of reads: other matrices are zero, so that nothing is handed over."""
    cells = DEVICES[device]
    if device == "write noise":
        cells = replace(cells, write_noise_std=0.0)  # what is set is not what is read
    tile = og.Tile(3, 5, device=cells, algorithm=algorithm, io=io, seed=3)
    tile.set_weights(eighths(3, 5) / 4)
    before, carrier = matrices(tile), tile.carrier[0]
    assert before[carrier].any()
    assert not any(values.any() for name, values in before.items() if name != carrier)
    for call, m in enumerate((1, 7, 40, 3, 64)):
        x, d = eighths(m, 5, call), eighths(m, 3, call)
        tile.update(x, np.zeros((m, 3)), 0.5)
        tile.update(np.zeros((m, 5)), d, 0.5)
    for name, values in matrices(tile).items():
        np.testing.assert_array_equal(values, before[name], err_msg=name)
    # and with one the weight does not stay
    for _ in range(40):
        tile.update(np.ones((4, 5)), -np.ones((4, 3)), 0.5)
    assert not np.array_equal(tile.arrays[carrier].weights, before[carrier])


def test_without_a_gradient_a_fast_array_off_its_symmetric_point_is_handed_over() -> None:
    """What the test above would see, were the other matrices not zero."""
    tile = og.Tile(3, 5, device=SoftBounds(dw_min=0.01), algorithm=og.TikiTaka(n_reads_per_transfer=0))
    tile.set_weights(eighths(3, 5) / 4)
    tile.arrays["fast"].weights = np.full((3, 5), 0.5)
    before = tile.arrays["slow"].weights
    for _ in range(10):
        tile.update(np.zeros(5), np.zeros(3), 0.5)
    assert (tile.arrays["slow"].weights != before).all()


# ---- signs


@pytest.mark.parametrize("columns", [True, False])
@pytest.mark.parametrize("shape", [(3, 5), (5, 3)])
@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=named)
def test_the_weight_is_the_sum_of_its_terms_with_their_signs(
    algorithm: Algorithm, shape: tuple[int, int], columns: bool
) -> None:
    algorithm = having(algorithm, transfer_columns=columns)
    if getattr(algorithm, "gamma", 1.0) == 0:
        algorithm = having(algorithm, gamma=0.3)
    if hasattr(algorithm, "out_chop_prob") and getattr(algorithm, "out_chop_prob", 0.0) == 0:
        algorithm = having(algorithm, out_chop_prob=0.3)
    algorithm = having(algorithm, chop_prob=0.3)
    tile = og.Tile(*shape, device=ROWS[1].noisy, algorithm=algorithm, seed=4)
    plan, rng = plan_of(tile), np.random.default_rng(0)
    chopped, turned, mixed = any(term.chopped for term in plan.weight), set(), False
    for _ in range(30):
        tile.update(rng.normal(size=(3, shape[1])), rng.normal(size=(3, shape[0])), 0.1)
        c = signs(tile)
        turned |= set(c.ravel())
        mixed |= len(set(c.ravel())) > 1
        expected = np.zeros(shape, np.float32)
        for term in plan.weight:
            share = np.float32(term.factor) * tile.arrays[term.matrix].weights
            expected = expected + share * (c.astype(np.float32) if term.chopped else np.float32(1))
        np.testing.assert_array_equal(tile.weights, expected)
        x, d = rng.normal(size=(4, shape[1])), rng.normal(size=(4, shape[0]))
        # sums of at most five products of float32 numbers: ten roundings of the sum of their sizes
        for y, inputs, w in ((tile.forward(x), x, expected.T), (tile.backward(d), d, expected)):
            assert (np.abs(y - inputs @ w) <= 10 * 2**-24 * (np.abs(inputs) @ np.abs(w))).all()
    if chopped:
        assert turned == {-1.0, 1.0}
        # all signs of one array flip together, others one by one
        (chopper,) = (transfer.chopper for transfer in plan.transfers if transfer.chopper is not None)
        assert mixed == (chopper.scope == "line")
        shown = [tile.arrays[term.matrix].weights.any() for term in plan.weight if term.chopped and term.factor]
        assert any(shown)
    else:
        assert turned == {1.0}


# ---- summaries


@pytest.mark.parametrize("columns", [True, False])
@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=named)
def test_a_summary_agrees_with_what_is_there_and_what_happens(
    algorithm: Algorithm, columns: bool, task: og.data.Dataset
) -> None:
    """Memory by the state; lines read by its counters, lines written by counted pulses.

    Steps are so fine that everything read passes every threshold, and increments count as one pulse each; nothing is
    rounded to zero.
    """
    device, m = far(2**-30), 4
    algorithm = having(algorithm, transfer_columns=columns, transfer_pulses=EXACT, auto_scale=False)
    algorithm = having(algorithm, transfer_io=None, n_x_bins=0, n_d_bins=0)
    model = Sequential(Linear(6, 5), Tanh(), Linear(5, 3)).on(
        device, algorithm=algorithm, pulses=EXACT, seed=1, count_pulses=True
    )
    tiles = [model[at].tile for at in (0, 2)]  # type: ignore[attr-defined]
    loss = og.nn.CrossEntropy()

    def learn(calls: int) -> None:
        for call in range(calls):
            at = m * call % 100
            model.train_step(task.x[at : at + m], task.y[at : at + m], loss, 0.5)

    def happened(tile: og.Tile) -> tuple[float, float, int]:
        """Lines of arrays read and written, and vectors."""
        state, plan = tile.state_dict(), plan_of(tile)
        reads = 0.0
        for at, transfer in enumerate(plan.transfers):
            lines = transfer.reads or (tile.d_in if transfer.axis == "columns" else tile.d_out)
            sources = {term.matrix for step in transfer.steps for term in step.source} & set(plan.arrays)
            reads += float(state["counters"][7 + 3 * at + 1]) * lines * len(sources)
        pulses = 0.0
        for name in set(plan.arrays) - {plan.gradient.target}:
            pulses += float(sum(counts.sum() for counts in tile.arrays[name].pulse_counts))
        cells = [tile.d_out if transfer.axis == "columns" else tile.d_in for transfer in plan.transfers]
        return reads, pulses / (cells or [1])[0], int(state["counters"][0])

    # 60 mini-batches: every line of every transfer, and what is only written after some passes has begun
    learn(60)
    before = [happened(tile) for tile in tiles]
    # 200 vectors: all periods of the table go into them
    learn(50)
    summary = model.summary(batch_size=m)
    assert [facts.name for facts in summary.tiles] == [tile.name for tile in tiles]
    for facts, tile, (reads, writes, vectors) in zip(summary.tiles, tiles, before, strict=True):
        state = tile.state_dict()
        assert (facts.d_out, facts.d_in, facts.algorithm) == (tile.d_out, tile.d_in, type(algorithm).__name__)
        values = {name.split(".")[0] for name in state if name.endswith(".values")}
        crossbars = {name.split(".")[0] for name in state if name.endswith(".dw_up")}
        assert {array.name for array in facts.arrays} == crossbars
        assert set(facts.digital) == values - crossbars
        for array in facts.arrays:
            assert (array.device, array.granularity) == ("ConstantStep", tile.granularity(array.name))
            assert array.n_states == tile.n_states(array.name)
        digital = sum(state[f"{name}.values"].nbytes for name in facts.digital)
        chopper = sum(state[name].size for name in ("chopper.line", "chopper.cross") if name in state)
        together = any(transfer.chopper and transfer.chopper.scope == "array" for transfer in plan_of(tile).transfers)
        assert facts.digital_bytes == digital + ceil((1 if together else chopper) / 8)
        after = happened(tile)
        assert after[2] - vectors == 200
        assert facts.reads_per_sample * 200 == pytest.approx(after[0] - reads, rel=1e-12)
        assert facts.writes_per_sample * 200 == pytest.approx(after[1] - writes, rel=1e-12)
    assert type(algorithm).__name__ in str(summary)


# ---- zero-shifting

CALIBRATED = [one for one in ALGORITHMS if hasattr(one, "zero_shift")]


def calibrated_array(plan: Plan) -> str:
    """The gradient's array, or the one that gets what the gradient gathers in digital memory."""
    return plan.gradient.target if plan.gradient.target in plan.arrays else plan.arrays[0]


# Devices, and where an up and a down pulse of a cell are of one size.
SHIFTED: list[tuple[Any, Callable[[dict[str, Floats]], Any]]] = [
    (
        SoftBounds(dw_min=0.01, up_down=0.4, dw_min_dtod=0.1, w_max_dtod=0.1, w_min_dtod=0.1),
        lambda p: (p["dw_up"] - p["dw_down"]) / (p["dw_up"] / p["w_max"] - p["dw_down"] / p["w_min"]),
    ),
    (ShiftedLinear(dw_min=0.01, shift=-0.25, tau_max=0.8, tau_min=-0.5), lambda p: -0.25),
]


@pytest.mark.parametrize(("device", "rest"), SHIFTED, ids=["SoftBounds", "ShiftedLinear"])
@pytest.mark.parametrize("algorithm", CALIBRATED, ids=named)
def test_a_calibrated_array_reads_zero_where_its_cells_rest(
    algorithm: Algorithm, device: Any, rest: Callable[[dict[str, Floats]], Any]
) -> None:
    assert abs(device.symmetric_point) > 0.1
    plain, tile = (
        og.Tile(3, 5, device=device, algorithm=having(algorithm, zero_shift=shift), count_pulses=True, seed=2)
        for shift in (None, og.ZeroShift(cycles=1200))
    )
    name = calibrated_array(plan_of(tile))
    for other in plan_of(tile).arrays:
        pulses = [int(counts.sum()) for counts in tile.arrays[other].pulse_counts]
        assert pulses == ([1200 * 15] * 2 if other == name else [0, 0])
        assert not any(counts.any() for counts in plain.arrays[other].pulse_counts)
        assert not plain.arrays[other].parameters["reference"].any()
        assert tile.arrays[other].parameters["reference"].all() == (other == name)
    assert not any(values.any() for values in matrices(tile).values())
    # the last pulse was one down: the resting point is at most a step below the symmetric point of each cell, and the
    # way there has shrunk by far more than e^-10
    cell = {key: values.astype(np.float64) for key, values in tile.arrays[name].parameters.items()}
    below = rest(cell) - cell["reference"]
    assert (below > -1e-4).all()
    assert (below < 1.5 * cell["dw_down"] + 1e-4).all()
    # from there on pulses in turn change nothing; a plain array goes there and is then read as it is
    for each, rests in ((tile, 0.0), (plain, cell["reference"])):
        array = each.arrays[name]
        for _ in range(1200):
            array.pulse(np.ones((3, 5), int))
            array.pulse(-np.ones((3, 5), int))
        # distances shrink by 1 - a each time, a > 0.005: nothing but roundings, of 2^-24 each over 1 / a, is left
        np.testing.assert_allclose(array.weights, rests + np.zeros((3, 5)), rtol=0, atol=200 * 2**-24)
    for kind in COPIES.values():
        twin = kind(tile)
        assert train(twin) == train(copy.deepcopy(tile))


@pytest.mark.parametrize("cycles", [1, 50])
@pytest.mark.parametrize("algorithm", CALIBRATED, ids=named)
def test_what_has_no_symmetric_point_is_not_calibrated(algorithm: Algorithm, cycles: int) -> None:
    shifted = having(algorithm, zero_shift=og.ZeroShift(cycles=cycles))
    with pytest.raises(ValueError, match=r"without a symmetric point .*zero_shift"):
        og.Tile(3, 5, device=ConstantStep(), algorithm=shifted)
    with pytest.raises(ValueError, match=r"one-sided cells, .*no symmetric point: zero_shift"):
        og.Tile(3, 5, device=OneSided((SoftBounds(w_min=0.0),) * 2), algorithm=shifted)
    for device in (ConstantStep(), OneSided((SoftBounds(w_min=0.0),) * 2)):
        assert not og.Tile(3, 5, device=device, algorithm=algorithm).weights.any()


# ---- verbs


@dataclass(frozen=True, kw_only=True)
class Replay:
    """The plan of an algorithm without its transfers, which a `step` makes with the verbs after each single vector."""

    inner: Any

    def plan(self, tile: TileFacts) -> Plan:
        whole: Plan = self.inner.plan(tile)
        return replace(whole, transfers=())

    def step(self, tile: og.Tile, x: Floats, d: Floats, lr: float) -> None:
        tile.follow_plan(x, d, lr)
        whole = self.inner.plan(TileFacts(d_out=tile.d_out, d_in=tile.d_in, device=tile.device))
        vectors = int(tile.state_dict()["counters"][0])

        def at(rate: Rate) -> float:
            return rate.value * lr if rate.scaled else rate.value

        for transfer in whole.transfers:
            # of single vectors, a part of a mini-batch is ceil(part) of them
            period = ceil(transfer.every.period)
            if vectors % period:
                continue
            count = tile.d_in if transfer.axis == "columns" else tile.d_out
            reads = transfer.reads or count
            first = (vectors // period - 1) * reads
            options: dict[str, Any] = dict(axis=transfer.axis, io=transfer.io)
            options["lines"] = [(first + k) % count for k in range(reads)]
            for one in transfer.steps:
                if isinstance(one, Accumulate):
                    tile.accumulate(one.into, one.source, gain=at(one.gain), keep=one.keep, **options)
                    continue
                options_of_write = dict(
                    unit=one.unit, threshold=one.threshold, deadband=one.deadband, pulses=one.pulses
                )
                tile.write(one.target, one.source, rate=at(one.rate), **options_of_write, **options)


def has_no_chopper(algorithm: Algorithm) -> bool:
    return not any(transfer.chopper for transfer in plan_on(algorithm).transfers)


@pytest.mark.parametrize("columns", [True, False])
@pytest.mark.parametrize("algorithm", [one for one in ALGORITHMS if has_no_chopper(one)], ids=named)
def test_a_step_of_ones_own_can_say_what_a_plan_says(algorithm: Algorithm, columns: bool) -> None:
    """Line by line in exact increments; flips of signs are for plans alone."""
    algorithm = having(algorithm, transfer_pulses=EXACT, transfer_columns=columns)
    settings: dict[str, Any] = dict(device=ROWS[1].spread, pulses=EXACT)
    plan, replay = (og.Tile(3, 5, algorithm=one, **settings) for one in (algorithm, Replay(inner=algorithm)))
    rng, last = np.random.default_rng(1), plan_of(plan).weight[-1].matrix
    for _ in range(40):
        x, d = rng.normal(size=5), rng.normal(size=3) - 0.5
        for tile in (plan, replay):
            tile.update(x, d, 0.2)
        for name, values in matrices(plan).items():
            np.testing.assert_array_equal(replay.arrays[name].weights, values, err_msg=name)
    assert plan.arrays[last].weights.any()


def test_columns_of_tiki_taka_in_turn_by_verbs() -> None:
    """The same for one algorithm, with nothing but verbs and a counter of one's own."""

    class Columns:
        at = 0

        def plan(self, tile: TileFacts) -> Plan:
            return replace(og.TikiTaka(fast_lr=0.25).plan(tile), transfers=())

        def step(self, tile: og.Tile, x: Floats, d: Floats, lr: float) -> None:
            assert (x.shape, d.shape) == ((2, 5), (2, 3))
            tile.follow_plan(x, d, lr)
            tile.write("slow", "fast", rate=lr, lines=[self.at % 5])
            self.at += 1

    settings: dict[str, Any] = dict(device=far(2**-10), pulses=EXACT)
    tile, twin = (og.Tile(3, 5, algorithm=one, **settings) for one in (Columns(), og.TikiTaka(fast_lr=0.25)))
    for call in range(12):
        for each in (tile, twin):
            each.update(eighths(2, 5, call), eighths(2, 3, call + 2), 0.5)
    assert tile.weights.any()
    for name in ("fast", "slow"):
        np.testing.assert_array_equal(tile.arrays[name].weights, twin.arrays[name].weights)
    with pytest.raises(ValueError, match=r"^x has shape"):
        tile.update(np.ones((2, 4)), np.ones((2, 3)), 0.5)


MISTAKES: dict[str, tuple[Callable[[og.Tile], object], type[Exception], str]] = {
    "line below": (lambda t: t.write("slow", "fast", lines=[-1]), ValueError, "lines must be from 0 to 4, got -1"),
    "line beyond": (lambda t: t.write("slow", "fast", lines=[0, 5]), ValueError, "lines"),
    "row beyond": (lambda t: t.write("slow", "fast", lines=[3], axis="rows"), ValueError, "lines"),
    "line twice": (lambda t: t.write("slow", "fast", lines=[1, 1]), ValueError, "lines"),
    "part of a line": (lambda t: t.write("slow", "fast", lines=[0.5]), TypeError, "lines"),  # type: ignore[list-item]
    "axis": (lambda t: t.write("slow", "fast", axis="edges"), ValueError, "axis"),  # type: ignore[arg-type]
    "target": (lambda t: t.write("attic", "fast"), ValueError, "attic"),
    "source": (lambda t: t.write("slow", "attic"), ValueError, "attic"),
    "into": (lambda t: t.accumulate("attic", "fast"), ValueError, "attic"),
    "term": (lambda t: t.accumulate("hidden", [Term("fast"), Term("attic")]), ValueError, "attic"),
    "no term": (lambda t: t.accumulate("hidden", []), ValueError, "source"),
    "kind of term": (lambda t: t.accumulate("hidden", [3]), TypeError, "source"),  # type: ignore[list-item]
    "onto itself": (lambda t: t.write("fast", "fast"), ValueError, "fast"),
    "threshold on an array": (lambda t: t.write("slow", "fast", threshold=Threshold()), ValueError, "threshold"),
    "unit": (lambda t: t.write("slow", "fast", unit=0.0), ValueError, "unit"),
    "dead band": (lambda t: t.write("slow", "fast", deadband=-1.0), ValueError, "deadband"),
    "rate": (lambda t: t.write("slow", "fast", rate=float("nan")), ValueError, "rate"),
    "gain": (lambda t: t.accumulate("hidden", "fast", gain=float("inf")), ValueError, "gain"),
    "keep": (lambda t: t.accumulate("hidden", "fast", keep=float("nan")), ValueError, "keep"),
    "io": (lambda t: t.accumulate("hidden", "fast", io=3), TypeError, "io"),  # type: ignore[arg-type]
    "sign": (lambda t: t.write("slow", Term("fast", chopped=True)), ValueError, "chopped"),
    "vectors": (lambda t: t.follow_plan(np.ones((2, 4)), np.ones((2, 3)), 0.1), ValueError, "x has shape"),
    "learning rate": (lambda t: t.follow_plan(np.ones((2, 5)), np.ones((2, 3)), float("nan")), ValueError, "lr"),
}


@pytest.mark.parametrize(("wrong", "kind", "message"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_in_a_verb_is_named_and_changes_nothing(
    wrong: Callable[[og.Tile], object], kind: type[Exception], message: str
) -> None:
    tile, twin = (og.Tile(3, 5, device=ROWS[1].noisy, algorithm=og.TikiTakaV2(), io=og.IO.kit()) for _ in range(2))
    for each in (tile, twin):
        train(each)
    before = state_of(tile)
    with pytest.raises(kind, match=message):
        wrong(tile)
    assert state_of(tile) == before
    # nor behind the state
    for each in (tile, twin):
        each.accumulate("hidden", "fast", gain=4.0)
        each.write("slow", "hidden", rate=0.1)
        train(each)
    assert state_of(tile) == state_of(twin) != before


@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=named)
def test_following_the_plan_is_the_update(algorithm: Algorithm) -> None:
    """Also where an algorithm has a field of the name `step`."""
    tile, twin = (og.Tile(3, 5, device=ROWS[1].noisy, algorithm=algorithm, io=og.IO.kit()) for _ in range(2))
    for call in range(4):
        tile.update(eighths(4, 5, call), eighths(4, 3, call), 0.3)
        twin.follow_plan(eighths(4, 5, call), eighths(4, 3, call), 0.3)
    assert state_of(tile) == state_of(twin)


# ---- stages


def staged(n: int = 3, **settings: Any) -> og.Tile:
    algorithm = og.MultiTileResidualLearning(n_arrays=n, fast_lr=0.1, transfer_every=1.0, transfer_lr=0.25)
    return og.Tile(3, 5, **dict(algorithm=algorithm, device=far(2**-10), pulses=EXACT) | settings)


def test_stages_end_by_the_rule() -> None:
    """The first four at a loss above the one before; later ones at two rises among the last five; the last never."""
    rng, switches = np.random.default_rng(0), 0
    for n in (2, 3, 8):
        for _ in range(20):
            tile, stage = staged(n), 0
            losses: list[float] = []
            assert tile.stage == 0
            for _epoch in range(30):
                # mostly falling
                losses.append(float(rng.normal() - 0.4 * len(losses)))
                if stage < n - 1:
                    rises = [losses[k] > losses[k - 1] for k in range(1, len(losses))]
                    ends = (len(rises) > 0 and rises[-1]) if stage < 4 else rises[-5:].count(True) >= 2
                    stage += ends
                    switches += ends
                tile.end_epoch(losses)
                assert tile.stage == stage
    assert switches > 100


@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=named)
def test_without_stages_the_end_of_an_epoch_changes_nothing(algorithm: Algorithm) -> None:
    tile = og.Tile(3, 5, device=ROWS[1].noisy, algorithm=algorithm)
    before = state_of(tile)
    for losses in ([1.0], [1.0, 2.0], [1.0, 2.0, 3.0]):
        tile.end_epoch(losses)
    assert tile.stage == 0
    assert state_of(tile) == before


def test_a_stage_says_where_the_fast_array_hands_over_to() -> None:
    for stage, target in enumerate(("slow", "mid2", "mid1")):
        tile = staged(4)
        for _ in range(stage):
            tile.end_epoch([1.0, 2.0])
        assert tile.stage == stage
        tile.arrays["fast"].weights = eighths(3, 5)
        for _ in range(5):
            tile.update(np.zeros(5), np.zeros(3), 1.0)
        expected = {name: np.zeros((3, 5)) for name in tile.arrays} | {"fast": eighths(3, 5)}
        # the cascade begins at stage n - 1 = 3; at stage 2 its first transfer is the one there is
        expected[target] = 0.25 * eighths(3, 5)
        for name, values in matrices(tile).items():
            np.testing.assert_array_equal(values, expected[name], err_msg=f"{name} at stage {stage}")
    # pointers and arrays stay where they are at a new stage: the next line is the second
    tile = staged(3)
    tile.arrays["fast"].weights = np.ones((3, 5))
    tile.update(np.zeros(5), np.zeros(3), 1.0)
    tile.end_epoch([1.0, 2.0])
    tile.update(np.zeros(5), np.zeros(3), 1.0)
    assert [np.flatnonzero(tile.arrays[name].weights[0]).tolist() for name in ("slow", "mid1")] == [[0], [1]]


def test_a_stage_is_part_of_the_state() -> None:
    tile = staged(4, device=ROWS[1].noisy, io=og.IO.kit(), pulses=og.PulseTrain())
    train(tile)
    tile.end_epoch([1.0, 2.0])
    tile.end_epoch([1.0, 2.0])
    train(tile)
    assert tile.state_dict()["stage"].tolist() == [2]
    state, before = tile.state_dict(), state_of(tile)
    for here in range(4):
        # into a tile at any other stage, or at the same one
        other = staged(4, device=ROWS[1].noisy, io=og.IO.kit(), pulses=og.PulseTrain())
        for _ in range(here):
            other.end_epoch([1.0, 2.0])
        assert other.stage == here
        other.load_state_dict(state)
        assert other.stage == 2
        assert state_of(other) == before
        assert train(other, first=1) == train(copy.deepcopy(tile), first=1)
    for kind in COPIES.values():
        twin = kind(tile)
        assert twin.stage == 2
        twin.end_epoch([1.0, 2.0])
        assert (twin.stage, tile.stage) == (3, 2)
        tile_at_three = copy.deepcopy(tile)
        tile_at_three.end_epoch([1.0, 2.0])
        assert train(twin, first=2) == train(tile_at_three, first=2)


# A stage, and what else of the state is replaced.
WRONG_STAGES: dict[str, dict[str, Any]] = {
    "none": {"stage": None},
    "two": {"stage": np.array([1, 2], np.uint64)},
    "a number": {"stage": np.array(1, np.uint64)},
    "a matrix": {"stage": np.array([[1]], np.uint64)},
    "a fraction": {"stage": np.array([1.0])},
    "a word": {"stage": np.array(["1"])},
    "negative": {"stage": np.array([-1])},
    "a good one in a bad state": {"stage": np.array([2], np.uint64), "counters": np.zeros(3, np.uint64)},
}


@pytest.mark.parametrize("change", WRONG_STAGES.values(), ids=WRONG_STAGES)
def test_a_wrong_stage_is_refused_and_changes_nothing(change: dict[str, Any]) -> None:
    tile, twin = (staged(3, device=ROWS[1].noisy, io=og.IO.kit(), pulses=og.PulseTrain()) for _ in range(2))
    for each in (tile, twin):
        train(each)
        each.end_epoch([1.0, 2.0])
    before = state_of(tile)
    state = {name: value for name, value in (tile.state_dict() | change).items() if value is not None}
    with pytest.raises(ValueError, match=r"state\.(stage|counters)"):
        tile.load_state_dict(state)
    assert tile.stage == 1
    assert state_of(tile) == before
    assert train(tile, first=1) == train(twin, first=1)
    without = og.Tile(3, 5)
    with pytest.raises(ValueError, match=r"state\.stage is unknown"):
        without.load_state_dict(without.state_dict() | {"stage": np.array([1], np.uint64)})


def digits_network() -> Sequential:
    algorithm = og.MultiTileResidualLearning(fast_lr=1.0, scale_fast_lr=True, transfer_every=0.5, gamma=0.25)
    device = SoftBounds(dw_min=0.02, dw_min_std=0.3, dw_min_dtod=0.1)
    return Sequential(Linear(64, 10)).on(device, algorithm=algorithm, io=og.IO.kit(), seed=3)


class Switching:
    """An algorithm of one's own whose second stage has what its first one does not have."""

    def __init__(self, **change: Any) -> None:
        self.change = change

    def plan(self, tile: TileFacts) -> Plan:
        plan = og.TikiTaka(fast_lr=0.1).plan(tile)
        return replace(plan, **self.change) if tile.stage else plan

    def end_of_epoch(self, stage: int, losses: Sequence[float]) -> int:
        return len(losses)


TRANSFER = og.TikiTaka().plan(TileFacts(d_out=3, d_in=5)).transfers[0]
CHANGES: dict[str, dict[str, Any]] = {
    "another array": {"arrays": ("fast", "slow", "attic")},
    "arrays in another order": {"arrays": ("slow", "fast")},
    "another digital matrix": {"digital": ("hidden",)},
    "more transfers": {"transfers": (TRANSFER, TRANSFER)},
    "fewer transfers": {"transfers": ()},
    "a chopper": {"transfers": (replace(TRANSFER, chopper=Chopper(prob=0.5)),)},
    "too many reads": {"transfers": (replace(TRANSFER, reads=6),)},
    "a name that is none": {"weight": (Term("attic"),)},
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_stage_with_other_matrices_or_transfers_is_refused_and_changes_nothing(change: dict[str, Any]) -> None:
    settings: dict[str, Any] = dict(device=ROWS[1].noisy, io=og.IO.kit())
    # the same plan at a new stage is none that is refused
    tile, twin = (og.Tile(3, 5, algorithm=Switching(**one), **settings) for one in (change, {}))
    for each in (tile, twin):
        train(each)
    before = state_of(tile)
    with pytest.raises(ValueError, match="plan"):
        tile.end_epoch([1.0])
    assert tile.stage == 0
    assert state_of(tile) == before
    assert train(tile, first=1) == train(twin, first=1)
    twin.end_epoch([1.0])
    assert twin.stage == 1
    # what a step is made of may change: the fast array hands nothing over any more
    still = og.Tile(3, 5, algorithm=Switching(transfers=(replace(TRANSFER, steps=()),)), **settings)
    train(still)
    still.end_epoch([1.0])
    kept = still.arrays["slow"].weights
    for _ in range(5):
        still.update(np.ones(5), np.ones(3), 0.5)
    np.testing.assert_array_equal(still.arrays["slow"].weights, kept)


class Stages:
    """A callback that writes down at which stage every epoch goes on: the rule was asked before."""

    def __init__(self) -> None:
        self.seen: list[int] = []

    def on_epoch_end(self, epoch: int, history: og.History, model: Sequential) -> bool:
        self.seen.append(stage_of(model))
        return False


def stage_of(model: Sequential) -> int:
    stage = model[0].tile.stage  # type: ignore[attr-defined]
    assert isinstance(stage, int)
    return stage


def test_fit_goes_through_the_stages_and_a_resumed_run_has_the_same_bits(tmp_path: Path) -> None:
    data = og.data.digits()[0]
    train_set = og.data.arrays(data.x[:200], data.y[:200])

    def lr(epoch: int) -> float:
        # a rate far too high, twice: the loss rises
        return 20.0 if epoch in (2, 5) else 0.05

    def run(model: Sequential, **more: Any) -> og.History:
        return og.fit(model, train_set, epochs=7, batch_size=20, lr=lr, seed=1, **dict(loss=Counting()) | more)

    straight, stages = digits_network(), Stages()
    history = run(straight, callbacks=[stages])
    losses, algorithm = history["train_loss"], og.MultiTileResidualLearning()
    # stages are those of the rule, and all of them were seen
    expected = [0]
    for epoch in range(1, 8):
        expected.append(algorithm.end_of_epoch(expected[-1], losses[:epoch]))
    assert stages.seen == expected[1:]
    assert stage_of(straight) == expected[-1]
    assert sorted(set(expected)) == [0, 1, 2]
    batches = 10
    for epoch in range(7):
        # in the middle of every epoch, and between two of them
        for at in (batches * epoch + 4, batches * (epoch + 1)):
            path = tmp_path / f"run{at}"
            with pytest.raises(KeyboardInterrupt):
                run(digits_network(), loss=Counting(at), checkpoint=path)
            assert stage_of(og.load(path)) == expected[epoch + (at == batches * (epoch + 1))]
            if at != 7 * batches:
                resumed = digits_network()
                assert run(resumed, resume=path).to_dict() == history.to_dict()
                assert bits(resumed) == bits(straight)
