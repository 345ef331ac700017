"""Devices, periphery, pulses, seeds, algorithms and tiles as Python objects: what a user sees before any pulse."""

import copy
import json
import math
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import FrozenInstanceError, dataclass, fields, replace
from typing import Any

import numpy as np
import pytest

import ohmgrad as og
from ohmgrad import _core, devices
from ohmgrad.algorithms import Gradient, Plan, Rate, Term, TileFacts, algorithms, describe
from ohmgrad.devices import models
from ohmgrad.seeds import as_seeds

TABLE: dict[str, Any] = dict(w=[-1.0, -0.25, 0.5, 2.0], q_up=[2.0, 1.5, 1.0, 0.0], q_down=[0.0, 0.5, 1.0, 3.0])

DEVICES = [
    devices.ConstantStep(dw_min=0.01),
    devices.SoftBounds(w_max=1.25, w_min=-0.75, dw_min_std=0.3, dw_min_dtod=0.1, dw_min_dtod_log_normal=True),
    devices.SoftBoundsReference(reference_std=0.05, subtract_symmetry_point=True, slope_up_dtod=0.1),
    devices.PowStep(pow_gamma=2.0, pow_up_down=-0.1),
    devices.LinearResponse(tau=3.5, c=0.2),
    devices.PowerResponse(tau=0.5, gamma=2.0, mult_noise=True),
    devices.ExponentialResponse(gamma=3.0, up_down=0.1),
    devices.Tabulated(**TABLE, dw_min=0.002),
    devices.LinearStep(gamma_up=0.25, gamma_down_dtod=0.1, mult_noise=False, drift=devices.Drift(nu=0.03)),
    devices.SoftBoundsPmax(alpha=0.01, range_min=-0.5),
    devices.ExpStep(A_up=-1.2, a=-0.5, b=-0.5, gamma_up=5.0, write_noise_std=75.0),
    devices.PowStepReference(pow_gamma=2.0, pow_up_down=-0.1, kit_compat=True),
    devices.PiecewiseStep(u_up=(2.0, 1.0, 0.0), u_down=(0.0, 1.0, 2.0), corrupt_devices_prob=0.1),
    devices.ShiftedLinear(shift=0.25, tau_max=0.5, perfect_bias=True),
    devices.SaturatingExponential(gamma_up=3.0, reset=0.1, reset_dtod=0.01),
]
ALGORITHMS = [
    og.DigitalSGD(),
    og.AnalogSGD(zero_shift=og.ZeroShift(mode="random", io=og.IO(out_noise=0.1))),
    og.TikiTaka(gamma=0.4, transfer_io=og.IO.kit(noise_management="none", bound_management="none")),
    og.ResidualLearning(n_reads_per_transfer=0, transfer_pulses=og.PulseTrain(pulse_type="analog_update")),
    og.TikiTakaV2.original(gamma=0.1),
    og.ResidualLearningV2(mode="threshold", auto_granularity=100.0),
    og.ChoppedTikiTakaV2(auto_scale=True, transfer_every=-2.0),
    og.AGAD(in_chop_prob=0.05, transfer_pulses=og.PulseTrain.single(desired_bl=2)),
    og.MultiTileResidualLearning(n_arrays=4, transfer_every_vec=(1.0, 2.0, 3.0)),
    og.MixedPrecision(n_x_bins=16, random_row=True, n_rows_per_transfer=1),
    og.ERIDER(chop_prob=0.1, units_in_mbatch=False),
]
SETTINGS = [og.IO(), og.IO.kit(out_noise=0.0), og.IO.paper(), og.PulseTrain(desired_bl=1), og.Seeds(noise=2**64 - 1)]


def named(value: object) -> str:
    return type(value).__name__


# ---- devices


def test_every_model_of_the_core_has_a_dataclass() -> None:
    cells = {"OneSided", "ReferenceCell", "Vector"}
    assert set(models.names()) - cells == set(_core.models()) == set(devices.__all__) - {"Cell", "Drift", *cells}
    assert {named(d) for d in DEVICES} == set(_core.models())


@pytest.mark.parametrize("device", DEVICES, ids=named)
def test_fields_are_those_of_the_core(device: devices.Device) -> None:
    with pytest.raises(ValueError, match=r"device\.colour is unknown \(value 1\), known: ") as caught:
        _core.validate_device(device.describe() | {"colour": 1})
    known = str(caught.value).split("known: ")[1].split(", ")
    assert sorted(known) == sorted(device.describe())


