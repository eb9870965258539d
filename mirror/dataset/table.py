"""An answer as a table for people, bounded: on a terminal, or in Markdown.

What is too wide goes row by row; no text can control the terminal, or change the table. Imported
where one is printed, for rich takes time to start.
"""

import sys
from collections.abc import Iterable, Sequence
from decimal import Decimal
from itertools import islice
from typing import TextIO

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mirror.dataset.query import Rows
from mirror.text import shown

_ROWS = 500
_RECORDS = 50
_CELL = 120
_GAP = 3
_MARKDOWN = str.maketrans({"|": "\\|", "\\": "\\\\", "\n": " ", "\r": " ", "<": "&lt;", "`": "\\`"})


def print_table(columns: Sequence[str], rows: Rows, out: TextIO) -> None:
    """Print the first rows of an answer: a table or, where that is too wide, row by row."""
    names = [Text(shown(name, _CELL)) for name in columns]
    cells = [[_cell(value) for value in row] for row in islice(rows, _ROWS)]
    count = len(cells) + sum(1 for _ in rows)
    console = Console(file=out, highlight=False)
    widths = [max(text.cell_len for text in column) for column in zip(names, *cells, strict=True)]
    is_wide = sum(widths) + _GAP * len(widths) > console.width
    printed = min(len(cells), _RECORDS if is_wide else _ROWS)
    # written by ourselves: when nobody reads it any more, the console would end the process
    with console.capture() as text:
        console.print(_records(names, cells[:printed]) if is_wide else _table(names, cells))
        if count > printed:
            console.print(f"... {count:,} rows in all; --format csv gives every one")
    out.write(text.get())


def write_markdown(columns: Sequence[str], rows: Rows, out: TextIO) -> None:
    """Write an answer as a table of GitHub's Markdown, whose markup no string can add to."""
    is_terminal = out.isatty()

    def write_line(cells: Iterable[object]) -> None:
        texts = ("" if cell is None else str(cell).translate(_MARKDOWN) for cell in cells)
        line = " | ".join(shown(text, sys.maxsize) if is_terminal else text for text in texts)
        out.write(f"| {line} |\n")

    write_line(columns)
    write_line(["---"] * len(columns))
    for row in rows:
        write_line(row)


def _table(names: list[Text], rows: list[list[Text]]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for name in names:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*row)
    return table


def _records(names: list[Text], rows: list[list[Text]]) -> Table:
    """Return rows one below the other, a line for each of their values."""
    table = Table.grid(padding=(0, _GAP, 0, 0))
    for number, row in enumerate(rows, start=1):
        table.add_row(Text(f"row {number:,}", style="bold"), "")
        for name, value in zip(names, row, strict=True):
            table.add_row(name, Text(value.plain, overflow="fold"))
    return table


def _cell(value: float | Decimal | str | None) -> Text:
    if isinstance(value, int | float):
        # without marks between thousands: a year, an id or a hash is a number too
        return Text(f"{value}" if isinstance(value, int) else f"{value:.6g}", justify="right")
    return Text("" if value is None else shown(str(value), _CELL))
