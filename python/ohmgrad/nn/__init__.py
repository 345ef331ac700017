"""Networks of analog tiles: layers, activations, losses and the sequence that holds them.

Activations, losses, biases and scales are digital and run in the Rust core, so that a seed gives the same bits on
every machine; the products with the weights run on a :class:`ohmgrad.Tile`.
"""

from .activations import LogSoftmax as LogSoftmax
from .activations import ReLU as ReLU
from .activations import Sigmoid as Sigmoid
from .activations import Tanh as Tanh
from .base import Layer as Layer
from .linear import Linear as Linear
from .losses import MSE as MSE
from .losses import NLL as NLL
from .losses import CrossEntropy as CrossEntropy
from .losses import Loss as Loss
from .sequential import Sequential as Sequential

__all__ = [
    "MSE",
    "NLL",
    "CrossEntropy",
    "Layer",
    "Linear",
    "LogSoftmax",
    "Loss",
    "ReLU",
    "Sequential",
    "Sigmoid",
    "Tanh",
]
