"""The results as Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Protocol

from courses import EPOCH

Times = dict[tuple[str, int], list[float]]
"""Seconds by side and number of threads."""


class Row(Protocol):
    """What the table needs of a row; ``scale``: units per second."""

    @property
    def title(self) -> str: ...
    @property
    def unit(self) -> str: ...
    @property
    def scale(self) -> float: ...
    @property
    def target(self) -> float | None: ...


STANDARD_ERRORS, NEAR = 5.0, 0.01


@dataclass(frozen=True, kw_only=True)
class Law:
    """A mean of both sides, their standard errors, and how many of these they are apart."""

    what: str
    ours: float
    peer: float
    errors: tuple[float, float]
    distance: float

    @property
    def holds(self) -> bool:
        """Whether both sides did the same work: a hundredth more or less explains no ratio."""
        return self.distance <= STANDARD_ERRORS or abs(self.ours - self.peer) <= NEAR * abs(self.peer)


@dataclass(frozen=True, kw_only=True)
class Result:
    """What a row gave; no times: refused."""

    row: Row
    name: str
    laws: list[Law]
    times: Times
    limit: float | None = None
    """Seconds that ours takes at least on one thread, if they are known."""

    def best(self, side: str) -> int | None:
        """The number of threads with the smaller median."""
        return best(self.times, side)

    def shown(self, side: str, threads: int) -> str:
        """Median (lowest - highest), in the row's unit."""
        return spread(self.times.get((side, threads), []), self.row.scale)

    def ratio(self) -> float | None:
        """Best of the peer over ours with the most threads, by medians."""
        best, ours = self.best("peer"), [n for who, n in self.times if who == "ours"]
        return median(self.times["peer", best]) / median(self.times["ours", max(ours)]) if best else None

    def summary(self) -> str:
        worst = max(self.laws, key=lambda law: law.distance, default=None)
        apart = f"{worst.distance:.1f} standard errors apart ({worst.what})" if worst else "not compared"
        ratio = self.ratio()
        return f"{apart}, {'refused' if not self.times else f'{ratio:.1f}x' if ratio else 'timed'}"


@dataclass(frozen=True, kw_only=True)
class Section:
    """A table of its own, and the points of a picture if it has one: ``{line: [(x, y), ...]}``."""

    title: str
    text: str
    head: Sequence[str]
    lines: Sequence[Sequence[str]]
    after: str = ""
    axes: tuple[str, str] = ("", "")
    logarithmic: bool = False
    points: dict[str, list[tuple[float, float]]] = field(default_factory=dict)


def best(times: Times, side: str) -> int | None:
    """The number of threads with the smallest median."""
    ran = {n: median(seconds) for (who, n), seconds in times.items() if who == side and seconds}
    return min(ran, key=lambda n: ran[n]) if ran else None


def spread(seconds: Sequence[float], scale: float) -> str:
    """Median (lowest-highest)."""
    if not seconds:
        return "-"
    return "{:.3g} ({:.3g}-{:.3g})".format(*(scale * t for t in (median(seconds), min(seconds), max(seconds))))


def markdown(head: Sequence[str], lines: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a table; short ones are filled up."""
    rows = [[*line, *["-"] * (len(head) - len(line))] for line in lines]
    return [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows)]


def text(
    results: Sequence[Result],
    sections: Sequence[Section],
    facts: dict[str, str],
    threads: Sequence[int],
    batches: int,
) -> str:
    """The whole file; ``batches`` stand for an epoch."""
    lines = ["# Speed", "", *(f"- {name}: {value}" for name, value in facts.items()), ""]
    if results:
        lines += _main(results, threads, batches)
    for section in sections:
        lines += ["", f"## {section.title}", "", section.text, "", *markdown(section.head, section.lines)]
        lines += ["", section.after] if section.after else []
    if any(result.laws for result in results):
        lines += ["", "## Same work", ""]
        lines += [f"Means over new tiles or networks on both sides; further apart than {STANDARD_ERRORS:g} standard "]
        lines[-1] += f"errors and {100 * NEAR:g} %: refused."
        rows = []
        for result in results:
            for law in result.laws:
                sides = [f"{v:.5g} ± {e:.1g}" for v, e in zip((law.ours, law.peer), law.errors, strict=True)]
                rows.append([result.name, law.what, *sides, f"{law.distance:.1f}"])
        lines += ["", *markdown(["row", "quantity", "ours", "peer", "standard errors apart"], rows)]
    return "\n".join(lines) + "\n"


def _main(results: Sequence[Result], threads: Sequence[int], batches: int) -> list[str]:
    compared = any(result.laws for result in results)
    lines = [
        "Medians (lowest-highest) of the rounds; updates in ns per cell and sample, steps and products in ms per call, "
        f"training in s. An epoch of MNIST is {batches} of its {EPOCH} mini-batches of ten, in proportion: those at "
        "its start, on a plateau of chance where pulses are few, and those of a network that learns. 1T, 2T: threads. "
        "Ratio: the better of the peer's over ours with the most threads. "
        "Limit: the time of the counted instructions if nothing ever waits and all threads share them, and how much of "
        "the time with the most threads that is; see [LIMITS.md](LIMITS.md).",
        "",
    ]
    head = ["row", "unit", *(["peer", "peer's threads"] if compared else []), *(f"ours {n}T" for n in threads)]
    head += [f"1T / {threads[-1]}T"] if len(threads) > 1 else []
    head += ["ratio", "target", "to go"] if compared else []
    head += ["limit"] if any(result.limit for result in results) else []
    return [*lines, *markdown(head, [_cells(result, threads, compared) for result in results])]


def _cells(result: Result, threads: Sequence[int], compared: bool) -> list[str]:
    row = result.row
    cells = [row.title, row.unit]
    if not result.times:
        return [*cells, "refused: not the same work"]
    best = result.best("peer")
    if compared:
        cells += [result.shown("peer", best), f"{best}"] if best else ["-", "-"]
    cells += [result.shown("ours", n) for n in threads]
    if len(threads) > 1:
        one, many = (median(result.times["ours", n]) for n in (threads[0], threads[-1]))
        cells.append(f"{one / many:.2f}")
    if compared:
        ratio = result.ratio()
        cells.append(f"{ratio:.1f}x" if ratio else "-")
        cells.append(f"{row.target:g}x" if row.target else "-")
        short = row.target / ratio if row.target and ratio else None
        cells.append("-" if short is None else "reached" if short <= 1 else f"{short:.2f}x")
    if result.limit:
        least = result.limit / threads[-1]
        share = least / median(result.times["ours", threads[-1]])
        cells.append(f"{least * row.scale:.2g} ({100 * share:.0f} %)")
    return cells
