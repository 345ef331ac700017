"""The contract of a tile: what it takes, what it refuses and that it is then unchanged, what it gives."""

from __future__ import annotations

import contextlib
import copy
import re
import signal
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from tables import ALGORITHMS, ROWS, Row, named

import ohmgrad as og

Floats = NDArray[Any]

NOISY = ROWS[1].noisy


def state_of(tile: og.Tile) -> dict[str, bytes]:
    return {name: value.tobytes() for name, value in tile.state_dict().items()}


def two_arrays(seed: int = 2) -> og.Tile:
    tile = og.Tile(
        3, 4, device=NOISY, algorithm=og.TikiTaka(gamma=0.5, transfer_every=1.5), io=og.IO.kit(), seed=seed, name="t"
    )
    tile.set_weights(0.25 * np.ones((3, 4)))
    tile.update(np.ones((2, 4)), np.ones((2, 3)), 0.1)
    return tile


# ---- what it takes


def forms(v: Floats) -> dict[str, Any]:
    """One array in many shapes of memory."""
    v = np.ascontiguousarray(v, np.float32)
    wide = np.full((2 * v.shape[0], 3 * v.shape[1] + 1), np.nan, np.float32)
    wide[::2, 1::3] = v
    locked = v.copy()
    locked.flags.writeable = False
    # one byte off any alignment
    shifted = np.frombuffer(b"\0" + v.tobytes(), np.uint8)[1:].view(np.float32).reshape(v.shape)
    return {
        "float64": v.astype(np.float64),
        "float16": v.astype(np.float16),
        "big endian": v.astype(">f4"),
        "fortran": np.asfortranarray(v),
        "strided": wide[::2, 1::3],
        "reversed": np.ascontiguousarray(v[::-1, ::-1])[::-1, ::-1],
        "transposed": np.ascontiguousarray(v.T).T,
        "read-only": locked,
        "unaligned": shifted,
        "list": v.tolist(),
        "tuple of arrays": tuple(v),
    }


# Multiples of 1/8, which float16 holds.
X = ((np.arange(24) * 5) % 17 - 8).reshape(6, 4).astype(np.float32) / 8
D = ((np.arange(18) * 7) % 13 - 6).reshape(6, 3).astype(np.float32) / 8


@pytest.mark.parametrize("form", forms(X))
def test_any_memory_layout_and_real_dtype_is_the_same_input(form: str) -> None:
    tile, twin = two_arrays(), two_arrays()
    x, d = forms(X)[form], forms(D)[form]
    for _ in range(2):
        for product, given_, plain in (("forward", x, X), ("backward", d, D)):
            y = getattr(tile, product)(given_)
            np.testing.assert_array_equal(y, getattr(twin, product)(plain))
            assert (y.dtype, y.flags.c_contiguous, y.flags.writeable) == (np.float32, True, True)
        tile.update(x, d, 0.1)
        twin.update(X, D, 0.1)
    w = forms(np.float32(0.1) * X[:3])[form]
    tile.set_weights(w)
    twin.set_weights(np.asarray(w, np.float32))
    assert state_of(tile) == state_of(twin)


@pytest.mark.parametrize("dtype", [np.int8, np.uint16, np.int64, np.bool_], ids=lambda t: t.__name__)
def test_integers_and_switches_are_numbers(dtype: Any) -> None:
    tile, twin = two_arrays(), two_arrays()
    x = np.array([[0, 1, 1, 0], [1, 1, 0, 0]], dtype)
    np.testing.assert_array_equal(tile.forward(x), twin.forward(x.astype(np.float32)))


def test_inputs_are_left_alone_and_outputs_are_new() -> None:
    tile = two_arrays()
    x, d = X.copy(), D.copy()
    y = tile.forward(x)
    tile.backward(d)
    tile.update(x, d, 0.1)
    np.testing.assert_array_equal(x, X)
    np.testing.assert_array_equal(d, D)
    kept = y.copy()
    tile.forward(2 * x)
    np.testing.assert_array_equal(y, kept)


