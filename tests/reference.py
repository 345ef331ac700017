"""The executable specification of the kernel: what a tile of `ohmgrad` computes, this file computes bit for bit.

It imports NumPy alone and uses only operations whose bits are the same on every processor: IEEE float32 `+ - * /`,
square root, comparisons and integers; Python floats (float64) for scale factors. No function of NumPy that sums,
multiplies matrices, draws numbers or approximates a transcendental function appears here; `test_reference_is_pure.py`
sees to that. Parentheses are written where the order matters.

    1 functions    2 streams    3 devices    4 trains    5 updates of an array    6 products    7 tiles and plans

Vectors, rows and pulses are loops; the cells of a row are one NumPy array. Unsigned numbers wrap around: keys are
Python integers under a 64-bit mask, words are uint32 arrays.
"""

import numpy as np
from numpy.typing import NDArray

F = np.float32
U = np.uint32
Floats = NDArray[np.float32]
Words = NDArray[np.uint32]
Switches = NDArray[np.bool_]
Settings = dict

ZERO, HALF, ONE, TWO = F(0.0), F(0.5), F(1.0), F(2.0)
LARGEST = F(3.4028234663852886e38)


# ---- 1 functions

# ln 2 in two parts, the first of so few bits that its multiples are exact.
LN2_HI, LN2_LO, LOG2_E = F(0.6933594), F(-2.1219444e-4), F(1.442695)
# Adding and subtracting 1.5 * 2^23 rounds to the nearest integer, ties to even.
ROUND = F(12582912.0)
LN = [F(c) for c in (0.33334008, -0.25002465, 0.19959152, -0.16540119, 0.14918174, -0.14559664, 0.090622574)]
EXP = [F(c) for c in (0.5, 0.16666666, 0.041659977, 0.00835727, 0.0014474238)]
SIN = [F(c) for c in (-0.16666667, 0.00833244, -1.9527515e-4)]
COS = [F(c) for c in (0.041666668, -0.0013888192, 2.4520312e-5)]
HALF_PI = [F(c) for c in (1.5703125, 4.837513e-4, 7.54979e-8)]
TWO_OVER_PI, QUARTER_PI = F(0.6366197723675814), F(0.7853981633974483)


def clip(v: Floats, low: Floats | F, high: Floats | F) -> Floats:
    """`v` within `[low, high]`; what is no number ends at `high`."""
    v = np.where(v < high, v, high)
    return np.where(v > low, v, low)


def rint(x: Floats) -> Floats:
    """The nearest integer, ties to even; from 2^22 on `x` itself."""
    return np.where(np.abs(x) < F(4194304.0), (x + ROUND) - ROUND, x)


def ln(x: Floats) -> Floats:
    """The natural logarithm of positive numbers: `x = m 2^e` with `m` around 1, a polynomial in `f = m - 1`."""
    i = x.view(U) - U(0x3F3504F3)
    e = (i.view(np.int32) >> 23).astype(F)
    f = ((i & U(0x007FFFFF)) + U(0x3F3504F3)).view(F) - ONE
    f2 = f * f
    low = (LN[0] + f * LN[1]) + f2 * (LN[2] + f * LN[3])
    p = low + (f2 * f2) * ((LN[4] + f * LN[5]) + f2 * LN[6])
    return e * LN2_HI + (f + (((f2 * f) * p - HALF * f2) + e * LN2_LO))


def exp_parts(x: Floats) -> tuple[Floats, Floats]:
    """`(e^r - 1, 2^n)` with `x = n ln 2 + r`; `x` is kept within +-87."""
    x = clip(x, F(-87.0), F(87.0))
    t = x * LOG2_E + ROUND
    n = t - ROUND
    r = (x - n * LN2_HI) - n * LN2_LO
    r2 = r * r
    q = ((EXP[0] + r * EXP[1]) + r2 * (EXP[2] + r * EXP[3])) + (r2 * r2) * EXP[4]
    scale = (((t.view(U) - U(0x4B400000)) + U(127)) << U(23)).view(F)
    return r + r2 * q, scale


def exp(x: Floats) -> Floats:
    """`e^x`, zero below -87."""
    less_one, scale = exp_parts(x)
    return np.where(x < F(-87.0), ZERO, (ONE + less_one) * scale)


def expm1(x: Floats) -> Floats:
    """`e^x - 1`."""
    less_one, scale = exp_parts(x)
    return scale * less_one + (scale - ONE)


def power(x: Floats, y: Floats | F) -> Floats:
    """`x^y` for `x >= 0`; `0^y` is 0."""
    return np.where(x > ZERO, exp(y * ln(x)), ZERO)


def sin_cos_small(r: Floats) -> tuple[Floats, Floats]:
    """Sine and cosine of |r| <= pi / 4."""
    t = r * r
    s = r + (r * t) * ((SIN[0] + t * SIN[1]) + (t * t) * SIN[2])
    c = (ONE - HALF * t) + (t * t) * ((COS[0] + t * COS[1]) + (t * t) * COS[2])
    return s, c


def sine(x: Floats, quarter: int = 0) -> Floats:
    """`sin(x + quarter pi / 2)`: the cosine for `quarter = 1`."""
    t = x * TWO_OVER_PI + ROUND
    n = t - ROUND
    s, c = sin_cos_small(((x - n * HALF_PI[0]) - n * HALF_PI[1]) - n * HALF_PI[2])
    quadrant = t.view(U) + U(quarter)
    y = np.where((quadrant & U(1)) == 0, s, c)
    return (y.view(U) ^ ((quadrant & U(2)) << U(30))).view(F)


def cosine(x: Floats) -> Floats:
    """The cosine."""
    return sine(x, 1)


def hyperbolic_tangent(x: Floats) -> Floats:
    """The hyperbolic tangent, 1 beyond 10."""
    a = np.abs(x)
    e = expm1(TWO * np.where(a < F(10.0), a, F(10.0)))
    return ((e / (e + TWO)).view(U) | (x.view(U) & U(0x80000000))).view(F)


