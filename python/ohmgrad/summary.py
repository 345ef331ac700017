"""What a network is made of: crossbars, digital memory, and how often lines are read and written."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING

from ._record import as_int
from .algorithms import Plan, Transfer, Write

if TYPE_CHECKING:
    from .tile import Tile

__all__ = ["ArraySummary", "Summary", "TileSummary", "summarise"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ArraySummary:
    """A crossbar: the kind of its cells, their nominal step, and the number of such steps over their range."""

    name: str
    device: str
    granularity: float
    n_states: float


@dataclass(frozen=True, kw_only=True, slots=True)
class TileSummary:
    """A tile: its ``arrays``, and what its algorithm needs beside them.

    - ``digital``: names of the digital matrices; ``digital_bytes``: their memory, four bytes per number, and a bit for
      each sign of a chopper.
    - ``reads_per_sample``, ``writes_per_sample``: lines that transfers read from arrays, and write onto arrays at most,
      for each training vector; the products and the pulses of the gradient are not counted.
    """

    name: str
    d_out: int
    d_in: int
    algorithm: str
    arrays: tuple[ArraySummary, ...]
    digital: tuple[str, ...]
    digital_bytes: int
    reads_per_sample: float
    writes_per_sample: float


@dataclass(frozen=True, slots=True)
class Summary:
    """The tiles of a network, as :meth:`ohmgrad.nn.Sequential.summary` gives it; its text is a table."""

    tiles: tuple[TileSummary, ...]

    def __str__(self) -> str:
        heads = ("tile", "shape", "algorithm", "arrays", "digital", "bytes", "reads", "writes")
        return _table([heads, *(_row(tile) for tile in self.tiles)])


def summarise(tile: Tile, batch_size: int = 1) -> TileSummary:
    """What a tile is made of; ``batch_size`` (1 to 2**31 - 1) vectors are a mini-batch, for periods that count these.

    >>> import ohmgrad as og
    >>> facts = summarise(og.Tile(10, 64, algorithm=og.TikiTakaV2(), name="out"), batch_size=16)
    >>> facts.digital, facts.digital_bytes, facts.reads_per_sample
    (('hidden',), 2560, 0.0625)
    """
    if not 1 <= as_int("batch_size", batch_size) < 2**31:
        raise ValueError(f"batch_size must be from 1 to 2**31 - 1, got {batch_size}")
    plan = tile._plan(tile.stage)
    lines = [(transfer, _lines_per_sample(transfer, tile, batch_size)) for transfer in plan.transfers]
    return TileSummary(
        name=tile.name,
        d_out=tile.d_out,
        d_in=tile.d_in,
        algorithm=type(tile.algorithm).__name__,
        arrays=tuple(_array(tile, name) for name in plan.arrays),
        digital=plan.digital,
        digital_bytes=4 * tile.d_out * tile.d_in * len(plan.digital) + _sign_bytes(plan, tile),
        reads_per_sample=sum(n * len(_sources(transfer, plan)) for transfer, n in lines),
        writes_per_sample=sum(n * len(_writes(transfer, plan)) for transfer, n in lines),
    )


def _array(tile: Tile, name: str) -> ArraySummary:
    cells = tile.device[name] if isinstance(tile.device, dict) else tile.device
    array = tile.arrays[name]
    return ArraySummary(
        name=name, device=type(cells).__name__, granularity=array.granularity, n_states=array.n_states
    )  # fmt: skip


def _lines_per_sample(transfer: Transfer, tile: Tile, batch_size: int) -> float:
    lines = transfer.reads or (tile.d_in if transfer.axis == "columns" else tile.d_out)
    period = transfer.every.period
    if transfer.every.unit == "batches":
        period = period * batch_size if period.is_integer() else ceil(period * batch_size)
    return lines / period


def _sources(transfer: Transfer, plan: Plan) -> set[str]:
    return {term.matrix for step in transfer.steps for term in step.source} & set(plan.arrays)


def _writes(transfer: Transfer, plan: Plan) -> list[Write]:
    return [step for step in transfer.steps if isinstance(step, Write) and step.target in plan.arrays]


def _sign_bytes(plan: Plan, tile: Tile) -> int:
    choppers = [transfer.chopper for transfer in plan.transfers if transfer.chopper is not None]
    return sum(1 if chopper.scope == "array" else -(-(tile.d_out + tile.d_in) // 8) for chopper in choppers)


def _row(tile: TileSummary) -> tuple[str, ...]:
    arrays = ", ".join(f"{array.name} ({array.device}, {array.n_states:.4g} states)" for array in tile.arrays)
    rates = (f"{lines:.4g}" for lines in (tile.reads_per_sample, tile.writes_per_sample))
    shape = f"{tile.d_out} x {tile.d_in}"
    return (
        tile.name,
        shape,
        tile.algorithm,
        arrays or "-",
        ", ".join(tile.digital) or "-",
        f"{tile.digital_bytes}",
        *rates,
    )


def _table(rows: Iterable[Sequence[str]]) -> str:
    cells = [list(row) for row in rows]
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in cells)
