"""Weights programmed by training: how far from their targets do the algorithms end, with how wrong a reference?

Fig. 4 of M. J. Rasch et al., "Fast and robust analog in-memory deep neural network training", Nat. Commun. 15, 7133
(2024). A 20 x 20 array learns a target matrix (normal, standard deviation 0.3) from normal inputs; errors are those of
the squared distance of the outputs. Devices and rates as in Fig. 3 (:mod:`.rasch2024_column`), except that the bounds
of the slow array are those of the mean cell, sigma_+- = 0.1, and the reference of the fast array is the symmetric point
of each cell plus a normal number of standard deviation sigma_r. The error is the standard deviation of weight minus
target, mean over the last fifth of the run. The paper averages three construction seeds; target and inputs are fixed.

Measured here (three seeds, 20,000 vectors) and published, errors in percent of the range from zero to a bound:

    n_states = 20    sigma_r = 0    0.1    0.3    0.5     published
    Analog SGD               30                           above 25
    Tiki-Taka                12     14     42     63      -
    TTv2                      7      9     56     77      about 5, about 9 at sigma_r = 0.1
    c-TTv2                    6      7     16     28      unaffected up to large offsets at few states
    AGAD                     14     14     14     14      does not depend on sigma_r

What holds: Analog SGD far off, both figures of TTv2 within 2 percent, AGAD whatever the reference. What does not:
c-TTv2 suffers from large offsets; at sigma_r = 0.5 its error is 1.3 times that at 0 with 4 states, 4 times with 20 and
7 times with 200, so it is the worse the more states, as published. AGAD falls from 52 percent at 4 states to 3 at 200,
where the paper has it flat.

What the paper does not say, and what it changes (in percent, at 20 states and sigma_r = 0, 0.1): reads every second
vector, as in its run-time table, TTv2 5.9 and 8.8; momentum 0, TTv2 5.7 and 8.2, AGAD 8; that and
``tail_weightening=1`` (aihwkit's default in C++), AGAD 6; reads at every vector and momentum 0, c-TTv2 5, and 8 at
sigma_r = 0.5, nearly as published; a gradient rate that is scaled automatically (``eta_0 = 1``), TTv2 6.1 and 8.4, AGAD
11; keeping the rest in the buffer, TTv2 7.1 and 10.3. Errors divided by the number of outputs let Analog SGD reach 18,
so they are not. Analog SGD has trains of 5 slots as the others; 31 make it 33. The paper has no Tiki-Taka; its rates
here are those of TTv2.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from statistics import fmean
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from ..algorithms import Algorithm, AnalogSGD, DigitalSGD, TikiTaka
from ..pulses import PulseTrain
from ..tile import Tile
from . import rasch2024_column as column
from ._training import markdown, mean_std

Name = Literal["Analog SGD", "Tiki-Taka", "TTv2", "c-TTv2", "AGAD"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """The published ones.

    - ``algorithm``: ``"Analog SGD"``, ``"Tiki-Taka"``, ``"TTv2"``, ``"c-TTv2"`` or ``"AGAD"``.
    - ``n_states``: 2 over the step of a device. ``reference_std`` (sigma_r): spread of the reference of the fast array.
    - ``target_std``, ``input_std``: of targets and inputs, which ``task_seed`` picks. ``steps``: vectors.
    - ``cells``: everything else, as in Fig. 3 except sigma_+-; its ``size`` is that of the array.
    """

    algorithm: Name = "AGAD"
    n_states: float = 20.0
    reference_std: float = 0.0
    target_std: float = 0.3
    input_std: float = 1.0
    task_seed: int = 0
    steps: int = 20_000
    cells: column.Settings = field(default_factory=lambda: column.Settings(size=20, up_down_dtod=0.1))


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """``error``: standard deviation of weight minus target, its mean over the last fifth of the run.

    ``trace``: that error after the first and then every 20th vector. ``weights``, ``targets``: ``[size, size]``.
    """

    error: float
    trace: NDArray[np.float64]
    weights: NDArray[np.float32]
    targets: NDArray[np.float32]


def run(settings: Settings = Settings(), seed: int = 0) -> Result:
    """Programs one matrix, one point of the figure; ``seed`` picks devices and noise.

    >>> from ohmgrad.experiments import rasch2024_programming
    >>> result = rasch2024_programming.run(rasch2024_programming.Settings(algorithm="TTv2", steps=8000))
    >>> bool(0.05 < result.error < 0.09)
    True
    """
    n = settings.cells.size
    fine = replace(settings.cells, dw_min=2 / settings.n_states)
    slow = column.cells(replace(fine, bounds_dtod=0.0))
    fast = column.cells(fine, subtract_symmetry_point=True, reference_std=settings.reference_std)
    tile = Tile(
        n,
        n,
        device=slow if settings.algorithm == "Analog SGD" else {"fast": fast, "slow": slow},
        algorithm=_algorithm(settings),
        pulses=PulseTrain(desired_bl=fine.desired_bl),
        seed=seed,
    )
    rng = np.random.default_rng(settings.task_seed)
    goal = Tile(n, n, algorithm=DigitalSGD())
    goal.set_weights(settings.target_std * rng.standard_normal((n, n)))
    targets = goal.weights
    inputs = (settings.input_std * rng.standard_normal((settings.steps, n))).astype(np.float32)
    outputs = goal.forward(inputs)
    trace = []
    for step in range(settings.steps):
        x, y = inputs[step : step + 1], outputs[step : step + 1]
        tile.update(x, tile.forward(x) - y, fine.lr)
        if step % 20 == 0:
            trace.append(float(np.std(tile.weights - targets, dtype=np.float64)))
    last = trace[-max(len(trace) // 5, 1) :]
    return Result(error=fmean(last), trace=np.array(trace), weights=tile.weights, targets=targets)


def sweep(
    settings: Settings = Settings(),
    algorithms: Iterable[Name] = ("Analog SGD", "TTv2", "c-TTv2", "AGAD"),
    n_states: Iterable[float] = (4, 10, 20, 50, 200),
    references: Iterable[float] = (0.0, 0.1, 0.3, 0.5),
) -> Iterator[Settings]:
    """The panels of the figure on a coarse grid; Analog SGD has no reference, so it comes once per number of states."""
    states, offsets = tuple(n_states), tuple(references)
    for name in algorithms:
        for n in states:
            for offset in offsets[:1] if name == "Analog SGD" else offsets:
                yield replace(settings, algorithm=name, n_states=n, reference_std=offset)


def run_reduced(
    settings: Settings = Settings(steps=8000), seeds: Iterable[int] = (0, 1)
) -> dict[tuple[Name, float], float]:
    """What the figure says, in a few seconds: mean error over the seeds by algorithm and spread of the reference.

    Analog SGD without, TTv2 and AGAD without and with a spread of 0.1 and 0.3.
    """
    chosen = tuple(seeds)
    return {
        (point.algorithm, point.reference_std): fmean(run(point, seed).error for seed in chosen)
        for point in sweep(settings, ("Analog SGD", "TTv2", "AGAD"), (settings.n_states,), (0.0, 0.1, 0.3))
    }


def jobs(seeds: int = 3) -> list[tuple[Settings, int]]:
    """The panels on a coarse grid, with Tiki-Taka as well, for the seeds 0, 1, ..."""
    points = [*sweep(), *sweep(algorithms=("Tiki-Taka",), n_states=(20,))]
    return [(settings, seed) for settings in points for seed in range(seeds)]


def work(job: tuple[Settings, int]) -> float:
    """The error of one matrix."""
    return run(*job).error


def report(done: Iterable[tuple[tuple[Settings, int], float]]) -> str:
    """The errors, in Markdown."""
    errors: dict[tuple[str, float], dict[float, list[float]]] = {}
    for (settings, _), error in done:
        row = errors.setdefault((settings.algorithm, settings.n_states), {})
        row.setdefault(settings.reference_std, []).append(error)
    offsets = sorted({offset for row in errors.values() for offset in row})
    order = {name: at for at, name in enumerate(get_args(Name))}
    rows = [
        [name, f"{n:g}", *(mean_std(errors[name, n][o]) if o in errors[name, n] else "" for o in offsets)]
        for name, n in sorted(errors, key=lambda point: (order[point[0]], point[1]))
    ]
    text = "Error in percent, mean and standard deviation over the seeds, by spread of the reference:\n\n"
    return text + markdown(["", "states", *(f"sigma_r = {offset:g}" for offset in offsets)], rows)


def _algorithm(settings: Settings) -> Algorithm:
    if settings.algorithm == "Analog SGD":
        return AnalogSGD()
    if settings.algorithm == "Tiki-Taka":
        cells = settings.cells
        return TikiTaka(fast_lr=cells.fast_lr, transfer_every=cells.transfer_every, units_in_mbatch=False)
    if settings.algorithm not in get_args(Name):
        raise ValueError(f"algorithm must be one of {', '.join(get_args(Name))}, got {settings.algorithm!r}")
    return column.plan(settings.algorithm, settings.cells)
