"""A loopback server for OpenAI chat completions and Anthropic messages, with faults on demand.

In a test:

    with FakeServer(latency=0.05) as server:         # or the `fake_server` fixture
        server.script("429", "reset")                # the next two requests fail like this, then all is well
        ...
        server.requests[0].body["temperature"]       # as it was sent

As a process, in the folder `tests`: `python -m fakes.server --port 0 --latency 0.05` prints its URL. GET /log, POST
/reset and POST /script (a JSON list of faults) do the same as the methods here.

A model's name can carry its fault: `gpt-4o!500` fails always, `gpt-4o!500x2` on its first two requests.
"""

import argparse
import asyncio
import json
import re
import threading
import time
from collections import Counter, deque
from dataclasses import asdict
from typing import Any
from wsgiref.handlers import format_date_time

from aiohttp import web
from fakes.replies import Answerer, Request, build_completion, build_message, helpful, padded, tokens

__all__ = ["FAULTS", "FakeServer", "Request", "helpful", "tokens"]

FAULTS = {
    "429": "too many requests, with a retry-after header",
    "429-long": "too many requests, with a retry-after of a minute",
    "429-quota": "too many requests, because the quota is used up",
    "400": "bad request",
    "400-context": "the context window is exceeded",
    "400-n": "bad request for n above 1, else fine",
    "401": "bad key",
    "500": "server error",
    "503": "overloaded",
    "503-after": "overloaded, with a retry-after header",
    "reset": "the connection is cut in the middle of the body",
    "refuse": "the connection is cut before any byte",
    "truncated": "a complete response whose JSON is cut short",
    "html": "status 200 with a page that is no JSON",
    "nested": "status 200 with JSON nested deeper than any parser goes",
    "201": "the reply with status 201",
    "long-header": "the reply with a header of 20,000 characters",
    "empty": "no choices",
    "null": "a choice whose content is null",
    "filter": "stopped by the content filter",
    "length": "stopped at the token limit",
    "no-usage": "no usage in the reply",
    "one-choice": "n is ignored",
    "slow": "the first byte after `slow` seconds",
    "hang": "no byte ever",
}
UNUSABLE = frozenset({"truncated", "html", "nested", "reset", "empty"})
"""Faults whose reply no client can use."""


