"""What people call a repository, and the key that its launches have. Pure."""

import re
from collections.abc import Iterator
from urllib.parse import quote

from mirror.errors import SpecError
from mirror.events.spec import mask, parse_spec

_SHORT = re.compile(r"([A-Za-z0-9-]+/[A-Za-z0-9._-]+)/?")
_DOI = re.compile(r"(?:(?:https?://)?(?:dx\.)?doi\.org/|doi:)?(10\.[0-9]{4,9}/.+)", re.IGNORECASE)
_HYDROSHARE_DOI = re.compile(r"10\.4211/hs\.", re.IGNORECASE)
_ZENODO_RECORD = re.compile(r"(?:https?://)?(?:www\.)?zenodo\.org/records?/([0-9]+)(?:[/?#].*)?")
_DATAVERSE_PAGE = re.compile(r"https?://[^?#]+\?(?:[^#]*&)?persistentId=doi:(10\.[^&#]+).*")
_SCP = re.compile(r"[A-Za-z0-9_-]+@[A-Za-z0-9_.-]+:(?!/).+")
_HOST_AND_PATH = re.compile(r"(?:[^/@]*\.[^/@]*|localhost|[^/@]+:[0-9]+)/.+")
_BINDER_LINK = re.compile(r"https?://[^?#]+?/v2/([a-z]+)/([^?#]+).*")
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
    for provider, spec in _readings(name, forge):
        try:
            return parse_spec(provider, spec).key
        except SpecError:
            continue
    raise SpecError(f"no repository: {mask(name)!r}", hint="user/repository, an address or a DOI")


def _readings(name: str, forge: str) -> Iterator[tuple[str, str]]:
    """Yield the provider and spec that a name may be short for, the likeliest first."""
    if link := _BINDER_LINK.fullmatch(name):
        yield _PROVIDER_BY_PREFIX.get(link[1], ""), link[2].rstrip("/")
    if doi := _DOI.fullmatch(name) or _DATAVERSE_PAGE.fullmatch(name):
        yield "Hydroshare" if _HYDROSHARE_DOI.match(doi[1]) else "Zenodo", _quoted(doi[1], "/")
    elif record := _ZENODO_RECORD.fullmatch(name):
        yield "Zenodo", f"10.5281/zenodo.{record[1]}"
    elif short := _SHORT.fullmatch(name):
        yield "Git", f"{_quoted(f'https://{forge}/{short[1]}')}/HEAD"
    elif "://" in name or _SCP.fullmatch(name):
        yield "Git", f"{_quoted(name)}/HEAD"
    elif _HOST_AND_PATH.fullmatch(name):
        yield "Git", f"{_quoted(f'https://{name}')}/HEAD"


def _quoted(text: str, safe: str = "") -> str:
    return quote(text, safe=safe, errors="replace")
