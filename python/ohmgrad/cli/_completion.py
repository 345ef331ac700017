"""``ohmgrad completion``."""

from __future__ import annotations

import click


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print what makes a shell complete commands and options.

    \b
    bash   eval "$(ohmgrad completion bash)"      in ~/.bashrc
    zsh    eval "$(ohmgrad completion zsh)"       in ~/.zshrc, after compinit
    fish   ohmgrad completion fish | source       in ~/.config/fish/config.fish
    """
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(context.find_root().command, {}, "ohmgrad", "_OHMGRAD_COMPLETE").source())
