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

from .analog_sgd import AnalogSGD
from .base import (
    Algorithm,
    Every,
    Gradient,
    Plan,
    Rate,
    Term,
    TileShape,
    Transfer,
    Write,
    algorithms,
    describe,
)
from .digital_sgd import DigitalSGD
from .residual_learning import ResidualLearning
from .tiki_taka import TikiTaka

__all__ = [
    "Algorithm",
    "AnalogSGD",
    "DigitalSGD",
    "Every",
    "Gradient",
    "Plan",
    "Rate",
    "ResidualLearning",
    "Term",
    "TikiTaka",
    "TileShape",
    "Transfer",
    "Write",
    "algorithms",
    "describe",
]
