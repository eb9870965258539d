"""Finds the key of a repository by any of the names that people give it. Pure."""

import re
from urllib.parse import quote

from mirror.errors import SpecError
from mirror.events.spec import DOI, mask, parse_spec

_PROVIDER_BY_PREFIX = {
    "gh": "GitHub",
    "gl": "GitLab",
    "git": "Git",
    "gist": "Gist",
    "zenodo": "Zenodo",
    "figshare": "Figshare",
    "hydroshare": "Hydroshare",
    "dataverse": "Dataverse",
    "ckan": "CKAN",
}
"""Of the address of a launch: https://mybinder.readthedocs.io/, "v2/gh/user/repository/ref"."""

_SHORT = re.compile(r"([A-Za-z0-9_-]+/[A-Za-z0-9._-]+)/?")
_DOI_HOST = re.compile(r"^(?:dx\.)?doi\.org/", re.IGNORECASE)
_HYDROSHARE_DOI = re.compile(r"10\.4211/hs\.", re.IGNORECASE)
_ZENODO_RECORD = re.compile(r"(?:https?://)?(?:www\.)?zenodo\.org/records?/([0-9]+)(?:[/?#].*)?")
_DATAVERSE_PAGE = re.compile(r"https?://[^?#]+\?(?:[^#]*&)?persistentId=doi:(10\.[^&#]+).*")
_HOST_AND_PATH = re.compile(r"(?:(?:[^/@:]*\.[^/@:]*|localhost)(?::[0-9]+)?|[^/@:]+:[0-9]+)/.+")
_LAUNCH_LINK = re.compile(rf"https?://[^?#]+?/v2/({'|'.join(_PROVIDER_BY_PREFIX)})(?:/([^?#]*).*)?")


def repository_key(name: str, *, forge: str = "github.com") -> str:
    """Return the key of a repository as a person names it; see `mirror.events.spec.Spec.key`.

    Args:
        name: "user/repository", an address, a DOI, the link of a launch, or a key itself.
        forge: the host that "user/repository" is meant of.

    Raises:
        SpecError: it names no repository.

    >>> repository_key("QISKit/qiskit-tutorial")
    'github.com/qiskit/qiskit-tutorial'
    >>> repository_key("https://gitlab.com/Group/Course.git")
    'gitlab.com/group/course'
    >>> repository_key("10.5281/Zenodo.4032875") == repository_key("zenodo.org/records/4032875")
    True
    >>> repository_key("https://mybinder.org/v2/gh/Qiskit/qiskit-tutorial/HEAD")
    'github.com/qiskit/qiskit-tutorial'
    """
    if not name.isprintable():
        raise SpecError(f"no repository: {mask(name)!r}: it holds control characters")
    try:
        return parse_spec(*_spec_of(name, forge)).key
    except SpecError as error:
        raise SpecError(
            f"no repository: {mask(name)!r}", hint="user/repository, an address or a DOI"
        ) from error


def _spec_of(name: str, forge: str) -> tuple[str, str]:
    """Return provider and spec of what a name stands for."""
    if link := _LAUNCH_LINK.fullmatch(name):
        return _PROVIDER_BY_PREFIX[link[1]], (link[2] or "").rstrip("/")
    if doi := DOI.fullmatch(_DOI_HOST.sub("", name)) or _DATAVERSE_PAGE.fullmatch(name):
        return "Hydroshare" if _HYDROSHARE_DOI.match(doi[1]) else "Zenodo", _quoted(doi[1], "/")
    if record := _ZENODO_RECORD.fullmatch(name):
        return "Zenodo", f"10.5281/zenodo.{record[1]}"
    if short := _SHORT.fullmatch(name):
        name = f"https://{forge}/{short[1]}"
    elif _HOST_AND_PATH.fullmatch(name):
        name = f"https://{name}"
    return "Git", f"{_quoted(name)}/HEAD"


def _quoted(text: str, safe: str = "") -> str:
    return quote(text, safe=safe, errors="replace")
