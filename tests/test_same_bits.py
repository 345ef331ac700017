"""Same seed, same bits: for any number of threads, on every instruction set, in every process, after every resume."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tables import ALGORITHMS, ROWS, Row, named

import ohmgrad as og
from ohmgrad import _core

Floats = NDArray[np.float32]

ISAS = ["portable", "avx2", "avx512"]
PULSE_TYPES = ["stochastic_compressed", "none_with_device", "none", "analog_update"]
# Every source of noise that products have.
NOISY_IO = og.IO.kit(inp_noise=0.02)


def numbers(rows: int, columns: int, shift: int = 0) -> Floats:
    """Uneven numbers between -1 and 1, one in seven of them zero, from integer arithmetic alone."""
    k = np.arange(rows * columns, dtype=np.int64) + 7919 * shift
    values = ((k * 2654435761 % 2**32) >> 16).astype(np.float32) / np.float32(32768) - np.float32(1)
    values[k % 7 == 3] = 0
    return values.reshape(rows, columns)


def train(tile: og.Tile, calls: int = 3, batch: int = 5, first: int = 0) -> list[Floats]:
    """Everything a trainer does, with mini-batches of two sizes; returns all that comes out."""
    out: list[Floats] = []
    for call in range(first, first + calls):
        m = batch + call % 2
        x, d = numbers(m, tile.d_in, 2 * call), numbers(m, tile.d_out, 2 * call + 1)
        out += [tile.forward(x), tile.backward(d), tile.forward(x[:2], training=False)]
        tile.update(x, d, lr=0.04)
        out.append(tile.weights)
        tile.end_batch()
    return [*out, tile.weights]


def digest(arrays: list[Any]) -> str:
    h = hashlib.sha256()
    for a in arrays:
        h.update(repr((a.shape, a.dtype.str)).encode() + np.ascontiguousarray(a).tobytes())
    return h.hexdigest()


def digest_state(tile: og.Tile) -> str:
    return digest([value for _, value in sorted(tile.state_dict().items())])


# ---- (a) threads


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=named)
def test_one_and_two_threads_give_the_same_bits(algorithm: og.algorithms.Algorithm) -> None:
    results = []
    for n in (1, 2):
        og.threads(n)
        _core.set_split_threshold(0)
        # larger than 256 x 256, and no block of rows, columns or vectors comes out even
        tile = og.Tile(259, 277, device=ROWS[1].noisy, algorithm=algorithm, io=NOISY_IO, seed=6)
        tile.set_weights(numbers(259, 277) / 4)
        out = train(tile, calls=2, batch=17)
        results.append((digest(out), digest_state(tile)))
        # the counters of a new pool start at zero: every worker had rows, and no row was left out
        rows = _core.rows_by_worker()
        assert len(rows) == n
        assert all(rows)
        assert sum(rows) >= 2 * 259
        assert np.unique(tile.weights).size > 10_000
    assert results[0] == results[1]


@pytest.mark.usefixtures("threads")
def test_tiles_of_several_python_threads_give_the_same_bits() -> None:
    og.threads(2)
    _core.set_split_threshold(0)

    def run(seed: int) -> str:
        tile = og.Tile(101, 67, device=ROWS[1].noisy, algorithm=og.TikiTaka(), io=NOISY_IO, seed=seed)
        return digest(train(tile, calls=5)) + digest_state(tile)

    alone = [run(seed) for seed in range(4)]
    with ThreadPoolExecutor(4) as executor:
        together = executor.map(run, range(4))
        # new pools while calls are under way
        for n in (1, 2, 3, 2):
            og.threads(n)
        assert list(together) == alone
    assert len(set(alone)) == 4


# ---- cuts and batches


@pytest.mark.parametrize("row", ROWS, ids=named)
def test_transfers_leave_no_trace_on_the_array_they_read(row: Row) -> None:
    """The fast array gets the pulses, and the noise, that Analog SGD gives it, however often a transfer cuts in."""
    algorithms: list[og.algorithms.Algorithm] = [og.AnalogSGD()]
    for every in (1, 3, 5, 1000):
        algorithms.append(og.TikiTaka(fast_lr=0.04, transfer_every=every, units_in_mbatch=False))
    algorithms.append(og.TikiTaka(fast_lr=1.0, scale_fast_lr=True, n_reads_per_transfer=0))
    weights = []
    for algorithm in algorithms:
        # the few events of a transfer write something with this seed
        tile = og.Tile(13, 37, device=row.noisy, algorithm=algorithm, seed=2)
        for call in range(3):
            tile.update(numbers(7, 37, 2 * call), numbers(7, 13, 2 * call + 1), lr=0.04)
        weights.append(digest([tile.arrays[next(iter(tile.arrays))].weights]))
        if isinstance(algorithm, og.TikiTaka):
            assert tile.arrays["slow"].weights.any() == (algorithm.transfer_every < 1000)
    assert len(set(weights)) == 1


@pytest.mark.parametrize("pulse_type", PULSE_TYPES)
@pytest.mark.parametrize("row", ROWS, ids=named)
def test_without_cycle_noise_a_mini_batch_is_its_vectors_one_by_one(row: Row, pulse_type: Any) -> None:
    algorithm = og.TikiTaka(fast_lr=0.04, transfer_every=3, units_in_mbatch=False, transfer_io=og.IO(out_noise=0.1))
    pulses = og.PulseTrain(pulse_type=pulse_type)
    tile, twin = (og.Tile(13, 37, device=row.spread, algorithm=algorithm, pulses=pulses, seed=5) for _ in range(2))
    x, d = numbers(40, 37), numbers(40, 13, 1)
    tile.update(x, d, lr=0.5)
    for one in range(40):
        twin.update(x[one], d[one], lr=0.5)
    for name in ("fast", "slow"):
        assert tile.arrays[name].weights.any()
        assert digest([tile.arrays[name].weights]) == digest([twin.arrays[name].weights])


# ---- (b) instruction sets, and (c) processes


def fingerprint(seed: int = 5) -> dict[str, str]:
    """Digests of everything that training touches, by what was run."""
    prints = {}
    for row in ROWS:
        for pulse_type in PULSE_TYPES:
            pulses: Any = og.PulseTrain(pulse_type=pulse_type)
            tile = og.Tile(13, 37, device=row.noisy, pulses=pulses, io=NOISY_IO, seed=seed)
            prints[f"{row.name} {pulse_type}"] = digest(train(tile)) + digest_state(tile)
    for algorithm in ALGORITHMS:
        tile = og.Tile(13, 37, device=ROWS[3].noisy, algorithm=algorithm, io=NOISY_IO, seed=seed, name="fc")
        prints[named(algorithm)] = digest(train(tile)) + digest_state(tile)
    for io in (og.IO(), og.IO.kit(out_bound=0.5), og.IO.paper(), og.IO(is_perfect=True)):
        tile = og.Tile(67, 41, device=ROWS[0].noisy, io=io, seed=seed)
        tile.set_weights(numbers(67, 41))
        prints[repr(io)] = digest([tile.forward(numbers(33, 41)), tile.backward(numbers(33, 67))])
    y, d = 4 * numbers(9, 11), numbers(9, 11, 1)
    labels = np.arange(9) % 11
    out = [_core.log_softmax(y), _core.cross_entropy(y, labels)[1], _core.mse(y, d)[1]]
    for kind in ("sigmoid", "tanh", "relu"):
        out += [_core.activation(kind, y), _core.activation_grad(kind, y, d)]
    for a, o in ((d[0], d[1]), (d[0], d[1, :1]), (d[0, :1], d[1]), (d[0, :1], d[1, :1])):
        out += _core.digital_step(d, y, 0.1, a, o, d[2])
    out += [_core.scale_bias(y, d[0], d[1]), *_core.column_blocks("x", y, [5, 7], True)]
    scalars = [_core.cross_entropy(y, labels)[0], _core.mse(y, d)[0]]
    out += [_core.uniform_init(seed, "fc", 5, 7, 0.5), _core.permutation(seed, 1, 100), np.array(scalars)]
    prints["digital"] = digest(out)
    return prints


def in_process(*, seed: int = 5, threads: int = 2, isa: str | None = None) -> subprocess.CompletedProcess[str]:
    """`{"isa": name, "prints": fingerprint}` of a new process, as JSON on its standard output."""
    code = (
        "import json, ohmgrad, test_same_bits\n"
        f"ohmgrad.threads({threads})\n"
        "ohmgrad._core.set_split_threshold(0)\n"
        f"prints = test_same_bits.fingerprint({seed})\n"
        "print(json.dumps({'isa': ohmgrad._core.info()['isa'], 'prints': prints}))\n"
    )
    environment = {name: value for name, value in os.environ.items() if name != "OHMGRAD_ISA"}
    if isa is not None:
        environment["OHMGRAD_ISA"] = isa
    return subprocess.run(
        [sys.executable, "-c", code], cwd=Path(__file__).parent, env=environment, capture_output=True, text=True
    )


def result_of(process: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert process.returncode == 0, process.stderr
    result = json.loads(process.stdout)
    assert isinstance(result, dict)
    return result


@pytest.fixture(scope="module")
def prints() -> dict[str, Any]:
    """The fingerprint of a new process with what this processor does by itself."""
    return result_of(in_process())


@pytest.mark.parametrize("isa", ISAS)
def test_every_instruction_set_gives_the_same_bits(isa: str, prints: dict[str, Any]) -> None:
    process = in_process(isa=isa)
    if isa not in _core.info()["isas"]:
        # it must say so, not run something else; then there is nothing to compare
        assert process.returncode != 0
        assert f"OHMGRAD_ISA is {isa}" in process.stderr
        pytest.skip(f"this processor has no {isa}: its bits were NOT compared")
    result = result_of(process)
    assert result["isa"] == isa
    assert result["prints"] == prints["prints"]


def test_an_unknown_instruction_set_is_an_error() -> None:
    process = in_process(isa="mmx")
    assert process.returncode != 0
    assert "OHMGRAD_ISA is mmx, allowed: portable" in process.stderr


def test_the_fastest_instruction_set_is_the_default(prints: dict[str, Any]) -> None:
    isas = _core.info()["isas"]
    assert isas == [isa for isa in ISAS if isa in isas]
    assert prints["isa"] == isas[-1]


def test_a_seed_gives_the_same_bits_in_every_process(prints: dict[str, Any]) -> None:
    assert result_of(in_process(threads=1))["prints"] == prints["prints"]
    # here other tests have run before, with streams, pools and counters of their own
    assert fingerprint() == prints["prints"]


def test_another_seed_gives_other_bits(prints: dict[str, Any]) -> None:
    other = result_of(in_process(seed=6))["prints"]
    assert other.keys() == prints["prints"].keys()
    # a digital weight has neither cells nor noise
    assert {name for name in other if other[name] == prints["prints"][name]} == {"DigitalSGD"}


@pytest.mark.parametrize("seeds", [og.Seeds(device=1, noise=5), og.Seeds(device=5, noise=1)], ids=repr)
def test_seeds_of_cells_and_of_noise_are_apart(seeds: og.Seeds) -> None:
    tiles = [og.Tile(13, 37, device=ROWS[1].noisy, io=NOISY_IO, seed=s) for s in (5, seeds)]
    cells = [tile.arrays["weight"].parameters["dw_up"] for tile in tiles]
    assert np.array_equal(*cells) == (seeds.device == 5)
    for tile in tiles:
        # within the bounds of all cells
        tile.set_weights(numbers(13, 37) / 16)
    noise = [tile.forward(numbers(3, 37)) for tile in tiles]
    assert np.array_equal(*noise) == (seeds.noise == 5)


def test_names_have_streams_of_their_own() -> None:
    tiles = [og.Tile(13, 37, device=ROWS[1].noisy, io=NOISY_IO, seed=5, name=name) for name in ("", "a", "b", "a")]
    digests = [digest(train(tile)) for tile in tiles]
    assert len(set(digests)) == 3
    assert digests[1] == digests[3]


# ---- (c) resumed


def fresh(row: Row, algorithm: og.algorithms.Algorithm, seed: int | og.Seeds) -> og.Tile:
    return og.Tile(5, 7, device=row.noisy, algorithm=algorithm, io=NOISY_IO, seed=seed)


@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=named)
@pytest.mark.parametrize("row", ROWS, ids=named)
def test_a_saved_state_goes_on_bit_for_bit(row: Row, algorithm: og.algorithms.Algorithm) -> None:
    tile = fresh(row, algorithm, 8)
    tile.set_weights(numbers(5, 7) / 4)
    train(tile, calls=3)
    state = {name: value.copy() for name, value in tile.state_dict().items()}
    straight = train(tile, calls=3, first=3)

    # cells are part of the state: a tile with other cells becomes this one; its noise seed is a setting
    other = fresh(row, algorithm, og.Seeds(device=9, noise=8))
    other.load_state_dict(state)
    assert digest_state(other) == digest([value for _, value in sorted(state.items())])
    assert digest(train(other, calls=3, first=3)) == digest(straight)
    assert digest_state(other) == digest_state(tile)

    # back in time on the tile itself
    tile.load_state_dict(state)
    assert digest(train(tile, calls=3, first=3)) == digest(straight)

    # without the counters it is another run, unless nothing is random and no transfer counts
    astray = fresh(row, algorithm, 8)
    astray.load_state_dict(state | {"counters": np.zeros_like(state["counters"])})
    assert (digest(train(astray, calls=3, first=3)) == digest(straight)) == isinstance(algorithm, og.DigitalSGD)


@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=named)
def test_a_state_holds_no_memory_of_the_tile(algorithm: og.algorithms.Algorithm) -> None:
    tile = fresh(ROWS[1], algorithm, 8)
    state = tile.state_dict()
    before = digest([value for _, value in sorted(state.items())])
    train(tile)
    assert digest([value for _, value in sorted(state.items())]) == before
    tile.load_state_dict(state)
    for value in state.values():
        value[...] = 0
    assert digest_state(tile) == before
