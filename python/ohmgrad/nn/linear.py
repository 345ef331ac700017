"""The fully connected layer: a tile, its mapping to effective weights, and a digital bias."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import _core
from .._record import as_bool, as_float, as_int, as_rate, as_str
from ..algorithms import Algorithm, DigitalSGD
from ..devices import Device
from ..io import IO
from ..pulses import PulseTrain
from ..tile import Tile
from .base import Defaults, Layer, kept

_ONE = np.float32(1)
_OF_TILE = "device", "algorithm", "io", "pulses"


class Linear(Layer):
    """``y = a * o * tile(x) + bias``: the weights on a crossbar, the rest digital.

    **Arguments:**

    - `d_in`, `d_out`: number of inputs and outputs, >= 1.
    - `device`, `algorithm`, `io`, `pulses`: as for :class:`ohmgrad.Tile`; `None`: what :meth:`Sequential.on` says.
    - `digital`: exact products and plain SGD in floating point (then there is no device and no scaling).
    - `bias`: add a digital bias, trained by plain SGD at the same learning rate.
    - `learn_out_scaling`: train the digital factor `o` by plain SGD at the same learning rate (else it stays 1).
      `None`: what :meth:`Sequential.on` says, else `False`.
    - `weight_scaling_omega`: with omega > 0 the initial weights are mapped on [-omega, omega] of the tile by the fixed
      digital factor ``a = max|W| / omega``; with 0, a = 1. `None`: what :meth:`Sequential.on` says, else 0.
    - `name`: the layer's path in its network in place of its position; it keys the layer's random numbers.

    **Training.** With d = dL/dy the tile's backward pass gets ``a * o * d`` and its update ``o * d / a``, so that
    the weight ``a * W`` in front of `o` takes the step ``-lr * o * d x^T`` of plain SGD; and
    ``dL/do = sum d * (a * tile(x))``.
    Initial weights and bias are uniform in +-1/sqrt(d_in) and clipped to what each device can hold.

    The mapping is that of aihwkit (M. J. Rasch et al., arXiv 2104.02184).

    >>> import ohmgrad as og
    >>> og.nn.Linear(64, 10, learn_out_scaling=True)
    Linear(64, 10, learn_out_scaling=True)
    """

    def __init__(
        self,
        d_in: int,
        d_out: int,
        *,
        device: Device | Mapping[str, Device] | None = None,
        algorithm: Algorithm | None = None,
        io: IO | None = None,
        pulses: PulseTrain | None = None,
        digital: bool = False,
        bias: bool = True,
        learn_out_scaling: bool | None = None,
        weight_scaling_omega: float | None = None,
        name: str | None = None,
    ) -> None:
        analog: dict[str, Any] = {
            "device": device,
            "algorithm": algorithm,
            "io": io,
            "pulses": pulses,
            "learn_out_scaling": learn_out_scaling,
            "weight_scaling_omega": weight_scaling_omega,
        }
        for field, size in (("d_in", d_in), ("d_out", d_out)):
            if as_int(field, size) < 1:
                raise ValueError(f"{field} must be >= 1, got {size}")
        if digital and (given := [field for field, value in analog.items() if value is not None]):
            raise ValueError(f"{given[0]}: a digital layer has no {given[0]}")
        if (
            weight_scaling_omega is not None
            and not 0 <= as_float("weight_scaling_omega", weight_scaling_omega) < math.inf
        ):
            raise ValueError(f"weight_scaling_omega must be finite and >= 0, got {weight_scaling_omega}")
        for field, switch in (("digital", digital), ("bias", bias), ("learn_out_scaling", learn_out_scaling)):
            if switch is not None:
                as_bool(field, switch)
        if name is not None and (not as_str("name", name) or set(name) & set("./")):
            raise ValueError(f"name must not be empty nor contain '.' or '/', got {name!r}")
        self.d_in, self.d_out, self.digital, self.name = d_in, d_out, digital, name
        self._has_bias = bias
        self._analog = analog
        self._tile: Tile | None = None
        self._bias: NDArray[np.float32] | None = None
        self._a = self._o = _ONE
        self._x: NDArray[np.float32] | None = None
        self._y: NDArray[np.float32] | None = None
        self._d: NDArray[np.float32] | None = None

    def build(self, path: str, defaults: Defaults) -> Linear:
        """A fresh layer with weights, for the place `path` of a network; settings left unset come from `defaults`."""
        if self._tile is not None:
            raise ValueError(f"layer {path} is built already; keep the network without weights to build it again")
        settings = {k: getattr(defaults, k) if v is None else v for k, v in self._analog.items() if not self.digital}
        tile = {k: v for k, v in settings.items() if k in _OF_TILE and v is not None}
        if self.digital:
            tile = {"algorithm": DigitalSGD(), "io": IO(is_perfect=True)}
        made = self._on(Tile(self.d_out, self.d_in, **tile, seed=defaults.seeds, name=path), settings)
        bound = 1 / math.sqrt(self.d_in)
        weight = _core.uniform_init(defaults.seeds.init, path, self.d_out, self.d_in, bound)
        if self._has_bias:
            made._bias = _core.uniform_init(defaults.seeds.init, path + "/bias", 1, self.d_out, bound)[0]
        if omega := made._analog["weight_scaling_omega"]:
            largest = max(abs(weight).ravel().tolist())
            if not 2.0**-126 <= largest / omega < 2.0**128:
                raise ValueError(f"weight_scaling_omega: {omega} makes a factor of {largest / omega}, beyond float32")
            made._a = np.float32(largest / omega)
        made.set_weight(weight)
        return made

    def _on(self, tile: Tile, settings: Mapping[str, Any]) -> Self:
        """This layer on a tile, with zero bias."""
        analog = {} if self.digital else dict(settings) | {field: getattr(tile, field) for field in _OF_TILE}
        made = type(self)(self.d_in, self.d_out, **analog, digital=self.digital, bias=self._has_bias, name=self.name)
        made._tile = tile
        made._bias = np.zeros(self.d_out, np.float32) if self._has_bias else None
        return made

    @property
    def tile(self) -> Tile:
        """The layer's crossbar."""
        if self._tile is None:
            raise RuntimeError("this layer has no weights yet: build its network with Sequential(...).on(device)")
        return self._tile

    @property
    def weight(self) -> NDArray[np.float32]:
        """A copy of the effective weight ``a * o * W``, shape ``[d_out, d_in]``."""
        return self.tile.weights * (self._a * self._o)

    def set_weight(self, weight: ArrayLike) -> None:
        """Set the effective weight, shape ``[d_out, d_in]``; what a device cannot hold is clipped."""
        self.tile.set_weights(_checked("weight", weight, (self.d_out, self.d_in)) / (self._a * self._o))

    @property
    def bias(self) -> NDArray[np.float32] | None:
        """A copy of the bias, shape ``[d_out]``; `None` for a layer without bias or not built."""
        return None if self._bias is None else self._bias.copy()

    def set_bias(self, bias: ArrayLike) -> None:
        """Set the bias, shape ``[d_out]``, finite."""
        if self.bias is None:
            raise ValueError("bias: this layer has none, or was not built")
        self._bias = _checked("bias", bias, (self.d_out,))

    @property
    def out_scaling(self) -> float:
        """The digital factor `o` behind the tile."""
        return float(self._o)

    @property
    def weight_scaling(self) -> float:
        """The fixed digital factor `a` behind the tile."""
        return float(self._a)

    def forward(self, x: NDArray[np.float32], training: bool = True, noise: bool = True) -> NDArray[np.float32]:
        """``a * o * tile(x) + bias`` for `x` of shape ``[batch, d_in]``; the result is ``[batch, d_out]``.

        `training` and `noise` are those of :meth:`ohmgrad.Tile.forward`.
        """
        if getattr(x, "ndim", None) != 2:
            raise ValueError(f"x has shape {np.shape(x)}, allowed: an array [batch, {self.d_in}]")
        y = self.tile.forward(x, training=training, noise=noise)
        if training:
            self._x, self._y = x, y
        scale = self._a * self._o
        return y if self._bias is None and scale == _ONE else _core.scale_bias(y, float(scale), self._bias)

    def receive(self, d: NDArray[np.float32]) -> None:
        """Keep dL/dy, shape ``[batch, d_out]``, for the update, without passing it on to the input."""
        if d.shape != kept(self._y, "backward").shape:
            raise ValueError(f"d has shape {d.shape}, allowed: that of the output, {kept(self._y, 'backward').shape}")
        self._d = d

    def backward(self, d: NDArray[np.float32]) -> NDArray[np.float32]:
        """Keep dL/dy, shape ``[batch, d_out]``, for the update, and return dL/dx, shape ``[batch, d_in]``."""
        self.receive(d)
        scale = self._a * self._o
        return self.tile.backward(d if scale == _ONE else d * scale)

    def update(self, lr: float) -> None:
        """Train the layer on the vectors of the last training forward and backward pass, `lr` >= 0."""
        rate, scale = np.float32(as_rate("lr", lr)), self._o / self._a
        d, x, y = kept(self._d, "update"), kept(self._x, "update"), kept(self._y, "update")
        # The tile first: it may refuse, and then nothing has changed.
        self.tile.update(x, d if scale == _ONE else d * scale, lr)
        self.tile.end_batch()
        self._d = None
        if self._bias is not None:
            self._bias = self._bias - rate * _core.column_sum(d)
        if self._analog["learn_out_scaling"]:
            self._o = self._o - rate * (self._a * np.float32(_core.dot(d, y)))

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """Copies of all arrays that training changes: the tile's as ``tile.*``, the bias and both factors."""
        state = {f"tile.{key}": value for key, value in self.tile.state_dict().items()}
        if self._bias is not None:
            state["bias"] = self._bias.copy()
        return state | {"weight_scaling": np.array([self._a]), "out_scaling": np.array([self._o])}

    def load_state_dict(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take a state as given by :meth:`state_dict`; `ValueError` naming what does not fit, changing nothing."""
        own = {"weight_scaling", "out_scaling"} | ({"bias"} if self._bias is not None else set())
        given = {key for key in state if not key.startswith("tile.")}
        if given != own:
            raise ValueError(f"state: {sorted(given ^ own)} missing or not known to {self!r}")
        a, o = (_checked(key, state[key], (1,))[0] for key in ("weight_scaling", "out_scaling"))
        if not a > 0:
            raise ValueError(f"weight_scaling must be > 0, got {a}")
        bias = _checked("bias", state["bias"], (self.d_out,)) if "bias" in own else None
        self.tile.load_state_dict({k.removeprefix("tile."): v for k, v in state.items() if k.startswith("tile.")})
        self._a, self._o, self._bias = a, o, bias

    def config(self) -> dict[str, Any]:
        """JSON-able values from which :meth:`from_config` builds the layer again."""
        return {
            "type": "Linear",
            "digital": self.digital,
            "bias": self._has_bias,
            "learn_out_scaling": bool(self._analog["learn_out_scaling"]),
            "weight_scaling_omega": float(self._analog["weight_scaling_omega"] or 0),
            "name": self.name,
            "tile": self.tile.config(),
        }

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Build a layer from what :meth:`config` gave; its weights are not set."""
        tile = Tile.from_config(config["tile"])
        layer = cls(tile.d_in, tile.d_out, digital=config["digital"], bias=config["bias"], name=config["name"])
        return layer._on(tile, {key: config[key] for key in ("learn_out_scaling", "weight_scaling_omega")})

    def __repr__(self) -> str:
        shown = {k: v for k, v in self._analog.items() if v is not None and v is not False and v != 0.0}
        shown |= {"digital": True} if self.digital else {}
        shown |= {} if self._has_bias else {"bias": False}
        shown |= {} if self.name is None else {"name": self.name}
        return f"Linear({', '.join([str(self.d_in), str(self.d_out), *(f'{k}={v!r}' for k, v in shown.items())])})"


def _checked(name: str, values: ArrayLike, shape: tuple[int, ...]) -> NDArray[np.float32]:
    given = np.asarray(values)
    if given.dtype.kind not in "fiub":
        raise TypeError(f"{name}: real numbers are needed, got dtype {given.dtype}")
    with np.errstate(over="ignore"):
        made = given.astype(np.float32)
    if made.shape != shape:
        raise ValueError(f"{name}: shape {shape} is needed, got {made.shape}")
    if not np.isfinite(made).all():
        raise ValueError(f"{name}: all values must be finite")
    return made
