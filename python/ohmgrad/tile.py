"""A tile: one crossbar (or several that share a weight) with its periphery and its training algorithm."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _core
from ._record import as_bool, as_float, as_floats, as_int, as_str, settings
from .algorithms import (
    Accumulate,
    Algorithm,
    AnalogSGD,
    Every,
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
from .calibration import ZeroShift
from .devices import Cell, Device, SoftBounds, models
from .io import IO
from .pulses import PulseTrain
from .seeds import Seeds, as_seeds

if TYPE_CHECKING:
    from .programming import ProgramReport

__all__ = ["Array", "Matrices", "Matrix", "Parameters", "PulseCounts", "Tile"]

Floats = NDArray[np.float32]
Counts = NDArray[np.uint64]


class PulseCounts(NamedTuple):
    """Pulses that every cell got since the tile was built, ``up`` and ``down``, uint64 ``[d_out, d_in]`` each."""

    up: Counts
    down: Counts


# lines are numbered in 32 bits
_LINES = 1 << 31


class Parameters(Mapping[str, Floats]):
    """Per-cell parameters of an array by name: reads are copies ``[d_out, d_in]``, assigning such a matrix sets it.

    Stored weights are clipped to bounds that are set. KeyError for another name; ValueError for another shape, for
    values that are not finite, and for cells that contradict themselves (``w_min > w_max``, a ``decay`` outside 0 to 1,
    a negative ``diffusion``); nothing is changed then.

    >>> import ohmgrad as og
    >>> cells = og.Tile(1, 2).arrays["weight"].parameters
    >>> cells["w_max"] = [[0.5, 0.25]]
    >>> cells["w_max"]
    array([[0.5 , 0.25]], dtype=float32)
    >>> list(cells)[:5]
    ['w_max', 'w_min', 'dw_up', 'dw_down', 'reference']
    """

    def __init__(self, core: _core.Tile, array: str) -> None:
        self._core = core
        self._array = array

    def __getitem__(self, name: str) -> Floats:
        self._check(name)
        return self._core.parameter(self._array, name)

    def __setitem__(self, name: str, values: ArrayLike) -> None:
        self._check(name)
        self._core.set_parameter(self._array, name, np.asarray(values))

    def __iter__(self) -> Iterator[str]:
        return iter(self._core.parameters(self._array))

    def __len__(self) -> int:
        return len(self._core.parameters(self._array))

    def __repr__(self) -> str:
        return f"<parameters of array {self._array!r}: {', '.join(self)}>"

    def _check(self, name: str) -> None:
        known = self._core.parameters(self._array)
        if name not in known:
            raise KeyError(f"array {self._array!r} has no parameter {name!r}; known: {', '.join(known)}")


class Matrix:
    """A digital float32 matrix of a tile.

    >>> import ohmgrad as og
    >>> tile = og.Tile(1, 2, algorithm=og.DigitalSGD())
    >>> tile.arrays["weight"]
    <matrix 'weight' 1 x 2>
    """

    def __init__(self, core: _core.Tile, name: str) -> None:
        self._core = core
        self._name = name

    @property
    def weights(self) -> Floats:
        """A copy ``[d_out, d_in]``; assigning a finite matrix of that shape sets it, ValueError for any other."""
        return self._core.matrix(self._name)

    @weights.setter
    def weights(self, values: ArrayLike) -> None:
        self._core.set_matrix(self._name, np.asarray(values))

    def __repr__(self) -> str:
        return f"<{type(self).__name__.lower()} {self._name!r} {self._core.d_out} x {self._core.d_in}>"


class Array(Matrix):
    """A crossbar of a tile. ``weights`` is what is read (reference subtracted); setting clips to each cell's bounds.

    >>> import ohmgrad as og
    >>> tile = og.Tile(1, 2, device=og.devices.SoftBounds(w_max=0.5), algorithm=og.TikiTaka())
    >>> fast = tile.arrays["fast"]
    >>> fast.weights = [[0.25, 0.75]]
    >>> fast.weights, fast.granularity
    (array([[0.25, 0.5 ]], dtype=float32), 0.001)
    """

    @property
    def persistent_weights(self) -> Floats:
        """The weights behind write noise, ``[d_out, d_in]``: what pulses move; without it the same as ``weights``.

        A copy. Assigning a matrix sets them, clipped, while what is read stays until a cell is changed next; ValueError
        for cells of several devices.
        """
        return self._core.hidden(self._name)

    @persistent_weights.setter
    def persistent_weights(self, values: ArrayLike) -> None:
        self._core.set_hidden(self._name, np.asarray(values))

    def pulse(self, counts: ArrayLike) -> None:
        """Pulses on single cells: ``counts[i, j]`` of them, up where positive, with the cycle noise of the device.

        ``counts`` are integers ``[d_out, d_in]``, at most 2**20 in size; TypeError or ValueError otherwise.

        >>> import ohmgrad as og
        >>> tile = og.Tile(1, 2, device=og.devices.ConstantStep(dw_min=0.25))
        >>> tile.arrays["weight"].pulse([[3, -1]])
        >>> tile.weights
        array([[ 0.75, -0.25]], dtype=float32)
        """
        pulses = np.asarray(counts)
        if pulses.dtype.kind not in "iu":
            raise TypeError(f"counts must be integers, got an array of dtype {pulses.dtype}")
        if pulses.shape != (self._core.d_out, self._core.d_in):
            allowed = (self._core.d_out, self._core.d_in)
            raise ValueError(f"counts has shape {pulses.shape}, allowed: {allowed}")
        # What int32 cannot hold is far out of range and stays so.
        pulses = np.ascontiguousarray(np.clip(pulses, -(2**31) + 1, 2**31 - 1), dtype=np.int32)
        self._core.pulse_cells(self._name, pulses)

    @property
    def pulse_counts(self) -> PulseCounts:
        """Pulses up and down of every cell so far; ValueError unless the tile has ``count_pulses=True``.

        Those of the devices of a cell are added; of a pair, up is what raises the weight. An increment that is not made
        of pulses counts as one. Counts end at 2**32 - 1.

        >>> import ohmgrad as og
        >>> tile = og.Tile(1, 2, count_pulses=True)
        >>> tile.arrays["weight"].pulse([[3, -1]])
        >>> tile.arrays["weight"].pulse_counts.up
        array([[3, 0]], dtype=uint64)
        """
        shape = self._core.d_out, self._core.d_in
        return PulseCounts(*(counts.reshape(shape) for counts in self._core.pulse_counts(self._name)))

    def zero_shift(self, shift: ZeroShift) -> None:
        """Drive every cell to its symmetric point, and subtract what is read there from now on: :class:`ZeroShift`.

        ValueError for an array with a device that has no symmetric point between its bounds, and for one-sided pairs;
        nothing is changed then.

        >>> import ohmgrad as og
        >>> tile = og.Tile(1, 1, device=og.devices.SoftBounds(dw_min=0.25, up_down=0.5))
        >>> tile.arrays["weight"].zero_shift(og.ZeroShift(cycles=100, average=2))
        >>> tile.weights
        array([[0.]], dtype=float32)
        """
        if not isinstance(shift, ZeroShift):
            raise TypeError(f"shift must be a ZeroShift, got {shift!r}")
        io = None if shift.io is None else shift.io.readout().describe()
        self._core.zero_shift(self._name, shift.describe() | {"io": io})

    def decay(self) -> None:
        """One decay of this array, see :meth:`Tile.decay`."""
        self._core.decay(self._name)

    def diffuse(self) -> None:
        """One diffusion of this array, see :meth:`Tile.diffuse`."""
        self._core.diffuse(self._name)

    def drift(self, time: float) -> None:
        """Drift of this array, see :meth:`Tile.drift`."""
        self._core.drift(self._name, as_float("time", time))

    def reset(self, columns: Sequence[int] | None = None, *, prob: float = 1.0) -> None:
        """Reset of this array, see :meth:`Tile.reset`."""
        self._core.reset(self._name, _chosen("columns", columns, self._core.d_in), as_float("prob", prob))

    @property
    def parameters(self) -> Parameters:
        """The cells' own values, such as ``w_max``, ``w_min``, ``dw_up``, ``dw_down``, ``reference``: see the keys."""
        return Parameters(self._core, self._name)

    @property
    def granularity(self) -> float:
        """The nominal step of this array's device, in weight units."""
        return self._core.granularity(self._name)

    @property
    def n_states(self) -> float:
        """Number of steps over the nominal range of this array's device."""
        return self._core.n_states(self._name)


