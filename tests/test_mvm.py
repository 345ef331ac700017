"""Products through the periphery: the tests T-MVM-1 to 7 of the specification, and the closed form of every option."""

# Tests bear the names of the specification.
# ruff: noqa: N802

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import ohmgrad as og
from ohmgrad import _core

Floats = NDArray[Any]

ROWS, COLUMNS = 37, 53
MV_TYPES: list[Any] = ["one_pass", "pos_neg_separate", "pos_neg_separate_digital_sum"]
MANAGEMENTS: list[Any] = ["none", "constant", "max", "abs_max", "abs_max_np_sum", "average_abs_max"]


def tile_with(w: Any, io: og.IO, backward_io: og.IO | None = None, seed: Any = 3) -> og.Tile:
    w = np.atleast_2d(np.asarray(w, np.float64))
    device = og.devices.ConstantStep(w_max=1000.0, w_min=-1000.0)
    tile = og.Tile(*w.shape, device=device, io=io, backward_io=backward_io, seed=seed)
    tile.set_weights(w)
    return tile


def weights(seed: int = 0) -> Floats:
    return np.random.default_rng(seed).uniform(-0.5, 0.5, (ROWS, COLUMNS)).astype(np.float32)


def vectors(batch: int, lines: int, seed: int = 1) -> Floats:
    return np.random.default_rng(seed).normal(size=(batch, lines)).astype(np.float32)


def exact(x: Floats, w: Floats) -> Floats:
    return x.astype(np.float64) @ w.astype(np.float64).T


# ---- T-MVM-1


@pytest.mark.parametrize("batch", [1, 2, 15, 16, 17, 100])
@pytest.mark.parametrize(
    ("io", "scale"),
    [
        (og.IO(), 1.0),
        (og.IO(is_perfect=True, out_scale=-0.5, inp_bound=0.1, out_bound=0.1, out_noise=1.0, out_res=0.1), -0.5),
        (og.IO(out_scale=2.0, noise_management="abs_max", bound_management="iterative"), 2.0),
        (og.IO(noise_management="constant", nm_thres=4.0), 1.0),
        *[(og.IO(mv_type=mv_type, noise_management=m), 1.0) for mv_type in MV_TYPES for m in MANAGEMENTS],
    ],
    ids=repr,
)
def test_T_MVM_1_all_off_is_exact(io: og.IO, scale: float, batch: int) -> None:
    w = weights()
    tile = tile_with(w, io)
    x, d = vectors(batch, COLUMNS), vectors(batch, ROWS)
    for y, v, m in ((tile.forward(x), x, w), (tile.backward(d), d, w.T)):
        # n products and sums in float32, and up to 4 roundings of scales and a difference: (n + 5) 2^-24 of the sum of
        # magnitudes
        error = (v.shape[1] + 5) * 2**-24 * abs(scale) * exact(np.abs(v), np.abs(m))
        assert (np.abs(y - scale * exact(v, m)) <= error).all()
        assert np.abs(y).max() > 1


def test_T_MVM_1_sizes_that_fill_no_block() -> None:
    for rows, columns, batch in ((1, 1, 1), (1, 70, 3), (70, 1, 33), (33, 31, 5), (64, 32, 16)):
        w = np.random.default_rng(rows).uniform(-1, 1, (rows, columns)).astype(np.float32)
        tile = tile_with(w, og.IO())
        x, d = vectors(batch, columns), vectors(batch, rows)
        tolerance = 2**-24 * (max(rows, columns) + 1)
        assert (np.abs(tile.forward(x) - exact(x, w)) <= tolerance * exact(np.abs(x), np.abs(w))).all()
        assert (np.abs(tile.backward(d) - exact(d, w.T)) <= tolerance * exact(np.abs(d), np.abs(w.T))).all()


# ---- T-MVM-2


def check_noise(y: Floats, mean: Floats, sigma: Floats) -> None:
    """Mean and deviation of each column within 5 standard errors, columns and rows independent."""
    n = len(y)
    z = (y - mean) / sigma
    assert (np.abs(z.mean(axis=0)) < 5 / np.sqrt(n)).all()
    assert (np.abs(z.std(axis=0) - 1) < 5 / np.sqrt(2 * n)).all()
    assert abs(z.std() - 1) < 5 / np.sqrt(2 * z.size)
    for a, b in ((z[1:], z[:-1]), (z[:, 1:], z[:, :-1])):
        assert abs((a * b).mean()) < 5 / np.sqrt(a.size)


def factor(management: str, x: Floats) -> float:
    """`alpha` for equal vectors, with `nm_thres` 0.7 for "constant" and the rest as it is; an unlimited converter."""
    largest = float(np.abs(x).max())
    sums = [np.where(sign * x > 0, np.abs(x), 0).sum(dtype=np.float64) for sign in (1, -1)]
    return {
        "none": 1.0,
        "constant": 0.7,
        "max": float(x.max()),
        "abs_max": largest,
        "abs_max_np_sum": max(largest, 0.6 * max(sums)),
        "average_abs_max": largest,
    }[management]


