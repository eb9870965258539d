"""What was launched: a provider's `spec` taken apart into repository, reference and key. Pure.

A spec is the path of the launch's address as the user's browser sent it, percent-encoded:

    GitHub       user/repository/ref
    GitLab       quoted namespace/ref
    Git          quoted address/ref
    Gist         user/id or user/id/ref
    Zenodo, Figshare, Dataverse    a DOI
    Hydroshare   the resource's id, its address or its DOI
    CKAN         the quoted address of a dataset

`repository_key` finds the key of a repository by the other names that people give it.

Source: the providers of BinderHub, `binderhub/repoproviders.py`. What does not fit is an error and
never a guess. The address of a Git repository may hold a user's password: nothing that is made here
shows it, an error's message neither.
"""

import re
from collections.abc import Callable
from typing import NamedTuple, TypeVar
from urllib.parse import SplitResult, quote, unquote, urlsplit

from msgspec import Struct

from mirror.errors import SpecError
from mirror.text import shown

T = TypeVar("T")

MASK = "***"

_LONGEST_SHOWN = 2000

_NAME = r"(?!\.{1,2}(?:/|$))[A-Za-z0-9._-]+"
_GIST_ID = r"[0-9a-f]{20}|[0-9a-f]{32}"
_GITHUB = re.compile(rf"({_NAME})/({_NAME})/(.*)", re.DOTALL)
_GITLAB = re.compile(rf"{_NAME}(?:/{_NAME})+")
_GIST = re.compile(rf"({_NAME})/({_GIST_ID}|[0-9]+)(?:/(.*))?", re.DOTALL)
_DISGUISED_GIST = re.compile(rf"(?:{_GIST_ID})(?:\.git)?")
_DOI = re.compile(r"(?:https?://(?:dx\.)?doi\.org/|doi:)?(10\.[0-9]{4,9}/[^\s?#]+)", re.IGNORECASE)
_DOI_VERSION = re.compile(r"\.v[0-9]+$")
_RESOURCE = re.compile(r"[0-9a-f]{32}")
_SCP_ADDRESS = re.compile(r"([A-Za-z0-9_-]+@[A-Za-z0-9_.-]+):(?!/)(.+)")
_USER = re.compile(r"(?<=//).*@")

_PATH_SAFE = "/~@:+,;=!$&'()*"
_GIT_PORTS = {"http": 80, "https": 443, "git": 9418, "ssh": 22}
# The forges where case is of no account; elsewhere paths may differ by it.
_FORGES = frozenset({"github.com", "gitlab.com", "bitbucket.org", "codeberg.org"})
_SSH_USER = "git"


class Spec(Struct, frozen=True, gc=False):
    """What was launched."""

    provider: str
    repository: str
    """As the user named it, decoded: "user/repository", an address, a DOI. Credentials in it, and a
    query, are `***`."""
    ref: str | None
    """The reference asked for, decoded: a branch, a tag, a commit; credentials masked as well. None
    where a provider has none."""
    url: str | None  # where a browser finds the repository; None where it cannot
    key: str
    """The same for all spellings of one repository, whatever the provider, and no address:
    "github.com/user/repository"."""

    def unparse(self) -> str:
        """Return the spec in the provider's canonical quoting; it parses to the same `Spec`."""
        ref = "" if self.ref is None else f"/{quote(self.ref)}"
        return quote(self.repository, safe=_PROVIDERS[self.provider].safe) + ref

    def __str__(self) -> str:
        at = "" if self.ref is None else f"@{self.ref}"
        return f"{self.provider} {self.repository}{at}"


def parse_spec(provider: str, spec: str) -> Spec:
    """Return what a launch's `provider` and `spec` name.

    Args:
        provider: as the event has it.
        spec: as the event has it, percent-encoded.

    Raises:
        SpecError: it is not what this provider's specs are; the message is fit to show.

    >>> parse_spec("GitHub", "QISKit/qiskit-tutorial.git/master").key
    'github.com/qiskit/qiskit-tutorial'
    >>> str(parse_spec("Git", "https%3A%2F%2Fme%3Asecret%40example.org%2Fcourse.git/HEAD"))
    'Git https://***@example.org/course.git@HEAD'
    """
    if provider not in _PROVIDERS:
        raise SpecError(f"no specs are known of a provider {shown(provider)}")
    try:
        return Spec(provider, *_PROVIDERS[provider].parse(spec))
    except ValueError as error:
        # never `from`: the cause may hold what is masked here
        reason = str(error) if isinstance(error, _MisfitError) else "not an address"
    raise SpecError(f"no spec of {provider}: {mask(spec)}: {reason}")


