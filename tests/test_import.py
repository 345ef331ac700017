"""``import ohmgrad`` is quick: it loads nothing but itself and the standard library, and using it loads numpy alone."""

from __future__ import annotations

import subprocess
import sys
from statistics import median

import pytest

import ohmgrad as og

LIMIT = 0.030  # seconds above `import numpy`
PAIRS = 30

LOADED = """
import sys
before = set(sys.modules)
{}
print(*sorted({{name.partition(".")[0] for name in set(sys.modules) - before}} - set(sys.stdlib_module_names)))
"""
TIMED = """
import time
start = time.perf_counter()
{}
print(time.perf_counter() - start)
"""


def output(code: str) -> str:
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout


def loaded(statement: str) -> set[str]:
    """The top-level packages outside the standard library that a statement loads in a new interpreter."""
    return set(output(LOADED.format(statement)).split())


def seconds(statement: str) -> float:
    """What a statement takes in a new interpreter, apart from the interpreter's own start."""
    return float(output(TIMED.format(statement)))


def test_import_loads_nothing_else() -> None:
    assert loaded("import ohmgrad") == {"ohmgrad"}
    # and it can fail
    assert {"click", "ohmgrad"} <= loaded("import ohmgrad.cli")


def test_everything_public_loads_numpy_alone() -> None:
    assert loaded(f"from ohmgrad import {', '.join(og.__all__)}") <= {"numpy", "ohmgrad"}


# The second line is what `import ohmgrad` adds where numpy is there already: the first could hide behind numpy's time.
@pytest.mark.parametrize("statement", ["import ohmgrad", "import numpy, ohmgrad"])
def test_import_takes_little_more_than_numpy(statement: str) -> None:
    # Pairs run one after the other, so both see the same machine. Other work on it only ever adds time, in single runs
    # up to a few times that of numpy: pairs are added until the median of the differences, or the difference of the
    # quickest runs, is within the limit. An import that is too slow in itself stays outside with any number of pairs.
    numpy: list[float] = []
    ours: list[float] = []
    while len(ours) < PAIRS:
        numpy.append(seconds("import numpy"))
        ours.append(seconds(statement))
        typical = median(b - a for a, b in zip(numpy, ours, strict=True))
        above = min(typical, min(ours) - min(numpy))
        if len(ours) >= 5 and above <= LIMIT:
            return
    pytest.fail(f"{statement} takes {1000 * above:.0f} ms more than numpy, at most {1000 * LIMIT:.0f} are allowed")
