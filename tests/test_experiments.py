"""The published experiments in small: the orders and bands that their modules say were measured.

Bands around means over a few seeds are several times as wide as those means vary from seed to seed. What did not come
out as published is in the docstrings of the modules, and in those below.
"""

from __future__ import annotations

from dataclasses import FrozenInstanceError, fields, replace
from functools import cache
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import pytest
from tables import ALGORITHMS
from test_data import mnist_files

import ohmgrad as og
from ohmgrad.experiments import (
    mnist_fcn,
    multi_tile_toy,
    rasch2024_column,
    rasch2024_programming,
    symmetric_point,
)
from ohmgrad.experiments._training import Entry, Outcome

MODULES = [multi_tile_toy, rasch2024_column, rasch2024_programming]
SEEDS = range(4)
OFFSET = -0.8


def short(module: Any) -> str:
    return str(module.__name__.rpartition(".")[2])


# ---- what all have in common


@pytest.mark.parametrize("module", MODULES, ids=short)
def test_a_run_follows_from_settings_and_seed(module: Any) -> None:
    settings = replace(module.Settings(), steps=1500)
    one, same, other = (module.run(settings, seed) for seed in (1, 1, 2))
    differs = False
    for field in fields(one):
        a, b, c = (getattr(result, field.name) for result in (one, same, other))
        np.testing.assert_array_equal(a, b)
        assert np.isfinite(a).all(), field.name
        differs = differs or not np.array_equal(a, c)
    assert differs


@pytest.mark.parametrize("module", MODULES, ids=short)
def test_sweeps_are_settings(module: Any) -> None:
    points = list(module.sweep())
    assert len(set(points)) == len(points) > 4
    assert all(isinstance(point, module.Settings) for point in points)
    base = replace(module.Settings(), steps=10)
    assert {point.steps for point in module.sweep(base)} == {10}
    with pytest.raises(FrozenInstanceError):
        base.steps = 3
    for point in module.sweep(base):
        module.run(point)


def test_algorithms_that_are_not_there_are_named() -> None:
    with pytest.raises(ValueError, match="algorithm must be one of TTv2, c-TTv2, AGAD, got 'SGD'"):
        rasch2024_column.run(rasch2024_column.Settings(algorithm="SGD"))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"algorithm must be one of Analog SGD, Tiki-Taka, .*, got 'SGD'"):
        rasch2024_programming.run(rasch2024_programming.Settings(algorithm="SGD"))  # type: ignore[arg-type]


def test_the_task_is_the_same_for_all_seeds() -> None:
    settings = rasch2024_programming.Settings(algorithm="Analog SGD", steps=40)
    one, other = (rasch2024_programming.run(settings, seed) for seed in (0, 1))
    np.testing.assert_array_equal(one.targets, other.targets)
    assert not np.array_equal(one.weights, other.weights)
    # standard error of a standard deviation of 400 numbers: 3.5 %
    assert one.targets.std() == pytest.approx(0.3, rel=0.18)
    assert not np.array_equal(one.targets, rasch2024_programming.run(replace(settings, task_seed=1)).targets)


# ---- R24 Fig. 3


@cache
def column(algorithm: Any, offset: float, gradient: float = 0.01) -> list[rasch2024_column.Result]:
    settings = rasch2024_column.Settings(algorithm=algorithm, reference_mean=offset, gradient=gradient)
    return [rasch2024_column.run(settings, seed) for seed in SEEDS]


def drift(algorithm: Any, offset: float, gradient: float = 0.01) -> float:
    """Where the weights of the column end, mean over rows and seeds."""
    return fmean(float(result.slow[-1].mean()) for result in column(algorithm, offset, gradient))


