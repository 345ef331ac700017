"""What the arrays of TTv2, c-TTv2 and AGAD do under a constant mean gradient, with a right and with a wrong reference.

Fig. 3 of M. J. Rasch et al., "Fast and robust analog in-memory deep neural network training", Nat. Commun. 15, 7133
(2024): a 5 x 5 array of soft-bounds devices with steps of 0.05 and all spreads and noises 0.3, whose reference is the
symmetric point of each cell plus an offset of 0 or -0.8; lambda = 0.1, lambda_A = 1; column 0 is looked at.

What came out, as in the paper: with the right reference all three write the gradient. With the offset, which makes
reads 0.8 too large, TTv2 writes upwards at a constant rate whatever the gradient; in c-TTv2 the buffer moves up and
down with the chopper, and the weight with it; AGAD writes as with the right reference, once it has measured one.

Where this differs, or the paper does not say: the gradient is ``gradient`` plus normal noise of one line of errors, at
inputs of 1, small enough that the fast array takes about two reads to settle (then transients can be seen); the rest is
as the paper has it for its networks: reads every n_s = 5 vectors, gamma_0 = 200, momentum 0.5, flips with probability
0.1 (AGAD: in every tenth pass), trains of 5 slots. Products and reads are exact.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from ..algorithms import AGAD, Algorithm, ChoppedTikiTakaV2, TikiTakaV2
from ..devices import SoftBoundsReference
from ..pulses import PulseTrain
from ..tile import Tile
from ._training import markdown, mean_std

Buffered = Literal["TTv2", "c-TTv2", "AGAD"]
Floats = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """The published ones; names of the paper in brackets.

    - ``algorithm``: ``"TTv2"``, ``"c-TTv2"`` or ``"AGAD"``. ``size``: rows and columns.
    - ``dw_min`` (delta), ``bounds_dtod`` (sigma_b), ``up_down_dtod`` (sigma_+-), ``dw_min_dtod`` (sigma_d2d),
      ``dw_min_std`` (sigma_c2c): the cells of both arrays.
    - ``reference_mean`` (mu_r): what the reference of the fast array is off its symmetric points.
    - ``lr`` (lambda), ``fast_lr`` (lambda_A), ``transfer_every`` (n_s), ``auto_granularity`` (gamma_0), ``momentum``,
      ``in_chop_prob``, ``desired_bl`` (l_max): of the algorithm.
    - ``gradient``, ``gradient_std``: mean and standard deviation of every error; inputs are 1. ``steps``: vectors.
    """

    algorithm: Buffered = "AGAD"
    size: int = 5
    dw_min: float = 0.05
    bounds_dtod: float = 0.3
    up_down_dtod: float = 0.3
    dw_min_dtod: float = 0.3
    dw_min_std: float = 0.3
    reference_mean: float = 0.0
    lr: float = 0.1
    fast_lr: float = 1.0
    transfer_every: int = 5
    auto_granularity: float = 200.0
    momentum: float = 0.5
    in_chop_prob: float = 0.1
    desired_bl: int = 5
    gradient: float = 0.01
    gradient_std: float = 0.02
    steps: int = 2500


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """Column 0 after every vector, float32 ``[steps, rows]`` each, and the sign of its chopper, ``[steps]``.

    ``fast`` is as it is read, without its reference; ``hidden`` is in pulses; ``mean`` and ``reference`` are those of
    AGAD, and zero for the others; ``slow`` is the weight.
    """

    fast: Floats
    hidden: Floats
    mean: Floats
    reference: Floats
    slow: Floats
    chopper: NDArray[np.int8]


def run(settings: Settings = Settings(), seed: int = 0) -> Result:
    """Trains for ``settings.steps`` vectors; ``seed`` picks devices, noise and gradients.

    >>> from ohmgrad.experiments import rasch2024_column
    >>> wrong = rasch2024_column.Settings(algorithm="TTv2", reference_mean=-0.8)
    >>> bool(rasch2024_column.run(wrong).slow[-1].mean() > 0.1)
    True
    """
    n = settings.size
    tile = Tile(
        n,
        n,
        device={
            "fast": cells(settings, subtract_symmetry_point=True, reference_mean=settings.reference_mean),
            "slow": cells(settings),
        },
        algorithm=plan(settings.algorithm, settings),
        pulses=PulseTrain(desired_bl=settings.desired_bl),
        seed=seed,
    )
    noise = np.random.default_rng(seed).standard_normal((settings.steps, n))
    errors = settings.gradient + settings.gradient_std * noise
    traces = {name: np.zeros((settings.steps, n), np.float32) for name in _TRACES}
    chopper = np.ones(settings.steps, np.int8)
    one = np.ones(n, np.float32)
    for step, d in enumerate(errors):
        tile.update(one, d, settings.lr)
        for name, matrix in tile.arrays.items():
            traces[name][step] = matrix.weights[:, 0]
        if (flips := tile.state_dict().get("chopper.line")) is not None:
            chopper[step] = -1 if flips[0] else 1
    return Result(**traces, chopper=chopper)


def sweep(settings: Settings = Settings(), references: Iterable[float] = (0.0, -0.8)) -> Iterator[Settings]:
    """The panels of the figure: ``settings`` for every algorithm and each of these offsets of the reference."""
    offsets = tuple(references)
    return (replace(settings, algorithm=name, reference_mean=mu) for name in get_args(Buffered) for mu in offsets)


def jobs(seeds: int = 4) -> list[tuple[Settings, int]]:
    """Every panel, for the seeds 0, 1, ..., and the same without a gradient."""
    points = [*sweep(), *sweep(Settings(gradient=0.0))]
    return [(settings, seed) for settings in points for seed in range(seeds)]


def work(job: tuple[Settings, int]) -> float:
    """Where the weights of the column end, their mean."""
    return float(run(*job).slow[-1].mean())


def report(done: Iterable[tuple[tuple[Settings, int], float]]) -> str:
    """The end weights, in Markdown."""
    ends = list(done)
    columns = [(gradient, mu) for gradient in (Settings().gradient, 0.0) for mu in (0.0, -0.8)]
    rows = []
    for name in get_args(Buffered):
        row = [name]
        for wanted in columns:
            same = [end for (s, _), end in ends if (s.algorithm, s.gradient, s.reference_mean) == (name, *wanted)]
            row.append(mean_std(same, unit=1.0, digits=2))
        rows.append(row)
    heads = [f"gradient {gradient:g}, mu_r = {mu:g}" for gradient, mu in columns]
    return "Mean weight of the column after the last vector, over the seeds:\n\n" + markdown(["", *heads], rows)


def cells(
    settings: Settings,
    *,
    subtract_symmetry_point: bool = False,
    reference_mean: float = 0.0,
    reference_std: float = 0.0,
) -> SoftBoundsReference:
    """The device of the paper, soft bounds around +-1 with log-normal steps and additive noise."""
    return SoftBoundsReference(
        dw_min=settings.dw_min,
        dw_min_dtod=settings.dw_min_dtod,
        dw_min_dtod_log_normal=True,
        dw_min_std=settings.dw_min_std,
        up_down_dtod=settings.up_down_dtod,
        w_max_dtod=settings.bounds_dtod,
        w_min_dtod=settings.bounds_dtod,
        subtract_symmetry_point=subtract_symmetry_point,
        reference_mean=reference_mean,
        reference_std=reference_std,
    )


def plan(name: Buffered, settings: Settings) -> Algorithm:
    """The algorithm of that name with the rates of the paper.

    Its buffer gains ``lambda n_s n / (gamma_0 delta)`` of what is read.
    """
    rates: dict[str, Any] = dict(
        fast_lr=settings.fast_lr,
        transfer_every=settings.transfer_every,
        auto_granularity=settings.auto_granularity,
        momentum=settings.momentum,
    )
    match name:
        case "TTv2":
            return TikiTakaV2(variant="chopped", units_in_mbatch=False, **rates)
        case "c-TTv2":
            return ChoppedTikiTakaV2(in_chop_prob=settings.in_chop_prob, **rates)
        case "AGAD":
            return AGAD(auto_scale=False, in_chop_prob=settings.in_chop_prob, **rates)
        case _:
            raise ValueError(f"algorithm must be one of {', '.join(get_args(Buffered))}, got {name!r}")


_TRACES = ("fast", "hidden", "mean", "reference", "slow")
