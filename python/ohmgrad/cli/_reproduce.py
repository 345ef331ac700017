"""``ohmgrad reproduce``."""

from __future__ import annotations

import inspect
import time
from contextlib import closing
from importlib import import_module
from pathlib import Path
from typing import Any

import click

EXPERIMENTS = ("mnist-fcn", "symmetric-point")


@click.command()
@click.argument("name", type=click.Choice(EXPERIMENTS))
@click.option("--mnist", type=click.Path(file_okay=False, exists=True), help="The folder with MNIST's files.")
@click.option("--seeds", type=click.IntRange(1, 1000), help="Number of seeds.")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), default="ohmgrad-results", show_default=True)
def reproduce(name: str, mnist: str | None, seeds: int | None, out: Path) -> None:
    """Run a published experiment, or one like it, on all cores, and write its tables.

    The folder OUT receives NAME.md. mnist-fcn: every algorithm on the papers' network. symmetric-point: the devices'
    symmetric point moved away, on the bundled digits and, if they are there, on MNIST.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from .. import _core
    from .._workers import spread
    from ..checkpoint import write

    experiment: Any = import_module(f"..experiments.{name.replace('-', '_')}", __package__)
    if mnist is None and inspect.signature(experiment.jobs).parameters["mnist"].annotation == "str":
        raise click.UsageError(f"{name} needs --mnist, the folder with MNIST's files")
    jobs = experiment.jobs(mnist, **({} if seeds is None else {"seeds": seeds}))
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
        f"ohmgrad reproduce {name}" + (" --mnist FOLDER" if mnist else "") + (f" --seeds {seeds}" if seeds else "")
    )
    head = f"# {name}\n\n{inspect.getdoc(experiment)}\n\nWritten by `{command}`, ohmgrad {info['version']}, random "
    head += f"streams version {info['stream_version']}; {len(done)} runs.\n\n"
    path = out / f"{name}.md"
    write(path, (head + experiment.report(done)).encode())
    console.print(f"{len(done)} runs in {time.perf_counter() - started:.0f} s: {path}")