@pytest.mark.parametrize("mv_type", MV_TYPES)
@pytest.mark.parametrize("management", MANAGEMENTS)
def test_T_MVM_2_output_noise(management: Any, mv_type: Any) -> None:
    w, n = weights(), 3000
    thres = 0.7 if management == "constant" else 0.0
    tile = tile_with(w, og.IO(out_noise=0.06, noise_management=management, nm_thres=thres, mv_type=mv_type))
    for product, lines, m in ((tile.forward, COLUMNS, w), (tile.backward, ROWS, w.T)):
        x = 3.5 * vectors(1, lines)
        # two conversions have twice the variance
        alpha = factor(management, x) * (np.sqrt(2) if mv_type == "pos_neg_separate_digital_sum" else 1)
        # rounding, below 1e-5, is nothing beside the standard error of 5e-3
        check_noise(product(np.tile(x, (n, 1))), exact(x, m), np.full(m.shape[0], 0.06 * alpha))


def test_T_MVM_2_the_largest_input_is_that_of_each_vector_and_capped_by_nm_thres() -> None:
    w, n = weights(), 3000
    x = vectors(1, COLUMNS)
    x *= 4 / np.abs(x).max()
    tile = tile_with(w, og.IO(out_noise=0.06, noise_management="abs_max", nm_thres=3.0))
    y = tile.forward(np.concatenate([np.tile(x, (n, 1)), np.tile(x / 2, (n, 1))]))
    check_noise(y[:n], exact(x, w), np.full(ROWS, 0.06 * 3))
    check_noise(y[n:], exact(x / 2, w), np.full(ROWS, 0.06 * 2))


def test_T_MVM_2_input_noise_goes_through_the_weights() -> None:
    w, n = weights(), 3000
    x = vectors(1, COLUMNS)
    alpha = np.abs(x).max()
    tile = tile_with(w, og.IO(inp_noise=0.1, noise_management="abs_max"))
    y = tile.forward(np.tile(x, (n, 1)))
    z = (y - exact(x, w)) / alpha
    sigma = 0.1 * np.sqrt(exact(w**2, np.ones((1, COLUMNS)))[:, 0])
    assert (np.abs(z.mean(axis=0)) < 5 * sigma / np.sqrt(n)).all()
    assert (np.abs(z.std(axis=0) - sigma) < 5 * sigma / np.sqrt(2 * n)).all()
    # the same noise reaches all outputs: their covariance is that of the weights, an entry's error below 1.5 sigma^2
    covariance = 0.01 * exact(w, w)
    assert (np.abs(z.T @ z / n - covariance) < 5 * 1.5 * np.outer(sigma, sigma) / np.sqrt(n)).all()
    assert np.abs(covariance - np.diag(np.diag(covariance))).max() > 5 * 1.5 * sigma.max() ** 2 / np.sqrt(n)


def test_T_MVM_2_training_evaluation_and_backward_have_noise_of_their_own() -> None:
    w = np.eye(ROWS, dtype=np.float32)
    io = og.IO(out_noise=1.0)
    tile, twin, other = (tile_with(w, io, seed=s) for s in (1, 1, 2))
    x = np.zeros((2000, ROWS))
    for _ in range(3):
        twin.forward(x[:5], training=False)
    twin.backward(x[:7])
    training = tile.forward(x)
    # evaluating and going backward change nothing for training, and calls can be cut anywhere
    np.testing.assert_array_equal(training, np.concatenate([twin.forward(x[:3]), twin.forward(x[3:])]))
    kinds = [training, tile.forward(x), tile.forward(x, training=False), tile.backward(x), other.forward(x)]
    for i, a in enumerate(kinds):
        for b in kinds[:i]:
            assert abs((a * b).mean()) < 5 / np.sqrt(a.size)


# ---- T-MVM-3


@pytest.mark.parametrize("direction", ["forward", "backward"])
@pytest.mark.parametrize("as_steps", [False, True], ids=["fraction", "steps"])
def test_T_MVM_3_quantisation(direction: str, as_steps: bool) -> None:
    w = weights()
    inp_res, out_res = (126, 510) if as_steps else (1 / 126, 1 / 510)
    io = og.IO(inp_bound=1.0, inp_res=inp_res, out_bound=12.0, out_res=out_res, noise_management="abs_max")
    # the other direction is ideal: each has a periphery of its own
    tile = tile_with(w, io, og.IO()) if direction == "forward" else tile_with(w, og.IO(), io)
    product, m = (tile.forward, w) if direction == "forward" else (tile.backward, w.T)
    x = 1.7 * vectors(400, m.shape[1])
    y = product(x).astype(np.float64)
    alpha = np.abs(x).max(axis=1, keepdims=True).astype(np.float64)
    d_in, d_out = 2 / 126, 24 / 510
    # on the grid alpha d_out, to the rounding of a number of steps up to 255 in float32
    steps = y / (alpha * d_out)
    assert np.abs(steps - np.round(steps)).max() < 255 * 2**-22
    assert len(np.unique(np.round(steps))) > 100
    # half a step of the output, half a step of every input; 1 + 1e-4 for values that round from next to a half
    bound = alpha * (d_out / 2 + np.abs(m).sum(axis=1, dtype=np.float64) * d_in / 2)
    error = y - exact(x, m)
    assert (np.abs(error) < bound * (1 + 1e-4)).all()
    # the errors of the steps are uniform and independent: variances d^2 / 12 add (the largest input has no error)
    variance = d_out**2 / 12 + (m.astype(np.float64) ** 2).sum(axis=1) * d_in**2 / 12 * (1 - 1 / m.shape[1])
    z = error / (alpha * np.sqrt(variance))
    # 400 vectors x 37 rows or more; inputs are shared by the rows, so count vectors: 5 sqrt(2 / 400) = 0.35
    assert abs((z**2).mean() - 1) < 0.35
    assert abs(z.mean()) < 5 / np.sqrt(400)
    # with the periphery of the other direction there is no grid
    other = (tile.backward if direction == "forward" else tile.forward)(vectors(20, m.shape[0]))
    steps = other / (np.abs(vectors(20, m.shape[0])).max(axis=1, keepdims=True) * d_out)
    assert np.abs(steps - np.round(steps)).max() > 0.4