@pytest.mark.parametrize("device", DEVICES, ids=named)
def test_device_repr_evaluates_back_and_is_short(device: devices.Device) -> None:
    scope: dict[str, Any] = {}
    exec("from ohmgrad.devices import *", scope)
    again = eval(repr(device), scope)
    assert again == device
    assert hash(again) == hash(device)
    for field in (field for field in fields(device) if field.init):
        differs = getattr(device, field.name) != field.default
        assert bool(re.search(rf"\b{field.name}=", repr(device))) == differs


@pytest.mark.parametrize("device", DEVICES, ids=named)
def test_device_survives_json_copy_and_replace(device: devices.Device) -> None:
    assert models.decode(json.loads(json.dumps(models.encode(device)))) == device
    twin = copy.deepcopy(device)
    assert twin == device
    assert twin.q_up(0.1) == device.q_up(0.1)
    assert replace(device, dw_min_std=0.5).dw_min_std == 0.5
    with pytest.raises(FrozenInstanceError):
        device.dw_min = 1.0  # type: ignore[misc]


@pytest.mark.parametrize("device", DEVICES, ids=named)
def test_every_field_refuses_what_it_is_not(device: devices.Device) -> None:
    for field in (field for field in fields(device) if field.init):
        for value in ("many", 1 + 1j, object()):
            with pytest.raises(TypeError, match=rf"\b{field.name}\b"):
                replace(device, **{field.name: value})
        if field.type == "float":
            for number in (math.nan, math.inf, -math.inf, 1e39):
                with pytest.raises(ValueError, match=rf"\b{field.name}\b"):
                    replace(device, **{field.name: number})


@pytest.mark.parametrize("device", DEVICES, ids=named)
def test_response_splits_into_symmetric_and_asymmetric_part(device: devices.Device) -> None:
    low, high = device.bounds
    w = np.linspace(low, high, 12).reshape(3, 4)
    up, down = device.q_up(w), device.q_down(w)
    assert up.shape == down.shape == w.shape
    assert up.dtype == np.float64
    np.testing.assert_array_equal(device.F(w), (down + up) / 2)
    np.testing.assert_array_equal(device.G(w), (down - up) / 2)
    assert isinstance(device.q_up(0.25), float)
    assert device.q_up([0.25])[0] == device.q_up(0.25)
    assert device.n_states == pytest.approx((high - low) / device.granularity, rel=1e-12)
    if not math.isnan(device.symmetric_point):
        # a root found by bisection in float64 is exact to some 1e-16 of the range, and |G'| < 100 here
        assert device.G(device.symmetric_point) == pytest.approx(0.0, abs=1e-12)


def test_symmetric_points_and_granularities_in_closed_form() -> None:
    assert devices.LinearResponse(tau=3.5, c=0.2).symmetric_point == pytest.approx(0.7, rel=1e-12)
    assert devices.SoftBounds(w_max=1.0, w_min=-1.0, up_down=0.2).symmetric_point == pytest.approx(0.2 / 1.8, rel=1e-12)
    assert devices.PowStep(dw_min=0.01, pow_gamma=3.0).granularity == 0.01 / 8
    # 2^-gamma as a product of up to 53 roots: one rounding each, two of each root, and one bit less of gamma
    for gamma in [*np.geomspace(1e-6, 100.0, 2000), *np.linspace(0.0, 3.0, 500)[1:], 1 - 2**-53]:
        exact = 2.0**-gamma
        granularity = devices.PowStep(dw_min=1.0, pow_gamma=float(gamma)).granularity
        assert abs(granularity - exact) <= (3 * 53 + 1) * 2**-53 * exact
    table = devices.Tabulated(w=[-1, 1], q_up=[3, 1], q_down=[0, 1], dw_min=0.1)
    assert table.granularity == pytest.approx(0.1 * (2.0 + 0.5) / 2, rel=1e-12)
    assert table.bounds == (-1.0, 1.0)


