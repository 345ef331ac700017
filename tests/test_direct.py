"""Every algorithm against section 5 of the specification, written directly in `direct.py`: equal after every batch.

The oracle knows no plans; `reference.py`, the other specification, runs the plans as they are built. So it is what an
algorithm says in its plan that is tested here. Compared are all matrices of a tile, the weight that the network sees,
pulses up and down of every cell, references, and the choppers' signs. Pulses are deterministic, devices without noise,
reads exact.

Inputs are any float32: operations come in the order that the heads of the modules state. Where these leave it open, the
numbers are such that no order matters: bounds of soft cells are powers of two, so that `v / b` is `v * (1 / b)`.
"""

from __future__ import annotations

import inspect
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise
from types import ModuleType
from typing import Any

import direct
import numpy as np
import pytest
from direct import Device, Train
from numpy.typing import NDArray

import ohmgrad as og

Floats = NDArray[np.float32]

# Pulses with both managements, or few; without management one slot, as buffers write, or three; increments.
MANAGED, SHORT = Train(), Train(bl=3)
SINGLE, THREE = Train(bl=1, managed=False), Train(bl=3, managed=False)
SAMPLES = Train(pulse_type="analog_update")
BATCHES = Train(pulse_type="analog_update", increment="batch")
EXACT = Train(pulse_type="none_with_device")
# A line of 1 always fires at a rate of two steps, a line of 0 never.
TRAINS = Train(bl=2, managed=False, pulse_type="stochastic_compressed")


@dataclass(frozen=True, kw_only=True)
class Case:
    """An algorithm of the package and one of the oracle, with the same settings."""

    label: str
    algorithm: str
    settings: dict[str, Any]
    pulses: Train = MANAGED
    shape: tuple[int, int] = (5, 7)
    # sizes of the mini-batches and learning rates, again and again
    sizes: tuple[int, ...] = (3,)
    lr: tuple[float, ...] = (0.2, 0.1, 0.3)
    batches: int = 36
    # inputs and errors are -1, 0 and 1
    ternary: bool = False
    # vectors without inputs, and without errors
    blank_x: tuple[int, ...] = ()
    blank_d: tuple[int, ...] = ()
    # arrays that begin with weights of their own
    filled: tuple[str, ...] = ()
    # after which mini-batches the next stage begins
    stages: tuple[int, ...] = ()
    # what the oracle calls it, and what only the package is told
    oracle: str = ""
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def flips_by_chance(self) -> bool:
        return "chop_prob" in self.settings or (
            self.algorithm == "ChoppedTikiTakaV2" and self.settings.get("in_chop_random", True)
        )


CASES: dict[str, Case] = {}


def case(label: str, algorithm: str, settings: dict[str, Any] | None = None, **more: Any) -> None:
    """A row of the table: fields of `Case`, and settings of the algorithm."""
    given = (settings or {}) | more
    own = {name: given.pop(name) for name in list(given) if name in Case.__dataclass_fields__}
    CASES[label] = Case(label=label, algorithm=algorithm, settings=given, **own)


def for_package(value: Any) -> Any:
    """What the package calls a train, a device or a calibration of the oracle."""
    if isinstance(value, Train):
        return og.PulseTrain(
            pulse_type=value.pulse_type,  # type: ignore[arg-type]
            desired_bl=value.bl,
            update_management=value.managed,
            update_bl_management=value.managed,
            increment=value.increment,  # type: ignore[arg-type]
        )
    if isinstance(value, Device):
        model = og.devices.SoftBounds if value.soft else og.devices.ConstantStep
        return model(dw_min=value.dw_min, up_down=value.up_down, w_max=value.w_max, w_min=value.w_min)
    return value


def devices(soft: bool) -> dict[str, Device]:
    """Different ones for different arrays, most of them not symmetric."""
    return {
        "fast": Device(soft, dw_min=0.01, up_down=0.1, w_max=1.0, w_min=-0.5),
        "mid1": Device(soft, dw_min=0.02, up_down=-0.2, w_max=0.5, w_min=-1.0),
        "mid2": Device(soft, dw_min=0.015, w_max=1.0, w_min=-1.0),
        "slow": Device(soft, dw_min=0.005, up_down=-0.1, w_max=1.0, w_min=-1.0),
        "weight": Device(soft, dw_min=0.015, up_down=0.2, w_max=0.5, w_min=-1.0),
        "reference": Device(soft, dw_min=0.01, w_max=0.125, w_min=-0.0625),
    }


def vectors(case: Case) -> Iterator[tuple[Floats, Floats, float]]:
    """Mini-batches whose gradients have a mean of their own in every cell, so that buffers fill."""
    rng = np.random.default_rng(7)
    rows, columns = case.shape
    x_mean, d_mean = rng.uniform(-0.7, 0.7, columns), rng.uniform(-0.3, 0.3, rows)
    vector = 0
    for b in range(case.batches):
        m = case.sizes[b % len(case.sizes)]
        x, d = rng.normal(x_mean, 0.7, (m, columns)), rng.normal(d_mean, 0.2, (m, rows))
        if case.ternary:
            x, d = np.sign(np.rint(1.2 * x)), np.sign(np.rint(2.5 * d))
        for at in range(m):
            if vector + at in case.blank_x:
                x[at] = 0
            if vector + at in case.blank_d:
                d[at] = 0
        yield x.astype(np.float32), d.astype(np.float32), case.lr[b % len(case.lr)]
        vector += m


