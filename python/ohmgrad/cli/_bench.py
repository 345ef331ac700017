"""``ohmgrad bench``."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import click

from ._options import parameter

if TYPE_CHECKING:
    from rich.table import Table


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds <= 3600:
        raise ValueError(f"seconds must be > 0 and <= 3600, got {text}")
    return seconds


@click.command()
@click.option(
    "--seconds",
    callback=parameter(_seconds),
    default="40",
    show_default=True,
    metavar="S",
    help="How long it may take.",
)
@click.option("--threads", type=click.IntRange(1, 1024), help="The largest number of threads (all cores).")
@click.option("--runs", type=click.IntRange(1), default=100, show_default=True, help="Runs of the estimated sweep.")
@click.option("--epochs", type=click.IntRange(1), default=10, show_default=True, help="Epochs of each of them.")
@click.option("--json", "as_json", is_flag=True, help="Print every number as JSON.")
def bench(seconds: float, threads: int | None, runs: int, epochs: int, as_json: bool) -> None:
    """Measure how fast this machine is.

    Updates, noisy products, a small layer and numbers of threads, and what a sweep of RUNS runs of EPOCHS epochs
    would take here. Times are medians of rounds in which everything has its turn. A visit is one cell and one vector.
    The keys of the JSON are machine, updates, products, layer, scaling, training, seconds, rounds, runs, epochs.
    """
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    from .._bench import measure

    errors = Console(stderr=True)
    columns = TextColumn("{task.description:<20}"), BarColumn()
    with Progress(*columns, console=errors, transient=True, disable=not errors.is_terminal) as shown:
        bar = shown.add_task("preparing", total=1.0)
        told = measure(
            seconds=seconds,
            threads=threads,
            runs=runs,
            epochs=epochs,
            progress=lambda name, done: shown.update(bar, description=name, completed=done),
        )
    if as_json:
        click.echo(json.dumps(told, indent=1, allow_nan=False))
        return
    console = Console()
    for line in _machine(told["machine"]):
        console.print(line, highlight=False, markup=False)
    for table in (_updates(told), _scaling(told), _steps(told), _sweep(told)):
        console.print(table)
    rounds = "1 round" if told["rounds"] == 1 else f"{told['rounds']} rounds"
    console.print(
        f"Medians of {rounds} (fastest-slowest) in {told['seconds']:.0f} s. A visit is one cell and one "
        "vector. A sweep has one process per core, each as fast as one alone, and its data at hand.",
        highlight=False,
    )


def _machine(facts: dict[str, Any]) -> list[str]:
    return [
        f"{facts['processor']}, {facts['system']}",
        f"ohmgrad {facts['version']}, {facts['isa']} of {', '.join(facts['isas'])}; "
        f"{facts['threads']} threads, {facts['cpus']} cores",
    ]


def _table(title: str, *heads: str) -> Table:
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    for at, head in enumerate(heads):
        table.add_column(head, justify="right" if at else "left", no_wrap=True)
    return table


def _updates(told: dict[str, Any]) -> Table:
    title = f"Updates and noisy products, threads: {told['machine']['threads']}"
    table = _table(title, "what", "time", "visits/s", "pulses/s", "per visit")
    for one in told["updates"]:
        pulses = _si(one["pulses_per_second"]), f"{one['pulses_per_visit']:.2g}"
        table.add_row(f"{one['name']} {_size(one)}", _times(one), _si(one["visits_per_second"]), *pulses)
    for one in told["products"]:
        table.add_row(f"{one['name']} {_size(one)}", _times(one), _si(one["visits_per_second"]), "", "")
    return table


def _scaling(told: dict[str, Any]) -> Table:
    table = _table("The light update on more threads", "threads", "time", "speedup")
    for one in told["scaling"]:
        table.add_row(str(one["threads"]), _times(one), f"{one['speedup']:.2f}")
    return table


def _steps(told: dict[str, Any]) -> Table:
    table = _table("Training steps, one thread", "what", "time", "steps/s")
    table.add_row(f"layer {_size(told['layer'])}", _times(told["layer"]), _si(told["layer"]["steps_per_second"]))
    for one in told["training"]:
        table.add_row(f"{one['network']}, {one['algorithm']}", _times(one), _si(1 / one["seconds"]))
    return table


def _sweep(told: dict[str, Any]) -> Table:
    table = _table(
        f"A sweep, runs: {told['runs']}, epochs: {told['epochs']}", "what", "one run", "processes", "all runs"
    )
    for one in told["training"]:
        times = _time(one["run_seconds"]), str(one["processes"]), _time(one["sweep_seconds"])
        table.add_row(f"{one['network']}, {one['algorithm']}", *times)
    return table


def _size(one: dict[str, Any]) -> str:
    return f"{one['d_out']}x{one['d_in']} b{one['batch']}"


def _times(one: dict[str, Any]) -> str:
    """The median and, in its unit, the fastest and the slowest round."""
    size, unit = _unit(one["seconds"])
    lowest, highest = (_three(one[key] / size) for key in ("lowest", "highest"))
    return f"{_three(one['seconds'] / size)} {unit} ({lowest}-{highest})"


def _si(value: float) -> str:
    """Three digits and a prefix."""
    for size, prefix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{_three(value / size)} {prefix}"
    return _three(value)


def _unit(seconds: float) -> tuple[float, str]:
    units = (86_400.0, "d"), (3600.0, "h"), (60.0, "min"), (1.0, "s"), (1e-3, "ms")
    return next((each for each in units if seconds >= each[0]), (1e-6, "µs"))


def _time(seconds: float) -> str:
    size, unit = _unit(seconds)
    return f"{_three(seconds / size)} {unit}"


def _three(value: float) -> str:
    """Three digits, never as a power of ten."""
    digits = 2 - math.floor(math.log10(value)) if value > 0 else 0
    return f"{value:.{max(0, digits)}f}"
