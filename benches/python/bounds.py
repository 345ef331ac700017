"""What a row takes at least: its counted work at the rates of a processor. LIMITS.md says where the counts are from."""

from __future__ import annotations

from dataclasses import dataclass

LANES = 16
"""Of a register of 512 bits."""


@dataclass(frozen=True, kw_only=True)
class Rates:
    """Nanoseconds on one thread if nothing ever waits: an instruction of 512 bits in a mixture, a product and a sum
    side by side, 16 values gathered, 16 pairs of values gathered and taken apart, 16 values scattered."""

    instruction: float
    pair: float
    gather: float
    gather_pairs: float
    scatter: float


RATES = {"AMD EPYC, family 26 model 2": Rates(instruction=0.09, pair=0.118, gather=2.9, gather_pairs=3.1, scatter=3.8)}
"""Measured with eight chains in flight."""

RANDOM, NORMAL = 13, 18
"""Instructions of 16 random words, and of 16 normal numbers of them."""
STEPS = {"ConstantStep": 14, "SoftBounds": 18, "SoftBoundsReference": 18, "ExpStep": 53, "PowStep": 78, "Tabulated": 29}
"""Instructions of 16 pulses, without their normal numbers."""
GATHERS = {"Tabulated": 2}
"""Pairs that they look up."""
WORD, LOOK, DRAWN = 19, 12, 21
"""Instructions of a word of 32 columns, of 16 columns looked at, of 16 words of trains."""

Made = dict[str, float]
"""What was done: ``_core.work()``; of products, ``pairs`` of 16 products and sums, and ``normals`` of their noise."""


def seconds(made: Made, model: str, rates: Rates) -> float:
    """The time of the work on one thread."""
    pulses = (RANDOM + NORMAL + STEPS[model]) * rates.instruction + GATHERS.get(model, 0) * rates.gather_pairs
    groups = made["pulses"] * pulses + made["cells"] * (rates.gather + rates.scatter)
    groups += (made["looks"] * LOOK + made["drawn"] * DRAWN) * rates.instruction
    groups += made["normals"] * (RANDOM + NORMAL) * rates.instruction
    return 1e-9 * (groups / LANES + made["words"] * WORD * rates.instruction + made["pairs"] * rates.pair)