def sigmoid(x: Floats) -> Floats:
    """`1 / (1 + e^-x)`."""
    return ONE / (ONE + exp(-x))


# ---- 2 streams

STREAM_VERSION = 1
GOLDEN = 0x9E3779B97F4A7C15
MASK_64 = 0xFFFFFFFFFFFFFFFF
INIT, DEVICE, RUN, EVAL = 0, 1, 2, 3
PULSE, TRAIN_X, TRAIN_D, FORWARD_OUT, FORWARD_IN, BACKWARD_OUT, BACKWARD_IN = range(7)
READ_OUT, READ_IN, WRITE_X, WRITE_D, DIFFUSION = range(7, 12)


def mix64(z: int) -> int:
    """The finaliser of splitmix64."""
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK_64
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK_64
    return z ^ (z >> 31)


def child(key: int, *tags: int) -> int:
    """The key some levels below `key`."""
    for tag in tags:
        key = mix64((key + (tag + 1) * GOLDEN) & MASK_64)
    return key


def stream(seed: int, kind: int, path: str, array: int) -> int:
    """The key of one kind of randomness of one array of the tile at `path`."""
    name = path.encode()
    return child(0, STREAM_VERSION, seed, kind, len(name), *name, array)


def count(n: int) -> Words:
    """The counters 0, 1, ... n - 1."""
    return np.arange(n, dtype=U)


def words(key: int, i: Words, n: Words) -> Words:
    """32 random bits for every pair of counters."""
    h = (i * U(0x9E3779B9) + n * U(0x85EBCA6B)) ^ U(key & 0xFFFFFFFF)
    h = (h ^ (h >> U(16))) * U(0x21F0AAAD)
    h = ((h ^ (h >> U(15))) ^ U(key >> 32)) * U(0xD35A2D97)
    h = (h ^ (h >> U(15))) * U(0x2C1B3C6D)
    return h ^ (h >> U(16))


def normal_pair(a: Words, b: Words) -> tuple[Floats, Floats]:
    """Box and Muller: 31 bits of `a` make the radius, 30 of `b` an angle within +-pi/4; three bits swap and sign."""
    u = ((a & U(0x7FFFFFFF)) | U(1)).view(np.int32).astype(F) * F(1.0 / 2147483648.0)
    radius = np.sqrt(F(-2.0) * ln(u))
    angle = ((b & U(0x3FFFFFFF)).view(np.int32).astype(F) - F(536870912.0)) * (QUARTER_PI / F(536870912.0))
    s, c = sin_cos_small(angle)
    swap = ((b >> U(30)) & U(1)) == 1
    even = (radius * np.where(swap, c, s)).view(U) ^ (b & U(0x80000000))
    odd = (radius * np.where(swap, s, c)).view(U) ^ (a & U(0x80000000))
    return even.view(F), odd.view(F)


def uniforms(key: int, i: Words, n: Words) -> Floats:
    """A number in [0, 1) with 24 bits for every pair of counters."""
    return (words(key, i, n) >> U(8)).view(np.int32).astype(F) * F(1.0 / 16777216.0)


def normals(key: int, i: Words, n: Words) -> Floats:
    """A normal number for every pair of counters: `2p` and `2p + 1` of `i` come from words `2p` and `2p + 1`."""
    pair = n & U(0xFFFFFFFE)
    even, odd = normal_pair(words(key, i, pair), words(key, i, pair + U(1)))
    return np.where((n & U(1)) == 0, even, odd)


# ---- 3 devices

COMMON = {
    "dw_min": 0.001, "dw_min_dtod": 0.0, "dw_min_dtod_log_normal": False, "dw_min_std": 0.0, "mult_noise": True,
    "up_down": 0.0, "up_down_dtod": 0.0, "w_max": 1.0, "w_min": -1.0, "w_max_dtod": 0.0, "w_min_dtod": 0.0,
    "reference_mean": 0.0, "reference_std": 0.0, "subtract_symmetry_point": False, "enforce_consistency": True,
    "lifetime": 0.0, "lifetime_dtod": 0.0, "diffusion": 0.0, "diffusion_dtod": 0.0,
    "reset": 0.0, "reset_dtod": 0.0, "reset_std": 0.0, "drift": None,
    "write_noise_std": 0.0, "apply_write_noise_on_set": True,
    "corrupt_devices_prob": 0.0, "corrupt_devices_range": 0.1, "perfect_bias": False,
}  # fmt: skip
DRIFT = {
    "nu": 0.0, "t_0": 1.0, "nu_dtod": 0.0, "nu_std": 0.0, "nu_k": 0.0, "log_g0": 0.0, "g_offset": 0.0,
    "w_offset": 0.0, "wg_ratio": 1.0, "w_noise_std": 0.0, "reset_tol": 1e-7,
}  # fmt: skip
OWN: dict[str, Settings] = {
    "ConstantStep": {},
    "SoftBounds": {},
    "SoftBoundsReference": {"mult_noise": False, "slope_up_dtod": 0.0, "slope_down_dtod": 0.0, "kit_compat": False},
    "PowStep": {"pow_gamma": 1.0, "pow_gamma_dtod": 0.0, "pow_up_down": 0.0, "pow_up_down_dtod": 0.0},
    "LinearResponse": {"mult_noise": False, "tau": 1.0, "c": 0.0},
    "PowerResponse": {"mult_noise": False, "tau": 1.0, "gamma": 1.0},
    "ExponentialResponse": {"mult_noise": False, "tau": 1.0, "gamma": 1.0},
    "Tabulated": {},
    "LinearStep": {
        "gamma_up": 0.0, "gamma_down": 0.0, "gamma_up_dtod": 0.0, "gamma_down_dtod": 0.0, "reverse_up": False,
        "reverse_down": False, "reverse_offset": 0.01, "mean_bound_reference": True, "allow_increasing": False,
    },
    "SoftBoundsPmax": {"p_max": 1000.0, "alpha": 0.0005, "range_min": -1.0, "range_max": 1.0, "kit_compat": False},
    "ExpStep": {
        "A_up": 0.00081, "A_down": 0.36833, "gamma_up": 12.44625, "gamma_down": 12.78785, "a": 0.244, "b": 0.2425,
        "dw_min_std_add": 0.0, "dw_min_std_slope": 0.0, "kit_compat": False,
    },
    "PowStepReference": {
        "pow_gamma": 1.0, "pow_gamma_dtod": 0.0, "pow_up_down": 0.0, "pow_up_down_dtod": 0.0, "kit_compat": False,
    },
    "PiecewiseStep": {},
    "ShiftedLinear": {"mult_noise": False, "tau_max": 1.0, "tau_min": -1.0, "shift": 0.0},
    "SaturatingExponential": {"mult_noise": False, "gamma_up": 1.0, "gamma_down": 1.0},
}  # fmt: skip
IO = {
    "is_perfect": False, "inp_bound": 0.0, "inp_res": 0.0, "inp_noise": 0.0, "out_bound": 0.0, "out_res": 0.0,
    "out_noise": 0.0, "noise_management": "none", "nm_thres": 0.0, "bound_management": "none", "max_bm_factor": 1000.0,
    "max_bm_res": 0.25, "out_scale": 1.0,
}  # fmt: skip
PULSES = {
    "pulse_type": "stochastic_compressed", "desired_bl": 31, "update_management": True, "update_bl_management": True,
}  # fmt: skip