def test_T_MVM_3_quantise_before_clip() -> None:
    # 0.25 of the full range: the grid has steps of 0.5 and does not contain the bound +-0.8
    io = og.IO(inp_bound=0.8, inp_res=0.3125)
    tile = tile_with([[1.0]], io)
    x = np.array([[0.1], [0.2], [0.3], [0.7], [0.76], [5.0], [-5.0]])
    np.testing.assert_allclose(tile.forward(x)[:, 0], [0.0, 0.0, 0.5, 0.5, 0.8, 0.8, -0.8], rtol=1e-6)
    tile = tile_with([[1.0]], og.IO(out_bound=0.8, out_res=0.3125))
    np.testing.assert_allclose(tile.forward(x)[:, 0], [0.0, 0.0, 0.5, 0.5, 0.8, 0.8, -0.8], rtol=1e-6)


# ---- T-MVM-4 and 5


def quantised(z: float, r: int, d_out: float, bound: float) -> float:
    """One output after bound management with factor r."""
    return r * np.clip(d_out * np.round(z / r / d_out), -bound, bound)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_T_MVM_4_iterative_bound_management(sign: float) -> None:
    bound, alpha = 12.0, 2.0
    d_out = 24 / 510
    # An output 3.498 times too large for the converter: 223 of its steps after two halvings, an odd number, which shows
    # that there was no third. Inputs of +-1 and their halves are on the grid of an input converter with 128 steps.
    w = np.array([[sign * 223 * 4 * d_out, 0.0], [sign, 0.25], [0.0, 0.5]])
    x = np.array([[alpha, -alpha], [alpha / 4, -alpha / 4]])
    settings: dict[str, Any] = dict(
        inp_bound=1.0, inp_res=1 / 128, out_bound=bound, out_res=1 / 510, noise_management="abs_max"
    )
    managed = tile_with(w, og.IO(**settings, bound_management="iterative")).forward(x)
    z = w @ np.array([1.0, -1.0])
    for row, scale in ((0, alpha), (1, alpha / 4)):
        for i in range(3):
            # all outputs of a vector share r = 4: 3.5 and 1.75 bounds are too much
            assert managed[row, i] == pytest.approx(scale * quantised(z[i], 4, d_out, bound), rel=1e-6)
    # within quantisation of the truth, and neither r = 2 nor r = 8 would give this number
    assert abs(managed[0, 0] - alpha * z[0]) <= alpha * 4 * d_out / 2 * (1 + 1e-5)
    for r in (1, 2, 8, 16):
        assert abs(managed[0, 0] - alpha * quantised(z[0], r, d_out, bound)) > 0.1
    clipped = tile_with(w, og.IO(**settings)).forward(x)
    np.testing.assert_allclose(clipped[:, 0], [sign * alpha * bound, sign * alpha * bound / 4], rtol=1e-6)
    # the backward product has no bound management, whatever is asked
    tile = tile_with(w.T, og.IO(), og.IO(**settings, bound_management="iterative"))
    np.testing.assert_allclose(tile.backward(x)[:, 0], clipped[:, 0], rtol=1e-6)


def test_T_MVM_4_noise_is_drawn_afresh_and_scales_with_r() -> None:
    w, n = np.array([[3.5, 0.0], [0.25, 0.25]]), 20_000
    io = og.IO(out_bound=1.0, out_noise=0.01, noise_management="abs_max", bound_management="iterative")
    y = tile_with(w, io).forward(np.tile([2.0, 0.5], (n, 1)))
    # 3.5 / 4 is 12 sigma below the bound, 3.5 / 2 is 75 above: r = 4 always
    check_noise(y, np.array([7.0, 0.625]), np.full(2, 0.01 * 2 * 4))


