"""Compares the speed of ohmgrad with that of IBM's aihwkit, same work on both sides, and writes RESULTS.md.

    .venv/bin/python benches/python/compare.py --peer /path/to/python-with-aihwkit

The peer runs in another interpreter (this script with ``--worker``) and answers JSON lines. Before a row is timed, both
sides do it on several new tiles; where the means of what they did are further apart than 5 standard errors the row
is refused. Then both sides take turns. Without ``--peer`` only ohmgrad is timed.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from report import Law, Result, table
from rows import ROWS, chosen, write_inputs
from sides import Ours, Peer

HERE = Path(__file__).resolve().parent
STANDARD_ERRORS = 5.0
PAUSE = 0.01
"""Seconds between turns, so that threads of the other side have gone to sleep."""


class Local:
    """Our side: in this process."""

    def __init__(self, inputs: Path) -> None:
        self._side = Ours(inputs)

    def ask(self, what: str, *args: Any) -> Any:
        return getattr(self._side, what)(*args)


class Remote:
    """The other side: a worker that reads ``[method, arguments...]`` from its stdin and answers on its stdout."""

    def __init__(self, python: str, inputs: Path) -> None:
        command = [python, str(HERE / "compare.py"), "--worker", str(inputs)]
        self._worker = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, what: str, *args: Any) -> Any:
        assert self._worker.stdin is not None
        assert self._worker.stdout is not None
        self._worker.stdin.write(json.dumps([what, *args]) + "\n")
        self._worker.stdin.flush()
        answer = self._worker.stdout.readline()
        if not answer:
            raise SystemExit("the peer's worker ended; its last words are above")
        return json.loads(answer)

    def close(self) -> None:
        assert self._worker.stdin is not None
        self._worker.stdin.close()
        self._worker.wait()


def work(inputs: Path) -> None:
    """The worker's loop. What the library prints goes to stderr."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    side = Peer(inputs)
    for line in sys.stdin:
        what, *args = json.loads(line)
        answers.write(json.dumps(getattr(side, what)(*args)) + "\n")
        answers.flush()


def laws(name: str, repeats: int, ours: Local, peer: Remote) -> list[Law]:
    """The means of both sides over ``repeats`` new tiles, with their distance in standard errors."""
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


def timed(name: str, rounds: int, threads: Sequence[int], sides: dict[str, Any]) -> dict[tuple[str, int], list[float]]:
    """Seconds per call of every side and number of threads, taken in turns."""
    times: dict[tuple[str, int], list[float]] = {(side, n): [] for n in threads for side in sides}
    for number in range(rounds + 1):
        for side, n in times:
            time.sleep(PAUSE)
            seconds = sides[side].ask("time", name, n)
            # The first round warms up.
            if number > 0:
                times[side, n].append(seconds)
    return times


def machine() -> str:
    """The processor as it calls itself, and how many of it this process may use."""
    model = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().split("\n\n")[0].splitlines()
        facts = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
        model = f"{facts['model name']}, family {facts['cpu family']} model {facts['model']}"
    except (OSError, KeyError):
        pass
    return f"{model}; {cores()} cores; {platform.system()}"


def cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def commit() -> str:
    def git(*args: str) -> str:
        return subprocess.run(["git", *args], cwd=HERE, capture_output=True, text=True, check=True).stdout.strip()

    try:
        return git("rev-parse", "--short", "HEAD") + (" and changes" if git("status", "--porcelain") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--peer", metavar="PYTHON", help="an interpreter with aihwkit 1.1 and torch")
    options.add_argument("--rows", help=f"some of {', '.join(ROWS)}, or the groups L and small; default all")
    options.add_argument("--rounds", type=int, default=15, help="turns of each side per row, default 15")
    options.add_argument("--repeats", type=int, default=12, help="new tiles on each side to compare what they do")
    options.add_argument("--out", type=Path, help="file for the results; default: standard output only")
    options.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.worker:
        return work(given.worker)
    if given.rounds < 1 or given.repeats < 8:
        options.error("--rounds must be at least 1, --repeats at least 8")
    try:
        names = chosen(given.rows)
    except ValueError as reason:
        options.error(str(reason))

    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    threads = [1, 2] if cores() >= 2 else [1]
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        inputs = Path(folder) / "inputs.npz"
        write_inputs(inputs, names)
        sides: dict[str, Any] = {"ours": Local(inputs)}
        if given.peer:
            sides["peer"] = Remote(given.peer, inputs)
        versions = {side: sides[side].ask("versions") for side in sides}
        results = []
        for name in names:
            found = laws(name, given.repeats, sides["ours"], sides["peer"]) if given.peer else []
            same = all(law.distance <= STANDARD_ERRORS for law in found)
            times = timed(name, given.rounds, threads, sides) if same else {}
            results.append(Result(row=ROWS[name], name=name, laws=found, times=times))
            print(f"{name}: {results[-1].summary()}", file=sys.stderr, flush=True)
        if given.peer:
            sides["peer"].close()

    command = ["python", "benches/python/compare.py", *(["--peer", "PYTHON"] if given.peer else [])]
    command += [f"--rows {given.rows}"] if given.rows else []
    facts = {
        "machine": machine(),
        "load before": f"{load:.2f}",
        "versions": "; ".join(f"{n} {v}" for side in versions.values() for n, v in side.items()),
        "python": platform.python_version(),
        "commit": commit(),
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "command": f"`{' '.join(command)} --rounds {given.rounds} --repeats {given.repeats}`, "
        f"{time.perf_counter() - started:.0f} s",
    }
    text = table(results, facts, threads, STANDARD_ERRORS)
    print(text)
    if given.out:
        given.out.write_text(text)


if __name__ == "__main__":
    main()
