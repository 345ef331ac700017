"""Where a side runs: in this process, or in one of its own that answers JSON lines."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Protocol

from sides import Side

SCRIPT = Path(__file__).resolve().parent / "compare.py"


class Asked(Protocol):
    """Calls a method of a side by name."""

    def ask(self, what: str, *args: Any) -> Any: ...


def made(side: str, inputs: Path) -> Side:
    """The side of this name. It imports what it measures."""
    if side == "peer":
        from peer import Peer

        return Peer(inputs)
    from ours import Ours

    return Ours(inputs)


class Local:
    """Our side: in this process."""

    def __init__(self, inputs: Path) -> None:
        self._side = made("ours", inputs)

    def ask(self, what: str, *args: Any) -> Any:
        return getattr(self._side, what)(*args)


class Remote:
    """A worker that reads ``[method, arguments...]`` from its stdin and answers on its stdout."""

    def __init__(self, python: str, side: str, inputs: Path, **environment: str) -> None:
        command = [python, str(SCRIPT), "--worker", side, str(inputs)]
        env = os.environ | environment
        self._worker = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env)
        self._side = side

    def ask(self, what: str, *args: Any) -> Any:
        assert self._worker.stdin is not None
        assert self._worker.stdout is not None
        self._worker.stdin.write(json.dumps([what, *args]) + "\n")
        self._worker.stdin.flush()
        answer = self._worker.stdout.readline()
        if not answer:
            raise SystemExit(f"the worker of {self._side} ended at {what}{args}; its last words are above")
        return json.loads(answer)

    def close(self) -> None:
        assert self._worker.stdin is not None
        self._worker.stdin.close()
        self._worker.wait()

    def __enter__(self) -> Remote:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def work(side: str, inputs: Path) -> None:
    """The worker's loop. What the library prints goes to stderr."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    it = made(side, inputs)
    for line in sys.stdin:
        what, *args = json.loads(line)
        answers.write(json.dumps(getattr(it, what)(*args)) + "\n")
        answers.flush()