@pytest.mark.parametrize("algorithm", ["TTv2", "c-TTv2", "AGAD"])
def test_fig_3_with_a_right_reference_the_gradient_is_written(algorithm: Any) -> None:
    assert all(result.slow[-1].mean() < -0.2 for result in column(algorithm, 0.0))
    assert drift(algorithm, 0.0, -0.01) == pytest.approx(-drift(algorithm, 0.0), rel=0.3)
    assert abs(drift(algorithm, 0.0, 0.0)) < 0.1


def test_fig_3_ttv2_writes_a_constant_drift_with_a_wrong_reference() -> None:
    # reads are 0.8 too large: upwards in every seed, whatever the gradient
    for gradient in (0.01, 0.0, -0.01):
        assert all(result.slow[-1].mean() > 0.2 for result in column("TTv2", OFFSET, gradient))
    assert drift("TTv2", 0.0) < -0.4
    # by about the same amount every 500 vectors; soft bounds take off a half in the end
    steps = np.diff(np.mean([result.slow[499::500].mean(axis=1) for result in column("TTv2", OFFSET)], axis=0))
    assert steps.min() > 0.04
    assert steps.max() < 2.5 * steps.min()


def test_fig_3_c_ttv2_alternates_with_transients() -> None:
    ups = downs = 0
    for result in column("c-TTv2", OFFSET):
        assert set(result.chopper) == {-1, 1}
        # reads are positive but for some transients, and enter the buffer with the sign that the chopper had before
        # its flip; where there is a write the buffer shrinks as well
        sign = np.concatenate([[1], result.chopper[:-1]])[:, None]
        buffered = np.diff(result.hidden, axis=0, prepend=0)
        written = np.diff(result.slow, axis=0, prepend=0)
        read = (buffered != 0) & (written == 0)
        assert read.sum() > 200
        assert (np.sign(buffered) == sign)[read].mean() > 0.8
        ups, downs = ups + (written > 0).sum(), downs + (written < 0).sum()
        # reads are the offset in the mean; the gradient adds to it or takes off, by a time after each flip
        for c in (-1, 1):
            assert c * (result.fast[500:][result.chopper[500:] == c].mean() - result.fast[500:].mean()) < -0.05
    # the weight goes up and down with the chopper, where with a right reference it goes down, with few exceptions
    assert min(ups, downs) > 40
    moved = np.concatenate([np.diff(result.slow, axis=0) for result in column("c-TTv2", 0.0)])
    assert (moved < 0).sum() > 10 * (moved > 0).sum()
    # something of the gradient gets through, other than in TTv2
    assert drift("c-TTv2", OFFSET) < 0.0


def test_fig_3_agad_recovers_the_gradient() -> None:
    for gradient in (0.01, -0.01):
        wrong, right = drift("AGAD", OFFSET, gradient), drift("AGAD", 0.0, gradient)
        assert wrong == pytest.approx(right, rel=0.15)
        assert abs(right) > 0.5
    assert abs(drift("AGAD", OFFSET, 0.0)) < 0.15
    for result in column("AGAD", OFFSET):
        # there is no reference before the first flip, then it takes up the offset, but for what the gradient adds to it
        # in one period and takes off in the next one
        assert not result.reference[:100].any()
        assert result.reference[-500:].mean() == pytest.approx(-OFFSET, abs=0.15)
        assert abs((result.fast - result.reference)[500:].mean()) < 0.1
    # the others have none
    assert not any(r.reference.any() or r.mean.any() for a in ("TTv2", "c-TTv2") for r in column(a, OFFSET))


# ---- R24 Fig. 4


@cache
def reduced() -> dict[tuple[Any, float], float]:
    return rasch2024_programming.run_reduced()


def test_r2_order_of_the_algorithms() -> None:
    """All orders of the reduced form; seeds vary by 2 % (without offset), 25 % (TTv2 at 0.1) and 4 % (at 0.3)."""
    error = reduced()
    assert error["Analog SGD", 0.0] > 3 * error["TTv2", 0.0]
    assert error["TTv2", 0.3] > 1.5 * error["TTv2", 0.0]
    assert error["TTv2", 0.1] > 1.05 * error["TTv2", 0.0]
    for offset in (0.1, 0.3):
        assert error["AGAD", offset] == pytest.approx(error["AGAD", 0.0], rel=0.2)
    assert error["AGAD", 0.3] < 0.5 * error["TTv2", 0.3]


