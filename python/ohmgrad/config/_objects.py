"""Devices, algorithms and settings from tables or text, and back."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

from .. import presets
from .._record import Registry, as_str, nearest, settings
from ..algorithms import algorithms
from ..devices import Cell, Device, models
from ._check import ConfigError, Table, choice, place_of, table_of


def device_of(text: str) -> Device:
    """A device from text: the name of a model or of a preset, or a name and literal settings; never code.

    **Raises:** `ValueError` or `TypeError` naming what is wrong.

    >>> device_of("SoftBounds(dw_min=0.002, w_min=-0.5)")
    SoftBounds(dw_min=0.002, w_min=-0.5)
    """
    made = _one_device(text, "device")
    if not isinstance(made, Device):
        raise ValueError(f"{type(made).__name__} is a cell of several devices, and one device is needed here")
    return made


def encode(value: Any) -> Any:
    """A device, an algorithm or a setting, or one per array, as tables that can be parsed again."""
    if isinstance(value, Mapping):
        return {name: encode(each) for name, each in value.items()}
    setting = type(value).__name__ in settings.names()
    registry: Registry[Any] = models if isinstance(value, Device | Cell) else settings if setting else algorithms
    return _without_none(registry.encode(value))


def _without_none(table: Any) -> Any:
    """TOML has no null: a setting that is None is left out, which is what it is by default."""
    if isinstance(table, Mapping):
        return {k: _without_none(v) for k, v in table.items() if v is not None}
    return [_without_none(v) for v in table] if isinstance(table, list | tuple) else table


def configuration_of(name: Any) -> Table:
    """The settings of a device with an algorithm in og.presets."""
    names = presets.configurations()
    if name not in names:
        raise ConfigError(f"unknown preset {name!r}; known: {', '.join(names)}{nearest(name, names)}")
    return dict(getattr(presets, name)())


def _call(text: str) -> Table:
    """``Name`` or ``Name(field=literal, ...)`` as a table; a literal may be such a thing again."""
    if re.fullmatch(r"[\w-]+", text.strip()):
        return {"type": text.strip()}
    try:
        call = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        call = None
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name) or call.args:
        raise ValueError(f"a device or an algorithm is written like SoftBounds(dw_min=0.002, w_max=1), got {text!r}")
    try:
        made: Table = _literal(call)
    except (ValueError, RecursionError):
        raise ValueError(f"settings are plain numbers, True, False, lists or texts, got {text!r}") from None
    return made


def _literal(node: ast.expr) -> Any:
    if isinstance(node, ast.List | ast.Tuple):
        return [_literal(each) for each in node.elts]
    if isinstance(node, ast.Name):
        return {"type": node.id}
    if not isinstance(node, ast.Call):
        return ast.literal_eval(node)
    names = [setting.arg for setting in node.keywords]
    if not isinstance(node.func, ast.Name) or node.args or None in names:
        raise ValueError
    return {"type": node.func.id} | {str(s.arg): _literal(s.value) for s in node.keywords}


def _presets(kind: type[Any]) -> dict[str, Callable[..., Any]]:
    """Functions that make settings of a kind by name: class methods of the kind; for devices, those of og.presets."""
    made = {name: getattr(kind, name) for name, method in vars(kind).items() if isinstance(method, classmethod)}
    if kind is Device:
        made |= {name: f for name in presets.__all__ if isinstance((f := getattr(presets, name))(), Device)}
    return {name: f for name, f in made.items() if not name.startswith("_")}


def _named(registry: Registry[Any], table: Table, makers: Mapping[str, Callable[..., Any]], place: str) -> Any:
    """What a table with ``type`` or ``preset`` describes; in either, a preset's name is as good as a class's."""
    name = table.pop("preset", None) or table.pop("type", None)
    if isinstance(name, str) and name in makers:
        return makers[name](**_nested(type(makers[name]()), table, place))
    if not isinstance(name, str) or name not in registry.names():
        known = [*registry.names(), *makers]
        raise ValueError(f"unknown {registry.kind} {name!r}; known: {', '.join(known)}{nearest(name, known)}")
    return registry.decode({"type": name} | _nested(registry[name], table, place))


def _nested(cls: type[Any], table: Table, place: str) -> Table:
    """The fields of a class, those that are settings themselves made from their tables."""
    made: Table = {}
    names = [f.name for f in fields(cls) if f.init]
    for key, value in table.items():
        if key not in names:
            raise ValueError(
                f"{cls.__name__} has no field {key!r}; its fields are {', '.join(names)}{nearest(key, names)}"
            )
        annotation = next(str(f.type) for f in fields(cls) if f.name == key)
        kind = next((name for name in settings.names() if re.search(rf"\b{name}\b", annotation)), None)
        if "Device" in annotation:
            made[key] = (
                tuple(_one_device(each, f"{place}.{key}[{i}]") for i, each in enumerate(value))
                if isinstance(value, list)
                else _one_device(value, f"{place}.{key}")
            )
        elif kind is not None and isinstance(value, str | Mapping):
            made[key] = _setting(kind, value, f"{place}.{key}")
        else:
            made[key] = value
    return made


def _setting(kind: str, value: Any, place: str) -> Any:
    """A setting of a registered kind from its fields; text names a preset."""
    with place_of(place):
        cls = settings[kind]
        table = {"preset": value} if isinstance(value, str) else table_of(place, value)
        makers = _presets(cls)
        if "preset" in table:
            name = choice(f"{place}.preset", table.pop("preset"), list(makers))
            return makers[name](**_nested(cls, table, place))
        if as_str("type", table.pop("type", kind)) != kind:
            raise ValueError(f"type must be {kind!r}")
        return cls(**_nested(cls, table, place))


def _one_device(value: Any, place: str) -> Device | Cell:
    with place_of(place):
        table = _call(value) if isinstance(value, str) else table_of(place, value)
        if not {"type", "preset"} & set(table):
            raise ValueError("type is missing, such as type = 'SoftBounds'")
        made: Device | Cell = _named(models, table, _presets(Device), place)
        return made


def _device(value: Any, place: str) -> Device | Cell | dict[str, Device | Cell]:
    per_array = isinstance(value, Mapping) and value and not {"type", "preset"} & set(value)
    if per_array and all(isinstance(each, str | Mapping) for each in value.values()):
        return {name: _one_device(each, f"{place}.{name}") for name, each in value.items()}
    return _one_device(value, place)


def _algorithm(value: Any, place: str) -> Any:
    with place_of(place):
        table = _call(value) if isinstance(value, str) else table_of(place, value)
        if "type" not in table:
            raise ValueError("type is missing, such as type = 'TikiTaka'")
        return _named(algorithms, table, {}, place)


OBJECTS: dict[str, Callable[[Any, str], Any]] = {
    "device": _device,
    "algorithm": _algorithm,
    "io": lambda value, place: _setting("IO", value, place),
    "backward_io": lambda value, place: _setting("IO", value, place),
    "pulses": lambda value, place: _setting("PulseTrain", value, place),
}
