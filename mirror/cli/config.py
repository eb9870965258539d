"""`binder-mirror config`: the settings in force, and whether they are right."""

import os

import click

from mirror.config import Config, load_config, render
from mirror.wiring import data_dir_of


@click.group()
def config() -> None:
    """Show or check the settings."""


@config.command()
@click.option("--defaults", is_flag=True, help="Show the defaults, whatever is set.")
@click.pass_context
def show(ctx: click.Context, *, defaults: bool) -> int:
    """Print the settings in force as a commented TOML file."""
    settings = Config() if defaults else load_config(ctx.obj, os.environ, {})
    click.echo(render(settings), nl=False)
    return 0


@config.command()
@click.pass_context
def check(ctx: click.Context) -> int:
    """Check the settings; tell all that is wrong with them at once."""
    settings = load_config(ctx.obj, os.environ, {})
    data = data_dir_of(settings, os.environ)
    click.echo(f"The settings are right. Data directory: {data.root}")
    return 0
