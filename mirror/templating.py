"""HTML pages from Jinja templates; whatever a template shows is escaped unless it is `Markup`.

Imports Jinja, which takes 30 ms: to be imported only where a page is made.
"""

import re
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

_DATE = re.compile(r"\b[0-9]{4}-[0-9]{2}-[0-9]{2}\b")


@cache
def load_templates(package: str) -> Environment:
    """Return the templates of a package of ours, from its folder `templates`.

    Args:
        package: its dotted name, such as "mirror.web".
    """
    templates = Environment(
        loader=PackageLoader(package),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    templates.filters["dates"] = mark_dates
    return templates


def mark_dates(text: object) -> Markup:
    """Return a text as HTML, each date in a `time`: browsers break lines at its hyphens else."""
    return Markup(_DATE.sub(r"<time>\g<0></time>", str(escape(text))))  # noqa: S704 - escaped
