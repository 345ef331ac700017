"""The fully connected layer: tiles, their mapping to effective weights, and a bias."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import _core
from .._arrays import as_float32
from .._record import as_bool, as_int, as_rate, as_str
from ..algorithms import Algorithm, DigitalSGD
from ..devices import Cell, Device
from ..io import IO
from ..pulses import PulseTrain
from ..tile import Tile
from .base import Defaults, Layer, kept
from .grid import Grid, Part, grid, train
from .mapping import DEFAULTS, Factors, chosen

_OF_TILE = "device", "algorithm", "io", "pulses", "backward_io", "count_pulses"


class Linear(Layer):
    """``y = a * o * tile(x) + bias``: the weights on a crossbar, the rest digital.

    **Arguments:**

    - `d_in`, `d_out`: number of inputs and outputs, 1 to 2**26.
    - `device`, `algorithm`, `io`, `pulses`, `backward_io`, `count_pulses`: as for :class:`ohmgrad.Tile`.
    - `digital`: exact products and plain SGD in floating point (then there is no device and no mapping).
    - `bias`: add a bias. `digital_bias` (True): it is digital, trained by plain SGD at the same learning rate; False:
      it is the last column of the crossbar, whose input is always 1.
    - `learn_out_scaling` (False): train the digital factor `o` by plain SGD at the same learning rate; else it stays 1.
      `out_scaling_columnwise` (False): one `o` for every output.
    - `weight_scaling_omega` (0): with omega > 0 the initial weights are mapped on [-omega, omega] of the tile by the
      fixed digital factor ``a = max|W| / omega``; with 0, a = 1. `weight_scaling_columnwise` (False): one `a` for
      every output, from the weights of that output alone.
    - `weight_scaling_lr_compensation` (False): put the ``1 / a`` of an update into its rate, see below.
    - `max_input_size`, `max_output_size` (0, any size): a larger matrix is split into a grid of tiles, none larger and
      all as equal as can be; their partial sums are added digitally, in the order of the inputs.
    - `name`: the layer's path in its network in place of its position; it keys the layer's random numbers. The tiles of
      a grid are named ``path/row-column``.

    All but the sizes, `digital`, `bias` and `name` may be `None`: what :meth:`Sequential.on` says, else the default.

    **Training.** With d = dL/dy the tile's backward pass gets ``a * o * d`` and its update ``o * d / a``, so that
    the weight ``a * W`` in front of `o` takes the step ``-lr * o * d x^T`` of plain SGD; and
    ``dL/do = sum d * (a * tile(x))``, over the batch and, for a single `o`, over the outputs. With
    `weight_scaling_lr_compensation` the update gets ``o * d`` at the rate ``lr / mean(a)``: the same step for a single
    `a`; with one for every output, ``a_i / mean(a)`` times that step for output i.

    Initial weights and bias are uniform in +-1/sqrt(d_in). What a cell cannot hold is clipped to its bounds, and a
    `UserWarning` says for how many cells.

    The mapping is that of aihwkit (M. J. Rasch et al., arXiv 2104.02184).

    >>> import ohmgrad as og
    >>> og.nn.Linear(64, 10, learn_out_scaling=True)
    Linear(64, 10, learn_out_scaling=True)
    >>> model = og.nn.Sequential(og.nn.Linear(5, 3, max_input_size=2, digital_bias=False)).on()
    >>> [[(tile.name, tile.d_out, tile.d_in) for tile in row] for row in model[0].tiles]
    [[('0/0-0', 3, 2), ('0/0-1', 3, 2), ('0/0-2', 3, 2)]]
    """

    def __init__(
        self,
        d_in: int,
        d_out: int,
        *,
        device: Device | Cell | Mapping[str, Device | Cell] | None = None,
        algorithm: Algorithm | None = None,
        io: IO | None = None,
        pulses: PulseTrain | None = None,
        backward_io: IO | None = None,
        count_pulses: bool | None = None,
        digital: bool = False,
        bias: bool = True,
        digital_bias: bool | None = None,
        learn_out_scaling: bool | None = None,
        out_scaling_columnwise: bool | None = None,
        weight_scaling_omega: float | None = None,
        weight_scaling_columnwise: bool | None = None,
        weight_scaling_lr_compensation: bool | None = None,
        max_input_size: int | None = None,
        max_output_size: int | None = None,
        name: str | None = None,
    ) -> None:
        analog: dict[str, Any] = {
            "device": device,
            "algorithm": algorithm,
            "io": io,
            "pulses": pulses,
            "backward_io": backward_io,
            "count_pulses": count_pulses,
            "digital_bias": digital_bias,
            "learn_out_scaling": learn_out_scaling,
            "out_scaling_columnwise": out_scaling_columnwise,
            "weight_scaling_omega": weight_scaling_omega,
            "weight_scaling_columnwise": weight_scaling_columnwise,
            "weight_scaling_lr_compensation": weight_scaling_lr_compensation,
            "max_input_size": max_input_size,
            "max_output_size": max_output_size,
        }
        for field, size in (("d_in", d_in), ("d_out", d_out)):
            if as_int(field, size) < 1:
                raise ValueError(f"{field} must be >= 1, got {size}")
            if size > 1 << 26:
                raise ValueError(f"{field} must be at most 2**26, got {size}")
        if digital and (given := [field for field, value in analog.items() if value is not None]):
            raise ValueError(f"{given[0]}: a digital layer has no {given[0]}")
        self._mapping = chosen(analog)
        self.digital, self._has_bias = as_bool("digital", digital), as_bool("bias", bias)
        if name is not None and (not as_str("name", name) or set(name) & set("./")):
            raise ValueError(f"name must not be empty nor contain '.' or '/', got {name!r}")
        self.d_in, self.d_out, self.name = d_in, d_out, name
        self._analog = analog
        self._tiles: Grid | None = None
        self._bias: NDArray[np.float32] | None = None
        self._factors = Factors(d_out, self._mapping)
        self._x: list[NDArray[np.float32]] | None = None
        self._y: NDArray[np.float32] | None = None
        self._d: NDArray[np.float32] | None = None

    def build(self, path: str, defaults: Defaults) -> Linear:
        """A fresh layer with weights, for the place `path` of a network; settings left unset come from `defaults`."""
        if self._tiles is not None:
            raise ValueError(f"layer {path} is built already; keep the network without weights to build it again")
        settings = {k: getattr(defaults, k) if v is None else v for k, v in self._analog.items() if not self.digital}
        tile = {k: v for k, v in settings.items() if k in _OF_TILE and v is not None}
        if self.digital:
            tile = {"algorithm": DigitalSGD(), "io": IO(is_perfect=True)}
        mapping = chosen(settings)
        one = self._has_bias and not mapping["digital_bias"]
        limits = mapping["max_output_size"], mapping["max_input_size"]
        make = partial(Tile, seed=defaults.seeds)
        made = self._on(grid(make, self.d_out, self.d_in + one, limits, path, one, **tile), settings)
        bound = 1 / math.sqrt(self.d_in)
        weight = _core.uniform_init(defaults.seeds.init, path, self.d_out, self.d_in, bound)
        if self._has_bias:
            bias = _core.uniform_init(defaults.seeds.init, path + "/bias", 1, self.d_out, bound)[0]
            if one:
                weight = np.column_stack([weight, bias])
            else:
                made._bias = bias
        made._factors.fit(weight)
        if lost := made._built.set_weights(weight / made._factors.both[:, np.newaxis]):
            said = f"{lost} of {weight.size} initial weights are beyond the bounds of their cells and were clipped"
            warnings.warn(f"layer {path}: {said}", stacklevel=4)
        return made

    def _on(self, tiles: Grid, settings: Mapping[str, Any]) -> Self:
        """This layer on tiles, with zero bias."""
        # The last tile is the one whose device is as it was given, see grid().
        last = tiles.tiles[-1][-1]
        own = {field: getattr(last, field) for field in _OF_TILE}
        own["backward_io"] = None if last.backward_io == last.io else last.backward_io
        own["count_pulses"] = last.count_pulses or None
        analog = {} if self.digital else {field: settings.get(field) for field in DEFAULTS} | own
        made = type(self)(self.d_in, self.d_out, **analog, digital=self.digital, bias=self._has_bias, name=self.name)
        made._tiles = tiles
        made._bias = np.zeros(self.d_out, np.float32) if self._has_bias and not tiles.one else None
        return made

    @property
    def _built(self) -> Grid:
        if self._tiles is None:
            raise RuntimeError("this layer has no weights yet: build its network with Sequential(...).on(device)")
        return self._tiles

    @property
    def tiles(self) -> tuple[tuple[Tile, ...], ...]:
        """The layer's crossbars: ``tiles[row][column]`` holds a block of its outputs (rows) and inputs (columns)."""
        return self._built.tiles

    @property
    def all_tiles(self) -> tuple[Tile, ...]:
        """The same one after the other, row by row."""
        return tuple(tile for row in self.tiles for tile in row)

    @property
    def tile(self) -> Tile:
        """The layer's crossbar, if it is a single one; else `RuntimeError`."""
        if not self._built.single:
            rows, columns = len(self.tiles), len(self.tiles[0])
            raise RuntimeError(f"this layer is a grid of {rows} x {columns} tiles: layer.tiles[row][column] has them")
        return self.tiles[0][0]

    @property
    def weight(self) -> NDArray[np.float32]:
        """A copy of the effective weight ``a * o * W``, shape ``[d_out, d_in]``."""
        return self._built.weights[:, : self.d_in] * self._factors.both[:, np.newaxis]

    def set_weight(self, weight: ArrayLike) -> None:
        """Set the effective weight, shape ``[d_out, d_in]``; what a device cannot hold is clipped.

        A bias on the crossbar is written anew, too, as it is seen.
        """
        w = self._divided("weight", weight, (self.d_out, self.d_in))
        self._built.set_weights(np.hstack([w, self._built.weights[:, self.d_in :]]))

    @property
    def bias(self) -> NDArray[np.float32] | None:
        """A copy of the bias, shape ``[d_out]``, effective as the weight; `None` for a layer without, or not built."""
        if self._tiles is not None and self._tiles.one:
            return self._tiles.weights[:, -1] * self._factors.both
        return None if self._bias is None else self._bias.copy()

    def set_bias(self, bias: ArrayLike) -> None:
        """Set the bias, shape ``[d_out]``, finite.

        On a crossbar the weights are written anew, too, as they are seen; what a device cannot hold is clipped.
        """
        if self.bias is None:
            raise ValueError("bias: this layer has none, or was not built")
        if self._built.one:
            column = self._divided(
                "bias", np.reshape(as_float32("bias", bias, (self.d_out,)), (-1, 1)), (self.d_out, 1)
            )
            self._built.set_weights(np.hstack([self._built.weights[:, :-1], column]))
        else:
            self._bias = as_float32("bias", bias, (self.d_out,))

    def _divided(self, name: str, values: ArrayLike, shape: tuple[int, int]) -> NDArray[np.float32]:
        """Effective values in tile units."""
        both = self._factors.both
        if not both.all():
            raise ValueError(f"{name} cannot be set: out_scaling is 0 for output {both.tolist().index(0)}")
        with np.errstate(over="ignore"):
            return as_float32(name, as_float32(name, values, shape) / both[:, np.newaxis], shape)

    @property
    def out_scaling(self) -> float | NDArray[np.float32]:
        """The digital factor `o` behind the tile; with `out_scaling_columnwise` a copy, shape ``[d_out]``."""
        return _plain(self._factors.o)

    @property
    def weight_scaling(self) -> float | NDArray[np.float32]:
        """The fixed digital factor `a` behind the tile; with `weight_scaling_columnwise` a copy, shape ``[d_out]``."""
        return _plain(self._factors.a)

    def forward(self, x: NDArray[np.float32], training: bool = True, noise: bool = True) -> NDArray[np.float32]:
        """``a * o * tile(x) + bias`` for `x` of shape ``[batch, d_in]``; the result is ``[batch, d_out]``.

        `training` and `noise` are those of :meth:`ohmgrad.Tile.forward`.
        """
        if getattr(x, "ndim", None) != 2:
            raise ValueError(f"x has shape {np.shape(x)}, allowed: an array [batch, {self.d_in}]")
        blocks = self._built.take(x)
        y = self._built.forward(blocks, training, noise)
        if training:
            self._x, self._y = blocks, y
        return self._factors.output(y, self._bias)

    def receive(self, d: NDArray[np.float32]) -> None:
        """Keep dL/dy, shape ``[batch, d_out]``, for the update, without passing it on to the input."""
        given, needed = getattr(d, "shape", None), kept(self._y, "backward").shape
        if given != needed:
            raise ValueError(f"d has shape {np.shape(d)}, allowed: an array of the shape of the output, {needed}")
        # What is not real is refused by the core.
        self._d = d.astype(np.float32, copy=False) if d.dtype.kind in "fiub" else d

    def backward(self, d: NDArray[np.float32]) -> NDArray[np.float32]:
        """Keep dL/dy, shape ``[batch, d_out]``, for the update, and return dL/dx, shape ``[batch, d_in]``."""
        self.receive(d)
        return self._built.backward(self._factors.error(kept(self._d, "backward")))

    def update(self, lr: float) -> None:
        """Train the layer on the vectors of the last training forward and backward pass, `lr` >= 0."""
        update([self], lr)

    def _parts(self, lr: float) -> list[Part]:
        return self._built.parts(kept(self._x, "update"), *self._factors.step(kept(self._d, "update"), lr))

    def _digital_update(self, lr: float) -> None:
        self._bias = self._factors.learn(kept(self._d, "update"), kept(self._y, "update"), lr, self._bias)
        self._d = None

    def _stage(self) -> Any:
        tile = self._built.alone
        return None if tile is None else (tile._core, self._factors.for_core, self._bias)

    def _take(self, o: NDArray[np.float32] | None, bias: NDArray[np.float32] | None) -> None:
        """What the core made of the factors and the bias in a step of the whole network, which leaves nothing else."""
        if o is not None:
            self._factors.take(self._factors.a, o)
        self._bias = bias
        self._x = self._y = self._d = None

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """Copies of all arrays that training changes: the tiles' as ``tile.*``, the bias and both factors.

        In a grid, ``tile.0-1.*`` belongs to the tile in row 0 and column 1.
        """
        state = self._built.state_dict()
        if self._bias is not None:
            state["bias"] = self._bias.copy()
        return state | {"weight_scaling": self._factors.a.copy(), "out_scaling": self._factors.o.copy()}

    def load_state_dict(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take a state as given by :meth:`state_dict`; `ValueError` naming what does not fit, changing nothing."""
        own = {"weight_scaling", "out_scaling"} | ({"bias"} if self._bias is not None else set())
        given = {key for key in state if not key.startswith("tile.")}
        if given != own:
            raise ValueError(f"state: {sorted(given ^ own)} missing or not known to {self!r}")
        a = as_float32("weight_scaling", state["weight_scaling"], self._factors.a.shape)
        o = as_float32("out_scaling", state["out_scaling"], self._factors.o.shape)
        if not (a > 0).all():
            raise ValueError(f"weight_scaling must be > 0, got {a.min()}")
        bias = as_float32("bias", state["bias"], (self.d_out,)) if "bias" in own else None
        self._built.load_state_dict({key: value for key, value in state.items() if key.startswith("tile.")})
        self._factors.take(a, o)
        self._bias = bias

    def config(self) -> dict[str, Any]:
        """JSON-able values from which :meth:`from_config` builds the layer again."""
        own = {"type": "Linear", "digital": self.digital, "bias": self._has_bias, "name": self.name}
        return own | self._mapping | self._built.config()

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Build a layer from what :meth:`config` gave; its weights are not set."""
        mapping = chosen({field: config.get(field) for field in DEFAULTS})
        one = bool(config["bias"]) and not mapping["digital_bias"]
        tiles = Grid.from_config(config, one)
        layer = cls(tiles.d_in - one, tiles.d_out, digital=config["digital"], bias=config["bias"], name=config["name"])
        return layer._on(tiles, mapping)

    def __repr__(self) -> str:
        shown = {k: v for k, v in self._analog.items() if v is not None and v != DEFAULTS.get(k)}
        shown |= {"digital": True} if self.digital else {}
        shown |= {} if self._has_bias else {"bias": False}
        shown |= {} if self.name is None else {"name": self.name}
        return f"Linear({', '.join([str(self.d_in), str(self.d_out), *(f'{k}={v!r}' for k, v in shown.items())])})"


def update(layers: Sequence[Linear], lr: float) -> None:
    """:meth:`Linear.update` of several layers, side by side; what one of them refuses changes none."""
    lr = as_rate("lr", lr)
    train([part for layer in layers for part in layer._parts(lr)])
    for layer in layers:
        layer._digital_update(lr)


def _plain(factors: NDArray[np.float32]) -> float | NDArray[np.float32]:
    return float(factors[0]) if factors.size == 1 else factors.copy()
