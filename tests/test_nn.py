"""Layers, losses, the mapping around a tile, and networks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import ohmgrad as og
from ohmgrad.nn import MSE, NLL, CrossEntropy, Linear, LogSoftmax, ReLU, Sequential, Sigmoid, Tanh

ACTIVATIONS = {
    Sigmoid: (lambda x: 1 / (1 + np.exp(-x)), lambda x: np.exp(-x) / (1 + np.exp(-x)) ** 2),
    Tanh: (np.tanh, lambda x: 1 - np.tanh(x) ** 2),
    ReLU: (lambda x: np.maximum(x, 0), lambda x: np.where(x > 0, 1.0, 0.0)),
}


def same(a: dict, b: dict) -> bool:
    """Whether two states are the same bits."""
    return a.keys() == b.keys() and all(a[key].tobytes() == b[key].tobytes() for key in a)


def batch(rows: int, columns: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((rows, columns)).astype(np.float32)


@pytest.mark.parametrize("layer", ACTIVATIONS)
def test_an_activation_is_its_formula_and_slope(layer):
    function, slope = ACTIVATIONS[layer]
    x, d = 3 * batch(7, 5), batch(7, 5, seed=1)
    made = layer()
    # A few units in the last place of float32 (6e-8) of values around one.
    np.testing.assert_allclose(made.forward(x), function(x.astype(float)), atol=5e-7)
    np.testing.assert_allclose(made.backward(d), d * slope(x.astype(float)), atol=2e-6)


def test_log_softmax_is_its_formula_and_slope():
    x, d = 3 * batch(7, 5), batch(7, 5, seed=1)
    layer, p = LogSoftmax(), np.exp(x.astype(float)) / np.exp(x.astype(float)).sum(1, keepdims=True)
    np.testing.assert_allclose(layer.forward(x), np.log(p), atol=3e-6)
    np.testing.assert_allclose(layer.backward(d), d - p * d.sum(1, keepdims=True), atol=3e-6)


def test_log_softmax_survives_large_logits():
    y = LogSoftmax().forward(np.array([[1000.0, 0.0, -1000.0]], np.float32))
    np.testing.assert_array_equal(y, [[0.0, -1000.0, -2000.0]])


def test_cross_entropy_is_nll_of_log_softmax():
    x, target, layer = batch(6, 4), np.array([0, 1, 2, 3, 3, 0]), LogSoftmax()
    value, d = CrossEntropy()(x, target)
    expected, from_log = NLL()(layer.forward(x), target)
    assert value == pytest.approx(expected, abs=1e-6)
    np.testing.assert_allclose(d, layer.backward(from_log), atol=1e-6)
    assert value == pytest.approx(-np.mean(np.log(np.exp(x) / np.exp(x).sum(1, keepdims=True))[range(6), target]), 1e-5)


@given(arrays(np.float32, (3, 4), elements=st.floats(-10, 10, width=32)), st.integers(0, 2**32 - 1))
def test_mse_is_the_mean_square_and_its_gradient(y, seed):
    target = batch(3, 4, seed=seed)
    value, d = MSE()(y, target)
    error = y.astype(float) - target
    assert value == pytest.approx(np.mean(error**2), rel=1e-5, abs=1e-9)
    np.testing.assert_allclose(d, 2 * error / error.size, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("target", [[0, 4], [-1, 0], [0], [0, 1, 2]])
@pytest.mark.parametrize("loss", [NLL(), CrossEntropy()])
def test_targets_that_do_not_fit_are_refused(loss, target):
    with pytest.raises(ValueError, match="target"):
        loss(batch(2, 4), np.array(target))


def reference_step(weights, biases, x, target, lr):
    """One step of plain SGD on a tanh network with mean squared error, in float64."""
    hidden = np.tanh(x @ weights[0].T + biases[0])
    y = hidden @ weights[1].T + biases[1]
    d1 = 2 * (y - target) / y.size
    d0 = (d1 @ weights[1]) * (1 - hidden**2)
    return (
        np.mean((y - target) ** 2),
        [weights[0] - lr * d0.T @ x, weights[1] - lr * d1.T @ hidden],
        [biases[0] - lr * d0.sum(0), biases[1] - lr * d1.sum(0)],
        d0 @ weights[0],
    )


def test_a_digital_network_does_plain_sgd():
    model = Sequential(Linear(4, 6, digital=True), Tanh(), Linear(6, 3, digital=True)).on(seed=5)
    x, target = batch(8, 4), batch(8, 3, seed=1)
    weights, biases = ([layer.weight.astype(float) for layer in (model[0], model[2])], [model[0].bias, model[2].bias])
    for _ in range(3):
        loss, weights, biases, _ = reference_step(weights, biases, x.astype(float), target, 0.3)
        assert model.train_step(x, target, MSE(), 0.3)[0] == pytest.approx(loss, rel=1e-5)
    for layer, weight, bias in zip((model[0], model[2]), weights, biases, strict=True):
        np.testing.assert_allclose(layer.weight, weight, atol=1e-6)
        np.testing.assert_allclose(layer.bias, bias, atol=1e-6)


def test_backward_gives_the_gradient_of_the_input_and_update_trains_like_a_train_step():
    network = Sequential(Linear(4, 6, digital=True), Tanh(), Linear(6, 3, digital=True))
    by_hand, at_once = network.on(seed=5), network.on(seed=5)
    x, target = batch(8, 4), batch(8, 3, seed=1)
    weights = [layer.weight.astype(float) for layer in (by_hand[0], by_hand[2])]
    *_, expected = reference_step(weights, [by_hand[0].bias, by_hand[2].bias], x.astype(float), target, 0.3)
    _, d = MSE()(by_hand.forward(x), target)
    np.testing.assert_allclose(by_hand.backward(d), expected, atol=1e-6)
    by_hand.update(0.3)
    at_once.train_step(x, target, MSE(), 0.3)
    for path in (0, 2):
        np.testing.assert_array_equal(by_hand[path].weight, at_once[path].weight)
        np.testing.assert_array_equal(by_hand[path].bias, at_once[path].bias)


class Own(Linear):
    """The core knows nothing of this class, so that a step of its network is one call after the other."""


def half(y, target):
    """A loss that is none of the package's, with a gradient that is not float32, in a list."""
    return [0.5 * float(np.square(y - target).mean()), (y - target).astype(float) / y.size]


