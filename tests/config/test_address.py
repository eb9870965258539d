"""Upstream's address: every spelling is one upstream, and no password is ever shown."""

import pytest

from mirror.config.address import identity_of, masked_address, origin_of

ORIGINS = {
    "https://host/a/": ("https", "host", 443),
    "http://HOST": ("http", "host", 80),
    "http://host:443/": ("http", "host", 443),
    "https://host:443": ("https", "host", 443),
    "https://user:word@host/": ("https", "host", 443),
    "http://[::1]:8000/": ("http", "::1", 8000),
    "ftp://host/": ("ftp", "host", 0),
    "/path": ("", "", 0),
}


@pytest.mark.parametrize(("url", "origin"), ORIGINS.items())
def test_an_origin_is_scheme_host_and_port(url, origin):
    assert origin_of(url) == origin


ONE = "https://archive.example/"
SPELLINGS = {
    "https://archive.example": ONE,
    "HTTPS://Archive.EXAMPLE/": ONE,
    "https://archive.example:443/": ONE,
    "https://archive.example:/": ONE,
    "https://archive.example//": ONE,
    "https://archive.example/./": ONE,
    "https://archive.example/a/..": ONE,
    "https://archive.example/../": ONE,
    "https://user:word@archive.example/": ONE,
    "https://user@archive.example": ONE,
    "https://archive.example/?": ONE,
    "https://archive.example/?a=b#c": ONE,
    " https://archive.example/ ": ONE,
    "http://archive.example:80": "http://archive.example/",
    "https://archive.example:80": "https://archive.example:80/",
    "http://archive.example:8080": "http://archive.example:8080/",
    "http://h/%7Ebinder/%c3%a9": "http://h/~binder/%C3%A9/",
    "http://h/~binder/é/": "http://h/~binder/%C3%A9/",
    "http://h/a%2Fb": "http://h/a%2Fb/",
    "http://h/a/%2e%2E/b": "http://h/b/",
    "http://h/A": "http://h/A/",
    "http://h/a b": "http://h/a%20b/",
    "http://BÜCHER.example": "http://xn--bcher-kva.example/",
    "http://xn--bcher-kva.example/": "http://xn--bcher-kva.example/",
    "http://[0:0:0:0:0:0:0:1]:8000": "http://[::1]:8000/",
    "http://[::1]:80/": "http://[::1]/",
    "": "",
    "nowhere": "",
    "http://[": "",
    "http://[x]/": "",
    "http://host:port/": "",
}


@pytest.mark.parametrize(("url", "identity"), SPELLINGS.items())
def test_an_upstream_has_one_spelling(url, identity):
    assert identity_of(url) == identity
    assert identity_of(identity) == identity


@pytest.mark.parametrize(
    ("url", "safe"),
    [
        ("https://me:pw@host/x", "https://***@host/x"),
        ("https://me:p@w/pw@host/x", "https://***@host/x"),
        ("me:pw//pw@host", "***@host"),
        ("https:me:pw@host", "***@host"),
        ("ftp://me:pw\n@host", "ftp://***@host"),
        ("https://host/x", "https://host/x"),
    ],
)
def test_no_password_is_shown_however_wrong_the_address(url, safe):
    assert masked_address(url) == safe
