"""Whatever is wrong with an input: one error that names it, and nothing has changed. Whatever is a number counts."""

from __future__ import annotations

import json
import os
import re
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import ohmgrad as og
from ohmgrad import checkpoint, curves, devices, theory
from ohmgrad.nn import MSE, NLL, CrossEntropy, Linear, LogSoftmax, Sequential, Tanh, mapping

Change = Callable[[dict[str, Any]], object]
Lies = Any

DEVICE = devices.SoftBounds(dw_min=0.01, dw_min_dtod=0.2, dw_min_std=0.3, w_max_dtod=0.1, reference_std=0.01)
SWITCHES = [field for field, default in mapping.DEFAULTS.items() if isinstance(default, bool)]
NAN, INF, HUGE = np.nan, np.inf, 10**400


def bits(state: dict[str, NDArray[Any]]) -> dict[str, bytes]:
    return {name: value.tobytes() for name, value in state.items()}


class Stage:
    """A tile and a network in the middle of training, and data that fit: what a mistake is made with."""

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        self.x = rng.normal(size=(20, 4)).astype(np.float32)
        self.y = rng.integers(0, 3, 20)
        self.d = 0.1 * rng.normal(size=(20, 3)).astype(np.float32)
        self.tile = og.Tile(3, 4, device=DEVICE, algorithm=og.TikiTaka(gamma=0.5), io=og.IO.kit(), seed=1, name="t")
        self.tile.update(self.x, self.d, 0.1)
        self.array = self.tile.arrays["fast"]
        layers = Linear(4, 5), Tanh(), Linear(5, 3)
        self.model = Sequential(*layers).on(DEVICE, algorithm=og.ResidualLearning(), seed=2, learn_out_scaling=True)
        self.model.train_step(self.x, self.y, CrossEntropy(), 0.1)
        self.first: Lies = self.model[0]
        # a gradient is waiting for its update
        self.model.forward(self.x)
        self.model.backward(self.d)

    def state(self) -> dict[str, bytes]:
        return bits(self.tile.state_dict()) | bits(self.model.state_dict())

    def load(self, **changed: Any) -> None:
        """Load the tile's state with parts of ``fast`` or the counters changed."""
        names = {name if name == "counters" else f"fast.{name}": value for name, value in changed.items()}
        self.tile.load_state_dict(self.tile.state_dict() | names)

    def fit(self, x: Any = None, y: Any = None, **changed: Any) -> None:
        data = (self.x if x is None else x, self.y if y is None else y)
        og.fit(self.model, data, **{"epochs": 1, "batch_size": 5, "lr": 0.1} | changed)

    def evaluate(self, **changed: Any) -> None:
        og.evaluate(self.model, (self.x, self.y), **changed)

    def labels(self, last: int) -> NDArray[np.int64]:
        return np.append(self.y[:-1], last)


@dataclass(frozen=True, kw_only=True)
class Case:
    """A mistake, and what the error has to name: patterns for the field, the value and the allowed range.

    ``passes``: vectors go through the network before the mistake can be seen. That moves the counters of their noise,
    and nothing else.
    """

    act: Callable[[Stage], object]
    error: type[Exception] = ValueError
    field: str
    value: str = ""
    allowed: str = ""
    passes: bool = False

    def param(self) -> Any:
        name = re.sub(r"\\b|\\|\(\?i\)", "", f"{self.field} {self.value} {self.allowed}").strip()
        return pytest.param(self, id=name)


def cell(name: str, value: float) -> Callable[[Stage], None]:
    return lambda s: s.array.parameters.__setitem__(name, np.full((3, 4), value))


def one(**settings: Any) -> Callable[[Stage], object]:
    return lambda s: Sequential(Linear(4, 3, **settings)).on(DEVICE)


def io(**settings: Any) -> Callable[[Stage], object]:
    return lambda s: og.IO(**settings)


def built(device: type[devices.Device], fields: dict[str, Any]) -> Callable[[Stage], object]:
    return lambda s: device(**fields)


def drift(**fields: Any) -> dict[str, Any]:
    return {"drift": devices.Drift(**fields)}