def complete(device: Settings) -> Settings:
    """A device with all its settings; the models that name their bounds or steps otherwise get them here."""
    device = {**COMMON, **OWN[device["model"]], **device}
    device["drift"] = {**DRIFT, **(device["drift"] or {})}
    if "tau" in device:
        return {**device, "w_max": device["tau"], "w_min": -device["tau"]}
    if "shift" in device:
        return {**device, "w_max": device["shift"] + device["tau_max"], "w_min": device["shift"] + device["tau_min"]}
    if "p_max" in device:
        return {**device, **by_pulse_curves(device)}
    if "w" in device:
        return {**device, "w_max": device["w"][-1], "w_min": device["w"][0]}
    return device


def by_pulse_curves(device: Settings) -> Settings:
    """Bounds and steps of soft bounds given by their pulse curves (float64)."""
    low, high, alpha = device["range_min"], device["range_max"], device["alpha"]
    span = (high - low) / -double_expm1(-alpha * device["p_max"])
    if device["kit_compat"]:
        return {"w_max": low + span, "w_min": low, "dw_min": alpha * span, "up_down": 1.0 + 2.0 * low / span}
    w_max, w_min, part = low + span, high - span, -double_expm1(-alpha)
    if w_max > -w_min:
        return {"w_max": w_max, "w_min": w_min, "dw_min": part * w_max, "up_down": 1.0 + w_min / w_max}
    return {"w_max": w_max, "w_min": w_min, "dw_min": part * -w_min, "up_down": -(1.0 + w_max / w_min)}


def double_expm1(x: float) -> float:
    """`e^x - 1` in float64: halved to 1/32, twelve terms of the series, doubled again."""
    doublings = 0
    while x > 0.03125 or x < -0.03125:
        x, doublings = 0.5 * x, doublings + 1
    e = 0.0
    for n in range(12, 0, -1):
        e = (1.0 + e) * (x / n)
    for _ in range(doublings):
        e = e * (e + 2.0)
    return e


def draw_cells(device: Settings, key: int, rows: int, columns: int) -> dict[str, Floats]:
    """The per-cell parameters of an array.

    Parameter number `p` of the cell at `(row, column)` takes normal `(column, 0)` of stream `(p, row)`.
    """

    def spread(name: str, p: int) -> Floats:
        return spread_of(device[name], p, key, rows, columns)

    w_max = F(device["w_max"]) * (ONE + spread("w_max_dtod", 0))
    w_min = F(device["w_min"]) * (ONE + spread("w_min_dtod", 1))
    xi = spread("dw_min_dtod", 2)
    gain = exp(xi) if device["dw_min_dtod_log_normal"] else ONE + xi
    r = spread("up_down_dtod", 3)
    negative, positive = one_sided(device["up_down"])
    dw_up = F(device["dw_min"]) * ((gain + r) + negative)
    dw_down = F(device["dw_min"]) * ((gain - r) - positive)
    crossed = w_min > w_max
    if device["enforce_consistency"]:
        dw_up, dw_down = np.abs(dw_up), np.abs(dw_down)
        w_max, w_min = np.where(crossed, w_min, w_max), np.where(crossed, w_max, w_min)
        w_max, w_min = np.abs(w_max), -np.abs(w_min)
    cells = {"w_max": w_max, "w_min": w_min, "dw_up": dw_up, "dw_down": dw_down}
    if device["model"] == "SoftBoundsReference":
        cells["w_max"] = w_max / np.abs(ONE + spread("slope_up_dtod", 5))
        cells["w_min"] = w_min / np.abs(ONE + spread("slope_down_dtod", 6))
    cells.update(draw_own(device, key, rows, columns))
    crossed, middle = cells["w_min"] > cells["w_max"], HALF * (cells["w_max"] + cells["w_min"])
    cells["w_max"] = np.where(crossed, middle, cells["w_max"])
    cells["w_min"] = np.where(crossed, middle, cells["w_min"])
    reference = F(device["reference_mean"]) + spread("reference_std", 4)
    if device["subtract_symmetry_point"]:
        reference = reference + symmetric_point(device, cells)
    t = F(device["lifetime"]) * (ONE + spread("lifetime_dtod", 8))
    lasting = np.where(t > ONE, ONE - ONE / np.where(t > ONE, t, ONE), ZERO)
    decay = np.ones(t.shape, F) if device["lifetime"] == 0.0 else lasting
    cells["reference"], cells["decay"] = reference, decay
    cells["diffusion"] = np.abs(F(device["diffusion"]) * (ONE + spread("diffusion_dtod", 9)))
    cells["reset"] = F(device["reset"]) + spread("reset_dtod", 10)
    cells["nu"] = F(device["drift"]["nu"]) * (ONE + spread_of(device["drift"]["nu_dtod"], 11, key, rows, columns))
    if device["corrupt_devices_prob"] > 0.0:
        corrupt(device, cells, key)
    if device["perfect_bias"]:
        perfect(device, cells)
    return cells