@settings(deadline=None, max_examples=40)
@given(
    d_out=st.integers(1, 40),
    d_in=st.integers(1, 40),
    batch=st.integers(1, 40),
    row=st.sampled_from(ROWS),
    lr=st.floats(-1, 1),
)
def test_any_shape_goes_through(d_out: int, d_in: int, batch: int, row: Row, lr: float) -> None:
    tile = og.Tile(d_out, d_in, device=row.noisy, algorithm=og.ResidualLearning(), io=og.IO.kit())
    x, d = np.full((batch, d_in), 0.5), np.full((batch, d_out), -0.25)
    assert tile.forward(x).shape == (batch, d_out)
    assert tile.backward(d).shape == (batch, d_in)
    tile.update(x, d, lr)
    assert tile.weights.shape == (d_out, d_in)
    assert np.isfinite(tile.weights).all()
    assert tile.forward(x[0]).shape == (d_out,)
    assert tile.backward(d[0]).shape == (d_in,)


# ---- what it refuses

GOOD_X, GOOD_D = np.ones((2, 4)), np.ones((2, 3))
NAN_X, INF_D = np.array([[0, 1, np.nan, 0]]), np.array([[0, -np.inf, 0]])

# What is done, the kind of error, and what its message must name.
WRONG: list[tuple[Callable[[og.Tile], object], type[Exception], str]] = [
    (lambda t: t.forward(np.ones((2, 3))), ValueError, r"x has shape \(2, 3\), allowed: \(1 or more, 4\)"),
    (lambda t: t.forward(np.ones(3)), ValueError, r"x has shape"),
    (lambda t: t.forward(np.ones((0, 4))), ValueError, r"x has shape \(0, 4\)"),
    (lambda t: t.forward([]), ValueError, r"x has shape"),
    (lambda t: t.forward(np.ones((2, 2, 4))), ValueError, r"x has shape \(2, 2, 4\), allowed: two dimensions"),
    (lambda t: t.forward(1.0), ValueError, r"x is a single number"),  # type: ignore[arg-type]
    (lambda t: t.forward(NAN_X), ValueError, r"x holds NaN at flat index 2, allowed: finite"),
    (lambda t: t.forward(np.full((1, 4), 1e39)), ValueError, r"x holds inf at flat index 0"),
    (lambda t: t.forward(np.ones((1, 4), complex)), TypeError, r"x is of dtype complex128"),
    (lambda t: t.forward("abcd"), TypeError, r"x is of dtype"),
    (lambda t: t.forward(None), TypeError, r"x is of dtype object"),  # type: ignore[arg-type]
    (lambda t: t.backward(GOOD_X), ValueError, r"d has shape \(2, 4\), allowed: \(1 or more, 3\)"),
    (lambda t: t.backward(INF_D), ValueError, r"d holds -inf at flat index 1"),
    (lambda t: t.update(GOOD_X, np.ones((3, 3)), 0.1), ValueError, r"\bd\b.* 3 vectors.* 2"),
    (lambda t: t.update(GOOD_D, GOOD_D, 0.1), ValueError, r"x has shape"),
    (lambda t: t.update(GOOD_X, GOOD_X, 0.1), ValueError, r"d has shape"),
    (lambda t: t.update(NAN_X, INF_D, 0.1), ValueError, r"x holds NaN"),
    (lambda t: t.update(GOOD_X[:1], INF_D, 0.1), ValueError, r"d holds -inf"),
    (lambda t: t.update(GOOD_X, GOOD_D, np.nan), ValueError, r"lr is NaN"),
    (lambda t: t.update(GOOD_X, GOOD_D, np.inf), ValueError, r"lr is inf"),
    (lambda t: t.update(GOOD_X, GOOD_D, "0.1"), TypeError, r"lr"),  # type: ignore[arg-type]
    (lambda t: t.update(GOOD_X, GOOD_D, None), TypeError, r"lr"),  # type: ignore[arg-type]
    (lambda t: t.set_weights(np.ones((4, 3))), ValueError, r"weights has shape \(4, 3\), allowed: \(3, 4\)"),
    (lambda t: t.set_weights(np.full((3, 4), np.nan)), ValueError, r"weights holds NaN"),
    (lambda t: setattr(t.arrays["fast"], "weights", np.ones(12)), ValueError, r"fast has shape"),
    (lambda t: setattr(t.arrays["slow"], "weights", np.full((3, 4), np.inf)), ValueError, r"\w+ holds inf"),
    (lambda t: t.arrays["middle"], KeyError, r"no array 'middle'; known: fast, slow"),
    (lambda t: t.arrays["fast"].parameters["tau"], KeyError, r"no parameter 'tau'; known: w_max"),
    (lambda t: t.arrays["fast"].parameters.__setitem__("tau", np.ones((3, 4))), KeyError, r"no parameter 'tau'"),
    (lambda t: t.arrays["fast"].parameters.__setitem__("w_max", np.ones((4, 3))), ValueError, r"w_max has shape"),
    (
        lambda t: t.arrays["fast"].parameters.__setitem__("dw_up", np.full((3, 4), np.nan)),
        ValueError,
        r"dw_up holds NaN",
    ),
    (
        lambda t: t.arrays["fast"].parameters.__setitem__("w_max", np.full((3, 4), -9.0)),
        ValueError,
        r"w_min of .* and a w_max of -9 .*w_min <= w_max",
    ),
    (
        lambda t: t.arrays["fast"].parameters.__setitem__("w_min", np.full((3, 4), 9.0)),
        ValueError,
        r"w_min of 9 .*w_min <= w_max",
    ),
    (lambda t: t.granularity("middle"), ValueError, r"array is \"middle\", allowed: fast, slow"),
    (lambda t: t.n_states("middle"), ValueError, r"middle"),
    (lambda t: t.load_state_dict({}), ValueError, r"state\.fast\.values is missing"),
    (
        lambda t: t.load_state_dict(t.state_dict() | {"glow.values": np.ones(3)}),
        ValueError,
        r"state\.glow\.values is unk",
    ),
    (lambda t: t.load_state_dict(t.state_dict() | {"slow.values": np.ones((3, 5))}), ValueError, r"slow"),
    (lambda t: t.load_state_dict(t.state_dict() | {"slow.values": np.ones((4, 3))}), ValueError, r"slow"),
    (lambda t: t.load_state_dict(t.state_dict() | {"slow.values": np.full((3, 4), np.nan)}), ValueError, r"slow"),
    (lambda t: t.load_state_dict(t.state_dict() | {"counters": np.zeros(3, np.uint64)}), ValueError, r"counters"),
    (lambda t: t.load_state_dict(og.Tile(3, 4).state_dict()), ValueError, r"fast\.values is missing"),
]


