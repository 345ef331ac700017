"""``ohmgrad demo``."""

from __future__ import annotations

import json
import math
import time
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ._options import device_of, parameter

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from ..demo import Result


def _names(text: str) -> tuple[str, ...]:
    from ..demo import ALGORITHMS

    names = tuple(dict.fromkeys(name.strip() for name in text.split(",")))
    if names == ("all",):
        return tuple(ALGORITHMS)
    for name in names:
        if name not in ALGORITHMS:
            raise ValueError(f"unknown algorithm {name!r}; known: all, {', '.join(ALGORITHMS)}")
    return names


def _rates(text: str) -> tuple[float, ...]:
    rates = tuple(dict.fromkeys(float(rate) for rate in text.split(",")))
    for rate in rates:
        if not 0 < rate < math.inf:
            raise ValueError(f"learning rates must be finite and > 0, got {rate}")
    return rates


@click.command()
@click.option("--device", callback=parameter(device_of), help="Such as 'SoftBounds(dw_min=0.002, w_max=1)'.")
@click.option("--algorithms", callback=parameter(_names), help="Such as tiki-taka,agad; all: all there are.")
@click.option("--lr", "rates", callback=parameter(_rates), help="Learning rates, such as 0.01,0.05.")
@click.option("--seeds", type=click.IntRange(1, 1000), help="Number of seeds (5).")
@click.option("--epochs", type=click.IntRange(1, 10000), help="Epochs of every run (15).")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), default="ohmgrad-demo", show_default=True)
def demo(out: Path, **chosen: Any) -> None:
    """Compare training algorithms on one device.

    A 64-32-10 network learns 8x8 handwritten digits with every algorithm, learning rate and seed, on all cores. The
    learning rate is chosen by validation accuracy, the table shows the test accuracy there. The folder OUT receives
    every number as demo.json and, if matplotlib is installed, the picture demo.png.
    """
    _demo(out, {key: value for key, value in chosen.items() if value is not None})


def _demo(out: Path, chosen: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from .. import demo as experiment
    from ..checkpoint import write

    settings = experiment.Settings(**chosen)
    console, started, done = Console(), time.perf_counter(), list[experiment.Run]()
    out.mkdir(parents=True, exist_ok=True)
    console.print(f"Device: {settings.device!r}", highlight=False)
    each = len(settings.rates) * settings.seeds
    columns = TextColumn("{task.description:<15}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console) as progress, closing(experiment.runs(settings)) as runs:
        bars = {name: progress.add_task(name, total=each) for name in settings.algorithms}
        for run in runs:
            done.append(run)
            progress.advance(bars[run.algorithm])
    results = experiment.summary(settings, done)
    console.print(_table(results, settings.seeds))
    write(out / "demo.json", json.dumps(experiment.to_json(settings, done), indent=1, allow_nan=False).encode())
    console.print(f"{len(done)} runs in {time.perf_counter() - started:.0f} s. Every number: {out / 'demo.json'}")
    _picture(console, out, settings, done)


def _table(results: list[Result], seeds: int) -> Table:
    from rich.table import Table

    table = Table(title=f"Test accuracy at the learning rate with the best validation accuracy, {seeds} seeds")
    for heading in ("algorithm", "lr", "mean", "std", "worst (seed)", "rates within 2 points", "s per run"):
        table.add_column(heading, justify="left" if heading == "algorithm" else "right", no_wrap=heading == "algorithm")
    for result in results:
        table.add_row(
            result.algorithm,
            f"{result.lr:g}",
            f"{result.test:.1%}",
            "-" if result.test_std is None else f"{100 * result.test_std:.1f}",
            f"{result.worst:.1%} ({result.worst_seed})",
            ", ".join(f"{lr:g}" for lr in result.near),
            f"{result.seconds_per_run:.2f}",
        )
    return table


def _picture(console: Console, out: Path, settings: Any, done: list[Any]) -> None:
    if find_spec("matplotlib") is None:
        console.print("No picture: matplotlib is not installed (pip install 'ohmgrad\\[plot]').")
        return
    from ..checkpoint import write
    from ..plotting import demo_picture

    write(out / "demo.png", demo_picture(settings, done))
    console.print(f"Picture: {out / 'demo.png'}")
