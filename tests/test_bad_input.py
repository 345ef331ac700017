"""Whatever is wrong with an input: one error that names it, and nothing has changed. Whatever is a number counts."""

from __future__ import annotations

import json
import os
import pickle
import re
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import ohmgrad as og
from ohmgrad import checkpoint, curves, devices, theory
from ohmgrad.algorithms import Accumulate, Chopper, Every, Gradient, Plan, Rate, Term, Threshold, Transfer, Write
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
        # one with a chopper, running maxima and digital matrices, and one with stages
        self.chopped: Lies = og.Tile(3, 4, device=DEVICE, algorithm=og.AGAD(gamma=0.5), seed=3)
        self.staged: Lies = og.Tile(3, 4, device=DEVICE, algorithm=og.MultiTileResidualLearning(), seed=4)
        for tile in self.chopped, self.staged:
            tile.update(self.x, self.d, 0.1)
        layers = Linear(4, 5), Tanh(), Linear(5, 3)
        self.model = Sequential(*layers).on(DEVICE, algorithm=og.ResidualLearning(), seed=2, learn_out_scaling=True)
        self.model.train_step(self.x, self.y, CrossEntropy(), 0.1)
        self.first: Lies = self.model[0]
        # a gradient is waiting for its update
        self.model.forward(self.x)
        self.model.backward(self.d)

    def state(self) -> dict[str, bytes]:
        others = {"chopped": self.chopped.state_dict(), "staged": self.staged.state_dict()}
        named = {f"{of} {name}": value for of, state in others.items() for name, value in state.items()}
        return bits(self.tile.state_dict()) | bits(self.model.state_dict()) | bits(named)

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
    error: type[Exception] | tuple[type[Exception], ...] = ValueError
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


def built(settings: Any, fields: dict[str, Any]) -> Callable[[Stage], object]:
    return lambda s: settings(**fields)


def on(part: str, method: str, **given: Any) -> Callable[[Stage], object]:
    """A call of a method of what is on the stage."""
    return lambda s: getattr(getattr(s, part), method)(**given)


def loaded(part: str, *lost: str, **changed: Any) -> Callable[[Stage], object]:
    """The state of what is on the stage, without some of its parts, or with others."""

    def act(s: Stage) -> None:
        tile = getattr(s, part)
        tile.load_state_dict({k: v for k, v in (tile.state_dict() | changed).items() if k not in lost})

    return act


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
    Case(act=cell("w_min", 9.0), field="w_min", value=r"9 and .*0\.\d+", allowed="w_min <= w_max"),
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


# ---- algorithms: a class, its fields (the wrong one first), and what is allowed instead

Wrong = tuple[Any, dict[str, Any], str]