BAD_DEVICES: list[tuple[Any, dict[str, Any], str, str, str]] = [
    # what all of them have
    (devices.SoftBounds, dict(reset=NAN), "device.reset", "NaN", "-1000000000.0 to"),
    (devices.SoftBounds, dict(reset_dtod=-0.1), "device.reset_dtod", "-0.1", "0.0 to"),
    (devices.SoftBounds, dict(reset_std=INF), "device.reset_std", "inf", "0.0 to"),
    (devices.SoftBounds, dict(write_noise_std=-1.0), "device.write_noise_std", "-1", "0.0 to"),
    (devices.ConstantStep, dict(write_noise_std=0.5), "device.write_noise_std", "0.5", "0: .* no write noise"),
    (devices.PowStepReference, dict(write_noise_std=0.5), "device.write_noise_std", "0.5", "0: .* no write noise"),
    (devices.SoftBounds, dict(corrupt_devices_prob=1.5), "device.corrupt_devices_prob", "1.5", "0.0 to 1.0"),
    (devices.SoftBounds, dict(corrupt_devices_range=-0.1), "device.corrupt_devices_range", "-0.1", "0.0 to"),
    (devices.SoftBounds, drift(nu=NAN), "device.drift.nu", "NaN", "-1000000000.0 to"),
    (devices.SoftBounds, drift(t_0=0.0), "device.drift.t_0", "0", "1e-30 to"),
    (devices.SoftBounds, drift(nu_dtod=-1.0), "device.drift.nu_dtod", "-1", "0.0 to"),
    (devices.SoftBounds, drift(nu_std=-1.0), "device.drift.nu_std", "-1", "0.0 to"),
    (devices.SoftBounds, drift(wg_ratio=0.0), "device.drift.wg_ratio", "0", "1e-30 to"),
    (devices.SoftBounds, drift(w_noise_std=-1.0), "device.drift.w_noise_std", "-1", "0.0 to"),
    (devices.SoftBounds, drift(reset_tol=-1.0), "device.drift.reset_tol", "-1", "0.0 to"),
    # what each has for itself
    (devices.LinearStep, dict(gamma_up=NAN), "device.gamma_up", "NaN", "-1000000000.0 to"),
    (devices.LinearStep, dict(gamma_down_dtod=-0.1), "device.gamma_down_dtod", "-0.1", "0.0 to"),
    (devices.LinearStep, dict(reverse_offset=-0.1), "device.reverse_offset", "-0.1", "0.0 to"),
    (devices.LinearStep, dict(w_min=0.5), "device.w_min", "0.5", "to 0.0"),
    (devices.SoftBoundsPmax, dict(p_max=0.5), "device.p_max", "0.5", "1.0 to"),
    (devices.SoftBoundsPmax, dict(alpha=0.0), "device.alpha", "0", "1e-9 to 100.0"),
    (devices.SoftBoundsPmax, dict(range_max=-0.5), "device.range_max", "-0.5", "0.0 to"),
    (devices.SoftBoundsPmax, dict(range_min=0.5), "device.range_min", "0.5", "to 0.0"),
    (devices.SoftBoundsPmax, dict(range_min=0, range_max=0), "device.range_min", "0, 0", "range_min < range_max"),
    (devices.SoftBoundsPmax, dict(alpha=1e-9, p_max=1, range_max=10), "range_max", "10", "at most 1e9"),
    (devices.ExpStep, dict(A_up=1.0, A_down=1.0, b=0.0), "device.A_up", "1, 1", "a step at zero"),
    (devices.ExpStep, dict(A_up=-1e9, b=10, gamma_up=40), "device.A_up", "-1000000000", "at most 1e9"),
    (devices.ExpStep, dict(gamma_up=-1.0), "device.gamma_up", "-1", "0.0 to 40.0"),
    (devices.ExpStep, dict(gamma_down=41.0), "device.gamma_down", "41", "0.0 to 40.0"),
    (devices.ExpStep, dict(a=11.0), "device.a", "11", "-10.0 to 10.0"),
    (devices.ExpStep, dict(b=-11.0), "device.b", "-11", "-10.0 to 10.0"),
    (devices.ExpStep, dict(dw_min_std_add=-0.1), "device.dw_min_std_add", "-0.1", "0.0 to"),
    (devices.ExpStep, dict(dw_min_std_slope=-0.1), "device.dw_min_std_slope", "-0.1", "0.0 to"),
    (devices.PowStepReference, dict(pow_gamma=0.0), "device.pow_gamma", "0", "1e-6 to 100.0"),
    (devices.PowStepReference, dict(pow_up_down=2.0), "device.pow_up_down", "2", "-1.0 to 1.0"),
    (devices.PiecewiseStep, dict(u_up=[1, -1], u_down=[0, 1]), "device.u_up", "-1", "0.0 to"),
    (devices.PiecewiseStep, dict(u_up=[1, 1]), "device.u_up", "2 and 1", "as many up as down"),
    (devices.PiecewiseStep, dict(u_up=[], u_down=[]), "device.u_up", "0 and 0", "1 to 4096"),
    (devices.PiecewiseStep, dict(u_up=[1, 0, 1], u_down=[1, 1, 1]), "device.u_up", "0", "a step in the middle"),
    (devices.ShiftedLinear, dict(tau_max=0.0), "device.tau_max", "0", "1e-30 to"),
    (devices.ShiftedLinear, dict(tau_min=0.5), "device.tau_min", "0.5", "-1000000000.0 to -1e-30"),
    (devices.ShiftedLinear, dict(shift=1.5), "device.shift", "1.5", "-1.0 to 1.0"),
    (devices.SaturatingExponential, dict(gamma_up=0.0), "device.gamma_up", "0", "1e-6 to 40.0"),
    (devices.SaturatingExponential, dict(gamma_down=41.0), "device.gamma_down", "41", "1e-6 to 40.0"),
    (devices.SaturatingExponential, dict(w_max=0.0, w_min=0.0), "device.w_max", "0, 0", "w_min < w_max"),
]


def text(values: NDArray[Any]) -> NDArray[Any]:
    return values.astype(str)


