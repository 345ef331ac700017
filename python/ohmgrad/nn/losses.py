"""Losses: each gives its mean over the batch and the gradient of that mean with respect to the network's output."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from .. import _core


class Loss(Protocol):
    """A loss is a callable ``(output, target) -> (mean loss, gradient of the mean loss)``.

    Shapes: output and gradient float32 ``[batch, outputs]``; the gradient already carries 1/batch.

    >>> import numpy as np
    >>> def absolute(y, target):
    ...     difference = y - target
    ...     return float(np.abs(difference).mean()), np.sign(difference) / np.float32(difference.size)
    >>> absolute(np.array([[1.0, 3.0]], np.float32), np.array([[1.0, 1.0]], np.float32))
    (1.0, array([[0. , 0.5]], dtype=float32))
    """

    def __call__(self, y: NDArray[np.float32], target: NDArray[Any]) -> tuple[float, NDArray[np.float32]]:
        """The loss of a batch and its gradient."""
        ...


class _Named:
    __slots__ = ()

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class NLL(_Named):
    """Negative log-likelihood ``-mean_b y[b, target_b]`` of log-probabilities (after :class:`LogSoftmax`).

    Targets: int64 class numbers, shape ``[batch]``; a number outside ``0..classes-1`` is a `ValueError`.

    >>> import numpy as np, ohmgrad as og
    >>> og.nn.NLL()(np.log(np.full((1, 4), 0.5, np.float32)), np.array([2]))[1]
    array([[ 0.,  0., -1.,  0.]], dtype=float32)
    """

    def __call__(self, y: NDArray[np.float32], target: NDArray[Any]) -> tuple[float, NDArray[np.float32]]:
        """The loss of a batch and its gradient."""
        return _core.nll(y, target)


class CrossEntropy(_Named):
    """:class:`NLL` of the log-softmax of logits, in one step; the default of ``fit``.

    Targets: int64 class numbers, shape ``[batch]``; a number outside ``0..classes-1`` is a `ValueError`.

    >>> import numpy as np, ohmgrad as og
    >>> loss, d = og.nn.CrossEntropy()(np.zeros((1, 4), np.float32), np.array([2]))
    >>> round(loss, 4), d
    (1.3863, array([[ 0.25,  0.25, -0.75,  0.25]], dtype=float32))
    """

    def __call__(self, y: NDArray[np.float32], target: NDArray[Any]) -> tuple[float, NDArray[np.float32]]:
        """The loss of a batch and its gradient."""
        return _core.cross_entropy(y, target)


class MSE(_Named):
    """Mean of ``(y - target)**2`` over all elements, as in PyTorch.

    Targets: float32 of the output's shape ``[batch, outputs]``.

    >>> import numpy as np, ohmgrad as og
    >>> og.nn.MSE()(np.array([[1.0, 3.0]], np.float32), np.array([[1.0, 1.0]], np.float32))
    (2.0, array([[0., 2.]], dtype=float32))
    """

    def __call__(self, y: NDArray[np.float32], target: NDArray[Any]) -> tuple[float, NDArray[np.float32]]:
        """The loss of a batch and its gradient."""
        return _core.mse(y, target)
