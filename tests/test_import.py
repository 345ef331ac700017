"""``import ohmgrad`` is quick: it loads nothing but itself and the standard library, and using it loads numpy alone."""

from __future__ import annotations

import subprocess
import sys

import pytest

import ohmgrad as og

LIMIT = 0.030  # seconds above `import numpy`
RUNS = 25

LOADED = """
import sys
before = set(sys.modules)
{}
print(*sorted({{name.partition(".")[0] for name in set(sys.modules) - before}} - set(sys.stdlib_module_names)))
"""
TIMED = """
import time, numpy
start = time.perf_counter()
import ohmgrad
print(time.perf_counter() - start)
"""


def output(code: str) -> str:
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout


def loaded(statement: str) -> set[str]:
    """The top-level packages outside the standard library that a statement loads in a new interpreter."""
    return set(output(LOADED.format(statement)).split())


def test_import_loads_nothing_else() -> None:
    assert loaded("import ohmgrad") == {"ohmgrad"}
    # and it can fail
    assert {"click", "ohmgrad"} <= loaded("import ohmgrad.cli")


def test_everything_public_loads_numpy_alone() -> None:
    assert loaded(f"from ohmgrad import {', '.join(og.__all__)}") <= {"numpy", "ohmgrad"}


def test_import_takes_little_more_than_numpy() -> None:
    # Timed within new interpreters that have numpy already. Other work on the machine only ever adds time, so the
    # quickest run counts, and one is enough: a slow import stays above the limit however often it is tried.
    quickest = float("inf")
    for _ in range(RUNS):
        quickest = min(quickest, float(output(TIMED)))
        if quickest <= LIMIT:
            return
    pytest.fail(f"import ohmgrad takes {1000 * quickest:.0f} ms more than numpy, allowed: {1000 * LIMIT:.0f}")
