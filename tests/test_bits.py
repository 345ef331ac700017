"""The core against `reference.py`, bit for bit: every device, every pulse type, every periphery, every plan."""

import hashlib
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import reference
from numpy.typing import NDArray
from tables import DEVICES

from ohmgrad import _core

Floats = NDArray[np.float32]
Both = tuple[_core.Tile, reference.Tile]
Arguments = tuple[int, int, dict[str, Any], Any, Any, Any, Any, tuple[int, int], str]

SEEDS = (2**64 - 3, 11)
STOCHASTIC: dict[str, Any] = {
    "pulse_type": "stochastic_compressed",
    "desired_bl": 31,
    "update_management": True,
    "update_bl_management": True,
}
UNMANAGED = {**STOCHASTIC, "update_management": False, "update_bl_management": False}
LR = {"value": 1.0, "scaled": True}
ANALOG: dict[str, Any] = {
    "arrays": ["weight"],
    "digital": [],
    "weight": [{"matrix": "weight", "factor": 1.0}],
    "gradient": {"target": "weight", "rate": LR},
    "transfers": [],
}
DIGITAL = {**ANALOG, "arrays": [], "digital": ["weight"]}
SOFT = DEVICES["SoftBounds"]
SHAPE = (5, 33)


def bits(a: NDArray[Any]) -> NDArray[np.uint32]:
    """The bits of float32 values, and nothing else than float32."""
    assert a.dtype == np.float32
    return np.ascontiguousarray(a).view(np.uint32)


def assert_same(core: NDArray[Any], spec: NDArray[Any], what: str) -> None:
    different = bits(core) != bits(spec)
    assert core.shape == spec.shape, what
    at = tuple(int(i[0]) for i in np.nonzero(different)) if different.any() else ()
    assert not different.any(), f"{what}: {different.sum()} differ, first at {at}: {core[at]!r}, expected {spec[at]!r}"


def both(shape: tuple[int, int] = SHAPE, device: Any = SOFT, plan: Any = ANALOG, **settings: Any) -> Both:
    """A tile of the core and one of the reference, with the same settings and weights.

    `device` is the device of all arrays, `devices` (one after the other) of each.
    """
    arguments = arguments_of(shape, device, plan, settings)
    tiles = _core.Tile(*arguments, settings.get("count_pulses", False)), reference.Tile(*arguments)
    w = numbers(0, shape) * np.float32(0.3)
    for tile in tiles:
        tile.set_weights(w)
    return tiles


def core_alone(shape: tuple[int, int] = SHAPE, device: Any = SOFT, plan: Any = ANALOG, **settings: Any) -> _core.Tile:
    """The first of :func:`both`."""
    tile = _core.Tile(*arguments_of(shape, device, plan, settings), settings.get("count_pulses", False))
    tile.set_weights(numbers(0, shape) * np.float32(0.3))
    return tile


def arguments_of(shape: tuple[int, int], device: Any, plan: Any, settings: dict[str, Any]) -> Arguments:
    devices = dict(zip(plan["arrays"], settings.get("devices", [device] * len(plan["arrays"])), strict=False))
    forward, backward = settings.get("forward", {}), settings.get("backward", {})
    pulses, path = settings.get("pulses", STOCHASTIC), settings.get("path", "fc1")
    return (*shape, devices, plan, forward, backward, pulses, SEEDS, path)


def numbers(seed: int, shape: tuple[int, ...]) -> Floats:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def vectors(seed: int, m: int, shape: tuple[int, int]) -> tuple[Floats, Floats]:
    """Inputs with some silent lines, errors with a silent row here and there."""
    x, d = numbers(2 * seed + 1, (m, shape[1])), numbers(2 * seed + 2, (m, shape[0])) * np.float32(0.3)
    return np.where(np.abs(x) < 0.3, np.float32(0), x), np.where(np.abs(d) < 0.02, np.float32(0), d)


def train(tiles: Both, calls: int = 2, m: int = 3, lr: float = 0.05) -> None:
    """Updates both tiles in the same way."""
    core, spec = tiles
    for call in range(calls):
        x, d = vectors(call, m, (spec.d_out, spec.d_in))
        core.update(x, d, lr)
        spec.update(x, d, lr)


def assert_same_state(tiles: Both) -> None:
    """Everything that is stored is the same: values, parameters, counters."""
    core, spec = tiles
    state = core.state()
    for name, array in spec.arrays.items():
        for index, part in enumerate(array.parts):
            prefix = name if array.factors == [1.0] else f"{name}.{index}"
            parts = {"values": part.values}
            if part.write_noise > 0:
                parts["apparent"] = part.apparent
            if part.drift_time is not None:
                parts |= {"drift_start": part.drift_start, "drift_last": part.drift_last, "drift_time": part.drift_time}
            for what, values in parts.items():
                assert_same(state.pop(f"{prefix}.{what}").reshape(values.shape), values, f"{what} of {prefix}")
            for what in ("up", "down"):
                counts = state.pop(f"{prefix}.pulses_{what}", None)
                assert counts is None or counts.tolist() == part.counts[what].ravel().tolist()
        assert_same(core.matrix(name), spec.matrix(name), f"seen values of {name}")
        assert_same(core.hidden(name), array.hidden(), f"persistent values of {name}")
        for parameter in core.parameters(name):
            assert_same(core.parameter(name, parameter), spec.parameter(name, parameter), f"{name}.{parameter}")
            state.pop(f"{name}.{parameter}")
    for name in spec.digital:
        assert_same(state.pop(f"{name}.values").reshape(core.weights().shape), spec.matrix(name), name)
    owner = next((transfer for transfer in spec.transfers if transfer.chopper is not None), None)
    for name, signs in zip(("line", "cross"), spec.signs(owner) if owner else (), strict=False):
        assert state.pop(f"chopper.{name}").tolist() == (signs < 0).tolist()
    if spec.plan["gradient"]["auto_scale"] is not None:
        for name, largest in zip("xd", spec.largest, strict=True):
            assert_same(state.pop(f"gradient.max_abs_{name}"), np.full(1, largest), f"largest {name}")
    counters = [spec.vectors, spec.batches, *spec.products.values(), spec.batch_ends, spec.operations]
    for transfer in spec.transfers:
        counters += [transfer.pointer, transfer.events, transfer.since]
    assert state.pop("counters").tolist() == counters
    for name, side in (("forward", spec.forward_side), ("backward", spec.backward_side)):
        if side.io["noise_management"] == "average_abs_max":
            assert_same(state.pop(f"{name}.average_abs_max"), np.full(1, side.running), f"mean, {name}")
    assert state == {}
    assert_same(core.weights(), spec.weights(), "weights")


def assert_moved(tiles: Both, fresh: Both) -> None:
    """Guards against a test in which nothing happens."""
    assert (tiles[0].weights() != fresh[0].weights()).mean() > 0.2


# ---- streams and functions

COUNTERS = np.array([0, 1, 2, 3, 31, 32, 1000, 2**16 + 1, 2**31 - 1, 2**31, 2**32 - 2, 2**32 - 1], np.uint32)


@pytest.mark.parametrize("key", [[], [0], [1, 2**64 - 1, 7], [5, 0, 0, 123456789]], ids=str)
def test_words_and_normals(key: list[int]) -> None:
    i, n = (grid.ravel() for grid in np.meshgrid(COUNTERS, np.concatenate([COUNTERS, np.arange(64, dtype=np.uint32)])))
    stream = reference.child(0, *key)
    np.testing.assert_array_equal(_core.words(key, i, n), reference.words(stream, i, n))
    assert_same(_core.normals(key, i, n), reference.normals(stream, i, n), "normals")


def counters(words: Any) -> Any:
    """The counters `i` of these words under key 0 and `n` = 0: every step of the hash can be undone."""

    def shifted_back(h: Any, by: int) -> Any:
        return h ^ (h >> np.uint32(by)) ^ ((h >> np.uint32(by)) >> np.uint32(by))

    h = shifted_back(words, 16)
    for multiplier, by in ((0x2C1B3C6D, 15), (0xD35A2D97, 15), (0x21F0AAAD, 16)):
        h = shifted_back(h * np.uint32(pow(multiplier, -1, 2**32)), by)
    return h * np.uint32(pow(0x9E3779B9, -1, 2**32))


