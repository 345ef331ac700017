"""Every device model, once, with all spreads on and steps so coarse that cells reach their bounds within a test.

And, as objects: the same devices without noise and spread, the formulas of their responses, and all algorithms.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

import ohmgrad as og
from ohmgrad import devices

SPREADS: dict[str, Any] = {
    "dw_min": 0.02,
    "dw_min_dtod": 0.3,
    "dw_min_std": 0.4,
    "up_down": 0.1,
    "up_down_dtod": 0.05,
    "w_max_dtod": 0.2,
    "w_min_dtod": 0.25,
    "reference_mean": 0.03,
    "reference_std": 0.05,
}
BOUNDS: dict[str, Any] = {"w_max": 0.6, "w_min": -0.4}
NODES: dict[str, Any] = {
    "w": [-0.5, -0.3, -0.05, 0.2, 0.6],
    "q_up": [1.9, 1.5, 1.1, 0.7, 0.1],
    "q_down": [0.0, 0.6, 0.8, 1.3, 2.2],
}
PIECES: dict[str, Any] = {"u_up": [1.9, 1.2, 0.9, 0.8, 0.1], "u_down": [0.0, 0.7, 0.8, 1.3, 2.2]}

DEVICES: dict[str, dict[str, Any]] = {
    "ConstantStep": {"model": "ConstantStep", **SPREADS, **BOUNDS},
    "SoftBounds": {"model": "SoftBounds", **SPREADS, **BOUNDS},
    "SoftBoundsReference": {
        "model": "SoftBoundsReference",
        "mult_noise": False,
        **SPREADS,
        **BOUNDS,
        "slope_up_dtod": 0.1,
        "slope_down_dtod": 0.2,
    },
    "PowStep": {
        "model": "PowStep",
        **SPREADS,
        **BOUNDS,
        "pow_gamma": 1.5,
        "pow_gamma_dtod": 0.1,
        "pow_up_down": -0.1,
        "pow_up_down_dtod": 0.05,
    },
    "LinearResponse": {"model": "LinearResponse", "mult_noise": False, **SPREADS, "tau": 0.5, "c": 0.2},
    "PowerResponse": {"model": "PowerResponse", "mult_noise": False, **SPREADS, "tau": 0.5, "gamma": 2.5},
    "ExponentialResponse": {"model": "ExponentialResponse", "mult_noise": False, **SPREADS, "tau": 0.5, "gamma": 2.0},
    "Tabulated": {"model": "Tabulated", **SPREADS, **NODES},
    "LinearStep": {
        "model": "LinearStep",
        **SPREADS,
        **BOUNDS,
        "gamma_up": 0.6,
        "gamma_down": 0.4,
        "gamma_up_dtod": 0.1,
        "gamma_down_dtod": 0.2,
    },
    "SoftBoundsPmax": {
        "model": "SoftBoundsPmax",
        **{name: spread for name, spread in SPREADS.items() if name not in ("dw_min", "up_down")},
        "p_max": 40.0,
        "alpha": 0.04,
        "range_max": 0.5,
        "range_min": -0.3,
    },
    "ExpStep": {
        "model": "ExpStep",
        **SPREADS,
        **BOUNDS,
        "A_up": 0.5,
        "A_down": 0.6,
        "gamma_up": 1.5,
        "gamma_down": 2.0,
        "a": 0.5,
        "b": 0.1,
        "dw_min_std_add": 0.005,
        "dw_min_std_slope": 0.01,
    },
    "PowStepReference": {
        "model": "PowStepReference",
        **SPREADS,
        **BOUNDS,
        "pow_gamma": 0.7,
        "pow_gamma_dtod": 0.1,
        "pow_up_down": 0.2,
        "pow_up_down_dtod": 0.05,
    },
    "PiecewiseStep": {"model": "PiecewiseStep", **SPREADS, **BOUNDS, **PIECES},
    "ShiftedLinear": {
        "model": "ShiftedLinear",
        "mult_noise": False,
        **SPREADS,
        "tau_max": 0.5,
        "tau_min": -0.4,
        "shift": 0.1,
    },
    "SaturatingExponential": {
        "model": "SaturatingExponential",
        "mult_noise": False,
        **SPREADS,
        **BOUNDS,
        "gamma_up": 3.0,
        "gamma_down": 2.0,
    },
}

# What cells do at the end of a mini-batch.
AGEING: dict[str, Any] = {"lifetime": 50.0, "lifetime_dtod": 0.2, "diffusion": 0.002, "diffusion_dtod": 0.2}

# ---- formulas: those of the papers in float64, written once more and apart from the compiled core

# `(v, cell) -> q`: `v` is what a cell stores, `cell` holds its parameters by name.
Formula = Callable[[Any, Mapping[str, Any]], Any]


@dataclass(frozen=True, kw_only=True)
class Row:
    """A model of the table: its devices with and without noise and spread, and its responses."""

    name: str
    q_up: Formula
    q_down: Formula

    @property
    def noisy(self) -> devices.Device:
        """The device of the table, and decay and diffusion, each with a spread."""
        settings = dict(DEVICES[self.name])
        return getattr(devices, settings.pop("model"))(**settings | AGEING)

    @property
    def spread(self) -> devices.Device:
        """Without cycle noise."""
        return replace(self.noisy, dw_min_std=0.0)

    @property
    def device(self) -> devices.Device:
        """Without any noise or spread: all cells are the mean cell."""
        noisy = self.noisy
        off = ("_dtod", "_std", "_std_add", "_std_slope", "reference_mean", "lifetime", "diffusion")
        names = [f.name for f in fields(noisy) if f.name.endswith(off)]
        return replace(noisy, **dict.fromkeys(names, 0.0))

    def mean_cell(self) -> dict[str, Any]:
        """The parameters of the mean cell."""
        device, s = self.device, DEVICES[self.name]
        low, high = device.bounds
        gamma, shift = s.get("pow_gamma", 0.0), s.get("pow_up_down", 0.0)
        gammas = s.get("gamma_up", gamma * (1 + min(shift, 0))), s.get("gamma_down", gamma * (1 - max(shift, 0)))
        return dict(
            w_max=high,
            w_min=low,
            dw_up=device.dw_min * (1 + min(device.up_down, 0)),
            dw_down=device.dw_min * (1 - max(device.up_down, 0)),
            gamma_up=gammas[0],
            gamma_down=gammas[1],
        )


def _position(v: Any, cell: Mapping[str, Any]) -> Any:
    return (v - cell["w_min"]) / (cell["w_max"] - cell["w_min"])


def _power(base: Any, exponent: Any) -> Any:
    return np.maximum(base, 0.0) ** exponent


def _exponential(size: float, gamma: float) -> Formula:
    def q(v: Any, cell: Mapping[str, Any]) -> Any:
        y = v / (cell["w_max"] - cell["w_min"]) + 0.1
        return np.maximum(1 - size * np.exp(gamma * y), 0)

    return q


def _table(q: str) -> Formula:
    w = np.array(NODES["w"])
    return lambda v, cell: np.interp(_position(v, cell), (w - w[0]) / (w[-1] - w[0]), NODES[q])


ROWS = [
    Row(name="ConstantStep", q_up=lambda v, cell: np.ones_like(v), q_down=lambda v, cell: np.ones_like(v)),
    Row(
        name="SoftBounds",
        q_up=lambda v, cell: 1 - v / cell["w_max"],
        q_down=lambda v, cell: 1 - v / cell["w_min"],
    ),
    Row(
        name="SoftBoundsReference",
        q_up=lambda v, cell: 1 - v / cell["w_max"],
        q_down=lambda v, cell: 1 - v / cell["w_min"],
    ),
    Row(
        name="PowStep",
        q_up=lambda v, cell: _power(1 - _position(v, cell), cell["gamma_up"]),
        q_down=lambda v, cell: _power(_position(v, cell), cell["gamma_down"]),
    ),
    Row(
        name="LinearResponse",
        q_up=lambda v, cell: (1 + 0.2) * (1 - v / cell["w_max"]),
        q_down=lambda v, cell: (1 - 0.2) * (1 - v / cell["w_min"]),
    ),
    Row(
        name="PowerResponse",
        q_up=lambda v, cell: _power(1 - v / cell["w_max"], 2.5),
        q_down=lambda v, cell: _power(1 - v / cell["w_min"], 2.5),
    ),
    Row(
        name="ExponentialResponse",
        q_up=lambda v, cell: np.expm1(2 * (1 - v / cell["w_max"])) / np.expm1(2),
        q_down=lambda v, cell: np.expm1(2 * (1 - v / cell["w_min"])) / np.expm1(2),
    ),
    Row(name="Tabulated", q_up=_table("q_up"), q_down=_table("q_down")),
    Row(
        name="LinearStep",
        q_up=lambda v, cell: 1 - cell["gamma_up"] * v / 0.6,
        q_down=lambda v, cell: 1 + cell["gamma_down"] * v / 0.4,
    ),
    Row(
        name="SoftBoundsPmax",
        q_up=lambda v, cell: 1 - v / cell["w_max"],
        q_down=lambda v, cell: 1 - v / cell["w_min"],
    ),
    Row(name="ExpStep", q_up=_exponential(0.5, 1.5), q_down=_exponential(0.6, -2.0)),
    Row(
        name="PowStepReference",
        q_up=lambda v, cell: _power(1 - _position(v, cell), cell["gamma_up"]),
        q_down=lambda v, cell: _power(_position(v, cell), cell["gamma_down"]),
    ),
    Row(
        name="PiecewiseStep",
        q_up=lambda v, cell: np.interp(_position(v, cell), np.linspace(0, 1, 5), PIECES["u_up"]),
        q_down=lambda v, cell: np.interp(_position(v, cell), np.linspace(0, 1, 5), PIECES["u_down"]),
    ),
    Row(
        name="ShiftedLinear",
        q_up=lambda v, cell: (1 - _position(v, cell)) * 0.9 / 0.5,
        q_down=lambda v, cell: _position(v, cell) * 0.9 / 0.4,
    ),
    Row(
        name="SaturatingExponential",
        q_up=lambda v, cell: -np.expm1(-3 * (1 - _position(v, cell))),
        q_down=lambda v, cell: -np.expm1(-2 * _position(v, cell)),
    ),
]

# Models whose steps are settings, not derived from others.
STEPPED = [row for row in ROWS if "dw_min" in DEVICES[row.name]]

# Every algorithm once: transfers by vectors and by parts of a mini-batch, of one line, of some and of all, columns and
# rows, read with limited precision and without; short periods, so that all that can happen does within a test.
FEW = og.PulseTrain.single(desired_bl=8)
ALGORITHMS: list[og.algorithms.Algorithm] = [
    og.DigitalSGD(),
    og.AnalogSGD(),
    og.TikiTaka(
        fast_lr=0.1, transfer_every=2, units_in_mbatch=False, transfer_io=og.IO(out_bound=1.0, out_res=1 / 510)
    ),
    og.ResidualLearning(fast_lr=0.5, scale_fast_lr=True, transfer_every=0.5, n_reads_per_transfer=0),
    og.TikiTakaV2(gamma=0.1, fast_lr=0.1, units_in_mbatch=False, n_reads_per_transfer=2),
    og.ResidualLearningV2(units_in_mbatch=False, transfer_columns=False),
    og.ChoppedTikiTakaV2(gamma=0.1, fast_lr=0.1, out_chop_prob=0.1, transfer_lr=0.3, transfer_pulses=FEW),
    og.AGAD(gamma=0.1, in_chop_prob=0.25, transfer_pulses=FEW),
    og.MultiTileResidualLearning(fast_lr=0.1, transfer_lr=0.5, transfer_every=0.5, warm_start=False),
    og.MixedPrecision(n_x_bins=6, n_d_bins=6, transfer_every=0.5, n_rows_per_transfer=2),
    og.ERIDER(fast_lr=0.1),
]


def named(value: object) -> str:
    """A name for test ids."""
    return value.name if isinstance(value, Row) else type(value).__name__
