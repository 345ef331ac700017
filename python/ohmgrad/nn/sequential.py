"""A network: layers one after the other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from .. import _core
from .._record import as_rate, as_str
from ..algorithms import Algorithm
from ..devices import Cell, Device
from ..io import IO
from ..pulses import PulseTrain
from ..seeds import Seeds, as_seeds
from ..summary import Summary, summarise
from .activations import LogSoftmax, ReLU, Sigmoid, Tanh
from .base import Defaults, Layer
from .linear import Linear, update
from .losses import Loss

_LAYERS: dict[str, type[Layer]] = {cls.__name__: cls for cls in (Linear, Sigmoid, Tanh, ReLU, LogSoftmax)}
# Ctrl-C is seen between parts of a larger mini-batch.
_AT_ONCE = 4096


class Sequential:
    """A network of layers; :meth:`on` puts it on devices.

    **Arguments:** the layers in order. A layer's path is its position ("0", "1", ...) or its name, and paths must
    differ: they key the random numbers of the tiles.

    >>> import numpy as np, ohmgrad as og
    >>> network = og.nn.Sequential(og.nn.Linear(4, 3), og.nn.Tanh(), og.nn.Linear(3, 2))
    >>> model = network.on(og.devices.SoftBounds(dw_min=0.001), algorithm=og.AnalogSGD(), seed=1)
    >>> model.forward(np.ones((5, 4), np.float32)).shape
    (5, 2)
    >>> model
    Sequential(
        Linear(4, 3, device=SoftBounds(), algorithm=AnalogSGD(), io=IO(), pulses=PulseTrain()),
        Tanh(),
        Linear(3, 2, device=SoftBounds(), algorithm=AnalogSGD(), io=IO(), pulses=PulseTrain()),
    )
    """

    def __init__(self, *layers: Layer) -> None:
        if not layers:
            raise ValueError("layers: a network needs at least one layer")
        for layer in layers:
            if not isinstance(layer, Layer):
                raise TypeError(f"layers: {layer!r} is not a layer")
        paths = [layer.name or str(position) for position, layer in enumerate(layers)]
        if twice := sorted({path for path in paths if paths.count(path) > 1}):
            raise ValueError(f"layers: two layers have the path {twice[0]!r}; names must differ")
        self.layers, self.paths = layers, tuple(paths)
        self._linear = {path: layer for path, layer in zip(paths, layers, strict=True) if isinstance(layer, Linear)}
        # Nothing below the lowest layer with weights needs a gradient.
        self._lowest = next(iter(self._linear.values()), None)
        self._from_top = tuple(reversed(self._linear.values()))
        self._above = tuple(reversed(layers[layers.index(self._lowest) + 1 :])) if self._lowest is not None else ()
        # Classes derived from them may do something else.
        self._known = bool(self._linear) and all(type(layer) in _LAYERS.values() for layer in layers)

    def on(
        self,
        device: Device | Cell | Mapping[str, Device | Cell] | None = None,
        *,
        algorithm: Algorithm | None = None,
        io: IO | None = None,
        pulses: PulseTrain | None = None,
        backward_io: IO | None = None,
        count_pulses: bool | None = None,
        seed: int | Seeds = 0,
        learn_out_scaling: bool | None = None,
        out_scaling_columnwise: bool | None = None,
        weight_scaling_omega: float | None = None,
        weight_scaling_columnwise: bool | None = None,
        weight_scaling_lr_compensation: bool | None = None,
        digital_bias: bool | None = None,
        max_input_size: int | None = None,
        max_output_size: int | None = None,
    ) -> Sequential:
        """A new network of the same layers with weights on tiles; this one stays as it is.

        **Arguments:** `seed` is an integer or :class:`ohmgrad.Seeds` for devices, noise and initial weights. All others
        fill what a :class:`Linear` layer left unset, and are explained there (digital layers have none of them); `None`
        leaves the package's defaults.

        **Raises:** `ValueError` naming the field when a setting is out of range, when two widths do not fit, or when
        this network has weights already. A `UserWarning` says how many initial weights of a layer lie outside the
        bounds of their cells and were clipped.
        """
        width = None
        for path, layer in self._linear.items():
            if width not in (None, layer.d_in):
                raise ValueError(f"layer {path}: d_in = {layer.d_in}, but the layer below gives {width} values")
            width = layer.d_out
        defaults = Defaults(
            device=device,
            algorithm=algorithm,
            io=io,
            pulses=pulses,
            backward_io=backward_io,
            count_pulses=count_pulses,
            learn_out_scaling=learn_out_scaling,
            out_scaling_columnwise=out_scaling_columnwise,
            weight_scaling_omega=weight_scaling_omega,
            weight_scaling_columnwise=weight_scaling_columnwise,
            weight_scaling_lr_compensation=weight_scaling_lr_compensation,
            digital_bias=digital_bias,
            max_input_size=max_input_size,
            max_output_size=max_output_size,
            seeds=as_seeds(seed),
        )
        return Sequential(*(layer.build(path, defaults) for path, layer in zip(self.paths, self.layers, strict=True)))

    @property
    def outputs(self) -> int | None:
        """Number of outputs, as the last layer with weights gives it; `None` without such a layer."""
        return next((layer.d_out for layer in reversed(self._linear.values())), None)

    def __len__(self) -> int:
        return len(self.layers)

    def __iter__(self) -> Iterator[Layer]:
        return iter(self.layers)

    def __getitem__(self, key: int | str) -> Layer:
        """A layer by position or by path."""
        if isinstance(key, int):
            return self.layers[key]
        if key not in self.paths:
            raise KeyError(f"no layer {key!r}; the paths are {', '.join(self.paths)}")
        return self.layers[self.paths.index(key)]

    def forward(self, x: NDArray[np.float32], training: bool = True, noise: bool = True) -> NDArray[np.float32]:
        """The network's output ``[batch, outputs]`` for `x`, ``[batch, features]``.

        With `training` the layers keep what :meth:`backward` needs; without, the noise comes from streams of its own,
        so that an evaluation never changes a training run. ``noise=False`` draws none, and moves nothing on.
        """
        for layer in self.layers:
            x = layer.forward(x, training, noise)
        return x

    def predict(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """``forward(x, training=False)``."""
        return self.forward(x, False)

    def backward(self, d: NDArray[np.float32]) -> NDArray[np.float32]:
        """dL/dx, ``[batch, features]``, from `d` = dL/dy, ``[batch, outputs]``, of the last training forward pass."""
        for layer in reversed(self.layers):
            d = layer.backward(d)
        return d

    def update(self, lr: float) -> None:
        """Train all layers on the vectors of the last training forward and backward pass, `lr` >= 0.

        What one of them refuses changes none.
        """
        update(self._from_top, lr)

    def end_epoch(self, losses: Sequence[float]) -> None:
        """Tell all tiles the training losses of the epochs so far, see :meth:`ohmgrad.Tile.end_epoch`."""
        tiles = [tile for layer in self._linear.values() for tile in layer.all_tiles]
        staged = [(tile, tile.state_dict()) for tile in tiles if hasattr(tile.algorithm, "end_of_epoch")]
        try:
            for tile, _ in staged:
                tile.end_epoch(losses)
        except BaseException:
            for tile, state in staged:
                tile.load_state_dict(state)
            raise

    def summary(self, batch_size: int = 1) -> Summary:
        """Shape, arrays, digital memory, reads and writes per sample of every tile, in mini-batches of ``batch_size``.

        Its text is a table; `ValueError` unless ``batch_size`` is from 1 to 2**31 - 1, `RuntimeError` for a network
        without weights.

        >>> import ohmgrad as og
        >>> network = og.nn.Sequential(og.nn.Linear(64, 32), og.nn.Tanh(), og.nn.Linear(32, 10, digital=True))
        >>> model = network.on(og.devices.SoftBounds(dw_min=0.01), algorithm=og.AnalogSGD())
        >>> print(model.summary())
        tile  shape    algorithm   arrays                          digital  bytes  reads  writes
        0     32 x 64  AnalogSGD   weight (SoftBounds, 200 states)  -       0      0      0
        2     10 x 32  DigitalSGD  -                               weight   1280   0      0
        >>> facts = network.on(algorithm=og.AGAD(transfer_every=2)).summary().tiles[0]
        >>> facts.digital, facts.reads_per_sample
        (('hidden', 'mean', 'reference'), 0.5)
        """
        tiles = (tile for layer in self._linear.values() for tile in layer.all_tiles)
        return Summary(tuple(summarise(tile, batch_size) for tile in tiles))

    def train_step(
        self, x: NDArray[np.float32], target: NDArray[Any], loss: Loss, lr: float
    ) -> tuple[float, NDArray[np.float32]]:
        """One mini-batch: forward, loss, backward, update; returns the mean loss and the output before the update.

        **Arguments:** `x` float32 ``[batch, features]``; `target` as the loss wants it; `lr` >= 0. The gradient with
        respect to `x` is not computed. A backward pass afterwards needs a forward pass of its own.

        With this package's own layers, each on a single tile (with a digital bias, and no ``step`` in Python), up to
        4096 vectors are one call of the core, with the same bits as :meth:`forward`, `loss`, :meth:`backward` and
        :meth:`update`.
        """
        if (stages := self._stages()) and getattr(x, "ndim", 0) == 2 and len(x) <= _AT_ONCE:
            value, y, learned = _core.train_step(stages, x, target, loss, as_rate("lr", lr))
            for linear, taken in zip(self._linear.values(), learned, strict=True):
                linear._take(*taken)
            return value, y
        y = x
        for layer in self.layers:
            y = layer.forward(y)
        value, d = loss(y, target)
        for layer in self._above:
            d = layer.backward(d)
        if self._lowest is not None:
            self._lowest.receive(d)
        self.update(lr)
        return value, y

    def _stages(self) -> list[Any] | None:
        """The layers as the core takes them, unless Python has to do something in between."""
        stages = [layer._stage() for layer in self.layers] if self._known else [None]
        return None if None in stages else stages

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """Copies of all arrays that training changes, as ``path.array``: what it takes to go on bit for bit."""
        return {f"{path}.{key}": v for path, layer in self._linear.items() for key, v in layer.state_dict().items()}

    def load_state_dict(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take a state as given by :meth:`state_dict`; `ValueError` naming what does not fit, changing nothing."""
        parts: dict[str, dict[str, NDArray[Any]]] = {path: {} for path in self._linear}
        for key, value in dict(state).items():
            path, _, name = as_str("a name in state", key).partition(".")
            if path not in parts:
                raise ValueError(f"state: {key!r} belongs to no layer with weights; these are {', '.join(parts)}")
            parts[path][name] = value
        before = {path: layer.state_dict() for path, layer in self._linear.items()}
        try:
            for path, layer in self._linear.items():
                layer.load_state_dict(parts[path])
        except BaseException:
            for path, layer in self._linear.items():
                layer.load_state_dict(before[path])
            raise

    def config(self) -> dict[str, Any]:
        """JSON-able values from which :meth:`from_config` builds the network again, without its weights."""
        return {"layers": [layer.config() for layer in self.layers]}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Build a network from what :meth:`config` gave; `ValueError` naming an unknown layer, device or algorithm."""
        layers = []
        for one in config["layers"]:
            if one["type"] not in _LAYERS:
                raise ValueError(f"unknown layer {one['type']!r}; known: {', '.join(_LAYERS)}")
            layers.append(_LAYERS[one["type"]].from_config(one))
        return cls(*layers)

    def __repr__(self) -> str:
        return "Sequential(\n" + "".join(f"    {layer!r},\n" for layer in self.layers) + ")"
