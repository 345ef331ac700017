"""The layers in ``[model]``, and the table ``[train]``."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import MISSING, asdict, fields
from typing import Any

from .. import nn
from .._record import as_bool, as_int, as_rate, nearest
from ..callbacks import EarlyStop
from ..train import StepLR
from ._check import ConfigError, Table, choice, only_known, place_of, table_of
from ._objects import OBJECTS, encode

Layers = tuple[tuple[type[nn.Layer], int | None, Table], ...]
_LAYERS = {
    name.lower(): cls
    for name in nn.__all__
    if isinstance(cls := getattr(nn, name), type) and issubclass(cls, nn.Layer) and cls is not nn.Layer
}
_LOSSES: dict[str, Callable[[], nn.Loss]] = {"cross_entropy": nn.CrossEntropy, "mse": nn.MSE, "nll": nn.NLL}
_TRAIN = "epochs", "batch_size", "lr", "loss", "seed", "shuffle", "checkpoint_every", "schedule", "early_stop"


def layers_of(value: Any) -> tuple[Layers, list[Any]]:
    """Each layer's class, width and arguments; and the layers as they are shown."""
    if not isinstance(value, list) or not value:
        raise ConfigError(f"[model] layers must be a list such as ['linear 10', 'log_softmax'], got {value!r}")
    made, shown = list[tuple[type[nn.Layer], int | None, Table]](), list[Any]()
    for position, each in enumerate(value):
        place = f"model.layers[{position}]"
        with place_of(place):
            cls, d_out, options = _layer(place, each)
            if d_out is None:
                made.append((cls, d_out, options))
                shown.append(each.strip())
                continue
            decoded = {
                name: OBJECTS[name](option, f"{place}.{name}") if name in OBJECTS else option
                for name, option in options.items()
            }
            nn.Linear(1, d_out, **decoded)
            made.append((cls, d_out, decoded))
            text = {name: encode(v) if name in OBJECTS else v for name, v in decoded.items()}
            shown.append({"linear": d_out} | text if text else f"linear {d_out}")
    return tuple(made), shown


def _layer(place: str, value: Any) -> tuple[type[nn.Layer], int | None, Table]:
    """Text such as ``linear 10`` or ``tanh``, or a table such as ``{linear = 10, bias = false}``."""
    options: Table = {}
    if isinstance(value, Mapping):
        options = dict(value)
        if "linear" not in options:
            raise ValueError(f"a table is for a layer with weights, such as {{ linear = 10, bias = false }}: {value!r}")
        word, numbers = "linear", [options.pop("linear")]
        known = inspect.signature(nn.Linear).parameters
        only_known(place, options, ["linear", *(name for name in known if name not in ("d_in", "d_out"))])
    elif isinstance(value, str) and value.split():
        word, *numbers = value.split()
        numbers = [int(n) if re.fullmatch(r"[0-9]{1,9}", n) else n for n in numbers]
    else:
        raise ValueError(f"a layer is text such as 'linear 10' or a table, got {value!r}")
    cls = _LAYERS.get(word.lower().replace("_", ""))
    if cls is None:
        names = ["linear", "sigmoid", "tanh", "relu", "log_softmax"]
        raise ValueError(f"unknown layer {word!r}; known: {', '.join(names)}{nearest(word, names)}")
    if cls is not nn.Linear:
        if numbers:
            raise ValueError(f"{word} takes no number, got {value!r}")
        return cls, None, {}
    if len(numbers) != 1:
        raise ValueError(f"linear takes its number of outputs, such as 'linear 10', got {value!r}")
    return cls, as_int("d_out", numbers[0]), options


def train_of(table: Table, layers: Layers) -> tuple[Table, int]:
    """The complete table, without its seed, and the seed."""
    only_known("train", table, _TRAIN)
    loss = "nll" if layers[-1][0] is nn.LogSoftmax else "cross_entropy"
    made = {"epochs": 10, "batch_size": 10, "lr": 0.1, "loss": loss, "shuffle": True, "seed": 0} | table
    with place_of("train"):
        for name in ("epochs", "batch_size", *(name for name in ("checkpoint_every",) if name in table)):
            if as_int(name, made[name]) < 1:
                raise ValueError(f"{name} must be >= 1, got {made[name]}")
        as_rate("lr", made["lr"])
        as_bool("shuffle", made["shuffle"])
        seed = seed_of("seed", made.pop("seed"))
    choice("train.loss", made["loss"], _LOSSES)
    arguments = arguments_of(made)
    if "schedule" in made:
        made["schedule"] = {name: v for name, v in asdict(arguments["lr"]).items() if name != "lr"}
    if "early_stop" in made:
        made["early_stop"] = asdict(arguments["callbacks"][0])
    return made, seed


def arguments_of(train: Table) -> Table:
    """Keyword arguments of og.fit from the complete table."""
    made = {
        name: train[name] for name in ("epochs", "batch_size", "lr", "shuffle", "checkpoint_every") if name in train
    }
    if "schedule" in train:
        made["lr"] = _object(StepLR, "train.schedule", train["schedule"], lr=train["lr"])
    stop = [_object(EarlyStop, "train.early_stop", train["early_stop"])] if "early_stop" in train else []
    return made | {"loss": _LOSSES[train["loss"]](), "callbacks": stop}


def _object(cls: type[Any], place: str, value: Any, **own: Any) -> Any:
    """A dataclass from the table of its fields; `own` are those that come from elsewhere."""
    table, known = table_of(place, value), {f.name: f for f in fields(cls) if f.name not in own}
    only_known(place, table, known)
    with place_of(place):
        if missing := [name for name, f in known.items() if f.default is MISSING and name not in table]:
            raise ValueError(f"{missing[0]} is missing")
        return cls(**own, **table)


def seed_of(name: str, value: Any) -> int:
    seed = as_int(name, value)
    if not 0 <= seed < 1 << 64:
        raise ValueError(f"{name} must be >= 0 and < 2**64, got {seed}")
    return seed