def test_a_table_is_both_samples_and_function() -> None:
    grid = np.linspace(-1.0, 1.0, 5)
    device = devices.Tabulated(w=grid, q_up=1 - grid, q_down=1 + grid)
    assert device.w == (-1.0, -0.5, 0.0, 0.5, 1.0)
    assert device.q_up == (2.0, 1.5, 1.0, 0.5, 0.0)
    assert device.q_up(0.25) == 0.75
    np.testing.assert_array_equal(device.q_down(np.array([-0.25, 0.25])), [0.75, 1.25])


@pytest.mark.parametrize(
    ("build", "field", "value"),
    [
        (lambda: devices.SoftBounds(dw_min=0.0), "dw_min", "0"),
        (lambda: devices.SoftBounds(dw_min=math.nan), "dw_min", "nan"),
        (lambda: devices.SoftBounds(dw_min=math.inf), "dw_min", "inf"),
        (lambda: devices.SoftBounds(dw_min_std=-0.5), "dw_min_std", "-0.5"),
        (lambda: devices.ConstantStep(w_max=-0.5), "w_max", "-0.5"),
        (lambda: devices.ConstantStep(w_min=0.5), "w_min", "0.5"),
        (lambda: devices.SoftBounds(up_down=1.5), "up_down", "1.5"),
        (lambda: devices.SoftBoundsReference(slope_up_dtod=-0.5), "slope_up_dtod", "-0.5"),
        (lambda: devices.PowStep(pow_gamma=0.0), "pow_gamma", "0"),
        (lambda: devices.LinearResponse(tau=0.0), "tau", "0"),
        (lambda: devices.LinearResponse(c=-1.0), "c", "-1"),
        (lambda: devices.PowerResponse(gamma=-2.0), "gamma", "-2"),
        (lambda: devices.ExponentialResponse(gamma=0.0), "gamma", "0"),
        (lambda: devices.Tabulated(w=[0.5, 1], q_up=[1, 0], q_down=[0, 1]), "w", "w[0] <= 0"),
        (lambda: devices.Tabulated(w=[0], q_up=[1], q_down=[1]), "w", "1"),
        (lambda: devices.Tabulated(w=[-1, 1], q_up=[1, -0.25], q_down=[0, 1]), "q_up", "-0.25"),
        (lambda: devices.Tabulated(w=[-1, 1], q_up=[1, 0], q_down=[0, 1, 2]), "q_down", "3"),
        (lambda: og.IO(out_noise=-0.5), "out_noise", "-0.5"),
        (lambda: og.IO(noise_management="most"), "noise_management", "most"),  # type: ignore[arg-type]
        (lambda: og.IO(bound_management="worst"), "bound_management", "worst"),  # type: ignore[arg-type]
        (lambda: og.PulseTrain(desired_bl=0), "desired_bl", "0"),
        (lambda: og.PulseTrain(desired_bl=16385), "desired_bl", "16385"),
        (lambda: og.PulseTrain(pulse_type="magic"), "pulse_type", "magic"),  # type: ignore[arg-type]
        (lambda: og.Seeds(noise=-1), "noise", "-1"),
        (lambda: og.Seeds(init=2**64), "init", str(2**64)),
        (lambda: as_seeds(-3), "seed", "-3"),
        (lambda: og.TikiTaka(gamma=-0.5), "gamma", "-0.5"),
        (lambda: og.TikiTaka(gamma=math.nan), "gamma", "nan"),
        (lambda: og.TikiTaka(fast_lr=0.0), "fast_lr", "0"),
        (lambda: og.TikiTaka(transfer_every=0.0), "transfer_every", "0"),
        (lambda: og.TikiTaka(transfer_every=1.5, units_in_mbatch=False), "transfer_every", "1.5"),
        (lambda: og.TikiTaka(n_reads_per_transfer=-1), "n_reads_per_transfer", "-1"),
        (lambda: og.TikiTaka(transfer_lr=math.inf), "transfer_lr", "inf"),
        (lambda: og.Tile(0, 3), "d_out", "0"),
        (lambda: og.Tile(3, 2**70), "d_in", str(2**70)),
        (lambda: og.threads(-1), "threads", "-1"),
    ],
)
def test_values_out_of_range_name_field_and_value(build: Callable[[], object], field: str, value: str) -> None:
    with pytest.raises(ValueError, match=rf"\b{field}\b") as caught:
        build()
    assert value in str(caught.value).lower()


