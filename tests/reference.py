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
TWO_OVER_PI = F(0.6366197723675814)


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

STREAM_VERSION = 2
GOLDEN = 0x9E3779B97F4A7C15
MASK_64 = 0xFFFFFFFFFFFFFFFF
INIT, DEVICE, RUN, EVAL = 0, 1, 2, 3
PULSE, TRAIN_X, TRAIN_D, FORWARD_OUT, FORWARD_IN, BACKWARD_OUT, BACKWARD_IN = range(7)
READ_OUT, READ_IN, WRITE_X, WRITE_D, DIFFUSION = range(7, 12)
ROUND_COUNT, ROUND_X, ROUND_D = range(16, 19)
WRITE_NOISE, RESET, DRIFT_NOISE, PROGRAM, REFRESH, ROUTE, DIFFUSE, SELECT, RESET_LINE = range(20, 29)
CHOP, CHOP_CROSS, BIN_X, BIN_D, COPY, LATCH, SHIFT, SHIFT_READ = range(29, 37)
# The index of events apart from updates.
APART = 1 << 32
# Fixed patterns: whose, and of what.
FORWARD, BACKWARD, READ, READ_ROWS = range(1000, 1004)
OF_NOISE, OF_NONLINEARITY, OF_OFFSET, OF_READING = range(4)
PARTS = 2000
SHOWN = 1 << 32


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


def uniforms(key: int, i: Words, n: Words) -> Floats:
    """A number in [0, 1) for every pair of counters: the upper 24 bits of its word."""
    return (words(key, i, n) >> U(8)).astype(F) * F(1.0 / 16777216.0)


# The distance from zero in the octave of exponent e: coefficients of the mantissa in [1, 2), at place e - 1 mod 32.
DISTANCE = [
    np.array(c, F)
    for c in (
        (
            6.3950744, 6.2883973, 6.1799693, 6.0697036, 5.9575047, 5.8432693, 5.7268853, 5.6082287, 5.4871645,
            5.3635435, 5.237201, 5.1079545, 4.975599, 4.8399057, 4.700618, 4.557444, 4.410053, 4.2580624, 4.101035,
            3.938459, 3.7697346, 3.5941517, 3.4108603, 3.218832, 3.0168092, 2.8032343, 2.57616, 2.3331292, 2.0709963,
            1.7783124, 0.0, 6.5000815,
        ),
        (
            -0.44128665, -0.44878164, -0.45666555, -0.46497282, -0.4737424, -0.48301828, -0.4928506, -0.5032966,
            -0.5144221, -0.5263032, -0.53902805, -0.55270016, -0.56744134, -0.5833962, -0.6007381, -0.6196765,
            -0.64046735, -0.66342705, -0.68895197, -0.7175455, -0.7498582, -0.7867464, -0.8293621, -0.87929434,
            -0.9387992, -1.0111899, -1.1015264, -1.2178881, -1.3736929, -1.5691031, 0.0, -0.43414986,
        ),
        (
            0.22707887, 0.23083492, 0.23478024, 0.23893109, 0.24330571, 0.24792467, 0.25281125, 0.2579919, 0.2634969,
            0.26936093, 0.2756241, 0.28233284, 0.28954148, 0.2973139, 0.30572572, 0.3148672, 0.32484692, 0.33579686,
            0.34787878, 0.36129317, 0.37629113, 0.3931906, 0.4123983, 0.4344385, 0.4599872, 0.48990166, 0.52519745,
            0.5667928, 0.61416805, 0.63280326, 0.0, 0.22349758,
        ),
        (
            -0.068807065, -0.06993592, -0.07112116, -0.07236761, -0.073680624, -0.075066276, -0.07653141, -0.07808381,
            -0.07973234, -0.08148718, -0.08336004, -0.0853645, -0.08751638, -0.08983425, -0.09234005, -0.095059894,
            -0.09802512, -0.101273686, -0.104851976, -0.10881728, -0.11324109, -0.11821368, -0.123850234, -0.13029934,
            -0.1377543, -0.14646769, -0.15676995, -0.16910182, -0.18407072, -0.18869255, 0.0, -0.067730315,
        ),
        (
            0.008687688, 0.008829653, 0.008978682, 0.009135371, 0.009300393, 0.009474502, 0.00965855, 0.0098535055,
            0.010060472, 0.010280713, 0.010515684, 0.01076707, 0.011036829, 0.011327264, 0.011641087, 0.011981525,
            0.012352447, 0.012758531, 0.013205484, 0.013700347, 0.014251893, 0.0148711745, 0.01557228, 0.016373355,
            0.017297987, 0.018376967, 0.019650226, 0.02116636, 0.022924807, 0.021138832, 0.0, 0.00855225,
        ),
    )
]  # fmt: skip


def normal(word: Words) -> Floats:
    """The normal number of a word: 31 bits make the probability p / 2^31 of one further from zero, one the sign."""
    p = ((word & U(0x7FFFFFFF)) | U(1)).view(np.int32).astype(F).view(U)
    place, m = (p >> U(23)) & U(31), ((p & U(0x7FFFFF)) | U(0x3F800000)).view(F)
    c = [table[place] for table in DISTANCE]
    z = c[0] + m * (c[1] + m * (c[2] + m * (c[3] + m * c[4])))
    return (z.view(U) ^ (word & U(0x80000000))).view(F)


def normals(key: int, i: Words, n: Words) -> Floats:
    """A normal number for every pair of counters."""
    return normal(words(key, i, n))


