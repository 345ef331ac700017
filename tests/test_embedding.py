"""A tile in someone else's program: the examples do what they say, and all that a tile holds can be read and set."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tables import ALGORITHMS, ROWS, Row, named

import ohmgrad as og

EXAMPLES = Path(__file__).parent.parent / "examples"


def run(name: str, folder: Path) -> str:
    """What an example prints, run elsewhere, with every warning an error."""
    command = [sys.executable, "-W", "error", str(EXAMPLES / name)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert list(folder.iterdir()) == []
    return done.stdout


def percent(text: str, label: str) -> float:
    return float(re.search(rf"^{label}.*?([\d.]+)%$", text, re.MULTILINE)[1])  # type: ignore[index]


def test_a_numpy_loop_around_tiles_learns_the_digits(tmp_path: Path) -> None:
    text = run("numpy_loop.py", tmp_path)
    # measured: 92.5 %; chance is 10 %
    assert percent(text, "test accuracy") > 80
    source = (EXAMPLES / "numpy_loop.py").read_text(encoding="utf-8")
    assert "og.nn" not in source
    assert "og.fit" not in source


def test_two_tiles_share_nothing_but_a_seed(tmp_path: Path) -> None:
    lines = dict(line.split(": ") for line in run("two_tiles.py", tmp_path).splitlines())
    assert lines == {
        "own names, same cells": "False",
        "same name, same cells": "True",
        "same name, same weights after training": "True",
        "same name, same noise": "True",
    }


def test_weights_go_from_a_digital_model_to_tiles_and_back(tmp_path: Path) -> None:
    text = run("digital_to_analog.py", tmp_path)
    digital, analog, stuck, trained = (
        percent(text, label) for label in ("digital", r"analog, +[\d.]+% clipped", "with stuck cells", "trained")
    )
    # measured: 95.0, 94.2, 85.6, 92.8 %
    assert digital > 93
    assert digital - 4 < analog <= digital
    assert stuck < analog - 2
    assert trained > stuck + 2
    assert 1 < float(re.search(r"([\d.]+)% clipped", text)[1]) < 20  # type: ignore[index]


def test_every_example_is_tested() -> None:
    assert {path.name for path in EXAMPLES.glob("*.py")} == set(re.findall(r"\w+\.py", Path(__file__).read_text())) - {
        Path(__file__).name
    }


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
