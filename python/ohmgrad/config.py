"""Training runs described in TOML files: what ``ohmgrad train`` reads.

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

    [io]                             # fields of og.IO; preset = "kit" or "paper" to begin with
    [pulses]                         # fields of og.PulseTrain

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

import ast
import inspect
import json
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import MISSING, asdict, dataclass, fields
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from . import data, nn
from ._record import Registry, as_bool, as_int, as_rate, as_str, nearest, settings
from .algorithms import AnalogSGD, algorithms
from .callbacks import EarlyStop
from .data import Dataset
from .devices import Device, SoftBounds, models
from .io import IO
from .pulses import PulseTrain
from .seeds import Seeds
from .train import StepLR

Table = dict[str, Any]
Layers = tuple[tuple[type[nn.Layer], int | None, Table], ...]

_LAYERS = {
    name.lower(): cls
    for name in nn.__all__
    if isinstance(cls := getattr(nn, name), type) and issubclass(cls, nn.Layer) and cls is not nn.Layer
}
_LOSSES: dict[str, Callable[[], nn.Loss]] = {"cross_entropy": nn.CrossEntropy, "mse": nn.MSE, "nll": nn.NLL}
_DATA = ("digits", "mnist", "fashion_mnist", "cifar10", "cifar100", "npz")
_TABLES = "data", "model", "device", "algorithm", "io", "backward_io", "pulses", "train", "seeds"
_SEEDS = "device", "noise", "init", "order"
_TRAIN = "epochs", "batch_size", "lr", "loss", "seed", "shuffle", "checkpoint_every", "schedule", "early_stop"


class ConfigError(ValueError):
    """What is wrong in the description of a run; the message begins with the table, such as ``[train] epochs``."""


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
        with _place("model"):
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

    **Raises:** :class:`ConfigError`.
    """
    _known("", tables, (*_TABLES, "preset"))
    preset = _configuration(tables["preset"]) if "preset" in tables else {}
    given = {name: _table(name, tables.get(name, {})) for name in ("data", "model", "train", "seeds")}
    part, loaded = _data(given["data"], folder)
    layers, shown = _layers(given["model"].pop("layers", None))
    train, order = _train(given["train"], layers)
    with _place("seeds"):
        _known("seeds", given["seeds"], _SEEDS)
        seeds = dict.fromkeys(_SEEDS, order) | given["seeds"]
        seed = Seeds(**{name: seeds[name] for name in _SEEDS[:3]})
        _seed("order", seeds["order"])
    on = inspect.signature(nn.Sequential.on).parameters
    defaults = {"device": SoftBounds(), "algorithm": AnalogSGD(), "io": IO(), "pulses": PulseTrain()}
    objects = {
        name: decode(tables[name], name) if name in tables else preset.get(name, defaults.get(name))
        for name, decode in _OBJECTS.items()
        if name in on
    }
    objects = {name: value for name, value in objects.items() if value is not None}
    if unknown := [name for name in tables if name in _OBJECTS and name not in on]:
        raise ConfigError(f"[{unknown[0]}] networks have no such setting")
    _known("model", given["model"], ["layers", *(n for n in on if n not in (*_OBJECTS, "self", "seed"))])
    complete = {
        "data": part,
        "model": {"layers": shown} | given["model"],
        **{name: encode(value) for name, value in objects.items()},
        "train": train,
        "seeds": seeds,
    }
    with _place("model"):
        # A network of the same settings on one input finds mistakes before the data are loaded.
        nn.Sequential(nn.Linear(1, 1)).on(**objects, **given["model"], seed=seed)
    return RunConfig(
        tables=complete,
        parts=loaded,
        layers=layers,
        settings=objects | given["model"] | {"seed": seed},
        fit=_arguments(train) | {"seed": seeds["order"]},
    )


def device_of(text: str) -> Device:
    """A device from text: the name of a model or of a preset, or a name and literal settings; never code.

    **Raises:** `ValueError` or `TypeError` naming what is wrong.

    >>> device_of("SoftBounds(dw_min=0.002, w_min=-0.5)")
    SoftBounds(dw_min=0.002, w_min=-0.5)
    """
    made: Device = _named(models, _call(text), _presets(Device), "device")
    return made


def encode(value: Any) -> Any:
    """A device, an algorithm or a setting, or one per array, as tables that can be parsed again."""
    if isinstance(value, Mapping):
        return {name: encode(each) for name, each in value.items()}
    registry: Registry[Any] = (
        models if isinstance(value, Device) else settings if type(value).__name__ in settings.names() else algorithms
    )
    return _without_none(registry.encode(value))