def weights(case: Case, shift: int = 0) -> Floats:
    """Multiples of 1/64 up to an eighth."""
    rows, columns = case.shape
    return (((np.arange(rows * columns) * 5 + shift) % 17 - 8).reshape(rows, columns) / 64).astype(np.float32)


def tile_of(case: Case, soft: bool) -> og.Tile:
    settings = {name: for_package(value) for name, value in (case.settings | case.extra).items()}
    if "zero_shift" in settings:
        cycles, average = settings["zero_shift"]
        settings["zero_shift"] = og.ZeroShift(cycles=cycles, average=average)
    algorithm = getattr(og, case.algorithm)(**settings)
    arrays = algorithm.plan(og.algorithms.TileFacts(d_out=case.shape[0], d_in=case.shape[1])).arrays
    tile = og.Tile(
        *case.shape,
        device={name: for_package(devices(soft)[name]) for name in arrays},
        algorithm=algorithm,
        pulses=for_package(case.pulses),
        count_pulses=True,
        seed=4,  # with more than a few flips of each chopper
    )
    tile.set_weights(weights(case))
    for shift, name in enumerate(case.filled):
        tile.arrays[name].weights = weights(case, shift + 1)
    return tile


def oracle_of(case: Case, soft: bool, module: ModuleType = direct) -> Any:
    settings: dict[str, Any] = dict(case.settings)
    if case.flips_by_chance:
        settings["flips"] = flips_of(case.label, soft)[0]
    if settings.get("out_chop_prob"):
        settings["cross_flips"] = flips_of(case.label, soft)[1]
    cells = {name: module.Device(*device) for name, device in devices(soft).items()}
    make = getattr(module, case.oracle or case.algorithm)
    oracle = make(shape=case.shape, devices=cells, pulses=case.pulses, **settings)
    # all but one are set to zero, and calibrated ones are not there any more
    start = {name: np.zeros(case.shape, np.float32) for name in oracle.arrays}
    start |= {name: weights(case, shift + 1) for shift, name in enumerate(case.filled)}
    for i, j in np.ndindex(case.shape):
        for name, w in start.items():
            oracle.arrays[name].set(i, j, w[i, j])
        oracle.set(i, j, weights(case)[i, j])
    return oracle


def signs(tile: og.Tile) -> tuple[NDArray[Any], NDArray[Any]]:
    """The chopper's signs, 1 where turned: of the lines that are read, and of those that cross them."""
    state = tile.state_dict()
    return state["chopper.line"], state["chopper.cross"]


@cache
def flips_of(label: str, soft: bool) -> tuple[list[set[int]], list[set[int]]]:
    """Which lines, and which crossing lines, the chopper flips in each event: data for the oracle.

    They are drawn from the seed alone, whatever is learned: a tile without gradients shows them, one vector after the
    other. That they are those of the tile under test is among what is compared.
    """
    case = CASES[label]
    tile = tile_of(case, soft)
    seen, events = [signs(tile)], 0
    for _ in range(case.batches * max(case.sizes)):
        tile.update(np.zeros((1, case.shape[1])), np.zeros((1, case.shape[0])), 1.0)
        before, events = events, int(tile.state_dict()["counters"][-2])
        assert events - before <= 1
        if events > before:
            seen.append(signs(tile))
    lines, crosses = ([set(np.flatnonzero(a[i] != b[i]).tolist()) for a, b in pairwise(seen)] for i in (0, 1))
    return lines, crosses


def compare(tile: og.Tile, oracle: Any, where: str) -> int:
    """Equality of all that both know; how many matrices that are."""
    arrays: dict[str, direct.Crossbar] = oracle.arrays
    expected = {name: array.matrix() for name, array in arrays.items()} | oracle.matrices
    assert set(tile.arrays) == set(expected)
    pairs = {name: (tile.arrays[name].weights, matrix) for name, matrix in expected.items()}
    for name, array in arrays.items():
        pairs[f"reference of {name}"] = (tile.arrays[name].parameters["reference"], array.reference)
        up, down = tile.arrays[name].pulse_counts
        pairs |= {f"pulses up of {name}": (up, array.up), f"pulses down of {name}": (down, array.down)}
    rows, columns = range(tile.d_out), range(tile.d_in)
    pairs["composite"] = (tile.weights, [[oracle.weight(i, j) for j in columns] for i in rows])
    if "chopper.line" in tile.state_dict():
        line, cross = signs(tile)
        turned = cross[:, None] ^ line if oracle.transfer_columns else line[:, None] ^ cross
        pairs["signs"] = (1.0 - 2.0 * turned, [[oracle.sign(i, j) for j in columns] for i in rows])
    for name, (seen, matrix) in pairs.items():
        expected_values = np.array(matrix)
        if not np.array_equal(seen, expected_values):
            np.testing.assert_array_equal(seen, expected_values, err_msg=f"{name}, {where}")
    return len(pairs)


@dataclass
class Report:
    """What happened in a run: matrices compared, and how many values of its own each matrix took on the way."""

    compared: int
    values: Counter[str]
    oracle: Any


