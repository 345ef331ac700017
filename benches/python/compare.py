"""Compares the speed of ohmgrad with that of IBM's aihwkit, same work on both sides, and writes RESULTS.md.

    .venv/bin/python benches/python/compare.py --peer /path/to/python-with-aihwkit --mnist data/mnist

The peer runs in another interpreter (this script with ``--worker``) and answers JSON lines. Before a row is timed, both
sides do it on several new tiles or networks; where the means of what they did are further apart than 5 standard errors
and a hundredth, the row is refused. Then both sides take turns. Without ``--peer`` only ohmgrad is timed; without
``--mnist`` the bundled digits, enlarged, stand for its images.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from bounds import RATES, seconds
from courses import COURSES, sized, write
from report import Law, Result, Row, text
from rows import ROWS
from scale import SECTIONS
from workers import Asked, Local, Remote, work

HERE = Path(__file__).resolve().parent
PAUSE = 0.01
"""Seconds between turns, so that threads of the other side have gone to sleep."""


def laws(name: str, repeats: int, ours: Asked, peer: Asked) -> list[Law]:
    """The means of both sides over ``repeats`` new tiles or networks, with their distance in standard errors."""
    samples = [[side.ask("sample", name, seed) for seed in range(repeats)] for side in (ours, peer)]
    found = []
    for what in samples[0][0]:
        (a, b), errors = zip(*(_mean([sample[what] for sample in side]) for side in samples), strict=True)
        error = (errors[0] ** 2 + errors[1] ** 2) ** 0.5
        distance = abs(a - b) / error if error > 0 else (0.0 if a == b else float("inf"))
        found.append(Law(what=what, ours=a, peer=b, errors=errors, distance=distance))
    return found


def _mean(values: Sequence[float]) -> tuple[float, float]:
    return fmean(values), stdev(values) / len(values) ** 0.5


def timed(
    name: str, rounds: int, threads: Sequence[int], sides: dict[str, Asked], warm: bool
) -> dict[tuple[str, int], list[float]]:
    """Seconds of every side and number of threads, taken in turns; unless ``warm``, after a round that warms up."""
    times: dict[tuple[str, int], list[float]] = {(side, n): [] for n in threads for side in sides}
    for number in range(warm, rounds + 1):
        for side, n in times:
            time.sleep(PAUSE)
            seconds = sides[side].ask("time", name, n)
            if number > 0:
                times[side, n].append(seconds)
    return times


def compared(name: str, given: argparse.Namespace, threads: Sequence[int], sides: dict[str, Asked]) -> Result:
    """Laws and times of a row."""
    long = name in COURSES
    row: Row = sized(COURSES[name], given.batches) if long else ROWS[name]
    repeats, rounds = (given.runs, given.long_rounds) if long else (given.repeats, given.rounds)
    found = laws(name, repeats, sides["ours"], sides["peer"]) if "peer" in sides else []
    same = all(law.holds for law in found)
    times = timed(name, rounds, threads, sides, long) if same else {}
    result = Result(row=row, name=name, laws=found, times=times, limit=limit(name, sides["ours"]))
    print(f"{name}: {result.summary()}", file=sys.stderr, flush=True)
    return result


def limit(name: str, ours: Asked) -> float | None:
    """Seconds that a row takes at least on one thread; None on a processor whose rates nobody has measured."""
    rates = RATES.get(processor())
    if rates is None or (name in ROWS and ROWS[name].portable):
        return None
    model = ROWS[name].device["model"] if name in ROWS else "SoftBoundsReference"
    return seconds(ours.ask("work", name), model, rates)


def processor() -> str:
    """As it calls itself."""
    model = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().split("\n\n")[0].splitlines()
        facts = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
        model = f"{facts['model name']}, family {facts['cpu family']} model {facts['model']}"
    except (OSError, KeyError):
        pass
    return model


def cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def commit() -> str:
    def git(*args: str) -> str:
        return subprocess.run(["git", *args], cwd=HERE, capture_output=True, text=True, check=True).stdout.strip()

    try:
        return git("rev-parse", "--short", "HEAD") + (" and changes" if git("status", "--porcelain") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def chosen(pattern: str | None) -> list[str]:
    """The names of rows and sections that a regular expression finds, all for None; ValueError if there are none."""
    names = [*ROWS, *COURSES, *SECTIONS]
    try:
        found = [name for name in names if re.search(pattern or "", name)]
    except re.error as reason:
        raise ValueError(f"--rows {pattern!r} is no regular expression: {reason}") from reason
    if not found:
        raise ValueError(f"--rows {pattern!r} finds none of {', '.join(names)}")
    return found


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", metavar="PYTHON", help="an interpreter with aihwkit 1.1 and torch")
    parser.add_argument("--mnist", metavar="FOLDER", help="MNIST's IDX files")
    names = ", ".join([*ROWS, *COURSES, *SECTIONS])
    parser.add_argument("--rows", metavar="REGEX", help=f"found in some of {names}; default all")
    parser.add_argument("--rounds", type=int, default=15, help="turns of each side per row, default 15")
    parser.add_argument("--repeats", type=int, default=12, help="new tiles to compare what both sides do, default 12")
    parser.add_argument("--long-rounds", type=int, default=3, help="turns of each side per training run, default 3")
    parser.add_argument("--runs", type=int, default=8, help="networks to compare what both sides do, default 8")
    parser.add_argument("--batches", type=int, default=200, help="mini-batches that stand for an epoch, default 200")
    parser.add_argument("--out", type=Path, help="file for the results, and results.svg beside it; default: only shown")
    parser.add_argument("--worker", nargs=2, metavar=("SIDE", "INPUTS"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    for option, least in (("rounds", 1), ("long_rounds", 1), ("repeats", 8), ("runs", 5), ("batches", 20)):
        if (value := getattr(given, option)) < least:
            parser.error(f"--{option.replace('_', '-')} must be at least {least}, got {value}")
    try:
        given.names = chosen(given.rows)
    except ValueError as reason:
        parser.error(str(reason))
    return given


def main() -> None:
    given = options()
    if given.worker:
        return work(given.worker[0], Path(given.worker[1]))
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    threads = [1, 2] if cores() >= 2 else [1]
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        inputs = Path(folder) / "inputs.npz"
        images = write(inputs, given.names, given.mnist, given.batches)
        sides: dict[str, Asked] = {"ours": Local(inputs)}
        workers: list[Remote] = []
        if given.peer:
            workers.append(Remote(given.peer, "peer", inputs))
            sides["peer"] = workers[0]
        versions = {side: sides[side].ask("versions") for side in sides}
        results = []
        for name in given.names:
            if name not in SECTIONS:
                here = dict(sides)
                if name in ROWS and ROWS[name].portable:
                    workers.append(Remote(sys.executable, "ours", inputs, OHMGRAD_ISA="portable"))
                    here["ours"] = workers[-1]
                results.append(compared(name, given, threads, here))
        pythons = {"ours": sys.executable} | ({"peer": given.peer} if given.peer else {})
        rounds = min(given.rounds, 5)
        sections = [SECTIONS[name](sides, pythons, threads, rounds) for name in given.names if name in SECTIONS]
        for worker in workers:
            worker.close()

    command = ["python benches/python/compare.py"]
    command += [f"--{option} {value}" for option, value in _said(given)]
    facts = {
        "machine": f"{processor()}; {cores()} cores; {platform.system()}",
        "load before": f"{load:.2f}",
        "versions": "; ".join(f"{n} {v}" for side in versions.values() for n, v in side.items()),
        "python": platform.python_version(),
        "commit": commit(),
        "images": images,
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "command": f"`{' '.join(command)}`, {time.perf_counter() - started:.0f} s",
    }
    written = text(results, sections, facts, threads, given.batches)
    print(written)
    if given.out:
        from picture import draw

        given.out.write_text(written)
        draw(given.out.parent / "results.svg", results, sections)


def _said(given: argparse.Namespace) -> list[tuple[str, Any]]:
    """The options that decide about the numbers; whose folders they are is nobody's business."""
    said: list[tuple[str, Any]] = [("peer", "PYTHON")] if given.peer else []
    said += [("mnist", "FOLDER")] if given.mnist else []
    said += [("rows", repr(given.rows))] if given.rows else []
    said += [("rounds", given.rounds), ("repeats", given.repeats)]
    return [*said, ("long-rounds", given.long_rounds), ("runs", given.runs), ("batches", given.batches)]


if __name__ == "__main__":
    main()
