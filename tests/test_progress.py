"""Progress of reading, in a notebook and in a pipe, and of what is large on a narrow terminal."""

import io
import re
import sys
import time
from itertools import count
from types import ModuleType

import pyte
import pytest

from mirror.progress import Rate, Shown, show_progress, show_reading


class NotebookStream(io.StringIO):
    """What a Jupyter kernel has for standard error."""

    pub_thread = None


def test_a_notebook_gets_one_line_that_is_written_over(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = NotebookStream()
    monkeypatch.setitem(sys.modules, "ipykernel", ModuleType("ipykernel"))
    monkeypatch.setattr(sys, "stderr", shown)

    with show_reading(3_000_000) as advance:
        advance(1, 1_000_000)
        advance(1, 2_000_000)

    assert shown.getvalue() == "\r2 files read: 3 MB of 3 MB"


def test_a_pipe_gets_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with show_reading(10) as advance:
        advance(1, 10)

    assert capsys.readouterr() == ("", "")


class TerminalStream(io.StringIO):
    """What a terminal is for standard error."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("total", [None, 45_600_000_000])
@pytest.mark.parametrize("label", ["4 of 6 days", "1,204 of 2,901 days, 1,300 failed"])
@pytest.mark.parametrize("columns", [20, 31, 40, 53, 80])
def test_it_takes_one_line_however_narrow_the_terminal_is(
    monkeypatch: pytest.MonkeyPatch, columns: int, label: str, total: int | None
) -> None:
    monkeypatch.setattr(sys, "stderr", shown := TerminalStream())
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("TERM", "xterm")
    done, looks = count(1_000_000_000, 10_000_000), count()

    with show_progress(lambda: Shown(label, next(done), total, f"{next(looks)} " + "a note" * 20)):
        while not re.search("^3 a note", shown.getvalue(), re.MULTILINE):
            time.sleep(0.01)
        screen = pyte.Screen(columns, 24)
        screen.set_mode(pyte.modes.LNM)
        pyte.Stream(screen).feed(shown.getvalue())

    line, note, *rest = (line.rstrip() for line in screen.display)
    assert line.startswith(label[: columns - 1])
    assert re.match(r"\d+ a note", note)
    assert not any(rest)
    if columns >= 80 and total:
        assert re.search(r" [\d.]+/45.6 GB [\d.]+ MB/s \d+:\d\d:\d\d$", line)


def test_a_rate_falls_where_nothing_comes_any_more() -> None:
    rate, done = Rate(), 0
    for done in range(0, 1_000_001, 100_000):
        fast = rate.of(done)
        time.sleep(0.01)
    time.sleep(0.2)
    assert 0 < rate.of(done) < fast / 2


@pytest.mark.parametrize("label", ["1,204 of 2,901 days", "1,204/2,901 counted"])
def test_all_there_is_to_say_of_a_large_archive_fits_in_60_columns(
    monkeypatch: pytest.MonkeyPatch, label: str
) -> None:
    monkeypatch.setattr(sys, "stderr", shown := TerminalStream())
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("TERM", "xterm")
    done = count(1_000_000_000, 3_000_000)

    with show_progress(lambda: Shown(label, next(done), 2_340_000_000)):
        while not re.search(r"B/s.*\d:\d\d:\d\d", shown.getvalue()):
            time.sleep(0.01)

    assert label in shown.getvalue()
    assert "…" not in shown.getvalue()
