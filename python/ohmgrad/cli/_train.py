"""``ohmgrad train``."""

from __future__ import annotations

import math
import time
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from ..history import History
    from ..nn import Sequential

FILES = "checkpoint.safetensors", "history.jsonl", "run.toml", "model.safetensors"
"""What a run leaves in its folder; the model comes last and says that the run is finished."""


@click.command()
@click.argument("run", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--set", "changes", multiple=True, metavar="KEY=VALUE", help="Change a setting, such as train.lr=0.1.")
@click.option("--epochs", type=click.IntRange(1), help="Short for --set train.epochs=N.")
@click.option("--lr", type=click.FloatRange(0), help="Short for --set train.lr=X.")
@click.option("--seed", type=click.IntRange(0, 2**64 - 1), help="One seed for everything that is random.")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="Folder for the results (RUN's name).")
@click.option("--resume", is_flag=True, help="Go on from the checkpoint in OUT if there is one.")
@click.option("--force", is_flag=True, help="Start over even if OUT holds a run.")
@click.option("--threads", type=click.IntRange(1, 1024), help="Threads (all cores); they change no result.")
def train(
    run: Path,
    changes: tuple[str, ...],
    epochs: int | None,
    lr: float | None,
    seed: int | None,
    out: Path | None,
    resume: bool,
    force: bool,
    threads: int | None,
) -> None:
    """Train the network that the TOML file RUN describes.

    The folder OUT receives run.toml (all settings, defaults included), history.jsonl (one line per epoch),
    checkpoint.safetensors (what --resume goes on from, also after Ctrl-C) and, at the end, model.safetensors.
    """
    from .. import checkpoint, config
    from .. import threads as set_threads
    from ..train import JsonLines, fit

    if resume and force:
        raise click.UsageError("--resume goes on and --force starts over: give one of them")
    short = [f"train.{name}={value!r}" for name, value in (("epochs", epochs), ("lr", lr)) if value is not None]
    try:
        described = config.read(run, [*changes, *short], seed)
    except config.ConfigError as error:
        raise click.UsageError(str(error)) from error
    folder = Path(run.stem) if out is None else out
    files = {name: folder / name for name in FILES}
    if not (resume or force) and (found := [name for name in FILES if files[name].exists()]):
        state = "a finished run" if "model.safetensors" in found else "an unfinished run"
        raise click.ClickException(
            f"{folder} holds {state}: --resume goes on, --force starts over, --out goes elsewhere"
        )
    if threads is not None:
        set_threads(threads)
    parts = described.parts()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = described.model(parts["train"])
    for warning in caught:
        click.echo(f"Warning: {warning.message}", err=True)
    folder.mkdir(parents=True, exist_ok=True)
    start = files["checkpoint.safetensors"]
    begun = _Begin(files, config.to_toml(described.tables))
    settings = dict(described.fit)
    report = [begun, JsonLines(files["history.jsonl"]), *settings.pop("callbacks"), _Lines(settings["epochs"])]
    click.echo(f"{run} -> {folder}: " + ", ".join(f"{name} {len(part)}" for name, part in parts.items()) + " vectors")
    try:
        history = fit(
            model,
            **(parts | settings),
            callbacks=report,
            checkpoint=start,
            resume=start if resume and start.exists() else None,
        )
    except KeyboardInterrupt:
        click.echo(f"Stopped. --resume goes on from {start}.", err=True)
        raise SystemExit(130) from None
    checkpoint.save(files["model.safetensors"], model)
    click.echo(f"{history.epochs} epochs. Model: {files['model.safetensors']}")


@dataclass(slots=True)
class _Begin:
    """Once it is clear that the run can go on: what says that it is finished goes, and its settings are written."""

    files: dict[str, Path]
    settings: str

    def on_start(self, history: History, model: Sequential) -> None:
        from ..checkpoint import write

        self.files["model.safetensors"].unlink(missing_ok=True)
        write(self.files["run.toml"], self.settings.encode())

    def on_epoch_end(self, epoch: int, history: History, model: Sequential) -> None:
        """Nothing: it is about the start."""


@dataclass(slots=True)
class _Lines:
    """A line per epoch: numbers and the time left."""

    epochs: int
    first: int = 0
    started: float = field(default_factory=time.monotonic)

    def on_start(self, history: History, model: Sequential) -> None:
        self.first, self.started = history.epochs, time.monotonic()
        if self.first:
            click.echo(f"resumed in epoch {self.first + 1}")

    def on_epoch_end(self, epoch: int, history: History, model: Sequential) -> None:
        numbers = "  ".join(_number(key, values[-1]) for key, values in history.items() if key != "lr")
        left = (time.monotonic() - self.started) / (epoch + 1 - self.first) * (self.epochs - epoch - 1)
        click.echo(f"epoch {epoch + 1}/{self.epochs}  {numbers}  {_duration(left)} left")


def _number(name: str, value: float) -> str:
    words = name.replace("_", " ")
    return f"{words} {value:.2%}" if name.endswith("accuracy") else f"{words} {value:.4f}"


def _duration(seconds: float) -> str:
    whole = math.ceil(seconds)
    hours, minutes = whole // 3600, whole // 60 % 60
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {whole % 60} s" if minutes else f"{whole} s"