def mask(spec: str) -> str:
    """Return a spec as it may be shown: escaped, and masked all of it that may be a secret."""
    if len(spec) > _LONGEST_SHOWN:
        return f"one of {len(spec):,} characters"
    text = spec
    while (plain := unquote(text)) != text:
        text = plain
    before, at, after = text.rpartition("@")
    scheme, separator, _ = before.rpartition("://")
    start, query, _ = re.split(r"([?#]|$)", after, maxsplit=1)
    if not at and not query:
        return shown(spec)
    masked_user = f"{scheme if separator else ''}{separator}{MASK}@" if at else ""
    return shown(masked_user + start + (f"?{MASK}" if query else ""))


_Parts = tuple[str, str | None, str | None, str]  # of a `Spec` all but the provider


class _MisfitError(ValueError):
    """A reason fit to show why something is no spec."""


def _require(found: T | None, reason: str) -> T:
    if not found:
        raise _MisfitError(reason)
    return found


def _decode(text: str) -> str:
    try:
        plain = unquote(text, errors="strict")
    except UnicodeDecodeError:
        raise _MisfitError("its escapes are not UTF-8") from None
    _require(plain, "a part of it is empty")
    _require(plain.isprintable(), "it holds control characters")
    return plain


def _decode_ref(text: str) -> str:
    # an address pasted after the repository's becomes its reference
    return _USER.sub(f"{MASK}@", _decode(text))


def _split_ref(spec: str) -> tuple[str, str]:
    quoted, slash, ref = spec.partition("/")
    _require(slash, "no reference follows the repository")
    return _decode(quoted), _decode_ref(ref)


def _without_git(path: str) -> str:
    bare = path.removesuffix(".git")
    return path if not bare or bare.endswith("/") else bare


def _parse_github(spec: str) -> _Parts:
    user, name, ref = _require(_GITHUB.fullmatch(spec), "not user/repository/ref").groups()
    # On three days launches of gists were recorded as GitHub's. No one names a repository so.
    _require(not _DISGUISED_GIST.fullmatch(name), "it looks like a gist's")
    path = f"github.com/{user}/{_without_git(name)}"
    return f"{user}/{name}", _decode_ref(ref), f"https://{path}", path.lower()


def _parse_gitlab(spec: str) -> _Parts:
    namespace, ref = _split_ref(spec)
    _require(_GITLAB.fullmatch(namespace), "not namespace/repository")
    path = f"gitlab.com/{_without_git(namespace)}"
    return namespace, ref, f"https://{path}", path.lower()


def _parse_gist(spec: str) -> _Parts:
    user, gist, ref = _require(_GIST.fullmatch(spec), "not user/id, or not a gist's id").groups()
    # an id is of one gist alone, and an address for Git has no user in it
    url, key = f"https://gist.github.com/{user}/{gist}", f"gist.github.com/{gist}"
    return f"{user}/{gist}", None if ref is None else _decode_ref(ref), url, key


def _parse_git(spec: str) -> _Parts:
    address, ref = _split_ref(spec)
    scp = _SCP_ADDRESS.fullmatch(address)
    parts = urlsplit(f"ssh://{scp[1]}/{scp[2]}" if scp else address)
    _require(parts.scheme in _GIT_PORTS, "not an address of a Git repository")
    host = _host(parts)
    names = _path_names(parts.path)
    path = quote("/".join(names), safe=_PATH_SAFE)
    url = f"{parts.scheme}://{host}/{path}"
    browsable = _without_git(url) if parts.scheme in ("http", "https") else None
    repository = address if scp and parts.username == _SSH_USER else _masked(parts)
    return repository, ref, browsable, _git_key(host, names)


def _path_names(path: str) -> list[str]:
    names = [name for name in _decode(path or "/").split("/") if name]
    _require(names, "an address without a path")
    # "https://name:pass/word@host/": what a slash has cut is a password
    _require(not any("@" in name[1:] for name in names), "a user in the middle of an address")
    return names


def _host(parts: SplitResult) -> str:
    """Return host and port, the port left out where it is the usual one; lower case."""
    host = parts.hostname or ""
    _require(re.fullmatch(r"[\w.-]+|[0-9a-f:.]+", host), "an address without a host")
    host = f"[{host}]" if ":" in host else host
    port = parts.port
    return host if port in (None, _GIT_PORTS[parts.scheme]) else f"{host}:{port}"


def _masked(parts: SplitResult) -> str:
    """Return an address without what may be secret in it."""
    user, at, host = parts.netloc.rpartition("@")
    who = user if parts.scheme == "ssh" and user == _SSH_USER else MASK
    query = f"?{MASK}" if parts.query or parts.fragment else ""
    return f"{parts.scheme}://{who if at else ''}{at}{host}{parts.path}{query}"