@pytest.mark.parametrize(("wrong", "kind", "message"), WRONG, ids=[message for _, _, message in WRONG])
def test_errors_name_the_field_and_leave_the_tile_as_it_was(
    wrong: Callable[[og.Tile], object], kind: type[Exception], message: str
) -> None:
    tile, twin = two_arrays(), two_arrays()
    before = state_of(tile)
    with pytest.raises(kind) as caught:
        wrong(tile)
    assert re.search(message, str(caught.value)), str(caught.value)
    assert state_of(tile) == before
    # and nothing behind the state either: it goes on like a tile that saw no error
    np.testing.assert_array_equal(tile.forward(X), twin.forward(X))
    tile.update(X, D, 0.1)
    twin.update(X, D, 0.1)
    assert state_of(tile) == state_of(twin)


def test_an_error_in_a_later_part_of_a_long_update_changes_nothing() -> None:
    tile = two_arrays()
    before = state_of(tile)
    x, d = np.ones((5000, 4), np.float32), np.ones((5000, 3), np.float32)
    x[4999, 3] = np.nan
    with pytest.raises(ValueError, match="x holds NaN at flat index 19999"):
        tile.update(x, d, 0.1)
    assert state_of(tile) == before


# x, d and lr whose products are beyond float32, with zeros among them; a rate beyond float32; next to nothing.
ABSURD: list[tuple[list[float], list[float], float]] = [
    ([1e30, 0, 1, -1e30], [1e30, 0, -1], 1e10),
    ([1, 0, 1, 0], [0, 1, 0], 1e39),
    ([1e-40, 0, 1, 0], [1e-40, 1, 0], 1e-30),
]


@pytest.mark.parametrize("pulse_type", ["stochastic_compressed", "none_with_device", "analog_update"])
@pytest.mark.parametrize(("x", "d", "lr"), ABSURD, ids=["large", "rate", "small"])
def test_absurd_updates_leave_weights_within_bounds(x: list[float], d: list[float], lr: float, pulse_type: Any) -> None:
    tile = og.Tile(3, 4, device=NOISY, pulses=og.PulseTrain(pulse_type=pulse_type))
    # to refuse is as good
    with contextlib.suppress(ValueError):
        tile.update(x, d, lr)
    p = tile.arrays["weight"].parameters
    stored = tile.state_dict()["weight.values"]
    assert (stored <= p["w_max"]).all()
    assert (stored >= p["w_min"]).all()
    assert np.isfinite(tile.weights).all()


# ---- what it gives