class FakeServer:
    """The server in a thread of its own; a context manager."""

    handler_cancellation = False
    """Whether a request ends when its client hangs up."""

    def __init__(
        self,
        latency: float = 0.0,
        *,
        port: int = 0,
        answer: Answerer = helpful,
        slow: float = 1.0,
        retry_after: str = "0.05",
        keep_bodies: bool = True,
        capacity: int = 0,
    ) -> None:
        """
        Args:
            latency: seconds before each reply.
            port: 0 for any that is free.
            answer: what the model says.
            slow: seconds before the first byte of a `slow` reply.
            retry_after: of a 429; `date` for an HTTP date in a second or two, empty for no header.
            keep_bodies: whether requests are kept as a whole.
            capacity: requests at once, further ones get a 429; 0 for any number.
        """
        self.latency, self.port, self.answer, self.slow = latency, port, answer, slow
        self.retry_after, self.keep_bodies, self.capacity = retry_after, keep_bodies, capacity
        self.requests: list[Request] = []
        self.most_in_flight = 0
        self._in_flight = 0
        self._script: deque[str] = deque()
        self._bodies: deque[Any] = deque()
        self._by_model: Counter[str] = Counter()
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread: threading.Thread | None = None
        self._gate: asyncio.Event | None = None

    @property
    def url(self) -> str:
        """What clients take as base URL of OpenAI's API."""
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def anthropic_url(self) -> str:
        """What clients take as base URL of Anthropic's API."""
        return f"http://127.0.0.1:{self.port}"

    def script(self, *faults: str) -> None:
        """Faults of the next requests, in order of arrival; `ok` for none."""
        unknown = [fault for fault in faults if fault not in FAULTS and fault != "ok"]
        if unknown:
            raise ValueError(f"unknown faults {unknown}; legal: ok, {', '.join(FAULTS)}")
        self._script.extend(faults)

    def send(self, *bodies: Any) -> None:
        """What the next requests get, with status 200, in place of completions: any JSON, or a change of it.

        A function gets the completion and returns what to send.
        """
        self._bodies.extend(bodies)

    def reset(self) -> None:
        """Forget all requests and the script."""
        self.requests.clear()
        self._script.clear()
        self._bodies.clear()
        self._by_model.clear()
        self.most_in_flight = 0

    def hold(self) -> None:
        """Let requests come in but answer none until `release`."""
        self._gate = asyncio.Event()

    def release(self) -> None:
        """Answer the requests held back."""
        gate, self._gate = self._gate, None
        if gate is not None:
            self._loop.call_soon_threadsafe(gate.set)

    def __enter__(self) -> "FakeServer":
        self._thread = threading.Thread(target=self._run, daemon=True, name="fake-server")
        self._thread.start()
        if not self._ready.wait(10):
            raise RuntimeError("the fake server did not start")
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        if self._thread is not None:
            self._thread.join(5)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        runner = self._loop.run_until_complete(self.start())
        self._ready.set()
        try:
            self._loop.run_forever()
        finally:
            self._loop.run_until_complete(asyncio.wait_for(runner.cleanup(), 3))
            self._loop.close()

    async def start(self) -> web.ServerRunner:
        """Listen on the running loop; sets `port`."""
        runner = web.ServerRunner(
            web.Server(self._handle, access_log=None, handler_cancellation=self.handler_cancellation),  # type: ignore[arg-type]
            shutdown_timeout=0.1,
        )
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", self.port, backlog=2048)
        await site.start()
        self.port = runner.addresses[0][1]
        return runner

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.method == "GET" and request.path == "/log":
            return web.json_response([asdict(seen) for seen in self.requests])
        if request.method == "POST" and request.path == "/reset":
            self.reset()
            return web.json_response({})
        if request.method == "POST" and request.path == "/script":
            self.script(*await request.json())
            return web.json_response({})
        if request.path not in ("/v1/chat/completions", "/v1/messages"):
            return web.json_response({"error": {"message": f"no such path {request.path}"}}, status=404)
        self._in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self._in_flight)
        try:
            return await self._serve(request, await request.json())
        finally:
            self._in_flight -= 1

    async def _serve(self, request: web.BaseRequest, body: dict[str, Any]) -> web.StreamResponse:
        number = len(self.requests)
        full = 0 < self.capacity < self._in_flight
        fault = "429" if full else self._choose_fault(str(body["model"]))
        shown = body if self.keep_bodies else {"model": body["model"], "n": body.get("n", 1)}
        headers = {name.lower(): value for name, value in request.headers.items()} if self.keep_bodies else {}
        seen = Request(
            number=number,
            path=request.path,
            body=shown,
            headers=headers,
            fault=fault,
            started=time.monotonic(),
            in_flight=self._in_flight,
        )
        self.requests.append(seen)
        if self._gate is not None:
            await self._gate.wait()
        wait = 0.0 if full else {"slow": self.slow, "hang": 3600.0}.get(fault, self.latency)
        if wait:
            await asyncio.sleep(wait)
        if failure := self._build_failure(fault, body, request):
            return failure
        chat = request.path == "/v1/chat/completions"
        reply = self._completion(body, seen) if chat else build_message(body, seen, self.answer)
        seen.answered = fault not in UNUSABLE
        if self.keep_bodies and seen.answered:
            seen.texts = [choice["message"]["content"] or "" for choice in reply["choices"]] if chat else []
        if self._bodies:
            sent = self._bodies.popleft()
            reply = sent(reply) if callable(sent) else sent
        return await _send(json.dumps(reply).encode(), fault, request, number=number)

    def _completion(self, body: dict[str, Any], seen: Request) -> dict[str, Any]:
        """A method, so that a test can put another in its place."""
        return build_completion(body, seen, self.answer)

    def _choose_fault(self, model: str) -> str:
        if self._script:
            return self._script.popleft()
        _, _, fault = model.partition("!")
        if not fault:
            return "ok"
        match = re.fullmatch(r"(.+?)(?:x(\d+))?", fault)
        assert match is not None
        fault, times = match[1], match[2]
        self._by_model[model] += 1
        if fault not in FAULTS:
            raise ValueError(f"unknown fault in model name {model!r}")
        return "ok" if times and self._by_model[model] > int(times) else fault

    def _build_failure(self, fault: str, body: dict[str, Any], request: web.BaseRequest) -> web.Response | None:
        if fault == "400-n" and body.get("n", 1) == 1:
            return None
        if fault == "refuse":
            request.transport.abort()  # type: ignore[union-attr]
            return web.Response()
        kind, code = "invalid_request_error", None
        message = f"injected {fault}"
        if fault == "400-context":
            code, message = "context_length_exceeded", "This model's maximum context length is 8192 tokens."
        if fault.startswith("429"):
            kind, code = "rate_limit_error", "rate_limit_exceeded"
        if fault == "429-quota":
            kind, code, message = "insufficient_quota", "insufficient_quota", "You exceeded your current quota."
        digits = fault[:3]
        if not digits.isdigit() or fault == "201":
            return None
        headers = {}
        if fault.startswith("429") or fault.endswith("-after"):
            after = "60" if fault == "429-long" else self.retry_after
            headers |= (
                {"retry-after": format_date_time(int(time.time()) + 2) if after == "date" else after} if after else {}
            )
        error = {"message": message, "type": kind, "code": code, "param": None}
        return web.json_response({"type": "error", "error": error}, status=int(digits), headers=headers)


