"""The command line: ``ohmgrad train``, ``demo``, ``device``, ``reproduce``, ``bench``, ``info``, ``completion``.

Each is a file of its own.

A mistake in how a command is used ends with exit code 2, any other failure with 1, Ctrl-C with 130; each of them with
one line on stderr.
"""

from __future__ import annotations

import sys
from typing import Any

import click

from ._bench import bench
from ._completion import completion
from ._demo import demo
from ._device import device
from ._info import info
from ._reproduce import reproduce
from ._train import train


class _Group(click.Group):
    """Commands whose errors are one line."""

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except KeyboardInterrupt:
            click.echo("Stopped.", err=True)
            raise SystemExit(130) from None

    def main(self, *args: Any, standalone_mode: bool = True, **extra: Any) -> Any:
        run: Any = super().main
        if not standalone_mode:
            return run(*args, standalone_mode=False, **extra)
        try:
            code = run(*args, standalone_mode=False, **extra)
        except click.exceptions.NoArgsIsHelpError as error:
            error.show()
            sys.exit(error.exit_code)
        except click.ClickException as error:
            _end(error.format_message(), error.exit_code)
        except KeyError as error:
            _end(str(error.args[0]), 1)
        except (OSError, ValueError, TypeError, MemoryError) as error:
            _end(str(error) or type(error).__name__, 1)
        sys.exit(code if isinstance(code, int) else 0)


def _end(message: str, code: int) -> None:
    click.echo(f"Error: {' '.join(message.split())}", err=True)
    sys.exit(code)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="ohmgrad")
def main() -> None:
    """Train neural networks on crossbars of non-ideal resistive elements."""


for _command in (train, demo, device, reproduce, bench, info, completion):
    main.add_command(_command)
