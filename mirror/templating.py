"""Pages from Jinja templates; what one of HTML shows is escaped unless it is `Markup`.

Each of the folders that have templates may use those of the others.

Imports Jinja, which takes 30 ms: to be imported only where a page is made.
"""

import re
from functools import cache

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup, escape

from mirror.text import human_bytes, plural, printable, utc_minute

_FOLDERS = ("report", "web", "demo")
_DATE = re.compile(r"\b[0-9]{4}-[0-9]{2}-[0-9]{2}\b")


@cache
def load_templates() -> Environment:
    """Return all templates there are, with our filters."""
    templates = Environment(
        loader=ChoiceLoader([PackageLoader(f"mirror.{name}") for name in _FOLDERS]),
        autoescape=select_autoescape(["html", "svg"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    templates.filters |= {
        "bytes": human_bytes,
        "dates": mark_dates,
        "minute": utc_minute,
        "number": "{:,}".format,
        "plural": plural,
        "printable": printable,
    }
    return templates


def mark_dates(text: object) -> Markup:
    """Return a text as HTML, each date in a `time`: browsers break lines at its hyphens else."""
    return Markup(_DATE.sub(r"<time>\g<0></time>", str(escape(text))))  # noqa: S704 - escaped
