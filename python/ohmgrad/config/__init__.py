"""Training runs described in TOML files: what ``ohmgrad train`` reads.

    imports = ["my_algorithm.py"]    # code of yours that registers algorithms: files from here, or installed modules
    preset = "tiki_taka_reram_sb"    # a device with an algorithm (og.presets), instead of or below the tables

    [data]                           # a function of og.data and its arguments; folders count from this file
    name = "mnist"                   # digits, mnist, fashion_mnist, cifar10, cifar100, npz
    folder = "data/mnist"
    validation = 5000                # that many vectors from the end of the training part; digits: true, its own part

    [model]                          # layers from the inputs on, and the settings of og.nn.Sequential.on
    layers = ["linear 256", "sigmoid", { linear = 10, digital = true, name = "out" }, "log_softmax"]
    learn_out_scaling = true

    [device]                         # a class of og.devices and its fields; or preset = "reram_sb" and its overrides;
    type = "SoftBounds"              # or one table for each array: [device.fast], [device.slow]
    dw_min = 0.002

    [algorithm]                      # a registered algorithm and its fields
    type = "TikiTaka"
    transfer_io = { preset = "kit", out_noise = 0.0 }

    [io]                             # fields of og.IO; preset = "kit", "kit_device", "standard", "paper" to begin with
    [backward_io]                    # the same for the backward product, if it is to differ
    [pulses]                         # fields of og.PulseTrain; preset = "unmanaged" or "single"

    [train]                          # arguments of og.fit
    epochs = 30
    batch_size = 10
    lr = 0.05
    loss = "nll"                     # nll (default after log_softmax), cross_entropy (default), mse
    seed = 0                         # of everything; [seeds] device, noise, init, order: one by one
    shuffle = true
    checkpoint_every = 1000          # mini-batches; always after an epoch
    schedule = { step_size = 10, gamma = 0.5 }
    early_stop = { metric = "validation_loss", patience = 5, min_delta = 0.0 }

A layer may have its own ``device``, ``algorithm``, ``io`` and ``pulses``. Text stands for a table where the name is all
or the fields are few: ``device = "SoftBounds(dw_min=0.002)"``, ``io = "kit"``. What is left out has the package's
defaults; without ``[data]`` a run trains on the bundled digits.
"""

from __future__ import annotations

import inspect
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import nn
from ..algorithms import AnalogSGD
from ..data import Dataset
from ..devices import SoftBounds
from ..io import IO
from ..pulses import PulseTrain
from ..seeds import Seeds
from ..tile import Tile
from ._check import ConfigError, Table, only_known, place_of, table_of
from ._data import data_of
from ._imports import imports_of
from ._network import Layers, arguments_of, layers_of, seed_of, train_of
from ._objects import OBJECTS, configuration_of, device_of, encode
from ._toml import to_toml

__all__ = ["ConfigError", "RunConfig", "change", "device_of", "encode", "parse", "read", "to_toml"]

_TABLES = "data", "model", "device", "algorithm", "io", "backward_io", "pulses", "train", "seeds"
_SEEDS = "device", "noise", "init", "order"


@dataclass(frozen=True, kw_only=True, slots=True)
class RunConfig:
    """A training run, every setting checked. Make one with :func:`read` or :func:`parse`.

    - `tables`: the complete description, defaults included; :func:`to_toml` writes it, and it parses to the same run.
    - `parts`: loads the data: a function that gives `train`, and `validation` and `test` where there are such.
    - `layers`, `settings`: each layer's class, width (`None` if it has no weights) and arguments; what
      :meth:`ohmgrad.nn.Sequential.on` takes.
    - `fit`: keyword arguments for :func:`ohmgrad.fit`.

    >>> import ohmgrad as og
    >>> from ohmgrad.config import parse
    >>> run = parse({"model": {"layers": ["linear 10"]}, "device": "SoftBounds(dw_min=0.01)", "train": {"epochs": 1}})
    >>> parts = run.parts()
    >>> history = og.fit(run.model(parts["train"]), **parts, **run.fit)
    >>> history["test_accuracy"][-1] > 0.7
    True
    """

    tables: Table
    parts: Callable[[], dict[str, Dataset]]
    layers: Layers
    settings: Table
    fit: Table

    def model(self, train: Dataset) -> nn.Sequential:
        """A fresh network for the features of `train`, with weights on tiles."""
        width, made = train.x.shape[1], list[nn.Layer]()
        for cls, d_out, options in self.layers:
            made.append(cls() if d_out is None else nn.Linear(width, d_out, **options))
            width = width if d_out is None else d_out
        with place_of("model"):
            return nn.Sequential(*made).on(**self.settings)


