"""HTML pages from Jinja templates; whatever a template shows is escaped unless it is `Markup`.

Imports Jinja, which takes 30 ms: to be imported only where a page is made.
"""

from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined


@cache
def load_templates(package: str) -> Environment:
    """Return the templates of a package of ours, from its folder `templates`.

    Args:
        package: its dotted name, such as "mirror.web".
    """
    return Environment(
        loader=PackageLoader(package),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
