"""`binder-mirror config`: the settings in force, and whether they are right."""

import click

from mirror.cli import common
from mirror.cli.streams import say
from mirror.config.loading import render
from mirror.config.settings import Config


@click.group()
def config() -> None:
    """Show or check the settings."""


@config.command()
@common.data_dir_option
@click.option("--defaults", is_flag=True, help="Show the defaults, whatever is set.")
@click.pass_context
def show(ctx: click.Context, *, defaults: bool) -> None:
    """Print the settings in force as a commented TOML file."""
    settings = Config() if defaults else common.load_settings(ctx)
    say(render(settings).removesuffix("\n"))


@config.command()
@common.on_data_dir
def check(place: common.Place) -> None:
    """Check the settings; list all that is wrong with them at once."""
    say(f"The settings are right. Data directory: {place.data.root}")
