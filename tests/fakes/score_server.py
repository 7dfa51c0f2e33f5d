"""A loopback server for reward models: `/rerank`, `/score`, `/classify`, `/predict`, with faults on demand.

with ScoreServer() as server:
    server.script("429", "huge")          # the next two requests end like this, then all is well
    server.url("rerank")                  # the address of one form
"""

import asyncio
import json
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

from aiohttp import web


def score_by_length(question: str, answer: str) -> Any:
    """What the server thinks of an answer where a test says nothing else: its length, in hundredths."""
    return len(answer) / 100


class ScoreServer:
    """The server in a thread of its own; a context manager."""

    def __init__(self, score: Callable[[str, str], Any] = score_by_length, *, key: str = "") -> None:
        """
        Args:
            score: of a question and an answer (of one text: of nothing and the text); any JSON.
            key: what requests must bring; empty for none.
        """
        self.score, self.key = score, key
        self.bodies: list[Any] = []
        self.paths: list[str] = []
        self._script: deque[Any] = deque()
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.port = 0

    def url(self, form: str) -> str:
        return f"http://127.0.0.1:{self.port}/{form}"

    def script(self, *faults: Any) -> None:
        """Faults of the next requests: a status as text, `huge`, `html`, or a payload in place of the scores."""
        self._script.extend(faults)

    async def _answer(self, request: web.Request) -> web.Response:
        body, form = await request.json(), request.path.rpartition("/")[2]
        self.bodies.append(body)
        self.paths.append(request.path)
        fault = self._script.popleft() if self._script else None
        if self.key and request.headers.get("authorization") != f"Bearer {self.key}":
            return web.json_response({"error": f"bad key {request.headers.get('authorization')}"}, status=401)
        if isinstance(fault, str) and fault.isdecimal():
            headers = {"retry-after": "0.05"} if fault in ("429", "503") else {}
            said = {"error": "the input is too long" if fault == "422" else "no"}
            return web.json_response(said, status=int(fault), headers=headers)
        if fault == "huge":
            return web.Response(text="[" + "1," * 3_000_000 + "1]")
        if fault == "html":
            return web.Response(text="<html>welcome</html>")
        if fault is not None:
            return web.Response(text=json.dumps(fault), content_type="application/json")
        if form == "missing":
            raise web.HTTPNotFound
        return web.Response(text=json.dumps(self._make_payload(form, body)), content_type="application/json")

    def _make_payload(self, form: str, body: Any) -> Any:
        if form == "rerank" and "texts" in body:
            rows = [{"index": n, "score": self.score(body["query"], text)} for n, text in enumerate(body["texts"])]
            return rows[::-1]
        if form == "rerank":
            rows = [
                {"index": n, "relevance_score": self.score(body["query"], text)}
                for n, text in enumerate(body["documents"])
            ]
            return {"results": rows[::-1], "usage": {"total_tokens": 10 * len(rows)}}
        if form == "score":
            pairs = zip(body["text_1"], body["text_2"], strict=True)
            return {"data": [{"index": n, "score": self.score(*pair)} for n, pair in enumerate(pairs)]}
        if form == "classify":
            return {
                "data": [
                    {"index": n, "label": "LABEL_1", "probs": [1 - (value := self.score("", text)), value]}
                    for n, text in enumerate(body["input"])
                ]
            }
        texts = [entry if len(entry) == 2 else ["", entry[0]] for entry in body["inputs"]]
        return [[{"label": "GOOD", "score": self.score(*entry)}] for entry in texts]

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        app = web.Application()
        app.router.add_post("/{tail:.*}", self._answer)
        runner = web.AppRunner(app)
        self._loop.run_until_complete(runner.setup())
        site = web.TCPSite(runner, "127.0.0.1", 0)
        self._loop.run_until_complete(site.start())
        self.port = runner.addresses[0][1]
        self._ready.set()
        self._loop.run_forever()
        self._loop.run_until_complete(runner.cleanup())
        self._loop.close()

    def __enter__(self) -> "ScoreServer":
        self._thread.start()
        self._ready.wait(60)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(60)
