"""Random calls of the whole public interface, good and bad: ``python tests/fuzz.py --calls 1000000 --seconds 600``.

Programs of a few dozen calls, each drawn from ``(seed, number)`` alone, on tiles, networks, settings, plans and files.
After every call:

- an error is one that is documented (ValueError, TypeError, KeyError for names, ...), never a panic or a crash;
- NaN and infinity are refused, and what comes out is finite as long as nothing beyond 1e6 went in;
- the stored values of cells are finite and within their bounds, whatever went in;
- a call that was refused leaves every bit of the state alone;
- states, copies and settings survive their round trips.

The programs run in a child process, so that a crash is seen, under a watchdog, so that a hang is. A finding prints the
calls that led to it; ``--seed N --only K`` runs program K again.
"""

from __future__ import annotations

import argparse
import copy
import faulthandler
import json
import math
import mmap
import pickle
import random
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

import ohmgrad as og
from ohmgrad import config, curves, data, devices, nn, presets, theory
from ohmgrad._record import settings
from ohmgrad.algorithms import (
    Accumulate,
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
)
from ohmgrad.devices import models
from ohmgrad.summary import summarise

BAD = ValueError, TypeError
MILD = 1e6
"""What goes in beyond this, or below its reciprocal as a setting, may overflow."""
FOUND = 3
"""Exit code of a run with findings: 1 is that of the watchdog."""


class FindingError(Exception):
    """Something that must not be."""


class Nouns:
    """The ten nouns with fields drawn from :data:`NOUNS`; with ``odd`` some are what is seldom right."""

    def __init__(self, seed: object, odd: bool) -> None:
        self.r, self.odd = random.Random(str(seed)), odd

    def some(self, most: int, names: list[str]) -> tuple[str, ...]:
        return tuple(self.r.sample(names, self.r.randint(0, min(most, len(names)))))

    def noun(self, cls: type[Any], **given: Any) -> Any:
        chosen = {name: self.r.choice(values) for name, values in NOUNS[cls].items() if self.r.random() < 0.4}
        if self.odd and self.r.random() < 0.05:
            chosen[self.r.choice(list(NOUNS[cls] or ["nonsense"]))] = self.r.choice(ODD)
        return cls(**given | chosen)

    def setting(self, cls: type[Any], options: dict[str, Any]) -> Any:
        """An IO or pulses, or None for those of the tile."""
        fields = {name: self.r.choice(options[name]) for name in self.some(5, list(options))}
        try:
            return cls(**fields) if self.r.random() < 0.5 else None
        except ValueError:
            return None

    def rate(self) -> Any:
        return self.noun(Rate, value=self.r.choice([1.0, 0.1, 0.01]))

    def source(self, names: list[str], chopped: bool) -> tuple[Term, ...]:
        terms = self.r.choices(names, k=self.r.choice([1, 1, 2, 3]))
        return tuple(self.noun(Term, matrix=name, chopped=chopped and self.r.random() < 0.6) for name in terms)

    def step(self, arrays: list[str], digital: list[str], chopped: bool, random: bool) -> Any:
        r, names = self.r, arrays + digital
        if r.random() < 0.5:
            return self.noun(
                Accumulate, into=r.choice(digital or names), source=self.source(names, chopped), gain=self.rate()
            )
        consumed = bool(digital) and r.random() < 0.6
        source = (Term(r.choice(digital)),) if consumed else self.source(names, chopped)
        left = [name for name in (arrays or names) if name not in {term.matrix for term in source} or self.odd]
        if not left:
            return Accumulate(into=names[0], source=source)
        return self.noun(
            Write,
            target=r.choice(left),
            source=source,
            rate=self.rate(),
            threshold=self.noun(Threshold) if consumed and r.random() < 0.7 else None,
            after_passes=r.choice([None, 0, 2]) if not random else None,
            pulses=self.setting(og.PulseTrain, WRITES | BOUNDED),
        )

    def chopper(self, digital: list[str], names: list[str]) -> Any:
        kind: dict[str, Any] = dict(self.r.choice(CHOPPERS))
        if digital and len(names) > 1 and self.r.random() < 0.5:
            origin = self.r.choice(digital)
            kind["latch"] = (origin, self.r.choice([name for name in names if name != origin]))
        return self.noun(Chopper, prob=0.3, **kind)


@dataclass(frozen=True, kw_only=True)
class Own:
    """A plan drawn from ``seed``: any steps on any matrices. Every stage has others on the same ones."""

    seed: int = 0
    odd: bool = False

    def plan(self, tile: TileFacts) -> Plan:
        whole, part = Nouns(self.seed, False), Nouns((self.seed, tile.stage), self.odd)
        arrays, digital = list(whole.some(3, ["a", "b", "c"])), list(whole.some(3, ["h", "m"]))
        if not arrays:
            digital = digital or ["h"]
        names, axes = arrays + digital, whole.r.choices(["columns", "columns", "rows"], k=whole.r.randrange(4))
        owner = whole.r.randrange(len(axes)) if axes and whole.r.random() < 0.5 else None
        last = part.r.choice(names)
        target = part.r.choice(arrays or names) if part.r.random() < 0.8 else part.r.choice(names)
        transfers = []
        for at, axis in enumerate(axes):
            chopped, random = owner is not None, at != owner and part.r.random() < 0.3
            transfers.append(
                part.noun(
                    Transfer,
                    every=part.r.choice(EVERY),
                    steps=tuple(part.step(arrays, digital, chopped, random) for _ in range(part.r.randrange(5))),
                    axis=axis,
                    reads=part.r.choice([1, 1, 0, 2, tile.d_in if axis == "columns" else tile.d_out]),
                    random=random,
                    chopper=part.chopper(digital, names) if at == owner else None,
                    io=part.setting(og.IO, IO),
                )
            )
        chopped = owner is not None
        kind = "array" if target in arrays else "digital"
        gradient = {name: part.r.choice(values) for name, values in GRADIENT[kind].items() if part.r.random() < 0.4}
        return Plan(
            arrays=tuple(arrays),
            digital=tuple(digital),
            weight=(*(part.source(names, chopped)), Term(last, factor=part.r.choice([1.0, 1.0, -0.5]))),
            gradient=part.noun(Gradient, target=target, rate=part.rate(), chopped=chopped, **gradient),
            transfers=tuple(transfers),
        )

    def end_of_epoch(self, stage: int, losses: list[float]) -> int:
        return stage + (self.seed + len(losses)) % 2


@dataclass(frozen=True, kw_only=True)
class Stepping(Own):
    """The same with a step in Python."""

    def step(self, tile: og.Tile, x: Any, d: Any, lr: float) -> None:
        matrix = next(iter(tile.arrays))
        tile.accumulate(matrix, matrix, keep=0.9, gain=0.1, lines=[0])
        tile.follow_plan(x, d, lr)