CASES = [
    # ---- shapes
    Case(act=lambda s: s.tile.forward(s.x[:, :3]), field="x", value=r"\(20, 3\)", allowed=r"\(1 or more, 4\)"),
    Case(act=lambda s: s.tile.backward(s.d[:0]), field="d", value=r"\(0, 3\)", allowed=r"\(1 or more, 3\)"),
    Case(act=lambda s: s.tile.update(s.x[:, :0], s.d, 0.1), field="x", value=r"\(20, 0\)", allowed=r"\(1 or more, 4\)"),
    Case(act=lambda s: s.tile.set_weights(np.ones((0, 4))), field="weights", value=r"\(0, 4\)", allowed=r"\(3, 4\)"),
    Case(act=lambda s: s.tile.set_weights(0.5), field="weights", value="single number", allowed="array"),
    Case(act=lambda s: s.model.forward(s.x[:, :3]), field="x", value=r"\(20, 3\)", allowed=r"\(1 or more, 4\)"),
    Case(act=lambda s: s.first.set_weight(np.ones((4, 5))), field="weight", value=r"\(4, 5\)", allowed=r"\(5, 4\)"),
    Case(act=lambda s: s.first.set_bias(np.ones(4)), field="bias", value=r"\(4,\)", allowed=r"\(5,\)"),
    Case(
        act=lambda s: s.model.forward(s.x[0]),
        field=r"\bx\b",
        value=r"\(4,\)",
        allowed="batch, 4",
    ),
    Case(
        act=lambda s: s.tile.forward([[1, 2, 3, 4], [1]]),
        field=r"\bx\b",
        value="inhomogeneous",
    ),
    Case(
        act=lambda s: s.first.receive(np.ones((20, 1), np.float32)),
        field=r"\bd\b",
        value=r"\(20, 1\)",
        allowed=r"\(20, 5\)",
    ),
    # ---- kinds of values
    Case(act=lambda s: s.tile.forward(s.x + 0j), error=TypeError, field="x", value="complex64", allowed="real numbers"),
    Case(act=lambda s: s.tile.forward(s.x.astype(object)), error=TypeError, field="x", value="object", allowed="real"),
    Case(act=lambda s: s.tile.backward(text(s.d)), error=TypeError, field="d", value="<U", allowed="real numbers"),
    Case(act=lambda s: s.tile.set_weights(np.full((3, 4), None)), error=TypeError, field="weights", value="object"),
    Case(act=lambda s: s.tile.update(s.x, s.d.astype("M8[s]"), 0.1), error=TypeError, field="d", value="datetime64"),
    Case(act=lambda s: s.tile.update(s.x, s.d, 1j), error=TypeError, field="lr", value="1j"),  # type: ignore[arg-type]
    Case(act=lambda s: s.tile.update(s.x, s.d, HUGE), field="lr", value="range of floats", allowed="finite"),
    Case(act=lambda s: s.tile.update(s.x, s.d, 1e39), field="lr", value="10{39}", allowed="finite in float32"),
    Case(act=lambda s: s.tile.forward(s.x, "no"), error=TypeError, field="training", value="str"),  # type: ignore[arg-type]
    Case(act=lambda s: s.model.forward(s.x + 0j), error=TypeError, field="x", value="complex64"),
    *[
        Case(act=act, error=TypeError, field=field, value=value, allowed="real numbers")
        for field, act, value in [
            ("weight", lambda s: s.first.set_weight(text(np.ones((5, 4)))), "<U"),
            ("weight", lambda s: s.first.set_weight(np.ones((5, 4), object)), "object"),
            ("weight", lambda s: s.first.set_weight(np.ones((5, 4), complex)), "complex128"),
            ("bias", lambda s: s.first.set_bias(text(np.ones(5))), "<U"),
            ("bias", lambda s: s.first.set_bias(np.ones(5, object)), "object"),
            ("bias", lambda s: s.first.set_bias(np.ones(5, complex)), "complex128"),
        ]
    ],
    Case(act=lambda s: s.load(values=np.full((3, 4), 1j)), error=TypeError, field="fast.values", value="complex128"),
    Case(act=lambda s: s.load(values=None), error=TypeError, field="fast.values", value="object"),
    Case(act=lambda s: s.load(counters=np.zeros(9)), field="counters"),
    Case(act=lambda s: s.tile.program(np.ones((3, 4), complex)), error=TypeError, field="w", value="complex128"),
    Case(act=lambda s: s.tile.program(np.ones((3, 4), "U1")), error=TypeError, field="w", value="<U1"),
    Case(act=lambda s: s.tile.program(np.ones((3, 4)), max_pulses=1 << 70), field="max_pulses", allowed=r"2\*\*20"),
    Case(act=lambda s: s.tile.program(np.ones((3, 4)), tolerance=1e39), field="tolerance", allowed="in float32"),
    Case(act=lambda s: s.first.receive([[0.0]]), field=r"\bd\b", value=r"\(1, 1\)", allowed=r"\(20, 5\)"),
    Case(act=lambda s: s.model.load_state_dict({3: s.x}), error=TypeError, field="state", value="3"),
    Case(act=lambda s: s.model.load_state_dict(3), error=TypeError, field="int"),
    Case(act=lambda s: curves.cell(DEVICE, at=(True, 0)), error=TypeError, field="cell", value="True"),
    Case(act=lambda s: DEVICE.q_up([1j]), error=TypeError, field="complex128", allowed="real numbers"),
    Case(act=lambda s: theory.analog_update(DEVICE, [0], [1j]), error=TypeError, field="complex128"),
    Case(
        act=lambda s: og.Tile(1, 1, algorithm=og.TikiTaka(n_reads_per_transfer=1 << 40)),
        field="reads",
        value=str(1 << 40),
        allowed=str(1 << 20),
    ),
    Case(act=lambda s: Linear(1 << 27, 1), field="d_in", value=str(1 << 27), allowed=r"2\*\*26"),
    # ---- NaN, infinity, what float32 cannot hold
    Case(act=lambda s: s.tile.forward(s.x * NAN), field="x", value="NaN at flat index 0", allowed="finite"),
    Case(act=lambda s: s.tile.backward(s.d / 0.0), field="d", value="inf", allowed="finite"),
    Case(act=lambda s: s.tile.update(s.x, s.d.astype(float) * 1e300, 0.1), field="d", value="inf", allowed="finite"),
    Case(act=lambda s: s.tile.update(s.x, s.d, -INF), field="lr", value="-inf", allowed="finite"),
    Case(act=lambda s: s.tile.set_weights([[0, 0, NAN, 0]] * 3), field="weights", value="NaN at flat index 2"),
    Case(act=lambda s: setattr(s.array, "weights", np.full((3, 4), INF)), field="fast", value="inf", allowed="finite"),
    Case(act=cell("w_max", NAN), field="w_max", value="NaN", allowed="finite"),
    Case(act=cell("reference", -INF), field="reference", value="-inf", allowed="finite"),
    Case(act=lambda s: s.first.set_weight(np.full((5, 4), NAN)), field="weight", allowed="finite"),
    Case(act=lambda s: s.first.set_bias(np.full(5, INF)), field="bias", allowed="finite"),
    Case(act=lambda s: s.model.forward(s.x * NAN), field="x", value="NaN", allowed="finite"),
    *[
        Case(act=act, error=error, field="lr", value=value)
        for act, error, value in [
            (lambda s: s.model.update(NAN), ValueError, "(?i)nan"),
            (lambda s: s.model.update(INF), ValueError, "inf"),
            (lambda s: s.model.update(-0.1), ValueError, "-0.1"),
            (lambda s: s.model.update("fast"), TypeError, "fast"),
            (lambda s: s.model.update(True), TypeError, "True"),
        ]
    ],
    Case(act=lambda s: s.model.update(1e39), field="lr", value=r"1e\+39", allowed="finite in float32"),
    Case(act=lambda s: s.load(values=np.full((3, 4), NAN)), field="fast", value="NaN", allowed="finite"),
    # ---- cells that are none
    Case(act=cell("w_max", -9.0), field="w_max", value="-1 and .*-9", allowed="w_min <= w_max"),
    Case(act=cell("w_min", 9.0), field="w_min", value="9 and .*0.9", allowed="w_min <= w_max"),
    Case(act=cell("decay", 5.0), field="decay", value="5", allowed="0 to 1"),
    Case(act=cell("decay", -1.0), field="decay", value="-1", allowed="0 to 1"),
    Case(act=cell("diffusion", -1.0), field="diffusion", value="-1", allowed=">= 0"),
    Case(act=lambda s: s.load(values=np.full((3, 4), 9)), field="fast.values", value="9", allowed="bounds of the cell"),
    Case(act=lambda s: s.load(w_max=np.full(1, -9.0)), field="fast", value="-1 and .*-9", allowed="w_min <= w_max"),
    Case(act=lambda s: s.load(decay=np.full(1, 2.0)), field="fast", value="decay of 2", allowed="0 to 1"),
    Case(act=lambda s: s.load(diffusion=np.full(1, -2.0)), field="fast", value="diffusion of -2", allowed=">= 0"),
    # ---- settings out of range
    Case(act=lambda s: og.Tile(0, 4), field="d_out", value="0", allowed="1 to"),
    Case(act=lambda s: og.Tile(3, -1), field="d_in", value="-1", allowed="1 to"),
    Case(act=lambda s: og.Tile(1 << 20, 1 << 20), field="d_out", value=str(1 << 40), allowed=str(1 << 26)),
    Case(act=lambda s: og.Tile(1 << 27, 1), field="d_out", value=str(1 << 27), allowed=str(1 << 26)),
    Case(act=lambda s: Linear(4, 0), field="d_out", value="0", allowed=">= 1"),
    Case(act=lambda s: devices.SoftBounds(w_min=0.5), field="w_min", value="0.5", allowed="-1000000000.0 to 0.0"),
    Case(act=lambda s: devices.ConstantStep(w_max=-0.5), field="w_max", value="-0.5", allowed="0.0 to 1000000000.0"),
    Case(act=lambda s: devices.SoftBounds(w_max=1e10), field="w_max", value="10000000000", allowed="to 1000000000.0"),
    Case(act=lambda s: devices.SoftBounds(dw_min=-0.001), field="dw_min", value="-0.001", allowed="1e-30 to"),
    Case(act=lambda s: devices.SoftBounds(dw_min=1e39), field="dw_min", value="1e39", allowed="to 1000000000.0"),
    Case(
        act=lambda s: devices.SoftBounds(dw_min_dtod=-1.0),
        field="dw_min_dtod",
        value="-1",
        allowed="0.0 to 1000000000.0",
    ),
    Case(act=lambda s: devices.SoftBounds(lifetime=-1.0), field="lifetime", value="-1", allowed="0.0 to 1000000000.0"),
    Case(act=lambda s: devices.SoftBounds(dw_min=HUGE), field="dw_min", allowed="finite"),
    *[
        Case(act=built(device, fields), field=field, value=value, allowed=allowed)
        for device, fields, field, value, allowed in BAD_DEVICES
    ],
    Case(act=lambda s: og.IO(inp_noise=NAN), field="inp_noise", value="NaN", allowed="0.0 or more"),
    *[
        Case(act=io(**{field: value}), field=field, value=re.escape(str(value).replace("nan", "NaN")), allowed=allowed)
        for field, value, allowed in [
            ("noise_management", "most", "average_abs_max"),
            ("bound_management", "most", "iterative_worst_case"),
            ("mv_type", "two_pass", "pos_neg_separate_digital_sum"),
            ("w_noise_type", "multiplicative", "pcm_read"),
            ("inp_asymmetry", 1.5, "-1.0 to 1.0"),
            ("out_asymmetry", -1.5, "-1.0 to 1.0"),
            ("nm_decay", 1.5, "0.0 to 1.0"),
            ("ir_drop_g_ratio", 0, "1.0 to 1000000000.0"),
            ("v_offset_w_min", NAN, "finite"),
            ("out_noise_std", -0.5, "0.0 or more"),
            ("w_noise", -0.5, "0.0 or more"),
            ("nm_assumed_wmax", -0.5, "0.0 or more"),
            ("ir_drop", -0.5, "0.0 to 1000000.0"),
            ("v_offset_std", -0.5, "0.0 or more"),
            ("r_series", -0.5, "0.0 or more"),
            ("out_nonlinearity", -0.5, "0.0 or more"),
            ("out_nonlinearity_std", -0.5, "0.0 or more"),
            ("slope_calibration", -0.5, "0.0 or more"),
            ("w_read_asymmetry_dtod", -0.5, "0.0 or more"),
        ]
    ],
    *[
        Case(act=io(**{field: "no"}), error=TypeError, field=field, value="no", allowed="True or False")
        for field in ["inp_sto_round", "out_sto_round", "bm_test_negative_bound"]
    ],
    Case(act=io(w_noise_type=1), error=TypeError, field="w_noise_type", value="1", allowed="string"),
    Case(act=lambda s: s.tile.forward(s.x, noise="no"), error=TypeError, field="noise", value="str"),  # type: ignore[arg-type]
    Case(act=lambda s: s.evaluate(noise=0), error=TypeError, field="noise", value="0", allowed="True or False"),
    *[
        Case(act=lambda s, wrong={field: value}: og.PulseTrain(**wrong), field=field, value=str(value), allowed=allowed)
        for field, value, allowed in [
            ("desired_bl", 0, "1 to 16384"),
            ("desired_bl", 16385, "1 to 16384"),
            ("pulse_type", "Stochastic", '"stochastic_compressed", .*"none"'),
            ("um_grad_scale", 0.0, "1e-9 to 1000000000.0"),
            ("um_grad_scale", -0.5, "1e-9 to 1000000000.0"),
            ("res", -0.1, "0.0 to 1000000000.0"),
            ("x_res_implicit", -0.1, "0.0 to 1000000000.0"),
            ("d_res_implicit", 2_000_000_000, "0.0 to 1000000000.0"),
            ("increment", "mean", '"sample", "batch"'),
            ("rounding", "nearest", '"stochastic", "ceil", "floor"'),
        ]
    ],
    Case(act=lambda s: og.PulseTrain(res=NAN), field="res", value="NaN", allowed="0.0 to"),
    *[
        Case(
            act=lambda s, wrong={field: "yes"}: og.PulseTrain(**wrong),
            error=TypeError,
            field=field,
            value="yes",
            allowed="True or False",
        )
        for field in ("fixed_bl", "sto_round", "update_management")
    ],
    Case(
        act=lambda s: og.PulseTrain(increment=True), error=TypeError, field="increment", value="True", allowed="string"
    ),  # type: ignore[arg-type]
    Case(act=lambda s: og.TikiTaka(gamma=-0.5), field="gamma", value="-0.5", allowed=">= 0"),
    Case(
        act=lambda s: og.Tile(3, 4, algorithm=og.TikiTaka(n_reads_per_transfer=5)),
        field="reads",
        value="5",
        allowed="4",
    ),
    Case(act=lambda s: og.Seeds(noise=1 << 64), field="noise", value=str(1 << 64), allowed=r"2\*\*64"),
    *[
        Case(act=act, field=field, value=value, allowed=allowed)
        for field, act, value, allowed in [
            ("threads", lambda s: og.threads(0), "0", "1 to 1024"),
            ("threads", lambda s: og.threads(1025), "1025", "1 to 1024"),
            ("threads", lambda s: og.threads(1 << 80), str(1 << 80), "1 to 1024"),
            ("desired_bl", lambda s: og.PulseTrain(desired_bl=HUGE), "inf", "1 to 16384"),
            ("max_bm_factor", lambda s: og.IO(max_bm_factor=HUGE), "inf", "finite"),
            ("reads", lambda s: og.Tile(3, 4, algorithm=og.TikiTaka(n_reads_per_transfer=HUGE)), "inf", "from 0 to"),
        ]
    ],
    *[
        Case(act=one(weight_scaling_omega=omega), field="omega", value=value, allowed="float32")
        for omega, value in [(1e-50, "1e-50"), (1e39, r"1e\+39")]
    ],
    *[
        Case(act=one(**{field: "no"}), error=TypeError, field=field, value="no", allowed="True or False")
        for field in ["bias", "digital", *SWITCHES]
    ],
    *[
        Case(act=one(**{field: size}), field=field, value=str(size), allowed=r"0 \(any size\) to 2\*\*31 - 1")
        for field in ["max_input_size", "max_output_size"]
        for size in [-1, 1 << 31]
    ],
    Case(act=one(max_input_size="all"), error=TypeError, field="max_input_size", value="all", allowed="integer"),
    Case(act=one(name=5), error=TypeError, field="name", value="5", allowed="string"),
    # ---- unknown keywords
    *[
        Case(act=act, error=TypeError, field="nonsense")
        for act in [
            lambda s: devices.SoftBounds(nonsense=1),
            lambda s: og.IO(nonsense=1),
            lambda s: og.IO.paper(nonsense=1),
            lambda s: og.PulseTrain(nonsense=1),
            lambda s: og.TikiTaka(nonsense=1),
            lambda s: og.DigitalSGD(nonsense=1),
            lambda s: og.Seeds(nonsense=1),
            lambda s: og.Tile(3, 4, nonsense=1),
            lambda s: Linear(3, 4, nonsense=1),
            lambda s: Sequential(Linear(3, 4)).on(nonsense=1),
            lambda s: s.fit(nonsense=1),
        ]
    ],
    Case(act=lambda s: devices.SoftBounds(tau=1.0), error=TypeError, field="tau"),  # type: ignore[call-arg]
    Case(act=lambda s: devices.LinearResponse(w_max=1.0), error=TypeError, field="w_max"),  # type: ignore[call-arg]
    Case(act=lambda s: devices.SoftBoundsPmax(dw_min=0.1), error=TypeError, field="dw_min"),  # type: ignore[call-arg]
    Case(act=lambda s: devices.SoftBounds(drift=0.1), error=TypeError, field="drift", value="0.1", allowed="Drift"),  # type: ignore[arg-type]
    # ---- training
    Case(act=lambda s: s.fit(epochs=0), field="epochs", value="0", allowed=">= 1"),
    Case(act=lambda s: s.fit(batch_size=0), field="batch_size", value="0", allowed=">= 1"),
    Case(act=lambda s: s.fit(batch_size=21), field="batch_size", value="21", allowed="20"),
    Case(act=lambda s: s.fit(batch_size=2.0), error=TypeError, field="batch_size", value="2.0"),
    Case(act=lambda s: s.fit(lr=-0.1), field="lr", value="-0.1", allowed=">= 0"),
    Case(act=lambda s: s.fit(lr=lambda epoch: None), error=TypeError, field="lr", value="None"),
    Case(act=lambda s: s.fit(seed=1 << 64), field="seed", value=str(1 << 64), allowed=r"2\*\*64"),
    Case(act=lambda s: s.fit(x=s.x[:0], y=s.y[:0]), field="x", value="empty", allowed="at least one"),
    Case(act=lambda s: s.fit(x=s.x * NAN), field="x", allowed="finite"),
    Case(act=lambda s: s.fit(x=text(s.x)), error=TypeError, field="x", value="<U", allowed="numbers"),
    Case(act=lambda s: s.fit(y=s.y.astype(float)), error=TypeError, field="y", value="float64", allowed="integers"),
    Case(act=lambda s: s.fit(y=s.labels(-1)), field="y", value="-1", allowed=">= 0"),
    Case(act=lambda s: s.fit(y=s.y[:7]), field="y", value="7 targets", allowed="20 vectors"),
    Case(act=lambda s: s.fit(x=np.ones((20, 6))), field="x", value="6", allowed="4"),
    *[
        Case(act=act, field=name, value="label 3", allowed="0 to 2")
        for name, act in [
            ("train", lambda s: s.fit(y=s.labels(3))),
            ("test", lambda s: s.fit(test=(s.x, s.labels(3)))),
            ("validation", lambda s: s.fit(validation=(s.x, s.labels(3)))),
        ]
    ],
    Case(act=lambda s: s.fit(lr=1e39), field="lr", value=r"1e\+39", allowed="finite in float32"),
    Case(act=lambda s: s.fit(callbacks=[None]), error=TypeError, field="callback", value="None"),
    Case(act=lambda s: s.fit(callbacks=5), error=TypeError, field="callback", value="5"),
    Case(act=lambda s: s.fit(loss="mse"), error=TypeError, field="loss", value="mse"),
    Case(act=lambda s: s.fit(shuffle="no"), error=TypeError, field="shuffle", value="no", allowed="True or False"),
    Case(
        act=lambda s: s.fit(y=np.ones((20, 2)), loss=MSE()), field="target|array", value="2", allowed="3", passes=True
    ),
    Case(act=lambda s: s.fit(loss=MSE()), field="target", value=r"\(5,\)", allowed="two dimensions", passes=True),
    Case(act=lambda s: s.fit(y=s.d), error=TypeError, field="target", value="float", allowed="integers", passes=True),
    Case(
        act=lambda s: s.model.train_step(s.x, s.labels(3), NLL(), 0.1),
        field="target",
        value="3",
        allowed="0 to 2",
        passes=True,
    ),
    Case(
        act=lambda s: s.model.train_step(s.x, s.y, CrossEntropy(), NAN),
        field="lr",
        value="(?i)nan",
        passes=True,
    ),
    Case(
        act=lambda s: og.evaluate(s.model, (s.x, s.labels(3))),
        field="target",
        value="3",
        allowed="0 to 2",
        passes=True,
    ),
    Case(act=lambda s: og.evaluate(s.model, (s.x, s.y), batch_size=0), field="batch_size", value="0", allowed=">= 1"),
    Case(act=lambda s: CrossEntropy()(s.d, s.labels(-1)), field="target", value="-1", allowed="0 to 2"),
    Case(act=lambda s: NLL()(s.d[:0], s.y[:0]), field="logp|target", value="", allowed=""),
    Case(act=lambda s: MSE()(s.d[:0], s.d[:0]), field="y|target", value="", allowed=""),
]


