"""What an algorithm of one's own costs: as a plan, and with a `step` in Python. Microseconds of a mini-batch of ten.

    .venv/bin/python benches/python/own.py [--seconds 20]

Every tile is updated in turns on one thread; the medians are of one run. `ratio` is to the algorithm that is built in.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np

import ohmgrad as og
from ohmgrad.algorithms import Accumulate, Every, Gradient, Plan, Rate, Term, Transfer, Write

BATCH, RATE, LR = 10, 0.01, 0.05


@dataclass(frozen=True, kw_only=True)
class OwnTikiTaka:
    """The plan of ``TikiTaka(fast_lr=RATE)``, written by hand."""

    def plan(self, tile: Any) -> Plan:
        write = Write(target="slow", source=(Term("fast"),), rate=Rate(1.0, scaled=True))
        return Plan(
            arrays=("fast", "slow"),
            weight=(Term("slow"),),
            gradient=Gradient(target="fast", rate=Rate(RATE)),
            transfers=(Transfer(every=Every(1, unit="batches"), steps=(write,)),),
        )


@dataclass(frozen=True, kw_only=True)
class LowPass:
    """The example's plan: one more digital matrix and one more step."""

    def plan(self, tile: Any) -> Plan:
        mean = Accumulate(into="mean", source=(Term("fast"),), gain=Rate(0.5), keep=0.5)
        write = Write(target="slow", source=(Term("mean"),), rate=Rate(1.0, scaled=True))
        return Plan(
            arrays=("fast", "slow"),
            digital=("mean",),
            weight=(Term("slow"),),
            gradient=Gradient(target="fast", rate=Rate(RATE)),
            transfers=(Transfer(every=Every(1, unit="batches"), steps=(mean, write)),),
        )


@dataclass(frozen=True, kw_only=True)
class PassThrough(OwnTikiTaka):
    """A ``step`` that does nothing but follow the plan."""

    def step(self, tile: og.Tile, x: Any, d: Any, lr: float) -> None:
        tile.follow_plan(x, d, lr)


@dataclass(frozen=True, kw_only=True)
class Verbs:
    """The same transfer in Python, always of the first column."""

    def plan(self, tile: Any) -> Plan:
        gradient = Gradient(target="fast", rate=Rate(RATE))
        return Plan(arrays=("fast", "slow"), weight=(Term("slow"),), gradient=gradient)

    def step(self, tile: og.Tile, x: Any, d: Any, lr: float) -> None:
        tile.follow_plan(x, d, lr)
        tile.write("slow", "fast", rate=lr, lines=(0,))


ROWS: dict[str, Any] = {
    "built in": og.TikiTaka(fast_lr=RATE),
    "the same plan by hand": OwnTikiTaka(),
    "low-pass between (example)": LowPass(),
    "step that follows the plan": PassThrough(),
    "step with a verb": Verbs(),
}


def main() -> None:
    """Print a table for each shape."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10.0, help="for each shape")
    seconds = parser.parse_args().seconds
    og.threads(1)
    device = og.devices.SoftBounds(dw_min=0.001, dw_min_std=0.3)
    for d_out, d_in in ((10, 32), (32, 64), (128, 256)):
        random = np.random.default_rng(0)
        x, d = random.random((BATCH, d_in)), 0.01 * random.standard_normal((BATCH, d_out))
        tiles = {name: og.Tile(d_out, d_in, device=device, algorithm=a, io=og.IO.kit()) for name, a in ROWS.items()}
        times: dict[str, list[float]] = {name: [] for name in ROWS}
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            for name, tile in tiles.items():
                begin = time.perf_counter()
                for _ in range(10):
                    tile.update(x, d, LR)
                times[name].append(1e5 * (time.perf_counter() - begin))
        first = median(times["built in"])
        print(f"{d_out} x {d_in}")
        for name, each in times.items():
            print(f"  {name:<28} {median(each):8.1f} us   ratio {median(each) / first:.2f}")


if __name__ == "__main__":
    main()