def in_one_and_in_parts(layers, **settings):
    """The same network twice: a step of the first is one call of the core."""
    device = og.devices.SoftBounds(dw_min=0.01, dw_min_std=0.3)
    settings = {"device": device, "io": og.IO.kit(), "seed": 3} | settings
    return [Sequential(*layers(kind)).on(**settings) for kind in (Linear, Own)]


MAPPINGS = (
    {},
    {"learn_out_scaling": True},
    {"learn_out_scaling": True, "out_scaling_columnwise": True, "weight_scaling_omega": 0.3},
    {"weight_scaling_omega": 0.3, "weight_scaling_columnwise": True, "weight_scaling_lr_compensation": True},
    {"learn_out_scaling": True, "weight_scaling_omega": 0.3, "weight_scaling_columnwise": True},
)
NETWORKS = {
    "deep": (lambda kind: (kind(6, 5), Tanh(), kind(5, 5), Sigmoid(), kind(5, 4), LogSoftmax()), NLL()),
    "from below": (lambda kind: (ReLU(), kind(6, 5, bias=False), kind(5, 4, digital=True), Sigmoid()), MSE()),
    "a loss of one's own": (lambda kind: (kind(6, 4),), half),
}


@pytest.mark.parametrize("algorithm", [og.AnalogSGD(), og.TikiTaka(), og.AGAD()], ids=lambda a: type(a).__name__)
@pytest.mark.parametrize("mapping", MAPPINGS, ids=lambda m: "-".join(m) or "plain")
@pytest.mark.parametrize("network", NETWORKS)
def test_a_step_in_one_call_has_the_bits_of_its_parts(network, mapping, algorithm):
    layers, loss = NETWORKS[network]
    random, made = np.random.default_rng(0), in_one_and_in_parts(layers, algorithm=algorithm, **mapping)
    for _ in range(3):
        x = random.standard_normal((7, 6)).astype(np.float32)
        target = random.integers(0, 4, 7) if network == "deep" else random.standard_normal((7, 4)).astype(np.float32)
        (value, y), (other, again) = (model.train_step(x, target, loss, 0.1) for model in made)
        assert value == other
        np.testing.assert_array_equal(y, again)
    one, parts = (model.state_dict() for model in made)
    assert same(one, parts)