def _git_key(host: str, names: list[str]) -> str:
    host = host.removeprefix("www.")
    if host == "gist.github.com":
        return f"{host}/{_without_git(names[-1])}".lower()
    if host not in _FORGES:
        return f"{host}/{_without_git('/'.join(names))}"
    # what follows a repository's name is a place in it: "/src/master", "/-/tree/main"
    nested = host == "gitlab.com"
    depth = (names.index("-") if "-" in names else len(names)) if nested else 2
    return f"{host}/{_without_git('/'.join(names[:depth]))}".lower()


def _parse_doi(spec: str) -> _Parts:
    text = _decode(spec)
    doi = _require(_DOI.fullmatch(text), "not a DOI")[1].rstrip("/")
    _require("/" in doi and "//" not in doi, "not a DOI")
    # a DOI is the same in any case (ISO 26324); Figshare's name the version of an article
    key = f"doi.org/{_DOI_VERSION.sub('', doi.lower())}"
    return text, None, f"https://doi.org/{quote(doi, safe='/:;()')}", key


def _parse_hydroshare(spec: str) -> _Parts:
    text = _decode(spec)
    ids = set(_RESOURCE.findall(text.lower()))
    _require(len(ids) == 1, "not the id of one resource")
    _require("@" not in text, "not the address of a resource")
    path = f"hydroshare.org/resource/{ids.pop()}"
    return text, None, f"https://www.{path}", path


def _parse_ckan(spec: str) -> _Parts:
    address = _decode(spec)
    parts = urlsplit(address)
    _require(parts.scheme in ("http", "https"), "not an address")
    host = _host(parts)
    names = _path_names(parts.path)
    at = names.index("dataset") if "dataset" in names else len(names)
    _require(names[at + 1 :], "not the address of a dataset")
    # what follows is one of its activities or resources: "/history/ID", "?activity_id=ID"
    path = "/".join(names[: at + 2])
    url = f"{parts.scheme}://{host}/{quote(path, safe=_PATH_SAFE)}"
    return _masked(parts), None, url, f"{host.removeprefix('www.')}/{path}"


class _Provider(NamedTuple):
    """How launches and specs of a provider are written."""

    prefix: str
    """In the address of a launch: https://mybinder.readthedocs.io/, "v2/gh/user/repository/ref"."""
    parse: Callable[[str], _Parts]
    safe: str = ""  # what is not quoted of a repository in a spec


_PROVIDERS = {
    "GitHub": _Provider("gh", _parse_github, "/"),
    "GitLab": _Provider("gl", _parse_gitlab),
    "Git": _Provider("git", _parse_git),
    "Gist": _Provider("gist", _parse_gist, "/"),
    "Zenodo": _Provider("zenodo", _parse_doi, "/"),
    "Figshare": _Provider("figshare", _parse_doi, "/"),
    "Dataverse": _Provider("dataverse", _parse_doi, "/"),
    "Hydroshare": _Provider("hydroshare", _parse_hydroshare),
    "CKAN": _Provider("ckan", _parse_ckan),
}
PROVIDERS = tuple(_PROVIDERS)
"""The providers that are known. There may be a new one without a new version of the schema."""
_PROVIDER_BY_PREFIX = {provider.prefix: name for name, provider in _PROVIDERS.items()}

_SHORT = re.compile(r"([A-Za-z0-9_-]+/[A-Za-z0-9._-]+)/?")
_DOI_HOST = re.compile(r"^(?:dx\.)?doi\.org/", re.IGNORECASE)
_HYDROSHARE_DOI = re.compile(r"10\.4211/hs\.", re.IGNORECASE)
_ZENODO_RECORD = re.compile(r"(?:https?://)?(?:www\.)?zenodo\.org/records?/([0-9]+)(?:[/?#].*)?")
_DATAVERSE_PAGE = re.compile(r"https?://[^?#]+\?(?:[^#]*&)?persistentId=doi:(10\.[^&#]+).*")
_HOST_AND_PATH = re.compile(r"(?:(?:[^/@:]*\.[^/@:]*|localhost)(?::[0-9]+)?|[^/@:]+:[0-9]+)/.+")
_LAUNCH_LINK = re.compile(rf"https?://[^?#]+?/v2/({'|'.join(_PROVIDER_BY_PREFIX)})(?:/([^?#]*).*)?")


def repository_key(name: str, *, forge: str = "github.com") -> str:
    """Return the key of a repository as a person names it; see `Spec.key`.

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
    if doi := _DOI.fullmatch(_DOI_HOST.sub("", name)) or _DATAVERSE_PAGE.fullmatch(name):
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
