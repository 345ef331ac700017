"""The worked micro-examples 1 to 10 of the specification, to the digits printed there."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import ohmgrad as og
from ohmgrad import _core, devices

SINGLE = og.PulseTrain(desired_bl=1, update_management=False, update_bl_management=False)


def after_a_pulse(device: devices.Device, w: float, up: bool) -> float:
    tile = og.Tile(1, 1, device=device, pulses=SINGLE)
    tile.set_weights([[w]])
    tile.update([1.0], [-1.0 if up else 1.0], lr=tile.granularity())
    return tile.weights.item()


def test_example_1_soft_bounds() -> None:
    device = devices.SoftBounds(dw_min=0.001, w_max=0.6, w_min=-0.6)
    assert device.dw_min * device.q_up(0.3) == pytest.approx(0.0005, rel=1e-12)
    assert device.dw_min * device.q_down(0.3) == pytest.approx(0.0015, rel=1e-12)
    # float32 weights below 0.5: 2^-26 in the start, 2^-26 in the sum
    assert after_a_pulse(device, 0.3, up=True) == pytest.approx(0.3005, abs=2**-25)
    assert after_a_pulse(device, 0.3, up=False) == pytest.approx(0.2985, abs=2**-25)


def test_example_2_power_response() -> None:
    device = devices.PowerResponse(gamma=0.5, tau=0.6, dw_min=0.001)
    up, down, f, g = device.q_up(0.3), device.q_down(0.3), device.F(0.3), device.G(0.3)
    assert up == pytest.approx(0.70711, abs=5e-6)
    assert down == pytest.approx(1.22474, abs=5.1e-6)
    assert f == pytest.approx(0.96593, abs=5e-6)
    assert g == pytest.approx(0.25882, abs=5e-6)
    assert up * down == pytest.approx(0.86603, abs=5e-6)
    assert f**2 - g**2 == pytest.approx(up * down, rel=1e-12)
    assert after_a_pulse(device, 0.3, up=True) == pytest.approx(0.3 + 0.000707107, abs=2**-24)
    assert after_a_pulse(device, 0.3, up=False) == pytest.approx(0.3 - 0.001224745, abs=2**-24)


def test_example_3_exponential_response() -> None:
    device = devices.ExponentialResponse(gamma=4.0, tau=0.1, dw_min=0.001)
    assert device.q_up(0.05) == pytest.approx(0.119203, abs=5e-7)
    assert device.q_down(0.05) == pytest.approx(7.508259, abs=5e-7)
    # e^2 and so on, written out
    assert device.q_up(0.05) == pytest.approx((np.e**2 - 1) / (np.e**4 - 1), rel=1e-12)
    assert device.q_down(0.05) == pytest.approx((np.e**6 - 1) / (np.e**4 - 1), rel=1e-12)
    assert device.G(0.05) / device.F(0.05) == pytest.approx(0.968744, abs=5e-7)
    # own expm1 in float32: a few 2^-24 of steps below 0.01, and the rounding of a weight below 0.0625
    assert after_a_pulse(device, 0.05, up=True) == pytest.approx(0.05 + 0.000119203, abs=2**-27)
    assert after_a_pulse(device, 0.05, up=False) == pytest.approx(0.05 - 0.007508259, abs=2**-27)


def test_example_4_linear_response_with_offset() -> None:
    device = devices.LinearResponse(c=0.2, tau=3.5, dw_min=0.001)
    assert device.symmetric_point == pytest.approx(0.7, rel=1e-12)
    assert device.q_up(0.7) == pytest.approx(0.96, rel=1e-12)
    assert device.q_down(0.7) == pytest.approx(0.96, rel=1e-12)
    assert device.G(0.7) == pytest.approx(0.0, abs=1e-14)
    assert device.F(0.7) == pytest.approx(0.96, rel=1e-12)
    assert after_a_pulse(device, 0.7, up=True) == pytest.approx(0.70096, abs=2**-24)
    assert after_a_pulse(device, 0.7, up=False) == pytest.approx(0.69904, abs=2**-24)


def test_example_5_the_device_of_the_script() -> None:
    device = devices.SoftBounds(up_down=0.2, w_max=3.5, w_min=-3.5, dw_min=0.001)
    assert device.symmetric_point == pytest.approx(0.388889, abs=5e-7)
    assert device.symmetric_point == pytest.approx(3.5 * 0.2 / 1.8, rel=1e-12)
    for q in (device.q_up, device.q_down):
        assert q(device.symmetric_point) == pytest.approx(0.888889, abs=5e-7)


def test_example_6_scale_factors() -> None:
    pulses = og.PulseTrain(desired_bl=31)
    lr, g, xm, dm = 0.05, 0.001, 0.8, 0.095
    bl, a, b = _core.scale_factors(lr, g, xm, dm, pulses.describe())
    assert bl == 4
    assert a * b == pytest.approx(12.5, rel=1e-12)
    assert a == pytest.approx(10.25978, abs=5e-6)
    assert b == pytest.approx(1.218349, abs=5e-7)
    assert a * dm == pytest.approx(0.974679, abs=5e-7)
    assert b * xm == pytest.approx(0.974679, abs=5e-7)
    assert bl * (a * dm) * (b * xm) == pytest.approx(3.8, rel=1e-12)

    # more wanted than there are slots: k = 40 > 31
    bl, a, b = _core.scale_factors(lr, g, xm, 1.0, pulses.describe())
    assert bl == 31
    assert a == pytest.approx(1.290323, abs=5e-7)
    assert b == pytest.approx(1.25, rel=1e-12)
    assert b * xm == pytest.approx(1.0, rel=1e-12)
    assert a * 1.0 == pytest.approx(1.0 / 0.775, rel=1e-12)

    # and the cell gets exactly 31 pulses: float32 sums of 31 steps of 0.001 round by 2^-30 each
    tile = og.Tile(1, 1, device=devices.ConstantStep(dw_min=g), pulses=pulses)
    tile.update([xm], [1.0], lr)
    assert tile.weights.item() == pytest.approx(-0.031, abs=31 * 2**-29)


def test_example_6_mean_number_of_coincidences() -> None:
    n = 4000
    tile = og.Tile(
        1, 1, device=devices.ConstantStep(dw_min=0.001, w_max=100, w_min=-100), pulses=og.PulseTrain(), seed=1
    )
    counts = np.empty(n)
    for i in range(n):
        tile.set_weights([[0.0]])
        tile.update([0.8], [0.095], 0.05)
        counts[i] = -tile.weights.item() / 0.001
    # binomial with 4 slots and p = 0.95
    assert abs(counts.mean() - 3.8) < 5 * np.sqrt(4 * 0.95 * 0.05 / n)
    assert counts.max() < 4.001


def read_once(tile: og.Tile, fast: float, lr: float = 1.0) -> None:
    """A vector without gradient while all cells of the fast array hold a weight."""
    tile.arrays["fast"].weights = np.full((tile.d_out, tile.d_in), fast)
    tile.update(np.zeros(tile.d_in), np.zeros(tile.d_out), lr)


def test_example_7_the_buffer_of_tiki_taka_version_2() -> None:
    algorithm = og.TikiTakaV2(transfer_lr=0.1, scale_transfer_lr=False)
    assert algorithm.momentum == 0.1
    assert algorithm.forget_buffer
    tile = og.Tile(1, 1, device=devices.ConstantStep(dw_min=0.01), algorithm=algorithm)
    for event in (1, 2, 3):
        read_once(tile, 0.03)
        # float32 numbers below 2^-6, up to four sums: 4 * 2^-31
        assert tile.arrays["hidden"].weights.item() == pytest.approx(0.003 * event, abs=2**-29)
        assert tile.arrays["slow"].weights.item() == 0.0
    read_once(tile, 0.03)
    # H = 0.012, n = 1; a tenth of it stays
    assert tile.arrays["slow"].weights.item() == pytest.approx(0.01, abs=2**-31)
    assert tile.arrays["hidden"].weights.item() == pytest.approx(0.0012, abs=2**-29)


def test_example_8_the_gain_of_the_chopped_buffer() -> None:
    device = devices.ConstantStep(dw_min=0.002)
    algorithm = og.ChoppedTikiTakaV2(auto_granularity=1000.0)
    assert algorithm.transfer_every == 1
    buffer = algorithm.plan(og.algorithms.TileFacts(d_out=1, d_in=784, device=device)).transfers[0].steps[0]
    assert isinstance(buffer, og.algorithms.Accumulate)
    assert 1 / buffer.gain.value == pytest.approx(0.00255102, abs=5e-9)
    assert buffer.gain.scaled
    tile = og.Tile(1, 784, device=device, algorithm=algorithm)
    read_once(tile, 2**-6, lr=0.05)
    hidden = tile.arrays["hidden"].weights
    # float32: the gain and the product, both rounded
    assert hidden[0, 0] == pytest.approx(19.6 * 2**-6, rel=2**-23)
    assert not hidden[0, 1:].any()


def test_example_9_periods_and_means_of_agad() -> None:
    algorithm = og.AGAD(in_chop_prob=0.1, tail_weightening=5.0)
    tile = og.Tile(1, 1, algorithm=algorithm)
    # m_s = 0.5: what a read leaves in the mean
    read_once(tile, 0.25, lr=0.0)
    assert tile.arrays["mean"].weights.item() == 0.125
    read_once(tile, 0.5, lr=0.0)
    assert tile.arrays["mean"].weights.item() == 0.3125
    # n_s = 10: the mean is latched in every tenth pass
    latched = []
    for event in range(3, 31):
        before = tile.arrays["reference"].weights.item()
        read_once(tile, event / 64, lr=0.0)
        if tile.arrays["reference"].weights.item() != before:
            latched.append(event)
            assert tile.arrays["reference"].weights.item() == tile.arrays["mean"].weights.item()
    assert latched == [10, 20, 30]


def product(w: float, x: float, io: og.IO) -> float:
    tile = og.Tile(1, 1, device=devices.ConstantStep(w_max=1000, w_min=-1000), io=io)
    tile.set_weights([[w]])
    return tile.forward([x]).item()


def test_example_10_steps_of_the_converters() -> None:
    kit = og.IO.kit(out_noise=0.0)
    assert kit.inp_res * 2 * kit.inp_bound == pytest.approx(0.0158730, abs=5e-8)
    assert kit.out_res * 2 * kit.out_bound == pytest.approx(0.0470588, abs=5e-8)
    # one step each, from inputs that are nearest to one step; the other converter off
    unmanaged: dict[str, Any] = dict(out_noise=0.0, noise_management="none", bound_management="none")
    assert product(1.0, 0.02, og.IO.kit(out_res=0.0, **unmanaged)) == pytest.approx(0.0158730, abs=5e-8)
    assert product(1.0, 0.05, og.IO.kit(inp_res=0.0, **unmanaged)) == pytest.approx(0.0470588, abs=5e-8)


def test_example_10_bound_management_stops_at_16() -> None:
    kit = og.IO.kit(out_noise=0.0)
    d_in = kit.inp_res * 2 * kit.inp_bound
    assert kit.max_bm_res / d_in == pytest.approx(15.75, rel=1e-12)
    # r doubles while it is not above 15.75; an output of 1000 is clipped even then
    assert product(1000.0, 1.0, kit) == 12 * 16
    # one that fits at r = 16 and at no smaller r: 12 * 8 < 100 < 12 * 16, with 1 / 16 of the range 7.875 input steps
    assert product(100.0, 1.0, kit) == pytest.approx(16 * 100 * 8 / 126, abs=16 * 24 / 510 / 2 * (1 + 1e-5))