def run(case: Case, soft: bool, module: ModuleType = direct) -> Report:
    """Both go through all mini-batches, and are compared after each."""
    tile, oracle = tile_of(case, soft), oracle_of(case, soft, module)
    compared = compare(tile, oracle, "at the start")
    seen = set()
    for b, (x, d, lr) in enumerate(vectors(case)):
        tile.update(x, d, lr)
        oracle.update([list(v) for v in x], [list(v) for v in d], lr)
        compared += compare(tile, oracle, f"mini-batch {b}")
        seen |= {(name, tile.arrays[name].weights.tobytes()) for name in tile.arrays}
        if "chopper.line" in tile.state_dict():
            seen |= {(name, sign.tobytes()) for name, sign in zip(("line", "cross"), signs(tile), strict=True)}
        if b in case.stages:
            tile.end_epoch([1.0, 2.0])
            oracle.stage += 1
    assert case.stages == () or tile.stage == len(case.stages)
    return Report(compared, Counter(name for name, _ in seen), oracle)


# ---- the cases

VECTORS: dict[str, Any] = dict(units_in_mbatch=False)
ROWS: dict[str, Any] = dict(transfer_columns=False)
FAST: dict[str, Any] = dict(fast_lr=0.05)

case("digital", "DigitalSGD")
case("digital, negative rates", "DigitalSGD", lr=(0.2, -0.1))
case("analog", "AnalogSGD")
case("analog, negative rates", "AnalogSGD", lr=(0.2, -0.1))
case("analog, unmanaged", "AnalogSGD", pulses=Train(bl=10, managed=False))
case("analog, more than fit", "AnalogSGD", pulses=SHORT, lr=(0.5, 0.1))
case("analog, at the bounds", "AnalogSGD", lr=(1.0,))
case("analog, samples", "AnalogSGD", pulses=SAMPLES)
case("analog, batches", "AnalogSGD", pulses=BATCHES)
case("analog, exact", "AnalogSGD", pulses=EXACT)
case("analog, calibrated", "AnalogSGD", zero_shift=(30, 4))

case("tt", "TikiTaka", FAST, gamma=0.4)
case("tt, rows", "TikiTaka", FAST | ROWS, gamma=0.4)
case("tt, several", "TikiTaka", FAST, n_reads_per_transfer=3)
case("tt, several rows", "TikiTaka", FAST | ROWS, n_reads_per_transfer=2)
case("tt, all", "TikiTaka", FAST, n_reads_per_transfer=0, gamma=1.0)
case("tt, all rows", "TikiTaka", FAST | ROWS, n_reads_per_transfer=0)
case("tt, every 2nd vector", "TikiTaka", FAST | VECTORS, transfer_every=2.0)
case("tt, every 2nd batch", "TikiTaka", FAST, transfer_every=2.0, n_reads_per_transfer=2)
case("tt, short batches", "TikiTaka", FAST, transfer_every=2.0, sizes=(3, 3, 1))
case("tt, half a batch", "TikiTaka", FAST, transfer_every=0.5)
case("tt, one and a half", "TikiTaka", FAST, transfer_every=1.5, sizes=(3, 3, 2, 1))
case("tt, rates", "TikiTaka", fast_lr=0.3, scale_fast_lr=True, transfer_lr=0.2, scale_transfer_lr=False)
case("tt, negative rates", "TikiTaka", FAST, lr=(0.2, -0.1))
case("tt, pulses", "TikiTaka", FAST, transfer_pulses=Train(bl=5, managed=False), transfer_lr=3.0)
case("tt, reset", "TikiTaka", FAST, with_reset_prob=1.0, transfer_lr=3.0)
case("tt, 3 levels", "TikiTaka", FAST | VECTORS, gamma=0.5, n_reads_per_transfer=5, transfer_lr_vec=(1.0, 2.0))
case(
    "tt, 3 levels of rows", "TikiTaka", FAST | ROWS, gamma_vec=(0.25, 0.5, 2.0), transfer_every_vec=(1.0, 1.5),
    transfer_lr=2.0,
)  # fmt: skip
case("rl", "ResidualLearning", FAST, pulses=SAMPLES)
case("rl, theory", "ResidualLearning", FAST, n_reads_per_transfer=0, pulses=BATCHES)
case("rl, exact", "ResidualLearning", FAST | VECTORS, pulses=EXACT)
case("rl, pulses", "ResidualLearning", FAST, n_reads_per_transfer=0)
case("rl, calibrated", "ResidualLearning", FAST, zero_shift=(40, 3), n_reads_per_transfer=2)

