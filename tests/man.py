"""Makes man pages of the help texts: `make man`."""

import sys
from pathlib import Path

import click
from click_man.core import write_man_pages

from mirror import __version__
from mirror.cli.app import COMMANDS, PROGRAM, cli


def main(folder: Path) -> None:
    """Write a page for each command."""
    folder.mkdir(parents=True, exist_ok=True)
    # each is imported when it is asked for
    context = click.Context(cli)
    for command in (cli, *(cli.resolve_command(context, [name])[1] for name in COMMANDS)):
        assert command is not None
        if command.epilog:
            command.help = f"{command.help}\n\n{command.epilog}"
    write_man_pages(PROGRAM, cli, version=__version__, target_dir=str(folder))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
