"""Upstream's address: one spelling, by which it is known, and none with a password in it. Pure."""

import re
import string
from ipaddress import ip_address
from typing import Any
from urllib.parse import quote, urljoin, urlsplit

_UNRESERVED = frozenset(string.ascii_letters + string.digits + "-._~")
_ESCAPE = re.compile(r"%([0-9a-fA-F]{2})")
_CREDENTIALS = re.compile(r"\A(\s*[a-zA-Z][a-zA-Z0-9+.-]*://)?.*@", re.DOTALL)


def origin_of(url: str) -> tuple[str, str, int]:
    """Return scheme, host and port of a URL, which no redirect may leave; ValueError for no URL."""
    parts = urlsplit(url)
    default: Any = {"http": 80, "https": 443}.get(parts.scheme, 0)
    return parts.scheme, _host(parts.hostname or ""), parts.port or default


def identity_of(url: str) -> str:
    """Return a base URL in the one spelling that is kept, compared and asked; empty if it is none.

    Scheme, host and port as `origin_of` has them, the path by RFC 3986, 6.2.2, with one slash at
    its end; without credentials, query and fragment.
    """
    try:
        scheme, host, port = origin_of(url.strip())
        path = _ESCAPE.sub(_unescape, urlsplit(url.strip()).path).strip("/")
    except ValueError:
        return ""
    if not host:
        return ""
    netloc = f"[{host}]" if ":" in host else host
    if (scheme, port) not in (("http", 80), ("https", 443), (scheme, 0)):
        netloc += f":{port}"
    # the characters that RFC 3986 lets stand in a path
    path = quote(f"/{path}/" if path else "/", safe="/%:@!$&'()*+,;=~")
    return f"{scheme}://{netloc}{urljoin('/', path)}"


def masked_address(url: str) -> str:
    """Return a URL with user and password hidden, also where it is too wrong to be taken apart."""
    return _CREDENTIALS.sub(r"\1***@", url)


def _unescape(match: re.Match[str]) -> str:
    character = chr(int(match[1], 16))
    return character if character in _UNRESERVED else match[0].upper()


def _host(host: str) -> str:
    """Return a host in lower case, an international one in ASCII, an IPv6 address in short."""
    if ":" in host:
        return ip_address(host).compressed
    if host.isascii():
        return host
    # it is what requests are made with, and so encodes as they do; slow to import
    from yarl import URL  # noqa: PLC0415

    return URL.build(scheme="http", host=host).raw_host or ""
