"""Numbers stacked over time, and the names of short and of long times."""

from datetime import date
from xml.etree import ElementTree as ET

from mirror.events.series import fill_periods, month_of, week_of
from mirror.report.charts import Frame, render_stack

_FRAME = Frame(900, 200, "A name", "A description")


def words(svg: str, kind: str) -> list[str | None]:
    texts = ET.fromstring(svg).iter("text")
    return [text.text for text in texts if kind in text.attrib["class"].split()]


def test_numbers_are_stacked_to_their_own_height() -> None:
    weeks = fill_periods(date(2026, 7, 6), date(2026, 7, 20), week_of)
    svg = render_stack(weeks, {"a": [6, 5, 0], "b": [4, 0, 0]}, _FRAME)

    outlines = {
        path.attrib["class"]: path.attrib["d"]
        for group in ET.fromstring(svg).iter("g")
        for path in group.iter("path")
    }
    assert outlines == {"s1": "M0 0v10h1v-5h1v-5h1V0z", "s0": "M0 0v6h1v-1h1v-5h1V0z"}
    assert words(svg, "y") == ["0", "5", "10"]


def test_a_stack_of_nothing_can_be_drawn() -> None:
    assert words(render_stack([date(2026, 7, 6)], {"a": [0]}, _FRAME), "y") == ["0", "1"]


def test_months_of_a_short_time_and_years_of_a_long_one_are_named() -> None:
    weeks = fill_periods(date(2025, 11, 3), date(2026, 2, 23), week_of)
    months = fill_periods(date(2024, 1, 1), date(2026, 2, 1), month_of)

    short = render_stack(weeks, {"a": [1] * len(weeks)}, _FRAME)
    long = render_stack(months, {"a": [1] * len(months)}, _FRAME)

    assert words(short, "x") == ["Nov", "Dec", "Jan 2026", "Feb"]
    assert words(long, "x") == ["2024", "2025", "2026"]
