"""The algorithms of section 5 of the specification, written directly: cell by cell, one class for each of them.

An oracle beside `reference.py`. There are no plans here, no terms, steps or events in general: every class says in a
few lines what the paper's algorithm does with its matrices. It imports nothing of the package.

What a tile stores is float32 (`F`), and so are the operations on it, in the order in which the heads of the package's
modules have them; rates, scale factors and probabilities are Python's floats. Pulses are deterministic,
`n = rint(BL p_x p_d)` (3.6), devices have no noise, and reads are exact. What is drawn by chance (which lines a chopper
flips) comes as data. Numbers of the comments are sections of the specification; its decisions are those of section 5
of the notes on plans.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import ceil, sqrt
from typing import NamedTuple

import numpy as np

F = np.float32
ZERO, ONE = F(0), F(1)
Row = list[np.float32]
Matrix = list[Row]
Sign = Callable[[int, int], np.float32]


def zeros(shape: tuple[int, int]) -> Matrix:
    rows, columns = shape
    return [[ZERO] * columns for _ in range(rows)]


def largest(v: Sequence[np.float32]) -> np.float32:
    return max(abs(each) for each in v)


def clip(v: np.float32, low: np.float32, high: np.float32) -> np.float32:
    return min(max(v, low), high)


def plus(_i: int, _j: int) -> np.float32:
    return ONE


# ---- arrays (2 and 3)


class Device(NamedTuple):
    """Constant steps or soft bounds (2.6 a and c); `up_down` makes the step of one side smaller (2.4)."""

    soft: bool
    dw_min: float
    up_down: float = 0.0
    w_max: float = 1.0
    w_min: float = -1.0


DETERMINISTIC = "deterministic_implicit"


class Train(NamedTuple):
    """How an update reaches the cells: in pulses with both managements or none (3.2), or as an increment (3.7 a).

    Trains of chance are right here where every line fires always or never.
    """

    bl: int = 31
    managed: bool = True
    pulse_type: str = DETERMINISTIC
    increment: str = "sample"


MANAGED, SINGLE = Train(), Train(bl=1, managed=False)


def pulses(x: Row, d: Row, rate: float, g: float, train: Train) -> list[tuple[int, int, int]]:
    """Cells that get pulses for `W <- W - rate d x^T`, and how many, up counted positive (3.2, 3.3, 3.6)."""
    lr, x_max, d_max = abs(rate), float(largest(x)), float(largest(d))
    if lr == 0 or x_max == 0 or d_max == 0:
        return []
    bl = train.bl
    a = b = sqrt(lr / (g * bl))
    if train.managed:
        k = lr * x_max * d_max / g
        bl = min(ceil(k), train.bl)
        balanced = d_max * train.bl / k if k > train.bl else d_max
        a = b = sqrt(lr / (g * bl))
        a, b = a * sqrt(x_max / balanced), b * sqrt(balanced / x_max)
    p_x, p_d = [min(1.0, abs(float(v)) * b) for v in x], [min(1.0, abs(float(v)) * a) for v in d]
    assert train.pulse_type == DETERMINISTIC or {*p_x, *p_d} <= {0.0, 1.0}
    found = []
    for i in range(len(d)):
        for j in range(len(x)):
            n = round(bl * p_x[j] * p_d[i])
            if n > 0:
                down = (x[j] > 0) == (d[i] > 0)
                found.append((i, j, n if down == (rate < 0) else -n))
    return found


class Crossbar:
    """An array: cells store `v = w + reference`."""

    def __init__(self, shape: tuple[int, int], device: Device) -> None:
        self.shape, self.device = shape, device
        self.v, self.reference = zeros(shape), zeros(shape)
        self.up, self.down = zeros(shape), zeros(shape)
        self.s_up = F(device.dw_min) * (ONE + F(min(device.up_down, 0.0)))
        self.s_down = F(device.dw_min) * (ONE - F(max(device.up_down, 0.0)))

    def cells(self) -> list[tuple[int, int]]:
        return [(i, j) for i in range(self.shape[0]) for j in range(self.shape[1])]

    def read(self, i: int, j: int) -> np.float32:
        return self.v[i][j] - self.reference[i][j]

    def matrix(self) -> Matrix:
        return [[self.read(i, j) for j in range(self.shape[1])] for i in range(self.shape[0])]

    def _store(self, i: int, j: int, v: np.float32) -> None:
        self.v[i][j] = clip(v, F(self.device.w_min), F(self.device.w_max))

    def set(self, i: int, j: int, w: np.float32) -> None:
        self._store(i, j, w + self.reference[i][j])

    def _response(self, v: np.float32, up: bool) -> np.float32:
        if not self.device.soft:
            return ONE
        return ONE - v / F(self.device.w_max if up else self.device.w_min)

    def pulse(self, i: int, j: int, up: bool) -> None:
        """One pulse (2.2)."""
        v = self.v[i][j]
        self._store(i, j, v + self.s_up * self._response(v, True) if up else v - self.s_down * self._response(v, False))
        counted = self.up if up else self.down
        counted[i][j] += ONE

    def give(self, i: int, j: int, dw: np.float32, analog: bool) -> None:
        """An increment in one go: the mathematical update `w + dw q(w)` (3.7 a), or exactly."""
        if dw == 0:
            return
        v, step = self.v[i][j], self.s_up if dw > 0 else self.s_down
        q = step / F(self.device.dw_min) * self._response(v, bool(dw > 0)) if analog else ONE
        self._store(i, j, v + dw * q)
        counted = self.up if dw > 0 else self.down
        counted[i][j] += ONE

    def update(self, x: Matrix, d: Matrix, rate: float, train: Train, sign: Sign = plus) -> None:
        """`W <- W - rate sign d x^T`, vector by vector, or of the sum of all vectors."""
        if train.pulse_type in (DETERMINISTIC, "stochastic_compressed"):
            for x_b, d_b in zip(x, d, strict=True):
                for i, j, n in pulses(x_b, d_b, rate, self.device.dw_min, train):
                    up = bool(n * sign(i, j) > 0)
                    for _ in range(abs(n)):
                        self.pulse(i, j, up)
            return
        analog = train.pulse_type == "analog_update"
        for i, j in self.cells():
            total = ZERO
            for x_b, d_b in zip(x, d, strict=True):
                dw = -F(rate) * (d_b[i] * sign(i, j)) * x_b[j]
                if train.increment == "batch":
                    total = total + dw
                else:
                    self.give(i, j, dw, analog)
            self.give(i, j, total, analog)

    def zero_shift(self, cycles: int, average: int) -> None:
        """Up and down in turn; the mean of the last reads becomes the reference (5.11)."""
        total = zeros(self.shape)
        for cycle in range(cycles):
            for i, j in self.cells():
                self.pulse(i, j, True)
                self.pulse(i, j, False)
                if cycle >= cycles - average:
                    total[i][j] = total[i][j] + self.read(i, j)
        for i, j in self.cells():
            self.reference[i][j] = self.reference[i][j] + total[i][j] / F(average)


def add_product(matrix: Matrix, x: Row, d: Row, rate: float) -> None:
    """`M <- M - rate d x^T` in digital memory."""
    for i in range(len(d)):
        for j in range(len(x)):
            matrix[i][j] = matrix[i][j] + -F(rate) * d[i] * x[j]


# ---- periods and lines


class Clock:
    """When a transfer is due (5.3): every so many vectors or mini-batches.

    A part of a mini-batch of m vectors is `ceil(part m)` vectors since the last time.
    """

    def __init__(self, period: float, in_batches: bool) -> None:
        self.period, self.in_batches = period, in_batches
        self.vectors = self.batches = self.since = 0

    def due(self, m: int, last: bool) -> bool:
        """After a vector of `m`."""
        self.vectors += 1
        if not self.in_batches:
            return self.vectors % self.period == 0
        if self.period == int(self.period):
            self.batches += last
            return last and self.batches % self.period == 0
        self.since += 1
        if self.since < ceil(self.period * m):
            return False
        self.since = 0
        return True


class Lines:
    """The columns or rows that transfers go through, one after the other."""

    def __init__(self, shape: tuple[int, int], columns: bool) -> None:
        self.columns = columns
        self.count, self.across = (shape[1], shape[0]) if columns else shape
        self.next = self.passes = 0

    def take(self) -> int:
        """The next line; after the last one comes the first."""
        line = self.next
        self.next = (line + 1) % self.count
        self.passes += self.next == 0
        return line

    def cells(self, line: int) -> list[tuple[int, int]]:
        return [(at, line) if self.columns else (line, at) for at in range(self.across)]

    def write(self, array: Crossbar, line: int, v: Row, rate: float, train: Train) -> None:
        """`pulse(T; e_k, -v, rate)`: the line moves by `rate v`."""
        chosen = [ONE if each == line else ZERO for each in range(self.count)]
        minus = [-each for each in v]
        x, d = (chosen, minus) if self.columns else (minus, chosen)
        array.update([x], [d], rate, train)


# ---- without transfers (5.1, 5.2)


@dataclass(kw_only=True)
class DigitalSGD:
    shape: tuple[int, int]
    devices: dict[str, Device]
    pulses: Train

    def __post_init__(self) -> None:
        self.matrices = {"weight": zeros(self.shape)}
        self.arrays: dict[str, Crossbar] = {}

    def set(self, i: int, j: int, w: np.float32) -> None:
        self.matrices["weight"][i][j] = w

    def weight(self, i: int, j: int) -> np.float32:
        return self.matrices["weight"][i][j]

    def update(self, x: Matrix, d: Matrix, lr: float) -> None:
        for x_b, d_b in zip(x, d, strict=True):
            add_product(self.matrices["weight"], x_b, d_b, lr)


@dataclass(kw_only=True)
class AnalogSGD:
    shape: tuple[int, int]
    devices: dict[str, Device]
    pulses: Train
    zero_shift: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        self.arrays = {"weight": Crossbar(self.shape, self.devices["weight"])}
        self.matrices: dict[str, Matrix] = {}
        if self.zero_shift:
            self.arrays["weight"].zero_shift(*self.zero_shift)

    def set(self, i: int, j: int, w: np.float32) -> None:
        self.arrays["weight"].set(i, j, w)

    def weight(self, i: int, j: int) -> np.float32:
        return self.arrays["weight"].read(i, j)

    def update(self, x: Matrix, d: Matrix, lr: float) -> None:
        self.arrays["weight"].update(x, d, lr, self.pulses)


# ---- with a fast array


@dataclass(kw_only=True)
class FastSlow:
    """Gradient pulses on `fast`, and lines of it that are read now and then."""

    shape: tuple[int, int]
    devices: dict[str, Device]
    pulses: Train
    gamma: float = 0.0
    fast_lr: float = 0.01
    scale_fast_lr: bool = False
    transfer_every: float = 1.0
    units_in_mbatch: bool = True
    n_reads_per_transfer: int = 1
    transfer_columns: bool = True
    transfer_pulses: Train | None = None
    zero_shift: tuple[int, int] | None = None
    names: tuple[str, ...] = field(init=False, default=("fast", "slow"))

    def __post_init__(self) -> None:
        self.arrays = {name: Crossbar(self.shape, self.devices[name]) for name in self.names}
        self.fast, self.slow = self.arrays["fast"], self.arrays["slow"]
        self.matrices: dict[str, Matrix] = {}
        self.lines = Lines(self.shape, self.transfer_columns)
        self.reads = self.n_reads_per_transfer or self.lines.count
        if self.zero_shift:
            self.fast.zero_shift(*self.zero_shift)

    def set(self, i: int, j: int, w: np.float32) -> None:
        self.slow.set(i, j, w)

    def weight(self, i: int, j: int) -> np.float32:
        return F(self.gamma) * self.fast.read(i, j) + self.slow.read(i, j)

    def sign(self, _i: int, _j: int) -> np.float32:
        return ONE

    def rate(self, x: Row, d: Row, m: int, lr: float) -> float:
        return self.fast_lr * lr if self.scale_fast_lr else -self.fast_lr if lr < 0 else self.fast_lr

    def update(self, x: Matrix, d: Matrix, lr: float) -> None:
        for b in range(len(x)):
            last = b == len(x) - 1
            rho = self.rate(x[b], d[b], len(x), lr)
            if self.pulses.increment == "sample":
                self.fast.update([x[b]], [d[b]], rho, self.pulses, self.sign)
            elif last:
                self.fast.update(x, d, rho, self.pulses, self.sign)
            self.after_vector(len(x), last, rho, lr)

    def after_vector(self, m: int, last: bool, rho: float, lr: float) -> None:
        raise NotImplementedError


@dataclass(kw_only=True)
class TikiTaka(FastSlow):
    """5.3, any number of levels."""

    gamma_vec: tuple[float, ...] = ()
    transfer_every_vec: tuple[float, ...] = ()
    transfer_lr: float = 1.0
    transfer_lr_vec: tuple[float, ...] = ()
    scale_transfer_lr: bool = True
    with_reset_prob: float = 0.0

    def __post_init__(self) -> None:
        given = len(self.gamma_vec) or max(len(self.transfer_every_vec), len(self.transfer_lr_vec), 1) + 1
        self.names = ("fast", *(f"mid{i}" for i in range(1, given - 1)), "slow")
        FastSlow.__post_init__(self)
        self.levels = list(self.arrays.values())
        self.shares = self.gamma_vec or [self.gamma ** (given - 1 - i) for i in range(given)]
        rates = self.transfer_lr_vec or [self.transfer_lr] * (given - 1)
        periods = self.transfer_every_vec or [
            self.transfer_every * (self.lines.count / self.reads) ** i for i in range(given - 1)
        ]
        # slower levels wait for a full pass of the faster one
        self.rates, self.periods = list(rates), [p if self.units_in_mbatch else ceil(p) for p in periods]
        self.clocks = [Clock(period, self.units_in_mbatch) for period in self.periods]
        self.pointers = [Lines(self.shape, self.transfer_columns) for _ in periods]

    def set(self, i: int, j: int, w: np.float32) -> None:
        self.slow.set(i, j, w / F(self.shares[-1]))

    def weight(self, i: int, j: int) -> np.float32:
        total = F(self.shares[0]) * self.fast.read(i, j)
        for share, array in zip(self.shares[1:], self.levels[1:], strict=True):
            total = total + F(share) * array.read(i, j)
        return total

    def after_vector(self, m: int, last: bool, rho: float, lr: float) -> None:
        for level, clock in enumerate(self.clocks):
            if clock.due(m, last):
                self.transfer(level, self.levels[level + 1], lr)

    def transfer(self, level: int, target: Crossbar, lr: float) -> None:
        rate = self.rates[level] * abs(lr) if self.scale_transfer_lr else self.rates[level]
        source, lines = self.levels[level], self.pointers[level]
        for _ in range(self.reads):
            k = lines.take()
            v = [source.read(i, j) for i, j in lines.cells(k)]
            if self.with_reset_prob == 1:
                for i, j in lines.cells(k):
                    source.set(i, j, ZERO)
            lines.write(target, k, v, rate, self.transfer_pulses or self.pulses)


@dataclass(kw_only=True)
class ResidualLearning(TikiTaka):
    """5.4: Tiki-Taka with a share of the fast array in the weight."""

    gamma: float = 0.4


@dataclass(kw_only=True)
class MultiTileResidualLearning(TikiTaka):
    """5.9. At stage k < n - 1 the fast array hands over to array n - 1 - k alone."""

    n_arrays: int = 3
    gamma: float = 0.5
    transfer_every: float = 2.0
    transfer_every_factor: float = 5.0
    transfer_lr: float = 0.1
    transfer_lr_factor: float = 1.2
    scale_transfer_lr: bool = False
    warm_start: bool = True
    stage: int = 0

    def __post_init__(self) -> None:
        n = range(self.n_arrays - 1)
        self.transfer_every_vec = tuple(self.transfer_every * self.transfer_every_factor**i for i in n)
        self.transfer_lr_vec = tuple(self.transfer_lr * self.transfer_lr_factor**i for i in n)
        TikiTaka.__post_init__(self)

    def after_vector(self, m: int, last: bool, rho: float, lr: float) -> None:
        if not self.warm_start or self.stage >= self.n_arrays - 1:
            return TikiTaka.after_vector(self, m, last, rho, lr)
        for level, clock in enumerate(self.clocks):
            due = clock.due(m, last)
            if due and level == 0:
                self.transfer(0, self.levels[self.n_arrays - 1 - self.stage], lr)
            elif due:
                # transfers that wait for their stage go on counting lines
                for _ in range(self.reads):
                    self.pointers[level].take()
        return None


def plateau(stage: int, losses: Sequence[float]) -> bool:
    """Whether a stage ends: the loss rose; from the fifth switch on twice within the last five epochs (5.9)."""
    rises = [after > before for before, after in pairwise(losses)]
    return sum(rises[-5:]) >= 2 if stage > 3 else any(rises[-1:])


# ---- with a digital buffer


@dataclass(kw_only=True)
class ChoppedTikiTakaV2(FastSlow):
    """5.7. `flips`, `cross_flips`: what the choppers flip in each event where that is random."""

    fast_lr: float = 1.0
    units_in_mbatch: bool = False
    in_chop_prob: float = 0.1
    in_chop_random: bool = True
    out_chop_prob: float = 0.0
    transfer_lr: float = 1.0
    scale_transfer_lr: bool = True
    buffer_granularity: float = 1.0
    auto_granularity: float = 0.0
    momentum: float = 0.0
    forget_buffer: bool = True
    no_buffer: bool = False
    step: float = 1.0
    auto_scale: bool = False
    auto_momentum: float = 0.99
    correct_gradient_magnitudes: bool = False
    flips: Sequence[set[int]] = ()
    cross_flips: Sequence[set[int]] = ()

    def __post_init__(self) -> None:
        FastSlow.__post_init__(self)
        self.hidden = self.matrices["hidden"] = zeros(self.shape)
        self.line, self.cross = [ONE] * self.lines.count, [ONE] * self.lines.across
        self.mu_x = self.mu_d = ZERO
        self.events = 0
        self.g = self.fast.device.dw_min
        every = self.transfer_every
        if every < 0:
            n_states = (self.fast.device.w_max - self.fast.device.w_min) / self.g
            every = max(1, round(n_states / self.lines.count * -every))
        self.clock = Clock(every, self.units_in_mbatch)
        self.train = self.transfer_pulses or SINGLE
        self.n_s = max(ceil(1 / self.in_chop_prob), 2) if self.in_chop_prob else 0

    def sign(self, i: int, j: int) -> np.float32:
        return self.cross[i] * self.line[j] if self.transfer_columns else self.line[i] * self.cross[j]

    def weight(self, i: int, j: int) -> np.float32:
        return F(self.gamma) * self.fast.read(i, j) * self.sign(i, j) + self.slow.read(i, j)

    def rate(self, x: Row, d: Row, m: int, lr: float) -> float:
        rho = FastSlow.rate(self, x, d, m, lr)
        if not self.auto_scale:
            return rho
        share = F((1 - self.auto_momentum) / m)
        self.mu_x, self.mu_d = running(self.mu_x, largest(x), share), running(self.mu_d, largest(d), share)
        rho *= self.pulses.bl * self.g
        return rho / (float(self.mu_x) * float(self.mu_d)) if self.mu_x > 0 and self.mu_d > 0 else rho

    def gain(self, rho: float, lr: float) -> float:
        bg = self.buffer_granularity * (self.slow.device.dw_min if self.correct_gradient_magnitudes else self.g)
        if self.auto_granularity:
            bg *= self.auto_granularity / (self.lines.count * abs(self.transfer_every))
        s = self.transfer_lr / bg
        s = s * abs(lr) if self.scale_transfer_lr else s
        if self.correct_gradient_magnitudes:
            # without a gradient nothing is accumulated
            s = s / abs(rho) if rho != 0 else 0.0
        return s

    def after_vector(self, m: int, last: bool, rho: float, lr: float) -> None:
        if self.clock.due(m, last):
            for _ in range(self.reads):
                self.transfer(self.lines.passes, self.lines.take(), F(self.gain(rho, lr)))
            self.events += 1

    def transfer(self, full_passes: int, k: int, s: np.float32) -> None:
        n: Row = []
        for i, j in self.lines.cells(k):
            v = self.fast.read(i, j)
            before = ZERO if self.no_buffer else self.hidden[i][j]
            h = before + s * self.residual(i, j, v)
            written, self.hidden[i][j] = self.threshold(h)
            self.note(i, j, v)
            n.append(written)
        if self.may_write(full_passes):
            self.lines.write(self.slow, k, n, self.step * self.slow.device.dw_min, self.train)
        if self.flips_now(k, full_passes):
            self.line[k] = -self.line[k]
            self.latch(k)
        if k == self.lines.count - 1 and self.cross_flips:
            for at in self.cross_flips[self.events]:
                self.cross[at] = -self.cross[at]

    def residual(self, i: int, j: int, v: np.float32) -> np.float32:
        return v * self.sign(i, j)

    def threshold(self, h: np.float32) -> tuple[np.float32, np.float32]:
        """What is written of `h`, and what stays."""
        n = clip(np.trunc(h), F(-self.train.bl), F(self.train.bl))
        if n == 0:
            return n, h
        return n, F(self.momentum) * h if self.forget_buffer else self.rest(h - (ONE - F(self.momentum)) * n)

    def rest(self, h: np.float32) -> np.float32:
        return h

    def flips_now(self, k: int, full_passes: int) -> bool:
        if self.in_chop_random:
            return bool(self.flips) and k in self.flips[self.events]
        return self.n_s > 0 and full_passes % self.n_s == self.n_s - 1

    def may_write(self, full_passes: int) -> bool:
        return True

    def note(self, i: int, j: int, v: np.float32) -> None:
        pass

    def latch(self, k: int) -> None:
        pass


def running(mean: np.float32, v: np.float32, share: np.float32) -> np.float32:
    """A mean over vectors that starts with the first one; zeros do not count."""
    if mean == 0:
        return v
    return mean if v == 0 else (ONE - share) * mean + share * v


@dataclass(kw_only=True)
class AGAD(ChoppedTikiTakaV2):
    """5.8. The reference is what the mean was at the flip."""

    fast_lr: float = 0.1
    in_chop_random: bool = False
    auto_scale: bool = True
    tail_weightening: float = 5.0
    buffer_cap: float = 0.0

    def __post_init__(self) -> None:
        ChoppedTikiTakaV2.__post_init__(self)
        self.mean, self.reference = zeros(self.shape), zeros(self.shape)
        self.matrices |= {"mean": self.mean, "reference": self.reference}
        self.m_s = min(self.tail_weightening / self.n_s, 1.0)

    def residual(self, i: int, j: int, v: np.float32) -> np.float32:
        return (v - self.reference[i][j]) * self.sign(i, j)

    def rest(self, h: np.float32) -> np.float32:
        cap = F(self.train.bl * self.buffer_cap)
        return clip(h, -cap, cap) if cap else h

    def may_write(self, full_passes: int) -> bool:
        return full_passes > self.n_s

    def note(self, i: int, j: int, v: np.float32) -> None:
        self.mean[i][j] = F(1 - self.m_s) * self.mean[i][j] + F(self.m_s) * v

    def latch(self, k: int) -> None:
        for i, j in self.lines.cells(k):
            self.reference[i][j] = self.mean[i][j]


@dataclass(kw_only=True)
class BufferedTikiTaka(FastSlow):
    """5.5, variant B."""

    transfer_lr: float = 1.0
    scale_transfer_lr: bool = True
    thres_scale: float = 1.0
    momentum: float = 0.1
    forget_buffer: bool = True
    step: float = 1.0

    def __post_init__(self) -> None:
        FastSlow.__post_init__(self)
        self.hidden = self.matrices["hidden"] = zeros(self.shape)
        self.clock = Clock(self.transfer_every, self.units_in_mbatch)
        self.train = self.transfer_pulses or SINGLE

    def after_vector(self, m: int, last: bool, rho: float, lr: float) -> None:
        if self.clock.due(m, last):
            lr_t = self.transfer_lr * (self.gamma or 1.0) * (abs(lr) if self.scale_transfer_lr else 1.0)
            for _ in range(self.reads):
                self.transfer(self.lines.take(), F(lr_t))

    def transfer(self, k: int, lr_t: np.float32) -> None:
        g = self.slow.device.dw_min
        theta, cap = F(self.thres_scale * g), F(self.train.bl)
        n: Row = []
        for i, j in self.lines.cells(k):
            h = self.hidden[i][j] + lr_t * self.fast.read(i, j)
            n.append(clip(np.trunc(h / theta), -cap, cap))
            if n[-1] != 0:
                h = F(self.momentum) * h if self.forget_buffer else h - (ONE - F(self.momentum)) * n[-1] * theta
            self.hidden[i][j] = h
        self.lines.write(self.slow, k, n, self.step * g, self.train)


@dataclass(kw_only=True)
class TikiTakaV2(ChoppedTikiTakaV2):
    """5.5, variant C: 5.7 without its chopper."""

    fast_lr: float = 0.01
    units_in_mbatch: bool = True
    in_chop_prob: float = 0.0
    momentum: float = 0.1


@dataclass(kw_only=True)
class ResidualLearningV2(FastSlow):
    """5.6, both modes."""

    gamma: float = 0.4
    fast_lr: float = 1.0
    scale_fast_lr: bool = True
    beta_h: float = 0.1
    beta_w: float = 0.1
    mode: str = "paper"
    auto_granularity: float = 0.0

    def __post_init__(self) -> None:
        FastSlow.__post_init__(self)
        self.hidden = self.matrices["hidden"] = zeros(self.shape)
        self.clock = Clock(self.transfer_every, self.units_in_mbatch)
        self.train = self.transfer_pulses or SINGLE

    def after_vector(self, m: int, last: bool, rho: float, lr: float) -> None:
        if self.clock.due(m, last):
            for _ in range(self.reads):
                self.transfer(self.lines.take())

    def transfer(self, k: int) -> None:
        g, bg = self.slow.device.dw_min, self.fast.device.dw_min
        if self.auto_granularity:
            bg *= self.auto_granularity / (self.lines.count * self.transfer_every)
        u: Row = []
        for i, j in self.lines.cells(k):
            h = F(1 - self.beta_h) * self.hidden[i][j] + F(self.beta_h) * self.fast.read(i, j)
            self.hidden[i][j] = h
            if self.mode == "paper":
                u.append(h / F(g / self.beta_w) if abs(h) > F(g) else ZERO)
            else:
                u.append(clip(np.trunc(h / F(bg / self.beta_w)), F(-self.train.bl), F(self.train.bl)))
        self.lines.write(self.slow, k, u, g, self.train)


# ---- mixed precision (5.10)


@dataclass(kw_only=True)
class MixedPrecision:
    """`chi` has the sign of a weight."""

    shape: tuple[int, int]
    devices: dict[str, Device]
    pulses: Train
    transfer_every: float = 1.0
    n_rows_per_transfer: int = -1
    transfer_columns: bool = False
    granularity: float = 0.0
    transfer_lr: float = 1.0
    n_x_bins: int = 0
    n_d_bins: int = 0
    stoc_round_x: bool = True
    stoc_round_d: bool = True
    transfer_pulses: Train = MANAGED

    def __post_init__(self) -> None:
        self.array = Crossbar(self.shape, self.devices["weight"])
        self.arrays = {"weight": self.array}
        self.chi = zeros(self.shape)
        self.matrices = {"chi": self.chi}
        self.lines = Lines(self.shape, self.transfer_columns)
        self.clock = Clock(self.transfer_every, True)

    def set(self, i: int, j: int, w: np.float32) -> None:
        self.array.set(i, j, w)

    def weight(self, i: int, j: int) -> np.float32:
        return self.array.read(i, j)

    def update(self, x: Matrix, d: Matrix, lr: float) -> None:
        for b in range(len(x)):
            add_product(self.chi, binned(x[b], self.n_x_bins), binned(d[b], self.n_d_bins), lr)
            if self.clock.due(len(x), b == len(x) - 1):
                for _ in range(self.lines.count if self.n_rows_per_transfer < 0 else self.n_rows_per_transfer):
                    self.transfer(self.lines.take())

    def transfer(self, k: int) -> None:
        eps = self.granularity or self.array.device.dw_min
        n: Row = []
        for i, j in self.lines.cells(k):
            n.append(np.trunc(self.chi[i][j] / F(eps)))
            self.chi[i][j] = self.chi[i][j] - n[-1] * F(eps)
        self.lines.write(self.array, k, n, eps * self.transfer_lr, self.transfer_pulses)


def binned(v: Row, bins: int) -> Row:
    """Rounded to levels of width `max|v| / (bins / 2)`."""
    if bins == 0 or largest(v) == 0:
        return v
    width = largest(v) / F(bins / 2)
    return [width * np.rint(each / width) for each in v]


# ---- E-RIDER (5.12)


@dataclass(kw_only=True)
class ERIDER(FastSlow):
    """`flips`: lines that flip after each step, all or none. `reference` is the analog copy of the mean."""

    gamma: float = 0.1
    fast_lr: float = 0.5
    n_reads_per_transfer: int = 0
    eta: float = 0.05
    chop_prob: float = 0.05
    transfer_lr: float = 0.05
    scale_transfer_lr: bool = False
    flips: Sequence[set[int]] = ()

    def __post_init__(self) -> None:
        self.names = ("fast", "slow", "reference")
        FastSlow.__post_init__(self)
        self.reference = self.arrays["reference"]
        self.mean = self.matrices["mean"] = zeros(self.shape)
        self.clock = Clock(self.transfer_every, self.units_in_mbatch)
        self.c, self.events = ONE, 0

    def sign(self, _i: int, _j: int) -> np.float32:
        return self.c

    def weight(self, i: int, j: int) -> np.float32:
        share = F(self.gamma) * self.c
        return share * self.fast.read(i, j) - share * self.reference.read(i, j) + self.slow.read(i, j)

    def after_vector(self, m: int, last: bool, rho: float, lr: float) -> None:
        if not self.clock.due(m, last):
            return
        beta = self.transfer_lr * abs(lr) if self.scale_transfer_lr else self.transfer_lr
        train = self.transfer_pulses or Train(pulse_type="analog_update")
        for _ in range(self.reads):
            k = self.lines.take()
            moves: Row = []
            for i, j in self.lines.cells(k):
                p = self.fast.read(i, j)
                self.mean[i][j] = F(1 - self.eta) * self.mean[i][j] + F(self.eta) * p
                moves.append(self.c * (p - self.reference.read(i, j)))
            self.lines.write(self.slow, k, moves, beta, train)
        if self.flips[self.events]:
            self.c = -self.c
            for i, j in self.fast.cells():
                self.reference.set(i, j, self.mean[i][j])
        self.events += 1