def to_toml(tables: Mapping[str, Any]) -> str:
    """Tables of strings, numbers, booleans, lists and tables as TOML.

    >>> print(to_toml({"seed": 1, "train": {"lr": 0.1, "names": ["a", "b"], "stop": {"patience": 2}}}), end="")
    seed = 1
    <BLANKLINE>
    [train]
    lr = 0.1
    names = ["a", "b"]
    stop = { patience = 2 }
    """
    plain = [f"{_key(k)} = {_value(v)}\n" for k, v in tables.items() if not isinstance(v, Mapping)]
    parts = ["".join(plain)] if plain else []
    for name, table in tables.items():
        if isinstance(table, Mapping):
            parts.append(f"[{_key(name)}]\n" + "".join(f"{_key(k)} = {_value(v)}\n" for k, v in table.items()))
    return "\n".join(parts)


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _value(name)


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{_key(k)} = {_value(v)}" for k, v in value.items()) + " }" if value else "{}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_value, value)) + "]"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return repr(value).lower() if isinstance(value, bool) else repr(value)


@contextmanager
def _place(name: str) -> Iterator[None]:
    """Errors in here say which table they are about."""
    try:
        yield
    except ConfigError:
        raise
    except (ValueError, TypeError) as error:
        raise ConfigError(f"[{name}] {error}") from error


def _single(values: Table) -> Any:
    if len(values) != 1:
        raise ConfigError(f"one value is needed, got {len(values)}")
    return values["value"]


def _known(place: str, table: Mapping[str, Any], names: Any) -> None:
    for key in table:
        if key not in names:
            where = f"[{place}] " if place else ""
            raise ConfigError(f"{where}unknown key {key!r}; known: {', '.join(names)}{nearest(key, names)}")


def _table(place: str, value: Any) -> Table:
    if not isinstance(value, Mapping):
        raise ConfigError(f"[{place}] must be a table, got {value!r}")
    return dict(value)


def _choice(place: str, value: Any, names: Any) -> str:
    if not isinstance(value, str) or value not in names:
        raise ConfigError(f"[{place}] must be one of {', '.join(names)}, got {value!r}{nearest(value, names)}")
    return value


def _without_none(table: Any) -> Any:
    """TOML has no null: a setting that is None is left out, which is what it is by default."""
    if isinstance(table, Mapping):
        return {k: _without_none(v) for k, v in table.items() if v is not None}
    return [_without_none(v) for v in table] if isinstance(table, list | tuple) else table


# ---- devices, algorithms, settings


def _call(text: str) -> Table:
    """``Name`` or ``Name(field=literal, ...)`` as a table."""
    try:
        call = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        call = None
    if isinstance(call, ast.Name):
        call = ast.Call(func=call, args=[], keywords=[])
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name) or call.args:
        raise ValueError(f"a device is written like SoftBounds(dw_min=0.002, w_max=1), got {text!r}")
    made: Table = {}
    for setting in call.keywords:
        try:
            if setting.arg is None:
                raise ValueError
            made[setting.arg] = ast.literal_eval(setting.value)
        except ValueError:
            raise ValueError(f"settings are plain numbers, True, False, lists or texts, got {text!r}") from None
    return made | {"type": call.func.id}


def _presets(kind: type[Any]) -> dict[str, Callable[..., Any]]:
    """Functions that make settings of a kind by name: class methods of the kind, and those of og.presets."""
    made = {name: getattr(kind, name) for name, method in vars(kind).items() if isinstance(method, classmethod)}
    if kind is Device and find_spec("ohmgrad.presets"):
        module = import_module("ohmgrad.presets")
        made |= {name: f for name in module.__all__ if isinstance((f := getattr(module, name))(), Device)}
    return {name: f for name, f in made.items() if not name.startswith("_")}


def _configuration(name: Any) -> Table:
    """The settings of a device with an algorithm in og.presets."""
    names: tuple[str, ...] = ()
    if find_spec("ohmgrad.presets"):
        module = import_module("ohmgrad.presets")
        names = module.configurations()
        if name in names:
            return dict(getattr(module, name)())
    raise ConfigError(f"unknown preset {name!r}; known: {', '.join(names) or 'none'}{nearest(name, names)}")