POSITIVE, RATE = "finite and > 0", "finite and >= 0"
FAST_SLOW = [og.TikiTaka, og.TikiTakaV2, og.ResidualLearningV2, og.ChoppedTikiTakaV2, og.AGAD, og.ERIDER]
FAST_SLOW += [og.MultiTileResidualLearning]
SHARED: list[tuple[dict[str, Any], str]] = [
    *[({"gamma": value}, RATE) for value in (-0.5, NAN, INF)],
    *[({"fast_lr": value}, POSITIVE) for value in (0, -0.5, NAN, INF)],
    *[({"transfer_every": value}, "finite|not 0") for value in (0, NAN, INF)],
    *[(dict(transfer_every=v, units_in_mbatch=False), "an integer >= 1 when it counts vectors") for v in (0.5, 1.5)],
    (dict(n_reads_per_transfer=-1), ">= 0"),
]
BUFFER: list[tuple[dict[str, Any], str]] = [
    *[({"transfer_lr": value}, RATE) for value in (-0.5, NAN, INF)],
    *[({"auto_granularity": value}, RATE) for value in (-0.5, NAN, INF)],
    *[({name: value}, POSITIVE) for name in ("buffer_granularity", "step") for value in (0, -0.5, NAN, INF)],
    *[({"momentum": value}, "from 0 to below 1") for value in (-0.1, 1, NAN)],
]
AUTO_SCALE: list[tuple[dict[str, Any], str]] = [
    *[({name: v}, "from 0 to 1") for name in ("in_chop_prob", "out_chop_prob") for v in (-0.1, 1.1, NAN)],
    *[({"auto_momentum": value}, "from 0 to below 1") for value in (-0.1, 1, NAN)],
    (dict(transfer_every=-INF), "finite"),
]
BAD_ALGORITHMS: list[Wrong] = [
    *[(rule, fields, allowed) for rule in FAST_SLOW for fields, allowed in SHARED],
    *[(rule, fields, allowed) for rule in (og.TikiTakaV2, *FAST_SLOW[3:5]) for fields, allowed in BUFFER],
    *[(rule, fields, allowed) for rule in FAST_SLOW[3:5] for fields, allowed in AUTO_SCALE],
    *[(rule, dict(transfer_every=-1.0), POSITIVE) for rule in FAST_SLOW if rule not in FAST_SLOW[3:5]],
    (og.TikiTakaV2, dict(variant="both"), "'buffered' or 'chopped'"),
    *[(og.TikiTakaV2, {"thres_scale": value}, POSITIVE) for value in (0, -0.5, NAN, INF)],
    *[(og.TikiTakaV2, {"with_reset_prob": value}, "from 0 to 1") for value in (-0.1, 1.1, NAN)],
    *[(og.TikiTakaV2, {name: 2.0}, "for 'buffered'") for name in ("buffer_granularity", "auto_granularity")],
    (og.TikiTakaV2, dict(thres_scale=2.0, variant="chopped"), "1.0 for 'chopped'"),
    (og.TikiTakaV2, dict(random_selection=True, variant="chopped"), "False for 'chopped'"),
    (og.TikiTakaV2, dict(with_reset_prob=0.1, variant="chopped"), "0.0 for 'chopped'"),
    *[(og.ResidualLearningV2, {"beta_h": value}, "> 0 and at most 1") for value in (0, 1.1, NAN)],
    *[(og.ResidualLearningV2, {"beta_w": value}, POSITIVE) for value in (0, -0.5, NAN, INF)],
    (og.ResidualLearningV2, dict(mode="both"), "'paper' or 'threshold'"),
    *[(og.ResidualLearningV2, dict(auto_granularity=v, mode="threshold"), RATE) for v in (-0.5, NAN, INF)],
    (og.ResidualLearningV2, dict(auto_granularity=2.0), "0 for mode='paper'"),
    (og.AGAD, dict(in_chop_prob=0.0), "from 1e-9 to 1: the reference is taken at its flips"),
    (og.AGAD, dict(in_chop_random=True), "False: periods have a fixed length"),
    *[(og.AGAD, {"tail_weightening": value}, POSITIVE) for value in (0, -0.5, NAN, INF)],
    *[(og.AGAD, {"buffer_cap": value}, RATE) for value in (-0.5, NAN, INF)],
    *[(og.ERIDER, {name: v}, "> 0 and at most 1") for name in ("eta", "chop_prob") for v in (0, 1.1, NAN)],
    *[(og.ERIDER, {"transfer_lr": value}, RATE) for value in (-0.5, NAN, INF)],
    *[(og.MultiTileResidualLearning, {"n_arrays": value}, "from 2 to 64") for value in (1, 65, HUGE)],
    *[(og.MultiTileResidualLearning, {"transfer_lr": value}, RATE) for value in (-0.5, NAN, INF)],
    *[
        (og.MultiTileResidualLearning, {name: value}, POSITIVE)
        for name in ("transfer_every_factor", "transfer_lr_factor")
        for value in (0, -0.5, NAN, INF)
    ],
    *[
        (og.MultiTileResidualLearning, {name: value}, "empty or of 2 numbers")
        for name in ("transfer_every_vec", "transfer_lr_vec")
        for value in [(1.0,), (1.0, 2.0, 3.0)]
    ],
    (og.TikiTaka, dict(gamma_vec=(1.0,)), "of two arrays or more"),
    (og.TikiTaka, dict(gamma_vec=(1.0, 0.0)), "> 0 at its end"),
    (og.TikiTaka, dict(transfer_lr_vec=(1.0, 1.0), gamma_vec=(0.1, 1.0)), "for 2 arrays like the others"),
    (og.TikiTaka, dict(transfer_every_vec=(1.0, 1.0), gamma_vec=(0.1, 1.0)), "for 2 arrays like the others"),
    *[(og.MixedPrecision, {"transfer_every": value}, POSITIVE) for value in (0, -0.5, NAN, INF)],
    *[(og.MixedPrecision, {"n_rows_per_transfer": value}, "-1 or >= 1") for value in (0, -2)],
    *[(og.MixedPrecision, {name: v}, RATE) for name in ("granularity", "transfer_lr") for v in (-0.5, NAN, INF)],
    *[
        (og.MixedPrecision, {name: value}, r"from 0 to 2\*\*24")
        for name in ("n_x_bins", "n_d_bins")
        for value in (-1, (1 << 24) + 1)
    ],
    *[
        (og.MixedPrecision, {"transfer_pulses": pulses}, "update_management and update_bl_management")
        for pulses in (
            og.PulseTrain.single(),
            og.PulseTrain(update_management=False),
            og.PulseTrain(update_bl_management=False),
        )
    ],
    *[(og.ZeroShift, {"cycles": value}, r"from 1 to 2\*\*20") for value in (0, -1, (1 << 20) + 1, HUGE)],
    *[(og.ZeroShift, {"average": value}, "from 1 to cycles = 1000") for value in (0, 1001)],
    (og.ZeroShift, dict(mode="up"), "'alternating' or 'random'"),
]
KINDS: dict[str, tuple[Any, str]] = {
    "float": ("no", "a number"),
    "int": (1.5, "an integer"),
    "bool": ("no", "True or False"),
    "str": (5, "a string"),
    "tuple[float, ...]": ("no", "a sequence of numbers"),
    "IO | None": (5, "IO or None"),
    "PulseTrain | None": ({}, "PulseTrain or None"),
    "ZeroShift | None": (True, "ZeroShift or None"),
}
NEW = [*FAST_SLOW[1:], og.MixedPrecision, og.ZeroShift]


def kinds(rule: Any) -> Iterator[tuple[str, Any, str]]:
    """A value of another kind for every field of a class of settings."""
    for name, field in rule.__dataclass_fields__.items():
        yield name, *KINDS["str" if field.type.startswith("Literal") else field.type]


def shown(value: object) -> str:
    return re.escape(repr(value))


