"""``ohmgrad info``."""

from __future__ import annotations

import sys

import click


@click.command()
def info() -> None:
    """Show version, instruction set and threads."""
    from .. import _core

    facts = _core.info()
    rows = {
        "ohmgrad": facts["version"],
        "random streams": f"version {facts['stream_version']}",
        "instruction set": f"{facts['isa']} (available: {', '.join(facts['isas'])}; OHMGRAD_ISA chooses)",
        "threads": f"{facts['threads']} of {facts['cpus']} cores",
        "python": sys.version.split()[0],
        "numpy": __import__("numpy").__version__,
    }
    for name, value in rows.items():
        click.echo(f"{name:<16} {value}")
