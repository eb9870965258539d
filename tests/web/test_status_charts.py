"""Charts: the outline is the numbers', shares are whole, axes can be read, names stay inside."""

import re
from datetime import date
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.events.series import fill_periods, month_of
from mirror.report.charts import (
    Frame,
    nice_scale,
    render_spark,
    render_stack,
    shares,
    short_number,
)

MONTHS = fill_periods(date(2020, 11, 1), date(2023, 2, 1), month_of)
FRAME = Frame(400, 200, "A name", "A description")
HOSTILE = '"><script>alert(1)</script>'


def heights(path: str) -> list[int]:
    """Return the height of each step of an outline."""
    height, found = 0, []
    assert path.startswith("M0 0")
    assert path.endswith("V0z")
    for kind, number in re.findall(r"([vh])(-?\d+)", path):
        if kind == "v":
            height += int(number)
        else:
            found += [height] * int(number)
    return found


def outlines(svg: str) -> dict[str, list[int]]:
    tree = ET.fromstring(svg)
    paths = (path for group in tree.iter("g") for path in group.iter("path"))
    return {path.attrib["class"]: heights(path.attrib["d"]) for path in paths}


@given(st.lists(st.integers(0, 10**6), min_size=len(MONTHS), max_size=len(MONTHS)))
def test_a_trend_is_its_numbers(values) -> None:
    assert outlines(render_stack(MONTHS, {"": values}, FRAME)) == {"s0": values}


def test_bands_lie_on_each_other() -> None:
    bands = {"a": [600] * len(MONTHS), "b": [400] * len(MONTHS)}
    svg = render_stack(MONTHS, bands, FRAME, are_shares=True)
    assert outlines(svg) == {"s1": [1000] * len(MONTHS), "s0": [600] * len(MONTHS)}
    # the one in front is painted last
    assert svg.index('class="s1"') < svg.index('class="s0"')


def test_a_chart_says_what_it_is() -> None:
    tree = ET.fromstring(render_stack(MONTHS, {"": [1] * len(MONTHS)}, FRAME))
    assert tree.attrib["role"] == "img"
    assert [tree.find(name).text for name in ("title", "desc")] == ["A name", "A description"]
    years = [text.text for text in tree.iter("text") if text.attrib["class"][0] == "x"]
    assert years == ["2020", "2021", "2022", "2023"]


def test_names_are_escaped_and_shown_only_where_there_is_room() -> None:
    bands = {HOSTILE: [980] * len(MONTHS), "thin": [20] * len(MONTHS)}
    svg = render_stack(MONTHS, bands, Frame(900, 200, HOSTILE, HOSTILE), are_shares=True)
    tree = ET.fromstring(svg)
    assert [text.text for text in tree.iter("text") if text.attrib["class"] == "in"] == [HOSTILE]
    assert "<script" not in svg


@given(
    st.dictionaries(st.sampled_from("abcdefg"), st.integers(0, 10**7), max_size=7),
    st.permutations("abcdefg"),
)
def test_shares_are_whole(counts, names) -> None:
    found = shares(counts, names)
    total = sum(counts.values())
    assert sum(found) == (1000 if total else 0)
    for name, share in zip(names, found, strict=True):
        exact = 1000 * counts.get(name, 0) / total if total else 0
        assert abs(share - exact) <= 1


@given(st.integers(0, 10**9))
def test_an_axis_ends_above_the_highest_and_has_few_marks(highest) -> None:
    step, top = nice_scale(highest)
    assert highest <= top < highest + step + 1
    assert 1 <= top // step <= 5
    assert re.fullmatch("[125]0*", str(step))


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0"), (500, "500"), (1000, "1k"), (2500, "2.5k"), (50_000, "50k"), (2_000_000, "2M")],
)
def test_a_number_of_an_axis_is_short(number, text) -> None:
    assert short_number(number) == text


def test_a_spark_of_nothing_is_flat() -> None:
    assert 'viewBox="0 0 3 1"' in render_spark([0, 0, 0], 2)
