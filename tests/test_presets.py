"""The presets: numbers of the table of published fits, populations of cells drawn from them, and configurations.

A population is compared with one that is drawn here, in float64 by NumPy's generator, from the formulas of the
specification (section 2.4): means and standard deviations of both agree within four standard errors.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import ohmgrad as og
from ohmgrad import devices, presets

Floats = NDArray[np.float64]

# model, dw_min, up_down, w_max, w_min; spreads of step, up_down, w_max, w_min; cycle noise, write noise; the rest
SOFT, LINEAR, EXP, CONSTANT = devices.SoftBoundsReference, devices.LinearStep, devices.ExpStep, devices.ConstantStep
ARRAY = dict(dw_min_dtod_log_normal=True, subtract_symmetry_point=True, reference_std=0.05, corrupt_devices_range=0.01)
ES = dict(a=-0.5, b=-0.5, A_up=-1.18445, A_down=-0.081404, gamma_up=5.0, gamma_down=5.0)
PCM = dict(a=-1.0, b=0.0, A_up=-27.235, A_down=-2.235, gamma_up=2.5, gamma_down=2.5)
PCM |= dict(dw_min_std_add=0.042, dw_min_std_slope=0.108, reset=0.01, reset_dtod=0.02, reset_std=0.01)
LEAK = dict(mult_noise=False, lifetime=1e6, lifetime_dtod=0.3)
LEAK |= dict(gamma_up=0.05, gamma_down=0.05, gamma_up_dtod=0.01, gamma_down_dtod=0.01)
LITHIUM = dict(gamma_up=0.1153, gamma_down=0.5085, gamma_up_dtod=0.05, gamma_down_dtod=0.05)
OXIDE = dict(gamma_up=0.4152, gamma_down=0.7342, gamma_up_dtod=0.05, gamma_down_dtod=0.05)
TABLE: dict[str, tuple[Any, ...]] = {
    "reram_es": (EXP, 0.00135, 0.259359, 1.0, -1.0, 0.2, 0.05, 0.3, 0.3, 5.0, 75.0, ES),
    "reram_sb": (SOFT, 0.002, 0.0, 1.25, -0.75, 0.3, 0.01, 0.24, 0.4, 3.75, 56.0, dict(mult_noise=False)),
    "capacitor": (LINEAR, 0.005, 0.0, 1.0, -1.0, 0.1, 0.06, 0.07, 0.07, 0.3, 0.0, LEAK),
    "ecram": (LINEAR, 0.002, 0.0, 1.1724, -0.8276, 0.1, 0.01, 0.05, 0.05, 0.3, 0.0, LITHIUM),
    "ecram_mo": (LINEAR, 2.8214e-4, 0.0, 1.1714, -0.8286, 0.1, 0.01, 0.05, 0.05, 2.0, 0.0, OXIDE),
    "idealized": (CONSTANT, 0.0002, 0.0, 1.0, -1.0, 0.3, 0.0, 0.3, 0.3, 0.3, 0.0, {}),
    "gokmen_vlasov": (CONSTANT, 0.0016, 0.0, 1.0, -1.0, 0.3, 0.01, 0.3, 0.3, 0.3, 0.0, {}),
    "pcm": (EXP, 0.01, 0.0, 2.0, 0.0, 0.2, 0.05, 0.1, 0.0, 0.6, 0.0, PCM),
    "reram_array_om": (SOFT, 0.0949, 0.0, 1.0, -1.0, 0.7829, 0.01, 0.3499, 0.5695, 0.4158, 1.4113, ARRAY),
    "reram_array_hfo2": (SOFT, 0.4622, 0.0, 1.0, -1.0, 0.7125, 0.01, 0.4295, 0.5990, 0.2174, 0.5841, ARRAY),
}
COLUMNS = ("dw_min", "up_down", "w_max", "w_min", "dw_min_dtod", "up_down_dtod", "w_max_dtod", "w_min_dtod")
COLUMNS += ("dw_min_std", "write_noise_std")


def device_of(name: str, **overrides: Any) -> devices.Device:
    device: devices.Device = getattr(presets, name)(**overrides)
    return device


def drawn(device: devices.Device, rows: int = 250, columns: int = 400) -> dict[str, Floats]:
    tile = og.Tile(rows, columns, device=device, seed=3)
    return {name: plane.astype(np.float64) for name, plane in tile.arrays["weight"].parameters.items()}


def population(name: str, consistent: bool, n: int) -> dict[str, Floats]:
    """`n` cells of the table's row, by the formulas."""
    (_, dw_min, up_down, w_max, w_min, step_dtod, up_down_dtod, w_max_dtod, w_min_dtod, *_, more) = TABLE[name]
    z = np.random.default_rng(7).standard_normal((6, n))
    high, low = w_max * (1 + w_max_dtod * z[0]), w_min * (1 + w_min_dtod * z[1])
    gain = np.exp(step_dtod * z[2]) if more.get("dw_min_dtod_log_normal") else 1 + step_dtod * z[2]
    up = dw_min * (gain + up_down_dtod * z[3] + min(up_down, 0))
    down = dw_min * (gain - up_down_dtod * z[3] - max(up_down, 0))
    if consistent:
        up, down = np.abs(up), np.abs(down)
        high, low = np.abs(np.maximum(high, low)), -np.abs(np.minimum(high, low))
    else:
        middle = (high + low) / 2
        high, low = np.where(low > high, middle, high), np.where(low > high, middle, low)
    cells = dict(w_max=high, w_min=low, dw_up=up, dw_down=down)
    if "gamma_up_dtod" in more:
        cells["gamma_up"] = np.abs(more["gamma_up"] + more["gamma_up_dtod"] * z[4])
        cells["gamma_down"] = np.abs(more["gamma_down"] + more["gamma_down_dtod"] * z[5])
    if "reset" in more:
        cells["reset"] = more["reset"] + more["reset_dtod"] * z[4]
    return cells


