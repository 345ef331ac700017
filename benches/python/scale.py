"""Tables beside the main one: time against cells and pulses, memory, and what is left of two busy cores."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from report import Section, Times, best, spread
from rows import CELLS, EVERY, PEERS_CELLS, PULSES
from workers import Asked, Remote

Sides = dict[str, Asked]
WISHED = 1.8
"""Two threads over one, from 256 x 256 up."""
PULSED_CELLS = 512 * 512
SHARED = "cells-2048"
"""The row that runs beside others."""


def _series(names: Sequence[str], sides: Sides, threads: Sequence[int], rounds: int) -> dict[str, Times]:
    """Times of these rows, in turns, after a round that warms up."""
    found: dict[str, Times] = {}
    for name in names:
        row = EVERY[name]
        who = [side for side in sides if side == "ours" or row.d_in * row.d_out <= PEERS_CELLS]
        times: Times = {(side, n): [] for n in threads for side in who}
        for number in range(rounds + 1):
            for side, n in times:
                seconds = sides[side].ask("time", name, n)
                if number > 0:
                    times[side, n].append(seconds)
        found[name] = times
        print(f"{name}: timed", file=sys.stderr, flush=True)
    return found


def _points(found: dict[str, Times], x: Callable[[str], float], threads: Sequence[int]) -> dict[str, Any]:
    """Medians in ns per sample of ours with each number of threads, and of the peer's better one."""
    points: dict[str, list[tuple[float, float]]] = {}
    for name, times in found.items():
        sides = [("ours", n) for n in threads] + [("peer", n) for n in (best(times, "peer"),) if n]
        for side, n in sides:
            line = f"{side} {n}T" if side == "ours" else side
            y = 1e9 * median(times[side, n]) / EVERY[name].batch
            points.setdefault(line, []).append((x(name), y))
    return points


def _line(name: str, times: Times, threads: Sequence[int]) -> list[str]:
    scale, other = EVERY[name].scale, best(times, "peer")
    cells = [EVERY[name].title, spread(times["peer", other], scale) if other else "-"]
    cells += [spread(times["ours", n], scale) for n in threads]
    if len(threads) > 1:
        cells.append(f"{median(times['ours', threads[0]]) / median(times['ours', threads[-1]]):.2f}")
    if other:
        cells.append(f"{median(times['peer', other]) / median(times['ours', threads[-1]]):.1f}x")
    return cells


def _head(first: str, threads: Sequence[int]) -> list[str]:
    ratio = [f"1T / {threads[-1]}T"] if len(threads) > 1 else []
    return [first, "peer", *(f"ours {n}T" for n in threads), *ratio, "ratio"]


def cells(sides: Sides, pythons: dict[str, str], threads: Sequence[int], rounds: int) -> Section:
    """Time against cells."""
    found = _series(list(CELLS), sides, threads, rounds)
    spans = []
    for n in threads:
        ns = [EVERY[name].scale * median(found[name]["ours", n]) for name in CELLS if EVERY[name].d_in >= 256]
        spans.append(f"{max(ns) / min(ns):.2f} with {n} thread{'s' * (n > 1)}")
    after = f"Largest over smallest time of a cell from 256 x 256 up (1: linear): {', '.join(spans)}."
    if len(threads) > 1:
        gains = [median(t["ours", 1]) / median(t["ours", 2]) for name, t in found.items() if EVERY[name].d_in >= 256]
        after += f" Two threads from 256 x 256 up: at least {min(gains):.2f}x, wished {WISHED}x."
    return Section(
        title="Time against cells",
        text="Soft bounds, density L, mini-batches of 16, ns per cell and sample.",
        head=_head("cells", threads),
        lines=[_line(name, times, threads) for name, times in found.items()],
        after=after,
        axes=("cells", "ns per sample"),
        logarithmic=True,
        points=_points(found, lambda name: EVERY[name].d_in * EVERY[name].d_out, threads),
    )


def pulses(sides: Sides, pythons: dict[str, str], threads: Sequence[int], rounds: int) -> Section:
    """Time against pulses."""
    found = _series(list(PULSES), sides, threads, rounds)
    points = _points(found, lambda name: float(EVERY[name].title), threads)
    fits = []
    for line, values in points.items():
        x, y = np.array(values).T
        slope, start = np.polyfit(x, y, 1) / PULSED_CELLS
        off = np.abs(start + slope * x - y / PULSED_CELLS).max() * PULSED_CELLS / y.max()
        fits.append(f"{line} {start:.2g} + {slope:.2g} n, off by at most {100 * off:.0f} % of the largest")
    return Section(
        title="Time against pulses",
        text="Soft bounds, 512 x 512, mini-batches of 64, rising learning rate; n pulses per cell and sample; "
        "ns per cell and sample.",
        head=_head("n", threads),
        lines=[_line(name, times, threads) for name, times in found.items()],
        after=f"Straight lines: {'; '.join(fits)}.",
        axes=("pulses per cell and sample", "ns per sample"),
        points=points,
    )


def memory(sides: Sides, pythons: dict[str, str], threads: Sequence[int], rounds: int) -> Section:
    """Growth of a process, each in a new one."""
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        nothing = Path(folder) / "inputs.npz"
        np.savez(nothing)
        for kind, wish in (("uniform", "8"), ("two arrays", "8"), ("spreads", "-")):
            line = [kind]
            for side, n in (("ours", 4096), ("peer", 2048)):
                if side in pythons:
                    with Remote(pythons[side], side, nothing) as worker:
                        worker.ask("threads", 1)
                        line.append(f"{worker.ask('memory', kind, n):.1f}")
                else:
                    line.append("-")
            lines.append([*line, wish])
    return Section(
        title="Memory",
        text="Bytes per cell and array by which a process grows with a tile of soft bounds and its first update and "
        "forward pass: of uniform cells, two arrays of them (Tiki-Taka), and cells with all spreads. Ours 4096 x 4096, "
        "the peer's 2048 x 2048.",
        head=["cells", "ours", "peer", "wished, at most"],
        lines=lines,
    )


@contextmanager
def _burning(processes: int) -> Iterator[None]:
    """So many processes that keep a core busy each."""
    burners = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(processes)]
    try:
        time.sleep(0.3)
        yield
    finally:
        for burner in burners:
            burner.kill()
            burner.wait()


def share(sides: Sides, pythons: dict[str, str], threads: Sequence[int], rounds: int) -> Section:
    """Alone, and beside others that want every core."""
    n, lines = threads[-1], []
    for side, asked in sides.items():

        def once(asked: Asked = asked) -> float:
            """Some 0.2 seconds of work, so that the scheduler has its say."""
            spent: list[float] = [asked.ask("time", SHARED, n)]
            while sum(spent) * EVERY[SHARED].calls < 0.2:
                spent.append(asked.ask("time", SHARED, n))
            return sum(spent) / len(spent)

        once()
        alone, beside = [], []
        for _ in range(rounds):
            alone.append(once())
            with _burning(n):
                beside.append(once())
        scale = EVERY[SHARED].scale
        lines.append([side, spread(alone, scale), spread(beside, scale), f"{median(beside) / median(alone):.2f}"])
        print(f"share: {side} timed", file=sys.stderr, flush=True)
    return Section(
        title="A fair share",
        text=f"Updates of 2048 x 2048 (density L, mini-batches of 16) with {n} threads, alone and beside {n} processes "
        "that never rest; ns per cell and sample. With half of the machine, twice the time would be fair.",
        head=["side", "alone", "beside others", "ratio"],
        lines=lines,
    )


SECTIONS = {"cells": cells, "pulses": pulses, "memory": memory, "share": share}