@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=named)
def test_more_than_4096_vectors_are_several_calls(algorithm: og.algorithms.Algorithm) -> None:
    tile, twin = (og.Tile(3, 4, device=NOISY, algorithm=algorithm, seed=3) for _ in range(2))
    rng = np.random.default_rng(0)
    x, d = rng.normal(size=(10_000, 4)), rng.normal(size=(10_000, 3))
    tile.update(x, d, 1e-3)
    for first in range(0, 10_000, 4096):
        twin.update(x[first : first + 4096], d[first : first + 4096], 1e-3)
    assert state_of(tile) == state_of(twin)


@pytest.mark.parametrize("row", ROWS, ids=named)
def test_weights_that_are_set_are_clipped_to_the_bounds_of_each_cell(row: Row) -> None:
    tile = og.Tile(20, 30, device=row.spread, seed=4)
    p = tile.arrays["weight"].parameters
    # what is stored is weight plus reference; float32 sums and differences of numbers below 2 round by 2^-24
    for w in (5.0, -5.0, 0.1):
        tile.set_weights(np.full((20, 30), w))
        expected = np.clip(np.float64(w) + p["reference"], p["w_min"], p["w_max"]) - p["reference"]
        np.testing.assert_allclose(tile.weights, expected, rtol=0, atol=2**-22)
        np.testing.assert_array_equal(tile.weights, tile.arrays["weight"].weights)
    assert np.unique(p["w_max"]).size > 500


def test_composite_weights_are_the_sum_of_their_terms() -> None:
    tile = two_arrays()
    fast, slow = tile.arrays["fast"].weights, tile.arrays["slow"].weights
    assert fast.any()
    np.testing.assert_array_equal(tile.weights, np.float32(0.5) * fast + slow)
    w = tile.weights
    w[...] = 9
    assert not (tile.weights == 9).any()


@pytest.mark.parametrize("row", ROWS, ids=named)
def test_every_parameter_can_be_read_and_set(row: Row) -> None:
    drift = og.devices.Drift(nu=0.05, nu_dtod=0.2)
    tile = og.Tile(3, 4, device=replace(row.spread, reset=0.1, reset_dtod=0.02, drift=drift), seed=5)
    parameters = tile.arrays["weight"].parameters
    own = ["gamma_up", "gamma_down"] if row.name in ("PowStep", "PowStepReference", "LinearStep") else []
    common = ["w_max", "w_min", "dw_up", "dw_down", "reference", "decay", "diffusion", "reset", "nu"]
    assert list(parameters) == [*common, *own]
    assert len(parameters) == 9 + len(own)
    for name in parameters:
        value = parameters[name]
        assert (value.shape, value.dtype) == ((3, 4), np.float32)
        assert np.unique(value).size == 12
        value[...] = 77
        assert not (parameters[name] == 77).any()
        new = (0.75 * parameters[name]).astype(np.float64)
        parameters[name] = new
        np.testing.assert_array_equal(parameters[name], new.astype(np.float32))
        # uniform ones too
        parameters[name] = np.full((3, 4), np.float32(new[0, 0]))
        np.testing.assert_array_equal(parameters[name], np.full((3, 4), np.float32(new[0, 0])))


def test_parameters_that_are_set_rule_the_cells() -> None:
    tile = og.Tile(2, 3, device=og.devices.ConstantStep(dw_min=0.01), pulses=og.PulseTrain(desired_bl=1), seed=1)
    array = tile.arrays["weight"]
    steps = np.arange(1, 7).reshape(2, 3) / 128
    array.parameters["dw_down"] = steps
    # far more than one slot can do: one pulse everywhere
    tile.update(np.ones(3), np.ones(2), 1.0)
    np.testing.assert_array_equal(tile.weights, -steps)
    # bounds that move take the weights with them
    array.parameters["w_min"] = np.full((2, 3), -2 / 128)
    np.testing.assert_array_equal(tile.weights, np.maximum(-steps, -2 / 128))
    # a reference changes what is seen, not what is stored
    array.parameters["reference"] = np.full((2, 3), 0.5)
    np.testing.assert_array_equal(tile.weights, np.maximum(-steps, -2 / 128) - 0.5)
    np.testing.assert_array_equal(tile.forward(np.eye(3)), tile.weights.T)
    tile.set_weights(np.full((2, 3), 0.25))
    np.testing.assert_array_equal(tile.weights, np.full((2, 3), 0.25))
    np.testing.assert_array_equal(tile.state_dict()["weight.values"], np.full((2, 3), 0.75))