@pytest.mark.parametrize(
    ("settings", "r"),
    [
        (dict(inp_res=1 / 126), 16),
        (dict(inp_res=1 / 254), 32),
        (dict(inp_res=1 / 126, max_bm_res=0.1), 8),
        (dict(inp_res=1 / 126, max_bm_factor=5), 8),
        (dict(inp_res=0.0), 1024),
        (dict(inp_res=0.0, max_bm_factor=4), 8),
    ],
    ids=str,
)
def test_T_MVM_5_bound_management_gives_up(settings: dict[str, Any], r: int) -> None:
    """Far too large: the last pass is the first whose r is above `max_bm_factor` or `max_bm_res` input steps."""
    io = og.IO(
        inp_bound=1.0,
        out_bound=12.0,
        noise_management="abs_max",
        bound_management="iterative",
        out_scale=0.5,
        **settings,
    )
    y = tile_with([[1000.0] * 100, [-1000.0] * 100], io).forward(np.full(100, 3.0))
    # (z would be 100 000) the clipped output times alpha r and the scale: a few float32 products
    np.testing.assert_allclose(y, [12 * 3 * r * 0.5, -12 * 3 * r * 0.5], rtol=1e-6)


def alpha_of(io: og.IO, *batches: Floats, **how: Any) -> Floats:
    """What noise management divides by, for every vector: outputs far beyond a converter of range 1 come as `alpha`."""
    tile = tile_with(np.full((1, batches[0].shape[1]), 1e6), io)
    return np.concatenate([np.abs(tile.forward(x, **how)[:, 0]) for x in batches])


def test_noise_management_closed_forms() -> None:
    x = np.array([[0.5, -2.0, 1.0], [0.25, 0.5, 0.75], [3.0, -1.0, 2.0], [-0.5, -0.25, -1.5]])
    up, down = np.maximum(x, 0).sum(axis=1), np.maximum(-x, 0).sum(axis=1)
    a = np.abs(x).max(axis=1)
    io: Any = lambda management, **more: og.IO(out_bound=1.0, noise_management=management, **more)  # noqa: E731
    np.testing.assert_allclose(alpha_of(io("max"), x), [1, 0.75, 3, 0])
    np.testing.assert_allclose(alpha_of(io("max", nm_thres=0.9), x), [0.9, 0.75, 0.9, 0])
    np.testing.assert_allclose(alpha_of(io("abs_max", nm_thres=1.75), x), np.minimum(a, 1.75))
    worst = np.maximum(a, np.maximum(up, down) * 0.6)
    np.testing.assert_allclose(alpha_of(io("abs_max_np_sum"), x), worst, rtol=1e-6)
    assert set(worst > a) == {True, False}
    capped = np.minimum(a, 0.5)
    steps = np.maximum(capped, np.minimum(np.maximum(up, down) * 0.9, capped * 0.25 / (2 * 0.04)))
    coarse = io("abs_max_np_sum", inp_bound=1.0, inp_res=0.04, nm_thres=0.5, nm_assumed_wmax=0.9)
    np.testing.assert_allclose(alpha_of(coarse, x), steps, rtol=1e-6)


def test_the_running_mean_of_noise_management() -> None:
    x = np.array([[0.0, 0.0], [0.0, 2.0], [1.0, -3.0], [0.5, 0.0], [0.0, 0.0]])
    io = og.IO(out_bound=1.0, noise_management="average_abs_max", nm_decay=0.25)
    means = [0.0, 2.0, 2.25, 1.8125, 1.359375]
    # exact in float32; a silent vector has output 0 whatever it is scaled by
    np.testing.assert_array_equal(alpha_of(io, x), [*means[:-1], 0.0])
    np.testing.assert_array_equal(alpha_of(io, x, np.full((1, 2), 4.0))[-1:], [0.75 * means[-1] + 1])
    # evaluating takes it as it is, and the vector's own if there is none; without noise likewise
    for how in (dict(training=False), dict(noise=False)):
        np.testing.assert_array_equal(alpha_of(io, x, **how), np.abs(x).max(axis=1))
    tile, twin = tile_with([[1e6, 1e6]], io), tile_with([[1e6, 1e6]], io)
    tile.forward(x)
    for how in (dict(training=False), dict(noise=False), dict(training=False, noise=False)):
        np.testing.assert_array_equal(tile.forward([4.0, 4.0], **how), [means[-1]])
    # each direction has its own; both are saved
    np.testing.assert_array_equal(tile.backward([[2.0], [4.0]])[:, 0], [2.0, 2.5])
    state = tile.state_dict()
    assert state["forward.average_abs_max"].tolist() == means[-1:]
    assert state["backward.average_abs_max"].tolist() == [2.5]
    twin.load_state_dict(state)
    np.testing.assert_array_equal(twin.forward([4.0, 4.0]), [0.75 * means[-1] + 1])
    for wrong in (np.full(1, -1.0, np.float32), np.full((1, 2), 1.0, np.float32)):
        with pytest.raises(ValueError, match=r"forward\.average_abs_max"):
            twin.load_state_dict(state | {"forward.average_abs_max": wrong})
    assert "forward.average_abs_max" not in tile_with([[1.0]], og.IO.kit()).state_dict()


def test_the_running_mean_is_in_the_file_of_a_network(tmp_path: Path) -> None:
    io = og.IO.kit(noise_management="average_abs_max", nm_decay=0.1)
    model = og.nn.Sequential(og.nn.Linear(4, 3)).on(io=io, seed=1)
    x = vectors(20, 4)
    model.train_step(x, np.arange(20) % 3, og.nn.CrossEntropy(), 0.1)
    og.save(tmp_path / "model", model)
    other = og.load(tmp_path / "model")
    np.testing.assert_array_equal(other.forward(x, False), model.forward(x, False))
    np.testing.assert_array_equal(other.forward(x), model.forward(x))