def read(path: str | Path, changes: Iterable[str] = (), seed: int | None = None) -> RunConfig:
    """The run in a TOML file, with `changes` such as ``"train.lr=0.1"`` (see :func:`change`).

    `seed` replaces all seeds of the file.

    **Raises:** `OSError`; :class:`ConfigError` naming the table, the key, the value and what is allowed.
    """
    path = Path(path)
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(f"{path}: no TOML: {error}") from error
    for text in changes:
        change(tables, text)
    if seed is not None:
        tables.pop("seeds", None)
        change(tables, f"train.seed={seed}")
    try:
        return parse(tables, path.parent)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


def change(tables: Table, text: str) -> None:
    """Set one key of a description in place: ``table.key=value`` with a value of TOML, or plain text.

    >>> tables = {"train": {"lr": 0.1}}
    >>> change(tables, "train.lr=0.2"); change(tables, "device.type=SoftBounds")
    >>> tables
    {'train': {'lr': 0.2}, 'device': {'type': 'SoftBounds'}}
    """
    key, equals, value = text.partition("=")
    path = [part.strip() for part in key.split(".")]
    if not equals or not all(path):
        raise ConfigError(f"a change is written like train.lr=0.1, got {text!r}")
    for name in path[:-1]:
        tables = tables.setdefault(name, {})
        if not isinstance(tables, dict):
            raise ConfigError(f"{text}: {name} is no table, but {tables!r}; replace it as a whole")
    try:
        tables[path[-1]] = _single(tomllib.loads(f"value = {value}"))
    except (tomllib.TOMLDecodeError, RecursionError):
        tables[path[-1]] = value.strip()


def parse(tables: Mapping[str, Any], folder: Path = Path()) -> RunConfig:
    """The run that tables as on this page describe; relative paths in them count from `folder`.

    **Raises:** :class:`ConfigError` naming the table, the key, the value and what is allowed.

    >>> run = parse({"model": {"layers": ["linear 10"]}, "device": "ecram", "train": {"epochs": 3}})
    >>> run.fit["epochs"], run.settings["device"].dw_min
    (3, 0.002)
    >>> parse({"model": {"layers": ["linear 10"]}, "train": {"epochs": 0}})
    Traceback (most recent call last):
    ohmgrad.config._check.ConfigError: [train] epochs must be >= 1, got 0
    """
    only_known("", tables, ("imports", *_TABLES, "preset"))
    imports = imports_of(tables.get("imports", []), folder)
    preset = configuration_of(tables["preset"]) if "preset" in tables else {}
    given = {name: table_of(name, tables.get(name, {})) for name in ("data", "model", "train", "seeds")}
    part, loaded = data_of(given["data"], folder)
    layers, shown = layers_of(given["model"].pop("layers", None))
    train, order = train_of(given["train"], layers)
    with place_of("seeds"):
        only_known("seeds", given["seeds"], _SEEDS)
        seeds = dict.fromkeys(_SEEDS, order) | given["seeds"]
        seed = Seeds(**{name: seeds[name] for name in _SEEDS[:3]})
        seed_of("order", seeds["order"])
    on = inspect.signature(nn.Sequential.on).parameters
    defaults = {"device": SoftBounds(), "algorithm": AnalogSGD(), "io": IO(), "pulses": PulseTrain()}
    objects: Table = {
        name: decode(tables[name], name) if name in tables else preset.get(name, defaults.get(name))
        for name, decode in OBJECTS.items()
        if name in on
    }
    objects = {name: value for name, value in objects.items() if value is not None}
    if unknown := [name for name in tables if name in OBJECTS and name not in on]:
        raise ConfigError(f"[{unknown[0]}] networks have no such setting")
    only_known("model", given["model"], ["layers", *(n for n in on if n not in (*OBJECTS, "self", "seed"))])
    complete = {
        **({"imports": imports} if imports else {}),
        "data": part,
        "model": {"layers": shown} | given["model"],
        **{name: encode(value) for name, value in objects.items()},
        "train": train,
        "seeds": seeds,
    }
    # What does not fit together shows before the data are loaded.
    with place_of("model"):
        nn.Linear(1, 1, **given["model"])
    for position, (_, width, options) in enumerate(layers):
        if width is not None and not options.get("digital"):
            with place_of(f"model.layers[{position}]"):
                Tile(1, 1, **(objects | {name: v for name, v in options.items() if name in OBJECTS}), seed=seed)
    if "early_stop" in train:
        measured = train["early_stop"]["metric"].rpartition("_")[0]
        names = set(part) if part["name"] == "npz" else {"train", "test", *part}
        if measured not in names & {"train", "test", "validation"}:
            raise ConfigError(f"[train.early_stop] metric {train['early_stop']['metric']!r}: no such data, see [data]")
    return RunConfig(
        tables=complete,
        parts=loaded,
        layers=layers,
        settings=objects | given["model"] | {"seed": seed},
        fit=arguments_of(train) | {"seed": seeds["order"]},
    )


def _single(values: Table) -> Any:
    if len(values) != 1:
        raise ConfigError(f"one value is needed, got {len(values)}")
    return values["value"]
