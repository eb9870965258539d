"""Small plots of characters."""

from mirror.report.render import ASCII, render_columns, render_spark, squeeze


def test_a_spark_has_a_character_for_each_value() -> None:
    assert render_spark([0, 1, 4, 8, None, 8]) == "▁▁▄█ █"
    assert render_spark([0, 1, 4, 8, None, 8], ramp=ASCII) == "..=@ @"
    assert render_spark([]) == ""
    assert render_spark([0, 0]) == "▁▁"


def test_columns_stand_on_the_lowest_line() -> None:
    assert render_columns([16, 8, 4, None, 12], 2, 16) == ["█   ▄", "██▄ █"]
    assert render_columns([0.001], 2, 16) == [" ", "▁"]


def test_more_values_than_room_become_their_means() -> None:
    assert squeeze([1, 3, 5, 7], 2) == [2, 6]
    assert squeeze([None, None, 5, None], 2) == [None, 5]
    assert squeeze([1, 2], 10) == [1, 2]
    assert len(squeeze(list(range(997)), 60)) == 60