def test_T_MVM_4_the_worst_case_first() -> None:
    """The first repetition scales by the sum of the inputs, so that weights up to `nm_assumed_wmax` cannot clip."""
    n, d_out = 100, 24 / 510
    io = og.IO.kit(bound_management="iterative_worst_case", out_noise=0.0, inp_res=0.0)
    w = np.full((2, n), 0.49)
    w[1] = 0.01
    y = tile_with(w, io).forward(np.full(n, 3.0))
    alpha = 3.0 * n * 0.6 / 12
    for z, value in zip((147.0, 3.0), y, strict=True):
        assert value == pytest.approx(alpha * d_out * np.round(z / alpha / d_out), rel=1e-5)
    # nothing was beyond: one pass with the usual factor
    one = tile_with(w[1:], io).forward(np.full(n, 3.0))
    assert one[0] == pytest.approx(3.0 * d_out * np.round(1.0 / d_out), rel=1e-5)
    # larger weights than assumed: doubled from there; 100 / 15 is 6.7 bounds of 1, which takes r = 8
    io = og.IO(out_bound=1.0, noise_management="abs_max", bound_management="iterative_worst_case", nm_assumed_wmax=0.05)
    big = tile_with(np.full((1, n), 1.0), io).forward(np.full(n, 3.0))
    assert big[0] == pytest.approx(300.0, rel=1e-5)
    limited = tile_with(np.full((1, n), 1e6), og.IO(**io.describe() | {"max_bm_factor": 3})).forward(np.full(n, 3.0))
    # alpha 3 n 0.05 = 15, and r = 1, 2, 4 on top
    assert limited[0] == pytest.approx(15.0 * 4, rel=1e-5)


def test_T_MVM_4_one_bound() -> None:
    settings: Any = dict(out_bound=1.0, noise_management="abs_max", bound_management="iterative")
    x, w = [1.0, -1.0], [[1.5, -1.5], [0.1, -0.1]]
    for negative, below in ((True, -3.0), (False, -1.0)):
        tile = tile_with(w, og.IO(**settings, bm_test_negative_bound=negative))
        np.testing.assert_allclose(tile.forward([x, [-1.0, 1.0]])[:, 0], [3.0, below], rtol=1e-6)


# ---- T-MVM-6


@pytest.mark.parametrize("mv_type", MV_TYPES)
@pytest.mark.parametrize("noise", ["additive_constant", "pcm_read"])
def test_T_MVM_6_noise_of_the_weights(noise: Any, mv_type: Any) -> None:
    """Its variance adds up over the cells that carry current, whatever the scales; halves of a product add, too."""
    w, n = weights(), 3000
    tile = tile_with(w, og.IO(w_noise=0.1, w_noise_type=noise, mv_type=mv_type))
    for product, lines, m in ((tile.forward, COLUMNS, w), (tile.backward, ROWS, w.T)):
        x = vectors(1, lines)
        strength = np.ones(m.shape) if noise == "additive_constant" else np.abs(m)
        check_noise(product(np.tile(x, (n, 1))), exact(x, m), 0.1 * np.sqrt(exact(x**2, strength))[0])
    # with alpha = 0.3, and r = 4 for a line that carries three times too much, by far more than its noise
    x = vectors(1, COLUMNS)
    w[0] = np.where(x > 0, 0.3 * 600 / np.maximum(x, 0).sum(), 0)
    managed: Any = dict(noise_management="constant", nm_thres=0.3, bound_management="iterative", out_bound=200.0)
    tile = tile_with(w, og.IO(w_noise=0.1, w_noise_type=noise, mv_type=mv_type, **managed))
    strength = np.ones(w.shape) if noise == "additive_constant" else np.abs(w)
    check_noise(tile.forward(np.tile(x, (n, 1))), exact(x, w), 0.1 * np.sqrt(exact(x**2, strength))[0])


def test_noise_of_the_weights_needs_a_type() -> None:
    tile = tile_with(weights(), og.IO(w_noise=0.1))
    np.testing.assert_array_equal(
        tile.forward(vectors(2, COLUMNS)), tile_with(weights(), og.IO()).forward(vectors(2, COLUMNS))
    )


# ---- T-MVM-7


@pytest.mark.parametrize("mv_type", MV_TYPES)
@pytest.mark.parametrize("management", MANAGEMENTS)
def test_T_MVM_7_zero_in_zero_out(management: Any, mv_type: Any) -> None:
    io = og.IO.kit(noise_management=management, mv_type=mv_type, v_offset_std=0.1, w_noise=0.1, out_sto_round=True)
    tile = tile_with(weights(), io)
    x, d = np.ones((5, COLUMNS)), np.ones((5, ROWS))
    x[1] = d[1] = 0.0
    x[4] = d[4] = -0.0
    for y in (tile.forward(x), tile.forward(x, training=False), tile.backward(d)):
        # a running mean is not zero for a silent vector between others
        silent = management in {"max", "abs_max", "abs_max_np_sum"}
        assert (not y[[1, 4]].any()) == silent
        assert y[[0, 2, 3]].any(axis=1).all()


