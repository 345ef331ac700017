"""The results as Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from rows import Row


@dataclass(frozen=True, kw_only=True)
class Law:
    """A mean of both sides, their standard errors, and how many of these they are apart."""

    what: str
    ours: float
    peer: float
    errors: tuple[float, float]
    distance: float


@dataclass(frozen=True, kw_only=True)
class Result:
    """What a row gave; no times: refused."""

    row: Row
    name: str
    laws: list[Law]
    times: dict[tuple[str, int], list[float]]

    def best(self, side: str) -> int | None:
        """The number of threads with the smaller median."""
        ran = {n: median(times) for (who, n), times in self.times.items() if who == side}
        return min(ran, key=lambda n: ran[n]) if ran else None

    def shown(self, side: str, threads: int) -> str:
        """Median (lowest - highest), in the row's unit."""
        row, times = self.row, self.times.get((side, threads))
        if not times:
            return "-"
        scale = 1e9 / (row.d_out * row.d_in * row.batch) if row.per_cell else 1e3
        return "{:.3g} ({:.3g}-{:.3g})".format(*(scale * t for t in (median(times), min(times), max(times))))

    def ratio(self) -> float | None:
        """Best of the peer over ours with the most threads, by medians."""
        best, ours = self.best("peer"), [n for who, n in self.times if who == "ours"]
        return median(self.times["peer", best]) / median(self.times["ours", max(ours)]) if best else None

    def summary(self) -> str:
        worst = max(self.laws, key=lambda law: law.distance, default=None)
        apart = f"{worst.distance:.1f} standard errors apart ({worst.what})" if worst else "not compared"
        ratio = self.ratio()
        return f"{apart}, {'refused' if not self.times else f'{ratio:.1f}x' if ratio else 'timed'}"


def table(results: Sequence[Result], facts: dict[str, str], threads: Sequence[int], limit: float) -> str:
    """The whole file."""
    compared = any(result.laws for result in results)
    lines = ["# Speed", "", *(f"- {name}: {value}" for name, value in facts.items()), ""]
    lines += [
        "Medians (lowest-highest) of the rounds; updates in ns per cell and sample, all else in ms per call. "
        "1T, 2T: threads. Ratio: the better of the peer's over ours with the most threads.",
        "",
    ]
    head = ["row", "unit", *(["peer", "peer's threads"] if compared else []), *(f"ours {n}T" for n in threads)]
    head += [f"1T / {threads[-1]}T"] if len(threads) > 1 else []
    head += ["ratio", "target", "to go"] if compared else []
    lines += ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    for result in results:
        cells = _cells(result, threads, compared)
        lines.append("| " + " | ".join(cells + ["-"] * (len(head) - len(cells))) + " |")
    if compared:
        lines += ["", "Not compared: the peer's exponential step, for which ohmgrad has no device of the same law."]
        lines += ["", "## Same work", ""]
        lines += [f"Means over new tiles on both sides; further apart than {limit:g} standard errors: refused.", ""]
        lines += ["| row | quantity | ours | peer | standard errors apart |", "|" + " --- |" * 5]
        for result in results:
            for law in result.laws:
                sides = (f"{v:.5g} ± {e:.1g}" for v, e in zip((law.ours, law.peer), law.errors, strict=True))
                lines.append(f"| {result.name} | {law.what} | {' | '.join(sides)} | {law.distance:.1f} |")
    return "\n".join(lines) + "\n"


def _cells(result: Result, threads: Sequence[int], compared: bool) -> list[str]:
    row = result.row
    cells = [row.title, "ns" if row.per_cell else "ms"]
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
    return cells
