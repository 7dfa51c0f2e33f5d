"""A loopback server that speaks OpenAI chat completions and Anthropic messages, with faults on demand.

In a test:

    with FakeServer(latency=0.05) as server:         # or the `fake_server` fixture
        server.script("429", "reset")                # the next two requests fail like this, then all is well
        ...
        server.requests[0].body["temperature"]       # what was on the wire

As a process: `python tests/fakes/server.py --port 0 --latency 0.05` prints its URL; GET /log, POST /reset and POST
/script (a JSON list of faults) do there what the methods do here.

A model's name can carry its fault: `gpt-4o!500` fails always, `gpt-4o!500x2` on its first two requests.
"""

import argparse
import asyncio
import hashlib
import json
import re
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from aiohttp import web

FAULTS = {
    "429": "too many requests, with a retry-after header",
    "429-long": "too many requests, with a retry-after of a minute",
    "400": "bad request",
    "400-context": "the context window is exceeded",
    "400-n": "bad request for n above 1, else fine",
    "401": "bad key",
    "500": "server error",
    "503": "overloaded",
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


@dataclass
class Request:
    """What one request said on the wire, and what it was answered with."""

    number: int
    path: str
    body: dict[str, Any]
    headers: dict[str, str]
    fault: str
    started: float
    """Seconds on the server's monotonic clock."""
    in_flight: int
    """Requests under way when it came, itself included."""
    answered: bool = False
    """Whether a usable reply was completely handed to the network."""
    texts: list[str] = field(default_factory=list)


Answerer = Callable[[str, list[dict[str, Any]], int], str]


def helpful(model: str, messages: list[dict[str, Any]], nonce: int) -> str:
    """Replies in the form each built-in prompt asks for; else a text that names the model, the prompt and the draw."""
    prompt = _text(messages[-1]["content"])
    if found := re.search(r"Write one section for each of the (\d+) responses", prompt):
        return "\n\n".join(f"[{n}]\nStrengths:\n- clear\nWeaknesses:\n- short" for n in range(1, int(found[1]) + 1))
    if found := re.search(r"Rank all (\d+) responses", prompt):
        return " > ".join(f"[{n}]" for n in range(int(found[1]), 0, -1))
    if "Write unit tests for responses" in prompt:
        return '["The response names a number.", "The response is short."]'
    if found := re.match(r"Check a response to a query against (\d+) unit tests", prompt):
        return "\n".join(f"Unit Test #{n}: [Passed]" for n in range(1, int(found[1]) + 1))
    if prompt.startswith("Decide whether this response"):
        return "It holds.\n[Correct]"
    if prompt.startswith("Consider this response"):
        return "1. It answers the query.\n2. It is consistent."
    digest = hashlib.sha256(json.dumps(messages, sort_keys=True).encode()).hexdigest()[:12]
    return f"Answer of {model} to {digest}, draw {nonce}."


def padded(length: int) -> Answerer:
    """`helpful`, with answers of about that many characters."""

    def answer(model: str, messages: list[dict[str, Any]], nonce: int) -> str:
        text = helpful(model, messages, nonce)
        return text + " And so on." * ((length - len(text)) // 11) if text.startswith("Answer of") else text

    return answer


def _text(content: Any) -> str:
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content or [])


class FakeServer:
    """The server in a thread of its own; a context manager."""

    def __init__(
        self,
        latency: float = 0.0,
        port: int = 0,
        answer: Answerer = helpful,
        slow: float = 1.0,
        retry_after: str = "0.05",
        keep_bodies: bool = True,
    ) -> None:
        self.latency, self.port, self.answer, self.slow = latency, port, answer, slow
        self.retry_after, self.keep_bodies = retry_after, keep_bodies
        self.requests: list[Request] = []
        self.most_in_flight = 0
        self._in_flight = 0
        self._script: deque[str] = deque()
        self._by_model: Counter[str] = Counter()
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread: threading.Thread | None = None
        self._held: asyncio.Event | None = None

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

    def reset(self) -> None:
        """Forget all requests and the script."""
        self.requests.clear()
        self._script.clear()
        self._by_model.clear()
        self.most_in_flight = 0

    def hold(self) -> None:
        """Let requests come in but answer none until `release`."""
        self._held = asyncio.Event()

    def release(self) -> None:
        """Answer the requests held back."""
        held, self._held = self._held, None
        if held is not None:
            self._loop.call_soon_threadsafe(held.set)

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
        runner = web.ServerRunner(web.Server(self._handle, access_log=None), shutdown_timeout=0.1)  # type: ignore[arg-type]
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", self.port, backlog=2048)
        await site.start()
        self.port = runner.addresses[0][1]
        return runner

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.method == "GET" and request.path == "/log":
            return web.json_response([asdict(one) for one in self.requests])
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
        fault = self._fault(str(body["model"]))
        shown = body if self.keep_bodies else {"model": body["model"], "n": body.get("n", 1)}
        headers = {name.lower(): value for name, value in request.headers.items()} if self.keep_bodies else {}
        one = Request(number, request.path, shown, headers, fault, time.monotonic(), self._in_flight)
        self.requests.append(one)
        if self._held is not None:
            await self._held.wait()
        wait = {"slow": self.slow, "hang": 3600.0}.get(fault, self.latency)
        if wait:
            await asyncio.sleep(wait)
        if failed := self._failed(fault, body, request):
            return failed
        chat = request.path == "/v1/chat/completions"
        reply = self._completion(body, one) if chat else self._message(body, one)
        payload = json.dumps(reply).encode()
        if fault == "truncated":
            payload = payload[: len(payload) // 2]
        if fault == "html":
            return web.Response(text="<html>welcome to the hotel wifi</html>", content_type="text/html")
        if fault == "nested":
            return web.Response(text="[" * 200_000, content_type="application/json")
        if fault == "reset":
            response = web.StreamResponse(headers={"content-type": "application/json"})
            response.content_length = len(payload)
            await response.prepare(request)
            await response.write(payload[: len(payload) // 2])
            await asyncio.sleep(0.005)
            request.transport.abort()  # type: ignore[union-attr]
            return response
        one.answered = fault not in ("truncated", "empty")
        if self.keep_bodies:
            one.texts = [choice["message"]["content"] or "" for choice in reply["choices"]] if chat else []
        told = {"x-request-id": f"req-{number}", **({"x-long": "a" * 20_000} if fault == "long-header" else {})}
        status = 201 if fault == "201" else 200
        return web.Response(body=payload, status=status, content_type="application/json", headers=told)

    def _fault(self, model: str) -> str:
        if self._script:
            return self._script.popleft()
        _, _, fault = model.partition("!")
        if not fault:
            return "ok"
        found = re.fullmatch(r"(.+?)(?:x(\d+))?", fault)
        assert found is not None
        fault, times = found[1], found[2]
        self._by_model[model] += 1
        if fault not in FAULTS:
            raise ValueError(f"unknown fault in model name {model!r}")
        return "ok" if times and self._by_model[model] > int(times) else fault

    def _failed(self, fault: str, body: dict[str, Any], request: web.BaseRequest) -> web.Response | None:
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
        digits = fault[:3]
        if not digits.isdigit() or fault == "201":
            return None
        headers = {}
        if fault.startswith("429"):
            headers["retry-after"] = "60" if fault == "429-long" else self.retry_after
        error = {"message": message, "type": kind, "code": code, "param": None}
        return web.json_response({"type": "error", "error": error}, status=int(digits), headers=headers)

    def _completion(self, body: dict[str, Any], one: Request) -> dict[str, Any]:
        name = body["model"]
        count = 1 if one.fault == "one-choice" else int(body.get("n") or 1)
        texts = [self.answer(name, body["messages"], one.number * 1000 + index) for index in range(count)]
        reason = {"filter": "content_filter", "length": "length"}.get(one.fault, "stop")
        choices: list[dict[str, Any]] = []
        for index, text in enumerate(texts):
            content = None if one.fault == "null" else text
            choice: dict[str, Any] = {
                "index": index,
                "message": {"role": "assistant", "content": content, "refusal": None, "annotations": []},
                "logprobs": None,
                "finish_reason": reason,
            }
            if body.get("logprobs"):
                top = [{"token": text[:4], "logprob": -0.25, "bytes": None}]
                token = {"token": text[:4], "logprob": -0.25, "bytes": None, "top_logprobs": top}
                choice["logprobs"] = {"content": [token], "refusal": None}
            choices.append(choice)
        reply: dict[str, Any] = {
            "id": f"chatcmpl-{one.number}",
            "object": "chat.completion",
            "created": 1730000000,
            "model": name,
            "choices": [] if one.fault == "empty" else choices,
            "system_fingerprint": "fp_fake",
        }
        if one.fault != "no-usage":
            given = tokens(*(_text(message["content"]) for message in body["messages"]))
            made = sum(tokens(text) for text in texts)
            reply["usage"] = {"prompt_tokens": given, "completion_tokens": made, "total_tokens": given + made}
        return reply

    def _message(self, body: dict[str, Any], one: Request) -> dict[str, Any]:
        text = self.answer(body["model"], body["messages"], one.number * 1000)
        reason = {"filter": "refusal", "length": "max_tokens"}.get(one.fault, "end_turn")
        given = tokens(*(_text(message["content"]) for message in body["messages"]), _text(body.get("system", "")))
        return {
            "id": f"msg_{one.number}",
            "type": "message",
            "role": "assistant",
            "model": body["model"],
            "content": [] if one.fault in ("empty", "null") else [{"type": "text", "text": text}],
            "stop_reason": reason,
            "stop_sequence": None,
            "usage": {"input_tokens": given, "output_tokens": tokens(text)},
        }


def tokens(*texts: str) -> int:
    """What the server reports as usage: a token per four characters, and three per text."""
    return sum(3 + len(text) // 4 for text in texts)


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
    parser.add_argument("--retry-after", default="0.05")
    parser.add_argument("--pad", type=int, default=0, help="characters of an answer, at least")
    parser.add_argument("--no-bodies", action="store_true", help="keep only model and n of each request")
    given = parser.parse_args()
    server = FakeServer(
        given.latency,
        given.port,
        padded(given.pad),
        slow=given.slow,
        retry_after=given.retry_after,
        keep_bodies=not given.no_bodies,
    )
    asyncio.run(_serve_forever(server))


if __name__ == "__main__":
    main()
