"""What every layer of a network can do."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..algorithms import Algorithm
from ..devices import Cell, Device
from ..io import IO
from ..pulses import PulseTrain
from ..seeds import Seeds

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, slots=True)
class Defaults:
    """What :meth:`Sequential.on` gives to layers that leave it unset (`None`: the package's own default)."""

    device: Device | Cell | Mapping[str, Device | Cell] | None = None
    algorithm: Algorithm | None = None
    io: IO | None = None
    pulses: PulseTrain | None = None
    backward_io: IO | None = None
    count_pulses: bool | None = None
    learn_out_scaling: bool | None = None
    out_scaling_columnwise: bool | None = None
    weight_scaling_omega: float | None = None
    weight_scaling_columnwise: bool | None = None
    weight_scaling_lr_compensation: bool | None = None
    digital_bias: bool | None = None
    max_input_size: int | None = None
    max_output_size: int | None = None
    seeds: Seeds


class Layer(ABC):
    """A stage of a network: a function of a batch, and the gradient through it. This class is a stage without weights.

    A training `forward` keeps what the following `backward` needs. Arrays are float32, ``[batch, features]``.

    >>> import numpy as np, ohmgrad as og
    >>> class Half(og.nn.Layer):
    ...     def forward(self, x, training=True, noise=True):
    ...         return x * np.float32(0.5)
    ...
    ...     def backward(self, d):
    ...         return d * np.float32(0.5)
    >>> og.nn.Sequential(og.nn.Linear(2, 2, digital=True), Half()).on().predict(np.zeros((1, 2), np.float32)).shape
    (1, 2)
    """

    name: str | None = None

    def build(self, path: str, defaults: Defaults) -> Layer:
        """A fresh layer for the place `path` of a network; settings left unset come from `defaults`."""
        return type(self)()

    @abstractmethod
    def forward(self, x: NDArray[np.float32], training: bool = True, noise: bool = True) -> NDArray[np.float32]:
        """The layer's output for the batch `x`; without `noise` analog products draw none."""

    @abstractmethod
    def backward(self, d: NDArray[np.float32]) -> NDArray[np.float32]:
        """From `d`, the gradient of the loss with respect to the last training output, that for the input."""

    def _stage(self) -> Any:
        """What the core needs of this layer in a step of a whole network; `None`: only Python knows what it does."""
        return None

    def config(self) -> dict[str, Any]:
        """JSON-able values from which :meth:`from_config` builds the layer; `type` is the name of its class."""
        return {"type": type(self).__name__}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Build a layer from what :meth:`config` gave."""
        return cls()

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


def kept(value: T | None, before: str) -> T:
    """What a training forward kept, or an error saying what has to come first."""
    if value is None:
        raise RuntimeError(f"{before} needs a forward pass with training=True before it")
    return value
