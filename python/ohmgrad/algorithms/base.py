"""The contract of algorithms: a frozen dataclass whose ``plan(tile)`` is built from the ten nouns on this page.

A plan names matrices and says what happens to them while the vectors ``(x_b, d_b)`` of a mini-batch pass, one after
the other: first the gradient, then every transfer that is due. A transfer is an event: it reads lines of arrays,
and runs steps with each of them. It is a description without behaviour; the compiled core runs it.

    weight       W = sum of factor [c] matrix                    c: the chopper's signs, on what is ``chopped``
    gradient     target <- target - rho [c] d x^T                every vector; rho = rate, or scaled by running maxima
    accumulate   into <- keep into + gain s                      s = sum of factor [c] source, on the line just read
    write        target <- target + rate u,   u = s / unit       in pulses on an array, exactly on a digital matrix
    threshold    u <- clip(trunc(u), +-cap)                      where u != 0 the source forgets, or gives away what it
                                                                 wrote

Everything of a line is float32. What a transfer reads of arrays it reads before its steps; digital matrices are what
the steps before made of them. An algorithm may have more than a plan:

- ``zero_shift``: a :class:`ZeroShift`, or None: the array of the gradient is calibrated when the tile is built.
- ``end_of_epoch(stage, losses) -> stage``: what the training losses of all epochs so far (the last one just ended)
  make of the stage, 0 at first; ``plan(tile)`` is asked again for a new one and finds it in ``tile.stage``. The
  matrices must be the same, and as many transfers.
- ``step(tile, x, d, lr)``: what happens in a mini-batch in Python, see :meth:`ohmgrad.Tile.update`.

>>> from ohmgrad.algorithms import TikiTaka, TileFacts
>>> plan = TikiTaka(gamma=0.4).plan(TileFacts(d_out=10, d_in=64))
>>> plan.weight
(Term('fast', factor=0.4), Term('slow'))
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Literal, Protocol, runtime_checkable

from .._record import Record, Registry, settings
from ..devices import Cell, Device, SoftBounds
from ..io import IO
from ..pulses import PulseTrain


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class Rate(Record):
    """``value``, times the size of the learning rate of the update call if ``scaled``.

    The rate of the gradient has the sign of the learning rate, scaled or not. With ``per_gradient_rate`` it is divided
    by the size of the rate that the last vector's gradient had (0 where that is 0).
    """

    value: float = field(kw_only=False)
    scaled: bool = False
    per_gradient_rate: bool = False


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class Term(Record):
    """``factor * matrix``, times the chopper's signs if ``chopped``; a weight or a source is a sum of terms."""

    matrix: str = field(kw_only=False)
    factor: float = 1.0
    chopped: bool = False


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class Every(Record):
    """When an event happens: every ``period`` vectors or mini-batches, counted after the vector, never reset.

    A fractional period in mini-batches of ``m`` vectors fires after every ``ceil(period * m)`` vectors.
    """

    period: float = field(kw_only=False)
    unit: Literal["vectors", "batches"] = "vectors"


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class Gradient(Record):
    """``target <- target - rate * d x^T`` per vector: pulses on an array, the exact product on a digital matrix.

    - ``chopped``: times the chopper's signs of rows and columns.
    - ``auto_scale``: on an array, the rate becomes ``rate desired_bl granularity / (max|x| max|d|)`` with running
      maxima of this momentum per mini-batch (0 to below 1), so that about ``rate desired_bl`` pulses are sent.
    - ``n_x_bins``, ``n_d_bins``: on a digital matrix, levels that ``x`` and ``d`` are rounded to, of width
      ``max|v| / (n / 2)``; 0: none. ``stoc_round_x``, ``stoc_round_d``: by chance, right in the mean.
    """

    target: str
    rate: Rate
    chopped: bool = False
    auto_scale: float | None = None
    n_x_bins: int = 0
    n_d_bins: int = 0
    stoc_round_x: bool = True
    stoc_round_d: bool = True


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class Chopper(Record):
    """Signs that multiply what is ``chopped``: of every line that is read, and of every line that crosses them.

    - ``prob``, ``random``: a line flips with this probability after each turn of its own; with ``random=False`` it
      flips in every ``max(ceil(1 / prob), 2)``-th pass over all lines. ``scope="array"``: all lines flip together,
      with this probability after each event.
    - ``cross_prob``: with which each crossing line flips after every pass.
    - ``latch``: a digital matrix and another one that it is copied to, on the lines that flip.
    """

    prob: float
    random: bool = True
    cross_prob: float = 0.0
    scope: Literal["line", "array"] = "line"
    latch: tuple[str, str] | None = None


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class Threshold(Record):
    """Whole numbers ``n = clip(trunc(u), +-cap)`` are written; the source, one digital matrix, is where ``n != 0``

    ``momentum * source`` with ``forget``, else ``source - (1 - momentum) * n * unit``, within ``+-limit`` unless that
    is 0.
    """

    cap: int = 1
    momentum: float = 0.0
    forget: bool = True
    limit: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class Accumulate(Record):
    """``into <- keep * into + gain * sum(source)`` on the line just read; an array is programmed.

    An integrator has ``keep=1``, a low-pass ``keep=1 - b, gain=b``, a copy ``keep=0``.
    """

    into: str
    source: tuple[Term, ...]
    gain: Rate = Rate(1.0)
    keep: float = 1.0


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class Write(Record):
    """``target <- target + rate * u`` on the line just read, ``u = sum(source) / unit``.

    - ``threshold``: makes ``u`` whole numbers; ``deadband``: ``u = 0`` where ``|sum(source)|`` is not above it.
    - ``after_passes``: nothing is written until more than so many passes over all lines are complete.
    - ``pulses`` of an array; None: the tile's.
    """

    target: str
    source: tuple[Term, ...]
    rate: Rate
    unit: float = 1.0
    threshold: Threshold | None = None
    deadband: float = 0.0
    after_passes: int | None = None
    pulses: PulseTrain | None = None


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class Transfer(Record):
    """An event: read ``reads`` lines (0: all) one after the other through ``io``, and run the steps for each.

    ``axis`` says what a line is. The event starts where the last one ended, or at a line of its own choice
    (``random``). With probability ``reset_prob`` a line of the source arrays is reset after it was read. After the
    steps of a line its chopper may flip; a plan has one chopper at most. ``io=None`` reads through the tile's forward
    periphery; noise and bound management are off for a read in any case.
    """

    every: Every
    steps: tuple[Accumulate | Write, ...]
    axis: Literal["columns", "rows"] = "columns"
    reads: int = 1
    random: bool = False
    reset_prob: float = 0.0
    chopper: Chopper | None = None
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
class TileFacts(Record):
    """What a plan may know of its tile: ``d_out`` rows, ``d_in`` columns, its devices, and the ``stage`` of a run.

    >>> import ohmgrad as og
    >>> tile = og.algorithms.TileFacts(d_out=10, d_in=64, device=og.devices.SoftBounds(dw_min=0.01))
    >>> tile.granularity("fast"), tile.n_states("fast")
    (0.01, 200.0)
    """

    d_out: int
    d_in: int
    device: Device | Cell | Mapping[str, Device | Cell] = SoftBounds()
    stage: int = 0

    def granularity(self, array: str) -> float:
        """The nominal step of an array's device; ValueError for an array that has no device."""
        return self._cells(array).granularity

    def n_states(self, array: str) -> float:
        """Number of steps over the nominal range of an array's device; ValueError for one that has none."""
        return self._cells(array).n_states

    def _cells(self, array: str) -> Device | Cell:
        if not isinstance(self.device, Mapping):
            return self.device
        if array not in self.device:
            raise ValueError(f"device names the arrays {sorted(self.device)}, and the algorithm has an array {array!r}")
        return self.device[array]


