"""Every algorithm on the papers' fully connected network for MNIST, each with the settings of its source.

784-256-128-10 with sigmoids on raw pixels in [0, 1], negative log-likelihood, batches of 10, digital biases, a learned
output scale per layer; soft-bounds devices +-0.6 with 1200 states and no variation; the periphery of ``IO.kit()``.
Learning rate 0.05, digital 0.1. Sources: Z. Wu et al., arXiv 2406.12774 and 2502.06309, and their scripts (Tiki-Taka,
Residual Learning, the second versions with 5 slots and weights scaled to 0.3); aihwkit's ``build_config`` (the rows
that say so); arXiv 2510.02516 (multi-tile); arXiv 2602.21321 (E-RIDER). The network begins on a plateau of chance,
which runs leave at different times: after one epoch some have not.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from .. import algorithms as a
from ..devices import SoftBoundsReference
from ..pulses import PulseTrain
from ._training import Entry, Job, Outcome, markdown, mean_std, train

DEVICE = SoftBoundsReference(w_max=0.6, w_min=-0.6, dw_min=0.001)
_FIVE = PulseTrain(desired_bl=5)
_STATES = 1200

ENTRIES = (
    Entry(name="digital SGD", algorithm=None, lr=0.1),
    Entry(name="Analog SGD", algorithm=a.AnalogSGD()),
    Entry(name="Tiki-Taka", algorithm=a.TikiTaka(fast_lr=0.01)),
    Entry(name="Residual Learning", algorithm=a.ResidualLearning(fast_lr=0.01)),
    Entry(
        name="TTv2, scripts",
        algorithm=a.TikiTakaV2(variant="chopped", fast_lr=0.01, momentum=0.0, auto_granularity=1000),
        pulses=_FIVE,
        omega=0.3,
    ),
    Entry(
        name="TTv2, build_config",
        algorithm=a.TikiTakaV2(variant="chopped", fast_lr=1.0, momentum=0.0, units_in_mbatch=False),
        pulses=_FIVE,
        published="92.2",
    ),
    Entry(
        name="Residual Learning v2, scripts",
        algorithm=a.ResidualLearningV2(
            mode="threshold", gamma=1 / _STATES, beta_w=0.11 + 1 / _STATES, auto_granularity=100
        ),
        pulses=_FIVE,
        omega=0.3,
    ),
    Entry(
        name="Residual Learning v2, paper's rule, a read per vector",
        algorithm=a.ResidualLearningV2(units_in_mbatch=False),
        pulses=_FIVE,
        omega=0.3,
    ),
    Entry(
        name="c-TTv2, build_config",
        algorithm=a.ChoppedTikiTakaV2(fast_lr=0.1, auto_scale=True),
        pulses=_FIVE,
        published="87.4",
    ),
    Entry(
        name="AGAD, build_config",
        algorithm=a.AGAD(transfer_pulses=PulseTrain(desired_bl=1)),
        pulses=_FIVE,
        published="86.4",
    ),
    Entry(name="multi-tile, three arrays", algorithm=a.MultiTileResidualLearning()),
    Entry(name="mixed precision", algorithm=a.MixedPrecision()),
    Entry(name="E-RIDER, equations", algorithm=a.ERIDER()),
    Entry(
        name="E-RIDER, published code",
        algorithm=a.AGAD(
            gamma=0.1, subtract_reference=True, in_chop_prob=0.05, fast_lr=0.5, auto_scale=False,
            transfer_lr=0.05, scale_transfer_lr=False, auto_granularity=1000,
        ),
        pulses=_FIVE,
    ),
)  # fmt: skip
"""What is trained; ``published`` is the peer's single run after one epoch."""

LONG = ("TTv2, build_config", "Residual Learning v2, paper's rule, a read per vector", "AGAD, build_config")
"""What is trained for ten epochs."""


def jobs(mnist: str, seeds: int = 3) -> list[Job]:
    """One epoch of every entry, ten of three of them, for each of the seeds 0, 1, ...; `mnist` is a folder."""
    epochs = [(entry, 1) for entry in ENTRIES if entry.name not in LONG]
    epochs += [(entry, 10) for entry in ENTRIES if entry.name in LONG]
    return [
        Job(entry=entry, device=DEVICE, network=mnist, epochs=n, seed=seed)
        for entry, n in sorted(epochs, key=lambda pair: -pair[1])
        for seed in range(seeds)
    ]


work = train


def report(done: Iterable[tuple[Job, Outcome]]) -> str:
    """The tables, in Markdown."""
    runs = sorted(done, key=lambda pair: pair[0].seed)
    of = {entry.name: [outcome for job, outcome in runs if job.entry.name == entry.name] for entry in ENTRIES}
    rows = [[e.name, f"`{e.algorithm!r}`", *_columns(of[e.name]), e.published or "-"] for e in ENTRIES]
    rows = [[row[0], row[1].replace("`None`", "exact"), *row[2:]] for row in rows]
    text = "Test accuracy in percent, mean and standard deviation over the seeds, after one epoch:\n\n"
    text += markdown(["what", "algorithm", "accuracy", "seeds", "aihwkit"], rows)
    text += "\nAfter 1, 2, 3, 5 and 10 epochs:\n\n"
    long = [[name, *_epochs(of[name])] for name in LONG]
    return text + markdown(["what", "1", "2", "3", "5", "10"], long)


def _columns(outcomes: Sequence[Outcome]) -> list[str]:
    first = [outcome.accuracy[0] for outcome in outcomes]
    return [mean_std(first), ", ".join(f"{100 * accuracy:.1f}" for accuracy in first)]


def _epochs(outcomes: Sequence[Outcome]) -> list[str]:
    return [mean_std([outcome.accuracy[epoch - 1] for outcome in outcomes]) for epoch in (1, 2, 3, 5, 10)]