def trained(rule: Any, **fields: Any) -> Callable[[Stage], object]:
    """What is seen when the tile is built."""
    device = fields.pop("device", DEVICE)
    return lambda s: og.Tile(3, 4, device=device, algorithm=rule(**fields))


CALIBRATED = og.ZeroShift(cycles=2)
NO_SHIFTS: list[Any] = [5, None, "no", {}, og.ZeroShift]
ONE_SIDED = devices.OneSided((devices.SoftBounds(w_min=0.0),) * 2)
NO_POINT, WHOLE_ROWS = "a symmetric point between its bounds: zero_shift needs one", og.ZeroShift(io=og.IO(ir_drop=1.0))
ALGORITHM_CASES = [
    *[
        Case(act=built(rule, fields), field=field, value=shown(fields[field]), allowed=allowed)
        for rule, fields, allowed in BAD_ALGORITHMS
        for field in [next(iter(fields))]
    ],
    *[
        Case(act=built(rule, {name: v}), error=TypeError, field=name, value=shown(v), allowed=allowed)
        for rule in NEW
        for name, v, allowed in kinds(rule)
    ],
    *[
        Case(act=built(og.MultiTileResidualLearning, {name: vector}), field=name, value=value, allowed=allowed)
        for name, vector, value, allowed in [
            ("transfer_every_vec", (1, 0), "0.0", POSITIVE),
            ("transfer_lr_vec", (1, -1), "-1.0", RATE),
        ]
    ],
    *[
        Case(act=trained(rule, n_reads_per_transfer=reads, transfer_columns=columns), field="reads", value=str(reads))
        for rule in FAST_SLOW
        for reads, columns in [(5, True), (4, False), ((1 << 20) + 1, True)]
    ],
    # a device for each array, and no other
    *[
        Case(act=trained(rule, device=dict.fromkeys(named, DEVICE)), field="device", value=shown(sorted(named)))
        for rule in NEW[:-1]
        for named in [(), ("fast",), ("weight", "fast", "slow")]
    ],
    Case(
        act=trained(og.AGAD, device={"fast": 5}),
        error=TypeError,
        field=r"device\['fast'\]",
        value="5",
        allowed="Device",
    ),
    # symmetric points
    *[
        Case(act=trained(rule, device=device, zero_shift=CALIBRATED), field="fast", value=value, allowed="zero_shift")
        for rule in FAST_SLOW
        for device, value in [(devices.ConstantStep(), NO_POINT), (ONE_SIDED, "one-sided cells")]
    ],
    Case(
        act=lambda s: og.Tile(1, 1, device=devices.ConstantStep()).arrays["weight"].zero_shift(CALIBRATED),
        field="weight",
        value=NO_POINT,
    ),
    Case(
        act=trained(og.AGAD, zero_shift=WHOLE_ROWS), field="zero_shift.io", value="whole rows", allowed="single lines"
    ),
    Case(
        act=on("array", "zero_shift", shift=WHOLE_ROWS),
        field="zero_shift.io",
        value="whole rows",
        allowed="single lines",
    ),
    *[
        Case(
            act=on("array", "zero_shift", shift=v), error=TypeError, field="shift", value=shown(v), allowed="ZeroShift"
        )
        for v in NO_SHIFTS
    ],
]


# ---- plans: a noun, its fields (the wrong one first), the value and what is allowed


@dataclass(frozen=True)
class Own:
    """An algorithm that gives a plan, whatever it is."""

    it: Any

    def plan(self, tile: object) -> Any:
        return self.it


STEPS: dict[str, Any] = {
    "accumulate": Accumulate(into="hidden", source=(Term("fast"),)),
    "write": Write(target="slow", source=(Term("hidden"),), rate=Rate(0.1)),
}


def planned(**parts: Any) -> Any:
    """A plan with other parts."""
    whole: dict[str, Any] = dict(arrays=("fast", "slow"), digital=("hidden", "mean"), weight=(Term("slow"),))
    whole |= dict(gradient=Gradient(target="fast", rate=Rate(1.0)), transfers=(Transfer(every=Every(1), steps=()),))
    return Plan(**whole | parts)


def event(**settings: Any) -> Any:
    """A plan with one transfer."""
    whole: dict[str, Any] = dict(every=Every(1), steps=tuple(STEPS.values()))
    return planned(transfers=(Transfer(**whole | settings),))


def stepped(step: str, **fields: Any) -> Any:
    """A plan with one step."""
    return event(steps=(replace(STEPS[step], **fields),))