def test_r2_anchors_at_20_states() -> None:
    """Analog SGD above 25 %; TTv2 "about 5 %" is 6.8 % here and "about 9 %" at 0.1 is 9 %, from 8 to 13 by seed."""
    assert reduced()["Analog SGD", 0.0] > 0.25
    assert reduced()["TTv2", 0.0] == pytest.approx(0.05, abs=0.025)
    offset = rasch2024_programming.Settings(algorithm="TTv2", reference_std=0.1)
    assert fmean(rasch2024_programming.run(offset, seed).error for seed in range(3)) == pytest.approx(0.09, abs=0.035)


def test_r2_chopping_helps_against_offsets() -> None:
    """c-TTv2 is published as unaffected by them; here it has 2.5 times its error at 0.3, where TTv2 has 8 times."""
    settings = rasch2024_programming.Settings(steps=8000)
    points = {p.reference_std: p for p in rasch2024_programming.sweep(settings, ["c-TTv2"], [20], [0.0, 0.1, 0.3])}
    error = {offset: fmean(rasch2024_programming.run(p, seed).error for seed in (0, 1)) for offset, p in points.items()}
    assert error[0.0] == pytest.approx(reduced()["TTv2", 0.0], rel=0.2)
    assert error[0.1] < 1.3 * error[0.0]
    assert 1.5 * error[0.0] < error[0.3] < 0.5 * reduced()["TTv2", 0.3]
    # reads at every vector and no momentum come near what is published
    often = replace(settings.cells, transfer_every=1, momentum=0.0)
    close = [replace(p, cells=often) for p in points.values()]
    near = [fmean(rasch2024_programming.run(p, seed).error for seed in range(4)) for p in close]
    assert near[2] < 1.5 * near[0] < 0.08


# ---- L25, the scalar toy


def losses(settings: multi_tile_toy.Settings, tiles: range) -> list[float]:
    return [multi_tile_toy.run(point).loss for point in multi_tile_toy.sweep(settings, tiles)]


def test_r3_the_loss_falls_with_every_tile_if_time_scales_are_apart() -> None:
    """Monotone from one tile to five, with the settings of the theory (`SEPARATED`), by a factor of 2.5 on average.

    Of six seeds none had a loss above 0.8 of that with a tile less.
    """
    loss = np.array(losses(multi_tile_toy.SEPARATED, range(1, 6)))
    assert (loss[1:] < 0.85 * loss[:-1]).all()
    assert loss[-1] < loss[0] / 10


def test_r3_the_loss_does_not_fall_with_the_published_settings() -> None:
    """It rises: 0.03, 0.14, 0.33, 0.45, 0.49. A simulation of independent scalar cells has the same loss."""
    loss = losses(replace(multi_tile_toy.Settings(), steps=10_000), range(1, 4))
    assert loss[0] < 0.05 < 0.1 < loss[1] < 0.2 < loss[2]
    # the targets alone make 4 % of the mean over the cells; rows share a train, but for a long time
    assert loss[2] == pytest.approx(scalar_cells(3), rel=0.2)