@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=named)
def test_state_is_plain_arrays_and_comes_back(algorithm: og.algorithms.Algorithm) -> None:
    tile = og.Tile(3, 4, device=NOISY, algorithm=algorithm, seed=3)
    tile.update(X, D, 0.1)
    state = tile.state_dict()
    assert all(type(v) is np.ndarray and v.dtype in (np.float32, np.uint64) for v in state.values())
    plan = algorithm.plan(og.algorithms.TileFacts(d_out=3, d_in=4, device=NOISY))
    more = {"chopper"} if any(transfer.chopper for transfer in plan.transfers) else set()
    more |= {"gradient"} if plan.gradient.auto_scale else set()
    more |= {"stage"} if hasattr(algorithm, "end_of_epoch") else set()
    assert {name.split(".")[0] for name in state} == {*tile.arrays, "counters"} | more
    other = og.Tile(3, 4, device=NOISY, algorithm=algorithm, seed=3)
    assert state_of(other) != state_of(tile)
    # as it comes from a file: read-only, in another order
    for value in state.values():
        value.flags.writeable = False
    other.load_state_dict({name: state[name] for name in reversed(state)})
    assert state_of(other) == state_of(tile)


@pytest.mark.parametrize(
    "settings",
    [
        dict(pulses=og.PulseTrain(pulse_type="none")),
        dict(algorithm=og.TikiTaka(transfer_lr=50.0, transfer_pulses=og.PulseTrain(pulse_type="none"))),
    ],
)
def test_what_an_update_without_bounds_left_comes_back(settings: dict[str, Any]) -> None:
    device = og.devices.ConstantStep(dw_min=0.01, w_max=0.1)
    tile, other = (og.Tile(2, 3, device=device, seed=seed, **settings) for seed in (0, 0))
    for _ in range(9):
        tile.update(np.full(3, 1.0), np.full(2, -2.0), lr=0.5)
    assert tile.weights.max() > 0.1
    other.load_state_dict(tile.state_dict())
    np.testing.assert_array_equal(other.weights, tile.weights)


def test_programming_takes_any_step() -> None:
    tile = og.Tile(2, 2, device=og.devices.ConstantStep(dw_min=1e-30), algorithm=og.TikiTaka(gamma_vec=(1.0, 1e-20)))
    assert tile.program([[0.5, 0.0], [1.0, -0.5]], max_rounds=2).rounds == 2


def test_a_state_may_lie_anywhere_in_memory() -> None:
    tile, other = two_arrays(), two_arrays(seed=3)
    state = tile.state_dict()
    shifted = {name: np.frombuffer(b"\0" + v.tobytes(), np.uint8)[1:].view(v.dtype) for name, v in state.items()}
    other.load_state_dict({name: shifted[name].reshape(state[name].shape) for name in state})
    assert state_of(other) == state_of(tile)


def test_a_deep_copy_is_a_tile_of_its_own() -> None:
    tile = two_arrays()
    tile.forward(X)
    twin = copy.deepcopy(tile)
    assert twin.config() == tile.config()
    assert state_of(twin) == state_of(tile)
    before = state_of(tile)
    y = twin.forward(X)
    twin.update(X, D, 0.1)
    assert state_of(tile) == before
    np.testing.assert_array_equal(tile.forward(X), y)
    tile.update(X, D, 0.1)
    assert state_of(twin) == state_of(tile)


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this system has no interval timers: not tested")
@pytest.mark.parametrize(
    "algorithm", [og.AnalogSGD(), og.TikiTaka(transfer_every=1000, units_in_mbatch=False)], ids=named
)
def test_an_interrupt_is_seen_between_the_parts_of_a_long_update(algorithm: og.algorithms.Algorithm) -> None:
    class Interrupted(Exception):  # noqa: N818
        pass

    def interrupt(number: int, frame: object) -> None:
        raise Interrupted

    tile, twin = (og.Tile(40, 60, device=NOISY, algorithm=algorithm, seed=6) for _ in range(2))
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60 * 4096, 60)).astype(np.float32)
    d = rng.normal(size=(60 * 4096, 40)).astype(np.float32)
    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.02)
        with pytest.raises(Interrupted):
            tile.update(x, d, 1e-3)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    # the tile is as after as many whole parts, and goes on
    done = int(tile.state_dict()["counters"][0])
    assert done % 4096 == 0
    assert 0 < done < len(x)
    twin.update(x[:done], d[:done], 1e-3)
    assert state_of(tile) == state_of(twin)
    tile.update(x[:3], d[:3], 1e-3)
    twin.update(x[:3], d[:3], 1e-3)
    assert state_of(tile) == state_of(twin)