class Fuzz:
    """One program: calls drawn from ``(seed, number)``."""

    def __init__(self, seed: int, number: int, folder: Path, tally: Counter[str]) -> None:
        self.r = random.Random(f"{seed} {number}")
        self.g = np.random.Generator(np.random.SFC64([seed, number]))
        self.folder, self.tally = folder, tally
        self.log: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []
        self.hot = False
        self.fresh()

    # ---- what goes in

    def fresh(self) -> None:
        """Before the arguments of a call are drawn."""
        self.wrong = self.poison = self.heats = False

    def maybe(self, p: float) -> bool:
        return self.r.random() < p

    def junk(self) -> Any:
        """A value of a kind that nothing takes."""
        self.wrong = True
        return self.r.choice([None, "text", b"bytes", 1j, object(), [], {}, (), "nan", np.zeros(0), [[1], [1, 2]], int])

    def number(self, *good: Any, bad: float = 0.04) -> Any:
        """One of ``good`` (a function makes one), at times of another kind of number, seldom a bad one."""
        if self.maybe(bad):
            self.wrong = True
            odd = [
                math.nan,
                math.inf,
                -math.inf,
                -1,
                -1e9,
                10**400,
                1e39,
                2**63,
                2**64,
                -(2**70),
                True,
                0,
                1e-40,
                1e30,
                1e9,
                1e-9,
                1e-30,
            ]
            value = self.junk() if self.maybe(0.3) else self.r.choice(odd)
            size = abs(value) if isinstance(value, (int, float)) else 1
            self.heats |= size > MILD or 0 < size < 1 / MILD
            return value
        value = self.r.choice(good)
        value = value() if callable(value) else value
        if type(value) is float and abs(value) < 1e4 and self.maybe(0.05):
            return self.r.choice([np.float32, np.float64, np.float16])(value)
        return np.int64(value) if type(value) is int and abs(value) < 2**62 and self.maybe(0.05) else value

    def array(self, *shape: int, bad: float = 0.06, size: float = 1.0) -> Any:
        """Numbers of a shape in all the forms that are taken, seldom in one that is not."""
        r, g = self.r, self.g
        if self.maybe(bad):
            return self.bad_array(shape)
        form = r.randrange(12)
        if form == 0:
            x = np.zeros(shape)
        elif form == 1:
            x = np.sign(g.standard_normal(shape))
        elif form == 2:
            x = g.standard_normal(shape) * (g.random(shape) < 0.2)
        elif form == 3:
            x = g.standard_normal(shape) * 10.0 ** g.uniform(-8, 0, shape)
        elif form == 4 and self.maybe(0.1):
            self.heats = True
            x = g.standard_normal(shape) * 10.0 ** r.uniform(2, 37)
        else:
            x = size * g.standard_normal(shape)
        kind = r.randrange(14)
        if kind < 7:
            return x.astype(np.float32)
        if kind == 7:
            return np.asfortranarray(x)
        if kind == 8:
            return np.repeat(x, 2, axis=0)[::2]
        if kind == 9:
            return x[::-1, ...] if x.ndim else x
        if kind == 10 and not self.heats:
            return np.rint(x).astype(r.choice([np.int8, np.int64, np.int32]))
        if kind == 11:
            return x.tolist()
        if kind == 12:
            x = x.astype(np.float32)
            x.flags.writeable = False
        return x

    def bad_array(self, shape: tuple[int, ...]) -> Any:
        self.wrong = True
        r, x = self.r, self.g.standard_normal(shape)
        kind = r.randrange(9)
        if kind < 3 and x.size:
            self.poison = True
            x.flat[r.randrange(x.size)] = r.choice([math.nan, math.inf, -math.inf, 1e300])
            return x.astype(np.float32) if np.abs(x).max() != 1e300 and self.maybe(0.5) else x
        if kind == 3:
            return self.g.standard_normal([max(0, n + r.choice([-1, 1])) for n in shape])
        if kind == 4:
            return x[..., :0]
        if kind == 5:
            return x[np.newaxis, np.newaxis]
        if kind == 6:
            return x.astype(r.choice([object, complex, "U8", "M8[s]"] if np.isfinite(x).all() else [object]))
        return self.junk() if kind == 7 else 0.5

    # ---- a call, and what must hold

    def call(
        self,
        kind: str,
        f: Callable[..., Any],
        *args: Any,
        allowed: tuple[type[BaseException], ...] = BAD,
        state: Callable[[], dict[str, Any]] | None = None,
        finite: bool = True,
        **named: Any,
    ) -> Any:
        """``f(*args)``, and what it gave; None if it was refused."""
        self.log.append((kind, args, named))
        del self.log[:-200]
        before = bits(state()) if state is not None and self.wrong else None
        try:
            out = f(*args, **named)
        except KeyboardInterrupt:
            raise
        except allowed as error:
            self.tally[f"{kind} refused"] += 1
            if not str(error):
                raise FindingError(f"{kind}: an error without words: {error!r}") from error
            if before is not None and state is not None and bits(state()) != before:
                raise FindingError(f"{kind} was refused and changed something: {error!r}") from error
            self.fresh()
            return None
        except FindingError:
            raise
        except BaseException as error:
            if isinstance(error, RuntimeWarning) and (self.hot or self.heats):
                self.tally[f"{kind} refused"] += 1
                return self.fresh()
            raise FindingError(f"{kind} raised {type(error).__name__}: {error}") from error
        self.tally[kind] += 1
        if self.poison:
            raise FindingError(f"{kind} took a number that is not finite")
        self.hot |= self.heats
        if finite and not self.hot:
            self.finite(kind, out)
        self.fresh()
        return out

    def finite(self, kind: str, out: Any) -> None:
        """Every number in ``out`` is finite."""
        if isinstance(out, np.ndarray):
            if out.dtype.kind == "f" and not np.isfinite(out).all():
                raise FindingError(f"{kind} gave {out}")
        elif isinstance(out, float):
            if not math.isfinite(out):
                raise FindingError(f"{kind} gave {out}")
        elif isinstance(out, (tuple, list)):
            for part in out:
                self.finite(kind, part)
        elif isinstance(out, dict):
            for name, part in out.items():
                self.finite(f"{kind}: {name}", part)

    def same(self, kind: str, a: Any, b: Any) -> None:
        if isinstance(a, dict) and isinstance(b, dict) and a.keys() == b.keys():
            for name, value in a.items():
                if isinstance(value, bytes) and value != b[name]:
                    parts = (
                        np.frombuffer(v, np.uint64 if "counters" in name else np.float32) for v in (value, b[name])
                    )
                    raise FindingError(f"{kind}: {name} " + " became ".join(map(str, parts)))
        if a != b:
            raise FindingError(f"{kind}: {a} became {b}")

    # ---- settings

    def record(self, cls: type[Any], options: dict[str, Any], most: int = 6, bad: float = 0.01) -> Any:
        """An object of a class with some of its fields drawn; None if they were refused."""
        names = [name for name in options if self.maybe(0.75)]
        names = self.r.sample(names, min(len(names), self.r.randrange(most + 1)))
        chosen = {name: self.draw(options[name], bad) for name in names}
        if self.maybe(bad):
            chosen[self.r.choice(["nonsense", "W_MAX", ""])] = 1
        return self.call("device()" if cls not in NAMED else f"{cls.__name__}()", cls, **chosen)

    def draw(self, option: Any, bad: float) -> Any:
        if callable(option):
            return option()
        if isinstance(option[0], (float, int)) and not isinstance(option[0], bool):
            return self.number(*option, bad=bad)
        if self.maybe(bad):
            return self.r.choice([self.junk(), "nonsense", 3])
        return self.r.choice(option)

    def drift(self) -> Any:
        return self.record(devices.Drift, DRIFT) if self.maybe(0.7) else None

    def device(self, bad: float = 0.01) -> Any:
        """One device, drawn until one is taken."""
        for _ in range(20):
            name = self.r.choice(MODELS)
            cls = getattr(devices, name)
            if name == "Tabulated":
                cls = partial(cls, **self.table())
            made = self.record(cls, OPTIONS[name] | {"drift": self.drift}, 9, bad)
            if made is not None:
                return made
        return devices.SoftBounds()

    def table(self) -> dict[str, Any]:
        """A measured response."""
        n = self.r.randint(2, 6)
        w = np.linspace(-self.r.choice([1.0, 0.3]), self.r.choice([1.0, 0.5]), n)
        q = self.g.uniform(0, 2, (2, n)) + (0.01 if self.maybe(0.9) else -0.3)
        return dict(w=w, q_up=q[0], q_down=q[1].tolist())

    def cell(self) -> Any:
        """A device or a cell of several."""
        r = self.r
        if self.maybe(0.7):
            return self.device()
        if self.maybe(0.15):
            return r.choice([presets.pcm, presets.ecram, presets.reram_es, presets.reram_array_om])()
        kind = r.choice([devices.Vector, devices.ReferenceCell, devices.OneSided])
        n = r.randint(1, 4) if kind is devices.Vector else 2
        parts = tuple(self.device() for _ in range(n))
        options: dict[str, Any] = {}
        if kind is devices.Vector:
            options["update_policy"] = r.choice(["all", "single_fixed", "single_sequential", "single_random"])
            if self.maybe(0.5):
                options["gamma_vec"] = tuple(self.number(0.5, 1.0, -0.3, 0.25, bad=0.01) for _ in range(n))
            if self.maybe(0.3):
                options["first_update_idx"] = self.number(0, n - 1, bad=0.05)
        if kind is devices.OneSided and self.maybe(0.6):
            options = dict(refresh_every=self.number(0, 1, 3, 7), refresh_upper_thres=self.number(0.75, 0.1, 0.0, 1.0))
        made = self.call("cell()", kind, r.choice([parts, parts, parts[0]]) if n > 1 else parts, **options)
        return made or parts[0]

    def io(self) -> Any:
        if self.maybe(0.25):
            return self.r.choice([og.IO, og.IO.kit, og.IO.standard, og.IO.paper, og.IO.kit_device])()
        return self.record(og.IO, IO, 9) or og.IO()

    def pulses(self) -> Any:
        return self.record(og.PulseTrain, PULSES) or og.PulseTrain()

    def algorithm(self) -> Any:
        pick = self.r.random()
        if pick < 0.2:
            return og.DigitalSGD() if pick < 0.03 else og.AnalogSGD()
        if pick < 0.45:
            odd = self.maybe(0.2)
            self.hot |= odd
            return self.r.choice([Own, Own, Own, Stepping])(seed=self.r.randrange(10**6), odd=odd)
        cls = getattr(og, self.r.choice(list(RULES)))
        options: dict[str, Any] = dict(RULES[cls.__name__])
        levels = self.r.choice([2, 2, 3, 4])
        for name, values in VECTORS.items():
            if name in cls.__dataclass_fields__ and self.maybe(0.3):
                n = levels - (name != "gamma_vec") - self.maybe(0.03)
                options[name] = lambda n=n, values=values: tuple(self.number(*values, bad=0.01) for _ in range(n))
        if "n_arrays" in options:
            options["n_arrays"] = [levels]
        for name, make in dict(transfer_io=self.io, transfer_pulses=self.pulses, zero_shift=self.shift).items():
            if name in cls.__dataclass_fields__:
                options[name] = make
        return self.record(cls, options, 8) or cls()

    def shift(self) -> Any:
        return self.record(og.ZeroShift, SHIFT | {"io": self.io}) if self.maybe(0.2) else None

    # ---- tiles

    def tile(self) -> None:
        """A tile, and calls of it."""
        r, tile = self.r, None
        side = r.choice([1, 2, 4, 8, 8, 16, 40])
        rows, columns = r.randint(1, side), r.randint(1, side)
        for _ in range(8):
            options: dict[str, Any] = dict(algorithm=self.algorithm(), device=self.cell(), io=self.io())
            plan = (
                self.call("plan", options["algorithm"].plan, TileFacts(d_out=1, d_in=1)) if self.maybe(0.15) else None
            )
            if plan is not None:
                options["device"] = {name: self.cell() for name in plan.arrays if self.maybe(0.97)}
            if self.maybe(0.6):
                options["pulses"] = self.pulses()
            if self.maybe(0.3):
                options["backward_io"] = self.io()
            if self.maybe(0.3):
                options["count_pulses"] = self.r.choice([True, True, False, 1])
            if self.maybe(0.8):
                options["seed"] = self.number(r.randrange(2**64), 0, 2**64 - 1, bad=0.02)
            shape = self.number(rows, bad=0.02), self.number(columns, bad=0.02)
            if not all(isinstance(n, (int, np.integer)) and n <= 40 for n in shape):
                options["device"] = options["algorithm"] = None
            tile = self.call("Tile()", og.Tile, *shape, **options)
            if tile is not None:
                break
        if tile is None:
            return
        self.subject: Any = tile
        self.cool()
        kinds = r.choices(list(TILE_CALLS), list(TILE_CALLS.values()), k=r.randint(10, 60))
        for kind in kinds:
            getattr(self, kind)()
            self.cool()
            if not self.hot or self.maybe(0.3):
                self.check_cells()

    def check_cells(self) -> None:
        """Stored values are finite and within the bounds of their cells; the rest of the state is finite."""
        tile = self.subject
        state = tile.state_dict()
        plan = tile._plan(tile.stage)
        steps = [step for part in plan.transfers for step in part.steps if isinstance(step, Write)]
        updates = [(plan.gradient.target, tile.pulses), *((step.target, step.pulses or tile.pulses) for step in steps)]
        # what the plan does not update may be written without bounds
        kinds = {array: [pulses.pulse_type for name, pulses in updates if name == array] for array in plan.arrays}
        unbounded = [array for array, seen in kinds.items() if not seen or "none" in seen]
        for name, values in state.items():
            free = name.split(".")[0] in unbounded
            if values.dtype.kind != "f" or (self.hot and not name.endswith(".values")):
                continue
            if not np.isfinite(values).all() and not (self.hot and (free or name[:-7] + ".w_max" not in state)):
                raise FindingError(f"state {name} has {values}")
            high, low = (state.get(name[:-7] + bound) for bound in (".w_max", ".w_min"))
            bounded = name.endswith(".values") and not free and high is not None and low is not None
            if bounded and ((values > high).any() or (values < low).any()):
                raise FindingError(f"state {name} is out of bounds: {values}, up to {high}")

    def on_tile(self, kind: str, f: Callable[..., Any], *args: Any, **more: Any) -> Any:
        return self.call(f"tile.{kind}", f, *args, state=self.subject.state_dict, **more)

    def batch(self, n: int) -> tuple[int, ...]:
        return (n,) if self.maybe(0.15) else (self.r.randint(1, 12), n)

    def t_forward(self) -> None:
        t = self.subject
        more = {} if self.maybe(0.6) else dict(training=self.r.random() < 0.5, noise=self.r.random() < 0.5)
        self.on_tile("forward", t.forward, self.array(*self.batch(t.d_in)), **more)

    def t_backward(self) -> None:
        self.on_tile("backward", self.subject.backward, self.array(*self.batch(self.subject.d_out)))

    def t_update(self) -> None:
        t = self.subject
        lead = () if self.maybe(0.15) else (self.r.randint(1, 12),)
        lr = self.number(0.1, 0.01, 1.0, 0.0, -0.1, 1e-5, lambda: self.r.uniform(0, 0.5))
        x, d = self.array(*lead, t.d_in), self.array(*lead, t.d_out, size=0.3)
        self.heats |= isinstance(lr, (int, float)) and not abs(lr) <= 10
        self.on_tile("update", t.update, x, d, lr)

    def t_end_batch(self) -> None:
        self.on_tile("end_batch", self.subject.end_batch)

    def t_decay(self) -> None:
        self.on_tile("decay", self.some_array().decay)

    def t_diffuse(self) -> None:
        self.on_tile("diffuse", self.some_array().diffuse)

    def t_drift(self) -> None:
        self.on_tile("drift", self.some_array().drift, self.number(0.0, 0.1, 1.0, 100.0, 1e6, 1e9))

    def t_reset(self) -> None:
        t, columns = self.subject, None
        if self.maybe(0.6):
            columns = [self.number(0, t.d_in - 1, bad=0.01) for _ in range(self.r.randint(0, 4))]
        self.on_tile("reset", self.some_array().reset, columns, prob=self.number(1.0, 0.5, 0.0))

    def some_array(self) -> Any:
        """The tile or one of its crossbars."""
        crossbars = [a for a in self.subject.arrays.values() if hasattr(a, "pulse")]
        return self.r.choice(crossbars) if crossbars and self.maybe(0.4) else self.subject

    def crossbar(self) -> Any:
        return self.r.choice(list(self.subject.arrays.values()))

    def t_pulse(self) -> None:
        array, shape = self.crossbar(), (self.subject.d_out, self.subject.d_in)
        if not hasattr(array, "pulse"):
            return
        counts: Any = self.g.integers(-12, 13, shape)
        if self.maybe(0.03):
            counts[:] = 0
            counts.flat[0] = self.r.choice([2**20, -(2**20), 5000, 2**20 + 1, 2**40, -(2**63)])
        if self.maybe(0.05):
            counts = self.bad_array(shape)
        elif self.maybe(0.1):
            counts = self.r.choice([counts.tolist(), counts.astype(np.int8), (counts + 12).astype(np.uint64)])
        self.on_tile("pulse", array.pulse, counts)

    def t_follow_plan(self) -> None:
        t, m = self.subject, self.r.randint(1, 9)
        lr = self.number(0.1, 0.01, 0.0, bad=0.02)
        self.heats |= isinstance(lr, (int, float)) and not abs(lr) <= 10
        x, d = self.array(m, t.d_in), self.array(m, t.d_out, size=0.3)
        self.on_tile("follow_plan", t.follow_plan, x, d, lr)

    def t_event(self) -> None:
        """A verb of the tile."""
        t, r, verb = (
            self.subject,
            self.r,
            self.r.choice(["accumulate", "write"] if len(self.subject.arrays) > 1 else ["accumulate"]),
        )
        axis = self.name(["columns", "columns", "rows"])
        options = {name: self.draw(values, 0.02) for name, values in EVENTS[verb].items() if self.maybe(0.5)}
        if self.maybe(0.5):
            lines = t.d_out if axis == "rows" else t.d_in
            options["lines"] = r.sample(range(lines), r.randint(0, lines))
            if self.maybe(0.05):
                options["lines"] = r.choice([[-1], [lines], [0, 0], [2**40], ["a"], [0.0], [True]])
        known = list(t.arrays)
        into, origin = (
            r.sample(known, 2) if len(known) > 1 and self.maybe(0.9) else (self.name(known), self.name(known))
        )
        term: Any = origin
        if verb == "write" and (not hasattr(t.arrays.get(origin), "pulse") or self.maybe(0.1)):
            options["threshold"] = self.call("Threshold()", Nouns(r.random(), self.maybe(0.1)).noun, Threshold)
        elif isinstance(origin, str):
            term = r.choice([origin, Term(origin, factor=0.5, chopped=True), [Term(origin), Term(r.choice(known))]])
        if verb == "write" and self.maybe(0.4):
            options["pulses"] = Nouns(r.random(), False).setting(og.PulseTrain, WRITES)
        if self.maybe(0.4):
            options["io"] = self.io()
        # what does not fit together is refused
        self.wrong = True
        self.on_tile(verb, getattr(t, verb), into, term, axis=axis, **options)

    def t_end_epoch(self) -> None:
        losses = [self.number(1.0, 0.5, 2.0, bad=0.02) for _ in range(self.r.randrange(7))]
        self.wrong = True
        self.on_tile("end_epoch", self.subject.end_epoch, losses)

    def t_zero_shift(self) -> None:
        array = self.crossbar()
        if hasattr(array, "pulse"):
            self.wrong = True
            self.on_tile("zero_shift", array.zero_shift, self.record(og.ZeroShift, SHIFT | {"io": self.io}))

    def t_summary(self) -> None:
        batch_size = self.r.choice([1, 7, 100, 1, 7, 100, 0, -1, 2.0, "many", True, 2**70])
        self.call("summarise", summarise, self.subject, batch_size)

    def t_program(self) -> None:
        t = self.subject
        if t.d_out * t.d_in > 100:
            return
        options = dict(
            max_rounds=self.number(1, 3, 10, bad=0), max_pulses=self.number(1, 10), reads=self.number(0, 1, 2)
        )
        if self.maybe(0.3):
            options["tolerance"] = self.number(0.01, 0.1)
        if any(isinstance(options[name], (int, float)) and options[name] > 10 for name in ("max_rounds", "reads")):
            return
        if isinstance(options["max_pulses"], (int, float)) and options["max_pulses"] > 10:
            options["max_rounds"] = 1
        self.on_tile("program", t.program, self.array(t.d_out, t.d_in, size=0.3), **options)

    def t_read_weights(self) -> None:
        n = self.number(1, 2, 3)
        if not isinstance(n, int) or n < 10:
            self.on_tile("read_weights", self.subject.read_weights, n)

    def t_set_weights(self) -> None:
        t = self.subject
        self.on_tile("set_weights", t.set_weights, self.array(t.d_out, t.d_in, size=0.3))

    def t_set_array(self) -> None:
        t, array = self.subject, self.crossbar()
        name = "persistent_weights" if hasattr(array, "pulse") and self.maybe(0.3) else "weights"
        self.on_tile(f"set {name}", setattr, array, name, self.array(t.d_out, t.d_in, size=0.3))

    def t_get(self) -> None:
        t = self.subject
        array = self.call(
            "tile.arrays[]", t.arrays.__getitem__, self.name(list(t.arrays)), allowed=(KeyError, TypeError)
        )
        self.on_tile("weights", lambda: t.weights)
        self.call("repr", repr, t)
        if array is not None:
            self.on_tile("array.weights", lambda: array.weights)
        if hasattr(array, "pulse"):
            self.on_tile("array.persistent_weights", lambda: array.persistent_weights)
            self.on_tile("array.pulse_counts", lambda: array.pulse_counts)
            self.on_tile("array.n_states", lambda: (array.n_states, array.granularity), finite=False)
        self.on_tile("granularity", t.granularity, self.name([None, *t.arrays]))

    def name(self, known: list[Any]) -> Any:
        if self.maybe(0.03):
            self.wrong = True
            return self.r.choice(["nonsense", "", 3, "0.w_max", "weight.w_max"])
        return self.r.choice(known)

    def t_parameters(self) -> None:
        t, array = self.subject, self.crossbar()
        if not hasattr(array, "pulse"):
            return
        parameters = array.parameters
        name, errors = self.name(list(parameters)), (*BAD, KeyError)
        old = self.on_tile("parameters[]", parameters.__getitem__, name, allowed=errors)
        if self.maybe(0.6):
            new = self.array(t.d_out, t.d_in, size=0.2)
            if old is not None and not self.wrong and not self.heats and self.maybe(0.7):
                new = old * np.float32(self.r.choice([1, 1, 0.5, 0.9, 1.1]))
            self.wrong = True
            self.on_tile("parameters[]=", parameters.__setitem__, name, new, allowed=errors)

    def t_state(self) -> None:
        t = self.subject
        state = self.on_tile("state_dict", t.state_dict)
        if state is None:
            return
        if not self.hot and self.maybe(0.5):
            other = og.Tile.from_config(t.config())
            self.call("tile.load_state_dict", other.load_state_dict, state, allowed=())
            self.same("state", bits(state), bits(other.state_dict()))
            if self.maybe(0.3):
                self.subject = other
            return
        self.on_tile("load_state_dict", t.load_state_dict, self.broken(state))

    def broken(self, state: dict[str, Any]) -> Any:
        """A state with something wrong in it, or not."""
        self.wrong, state = True, dict(state)
        name = self.r.choice(list(state))
        kind = self.r.randrange(7)
        if kind == 0:
            del state[name]
        elif kind == 1:
            state["nonsense"] = np.zeros(1)
        elif kind == 2:
            state[name] = self.array(*state[name].shape, bad=0.7)
            self.poison = False
        elif kind == 3 and name.endswith("counters"):
            self.heats = True
            state[name] = self.g.integers(0, 2 ** self.r.choice([3, 40, 64]), state[name].shape, dtype=np.uint64)
        elif kind == 4:
            state[name] = self.junk()
        elif kind == 5:
            return self.junk() if self.maybe(0.3) else {3: state[name]}
        return state

    def t_copy(self) -> None:
        t = self.subject
        other = self.on_tile("copy", self.r.choice([*COPIES, copy.copy]), t, allowed=())
        self.same("copy", bits(t.state_dict()), bits(other.state_dict()))
        if self.maybe(0.5):
            self.subject = other

    def t_config(self) -> None:
        t = self.subject
        described = json.loads(json.dumps(self.on_tile("config", t.config)))
        if self.maybe(0.3):
            described = self.mutated(described)
            small = isinstance(described, dict) and all(described.get(k) == t.config()[k] for k in ("d_out", "d_in"))
            if small:
                self.call("tile.from_config", og.Tile.from_config, described, allowed=(*BAD, KeyError, AttributeError))
            return
        other = self.call("tile.from_config", og.Tile.from_config, described, allowed=())
        self.same("config", described, json.loads(json.dumps(other.config())))

    def mutated(self, tree: Any) -> Any:
        """A tree of settings with one value replaced."""
        self.wrong = True
        if isinstance(tree, dict) and tree and self.maybe(0.8):
            name = self.r.choice(list(tree))
            if self.maybe(0.1):
                return {k: v for k, v in tree.items() if k != name} | {f"{name}x": tree[name]}
            return tree | {name: self.mutated(tree[name])}
        if isinstance(tree, list) and tree and self.maybe(0.8):
            at = self.r.randrange(len(tree))
            return [*tree[:at], self.mutated(tree[at]), *tree[at + 1 :]]
        return self.r.choice(
            [None, "nonsense", -1, 1e40, [], {}, True, 0.5, 3, math.nan, [1, 2], {"type": "SoftBounds"}]
        )

    def t_assign(self) -> None:
        self.on_tile("assign", setattr, self.subject, self.r.choice(["io", "d_in", "x"]), 1, allowed=(AttributeError,))

    # ---- networks

    def model(self) -> None:
        """A network, and calls of it."""
        r = self.r
        self.inputs, self.outputs = r.randint(1, 8), r.randint(1, 5)
        hidden = r.randint(1, 8)
        layers: list[Any] = []
        widths = [self.inputs, self.outputs] if self.maybe(0.3) else [self.inputs, hidden, self.outputs]
        for position, (d_in, d_out) in enumerate(pairwise(widths)):
            own: dict[str, Any] = self.mapping() if self.maybe(0.2) else {}
            if self.maybe(0.15):
                own = dict(digital=True)
            own |= dict(bias=False) if self.maybe(0.2) else {}
            own |= dict(name=r.choice(["a", f"l{position}", "x.y", ""])) if self.maybe(0.05) else {}
            layer = self.call("Linear()", nn.Linear, self.number(d_in, bad=0.01), self.number(d_out, bad=0.01), **own)
            layers += [layer or nn.Linear(d_in, d_out)]
            if position < len(widths) - 2:
                layers.append(r.choice([nn.Tanh, nn.Sigmoid, nn.ReLU])())
        self.labels = r.choice(["labels", "labels", "values"])
        if self.labels == "labels" and self.maybe(0.4):
            layers.append(nn.LogSoftmax())
        self.loss = {"labels": nn.CrossEntropy(), "values": nn.MSE()}[self.labels]
        if isinstance(layers[-1], nn.LogSoftmax):
            self.loss = nn.NLL()
        network = self.call("Sequential()", nn.Sequential, *layers)
        if network is None:
            return
        model = None
        for _ in range(4):
            self.fresh()
            options = dict(
                device=self.cell(), algorithm=self.algorithm(), io=self.io(), seed=self.number(r.randrange(99))
            )
            options |= dict(pulses=self.pulses()) if self.maybe(0.5) else {}
            model = self.call("Sequential.on", network.on, **options, **self.mapping())
            if model is not None:
                break
        if model is None:
            return
        self.subject = model
        for kind in r.choices(list(MODEL_CALLS), list(MODEL_CALLS.values()), k=r.randint(8, 30)):
            getattr(self, kind)()
            self.cool()

    def cool(self) -> None:
        """Training that diverges overflows in the end: that was put in."""
        if not self.hot:
            state = self.subject.state_dict()
            large = [np.abs(v).max() for v in state.values() if v.dtype.kind == "f" and v.size]
            self.hot = not max(large, default=0) < MILD

    def mapping(self) -> dict[str, Any]:
        made: dict[str, Any] = {}
        for name in ("learn_out_scaling", "out_scaling_columnwise", "digital_bias", "weight_scaling_columnwise"):
            if self.maybe(0.3):
                made[name] = self.r.choice([True, False, True, False, None, 1 if self.maybe(0.1) else True])
        if self.maybe(0.4):
            made["weight_scaling_omega"] = self.number(0.6, 0.3, 0.0, 1.0, bad=0.02)
        if self.maybe(0.2):
            made["weight_scaling_lr_compensation"] = True
        for name in ("max_input_size", "max_output_size"):
            if self.maybe(0.3):
                made[name] = self.number(0, 1, 2, 3, 5, bad=0.02)
        return made

    def on_model(self, kind: str, f: Callable[..., Any], *args: Any, **more: Any) -> Any:
        return self.call(f"model.{kind}", f, *args, state=self.subject.state_dict, **more)

    def x(self, n: int) -> Any:
        return self.array(n, self.inputs)

    def target(self, n: int) -> Any:
        if self.labels == "values":
            return self.array(n, self.outputs)
        if self.maybe(0.05):
            self.wrong = True
            return self.r.choice([np.full(n, self.outputs), np.full(n, -1), np.zeros((n, 2)), np.zeros(n), None, []])
        return self.g.integers(0, self.outputs, n)

    def m_forward(self) -> None:
        more = {} if self.maybe(0.5) else dict(training=self.maybe(0.5), noise=self.maybe(0.5))
        x = self.x(self.r.randint(1, 9))
        # What layers before it kept and counted has moved when a later one refuses.
        y = self.call("model.forward", self.subject.forward, x, **more)
        if y is not None and more.get("training", True) and self.maybe(0.7):
            self.fresh()
            d = self.array(*y.shape, size=0.2)
            g = self.call("model.backward", self.subject.backward, d, allowed=(*BAD, RuntimeError))
            if g is not None:
                lr = self.number(0.01, 0.1, 0.0)
                self.heats |= isinstance(lr, (int, float)) and not lr <= 1
                self.on_model("update", self.subject.update, lr, allowed=(*BAD, RuntimeError))

    def m_backward(self) -> None:
        d = self.array(self.r.randint(1, 9), self.outputs)
        self.call("model.backward", self.subject.backward, d, allowed=(*BAD, RuntimeError))

    def m_update(self) -> None:
        self.on_model("update", self.subject.update, self.number(0.01, 0.1, 0.0), allowed=(*BAD, RuntimeError))

    def m_train_step(self) -> None:
        n = self.r.randint(1, 9)
        lr = self.number(0.01, 0.1, 0.0)
        x, target = self.x(n), self.target(n)
        self.heats |= isinstance(lr, (int, float)) and not lr <= 1
        self.call("model.train_step", self.subject.train_step, x, target, self.loss, lr)

    def m_evaluate(self) -> None:
        n = self.r.randint(1, 20)
        options = dict(batch_size=self.number(1, 7, 1000, bad=0.05), noise=self.r.choice([True, False]))
        self.call("evaluate", og.evaluate, self.subject, self.pair(n), loss=self.loss, **options)

    def pair(self, n: int) -> Any:
        if self.maybe(0.02):
            return self.junk()
        return self.x(n), self.target(n)

    def m_fit(self) -> None:
        n, r = self.r.randint(2, 16), self.r
        options: dict[str, Any] = dict(
            epochs=self.number(1, 2, bad=0),
            batch_size=self.number(1, 2, n, bad=0.02),
            lr=self.r.choice([self.number(0.01, 0.1, 0.0), og.train.StepLR(lr=0.1, step_size=1), lambda epoch: 0.01]),
            loss=self.loss,
            seed=self.number(0, 5, 2**64 - 1, bad=0.01),
            progress=False,
        )
        options |= dict(shuffle=False) if self.maybe(0.2) else {}
        options |= dict(callbacks=[og.train.EarlyStop(metric="train_loss", patience=1)]) if self.maybe(0.1) else {}
        path = self.folder / "run.safetensors"
        if self.maybe(0.15):
            options |= dict(
                checkpoint=self.r.choice([path, self.folder, "", "/nowhere/x", 3]) if self.maybe(0.2) else path
            )
            options |= dict(checkpoint_every=self.number(1, 3)) if self.maybe(0.4) else {}
        if self.maybe(0.05):
            options["resume"] = path
        lr = options["lr"]
        self.heats |= isinstance(lr, (int, float)) and not lr <= 1
        # a factor that is learned may diverge
        self.heats |= "learn_out_scaling=True" in repr(self.subject)
        train = self.pair(n)
        test = self.pair(r.randint(1, 8)) if self.maybe(0.3) else None
        self.call("fit", og.fit, self.subject, train, test, **options, allowed=(*BAD, OSError), finite=False)

    def m_state(self) -> None:
        m = self.subject
        state = self.on_model("state_dict", m.state_dict)
        if self.maybe(0.4):
            self.on_model("load_state_dict", m.load_state_dict, self.broken(state))
            return
        if self.hot:
            # infinity is refused
            return
        other = self.call("model.from_config", nn.Sequential.from_config, m.config(), allowed=())
        self.call("model.load_state_dict", other.load_state_dict, state, allowed=())
        self.same("state", bits(state), bits(other.state_dict()))
        self.subject = other

    def m_file(self) -> None:
        m, path = self.subject, self.folder / "model.safetensors"
        if self.hot:
            return
        self.call("save", og.save, path, m, allowed=())
        if self.maybe(0.4):
            content = bytearray(path.read_bytes())
            at = self.r.choice([self.r.randrange(len(content)), self.r.randrange(min(64, len(content)))])
            if self.maybe(0.3):
                content = content[:at]
            else:
                content[at] ^= 1 << self.r.randrange(8)
            path.write_bytes(content)
            if self.call("load broken", og.load, path) is not None:
                raise FindingError("load took a file that was changed")
            return
        other = self.call("load", og.load, path, allowed=())
        self.same("file", bits(m.state_dict()), bits(other.state_dict()))

    def m_weights(self) -> None:
        layer = self.r.choice([layer for layer in self.subject if isinstance(layer, nn.Linear)])
        if self.maybe(0.5):
            self.on_model("set_weight", layer.set_weight, self.array(layer.d_out, layer.d_in, size=0.2))
        else:
            self.on_model("set_bias", layer.set_bias, self.array(layer.d_out, size=0.2))
        self.on_model("weight", lambda: (layer.weight, layer.bias, layer.out_scaling, layer.weight_scaling))
        self.on_model("layer.tile", lambda: layer.tile, allowed=(RuntimeError,))

    def m_copy(self) -> None:
        other = self.on_model("copy", self.r.choice(COPIES), self.subject, allowed=())
        self.same("copy", bits(self.subject.state_dict()), bits(other.state_dict()))
        self.call("repr", repr, other)
        self.call("summary", lambda: str(other.summary(self.r.choice([1, 10, 0]))))
        self.on_model("end_epoch", self.subject.end_epoch, [self.number(1.0, 0.5, bad=0.02) for _ in range(3)])
        key = self.r.choice([0, -1, "0", "nonsense", 99])
        self.call("model[]", other.__getitem__, key, allowed=(KeyError, IndexError))

    # ---- settings and mathematics

    def objects(self) -> None:
        """Settings, responses, descriptions of runs and theory."""
        for kind in self.r.choices(list(OBJECT_CALLS), list(OBJECT_CALLS.values()), k=self.r.randint(5, 25)):
            self.fresh()
            getattr(self, kind)()

    def grid(self, device: Any) -> Any:
        low, high = device.bounds
        pick = self.r.randrange(4)
        if pick == 0:
            return self.r.uniform(low, high)
        grid = np.linspace(low, high, self.r.randint(0, 9))
        return [grid, grid.tolist(), grid.reshape(1, -1)][pick - 1]

    def o_device(self) -> None:
        device = self.device(bad=0.05)
        self.fresh()
        for kind in self.r.sample(["q_up", "q_down", "F", "G"], 2):
            self.call(f"device.{kind}", getattr(device, kind), self.grid(device))
        self.call("device.facts", lambda: (device.granularity, device.bounds))
        self.call("device.facts", lambda: (device.symmetric_point, device.n_states), finite=False)
        self.round_trip(models, device)
        if self.maybe(0.1):
            # any number: an answer, or one of the errors
            w = self.r.choice([math.nan, math.inf, -1e300, [1e300, -1e300], "text", None, [None], [[1], [2, 3]]])
            with np.errstate(all="ignore"):
                self.call("device.q_up odd", device.q_up, w, finite=False)

    def round_trip(self, registry: Any, value: Any) -> None:
        described = json.loads(json.dumps(self.call("encode", registry.encode, value, allowed=())))
        self.same("encode", value, self.call("decode", registry.decode, described, allowed=()))
        self.same("repr", value, eval(repr(value), EVAL))
        if self.maybe(0.3):
            self.call("decode wrong", registry.decode, self.mutated(described))

    def o_cell(self) -> None:
        self.round_trip(models, self.cell())

    def o_settings(self) -> None:
        self.round_trip(settings, self.r.choice([self.io, self.pulses])())

    def o_algorithm(self) -> None:
        rule = self.algorithm()
        self.call("plan", rule.plan, TileFacts(d_out=3, d_in=4))
        self.round_trip(algorithms, rule)

    def o_preset(self) -> None:
        name = self.r.choice([*presets.__all__, *presets.configurations(), "nonsense", "tiki_taka_x"])
        f = self.call("presets", getattr, presets, name, allowed=(AttributeError,))
        if f is None or name == "configurations":
            return
        key = self.r.choice(["dw_min", "device", "out_noise", "nonsense"])
        wrong = {key: self.number(0.01)} if self.maybe(0.5) and name in presets.__all__ else {}
        made = self.call("preset()", f, **wrong)
        if isinstance(made, dict) and self.maybe(0.3):
            tile = self.call("Tile()", og.Tile, 2, 3, **made)
            self.call("tile.update", tile.update, np.ones(3), np.ones(2), 0.1)

    def o_config(self) -> None:
        r = self.r
        tables: dict[str, Any] = {"model": {"layers": ["linear 5", "tanh", "linear 10"]}}
        if self.maybe(0.5):
            tables["train"] = {"epochs": 1, "lr": 0.1, "batch_size": 10}
        if self.maybe(0.5):
            cell = self.cell()
            tables["device"] = r.choice(["SoftBounds", "ecram", "pcm", repr(cell), models.encode(cell)])
        elif self.maybe(0.5):
            tables["preset"] = r.choice(presets.configurations())
        if self.maybe(0.3):
            tables["algorithm"] = algorithms.encode(self.algorithm())
        if self.maybe(0.3):
            tables["io"] = r.choice(["kit", {"out_noise": 0.1}, {"preset": "paper"}])
        if self.maybe(0.4):
            tables = self.mutated(tables)
            if not isinstance(tables, dict):
                return
        for _ in range(r.randrange(3)):
            key = r.choice(
                ["train.lr", "device.dw_min", "model.layers", "seeds.device", "x", "", "train.epochs.x", "a=b"]
            )
            value = r.choice(["0.1", "3", "SoftBounds", "[", "{}", "nan", "", "1\n2", "\0"])
            self.call("config.change", config.change, tables, f"{key}={value}")
        self.fresh()
        run = self.call("config.parse", config.parse, copy.deepcopy(tables), allowed=(config.ConfigError,))
        if run is None:
            return
        text = self.call("config.to_toml", config.to_toml, run.tables)
        path = self.folder / "run.toml"
        path.write_text(text, encoding="utf-8")
        again = self.call("config.read", config.read, path, allowed=())
        if again is None or again.tables != run.tables:
            raise FindingError(f"config: {run.tables} became {again and again.tables}")

    def o_curves(self) -> None:
        device = self.device()
        at = self.number(0, 1), self.number(0, 2)
        made = self.call("curves.cell", curves.cell, device, at=at, seed=self.number(0, 7)) if max_of(at) < 40 else None
        if made is not None:
            self.call("curves.drawn_response", curves.drawn_response, *made, [0.0, self.r.uniform(-1, 1)])
            self.call("curves.pulse_train", curves.pulse_train, *made, self.r.randint(0, 3))

    def o_theory(self) -> None:
        # Quadrature and bisection want the exact model.
        device = self.r.choice([devices.LinearResponse(c=0.2), devices.SoftBounds(), devices.PowerResponse(gamma=2.0)])
        w, r = self.g.uniform(-0.9, 0.9, self.r.randint(1, 5)), self.r
        rng = np.random.default_rng(0)
        name = r.choice(
            ["analog_update", "pulsed_update", "random_increment", "mean_step", "penalty", "pulse_error_mean"]
        )
        dw = self.array(*w.shape, size=0.05)
        if self.heats or self.poison:
            return
        arguments: dict[str, tuple[Any, ...]] = {
            "random_increment": (device, dw),
            "mean_step": (device, w, dw, self.number(0.1, 0.0, bad=0.02)),
            "penalty": (device, w),
        }
        more = dict(rng=rng) if name in ("pulsed_update", "random_increment") else {}
        finite = not self.wrong
        self.call(f"theory.{name}", getattr(theory, name), *arguments.get(name, (device, w, dw)), **more, finite=finite)

    def o_data(self) -> None:
        n, d = self.r.randint(1, 6), self.r.randint(1, 4)
        self.labels, self.outputs = self.r.choice(["labels", "values"]), 3
        made = self.call("data.arrays", data.arrays, self.array(n, d), self.target(n))
        if made is not None:
            self.call("split", made.split, self.number(1, n - 1, bad=0.1))

    def o_layers(self) -> None:
        n, k = self.r.randint(1, 5), self.r.randint(1, 4)
        layer = self.r.choice([nn.Tanh, nn.Sigmoid, nn.ReLU, nn.LogSoftmax])()
        # Element by element: what is put in comes out, NaN too.
        for kind, f in (("activation", layer.forward), ("activation.backward", layer.backward)):
            x = self.array(n, k)
            self.hot |= self.poison
            self.poison = False
            self.call(kind, f, x, allowed=(*BAD, RuntimeError))
        self.hot = False
        self.outputs = k
        self.labels = self.r.choice(["labels", "values"])
        loss = nn.MSE() if self.labels == "values" else self.r.choice([nn.NLL, nn.CrossEntropy])()
        y, target = self.array(n, k), self.target(n)
        self.hot, self.poison = self.poison, False
        self.call("loss", loss, y, target)
        self.hot = False

    def o_seeds(self) -> None:
        self.call("Seeds()", og.Seeds, device=self.number(0, 5, 2**64 - 1, bad=0.2))
        n = self.r.choice([1, 2, 1, 2, 0, -1, 1025, None, "two", 1.0, True, 2**70])
        self.call("threads", og.threads, n, allowed=BAD)

    def run(self) -> None:
        """The program."""
        og.threads(1 + (self.r.random() < 0.3))
        pick = self.r.random()
        (self.tile if pick < 0.72 else self.model if pick < 0.86 else self.objects)()