# variant B is an algorithm of its own in the oracle, variant C is the chopped one without flips
BUFFERED: dict[str, Any] = dict(oracle="BufferedTikiTaka")
WITHOUT: dict[str, Any] = dict(extra=dict(variant="chopped"))
case("ttv2", "TikiTakaV2", FAST | VECTORS, transfer_lr=0.5, **BUFFERED)
case(
    "ttv2, original", "TikiTakaV2", FAST | VECTORS, transfer_lr=0.5, momentum=0.0, forget_buffer=False, thres_scale=2.0,
    **BUFFERED,
)  # fmt: skip
case(
    "ttv2, mixed in", "TikiTakaV2", FAST, gamma=0.3, n_reads_per_transfer=3, transfer_lr=0.4, momentum=0.3,
    scale_transfer_lr=False, **BUFFERED,
)  # fmt: skip
case(
    "ttv2, 3 slots", "TikiTakaV2", FAST, transfer_lr=2.0, momentum=0.25, forget_buffer=False, transfer_pulses=THREE,
    n_reads_per_transfer=2, **BUFFERED,
)  # fmt: skip
case(
    "ttv2, managed rows", "TikiTakaV2", FAST | VECTORS | ROWS, transfer_every=2.0, transfer_pulses=SHORT, step=2.0,
    **BUFFERED,
)  # fmt: skip
case("ttv2, negative rates", "TikiTakaV2", FAST | VECTORS, transfer_lr=0.5, lr=(0.2, -0.1), **BUFFERED)
case("ttv2-c", "TikiTakaV2", FAST, auto_granularity=3.0, n_reads_per_transfer=2, **WITHOUT)
case(
    "ttv2-c, keep", "TikiTakaV2", FAST | VECTORS, transfer_lr=0.3, buffer_granularity=2.0, forget_buffer=False,
    momentum=0.0, gamma=0.2, **WITHOUT,
)  # fmt: skip
case("rlv2", "ResidualLearningV2", VECTORS, fast_lr=0.3, beta_h=0.2, transfer_pulses=SINGLE)
case("rlv2, rows", "ResidualLearningV2", ROWS, beta_w=0.8, n_reads_per_transfer=2, transfer_pulses=SHORT)
case("rlv2, threshold", "ResidualLearningV2", VECTORS, fast_lr=0.3, beta_h=0.3, mode="threshold")
case(
    "rlv2, granularity", "ResidualLearningV2", fast_lr=0.3, scale_fast_lr=False, mode="threshold", transfer_every=2.0,
    auto_granularity=5.0, n_reads_per_transfer=0, transfer_pulses=THREE,
)  # fmt: skip

RANDOM = FAST | dict(transfer_lr=0.3, in_chop_prob=0.3)
IN_TURN = FAST | dict(transfer_lr=0.3, in_chop_prob=0.4, in_chop_random=False)
CTT = "ChoppedTikiTakaV2"
case("chopped", CTT, IN_TURN)
case("chopped, rows", CTT, IN_TURN | ROWS, gamma=0.3)
case("chopped, mixed in", CTT, IN_TURN, gamma=0.3, shape=(7, 4))
case("chopped, random", CTT, RANDOM, gamma=0.3)
case("chopped, cross", CTT, RANDOM, out_chop_prob=0.4, gamma=0.3)
case(
    "chopped, cross alone", CTT, RANDOM | ROWS | dict(in_chop_prob=0.0), out_chop_prob=0.4, n_reads_per_transfer=3,
    gamma=0.3,
)  # fmt: skip
case("chopped, cross alone in turn", CTT, IN_TURN | dict(in_chop_prob=0.0), out_chop_prob=0.4, gamma=0.3)
case("chopped, cross and several", CTT, RANDOM, n_reads_per_transfer=3, transfer_every=2.0, out_chop_prob=0.2)
case("chopped, cross in turn", CTT, IN_TURN, out_chop_prob=0.5, gamma=0.3, shape=(6, 3))
case("chopped, batches", CTT, IN_TURN | dict(units_in_mbatch=True), n_reads_per_transfer=0)
case("chopped, half batches", CTT, IN_TURN | dict(units_in_mbatch=True), transfer_every=0.5)
case("chopped, keep", CTT, IN_TURN, forget_buffer=False, momentum=0.25, transfer_pulses=THREE)
case("chopped, momentum", CTT, IN_TURN, momentum=0.5, step=0.5, transfer_pulses=SHORT)
case("chopped, no buffer", CTT, IN_TURN | dict(transfer_lr=3.0), no_buffer=True)
case("chopped, granularity", CTT, IN_TURN, auto_granularity=5.0, transfer_every=2.0)
case("chopped, automatic", CTT, IN_TURN, transfer_every=-0.17, auto_granularity=1.0, n_reads_per_transfer=2)
case("chopped, automatic rows", CTT, IN_TURN | ROWS, transfer_every=-0.1)
case("chopped, automatic, always", CTT, IN_TURN, transfer_every=-0.01)
case("chopped, every 2nd pass", CTT, IN_TURN | dict(in_chop_prob=1.0))
case("chopped, auto scale", CTT, IN_TURN | dict(fast_lr=0.2), auto_scale=True, auto_momentum=0.7)
case(
    "chopped, magnitudes", CTT, IN_TURN | dict(fast_lr=0.2, transfer_lr=0.02), auto_scale=True, auto_momentum=0.5,
    correct_gradient_magnitudes=True, blank_x=(0, 2, 20), blank_d=(5, 21), filled=("fast",),
)  # fmt: skip
case(
    "chopped, magnitudes, no errors", CTT, IN_TURN | ROWS | dict(fast_lr=0.2, transfer_lr=0.02), auto_scale=True,
    correct_gradient_magnitudes=True, blank_d=(0, 1), filled=("fast",),
)  # fmt: skip
case(
    "chopped, plain magnitudes", CTT, IN_TURN | dict(fast_lr=0.3, transfer_lr=0.05), scale_fast_lr=True,
    correct_gradient_magnitudes=True, buffer_granularity=1.5, scale_transfer_lr=False, lr=(0.2, 0.0, 0.3),
)  # fmt: skip
case("chopped, increments", CTT, IN_TURN, gamma=0.1, pulses=SAMPLES)