@pytest.mark.parametrize(
    ("build", "field"),
    [
        (lambda: devices.SoftBounds(dw_min="0.1"), "dw_min"),  # type: ignore[arg-type]
        (lambda: devices.SoftBounds(dw_min=True), "dw_min"),
        (lambda: devices.SoftBounds(mult_noise=1), "mult_noise"),  # type: ignore[arg-type]
        (lambda: devices.SoftBounds(w_max=None), "w_max"),  # type: ignore[arg-type]
        (lambda: devices.SoftBounds(w_max=1j), "w_max"),  # type: ignore[arg-type]
        (lambda: devices.Tabulated(w="ab", q_up=[1, 0], q_down=[0, 1]), "w"),  # type: ignore[arg-type]
        (lambda: devices.Tabulated(w=[-1, 1], q_up=[1, None], q_down=[0, 1]), "q_up"),
        (lambda: devices.Tabulated(w=[-1, 1], q_up=[1, 0]), "q_down"),  # type: ignore[call-arg]
        (lambda: devices.SoftBounds(w_maximum=1.0), "w_maximum"),  # type: ignore[call-arg]
        (lambda: og.IO.kit(out_nosie=0.0), "out_nosie"),
        (lambda: og.IO(noise_management=1), "noise_management"),  # type: ignore[arg-type]
        (lambda: og.PulseTrain(desired_bl=3.5), "desired_bl"),  # type: ignore[arg-type]
        (lambda: og.Seeds(device=1.0), "device"),  # type: ignore[arg-type]
        (lambda: as_seeds("7"), "seed"),  # type: ignore[arg-type]
        (lambda: og.TikiTaka(transfer_io="kit"), "transfer_io"),  # type: ignore[arg-type]
        (lambda: og.Tile(2.0, 3), "d_out"),  # type: ignore[arg-type]
        (lambda: og.Tile(2, 3, device="SoftBounds"), "device"),  # type: ignore[arg-type]
        (lambda: og.Tile(2, 3, algorithm=og.TikiTaka), "algorithm"),  # type: ignore[arg-type]
        (lambda: og.Tile(2, 3, io=og.PulseTrain()), "io"),  # type: ignore[arg-type]
        (lambda: og.Tile(2, 3).update([1.0] * 3, [1.0] * 2, lr="fast"), "lr"),  # type: ignore[arg-type]
        (lambda: og.threads(2.5), "threads"),  # type: ignore[arg-type]
        (lambda: og.Tile(2, 3, name=3), "name"),  # type: ignore[arg-type]
    ],
)
def test_values_of_another_kind_are_type_errors(build: Callable[[], object], field: str) -> None:
    with pytest.raises(TypeError, match=rf"\b{field}\b"):
        build()


def test_numpy_numbers_become_python_numbers() -> None:
    given: dict[str, Any] = dict(dw_min=np.float64(0.25), w_max=np.int64(2), mult_noise=np.bool_(False))
    assert repr(devices.SoftBounds(**given)) == "SoftBounds(dw_min=0.25, mult_noise=False, w_max=2.0)"
    bl: Any = np.int32(7)
    assert type(og.PulseTrain(desired_bl=bl).desired_bl) is int


# ---- periphery, pulses, seeds


@pytest.mark.parametrize("value", SETTINGS, ids=repr)
def test_setting_repr_evaluates_back(value: object) -> None:
    assert eval(repr(value), {"IO": og.IO, "PulseTrain": og.PulseTrain, "Seeds": og.Seeds}) == value


def test_presets_take_overrides() -> None:
    kit = og.IO.kit()
    assert (kit.inp_bound, kit.inp_res, kit.out_bound, kit.out_res, kit.out_noise) == (1, 1 / 126, 12, 1 / 510, 0.06)
    assert (kit.noise_management, kit.bound_management) == ("abs_max", "iterative")
    paper = og.IO.paper(out_noise=0.0)
    assert (paper.inp_bound, paper.inp_res, paper.out_bound, paper.out_res) == (1, 1 / 254, 20, 1 / 254)
    assert (paper.out_noise, paper.noise_management, paper.bound_management) == (0, "abs_max", "iterative")
    assert og.IO.kit(bound_management="none") == replace(kit, bound_management="none")
    assert og.IO.kit_device(inp_res=0.0) == replace(kit, out_bound=20.0, out_noise=0.1, inp_res=0.0)
    standard = og.IO.standard(out_bound=3.0)
    assert standard == replace(kit, inp_res=1 / 254, out_res=1 / 254, out_bound=3.0, out_noise=0.04)