def pickled(value: Any) -> Any:
    return pickle.loads(pickle.dumps(value, protocol=5))


COPIES: list[Callable[[Any], Any]] = [copy.deepcopy, pickled]


def bits(state: dict[str, Any]) -> dict[str, bytes]:
    return {name: value.tobytes() for name, value in state.items()}


def max_of(values: tuple[Any, ...]) -> float:
    return max((v for v in values if isinstance(v, (int, float))), default=0)


# ---- what settings are drawn from: numbers, or members of a list

_SPREAD: list[Any] = [0.0, 0.1, 0.3, 0.5, 1.0, 3.0]
_DEVICE: dict[str, Any] = {
    "dw_min": [0.001, 0.01, 0.02, 0.1, 0.5, 1e-5],
    "dw_min_dtod": _SPREAD,
    "dw_min_dtod_log_normal": [True, False],
    "dw_min_std": _SPREAD,
    "mult_noise": [True, False],
    "up_down": [0.0, 0.1, -0.2, 1.0, -1.0],
    "up_down_dtod": [0.0, 0.05, 0.3],
    "w_max_dtod": _SPREAD,
    "w_min_dtod": _SPREAD,
    "reference_mean": [0.0, 0.1, -0.3],
    "reference_std": [0.0, 0.05, 0.5],
    "subtract_symmetry_point": [True, False, False],
    "enforce_consistency": [True, False],
    "lifetime": [0.0, 1.0, 2.0, 50.0, 0.5],
    "lifetime_dtod": _SPREAD,
    "diffusion": [0.0, 0.002, 0.1],
    "diffusion_dtod": _SPREAD,
    "reset": [0.0, 0.1, -0.5, 5.0],
    "reset_dtod": [0.0, 0.1],
    "reset_std": [0.0, 0.1],
    "write_noise_std": [0.0, 0.0, 0.5, 3.0],
    "apply_write_noise_on_set": [True, False],
    "corrupt_devices_prob": [0.0, 0.1, 0.5, 1.0],
    "corrupt_devices_range": [0.1, 0.0, 2.0],
    "perfect_bias": [True, False],
}
_BOUNDS: dict[str, Any] = {"w_max": [1.0, 0.6, 0.0, 10.0, 1e-3], "w_min": [-1.0, -0.4, 0.0, -10.0, -1e-3]}
_TAU: dict[str, Any] = {"tau": [1.0, 0.5, 3.0]}
_POW: dict[str, Any] = {
    "pow_gamma": [1.0, 0.5, 2.5, 10.0],
    "pow_gamma_dtod": _SPREAD,
    "pow_up_down": [0.0, 0.3, -0.3],
    "pow_up_down_dtod": [0.0, 0.1],
}
_KIT: dict[str, Any] = {"kit_compat": [True, False]}
_OWN: dict[str, dict[str, Any]] = {
    "ConstantStep": _BOUNDS,
    "SoftBounds": _BOUNDS,
    "SoftBoundsReference": _BOUNDS | _KIT | {"slope_up_dtod": _SPREAD, "slope_down_dtod": _SPREAD},
    "PowStep": _BOUNDS | _POW,
    "PowStepReference": _BOUNDS | _POW | _KIT,
    "LinearStep": _BOUNDS
    | {name: [0.0, 0.3, 1.0, -0.5] for name in ("gamma_up", "gamma_down")}
    | {name: _SPREAD for name in ("gamma_up_dtod", "gamma_down_dtod")}
    | {name: [True, False] for name in ("allow_increasing", "mean_bound_reference", "reverse_up", "reverse_down")}
    | {"reverse_offset": [0.01, 0.0, 1.0]},
    "SoftBoundsPmax": _KIT
    | {"p_max": [1.0, 40.0, 1000.0], "alpha": [0.0005, 0.04, 1.0], "range_min": [-1.0, 0.0], "range_max": [1.0, 0.0]},
    "ExpStep": _BOUNDS
    | _KIT
    | {name: [0.5, 0.0008, -0.5, 0.0] for name in ("A_up", "A_down")}
    | {name: [1.5, 12.0, 0.0, 40.0] for name in ("gamma_up", "gamma_down")}
    | {"a": [0.244, 1.0, -1.0], "b": [0.24, 0.0, -1.0], "dw_min_std_add": [0.0, 0.01], "dw_min_std_slope": [0.0, 0.1]},
    "PiecewiseStep": _BOUNDS | {name: [(1.0,), [2.0], np.ones(1), (1.0, 0.5, 0.0)] for name in ("u_up", "u_down")},
    "Tabulated": {},
    "LinearResponse": _TAU | {"c": [0.0, 0.2, -0.9]},
    "PowerResponse": _TAU | {"gamma": [1.0, 2.5, 0.3]},
    "ExponentialResponse": _TAU | {"gamma": [1.0, 3.0, 1e-4, 20.0]},
    "ShiftedLinear": {"tau_max": [1.0, 0.5], "tau_min": [-1.0, -0.4], "shift": [0.0, 0.1, -0.3]},
    "SaturatingExponential": _BOUNDS | {"gamma_up": [1.0, 3.0], "gamma_down": [1.0, 20.0]},
}
MODELS = sorted(_OWN)
OPTIONS = {
    name: own
    | {key: value for key, value in _DEVICE.items() if name != "SoftBoundsPmax" or key not in ("dw_min", "up_down")}
    for name, own in _OWN.items()
}
DRIFT: dict[str, Any] = {
    "nu": [0.1, 0.03, 1.0, -0.1],
    "t_0": [1.0, 0.01, 20.0],
    "nu_dtod": _SPREAD,
    "nu_std": [0.0, 0.1],
    "nu_k": [0.0, 0.1],
    "log_g0": [0.0, 1.0],
    "g_offset": [0.0, 1.0],
    "w_offset": [0.0, -1.0],
    "wg_ratio": [1.0, 0.1],
    "w_noise_std": [0.0, 0.01],
    "reset_tol": [1e-7, 0.0, 1.0],
}
_SMALL: list[Any] = [0.0, 0.0, 0.05, 0.5]
IO: dict[str, Any] = {
    "is_perfect": [False, False, True],
    "mv_type": ["one_pass", "pos_neg_separate", "pos_neg_separate_digital_sum"],
    "inp_bound": [0.0, 1.0, 0.1, -1.0, 1e-6],
    "inp_res": [0.0, 1 / 126, 0.5, 254.0, -1.0],
    "inp_sto_round": [True, False],
    "out_bound": [0.0, 12.0, 0.1, 1e-6],
    "out_res": [0.0, 1 / 510, 0.25, 16.0],
    "out_sto_round": [True, False],
    "noise_management": ["none", "constant", "max", "abs_max", "abs_max_np_sum", "average_abs_max"],
    "nm_thres": [0.0, 0.1, 2.0, -1.0],
    "nm_assumed_wmax": [0.6, 0.0, 2.0],
    "nm_decay": [1e-3, 0.0, 1.0, 0.5],
    "bound_management": ["none", "iterative", "iterative_worst_case"],
    "max_bm_factor": [1000, 1, 0, 2**40],
    "max_bm_res": [0.25, 0.0, 1.0],
    "bm_test_negative_bound": [True, False],
    "out_scale": [1.0, -0.5, 0.0, 100.0],
    "w_noise_type": ["none", "additive_constant", "pcm_read"],
    "ir_drop": [0.0, 1.0, 0.1],
    "ir_drop_g_ratio": [571428.57, 10.0, 1.0],
    "v_offset_w_min": [-1.0, 0.0, 2.0],
    **{name: [0.0, 0.1, 1.0, -1.0, -0.5] for name in ("inp_asymmetry", "out_asymmetry")},
    **{name: _SMALL for name in ("inp_noise", "out_noise", "out_noise_std", "w_noise", "v_offset_std", "r_series")},
    **{name: _SMALL for name in ("out_nonlinearity", "out_nonlinearity_std", "slope_calibration")},
    "w_read_asymmetry_dtod": _SMALL,
}
PULSES: dict[str, Any] = {
    "pulse_type": [
        *("stochastic_compressed", "stochastic", "mean_count", "deterministic_implicit", "pulsed", "analog_update"),
        *("random_increment", "none_with_device", "none"),
    ],
    "desired_bl": [31, 1, 5, 10, 64, 200],
    "fixed_bl": [True, True, False],
    "update_management": [True, False],
    "update_bl_management": [True, False],
    "um_grad_scale": [1.0, 0.1, 10.0],
    "res": [0.0, 0.1, 10.0, 0.5],
    "sto_round": [True, False],
    "x_res_implicit": [0.0, 0.1],
    "d_res_implicit": [0.0, 0.1],
    "increment": ["sample", "batch"],
    "rounding": ["stochastic", "ceil", "floor"],
}
SHIFT: dict[str, Any] = {"cycles": [1, 2, 5, 20], "mode": ["alternating", "random"], "average": [1, 1, 2]}

