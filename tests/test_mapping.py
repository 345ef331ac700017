"""The mapping around a tile: factors, a bias on the crossbar, grids of tiles."""

from __future__ import annotations

import math
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from itertools import chain, product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ohmgrad as og
from ohmgrad import _core
from ohmgrad.algorithms import Gradient, Plan, Rate, Term, TileFacts
from ohmgrad.nn import MSE, CrossEntropy, Linear, Sequential, Tanh
from ohmgrad.nn.mapping import DEFAULTS, Factors, chosen

D_IN, D_OUT, BATCH = 7, 5, 6
EXACT: dict[str, Any] = {
    "device": og.devices.ConstantStep(w_max=100.0, w_min=-100.0),
    "pulses": og.PulseTrain(pulse_type="none"),
    "io": og.IO(is_perfect=True),
}
NOISY: dict[str, Any] = {
    "device": og.devices.SoftBounds(dw_min=0.01, dw_min_dtod=0.2, dw_min_std=0.3, w_max_dtod=0.1, w_min_dtod=0.1),
    "algorithm": og.ResidualLearning(fast_lr=0.05),
    "io": og.IO.kit(),
}
GRIDS: dict[str, dict[str, int]] = {
    "one tile": {},
    "rows": {"max_output_size": 2},
    "columns": {"max_input_size": 3},
    "both": {"max_input_size": 4, "max_output_size": 3},
    "single cells": {"max_input_size": 1, "max_output_size": 1},
}
ALL: dict[str, Any] = {
    "digital_bias": False,
    "learn_out_scaling": True,
    "out_scaling_columnwise": True,
    "weight_scaling_omega": 0.25,
    "weight_scaling_columnwise": True,
    "weight_scaling_lr_compensation": True,
    "max_input_size": 3,
    "max_output_size": 2,
}


