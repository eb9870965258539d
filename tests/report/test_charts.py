"""Numbers stacked over time, and the names of short and of long times."""

from datetime import date
from xml.etree import ElementTree as ET

from hypothesis import given
from hypothesis import strategies as st

from mirror.events.series import fill_periods, month_of, week_of
from mirror.report.charts import BANDS, REST, Frame, fold_into_bands, render_stack

_FRAME = Frame(900, 200, "A name", "A description")
NAMED = st.dictionaries(
    st.dates(date(2018, 11, 3), date(2019, 3, 31)),
    st.dictionaries(st.sampled_from([*"abcdefghij", REST, "…"]), st.integers(0, 1000)),
    max_size=30,
)


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


def test_names_rank_by_their_sum_then_by_name_and_the_rest_is_the_last() -> None:
    january, february = date(2021, 1, 1), date(2021, 2, 1)
    sums = {january: {"b": 1, "a": 1}, february: {"c": 1, "a": 1}}
    assert list(fold_into_bands(sums)[0].items()) == [("a", 2), ("b", 1), ("c", 1)]

    totals, folded = fold_into_bands({january: {"a": 1, "b": 2, "…": 3, REST: 4}})

    assert list(totals.items()) == [("b", 2), ("a", 1), (REST, 7)]
    assert folded == {january: {"a": 1, "b": 2, REST: 7}}


@given(NAMED)
def test_folding_keeps_every_periods_sum(sums) -> None:
    totals, folded = fold_into_bands(sums)
    assert folded.keys() == sums.keys()
    assert all(sum(folded[one].values()) == sum(sums[one].values()) for one in sums)
    assert all(named.keys() <= totals.keys() for named in folded.values())
    assert sum(totals.values()) == sum(sum(named.values()) for named in sums.values())
    assert len(totals) <= BANDS