def test_readout_has_no_management_and_keeps_the_rest() -> None:
    readout = og.IO.kit().readout()
    assert readout == og.IO.kit(noise_management="none", bound_management="none")
    assert og.IO().readout() == og.IO()


def test_one_seed_stands_for_all_three() -> None:
    assert as_seeds(5) == og.Seeds(device=5, noise=5, init=5)
    assert as_seeds(og.Seeds(device=1)) == og.Seeds(device=1, noise=0, init=0)


# ---- algorithms


@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=named)
def test_algorithm_repr_and_json_come_back(algorithm: og.algorithms.Algorithm) -> None:
    scope = {name: getattr(og, name) for name in (*algorithms.names(), "IO", "PulseTrain", "ZeroShift")}
    assert eval(repr(algorithm), scope) == algorithm
    assert algorithms.decode(json.loads(json.dumps(algorithms.encode(algorithm)))) == algorithm


def test_tiki_taka_plan_in_full() -> None:
    io, pulses = og.IO.kit(), og.PulseTrain(desired_bl=7)
    algorithm = og.TikiTaka(gamma=0.25, transfer_every=3, units_in_mbatch=False, n_reads_per_transfer=0)
    assert describe(algorithm.plan(TileFacts(d_out=2, d_in=3)), io, pulses) == {
        "arrays": ["fast", "slow"],
        "digital": [],
        "weight": [
            {"matrix": "fast", "factor": 0.25, "chopped": False},
            {"matrix": "slow", "factor": 1.0, "chopped": False},
        ],
        "gradient": {
            "target": "fast",
            "rate": {"value": 0.01, "scaled": False, "per_gradient_rate": False},
            "chopped": False,
            "auto_scale": None,
            "n_x_bins": 0,
            "n_d_bins": 0,
            "stoc_round_x": True,
            "stoc_round_d": True,
        },
        "transfers": [
            {
                "every": {"period": 3.0, "unit": "vectors"},
                "axis": "columns",
                "reads": 0,
                "random": False,
                "reset_prob": 0.0,
                "chopper": None,
                "io": io.readout().describe(),
                "steps": [
                    {
                        "write": {
                            "source": [{"matrix": "fast", "factor": 1.0, "chopped": False}],
                            "target": "slow",
                            "rate": {"value": 1.0, "scaled": True, "per_gradient_rate": False},
                            "unit": 1.0,
                            "threshold": None,
                            "deadband": 0.0,
                            "after_passes": None,
                            "pulses": pulses.describe(),
                        }
                    }
                ],
            }
        ],
    }


def test_residual_learning_is_tiki_taka_with_a_share_of_the_fast_array() -> None:
    shape = TileFacts(d_out=2, d_in=3)
    assert og.ResidualLearning(fast_lr=0.05).plan(shape) == og.TikiTaka(gamma=0.4, fast_lr=0.05).plan(shape)


def test_unknown_names_in_a_configuration_are_errors_that_name_the_known_ones() -> None:
    with pytest.raises(ValueError, match="unknown device 'Memristor'; known: ConstantStep, "):
        models.decode({"type": "Memristor"})
    with pytest.raises(ValueError, match="unknown algorithm 'TikiTakaV9'; known: AGAD, AnalogSGD, "):
        algorithms.decode({"type": "TikiTakaV9"})
    with pytest.raises(ValueError, match="SoftBounds has no field 'tau'; its fields are dw_min"):
        models.decode({"type": "SoftBounds", "tau": 1.0})


@dataclass(frozen=True, kw_only=True)
class Halved:
    """An algorithm as a user writes it."""

    factor: float = 0.5

    def plan(self, tile: TileFacts) -> Plan:
        gradient = Gradient(target="weight", rate=Rate(self.factor, scaled=True))
        return Plan(digital=("weight",), weight=(Term("weight"),), gradient=gradient)


def test_an_algorithm_of_ones_own_runs_at_once_and_is_saved_once_registered() -> None:
    tile = og.Tile(1, 2, algorithm=Halved())
    tile.update([1.0, 2.0], [1.0], lr=1.0)
    np.testing.assert_array_equal(tile.weights, [[-0.5, -1.0]])
    with pytest.raises(ValueError, match=r"unknown algorithm 'Halved'; known: .*; register"):
        tile.config()
    algorithms.register(Halved)
    try:
        assert og.Tile.from_config(tile.config()).algorithm == Halved()
        with pytest.raises(ValueError, match="'Halved' is already taken"):
            algorithms.register(dataclass(type("Halved", (), {"__module__": "elsewhere"})))
    finally:
        del algorithms._classes["Halved"]