def corrupt(device: Settings, cells: dict[str, Floats], key: int) -> None:
    """Makes cells stuck, each with the probability given: steps of 0, both bounds at a number uniform in their range.

    Uniform number `p` of the cell at `(row, column)` is `(column, 0)` of stream `(p, row)`.
    """
    rows, columns = cells["w_max"].shape
    u = {p: np.zeros((rows, columns), F) for p in (12, 13)}
    for p, row in ((p, row) for p in u for row in range(rows)):
        u[p][row] = uniforms(child(key, p, row), count(columns), np.zeros(columns, U))
    stuck, limit = u[12] < F(device["corrupt_devices_prob"]), F(device["corrupt_devices_range"])
    low = np.where(cells["w_min"] > -limit, cells["w_min"], -limit)
    high = np.where(cells["w_max"] < limit, cells["w_max"], limit)
    at = low + (high - low) * u[13]
    for name, value in (("w_max", at), ("w_min", at), ("dw_up", ZERO), ("dw_down", ZERO)):
        cells[name] = np.where(stuck, value, cells[name])


def perfect(device: Settings, cells: dict[str, Floats]) -> None:
    """Makes the last column one of cells without spread that do not age, with bounds out of reach."""
    plain = {**device, **{name: 0.0 for name in device if name.endswith("_dtod")}}
    ideal = draw_own(plain, 0, 1, 1)
    for name in ("w_max", "w_min"):
        ideal[name] = np.full((1, 1), F(100.0) * F(device[name]))
    for name in ("dw_up", "dw_down"):
        ideal[name] = np.full((1, 1), F(device["dw_min"]))
    for name in ("reference", "decay", "diffusion", "reset", "nu"):
        ideal[name] = np.full((1, 1), ONE if name == "decay" else ZERO)
    for name, plane in cells.items():
        plane[:, -1] = ideal[name][0, 0]


def spread_of(sigma: float, p: int, key: int, rows: int, columns: int) -> Floats:
    """`sigma z` for parameter number `p` of every cell."""
    z = np.zeros((rows, columns), F)
    if sigma > 0.0:
        for row in range(rows):
            z[row] = normals(child(key, p, row), count(columns), np.zeros(columns, U))
    return F(sigma) * z


def draw_own(device: Settings, key: int, rows: int, columns: int) -> dict[str, Floats]:
    """The parameters of cells that only this model has."""

    def spread(name: str, p: int) -> Floats:
        return spread_of(device[name], p, key, rows, columns)

    if device["model"] in ("PowStep", "PowStepReference"):
        gain, r = ONE + spread("pow_gamma_dtod", 5), spread("pow_up_down_dtod", 6)
        negative, positive = one_sided(device["pow_up_down"])
        up = np.abs(F(device["pow_gamma"]) * ((gain + r) + negative))
        return {"gamma_up": up, "gamma_down": np.abs(F(device["pow_gamma"]) * ((gain - r) - positive))}
    if device["model"] == "LinearStep":
        up = F(device["gamma_up"]) + spread("gamma_up_dtod", 5)
        down = F(device["gamma_down"]) + spread("gamma_down_dtod", 6)
        up, down = (up, down) if device["allow_increasing"] else (np.abs(up), np.abs(down))
        return {"gamma_up": up, "gamma_down": down}
    return {}


def one_sided(v: float) -> tuple[F, F]:
    """The negative and the positive part."""
    return F(v if v < 0.0 else 0.0), F(v if v > 0.0 else 0.0)


def symmetric_point(device: Settings, cells: dict[str, Floats]) -> Floats:
    """Where an up and a down step of a cell have the same size, by bisection between its bounds."""
    low, high = cells["w_min"], cells["w_max"]
    upwards = np.ones(low.shape, np.bool_)
    for _ in range(48):
        middle = HALF * (low + high)
        up, down = response(device, cells, middle, upwards), response(device, cells, middle, ~upwards)
        above = (cells["dw_down"] * down - cells["dw_up"] * up) > ZERO
        low, high = np.where(above, low, middle), np.where(above, middle, high)
    return HALF * (low + high)


def inverse(v: Floats) -> Floats:
    """`1 / v`, and 0 for a bound at (next to) zero."""
    tiny = np.abs(v) < F(1.1754943508222875e-38)
    return np.where(tiny, ZERO, ONE / np.where(tiny, ONE, v))