def scalar_cells(tiles: int, cells: int = 200, steps: int = 6000) -> float:
    """The loss of independent cells in NumPy: the published toy without any of the package."""
    rng = np.random.default_rng(1)
    b, w = rng.uniform(-1, 1, cells), np.zeros((tiles, cells))
    shares, rate, dw, slots, total = 0.1 ** np.arange(tiles - 1.0, -1, -1), 0.01, 0.5, 31, 0.0

    def pulse(tile: int, wanted: Any) -> None:
        # both lines fire with the scale factor sqrt(rate / (dw slots)) in a slot, the input is 1
        n = rng.binomial(slots, np.minimum(rate / (dw * slots) * np.abs(wanted), 1.0))
        for k in range(n.max()):
            step = np.where(wanted > 0, dw * (1 - w[tile]), -dw * (1 + w[tile]))
            w[tile] += np.where(k < n, step, 0.0)

    for step in range(1, steps + 1):
        error = shares @ w - b
        total += float((error**2).mean()) * (step > steps // 2)
        pulse(0, -2 * error)
        for tile in range(tiles - 1):
            if step % (2 * 2**tile) == 0:
                pulse(tile + 1, w[tile])
    return total / (steps - steps // 2)


# ---- networks


def outcome(accuracy: float, epochs: int = 15) -> Outcome:
    return Outcome(accuracy=[accuracy] * epochs, seconds=1.0)


def test_the_table_of_algorithms_has_all_of_them() -> None:
    jobs = mnist_fcn.jobs("folder", seeds=2)
    assert {type(job.entry.algorithm) for job in jobs} == {type(None), *map(type, ALGORITHMS)} - {og.DigitalSGD}
    assert sum(job.epochs == 10 for job in jobs) == 6
    assert len(set(jobs)) == len(jobs) == 2 * len(mnist_fcn.ENTRIES)
    done = [(job, outcome(0.5 + 0.1 * job.seed, job.epochs)) for job in jobs]
    text = mnist_fcn.report(reversed(done))
    assert text.count("| 55.0 ± 7.1 | 50.0, 60.0 |") == len(mnist_fcn.ENTRIES)
    assert all(f"| {entry.name} |" in text for entry in mnist_fcn.ENTRIES)


def test_the_table_of_symmetric_points_has_every_device_and_mean() -> None:
    jobs = symmetric_point.jobs("folder", seeds=3)
    assert [len([job for job in jobs if (job.network == "digits") == digits]) for digits in (True, False)] == [
        len(symmetric_point.ENTRIES) * 2 * 3 * seeds for seeds in (3, 2)
    ]
    done = [(job, outcome(job.device.reference_mean, job.epochs)) for job in jobs]  # type: ignore[union-attr]
    text = symmetric_point.report(done)
    assert text.count("| 0.0 ± 0.0 | 20.0 ± 0.0 | 40.0 ± 0.0 | 0.0 ± 0.0 | 20.0 ± 0.0 | 40.0 ± 0.0 |") == 2 * len(
        symmetric_point.ENTRIES
    )
    # without the files there are digits alone
    assert {job.network for job in symmetric_point.jobs(None)} == {"digits"}
    assert "## MNIST" not in symmetric_point.report(pair for pair in done if pair[0].network == "digits")


@pytest.mark.parametrize("entry", mnist_fcn.ENTRIES, ids=lambda entry: str(entry.name))
def test_every_entry_trains(entry: Entry, tmp_path: Path) -> None:
    """On files as MNIST's, with a few images of noise."""
    job = next(job for job in mnist_fcn.jobs(str(mnist_files(tmp_path))) if job.entry == entry)
    done = mnist_fcn.work(replace(job, epochs=2))
    assert len(done.accuracy) == 2
    assert done == replace(mnist_fcn.work(replace(job, epochs=2)), seconds=done.seconds)


def test_a_network_learns_digits_where_its_device_allows_it() -> None:
    jobs = symmetric_point.jobs(None, seeds=1)
    right, wrong = (
        next(j for j in jobs if j.entry.name == "Tiki-Taka" and j.device == symmetric_point.devices(mean)["100 states"])
        for mean in (0.0, 0.4)
    )
    # three seeds: 88, 90, 89 % and 74, 67, 68 %
    accuracies = [symmetric_point.work(replace(job, epochs=5)).accuracy[-1] for job in (right, wrong)]
    assert accuracies[0] > 0.8
    assert accuracies[0] > accuracies[1] + 0.08