def batch(rows: int, columns: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((rows, columns)).astype(np.float32)


def layer_with(seed: int | og.Seeds = 2, **settings: Any) -> Linear:
    return Sequential(Linear(D_IN, D_OUT, **settings)).on(seed=seed)[0]


def noisy_network(**settings: Any) -> Sequential:
    return Sequential(Linear(6, 5, **settings), Tanh(), Linear(5, 3, **settings)).on(**NOISY, seed=3)


def bits(state: dict[str, np.ndarray]) -> dict[str, bytes]:
    return {key: value.tobytes() for key, value in state.items()}


def whole(layer: Linear, of: Callable[[og.Tile], np.ndarray] = lambda tile: tile.weights) -> np.ndarray:
    """A matrix of all tiles, by default their weights."""
    return np.vstack([np.hstack([of(tile) for tile in row]) for row in layer.tiles])


def from_the_top(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Sums of products of each column, in float64, one after the other."""
    total = np.zeros(a.shape[1])
    for row in a.astype(float) * b:
        total = total + row
    return total


def combinations() -> list[dict[str, Any]]:
    """All that the factors and the bias can be."""
    names = ["weight_scaling_columnwise", "weight_scaling_lr_compensation", "learn_out_scaling", "digital_bias"]
    every = [
        {"weight_scaling_omega": omega} | dict(zip(names, values, strict=True))
        for omega in (0.0, 0.25)
        for values in product((False, True), repeat=len(names))
    ]
    return [one | {"out_scaling_columnwise": both} for one in every for both in {False, one["learn_out_scaling"]}]


@pytest.mark.parametrize("grid", GRIDS)
def test_every_mapping_takes_the_step_of_plain_sgd(grid):
    """In float64 on paper; the layer rounds to float32 (u = 2**-24).

    A sum of n terms is off by at most n u times the sum of their sizes; besides up to 8 inputs or 6 vectors there are
    at most 8 roundings by factors, rates and biases. So 16 u, times the terms' sizes.
    """
    x, d, lr = batch(BATCH, D_IN), batch(BATCH, D_OUT, seed=1), 0.1

    for settings in combinations():

        def close(got, expected, size, what, settings=settings):
            error = np.abs(np.asarray(got, float) - expected)
            assert (error <= 16 * 2.0**-24 * size).all(), f"{what} with {settings}: {error.max()}"

        layer = layer_with(**EXACT, **settings, **GRIDS[grid])
        on_tile = not settings["digital_bias"]
        inputs = np.hstack([x, np.ones((BATCH, 1))]) if on_tile else x.astype(float)
        for _ in range(2):  # the second time the learned factors are no longer one
            a, o = (np.broadcast_to(v, D_OUT).astype(float) for v in (layer.weight_scaling, layer.out_scaling))
            core = whole(layer).astype(float) * a[:, None]
            bias = np.zeros(D_OUT) if on_tile else layer.bias.astype(float)
            y, sizes = inputs @ core.T, np.abs(inputs) @ np.abs(core).T
            close(layer.weight, o[:, None] * core[:, :D_IN], np.abs(o[:, None] * core[:, :D_IN]), "weight")
            close(layer.bias, o * core[:, -1] if on_tile else bias, np.abs(o * core[:, -1]) + np.abs(bias), "bias")
            close(layer.forward(x), o * y + bias, np.abs(o) * sizes + np.abs(bias), "output")
            g, g_size = (d * o) @ core[:, :D_IN], np.abs(d * o) @ np.abs(core[:, :D_IN])
            close(layer.backward(d), g, g_size, "gradient of the input")

            layer.update(lr)
            share = a / a.mean() if settings["weight_scaling_lr_compensation"] else np.ones(D_OUT)
            step, step_size = ((lr * share * o)[:, None] * (v.T @ w) for v, w in ((d, inputs), (abs(d), abs(inputs))))
            after = whole(layer) * a[:, None]
            close(after, core - step, np.abs(core) + np.abs(step_size), "weight after the update")
            if not on_tile:
                close(layer.bias, bias - lr * d.sum(0), np.abs(bias) + lr * abs(d).sum(0), "bias after the update")
            slope, slope_size = d * y, np.abs(d) * sizes
            if settings["out_scaling_columnwise"]:
                slope, slope_size = slope.sum(0), slope_size.sum(0)
            elif settings["learn_out_scaling"]:
                slope, slope_size = slope.sum(), slope_size.sum()
            else:
                slope, slope_size = 0.0, 0.0
            close(layer.out_scaling, o - lr * slope, np.abs(o) + lr * slope_size, "learned factor")
            close(layer.weight_scaling, a, 0.0, "fixed factor")


@pytest.mark.parametrize("settings", [{}, {"out_scaling_columnwise": True}], ids=["one factor", "one per output"])
@pytest.mark.parametrize("columnwise", [False, True])
@pytest.mark.parametrize("digital_bias", [False, True])
def test_learned_factors_follow_the_slope_of_the_loss(settings, columnwise, digital_bias):
    layer = layer_with(
        **EXACT,
        **settings,
        learn_out_scaling=True,
        weight_scaling_omega=0.25,
        weight_scaling_columnwise=columnwise,
        digital_bias=digital_bias,
        max_input_size=4,
    )
    x, target, state = batch(BATCH, D_IN), batch(BATCH, D_OUT, seed=1), layer.state_dict()
    before, h = state["out_scaling"], np.float32(2.0**-4)

    def loss(o: np.ndarray) -> float:
        layer.load_state_dict(state | {"out_scaling": o})
        return MSE()(layer.forward(x), target)[0]

    value = loss(before)
    one = np.eye(before.size, dtype=np.float32) * h
    # The loss is a square function of a factor, for which a central difference is exact; what is left is rounding: of
    # each loss, some 16 u of its own size, and of the factor, which the update moves by its slope.
    slopes = [(loss(before + step) - loss(before - step)) / (2 * float(h)) for step in one]
    loss(before)
    layer.backward(MSE()(layer.forward(x), target)[1])
    layer.update(1.0)
    moved = before - np.atleast_1d(layer.out_scaling)
    np.testing.assert_allclose(moved, slopes, atol=16 * 2.0**-24 * (4 * value / float(h) + 1))
    assert np.abs(slopes).min() > 1e-3, "there is a slope"


def test_factors_map_the_largest_weight_on_omega():
    plain = layer_with(**EXACT)
    lines = layer_with(**EXACT, weight_scaling_omega=0.3, weight_scaling_columnwise=True)
    single = layer_with(**EXACT, weight_scaling_omega=0.3)
    # The factor and the quotient are rounded once each.
    np.testing.assert_allclose(np.abs(lines.tile.weights).max(axis=1), 0.3, rtol=2.0**-22)
    np.testing.assert_allclose(np.abs(single.tile.weights).max(), 0.3, rtol=2.0**-22)
    np.testing.assert_array_equal(
        lines.weight_scaling, (np.abs(plain.weight).max(axis=1).astype(float) / 0.3).astype(np.float32)
    )
    assert single.weight_scaling == np.float32(float(np.abs(plain.weight).max()) / 0.3)
    on_tile = layer_with(**EXACT, weight_scaling_omega=0.3, weight_scaling_columnwise=True, digital_bias=False)
    np.testing.assert_allclose(np.abs(on_tile.tile.weights).max(axis=1), 0.3, rtol=2.0**-22)
    for layer in (lines, single, on_tile):
        np.testing.assert_allclose(layer.weight, plain.weight, rtol=2.0**-21)
        np.testing.assert_allclose(layer.bias, plain.bias, rtol=2.0**-21)


def test_a_line_of_zeros_keeps_a_factor_of_one():
    w = np.array([[0.5, -0.25], [0.0, 0.0]], np.float32)
    for columnwise, expected in ((True, [2.0, 1.0]), (False, [2.0])):
        factors = Factors(2, chosen({"weight_scaling_omega": 0.25, "weight_scaling_columnwise": columnwise}))
        factors.fit(w)
        np.testing.assert_array_equal(factors.a, np.float32(expected))
        factors.fit(0 * w)
        np.testing.assert_array_equal(factors.a, np.ones(len(expected), np.float32))


@pytest.mark.parametrize(
    ("d_out", "d_in", "settings", "heights", "widths"),
    [
        (5, 7, {}, [5], [7]),
        (5, 7, {"max_output_size": 0, "max_input_size": 7}, [5], [7]),
        (5, 7, {"max_output_size": 2, "max_input_size": 3}, [2, 2, 1], [3, 2, 2]),
        (5, 7, {"max_output_size": 4, "max_input_size": 6}, [3, 2], [4, 3]),
        (3, 3, {"max_output_size": 2, "max_input_size": 2}, [2, 1], [2, 1]),
        (2, 3, {"max_output_size": 1, "max_input_size": 1}, [1, 1], [1, 1, 1]),
        (1, 1, {"max_input_size": 1, "digital_bias": False}, [1], [1, 1]),
        (1, 2, {"max_input_size": 3, "digital_bias": False}, [1], [3]),
        (1, 1, {"bias": False, "digital_bias": False}, [1], [1]),
    ],
)
def test_a_grid_has_tiles_of_equal_size_with_names_of_their_own(d_out, d_in, settings, heights, widths):
    model = Sequential(Linear(d_in, d_out, name="fc", **settings)).on(**EXACT)
    layer = model["fc"]
    assert [[(tile.d_out, tile.d_in) for tile in row] for row in layer.tiles] == [
        [(h, w) for w in widths] for h in heights
    ]
    names = [tile.name for row in layer.tiles for tile in row]
    if names == ["fc"]:
        assert layer.tile is layer.tiles[0][0]
    else:
        assert names == [f"fc/{r}-{c}" for r in range(len(heights)) for c in range(len(widths))]
        with pytest.raises(RuntimeError, match=rf"a grid of {len(heights)} x {len(widths)} tiles: layer\.tiles"):
            _ = layer.tile
    assert model.forward(batch(2, d_in)).shape == (2, d_out)
    assert model.backward(batch(2, d_out)).shape == (2, d_in)
    model.update(0.1)
    assert layer.weight.shape == (d_out, d_in)


def test_initial_weights_do_not_depend_on_the_grid_nor_on_where_the_bias_is():
    layers = [layer_with(**EXACT, **grid, digital_bias=digital) for grid in GRIDS.values() for digital in (False, True)]
    for layer in layers:
        np.testing.assert_array_equal(layer.weight, layers[0].weight)
        np.testing.assert_array_equal(layer.bias, layers[0].bias)


def test_a_grid_is_its_tiles_with_partial_sums_added_from_the_left_and_from_the_top():
    """With all noise, bit for bit; and what the update of a tile gets."""
    layer = layer_with(**NOISY, **ALL, seed=5)
    heights, widths, lr = [2, 2, 1], [3, 3, 2], 0.1
    tiles = [
        [og.Tile(h, w, **NOISY, seed=5, name=f"0/{r}-{c}") for c, w in enumerate(widths)] for r, h in enumerate(heights)
    ]
    for mine, own in zip(chain(*tiles), chain(*layer.tiles), strict=True):
        mine.set_weights(own.weights)
    x, d = batch(BATCH, D_IN), 0.1 * batch(BATCH, D_OUT, seed=1)
    columns = np.split(np.hstack([x, np.ones((BATCH, 1), np.float32)]), [3, 6], axis=1)
    for _ in range(2):
        a, o = layer.weight_scaling, layer.out_scaling
        partial = [[tile.forward(v) for tile, v in zip(row, columns, strict=True)] for row in tiles]
        y = np.hstack([(first + second) + third for first, second, third in partial])
        np.testing.assert_array_equal(layer.forward(x), (a * o) * y)
        rows = np.split(d * (a * o), [2, 4], axis=1)
        partial = [
            [tile.backward(v) for tile, v in zip(column, rows, strict=True)] for column in zip(*tiles, strict=True)
        ]
        g = np.hstack([(first + second) + third for first, second, third in partial])
        np.testing.assert_array_equal(layer.backward(d), g[:, :-1])
        layer.update(lr)
        for row, v in zip(tiles, np.split(d * o, [2, 4], axis=1), strict=True):
            for tile, u in zip(row, columns, strict=True):
                tile.update(u, v, lr / (math.fsum(a) / len(a)))
                tile.end_batch()
        for mine, own in zip(chain(*tiles), chain(*layer.tiles), strict=True):
            assert bits(mine.state_dict()) == bits(own.state_dict())
        slope = a * np.float32(from_the_top(d, y))
        np.testing.assert_array_equal(layer.out_scaling, o - np.float32(lr) * slope)


@pytest.mark.usefixtures("threads")
def test_a_network_trains_its_tiles_side_by_side():
    """The same as one after the other, for any number of threads, and also in parts, as large batches are."""

    class Own(og.AnalogSGD):
        def step(self, tile, x, d, lr):
            tile.follow_plan(x, d, lr)

    for vectors, algorithm in ((BATCH, og.ResidualLearning(fast_lr=0.05)), (BATCH, Own()), (4097, og.AnalogSGD())):
        layers = Linear(D_IN, 4, max_input_size=4), Tanh(), Linear(4, D_OUT), Tanh(), Linear(D_OUT, 3)
        made = [Sequential(*layers).on(**NOISY | {"algorithm": algorithm}, seed=3) for _ in range(3)]
        for model, n in zip(made, (1, 2, 1), strict=True):
            og.threads(n)
            _core.set_split_threshold(0)
            for seed in range(2):
                model.forward(batch(vectors, D_IN, seed))
                model.backward(0.1 * batch(vectors, 3, seed + 2))
                if model is made[2]:
                    for layer in (model[0], model[4], model[2]):
                        layer.update(0.1)
                else:
                    model.update(0.1)
        first, *others = (bits(model.state_dict()) for model in made)
        assert others == [first, first]


def test_what_a_layer_refuses_leaves_the_network_as_it_was():
    model = Sequential(Linear(D_IN, 4), Tanh(), Linear(4, 3)).on(**NOISY, seed=3)
    model.forward(batch(BATCH, D_IN))
    model.backward(batch(BATCH, 3))
    before = bits(model.state_dict())
    model[0].receive(np.full((BATCH, 4), np.nan, np.float32))
    with pytest.raises(ValueError, match="d holds NaN"):
        model.update(0.1)
    assert bits(model.state_dict()) == before
    core = model[0].tile._core
    with pytest.raises(ValueError, match="jobs has a tile twice"):
        _core.train([(core, batch(2, D_IN), batch(2, 4), 0.1)] * 2)
    with pytest.raises(ValueError, match=r"x has shape \(2, 6\), allowed: \(1 or more, 7\)"):
        _core.train([(core, batch(2, 6), batch(2, 4), 0.1)])
    assert bits(model.state_dict()) == before


def test_digital_steps():
    """Of a bias and of factors: one or one per output, in float32 but for the sums of products."""
    y, d, lr = batch(4, 3), batch(4, 3, seed=1), np.float32(0.3)
    rows, bias = np.abs(batch(2, 3, seed=2)), batch(1, 3, seed=3)[0]
    for a, o in ((rows[0], rows[1]), (rows[0], rows[1, :1]), (rows[0, :1], rows[1]), (rows[0, :1], rows[1, :1])):
        if o.size > 1:
            slope = a * from_the_top(d, y).astype(np.float32)
        else:
            within = y * a if a.size > 1 else y
            slope = np.float32(sum((d.astype(float) * within).ravel().tolist())) * (1 if a.size > 1 else a)
        made = _core.digital_step(d, y, float(lr), a, o, bias)
        np.testing.assert_array_equal(made[0], o - lr * slope)
        np.testing.assert_array_equal(made[1], bias - lr * (((d[0] + d[1]) + d[2]) + d[3]))
    assert _core.digital_step(d, y, 0.1, a, None, None) == (None, None)
    for name, value, message in (
        ("a", rows[0, :2], "a is 2 values, allowed: 1 or 3"),
        ("o", rows[0, :2], "o is 2 values, allowed: 1 or 3"),
        ("bias", bias[:1], "bias is 1 values, allowed: 3$"),
    ):
        given = {"a": a, "o": o, "bias": bias} | {name: value}
        with pytest.raises(ValueError, match=message):
            _core.digital_step(d, y, 0.1, *given.values())
    with pytest.raises(ValueError, match="shape"):
        _core.digital_step(d, y[:3], 0.1, a, o, bias)


def test_operations_on_columns():
    y, scale, bias = batch(4, 3), np.float32([0.5, 3.0, -2.0]), np.float32([0.1, 0.2, 0.3])
    np.testing.assert_array_equal(_core.scale_bias(y, scale, bias), y * scale + bias)
    np.testing.assert_array_equal(_core.scale_bias(y, scale[:1], None), y * scale[0])
    blocks = _core.column_blocks("x", y.astype(float), [2, 1], False)
    np.testing.assert_array_equal(np.hstack(blocks), y)
    assert [block.shape for block in blocks] == [(4, 2), (4, 1)]
    blocks = _core.column_blocks("x", y[:, ::-1], [1, 2, 1], True)
    np.testing.assert_array_equal(np.hstack(blocks), np.hstack([y[:, ::-1], np.ones((4, 1))]))


def test_a_bias_on_the_crossbar_is_its_last_column():
    layer = layer_with(**EXACT, digital_bias=False, weight_scaling_omega=0.5)
    assert layer.tile.d_in == D_IN + 1
    np.testing.assert_array_equal(layer.bias, layer.tile.weights[:, -1] * np.float32(layer.weight_scaling))
    weight, bias = layer.weight, layer.bias
    layer.set_bias(np.arange(D_OUT) / 8)
    np.testing.assert_allclose(layer.bias, np.arange(D_OUT) / 8, rtol=2.0**-22)
    np.testing.assert_array_equal(layer.weight, weight)
    column = layer.bias
    layer.set_weight(2 * weight)
    np.testing.assert_allclose(layer.weight, 2 * weight, rtol=2.0**-22)
    np.testing.assert_array_equal(layer.bias, column)
    assert "bias" not in layer.state_dict()
    assert layer_with(**EXACT, bias=False, digital_bias=False).bias is None
    clipped = layer_with(device=og.devices.SoftBounds(), digital_bias=False)
    clipped.set_bias(np.full(D_OUT, 9.0))
    np.testing.assert_array_equal(clipped.bias, np.ones(D_OUT))
    np.testing.assert_array_equal(bias, layer_with(**EXACT, digital_bias=False, weight_scaling_omega=0.5).bias)


@pytest.mark.parametrize("wrap", [lambda device: device, og.devices.ReferenceCell])
def test_a_perfect_bias_is_the_column_of_the_bias_alone(wrap):
    device = og.devices.SoftBounds(w_max_dtod=0.1, w_max=1.0, perfect_bias=True)
    for settings, perfect in (
        ({"digital_bias": False}, True),
        ({}, False),
        ({"bias": False, "digital_bias": False}, False),
    ):
        for grid in GRIDS.values():
            layer = layer_with(device=wrap(device), **settings, **grid)
            cells = next(name for name in layer.tiles[0][0].arrays["weight"].parameters if name.endswith("w_max"))
            high = whole(layer, lambda tile, cells=cells: tile.arrays["weight"].parameters[cells])
            assert ((high == 100.0) == (perfect & (np.arange(high.shape[1]) == D_IN))).all()
            again = Linear.from_config(layer.config())
            assert (repr(again), again.config()) == (repr(layer), layer.config())
    both = layer_with(device={"fast": device, "slow": device}, algorithm=og.TikiTaka(), digital_bias=False)
    for array in ("fast", "slow"):
        assert (both.tile.arrays[array].parameters["w_max"][:, -1] == 100.0).all()


def test_without_noise_a_grid_is_the_sum_of_its_tiles_without_noise():
    layer = layer_with(**NOISY, **ALL)
    x = batch(BATCH, D_IN)
    before = bits(layer.state_dict())
    first, again = (layer.forward(x, training=False, noise=False) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert bits(layer.state_dict()) == before
    assert (layer.forward(x, training=False) != first).any()


def test_on_fills_every_setting_of_the_mapping_that_is_unset():
    own = {field: default for field, default in DEFAULTS.items() if default is not False}
    network = Sequential(Linear(4, 3), Linear(3, 3, **own), Linear(3, 2, digital=True))
    model = network.on(**EXACT, **ALL)
    configs = model.config()["layers"]
    assert {field: configs[0][field] for field in ALL} == ALL
    assert {field: configs[1][field] for field in own} == own
    assert {field: configs[2][field] for field in DEFAULTS} == DEFAULTS
    assert set(ALL) == set(DEFAULTS)
    assert network.on(**EXACT)[0].config()["digital_bias"] is True


def test_a_repr_evaluates_back_with_every_setting():
    names = vars(og.nn) | vars(og.devices) | {"IO": og.IO, "PulseTrain": og.PulseTrain} | vars(og.algorithms)
    for model in (Sequential(Linear(4, 3, **ALL)), noisy_network(**ALL)):
        again = eval(repr(model), dict(names))
        assert repr(again) == repr(model)
        assert all(f"{field}=" in repr(again) for field in ALL)


@pytest.mark.parametrize("settings", [ALL, {"max_input_size": 2}, {"digital_bias": False}], ids=repr)
@pytest.mark.parametrize("form", ["state", "file", "copy"])
def test_a_layer_goes_on_bit_for_bit(settings, form, task, tmp_path: Path):
    model = noisy_network(**settings)
    model.train_step(task.x, task.y, CrossEntropy(), 0.1)
    if form == "copy":
        other = deepcopy(model)
    elif form == "file":
        og.save(tmp_path / "model", model)
        other = og.load(tmp_path / "model")
    else:
        other = Sequential.from_config(model.config())
        other.load_state_dict(model.state_dict())
    assert repr(other) == repr(model)
    assert bits(other.state_dict()) == bits(model.state_dict())
    threads = og.threads()
    try:
        for each, n in ((model, 1), (other, 3)):
            og.threads(n)
            for _ in range(2):
                each.train_step(task.x, task.y, CrossEntropy(), 0.1)
    finally:
        og.threads(threads)
    assert bits(other.state_dict()) == bits(model.state_dict())
    np.testing.assert_array_equal(other.predict(task.x), model.predict(task.x))


def test_a_file_that_knows_nothing_of_the_mapping_is_read():
    """Settings that were not there have their defaults, under which nothing has changed."""
    model = noisy_network(learn_out_scaling=True)
    config = model.config()
    for layer in (config["layers"][0], config["layers"][2]):
        for field in set(DEFAULTS) - {"learn_out_scaling", "weight_scaling_omega"}:
            del layer[field]
    assert repr(Sequential.from_config(config)) == repr(model)


def test_the_state_of_a_grid_that_does_not_fit_changes_nothing(task):
    layer = noisy_network(**ALL)[0]
    state, model = layer.state_dict(), noisy_network(**ALL)
    model.train_step(task.x, task.y, CrossEntropy(), 0.1)
    before, last = bits(model[0].state_dict()), [key for key in state if key.startswith("tile.2-2.")][-1]
    for change, message in (
        ({last: None}, last.removeprefix("tile.2-2.")),
        ({"tile.3-0.fast.values": state["tile.0-0.fast.values"]}, r"'tile\.3-0\..* no tile of this grid; .*0-0, 0-1"),
        ({"tile.fast.values": state["tile.0-0.fast.values"]}, "no tile of this grid"),
        ({"out_scaling": np.ones(1, np.float32)}, r"out_scaling: shape \(5,\)"),
        ({"weight_scaling": np.zeros(5, np.float32)}, r"weight_scaling must be > 0"),
        ({"bias": np.zeros(5, np.float32)}, "bias"),
    ):
        given = {key: value for key, value in (state | change).items() if value is not None}
        with pytest.raises(ValueError, match=message):
            model[0].load_state_dict(given)
        assert bits(model[0].state_dict()) == before, message


def test_tiles_that_make_no_grid_are_refused():
    config = noisy_network(**ALL)[0].config()
    config["tiles"][1][2]["d_in"] = 4
    with pytest.raises(ValueError, match=r"tiles: the shapes .*\(2, 4\)\] do not fit"):
        Linear.from_config(config)


@pytest.mark.parametrize(
    "settings", [{"max_output_size": 2}, {"max_input_size": 3}, {"digital_bias": False}, ALL], ids=repr
)
def test_what_one_tile_refuses_leaves_all_as_they_were(settings):
    layer = layer_with(**NOISY, **settings)
    x, d = batch(BATCH, D_IN), batch(BATCH, D_OUT, seed=1)
    layer.forward(x)
    layer.backward(d)
    before = bits(layer.state_dict())
    bad_x, bad_d = x.copy(), d.copy()
    bad_x[-1, -1] = bad_d[-1, -1] = np.nan
    for call, message in (
        (lambda: layer.forward(bad_x), "x holds NaN"),
        (lambda: layer.forward(x[:, :-1]), rf"x has shape \({BATCH}, {D_IN - 1}\), allowed: \(1 or more, {D_IN}\)"),
        (lambda: layer.forward(x[:0]), rf"x has shape \(0, {D_IN}\)"),
        (lambda: layer.forward(x + 0j), "x is of dtype complex64"),
        (lambda: layer.backward(bad_d), "d holds NaN"),
        (lambda: (layer.receive(bad_d), layer.update(0.1)), "d holds NaN"),
        (lambda: (layer.receive(d), layer.update(1e39)), "lr must be"),
        (lambda: (layer.receive(d), layer.update(-0.1)), "lr must be"),
        (lambda: layer.set_weight(np.full((D_OUT, D_IN), np.nan)), "weight: all values"),
        (lambda: layer.set_weight(np.zeros((D_IN, D_OUT))), "weight: shape"),
        (lambda: layer.set_bias(np.full(D_OUT, np.inf)), "bias: all values"),
        (lambda: layer.set_bias(np.zeros(D_IN)), "bias: shape"),
    ):
        with pytest.raises((ValueError, TypeError), match=message):
            call()
        assert bits(layer.state_dict()) == before, message


@dataclass(frozen=True, kw_only=True)
class FasterInSmallTiles:
    """Its rate depends on the shape of the tile: one tile may refuse what the others take."""

    def plan(self, tile: TileFacts) -> Plan:
        rate = Rate(1.0 if tile.d_in == 4 else 1e30, scaled=True)
        return Plan(digital=("w",), weight=(Term("w"),), gradient=Gradient(target="w", rate=rate))


def test_no_tile_is_updated_before_all_can_be():
    layer = layer_with(algorithm=FasterInSmallTiles(), max_input_size=4)
    layer.forward(batch(BATCH, D_IN))
    layer.backward(batch(BATCH, D_OUT))
    before = bits(layer.state_dict())
    with pytest.raises(ValueError, match="rate"):
        layer.update(1e10)
    assert bits(layer.state_dict()) == before
    layer.update(1e-10)
    assert bits(layer.state_dict()) != before


def test_a_rate_that_compensation_makes_too_large_is_refused():
    tiny = {"weight_scaling_omega": 1e6, "weight_scaling_lr_compensation": True, "max_input_size": 3}
    layer = layer_with(device=og.devices.ConstantStep(w_max=2e6, w_min=-2e6), **tiny)
    layer.forward(batch(BATCH, D_IN))
    layer.backward(batch(BATCH, D_OUT))
    before = bits(layer.state_dict())
    with pytest.raises(ValueError, match="lr"):
        layer.update(3e38)
    assert bits(layer.state_dict()) == before


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"max_input_size": -1}, ValueError, r"max_input_size must be an integer from 0 .* got -1"),
        ({"max_output_size": 2**31}, ValueError, r"max_output_size must be .* 2\*\*31 - 1, got 2147483648"),
        ({"max_input_size": 2.0}, TypeError, "max_input_size must be an integer, got 2.0"),
        ({"digital_bias": 1}, TypeError, "digital_bias must be True or False, got 1"),
        ({"out_scaling_columnwise": "yes"}, TypeError, "out_scaling_columnwise must be True or False, got 'yes'"),
        ({"weight_scaling_columnwise": 0}, TypeError, "weight_scaling_columnwise must be True or False, got 0"),
        ({"weight_scaling_lr_compensation": 0.5}, TypeError, "weight_scaling_lr_compensation must be True or False"),
        ({"weight_scaling_omega": np.nan}, ValueError, "weight_scaling_omega must be finite and >= 0, got nan"),
    ],
)
def test_settings_out_of_range_are_named(settings, error, message):
    with pytest.raises(error, match=message):
        Linear(4, 3, **settings)
    with pytest.raises(error, match=message):
        Sequential(Linear(4, 3)).on(**settings)


@pytest.mark.parametrize("field", ALL)
def test_a_digital_layer_has_no_mapping(field):
    with pytest.raises(ValueError, match=f"{field}: a digital layer has no {field}"):
        Linear(4, 3, digital=True, **{field: ALL[field]})


def test_weights_behind_a_factor_of_zero_cannot_be_set():
    for settings in ({}, {"out_scaling_columnwise": True}):
        layer = layer_with(**EXACT, learn_out_scaling=True, digital_bias=False, **settings)
        state = layer.state_dict()
        factors = state["out_scaling"]
        factors[-1] = 0.0
        layer.load_state_dict(state)
        for act in (lambda one=layer: one.set_weight(one.weight), lambda one=layer: one.set_bias(one.bias)):
            with pytest.raises(ValueError, match=f"cannot be set: out_scaling is 0 for output {factors.size - 1}"):
                act()
        np.testing.assert_array_equal(layer.weight[-1], np.zeros(D_IN))


def test_a_copy_of_the_factors_is_given():
    layer = layer_with(**EXACT, **ALL)
    layer.weight_scaling[:] = 9.0
    layer.out_scaling[:] = 9.0
    assert (layer.weight_scaling < 9.0).all()
    assert (layer.out_scaling == 1.0).all()


@pytest.mark.parametrize(
    "settings", [{}, {"digital_bias": False}, {"max_output_size": 7, "max_input_size": 1}], ids=repr
)
def test_a_warning_counts_the_initial_weights_that_their_cells_cannot_hold(settings):
    device = og.devices.SoftBounds(w_max=0.4, w_min=-0.5, w_max_dtod=0.3, w_min_dtod=0.3, dw_min=0.01)
    wanted = Sequential(Linear(2, 20, **settings)).on(**EXACT, seed=1)[0]
    with pytest.warns(UserWarning, match="layer 0: ") as said:
        layer = Sequential(Linear(2, 20, **settings), Linear(20, 2, digital=True)).on(device, seed=1)[0]
    low, high = (
        whole(layer, lambda tile, name=name: tile.arrays["weight"].parameters[name]) for name in ("w_min", "w_max")
    )
    initial = whole(wanted)
    lost = int(((initial < low) | (initial > high)).sum())
    assert 0 < lost < initial.size
    message = f"layer 0: {lost} of {initial.size} initial weights are beyond the bounds of their cells and were clipped"
    assert [(str(warning.message), Path(warning.filename)) for warning in said] == [(message, Path(__file__))]
    np.testing.assert_array_equal(whole(layer), np.clip(initial, low, high))


def test_stuck_cells_are_counted_and_write_noise_is_not():
    noisy = og.devices.SoftBounds(write_noise_std=50.0)
    layer_with(device=noisy, max_input_size=3)
    with pytest.warns(UserWarning, match=rf"layer 0: {D_IN * D_OUT} of {D_IN * D_OUT} initial weights"):
        layer_with(device=og.devices.SoftBounds(corrupt_devices_prob=1.0, corrupt_devices_range=1e-3), max_input_size=3)


@pytest.mark.parametrize("cell", [og.devices.Vector, og.devices.ReferenceCell, og.devices.OneSided])
def test_a_cell_of_several_devices_holds_initial_weights(cell):
    layer = layer_with(device=cell((og.devices.SoftBounds(),) * 2), **GRIDS["both"])
    np.testing.assert_allclose(layer.weight, layer_with(**EXACT).weight, atol=2.0**-23)


@pytest.mark.parametrize("algorithm", [og.AnalogSGD(), og.TikiTaka(gamma=0.3), og.DigitalSGD()], ids=repr)
def test_rounding_alone_gives_no_warning(algorithm):
    """References and factors round, up to the bound itself; warnings are errors here."""
    device = og.devices.SoftBoundsReference(w_max=2.0, w_min=-2.0, reference_mean=0.3, reference_std=0.1)
    Sequential(Linear(1, 300)).on(device, algorithm=algorithm, seed=1)
    edge = og.devices.SoftBounds(w_max=0.3, w_min=-0.3)
    Sequential(Linear(30, 30)).on(edge, algorithm=algorithm, weight_scaling_omega=0.3, weight_scaling_columnwise=True)
