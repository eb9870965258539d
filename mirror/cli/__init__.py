"""The command line: `binder-mirror`."""

from mirror.cli.app import main

__all__ = ["main"]
