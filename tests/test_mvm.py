"""Products through the periphery: the tests T-MVM-1 to 5 and 7 of the specification."""

# Tests bear the names of the specification.
# ruff: noqa: N802

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import ohmgrad as og

Floats = NDArray[Any]

ROWS, COLUMNS = 37, 53


def tile_with(w: Any, io: og.IO, backward_io: og.IO | None = None, seed: int = 3) -> og.Tile:
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
    ],
    ids=["ideal", "perfect", "managed", "constant"],
)
def test_T_MVM_1_all_off_is_exact(io: og.IO, scale: float, batch: int) -> None:
    w = weights()
    tile = tile_with(w, io)
    x, d = vectors(batch, COLUMNS), vectors(batch, ROWS)
    for y, v, m in ((tile.forward(x), x, w), (tile.backward(d), d, w.T)):
        # n products and sums in float32, and up to 3 roundings of scales: (n + 4) 2^-24 of the sum of magnitudes
        error = (v.shape[1] + 4) * 2**-24 * abs(scale) * exact(np.abs(v), np.abs(m))
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


@pytest.mark.parametrize("management", ["none", "abs_max", "constant"])
def test_T_MVM_2_output_noise(management: Any) -> None:
    w, n = weights(), 3000
    io = og.IO(out_noise=0.06, noise_management=management, nm_thres=0.7 if management == "constant" else 0.0)
    tile = tile_with(w, io)
    for product, lines, m in ((tile.forward, COLUMNS, w), (tile.backward, ROWS, w.T)):
        x = 3.5 * vectors(1, lines)
        alpha = dict(none=1.0, abs_max=np.abs(x).max(), constant=0.7)[management]
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


# ---- T-MVM-7


@pytest.mark.parametrize("management", ["abs_max", "none", "constant"])
def test_T_MVM_7_zero_in_zero_out(management: Any) -> None:
    tile = tile_with(weights(), og.IO.kit(noise_management=management))
    x, d = np.ones((5, COLUMNS)), np.ones((5, ROWS))
    x[1] = d[1] = 0.0
    x[4] = d[4] = -0.0
    for y in (tile.forward(x), tile.forward(x, training=False), tile.backward(d)):
        silent = management == "abs_max"
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