@runtime_checkable
class Algorithm(Protocol):
    """A frozen dataclass that describes training: ``plan(tile)`` for a tile of a given shape and device."""

    def plan(self, tile: TileFacts) -> Plan:
        """The plan for ``tile``; called when the tile is built, and for every new stage."""
        ...


algorithms: Registry[Algorithm] = Registry("algorithm", inner=settings)
"""The algorithms that a checkpoint can name; ``algorithms.register`` adds a dataclass under its class name."""


def describe(plan: Plan, io: IO, pulses: PulseTrain) -> dict[str, Any]:
    """``plan`` as the nested dict the core takes; ``io`` and ``pulses`` are the tile's, for what the plan left open.

    >>> from ohmgrad import IO, PulseTrain
    >>> from ohmgrad.algorithms import AnalogSGD
    >>> describe(AnalogSGD().plan(TileFacts(d_out=1, d_in=1)), IO(), PulseTrain())["weight"]
    [{'matrix': 'weight', 'factor': 1.0, 'chopped': False}]
    """
    transfers = [describe_transfer(transfer, io, pulses) for transfer in plan.transfers]
    return plan.describe() | {"transfers": transfers}


def describe_transfer(transfer: Transfer, io: IO, pulses: PulseTrain) -> dict[str, Any]:
    """The same of one transfer."""
    steps = [_step(step, pulses) for step in transfer.steps]
    return transfer.describe() | {"io": _readout(transfer.io or io), "steps": steps}


@lru_cache(maxsize=64)
def _readout(io: IO) -> dict[str, Any]:
    """Cached for algorithms that run events from Python: most of what such an event costs would be this."""
    return io.readout().describe()


def _step(step: Accumulate | Write, pulses: PulseTrain) -> dict[str, Any]:
    if isinstance(step, Accumulate):
        return {"accumulate": step.describe()}
    return {"write": step.describe() | {"pulses": (step.pulses or pulses).describe()}}