TRANSFERS = "plan.transfers"
WRITTEN = f"{TRANSFERS}.steps.write"
GRADIENT: dict[str, Any] = dict(target="fast", rate=Rate(1.0))
NOUNS: dict[str, tuple[str, Callable[..., Any]]] = {
    "plan": ("plan", planned),
    "rate": (
        "plan.gradient.rate",
        lambda **f: planned(gradient=Gradient(target="fast", rate=Rate(**{"value": 1} | f))),
    ),
    "term": ("plan.weight", lambda **f: planned(weight=(Term(**dict(matrix="fast") | f), Term("slow")))),
    "every": (f"{TRANSFERS}.every", lambda **f: event(every=Every(**dict(period=1) | f))),
    "gradient": ("plan.gradient", lambda **f: planned(gradient=Gradient(**GRADIENT | f))),
    "chopper": (f"{TRANSFERS}.chopper", lambda **f: event(chopper=Chopper(**dict(prob=0.1) | f))),
    "threshold": (f"{WRITTEN}.threshold", lambda **f: stepped("write", threshold=Threshold(**f))),
    "accumulate": (f"{TRANSFERS}.steps.accumulate", lambda **f: stepped("accumulate", **f)),
    "write": (WRITTEN, lambda **f: stepped("write", **f)),
    "transfer": (TRANSFERS, event),
}
FINITE, MORE, CHANCE = "a number finite in float32", "0.0 or more, finite in float32", "0.0 to 1.0"
NOT_MORE: list[tuple[Any, str]] = [(-1, "-1"), (NAN, "NaN"), (INF, "inf"), (1e39, "1e39")]
NO_CHANCE: list[tuple[Any, str]] = [(-0.1, "-0.1"), (1.1, "1.1"), (NAN, "NaN")]
NO_PERIOD: list[tuple[Any, str]] = [(0, "0"), (-1, "-1"), (1e-10, "1e-10"), (1e16, "1e16"), *NOT_MORE[1:3]]
UNKNOWN = '"other"', "fast, slow, hidden, mean"
TWO = (Term("hidden"), Term("mean"))
MULTIPLE, DOUBLE = (Term("hidden", factor=2.0),), Term("fast", chopped=True)
BAD_PLANS: list[tuple[str, dict[str, Any], str, str]] = [
    *[("rate", {"value": value}, text, MORE) for value, text in NOT_MORE],
    ("rate", dict(per_gradient_rate=True), "True", "False: it is the rate of the gradient itself"),
    *[("term", {"factor": value}, text, FINITE) for value, text in NOT_MORE[1:]],
    ("term", dict(matrix="other"), *UNKNOWN),
    *[
        ("every", dict(period=v, unit=unit), text, "1e-9 to")
        for unit in ("vectors", "batches")
        for v, text in NO_PERIOD
    ],
    *[("every", {"period": v}, text, "a whole number of vectors") for v, text in [(0.5, "0.5"), (1.5, "1.5")]],
    ("every", dict(unit="epochs"), '"epochs"', '"batches", "vectors"'),
    ("gradient", dict(target="other"), *UNKNOWN),
    *[
        ("gradient", {"auto_scale": value}, text, "None, or 0.0 to")
        for value, text in [*NO_CHANCE, (1.0, "1"), ("no", "no")]
    ],
    ("gradient", dict(auto_scale=0.5, target="hidden"), "set", "None where the target is digital"),
    *[
        ("gradient", {name: value, "target": "hidden"}, text, "a whole number from 0 to 16777216")
        for name in ("n_x_bins", "n_d_bins")
        for value, text in [(-1, "-1"), ((1 << 24) + 1, "16777217"), (HUGE, "inf")]
    ],
    ("gradient", dict(n_x_bins=4), "not 0", "0 where the target is an array"),
    *[("chopper", {"prob": value}, text, CHANCE) for value, text in NO_CHANCE],
    *[("chopper", {"cross_prob": value}, text, CHANCE) for value, text in NO_CHANCE],
    ("chopper", dict(scope="all"), '"all"', '"line", "array"'),
    ("chopper", dict(scope="array", cross_prob=0.1), '"array" with flips in turn or of crossing lines', '"line"'),
    ("chopper", dict(scope="array", random=False), '"array" with flips in turn or of crossing lines', '"line"'),
    ("chopper", dict(latch=("fast", "hidden")), '"fast", "hidden"', "a digital matrix and another one"),
    ("chopper", dict(latch=("hidden", "hidden")), '"hidden", "hidden"', "a digital matrix and another one"),
    ("chopper", dict(latch=("other", "hidden")), *UNKNOWN),
    *[
        ("chopper", {"latch": names}, "no pair of names", "a digital matrix and another one")
        for names in [("hidden",), ("hidden", "mean", "slow"), ("hidden", 5)]
    ],
    ("chopper", dict(latch="hidden"), '"hidden"', "None, or a list"),
    *[
        ("threshold", {"cap": v}, text, "from 1 to 2147483647")
        for v, text in [(0, "0"), (-1, "-1"), (1 << 31, "2147483648")]
    ],
    *[("threshold", {"momentum": value}, text, CHANCE) for value, text in NO_CHANCE],
    *[("threshold", {"limit": value}, text, MORE) for value, text in NOT_MORE],
    ("accumulate", dict(into="other"), *UNKNOWN),
    ("accumulate", dict(source=()), "empty", "at least one term"),
    *[("accumulate", {"gain": Rate(value)}, text, MORE) for value, text in NOT_MORE],
    *[("accumulate", {"keep": value}, text, MORE) for value, text in NOT_MORE],
    ("write", dict(target="other"), *UNKNOWN),
    ("write", dict(target="hidden"), '"hidden"', "a matrix that is not its own source"),
    ("write", dict(source=()), "empty", "at least one term"),
    *[
        ("write", dict(source=source, threshold=Threshold()), "a sum, an array or a multiple", "one digital matrix")
        for source in (TWO, MULTIPLE, (Term("fast"),), (Term("hidden", chopped=True),))
    ],
    *[("write", {"rate": Rate(value)}, text, MORE) for value, text in NOT_MORE],
    *[("write", {"unit": value}, text, MORE) for value, text in NOT_MORE],
    *[("write", {"unit": value}, text, "a positive number") for value, text in [(0, "0"), (1e-39, "0.0*1")]],
    *[("write", {"deadband": value}, text, MORE) for value, text in NOT_MORE],
    *[
        ("write", {"after_passes": v}, text, "None, or 0.0 to")
        for v, text in [(-1, "-1"), (NAN, "NaN"), (1 << 60, "e18")]
    ],
    ("write", dict(after_passes=1.5), "1.5", "a whole number"),
    ("transfer", dict(axis="diagonal"), '"diagonal"', '"columns", "rows"'),
    *[
        ("transfer", {"reads": v}, text, "0 to 1048576")
        for v, text in [(-1, "-1"), ((1 << 20) + 1, "1048577"), (HUGE, "inf")]
    ],
    ("transfer", dict(reads=5), "5", r"0 \(all\) to d_in = 4"),
    ("transfer", dict(reads=4, axis="rows"), "4", r"0 \(all\) to d_out = 3"),
    *[("transfer", {"reset_prob": value}, text, CHANCE) for value, text in NO_CHANCE],
    ("transfer", dict(random=True, chopper=Chopper(prob=0.1)), "True", "False with a chopper"),
    ("plan", dict(arrays=("fast", "slow", "fast")), '"fast" twice', "every name once"),
    ("plan", dict(digital=("slow",)), '"slow" twice', "every name once"),
    *[("plan", {"digital": (name,)}, f'"{name}"', "names without dots") for name in ("", "a.b")],
    ("plan", dict(weight=()), "empty", "at least one term"),
    ("plan", dict(weight=(Term("other"),)), *UNKNOWN),
    *[
        (
            "plan",
            {"weight": (Term("fast"), last)},
            "a last term with a factor of 0 or a chopper",
            "takes weights that are set",
        )
        for last in (Term("slow", factor=0.0), Term("slow", factor=1e-50), Term("slow", chopped=True))
    ],
]
OF_ANOTHER_KIND: list[tuple[str, dict[str, Any], str]] = [
    ("gradient", dict(rate=0.1), "a Rate"),
    ("accumulate", dict(source="fast"), "a sequence, each a Term"),
    ("accumulate", dict(source=5), "a sequence, each a Term"),
    ("accumulate", dict(gain=0.5), "a Rate"),
    ("write", dict(threshold=5), "a Threshold or None"),
    ("write", dict(pulses=5), "a PulseTrain or None"),
    ("transfer", dict(every=1), "an Every"),
    ("transfer", dict(chopper=5), "a Chopper or None"),
    ("transfer", dict(io=5), "an IO or None"),
    ("transfer", dict(steps=5), "a sequence, each an Accumulate or Write"),
    ("transfer", dict(steps=(5,)), "an Accumulate or Write"),
    ("plan", dict(arrays="fast"), "a sequence of strings"),
    ("plan", dict(arrays=(5,)), "a string"),
    ("plan", dict(transfers=(5,)), "a Transfer"),
    ("plan", dict(gradient=None), "a Gradient"),
]
NO_PLANS: list[Any] = [None, {}, []]
# Nobody flips the signs of what is chopped, or two do.
UNCHOPPED = [
    planned(weight=(DOUBLE, Term("slow"))),
    planned(gradient=Gradient(target="fast", rate=Rate(1.0), chopped=True)),
    stepped("accumulate", source=(DOUBLE,)),
    stepped("write", source=(DOUBLE,)),
]
CHOPPED_TWICE = planned(transfers=(Transfer(every=Every(1), steps=(), chopper=Chopper(prob=0.1)),) * 2)


