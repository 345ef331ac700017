"""Models in files: safetensors with a JSON configuration and a checksum, never pickle, never half written."""

from __future__ import annotations

import json
import os
import secrets
import warnings
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import _core
from .nn import Sequential

FORMAT = "ohmgrad-model"
VERSION = 1


def save(path: str | os.PathLike[str], model: Sequential) -> None:
    """Write a model, with the whole state of its tiles and random numbers, to a safetensors file.

    The file appears complete or not at all; an existing one is replaced. The same model gives the same bytes.
    **Raises:** `RuntimeError` for a model that was not built, `ValueError` for a device or an algorithm that is not
    registered, `OSError`.

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

    info, state = _core.info(), model.state_dict()
    header = {
        "format_version": VERSION,
        "package_version": info["version"],
        "stream_version": info["stream_version"],
        "config": model.config(),
    }
    # One entry: the order of several would change from save to save.
    text = json.dumps(header | {"sha256": _checksum(header, state)}, allow_nan=False)
    write(path, pack(state, {FORMAT: text}))


def load(path: str | os.PathLike[str]) -> Sequential:
    """Read a model written by :func:`save`; it goes on where the saved one stood, bit for bit.

    **Raises:** `OSError` for a file that is not there or cannot be read; `ValueError` for one that is damaged, of
    another kind, of a newer format, or that names an unknown device, algorithm or layer. A file written with another
    layout of the random streams is read with a warning: its weights are the same, its noise from here on is not.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load as unpack

    # A pipe would wait for ever, so only regular files are opened.
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path}: there is no such file")
    content = Path(path).read_bytes()
    try:
        state: dict[str, NDArray[Any]] = unpack(content)
        length = int.from_bytes(content[:8], "little")
        text = json.loads(content[8 : 8 + length]).get("__metadata__", {}).get(FORMAT)
    except (SafetensorError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"{path}: damaged, or no safetensors file ({error})") from error
    if text is None:
        raise ValueError(f"{path}: a safetensors file, but no model of ohmgrad")
    try:
        header = json.loads(text)
        checksum, version = header.pop("sha256"), header["format_version"]
        if version > VERSION:
            raise ValueError(
                f"format {version}, written by ohmgrad {header['package_version']}; this version reads up to {VERSION}"
            )
        if checksum != _checksum(header, state):
            raise ValueError("damaged: its contents do not match its checksum")
        streams = header["stream_version"]
        if version < 1:
            raise ValueError(f"format {version}, allowed: 1 to {VERSION}")
        model = Sequential.from_config(header["config"])
        model.load_state_dict(state)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        what = f"no {error}" if isinstance(error, KeyError) else error
        raise ValueError(f"{path}: {what}") from error
    if streams != _core.info()["stream_version"]:
        warnings.warn(f"{path}: written with another layout of random streams; its noise will differ", stacklevel=2)
    return model


def _checksum(header: dict[str, Any], state: dict[str, NDArray[Any]]) -> str:
    digest = sha256(json.dumps(header, sort_keys=True).encode())
    for name in sorted(state):
        array = np.ascontiguousarray(state[name])
        digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def write(path: str | os.PathLike[str], content: bytes) -> None:
    """Write a file so that it is there completely or not at all, even if the machine stops in between."""
    target = Path(path)
    temporary = target.with_name(f".{target.name[:64]}.{secrets.token_hex(8)}.tmp")
    try:
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
