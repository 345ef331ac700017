"""Element-wise activations and log-softmax, computed by the Rust core: the same bits on every machine."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from .. import _core
from .base import Layer, kept


class _Activation(Layer):
    """An element-wise function whose slope follows from its output."""

    _kind: ClassVar[Literal["sigmoid", "tanh", "relu"]]

    def __init__(self) -> None:
        self._y: NDArray[np.float32] | None = None

    def forward(self, x: NDArray[np.float32], training: bool = True, noise: bool = True) -> NDArray[np.float32]:
        """The function of every element of `x`, shape ``[batch, features]``."""
        y = _core.activation(self._kind, x)
        if training:
            self._y = y
        return y

    def backward(self, d: NDArray[np.float32]) -> NDArray[np.float32]:
        """`d` times the slope at the last training input, shape ``[batch, features]``."""
        return _core.activation_grad(self._kind, kept(self._y, "backward"), d)

    def _stage(self) -> str:
        return self._kind


class Sigmoid(_Activation):
    """``y = 1 / (1 + exp(-x))``.

    >>> import numpy as np, ohmgrad as og
    >>> og.nn.Sigmoid().forward(np.zeros((1, 2), np.float32))
    array([[0.5, 0.5]], dtype=float32)
    """

    _kind = "sigmoid"


class Tanh(_Activation):
    """``y = tanh(x)``.

    >>> import numpy as np, ohmgrad as og
    >>> og.nn.Tanh().forward(np.zeros((1, 2), np.float32))
    array([[0., 0.]], dtype=float32)
    """

    _kind = "tanh"


class ReLU(_Activation):
    """``y = max(x, 0)``; the slope at 0 is 0.

    >>> import numpy as np, ohmgrad as og
    >>> og.nn.ReLU().forward(np.array([[-1.0, 2.0]], np.float32))
    array([[0., 2.]], dtype=float32)
    """

    _kind = "relu"


class LogSoftmax(Layer):
    """``y_i = x_i - log(sum_k exp(x_k))`` along the features; to be followed by the loss :class:`NLL`.

    >>> import numpy as np, ohmgrad as og
    >>> y = og.nn.LogSoftmax().forward(np.zeros((1, 4), np.float32))
    >>> [round(float(v), 4) for v in y[0]]
    [-1.3863, -1.3863, -1.3863, -1.3863]
    """

    def __init__(self) -> None:
        self._y: NDArray[np.float32] | None = None

    def forward(self, x: NDArray[np.float32], training: bool = True, noise: bool = True) -> NDArray[np.float32]:
        """Log-probabilities of logits, shape ``[batch, classes]``."""
        y = _core.log_softmax(x)
        if training:
            self._y = y
        return y

    def backward(self, d: NDArray[np.float32]) -> NDArray[np.float32]:
        """``d_i - exp(y_i) sum_k d_k`` at the last training output, shape ``[batch, classes]``."""
        return _core.log_softmax_grad(kept(self._y, "backward"), d)

    def _stage(self) -> str:
        return "log_softmax"