CLASSES: dict[str, Any] = dict(
    rate=Rate, term=Term, every=Every, gradient=Gradient, chopper=Chopper, threshold=Threshold
)
CLASSES |= dict(accumulate=Accumulate, write=Write, transfer=Transfer)


def own(plan: Any) -> Callable[[Stage], object]:
    return lambda s: og.Tile(3, 4, algorithm=Own(plan() if callable(plan) else plan))


def path_of(noun: str, field: str) -> str:
    """How the core names a field; the name of a matrix in more than one place is that of both."""
    return re.escape(NOUNS[noun][0]) + (f".*{field}" if noun != "rate" or field != "value" else r"\.value")


PLAN_CASES = [
    *[
        Case(
            act=own(lambda n=noun, f=fields: NOUNS[n][1](**f)), field=path_of(noun, field), value=value, allowed=allowed
        )
        for noun, fields, value, allowed in BAD_PLANS
        for field in [next(iter(fields))]
    ],
    *[
        Case(act=built(NOUNS[noun][1], fields), error=TypeError, field=name, value=shown(value), allowed=allowed)
        for noun, fields, allowed in OF_ANOTHER_KIND
        for name, given in fields.items()
        for value in (given if isinstance(given, tuple) else (given,))
    ],
    *[
        Case(
            act=built(NOUNS[noun][1], {name: value}),
            error=TypeError,
            field=name,
            value=shown(value),
            allowed=allowed,
        )
        for noun, cls in CLASSES.items()
        for name, field in cls.__dataclass_fields__.items()
        if (kind := "str" if field.type.startswith("Literal") else field.type) in KINDS and not kind.endswith("None")
        for value, allowed in [KINDS[kind]]
    ],
    *[Case(act=own(plan), field="plan: chopped", value="True", allowed="without a chopper") for plan in UNCHOPPED],
    Case(act=own(CHOPPED_TWICE), field="chopper", value="in 2 transfers", allowed="in one at most"),
    *[
        Case(act=own(plan), error=TypeError, field=r"Own\.plan", value=shown(plan), allowed="a Plan")
        for plan in NO_PLANS
    ],
    Case(act=lambda s: og.Tile(1, 1, algorithm=og.AGAD), error=TypeError, field="algorithm", allowed=r"plan\(tile\)"),  # type: ignore[arg-type]
]


