"""What several commands share."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from ..devices import Device


def parameter(convert: Callable[[str], Any]) -> Callable[[Any, Any, str | None], Any]:
    """A click callback that turns text into a value, and an error of ours into one of the command line."""

    def callback(context: Any, parameter: Any, text: str | None) -> Any:
        try:
            return None if text is None else convert(text)
        except (TypeError, ValueError) as error:
            raise click.BadParameter(str(error)) from error

    return callback


def device_of(text: str) -> Device:
    """The device that :func:`ohmgrad.config.device_of` finds in a text; loaded when there is one."""
    from ..config import device_of

    return device_of(text)