@pytest.mark.filterwarnings("ignore::numpy.exceptions.ComplexWarning", "ignore::RuntimeWarning")
@pytest.mark.parametrize("case", [case.param() for case in CASES])
def test_a_mistake_is_one_error_that_names_it_and_nothing_has_changed(case: Case) -> None:
    stage = Stage()
    before, threads = stage.state(), og.threads()
    with pytest.raises(case.error) as caught:
        case.act(stage)
    # as a traceback shows it: PyO3 names an argument in a note
    message = "\n".join([str(caught.value), *getattr(caught.value, "__notes__", [])])
    for pattern in case.field, case.value, case.allowed:
        assert re.search(pattern, message), message
    after = stage.state()
    if case.passes:
        before, after = ({k: v for k, v in s.items() if not k.endswith("counters")} for s in (before, after))
    assert [name for name in before if before[name] != after[name]] == []
    assert og.threads() == threads


@settings(derandomize=True, deadline=None, max_examples=100)
@given(
    name=st.sampled_from(["w_max", "w_min", "reference", "dw_up", "dw_down"]),
    size=st.sampled_from([0.0, 1e-45, 1e-40, 1e-3, 1e9, 1e30, 3e38]),
    lr=st.sampled_from([0.0, 1e-40, 0.1, 1e9, 3e38]),
    pulses=st.sampled_from(
        [
            "stochastic_compressed",
            "mean_count",
            "deterministic_implicit",
            "pulsed",
            "analog_update",
            "random_increment",
            "none_with_device",
        ]
    ),
)
def test_cells_of_any_size_stay_within_their_bounds(name: str, size: float, lr: float, pulses: Any) -> None:
    tile = og.Tile(3, 4, device=DEVICE, pulses=og.PulseTrain(pulse_type=pulses), seed=1)
    tile.set_weights(np.linspace(-1, 1, 12).reshape(3, 4))
    parameters = next(iter(tile.arrays.values())).parameters
    parameters[name] = np.full((3, 4), -size if name == "w_min" else size)
    for sign in 1, -1:
        tile.update(np.ones((5, 4)), np.full((5, 3), sign), lr)
        tile.end_batch()
        values = next(v for k, v in tile.state_dict().items() if k.endswith(".values"))
        # NaN is in no range
        assert ((parameters["w_min"] <= values) & (values <= parameters["w_max"])).all()


