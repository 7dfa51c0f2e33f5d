"""Posts bodies over HTTP/1.1 and reads the replies whole: what the direct path needs of a client, and no more.

    pool = HttpPool()
    reply = await pool.post(yarl.URL("https://api.example/v1/chat/completions"), headers, body)
    reply.status, reply.headers.get("retry-after"), reply.body

Connections are kept open and used again. A client for everything (cookies, redirects, streams, tracing) takes longer
over a request than the rest of the direct path does. Replies are parsed by llhttp, as in Node.
"""

import asyncio
import ssl
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import httptools
import yarl

CONNECT_SECONDS, READ_SECONDS = 60.0, 600.0
"""How long a connection may take to come about, and how long a server may say nothing."""
IDLE_SECONDS = 5.0
"""How long a connection is kept that nobody uses: servers close theirs at their own time, and lose a request that comes
at that moment."""
MAX_HEADERS, MAX_HEADER_BYTES = 128, 8190
"""Header lines of a reply, and bytes of one."""
_CODINGS = ("gzip", "x-gzip", "deflate")


class UnreadableReplyError(ValueError):
    """What a server said is no HTTP, or has more or longer headers than are read here."""


@dataclass(frozen=True, slots=True)
class HttpReply:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    """By names in small letters."""
    body: bytes


