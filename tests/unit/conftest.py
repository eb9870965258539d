"""Hypothesis without deadlines: a busy machine makes no test wrong."""

from hypothesis import settings

settings.register_profile("unit", deadline=None)
settings.load_profile("unit")