def numbered(key: int, i: int, n: int) -> Floats:
    """Normals `(i, 0)` to `(i, n - 1)`."""
    return normals(key, np.full(n, i, U), count(n))


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
    "is_perfect": False, "mv_type": "one_pass", "inp_bound": 0.0, "inp_res": 0.0, "inp_noise": 0.0,
    "inp_sto_round": False, "inp_asymmetry": 0.0, "out_bound": 0.0, "out_res": 0.0, "out_noise": 0.0,
    "out_noise_std": 0.0, "out_sto_round": False, "out_asymmetry": 0.0, "out_nonlinearity": 0.0,
    "out_nonlinearity_std": 0.0, "slope_calibration": 0.0, "out_scale": 1.0, "w_noise": 0.0, "w_noise_type": "none",
    "noise_management": "none", "nm_thres": 0.0, "nm_assumed_wmax": 0.6, "nm_decay": 0.001,
    "bound_management": "none", "max_bm_factor": 1000.0, "max_bm_res": 0.25, "bm_test_negative_bound": True,
    "ir_drop": 0.0, "ir_drop_g_ratio": 571428.57, "v_offset_std": 0.0, "v_offset_w_min": -1.0, "r_series": 0.0,
    "w_read_asymmetry_dtod": 0.0,
}  # fmt: skip
CHOPPER = {"random": True, "cross_prob": 0.0, "scope": "line", "latch": None}
ACCUMULATE = {"keep": 1.0}
WRITE = {"unit": 1.0, "threshold": None, "deadband": 0.0, "after_passes": None}
THRESHOLD = {"cap": 1, "momentum": 0.0, "forget": True, "limit": 0.0}
GRADIENT = {
    "chopped": False, "auto_scale": None, "n_x_bins": 0, "n_d_bins": 0, "stoc_round_x": True, "stoc_round_d": True,
}  # fmt: skip
PULSES = {
    "pulse_type": "stochastic_compressed", "desired_bl": 31, "fixed_bl": True, "update_management": True,
    "update_bl_management": True, "um_grad_scale": 1.0, "res": 0.0, "sto_round": False, "x_res_implicit": 0.0,
    "d_res_implicit": 0.0, "increment": "sample", "rounding": "stochastic",
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


MAX_BL = 16384


def scale_factors(lr: float, g: float, x_max: float, d_max: float, pulses: Settings) -> tuple[int, float, float]:
    """The number of slots `BL`, and `A` and `B`, which amplify the `d` and the `x` lines (all in float64).

    `A B = lr / (g BL)`; update management balances the two, management of the length chooses `BL`. Without management
    of the length, and where it is not fixed, a train grows that cannot hold the learning rate (`A B = 1`).
    """
    pulses = {**PULSES, **pulses}
    lr = lr if lr > 0.0 else -lr
    desired = pulses["desired_bl"]
    if lr == 0.0:
        return 0, 0.0, 0.0
    bl = float(desired)
    both = float(np.sqrt(lr / (g * bl)))
    if not (pulses["fixed_bl"] or pulses["update_bl_management"]) and g * desired < lr:
        bl, both = float(np.ceil(lr / g)), 1.0
        if bl > MAX_BL:
            bl = float(MAX_BL)
            both = float(np.sqrt(lr / (g * bl)))
    if not (pulses["update_management"] or pulses["update_bl_management"]):
        return int(bl), both, both
    if x_max == 0.0 or d_max == 0.0:
        return 0, 0.0, 0.0
    d_max = pulses["um_grad_scale"] * d_max
    k = ((lr * x_max) * d_max) / g
    if pulses["update_bl_management"]:
        bl, wanted = float(desired), float(np.ceil(k))
        bl = wanted if wanted < bl else bl
        bl = bl if bl > 1.0 else 1.0
        both = float(np.sqrt(lr / (g * bl)))
    if k > desired:
        d_max = (d_max * desired) / k
    return int(bl), both * float(np.sqrt(x_max / d_max)), both * float(np.sqrt(d_max / x_max))


def probabilities(values: Floats, amplify: float, res: float, rounding: int | None) -> NDArray[np.float64]:
    """How likely each line fires in a slot: `min(|value| amplify, 1)` (float64), before that rounded to steps of `res`.

    `rounding` is the stream of rounding up or down, without it to the nearest; `res > 1` counts steps, 0 is none.
    """
    p = np.abs(values).astype(np.float64) * amplify
    if res > 0.0:
        res = 1.0 / res if res > 1.0 else res
        lines = count(len(values))
        shift = (
            0.0 if rounding is None else uniforms(rounding, lines, np.zeros(len(values), U)).astype(np.float64) - 0.5
        )
        p = res * np.rint(p / res + shift)
    return np.where(p > 1.0, 1.0, p)


def train(key: int, p: NDArray[np.float64], bl: int) -> Switches:
    """Which lines fire in which slots, `[bl, lines]`.

    A line fires where its 24-bit number is below `rint(p 2^24)`. Bit plane `q`, from the most significant, of the
    numbers of the 32 slots of word `w` is the random word `(line, 32 w + q)`, a bit for each slot.
    """
    threshold = np.rint(p * 16777216.0).astype(U)
    fires = np.zeros((bl, len(p)), np.bool_)
    slots = count(32)[:, None]
    for first in range(0, bl, 32):
        number = np.zeros((32, len(p)), U)
        for plane in range(24):
            word = words(key, count(len(p)), np.full(len(p), first + plane, U))
            number = number * U(2) + ((word >> slots) & U(1))
        fires[first : first + 32] = (number < threshold)[: bl - first]
    return fires


# ---- 5 updates of an array


class Crossbar:
    """Cells of one device: stored values `v` (the weights are `v - reference`), their parameters, a run stream.

    With write noise what is seen is an apparent value, drawn afresh whenever a cell changed.
    """

    def __init__(self, device: Settings, shape: tuple[int, int], draw: int, run: int) -> None:
        self.device = complete(device)
        self.cells = draw_cells(self.device, draw, *shape)
        self.run = run
        self.granularity, self.route, self.share = granularity(self.device), "both", 1.0
        self.values = np.zeros(shape, F)
        self.apparent = np.zeros(shape, F)
        self.write_noise = F(self.device["write_noise_std"]) * F(self.device["dw_min"])
        self.drift_start, self.drift_last, self.drift_time = None, None, None
        self.counts = {"up": np.zeros(shape, np.uint64), "down": np.zeros(shape, np.uint64)}
        self.begin(0)
        self.set(self.values, self.everywhere(), self.operation_key(0))

    def begin(self, call: int, operation: int = 0) -> None:
        """Begins the update call whose first vector has the number `call`, or an operation; no cell has been pulsed."""
        self.call, self.ordinals, self.ups = call, np.zeros(self.values.shape, U), np.zeros(self.values.shape, U)
        self.pulse_key, self.shown_key = child(self.run, PULSE, call), child(self.run, WRITE_NOISE, 0, call)
        if operation > 0:
            self.pulse_key, self.shown_key = child(self.run, PROGRAM, operation), self.operation_key(operation)

    def operation_key(self, operation: int) -> int:
        """The stream of write noise after an operation."""
        return child(self.run, WRITE_NOISE, 1, operation)

    def everywhere(self) -> Switches:
        """All cells."""
        return np.ones(self.values.shape, np.bool_)

    def close(self) -> None:
        """Ends it: what is seen of the cells that were pulsed is noted, and their pulses are counted."""
        self.apparent = self.shown()
        self.counts["up"] = self.counts["up"] + self.ups
        self.counts["down"] = self.counts["down"] + (self.ordinals - self.ups)
        self.begin(self.call)

    def shown(self) -> Floats:
        """The stored values as they are seen: with the write noise of the last change."""
        if self.write_noise == ZERO:
            return self.values
        rows, columns = self.values.shape
        shown = self.apparent.copy()
        for row in range(rows):
            z = normals(child(self.shown_key, row), count(columns), self.ordinals[row])
            noisy = self.values[row] + self.write_noise * z
            shown[row] = np.where(self.ordinals[row] > 0, noisy, self.apparent[row])
        return shown

    def show(self, key: int, where: Switches) -> None:
        """Draws the write noise of some cells afresh."""
        rows, columns = self.values.shape
        for row in range(rows):
            noisy = self.values[row] + self.write_noise * normals(child(key, row), count(columns), np.zeros(columns, U))
            self.apparent[row] = np.where(where[row], noisy, self.apparent[row])

    def seen(self) -> Floats:
        """The weights that the network sees."""
        return self.shown() - self.cells["reference"]

    def hidden(self) -> Floats:
        """The persistent weights behind them."""
        return self.values - self.cells["reference"]

    def store(self, w: Floats) -> None:
        """Stores weights, clipped to the bounds of the cells."""
        self.values = self.stored(w)

    def stored(self, w: Floats) -> Floats:
        """What cells of weight `w` store; without any reference that is `w` itself, a negative zero, too."""
        v = w if (self.cells["reference"] == ZERO).all() else w + self.cells["reference"]
        return clip(v, self.cells["w_min"], self.cells["w_max"])

    def change(self, w: Floats, key: int) -> None:
        """Stores weights and draws all write noise afresh."""
        self.store(w)
        self.show(key, self.everywhere())

    def set(self, w: Floats, where: Switches, key: int) -> None:
        """Weights of some cells from outside; the peer clips them to the bounds of the stored value."""
        if self.device.get("kit_compat", False) and self.device["model"] in ("SoftBoundsReference", "PowStepReference"):
            w = clip(w, self.cells["w_min"], self.cells["w_max"])
        self.values = np.where(where, self.stored(w), self.values)
        if self.device["apply_write_noise_on_set"]:
            self.show(key, where)
        else:
            self.apparent = np.where(where, self.values, self.apparent)

    def normals(self, key: int, n: int = 0) -> Floats:
        """Normal `(column, n)` of stream `row` below `key`, for every cell."""
        rows, columns = self.values.shape
        z = np.zeros((rows, columns), F)
        for row in range(rows):
            z[row] = normals(child(key, row), count(columns), np.full(columns, n, U))
        return z

    def diffused(self, w: Floats, key: int) -> Floats:
        """One step of the random walk."""
        return w + self.cells["diffusion"] * self.normals(key)

    def decayed(self, w: Floats) -> Floats:
        """One decay towards the reset target."""
        b = self.cells["reset"]
        if (b == ZERO).all():
            return w * self.cells["decay"]
        return (w - b) * self.cells["decay"] + b

    def end_batch(self, number: int, operation: int) -> None:
        """Diffusion, then decay; cells that all have neither keep every bit."""
        if self.still() and self.lasting():
            return
        w = self.hidden()
        if not self.still():
            w = self.diffused(w, child(self.run, DIFFUSION, number))
        self.change(self.decayed(w), self.operation_key(operation))

    def still(self) -> bool:
        """Whether no cell diffuses."""
        return bool((self.cells["diffusion"] == ZERO).all())

    def lasting(self) -> bool:
        """Whether no cell decays."""
        return bool((self.cells["decay"] == ONE).all())

    def decay(self, operation: int) -> None:
        """A decay on its own, if any cell has it."""
        if not self.lasting():
            self.change(self.decayed(self.hidden()), self.operation_key(operation))

    def diffuse(self, operation: int) -> None:
        """A diffusion on its own, if any cell has it."""
        if self.still():
            return
        w = self.diffused(self.hidden(), child(self.run, DIFFUSE, operation))
        self.change(w, self.operation_key(operation))

    def reset(self, where: Switches, key: int, shown: int) -> None:
        """`w <- b + reset_std z` of some cells."""
        w = self.cells["reset"] + F(self.device["reset_std"]) * self.normals(key)
        self.values = np.where(where, self.stored(w), self.values)
        self.show(shown, where)

    def reset_columns(self, columns: list[int], prob: F, operation: int) -> None:
        """Resets the cells of some columns, each with a probability."""
        key = child(self.run, RESET, 0, operation)
        where = np.zeros(self.values.shape, np.bool_)
        for row in range(len(where)):
            u = uniforms(child(key, row), count(where.shape[1]), np.full(where.shape[1], 2, U))
            for column in columns:
                where[row, column] = prob >= ONE or u[column] < prob
        self.reset(where, key, self.operation_key(operation))

    def drift(self, dt: F, operation: int) -> None:
        """Power-law drift: `w0 max(t / t_0, 1)^-nu`, `t` the time since the cell changed, `w0` its weight then."""
        drift, w = self.device["drift"], self.hidden()
        if drift["nu"] == 0.0 and drift["nu_k"] == 0.0 and drift["w_noise_std"] == 0.0:
            return
        if self.drift_time is None:
            self.drift_start, self.drift_last, self.drift_time = w, w, np.zeros(w.shape, F)
        changed = np.abs(w - self.drift_last) > F(drift["reset_tol"])
        start = np.where(changed, w, self.drift_start)
        time = np.where(changed, ZERO, self.drift_time) + dt
        ratio, nu, key = time / F(drift["t_0"]), self.cells["nu"], child(self.run, DRIFT_NOISE, operation)
        if F(drift["nu_k"]) != ZERO:
            g = (start - F(drift["w_offset"])) / F(drift["wg_ratio"]) + F(drift["g_offset"])
            tiny = F(1.1754943508222875e-38)
            nu = nu - F(drift["nu_k"]) * (ln(np.where(g > tiny, g, tiny)) - F(drift["log_g0"]))
        if F(drift["nu_std"]) > ZERO:
            nu = nu + (F(drift["nu_std"]) * F(drift["nu"])) * self.normals(key)
        w = np.where(ratio > ONE, start * exp(-nu * ln(np.where(ratio > ONE, ratio, ONE))), start)
        if F(drift["w_noise_std"]) > ZERO:
            w = w + F(drift["w_noise_std"]) * self.normals(key, 2)
        self.change(w, self.operation_key(operation))
        self.drift_start, self.drift_last, self.drift_time = start, self.hidden(), time

    def pulse_cells(self, counts: NDArray[np.int32], operation: int) -> None:
        """Pulses of single cells, up where `counts` is positive."""
        key, up, left = child(self.run, PROGRAM, operation), counts > 0, np.abs(counts)
        n = 0
        while (left > n).any():
            z = self.normals(key, n) if self.device["dw_min_std"] > 0.0 else np.zeros(counts.shape, F)
            self.values = np.where(left > n, step(self.device, self.cells, self.values, up, z), self.values)
            n += 1
        self.show(self.operation_key(operation), counts != 0)
        self.counts["up"] += np.where(up, left, 0).astype(np.uint64)
        self.counts["down"] += np.where(up, 0, left).astype(np.uint64)

    def row(self, i: int) -> dict[str, Floats]:
        """The parameters of one row of cells."""
        return {name: plane[i] for name, plane in self.cells.items()}


class Array:
    """What a plan calls an array: cells of one device, or of several, each device a crossbar of its own."""

    def __init__(self, device: Settings, shape: tuple[int, int], seeds: tuple[int, int], path: str, index: int) -> None:
        draw, self.run = stream(seeds[0], DEVICE, path, index), stream(seeds[1], RUN, path, index)
        self.fixed = draw
        devices = device.get("devices", [device])
        n = len(devices)
        self.policy, self.first, self.refresh_every = "all", 0, 0
        self.factors = [ONE]
        if device["model"] == "Vector":
            self.factors = [F(g) for g in device.get("gamma_vec") or [1.0 / n] * n]
            self.policy, self.first = device.get("update_policy", "all"), device.get("first_update_idx", 0)
        if device["model"] in ("ReferenceCell", "OneSided"):
            self.factors, self.policy = [ONE, -ONE], "single_fixed"
        if device["model"] == "OneSided":
            self.policy, self.refresh_every = "one_sided", device.get("refresh_every", 0)
            upper, lower = device.get("refresh_upper_thres", 0.75), device.get("refresh_lower_thres", 0.25)
            self.thresholds = F(upper), F(lower)
        single = n == 1 and self.factors[0] == ONE
        keys = (
            [(draw, self.run)] if single else [(child(draw, PARTS + i), child(self.run, PARTS + i)) for i in range(n)]
        )
        self.parts = [Crossbar(part, shape, *key) for part, key in zip(devices, keys, strict=True)]
        self.granularity = self.parts[0].granularity if single else self.mean_granularity()
        whole = 0.0
        for factor in self.factors:
            whole = whole + float(factor)
        for part, factor in zip(self.parts, self.factors, strict=True):
            part.granularity = self.granularity
            if self.policy != "one_sided":
                part.share = whole if self.policy == "all" else float(factor)
        if self.policy == "one_sided":
            self.parts[0].route, self.parts[1].route = "up", "down_as_up"

    def mean_granularity(self) -> float:
        """How much of the weight a pulse moves: all devices together, or those that get pulses in the mean."""
        each = [abs(float(f)) * part.granularity for f, part in zip(self.factors, self.parts, strict=True)]
        if self.policy == "single_fixed":
            return each[self.first]
        total = 0.0
        for g in each:
            total = total + g
        return total if self.policy == "all" else total / len(each)

    def combine(self, weights: list[Floats]) -> Floats:
        """The weight of the cells from those of their devices."""
        total = self.factors[0] * weights[0]
        for factor, w in zip(self.factors[1:], weights[1:], strict=True):
            total = total + factor * w
        return total

    def seen(self) -> Floats:
        """The weights that the network sees."""
        return self.combine([part.seen() for part in self.parts])

    def hidden(self) -> Floats:
        """The persistent weights behind them."""
        return self.combine([part.hidden() for part in self.parts])

    def set(self, w: Floats, where: Switches, *tags: int) -> None:
        """Weights of some cells from outside, shared between the devices; `tags` lead to the streams of write noise."""
        keys = [child(part.run, *tags) for part in self.parts]
        if self.policy == "one_sided":
            self.parts[0].set(np.where(w > ZERO, w, ZERO), where, keys[0])
            self.parts[1].set(np.where(w < ZERO, -w, ZERO), where, keys[1])
            return
        total = ZERO
        for factor in self.factors:
            total = total + factor
        if total == ZERO:
            self.parts[0].set(w + self.parts[1].hidden(), where, keys[0])
            return
        for part, key in zip(self.parts, keys, strict=True):
            part.set(w if len(self.parts) == 1 and total == ONE else w / total, where, key)

    def zero_shift(self, shift: Settings, operation: int) -> None:
        """Pulses drive all cells to their symmetric points, and what is read there becomes their reference.

        A cycle is an up and a down pulse, or one of them by chance: up where word `(column, 0)` of stream
        `(SHIFT, operation, cycle, row)` is 2^31 or more. Column `k` is read with the stream
        `(SHIFT_READ, operation, cycle, k)`.
        """
        rows, columns = self.parts[0].values.shape
        pulsed = [self.first] if self.policy == "single_fixed" else list(range(len(self.parts)))
        for part in self.parts:
            part.begin(0, operation)
        total = np.zeros((rows, columns), F)
        for cycle in range(shift["cycles"]):
            for part in [self.parts[i] for i in pulsed]:
                ups = [np.ones((rows, columns), F), np.full((rows, columns), -ONE)]
                if shift["mode"] == "random":
                    key = child(part.run, SHIFT, operation, cycle)
                    up = np.zeros((rows, columns), np.bool_)
                    for row in range(rows):
                        up[row] = words(child(key, row), count(columns), np.zeros(columns, U)) >= U(0x80000000)
                    ups = [np.where(up, ONE, -ONE)]
                for n in ups:
                    pulse(part, n)
            if cycle >= shift["cycles"] - shift["average"]:
                w = self.seen()
                for column in range(columns):
                    w[:, column] = self.read_shifted(w, column, shift["io"], (operation, cycle, column))
                total = total + w
        read = total / F(shift["average"])
        for part in self.parts:
            part.close()
        taker = next(i for i in pulsed if self.factors[i] != ZERO)
        whole = len(self.parts) == 1 and self.factors[0] == ONE
        cells = self.parts[taker].cells
        cells["reference"] = cells["reference"] + (read if whole else read / self.factors[taker])

    def read_shifted(self, w: Floats, column: int, io: Settings | None, tags: tuple[int, int, int]) -> Floats:
        """A column as a zero-shift reads it."""
        if io is None:
            return w[:, column]
        key = child(self.run, SHIFT_READ, *tags, 0)
        side = Periphery(io, child(self.fixed, READ))
        return side.product(w, one_hot(w.shape[1], column), (key, key), False, False)

    def takes(self, index: int, number: int, purpose: int) -> bool:
        """Whether device `index` of the cells gets the pulses of vector (or write, or operation) `number`."""
        n = len(self.parts)
        if self.policy == "single_fixed":
            return index == self.first
        if self.policy == "single_sequential":
            return index == (self.first + number) % n
        if self.policy == "single_random":
            word = words(child(self.run, ROUTE, purpose, number), np.zeros(1, U), np.zeros(1, U))[0]
            return index == (int(word) * n) >> 32
        return True

    def pulse_cells(self, counts: NDArray[np.int32], operation: int) -> None:
        """Pulses of single cells, by the routes of an update."""
        if self.policy == "one_sided":
            self.parts[0].pulse_cells(np.where(counts > 0, counts, 0), operation)
            self.parts[1].pulse_cells(np.where(counts < 0, -counts, 0), operation)
            return
        for index, part in enumerate(self.parts):
            if self.takes(index, operation, PROGRAM):
                part.pulse_cells(counts, operation)

    def pulse_counts(self) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
        """Pulses that raised and that lowered the weight."""
        up, down = self.parts[0].counts["up"], self.parts[0].counts["down"]
        for part in self.parts[1:]:
            turned = self.policy == "one_sided"
            up = up + part.counts["down" if turned else "up"]
            down = down + part.counts["up" if turned else "down"]
        return up, down

    def refresh(self, number: int) -> None:
        """One-sided cells that are nearly full: the smaller device is reset, the larger one programmed on top of it."""
        plus, minus = self.parts
        upper, lower = self.thresholds
        limits = [(upper * F(part.device["w_max"]), lower * F(part.device["w_max"])) for part in self.parts]
        p, m = plus.hidden(), minus.hidden()
        plus_larger = p >= m
        full = np.where(plus_larger, (p > limits[0][0]) & (m > limits[1][1]), (m > limits[1][0]) & (p > limits[0][1]))
        difference = np.abs(p - m)
        for part, larger in ((plus, plus_larger), (minus, ~plus_larger)):
            key = child(part.run, REFRESH, number)
            part.reset(full & ~larger, key, child(key, SHOWN))
            w = part.cells["reset"] + difference
            part.values = np.where(full & larger, part.stored(w), part.values)
            part.show(child(key, SHOWN), full & larger)


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


Keys = list[tuple[int, int]]


def change(
    array: Crossbar, x: Floats, d: Floats, rates: list[float], pulses: Settings, keys: Keys, route: str = "both"
) -> None:
    """`values -= rate d x^T` of several vectors, one after the other, by the pulse type that is set.

    `rates` and `keys` are the rate of each vector, and the streams of the trains of its `x` and `d` lines. `route` "up"
    leaves the up pulses alone, "down_as_up" the down pulses, which then go up.
    """
    kind = pulses["pulse_type"]
    if kind in ("pulsed", "analog_update", "none_with_device", "none"):
        size = len(x) if pulses["increment"] == "batch" else 1
        for b in range(0, len(x), size):
            dw = increments(x[b : b + size], d[b : b + size], [rate / array.share for rate in rates[b : b + size]])
            if kind == "pulsed":
                pulse(array, routed(whole(array, dw, pulses, keys[b][1]), route))
            else:
                add(array, routed(dw, route), kind)
        return
    for b in range(len(x)):
        n = coincidences(array, x[b], d[b], rates[b], pulses, keys[b])
        if kind == "random_increment":
            add(array, routed(F(granularity(array.device)) * n, route), "analog_update")
        else:
            pulse(array, routed(n, route))


def routed(amount: Floats, route: str) -> Floats:
    """What is left of signed increments or numbers of pulses."""
    if route == "both":
        return amount
    amount = amount if route == "up" else -amount
    return np.where(amount > ZERO, amount, ZERO)


def finite(v: Floats) -> Floats:
    """`v`, where overflow ends at the largest number."""
    return clip(v, -LARGEST, LARGEST)


def increments(x: Floats, d: Floats, rates: list[float]) -> Floats:
    """`dw = (-rate d_i) x_j`, summed over the vectors from left to right."""
    total = np.zeros((d.shape[1], x.shape[1]), F)
    for b in range(len(x)):
        rate = finite(F(rates[b]))
        for row in range(d.shape[1]):
            total[row] = finite(total[row] + finite(finite(-rate * d[b, row]) * x[b]))
    return total


def whole(array: Crossbar, dw: Floats, pulses: Settings, key: int) -> Floats:
    """Increments as signed numbers of pulses: `|dw| / granularity` (float64) rounded as it is set, at most 16384.

    The stochastic rounding of the cell at `(row, column)` takes uniform `(column, 0)` of `(ROUND_COUNT, row)` below the
    train of the `d` lines.
    """
    n = np.zeros(dw.shape, F)
    for row in range(len(dw)):
        wanted = np.abs(dw[row]).astype(np.float64) / granularity(array.device)
        if pulses["rounding"] == "ceil":
            whole = np.ceil(wanted)
        else:
            u = uniforms(child(key, ROUND_COUNT, row), count(len(wanted)), np.zeros(len(wanted), U))
            shift = u.astype(np.float64) if pulses["rounding"] == "stochastic" else 0.0
            whole = -np.ceil(-(wanted + shift))
        whole = np.where(whole > MAX_BL, float(MAX_BL), whole).astype(F)
        n[row] = np.where(dw[row] < ZERO, -whole, whole)
    return n


def coincidences(array: Crossbar, x: Floats, d: Floats, rate: float, pulses: Settings, keys: tuple[int, int]) -> Floats:
    """Signed numbers of pulses of one vector: of stochastic trains, or of one of the two types without randomness.

    `mean_count` has `rint(BL p)` pulses on each line and `rint(n_x n_d / BL)` coincidences, `deterministic_implicit`
    has `rint(BL p_x p_d)` (all in float64).
    """
    kind, res = pulses["pulse_type"], (pulses["res"], pulses["res"])
    rounding: list[int | None] = [None, None]
    if kind == "deterministic_implicit":
        res = pulses["x_res_implicit"], pulses["d_res_implicit"]
    elif pulses["sto_round"]:
        rounding = [child(keys[0], ROUND_X), child(keys[1], ROUND_D)]
    bl, a, b = scale_factors(rate, array.granularity, float(largest(x)), float(largest(d)), pulses)
    n = np.zeros((len(d), len(x)), F)
    if bl == 0:
        return n
    p_x, p_d = probabilities(x, b, res[0], rounding[0]), probabilities(d, a, res[1], rounding[1])
    x_fires, d_fires = np.zeros((0, len(x)), np.bool_), np.zeros((0, len(d)), np.bool_)
    if kind in ("stochastic_compressed", "stochastic", "random_increment"):
        x_fires, d_fires = train(keys[0], p_x, bl), train(keys[1], p_d, bl)
    for row in range(len(d)):
        size = np.zeros(len(x), F)
        for slot in range(len(x_fires)):
            size = size + (x_fires[slot] & d_fires[slot, row])
        if kind == "mean_count":
            size = np.rint((np.rint(bl * p_x) * np.rint(bl * p_d[row])) / bl).astype(F)
        if kind == "deterministic_implicit":
            size = np.rint((bl * p_x) * p_d[row]).astype(F)
        up = ((x < ZERO) != (d[row] < ZERO)) != (rate < 0.0)
        n[row] = np.where(up, size, -size)
    return n


def pulse(array: Crossbar, n: Floats) -> None:
    """`|n|` pulses at each cell, up where `n > 0`, one after the other.

    The noise of pulse number `k` at `(row, column)` within an update call is normal `(column, k)` of stream
    `(PULSE, first vector of the call, row)`, within an operation of stream `(PROGRAM, operation, row)`.
    """
    noisy = array.device["dw_min_std"] > 0.0
    for row in range(len(n)):
        up, left = n[row] > ZERO, np.abs(n[row])
        cell, key = array.row(row), child(array.pulse_key, row)
        while (left > ZERO).any():
            active, v = left > ZERO, array.values[row]
            z = normals(key, count(len(v)), array.ordinals[row]) if noisy else np.zeros(len(v), F)
            array.values[row] = np.where(active, step(array.device, cell, v, up, z), v)
            array.ordinals[row] = array.ordinals[row] + active
            array.ups[row] = array.ups[row] + (active & up)
            left = left - active


def add(array: Crossbar, dw: Floats, kind: str) -> None:
    """Increments without pulses: `v + dw`, the same clipped, or `v + dw q(v)` clipped; `dw = 0` leaves a cell alone."""
    for row in range(len(dw)):
        v, cell = array.values[row], array.row(row)
        if kind == "analog_update":
            up = dw[row] >= ZERO
            size = np.where(up, cell["dw_up"], cell["dw_down"]) / F(array.device["dw_min"])
            moved = v + dw[row] * finite(size * response(array.device, cell, v, up))
        else:
            moved = finite(v + dw[row])
        if kind != "none":
            moved = clip(moved, cell["w_min"], cell["w_max"])
        array.values[row] = np.where(dw[row] == ZERO, v, moved)
        array.ordinals[row] = array.ordinals[row] + (dw[row] != ZERO)
        array.ups[row] = array.ups[row] + (dw[row] > ZERO)


# ---- 6 products


def resolution(res: F, bound: F) -> F:
    """The step of a quantiser, 0 for none; `res > 1` counts steps, a bound <= 0 is infinite."""
    res = ONE / res if res > ONE else res
    return (res * TWO) * bound if res > ZERO and bound > ZERO else ZERO


def positive(v: Floats) -> Floats:
    """`max(v, 0)`."""
    return np.where(v > ZERO, v, ZERO)


def weakened(v: Floats, asymmetry: float) -> Floats:
    """Negative values lose a part of themselves."""
    return np.where(v < ZERO, v * (ONE - F(asymmetry)), v)


def quantised(v: Floats, delta: F, stochastic: bool, key: int, i: int) -> Floats:
    """The grid point next to `v`, or stochastically one of its neighbours, by the numbers of words `(i, line)`."""
    if delta <= ZERO:
        return v
    if not stochastic:
        return delta * rint(v / delta)
    u = uniforms(key, np.full(len(v), i, U), count(len(v)))
    return delta * rint(v / delta + (u - HALF))


def multiply(matrix: Floats, v: Floats) -> Floats:
    """`matrix v`, summed from left to right."""
    z = np.zeros(len(matrix), F)
    for j in range(len(v)):
        z = z + matrix[:, j] * v[j]
    return z


class Periphery:
    """The periphery of one direction of products, with the running mean of noise management.

    `patterns` is the key of what its lines keep for life; `transposed` says that matrices come transposed (backward).
    """

    def __init__(self, io: Settings, patterns: int, transposed: bool = False) -> None:
        self.io, self.patterns, self.transposed = {**IO, **io}, patterns, transposed
        self.running = ZERO

    def number(self, name: str) -> F:
        """A setting as float32."""
        return F(self.io[name])

    def unit(self) -> F:
        """The range of the ADC, 1 if it is infinite."""
        return self.number("out_bound") if self.number("out_bound") > ZERO else ONE

    def capped(self, a: F) -> F:
        """`a`, at most `nm_thres` if that is positive."""
        limit = self.number("nm_thres")
        return limit if ZERO < limit < a else a

    def line_values(self, of: int, name: str, n: int) -> Floats:
        """`|mean (1 + std Xi)|` for the lines."""
        xi = numbered(child(self.patterns, of), 0, n)
        return np.abs(self.number(name) * (ONE + self.number(name + "_std") * xi))

    def delta_in(self) -> F:
        """The step of the DAC."""
        return resolution(self.number("inp_res"), self.number("inp_bound"))

    # Noise management.

    def factor(self, x: Floats, learn: bool) -> F:
        """`alpha` of noise management: what the inputs are divided by. `learn`: the running mean may move."""
        match self.io["noise_management"]:
            case "constant":
                return self.number("nm_thres") if self.number("nm_thres") > ZERO else ONE
            case "max":
                return self.capped(largest(positive(x)))
            case "abs_max":
                return self.capped(largest(x))
            case "abs_max_np_sum":
                return self.worst_case(x)
            case "average_abs_max":
                alpha, decay = largest(x), self.number("nm_decay")
                if self.running > ZERO:
                    alpha = (ONE - decay) * self.running + decay * alpha if learn else self.running
                if learn:
                    self.running = alpha
                return alpha
        return ONE

    def worst_case(self, x: Floats) -> F:
        """`alpha` that keeps sums of inputs of one sign, times `nm_assumed_wmax`, within the range of the ADC."""
        ones = np.ones((1, len(x)), F)
        up, down = multiply(ones, positive(x))[0], multiply(ones, positive(-x))[0]
        most = self.capped(largest(x))
        wanted = ((up if up > down else down) * self.number("nm_assumed_wmax")) / self.unit()
        if self.delta_in() > ZERO:
            limit = (most * self.number("max_bm_res")) / self.delta_in()
            wanted = wanted if wanted < limit else limit
        return wanted if wanted > most else most

    # The chain.

    def convert_in(self, v: Floats, key: int) -> Floats:
        """The DAC."""
        v = quantised(v, self.delta_in(), self.io["inp_sto_round"], key, 1)
        bound, sigma = self.number("inp_bound"), self.number("inp_noise")
        v = clip(v, -bound, bound) if bound > ZERO else v
        v = v + sigma * numbered(key, 0, len(v)) if sigma > ZERO else v
        return weakened(v, self.io["inp_asymmetry"])

    def other(self, matrix: Floats) -> Floats:
        """The weights that negative inputs see."""
        cells = matrix.T if self.transposed else matrix
        seen = cells.copy()
        for row in range(len(cells)):
            xi = numbered(child(self.patterns, OF_READING, row), 0, len(cells[row]))
            seen[row] = cells[row] * (ONE + self.number("w_read_asymmetry_dtod") * xi)
        return seen.T if self.transposed else seen

    def crossbar(self, matrix: Floats, v: Floats, key: int, half: str) -> Floats:
        """The currents of one pass; `half` says whether the inputs are all, the positive or the negative ones."""
        n = F(len(v))
        if self.number("w_read_asymmetry_dtod") <= ZERO or half == "positive":
            z = multiply(matrix, v)
        elif half == "negative":
            z = multiply(self.other(matrix), v)
        else:
            z = multiply(matrix, positive(v)) - multiply(self.other(matrix), positive(-v))
        if self.number("ir_drop") > ZERO:
            place = ONE - count(len(v)).astype(F) / n
            a = ((self.number("ir_drop") * n) / self.number("ir_drop_g_ratio")) * multiply(np.abs(matrix), np.abs(v))
            c = ((F(0.05) * a - F(0.2)) * a + HALF) * a
            z = z - c * multiply(matrix, v * (ONE - place * place))
        conductance = multiply(positive(matrix - self.number("v_offset_w_min")), np.ones(len(v), F))
        if self.number("v_offset_std") > ZERO:
            xi = numbered(child(self.patterns, OF_OFFSET), 0, len(z))
            z = z + (self.number("v_offset_std") * xi) * conductance
        if self.number("r_series") > ZERO:
            z = z / (ONE + (self.number("r_series") * conductance) / n)
        strength = self.number("w_noise")
        if strength > ZERO and self.io["w_noise_type"] != "none":
            squares = np.abs(matrix) if self.io["w_noise_type"] == "pcm_read" else np.ones(matrix.shape, F)
            z = z + (strength * np.sqrt(multiply(squares, v * v))) * numbered(key, 1, len(z))
        return z

    def convert_out(self, z: Floats, key: int) -> tuple[Floats, bool]:
        """The ADC; also whether anything was beyond the bound."""
        if self.number("out_nonlinearity") > ZERO:
            bend = self.line_values(OF_NONLINEARITY, "out_nonlinearity", len(z))
            gain = ONE + self.number("out_nonlinearity") * self.number("slope_calibration")
            z = (gain * z) / (ONE + (bend * np.abs(z)) / self.unit())
        z = weakened(z, self.io["out_asymmetry"])
        if self.number("out_noise") > ZERO:
            z = z + self.line_values(OF_NOISE, "out_noise", len(z)) * numbered(key, 0, len(z))
        bound = self.number("out_bound")
        z = quantised(z, resolution(self.number("out_res"), bound), self.io["out_sto_round"], key, 2)
        if bound <= ZERO:
            return z, False
        return clip(z, -bound, bound), bool(((np.abs(z) if self.io["bm_test_negative_bound"] else z) > bound).any())

    def one_pass(self, matrix: Floats, v: Floats, key: int) -> tuple[list[Floats], bool]:
        """Crossbar and ADC: what is converted (twice for a digital difference), and whether it was too much."""
        if self.io["mv_type"] == "one_pass":
            z, over = self.convert_out(self.crossbar(matrix, v, key, "all"), key)
            return [z], over
        plus = self.crossbar(matrix, positive(v), key, "positive")
        minus = self.crossbar(matrix, positive(-v), child(key, 1), "negative")
        if self.io["mv_type"] == "pos_neg_separate":
            z, over = self.convert_out(plus - minus, key)
            return [z], over
        both = [self.convert_out(plus, key), self.convert_out(minus, child(key, 1))]
        return [both[0][0], both[1][0]], both[0][1] or both[1][1]

    def product(self, matrix: Floats, x: Floats, keys: tuple[int, int], manage_bounds: bool, learn: bool) -> Floats:
        """`matrix x` of one vector.

        Bound management repeats the product with inputs halved until no output is beyond the bound, or it is tired.
        `keys` are the streams of inputs and outputs, with a child for each pass.
        """
        if self.io["is_perfect"]:
            return multiply(matrix, x) * self.number("out_scale")
        alpha = self.factor(x, learn)
        if alpha <= ZERO and self.number("inp_noise") <= ZERO:
            return np.zeros(len(matrix), F)
        delta, management = self.delta_in(), self.io["bound_management"]
        r, number = ONE, 0
        while True:
            scale = (alpha if alpha > ZERO else ONE) * r
            v = self.convert_in(x / scale, child(keys[0], number))
            parts, over = self.one_pass(matrix, v, child(keys[1], number))
            tired = r > self.number("max_bm_factor") or (delta > ZERO and r > self.number("max_bm_res") / delta)
            if not over or not manage_bounds or management == "none" or tired:
                values = [z * (self.number("out_scale") * scale) for z in parts]
                return values[0] - values[1] if len(values) > 1 else values[0]
            r = TWO * r
            if management == "iterative_worst_case" and number == 0:
                alpha, r = self.worst_case(x), ONE
            number = number + 1

    def quiet(self) -> Settings:
        """The settings without anything that is drawn anew."""
        silent = {"inp_noise": 0.0, "out_noise": 0.0, "w_noise": 0.0, "inp_sto_round": False, "out_sto_round": False}
        return {**self.io, **silent}


# ---- 7 tiles and plans


class Transfer:
    """Where a transfer stands: next line, events so far, vectors since the last (for periods in parts of a batch)."""

    def __init__(self, settings: Settings) -> None:
        self.settings = {"axis": "columns", "reads": 1, "random": False, "reset_prob": 0.0, "chopper": None, **settings}
        self.io = settings["io"]
        self.columns = self.settings["axis"] == "columns"
        self.chopper: Settings | None = None
        if self.settings["chopper"] is not None:
            self.chopper = {**CHOPPER, **self.settings["chopper"]}
        self.steps = [
            {**ACCUMULATE, **s["accumulate"]} if "accumulate" in s else {**WRITE, **s["write"]}
            for s in settings["steps"]
        ]
        self.sources = {term["matrix"] for step in self.steps for term in step["source"]}
        self.pointer, self.events, self.since = 0, 0, 0

    def concerns(self, matrix: str) -> bool:
        """Whether an event reads or changes a matrix."""
        goals = {step["into"] if "into" in step else step["target"] for step in self.steps}
        latched = (self.chopper or {}).get("latch") or ()
        return matrix in self.sources | goals or matrix in latched

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
        self.d_out, self.d_in, self.plan = d_out, d_in, {**plan, "gradient": {**GRADIENT, **plan["gradient"]}}
        fixed = stream(seeds[0], DEVICE, path, 0)
        crossbar = any(term["matrix"] in plan["arrays"] for term in plan["weight"])
        # A weight without any array has no periphery.
        forward, backward = (io if crossbar else {"is_perfect": True} for io in (forward, backward))
        self.forward_side = Periphery(forward, child(fixed, FORWARD))
        self.backward_side = Periphery(backward, child(fixed, BACKWARD), True)
        self.pulses = {**PULSES, **pulses}
        shape = (d_out, d_in)
        self.arrays = {name: Array(devices[name], shape, seeds, path, i) for i, name in enumerate(plan["arrays"])}
        self.digital = {name: np.zeros(shape, F) for name in plan["digital"]}
        self.transfers = [Transfer(settings) for settings in plan["transfers"]]
        # Signs of rows and columns, all 1 without a chopper; running maxima of |x| and |d|, 0 for none yet.
        self.row_signs, self.column_signs = np.ones(d_out, F), np.ones(d_in, F)
        self.largest = [ZERO, ZERO]
        self.keys = {"run": stream(seeds[1], RUN, path, 0), "eval": stream(seeds[1], EVAL, path, 0)}
        self.products = {"training": 0, "evaluation": 0, "backward": 0}
        self.vectors, self.batches, self.batch_ends, self.operations = 0, 0, 0, 0

    # Weights.

    def matrix(self, name: str) -> Floats:
        """An array as the network sees it, or a digital matrix."""
        return self.arrays[name].seen() if name in self.arrays else self.digital[name].copy()

    def set_matrix(self, name: str, w: Floats) -> None:
        """Sets an array, clipped to the bounds of its cells, or a digital matrix."""
        self.put(name, w, self.operation())

    def put(self, name: str, w: Floats, operation: int) -> None:
        """The same as part of an operation."""
        self.put_cells(name, w, np.ones(w.shape, np.bool_), WRITE_NOISE, 1, operation)

    def put_cells(self, name: str, w: Floats, where: Switches, *tags: int) -> None:
        """Sets some cells; `tags` lead to the streams of write noise."""
        if name in self.arrays:
            self.arrays[name].set(w, where, *tags)
        else:
            self.digital[name] = np.where(where, w, self.digital[name])

    def parameter(self, array: str, name: str) -> Floats:
        """A per-cell parameter of an array; those of cells of several devices begin with the device's number."""
        parts = self.arrays[array].parts
        if "." in name:
            part, name = name.split(".")
            return parts[int(part)].cells[name]
        return parts[0].cells[name]

    # Operations.

    def operation(self) -> int:
        """The number of an operation that changes arrays outside of updates."""
        self.operations += 1
        return self.operations

    def crossbars(self) -> list[Crossbar]:
        """The crossbars of all arrays."""
        return [part for array in self.arrays.values() for part in array.parts]

    def decay(self) -> None:
        """One decay of all cells."""
        number = self.operation()
        for crossbar in self.crossbars():
            crossbar.decay(number)

    def diffuse(self) -> None:
        """One diffusion of all cells."""
        number = self.operation()
        for crossbar in self.crossbars():
            crossbar.diffuse(number)

    def drift(self, time: float) -> None:
        """Drift of all cells over a time."""
        number = self.operation()
        for crossbar in self.crossbars():
            crossbar.drift(F(time), number)

    def reset(self, columns: list[int], prob: float) -> None:
        """Reset of the cells of some columns, each with a probability."""
        number = self.operation()
        for crossbar in self.crossbars():
            crossbar.reset_columns(columns, F(prob), number)

    def pulse_cells(self, array: str, counts: NDArray[np.int32]) -> None:
        """Pulses of the single cells of an array."""
        self.arrays[array].pulse_cells(counts, self.operation())

    def weights(self) -> Floats:
        """The composite weight: the sum of factor * matrix * signs, terms with factor 0 left out."""
        used = [term for term in self.plan["weight"] if term["factor"] != 0.0]
        composite = self.term(used[0])
        for term in used[1:]:
            composite = composite + self.term(term)
        return composite

    def term(self, term: Settings) -> Floats:
        """A term of the weight."""
        value = F(term["factor"]) * self.matrix(term["matrix"])
        return value * (self.row_signs[:, None] * self.column_signs) if term.get("chopped", False) else value

    def set_weights(self, w: Floats) -> None:
        """Puts `w` into the last term of the weight and 0 into all else."""
        number = self.operation()
        for name in [*self.arrays, *self.digital]:
            self.put(name, np.zeros(w.shape, F), number)
        last = self.plan["weight"][-1]
        self.put(last["matrix"], finite(w / F(last["factor"])), number)

    # Products.

    def forward(self, x: Floats, training: bool, noise: bool = True) -> Floats:
        """`W x` of every vector; training and evaluation have streams of their own.

        Without noise nothing is drawn anew, and nothing moves on.
        """
        name, key = ("training", self.keys["run"]) if training else ("evaluation", self.keys["eval"])
        keys, side, w = (child(key, FORWARD_IN), child(key, FORWARD_OUT)), self.forward_side, self.weights()
        if not noise:
            still = Periphery(side.quiet(), side.patterns)
            still.running = side.running
            y = [still.product(w, one, keys, True, False) for one in x]
        else:
            y = [side.product(w, one, self.vector_keys(name, keys), True, training) for one in x]
        return stacked(y)

    def backward(self, d: Floats) -> Floats:
        """`W^T d` of every vector, without bound management."""
        keys, w = (child(self.keys["run"], BACKWARD_IN), child(self.keys["run"], BACKWARD_OUT)), self.weights().T
        side = self.backward_side
        return stacked([side.product(w, one, self.vector_keys("backward", keys), False, True) for one in d])

    def vector_keys(self, counter: str, keys: tuple[int, int]) -> tuple[int, int]:
        """The keys of the next vector of a kind."""
        number = self.products[counter]
        self.products[counter] += 1
        return child(keys[0], number), child(keys[1], number)

    # Updates.

    def update(self, x: Floats, d: Floats, lr: float) -> None:
        """One mini-batch; more than 4096 vectors count as several."""
        for first in range(0, len(x), 4096):
            self.update_call(x[first : first + 4096], d[first : first + 4096], lr)

    def update_call(self, x: Floats, d: Floats, lr: float) -> None:
        """The gradient of each vector, then the events that are due; increments are summed up to an event that asks."""
        for crossbar in self.crossbars():
            crossbar.begin(self.vectors)
        target = self.plan["gradient"]["target"]
        waiting: list[tuple[Floats, Floats, float]] = []
        for b in range(len(x)):
            rho = self.gradient_rate(x[b], d[b], len(x), lr)
            waiting.append((*self.prepared(x[b], d[b]), rho))
            self.vectors += 1
            due = [i for i, t in enumerate(self.transfers) if t.due(b, len(x), self.vectors, self.batches)]
            full = [a for a in self.arrays.values() if a.refresh_every > 0 and self.vectors % a.refresh_every == 0]
            asked = [i for i in due if self.transfers[i].concerns(target)] or self.arrays.get(target) in full
            if asked or b == len(x) - 1:
                self.gradient(waiting)
                waiting = []
            for index in due:
                transfer = self.transfers[index]
                n = self.d_in if transfer.columns else self.d_out
                reads = transfer.settings["reads"] if transfer.settings["reads"] > 0 else n
                start = transfer.pointer
                if transfer.settings["random"]:
                    key = child(self.keys["run"], SELECT, index, transfer.events)
                    start = (int(words(key, np.zeros(1, U), np.zeros(1, U))[0]) * n) >> 32
                self.event(index, transfer, [(start + r) % n for r in range(reads)], transfer.events, lr, rho)
                transfer.pointer = (start + reads) % n
                transfer.events += 1
            for array in full:
                array.refresh(self.vectors // array.refresh_every)
        self.batches += 1
        for crossbar in self.crossbars():
            crossbar.close()

    def event_apart(self, transfer: Settings, lines: list[int]) -> None:
        """An event of a transfer that is none of the plan."""
        number = self.operation()
        for crossbar in self.crossbars():
            crossbar.begin(0, number)
        self.event(APART, Transfer(transfer), lines, number, 1.0, 1.0)
        for crossbar in self.crossbars():
            crossbar.close()

    def zero_shift(self, array: str, shift: Settings) -> None:
        """Calibrates an array."""
        self.arrays[array].zero_shift(shift, self.operation())

    def end_batch(self) -> None:
        """Diffusion, then decay of all cells."""
        number = self.operation()
        for crossbar in self.crossbars():
            crossbar.end_batch(self.batch_ends, number)
        self.batch_ends += 1

    def gradient_rate(self, x: Floats, d: Floats, m: int, lr: float) -> float:
        """The rate of the gradient of one of `m` vectors (float64); with `auto_scale` it follows running maxima.

        A maximum begins with the first value that is not 0, and leaves zeros out.
        """
        gradient = self.plan["gradient"]
        rate = rate_at(gradient["rate"], lr, 1.0)
        rate = -rate if lr < 0.0 else rate
        if gradient["auto_scale"] is None:
            return rate
        share = F((1.0 - gradient["auto_scale"]) / m)
        for side, new in enumerate((largest(x), largest(d))):
            old = self.largest[side]
            if old <= ZERO:
                self.largest[side] = new
            elif new > ZERO:
                self.largest[side] = (ONE - share) * old + share * new
        rate = rate * (float(self.pulses["desired_bl"]) * self.arrays[gradient["target"]].granularity)
        if self.largest[0] > ZERO and self.largest[1] > ZERO:
            rate = rate / (float(self.largest[0]) * float(self.largest[1]))
        return within_float32(rate)

    def prepared(self, x: Floats, d: Floats) -> tuple[Floats, Floats]:
        """Inputs and errors of the gradient: rounded to levels, with the signs of the chopper."""
        gradient, sides = self.plan["gradient"], []
        for values, of, use in ((x, "x", BIN_X), (d, "d", BIN_D)):
            key = child(self.keys["run"], use, self.vectors) if gradient[f"stoc_round_{of}"] else None
            sides.append(levelled(values, gradient[f"n_{of}_bins"], key))
        if gradient["chopped"]:
            return sides[0] * self.column_signs, sides[1] * self.row_signs
        return sides[0], sides[1]

    def gradient(self, vectors: list[tuple[Floats, Floats, float]]) -> None:
        """`target -= rate d x^T` of the vectors up to this one."""
        name = self.plan["gradient"]["target"]
        x, d, rates = stacked([v[0] for v in vectors]), stacked([v[1] for v in vectors]), [v[2] for v in vectors]
        if name in self.arrays:
            array, numbers = self.arrays[name], list(range(self.vectors - len(x), self.vectors))
            keys = [(child(array.run, TRAIN_X, b), child(array.run, TRAIN_D, b)) for b in numbers]
            self.pulse(array, x, d, rates, self.pulses, keys, numbers, TRAIN_X)
        else:
            for b in range(len(x)):
                for row in range(self.d_out):
                    scaled = finite(-F(rates[b]) * d[b, row])
                    if scaled != ZERO:
                        self.digital[name][row] = finite(self.digital[name][row] + finite(scaled * x[b]))

    def pulse(
        self, array: Array, x: Floats, d: Floats, rates: list[float], pulses: Settings, keys: Keys, numbers: list[int],
        purpose: int,
    ) -> None:  # fmt: skip
        """`array -= rate d x^T`, each device of its cells taking its share of the vectors (or writes) `numbers`."""
        for index, part in enumerate(array.parts):
            taken = [b for b, number in enumerate(numbers) if array.takes(index, number, purpose)]
            if taken:
                change(
                    part, x[taken], d[taken], [rates[b] for b in taken], pulses, [keys[b] for b in taken], part.route
                )

    def event(self, index: int, transfer: Transfer, lines: list[int], number: int, lr: float, rho: float) -> None:
        """Reads the sources on all lines, then resets the lines and runs the steps one by one; choppers flip.

        `number` is that of the event, `rho` the rate of the last gradient.
        """
        n = self.d_in if transfer.columns else self.d_out
        seen = [self.read(index, transfer, number, line) for line in lines]
        for place, line in enumerate(lines):
            tags = (index, number, line)
            completed = (number * len(lines) + place) // n
            self.reset_sources(tags, transfer)
            for at, step in enumerate(transfer.steps):
                total = self.total_of(step["source"], transfer, seen[place], line)
                if "into" in step:
                    gain, into = F(rate_at(step["gain"], lr, rho)), self.line_of(transfer, step["into"], line)
                    more = gain * total
                    value = finite(more if F(step["keep"]) == ZERO else F(step["keep"]) * into + more)
                    self.put_line(transfer, step["into"], line, value, COPY, *tags, at)
                else:
                    u = self.amount(transfer, step, total, line)
                    if step["after_passes"] is None or completed > step["after_passes"]:
                        which = number * len(lines) + place
                        self.write(transfer, step, u, rate_at(step["rate"], lr, rho), (index, at, number, line), which)
            self.chop(transfer, tags, completed)
        chopper, key = transfer.chopper, child(self.keys["run"], CHOP, index, number)
        if chopper is not None and chopper["scope"] == "array" and self.by_chance(key, 0, chopper["prob"]):
            self.signs(transfer)[0][:] = -self.signs(transfer)[0]
            for line in range(n):
                self.latch(transfer, (index, number, line))

    def signs(self, transfer: Transfer) -> tuple[Floats, Floats]:
        """Signs of the lines that a transfer reads, and of those that cross them."""
        return (self.column_signs, self.row_signs) if transfer.columns else (self.row_signs, self.column_signs)

    def chop(self, transfer: Transfer, tags: tuple[int, int, int], completed: int) -> None:
        """Flips of a line after its turn, and of the crossing lines after the last one; `completed` passes before."""
        chopper, (index, number, line) = transfer.chopper, tags
        if chopper is None or chopper["scope"] == "array":
            return
        own, crossing = self.signs(transfer)
        if chopper["random"] or chopper["prob"] == 0.0:
            flips = self.by_chance(child(self.keys["run"], CHOP, index, number), line, chopper["prob"])
        else:
            period = int(np.ceil(1.0 / chopper["prob"]))
            period = period if period > 2 else 2
            flips = completed % period == period - 1
        if flips:
            own[line] = -own[line]
            self.latch(transfer, tags)
        if line == len(own) - 1 and F(chopper["cross_prob"]) > ZERO:
            key = child(self.keys["run"], CHOP_CROSS, index, completed)
            for at in range(len(crossing)):
                if self.by_chance(key, at, chopper["cross_prob"]):
                    crossing[at] = -crossing[at]

    def by_chance(self, key: int, line: int, prob: float) -> bool:
        """Whether something of a probability happens to a line."""
        return bool(uniforms(key, np.full(1, line, U), np.zeros(1, U))[0] < F(prob))

    def latch(self, transfer: Transfer, tags: tuple[int, int, int]) -> None:
        """Copies what the chopper latches on a line."""
        if transfer.chopper is not None and transfer.chopper["latch"]:
            origin, goal = transfer.chopper["latch"]
            values = self.line_of(transfer, origin, tags[2])
            self.put_line(transfer, goal, tags[2], values, LATCH, *tags)

    def line_of(self, transfer: Transfer, name: str, line: int) -> Floats:
        """A line of a matrix as it is now."""
        return self.matrix(name)[:, line] if transfer.columns else self.matrix(name)[line]

    def put_line(self, transfer: Transfer, name: str, line: int, values: Floats, *tags: int) -> None:
        """Sets a line of a matrix."""
        w, where = np.zeros((self.d_out, self.d_in), F), self.where(transfer, line)
        if transfer.columns:
            w[:, line] = values
        else:
            w[line] = values
        self.put_cells(name, w, where, *tags)

    def where(self, transfer: Transfer, line: int) -> Switches:
        """The cells of a line."""
        where = np.zeros((self.d_out, self.d_in), np.bool_)
        if transfer.columns:
            where[:, line] = True
        else:
            where[line] = True
        return where

    def amount(self, transfer: Transfer, step: Settings, total: Floats, line: int) -> Floats:
        """What is to be written, in units; with a threshold whole numbers, which leave their source."""
        unit = F(step["unit"])
        u = finite(np.where(np.abs(total) > F(step["deadband"]), total / unit, ZERO))
        if step["threshold"] is None:
            return u
        threshold = {**THRESHOLD, **step["threshold"]}
        cap, momentum = F(threshold["cap"]), F(threshold["momentum"])
        n = clip(np.where(u < ZERO, np.ceil(u), -np.ceil(-u)), -cap, cap)
        source = step["source"][0]["matrix"]
        kept = self.line_of(transfer, source, line)
        rest = momentum * kept if threshold["forget"] else kept - ((ONE - momentum) * n) * unit
        limited = threshold["limit"] > 0.0 and not threshold["forget"]
        bound = F(threshold["limit"]) if limited else LARGEST
        self.put_line(transfer, source, line, np.where(n != ZERO, clip(rest, -bound, bound), kept))
        return n

    def write(
        self, transfer: Transfer, step: Settings, u: Floats, rate: float, tags: tuple[int, ...], which: int
    ) -> None:
        """`target += rate u` on a line, in pulses on an array.

        On columns that is an update with `x` one-hot and `d = -u`; on rows with `d` one-hot and `x = -u`.
        """
        name, line = step["target"], tags[3]
        if name not in self.arrays:
            values = self.line_of(transfer, name, line)
            self.put_line(transfer, name, line, finite(values + finite(F(rate) * u)))
            return
        array, n = self.arrays[name], self.d_in if transfer.columns else self.d_out
        keys = [(child(array.run, WRITE_X, *tags), child(array.run, WRITE_D, *tags))]
        x, d = (one_hot(n, line), -u) if transfer.columns else (-u, one_hot(n, line))
        self.pulse(array, x[None], d[None], [rate], {**PULSES, **step["pulses"]}, keys, [which], WRITE_X)

    def reset_sources(self, tags: tuple[int, int, int], transfer: Transfer) -> None:
        """Resets the line of the source arrays, with the transfer's probability."""
        prob = transfer.settings["reset_prob"]
        if F(prob) == ZERO or not self.by_chance(child(self.keys["run"], RESET_LINE, *tags), 0, prob):
            return
        for part in [part for name in self.arrays if name in transfer.sources for part in self.arrays[name].parts]:
            key = child(part.run, RESET, 1, *tags)
            part.reset(self.where(transfer, tags[2]), key, child(key, SHOWN))

    def read(self, index: int, transfer: Transfer, number: int, line: int) -> dict[str, Floats]:
        """What the transfer's periphery shows of a line of the arrays among its sources."""
        seen = {}
        for name in [name for name in self.arrays if name in transfer.sources]:
            matrix = self.matrix(name) if transfer.columns else self.matrix(name).T
            tags = (index, number, line, 0)
            keys = child(self.arrays[name].run, READ_IN, *tags), child(self.arrays[name].run, READ_OUT, *tags)
            patterns = child(self.arrays[name].fixed, READ if transfer.columns else READ_ROWS)
            side = Periphery(transfer.io, patterns, not transfer.columns)
            seen[name] = side.product(matrix, one_hot(matrix.shape[1], line), keys, False, False)
        return seen

    def total_of(self, source: list[Settings], transfer: Transfer, seen: dict[str, Floats], line: int) -> Floats:
        """The sum of factor * source * signs on a line: of arrays what was seen, of digital matrices what is there."""
        total = np.zeros(self.d_out if transfer.columns else self.d_in, F)
        for i, term in enumerate(source):
            name = term["matrix"]
            value = F(term["factor"]) * (seen[name] if name in seen else self.line_of(transfer, name, line))
            if term.get("chopped", False):
                own, crossing = self.signs(transfer)
                value = value * (own[line] * crossing)
            total = total + value if i > 0 else value
        return total


def stacked(vectors: list[Floats]) -> Floats:
    """Vectors as the rows of a matrix."""
    y = np.zeros((len(vectors), len(vectors[0])), F)
    for b in range(len(vectors)):
        y[b] = vectors[b]
    return y


def one_hot(n: int, line: int) -> Floats:
    """The unit vector of a line."""
    x = np.zeros(n, F)
    x[line] = ONE
    return x


def rate_at(rate: Settings, lr: float, rho: float) -> float:
    """A rate: its value, times the size of the learning rate if it is scaled, over that of the last gradient's rate."""
    value = rate["value"] * abs(lr) if rate["scaled"] else rate["value"]
    if not rate.get("per_gradient_rate", False):
        return value
    return 0.0 if rho == 0.0 else within_float32(value / abs(rho))


def within_float32(v: float) -> float:
    """What float32 can hold of a number."""
    v = v if v < float(LARGEST) else float(LARGEST)
    return v if v > -float(LARGEST) else -float(LARGEST)


def levelled(values: Floats, n: int, key: int | None) -> Floats:
    """Values rounded to `n` levels of the largest one; by chance with the numbers of words `(line, 0)` of `key`."""
    if n == 0:
        return values
    width = largest(values) / (HALF * F(n))
    if width == ZERO:
        return values
    lines = count(len(values))
    shift = ZERO if key is None else uniforms(key, lines, np.zeros(len(values), U)) - HALF
    return finite(width * rint(values / width + shift))