class _Connection(asyncio.Protocol):
    """One connection, which asks one thing at a time."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[HttpReply] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._headers: dict[str, str] = {}
        self._body: list[bytes] = []
        self._count = 0
        self._has_head = False
        self._heard = self.idle_since = 0.0
        self.is_open = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    async def exchange(self, request: bytes) -> HttpReply:
        """The reply to a request; the connection is of no more use unless `is_open`."""
        assert self._transport is not None
        if not self.is_open:
            raise ConnectionResetError("closed before anything was sent")
        self._waiter = self._loop.create_future()
        self._heard = self._loop.time()
        if self._timer is None:
            self._timer = self._loop.call_later(READ_SECONDS, self._look_at_clock)
        self._transport.write(request)
        try:
            return await self._waiter
        except BaseException:
            self.close()
            raise
        finally:
            self._waiter = None

    def close(self) -> None:
        """End it."""
        self.is_open = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._transport is not None:
            self._transport.close()

    def _look_at_clock(self) -> None:
        """One timer serves a connection for all of its requests: one each would cost more than the rest of this."""
        self._timer = None
        if self._waiter is None:
            return
        left = self._heard + READ_SECONDS - self._loop.time()
        if left > 0:
            self._timer = self._loop.call_later(left, self._look_at_clock)
        else:
            self._fail(TimeoutError(f"the server said nothing for {READ_SECONDS:.0f} seconds"))

    def _fail(self, error: Exception) -> None:
        self.is_open = False
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(error)
        elif self._transport is not None:
            self.close()

    # what the event loop calls

    def data_received(self, data: bytes) -> None:
        if self._waiter is None or self._waiter.done():  # nobody asked
            self.close()
            return
        self._heard = self._loop.time()
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._fail(UnreadableReplyError("the server changes to another protocol"))
        except (httptools.HttpParserError, UnicodeError, UnreadableReplyError) as exc:
            # what a callback raised is the context of the parser's own
            self._fail(UnreadableReplyError(str(exc.__context__ or exc)))

    def eof_received(self) -> None:
        if self._has_head and not self._headers.keys() & {"content-length", "transfer-encoding"}:
            self.is_open = False  # a body without a length goes to the end
            self._finish()

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(exc if isinstance(exc, OSError) else ConnectionResetError("the server closed the connection"))

    # what the parser calls

    def on_message_begin(self) -> None:
        self._headers, self._body, self._count, self._has_head = {}, [], 0, False

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count += 1
        if self._count > MAX_HEADERS or len(name) + len(value) > MAX_HEADER_BYTES:
            raise UnreadableReplyError("more or longer headers than are read here")
        key = name.decode("latin-1").lower()
        self._headers.setdefault(key, value.decode("utf-8", "replace"))

    def on_headers_complete(self) -> None:
        self._has_head = True

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        if self._parser.get_status_code() >= 200:  # else an interim reply (100, 103), before the one that was asked for
            self.is_open = self.is_open and self._parser.should_keep_alive()
            self._finish()

    def _finish(self) -> None:
        if self._waiter is None or self._waiter.done():  # two replies to one request
            self.is_open = False
            return
        try:
            body = _decompress(b"".join(self._body), self._headers.get("content-encoding", ""))
        except (zlib.error, ValueError) as exc:
            self._fail(ValueError(f"a body that cannot be decompressed: {exc}"))
            return
        self._waiter.set_result(HttpReply(self._parser.get_status_code(), self._headers, body))


class HttpPool:
    """The connections of one event loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._idle: dict[tuple[str, str, int], list[_Connection]] = {}
        self._heads: dict[tuple[yarl.URL, int], tuple[Mapping[str, str], bytes]] = {}
        self._sweep: asyncio.TimerHandle | None = None

    async def post(self, url: yarl.URL, headers: Mapping[str, str], body: bytes) -> HttpReply:
        """What a server replies to a POST.

        Args:
            url: `http` or `https`, without a user's name.
            headers: besides Host, Content-Length, Accept and Accept-Encoding, which are added.
            body: as it is sent.

        Raises:
            OSError: no connection, or it was lost; a TimeoutError where it took too long.
            UnreadableReplyError: what came is not read here.
            ValueError: an address, a header or a body that cannot be used.
        """
        place = (url.scheme, url.host or "", url.port or 0)
        connection = self._take_idle(place) or await self._connect(*place)
        reply = await connection.exchange(b"%b%d\r\n\r\n%b" % (self._build_head(url, headers), len(body), body))
        if connection.is_open:
            self._keep(place, connection)
        else:
            connection.close()
        return reply

    def close(self) -> None:
        """Close what is idle; what is under way is its task's."""
        if self._sweep is not None:
            self._sweep.cancel()
        for connections in self._idle.values():
            for connection in connections:
                connection.close()
        self._idle.clear()

    async def _connect(self, scheme: str, host: str, port: int) -> _Connection:
        secure = _get_tls() if scheme == "https" else None
        async with asyncio.timeout(CONNECT_SECONDS):
            _, connection = await self._loop.create_connection(
                lambda: _Connection(self._loop), host, port, ssl=secure, happy_eyeballs_delay=0.25
            )
        return connection

    def _build_head(self, url: yarl.URL, headers: Mapping[str, str]) -> bytes:
        """All of a request before the number of its bytes; endpoints have the same headers for a long time."""
        known = self._heads.get((url, id(headers)))
        if known is None or known[0] is not headers:
            if url.scheme not in ("http", "https") or not url.host or url.raw_user is not None:
                raise ValueError(f"{url.with_user(None)} is no address for requests")
            given = {name.lower(): (name, value) for name, value in headers.items()}
            extra = {"Host": url.host_port_subcomponent or "", "Accept": "*/*", "Accept-Encoding": "gzip, deflate"}
            for name, value in extra.items():
                given.setdefault(name.lower(), (name, value))
            given.pop("content-length", None)
            lines = [f"POST {url.raw_path_qs or '/'} HTTP/1.1", *(f"{name}: {value}" for name, value in given.values())]
            if any("\r" in line or "\n" in line for line in lines):
                raise ValueError("a header with a line break")
            head = "\r\n".join([*lines, "Content-Length: "]).encode("utf-8")
            if len(self._heads) > 100:
                self._heads.clear()
            known = self._heads[url, id(headers)] = (headers, head)
        return known[1]

    def _take_idle(self, place: tuple[str, str, int]) -> _Connection | None:
        connections = self._idle.get(place)
        while connections:
            connection = connections.pop()
            if connection.is_open and self._loop.time() - connection.idle_since < IDLE_SECONDS:
                return connection
            connection.close()
        return None

    def _keep(self, place: tuple[str, str, int], connection: _Connection) -> None:
        connection.idle_since = self._loop.time()
        self._idle.setdefault(place, []).append(connection)
        if self._sweep is None:
            self._sweep = self._loop.call_later(IDLE_SECONDS, self._close_old)

    def _close_old(self) -> None:
        oldest = self._loop.time() - IDLE_SECONDS
        for place, connections in list(self._idle.items()):
            for connection in connections:
                if connection.idle_since <= oldest:
                    connection.close()
            self._idle[place] = [connection for connection in connections if connection.is_open]
        self._sweep = None
        if any(self._idle.values()):
            self._sweep = self._loop.call_later(IDLE_SECONDS, self._close_old)


@cache
def _get_tls() -> ssl.SSLContext:
    """The system's own trust, as `SSL_CERT_FILE` may say otherwise."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


def _decompress(body: bytes, coding: str) -> bytes:
    """The body without its coding.

    Raises:
        zlib.error, ValueError: it is not of that coding, cut, or of one that nobody asked for.
    """
    coding = coding.strip().lower()
    if coding in ("", "identity") or not body:
        return body
    if coding not in _CODINGS:
        raise ValueError(f"coding {coding!r}")
    try:
        return _inflate(body, 47)  # a head of gzip or zlib
    except zlib.error:
        if coding != "deflate":
            raise
        return _inflate(body, -15)  # some servers leave it out


def _inflate(body: bytes, bits: int) -> bytes:
    whole = []
    while body:  # gzip may have several members
        decoder = zlib.decompressobj(bits)
        whole.append(decoder.decompress(body) + decoder.flush())
        if not decoder.eof:
            raise ValueError("it is cut")
        body = decoder.unused_data
    return b"".join(whole)
