"""Tables as TOML; the standard library reads it only."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any


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
