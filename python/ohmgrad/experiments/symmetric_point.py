"""The symmetric point moved away from where the algorithms expect it: who still trains?

Every array has devices whose symmetric point is subtracted with a mean error of 0, 0.2 or 0.4 (``reference_mean``): the
HfO2 ReRAM of ``og.presets`` with four states, and soft bounds of 100 states with spreads of 30 % and a reference that
is 0.05 off in the mean square. Digits with 64-32-10 and tanh, 15 epochs, and MNIST with 784-256-128-10 and sigmoids, 2
epochs; weights scaled to 0.3, ``IO.kit()``, learning rate 0.05 (Analog SGD: 0.01), settings of aihwkit's
``build_config`` where it has the algorithm. After Tables 1 and 2 of arXiv 2602.21321, whose runs are longer (40 epochs)
and on HfO2 alone.
"""

from __future__ import annotations

from collections.abc import Iterable

from .. import algorithms as a
from ..devices import SoftBoundsReference
from ..presets import reram_array_hfo2
from ..pulses import PulseTrain
from ._training import Entry, Job, Outcome, markdown, mean_std, train

MEANS = (0.0, 0.2, 0.4)
_FIVE, _OMEGA = PulseTrain(desired_bl=5), 0.3

ENTRIES = (
    Entry(name="Analog SGD", algorithm=a.AnalogSGD(), lr=0.01, omega=_OMEGA),
    Entry(name="Tiki-Taka", algorithm=a.TikiTaka(fast_lr=1.0, scale_fast_lr=True), omega=_OMEGA),
    Entry(
        name="TTv2",
        algorithm=a.TikiTakaV2(variant="chopped", fast_lr=1.0, momentum=0.0, units_in_mbatch=False),
        pulses=_FIVE,
        omega=_OMEGA,
        published="90.3 / - / 72.0",
    ),
    Entry(name="Residual Learning v2", algorithm=a.ResidualLearningV2(), pulses=_FIVE, omega=_OMEGA),
    Entry(
        name="c-TTv2", algorithm=a.ChoppedTikiTakaV2(fast_lr=0.1, auto_scale=True), pulses=_FIVE, omega=_OMEGA
    ),
    Entry(
        name="AGAD",
        algorithm=a.AGAD(transfer_pulses=PulseTrain(desired_bl=1)),
        pulses=_FIVE,
        omega=_OMEGA,
        published="92.6 / - / 92.6",
    ),
    Entry(name="E-RIDER, equations", algorithm=a.ERIDER(), omega=_OMEGA),
    Entry(
        name="E-RIDER, published code",
        algorithm=a.AGAD(
            gamma=0.1, subtract_reference=True, in_chop_prob=0.05, fast_lr=0.5, auto_scale=False,
            transfer_lr=0.05, scale_transfer_lr=False, auto_granularity=1000,
        ),
        pulses=_FIVE,
        omega=_OMEGA,
        published="95.5 / - / 96.1",
    ),
)  # fmt: skip
"""What is trained; ``published`` is Table 2 of arXiv 2602.21321 (FCN on MNIST, standard deviation 0.05)."""


def devices(mean: float) -> dict[str, SoftBoundsReference]:
    """The two devices with their symmetric point moved by `mean`."""
    soft = SoftBoundsReference(
        dw_min=0.02, dw_min_dtod=0.3, dw_min_std=0.3, w_max_dtod=0.3, w_min_dtod=0.3, up_down_dtod=0.01,
        subtract_symmetry_point=True, reference_std=0.05, reference_mean=mean,
    )  # fmt: skip
    return {"HfO2": reram_array_hfo2(reference_mean=mean), "100 states": soft}


def jobs(mnist: str | None, seeds: int = 5) -> list[Job]:
    """Digits for each of the seeds 0, 1, ..., and with `mnist`, a folder, MNIST for the first two of them."""
    networks = [("digits", 15, seeds)] + ([] if mnist is None else [(mnist, 2, min(seeds, 2))])
    return [
        Job(entry=entry, device=device, network=network, epochs=epochs, seed=seed)
        for network, epochs, n in reversed(networks)
        for entry in ENTRIES
        for mean in MEANS
        for device in devices(mean).values()
        for seed in range(n)
    ]


work = train


def report(done: Iterable[tuple[Job, Outcome]]) -> str:
    """The tables, in Markdown."""
    runs = list(done)
    text = ""
    for title, digits in (("Digits", True), ("MNIST", False)):
        here = [(job, outcome) for job, outcome in runs if (job.network == "digits") == digits]
        if not here:
            continue
        heads = [f"{kind}, {mean:g}" for kind in devices(0.0) for mean in MEANS]
        rows = []
        for entry in ENTRIES:
            row = [entry.name]
            for kind in devices(0.0):
                for mean in MEANS:
                    same = (entry, devices(mean)[kind])
                    row.append(mean_std([o.accuracy[-1] for job, o in here if (job.entry, job.device) == same]))
            rows.append(row + ([] if digits else [entry.published or "-"]))
        epochs = here[0][0].epochs
        text += (
            f"## {title}\n\nTest accuracy in percent after {epochs} epochs, by device and mean of the reference:\n\n"
        )
        text += markdown(["", *heads, *([] if digits else ["published, HfO2: 0 / .2 / .4"])], rows) + "\n"
    settings = [[entry.name, f"`{entry.algorithm!r}`", f"{entry.lr:g}"] for entry in ENTRIES]
    return text + "## Settings\n\n" + markdown(["", "algorithm", "lr"], settings)
