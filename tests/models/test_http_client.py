"""The client of the direct path, with servers that say exactly what a test has them say."""

import asyncio
import gzip
import os
import ssl
import subprocess
import zlib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import yarl

from archon_eval.models import http_client
from archon_eval.models.http_client import HttpPool, HttpReply, UnreadableReplyError

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
HEADERS = {"Authorization": "Bearer k", "Content-Type": "application/json"}


class Server:
    """Answers the n-th request with the n-th of its replies; each is a list of parts, with a pause between them."""

    def __init__(self, *replies: list[bytes] | bytes, closes: bool = False, delay: float = 0.0) -> None:
        self.replies, self.closes, self.delay = list(replies), closes, delay
        self.requests: list[bytes] = []
        self.connections = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                self.requests.append(head + await reader.readexactly(length))
                reply = self.replies.pop(0)
                await asyncio.sleep(self.delay)
                for part in [reply] if isinstance(reply, bytes) else reply:
                    writer.write(part)
                    await writer.drain()
                    await asyncio.sleep(0.001)
                if self.closes:
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()


def talk(
    server: Server, work: Callable[[HttpPool, yarl.URL], Awaitable[Any]], tls: ssl.SSLContext | None = None
) -> Any:
    async def main() -> Any:
        listening = await asyncio.start_server(server.serve, "127.0.0.1", 0, ssl=tls)
        port = listening.sockets[0].getsockname()[1]
        pool = HttpPool()
        try:
            return await work(pool, yarl.URL(f"{'https' if tls else 'http'}://localhost:{port}/v1/chat"))
        finally:
            pool.close()
            listening.close()

    return asyncio.run(main())


async def post_twice(pool: HttpPool, url: yarl.URL) -> list[HttpReply]:
    return [await pool.post(url, HEADERS, body) for body in (b"{}", b'{"n": 2}')]


def test_a_connection_is_used_again_and_the_request_is_whole() -> None:
    server = Server(OK, OK)
    replies = talk(server, post_twice)
    assert [(reply.status, reply.body) for reply in replies] == [(200, b"ok")] * 2 and server.connections == 1
    head, _, body = server.requests[1].partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert lines[0] == "POST /v1/chat HTTP/1.1" and body == b'{"n": 2}'
    names = {name.lower(): value for name, value in (line.split(": ") for line in lines[1:])}
    assert names.pop("host").startswith("localhost:")
    assert names == {
        "authorization": "Bearer k",
        "content-type": "application/json",
        "accept": "*/*",
        "accept-encoding": "gzip, deflate",
        "content-length": "8",
    }


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n5;x=y\r\n then\r\n0\r\nTrailer: t\r\n\r\n"


@pytest.mark.parametrize(
    ("reply", "body"),
    [
        ([OK[:9], OK[9:30], OK[30:-1], OK[-1:]], b"ok"),
        ([CHUNKED[:60], CHUNKED[60:70], CHUNKED[70:]], b"ok then"),
        ([b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n", OK], b"ok"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
    ],
    ids=["pieces", "chunks", "interim", "none"],
)
def test_replies_in_any_form_leave_the_connection_for_the_next(reply: Any, body: bytes) -> None:
    server = Server(reply, OK)
    first, second = talk(server, post_twice)
    assert (first.body, second.body, server.connections) == (body, b"ok", 1)


@pytest.mark.parametrize(
    ("coding", "data"),
    [
        ("gzip", gzip.compress(b"squee") + gzip.compress(b"zed")),
        ("deflate", zlib.compress(b"squeezed")),
        ("deflate", zlib.compress(b"squeezed")[2:-4]),
        ("GZIP", gzip.compress(b"squeezed")),
        ("identity", b"squeezed"),
    ],
)
def test_compressed_bodies_are_read(coding: str, data: bytes) -> None:
    head = f"HTTP/1.1 429 Busy\r\nRetry-After: 3\r\nContent-Encoding: {coding}\r\nContent-Length: {len(data)}\r\n\r\n"
    reply, _ = talk(Server(head.encode() + data, OK), post_twice)
    assert (reply.status, reply.body, reply.headers["retry-after"]) == (429, b"squeezed", "3")


@pytest.mark.parametrize(
    "reply",
    [
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\n\r\nok",  # to the end of the connection
    ],
    ids=["close", "old", "endless"],
)
def test_a_connection_that_ends_is_not_used_again(reply: bytes) -> None:
    server = Server(reply, reply, closes=True)
    assert [reply.body for reply in talk(server, post_twice)] == [b"ok", b"ok"] and server.connections == 2


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (b"", ConnectionResetError),
        (OK[:-1], ConnectionResetError),
        (CHUNKED[:70], ConnectionResetError),
        (b"SSH-2.0-nothing to see\r\n\r\n", UnreadableReplyError),
        (b"HTTP/1.1 101 Switching\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n", UnreadableReplyError),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 9000 + b"\r\n\r\n", UnreadableReplyError),
        (b"HTTP/1.1 200 OK\r\n" + b"X: x\r\n" * 200 + b"\r\n", UnreadableReplyError),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\nok", ValueError),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: br\r\nContent-Length: 2\r\n\r\nok", ValueError),
    ],
    ids=["nothing", "cut", "cut-chunk", "no-http", "upgrade", "long-header", "many-headers", "no-gzip", "coding"],
)
def test_what_cannot_be_read_is_an_error_and_the_next_request_has_another_connection(
    reply: bytes, error: type[Exception]
) -> None:
    server = Server(reply, OK, closes=True)

    async def work(pool: HttpPool, url: yarl.URL) -> HttpReply:
        with pytest.raises(error):
            await pool.post(url, HEADERS, b"{}")
        return await pool.post(url, HEADERS, b"{}")

    assert talk(server, work).body == b"ok" and server.connections == 2


