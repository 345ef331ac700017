"""Models and runs in files: safetensors with JSON settings and a checksum, never pickle, never half written."""

from __future__ import annotations

import json
import os
import secrets
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import _core
from .nn import Sequential

FORMAT = "ohmgrad-model"
RUN = "ohmgrad-run"
"""A model and where its training stands: what :func:`ohmgrad.fit` writes."""
VERSION = 1

_WRONG = (ValueError, KeyError, TypeError, AttributeError, IndexError, OverflowError, RecursionError)


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
    save_as(FORMAT, path, model)


def load(path: str | os.PathLike[str]) -> Sequential:
    """Read a model written by :func:`save`; it goes on where the saved one stood, bit for bit.

    A checkpoint of a run gives the model as it was there; ``fit(resume=path)`` continues the run itself.

    **Raises:** `OSError` for a file that is not there or cannot be read; `ValueError` for one that is damaged, of
    another kind, of a newer format, or that names an unknown device, algorithm or layer. A file written with another
    layout of the random streams is read with a warning: its weights are the same, its noise from here on is not.

    >>> import ohmgrad as og
    >>> og.load("no-such-file")
    Traceback (most recent call last):
    FileNotFoundError: no-such-file: there is no such file
    """
    _, header, state = read(path)
    with wrong_in(path):
        streams = header["stream_version"]
        model = Sequential.from_config(header["config"])
        model.load_state_dict(state)
    if streams != _core.info()["stream_version"]:
        warnings.warn(f"{path}: written with another layout of random streams; its noise will differ", stacklevel=2)
    return model


def save_as(kind: str, path: str | os.PathLike[str], model: Sequential, **more: Any) -> None:
    """Write a file of a kind (FORMAT or RUN) with a model and `more` JSON values in its header."""
    from safetensors.numpy import save as pack

    info, state = _core.info(), model.state_dict()
    header = {
        "format_version": VERSION,
        "package_version": info["version"],
        "stream_version": info["stream_version"],
        "config": model.config(),
    } | more
    # One entry: the order of several would change from save to save.
    text = json.dumps(header | {"sha256": _checksum(header, state)}, allow_nan=False)
    write(path, pack(state, {kind: text}))


def read(path: str | os.PathLike[str]) -> tuple[str, dict[str, Any], dict[str, NDArray[Any]]]:
    """The kind, the header and the arrays of a file that is whole and can be read; errors as in :func:`load`."""
    from safetensors import SafetensorError
    from safetensors.numpy import load as unpack

    # A pipe would wait for ever, so only regular files are opened.
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path}: there is no such file")
    content = Path(path).read_bytes()
    try:
        state: dict[str, NDArray[Any]] = unpack(content)
        length = int.from_bytes(content[:8], "little")
        texts = json.loads(content[8 : 8 + length]).get("__metadata__", {})
        kind = next((kind for kind in (FORMAT, RUN) if kind in texts), None)
    except (SafetensorError, *_WRONG) as error:
        raise ValueError(f"{path}: damaged, or no safetensors file ({error})") from error
    if kind is None:
        raise ValueError(f"{path}: a safetensors file, but no model of ohmgrad")
    with wrong_in(path):
        header = json.loads(texts[kind])
        checksum, version = header.pop("sha256"), header["format_version"]
        if version > VERSION:
            raise ValueError(
                f"format {version}, written by ohmgrad {header['package_version']}; this version reads up to {VERSION}"
            )
        if checksum != _checksum(header, state):
            raise ValueError("damaged: its contents do not match its checksum")
        if version < 1:
            raise ValueError(f"format {version}, allowed: 1 to {VERSION}")
    return kind, header, state


@contextmanager
def wrong_in(path: str | os.PathLike[str]) -> Iterator[None]:
    """Turn whatever contents of a file that no writer wrote lead to into a `ValueError` that names the file."""
    try:
        yield
    except _WRONG as error:
        what = f"no {error}" if isinstance(error, KeyError) else error
        raise ValueError(f"{path}: {what}") from error


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