def _named(registry: Registry[Any], table: Table, presets: Mapping[str, Callable[..., Any]], place: str) -> Any:
    """What a table with ``type`` or ``preset`` describes; in either, a preset's name is as good as a class's."""
    name = table.pop("preset", None) or table.pop("type", None)
    if isinstance(name, str) and name in presets:
        return presets[name](**_nested(type(presets[name]()), table, place))
    if not isinstance(name, str) or name not in registry.names():
        known = [*registry.names(), *presets]
        raise ValueError(f"unknown {registry.kind} {name!r}; known: {', '.join(known)}{nearest(name, known)}")
    return registry.decode({"type": name} | _nested(registry[name], table, place))


def _nested(cls: type[Any], table: Table, place: str) -> Table:
    """The fields of a class, those that are settings themselves made from their tables."""
    made, names = {}, [f.name for f in fields(cls) if f.init]
    for key, value in table.items():
        if key not in names:
            raise ValueError(
                f"{cls.__name__} has no field {key!r}; its fields are {', '.join(names)}{nearest(key, names)}"
            )
        annotation = next(str(f.type) for f in fields(cls) if f.name == key)
        kind = next((name for name in settings.names() if re.search(rf"\b{name}\b", annotation)), None)
        made[key] = (
            value if kind is None or not isinstance(value, str | Mapping) else _setting(kind, value, f"{place}.{key}")
        )
    return made


def _setting(kind: str, value: Any, place: str) -> Any:
    """A setting of a registered kind from its fields; text names a preset."""
    with _place(place):
        cls = settings[kind]
        table = {"preset": value} if isinstance(value, str) else _table(place, value)
        presets = _presets(cls)
        if "preset" in table:
            name = _choice(f"{place}.preset", table.pop("preset"), list(presets))
            return presets[name](**_nested(cls, table, place))
        if as_str("type", table.pop("type", kind)) != kind:
            raise ValueError(f"type must be {kind!r}")
        return cls(**_nested(cls, table, place))


def _one_device(value: Any, place: str) -> Device:
    with _place(place):
        table = _call(value) if isinstance(value, str) else _table(place, value)
        if not {"type", "preset"} & set(table):
            raise ValueError("type is missing, such as type = 'SoftBounds'")
        made: Device = _named(models, table, _presets(Device), place)
        return made


def _device(value: Any, place: str) -> Device | dict[str, Device]:
    per_array = isinstance(value, Mapping) and value and not {"type", "preset"} & set(value)
    if per_array and all(isinstance(each, str | Mapping) for each in value.values()):
        return {name: _one_device(each, f"{place}.{name}") for name, each in value.items()}
    return _one_device(value, place)


def _algorithm(value: Any, place: str) -> Any:
    with _place(place):
        table = _call(value) if isinstance(value, str) else _table(place, value)
        if "type" not in table:
            raise ValueError("type is missing, such as type = 'TikiTaka'")
        return _named(algorithms, table, {}, place)


_OBJECTS: dict[str, Callable[[Any, str], Any]] = {
    "device": _device,
    "algorithm": _algorithm,
    "io": lambda value, place: _setting("IO", value, place),
    "backward_io": lambda value, place: _setting("IO", value, place),
    "pulses": lambda value, place: _setting("PulseTrain", value, place),
}


# ---- data, layers, training


def _data(table: Table, folder: Path) -> tuple[Table, Callable[[], dict[str, Dataset]]]:
    """The complete table, and the function that loads the data."""
    name = _choice("data.name", table.pop("name", "digits"), _DATA)
    validation = table.pop("validation", None)
    with _place("data"):
        if name == "npz":
            return _npz(table, validation, folder)
        if name == "digits" and isinstance(validation, bool):
            own, validation = validation, None
        else:
            own, validation = False, _vectors(validation)
        load = getattr(data, name)
        options = _options(load, table, folder, "data", ("validation",))
        shown = {"name": name} | options | ({"validation": validation or own} if validation or own else {})

    def parts() -> dict[str, Dataset]:
        if own:
            return dict(zip(("train", "validation", "test"), data.digits(validation=True), strict=True))
        made = dict(zip(("train", "test"), load(**options), strict=True))
        return _held_out(made, validation)

    return shown, parts


def _npz(table: Table, validation: Any, folder: Path) -> tuple[Table, Callable[[], dict[str, Dataset]]]:
    """Every part is a table with the arguments of og.data.npz."""
    files = {"train": None, "test": None, "validation": validation} | table
    _known("data", files, ("name", "train", "test", "validation"))
    held = None if isinstance(files["validation"], Mapping) else _vectors(files.pop("validation"))
    options = {}
    for part, each in files.items():
        if each is not None or part == "train":
            if not isinstance(each, Mapping):
                raise ConfigError(f"[data.{part}] must be a table such as {{ path = 'train.npz' }}, got {each!r}")
            options[part] = _options(data.npz, each, folder, f"data.{part}", ())
    shown: Table = {"name": "npz", **options} | ({"validation": held} if held else {})
    return shown, lambda: _held_out({part: data.npz(**each) for part, each in options.items()}, held)


