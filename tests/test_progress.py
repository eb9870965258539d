"""Progress outside a terminal: a line in a notebook, and nothing in a pipe."""

import io
import sys
from types import ModuleType

import pytest

from mirror.progress import show_reading


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
