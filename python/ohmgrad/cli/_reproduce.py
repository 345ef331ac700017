"""``ohmgrad reproduce``."""

from __future__ import annotations

import inspect
import time
from contextlib import closing
from importlib import import_module
from pathlib import Path
from typing import Any

import click

EXPERIMENTS = ("mnist-fcn", "symmetric-point", "rasch2024-column", "rasch2024-programming", "multi-tile-toy")


@click.command()
@click.argument("name", type=click.Choice(EXPERIMENTS))
@click.option("--mnist", type=click.Path(file_okay=False, exists=True), help="The folder with MNIST's files.")
@click.option("--seeds", type=click.IntRange(1, 1000), help="Number of seeds.")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), default="ohmgrad-results", show_default=True)
def reproduce(name: str, mnist: str | None, seeds: int | None, out: Path) -> None:
    """Run a published experiment, or one like it, on all cores, and write its tables.

    The folder OUT receives NAME.md, which says what differs from the paper. mnist-fcn: every algorithm on the papers'
    network. symmetric-point: the devices' symmetric point moved away, on the bundled digits and, if they are there, on
    MNIST. rasch2024-column, rasch2024-programming: Fig. 3 and 4 of Nat. Commun. 15, 7133. multi-tile-toy: the scalar
    example of arXiv 2510.02516.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from .. import _core
    from .._workers import spread
    from ..checkpoint import write

    experiment: Any = import_module(f"..experiments.{name.replace('-', '_')}", __package__)
    takes = inspect.signature(experiment.jobs).parameters
    if mnist is None and "mnist" in takes and takes["mnist"].annotation == "str":
        raise click.UsageError(f"{name} needs --mnist, the folder with MNIST's files")
    given = {"mnist": mnist} if "mnist" in takes else {}
    jobs = experiment.jobs(**given | ({} if seeds is None else {"seeds": seeds}))
    out.mkdir(parents=True, exist_ok=True)
    console, started, done = Console(), time.perf_counter(), []
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console) as progress, closing(spread(experiment.work, jobs)) as results:
        bar = progress.add_task(name, total=len(jobs))
        for result in results:
            done.append(result)
            progress.advance(bar)
    info = _core.info()
    command = (
        f"ohmgrad reproduce {name}"
        + (" --mnist FOLDER" if given.get("mnist") else "")
        + (f" --seeds {seeds}" if seeds else "")
    )
    head = f"# {name}\n\n{inspect.getdoc(experiment)}\n\nWritten by `{command}`, ohmgrad {info['version']}, random "
    head += f"streams version {info['stream_version']}; {len(done)} runs.\n\n"
    path = out / f"{name}.md"
    write(path, (head + experiment.report(done)).encode())
    console.print(f"{len(done)} runs in {time.perf_counter() - started:.0f} s: {path}", soft_wrap=True)
