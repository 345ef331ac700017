"""The contract of algorithms: a frozen dataclass whose ``plan(tile)`` is built from the nouns on this page.

A plan names matrices and says what happens to them while the vectors ``(x_b, d_b)`` of a mini-batch pass, one after
the other: first the gradient, then every transfer that is due. It is a description without behaviour; the compiled
core runs it.

>>> from ohmgrad.algorithms import TikiTaka, TileShape
>>> plan = TikiTaka(gamma=0.4).plan(TileShape(d_out=10, d_in=64))
>>> plan.weight
(Term('fast', factor=0.4), Term('slow'))
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

from .._record import Record, Registry, settings
from ..io import IO
from ..pulses import PulseTrain


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class Rate(Record):
    """``value``, times the learning rate of the update call if ``scaled``."""

    value: float = field(kw_only=False)
    scaled: bool = False


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class Term(Record):
    """``factor * matrix``; a composite weight or a source is a sum of terms."""

    matrix: str = field(kw_only=False)
    factor: float = 1.0


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class Every(Record):
    """When an event happens: every ``period`` vectors or mini-batches, counted after the vector, never reset.

    A fractional period in mini-batches of ``m`` vectors fires after every ``ceil(period * m)`` vectors.
    """

    period: float = field(kw_only=False)
    unit: Literal["vectors", "batches"] = "vectors"


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class Gradient(Record):
    """``target <- target - rate * d x^T`` per vector: pulses on an array, the exact product on a digital matrix."""

    target: str
    rate: Rate


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class Write(Record):
    """``target <- target + rate * sum(source)`` in pulses, for the line just read; None: the tile's pulses."""

    target: str
    source: tuple[Term, ...]
    rate: Rate
    pulses: PulseTrain | None = None


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class Transfer(Record):
    """An event: read ``reads`` lines (0: all) one after the other through ``io``, and run the steps for each.

    ``axis`` says what a line is. The event starts where the last one ended, or at a line of its own choice
    (``random``). With probability ``reset_prob`` a line of the source arrays is reset after it was read. ``io=None``
    reads through the tile's forward periphery; noise and bound management are off for a read in any case.
    """

    every: Every
    steps: tuple[Write, ...]
    axis: Literal["columns", "rows"] = "columns"
    reads: int = 1
    random: bool = False
    reset_prob: float = 0.0
    io: IO | None = None


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class Plan(Record):
    """Everything the core needs to run an algorithm.

    - ``arrays``: crossbars by name, drawn from the tile's devices; ``digital``: float matrices, zero at start.
    - ``weight``: what the network sees; weights that are set go to the last term, the other matrices become zero.
    - ``gradient``, ``transfers``: what happens per vector, in this order.

    The gradient on one array, and a column of it to another one after every second mini-batch:

    >>> from ohmgrad.algorithms import Every, Gradient, Plan, Rate, Term, Transfer, Write
    >>> write = Write(target="slow", source=(Term("fast"),), rate=Rate(0.5, scaled=True))
    >>> plan = Plan(
    ...     arrays=("fast", "slow"),
    ...     weight=(Term("fast", factor=0.4), Term("slow")),
    ...     gradient=Gradient(target="fast", rate=Rate(0.01)),
    ...     transfers=(Transfer(every=Every(2, unit="batches"), steps=(write,)),),
    ... )
    >>> plan.transfers[0].every
    Every(2.0, unit='batches')
    """

    arrays: tuple[str, ...] = ()
    digital: tuple[str, ...] = ()
    weight: tuple[Term, ...]
    gradient: Gradient
    transfers: tuple[Transfer, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class TileShape(Record):
    """What a plan may know of its tile: ``d_out`` rows and ``d_in`` columns."""

    d_out: int
    d_in: int


@runtime_checkable
class Algorithm(Protocol):
    """A frozen dataclass that describes training: ``plan(tile)`` for a tile of a given shape."""

    def plan(self, tile: TileShape) -> Plan:
        """The plan for ``tile``; called once, when the tile is built."""
        ...


algorithms: Registry[Algorithm] = Registry("algorithm", inner=settings)
"""The algorithms that a checkpoint can name; ``algorithms.register`` adds a dataclass under its class name."""


def describe(plan: Plan, io: IO, pulses: PulseTrain) -> dict[str, Any]:
    """``plan`` as the nested dict the core takes; ``io`` and ``pulses`` are the tile's, for what the plan left open.

    >>> from ohmgrad import IO, PulseTrain
    >>> from ohmgrad.algorithms import AnalogSGD
    >>> describe(AnalogSGD().plan(TileShape(d_out=1, d_in=1)), IO(), PulseTrain())["gradient"]
    {'target': 'weight', 'rate': {'value': 1.0, 'scaled': True}}
    """
    return {
        "arrays": list(plan.arrays),
        "digital": list(plan.digital),
        "weight": [term.describe() for term in plan.weight],
        "gradient": {"target": plan.gradient.target, "rate": plan.gradient.rate.describe()},
        "transfers": [_transfer(transfer, io, pulses) for transfer in plan.transfers],
    }


def _transfer(transfer: Transfer, io: IO, pulses: PulseTrain) -> dict[str, Any]:
    return {
        "every": transfer.every.describe(),
        "axis": transfer.axis,
        "reads": transfer.reads,
        "random": transfer.random,
        "reset_prob": transfer.reset_prob,
        "io": (transfer.io or io).readout().describe(),
        "steps": [{"write": _write(step, pulses)} for step in transfer.steps],
    }


def _write(step: Write, pulses: PulseTrain) -> dict[str, Any]:
    return {
        "source": [term.describe() for term in step.source],
        "target": step.target,
        "rate": step.rate.describe(),
        "pulses": (step.pulses or pulses).describe(),
    }
