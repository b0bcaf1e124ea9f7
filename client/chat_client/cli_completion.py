"""`chat-client completion`: let a shell complete commands, options and room names."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

SHELLS = ("bash", "zsh", "fish")


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print what SHELL has to read to complete chat-client's commands, options and rooms.

    \b
    Examples, for ~/.bashrc, ~/.zshrc (after compinit) and ~/.config/fish/config.fish:
      eval "$(chat-client completion bash)"
      eval "$(chat-client completion zsh)"
      chat-client completion fish | source
    """
    made = get_completion_class(shell)
    assert made is not None, "click knows these shells"
    click.echo(made(context.find_root().command, {}, "chat-client", "_CHAT_CLIENT_COMPLETE").source())
