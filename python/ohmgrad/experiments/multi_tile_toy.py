"""One weight made of one to five tiles of four states: how far below the step of a device does the error fall?

The loss ``(w - b)^2`` of a scalar layer whose input is 1, for targets ``b`` drawn from the 2^16-point grid of [-1, 1];
soft bounds +-1 with ``dw_min = 0.5``, an ideal periphery, pulses without management. After the toy example of arXiv
2510.02516, whose settings are the defaults; those of its published code (parameters named as in aihwkit): tile ``i``
from the fast one on hands over every ``2 * 2^i`` vectors, at the fixed rate 0.01, and there is no warm start.

Where this differs: the rows of a tile are the targets, so that they share the pulse train of the input. A row has the
law of a scalar layer, but rows are not independent of each other; `Result.loss` is the mean over them. With one tile
there are no transfers, that is Analog SGD.

With the published settings the loss *rises* with the tiles that are added, where the paper has it fall: root mean
squared errors 0.20, 0.36, 0.56, 0.66, 0.66 for one to five tiles. Independent scalar cells simulated in NumPy give the
same (0.37, 0.57, 0.66 for two to four). A chain of integrators without a gap between their time scales oscillates
(so it does without granularity, from three tiles on), and with a share of 0.1 a tile cannot make up for a step of 0.5
of the next one. None of these brings it below the error of one tile: cumulated periods, as in the text of the paper;
the warm start, or both; transfer rates times the learning rate; pulses with management; one slot; shares of 0.25 or 0.5
alone; 500 to 200,000 vectors.
`SEPARATED` are settings as the theory of the paper wants them, with which the error does fall.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..algorithms import Algorithm, AnalogSGD, MultiTileResidualLearning
from ..devices import SoftBounds
from ..pulses import PulseTrain
from ..tile import Tile
from ._training import markdown, mean_std


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """The published ones, and how long and how often.

    - ``n_tiles``: 1 or more. ``dw_min``: step of a device at zero, ``2 / dw_min`` states.
    - ``gamma``, ``fast_lr``, ``transfer_every``, ``transfer_every_factor``, ``transfer_lr``, ``scale_transfer_lr``,
      ``warm_start``: of :class:`ohmgrad.MultiTileResidualLearning`. ``lr``: learning rate, of one tile alone unless
      ``scale_transfer_lr``.
    - ``pulses``: of gradients and transfers.
    - ``targets``: rows of the tile, each with a target of its own. ``steps``: vectors. ``epoch``: vectors after which
      the algorithm is told the mean loss; a warm start goes by it.
    """

    n_tiles: int = 1
    dw_min: float = 0.5
    gamma: float = 0.1
    fast_lr: float = 0.01
    lr: float = 0.001
    transfer_every: float = 2.0
    transfer_every_factor: float = 2.0
    transfer_lr: float = 0.01
    scale_transfer_lr: bool = False
    warm_start: bool = False
    pulses: PulseTrain = PulseTrain(update_management=False, update_bl_management=False)
    targets: int = 64
    steps: int = 20_000
    epoch: int = 1000


SEPARATED = Settings(
    gamma=0.5,
    fast_lr=0.5,
    lr=0.01,
    transfer_every=10.0,
    transfer_every_factor=20.0,
    warm_start=True,
    steps=30_000,
)
"""Time scales apart from each other, a tile that makes up for a step of the next one (``gamma = dw_min``), and the warm
start of the paper: root mean squared errors 0.20, 0.15, 0.10, 0.07, 0.03 for one to five tiles (six seeds)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """``loss``: its mean over targets and the last quarter of the vectors. ``trace``: its mean over each epoch.

    ``weights``, ``targets``: float64 ``[targets]``. ``stage``: of the warm start, ``n_tiles - 1`` is the cascade.
    """

    loss: float
    trace: NDArray[np.float64]
    weights: NDArray[np.float64]
    targets: NDArray[np.float64]
    stage: int


def run(settings: Settings = Settings(), seed: int = 0) -> Result:
    """Trains the weights of all targets from zero; ``seed`` picks the targets and the pulses.

    >>> from ohmgrad.experiments import multi_tile_toy
    >>> result = multi_tile_toy.run(multi_tile_toy.Settings(targets=8, steps=4000))
    >>> bool(result.loss < 0.01), result.trace.shape, result.stage
    (True, (4,), 0)
    """
    points = np.random.default_rng(seed).integers(0, 2**16, settings.targets)
    targets = np.asarray(points / (2**16 - 1) * 2 - 1, dtype=np.float64)
    tile = Tile(
        settings.targets,
        1,
        device=SoftBounds(dw_min=settings.dw_min),
        algorithm=_algorithm(settings),
        pulses=settings.pulses,
        seed=seed,
    )
    one = np.ones((1, 1), np.float32)
    losses = np.empty(settings.steps)
    trace: list[float] = []
    for step in range(settings.steps):
        error = tile.forward(one) - targets
        losses[step] = (error**2).mean()
        tile.update(one, 2 * error, settings.lr)
        if (step + 1) % settings.epoch == 0:
            trace.append(float(losses[step + 1 - settings.epoch : step + 1].mean()))
            tile.end_epoch(trace)
    return Result(
        loss=float(losses[-max(settings.steps // 4, 1) :].mean()),
        trace=np.array(trace),
        weights=tile.weights[:, 0].astype(np.float64),
        targets=targets,
        stage=tile.stage,
    )


def sweep(settings: Settings = Settings(), tiles: Iterable[int] = range(1, 6)) -> Iterator[Settings]:
    """``settings`` with each of these numbers of tiles."""
    return (replace(settings, n_tiles=n) for n in tiles)


def jobs(seeds: int = 3) -> list[tuple[Settings, int]]:
    """One to five tiles with the published settings and with `SEPARATED`, for the seeds 0, 1, ..."""
    points = [*sweep(), *sweep(SEPARATED)]
    return [(settings, seed) for settings in points for seed in range(seeds)]


def work(job: tuple[Settings, int]) -> float:
    """The root mean squared error of one run."""
    return float(run(*job).loss ** 0.5)


def report(done: Iterable[tuple[tuple[Settings, int], float]]) -> str:
    """The errors, in Markdown."""
    errors, rows = list(done), []
    for name, base in (("published", Settings()), ("time scales apart", SEPARATED)):
        points = list(sweep(base))
        of = [[error for (settings, _), error in errors if settings == point] for point in points]
        rows.append([name, *(mean_std(each, unit=1.0, digits=3) for each in of)])
    text = "Root mean squared error, mean and standard deviation over the seeds, by number of tiles:\n\n"
    return text + markdown(["settings", *(str(point.n_tiles) for point in sweep())], rows)


def _algorithm(settings: Settings) -> Algorithm:
    if settings.n_tiles == 1:
        return AnalogSGD()
    return MultiTileResidualLearning(
        n_arrays=settings.n_tiles,
        gamma=settings.gamma,
        fast_lr=settings.fast_lr,
        transfer_every=settings.transfer_every,
        transfer_every_factor=settings.transfer_every_factor,
        transfer_lr=settings.transfer_lr,
        transfer_lr_factor=1.0,
        scale_transfer_lr=settings.scale_transfer_lr,
        warm_start=settings.warm_start,
    )