DYNAMIC = dict(fast_lr=0.2, in_chop_prob=0.4, tail_weightening=2.0, transfer_lr=0.3)
case("agad", "AGAD", DYNAMIC)
case("agad, negative rates", "AGAD", DYNAMIC, lr=(0.2, -0.1))
case("agad, rows", "AGAD", DYNAMIC | ROWS, gamma=0.2)
case(
    "agad, keep", "AGAD", DYNAMIC, forget_buffer=False, momentum=0.25, buffer_cap=2.0, transfer_pulses=THREE,
    n_reads_per_transfer=3,
)  # fmt: skip
case(
    "agad, capped", "AGAD", DYNAMIC | dict(transfer_lr=2.0), forget_buffer=False, buffer_cap=0.5, transfer_pulses=SHORT,
    n_reads_per_transfer=2,
)  # fmt: skip
case("agad, kept as it is", "AGAD", DYNAMIC, forget_buffer=False, transfer_pulses=SHORT)
case(
    "agad, cross", "AGAD", DYNAMIC | dict(fast_lr=1.0), gamma=0.2, out_chop_prob=0.3, scale_fast_lr=True,
    n_reads_per_transfer=2, shape=(6, 4),
)  # fmt: skip
case(
    "agad, magnitudes", "AGAD", DYNAMIC | dict(in_chop_prob=0.3, transfer_lr=0.02), n_reads_per_transfer=4,
    correct_gradient_magnitudes=True,
)  # fmt: skip

TILES: dict[str, Any] = FAST | dict(transfer_every=1.0, transfer_every_factor=3.0, transfer_lr=0.5)
case("tiles", "MultiTileResidualLearning", TILES, warm_start=False)
case(
    "tiles, vectors", "MultiTileResidualLearning", TILES | VECTORS, transfer_lr_factor=2.0, warm_start=False,
    n_reads_per_transfer=2, pulses=SAMPLES,
)  # fmt: skip
case("tiles, two", "MultiTileResidualLearning", TILES, n_arrays=2)
case("tiles, four", "MultiTileResidualLearning", TILES, n_arrays=4, n_reads_per_transfer=0, stages=(7, 15, 23))
case("tiles, warm start", "MultiTileResidualLearning", TILES, n_reads_per_transfer=2, stages=(13, 18))

MIXED: dict[str, Any] = dict(transfer_pulses=MANAGED)
case("mp", "MixedPrecision", MIXED)
case("mp, period", "MixedPrecision", MIXED, transfer_every=2.0, transfer_lr=0.9)
case("mp, rows", "MixedPrecision", MIXED, n_rows_per_transfer=2, granularity=0.02)
case("mp, columns", "MixedPrecision", MIXED, n_rows_per_transfer=3, transfer_columns=True)
case("mp, half", "MixedPrecision", transfer_every=0.5, transfer_pulses=SHORT)
case(
    "mp, bins",
    "MixedPrecision",
    MIXED,
    n_x_bins=6,
    n_d_bins=8,
    stoc_round_x=False,
    stoc_round_d=False,
    blank_x=(4,),
    blank_d=(7,),
)

RIDER: dict[str, Any] = dict(fast_lr=0.1, chop_prob=0.2, eta=0.1)
case("erider", "ERIDER", RIDER, pulses=BATCHES)
case("erider, vectors", "ERIDER", RIDER | VECTORS, pulses=SAMPLES)
case("erider, pulses", "ERIDER", RIDER, transfer_lr=1.0, scale_transfer_lr=True, transfer_pulses=MANAGED)
case("erider, lines", "ERIDER", RIDER | VECTORS | ROWS, n_reads_per_transfer=2, transfer_every=2.0)

# trains of chance, where nothing is left to chance: the gradient does not wait for these reads
NOTED: dict[str, Any] = VECTORS | dict(fast_lr=0.02, pulses=TRAINS, ternary=True)
case("tt, trains", "TikiTaka", NOTED, gamma=0.4, transfer_pulses=MANAGED)
case("tt, trains of rows", "TikiTaka", NOTED | ROWS, n_reads_per_transfer=2, transfer_pulses=MANAGED)
case("tt, trains, half", "TikiTaka", NOTED | dict(units_in_mbatch=True, transfer_every=0.5), transfer_pulses=MANAGED)
case("ttv2, trains", "TikiTakaV2", NOTED, transfer_lr=0.5, n_reads_per_transfer=2, **BUFFERED)
case("rlv2, trains", "ResidualLearningV2", NOTED, scale_fast_lr=False, transfer_pulses=SINGLE)
case("chopped, trains", CTT, RANDOM | NOTED, out_chop_prob=0.3, n_reads_per_transfer=2, gamma=0.3)
case("agad, trains", "AGAD", DYNAMIC | NOTED, auto_scale=False, n_reads_per_transfer=2, transfer_every=2.0)
case("erider, trains", "ERIDER", RIDER | NOTED)

