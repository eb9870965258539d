"""A verified, byte-faithful mirror of the mybinder.org Events Archive."""

__version__ = "0.1.0"