class Matrices(Mapping[str, Any]):
    """The matrices of a tile by name: an :class:`Array` for each crossbar, a :class:`Matrix` for each digital one."""

    def __init__(self, matrices: Mapping[str, Matrix]) -> None:
        self._matrices = dict(matrices)

    def __getitem__(self, name: str) -> Any:
        if name not in self._matrices:
            raise KeyError(f"the tile has no array {name!r}; known: {', '.join(self._matrices)}")
        return self._matrices[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._matrices)

    def __len__(self) -> int:
        return len(self._matrices)

    def __repr__(self) -> str:
        return f"<arrays {', '.join(self)}>"


class Tile:
    """A crossbar of ``d_out`` rows and ``d_in`` columns with its algorithm: all that a trainer of one's own needs.

    - ``device``: the cells, one device for all arrays of the algorithm or a dict with one per array name.
    - ``algorithm``: how updates reach the arrays; ``pulses``: how an update becomes pulses.
    - ``io``: periphery of the forward product; ``backward_io``: of the backward product, None: the same.
    - ``count_pulses``: count the pulses of every cell, see :attr:`Array.pulse_counts`.
    - ``seed``: an integer, 0 <= seed < 2**64, or :class:`Seeds`. ``name``: part of the key of every random stream;
      two tiles of one seed and one name (unnamed ones, too) draw the same cells and the same noise.

    Vectors are rows: ``x`` is ``[batch, d_in]``, ``y`` and ``d`` are ``[batch, d_out]``; a 1-D array is one vector and
    gives a 1-D answer. All are converted to float32. Settings are fixed once the tile is built. Raises ValueError
    naming the field, the value and the allowed range; TypeError for a value of another kind.

    >>> import numpy as np, ohmgrad as og
    >>> tile = og.Tile(2, 3, device=og.devices.ConstantStep(dw_min=0.01), algorithm=og.AnalogSGD(), seed=1)
    >>> tile.set_weights(np.full((2, 3), 0.25))
    >>> tile.forward([1.0, 1.0, 2.0])
    array([1., 1.], dtype=float32)
    >>> tile.update([1.0, 0.0, 0.0], [0.5, 0.0], lr=0.1)
    >>> tile.weights[1]
    array([0.25, 0.25, 0.25], dtype=float32)
    """

    d_out: int
    d_in: int
    device: Device | Cell | Mapping[str, Device | Cell]
    algorithm: Algorithm
    io: IO
    pulses: PulseTrain
    backward_io: IO
    count_pulses: bool
    seeds: Seeds
    name: str
    arrays: Matrices
    _core: _core.Tile
    _target: str
    _carrier: Term
    _stage: int
    _step: Callable[..., None] | None

    def __init__(
        self,
        d_out: int,
        d_in: int,
        *,
        device: Device | Cell | Mapping[str, Device | Cell] = SoftBounds(),
        algorithm: Algorithm = AnalogSGD(),
        io: IO = IO(),
        pulses: PulseTrain = PulseTrain(),
        backward_io: IO | None = None,
        count_pulses: bool = False,
        seed: int | Seeds = 0,
        name: str = "",
    ) -> None:
        set_once = super().__setattr__
        set_once("d_out", _size("d_out", d_out))
        set_once("d_in", _size("d_in", d_in))
        if not isinstance(algorithm, Algorithm) or isinstance(algorithm, type):
            raise TypeError(f"algorithm must be an object with a method plan(tile), got {algorithm!r}")
        set_once("algorithm", algorithm)
        # Algorithms with a buffer have a field of that name.
        step = getattr(algorithm, "step", None)
        set_once("_step", step if callable(step) else None)
        set_once("io", _of_kind(IO, "io", io))
        set_once("pulses", _of_kind(PulseTrain, "pulses", pulses))
        set_once("backward_io", self.io if backward_io is None else _of_kind(IO, "backward_io", backward_io))
        set_once("count_pulses", as_bool("count_pulses", count_pulses))
        set_once("seeds", as_seeds(seed))
        set_once("name", as_str("name", name))

        set_once("device", _checked(device))
        set_once("_stage", 0)
        plan = self._plan(0)
        devices = _per_array(self.device, plan.arrays)
        with _planned_by(algorithm):
            core = _core.Tile(
                d_out=self.d_out,
                d_in=self.d_in,
                devices={array: cells.describe() for array, cells in devices.items()},
                plan=describe(plan, self.io, self.pulses),
                forward=self.io.describe(),
                backward=self.backward_io.describe(),
                pulses=self.pulses.describe(),
                seeds=(self.seeds.device, self.seeds.noise),
                count_pulses=self.count_pulses,
                path=self.name,
            )
        set_once("_core", core)
        set_once("_target", plan.gradient.target)
        set_once("_carrier", plan.weight[-1])
        crossbars: dict[str, Matrix] = {array: Array(core, array) for array in plan.arrays}
        set_once("arrays", Matrices(crossbars | {matrix: Matrix(core, matrix) for matrix in plan.digital}))
        if (shift := getattr(algorithm, "zero_shift", None)) is not None:
            target = plan.gradient.target
            self.arrays[target if target in plan.arrays else plan.arrays[0]].zero_shift(shift)

    def _plan(self, stage: int) -> Plan:
        facts = TileFacts(d_out=self.d_out, d_in=self.d_in, device=self.device, stage=stage)
        with _planned_by(self.algorithm):
            plan = self.algorithm.plan(facts)
        if not isinstance(plan, Plan):
            raise TypeError(f"{type(self.algorithm).__name__}.plan must give a Plan, got {plan!r}")
        return plan

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{name!r} cannot be assigned: the settings of a tile are fixed once it is built")

    def forward(self, x: ArrayLike, training: bool = True, noise: bool = True) -> Floats:
        """The product ``y = W x`` through the periphery: ``[batch, d_in] -> [batch, d_out]``, or 1-D to 1-D.

        Training and evaluation draw their noise from streams of their own, so evaluating changes no training run.
        ``noise=False`` draws nothing (rounding is to the nearest then) and leaves the tile as it is; converters,
        managements and what lines and cells keep for life stay. ValueError for vectors that are not finite or of
        another shape, or none.
        """
        rows, single = _rows("x", x)
        y = self._core.forward(rows, training, noise)
        return y[0] if single else y

    def backward(self, d: ArrayLike) -> Floats:
        """The product ``W^T d`` through the backward periphery: ``[batch, d_out] -> [batch, d_in]``, or 1-D to 1-D."""
        rows, single = _rows("d", d)
        g = self._core.backward(rows)
        return g[0] if single else g

    def update(self, x: ArrayLike, d: ArrayLike, lr: float) -> None:
        """One mini-batch: in the mean ``W <- W - lr * sum_b d_b x_b^T``, then the transfers of the algorithm.

        ``x`` is ``[batch, d_in]``, ``d`` is ``[batch, d_out]`` (the gradient of the mean loss, which carries the
        1/batch), or both 1-D. More than 4096 vectors count as several calls; Ctrl-C is seen between them. ``lr`` is any
        number whose rates float32 can hold, a negative one turns the gradient round. ValueError for vectors that are
        not finite or of another shape, or none; nothing is changed then.

        An algorithm that has a method ``step(tile, x, d, lr)`` decides in Python what happens instead, with the verbs
        :meth:`follow_plan`, :meth:`accumulate` and :meth:`write`, and everything else that a tile can do. It is given
        arrays ``[batch, d_in]`` and ``[batch, d_out]``.
        """
        rows, errors, rate = _rows("x", x)[0], _rows("d", d)[0], as_float("lr", lr)
        if self._step is None:
            self._core.update(rows, errors, rate)
        else:
            self._core.check_update(rows, errors, rate)
            self._step(self, rows, errors, rate)

    def follow_plan(self, x: ArrayLike, d: ArrayLike, lr: float) -> None:
        """What the plan of the algorithm does with a mini-batch: its gradient, and the transfers that are due.

        :meth:`update` does that too, unless the algorithm has a ``step`` of its own, which calls this.
        """
        self._core.update(_rows("x", x)[0], _rows("d", d)[0], as_float("lr", lr))

    def accumulate(
        self,
        into: str,
        source: str | Term | Sequence[Term],
        *,
        gain: float = 1.0,
        keep: float = 1.0,
        lines: Sequence[int] | None = None,
        axis: Literal["columns", "rows"] = "columns",
        io: IO | None = None,
    ) -> None:
        """``into <- keep * into + gain * sum(source)``, line by line: the step :class:`~ohmgrad.algorithms.Accumulate`.

        ``source`` is a matrix or a sum of terms; arrays are read through ``io`` (None: the tile's), and an array that
        is the goal is programmed. ``lines``: columns or rows by ``axis``, each once; None: all. ValueError for names,
        lines or numbers that do not fit; nothing is changed then.

        >>> import ohmgrad as og
        >>> tile = og.Tile(1, 2, algorithm=og.TikiTakaV2())
        >>> tile.arrays["fast"].weights = [[0.5, 0.25]]
        >>> tile.accumulate("hidden", "fast", gain=0.5, lines=[0])
        >>> tile.arrays["hidden"].weights
        array([[0.25, 0.  ]], dtype=float32)
        """
        step = Accumulate(into=into, source=_terms(source), gain=Rate(as_float("gain", gain)), keep=keep)
        self._event(step, lines, axis, io)

    def write(
        self,
        target: str,
        source: str | Term | Sequence[Term],
        *,
        rate: float = 1.0,
        unit: float = 1.0,
        threshold: Threshold | None = None,
        deadband: float = 0.0,
        pulses: PulseTrain | None = None,
        lines: Sequence[int] | None = None,
        axis: Literal["columns", "rows"] = "columns",
        io: IO | None = None,
    ) -> None:
        """``target <- target + rate * u``, ``u = sum(source) / unit``, line by line.

        The step :class:`~ohmgrad.algorithms.Write`: onto an array in ``pulses`` (None: the tile's), on a digital matrix
        exactly. All else as in :meth:`accumulate`.

        >>> import ohmgrad as og
        >>> tile = og.Tile(1, 2, algorithm=og.TikiTakaV2(), device=og.devices.ConstantStep(dw_min=0.25))
        >>> tile.arrays["hidden"].weights = [[0.625, -0.125]]
        >>> tile.write("slow", "hidden", unit=0.25, rate=0.25, threshold=og.algorithms.Threshold(cap=2, forget=False))
        >>> tile.weights, tile.arrays["hidden"].weights
        (array([[0.5, 0. ]], dtype=float32), array([[ 0.125, -0.125]], dtype=float32))
        """
        step = Write(
            target=target,
            source=_terms(source),
            rate=Rate(as_float("rate", rate)),
            unit=unit,
            threshold=threshold,
            deadband=deadband,
            pulses=pulses,
        )
        self._event(step, lines, axis, io)

    def _event(self, step: Accumulate | Write, lines: Sequence[int] | None, axis: Any, io: IO | None) -> None:
        transfer = Transfer(every=Every(1), steps=(step,), axis=axis, io=io)
        count = self.d_out if axis == "rows" else self.d_in
        self._core.event(describe_transfer(transfer, self.io, self.pulses), _chosen("lines", lines, count), 1.0)

    @property
    def stage(self) -> int:
        """The stage of the algorithm, 0 unless :meth:`end_epoch` moved it on."""
        return self._stage

    def end_epoch(self, losses: Sequence[float]) -> None:
        """Tell the algorithm the training losses of all epochs so far; one that has stages may begin the next one.

        :func:`ohmgrad.fit` does this. Only an algorithm with a method ``end_of_epoch(stage, losses)`` takes notice.

        >>> import ohmgrad as og
        >>> tile = og.Tile(1, 2, algorithm=og.MultiTileResidualLearning())
        >>> tile.end_epoch([2.0, 1.0]), tile.end_epoch([2.0, 1.0, 1.5])
        (None, None)
        >>> tile.stage
        1
        """
        if (hook := getattr(self.algorithm, "end_of_epoch", None)) is not None:
            stage = hook(self._stage, list(as_floats("losses", losses)))
            self._begin(as_int("what end_of_epoch gives", stage))

    def _begin(self, stage: int) -> None:
        if not 0 <= stage < _LINES:
            raise ValueError(f"stage must be from 0 to 2**31 - 1, got {stage} from end_of_epoch or a state")
        if stage != self._stage:
            plan = describe(self._plan(stage), self.io, self.pulses)
            with _planned_by(self.algorithm):
                self._core.set_plan(plan)
            object.__setattr__(self, "_stage", stage)

    def end_batch(self) -> None:
        """The end of a mini-batch: diffusion, then decay, of cells that have them (``diffusion``, ``lifetime``).

        >>> import ohmgrad as og
        >>> tile = og.Tile(1, 1, device=og.devices.SoftBounds(lifetime=4.0))
        >>> tile.set_weights([[0.5]])
        >>> tile.end_batch()
        >>> tile.weights
        array([[0.375]], dtype=float32)
        """
        self._core.end_batch()

    def decay(self) -> None:
        """One decay of all cells with a ``lifetime``: ``w <- (w - b) (1 - 1/lifetime) + b``, b their reset target.

        Without a mini-batch, and without the diffusion that :meth:`end_batch` begins with.
        """
        self._core.decay(None)

    def diffuse(self) -> None:
        """One step of the random walk of all cells that have a ``diffusion``: ``w <- w + diffusion N``, clipped."""
        self._core.diffuse(None)

    def drift(self, time: float) -> None:
        """Power-law drift of all cells whose device has a ``drift``, over ``time`` (>= 0, in the unit of its ``t_0``).

        ``w <- w0 max(t / t_0, 1)^-nu`` with t the time since the cell was last changed and w0 its weight then; all of
        it: :class:`ohmgrad.devices.Drift`.

        >>> import ohmgrad as og
        >>> tile = og.Tile(1, 1, device=og.devices.SoftBounds(drift=og.devices.Drift(nu=0.5)))
        >>> tile.set_weights([[0.5]])
        >>> tile.drift(1.0), tile.drift(3.0)
        (None, None)
        >>> tile.weights
        array([[0.25]], dtype=float32)
        """
        self._core.drift(None, as_float("time", time))

    def reset(self, columns: Sequence[int] | None = None, *, prob: float = 1.0) -> None:
        """Reset the cells of some ``columns`` (None: all), each with probability ``prob``: ``w <- b + reset_std N``.

        b is the cell's reset target, ``reset + reset_dtod N`` of its device, drawn when the tile was built. Columns are
        numbers from 0 to d_in - 1, ``prob`` is from 0 to 1; ValueError otherwise.

        >>> import ohmgrad as og
        >>> tile = og.Tile(1, 3, device=og.devices.SoftBounds(reset=0.25))
        >>> tile.reset([0, 2])
        >>> tile.weights
        array([[0.25, 0.  , 0.25]], dtype=float32)
        """
        self._core.reset(None, _chosen("columns", columns, self.d_in), as_float("prob", prob))

    def read_weights(self, n: int = 1) -> Floats:
        """The weight as the periphery reads it, column by column, mean of ``n`` readings: ``[d_out, d_in]``.

        The noise is that of :meth:`forward` in evaluation.

        >>> import ohmgrad as og
        >>> tile = og.Tile(2, 3, io=og.IO(out_bound=1.0, out_res=0.25))
        >>> tile.set_weights([[0.1, 0.3, 0.6], [0.0, -0.3, 0.9]])
        >>> tile.read_weights()
        array([[ 0. ,  0.5,  0.5],
               [ 0. , -0.5,  1. ]], dtype=float32)
        """
        if as_int("n", n) < 1:
            raise ValueError(f"n must be >= 1, got {n}")
        total = np.zeros((self.d_out, self.d_in), np.float32)
        for _ in range(n):
            for first in range(0, self.d_in, 1024):
                rows = np.eye(min(1024, self.d_in - first), self.d_in, first, dtype=np.float32)
                total[:, first : first + len(rows)] += self._core.forward(rows, False).T
        return total / np.float32(n)

    def program(self, w: ArrayLike, **options: Any) -> ProgramReport:
        """Write and verify: pulses until what is read is within a tolerance of ``w``, ``[d_out, d_in]``.

        Options and report: :func:`ohmgrad.programming.program`.
        """
        from .programming import program

        return program(self, w, **options)

    @property
    def weights(self) -> Floats:
        """A copy of the weight the network sees, ``[d_out, d_in]``, in tile units; see :meth:`set_weights`."""
        return self._core.weights()

    def set_weights(self, w: ArrayLike) -> None:
        """Set the weight to ``w``, ``[d_out, d_in]``.

        The last term of the algorithm's weight takes it, clipped to the bounds of each cell; every other matrix becomes
        zero. ValueError for a matrix of another shape or one that is not finite.
        """
        self._core.set_weights(np.asarray(w))

    @property
    def carrier(self) -> tuple[str, float]:
        """The matrix that takes weights that are set, and its factor in the weight."""
        return self._carrier.matrix, self._carrier.factor

    def granularity(self, array: str | None = None) -> float:
        """The nominal step of an array's device, by default of the array that gets the gradient.

        ValueError for a digital matrix, which has no device.
        """
        return self._core.granularity(self._target if array is None else array)

    def n_states(self, array: str | None = None) -> float:
        """Number of steps over the nominal range of an array, by default of the one that gets the gradient.

        ValueError for a digital matrix, which has no device.
        """
        return self._core.n_states(self._target if array is None else array)

    def config(self) -> dict[str, Any]:
        """All settings as JSON values, by registered names; :meth:`from_config` builds the tile again.

        ValueError if the class of the algorithm is not registered (``ohmgrad.algorithms.algorithms.register``).
        """
        if isinstance(self.device, Mapping):
            device = {array: models.encode(cells) for array, cells in self.device.items()}
        else:
            device = models.encode(self.device)
        return {
            "d_out": self.d_out,
            "d_in": self.d_in,
            "device": device,
            "algorithm": algorithms.encode(self.algorithm),
            "io": settings.encode(self.io),
            "pulses": settings.encode(self.pulses),
            "backward_io": settings.encode(self.backward_io),
            "count_pulses": self.count_pulses,
            "seed": settings.encode(self.seeds),
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Tile:
        """A tile with the settings that :meth:`config` gave, fresh as on its first day.

        ValueError for a device, an algorithm or a field of unknown name, naming it and the known ones.

        >>> import ohmgrad as og
        >>> tile = og.Tile(1, 2, algorithm=og.TikiTaka(gamma=0.5))
        >>> og.Tile.from_config(tile.config())
        Tile(1, 2, algorithm=TikiTaka(gamma=0.5))
        """
        rest = dict(config)
        shape = rest.pop("d_out"), rest.pop("d_in")
        device = rest.pop("device")
        rest["device"] = models.decode(device) if "type" in device else {k: models.decode(v) for k, v in device.items()}
        rest["algorithm"] = algorithms.decode(rest["algorithm"])
        rest |= {field: settings.decode(rest[field]) for field in ("io", "pulses", "backward_io", "seed")}
        return cls(*shape, **rest)

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """Everything needed to go on bit for bit, as arrays by name; :meth:`config` has the settings."""
        staged = {"stage": np.array([self._stage], np.uint64)} if hasattr(self.algorithm, "end_of_epoch") else {}
        return self._core.state() | staged

    def load_state_dict(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on where the tile that gave ``state`` was; it must have had the same arrays and the same shape.

        ValueError naming what is missing, not known or of another shape; nothing is changed then.

        >>> import ohmgrad as og
        >>> tile, other = og.Tile(1, 2), og.Tile(1, 2)
        >>> tile.update([1.0, 2.0], [-1.0], lr=0.1)
        >>> other.load_state_dict(tile.state_dict())
        >>> bool((other.weights == tile.weights).all())
        True
        """
        rest = dict(state)
        if not hasattr(self.algorithm, "end_of_epoch"):
            self._core.load_state(rest)
            return
        stage = np.asarray(rest.pop("stage", None))
        if stage.shape != (1,) or stage.dtype.kind not in "iu" or stage[0] < 0:
            raise ValueError(f"state.stage is {stage}, allowed: one count")
        before = self._stage, self._core.state()
        self._begin(int(stage[0]))
        try:
            self._core.load_state(rest)
        except BaseException:
            self._begin(before[0])
            self._core.load_state(before[1])
            raise

    def __getstate__(self) -> dict[str, Any]:
        settings = {name: getattr(self, name) for name in _SETTINGS} | {"seed": self.seeds}
        return {"settings": settings, "state": self.state_dict()}

    def __setstate__(self, pickled: Mapping[str, Any]) -> None:
        self.__init__(**pickled["settings"])  # type: ignore[misc]
        self.load_state_dict(pickled["state"])

    def __copy__(self) -> Tile:
        """A tile of its own: two tiles never share cells."""
        return deepcopy(self)

    def __repr__(self) -> str:
        shown: list[str] = [repr(self.d_out), repr(self.d_in)]
        pairs: tuple[tuple[str, object, object], ...] = (
            ("device", self.device, SoftBounds()),
            ("algorithm", self.algorithm, AnalogSGD()),
            ("io", self.io, IO()),
            ("pulses", self.pulses, PulseTrain()),
            ("backward_io", self.backward_io, self.io),
            ("count_pulses", self.count_pulses, False),
            ("seed", self.seeds, Seeds()),
            ("name", self.name, ""),
        )
        shown += [f"{field}={value!r}" for field, value, default in pairs if value != default]
        return f"Tile({', '.join(shown)})"


def _rows(name: str, vectors: ArrayLike) -> tuple[NDArray[Any], bool]:
    try:
        rows = vectors if isinstance(vectors, np.ndarray) else np.asarray(vectors)
    except ValueError as error:
        raise ValueError(f"{name} is no array of numbers: {error}") from None
    return (rows[np.newaxis], True) if rows.ndim == 1 else (rows, False)


def _size(name: str, value: object) -> int:
    size = as_int(name, value)
    if not 1 <= size < _LINES:
        raise ValueError(f"{name} must be an integer from 1 to 2**31 - 1, got {size}")
    return size


_SETTINGS = "d_out", "d_in", "device", "algorithm", "io", "pulses", "backward_io", "count_pulses", "name"


def _terms(source: str | Term | Sequence[Term]) -> Any:
    """What the step checks as its source."""
    return (Term(source),) if isinstance(source, str) else (source,) if isinstance(source, Term) else source


@contextmanager
def _planned_by(algorithm: Algorithm) -> Iterator[None]:
    """Errors about a plan name the algorithm with its settings: fields of a plan are not the user's words."""
    try:
        yield
    except OverflowError as error:
        raise ValueError(f"numbers beyond the range of floats ({error}) in the plan of {algorithm!r}") from error
    except ValueError as error:
        if not str(error).startswith("plan"):
            raise
        raise ValueError(f"{error}; in the plan of {algorithm!r}") from error


def _of_kind(kind: type[Any], name: str, value: object) -> Any:
    if not isinstance(value, kind):
        raise TypeError(f"{name} must be a {kind.__name__}, got {value!r}")
    return value


def _chosen(name: str, numbers: object, count: int) -> list[int]:
    """Numbers of rows or columns; None: all."""
    if numbers is None:
        return list(range(count))
    if not isinstance(numbers, Iterable):
        raise TypeError(f"{name} must be a sequence of integers, got {numbers!r}")
    chosen = [as_int(name, number) for number in numbers]
    for number in chosen:
        if not 0 <= number < count:
            raise ValueError(f"{name} must be from 0 to {count - 1}, got {number}")
    return chosen


def _checked(device: object) -> Device | Cell | dict[str, Device | Cell]:
    if not isinstance(device, Mapping):
        return _device("device", device)
    return {name: _device(f"device[{name!r}]", cells) for name, cells in device.items()}


def _per_array(
    device: Device | Cell | Mapping[str, Device | Cell], arrays: tuple[str, ...]
) -> dict[str, Device | Cell]:
    if not isinstance(device, Mapping):
        return dict.fromkeys(arrays, device)
    if set(device) != set(arrays):
        raise ValueError(f"device names the arrays {sorted(device)}, the algorithm has {sorted(arrays)}")
    return {array: device[array] for array in arrays}


def _device(name: str, value: object) -> Device | Cell:
    if not isinstance(value, (Device, Cell)):
        raise TypeError(f"{name} must be a Device, got {value!r}")
    return value
