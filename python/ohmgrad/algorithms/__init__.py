"""Training algorithms: one file each, a frozen dataclass whose ``plan`` describes what the compiled core runs.

An algorithm of one's own is a registered dataclass with that one method:

>>> from dataclasses import dataclass
>>> from ohmgrad.algorithms import Gradient, Plan, Rate, Term, algorithms
>>> @dataclass(frozen=True, kw_only=True)
... class HalfSpeed:
...     def plan(self, tile):
...         gradient = Gradient(target="weight", rate=Rate(0.5, scaled=True))
...         return Plan(arrays=("weight",), weight=(Term("weight"),), gradient=gradient)
>>> import ohmgrad as og
>>> og.Tile(2, 3, algorithm=HalfSpeed()).forward([1.0, 0.0, 0.0])
array([0., 0.], dtype=float32)

``algorithms.register`` (a decorator) lets a checkpoint name it.
"""

from .agad import AGAD
from .analog_sgd import AnalogSGD
from .base import (
    Accumulate,
    Algorithm,
    Chopper,
    Every,
    Gradient,
    Plan,
    Rate,
    Term,
    Threshold,
    TileFacts,
    Transfer,
    Write,
    algorithms,
    describe,
    describe_transfer,
)
from .chopped_tiki_taka_v2 import ChoppedTikiTakaV2
from .digital_sgd import DigitalSGD
from .erider import ERIDER
from .fast_slow import FastSlow
from .mixed_precision import MixedPrecision
from .multi_tile_residual_learning import MultiTileResidualLearning
from .residual_learning import ResidualLearning
from .residual_learning_v2 import ResidualLearningV2
from .tiki_taka import TikiTaka
from .tiki_taka_v2 import TikiTakaV2

__all__ = [
    "AGAD",
    "ERIDER",
    "Accumulate",
    "Algorithm",
    "AnalogSGD",
    "ChoppedTikiTakaV2",
    "Chopper",
    "DigitalSGD",
    "Every",
    "FastSlow",
    "Gradient",
    "MixedPrecision",
    "MultiTileResidualLearning",
    "Plan",
    "Rate",
    "ResidualLearning",
    "ResidualLearningV2",
    "Term",
    "Threshold",
    "TikiTaka",
    "TikiTakaV2",
    "TileFacts",
    "Transfer",
    "Write",
    "algorithms",
    "describe",
    "describe_transfer",
]