def response(device: Settings, cell: dict[str, Floats], v: Floats, up: Switches) -> Floats:
    """`q_up` where the pulse goes up, `q_down` elsewhere, at the stored value `v`."""
    match device["model"]:
        case "ConstantStep":
            return np.ones(v.shape, F)
        case "SoftBounds" | "SoftBoundsReference" | "SoftBoundsPmax":
            return ONE - v * inverse(np.where(up, cell["w_max"], cell["w_min"]))
        case "PowStep" | "PowStepReference":
            room = np.where(up, cell["w_max"] - v, v - cell["w_min"]) * inverse(cell["w_max"] - cell["w_min"])
            return power(room, np.where(up, cell["gamma_up"], cell["gamma_down"]))
        case "LinearResponse":
            c = F(device["c"])
            size = np.where(up, ONE + c, ONE - c)
            return size - v * (size * inverse(np.where(up, cell["w_max"], cell["w_min"])))
        case "PowerResponse":
            room = ONE - v * inverse(np.where(up, cell["w_max"], cell["w_min"]))
            return power(np.where(room < ZERO, ZERO, room), F(device["gamma"]))
        case "ExponentialResponse":
            gamma = np.full(v.shape, F(device["gamma"]))
            slope = gamma * inverse(np.where(up, cell["w_max"], cell["w_min"]))
            return expm1(gamma - v * slope) * (ONE / expm1(gamma))
        case "Tabulated":
            position = (v - cell["w_min"]) * inverse(cell["w_max"] - cell["w_min"])
            return np.where(up, interpolate(device, "q_up", position), interpolate(device, "q_down", position))
        case "LinearStep":
            nominal = device["mean_bound_reference"]
            high = np.full(v.shape, F(device["w_max"])) if nominal else cell["w_max"]
            low = np.full(v.shape, F(device["w_min"])) if nominal else cell["w_min"]
            offset = F(device["reverse_offset"])
            to_up = low - offset if device["reverse_up"] else high
            to_down = high + offset if device["reverse_down"] else low
            return ONE - v * np.where(up, cell["gamma_up"] * inverse(to_up), cell["gamma_down"] * inverse(to_down))
        case "ExpStep":
            y = v * (F(2.0 * device["a"]) * inverse(cell["w_max"] - cell["w_min"])) + F(device["b"])
            grown = expm1(y * np.where(up, F(device["gamma_up"]), F(-device["gamma_down"]))) + ONE
            q = ONE - np.where(up, F(device["A_up"]), F(device["A_down"])) * grown
            return np.where(q > ZERO, q, ZERO)
        case "PiecewiseStep":
            position = (v - cell["w_min"]) * inverse(cell["w_max"] - cell["w_min"])
            return np.where(up, interpolate(device, "u_up", position), interpolate(device, "u_down", position))
        case "ShiftedLinear":
            room = np.where(up, cell["w_max"], cell["w_min"]) - v
            high, low = device["tau_max"], device["tau_min"]
            part = np.where(up, F((high - low) / high), F((high - low) / low))
            return room * (inverse(cell["w_max"] - cell["w_min"]) * part)
        case "SaturatingExponential":
            span = inverse(cell["w_max"] - cell["w_min"])
            room = np.where(up, v - cell["w_max"], cell["w_min"] - v)
            return ZERO - expm1(room * (np.where(up, F(device["gamma_up"]), F(device["gamma_down"])) * span))
    raise ValueError(f"model is {device['model']!r}, allowed: {', '.join(OWN)}")


def interpolate(device: Settings, name: str, position: NDArray[np.floating], number: type[np.floating] = F) -> Floats:
    """The table called `name` at positions from 0 (first node) to 1 (last): on each interval a line."""
    q = [*device[name]] * (2 if len(device[name]) == 1 else 1)
    last = len(q) - 1
    w = device.get("w") or [float(i) for i in range(last + 1)]
    nodes = [(node - w[0]) / (w[-1] - w[0]) for node in w]
    result = np.zeros(position.shape, number)
    for i in range(last):
        b = (q[i + 1] - q[i]) / (nodes[i + 1] - nodes[i])
        a = q[i] - b * nodes[i]
        begun = (number(nodes[i]) <= position) | (i == 0)
        result = np.where(begun, number(a) + number(b) * position, result)
    return result