# ---- the verbs of a tile: what is given (the wrong thing first), the value and what is allowed

X, D = np.ones((5, 4)), np.ones((5, 3))
Given = tuple[dict[str, Any], type[Exception], str, str]
EVENTS: dict[str, dict[str, Any]] = {
    "accumulate": {"into": "hidden", "source": "fast"},
    "write": {"target": "slow", "source": "hidden"},
}
ANY_EVENT: list[Given] = [
    (dict(source="other"), ValueError, '"other"', "fast, slow, hidden, mean, reference"),
    (dict(source=[]), ValueError, "empty", "at least one term"),
    (dict(source=["fast"]), TypeError, "'fast'", "a Term"),
    (dict(lines=[4]), ValueError, "4", "0 to 3"),
    (dict(lines=[3], axis="rows"), ValueError, "3", "0 to 2"),
    (dict(lines=[-1]), ValueError, "-1", "from 0 to 3"),
    (dict(lines=[1, 1]), ValueError, r"\[1, 1\]", "different lines"),
    (dict(lines=[1.0]), TypeError, "1.0", "an integer"),
    (dict(axis="diagonal"), ValueError, '"diagonal"', '"columns", "rows"'),
    (dict(axis=5), TypeError, "5", "a string"),
    (dict(io=5), TypeError, "5", "an? IO"),
]
BAD_EVENTS: list[tuple[str, dict[str, Any], type[Exception], str, str]] = [
    *[("accumulate", {name: v}, ValueError, text, MORE) for name in ("gain", "keep") for v, text in NOT_MORE],
    *[("write", {name: v}, ValueError, text, MORE) for name in ("rate", "unit", "deadband") for v, text in NOT_MORE],
    ("write", dict(unit=0), ValueError, "0", "a positive number"),
    ("write", dict(unit="no"), TypeError, "no", "a number"),
    ("write", dict(pulses=og.PulseTrain(pulse_type="none")), ValueError, '"none"', "end at the bounds of its cells"),
    ("write", dict(threshold=5), TypeError, "5", "a Threshold or None"),
    ("write", dict(threshold=Threshold(cap=0)), ValueError, "0", "from 1 to"),
    ("write", dict(source="fast", threshold=Threshold()), ValueError, "an array", "one digital matrix"),
    ("write", dict(target="hidden"), ValueError, '"hidden"', "not its own source"),
    ("write", dict(target="other"), ValueError, '"other"', "fast, slow, hidden, mean, reference"),
    ("accumulate", dict(into="other"), ValueError, '"other"', "fast, slow, hidden, mean, reference"),
    ("accumulate", dict(into=5), TypeError, "5", "a string"),
    ("accumulate", dict(keep="no"), TypeError, "no", "a number"),
    *[(verb, *row) for verb in EVENTS for row in ANY_EVENT],
]
BAD_UPDATES: list[Given] = [
    (dict(x=X[:, :3]), ValueError, r"\(5, 3\)", r"\(1 or more, 4\)"),
    (dict(x=X[:0], d=D[:0]), ValueError, r"\(0, 4\)", r"\(1 or more, 4\)"),
    (dict(x=X * NAN), ValueError, "NaN", "finite"),
    (dict(x="no"), TypeError, "<U2", "real numbers"),
    (dict(d=D[:3]), ValueError, "3 vectors", "5, one for each of x"),
    (dict(d=D * INF), ValueError, "inf", "finite"),
    (dict(lr=NAN), ValueError, "NaN", "finite in float32"),
    (dict(lr=1e39), ValueError, "10{39}", "finite in float32"),
    (dict(lr=HUGE), ValueError, "range of floats", "finite"),
    (dict(lr="no"), TypeError, "'no'", "a number"),
]


class Losing:
    """A stage that is no number."""

    def __init__(self, gives: Any) -> None:
        self.gives = gives

    def plan(self, tile: Any) -> Plan:
        return og.AnalogSGD().plan(tile)

    def end_of_epoch(self, stage: int, losses: Any) -> Any:
        return self.gives


@dataclass(frozen=True)
class Moved:
    """A plan that changes from stage to stage into one that cannot follow."""

    other: Any

    def plan(self, tile: Any) -> Any:
        return self.other if tile.stage else event(chopper=Chopper(prob=0.1))

    def end_of_epoch(self, stage: int, losses: Any) -> int:
        return stage + 1


def ended(rule: Any) -> Callable[[Stage], object]:
    """The end of an epoch: nothing changes in the tile."""

    def act(s: Stage) -> None:
        tile = og.Tile(3, 4, algorithm=rule)
        before = bits(tile.state_dict())
        try:
            tile.end_epoch([1.0])
        finally:
            assert (tile.stage, bits(tile.state_dict())) == (0, before)

    return act