# ---- any array of real numbers is the array of its float32 values

DTYPES = ["f2", "f4", "f8", "g", ">f4", ">f8", "i1", "<i4", ">i4", "i8", "u1", ">u2", "?"]


@st.composite
def laid_out(draw: st.DrawFn, columns: int, rows: int | None = None) -> NDArray[Any]:
    """``[rows, columns]`` of any real dtype: any strides, offset, order, alignment, writable or not."""
    dtype = np.dtype(draw(st.sampled_from(DTYPES)))
    n = draw(st.integers(1, 9)) if rows is None else rows
    step = [draw(st.sampled_from([-3, -1, 1, 2])) for _ in range(2)]
    skip = [draw(st.integers(0, 2)) for _ in range(2)]
    shape = [skip[0] + n * abs(step[0]), skip[1] + columns * abs(step[1])]
    seed = draw(st.integers(0, 2**32 - 1))
    values = np.random.default_rng(seed).integers(-8, 9, shape)
    values = values / 8 if dtype.kind == "f" else np.abs(values) if dtype.kind in "ub" else values
    order = draw(st.sampled_from("CF"))
    whole = np.asarray(values.astype(dtype), order=order)
    if draw(st.booleans()):
        # one byte off any alignment
        raw = np.frombuffer(b"\0" + whole.tobytes(order), np.uint8)[1:]
        whole = np.ndarray(whole.shape, dtype, raw.data, order=order)
    view = whole[skip[0] :, skip[1] :][:: step[0], :: step[1]][:n, :columns]
    assert view.shape == (n, columns)
    if draw(st.booleans()):
        view.flags.writeable = False
    return view


