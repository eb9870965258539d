"""The archive over HTTP: one session, every phase of a request bounded, no redirect elsewhere.

Bodies are handed on as they come over the wire; decoding, counting and judging are not done here.
Every error of aiohttp's becomes an UpstreamError, while streaming too.

Time: an answer's head is there within `http.connect_timeout` and `http.read_timeout` together,
redirects included. While a body comes, only the time counts that we wait for upstream, for a slow
disk of ours is not its fault: in twice the read_timeout of it, `http.min_speed` has to be reached
by what is *kept*, bytes that decode to nothing being none; and no body takes more than an hour.
"""

import asyncio
import errno
import os
import ssl
import time
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import format_datetime
from functools import partial
from urllib.parse import urljoin
from urllib.request import getproxies, proxy_bypass

import aiohttp
from yarl import URL

from mirror import __version__
from mirror.archive.headers import ReplyMeta, parse_meta, parse_retry_after
from mirror.archive.plan import is_transient_status
from mirror.archive.ports import Ask, Reply, Traffic
from mirror.config.address import identity_of, masked_address, origin_of
from mirror.config.settings import HttpConfig
from mirror.errors import ConfigError, Failure, MirrorError, StorageError, UpstreamError
from mirror.sync.wire import HEAD_BYTES, Connector
from mirror.text import plural, shown

BLOCK_BYTES = 512 * 1024
"""Least that is handed on at a time: handing over to a thread costs as much as copying this."""
_BLOCK_CHUNKS = 4096  # most chunks of what is handed on: each costs memory, however small
_BODY_S = 3600  # longest wait for one body in all: 256 MiB in it are 75 kB/s
_MAX_REDIRECTS = 5
_REDIRECTS = (301, 302, 303, 307, 308)
_ANSWERS = (200, 304, 404)


@asynccontextmanager
async def open_source(
    url: str,
    config: HttpConfig,
    *,
    now: Callable[[], datetime],
    block_bytes: int = BLOCK_BYTES,
) -> AsyncIterator["HttpSource"]:
    """Open a session with the archive at a base URL.

    Names are resolved against the URL; user and password in it are sent as basic auth. The clock is
    for dates in `Retry-After`; `block_bytes` is the least that is handed on of a body at a time. A
    ConfigError says that the proxy that the environment names is not a URL.
    """
    # without credentials, so that none can get into an error, a log or a redirect
    base, auth = identity_of(url), aiohttp.BasicAuth.from_url(URL(url), encoding="utf-8")
    (proxy, proxy_auth), trace = _find_proxy(base), aiohttp.TraceConfig()

    async def tell(*_: object) -> None:
        if source.on_sent is not None:
            source.on_sent()

    trace.on_request_headers_sent.append(tell)
    async with aiohttp.ClientSession(
        auto_decompress=False,  # see mirror.archive.intake
        read_bufsize=BLOCK_BYTES,  # less makes it stop and start reading at every chunk
        connector=Connector(limit=config.concurrency + 1),
        max_line_size=HEAD_BYTES,
        max_field_size=HEAD_BYTES,
        max_headers=1000,
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={
            "User-Agent": config.user_agent or f"binder-mirror/{__version__}",
            "Accept-Encoding": "identity",
            **({"Authorization": auth.encode()} if auth else {}),
        },
        timeout=aiohttp.ClientTimeout(
            total=None,
            connect=None,
            sock_connect=config.connect_timeout,
            sock_read=config.read_timeout,
        ),
        # found once, for upstream is one host; aiohttp would look for each request anew
        proxy=proxy,
        proxy_auth=proxy_auth,
        trace_configs=[trace],
    ) as session:
        source = HttpSource(session, base, config, now, block_bytes)
        yield source


