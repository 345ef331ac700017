"""ohmgrad: training neural networks on analog crossbars of non-ideal resistive elements.

>>> import ohmgrad as og
>>> tile = og.Tile(2, 3, device=og.devices.SoftBounds(dw_min=0.002), algorithm=og.TikiTaka(gamma=0.4), seed=0)
>>> tile.forward([1.0, 0.0, 0.0])
array([0., 0.], dtype=float32)

Everything is loaded when it is first used: ``import ohmgrad`` itself is quick.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import algorithms as algorithms
    from . import config as config
    from . import curves as curves
    from . import data as data
    from . import devices as devices
    from . import nn as nn
    from . import presets as presets
    from . import response as response
    from . import theory as theory
    from . import train as train
    from .algorithms import AGAD as AGAD
    from .algorithms import ERIDER as ERIDER
    from .algorithms import AnalogSGD as AnalogSGD
    from .algorithms import ChoppedTikiTakaV2 as ChoppedTikiTakaV2
    from .algorithms import DigitalSGD as DigitalSGD
    from .algorithms import MixedPrecision as MixedPrecision
    from .algorithms import MultiTileResidualLearning as MultiTileResidualLearning
    from .algorithms import ResidualLearning as ResidualLearning
    from .algorithms import ResidualLearningV2 as ResidualLearningV2
    from .algorithms import TikiTaka as TikiTaka
    from .algorithms import TikiTakaV2 as TikiTakaV2
    from .calibration import ZeroShift as ZeroShift
    from .checkpoint import load as load
    from .checkpoint import save as save
    from .io import IO as IO
    from .pulses import PulseTrain as PulseTrain
    from .seeds import Seeds as Seeds
    from .tile import Tile as Tile
    from .train import History as History
    from .train import evaluate as evaluate
    from .train import fit as fit

    __version__: str

_MODULES = ("algorithms", "config", "curves", "data", "devices", "nn", "presets", "response", "theory", "train")
_HOMES = {
    "AGAD": "algorithms",
    "ChoppedTikiTakaV2": "algorithms",
    "ERIDER": "algorithms",
    "MixedPrecision": "algorithms",
    "MultiTileResidualLearning": "algorithms",
    "ResidualLearningV2": "algorithms",
    "TikiTakaV2": "algorithms",
    "AnalogSGD": "algorithms",
    "DigitalSGD": "algorithms",
    "History": "train",
    "IO": "io",
    "PulseTrain": "pulses",
    "ResidualLearning": "algorithms",
    "Seeds": "seeds",
    "TikiTaka": "algorithms",
    "Tile": "tile",
    "ZeroShift": "calibration",
    "evaluate": "train",
    "fit": "train",
    "load": "checkpoint",
    "save": "checkpoint",
}

__all__ = [
    "AGAD",
    "ERIDER",
    "IO",
    "AnalogSGD",
    "ChoppedTikiTakaV2",
    "DigitalSGD",
    "History",
    "MixedPrecision",
    "MultiTileResidualLearning",
    "PulseTrain",
    "ResidualLearning",
    "ResidualLearningV2",
    "Seeds",
    "TikiTaka",
    "TikiTakaV2",
    "Tile",
    "ZeroShift",
    "__version__",
    "algorithms",
    "config",
    "curves",
    "data",
    "devices",
    "evaluate",
    "fit",
    "load",
    "nn",
    "presets",
    "response",
    "save",
    "theory",
    "threads",
    "train",
]


def threads(n: int | None = None) -> int:
    """Number of threads that tiles use; ``n >= 1`` sets it first. The results do not depend on it.

    The default is the number of cores this process may use. ValueError outside 1 to 1024, TypeError if
    it is no integer.
    """
    from . import _core
    from ._record import as_int

    if n is not None:
        if not 1 <= as_int("threads", n) <= 1024:
            raise ValueError(f"threads must be 1 to 1024, got {n}")
        _core.set_threads(n)
    return _core.threads()


def __getattr__(name: str) -> Any:
    value: Any
    if name in _MODULES:
        value = import_module(f".{name}", __name__)
    elif name in _HOMES:
        value = getattr(import_module(f".{_HOMES[name]}", __name__), name)
    elif name == "__version__":
        value = import_module("._core", __name__).info()["version"]
    else:
        raise AttributeError(f"module 'ohmgrad' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