def _vectors(n: Any) -> int | None:
    if n is None:
        return None
    if as_int("validation", n) < 1:
        raise ValueError(f"validation must be a number of vectors, >= 1, got {n}")
    return int(n)


def _held_out(parts: dict[str, Dataset], n: int | None) -> dict[str, Dataset]:
    if n is None:
        return parts
    with _place("data.validation"):
        train, validation = parts["train"].split(len(parts["train"]) - n)
    return parts | {"train": train, "validation": validation}


def _options(load: Callable[..., Any], table: Mapping[str, Any], folder: Path, place: str, own: Any) -> Table:
    """Arguments of a function that loads data: those given, and the defaults of the others but None."""
    known = {name: p for name, p in inspect.signature(load).parameters.items() if name not in own}
    _known(place, table, [*known, *own])
    made: Table = {}
    for name, parameter in known.items():
        if name not in table and parameter.default is parameter.empty:
            raise ConfigError(f"[{place}] {name} is missing")
        value = table.get(name, parameter.default)
        check = {"folder": as_str, "path": as_str, "normalize": as_bool, "limit": as_int}.get(name)
        if value is not None:
            made[name] = value if check is None else check(name, value)
        if name in ("folder", "path"):
            made[name] = str((folder / made[name]).resolve())
    return made


def _layers(value: Any) -> tuple[Layers, list[Any]]:
    """Each layer's class, width and arguments; and the layers as they are shown."""
    if not isinstance(value, list) or not value:
        raise ConfigError(f"[model] layers must be a list such as ['linear 10', 'log_softmax'], got {value!r}")
    made, shown = list[tuple[type[nn.Layer], int | None, Table]](), list[Any]()
    for position, each in enumerate(value):
        place = f"model.layers[{position}]"
        with _place(place):
            cls, d_out, options = _layer(place, each)
            if d_out is None:
                made.append((cls, d_out, options))
                shown.append(each.strip())
                continue
            decoded = {
                name: _OBJECTS[name](option, f"{place}.{name}") if name in _OBJECTS else option
                for name, option in options.items()
            }
            nn.Linear(1, d_out, **decoded)
            made.append((cls, d_out, decoded))
            text = {name: encode(v) if name in _OBJECTS else v for name, v in decoded.items()}
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
        _known(place, options, ["linear", *(name for name in known if name not in ("d_in", "d_out"))])
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


def _train(table: Table, layers: Layers) -> tuple[Table, int]:
    """The complete table, without its seed, and the seed."""
    _known("train", table, _TRAIN)
    loss = "nll" if layers[-1][0] is nn.LogSoftmax else "cross_entropy"
    made = {"epochs": 10, "batch_size": 10, "lr": 0.1, "loss": loss, "shuffle": True, "seed": 0} | table
    with _place("train"):
        for name in ("epochs", "batch_size", *(name for name in ("checkpoint_every",) if name in table)):
            if as_int(name, made[name]) < 1:
                raise ValueError(f"{name} must be >= 1, got {made[name]}")
        as_rate("lr", made["lr"])
        as_bool("shuffle", made["shuffle"])
        seed = _seed("seed", made.pop("seed"))
    _choice("train.loss", made["loss"], _LOSSES)
    arguments = _arguments(made)
    if "schedule" in made:
        made["schedule"] = {name: v for name, v in asdict(arguments["lr"]).items() if name != "lr"}
    if "early_stop" in made:
        made["early_stop"] = asdict(arguments["callbacks"][0])
    return made, seed


def _arguments(train: Table) -> Table:
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
    table, known = _table(place, value), {f.name: f for f in fields(cls) if f.name not in own}
    _known(place, table, known)
    with _place(place):
        if missing := [name for name, f in known.items() if f.default is MISSING and name not in table]:
            raise ValueError(f"{missing[0]} is missing")
        return cls(**own, **table)


def _seed(name: str, value: Any) -> int:
    seed = as_int(name, value)
    if not 0 <= seed < 1 << 64:
        raise ValueError(f"{name} must be >= 0 and < 2**64, got {seed}")
    return seed
