"""A few of many parameters for plain runs, all of them for the target `oddities`."""

from collections.abc import Iterable

import pytest
from _pytest.mark import ParameterSet


def a_few(values: Iterable[str], *few: str) -> list[ParameterSet]:
    """Return parameters of which plain runs try a few, and `make oddities` all."""
    return [pytest.param(v, marks=() if v in few else pytest.mark.slow) for v in values]