def check_same(x: Floats, y: Floats) -> None:
    """Means and standard deviations of two samples within four standard errors of their difference."""
    share = np.sqrt(1 / x.size + 1 / y.size)
    sigma = y.std()
    # float32 rounds relative by 2^-24, some six times for each cell: that decides where nothing is spread
    rounding = 6 * 2**-24 * abs(y.mean())
    assert abs(x.mean() - y.mean()) <= 4 * sigma * share + rounding
    # the variance of a standard deviation: (kurtosis - 1) sigma^2 / 4 n
    if sigma > 0:
        kurtosis = (((y - y.mean()) / sigma) ** 4).mean()
        assert abs(x.std() - sigma) <= 4 * sigma * np.sqrt((kurtosis - 1) / 4) * share + rounding
    else:
        assert x.std() <= rounding


def test_the_table_has_every_device() -> None:
    functions = {name for name in presets.__all__ if name not in ("configurations", "io")}
    assert functions == set(TABLE)


@pytest.mark.parametrize("name", TABLE)
def test_numbers_of_the_table(name: str) -> None:
    device, (model, *row, more) = device_of(name), TABLE[name]
    assert type(device) is model
    for field, value in (dict(zip(COLUMNS, row, strict=True)) | more).items():
        assert getattr(device, field) == pytest.approx(value, rel=1e-12), field
    # all else is as the model has it
    plain = model()
    for field in set(device.describe()) - set(COLUMNS) - set(more) - {"model"}:
        assert getattr(device, field) == getattr(plain, field), field
    assert device_of(name, dw_min_std=0.125).dw_min_std == 0.125


@pytest.mark.parametrize("consistent", [True, False], ids=["repaired", "as drawn"])
@pytest.mark.parametrize("name", TABLE)
def test_populations(name: str, consistent: bool) -> None:
    cells = drawn(device_of(name, enforce_consistency=consistent, subtract_symmetry_point=False))
    expected = population(name, consistent, 1_000_000)
    for parameter, values in expected.items():
        check_same(cells[parameter], values)


def test_a_population_can_differ() -> None:
    cells = drawn(presets.reram_sb(w_max_dtod=0.25))
    with pytest.raises(AssertionError):
        check_same(cells["w_max"], population("reram_sb", True, 1_000_000)["w_max"])


@pytest.mark.parametrize("name", ["reram_array_om", "reram_array_hfo2"])
def test_arrays_are_calibrated_within_five_percent(name: str) -> None:
    cells = drawn(device_of(name))
    up, down, high, low = (cells[p] for p in ("dw_up", "dw_down", "w_max", "w_min"))
    error = cells["reference"] - (up - down) / (up / high - down / low)
    # four standard errors; the bisection in float32 adds some 1e-6 of a range below 4
    assert abs(error.mean()) < 4 * 0.05 / np.sqrt(error.size) + 4e-6
    assert abs(error.std() - 0.05) < 4 * 0.05 / np.sqrt(2 * error.size) + 4e-6