# ---- tiles


def test_tile_configuration_builds_the_same_tile() -> None:
    tile = og.Tile(
        3,
        4,
        device={"fast": devices.SoftBounds(dw_min_dtod=0.3), "slow": devices.Tabulated(**TABLE)},
        algorithm=og.TikiTaka(gamma=0.4, transfer_pulses=og.PulseTrain(desired_bl=1)),
        io=og.IO.kit(),
        backward_io=og.IO.paper(),
        pulses=og.PulseTrain(desired_bl=5),
        seed=og.Seeds(device=2**64 - 1, noise=3),
        name="fc1",
    )
    again = og.Tile.from_config(json.loads(json.dumps(tile.config())))
    assert again.config() == tile.config()
    scope = {name: getattr(og, name) for name in ("Tile", "TikiTaka", "IO", "PulseTrain", "Seeds")}
    exec("from ohmgrad.devices import *", scope)
    assert repr(eval(repr(tile), scope)) == repr(again) == repr(tile)
    for name, plane in tile.arrays["fast"].parameters.items():
        np.testing.assert_array_equal(again.arrays["fast"].parameters[name], plane)


def test_tile_settings_cannot_be_assigned() -> None:
    tile = og.Tile(1, 2)
    with pytest.raises(AttributeError, match="'io' cannot be assigned"):
        tile.io = og.IO.kit()


def test_single_vectors_are_rows_of_a_batch() -> None:
    w = np.arange(6, dtype=np.float32).reshape(2, 3) / 8
    tile, twin = (og.Tile(2, 3, device=devices.ConstantStep(dw_min=0.01), seed=4) for _ in range(2))
    for each in (tile, twin):
        each.set_weights(w)
    x, d = np.array([1.0, -0.5, 0.25], np.float32), np.array([0.5, -1.0], np.float32)
    y = tile.forward(x)
    assert (y.shape, tile.backward(d).shape) == ((2,), (3,))
    np.testing.assert_array_equal(y, twin.forward(x[None])[0])
    tile.update(x, d, lr=0.1)
    twin.update(x[None], d[None], lr=0.1)
    np.testing.assert_array_equal(tile.weights, twin.weights)
    assert not np.array_equal(tile.weights, w)


def test_arrays_and_parameters_are_copies_that_can_be_set() -> None:
    tile = og.Tile(2, 3, algorithm=og.TikiTaka(gamma=0.5), device=devices.SoftBounds(w_max_dtod=0.1))
    assert list(tile.arrays) == ["fast", "slow"]
    fast = tile.arrays["fast"]
    fast.weights = np.full((2, 3), 0.25)
    np.testing.assert_array_equal(tile.weights, np.full((2, 3), 0.125))
    fast.weights[0, 0] = 0.75
    np.testing.assert_array_equal(fast.weights, np.full((2, 3), 0.25))
    bounds = fast.parameters["w_max"]
    assert bounds.shape == (2, 3)
    assert len(set(bounds.ravel().tolist())) == 6
    fast.parameters["w_max"] = np.full((2, 3), 0.5)
    np.testing.assert_array_equal(fast.parameters["w_max"], np.full((2, 3), 0.5))
    fast.weights = np.full((2, 3), 0.75)
    np.testing.assert_array_equal(fast.weights, np.full((2, 3), 0.5))
    assert fast.granularity == tile.granularity() == tile.granularity("slow") == devices.SoftBounds().granularity
    assert fast.n_states == tile.n_states() == 2000


def test_unknown_arrays_and_parameters_name_the_known_ones() -> None:
    tile = og.Tile(2, 3, algorithm=og.TikiTaka())
    with pytest.raises(KeyError, match="no array 'hidden'; known: fast, slow"):
        tile.arrays["hidden"]
    with pytest.raises(KeyError, match=r"array 'fast' has no parameter 'colour'; known: .*w_max"):
        tile.arrays["fast"].parameters["colour"]
    with pytest.raises(KeyError, match="no parameter 'colour'"):
        tile.arrays["fast"].parameters["colour"] = np.zeros((2, 3))
    assert "w_max" in tile.arrays["slow"].parameters
    assert "colour" not in tile.arrays["slow"].parameters
    with pytest.raises(ValueError, match=r"device names the arrays \['weight'\], the algorithm has \['fast', 'slow'\]"):
        og.Tile(2, 3, device={"weight": devices.SoftBounds()}, algorithm=og.TikiTaka())