def plain(values: NDArray[Any]) -> NDArray[np.float32]:
    return np.array(values.tolist(), np.float32).reshape(values.shape)


@settings(derandomize=True, deadline=None, max_examples=60)
@given(data=st.data())
def test_any_layout_and_real_dtype_gives_the_bits_of_its_float32_copy(data: st.DataObject) -> None:
    x = data.draw(laid_out(4))
    d, w = data.draw(laid_out(3, len(x))), data.draw(laid_out(4, 3))
    stages = Stage(), Stage()
    results = []
    for stage, form in zip(stages, (lambda v: v, plain), strict=True):
        tile, layer = stage.tile, Linear(4, 3).build("0", og.nn.base.Defaults(seeds=og.Seeds()))
        grid = Linear(
            4, 3, digital_bias=False, max_input_size=2, weight_scaling_columnwise=True, weight_scaling_omega=0.5
        )
        grid = grid.build("1", og.nn.base.Defaults(seeds=og.Seeds()))
        grid.set_weight(form(w))
        grid.set_bias(form(w)[:, 1])
        tile.set_weights(form(w))
        stage.array.weights = form(w)
        stage.array.parameters["reference"] = form(w)
        layer.set_weight(form(w))
        layer.set_bias(form(w)[:, 1])
        dataset = og.data.arrays(form(x), form(d))
        made = [tile.forward(form(x)), tile.forward(form(x)[0], training=False), tile.backward(form(d)), layer.weight]
        made += [layer.bias, layer.forward(form(x)), Tanh().forward(form(x)), LogSoftmax().forward(form(x))]
        made += [grid.weight, grid.bias, grid.forward(form(x)), grid.backward(form(d))]
        made += [
            MSE()(form(d), form(d)[::-1])[1],
            CrossEntropy()(form(x), np.zeros(len(x), int))[1],
            dataset.x,
            dataset.y,
        ]
        tile.update(form(x), form(d), 0.1)
        tile.load_state_dict(tile.state_dict() | {"fast.reference": form(w)})
        tile.update(form(x)[0], form(d)[0], np.float32(0.1))
        results.append([v.tobytes() for v in made] + [v.tobytes() for v in tile.state_dict().values()])
        assert all(v.dtype == np.float32 for v in made)
    assert results[0] == results[1]


@settings(derandomize=True, deadline=None, max_examples=150)
@given(
    shape=st.lists(st.integers(0, 5), max_size=3).map(tuple),
    dtype=st.sampled_from([*DTYPES, "c8", "c16", "O", "U3", "S3", "M8[s]", "m8[s]", "V4"]),
    entry=st.sampled_from(
        ["forward", "backward", "update x", "update d", "set_weights", "array", "parameter", "state"]
    ),
)
def test_any_shape_and_dtype_fits_or_is_refused_by_name(shape: tuple[int, ...], dtype: str, entry: str) -> None:
    stage = Stage()
    tile, array, before = stage.tile, stage.array, stage.state()
    values = np.zeros(shape, dtype)
    fits = {
        "forward": len(shape) in (1, 2) and shape[-1] == 4 and 0 not in shape,
        "backward": len(shape) in (1, 2) and shape[-1] == 3 and 0 not in shape,
        "update x": shape == (2, 4),
        "update d": shape == (2, 3),
        # one value stands for all cells in a state
        "state": shape in ((3, 4), (1,), (1, 1), (1, 1, 1)),
    }.get(entry, shape == (3, 4))
    call: dict[str, tuple[str, Callable[[], object]]] = {
        "forward": ("x", lambda: tile.forward(values)),
        "backward": ("d", lambda: tile.backward(values)),
        "update x": ("x|d", lambda: tile.update(values, np.ones((2, 3)), 0.1)),
        "update d": ("d|x", lambda: tile.update(np.ones((2, 4)), values, 0.1)),
        "set_weights": ("weights", lambda: tile.set_weights(values)),
        "array": ("fast", lambda: setattr(array, "weights", values)),
        "parameter": ("reference", lambda: array.parameters.__setitem__("reference", values)),
        "state": ("fast.reference", lambda: stage.load(reference=values)),
    }
    field, act = call[entry]
    if fits and np.dtype(dtype).kind in "fiub":
        act()
        return
    with pytest.raises((ValueError, TypeError), match=rf"\b({field})\b"):
        act()
    assert stage.state() == before


