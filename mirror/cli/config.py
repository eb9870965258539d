"""`binder-mirror config`: the settings in force, and whether they are right."""

import os

import click

from mirror.cli import common
from mirror.cli.options import given
from mirror.cli.streams import notice, say
from mirror.config.loading import config_places, find_config, render
from mirror.config.settings import Config


@click.group()
def config() -> None:
    """Show or check the settings."""


@config.command()
@click.option("--defaults", is_flag=True, help="Show the defaults, whatever is set.")
def show(*, defaults: bool) -> None:
    """Print the settings in force as a commented TOML file."""
    if defaults:
        say(render(Config()).removesuffix("\n"))
        return
    settings = common.load_settings(given())
    file = find_config(given().config, os.environ)
    says = f"in force with {file}" if file else "in force; there is no file of settings"
    say(f"# The settings {says}.\n\n{render(settings)}".removesuffix("\n"))


@config.command()
@common.on_data_dir
def check(place: common.Place) -> None:
    """Check the settings; list all that is wrong with them at once."""
    say(f"The settings are right. Data directory: {place.data.root}")


@config.command()
def path() -> None:
    """Print the path of the file of settings that is in force."""
    file = find_config(given().config, os.environ)
    if file is not None:
        common.load_settings(given())  # a file that cannot be read is in force nowhere
        say(str(file))
    else:
        places = ", ".join(map(str, config_places(os.environ)))
        notice(f"no file of settings is in force; looked for {places}")