def unpickled(**changed: Any) -> Callable[[Stage], object]:
    """A pickle of a tile with other settings, or with another state."""

    def act(s: Stage) -> None:
        parts = s.chopped.__getstate__()
        og.Tile.__new__(og.Tile).__setstate__({name: parts[name] | changed.get(name, {}) for name in parts})

    return act


def cut(end: int) -> Callable[[Stage], object]:
    return lambda s: pickle.loads(pickle.dumps(s.chopped)[:end])


def summed(batch_size: Any) -> Callable[[Stage], object]:
    return lambda s: Sequential(Linear(4, 3)).on(DEVICE, algorithm=og.AGAD()).summary(batch_size)


VERB_CASES = [
    *[
        Case(
            act=on("chopped", verb, **EVENTS[verb] | fields),
            error=error,
            field=next(iter(fields)),
            value=value,
            allowed=allowed,
        )
        for verb, fields, error, value, allowed in BAD_EVENTS
    ],
    *[
        Case(
            act=on("chopped", verb, **dict(x=X, d=D, lr=0.1) | fields),
            error=error,
            field=rf"\b{next(iter(fields))}\b",
            value=value,
            allowed=allowed,
        )
        for verb in ("follow_plan", "update")
        for fields, error, value, allowed in BAD_UPDATES
    ],
    *[
        Case(act=on("staged", "end_epoch", losses=[1.0, v]), error=error, field="losses", value=value, allowed=allowed)
        for v, error, value, allowed in [
            ("no", TypeError, "'no'", "a number"),
            (True, TypeError, "True", "a number"),
            (None, TypeError, "None", "a number"),
            (1j, TypeError, "1j", "a number"),
            (HUGE, ValueError, "range of floats", "finite"),
        ]
    ],
    Case(act=on("staged", "__setattr__", name="stage", value=1), error=AttributeError, field="stage"),
    *[
        Case(act=ended(Losing(gives)), error=TypeError, field="end_of_epoch", value=shown(gives), allowed="an integer")
        for gives in ("no", 1.0, None, True)
    ],
    *[
        Case(act=ended(Moved(plan)), field="plan", value="other matrices", allowed="the same")
        for plan in (
            planned(digital=("hidden",)),
            planned(arrays=("slow", "fast")),
            planned(transfers=()),
        )
    ],
    *[
        Case(act=ended(Moved(plan)), field="plan", value="a chopper of other lines", allowed="the same")
        for plan in (event(), event(chopper=Chopper(prob=0.1), axis="rows"))
    ],
    Case(act=ended(Moved(event(reads=5))), field="reads", value="5", allowed="d_in = 4"),
    Case(act=ended(Moved(None)), error=TypeError, field=r"Moved\.plan", value="None", allowed="a Plan"),
    *[
        Case(
            act=summed(v),
            error=error,
            field="batch_size",
            value=shown(v),
            allowed=allowed,
        )
        for v, error, allowed in [
            (0, ValueError, r"1 to 2\*\*31 - 1"),
            (-1, ValueError, r"1 to 2\*\*31 - 1"),
            (HUGE, ValueError, r"1 to 2\*\*31 - 1"),
            (1.5, TypeError, "an integer"),
            ("no", TypeError, "an integer"),
            (True, TypeError, "an integer"),
            (None, TypeError, "an integer"),
        ]
    ],
    Case(act=lambda s: Sequential(Linear(4, 3)).summary(), error=RuntimeError, field="no weights", allowed="build"),
    # states
    *[
        Case(
            act=loaded("chopped", **{name: value}),
            error=error,
            field=rf"{name.removesuffix('.values')}\b",
            value=text,
            allowed=allowed,
        )
        for name, value, error, text, allowed in [
            ("chopper.line", np.array([0, 1, 2, 0], np.uint64), ValueError, "", "4 counts of 0 or 1"),
            ("chopper.line", np.zeros(3, np.uint64), ValueError, "", "4 counts of 0 or 1"),
            ("chopper.cross", np.array([2**64 - 1, 0, 0], np.uint64), ValueError, "", "3 counts of 0 or 1"),
            ("chopper.cross", np.zeros(4, np.uint64), ValueError, "", "3 counts of 0 or 1"),
            ("chopper.cross", None, TypeError, "object", "real numbers"),
            ("gradient.max_abs_x", np.full(1, -1.0), ValueError, "-1", "one number >= 0, finite"),
            ("gradient.max_abs_x", np.full(1, NAN), ValueError, "NaN", "one number >= 0, finite"),
            ("gradient.max_abs_d", np.full(1, INF), ValueError, "inf", "one number >= 0, finite"),
            ("gradient.max_abs_d", np.zeros(1, np.uint64), ValueError, "counters", "float32 values"),
            ("gradient.max_abs_d", np.float32(1), ValueError, "single number", "an array"),
            ("hidden.values", np.full((3, 4), NAN), ValueError, "NaN", "finite"),
            ("hidden.values", np.zeros((4, 3)), ValueError, r"\[4, 3\]", r"\(3, 4\)"),
            ("mean.values", np.zeros(1), ValueError, "1 values", "3 x 4"),
            ("mean.values", np.zeros(12, np.uint64), ValueError, "counters", "float32 values"),
            ("counters", np.zeros(13, np.uint64), ValueError, "", "10 counts"),
            ("stage", np.zeros(1, np.uint64), ValueError, "unknown", ""),
            ("other.values", np.zeros((3, 4)), ValueError, "unknown", ""),
        ]
    ],
    *[
        Case(
            act=loaded("chopped", name),
            field=f"state.{name}",
            value="is missing",
        )
        for name in ("chopper.line", "chopper.cross", "gradient.max_abs_x", "mean.values", "slow.values", "counters")
    ],
    *[
        Case(
            act=loaded("staged", stage=value),
            field=r"state\.stage",
            value=value_text,
            allowed="one count",
        )
        for value, value_text in [
            (None, "None"),
            (np.zeros(1), r"\[0\.\]"),
            (np.zeros(2, np.uint64), r"\[0 0\]"),
            (np.uint64(1), "1"),
            (np.array([-1]), "-1"),
            (np.array([-(2**63)]), str(-(2**63))),
            (np.ones(1, bool), "True"),
        ]
    ],
    # a stage is not begun when the rest does not fit
    Case(
        act=lambda s: s.staged.load_state_dict({"stage": np.ones(1, np.uint64)}),
        field=r"state\.fast\.",
        value="is missing",
    ),
    # pickles
    Case(act=cut(0), error=EOFError, field="input"),
    *[Case(act=cut(end), error=pickle.UnpicklingError, field="truncated") for end in (1, 100, -1)],
    Case(act=unpickled(settings={"device": 5}), error=TypeError, field="device", value="5", allowed="a Device"),
    Case(act=unpickled(settings={"d_in": 5}), field="shape", value=r"\[3, 4\]", allowed=r"\(3, 5\)"),
    Case(act=unpickled(settings={"algorithm": og.TikiTakaV2()}), field="unknown to this tile"),
    Case(act=unpickled(settings={"other": 5}), error=TypeError, field="other"),
    Case(act=unpickled(state={"other": X}), field=r"state\.other", value=r"\[5, 4\]|unknown"),
    Case(act=unpickled(state={"hidden.values": np.full((3, 4), NAN)}), field="hidden", value="NaN", allowed="finite"),
]