def test_T_MVM_7_input_noise_speaks_for_itself() -> None:
    """Noise on silent lines is noise: nothing is scaled then."""
    w, n = weights(), 3000
    y = tile_with(w, og.IO(inp_noise=0.1, noise_management="abs_max")).forward(np.zeros((n, COLUMNS)))
    sigma = 0.1 * np.sqrt((w.astype(np.float64) ** 2).sum(axis=1))
    assert (np.abs(y.std(axis=0) - sigma) < 5 * sigma / np.sqrt(2 * n)).all()


@pytest.mark.parametrize("size", [1e-37, 1e-38, 2e-39, 1e-42, 1.4e-45])
def test_T_MVM_7_next_to_nothing_is_not_nan(size: float) -> None:
    """The smallest float32 numbers have reciprocals beyond its range; errors of a trained network get that small."""
    tile = tile_with([[1.0, 0.5], [0.25, -1.0]], og.IO.kit(out_noise=0.0))
    for y in (tile.forward([size, 0.0]), tile.backward([size, 0.0])):
        # half a step of the output converter; what is too small to be scaled may as well be nothing
        assert abs(y[0] - size) <= size * (12 / 510 * (1 + 1e-5) if size > 2**-126 else 1.0) + 2**-149


# ---- rounding at random, asymmetry


@pytest.mark.parametrize("side", ["inp", "out"])
def test_random_rounding_is_right_in_the_mean(side: str) -> None:
    """One of the two neighbours, the upper with the probability of the rest; nothing else."""
    n, parts = 40_000, np.array([0.0, 0.1, 0.5, 0.93])
    x = np.concatenate([parts, -parts, 3 + parts]) / 8
    io = og.IO(**{f"{side}_bound": 1.0, f"{side}_res": 1 / 16, f"{side}_sto_round": True})
    tile = tile_with(np.eye(len(x)), io)
    y = tile.forward(np.tile(x, (n, 1))).astype(np.float64) * 8
    low = np.floor(x * 8 + 1e-6)
    p = x * 8 - low
    assert np.isin(y - low, [0.0, 1.0]).all()
    # of a Bernoulli number; an exact grid point moves once in 2^24 times
    assert (np.abs(y.mean(axis=0) - x * 8) <= 5 * np.sqrt(np.maximum(p * (1 - p), 0) / n) + 1e-4).all()
    assert (y.std(axis=0)[np.abs(p - 0.5) < 0.45] > 0.2).all()
    # lines are independent
    z = (y - low - p)[:, [1, 2, 3]]
    assert np.abs((z[:, :1] * z[:, 1:]).mean(axis=0)).max() < 5 * 0.25 / np.sqrt(n)
    nearest = tile.forward(x, noise=False)
    np.testing.assert_array_equal(
        nearest, tile_with(np.eye(len(x)), og.IO(**io.describe() | {f"{side}_sto_round": False})).forward(x)
    )


def test_asymmetries() -> None:
    w = np.array([[1.0, 1.0], [1.0, -1.0]])
    x = np.array([[1.0, -0.5], [-1.0, 0.25]])
    inputs = np.where(x < 0, x * 0.75, x)
    np.testing.assert_allclose(tile_with(w, og.IO(inp_asymmetry=0.25)).forward(x), inputs @ w.T, rtol=1e-6)
    z = x @ w.T
    np.testing.assert_allclose(
        tile_with(w, og.IO(out_asymmetry=-0.5)).forward(x), np.where(z < 0, z * 1.5, z), rtol=1e-6
    )
    # separate polarities: two halves that are never negative themselves
    tile = tile_with(np.abs(w), og.IO(out_asymmetry=0.5, mv_type="pos_neg_separate_digital_sum"))
    np.testing.assert_allclose(tile.forward(x), x @ np.abs(w).T, rtol=1e-6)


# ---- what lines and cells keep for life


LINES = 400


def spread_of_lines(io: og.IO, seed: Any = 3) -> Floats:
    """Standard deviations of the noise of every line forward and backward, of 2000 vectors."""
    tile = tile_with(np.eye(LINES), io, seed=seed)
    silent = np.zeros((2000, LINES))
    return np.array([tile.forward(silent).std(axis=0), tile.backward(silent).std(axis=0)])


def test_lines_have_noise_of_their_own() -> None:
    io, n = og.IO(out_noise=0.1, out_noise_std=0.2), 2000
    forward, backward = spread_of_lines(io) / 0.1 - 1
    # sigma_i = 1 + 0.2 N, measured to sigma_i / sqrt(2 n): 0.2 in total, to 5 standard errors of 400 lines
    for xi in forward, backward:
        assert abs(xi.mean()) < 5 * 0.2 / np.sqrt(LINES)
        assert abs(xi.std() - np.hypot(0.2, 1.02 / np.sqrt(2 * n))) < 5 * 0.2 / np.sqrt(2 * LINES)
    assert abs((forward * backward).mean()) < 5 * 0.04 / np.sqrt(LINES)
    # kept for life by the device, other noise or not; the difference of two measurements
    again, _ = spread_of_lines(io, og.Seeds(device=3, noise=8)) / 0.1 - 1
    assert np.abs(again - forward).max() < 5 * 1.8 * np.sqrt(2 / (2 * n))
    other, _ = spread_of_lines(io, og.Seeds(device=4, noise=3)) / 0.1 - 1
    assert abs((forward * other).mean()) < 5 * 0.04 / np.sqrt(LINES)