def granularity(device: Settings) -> float:
    """Mean size of a pulse at zero (float64); a power step has `0.5^pow_gamma`, by square roots."""
    size = 1.0
    if device["model"] == "PiecewiseStep":
        size = device["u_up"][len(device["u_up"]) // 2]
    if device["model"] == "SaturatingExponential":
        high, low = device["w_max"], device["w_min"]
        up = -double_expm1(-device["gamma_up"] * high / (high - low))
        size = 0.5 * (up - double_expm1(-device["gamma_down"] * -low / (high - low)))
    if device["model"] == "ExpStep":
        up, down = (
            1.0 - device[f"A_{side}"] * (double_expm1(device[f"gamma_{side}"] * b) + 1.0)
            for side, b in (("up", device["b"]), ("down", -device["b"]))
        )
        up, down = up if up > 0.0 else 0.0, down if down > 0.0 else 0.0
        shrunk = 1.0 - device["up_down"] if device["up_down"] > 0.0 else 1.0
        size = shrunk * down if device["kit_compat"] else 0.5 * (up + down)
    if device["model"] in ("PowStep", "PowStepReference"):
        for _ in range(int(device["pow_gamma"])):
            size = 0.5 * size
        rest, root = device["pow_gamma"] - int(device["pow_gamma"]), 0.5
        for _ in range(53):
            rest, root = 2.0 * rest, float(np.sqrt(root))
            if rest >= 1.0:
                rest, size = rest - 1.0, size * root
    if device["model"] == "Tabulated":
        zero = np.full(1, -device["w"][0] / (device["w"][-1] - device["w"][0]))
        up, down = (interpolate(device, name, zero, np.float64) for name in ("q_up", "q_down"))
        size = 0.5 * float(up[0] + down[0])
    return device["dw_min"] * size


# ---- 4 trains


def largest(x: Floats) -> F:
    """The largest absolute value."""
    m = ZERO
    for a in np.abs(x):
        m = a if a > m else m
    return m


def scale_factors(lr: float, g: float, x_max: float, d_max: float, pulses: Settings) -> tuple[int, float, float]:
    """The number of slots `BL`, and `A` and `B`, which amplify the `d` and the `x` lines (all in float64).

    `A B = lr / (g BL)`; update management balances the two, management of the length chooses `BL`.
    """
    lr = lr if lr > 0.0 else -lr
    desired = pulses["desired_bl"]
    if lr == 0.0:
        return 0, 0.0, 0.0
    if not (pulses["update_management"] or pulses["update_bl_management"]):
        both = float(np.sqrt(lr / (g * desired)))
        return int(desired), both, both
    if x_max == 0.0 or d_max == 0.0:
        return 0, 0.0, 0.0
    k = ((lr * x_max) * d_max) / g
    bl = float(desired)
    if pulses["update_bl_management"]:
        wanted = float(np.ceil(k))
        bl = wanted if wanted < bl else bl
        bl = bl if bl > 1.0 else 1.0
    both = float(np.sqrt(lr / (g * bl)))
    if k > desired:
        d_max = (d_max * desired) / k
    return int(bl), both * float(np.sqrt(x_max / d_max)), both * float(np.sqrt(d_max / x_max))


def train(key: int, values: Floats, amplify: float, bl: int) -> Switches:
    """Which lines fire in which slots, `[bl, lines]`.

    A line fires where its 24-bit number is below `rint(min(|value| amplify, 1) 2^24)`. Bit plane `p`, from the most
    significant, of the numbers of the 32 slots of word `w` is the random word `(line, 32 w + p)`, a bit for each slot.
    """
    p = np.abs(values).astype(np.float64) * amplify
    threshold = np.rint(np.where(p > 1.0, 1.0, p) * 16777216.0).astype(U)
    fires = np.zeros((bl, len(values)), np.bool_)
    slots = count(32)[:, None]
    for first in range(0, bl, 32):
        number = np.zeros((32, len(values)), U)
        for plane in range(24):
            word = words(key, count(len(values)), np.full(len(values), first + plane, U))
            number = number * U(2) + ((word >> slots) & U(1))
        fires[first : first + 32] = (number < threshold)[: bl - first]
    return fires


# ---- 5 updates of an array


class Array:
    """A crossbar: stored values `v` (the network sees `v - reference`), parameters of the cells, a run stream."""

    def __init__(self, device: Settings, shape: tuple[int, int], seeds: tuple[int, int], path: str, index: int) -> None:
        self.device = complete(device)
        self.cells = draw_cells(self.device, stream(seeds[0], DEVICE, path, index), *shape)
        self.run = stream(seeds[1], RUN, path, index)
        self.values = np.zeros(shape, F)
        self.store(self.values)
        self.begin(0)

    def end_batch(self, number: int) -> None:
        """`w <- (w + diffusion z) decay`, clipped; a device without either keeps every bit."""
        if self.device["lifetime"] == 0.0 and self.device["diffusion"] == 0.0:
            return
        w = self.seen()
        if self.device["diffusion"] > 0.0:
            rows, columns = w.shape
            for row in range(rows):
                z = normals(child(self.run, DIFFUSION, number, row), count(columns), np.zeros(columns, U))
                w[row] = w[row] + self.cells["diffusion"][row] * z
        self.store(w * self.cells["decay"])

    def begin(self, call: int) -> None:
        """Begins the update call whose first vector has the number `call`: no cell has been pulsed in it."""
        self.call, self.ordinals = call, np.zeros(self.values.shape, U)

    def seen(self) -> Floats:
        """The weights that the network sees."""
        return self.values - self.cells["reference"]

    def store(self, w: Floats) -> None:
        """Stores seen weights, clipped to the bounds of the cells."""
        self.values = clip(w + self.cells["reference"], self.cells["w_min"], self.cells["w_max"])

    def row(self, i: int) -> dict[str, Floats]:
        """The parameters of one row of cells."""
        return {name: plane[i] for name, plane in self.cells.items()}


def step(device: Settings, cell: dict[str, Floats], v: Floats, up: Switches, z: Floats) -> Floats:
    """One pulse: `v +- dw (q + sigma z m)`, `m = q` (relative noise) or 1 (additive), then the bounds.

    The noise of an exponential step is `sigma z (|dw m| + dw_min_std_add + dw_min_std_slope |v|)`.
    """
    q = response(device, cell, v, up)
    size = np.where(up, cell["dw_up"], -cell["dw_down"])
    m = q if device["mult_noise"] else ONE
    if device["model"] == "ExpStep":
        scale = (np.abs(size * m) + F(device["dw_min_std_add"])) + F(device["dw_min_std_slope"]) * np.abs(v)
        return clip(v + (size * q + (F(device["dw_min_std"]) * z) * scale), cell["w_min"], cell["w_max"])
    return clip(v + size * (q + (F(device["dw_min_std"]) * z) * m), cell["w_min"], cell["w_max"])


def change(array: Array, x: Floats, d: Floats, rate: float, pulses: Settings, trains: tuple[int, int]) -> None:
    """`values -= rate d x^T` of one vector, by the pulse type that is set."""
    if pulses["pulse_type"] == "stochastic_compressed":
        pulse(array, x, d, rate, pulses, trains)
    else:
        exact(array, x, d, rate, pulses["pulse_type"])


def pulse(array: Array, x: Floats, d: Floats, rate: float, pulses: Settings, trains: tuple[int, int]) -> None:
    """The update in pulses; `trains` are the keys of the `x` and the `d` lines.

    Pulses at a cell follow each other vector by vector, slot by slot. The noise of pulse `n` at `(row, column)` within
    an update call is normal `(column, n)` of stream `(PULSE, first vector of the call, row)`.
    """
    bl, a, b = scale_factors(rate, granularity(array.device), float(largest(x)), float(largest(d)), pulses)
    x_fires, d_fires = train(trains[0], x, b, bl), train(trains[1], d, a, bl)
    noisy = array.device["dw_min_std"] > 0.0
    for row in range(len(d)):
        coincidences = np.zeros(len(x), U)
        for slot in range(bl):
            coincidences = coincidences + (x_fires[slot] & d_fires[slot, row])
        up = ((x < ZERO) != (d[row] < ZERO)) != (rate < 0.0)
        cell, key = array.row(row), child(array.run, PULSE, array.call, row)
        for n in range(bl):
            active = coincidences > n
            if not active.any():
                break
            z = normals(key, count(len(x)), array.ordinals[row]) if noisy else np.zeros(len(x), F)
            v = array.values[row]
            array.values[row] = np.where(active, step(array.device, cell, v, up, z), v)
            array.ordinals[row] = array.ordinals[row] + active


def finite(v: Floats) -> Floats:
    """`v`, where overflow ends at the largest number."""
    return clip(v, -LARGEST, LARGEST)


def exact(array: Array, x: Floats, d: Floats, rate: float, pulse_type: str) -> None:
    """The update without pulses, `dw = (-rate d_i) x_j`. A row with `rate d_i = 0` is left alone."""
    for row in range(len(d)):
        scaled = finite(-F(rate) * d[row])
        if scaled == ZERO:
            continue
        v, dw, cell = array.values[row], finite(scaled * x), array.row(row)
        if pulse_type == "none":
            array.values[row] = v + dw
        elif pulse_type == "none_with_device":
            array.values[row] = clip(v + dw, cell["w_min"], cell["w_max"])
        else:  # analog_update: w + dw q(w)
            up = dw >= ZERO
            size = np.where(up, cell["dw_up"], cell["dw_down"]) / F(array.device["dw_min"])
            moved = v + dw * finite(size * response(array.device, cell, v, up))
            array.values[row] = clip(moved, cell["w_min"], cell["w_max"])


# ---- 6 products


def resolution(res: F, bound: F) -> F:
    """The step of a quantiser, 0 for none; `res > 1` counts steps, a bound <= 0 is infinite."""
    res = ONE / res if res > ONE else res
    return (res * TWO) * bound if res > ZERO and bound > ZERO else ZERO


def convert(v: Floats, res: F, bound: F) -> tuple[Floats, bool]:
    """A converter: quantise, then clip. Also whether anything was beyond the bound."""
    delta = resolution(res, bound)
    if delta > ZERO:
        v = delta * rint(v / delta)
    if bound > ZERO:
        return clip(v, -bound, bound), bool((np.abs(v) > bound).any())
    return v, False


def multiply(matrix: Floats, v: Floats) -> Floats:
    """`matrix v`, summed from left to right."""
    z = np.zeros(len(matrix), F)
    for j in range(len(v)):
        z = z + matrix[:, j] * v[j]
    return z


def noise_factor(io: Settings, x: Floats) -> F:
    """`alpha` of noise management: what the inputs are divided by."""
    limit = F(io["nm_thres"])
    if io["noise_management"] == "abs_max":
        alpha = largest(x)
        return limit if ZERO < limit < alpha else alpha
    return limit if io["noise_management"] == "constant" and limit > ZERO else ONE


def analog(io: Settings, matrix: Floats, x: Floats, keys: tuple[int, int], manage_bounds: bool) -> Floats:
    """`matrix x` of one vector through DAC, crossbar and ADC.

    Bound management repeats the product with inputs halved until no output is beyond the bound, or it is tired. `keys`
    are the streams of input and output noise, with a child for each pass; line `i` gets normal `(0, i)`.
    """
    if io["is_perfect"]:
        return multiply(matrix, x) * F(io["out_scale"])
    inp_res, inp_bound, inp_noise = F(io["inp_res"]), F(io["inp_bound"]), F(io["inp_noise"])
    out_res, out_bound, out_noise = F(io["out_res"]), F(io["out_bound"]), F(io["out_noise"])
    alpha = noise_factor(io, x)
    if alpha <= ZERO and inp_noise <= ZERO:
        return np.zeros(len(matrix), F)
    delta = resolution(inp_res, inp_bound)
    r, number = ONE, 0
    while True:
        scale = (alpha if alpha > ZERO else ONE) * r
        v, _ = convert(x / scale, inp_res, inp_bound)
        if inp_noise > ZERO:
            v = v + inp_noise * normals(child(keys[0], number), np.zeros(len(v), U), count(len(v)))
        z = multiply(matrix, v)
        if out_noise > ZERO:
            z = z + out_noise * normals(child(keys[1], number), np.zeros(len(z), U), count(len(z)))
        z, over = convert(z, out_res, out_bound)
        tired = r > F(io["max_bm_factor"]) or (delta > ZERO and r > F(io["max_bm_res"]) / delta)
        if not over or not manage_bounds or io["bound_management"] == "none" or tired:
            return z * (F(io["out_scale"]) * scale)
        r, number = TWO * r, number + 1


# ---- 7 tiles and plans


class Transfer:
    """Where a transfer stands: next column, events so far, vectors since the last (for periods in parts of a batch)."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.io = {**IO, **settings["io"]}
        self.steps = [s["write"] for s in settings["steps"]]
        self.pointer, self.events, self.since = 0, 0, 0

    def due(self, vector: int, m: int, vectors: int, batches: int) -> bool:
        """Whether an event follows vector `vector` of `m`; `vectors` are counted with it, `batches` without."""
        every = self.settings["every"]
        period = every["period"]
        if every["unit"] == "vectors":
            return vectors % int(period) == 0
        if period == int(period):
            return vector == m - 1 and (batches + 1) % int(period) == 0
        self.since += 1
        if self.since < np.ceil((period * m) * (1.0 - 1e-12)):
            return False
        self.since = 0
        return True


class Tile:
    """A tile as `ohmgrad._core.Tile`: the same settings, the same methods, the same bits."""

    def __init__(
        self, d_out: int, d_in: int, devices: dict[str, Settings], plan: Settings, forward: Settings,
        backward: Settings, pulses: Settings, seeds: tuple[int, int], path: str,
    ) -> None:  # fmt: skip
        self.d_out, self.d_in, self.plan = d_out, d_in, plan
        self.io = {"forward": {**IO, **forward}, "backward": {**IO, **backward}}
        self.pulses = {**PULSES, **pulses}
        shape = (d_out, d_in)
        self.arrays = {name: Array(devices[name], shape, seeds, path, i) for i, name in enumerate(plan["arrays"])}
        self.digital = {name: np.zeros(shape, F) for name in plan["digital"]}
        self.transfers = [Transfer(settings) for settings in plan["transfers"]]
        self.keys = {"run": stream(seeds[1], RUN, path, 0), "eval": stream(seeds[1], EVAL, path, 0)}
        self.products = {"training": 0, "evaluation": 0, "backward": 0}
        self.vectors, self.batches, self.batch_ends = 0, 0, 0

    # Weights.

    def matrix(self, name: str) -> Floats:
        """An array as the network sees it, or a digital matrix."""
        return self.arrays[name].seen() if name in self.arrays else self.digital[name].copy()

    def set_matrix(self, name: str, w: Floats) -> None:
        """Sets an array, clipped to the bounds of its cells, or a digital matrix."""
        if name in self.arrays:
            self.arrays[name].store(w)
        else:
            self.digital[name] = w.copy()

    def parameter(self, array: str, name: str) -> Floats:
        """A per-cell parameter of an array."""
        return self.arrays[array].cells[name]

    def weights(self) -> Floats:
        """The composite weight: the sum of factor * matrix, terms with factor 0 left out."""
        used = [term for term in self.plan["weight"] if term["factor"] != 0.0]
        composite = F(used[0]["factor"]) * self.matrix(used[0]["matrix"])
        for term in used[1:]:
            composite = composite + F(term["factor"]) * self.matrix(term["matrix"])
        return composite

    def set_weights(self, w: Floats) -> None:
        """Puts `w` into the last term of the weight and 0 into all else."""
        for name in [*self.arrays, *self.digital]:
            self.set_matrix(name, np.zeros(w.shape, F))
        last = self.plan["weight"][-1]
        self.set_matrix(last["matrix"], w / F(last["factor"]))

    # Products.

    def forward(self, x: Floats, training: bool) -> Floats:
        """`W x` of every vector; training and evaluation have streams of their own."""
        name, key = ("training", self.keys["run"]) if training else ("evaluation", self.keys["eval"])
        return self.product("forward", name, self.weights(), x, (child(key, FORWARD_IN), child(key, FORWARD_OUT)))

    def backward(self, d: Floats) -> Floats:
        """`W^T d` of every vector, without bound management."""
        key = self.keys["run"]
        keys = child(key, BACKWARD_IN), child(key, BACKWARD_OUT)
        return self.product("backward", "backward", self.weights().T, d, keys)

    def product(self, side: str, counter: str, matrix: Floats, x: Floats, keys: tuple[int, int]) -> Floats:
        """Products of all vectors; a weight without any array has no periphery."""
        crossbar = any(term["matrix"] in self.arrays for term in self.plan["weight"])
        io = self.io[side] if crossbar else {**IO, "is_perfect": True}
        y = np.zeros((len(x), len(matrix)), F)
        for b in range(len(x)):
            number = self.products[counter]
            y[b] = analog(io, matrix, x[b], (child(keys[0], number), child(keys[1], number)), side == "forward")
            self.products[counter] += 1
        return y

    # Updates.

    def update(self, x: Floats, d: Floats, lr: float) -> None:
        """One mini-batch; more than 4096 vectors count as several."""
        for first in range(0, len(x), 4096):
            self.update_call(x[first : first + 4096], d[first : first + 4096], lr)

    def update_call(self, x: Floats, d: Floats, lr: float) -> None:
        """Vector by vector: the gradient, then the events that are due."""
        for array in self.arrays.values():
            array.begin(self.vectors)
        for b in range(len(x)):
            self.gradient(x[b], d[b], lr)
            self.vectors += 1
            for index, transfer in enumerate(self.transfers):
                if transfer.due(b, len(x), self.vectors, self.batches):
                    self.event(index, transfer, lr)
        self.batches += 1

    def end_batch(self) -> None:
        """Diffusion, then decay of all cells."""
        for array in self.arrays.values():
            array.end_batch(self.batch_ends)
        self.batch_ends += 1

    def gradient(self, x: Floats, d: Floats, lr: float) -> None:
        """`target -= rate d x^T` of one vector."""
        gradient = self.plan["gradient"]
        name, rate = gradient["target"], rate_at(gradient["rate"], lr)
        if name in self.arrays:
            array = self.arrays[name]
            trains = child(array.run, TRAIN_X, self.vectors), child(array.run, TRAIN_D, self.vectors)
            change(array, x, d, rate, self.pulses, trains)
        else:
            for row in range(self.d_out):
                scaled = finite(-F(rate) * d[row])
                if scaled != ZERO:
                    self.digital[name][row] = self.digital[name][row] + finite(scaled * x)

    def event(self, index: int, transfer: Transfer, lr: float) -> None:
        """Reads all columns that are due, then writes them: `target[:, line] += rate u`, `x` one-hot and `d = -u`."""
        reads = transfer.settings["reads"] if transfer.settings["reads"] > 0 else self.d_in
        lines = [(transfer.pointer + r) % self.d_in for r in range(reads)]
        sums = [[self.read(index, transfer, write["source"], line) for write in transfer.steps] for line in lines]
        for line, values in zip(lines, sums, strict=True):
            for number, (write, u) in enumerate(zip(transfer.steps, values, strict=True)):
                array, rate, pulses = (
                    self.arrays[write["target"]],
                    rate_at(write["rate"], lr),
                    {**PULSES, **write["pulses"]},
                )
                tags = (index, number, transfer.events, line)
                trains = child(array.run, WRITE_X, *tags), child(array.run, WRITE_D, *tags)
                change(array, one_hot(self.d_in, line), -u, rate, pulses, trains)
        transfer.pointer = (transfer.pointer + reads) % self.d_in
        transfer.events += 1

    def read(self, index: int, transfer: Transfer, source: list[Settings], line: int) -> Floats:
        """The sum of the source terms on a column; arrays are read through the transfer's periphery."""
        total = np.zeros(self.d_out, F)
        for i, term in enumerate(source):
            name, factor = term["matrix"], F(term["factor"])
            if name in self.arrays:
                tags = (index, transfer.events, line, 0)
                keys = child(self.arrays[name].run, READ_IN, *tags), child(self.arrays[name].run, READ_OUT, *tags)
                values = analog(transfer.io, self.arrays[name].seen(), one_hot(self.d_in, line), keys, False)
            else:
                values = self.digital[name][:, line]
            total = total + factor * values if i > 0 else factor * values
        return total


def one_hot(n: int, line: int) -> Floats:
    """The unit vector of a line."""
    x = np.zeros(n, F)
    x[line] = ONE
    return x


def rate_at(rate: Settings, lr: float) -> float:
    """A rate: its value, times the learning rate if it is scaled (float64)."""
    return rate["value"] * lr if rate["scaled"] else rate["value"]
