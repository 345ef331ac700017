"""What a tile takes in memory, measured in processes of their own.

A cell takes 4 bytes for its value, and 4 for each parameter that differs between cells; a parameter that is the same
everywhere takes nothing. So a uniform device takes 4 bytes per cell and array, soft bounds with all spreads (step,
asymmetry, both bounds, reference) 24. Counted pulses take 8 more, and a weight that is no array by itself (a sum, or
minus a reference) 4 more as soon as it is used. While cells with a spread are drawn, every parameter takes 4 bytes.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="/proc tells the memory of a process")

CODE = """
import json
import numpy as np
import ohmgrad as og
from ohmgrad.devices import *

def memory():
    lines = dict(line.split(":", 1) for line in open("/proc/self/status"))
    return [1024 * int(lines[name].split()[0]) for name in ("VmRSS", "VmHWM")]

def use(tile):
    rng = np.random.default_rng(0)
    x, d = (rng.standard_normal((4, n)).astype(np.float32) / 4 for n in (tile.d_in, tile.d_out))
    tile.forward(x), tile.backward(d), tile.update(x, d, 0.01), tile.end_batch()

n, settings = {n}, dict({settings})
# Code, threads and buffers of the first use are no memory of the tile.
use(og.Tile(64, 64, **settings))
before = memory()
tile = og.Tile(n, n, **settings)
made = memory()
use(tile)
used = memory()
each = [(now - then) / n**2 for now, then in ((made[0], before[0]), (used[0], before[0]), (used[1], before[0]))]
print(json.dumps([each, len(tile.arrays), len(next(iter(tile.arrays.values())).parameters)]))
"""
SPREADS = "dw_min=0.001, dw_min_std=0.3, dw_min_dtod=0.3, up_down_dtod=0.01, w_max_dtod=0.3, w_min_dtod=0.3"
# Bytes per cell that stay, and those that come with the first product.
CASES = {
    "defaults": ("", 4, 0),
    "without counts": ("algorithm=og.AnalogSGD(), count_pulses=False", 4, 0),
    "noise": ("device=PowStep(dw_min=0.001, dw_min_std=0.3), io=og.IO.kit()", 4, 0),
    "two arrays": ("algorithm=og.TikiTaka()", 8, 0),
    "two arrays, mixed": ("algorithm=og.ResidualLearning()", 8, 4),
    "counts": ("count_pulses=True", 12, 0),
    "step": ("device=SoftBounds(dw_min=0.001, dw_min_dtod=0.3)", 12, 0),
    "steps and bounds": (f"device=SoftBounds({SPREADS})", 20, 0),
    "all spreads": (f"device=SoftBounds({SPREADS}, reference_std=0.1)", 24, 4),
}
SLACK = 0.25
"""Bytes per cell: products of 4 vectors, pages of the allocator, what the interpreter does meanwhile."""


@pytest.mark.parametrize(("settings", "stays", "composite"), CASES.values(), ids=CASES)
def test_bytes_per_cell(settings: str, stays: int, composite: int) -> None:
    # Uniform tiles are as large as they are asked for; with spread half as large is large enough.
    n = 4096 if stays <= 8 else 2048
    code = CODE.replace("{n}", str(n)).replace("{settings}", settings)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    (made, used, peak), arrays, parameters = json.loads(done.stdout)
    assert abs(made - stays) < SLACK
    assert abs(used - stays - composite) < SLACK
    if stays == 4 * arrays:
        # Nothing differs between cells: the promise of at most 8 bytes per cell and array, at every moment.
        assert peak <= 8 * arrays
        assert peak < used + SLACK
    elif "dtod" in settings:
        # All parameters are drawn before those without spread are dropped.
        assert peak <= max(used, 4 * (parameters + 2)) + SLACK