def test_what_comes_unasked_is_never_taken_for_a_reply() -> None:
    """Two replies to one request: the second would be read as the reply to the next."""
    server = Server(OK + OK.replace(b"ok", b"no"), OK)
    assert [reply.body for reply in talk(server, post_twice)] == [b"ok", b"ok"] and server.connections == 2


def test_a_request_that_is_cancelled_or_not_answered_takes_its_connection_with_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(http_client, "READ_SECONDS", 0.1)

    async def work(pool: HttpPool, url: yarl.URL) -> HttpReply:
        with pytest.raises(TimeoutError, match="said nothing"):
            await pool.post(url, HEADERS, b"{}")
        monkeypatch.setattr(http_client, "READ_SECONDS", 600.0)
        task = asyncio.create_task(pool.post(url, HEADERS, b"{}"))
        while len(server.requests) < 2:
            await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        server.delay = 0.0
        return await pool.post(url, HEADERS, b"{}")

    server = Server(OK, OK, OK, delay=5.0)
    assert talk(server, work).body == b"ok" and server.connections == 3


def test_idle_connections_are_closed_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_client, "IDLE_SECONDS", 0.05)

    async def work(pool: HttpPool, url: yarl.URL) -> None:
        await pool.post(url, HEADERS, b"{}")
        while any(pool._idle.values()):
            await asyncio.sleep(0.01)
        await pool.post(url, HEADERS, b"{}")

    server = Server(OK, OK)
    talk(server, work)
    assert server.connections == 2


@pytest.mark.parametrize("url", ["http://me:pw@localhost/v1", "ftp://localhost/v1", "http:///v1"])
def test_addresses_that_are_for_others_are_refused_without_their_password(url: str) -> None:
    async def main() -> None:
        with pytest.raises((ValueError, OSError)) as caught:
            await HttpPool().post(yarl.URL(url), HEADERS, b"")
        assert "pw" not in str(caught.value)

    asyncio.run(main())


def test_a_header_cannot_begin_another_line() -> None:
    async def work(pool: HttpPool, url: yarl.URL) -> None:
        await pool.post(url, {"Authorization": "Bearer k\r\nX: y"}, b"")

    with pytest.raises(ValueError, match="a header with a line break"):
        talk(Server(), work)


def test_certificates_are_verified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    made = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    files = ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run(["openssl", *made, *names, *files], check=True, capture_output=True)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    monkeypatch.setattr(http_client, "_get_tls", http_client._get_tls.__wrapped__)
    with pytest.raises(ssl.SSLCertVerificationError):
        talk(Server(OK), post_twice, tls)
    monkeypatch.setitem(os.environ, "SSL_CERT_FILE", str(certificate))
    server = Server(OK, OK)
    assert [reply.body for reply in talk(server, post_twice, tls)] == [b"ok", b"ok"] and server.connections == 1
