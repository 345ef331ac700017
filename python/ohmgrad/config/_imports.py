"""The key ``imports``: code of one's own that registers algorithms before a run is read."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from typing import Any

from ._check import ConfigError


def imports_of(value: Any, folder: Path) -> list[str]:
    """Import files (``.py``, counted from `folder`) and installed modules; their complete names."""
    if not isinstance(value, list) or not all(isinstance(name, str) and name for name in value):
        raise ConfigError(f"imports must be a list of files and modules such as ['my_algorithm.py'], got {value!r}")
    shown = [str((folder / name).resolve()) if name.endswith(".py") else name for name in value]
    for name in shown:
        try:
            _file(Path(name)) if name.endswith(".py") else importlib.import_module(name)
        # Whatever goes wrong in code that is not ours is the user's to see.
        except Exception as error:
            raise ConfigError(f"imports: {name}: {type(error).__name__}: {error}") from error
    return shown


def _file(path: Path) -> None:
    """Once in a process, under the name that an ``import`` beside it would give."""
    known = sys.modules.get(path.stem)
    if known is not None:
        if getattr(known, "__file__", None) != str(path):
            raise ImportError(f"there is another module {path.stem!r}: give the file another name")
        return
    if not path.is_file():
        raise FileNotFoundError("no such file")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[path.stem]
        raise