@pytest.mark.parametrize(
    "change",
    [
        {"x": np.ones((2, 5), np.float32)},
        {"x": np.ones((0, 6), np.float32)},
        {"x": np.full((2, 6), np.nan, np.float32)},
        {"x": np.ones(6, np.float32)},
        {"x": [["a"] * 6] * 2},
        {"target": np.zeros((4, 2), np.float32)},
        {"loss": lambda y, target: (0.0, y[:1])},
        {"loss": lambda y, target: (0.0, y / np.float32(0))},
        {"loss": lambda y, target: 1 / 0},
        {"lr": -0.1},
        {"lr": np.inf},
        {"lr": "1"},
    ],
    ids=lambda change: "-".join(map(repr, change.items()))[:30],
)
def test_a_step_in_one_call_refuses_what_its_parts_refuse(change):
    given = {"x": batch(2, 6), "target": batch(2, 4), "loss": MSE(), "lr": 0.1} | change
    said = []
    with np.errstate(divide="ignore", invalid="ignore"):
        for model in in_one_and_in_parts(lambda kind: (kind(6, 5), Tanh(), kind(5, 4))):
            weights = [model[at].weight for at in (0, 2)]
            with pytest.raises((TypeError, ValueError, ZeroDivisionError)) as refused:
                model.train_step(*given.values())
            said.append((refused.type, str(refused.value)))
            for at, weight in zip((0, 2), weights, strict=True):
                np.testing.assert_array_equal(model[at].weight, weight)
    assert said[0] == said[1]


def test_a_step_in_one_call_leaves_nothing_to_train_on():
    model, _ = in_one_and_in_parts(lambda kind: (kind(6, 4),))
    model.backward(model.forward(batch(2, 6)))
    model.train_step(batch(2, 6), batch(2, 4), MSE(), 0.1)
    for late in (lambda: model.backward(batch(2, 4)), lambda: model.update(0.1)):
        with pytest.raises(RuntimeError, match="needs a forward pass"):
            late()


def test_the_mapping_keeps_the_meaning_of_weights_and_learning_rate():
    """algorithms with exact updates show it without noise: y = a o tile(x) + b, and every gradient as on paper."""
    layer = Linear(4, 3, algorithm=og.DigitalSGD(), weight_scaling_omega=0.25, learn_out_scaling=True)
    model = Sequential(layer).on(seed=2)
    layer = model[0]
    x, d, lr = batch(6, 4), batch(6, 3, seed=1), 0.1
    w, b = layer.weight.astype(float), layer.bias
    assert np.abs(w).max() / 0.25 == pytest.approx(layer.weight_scaling)
    assert np.abs(layer.tile.weights).max() == pytest.approx(0.25)
    for _ in range(2):  # the second time the learned factor is no longer one
        a, o = layer.weight_scaling, layer.out_scaling
        core = layer.tile.weights.astype(float) * a
        np.testing.assert_allclose(model.forward(x), o * x @ core.T + b, atol=1e-6)
        np.testing.assert_allclose(model.backward(d), o * d @ core, atol=1e-6)
        model.update(lr)
        np.testing.assert_allclose(layer.tile.weights * a, core - lr * o * d.T @ x, atol=1e-6)
        np.testing.assert_allclose(layer.bias, b - lr * d.sum(0), atol=1e-6)
        assert layer.out_scaling == pytest.approx(o - lr * np.sum(d * (x @ core.T)), abs=1e-6)
        assert layer.weight_scaling == a
        b = layer.bias
    np.testing.assert_allclose(layer.weight, layer.tile.weights * a * layer.out_scaling, atol=1e-7)


def test_without_scaling_the_factors_stay_one():
    model = Sequential(Linear(4, 3, bias=False)).on(og.devices.ConstantStep(dw_min=0.01), seed=2)
    model.train_step(batch(6, 4), batch(6, 3), MSE(), 0.1)
    assert (model[0].weight_scaling, model[0].out_scaling, model[0].bias) == (1.0, 1.0, None)
    np.testing.assert_array_equal(model[0].weight, model[0].tile.weights)