def test_saturation() -> None:
    w, bound, n = np.eye(LINES), 2.0, 0.4
    x = np.random.default_rng(0).uniform(-2, 2, (5, LINES))
    io = og.IO(out_bound=bound, out_nonlinearity=n)
    z = x / (1 + n * np.abs(x) / bound)
    np.testing.assert_allclose(tile_with(w, io).forward(x), z, rtol=1e-6)
    np.testing.assert_allclose(tile_with(w, io).backward(x), z, rtol=1e-6)
    calibrated = tile_with(w, og.IO(out_bound=bound, out_nonlinearity=n, slope_calibration=0.25)).forward(x)
    np.testing.assert_allclose(calibrated, 1.1 * z, rtol=1e-6)
    exactly = tile_with([[1.0]], og.IO(out_bound=bound, out_nonlinearity=n, slope_calibration=0.25)).forward([0.5])
    np.testing.assert_allclose(exactly, [0.5], rtol=1e-6)
    # what each line has of it can be read off one vector, and is the same for all
    tile = tile_with(w, og.IO(out_bound=bound, out_nonlinearity=n, out_nonlinearity_std=0.2))
    kept = [(x[b] / tile.forward(x[b]) - 1) / np.abs(x[b]) * bound / n - 1 for b in range(2)]
    well = (np.abs(x[:2]) > 0.1).all(axis=0)
    np.testing.assert_allclose(kept[0][well], kept[1][well], atol=1e-4)
    assert abs(kept[0][well].mean()) < 5 * 0.2 / np.sqrt(well.sum())
    assert abs(kept[0][well].std() - 0.2) < 5 * 0.2 / np.sqrt(2 * well.sum())


def test_voltage_offset_and_series_resistance() -> None:
    w, x = np.random.default_rng(0).uniform(-1, 1, (LINES, 20)), vectors(3, 20)
    conductance = (w + 1).sum(axis=1)
    series = tile_with(w, og.IO(r_series=0.3, v_offset_w_min=-1.0)).forward(x)
    np.testing.assert_allclose(series, exact(x, w) / (1 + 0.3 * conductance / 20), rtol=1e-5, atol=1e-5)
    d = vectors(2, LINES)
    series = tile_with(w, og.IO(r_series=0.3)).backward(d)
    np.testing.assert_allclose(series, exact(d, w.T) / (1 + 0.3 * (w + 1).sum(axis=0) / LINES), rtol=1e-4, atol=1e-4)
    # no conductance below zero
    cut = tile_with(w, og.IO(r_series=0.3, v_offset_w_min=0.5)).forward(x)
    divisor = 1 + 0.3 * np.maximum(w - 0.5, 0).sum(axis=1) / 20
    np.testing.assert_allclose(cut, exact(x, w) / divisor, rtol=1e-5, atol=1e-5)
    tile = tile_with(w, og.IO(v_offset_std=0.01))
    kept = (tile.forward(x) - exact(x, w)) / conductance / 0.01
    np.testing.assert_allclose(kept[1:], np.tile(kept[0], (2, 1)), atol=1e-4)
    assert abs(kept[0].mean()) < 5 / np.sqrt(LINES)
    assert abs(kept[0].std() - 1) < 5 / np.sqrt(2 * LINES)
    # both: the offset first
    both = tile_with(w, og.IO(v_offset_std=0.01, r_series=0.3)).forward(x)
    np.testing.assert_allclose(both, tile.forward(x) / (1 + 0.3 * conductance / 20), rtol=1e-5, atol=1e-5)


def test_cells_see_the_polarities_differently() -> None:
    w = np.random.default_rng(0).uniform(0.1, 1, (50, 40))
    io = og.IO(w_read_asymmetry_dtod=0.1)
    tile = tile_with(w, io)
    np.testing.assert_array_equal(tile.forward(np.eye(40)), w.astype(np.float32).T)
    np.testing.assert_array_equal(tile.backward(np.eye(50)), w.astype(np.float32))
    forward, backward = -tile.forward(-np.eye(40)).T, -tile.backward(-np.eye(50))
    for xi in (forward / w - 1) / 0.1, (backward / w - 1) / 0.1:
        assert abs(xi.mean()) < 5 / np.sqrt(xi.size)
        assert abs(xi.std() - 1) < 5 / np.sqrt(2 * xi.size)
        for a, b in ((xi[1:], xi[:-1]), (xi[:, 1:], xi[:, :-1])):
            assert abs((a * b).mean()) < 5 / np.sqrt(a.size)
    assert abs(((forward / w - 1) * (backward / w - 1)).mean()) < 5 * 0.01 / np.sqrt(w.size)
    # sums of both polarities, in one pass or in two
    x = vectors(4, 40)
    both = exact(np.maximum(x, 0), w) - exact(np.maximum(-x, 0), forward)
    for mv_type in MV_TYPES:
        y = tile_with(w, og.IO(w_read_asymmetry_dtod=0.1, mv_type=mv_type)).forward(x)
        np.testing.assert_allclose(y, both, rtol=1e-5, atol=1e-5)