def test_normals_of_every_octave() -> None:
    """The first, some middle and the last word of each octave of the probability, of both signs."""
    places = [(1 << octave) + ((1 << octave) - 1) * part // 8 for octave in range(31) for part in range(9)]
    words = np.array([*places, *(place | 1 << 31 for place in places), 0, 1 << 31], np.uint32)
    i, n = counters(words), np.zeros(len(words), np.uint32)
    np.testing.assert_array_equal(_core.words([], i, n), words)
    z = reference.normal(words)
    assert_same(_core.normals([], i, n), z, "normals")
    assert np.abs(z).max() == z[0] < 6.2304


RANGES: dict[str, tuple[Callable[..., Floats], float, float]] = {
    "exp": (reference.exp, -120.0, 100.0),
    "expm1": (reference.expm1, -120.0, 100.0),
    "sin": (reference.sine, -8000.0, 8000.0),
    "cos": (reference.cosine, -8000.0, 8000.0),
    "tanh": (reference.hyperbolic_tangent, -12.0, 12.0),
    "sigmoid": (reference.sigmoid, -100.0, 100.0),
}


@pytest.mark.parametrize("name", RANGES)
def test_functions(name: str) -> None:
    function, low, high = RANGES[name]
    rng = np.random.default_rng(3)
    x = np.concatenate([rng.uniform(low, high, 5000), rng.standard_normal(5000), [0.0, 1e-30, -1e-30, low, high]])
    x = x.astype(np.float32)
    assert_same(_core.functions(name, x), function(x), name)


def test_logarithm_and_power() -> None:
    rng = np.random.default_rng(4)
    x = np.concatenate([10 ** rng.uniform(-37, 37, 5000), rng.uniform(0.5, 2, 5000), [0.0, 1.0, 2.0**-149]])
    x = x.astype(np.float32)
    assert_same(_core.functions("ln", x), reference.ln(x), "ln")
    y = rng.uniform(0, 4, len(x)).astype(np.float32)
    assert_same(_core.functions("pow", np.stack([x, y])), reference.power(x, y), "pow")


# ---- devices

VARIANTS: dict[str, dict[str, Any]] = {
    "as in the table": {},
    "no spread": {
        name: 0.0
        for name in (
            "dw_min_dtod",
            "up_down",
            "up_down_dtod",
            "w_max_dtod",
            "w_min_dtod",
            "reference_mean",
            "reference_std",
        )
    },
    "log-normal steps": {"dw_min_dtod_log_normal": True, "up_down": -0.3},
    "relative noise": {"mult_noise": True},
    "additive noise": {"mult_noise": False},
    "no noise": {"dw_min_std": 0.0},
    "steps of either sign": {"dw_min_dtod": 1.0, "dw_min_std": 5.0},
    "crossed bounds, repaired": {"w_max_dtod": 2.0, "w_min_dtod": 2.0},
    "crossed bounds, met": {"w_max_dtod": 2.0, "w_min_dtod": 2.0, "enforce_consistency": False},
    "symmetric point subtracted": {"subtract_symmetry_point": True},
    "reset and drift": {"reset": 0.1, "reset_dtod": 0.02, "drift": {"nu": 0.05, "nu_dtod": 0.3}},
    "stuck cells": {"corrupt_devices_prob": 0.4, "corrupt_devices_range": 0.3, "reset_dtod": 0.1},
    "perfect bias": {"perfect_bias": True, "lifetime": 30.0, "diffusion": 0.01, "reset": 0.1},
}
# What a model can do beyond its entry in the table.
MORE: dict[str, list[dict[str, Any]]] = {
    "LinearStep": [
        {"mean_bound_reference": False},
        {"allow_increasing": True, "gamma_up": -0.3},
        {"reverse_up": True, "reverse_down": True, "reverse_offset": 0.05},
        {"reverse_down": True, "mean_bound_reference": False},
    ],
    "SoftBoundsPmax": [{"kit_compat": True}, {"range_max": 0.2, "range_min": -0.6}],
    "ExpStep": [
        {"kit_compat": True, "up_down": 0.3},
        {"mult_noise": False},
        {"A_up": -1.2, "A_down": -0.1, "a": -0.5, "b": -0.5, "gamma_up": 5.0, "gamma_down": 5.0},
    ],
    "PiecewiseStep": [{"u_up": [0.7], "u_down": [1.2]}, {"u_up": [1.5, 0.2], "u_down": [0.1, 1.4]}],
    "ShiftedLinear": [{"shift": -0.3}],
}


def variants() -> list[Any]:
    """Every device in every variant; a constant step has no symmetric point."""
    shared = [
        pytest.param({**device, **settings_of(name, VARIANTS[variant])}, id=f"{name}: {variant}")
        for name, device in DEVICES.items()
        for variant in VARIANTS
        if (name, variant) != ("ConstantStep", "symmetric point subtracted")
    ]
    own = [pytest.param({**DEVICES[name], **more}, id=f"{name}: {more}") for name in MORE for more in MORE[name]]
    return shared + own


def settings_of(name: str, variant: dict[str, Any]) -> dict[str, Any]:
    """The settings that the model has; one of them derives the steps."""
    derived = ("dw_min", "up_down") if name == "SoftBoundsPmax" else ()
    return {field: value for field, value in variant.items() if field not in derived}


def test_the_table_has_every_device() -> None:
    assert sorted(DEVICES) == sorted(_core.models()) == sorted(reference.OWN)


@pytest.mark.parametrize("device", variants())
def test_facts(device: dict[str, Any]) -> None:
    facts, spec = _core.device_facts(device), reference.complete(device)
    assert facts["granularity"] == reference.granularity(spec)
    assert {name: facts[name] for name in ("dw_min", "up_down", "w_max", "w_min")} == {
        name: spec[name] for name in ("dw_min", "up_down", "w_max", "w_min")
    }


@pytest.mark.parametrize("name", DEVICES)
def test_default_of_mult_noise(name: str) -> None:
    """Additive noise for the reference-subtracted soft bounds and the papers' families, relative for the others."""
    tiles = both(device={k: v for k, v in DEVICES[name].items() if k != "mult_noise"})
    train(tiles)
    assert_same_state(tiles)


@pytest.mark.parametrize("device", variants())
def test_pulses_on_every_device(device: dict[str, Any]) -> None:
    tiles = both(device=device)
    assert_same_state(tiles)
    train(tiles)
    assert_same_state(tiles)
    assert_moved(tiles, both(device=device))


# Every type of update; those of trains have more settings below.
UPDATES: dict[str, dict[str, Any]] = {
    "stochastic": {"pulse_type": "stochastic"},
    "mean count": {"pulse_type": "mean_count", "desired_bl": 20},
    "mean count, rounded": {"pulse_type": "mean_count", "desired_bl": 50, "res": 0.05, "update_bl_management": False},
    "mean count, rounded by chance": {"pulse_type": "mean_count", "res": 0.3, "sto_round": True},
    "implicit": {"pulse_type": "deterministic_implicit", "res": 0.4, "sto_round": True},
    "implicit, rounded": {"pulse_type": "deterministic_implicit", "x_res_implicit": 0.1, "d_res_implicit": 7.0},
    "implicit, unmanaged": {
        "pulse_type": "deterministic_implicit", "update_management": False, "update_bl_management": False
    },
    "random increment": {"pulse_type": "random_increment"},
    "random increment, long": {"pulse_type": "random_increment", "desired_bl": 100, "update_bl_management": False},
    **{
        f"{kind}, {increment}": {"pulse_type": kind, "increment": increment}
        for kind in ("none", "none_with_device", "analog_update", "pulsed")
        for increment in ("sample", "batch")
    },
    "pulsed, up": {"pulse_type": "pulsed", "rounding": "ceil"},
    "pulsed, down": {"pulse_type": "pulsed", "rounding": "floor"},
}  # fmt: skip


@pytest.mark.parametrize("pulses", UPDATES.values(), ids=UPDATES)
@pytest.mark.parametrize("name", DEVICES)
def test_updates_of_every_type_on_every_device(name: str, pulses: dict[str, Any]) -> None:
    tiles = both(device=DEVICES[name], pulses=pulses)
    train(tiles)
    train(tiles, lr=-0.03)
    assert_same_state(tiles)
    assert_moved(tiles, both(device=DEVICES[name]))


@pytest.mark.parametrize("pulses", UPDATES.values(), ids=UPDATES)
@pytest.mark.parametrize("isa", _core.info()["isas"])
def test_updates_of_every_type_with_every_instruction_set(
    isa: str, pulses: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OHMGRAD_ISA", isa)
    tiles = both((3, 70), device=DEVICES["PowStep"], pulses=pulses)
    train(tiles, calls=1)
    assert_same_state(tiles)


@pytest.mark.parametrize("pulses", UPDATES.values(), ids=UPDATES)
@pytest.mark.parametrize("period", [2, 5])
def test_updates_of_every_type_cut_by_transfers(period: int, pulses: dict[str, Any]) -> None:
    """The gradient and the writes of a transfer by the same type; the slow array's noise goes on from cut to cut."""
    plan = tiki_taka(period, "vectors", gamma=0.4, reads=2, pulses=pulses, rate={"value": 3.0, "scaled": False})
    tiles = both((4, 6), plan=plan, pulses=pulses)
    train(tiles, calls=3, m=7)
    assert_same_state(tiles)
    assert_moved(tiles, both((4, 6), plan=plan))


def test_stochastic_is_stochastic_compressed() -> None:
    """Whether the signs of the inputs come in one phase or in two: a cell sees one sign of each vector."""
    core, other = (
        both(pulses={**STOCHASTIC, "pulse_type": kind})[0] for kind in ("stochastic", "stochastic_compressed")
    )
    for tile in (core, other):
        x, d = vectors(3, 8, SHAPE)
        tile.update(x, d, 0.1)
    assert_same(core.weights(), other.weights(), "weights")


# ---- pulse trains

TRAINS: dict[str, dict[str, Any]] = {
    "both managed": STOCHASTIC,
    "update management alone": {**STOCHASTIC, "update_bl_management": False},
    "length management alone": {**STOCHASTIC, "update_management": False},
    "unmanaged": UNMANAGED,
    "BL 1": {**UNMANAGED, "desired_bl": 1},
    "BL 5": {**STOCHASTIC, "desired_bl": 5},
    "BL 32": {**UNMANAGED, "desired_bl": 32},
    "BL 64": {**UNMANAGED, "desired_bl": 64},
    "BL 64, managed": {**STOCHASTIC, "desired_bl": 64},
    "BL 100": {**UNMANAGED, "desired_bl": 100},
    "gradients scaled down": {**STOCHASTIC, "um_grad_scale": 0.4},
    "gradients scaled up, length alone": {**STOCHASTIC, "update_management": False, "um_grad_scale": 3.0},
    "probabilities rounded": {**STOCHASTIC, "res": 0.1},
    "probabilities rounded to 6 steps": {**STOCHASTIC, "res": 6.0},
    "probabilities rounded by chance": {**STOCHASTIC, "res": 0.25, "sto_round": True},
    "probabilities rounded to 1": {**STOCHASTIC, "desired_bl": 3, "res": 1.0, "sto_round": True},
    "growing": {**UNMANAGED, "desired_bl": 1, "fixed_bl": False},
    "growing, managed": {**STOCHASTIC, "desired_bl": 2, "fixed_bl": False, "update_bl_management": False},
    "not growing, length managed": {**STOCHASTIC, "desired_bl": 2, "fixed_bl": False},
}


@pytest.mark.parametrize("pulses", TRAINS.values(), ids=TRAINS)
@pytest.mark.parametrize("lr", [0.01, -0.05, 3.0])
def test_pulse_trains(pulses: dict[str, Any], lr: float) -> None:
    tiles = both(pulses=pulses)
    train(tiles, lr=lr)
    assert_same_state(tiles)
    assert_moved(tiles, both())


def test_scale_factors() -> None:
    for pulses in TRAINS.values():
        for lr in (0.0, 1e-6, 0.013, -0.05, 4.0, 1e6):
            for x_max, d_max in ((0.0, 1.0), (0.8, 0.095), (1.0, 1.0), (1e-20, 3.0), (7.0, 1e-3)):
                arguments = (lr, 0.00123, x_max, d_max, pulses)
                assert _core.scale_factors(*arguments) == reference.scale_factors(*arguments)


def test_an_update_at_rate_zero_counts_but_does_nothing() -> None:
    tiles = both()
    train(tiles, lr=0.0)
    assert_same_state(tiles)
    np.testing.assert_array_equal(tiles[0].weights(), both()[0].weights())


@pytest.mark.parametrize("shape", [(1, 1), (5, 31), (3, 32), (33, 2), (3, 70)], ids=str)
@pytest.mark.parametrize("pulses", [STOCHASTIC, {**UNMANAGED, "desired_bl": 40}], ids=["BL 31", "BL 40"])
def test_shapes(shape: tuple[int, int], pulses: dict[str, Any]) -> None:
    tiles = both(shape, pulses=pulses)
    train(tiles)
    assert_same_state(tiles)


@pytest.mark.parametrize(("plan", "pulses"), [(DIGITAL, STOCHASTIC), (ANALOG, {"pulse_type": "none"})])
def test_exact_updates_stay_finite(plan: dict[str, Any], pulses: dict[str, Any]) -> None:
    tiles = both((2, 3), plan=plan, pulses=pulses)
    x, d = np.ones((4, 3), np.float32), np.array([[1, -1]] * 4, np.float32)
    with np.errstate(over="ignore"):
        for tile in tiles:
            tile.update(x, d, 3e38)
    assert_same_state(tiles)
    assert abs(tiles[0].weights()).min() == reference.LARGEST
    both((2, 3), plan=plan, pulses=pulses)[0].load_state(tiles[0].state())


def test_many_dense_vectors() -> None:
    """Queues of pulses overflow many times within one call."""
    tiles = both((2, 33))
    train(tiles, calls=2, m=12, lr=0.5)
    assert_same_state(tiles)


LIGHT = (17, 70)
"""Many vectors with few pulses each on several rows: their trains share words."""


def light(tiles: Both, m: int = 24, silent: bool = False) -> None:
    """Updates both tiles; with ``silent`` by long trains, of which only a fifth of the columns fires."""
    for call in range(2):
        x, d = vectors(call, m, (tiles[1].d_out, tiles[1].d_in))
        x[:, np.arange(x.shape[1]) % 5 != call] *= np.float32(not silent)
        for tile in tiles:
            tile.update(x, d, 0.2 if silent else 0.002)


@pytest.mark.parametrize("silent", [False, True])
@pytest.mark.parametrize("name", DEVICES)
def test_many_light_vectors(name: str, silent: bool) -> None:
    tiles = both(LIGHT, device=DEVICES[name], count_pulses=True)
    light(tiles, silent=silent)
    assert_same_state(tiles)
    assert_moved(tiles, both(LIGHT, device=DEVICES[name]))


@pytest.mark.parametrize("silent", [False, True])
@pytest.mark.parametrize("isa", _core.info()["isas"])
def test_many_light_vectors_with_every_instruction_set(isa: str, silent: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OHMGRAD_ISA", isa)
    tiles = both(LIGHT, device={**SOFT, "dw_min_dtod": 0.3})
    light(tiles, silent=silent)
    assert_same_state(tiles)


@pytest.mark.parametrize("silent", [False, True])
@pytest.mark.parametrize("pulses", [STOCHASTIC, {**UNMANAGED, "desired_bl": 5}, {**UNMANAGED, "desired_bl": 40}])
@pytest.mark.parametrize("unit", ["vectors", "batches"])
@pytest.mark.parametrize("shape", [(9, 40), (2, 40)], ids=str)
def test_many_light_vectors_cut_by_transfers(
    shape: tuple[int, int], unit: str, pulses: dict[str, Any], silent: bool
) -> None:
    """Read-outs lie between vectors that share a word; columns of few cells are written one by one."""
    plan = tiki_taka(3 if unit == "vectors" else 1, unit, gamma=0.4, reads=2, pulses=pulses)
    tiles = both(shape, plan=plan, pulses=pulses, count_pulses=True)
    light(tiles, silent=silent)
    assert_same_state(tiles)
    assert_moved(tiles, both(shape, plan=plan))


@pytest.mark.parametrize("reads", [0, 70])
@pytest.mark.parametrize("axis", ["columns", "rows"])
@pytest.mark.parametrize(("cells", "lines"), [(1, 150), (3, 150), (3, 300)])
def test_many_lines_of_few_cells(cells: int, lines: int, axis: str, reads: int) -> None:
    """They are written side by side if there are not too many, from the first to the last one or on and on around."""
    shape = (cells, lines) if axis == "columns" else (lines, cells)
    plan = tiki_taka(3, "vectors", gamma=0.4, reads=reads)
    plan["transfers"][0]["axis"] = axis
    tiles = both(shape, plan=plan, count_pulses=True)
    for call in range(2):
        for tile in tiles:
            tile.update(*vectors(call, 10, shape), 0.05)
    assert_same_state(tiles)
    assert_moved(tiles, both(shape, plan=plan))


@pytest.mark.parametrize("isa", _core.info()["isas"])
@pytest.mark.parametrize("name", DEVICES)
def test_every_instruction_set(isa: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OHMGRAD_ISA", isa)
    tiles = both(device=DEVICES[name], forward=KIT, backward=KIT)
    train(tiles, calls=1)
    x, d = vectors(6, 3, SHAPE)
    assert_same(*(tile.forward(x, True) for tile in tiles), "forward")
    assert_same(*(tile.backward(d) for tile in tiles), "backward")
    assert_same_state(tiles)


def test_paths_and_seeds_have_streams_of_their_own() -> None:
    tiles = both(path="0.\u00e9")
    train(tiles)
    assert_same_state(tiles)
    assert (tiles[0].parameter("weight", "w_max") != both()[0].parameter("weight", "w_max")).all()


# ---- products

KIT: dict[str, Any] = {
    "inp_bound": 1.0,
    "inp_res": 1 / 126,
    "out_bound": 12.0,
    "out_res": 1 / 510,
    "out_noise": 0.06,
    "noise_management": "abs_max",
    "bound_management": "iterative",
}
PERIPHERIES: dict[str, dict[str, Any]] = {
    "ideal": {},
    "perfect": {"is_perfect": True, "out_scale": 0.7, "out_noise": 1.0},
    "kit": KIT,
    "bounds managed": {**KIT, "out_bound": 0.6},
    "bounds managed, few steps": {**KIT, "out_bound": 0.05, "max_bm_factor": 3.0},
    "bounds managed, coarse input": {**KIT, "out_bound": 0.05, "inp_res": 0.05},
    "bounds not managed": {**KIT, "out_bound": 0.6, "bound_management": "none"},
    "resolution in steps": {**KIT, "inp_res": 30.0, "out_res": 50.0},
    "constant factor": {**KIT, "noise_management": "constant", "nm_thres": 1.7},
    "constant factor 1": {**KIT, "noise_management": "constant"},
    "capped factor": {**KIT, "nm_thres": 0.9},
    "no factor": {**KIT, "noise_management": "none"},
    "input noise": {**KIT, "inp_noise": 0.1, "out_scale": -1.3},
    "noise alone": {"inp_noise": 0.2, "out_noise": 0.3},
    "largest input": {**KIT, "noise_management": "max", "nm_thres": 1.1},
    "largest input, with noise": {"noise_management": "max", "inp_noise": 0.1},
    "sums of inputs": {**KIT, "noise_management": "abs_max_np_sum", "nm_assumed_wmax": 3.0, "out_bound": 1.0},
    "sums of inputs, few steps": {**KIT, "noise_management": "abs_max_np_sum", "out_bound": 0.1, "inp_res": 9.0},
    "sums of inputs, infinite": {"noise_management": "abs_max_np_sum", "nm_thres": 1.2, "out_noise": 0.1},
    "mean of largest inputs": {**KIT, "noise_management": "average_abs_max", "nm_decay": 0.2},
    "worst case": {**KIT, "out_bound": 0.3, "bound_management": "iterative_worst_case"},
    "worst case, twice": {**KIT, "out_bound": 0.3, "bound_management": "iterative_worst_case", "nm_assumed_wmax": 0.1},
    "worst case, no factor": {
        **KIT,
        "out_bound": 0.3,
        "bound_management": "iterative_worst_case",
        "noise_management": "none",
    },
    "one bound": {**KIT, "out_bound": 0.3, "bm_test_negative_bound": False},
    "separate": {**KIT, "mv_type": "pos_neg_separate", "inp_noise": 0.01},
    "digital sum": {**KIT, "mv_type": "pos_neg_separate_digital_sum", "out_bound": 0.6},
    "random rounding of inputs": {**KIT, "inp_sto_round": True, "inp_res": 0.05},
    "random rounding of outputs": {**KIT, "out_sto_round": True, "out_bound": 0.6, "out_res": 0.05},
    "asymmetries": {**KIT, "inp_asymmetry": 0.1, "out_asymmetry": -0.2},
    "lines with noise of their own": {**KIT, "out_noise_std": 0.4},
    "saturation": {**KIT, "out_nonlinearity": 0.7, "out_bound": 2.0},
    "saturation, calibrated": {"out_nonlinearity": 0.7, "out_nonlinearity_std": 0.3, "slope_calibration": 0.5},
    "noise of weights": {**KIT, "w_noise": 0.1, "w_noise_type": "additive_constant"},
    "noise of weights, unused": {**KIT, "w_noise": 0.1},
    "noise of weights by size": {"w_noise": 0.1, "w_noise_type": "pcm_read"},
    "noise of weights, separate": {"w_noise": 0.1, "w_noise_type": "pcm_read", "mv_type": "pos_neg_separate"},
    "IR drop": {**KIT, "ir_drop": 1.0, "ir_drop_g_ratio": 40.0},
    "IR drop, digital sum": {"ir_drop": 2.0, "ir_drop_g_ratio": 40.0, "mv_type": "pos_neg_separate_digital_sum"},
    "voltage offset": {**KIT, "v_offset_std": 0.02, "v_offset_w_min": -0.3},
    "series resistance": {**KIT, "r_series": 0.3},
    "polarities": {**KIT, "w_read_asymmetry_dtod": 0.2},
    "polarities, separate": {**KIT, "w_read_asymmetry_dtod": 0.2, "mv_type": "pos_neg_separate"},
}
ALL: dict[str, Any] = {
    **KIT,
    "out_bound": 0.2,
    "inp_noise": 0.01,
    "inp_sto_round": True,
    "inp_asymmetry": 0.05,
    "out_noise_std": 0.3,
    "out_sto_round": True,
    "out_asymmetry": 0.05,
    "out_nonlinearity": 0.2,
    "out_nonlinearity_std": 0.2,
    "slope_calibration": 0.3,
    "out_scale": 1.1,
    "w_noise": 0.02,
    "w_noise_type": "additive_constant",
    "noise_management": "average_abs_max",
    "nm_decay": 0.1,
    "bound_management": "iterative_worst_case",
    "ir_drop": 1.0,
    "ir_drop_g_ratio": 50.0,
    "v_offset_std": 0.01,
    "r_series": 0.1,
    "w_read_asymmetry_dtod": 0.1,
}
MV_TYPES = ["one_pass", "pos_neg_separate", "pos_neg_separate_digital_sum"]
PERIPHERIES |= {f"everything, {mv_type}": {**ALL, "mv_type": mv_type} for mv_type in MV_TYPES}


@pytest.mark.parametrize("io", PERIPHERIES.values(), ids=PERIPHERIES)
@pytest.mark.parametrize("shape", [SHAPE, (18, 3), (1, 1)], ids=str)
def test_products(io: dict[str, Any], shape: tuple[int, int]) -> None:
    """Twice, in training and evaluation by turns; one vector is zero."""
    tiles = both(shape, forward=io, backward={**io, "out_noise": 2 * io.get("out_noise", 0.0)})
    for call in range(2):
        x, d = vectors(call, 3, shape)
        x[1], d[2] = 0.0, 0.0
        for training in (True, False, False):
            forward = [tile.forward(x, training) for tile in tiles]
            assert_same(*forward, f"forward, training={training}")
            assert_same(*(tile.forward(x, training, False) for tile in tiles), f"no noise, training={training}")
        assert_same(*(tile.backward(d) for tile in tiles), "backward")
    assert_same_state(tiles)


def test_a_digital_weight_has_no_periphery() -> None:
    """Not even the running mean of its noise management."""
    io = {**ALL, "noise_management": "average_abs_max"}
    tiles = both(plan=DIGITAL, forward=io, backward=io)
    x, d = vectors(5, 3, SHAPE)
    assert_same(*(tile.forward(x, True) for tile in tiles), "forward")
    assert_same(*(tile.backward(d) for tile in tiles), "backward")
    assert_same_state(tiles)


def test_a_large_batch_goes_forward_in_blocks() -> None:
    tiles = both(forward=KIT, backward=KIT)
    x, d = vectors(5, 37, SHAPE)
    assert_same(*(tile.forward(x, True) for tile in tiles), "forward")
    assert_same(*(tile.backward(d) for tile in tiles), "backward")


@pytest.mark.parametrize("isa", _core.info()["isas"])
@pytest.mark.parametrize("mv_type", MV_TYPES)
def test_the_whole_periphery_on_every_instruction_set(isa: str, mv_type: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OHMGRAD_ISA", isa)
    io = {**ALL, "mv_type": mv_type}
    plan = tiki_taka(2, "vectors", reads=2, io={**io, "noise_management": "none", "bound_management": "none"})
    tiles = both((37, 41), plan=plan, forward=io, backward=io)
    train(tiles, calls=1)
    x, d = vectors(6, 3, (37, 41))
    assert_same(*(tile.forward(x, True) for tile in tiles), "forward")
    assert_same(*(tile.backward(d) for tile in tiles), "backward")
    assert_same_state(tiles)


# ---- plans

READ_OUT = {**KIT, "noise_management": "none", "bound_management": "none"}


def tiki_taka(period: float, unit: str, **settings: Any) -> dict[str, Any]:
    """Tiki-Taka (Residual Learning for `gamma` > 0) on any number of arrays."""
    names = settings.get("names", ["fast", "slow"])
    gamma = settings.get("gamma", 0.0)
    transfers = [
        {
            "every": {"period": period, "unit": unit},
            "reads": settings.get("reads", 1),
            "io": settings.get("io", READ_OUT),
            "steps": [
                {
                    "write": {
                        "source": [{"matrix": source, "factor": 1.0}],
                        "target": target,
                        "rate": settings.get("rate", {"value": 0.8, "scaled": False}),
                        "pulses": settings.get("pulses", STOCHASTIC),
                    }
                }
            ],
        }
        for source, target in pairwise(names)
    ]
    factors = [1.0] * len(names)
    for i in reversed(range(len(names) - 1)):
        factors[i] = factors[i + 1] * gamma
    return {
        "arrays": names,
        "digital": [],
        "weight": [{"matrix": name, "factor": factor} for name, factor in zip(names, factors, strict=True)],
        "gradient": {"target": names[0], "rate": {"value": 2.0, "scaled": True}},
        "transfers": transfers,
    }


NOISY_READ = {"inp_noise": 0.02, "out_noise": 0.01}
READS = {name: {**io, "noise_management": "none", "bound_management": "none"} for name, io in PERIPHERIES.items()}
PLANS: dict[str, dict[str, Any]] = {
    "digital SGD": DIGITAL,
    "analog SGD": ANALOG,
    "every batch": tiki_taka(1, "batches"),
    "every batch, mixed": tiki_taka(1, "batches", gamma=0.4),
    "every second batch": tiki_taka(2, "batches", gamma=0.4),
    "every vector": tiki_taka(1, "vectors", gamma=0.4),
    "every 2 vectors": tiki_taka(2, "vectors"),
    "every 5 vectors": tiki_taka(5, "vectors"),
    "half a batch": tiki_taka(0.5, "batches", gamma=0.4),
    "a batch and a half": tiki_taka(1.5, "batches"),
    "2 columns": tiki_taka(2, "vectors", reads=2),
    "all columns": tiki_taka(1, "batches", reads=0, gamma=0.4),
    "all columns, often": tiki_taka(2, "vectors", reads=0),
    "scaled rate": tiki_taka(1, "vectors", rate={"value": 20.0, "scaled": True}),
    "unmanaged writes": tiki_taka(1, "vectors", pulses=UNMANAGED),
    "short writes": tiki_taka(1, "vectors", pulses={**UNMANAGED, "desired_bl": 1}),
    "long writes": tiki_taka(
        1, "vectors", pulses={**STOCHASTIC, "desired_bl": 70}, rate={"value": 9.0, "scaled": False}
    ),
    "analog writes": tiki_taka(1, "batches", reads=0, pulses={**STOCHASTIC, "pulse_type": "analog_update"}),
    "ideal reads": tiki_taka(2, "vectors", io={}),
    "perfect reads": tiki_taka(2, "vectors", io={**READ_OUT, "is_perfect": True}),
    "reads with input noise": tiki_taka(2, "vectors", io=NOISY_READ, reads=2),
    "three arrays": tiki_taka(2, "vectors", names=["a", "b", "c"], gamma=0.5, reads=3),
}


SINGLE = {**UNMANAGED, "desired_bl": 1}
RATE = {"value": 2.0, "scaled": True}


def term(matrix: str, factor: float = 1.0, chopped: bool = False) -> dict[str, Any]:
    return {"matrix": matrix, "factor": factor, "chopped": chopped}


def accumulate(into: str, *source: dict[str, Any], gain: Any = 1.0, keep: float = 1.0) -> dict[str, Any]:
    gain = gain if isinstance(gain, dict) else {"value": gain, "scaled": False}
    return {"accumulate": {"into": into, "source": list(source), "gain": gain, "keep": keep}}


def write(target: str, *source: dict[str, Any], rate: float = 0.03, **settings: Any) -> dict[str, Any]:
    rated = {"value": rate, "scaled": False}
    return {"write": {"target": target, "source": list(source), "rate": rated, "pulses": SINGLE, **settings}}


def transfer(*steps: dict[str, Any], period: float = 1, unit: str = "vectors", **settings: Any) -> dict[str, Any]:
    return {"every": {"period": period, "unit": unit}, "io": READ_OUT, "steps": list(steps), **settings}


def plan_of(
    *transfers: dict[str, Any], arrays: str = "fast slow", digital: str = "hidden", weight: Any = None, **gradient: Any
) -> dict[str, Any]:
    """Arrays and digital matrices, the gradient on the first of them, the last array as the weight."""
    arrays_, digital_ = arrays.split(), digital.split()
    return {
        "arrays": arrays_,
        "digital": digital_,
        "weight": weight or [term(arrays_[0], 0.4), term(arrays_[-1])],
        "gradient": {"target": arrays_[0], "rate": RATE, **gradient},
        "transfers": list(transfers),
    }


def buffered(threshold: dict[str, Any], **settings: Any) -> dict[str, Any]:
    """A buffer between read and write."""
    steps = accumulate("hidden", term("fast"), gain=0.3), write("slow", term("hidden"), unit=0.02, threshold=threshold)
    return plan_of(transfer(*steps, **settings))


def chopped(chopper: dict[str, Any], *more: dict[str, Any], steps: Any = (), **settings: Any) -> dict[str, Any]:
    """A buffer with signs, in units of pulses."""
    gradient = {name: settings.pop(name) for name in ("auto_scale",) if name in settings}
    digital = settings.pop("digital", "hidden")
    per_rate = {"value": 40.0, "scaled": True, "per_gradient_rate": settings.pop("per_rate", False)}
    first = accumulate("hidden", term("fast", chopped=True), *more, gain=per_rate)
    last = write("slow", term("hidden"), threshold={"cap": 2, "momentum": 0.2}, **settings.pop("write", {}))
    weight = [term("fast", 0.4, True), term("slow")]
    event = transfer(first, last, *steps, chopper=chopper, **settings)
    return plan_of(event, digital=digital, weight=weight, chopped=True, **gradient)


LATCH = {"prob": 0.4, "random": False, "latch": ["mean", "reference"]}
RESIDUAL = term("fast", 1.0, True), term("reference", -1.0, True)


def tracking(**settings: Any) -> dict[str, Any]:
    """A reference that is an array itself, programmed where one sign of all lines flips."""
    event = transfer(
        accumulate("mean", term("fast"), gain=0.3, keep=0.7),
        write("slow", *RESIDUAL, rate=0.5, pulses={**STOCHASTIC, "pulse_type": "analog_update"}),
        chopper={"prob": 0.5, "scope": "array", "latch": ["mean", "reference"]},
        **settings,
    )
    weight = [term("fast", 0.1, True), term("reference", -0.1, True), term("slow")]
    return plan_of(event, arrays="fast slow reference", digital="mean", weight=weight, chopped=True)


def mixed_precision(*, bins: int = 0, chance: bool = False, **settings: Any) -> dict[str, Any]:
    """The gradient in digital memory, whole steps of it on the array."""
    threshold = {"cap": 2**31 - 1, "forget": False}
    step = write("weight", term("chi"), unit=0.02, rate=0.02, threshold=threshold, pulses=STOCHASTIC)
    plan = plan_of(transfer(step, **settings), arrays="weight", digital="chi", weight=[term("weight")])
    levels = {"n_x_bins": bins, "n_d_bins": 2 * bins, "stoc_round_x": chance, "stoc_round_d": not chance}
    return {**plan, "gradient": {"target": "chi", "rate": RATE, **levels}}


MOMENTUM = {"cap": 3, "momentum": 0.25, "forget": False}
PLANS |= {
    "buffer": buffered({}),
    "buffer that forgets in part": buffered({"momentum": 0.3}, period=2),
    "buffer that keeps": buffered(MOMENTUM, period=0.5, unit="batches"),
    "buffer with a limit": buffered({**MOMENTUM, "limit": 0.03}, reads=2),
    "buffer on rows": buffered({"momentum": 0.3}, axis="rows", reads=2),
    "buffer of any line": buffered({}, random=True, reset_prob=0.4, reads=2),
    "low-pass with a dead band": plan_of(
        transfer(
            accumulate("hidden", term("fast"), gain=0.2, keep=0.8),
            write("slow", term("hidden"), unit=0.05, deadband=0.01),
            reads=3,
        )
    ),
    "low-pass that is not consumed": buffered({"cap": 2, "momentum": 1.0, "forget": False}, reads=2),
    "late writes": plan_of(transfer(write("slow", term("fast"), after_passes=1), reads=2)),
    "chopper by chance": chopped({"prob": 0.3}),
    "chopper in turn": chopped({"prob": 0.3, "random": False}, reads=2),
    "chopper of crossing lines": chopped({"prob": 0.0, "cross_prob": 0.5}, reads=3),
    "both choppers, on rows": chopped({"prob": 0.5, "cross_prob": 0.5}, axis="rows", reads=2),
    "auto-scaled gradient": chopped({"prob": 0.3}, auto_scale=0.9, per_rate=True),
    "latched mean": chopped(
        LATCH,
        term("reference", -1.0, True),
        digital="hidden mean reference",
        steps=[accumulate("mean", term("fast"), gain=0.5, keep=0.5)],
        write={"after_passes": 2},
        reads=2,
        auto_scale=0.5,
    ),
    "latched mean, on rows": chopped(
        LATCH,
        term("reference", -1.0, True),
        digital="hidden mean reference",
        steps=[accumulate("mean", term("fast"), gain=0.5, keep=0.5)],
        axis="rows",
    ),
    "tracked reference": tracking(reads=0, unit="batches"),
    "tracked reference, every vector": tracking(reads=2),
    "tracked reference, on rows": tracking(reads=2, axis="rows"),
    "mixed precision": mixed_precision(axis="rows", reads=0, unit="batches"),
    "mixed precision, rounded": mixed_precision(bins=6, axis="rows", random=True, period=2, unit="batches"),
    "mixed precision, rounded by chance": mixed_precision(bins=5, chance=True, axis="columns", period=2),
    "writes on the gradient's array": plan_of(
        transfer(accumulate("hidden", term("fast")), write("fast", term("hidden"), rate=0.2), reads=2)
    ),
    "programmed from itself": plan_of(
        transfer(accumulate("slow", term("slow"), term("fast", 0.5), gain=0.3, keep=0.6), reads=2)
    ),
    "the gradient's array programmed": plan_of(
        transfer(accumulate("fast", term("slow", -1.0), gain=0.3, keep=0.6), period=2, reads=2)
    ),
    "digital targets": plan_of(
        transfer(accumulate("hidden", term("fast")), write("sum", term("hidden"), rate=0.1, threshold={}, unit=0.02)),
        digital="hidden sum",
        weight=[term("sum", 0.3), term("slow")],
    ),
    "lines read on both axes": plan_of(
        transfer(accumulate("hidden", term("fast")), reads=2),
        transfer(accumulate("rows", term("fast")), write("slow", term("rows")), axis="rows", period=2),
        digital="hidden rows",
    ),
    "several fast arrays": plan_of(
        transfer(write("slow", term("fast"), term("other", -0.5), pulses=STOCHASTIC)),
        transfer(write("other", term("slow"), rate=0.5, pulses=STOCHASTIC), period=3, axis="rows"),
        arrays="fast other slow",
    ),
    "chopped lines that cross": plan_of(
        transfer(chopper={"prob": 0.4, "cross_prob": 0.4}, reads=2),
        transfer(write("slow", term("fast", 1.0, True)), axis="rows"),
        transfer(accumulate("hidden", term("fast", 1.0, True)), reads=4),
        weight=[term("fast", 0.4, True), term("slow")],
        chopped=True,
    ),
    "nothing to do": plan_of(transfer(reads=2), transfer(accumulate("hidden", term("fast")))),
}
SEVERAL: dict[str, Any] = {
    "model": "Vector",
    "devices": [DEVICES["SoftBounds"], DEVICES["LinearStep"]],
    "update_policy": "single_random",
    "gamma_vec": [0.5, 0.5],
}
UP_ALONE = {**DEVICES["SoftBounds"], "w_min": 0.0, "write_noise_std": 1.0, "reference_mean": 0.0, "reference_std": 0.0}
NOISY_CELLS = {**DEVICES["SoftBounds"], "write_noise_std": 2.0, "reset": 0.1, "reset_std": 0.05}
CELLS: dict[str, list[dict[str, Any]]] = {
    "devices of their own": [DEVICES[name] for name in ("SoftBounds", "PowStep", "LinearResponse")],
    "write noise": [NOISY_CELLS] * 3,
    "several devices in a cell": [SEVERAL, {**SEVERAL, "update_policy": "all"}, SEVERAL],
    "one-sided pairs": [{"model": "OneSided", "devices": [UP_ALONE] * 2, "refresh_every": 3}] * 3,
}


@pytest.mark.parametrize("cells", CELLS.values(), ids=CELLS)
@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
def test_plans(plan: dict[str, Any], cells: list[dict[str, Any]]) -> None:
    """Five calls of different length, so that periods and pointers cross calls, and products in between.

    One has a negative learning rate, which turns the gradient and nothing else.
    """
    shape = (4, 6)
    tiles = both(shape, plan=plan, devices=cells, forward=KIT, backward=KIT)
    for call, m in enumerate((3, 4, 1, 6, 3)):
        x, d = vectors(call, m, shape)
        for tile in tiles:
            tile.update(x, d, -0.05 if call == 3 else 0.05)
        assert_same(*(tile.forward(x, True) for tile in tiles), "forward")
        assert_same(*(tile.backward(d) for tile in tiles), "backward")
    assert_same_state(tiles)
    assert_moved(tiles, both(shape, plan=plan, devices=cells))


@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
@pytest.mark.parametrize("pulses", ["mean_count", "analog_update", "none_with_device"])
def test_plans_without_trains(plan: dict[str, Any], pulses: str) -> None:
    """The gradient waits for every event that asks for its array."""
    for increment in ("sample", "batch"):
        tiles = both((4, 6), plan=plan, pulses={"pulse_type": pulses, "increment": increment})
        train(tiles, calls=3, m=5)
        assert_same_state(tiles)


DIVISIONS = [(0, True), (1, False), (2, True), (3, False), (100, False)]


@pytest.fixture
def divided() -> Any:
    """Puts the division of work back as it was."""
    yield
    _core.set_division()
    _core.set_split_threshold()


@pytest.mark.usefixtures("divided")
@pytest.mark.parametrize("name", ["SoftBounds", "PowStep"])
@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
def test_cuts_and_blocks_leave_no_trace(plan: dict[str, Any], name: str) -> None:
    """Cuts after every vector, chunks of any number of rows, and both."""
    shape, states = (7, 37), []
    for rows, cut in [(0, False), *DIVISIONS]:
        _core.set_division(rows, cut)
        _core.set_split_threshold(0)
        arrays, names = plan["arrays"], {**DEVICES[name], "write_noise_std": 0.0 if rows % 2 else 1.0}
        core = _core.Tile(*shape, dict.fromkeys(arrays, names), plan, {}, {}, STOCHASTIC, SEEDS, "fc1")
        core.set_weights(numbers(0, shape) * np.float32(0.3))
        for call in range(3):
            core.update(*vectors(call, 9, shape), 0.05)
        states.append((rows % 2, {part: value.tobytes() for part, value in core.state().items()}))
    for noisy in (0, 1):
        alike = [state for odd, state in states if odd == noisy]
        assert len(alike) >= 2
        assert all(state == alike[0] for state in alike)


# ---- events apart from updates, and calibration


@pytest.mark.parametrize("cells", CELLS.values(), ids=CELLS)
@pytest.mark.parametrize("axis", ["columns", "rows"])
def test_events_apart_from_updates(axis: str, cells: list[dict[str, Any]]) -> None:
    plan = chopped({"prob": 0.5, "cross_prob": 0.5}, axis="rows", reads=2, period=2)
    steps = (
        accumulate("hidden", term("fast", 0.5, True), gain=2.0),
        write("slow", term("hidden"), unit=0.05, threshold={"cap": 3}, pulses=STOCHASTIC),
        write("slow", term("fast"), rate=0.5, pulses=STOCHASTIC),
        accumulate("fast", term("slow"), keep=0.5, gain=0.25),
        write("hidden", term("fast"), rate=0.5),
    )
    tiles = both((4, 6), plan=plan, devices=cells)
    for lines in ([3, 0], [], [1, 2, 3]):
        train(tiles, calls=1)
        event = transfer(*steps, axis=axis)
        tiles[0].event(event, lines, 1.0)
        tiles[1].event_apart(event, lines)
        assert_same_state(tiles)


@pytest.mark.parametrize("io", [{}, {"out_scale": 1.1}, READ_OUT])
def test_a_line_of_negative_zeros_reads_as_zeros(io: dict[str, Any]) -> None:
    plan = plan_of()
    tiles = both((2, 2), plan=plan)
    event = {**transfer(accumulate("hidden", term("fast"), keep=0.0)), "io": io}
    for tile in tiles:
        tile.set_matrix("fast", -np.zeros((2, 2), np.float32))
    tiles[0].event(event, [0], 1.0)
    tiles[1].event_apart(event, [0])
    assert_same_state(tiles)


def test_running_maxima_end_with_a_plan_that_has_none() -> None:
    scaled, plain = plan_of(auto_scale=0.5), plan_of()
    tile = _core.Tile(2, 2, dict.fromkeys(scaled["arrays"], DEVICES["SoftBounds"]), scaled, {}, {}, {}, SEEDS, "fc1")
    tile.update(*vectors(0, 1, (2, 2)), 0.1)
    tile.set_plan(plain)
    tile.set_plan(scaled)
    assert tile.state()["gradient.max_abs_x"] == [0.0]


SHIFTS: dict[str, dict[str, Any]] = {
    "alternating": {"cycles": 20, "mode": "alternating", "average": 1, "io": None},
    "alternating, averaged": {"cycles": 20, "mode": "alternating", "average": 7, "io": READ_OUT},
    "random": {"cycles": 21, "mode": "random", "average": 4, "io": None},
    "random, noisy": {"cycles": 21, "mode": "random", "average": 21, "io": {"out_noise": 0.1, "out_scale": 1.1}},
}


def shiftable() -> dict[str, dict[str, Any]]:
    """Cells with a symmetric point, of every model and of several devices."""
    single = {name: device for name, device in DEVICES.items() if name != "ConstantStep"}
    soft = DEVICES["SoftBounds"]
    pair = {"model": "ReferenceCell", "devices": [soft, DEVICES["ConstantStep"]]}
    policies = ("all", "single_fixed", "single_sequential", "single_random")
    cells = {policy: {**SEVERAL, "update_policy": policy, "gamma_vec": [0.7, 0.6]} for policy in policies}
    hidden = {"model": "Vector", "devices": [soft, DEVICES["PowStep"]], "gamma_vec": [0.0, 2.0]}
    return {**single, **cells, "write noise": NOISY_CELLS, "pair": pair, "hidden device": hidden}


@pytest.mark.parametrize("shift", SHIFTS.values(), ids=SHIFTS)
@pytest.mark.parametrize("cell", shiftable().values(), ids=shiftable())
def test_zero_shift(cell: dict[str, Any], shift: dict[str, Any]) -> None:
    """Before and after training, with counted pulses."""
    tiles = both((5, 37), device=cell, plan=ANALOG, count_pulses=True)
    for _ in range(2):
        for tile in tiles:
            tile.zero_shift("weight", shift)
        assert_same_state(tiles)
        train(tiles, calls=1)
    assert_same_state(tiles)


@pytest.mark.parametrize("isa", _core.info()["isas"])
def test_plans_with_every_instruction_set(isa: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OHMGRAD_ISA", isa)
    for plan in PLANS.values():
        tiles = both((3, 35), device=DEVICES["PowStep"], plan=plan)
        train(tiles, calls=2, m=4)
        assert_same_state(tiles)
    tiles = both((3, 35), device=DEVICES["PowStep"])
    for tile in tiles:
        tile.zero_shift("weight", SHIFTS["random"])
    assert_same_state(tiles)


@pytest.mark.parametrize("axis", ["columns", "rows"])
@pytest.mark.parametrize("io", READS.values(), ids=READS)
def test_reads_through_every_periphery(io: dict[str, Any], axis: str) -> None:
    """Several lines of each array, the second array with lines of its own."""
    plan = tiki_taka(2, "vectors", names=["a", "b", "c"], gamma=0.5, reads=3, io=io)
    plan = {**plan, "transfers": [{**transfer, "axis": axis} for transfer in plan["transfers"]]}
    tiles = both((4, 6), plan=plan)
    train(tiles, calls=3, m=4)
    assert_same_state(tiles)
    assert_moved(tiles, both((4, 6), plan=plan))


@pytest.mark.parametrize("name", ["", "a.0", 3])
def test_names_of_matrices_have_no_dots(name: Any) -> None:
    """The state has parts like `a.0.values`."""
    with pytest.raises(ValueError, match=r"plan\.arrays, plan\.digital is .*, allowed: names without dots"):
        both(plan={**ANALOG, "digital": [name]})


def test_one_transfer_with_sums_and_two_writes() -> None:
    plan = tiki_taka(2, "vectors", names=["a", "b", "c"], gamma=0.5, reads=2)
    write = plan["transfers"][0]["steps"][0]["write"]
    second = {**write, "target": "c", "source": [{"matrix": "a", "factor": 0.5}, {"matrix": "m", "factor": -2.0}]}
    steps = [{"write": write}, {"write": second}]
    weight = [{"matrix": "m", "factor": 0.3}, {"matrix": "a", "factor": 0.0}, {"matrix": "b", "factor": 0.5}]
    plan = {**plan, "digital": ["m"], "transfers": [{**plan["transfers"][0], "steps": steps}], "weight": weight}
    tiles = both((4, 6), plan=plan)
    for tile in tiles:
        tile.set_matrix("m", numbers(9, (4, 6)))
        tile.set_matrix("a", numbers(10, (4, 6)))
    assert_same_state(tiles)
    train(tiles, calls=3, m=5)
    assert_same_state(tiles)


@pytest.mark.parametrize("spread", [0.0, 0.3])
@pytest.mark.parametrize(
    "drift",
    [
        {"lifetime": 20.0},
        {"diffusion": 0.01},
        {"lifetime": 1.2, "diffusion": 0.01},
        # so long that the decay of a mini-batch is 1 in float32: nothing changes, not even write noise
        {"lifetime": 1e9, "reset": 0.1, "write_noise_std": 1.0},
        # all is lost at once, and negative weights leave a negative zero
        {"lifetime": 0.5, "reference_mean": 0.0, "reference_std": 0.0},
    ],
    ids=str,
)
def test_ends_of_mini_batches(drift: dict[str, float], spread: float) -> None:
    device = {**DEVICES["SoftBounds"], **drift, "lifetime_dtod": spread, "diffusion_dtod": spread}
    tiles = both(device=device, plan=tiki_taka(1, "batches", gamma=0.4))
    for _ in range(2):
        train(tiles, calls=1)
        for tile in tiles:
            tile.end_batch()
    assert_same_state(tiles)


def test_more_than_4096_vectors_count_as_several_calls() -> None:
    plan = tiki_taka(1, "batches", pulses={**STOCHASTIC, "pulse_type": "analog_update"})
    tiles = both((1, 2), plan=plan, pulses={**STOCHASTIC, "pulse_type": "analog_update"})
    train(tiles, calls=1, m=4097)
    assert tiles[1].batches == 2
    assert_same_state(tiles)


# ---- instruction sets: what the tests above compare on the fastest one, on the others


def work_of_every_kind() -> Iterator[tuple[str, _core.Tile, list[Floats]]]:
    """Names, tiles that did something, and what they gave: all settings of this file, on lines that fill no block."""
    for device in variants():
        for how, calls, m, lr in (("few", 2, 3, 0.05), ("many", 1, 12, 0.5)):
            yield worked(f"device {device.id}, {how} pulses", core_alone((3, 70), device.values[0]), calls, m, lr)
    for kind, pulses in {**UPDATES, **TRAINS}.items():
        for name, device in (DEVICES | {"quiet": {**SOFT, "dw_min_std": 0.0}}).items():
            for lr in (0.01, -0.05, 3.0):
                yield worked(f"{kind} on {name} at {lr}", core_alone((3, 70), device, pulses=pulses), 1, 3, lr)
    for name, io in PERIPHERIES.items():
        for shape in ((37, 41), (18, 3), (1, 1)):
            # 67 vectors are several blocks
            for m in (3, 67):
                yield worked(f"{name} of {shape}, {m}", core_alone(shape, forward=io, backward=io), 2, m, 0.05)
    for name, io in READS.items():
        for axis in ("columns", "rows"):
            plan = tiki_taka(2, "vectors", names=["a", "b", "c"], gamma=0.5, reads=3, io=io)
            plan = {**plan, "transfers": [{**transfer, "axis": axis} for transfer in plan["transfers"]]}
            yield worked(f"{axis} read, {name}", core_alone((37, 41), plan=plan), 3, 4, 0.05)
    for name, plan in PLANS.items():
        for kind, cells in CELLS.items():
            yield worked(f"{name}, {kind}", core_alone((5, 41), plan=plan, devices=cells), 3, 5, 0.05)
        for pulses in ({"pulse_type": "mean_count"}, {"pulse_type": "analog_update"}):
            yield worked(f"{name}, {pulses}", core_alone((5, 41), plan=plan, pulses=pulses), 3, 5, 0.05)
    for name, cell in shiftable().items():
        for how, shift in SHIFTS.items():
            tile = core_alone(device=cell, count_pulses=True)
            tile.zero_shift("weight", shift)
            yield worked(f"{how} shift of {name}", tile, 1, 3, 0.05)


def worked(name: str, tile: _core.Tile, calls: int, m: int, lr: float) -> tuple[str, _core.Tile, list[Floats]]:
    """Products of both directions, an update and the end of a mini-batch, so often."""
    out = []
    for call in range(calls):
        x, d = vectors(call, m, (tile.d_out, tile.d_in))
        out += [tile.forward(x, True), tile.forward(x[:2], False), tile.backward(d)]
        tile.update(x, d, lr)
        tile.end_batch()
    return name, tile, [*out, tile.weights()]


def prints(isa: str) -> dict[str, str]:
    """Digests of all that came out with an instruction set, and of all state."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OHMGRAD_ISA", isa)
        assert _core.info()["isa"] == isa
        return {
            name: hashlib.sha256(b"".join(a.tobytes() for a in [*out, *tile.state().values()])).hexdigest()
            for name, tile, out in work_of_every_kind()
        }


@pytest.fixture(scope="module")
def fastest() -> dict[str, str]:
    return prints(_core.info()["isas"][-1])


@pytest.mark.parametrize("isa", _core.info()["isas"][:-1])
def test_work_of_every_kind_on_every_instruction_set(isa: str, fastest: dict[str, str]) -> None:
    slower = prints(isa)
    assert slower.keys() == fastest.keys()
    different = [name for name in fastest if slower[name] != fastest[name]]
    assert not different, f"{len(different)} differ, among them {different[:5]}"


def test_works_of_every_kind_differ(fastest: dict[str, str]) -> None:
    """Negative control: what settings change shows; some say the same as others, or are not met by these inputs."""
    assert len(fastest) > 2000
    assert len(set(fastest.values())) > 0.8 * len(fastest)


# ---- negative controls: a reference that is wrong in one place does not agree


def everything() -> None:
    """A little of everything, compared."""
    plan = tiki_taka(2, "vectors", gamma=0.4, reads=2)
    device = {**DEVICES["PowStep"], "subtract_symmetry_point": True, "dw_min_dtod_log_normal": True}
    forward, backward = {**KIT, "out_bound": 0.3, "inp_noise": 0.01}, {"inp_noise": 0.01, "out_noise": 0.01}
    every = {**ALL, "noise_management": "none", "bound_management": "none"}
    several = tiki_taka(2, "vectors", gamma=0.4, reads=2, io=every)
    several["transfers"] = [{**several["transfers"][0], "axis": axis} for axis in ("columns", "rows")]
    separate = {**ALL, "mv_type": "pos_neg_separate_digital_sum"}
    noisy = {**DEVICES["SoftBounds"], "write_noise_std": 1.0}
    for tiles in (
        both((4, 5), device, plan, forward=forward, backward=backward),
        both((4, 5), device, several, forward=ALL, backward=separate),
        both((4, 5), noisy, PLANS["latched mean"]),
        both((4, 5), noisy, PLANS["auto-scaled gradient"]),
        both((4, 5), noisy, PLANS["both choppers, on rows"]),
        both((4, 5), noisy, PLANS["tracked reference, every vector"]),
        both((4, 5), noisy, PLANS["programmed from itself"]),
        both((4, 5), noisy, PLANS["mixed precision, rounded by chance"]),
        both((4, 5), noisy, PLANS["mixed precision, rounded"]),
    ):
        for tile in tiles:
            tile.zero_shift(next(iter(tiles[1].arrays)), SHIFTS["random, noisy"])
        train(tiles, m=5)
        x, d = vectors(7, 3, (4, 5))
        assert_same(*(tile.forward(x, True) for tile in tiles), "forward")
        assert_same(*(tile.forward(x, False) for tile in tiles), "forward, evaluation")
        assert_same(*(tile.forward(x, True, False) for tile in tiles), "forward, no noise")
        assert_same(*(tile.backward(d) for tile in tiles), "backward")
        assert_same_state(tiles)


def test_everything_agrees() -> None:
    everything()


CONSTANTS = [
    "STREAM_VERSION",
    "GOLDEN",
    "DEVICE",
    "RUN",
    "EVAL",
    "PULSE",
    "TRAIN_X",
    "TRAIN_D",
    "FORWARD_OUT",
    "FORWARD_IN",
]
CONSTANTS += ["BACKWARD_OUT", "BACKWARD_IN", "READ_OUT", "READ_IN", "WRITE_X", "WRITE_D"]
CONSTANTS += ["CHOP", "CHOP_CROSS", "BIN_X", "BIN_D", "COPY", "LATCH", "SHIFT", "SHIFT_READ"]
CONSTANTS += ["FORWARD", "BACKWARD", "READ", "READ_ROWS", "OF_NOISE", "OF_NONLINEARITY", "OF_OFFSET", "OF_READING"]


@pytest.mark.parametrize("name", CONSTANTS)
def test_every_key_counts(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reference, name, getattr(reference, name) + 100)
    with pytest.raises(AssertionError, match="differ"):
        everything()


def other_multiplier(key: int, i: Any, n: Any) -> Any:
    """`words` with another last multiplier."""
    h = (i * np.uint32(0x9E3779B9) + n * np.uint32(0x85EBCA6B)) ^ np.uint32(key & 0xFFFFFFFF)
    h = (h ^ (h >> np.uint32(16))) * np.uint32(0x21F0AAAD)
    h = ((h ^ (h >> np.uint32(15))) ^ np.uint32(key >> 32)) * np.uint32(0xD35A2D97)
    h = (h ^ (h >> np.uint32(15))) * np.uint32(0x2C1B3C6F)
    return h ^ (h >> np.uint32(16))


def first_ordinal_one(begin: Callable[..., None]) -> Callable[..., None]:
    """An update call whose ordinals start at 1."""

    def wrong(array: Any, *arguments: Any) -> None:
        begin(array, *arguments)
        array.ordinals = np.ones(array.values.shape, np.uint32)

    return wrong


def restart_after_event(event: Callable[..., None]) -> Callable[..., None]:
    """Ordinals that start again at every cut."""

    def wrong(tile: Any, *arguments: Any) -> None:
        event(tile, *arguments)
        for crossbar in tile.crossbars():
            crossbar.begin(crossbar.call)

    return wrong


def from_the_right(matrix: Floats, v: Floats) -> Floats:
    """Products summed from right to left."""
    z = np.zeros(len(matrix), np.float32)
    for j in reversed(range(len(v))):
        z = z + matrix[:, j] * v[j]
    return z


def distributed(device: Any, cell: Any, v: Floats, up: Any, z: Floats) -> Floats:
    """A pulse rounded elsewhere: `v + size q + size sigma z q`."""
    q = reference.response(device, cell, v, up)
    size = np.where(up, cell["dw_up"], -cell["dw_down"])
    m = q if device["mult_noise"] else np.float32(1)
    moved = v + (size * q + size * (np.float32(device["dw_min_std"]) * z * m))
    return reference.clip(moved, cell["w_min"], cell["w_max"])


# Where, what, and the wrong thing in its place, made from the right one.
MUTATIONS: dict[str, tuple[Any, str, Callable[[Any], Any]]] = {
    "another multiplier": (reference, "words", lambda _: other_multiplier),
    "ordinals from 1": (reference.Crossbar, "begin", first_ordinal_one),
    "ordinals restart at cuts": (reference.Tile, "event", restart_after_event),
    "normals turned": (reference, "normal", lambda right: lambda word: -right(word)),
    "one coefficient of normals": (reference, "DISTANCE", lambda right: [*right[:4], right[4] + np.float32(1e-6)]),
    "one coefficient of ln": (reference, "LN", lambda right: [*right[:2], np.float32(0.1996), *right[3:]]),
    "one coefficient of exp": (reference, "EXP", lambda right: [*right[:4], np.float32(0.00144)]),
    "sums from the right": (reference, "multiply", lambda _: from_the_right),
    "a step rounded elsewhere": (reference, "step", lambda _: distributed),
    "no symmetric point": (reference, "symmetric_point", lambda _: lambda device, cells: np.float32(0)),
    "no bounds": (reference, "clip", lambda _: lambda v, low, high: v),
    "rounding down": (reference, "rint", lambda _: np.floor),
    "no noise management": (reference.Periphery, "factor", lambda _: lambda self, x, learn: np.float32(1)),
    "nearest rounding": (
        reference,
        "quantised",
        lambda right: lambda v, delta, random, key, i: right(v, delta, False, key, i),
    ),
    "no asymmetry": (reference, "weakened", lambda _: lambda v, asymmetry: v),
    "no worst case": (reference.Periphery, "worst_case", lambda _: lambda self, x: np.float32(1)),
    "one polarity": (reference.Periphery, "other", lambda _: lambda self, matrix: matrix),
    "amplifications swapped": (reference, "scale_factors", lambda right: lambda *a: (right(*a)[0], *right(*a)[:0:-1])),
    "trains at half the rate": (reference, "train", lambda right: lambda key, p, bl: right(key, p / 2, bl)),
    "planes in another order": (reference, "count", lambda right: lambda n: right(n)[::-1]),
    "no threshold": (reference.Tile, "amount", lambda _: lambda self, transfer, step, total, line: total),
    "no signs": (reference.Tile, "signs", lambda right: lambda self, t: tuple(0 * s + 1 for s in right(self, t))),
    "no latch": (reference.Tile, "latch", lambda _: lambda self, transfer, tags: None),
    "no levels": (reference, "levelled", lambda _: lambda values, n, key: values),
    "no running maxima": (
        reference.Tile,
        "gradient_rate",
        lambda _: lambda self, x, d, m, lr: reference.rate_at(self.plan["gradient"]["rate"], lr, 1.0),
    ),
    "no rate of the gradient": (reference, "rate_at", lambda right: lambda rate, lr, rho: right(rate, lr, 1.0)),
    "a transfer late": (reference.Transfer, "due", lambda right: lambda self, b, m, v, n: right(self, b, m, v - 1, n)),
}


@pytest.mark.parametrize("mutation", MUTATIONS.values(), ids=MUTATIONS)
def test_a_wrong_reference_differs(mutation: tuple[Any, str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    owner, name, make = mutation
    monkeypatch.setattr(owner, name, make(getattr(owner, name)))
    with pytest.raises(AssertionError, match="differ"):
        everything()