def test_initial_weights_are_uniform_and_keyed_by_init_seed_and_path():
    network = Sequential(Linear(100, 80, digital=True), Linear(80, 100, digital=True))
    model = network.on(seed=og.Seeds(device=1, noise=2, init=3))
    first, again = model[0].weight, network.on(seed=og.Seeds(device=8, noise=9, init=3))[0].weight
    np.testing.assert_array_equal(first, again)
    assert (network.on(seed=4)[0].weight != first).any()
    assert (model[1].weight.ravel() != first.ravel()).mean() > 0.99
    assert np.abs(first).max() <= 0.1 < 1.002 * np.abs(first).max()
    # The mean of 8000 uniform numbers in +-0.1 has a standard deviation of 6.5e-4, their mean square one of 3.4e-5.
    assert abs(first.mean()) < 5 * 6.5e-4
    assert abs((first.astype(float) ** 2).mean() - 0.01 / 3) < 5 * 3.4e-5
    assert np.abs(model[0].bias).max() <= 0.1
    assert (model[0].bias != first.ravel()[:80]).all(), "the bias has a stream of its own"
    named = Sequential(Linear(100, 80, digital=True, name="first")).on(seed=3)
    assert (named["first"].weight != first).any()


def test_what_a_device_cannot_hold_is_clipped():
    with pytest.warns(UserWarning, match="layer 0: 137 of 200 initial weights are beyond the bounds") as said:
        model = Sequential(Linear(1, 200)).on(og.devices.SoftBounds(w_max=0.5, w_min=-0.25), seed=0)
    assert [Path(warning.filename) for warning in said] == [Path(__file__)], "once, and it points here"
    assert (model[0].weight.min(), model[0].weight.max()) == (-0.25, 0.5)
    model[0].set_weight(np.full((200, 1), 9.0))
    assert (model[0].weight == 0.5).all()


