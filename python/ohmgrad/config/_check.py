"""Checks of tables, with errors that say where."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from .._record import nearest

Table = dict[str, Any]


class ConfigError(ValueError):
    """What is wrong in the description of a run; the message begins with the table, such as ``[train] epochs``."""


@contextmanager
def place_of(name: str) -> Iterator[None]:
    """Errors in here say which table they are about."""
    try:
        yield
    except ConfigError:
        raise
    except (ValueError, TypeError) as error:
        raise ConfigError(f"[{name}] {error}") from error


def only_known(place: str, table: Mapping[str, Any], names: Any) -> None:
    for key in table:
        if key not in names:
            where = f"[{place}] " if place else ""
            raise ConfigError(f"{where}unknown key {key!r}; known: {', '.join(names)}{nearest(key, names)}")


def table_of(place: str, value: Any) -> Table:
    if not isinstance(value, Mapping):
        raise ConfigError(f"[{place}] must be a table, got {value!r}")
    return dict(value)


def choice(place: str, value: Any, names: Any) -> str:
    if not isinstance(value, str) or value not in names:
        raise ConfigError(f"[{place}] must be one of {', '.join(names)}, got {value!r}{nearest(value, names)}")
    return value
