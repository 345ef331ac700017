"""The table ``[data]``."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from .. import data
from .._record import as_bool, as_int, as_str
from ..data import Dataset
from ._check import ConfigError, Table, choice, only_known, place_of

_DATA = ("digits", "mnist", "fashion_mnist", "cifar10", "cifar100", "npz")


def data_of(table: Table, folder: Path) -> tuple[Table, Callable[[], dict[str, Dataset]]]:
    """The complete table, and the function that loads the data."""
    name = choice("data.name", table.pop("name", "digits"), _DATA)
    validation = table.pop("validation", None)
    with place_of("data"):
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
    only_known("data", files, ("name", "train", "test", "validation"))
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
    with place_of("data.validation"):
        train, validation = parts["train"].split(len(parts["train"]) - n)
    return parts | {"train": train, "validation": validation}


def _options(load: Callable[..., Any], table: Mapping[str, Any], folder: Path, place: str, own: Any) -> Table:
    """Arguments of a function that loads data: those given, and the defaults of the others but None."""
    known = {name: p for name, p in inspect.signature(load).parameters.items() if name not in own}
    only_known(place, table, [*known, *own])
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
