"""Models in files: safetensors with a JSON configuration, never pickle, never half written."""

from __future__ import annotations

import json
import os
import warnings
from pathlib import Path
from typing import Any

from . import _core
from .nn import Sequential

FORMAT = "ohmgrad-model"
VERSION = 1


def save(path: str | os.PathLike[str], model: Sequential) -> None:
    """Write a model, with the whole state of its tiles and random numbers, to a safetensors file.

    The file appears complete or not at all; an existing one is replaced. **Raises:** `RuntimeError` for a model that
    was not built, `ValueError` for a device or an algorithm that is not registered, `OSError`.

    >>> import ohmgrad as og, tempfile, pathlib
    >>> model = og.nn.Sequential(og.nn.Linear(4, 2)).on(og.devices.SoftBounds(), seed=0)
    >>> folder = tempfile.TemporaryDirectory()
    >>> path = pathlib.Path(folder.name) / "model.safetensors"
    >>> og.save(path, model)
    >>> bool((og.load(path)[0].weight == model[0].weight).all())
    True
    >>> folder.cleanup()
    """
    from safetensors.numpy import save as pack

    info = _core.info()
    metadata = {
        "format": FORMAT,
        "format_version": str(VERSION),
        "package_version": str(info["version"]),
        "stream_version": str(info["stream_version"]),
        "config": json.dumps(model.config(), allow_nan=False),
    }
    write(path, pack(model.state_dict(), metadata))


def load(path: str | os.PathLike[str]) -> Sequential:
    """Read a model written by :func:`save`; it goes on where the saved one stood, bit for bit.

    **Raises:** `FileNotFoundError`; `ValueError` for a file that is damaged, of another kind, of a newer format, or
    that names an unknown device, algorithm or layer. A file written with another layout of the random streams is
    read with a warning: its weights are the same, its noise from here on is not.
    """
    from safetensors import SafetensorError, safe_open

    if not Path(path).is_file():
        raise FileNotFoundError(f"{path}: there is no such file")
    try:
        with safe_open(path, framework="numpy") as file:
            metadata: dict[str, str] = file.metadata() or {}
            state: dict[str, Any] = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(f"{path}: truncated, or no safetensors file ({error})") from error
    if metadata.get("format") != FORMAT:
        raise ValueError(f"{path}: a safetensors file, but no model of ohmgrad")
    if int(metadata["format_version"]) > VERSION:
        raise ValueError(
            f"{path}: format {metadata['format_version']}, written by ohmgrad {metadata['package_version']}; "
            f"this version reads formats up to {VERSION}"
        )
    if metadata["stream_version"] != str(_core.info()["stream_version"]):
        warnings.warn(f"{path}: written with another layout of random streams; its noise will differ", stacklevel=2)
    try:
        model = Sequential.from_config(json.loads(metadata["config"]))
        model.load_state_dict(state)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    return model


def write(path: str | os.PathLike[str], content: bytes) -> None:
    """Write a file so that it is there completely or not at all, even if the machine stops in between."""
    target = Path(path)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
