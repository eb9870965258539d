"""The archive's page, index.html: the table that people and `pandas.read_html` read."""

from collections.abc import Mapping
from datetime import date, datetime

_PAGE = """<!DOCTYPE html>
<html lang="en">
  <head>
    <meta charset="utf-8">
    <link rel="stylesheet" href="static/bootstrap-4.1.3.min.css">
    <title>MyBinder.org Events Archive</title>
  </head>
  <body>
    <h1>MyBinder.org Events Archive</h1>
    <p><a href='index.jsonl'>Machine readable index</a> also available.</p>
    <table class='table'>
      <thead>
        <th>Date</th>
        <th>Filename</th>
        <th>Number of Events</th>
      </thead>
{rows}    </table>
    <div id='footer'>Generated at {generated}</div>
  </body>
</html>
"""
_ROW = """      <tr>
        <td>{day}</td>
        <td>
          <a href="{name}">{name}</a>
        </td>
        <td>{count}</td>
      </tr>
"""


def render_page(days: Mapping[date, tuple[str, int]], generated: datetime) -> bytes:
    """Render the page, newest day first.

    Args:
        days: Name and number of events of each day's file.
        generated: The moment that the footer tells. It makes the page differ
            at every round, while index.jsonl may stay the same.

    Returns:
        The page. Its header cells stand in `thead` without a row, as upstream's do.
    """
    rows = (
        _ROW.format(day=day, name=name, count=count)
        for day, (name, count) in sorted(days.items(), reverse=True)
    )
    return _PAGE.format(rows="".join(rows), generated=generated.isoformat()).encode()
