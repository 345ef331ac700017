"""A tile in someone else's program: all that it holds can be read and set."""

from __future__ import annotations

import numpy as np
import pytest
from tables import ALGORITHMS, ROWS, Row, named

import ohmgrad as og

# ---- all that a tile holds

X = np.linspace(-1, 1, 24, dtype=np.float32).reshape(6, 4)
D = np.linspace(1, -1, 18, dtype=np.float32).reshape(6, 3)


def trained(row: Row, algorithm: og.algorithms.Algorithm) -> og.Tile:
    tile = og.Tile(3, 4, device=row.noisy, algorithm=algorithm, io=og.IO.kit(), seed=4)
    tile.update(X, D, 0.1)
    return tile


@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=named)
@pytest.mark.parametrize("row", ROWS, ids=named)
def test_a_tile_rebuilt_from_what_can_be_read_is_the_same_tile(row: Row, algorithm: og.algorithms.Algorithm) -> None:
    tile = trained(row, algorithm)
    # cells of another seed, that are then given those of the first
    noise = og.Seeds(device=99, noise=4)
    other = og.Tile(3, 4, device=row.noisy, algorithm=algorithm, io=og.IO.kit(), seed=noise)
    other.update(X, -D, 0.1)
    for name, array in tile.arrays.items():
        twin = other.arrays[name]
        parameters = getattr(array, "parameters", {})
        for parameter, values in parameters.items():
            assert (values.shape, values.dtype) == ((3, 4), np.float32)
            twin.parameters[parameter] = values
            np.testing.assert_array_equal(twin.parameters[parameter], values)
        assert list(getattr(twin, "parameters", {})) == list(parameters)
        twin.weights = array.weights
        # values are stored with the reference added, which rounds: float32 numbers below 1 by at most 2^-25 each way
        np.testing.assert_allclose(twin.weights, array.weights, rtol=0, atol=2**-23)
    np.testing.assert_allclose(other.weights, tile.weights, rtol=0, atol=2**-22)
    state = tile.state_dict()
    for name, values in other.state_dict().items():
        if name.endswith(".values"):
            np.testing.assert_allclose(values, state[name], rtol=0, atol=2**-23)
        elif name != "counters":
            np.testing.assert_array_equal(values, state[name])
    # from the same values on, both go the same way
    other.load_state_dict(other.state_dict() | {k: v for k, v in state.items() if k.endswith(("values", "counters"))})
    for each in tile, other:
        each.update(X, D, 0.1)
        each.end_batch()
    np.testing.assert_array_equal(other.weights, tile.weights)
    np.testing.assert_array_equal(other.forward(X), tile.forward(X))


@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=named)
@pytest.mark.parametrize("row", ROWS, ids=named)
def test_what_is_read_is_a_copy_and_what_is_set_is_checked(row: Row, algorithm: og.algorithms.Algorithm) -> None:
    tile = trained(row, algorithm)
    before = {name: values.tobytes() for name, values in tile.state_dict().items()}
    wrong = [np.ones((4, 3)), np.ones(12), np.ones((1, 1)), 1.0, np.full((3, 4), np.nan), np.full((3, 4), np.inf)]
    for name, array in tile.arrays.items():
        array.weights[...] = 9
        for values in wrong:
            with pytest.raises(ValueError, match=rf"^{name} (has|is|holds)"):
                array.weights = values
        for parameter, own in getattr(array, "parameters", {}).items():
            own[...] = 9
            for values in wrong:
                with pytest.raises(ValueError, match=rf"^{parameter} (has|is|holds)"):
                    array.parameters[parameter] = values
            with pytest.raises(TypeError, match=parameter):
                array.parameters[parameter] = np.full((3, 4), "1")
        with pytest.raises(TypeError):
            tile.arrays[name] = array  # type: ignore[index]
    tile.weights[...] = 9
    for values in tile.state_dict().values():
        values[...] = 9
    assert {name: values.tobytes() for name, values in tile.state_dict().items()} == before


@pytest.mark.parametrize("row", ROWS, ids=named)
def test_what_is_set_is_kept_apart_from_what_it_was_set_with(row: Row) -> None:
    tile = trained(row, og.ResidualLearning())
    array = tile.arrays["fast"]
    weights, steps = array.weights, array.parameters["dw_up"]
    array.weights, array.parameters["dw_up"] = weights, steps
    before = {name: values.tobytes() for name, values in tile.state_dict().items()}
    weights[...] = steps[...] = 0.125
    assert {name: values.tobytes() for name, values in tile.state_dict().items()} == before
    # one array only: the other one stays as it was; setting is counted
    array.weights = np.zeros((3, 4))
    after = tile.state_dict()
    assert [name for name in before if after[name].tobytes() != before[name]] == ["fast.values", "counters"]