def test_digital_matrices_have_weights_and_no_parameters() -> None:
    tile = og.Tile(1, 2, algorithm=og.DigitalSGD())
    tile.arrays["weight"].weights = [[3.0, -4.0]]
    np.testing.assert_array_equal(tile.weights, [[3.0, -4.0]])
    assert not hasattr(tile.arrays["weight"], "parameters")


def test_errors_leave_a_tile_as_it_was() -> None:
    tile = og.Tile(2, 3, device=devices.SoftBounds(dw_min_std=0.3), algorithm=og.TikiTaka(), io=og.IO.kit(), seed=1)
    tile.set_weights(np.full((2, 3), 0.25))
    before = tile.state_dict()
    good_x, good_d = np.ones((4, 3)), np.ones((4, 2))
    for wrong in (
        lambda: tile.forward(np.ones((4, 2))),
        lambda: tile.forward(np.full((1, 3), np.nan)),
        lambda: tile.forward(np.ones((2, 2, 2))),
        lambda: tile.backward(np.ones(3)),
        lambda: tile.update(good_x, np.ones((3, 2)), lr=0.1),
        lambda: tile.update(good_x, np.full((4, 2), np.inf), lr=0.1),
        lambda: tile.update(good_x, good_d, lr=math.nan),
        lambda: tile.set_weights(np.ones((3, 2))),
        lambda: tile.set_weights(np.full((2, 3), np.nan)),
        lambda: tile.load_state_dict({}),
        lambda: tile.load_state_dict(og.Tile(2, 4, algorithm=og.TikiTaka()).state_dict()),
        lambda: tile.load_state_dict(og.Tile(2, 3).state_dict()),
    ):
        with pytest.raises(ValueError, match=r"\w"):
            wrong()
    after = tile.state_dict()
    assert before.keys() == after.keys()
    for name, value in before.items():
        np.testing.assert_array_equal(after[name], value, err_msg=name)


def test_a_loaded_state_goes_on_bit_for_bit() -> None:
    device = devices.SoftBoundsReference(dw_min=0.01, dw_min_std=0.3, dw_min_dtod=0.3, reference_std=0.05)

    def fresh() -> og.Tile:
        return og.Tile(
            3, 5, device=device, algorithm=og.TikiTaka(gamma=0.4, transfer_every=1.5), io=og.IO.kit(), seed=3
        )

    # multiples of 1/8: any exact floats do, no generator needed
    x = (np.arange(40, dtype=np.float32).reshape(8, 5) % 7 - 3) / 8
    d = (np.arange(24, dtype=np.float32).reshape(8, 3) % 5 - 2) / 8

    def steps(tile: og.Tile) -> list[np.ndarray[Any, Any]]:
        out = []
        for _ in range(3):
            out += [tile.forward(x), tile.backward(d)]
            tile.update(x, d, lr=0.5)
        return [*out, tile.forward(x, training=False), tile.weights]

    first, second = fresh(), fresh()
    steps(first)
    second.load_state_dict(first.state_dict())
    for one, other in zip(steps(first), steps(second), strict=True):
        np.testing.assert_array_equal(one, other)


# ---- the package


def test_import_is_light_and_names_are_complete() -> None:
    code = (
        "import sys, ohmgrad\n"
        "heavy = {'click', 'rich', 'safetensors', 'matplotlib', 'torch', 'jax', 'sklearn'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "assert set(ohmgrad.__all__) == set(dir(ohmgrad))\n"
        "for name in ohmgrad.__all__: getattr(ohmgrad, name)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_unknown_attribute_is_an_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'TikiTakaV9'"):
        og.TikiTakaV9  # noqa: B018


def test_threads_are_read_and_set() -> None:
    before = og.threads()
    assert og.threads(1) == og.threads() == 1
    assert og.threads(before) == before
    with pytest.raises(ValueError, match=r"\b0\b"):
        og.threads(0)
