"""``ohmgrad device``."""

from __future__ import annotations

import json
import math
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ._options import device_of, parameter

if TYPE_CHECKING:
    from ..devices import Device


def _pair(text: str) -> tuple[int, int]:
    first, _, second = text.partition(",")
    return int(first), int(second)


def _floats(text: str) -> list[float]:
    weights = [float(w) for w in text.split(",")]
    if not all(math.isfinite(w) for w in weights):
        raise ValueError(f"weights must be finite, got {text}")
    return weights


@click.command()
@click.argument("spec", callback=parameter(device_of))
@click.option(
    "--at", callback=parameter(_floats), metavar="W,W,...", help="Weights of the table (five over the range)."
)
@click.option("--cell", callback=parameter(_pair), metavar="I,J", help="Add the cell drawn for row I, column J.")
@click.option("--seed", type=click.IntRange(0, 2**64 - 1), default=0, show_default=True, help="Seed of the cells.")
@click.option("--shape", callback=parameter(_pair), metavar="ROWS,COLUMNS", help="Size of the array, to check I,J.")
@click.option("--picture", type=click.Path(dir_okay=False, path_type=Path), help="Write a PNG (needs matplotlib).")
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
def device(
    spec: Device,
    at: list[float] | None,
    cell: tuple[int, int] | None,
    seed: int,
    shape: tuple[int, int] | None,
    picture: Path | None,
    as_json: bool,
) -> None:
    """Show what the device SPEC does when it is pulsed.

    SPEC is a model such as SoftBounds, one with settings such as 'SoftBounds(dw_min=0.002, w_max=1)', or the name of a
    preset. q_up and q_down are steps in units of dw_min at zero, F and G their half sum and half difference
    (down minus up). The picture shows the response, and pulses up and down of the mean cell and of a drawn one.
    """
    if picture is not None and find_spec("matplotlib") is None:
        raise click.ClickException("a picture needs matplotlib (pip install 'ohmgrad[plot]')")
    facts = _facts(spec, at)
    if cell is not None or shape is not None:
        facts["cell"] = _drawn(spec, cell or (0, 0), shape, seed, [row["w"] for row in facts["response"]])
    if picture is not None:
        from ..checkpoint import write
        from ..plotting import device_picture

        write(picture, device_picture(spec, cell or (0, 0), seed))
    click.echo(json.dumps(_plain(facts), indent=1, allow_nan=False) if as_json else _text(facts))
    if picture is not None and not as_json:
        click.echo(f"Picture: {picture}")


def _facts(device: Device, at: list[float] | None) -> dict[str, Any]:
    low, high = device.bounds
    weights = at if at is not None else [low + (high - low) * i / 4 for i in range(5)]
    functions = {"q_up": device.q_up, "q_down": device.q_down, "F": device.F, "G": device.G}
    return {
        "device": repr(device),
        "settings": device.describe(),
        "granularity": device.granularity,
        "states": device.n_states,
        "w_min": low,
        "w_max": high,
        "symmetric_point": device.symmetric_point,
        "response": [{"w": w} | {name: float(f(w)) for name, f in functions.items()} for w in weights],
    }


def _drawn(
    device: Device, at: tuple[int, int], shape: tuple[int, int] | None, seed: int, weights: list[float]
) -> dict[str, Any]:
    from ..curves import cell, drawn_response, noise_free

    tile, at = cell(noise_free(device), at=at, shape=shape, seed=seed)
    own = tile.arrays["weight"].parameters
    taken, up, down = drawn_response(tile, at, weights)
    return {
        "row": at[0],
        "column": at[1],
        "seed": seed,
        "parameters": {name: float(own[name][at]) for name in own},
        "response": [
            {"w": float(w), "up": float(u), "down": float(d)} for w, u, d in zip(taken, up, down, strict=True)
        ],
    }


def _plain(value: Any) -> Any:
    """JSON has no NaN (a device without a symmetric point)."""
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _text(facts: dict[str, Any]) -> str:
    point = facts["symmetric_point"]
    lines = [
        facts["device"],
        f"granularity      {facts['granularity']:.6g}",
        f"states           {facts['states']:.6g}",
        f"bounds           {facts['w_min']:g} to {facts['w_max']:g}",
        f"symmetric point  {'none' if math.isnan(point) else f'{round(point, 9) + 0.0:.6g}'}",
        "",
        *_table(facts["response"]),
    ]
    if "cell" in facts:
        cell = facts["cell"]
        lines += ["", f"cell {cell['row']},{cell['column']} of seed {cell['seed']}"]
        lines += [f"{name:<16} {value:.6g}" for name, value in cell["parameters"].items()]
        lines += ["", *_table(cell["response"])]
    return "\n".join(lines)


def _table(rows: list[dict[str, float]]) -> list[str]:
    heads = "".join(f"{name:>12}" for name in rows[0])
    return [heads, *("".join(f"{value + 0.0:>12.5g}" for value in row.values()) for row in rows)]