def test_on_fills_what_is_unset_and_leaves_the_network_alone():
    own, common = og.devices.SoftBounds(dw_min=0.02), og.devices.ConstantStep(dw_min=0.01)
    network = Sequential(Linear(4, 4, device=own, learn_out_scaling=False), Linear(4, 4), Linear(4, 2, digital=True))
    model = network.on(common, algorithm=og.TikiTaka(), learn_out_scaling=True, seed=1)
    assert [model[0].tile.device, model[1].tile.device] == [own, common]
    assert model[1].tile.algorithm == og.TikiTaka()
    assert model[2].tile.algorithm == og.DigitalSGD()
    model.train_step(batch(5, 4), batch(5, 2), MSE(), 0.1)
    assert [layer.out_scaling != 1.0 for layer in model] == [False, True, False]
    with pytest.raises(RuntimeError, match="no weights yet"):
        network.forward(batch(1, 4))
    with pytest.raises(ValueError, match="built already"):
        model.on(common)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Linear(0, 3), ValueError, "d_in must be >= 1, got 0"),
        (lambda: Linear(3, 2.0), TypeError, "d_out"),
        (lambda: Linear(3, 2, weight_scaling_omega=-1), ValueError, "weight_scaling_omega must be .*>= 0, got -1"),
        (lambda: Linear(3, 2, digital=True, device=og.devices.SoftBounds()), ValueError, "device: a digital layer"),
        (lambda: Linear(3, 2, weight_scaling_omega="big"), TypeError, "weight_scaling_omega"),
        (lambda: Linear(3, 2, name="a/b"), ValueError, "name must"),
        (lambda: Sequential(), ValueError, "at least one layer"),
        (lambda: Sequential(Linear), TypeError, "is not a layer"),
        (lambda: Sequential(Linear(3, 2, name="1"), Linear(2, 2)), ValueError, "two layers have the path '1'"),
        (lambda: Sequential(Linear(3, 2), Tanh(), Linear(3, 2)).on(), ValueError, "layer 2: d_in = 3, .* gives 2"),
        (lambda: Sequential(Linear(3, 2)).on(seed=-1), ValueError, "seed"),
        (lambda: Sequential(Linear(3, 2))["x"], KeyError, "no layer 'x'"),
        (lambda: Sequential(Linear(3, 2)).on().backward(batch(1, 2)), RuntimeError, "training=True"),
        (lambda: Tanh().backward(batch(1, 2)), RuntimeError, "training=True"),
        (lambda: Sequential(Linear(3, 2)).on().update(0.1), RuntimeError, "update needs"),
        (lambda: Sequential(Linear(3, 2)).on()[0].set_bias([1.0]), ValueError, "bias: shape"),
        (lambda: Sequential(Linear(3, 2)).on()[0].set_weight(np.ones((3, 2))), ValueError, "."),
    ],
)
def test_mistakes_are_named(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_a_repr_evaluates_back(noisy):
    network = Sequential(
        Linear(3, 2, bias=False, name="in", weight_scaling_omega=0.5), Sigmoid(), Linear(2, 2, digital=True)
    )
    names = vars(og.nn) | vars(og.devices) | {"IO": og.IO, "PulseTrain": og.PulseTrain} | vars(og.algorithms)
    for model in (network, noisy):
        assert repr(eval(repr(model), dict(names))) == repr(model)


def test_a_state_goes_on_bit_for_bit(noisy, task):
    noisy.train_step(task.x, task.y, CrossEntropy(), 0.1)
    other = Sequential.from_config(noisy.config())
    other.load_state_dict(noisy.state_dict())
    assert repr(other) == repr(noisy)
    for model in (noisy, other):
        for _ in range(3):
            model.train_step(task.x, task.y, CrossEntropy(), 0.1)
    assert same(noisy.state_dict(), other.state_dict())
    np.testing.assert_array_equal(noisy.predict(task.x), other.predict(task.x))


def test_a_state_is_a_copy(noisy, task):
    state = noisy.state_dict()
    before = {key: value.copy() for key, value in state.items()}
    noisy.train_step(task.x, task.y, CrossEntropy(), 0.1)
    assert same(state, before)
    assert not same(state, noisy.state_dict())


@pytest.mark.parametrize("change", ["lost", "unknown", "shape", "nan", "bias shape"])
def test_a_state_that_does_not_fit_changes_nothing(noisy, task, change):
    state = noisy.state_dict()
    noisy.train_step(task.x, task.y, CrossEntropy(), 0.1)
    before = noisy.state_dict()
    floats = [key for key in state if key.startswith("2.tile.") and state[key].dtype == np.float32 and state[key].size]
    match change:
        case "lost":
            del state["2.out_scaling"]
        case "unknown":
            state["7.bias"] = state["2.bias"]
        case "shape":
            state[floats[0]] = state[floats[0]].ravel()[1:]
        case "nan":
            state[floats[0]] = np.full_like(state[floats[0]], np.nan)
        case "bias shape":
            state["2.bias"] = np.zeros(7, np.float32)
    with pytest.raises(ValueError, match=r"."):
        noisy.load_state_dict(state)
    assert same(noisy.state_dict(), before)


def test_bits_do_not_depend_on_threads(noisy, task):
    threads, twin = og.threads(), Sequential.from_config(noisy.config())
    twin.load_state_dict(noisy.state_dict())
    try:
        for model, n in ((noisy, 1), (twin, 3)):
            og.threads(n)
            for _ in range(3):
                model.train_step(task.x, task.y, CrossEntropy(), 0.1)
    finally:
        og.threads(threads)
    assert same(noisy.state_dict(), twin.state_dict())


def test_an_evaluation_changes_no_training(noisy, task):
    twin = Sequential.from_config(noisy.config())
    twin.load_state_dict(noisy.state_dict())
    for model in (noisy, twin):
        model.train_step(task.x, task.y, CrossEntropy(), 0.1)
        if model is twin:
            assert (model.predict(task.x) != model.predict(task.x)).any(), "the products are noisy"
        model.train_step(task.x, task.y, CrossEntropy(), 0.1)
    for path in (0, 2):
        np.testing.assert_array_equal(noisy[path].weight, twin[path].weight)


def test_layers_give_their_tiles_a_backward_periphery_and_counters() -> None:
    ideal, noisy = og.IO(), og.IO(out_noise=0.5)
    layers = Linear(4, 3), Linear(3, 2, backward_io=ideal, count_pulses=False)
    model = Sequential(*layers).on(io=ideal, backward_io=noisy, count_pulses=True)
    assert [(layer.tile.backward_io, layer.tile.count_pulses) for layer in model] == [(noisy, True), (ideal, False)]
    model.train_step(np.ones((2, 4), np.float32), np.array([0, 1]), og.nn.CrossEntropy(), 0.1)
    assert model[0].tile.arrays["weight"].pulse_counts.up.any()
    again = Sequential.from_config(model.config())
    assert [repr(layer) for layer in again] == [repr(layer) for layer in model]
    assert "backward_io" not in repr(model[1])