# ---- files


def file_of(model: Sequential, folder: Path) -> Path:
    path = folder / "model.safetensors"
    og.save(path, model)
    return path


def edit(path: Path, change: Callable[..., object], *, signed: bool = True) -> None:
    """Write a file again with what it says of itself, its configuration or its arrays changed; signed anew or not."""
    from safetensors import safe_open
    from safetensors.numpy import save

    with safe_open(path, framework="numpy") as file:
        arrays = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        said = json.loads(file.metadata()[checkpoint.FORMAT])
    checksum = said.pop("sha256")
    change(said, said["config"], arrays)
    said["sha256"] = checkpoint._checksum(said, arrays) if signed else checksum
    path.write_bytes(save(arrays, {checkpoint.FORMAT: json.dumps(said)}))


def tile_of(config: dict[str, Any]) -> dict[str, Any]:
    return config["layers"][0]["tile"]  # type: ignore[no-any-return]


def without(kind: int, *keys: str) -> Callable[..., object]:
    """Leave out a key of what the file says of itself (0), of the configuration (1) or of the arrays (2)."""

    def change(*parts: dict[str, Any]) -> None:
        part = parts[kind]
        for key in keys[:-1]:
            part = part[0] if key == "0" else part[key]
        del part[keys[-1]]

    return change


def put(name: str, value: Any) -> Callable[..., object]:
    return lambda m, c, a: a.update({name: np.asarray(value, np.float32)})


# what no writer ever wrote, and signed: Python says what does not work, and the path is there
OTHER_KIND = "not supported|indices must be|is not iterable"
FILES: dict[str, tuple[Callable[..., object], str]] = {
    "newer": (lambda m, c, a: m.update(format_version=2), "format 2.* up to 1"),
    "much newer": (lambda m, c, a: m.update(format_version=10), "format 10.* up to 1"),
    "no version": (without(0, "format_version"), "format_version"),
    "version in words": (lambda m, c, a: m.update(format_version="one"), OTHER_KIND),
    "negative version": (lambda m, c, a: m.update(format_version=-1), "-1"),
    "no stream version": (without(0, "stream_version"), "stream_version"),
    "no config": (without(0, "config"), "config"),
    "config in words": (lambda m, c, a: m.update(config="words"), OTHER_KIND),
    "config is a list": (lambda m, c, a: m.update(config=[]), OTHER_KIND),
    "no layers": (without(1, "layers"), "layers"),
    "layers is a number": (lambda m, c, a: c.update(layers=5), OTHER_KIND),
    "empty layers": (lambda m, c, a: c.update(layers=[]), "at least one layer|state"),
    "unknown layer": (lambda m, c, a: c["layers"][1].update(type="Imaginary"), "layer 'Imaginary'; known: .*Tanh"),
    "layer without type": (without(1, "layers", "0", "type"), "type"),
    "layer without tile": (without(1, "layers", "0", "tile"), "tile"),
    "layer without bias": (without(1, "layers", "0", "bias"), "bias"),
    "tile without device": (without(1, "layers", "0", "tile", "device"), "device"),
    "tile without d_in": (without(1, "layers", "0", "tile", "d_in"), "d_in"),
    "unknown device": (lambda m, c, a: tile_of(c)["device"].update(type="Magic"), "device 'Magic'; known: .*SoftB"),
    "unknown algorithm": (
        lambda m, c, a: tile_of(c)["algorithm"].update(type="Magic"),
        "algorithm 'Magic'; known: .*TikiTaka",
    ),
    "unknown setting": (lambda m, c, a: tile_of(c)["io"].update(magic=1), "IO has no field 'magic'"),
    "unknown tile setting": (lambda m, c, a: tile_of(c).update(magic=1), "magic"),
    "device out of range": (lambda m, c, a: tile_of(c)["device"].update(w_min=1.0), "w_min is 1"),
    "NaN in a setting": (lambda m, c, a: tile_of(c)["device"].update(dw_min=NAN), "dw_min is NaN"),
    "text for a number": (
        lambda m, c, a: tile_of(c)["device"].update(dw_min="small"),
        "dw_min must be a number",
    ),
    "text for the bias": (lambda m, c, a: c["layers"][0].update(bias="no"), "bias"),
    "device of another kind": (lambda m, c, a: tile_of(c).update(device=5), OTHER_KIND),
    "seed out of range": (lambda m, c, a: tile_of(c)["seed"].update(noise=-1), "noise.* got -1"),
    "other width": (lambda m, c, a: tile_of(c).update(d_in=5), "5"),
    "fewer layers": (lambda m, c, a: c["layers"].pop(), "belongs to no layer"),
    "lost array": (without(2, "0.tile.fast.values"), "fast.values"),
    "lost counters": (without(2, "0.tile.counters"), "counters"),
    "lost bias": (without(2, "0.bias"), "bias"),
    "unknown array": (put("0.tile.magic.values", np.ones((5, 4))), "magic"),
    "other shape": (put("0.tile.fast.values", np.ones((4, 5))), "fast"),
    "NaN in weights": (put("0.tile.fast.values", np.full((5, 4), NAN)), "fast.*NaN"),
    "NaN in the bias": (put("0.bias", np.full(5, NAN)), "bias.*finite"),
    "NaN in a scale": (put("0.out_scaling", [NAN]), "out_scaling.*finite"),
    "no scale": (put("0.weight_scaling", [0]), "weight_scaling"),
    "crossed bounds": (put("0.tile.fast.w_max", np.full((5, 4), -2)), "fast.*-1 and .*-2.*w_min <= w_max"),
    "weights out of bounds": (put("0.tile.fast.values", np.full((5, 4), 9)), "fast"),
    "counters are no counters": (put("0.tile.counters", np.zeros(9)), "counters"),
}


@pytest.mark.parametrize("what", FILES)
def test_a_file_that_makes_no_model_says_why(what: str, tmp_path: Path) -> None:
    change, message = FILES[what]
    path = file_of(Stage().model, tmp_path)
    content = path.read_bytes()
    edit(path, lambda *_: None)
    og.load(path)
    edit(path, change)
    with pytest.raises(ValueError, match=rf"(?s)^{re.escape(str(path))}: .*({message})"):
        og.load(path)
    # a change without a new checksum is damage, whatever it is; only what says how to read the file is seen before
    path.write_bytes(content)
    edit(path, change, signed=False)
    seen = message if what in {"newer", "much newer", "no version", "version in words"} else "not match its checksum"
    with pytest.raises(ValueError, match=rf"(?s)^{re.escape(str(path))}: .*({seen})"):
        og.load(path)


