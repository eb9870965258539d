"""`binder-mirror completion`: has a shell complete commands, options and values."""

import click
from click.shell_completion import shell_complete


@click.command(
    epilog="For bash, in ~/.bashrc: source <(binder-mirror completion bash). For zsh, in ~/.zshrc "
    "after compinit: source <(binder-mirror completion zsh). For fish: binder-mirror completion "
    "fish > ~/.config/fish/completions/binder-mirror.fish"
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]), metavar="bash|zsh|fish")
def completion(shell: str) -> None:
    """Print what has a shell complete commands, options and values."""
    # brought along by the app already; here it would go in a circle
    from mirror.cli.app import COMPLETE_VARIABLE, PROGRAM, cli  # noqa: PLC0415

    shell_complete(cli, {}, PROGRAM, COMPLETE_VARIABLE, f"{shell}_source")