async def _send(payload: bytes, fault: str, request: web.BaseRequest, *, number: int) -> web.StreamResponse:
    """The reply on the wire, with faults of transport and form."""
    if fault == "html":
        return web.Response(text="<html>welcome to the hotel wifi</html>", content_type="text/html")
    if fault == "nested":
        return web.Response(text="[" * 200_000, content_type="application/json")
    half = payload[: len(payload) // 2]
    if fault == "reset":
        response = web.StreamResponse(headers={"content-type": "application/json"})
        response.content_length = len(payload)
        await response.prepare(request)
        await response.write(half)
        await asyncio.sleep(0.005)  # so that the half arrives before the connection is cut
        request.transport.abort()  # type: ignore[union-attr]
        return response
    headers = {"x-request-id": f"req-{number}", **({"x-long": "a" * 20_000} if fault == "long-header" else {})}
    body, status = half if fault == "truncated" else payload, 201 if fault == "201" else 200
    return web.Response(body=body, status=status, content_type="application/json", headers=headers)


async def _serve_forever(server: FakeServer) -> None:
    await server.start()
    print(server.url, flush=True)
    await asyncio.Event().wait()


def main() -> None:
    """Serve until killed; the first line printed is the URL."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--latency", type=float, default=0.0, help="seconds before each reply")
    parser.add_argument("--slow", type=float, default=1.0, help="seconds before the first byte of a `slow` reply")
    parser.add_argument("--retry-after", default="0.05", help="of a 429: seconds, `date`, or nothing")
    parser.add_argument("--capacity", type=int, default=0, help="requests at once; further ones get a 429")
    parser.add_argument("--pad", type=int, default=0, help="characters of an answer, at least")
    parser.add_argument("--no-bodies", action="store_true", help="keep only model and n of each request")
    options = parser.parse_args()
    server = FakeServer(
        options.latency,
        port=options.port,
        answer=padded(options.pad),
        slow=options.slow,
        retry_after=options.retry_after,
        keep_bodies=not options.no_bodies,
        capacity=options.capacity,
    )
    asyncio.run(_serve_forever(server))


if __name__ == "__main__":
    main()