@dataclass
class HttpSource:
    """Where bodies come from: the archive over a session. Made by `open_source`."""

    _session: aiohttp.ClientSession
    _base: str
    _config: HttpConfig
    now: Callable[[], datetime]
    _block_bytes: int
    _free_at: float = 0  # when what came so far is within `http.rate_limit`
    _quiet_until: float = 0  # until when upstream wants to be left alone
    _pauses: Counter[str] = field(default_factory=Counter)
    """How often it has wanted that by what it was asked for, up to a good answer to just that."""
    traffic: Traffic = field(default_factory=Traffic)
    on_sent: Callable[[], None] | None = None
    """Called when a question is out, and the wait for its answer begins."""

    @asynccontextmanager
    async def open(self, name: str, ask: Ask) -> AsyncIterator[Reply]:
        """Ask for an object by its name, relative to the archive's base.

        Without an answer, or with one that is neither 200, 304 nor 404, there is an UpstreamError.
        """
        try:
            response = await self._ask(urljoin(self._base, name), ask)
        except UpstreamError as error:
            self.heed(name, error.retry_after_s or 0)
            raise
        self.heed(name, None)
        try:
            yield Reply(response.status, self._meta(response), partial(self._blocks, response))
        finally:
            # what was not read to its end is worth no connection: close, not release
            if response.content.at_eof():
                response.release()
            else:
                response.close()

    async def wait_turn(self) -> None:
        """Wait while upstream wants to be left alone, and until what came is within the rate."""
        if (pause_s := max(self._quiet_until, self._free_at) - time.monotonic()) > 0:
            await asyncio.sleep(pause_s)

    def heed(self, name: str, retry_after_s: float | None) -> None:
        """Keep to how long upstream wants to be left alone; None where it has answered.

        A Retry-After is the host's word, not one file's, and so nothing is asked for. A host that
        says so of the same files again and again, whatever it answers for others, is held to it
        for these alone: a poll must not take as long as all their pauses together.
        """
        if retry_after_s is None:
            del self._pauses[name]
            return
        now, pause_s = time.monotonic(), min(retry_after_s, self._config.max_backoff)
        if pause_s and (now < self._quiet_until or self._pauses.total() <= self._config.retries):
            self._pauses[name] += now >= self._quiet_until
            self._quiet_until = max(self._quiet_until, now + pause_s)

    def _meta(self, response: aiohttp.ClientResponse) -> ReplyMeta:
        return parse_meta(response.headers, now=self.now())

    async def _ask(self, url: str, ask: Ask) -> aiohttp.ClientResponse:
        """Return an answer that counts; one that does not is asked for without conditions."""
        try:
            response = await self._request(url, ask)
        except UpstreamError as error:
            # what follows a 304 that comes with a body is not HTTP; a 412 refuses the condition
            is_odd = error.failure is Failure.NOT_HTTP or error.status == 412
            if not (ask.is_conditional and is_odd):
                raise
            self.traffic.failures[error.failure] += 1
        else:
            if response.status != 304 or ask.is_answered_by(self._meta(response)):
                return response
            response.close()
        response = await self._request(url, Ask(past_caches=True, head_only=ask.head_only))
        if response.status == 304:
            response.close()
            raise self._refusal(response)
        return response

    async def _request(self, url: str, ask: Ask) -> aiohttp.ClientResponse:
        await self.wait_turn()
        origin, loop = origin_of(self._base), asyncio.get_running_loop()
        deadline = loop.time() + self._config.connect_timeout + self._config.read_timeout
        for _ in range(_MAX_REDIRECTS + 1):
            response = await self._send(url, ask, deadline)
            if response.status in _ANSWERS:
                return response
            response.close()
            if response.status not in _REDIRECTS:
                raise self._refusal(response)
            location = response.headers.get("Location", "")
            try:
                url = urljoin(url, location)
                is_elsewhere = origin_of(url) != origin
            except ValueError:
                url, is_elsewhere = location, True
            if is_elsewhere:
                raise UpstreamError(
                    f"upstream moved to {shown(masked_address(url))}",
                    hint="if that is right, set upstream.url",
                    failure=Failure.REDIRECT,
                    transient=False,
                    status=response.status,
                )
        raise UpstreamError(
            f"upstream redirects in circles at {shown(masked_address(url))}",
            failure=Failure.REDIRECT,
            transient=False,
        )

    async def _send(self, url: str, ask: Ask, deadline: float) -> aiohttp.ClientResponse:
        headers: dict[str, str] = {}
        if ask.if_none_match is not None:
            headers["If-None-Match"] = ask.if_none_match
        elif ask.if_modified_since is not None:
            headers["If-Modified-Since"] = format_datetime(ask.if_modified_since, usegmt=True)
        if ask.past_caches:
            headers["Cache-Control"] = "no-cache"
        self.traffic.requests += 1
        try:
            async with asyncio.timeout_at(deadline):
                response = await self._session.request(
                    "HEAD" if ask.head_only else "GET",
                    URL(url).with_user(None),  # of a redirect's own choice
                    headers=headers,
                    allow_redirects=False,
                )
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            self.traffic.unanswered += 1
            raise _translate(error, self._base) from error
        self.traffic.statuses[response.status] += 1
        # of many small files the heads are the larger part
        self._count(sum(len(name) + len(value) + 4 for name, value in response.raw_headers))
        return response

    async def _blocks(
        self, response: aiohttp.ClientResponse, kept: Callable[[], int]
    ) -> AsyncGenerator[list[bytes], None]:
        """Yield the body's chunks in blocks; see `mirror.archive.ports.Reply.blocks`."""
        http, where = self._config, response.url.name
        # not iter_any, which copies what it joins
        chunks, is_over = response.content.iter_chunks(), False
        window_s = min(2 * http.read_timeout, _BODY_S)
        waited_s = total_s = 0.0
        seen = new = 0
        while not is_over:
            block: list[bytes] = []
            began, window = time.monotonic(), asyncio.timeout(window_s - waited_s)
            try:
                async with window:
                    is_over = await _gather(chunks, block, self._block_bytes)
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                if not window.expired():
                    raise _translate(error, where) from error
            waited_s += time.monotonic() - began
            if size := sum(map(len, block)):
                self.traffic.received_bytes += size
                yield block
                self._count(size)
                if (pause_s := self._free_at - time.monotonic()) > 0:
                    await asyncio.sleep(pause_s)
                gain = kept() - seen
                seen, new = seen + gain, new + gain
                self.traffic.kept_bytes += gain
            if waited_s >= window_s and not is_over:
                total_s += waited_s
                if new < max(1, http.min_speed * window_s) or total_s >= _BODY_S:
                    raise _too_slow(new, waited_s, total_s)
                waited_s, new = 0.0, 0

    def _count(self, size: int) -> None:
        """Count what came, for all downloads together are held to the rate that is set."""
        if rate := self._config.rate_limit:
            self._free_at = max(self._free_at, time.monotonic()) + size / rate

    def _refusal(self, response: aiohttp.ClientResponse) -> UpstreamError:
        status = response.status
        is_transient = is_transient_status(status) or status == 304
        retry_after_s = parse_retry_after(response.headers.get("Retry-After"), self.now())
        by_class = {4: Failure.HTTP_4XX, 5: Failure.HTTP_5XX}
        failure = by_class.get(status // 100, Failure.HTTP_OTHER)
        return UpstreamError(
            f"upstream answered {status} {shown(response.reason or '', 40)}".rstrip(),
            hint="" if is_transient else "is upstream.url right, and are we allowed to read it?",
            failure=Failure.HTTP_429 if status == 429 else failure,
            transient=is_transient,
            retry_after_s=retry_after_s,
            status=status,
        )


def _find_proxy(base: str) -> tuple[URL | None, aiohttp.BasicAuth | None]:
    """Return the proxy that the environment names for upstream, and the credentials for it."""
    url = URL(base)
    named = getproxies().get(url.scheme)
    if not named or url.host is None or proxy_bypass(f"{url.host}:{url.port}"):
        return None, None
    try:
        proxy = URL(named if "//" in named else f"http://{named}")
        return proxy.with_user(None), aiohttp.BasicAuth.from_url(proxy)
    except ValueError as error:
        # not shown: it may hold a password
        raise ConfigError(
            "the proxy that the environment names is not a URL", hint=f"see {url.scheme}_proxy"
        ) from error


async def _gather(
    chunks: AsyncIterator[tuple[bytes, bool]], block: list[bytes], enough: int
) -> bool:
    """Add chunks to a block until it is worth a hand-over; return whether the body is over."""
    size = 0
    async for chunk, _ in chunks:
        block.append(chunk)
        size += len(chunk)
        if size >= enough or len(block) >= _BLOCK_CHUNKS:
            return False
    return True


def _too_slow(new: int, waited_s: float, total_s: float) -> UpstreamError:
    is_late = total_s >= _BODY_S
    text = f"the body has not come within {total_s / 60:.0f} minutes"
    return UpstreamError(
        text if is_late else f"only {plural(new, 'byte')} came in {waited_s:.0f} s",
        hint="" if is_late else "see http.min_speed",
        failure=Failure.SLOW,
        transient=not is_late,
    )


def _translate(error: Exception, where: str) -> MirrorError:
    """Return a failure of the network's or of aiohttp's as one of ours."""
    if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
        hint = "raise the limit of open files (ulimit -n), or lower http.concurrency"
        return StorageError(f"a connection: {error.strerror}", hint=hint)
    text = " ".join(str(getattr(error, "message", error)).split()) or type(error).__name__
    if isinstance(error, aiohttp.ClientConnectorError) and error.errno and error.errno > 0:
        text = f"{error.host}:{error.port}: {os.strerror(error.errno)}"
    failure, message, hint = next(row[1:] for row in _TRANSLATIONS if isinstance(error, row[0]))
    return UpstreamError(
        message.format(where=where, text=shown(text, 200)),
        hint=hint,
        failure=failure,
        transient=failure not in (Failure.TLS, Failure.OTHER),
    )


_Kinds = type[Exception] | tuple[type[Exception], ...]
_TRANSLATIONS: tuple[tuple[_Kinds, Failure, str, str], ...] = (
    (TimeoutError, Failure.TIMEOUT, "no byte came from {where} in time", "see http.read_timeout"),
    (
        (aiohttp.ClientConnectorCertificateError, ssl.SSLError),
        Failure.TLS,
        "the certificate of {where} is not trusted: {text}",
        "set SSL_CERT_FILE to the CA bundle that vouches for it",
    ),
    (aiohttp.ClientPayloadError, Failure.CUT, "the body is cut short", ""),
    (
        aiohttp.ClientConnectorDNSError,
        Failure.DNS,
        "cannot find the host of {where}",
        "is the name right, and is there a network?",
    ),
    (
        aiohttp.ClientConnectorError,
        Failure.CONNECTION,
        "cannot connect to {text}",
        "is upstream.url right?",
    ),
    (aiohttp.ClientResponseError, Failure.NOT_HTTP, "not an HTTP answer: {text}", ""),
    (
        (aiohttp.InvalidURL, ValueError),
        Failure.OTHER,
        "not a usable URL: {text}",
        "see upstream.url",
    ),
    (Exception, Failure.CONNECTION, "the connection to {where} broke: {text}", ""),
)
"""Kinds of error, the specific before the general: its word, message, hint."""