# ---- IR drop


@pytest.mark.parametrize("mv_type", MV_TYPES)
@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_ir_drop(direction: str, mv_type: Any) -> None:
    """The polynomial of Rasch et al. (2023), for the currents of both polarities or of one at a time."""
    w = np.random.default_rng(0).uniform(-1, 1, (30, 50))
    tile = tile_with(w, og.IO(ir_drop=2.0, ir_drop_g_ratio=2000.0, mv_type=mv_type))
    m = w if direction == "forward" else w.T
    n = m.shape[1]
    x = vectors(6, n)
    y = (tile.forward if direction == "forward" else tile.backward)(x)

    def passed(v: Floats) -> Floats:
        a = 2.0 * n / 2000.0 * exact(np.abs(v), np.abs(m))
        return exact(v, m) - (0.05 * a**3 - 0.2 * a**2 + 0.5 * a) * exact(v * (1 - (1 - np.arange(n) / n) ** 2), m)

    expected = passed(x) if mv_type == "one_pass" else passed(np.maximum(x, 0)) - passed(np.maximum(-x, 0))
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-4)
    assert np.abs(expected - exact(x, m)).max() > 0.1


# ---- threads


@pytest.mark.parametrize("mv_type", MV_TYPES)
def test_threads_leave_no_trace(mv_type: Any) -> None:
    io = og.IO.kit(
        mv_type=mv_type, out_bound=2.0, inp_noise=0.01, inp_sto_round=True, out_sto_round=True, out_noise_std=0.3,
        out_nonlinearity=0.1, w_noise=0.1, w_noise_type="pcm_read", ir_drop=1.0, v_offset_std=0.01, r_series=0.1,
        w_read_asymmetry_dtod=0.1, noise_management="average_abs_max", bound_management="iterative_worst_case",
    )  # fmt: skip
    before, results = og.threads(), []
    _core.set_split_threshold(0)
    try:
        for n in (1, 3):
            og.threads(n)
            tile = tile_with(weights(), io)
            results.append((tile.forward(vectors(40, COLUMNS)), tile.backward(vectors(40, ROWS))))
    finally:
        _core.set_split_threshold()
        og.threads(before)
    for one, three in zip(*results, strict=True):
        np.testing.assert_array_equal(one, three)


# ---- without noise


@pytest.mark.parametrize("mv_type", MV_TYPES)
def test_without_noise_everything_else_stays(mv_type: Any) -> None:
    kept: Any = dict(
        inp_bound=1.0, inp_res=1 / 126, out_bound=2.0, out_res=1 / 510, noise_management="abs_max",
        bound_management="iterative", inp_asymmetry=0.1, out_nonlinearity=0.1, out_nonlinearity_std=0.2,
        ir_drop=1.0, v_offset_std=0.01, r_series=0.1, w_read_asymmetry_dtod=0.1, mv_type=mv_type,
    )  # fmt: skip
    drawn: Any = dict(inp_noise=0.1, out_noise=0.1, out_noise_std=0.3, w_noise=0.1, w_noise_type="pcm_read")
    tile = tile_with(weights(), og.IO(**kept, **drawn, inp_sto_round=True, out_sto_round=True))
    x, before = vectors(5, COLUMNS), tile.state_dict()
    x[1] = 0.0
    expected = tile_with(weights(), og.IO(**kept)).forward(x)
    for training in (True, False):
        np.testing.assert_array_equal(tile.forward(x, training, noise=False), expected)
        assert not np.array_equal(tile.forward(x, training), expected)
    twin = tile_with(weights(), tile.io)
    twin.load_state_dict(before)
    twin.forward(x, noise=False)
    assert {name: value.tobytes() for name, value in twin.state_dict().items()} == {
        name: value.tobytes() for name, value in before.items()
    }


def test_networks_are_evaluated_without_noise() -> None:
    layers = og.nn.Linear(4, 5), og.nn.Tanh(), og.nn.Linear(5, 3), og.nn.LogSoftmax()
    noisy, quiet = (og.nn.Sequential(*layers).on(io=og.IO.kit(out_noise=s, out_bound=2.0), seed=1) for s in (0.3, 0.0))
    x = vectors(20, 4)
    data = og.data.arrays(x, np.arange(20) % 3)
    before = {name: value.tobytes() for name, value in noisy.state_dict().items()}
    np.testing.assert_array_equal(noisy.forward(x, noise=False), quiet.forward(x))
    assert og.evaluate(noisy, data, loss=og.nn.NLL(), noise=False) == og.evaluate(quiet, data, loss=og.nn.NLL())
    assert og.evaluate(noisy, data, loss=og.nn.NLL(), noise=False) == og.evaluate(
        noisy, data, loss=og.nn.NLL(), noise=False, batch_size=7
    )
    assert before == {name: value.tobytes() for name, value in noisy.state_dict().items()}
    assert og.evaluate(noisy, data, loss=og.nn.NLL()) != og.evaluate(quiet, data, loss=og.nn.NLL())