# ---- algorithms, and the nouns of plans

_SWITCH = [True, False]
_CHANCE = [0.0, 0.1, 0.5, 1.0]
_LR: dict[str, Any] = {"transfer_lr": [1.0, 0.1, 0.0], "scale_transfer_lr": _SWITCH}
_FAST_SLOW: dict[str, Any] = {
    "gamma": [0.0, 0.4, 1.0, 0.5],
    "fast_lr": [0.01, 0.1, 1.0],
    "scale_fast_lr": _SWITCH,
    "transfer_every": [1.0, 2.0, 0.5, 3.0],
    "units_in_mbatch": _SWITCH,
    "n_reads_per_transfer": [1, 0, 2, 5, 100],
    "transfer_columns": _SWITCH,
}
_TIKI_TAKA = _FAST_SLOW | _LR | {"random_selection": _SWITCH, "with_reset_prob": [0.0, 0.5, 1.0]}
_BUFFER = {
    "momentum": [0.0, 0.1, 0.9],
    "forget_buffer": _SWITCH,
    "step": [1.0, 0.5, 3.0],
    "auto_granularity": [0.0, 0.0, 1.0, 100.0],
    "buffer_granularity": [1.0, 0.3, 10.0],
}
_CHOPPED = (
    _FAST_SLOW
    | _LR
    | _BUFFER
    | {name: _SWITCH for name in ("no_buffer", "auto_scale", "correct_gradient_magnitudes")}
    | {"transfer_every": [1.0, 2.0, 5.0, -0.01, -0.1], "out_chop_prob": _CHANCE, "auto_momentum": [0.99, 0.0, 0.5]}
)
RULES: dict[str, dict[str, Any]] = {
    "TikiTaka": _TIKI_TAKA,
    "ResidualLearning": _TIKI_TAKA,
    "TikiTakaV2": _TIKI_TAKA
    | _BUFFER
    | {"variant": ["buffered", "buffered", "chopped"], "thres_scale": [1.0, 0.1, 5.0]},
    "ResidualLearningV2": _FAST_SLOW
    | {name: [0.1, 1.0, 0.01] for name in ("beta_h", "beta_w")}
    | {"mode": ["paper", "threshold"], "random_selection": _SWITCH, "auto_granularity": [0.0, 0.0, 10.0]},
    "ChoppedTikiTakaV2": _CHOPPED | {"in_chop_prob": _CHANCE, "in_chop_random": _SWITCH},
    "AGAD": _CHOPPED
    | {"in_chop_prob": [0.1, 0.5, 1.0, 0.03], "tail_weightening": [5.0, 0.5], "buffer_cap": [0.0, 2.0]}
    | {"in_chop_random": [False, False, False, True], "subtract_reference": _SWITCH},
    "MultiTileResidualLearning": _FAST_SLOW
    | _LR
    | {"n_arrays": [2], "warm_start": _SWITCH, "transfer_every_factor": [1.0, 2.0], "transfer_lr_factor": [1.0, 1.2]},
    "MixedPrecision": {
        "transfer_every": [1.0, 2.0, 0.5],
        "n_rows_per_transfer": [-1, 1, 2, 50],
        "granularity": [0.0, 0.01, 0.3],
        "transfer_lr": [1.0, 0.5, 0.0],
        **{name: _SWITCH for name in ("random_row", "transfer_columns", "stoc_round_x", "stoc_round_d")},
        **{name: [0, 1, 6, 255] for name in ("n_x_bins", "n_d_bins")},
    },
    "ERIDER": _FAST_SLOW
    | _LR
    | {"n_reads_per_transfer": [0, 0, 1, 2], "eta": [0.05, 0.5, 1.0], "chop_prob": [0.05, 0.5, 1.0]},
}
VECTORS: dict[str, list[float]] = {
    "gamma_vec": [0.5, 1.0, 0.1],
    "transfer_lr_vec": [0.5, 1.0, 0.0],
    "transfer_every_vec": [1.0, 2.0, 3.0],
}
NAMED = {og.IO, og.PulseTrain, og.ZeroShift, *(getattr(og, name) for name in RULES)}
ODD = [-1, 0, 2, 0.5, 1.5, math.nan, math.inf, 1e39, 1e9, 1e-40, -1e30, 10**400]
EVERY = [
    Every(1),
    Every(1),
    Every(2),
    Every(5),
    Every(1, unit="batches"),
    Every(0.4, unit="batches"),
    Every(3, unit="batches"),
]
CHOPPERS: list[dict[str, Any]] = [{"scope": "array"}, {"random": False}, {"cross_prob": 0.5}, {}]
WRITES = PULSES | {"desired_bl": [1, 5, 31]}
# known: a state is refused where a plan updates an array with pulses of type none at some stages alone
BOUNDED = {"pulse_type": [kind for kind in PULSES["pulse_type"] if kind != "none"]}
GRADIENT: dict[str, dict[str, Any]] = {
    "array": {"auto_scale": [0.9, 0.0, None]},
    "digital": {"n_x_bins": [0, 1, 6], "n_d_bins": [0, 5], "stoc_round_x": _SWITCH, "stoc_round_d": _SWITCH},
}
NOUNS: dict[type[Any], dict[str, Any]] = {
    Rate: {"scaled": _SWITCH, "per_gradient_rate": [False] * 4 + [True]},
    Term: {"factor": [1.0, 1.0, 0.5, -1.0, 0.0]},
    Gradient: {},
    Chopper: {"prob": _CHANCE},
    Threshold: {"cap": [1, 2, 31], "momentum": _CHANCE, "forget": _SWITCH, "limit": [0.0, 0.1]},
    Accumulate: {"keep": [1.0, 0.0, 0.5, 0.9]},
    Write: {"unit": [1.0, 0.02, 0.1], "deadband": [0.0, 0.01, 0.3]},
    Transfer: {"reset_prob": [0.0, 0.0, 0.5]},
}
EVENTS: dict[str, dict[str, Any]] = {
    "accumulate": {"gain": [1.0, 0.1, 0.0], "keep": [1.0, 0.0, 0.5]},
    "write": {"rate": [1.0, 0.1, 0.0], "unit": [1.0, 0.02, 0.5], "deadband": [0.0, 0.01]},
}
TILE_CALLS = {
    "t_forward": 12,
    "t_backward": 8,
    "t_update": 16,
    "t_follow_plan": 2,
    "t_event": 6,
    "t_end_epoch": 2,
    "t_zero_shift": 1,
    "t_summary": 1,
    "t_end_batch": 5,
    "t_decay": 2,
    "t_diffuse": 2,
    "t_drift": 4,
    "t_reset": 4,
    "t_pulse": 5,
    "t_program": 1,
    "t_read_weights": 2,
    "t_set_weights": 4,
    "t_set_array": 4,
    "t_get": 4,
    "t_parameters": 5,
    "t_state": 3,
    "t_copy": 2,
    "t_config": 1,
    "t_assign": 1,
}
MODEL_CALLS = {
    "m_forward": 8,
    "m_backward": 1,
    "m_update": 1,
    "m_train_step": 8,
    "m_evaluate": 3,
    "m_fit": 1,
    "m_state": 2,
    "m_file": 1,
    "m_weights": 3,
    "m_copy": 1,
}
OBJECT_CALLS = {
    "o_device": 8,
    "o_cell": 2,
    "o_settings": 4,
    "o_algorithm": 2,
    "o_preset": 2,
    "o_config": 1,
    "o_curves": 2,
    "o_theory": 3,
    "o_data": 2,
    "o_layers": 4,
    "o_seeds": 2,
}
EVAL: dict[str, Any] = {name: getattr(devices, name) for name in devices.__all__} | {"Own": Own, "Stepping": Stepping}
EVAL |= {name: getattr(og, name) for name in ("IO", "PulseTrain", "Seeds", "ZeroShift", *algorithms.names())}