RUNS = [
    pytest.param(case, soft, id=f"{case.label}-{'soft' if soft else 'constant'}")
    for case in CASES.values()
    for soft in (False, True)
    # constant steps have no symmetric point
    if soft or "zero_shift" not in case.settings
]


@pytest.mark.parametrize(("case", "soft"), RUNS)
def test_every_algorithm_does_what_the_specification_says(case: Case, soft: bool) -> None:
    report = run(case, soft)
    # and it did something: every matrix moved on, pulses went both ways, signs turned
    names = [*report.oracle.arrays, *report.oracle.matrices]
    assert min(report.values[name] for name in names) >= 8
    for name, array in report.oracle.arrays.items():
        # a reference is programmed, the second of three arrays between comes with the cascade
        least = {"reference": 0, "mid2": 5}.get(name, 10)
        assert min(int(np.sum(array.up)), int(np.sum(array.down))) >= least
    turning = case.settings.get("in_chop_prob", case.settings.get("chop_prob", 0.0)) > 0
    assert (report.values["line"] > 1) == turning
    assert (report.values["cross"] > 1) == (case.settings.get("out_chop_prob", 0.0) > 0)
    assert report.compared >= 2 * (case.batches + 1)


@pytest.mark.parametrize("name", ["fast", "slow"])
def test_a_calibration_in_between(name: str) -> None:
    case = CASES["tt, several"]
    tile, oracle = tile_of(case, True), oracle_of(case, True)
    for b, (x, d, lr) in enumerate(vectors(case)):
        if b in (10, 20):
            tile.arrays[name].zero_shift(og.ZeroShift(cycles=25, average=b // 5))
            oracle.arrays[name].zero_shift(25, b // 5)
            assert tile.arrays[name].parameters["reference"].all()
        tile.update(x, d, lr)
        oracle.update([list(v) for v in x], [list(v) for v in d], lr)
        compare(tile, oracle, f"mini-batch {b}")


@pytest.mark.parametrize("seed", range(5))
def test_stages_end_at_a_plateau(seed: int) -> None:
    tile = og.Tile(1, 2, algorithm=og.MultiTileResidualLearning(n_arrays=9))
    rng = np.random.default_rng(seed)
    losses: list[float] = []
    stages = [0]
    for _ in range(60):
        losses.append(float(rng.normal(-0.1 * len(losses), 0.2)))
        tile.end_epoch(losses)
        stages.append(stages[-1] + (stages[-1] < 8 and direct.plateau(stages[-1], losses)))
        assert tile.stage == stages[-1]
    assert set(stages) == set(range(9))


def test_the_oracle_stands_alone() -> None:
    lines = inspect.getsource(direct).splitlines()
    modules = {line.split()[1] for line in lines if line.lstrip().startswith(("import ", "from "))}
    assert modules == {"collections.abc", "dataclasses", "itertools", "math", "typing", "numpy"}


# ---- negative controls: an oracle with a mistake is not equal

Change = tuple[str, str]

LATCH = "            self.line[k] = -self.line[k]\n            self.latch(k)\n"
READ = "        n: Row = []\n        for i, j in self.lines.cells(k):\n            v = self.fast.read(i, j)\n"
FIRST = "                self.fast.update([x[b]], [d[b]], rho, self.pulses, self.sign)\n"
MISTAKES: list[tuple[str, str, list[Change]]] = []


def mistake(what: str, label: str, *texts: str) -> None:
    """A row of the table: the case that shows it; text of the oracle, what stands there instead, and so on."""
    MISTAKES.append((what, label, list(zip(texts[::2], texts[1::2], strict=True))))


# pulses and cells
mistake("probabilities rounded down", "analog", "n = round(bl * p_x[j] * p_d[i])", "n = int(bl * p_x[j] * p_d[i])")
mistake("the sides not balanced", "analog", "a * sqrt(x_max / balanced), b * sqrt(balanced / x_max)", "a, b")
mistake("errors not clipped", "analog, more than fit", "d_max * train.bl / k if k > train.bl else d_max", "d_max")
mistake("a negative rate turns nothing", "analog, negative rates", "down == (rate < 0)", "not down")
mistake("asymmetry of both steps", "analog", "ONE + F(min(device.up_down, 0.0))", "ONE + F(device.up_down)")
mistake("no bounds", "analog, at the bounds", "clip(v, F(self.device.w_min), F(self.device.w_max))", "v")
mistake("the upper bound for both", "analog", "self.device.w_max if up else self.device.w_min", "self.device.w_max")
mistake("increments one by one", "analog, batches", 'train.increment == "batch"', "False")
mistake("no response", "analog, samples", "if analog else ONE", "if False else ONE")
mistake(
    "down first",
    "analog, calibrated",
    "self.pulse(i, j, True)\n                self.pulse(i, j, False)",
    "self.pulse(i, j, False)\n                self.pulse(i, j, True)",
)
mistake("one read for the mean", "analog, calibrated", "cycle >= cycles - average", "cycle >= cycles - 1")
mistake(
    "reads without the reference", "rl, calibrated", "return self.v[i][j] - self.reference[i][j]", "return self.v[i][j]"
)
# transfers
mistake(
    "the transfer before the gradient",
    "tt",
    FIRST,
    "                pass\n",
    "            self.after_vector(len(x), last, rho, lr)\n",
    "            self.after_vector(len(x), last, rho, lr)\n" + FIRST[4:],
)
mistake("writes with the other sign", "tt", "minus = [-each for each in v]", "minus = v")
mistake("the line stays", "tt", "self.next = (line + 1) % self.count", "self.next = line")
mistake("one vector late", "tt, every 2nd vector", "self.vectors % self.period == 0", "self.vectors % self.period == 1")
mistake(
    "time counted in vectors of all batches",
    "tt, short batches",
    "return last and self.batches % self.period == 0",
    "return self.vectors % (self.period * m) == 0",
)
mistake(
    "a part of a batch rounded down",
    "tt, half a batch",
    "self.since < ceil(self.period * m)",
    "self.since < int(self.period * m)",
)
mistake(
    "the counter of parts goes on",
    "tt, one and a half",
    "        self.since = 0\n",
    "        self.since -= self.period * m\n",
)
mistake("the rate not scaled", "tt", "rate = self.rates[level] * abs(lr) if", "rate = self.rates[level] if")
mistake("a fixed rate scaled", "tt, rates", "if self.scale_transfer_lr else self.rates[level]", "if True else 0.0")
mistake(
    "reset before the read",
    "tt, reset",
    "v = [source.read(i, j) for i, j in lines.cells(k)]",
    "v = [ZERO for _ in lines.cells(k)]",
)
mistake("shares the other way round", "tt, 3 levels", "self.gamma ** (given - 1 - i)", "self.gamma**i")
mistake("every level as often", "tt, 3 levels", "(self.lines.count / self.reads) ** i", "1")
mistake(
    "all levels read the fast array", "tt, 3 levels", "source, lines = self.levels[level]", "source, lines = self.fast"
)
mistake("weights not divided by their share", "tt, 3 levels of rows", "w / F(self.shares[-1])", "w")
mistake(
    "the slowest array last",
    "tiles, warm start",
    "self.levels[self.n_arrays - 1 - self.stage]",
    "self.levels[1 + self.stage]",
)
mistake("waiting transfers start anew", "tiles, warm start", "self.pointers[level].take()\n", "pass\n")
# buffers
mistake(
    "the buffer not scaled by the share", "ttv2, mixed in", "self.transfer_lr * (self.gamma or 1.0)", "self.transfer_lr"
)
mistake(
    "the threshold not consumed", "ttv2", "h = F(self.momentum) * h if self.forget_buffer else", "h = h if True else"
)
mistake("all of a pulse taken off", "ttv2, 3 slots", "(ONE - F(self.momentum)) * n[-1] * theta", "n[-1] * theta")
mistake(
    "one pulse at most",
    "ttv2, 3 slots",
    "theta, cap = F(self.thres_scale * g), F(self.train.bl)",
    "theta, cap = F(self.thres_scale * g), ONE",
)
mistake(
    "the threshold of the fast array",
    "ttv2",
    "        g = self.slow.device.dw_min\n        theta",
    "        g = self.fast.device.dw_min\n        theta",
)
mistake("an integrator for the low-pass", "rlv2", "F(1 - self.beta_h) * self.hidden", "self.hidden")
mistake("a dead band on one side", "rlv2", "if abs(h) > F(g)", "if h > F(g)")
mistake("no dead band", "rlv2, rows", "if abs(h) > F(g)", "if True")
mistake(
    "the other granularity",
    "rlv2, granularity",
    "bg *= self.auto_granularity / (self.lines.count * self.transfer_every)",
    "pass",
)
# choppers
mistake("signs do not reach the gradient", "chopped", FIRST, FIRST.replace(", self.sign)", ")"))
mistake("signs do not reach the buffer", "chopped", "        return v * self.sign(i, j)", "        return v")
mistake(
    "signs do not reach the weight",
    "chopped, mixed in",
    "self.fast.read(i, j) * self.sign(i, j) + self.slow",
    "self.fast.read(i, j) + self.slow",
)
mistake(
    "no sign of crossing lines", "chopped, cross", "return self.cross[i] * self.line[j] if", "return self.line[j] if"
)
mistake(
    "the flip before the read",
    "chopped",
    LATCH,
    "            self.latch(k)\n",
    READ,
    "        if self.flips_now(k, full_passes):\n            self.line[k] = -self.line[k]\n" + READ,
)
mistake("the flip in the first pass", "chopped", "== self.n_s - 1", "== 0")
mistake("a flip in every pass", "chopped, momentum", "full_passes % self.n_s == self.n_s - 1", "True")
mistake("crossing lines flip with the first line", "chopped, cross", "k == self.lines.count - 1 and", "k == 0 and")
mistake(
    "what is written stays in the buffer",
    "chopped",
    "return n, F(self.momentum) * h if self.forget_buffer else",
    "return n, h if True else",
)
mistake("one pulse taken off", "chopped, keep", "h - (ONE - F(self.momentum)) * n)", "h - n)")
mistake("the buffer is kept", "chopped, no buffer", "ZERO if self.no_buffer else", "ZERO if False else")
mistake(
    "the period that was found",
    "chopped, automatic",
    "self.lines.count * abs(self.transfer_every)",
    "self.lines.count * self.clock.period",
)
mistake(
    "lines are columns in any case",
    "chopped, automatic rows",
    "n_states / self.lines.count",
    "n_states / self.shape[1]",
)
mistake(
    "the mean of maxima per vector",
    "chopped, auto scale",
    "F((1 - self.auto_momentum) / m)",
    "F(1 - self.auto_momentum)",
)
mistake("maxima of the vector itself", "chopped, auto scale", "(ONE - share) * mean + share * v", "v")
mistake("zeros count", "chopped, magnitudes", "return mean if v == 0 else", "return")
mistake(
    "no rate without a maximum",
    "chopped, magnitudes",
    "if self.mu_x > 0 and self.mu_d > 0 else rho",
    "if self.mu_x > 0 and self.mu_d > 0 else 0.0",
)
mistake("not over the rate", "chopped, magnitudes", "s = s / abs(rho) if", "s = s if")
mistake("a rate with the sign of the gradient", "agad, negative rates", "s = s * abs(lr) if", "s = s * lr if")
mistake(
    "a fixed rate never turned", "ttv2, negative rates", "-self.fast_lr if lr < 0 else self.fast_lr", "self.fast_lr"
)
mistake(
    "the granularity of the fast array",
    "chopped, magnitudes",
    "(self.slow.device.dw_min if self.correct_gradient_magnitudes else self.g)",
    "self.g",
)
# dynamic references
mistake("the sign of the mean", "agad", "+ F(self.m_s) * v", "- F(self.m_s) * v")
mistake("a mean of signed reads", "agad", "+ F(self.m_s) * v", "+ F(self.m_s) * v * self.sign(i, j)")
mistake(
    "the mean begins anew at a flip",
    "agad",
    "self.reference[i][j] = self.mean[i][j]\n",
    "self.reference[i][j] = self.mean[i][j]\n            self.mean[i][j] = ZERO\n",
)
mistake(
    "latched one read late",
    "agad",
    LATCH,
    "            self.line[k] = -self.line[k]\n"
    "        if full_passes and self.flips_now(k, full_passes - 1):\n            self.latch(k)\n",
)
mistake(
    "latched before the read",
    "agad",
    LATCH,
    "            self.line[k] = -self.line[k]\n",
    READ,
    "        if self.flips_now(k, full_passes):\n            self.latch(k)\n" + READ,
)
mistake("writes from pass n_s on", "agad", "return full_passes > self.n_s", "return full_passes >= self.n_s")
mistake("no cap", "agad, capped", "return clip(h, -cap, cap) if cap else h", "return h")
mistake("the tail", "agad", "min(self.tail_weightening / self.n_s, 1.0)", "min(1.0 / self.n_s, 1.0)")
# mixed precision and E-RIDER
mistake("the remainder is lost", "mp", "self.chi[i][j] = self.chi[i][j] - n[-1] * F(eps)", "self.chi[i][j] = ZERO")
mistake("the device's step", "mp, rows", "eps = self.granularity or", "eps =")
mistake("bins half as wide", "mp, bins", "F(bins / 2)", "F(bins)")
mistake(
    "the reference from the array itself",
    "erider",
    "self.reference.set(i, j, self.mean[i][j])",
    "self.reference.set(i, j, self.fast.read(i, j))",
)
mistake(
    "the running mean as reference",
    "erider",
    "self.c * (p - self.reference.read(i, j))",
    "self.c * (p - self.mean[i][j])",
)
mistake(
    "no sign in the write",
    "erider, vectors",
    "self.c * (p - self.reference.read(i, j))",
    "p - self.reference.read(i, j)",
)
mistake("the reference beyond its bounds", "erider", "self._store(i, j, w + self.reference[i][j])", "self.v[i][j] = w")
mistake(
    "the reference at every step",
    "erider, lines",
    "        if self.flips[self.events]:\n            self.c = -self.c\n",
    "        self.c = -self.c if self.flips[self.events] else self.c\n        if True:\n",
)


def with_mistake(changes: list[Change]) -> ModuleType:
    """The oracle with other lines."""
    source = inspect.getsource(direct)
    for old, new in changes:
        assert source.count(old) == 1, f"{source.count(old)} times in the oracle: {old}"
        source = source.replace(old, new)
    module = ModuleType("mistaken")
    # dataclasses look their module up
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, module.__name__, module)
        exec(source, module.__dict__)
    return module


@pytest.mark.parametrize(("what", "label", "changes"), MISTAKES, ids=[what for what, *_ in MISTAKES])
def test_negative_control(what: str, label: str, changes: list[Change]) -> None:
    with pytest.raises(AssertionError, match=r"mini-batch|at the start"):
        run_on_both(CASES[label], with_mistake(changes))


def run_on_both(case: Case, module: ModuleType) -> None:
    """On soft bounds and on constant steps."""
    run(case, True, module)
    run(case, False, module)


def test_without_a_mistake_the_copy_is_equal() -> None:
    assert run(CASES["agad"], True, with_mistake([])).compared > 400