def test_numbers_of_states() -> None:
    assert presets.reram_array_om().n_states == pytest.approx(21, abs=0.1)
    assert presets.reram_array_hfo2().n_states == pytest.approx(4.3, abs=0.05)
    assert presets.idealized().n_states == pytest.approx(10_000)
    assert presets.gokmen_vlasov().n_states == pytest.approx(1250)
    # a measured share of stuck cells is not applied unless it is asked for
    assert presets.reram_array_om().corrupt_devices_prob == 0
    cells = drawn(presets.reram_array_om(corrupt_devices_prob=0.1348))
    stuck = cells["w_max"] == cells["w_min"]
    assert abs(stuck.mean() - 0.1348) < 4 * np.sqrt(0.1348 * 0.8652 / stuck.size)
    assert np.abs(cells["w_max"][stuck]).max() <= 0.01


def test_a_capacitor_leaks() -> None:
    # float32 has steps of 6e-8 below 1; of a normal lifetime the median is the mean
    assert np.median(1 - drawn(presets.capacitor())["decay"]) == pytest.approx(1e-6, abs=6e-8)


@pytest.mark.parametrize("name", presets.configurations())
def test_configurations_train(name: str) -> None:
    settings = getattr(presets, name)(seed=4)
    assert name.endswith(tuple(TABLE))
    tile = og.Tile(4, 5, **settings)
    before = tile.state_dict()
    for _ in range(5):
        tile.update(np.eye(5), np.ones((5, 4)), lr=0.1)
        tile.end_batch()
    after = tile.state_dict()
    assert any((after[key] != value).any() for key, value in before.items() if key.endswith(".values"))
    assert tile.io == og.IO.kit(out_bound=20.0, out_noise=0.1)
    fast = "sgd" not in name and "mixed" not in name
    cells = settings["device"].devices if name.endswith("pcm") else [settings["device"]]
    for device in cells:
        assert device.subtract_symmetry_point == ("array" in name or (fast and "reram_sb" in name))


# fast_lr, auto_granularity, in_chop_prob, tail_weightening of the mean, desired_bl of the gradient
TUNED = {
    "tiki_taka_v2_reram_es": (0.5, 1000, 0, None, 31),
    "tiki_taka_v2_reram_sb": (0.5, 1000, 0, None, 31),
    "tiki_taka_v2_capacitor": (0.1, 1000, 0, None, 31),
    "tiki_taka_v2_ecram": (0.1, 500, 0, None, 100),
    "tiki_taka_v2_ecram_mo": (0.1, 500, 0, None, 100),
    "tiki_taka_v2_idealized": (0.1, 500, 0, None, 100),
    "chopped_tiki_taka_v2_reram_es": (0.5, 1000, 0.01, None, 31),
    "chopped_tiki_taka_v2_reram_sb": (0.5, 1000, 0.01, None, 31),
    "chopped_tiki_taka_v2_capacitor": (0.1, 1000, 0.01, None, 31),
    "chopped_tiki_taka_v2_ecram": (1, 500, 0.01, None, 100),
    "chopped_tiki_taka_v2_ecram_mo": (0.1, 500, 0.001, None, 100),
    "chopped_tiki_taka_v2_idealized": (0.1, 500, 0.001, None, 100),
    "agad_reram_es": (0.5, 1000, 0.02, 5, 31),
    "agad_reram_sb": (0.5, 1000, 0.02, 5, 31),
    "agad_capacitor": (0.1, 1000, 0.01, 20, 31),
    "agad_ecram": (0.1, 750, 0.005, 50, 31),
    "agad_ecram_mo": (0.1, 500, 0.005, 50, 100),
    "agad_idealized": (0.1, 500, 0.005, 50, 100),
}


@pytest.mark.parametrize("name", TUNED)
def test_tuned_configurations(name: str) -> None:
    settings = getattr(presets, name)()
    algorithm = settings["algorithm"]
    tail = getattr(algorithm, "tail_weightening", None)
    values = (algorithm.fast_lr, algorithm.auto_granularity, algorithm.in_chop_prob, tail)
    assert (*values, settings["pulses"].desired_bl) == TUNED[name]
    assert (algorithm.auto_scale, algorithm.units_in_mbatch, algorithm.transfer_every) == (True, False, 1.0)


def test_configurations_take_overrides_and_say_what_there_is() -> None:
    settings = presets.tiki_taka_ecram(io=og.IO(), device=presets.ecram(dw_min=0.01))
    assert (settings["io"], settings["device"].dw_min) == (og.IO(), 0.01)
    model = og.nn.Sequential(og.nn.Linear(3, 2)).on(**presets.analog_sgd_idealized())
    assert model.forward(np.ones((1, 3))).shape == (1, 2)
    assert set(presets.configurations()) | set(presets.__all__) == set(dir(presets))
    for name in ("tiki_taka_memristor", "magic_ecram", "ecram_"):
        with pytest.raises(AttributeError, match="configurations: analog_sgd_reram_es, "):
            getattr(presets, name)