# ---- running programs


@contextmanager
def registered(*classes: type[Any]) -> Iterator[None]:
    """Algorithms that files can name for as long as this lasts."""
    for cls in classes:
        algorithms.register(cls)
    try:
        yield
    finally:
        for cls in classes:
            del algorithms._classes[cls.__name__]


def programs(
    seed: int, first: int, calls: int, seconds: float, watch: float, go_on: bool, mark: Callable[[int], None]
) -> tuple[Counter[str], int, dict[str, str]]:
    """Run programs from ``first`` on until so many calls or seconds, or a finding; what ``mark`` gets is the number.

    Counts per kind of call, the number of the next program, and for each finding the calls that led to it.
    """
    tally, findings = Counter[str](), dict[str, str]()
    number, end = first, time.monotonic() + seconds
    threads = og.threads()
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(), registered(Own, Stepping):
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", category=UserWarning)
        while tally.total() < calls and time.monotonic() < end and (go_on or not findings):
            mark(number)
            for file in Path(folder).iterdir():
                file.unlink()
            if watch:
                faulthandler.dump_traceback_later(watch, exit=True)
            program = Fuzz(seed, number, Path(folder), tally)
            try:
                program.run()
            except Exception as error:
                what = f"{type(error).__name__}: {error}"
                where = "" if isinstance(error, FindingError) else traceback.format_exc()
                lines = [f"{kind}{args!r} {named!r}"[:3000] for kind, args, named in program.log]
                findings.setdefault(
                    what[:80], "\n".join([*lines, where, f"-> {what}", f"again: --seed {seed} --only {number}"])
                )
            finally:
                faulthandler.cancel_dump_traceback_later()
            number += 1
    og.threads(threads)
    return tally, number, findings


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first program")
    parser.add_argument("--only", type=int, help="run this one program")
    parser.add_argument("--calls", type=int, default=20_000)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--watch", type=float, default=60, help="seconds until a program counts as hanging")
    parser.add_argument("--go-on", action="store_true", help="do not stop at the first finding")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.child is None:
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder) / "number"
            place.write_bytes(bytes(8))
            code = subprocess.run([sys.executable, __file__, *sys.argv[1:], "--child", str(place)]).returncode
            if code not in (0, 2, FOUND):
                number = int.from_bytes(place.read_bytes(), "little")
                print(f"the process ended with {code}; again: --seed {chosen.seed} --only {number}")
        return code
    faulthandler.enable()
    first, calls = (chosen.first, chosen.calls) if chosen.only is None else (chosen.only, 1)
    start = time.monotonic()
    with chosen.child.open("r+b") as file, mmap.mmap(file.fileno(), 8) as place:

        def mark(number: int) -> None:
            place[:] = number.to_bytes(8, "little")

        options = chosen.seconds, chosen.watch, chosen.go_on
        tally, number, findings = programs(chosen.seed, first, calls, *options, mark)
    for kind in sorted({kind.removesuffix(" refused") for kind in tally}):
        print(f"{kind:28} {tally[kind]:8} done {tally[f'{kind} refused']:8} refused")
    seconds, refused = time.monotonic() - start, sum(n for kind, n in tally.items() if kind.endswith(" refused"))
    print(f"{tally.total()} calls, {number - first} programs, {seconds:.0f} s, {tally.total() / seconds:.0f} calls/s")
    print(f"{100 * (1 - refused / max(1, tally.total())):.1f}% of the calls done, the others refused")
    for finding in findings.values():
        print(finding)
    return FOUND if findings else 0


if __name__ == "__main__":
    raise SystemExit(main())