# What does not say what it should, or says it as what it should not be.
NAMED_CASES = [
    Case(act=trained(og.AGAD, in_chop_prob=1e-320), field="in_chop_prob"),
    Case(act=trained(og.ChoppedTikiTakaV2, transfer_every=-1e308), field="transfer_every"),
    Case(act=trained(og.MultiTileResidualLearning, gamma=1e200), field="gamma"),
    *[
        Case(act=built(og.MultiTileResidualLearning, {"n_arrays": 4, name: 1e200}), field=name)
        for name in ("transfer_every_factor", "transfer_lr_factor")
    ],
    Case(act=on("chopped", "write", **EVENTS["write"], pulses=5), error=TypeError, field="pulses", value="5"),
    Case(act=on("chopped", "accumulate", **EVENTS["accumulate"], lines=[1 << 70]), field="lines", value=str(1 << 70)),
    *[Case(act=ended(Losing(gives)), field="end_of_epoch", value=str(gives)) for gives in (-1, 1 << 64)],
    Case(act=on("chopped", "write", **EVENTS["write"], rate="no"), error=TypeError, field="rate", value="no"),
    Case(act=on("chopped", "accumulate", **EVENTS["accumulate"], gain="no"), error=TypeError, field="gain", value="no"),
    Case(act=on("chopped", "accumulate", **EVENTS["accumulate"], lines=5), error=TypeError, field="lines", value="5"),
    Case(act=on("chopped", "accumulate", into="hidden", source=5), error=TypeError, field="source", value="5"),
    Case(act=on("staged", "end_epoch", losses=5), error=TypeError, field="losses", value="5"),
    *[
        Case(act=trained(rule, **{name: value}), field=name)
        for rule, name, value in [
            (og.AGAD, "fast_lr", 1e300),
            (og.AGAD, "transfer_lr", 1e300),
            (og.AGAD, "n_reads_per_transfer", HUGE),
            (og.TikiTakaV2, "thres_scale", 1e-300),
            (og.ResidualLearningV2, "beta_w", 1e300),
            (og.MixedPrecision, "granularity", 1e300),
            (og.MixedPrecision, "n_rows_per_transfer", 4),
        ]
    ],
    Case(
        act=loaded("chopped", **{"chopper.line": np.zeros(4)}),
        error=(ValueError, TypeError),
        field="chopper.line",
        allowed="4 counts of 0 or 1",
    ),
    Case(
        act=loaded("chopped", **{"gradient.max_abs_x": np.ones(2)}),
        field="gradient.max_abs_x",
        allowed="one number",
    ),
]
CASES += [*ALGORITHM_CASES, *PLAN_CASES, *VERB_CASES, *NAMED_CASES]


@pytest.mark.filterwarnings("ignore::numpy.exceptions.ComplexWarning", "ignore::RuntimeWarning")
@pytest.mark.parametrize("case", [case.param() for case in CASES])
def test_a_mistake_is_one_error_that_names_it_and_nothing_has_changed(case: Case) -> None:
    check(case)


def check(case: Case) -> None:
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