SAYINGS = {
    "nothing": None,
    "empty": "",
    "words": "words",
    "no mapping": "[]",
    "a number": "5",
    "null": "null",
    "a string": '"sha256"',
    "deep": "[" * 10**5,
    "deep config": '{"sha256": "", "format_version": 1, "config": ' + "[" * 10**5,
    "deep and whole": '{"sha256": "", "format_version": 1, "config": ' + "[" * 900 + "]" * 900 + "}",
    "no checksum": '{"format_version": 1}',
    "checksum of another kind": '{"sha256": [], "format_version": 1}',
    "a long number": '{"sha256": "", "format_version": ' + "9" * 5000 + "}",
    "twice": '{"sha256": "", "format_version": 1, "format_version": 1}',
}


@pytest.mark.parametrize("saying", SAYINGS.values(), ids=SAYINGS)
def test_a_file_that_says_something_else_of_itself_is_refused(saying: str | None, tmp_path: Path) -> None:
    from safetensors.numpy import save

    path = tmp_path / "model"
    arrays = {"0.bias": np.zeros(3, np.float32)}
    path.write_bytes(save(arrays, {"format": "np"} if saying is None else {checkpoint.FORMAT: saying}))
    message = "a safetensors file, but no model of ohmgrad" if saying is None else "."
    with pytest.raises(ValueError, match=f"^{re.escape(str(path))}: {message}"):
        og.load(path)


def test_what_is_no_file_of_models_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for place in tmp_path, tmp_path / "absent", tmp_path / "fifo", "/dev/null":
        with pytest.raises(OSError, match=re.escape(str(place))):
            og.load(place)
    for wrong in None, 5, b"\0":
        with pytest.raises((TypeError, ValueError, OSError)):
            og.load(wrong)  # type: ignore[arg-type]
    path = tmp_path / "file"
    contents = [b"", b"\0", b"words, words, words", b"{}", bytes(range(256)) * 20, b"PK\3\4" + bytes(1000)]
    # headers that promise more than there is
    contents += [struct.pack("<Q", size) + b"{}" for size in (0, 1, 2, 3, 2**20, 2**40, 2**63, 2**64 - 1)]
    for content in contents:
        path.write_bytes(content)
        with pytest.raises(ValueError, match=re.escape(f"{path}: ")):
            og.load(path)


def outcome(path: Path, content: bytes, original: Sequential) -> str:
    """What becomes of a damaged file: a `ValueError`, the same model, or what should not be."""
    path.write_bytes(content)
    try:
        loaded = og.load(path)
    except ValueError:
        return "error"
    except Exception as error:
        return type(error).__name__
    same = bits(loaded.state_dict()) == bits(original.state_dict()) and loaded.config() == original.config()
    return "same" if same else "another model"


def test_a_file_cut_anywhere_is_an_error(tmp_path: Path) -> None:
    model = Stage().model
    path = file_of(model, tmp_path)
    content = path.read_bytes()
    lengths = {*range(0, 64), *range(0, len(content), 13), *range(len(content) - 64, len(content))}
    assert {n: outcome(path, content[:n], model) for n in lengths} == dict.fromkeys(lengths, "error")
    for more in 1, 8, 1000:
        assert outcome(path, content + bytes(more), model) == "error"


def flips(content: bytes, where: range, step: int) -> Iterator[tuple[int, bytes]]:
    """Every `step`-th byte with one bit of it changed, every bit in turn."""
    for at in where[::step]:
        damaged = bytearray(content)
        damaged[at] ^= 1 << at // step % 8
        yield at, bytes(damaged)


@pytest.mark.parametrize("part", ["header", "arrays"])
def test_a_flipped_bit_anywhere_is_an_error(part: str, tmp_path: Path) -> None:
    model = Stage().model
    path = file_of(model, tmp_path)
    content = path.read_bytes()
    start = 8 + struct.unpack("<Q", content[:8])[0]
    where, step = (range(start), 7) if part == "header" else (range(start, len(content)), 11)
    seen = {at: outcome(path, damaged, model) for at, damaged in flips(content, where, step)}
    assert len(seen) > 80
    # the E of a number may be of either case
    wrong = {
        at: what for at, what in seen.items() if what != "error" and (what, content[at : at + 1]) != ("same", b"e")
    }
    assert wrong == {}


# ---- more than the machine has

CHILD = """
import resource, sys
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
import numpy as np, ohmgrad as og
og.threads(1)
try:
    exec(sys.argv[1])
except (MemoryError, ValueError) as error:
    print("refused:", error)
"""

GREEDY = {
    "an output of 4 TiB": ("og.Tile(1 << 20, 1).forward(np.zeros((1 << 20, 1), np.float32))", r"x .*up to 1024 at a"),
    "an output too many": ("og.Tile(1 << 20, 1).forward(np.zeros((1025, 1), np.float32))", r"x is 1025 .*up to 1024"),
    "a gradient of 4 TiB": ("og.Tile(1, 1 << 20).backward(np.zeros((1 << 20, 1), np.float32))", r"d .*up to 1024 at a"),
    "a gradient too many": ("og.Tile(1, 1 << 20).backward(np.zeros((1025, 1), np.float32))", r"d is 1025 .*up to 1024"),
    "cells of 9 GiB": ("og.Tile(1 << 14, 1 << 14, device=og.devices.SoftBounds(dw_min_dtod=0.1))", r"d_out \* d_in is"),
    "a small file of a large tile": ("og.load(sys.argv[2])", r"model.safetensors: d_out \* d_in is"),
}


def within_a_gibibyte(code: str, *arguments: object) -> str:
    """What a process says that runs `code` in 1 GiB of addresses, its libraries included."""
    environment = os.environ | {"RUST_BACKTRACE": "0", "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-c", CHILD, code, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-300:]
    return done.stdout


@pytest.mark.parametrize("what", GREEDY)
def test_more_memory_than_there_is_is_an_error_and_no_crash(what: str, tmp_path: Path) -> None:
    path = file_of(Stage().model, tmp_path)
    edit(path, lambda m, c, a: tile_of(c).update(d_out=1 << 25))
    code, message = GREEDY[what]
    assert re.match(f"refused: .*{message}", within_a_gibibyte(code, path))


def test_the_memory_of_long_trains_does_not_grow_with_the_number_of_vectors() -> None:
    # 4096 lines of 256 vectors, 529 words each: 2 GiB at once
    code = """
tile = og.Tile(4096, 1, pulses=og.PulseTrain(desired_bl=16384, update_bl_management=False))
d = np.zeros((256, 4096), np.float32)
d[:, 0] = 1
tile.update(np.ones((256, 1), np.float32), d, 0.001)
print(tile.weights[0, 0] < -0.1, (tile.weights[1:] == 0).all())
"""
    assert within_a_gibibyte(code) == "True True\n"
