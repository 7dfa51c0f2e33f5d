"""Scores from an HTTP endpoint: `/rerank`, `/score`, `/classify` or `/predict` of a server for reward models.

    scorer = ScoreEndpoint("http://localhost:8000/rerank", form="rerank", served_model="BAAI/bge-reranker-v2-m3")

A request that is refused for now (429, 503, ...) waits as long as it is told and is sent again, as a model's does. The
key is read from an environment variable when a request is sent, and is in nothing that is kept or said.
"""

import json
import os
import random
import socket
import time
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import anyio

from archon_eval._inspect_compat import active_generate_config, parse_retry_after, sample_wait
from archon_eval.errors import BatchRefusedError, CompletionError, ModelError
from archon_eval.models.call import Call
from archon_eval.models.connections import PressureGate, PriorityLock, SessionPool
from archon_eval.models.conversion import redact
from archon_eval.models.openai_direct import BUSY_STATUSES, FIRST_WAIT, LONGEST_WAIT
from archon_eval.models.openai_replies import limit_wait
from archon_eval.models.score_forms import SCORE_FORMS, parse_token_count
from archon_eval.models.scorer import BatchScores, ScoreInput, Scorer

MAX_REPLY_BYTES = 4_000_000
"""Bytes of an answer: far more than the scores of a batch take, with all texts returned."""
MAX_BATCH = 32
"""Answers in one request: what Text Embeddings Inference takes unless it is told otherwise."""
MAX_ATTEMPTS, MAX_LOST = 12, 3
"""How often a request is sent at most while the endpoint is busy (in all about four minutes), and while connections
are lost."""
CONNECT_SECONDS = 5.0
"""Seconds in which an endpoint's host must take a connection before anything is paid for."""


class ScoreEndpoint(Scorer):
    """The scores of one endpoint."""

    max_batch = MAX_BATCH
    counts_tokens = True

    def __init__(
        self,
        url: str,
        *,
        form: str,
        served_model: str = "",
        key_variable: str = "",
        label: str | None = None,
        dollars: float | None = None,
        takes_text: bool = False,
    ) -> None:
        """
        Args:
            url: the whole address, without credentials.
            form: one of SCORE_FORMS.
            served_model: which of the server's models; empty where it has one.
            key_variable: the environment variable that holds the key; empty for none.
            label: of a classifier, whose score counts.
        """
        host = urlsplit(url).netloc
        super().__init__(f"endpoint/{served_model or host}", dollars=dollars, takes_text=takes_text)
        self.url, self.form, self.served_model, self.label = url, form, served_model, label
        self.key_variable = key_variable
        self._protocol = SCORE_FORMS[form]
        self._sessions, self._gate, self._turns = SessionPool(), PressureGate(), PriorityLock()

    def describe(self) -> str:
        key = f", with the key in {self.key_variable}" if self.key_variable else ""
        model = f" of {self.served_model}" if self.served_model else ""
        return f"to {self.url} ({self.form}{model}), up to {self.max_batch} in a request{key}"

    def get_call_identity(self, call: Call) -> tuple[str, str]:
        settings = {"form": self.form, **({} if self.label is None else {"label": self.label})}
        return f"{self.name} at {self.url}", json.dumps(settings)

    def check_requirements(self) -> None:
        if self.key_variable and not os.environ.get(self.key_variable):
            raise ModelError(f"{self.name}: the environment variable {self.key_variable} (`key_variable`) is not set")
        address = urlsplit(self.url)
        port = address.port or (443 if address.scheme == "https" else 80)
        try:
            socket.create_connection((address.hostname or "", port), timeout=CONNECT_SECONDS).close()
        except OSError as exc:
            raise ModelError(f"{self.name}: {self.url} cannot be reached: {exc or type(exc).__name__}") from None

    def find_group(self, input: ScoreInput) -> object:
        return input[0] if self._protocol.shares_question else None

    async def score_batch(self, inputs: Sequence[ScoreInput]) -> BatchScores:
        body = json.dumps(self._protocol.build_body(inputs, self.served_model, self.label)).encode()
        started, lost, remarks = time.monotonic(), 0, list[str]()
        active = active_generate_config()
        attempts = MAX_ATTEMPTS if active.max_retries is None else active.max_retries + 1
        for attempt in range(1, attempts + 1):
            status, headers, data = await self._post(body)
            lost += status == 0
            if status // 100 == 2:
                return self._read_scores(data, len(inputs), tuple(remarks))
            problem = self._describe_refusal(status, data)
            if status and status not in BUSY_STATUSES:
                raise (BatchRefusedError if status in (400, 413, 422) else ModelError)(f"{self.name}: {problem}")
            late = active.timeout is not None and time.monotonic() - started >= active.timeout
            if attempt == attempts or lost == MAX_LOST or late:
                times = f"gave up after {attempt} attempts: " if attempt > 1 else ""
                raise ModelError(f"{self.name}: {times}{problem}")
            remarks.append(f"asked again after: {problem}")
            asked = limit_wait(parse_retry_after(headers)) if headers is not None else None
            wait = min(FIRST_WAIT * 2 ** (attempt - 1), LONGEST_WAIT) if asked is None else asked
            with sample_wait():
                await anyio.sleep(wait * random.uniform(1.0, 1.1))
        raise AssertionError("the last attempt returns or raises")

    async def _post(self, body: bytes) -> tuple[int, Any, bytes]:
        """Status, headers and body of an answer; status 0 and why, where none came."""
        headers = {"content-type": "application/json", "accept": "application/json"}
        if self.key_variable:
            headers["authorization"] = f"Bearer {os.environ.get(self.key_variable, '')}"
        async with self._turns.acquire(0):
            await self._gate.wait_for_room()
            self._gate.start()
        refused: bool | None = None
        try:
            session = await self._sessions.get()
            async with session.post(self.url, data=body, headers=headers, allow_redirects=False) as response:
                data = await _read_bounded(response)
                refused = response.status in BUSY_STATUSES
                return response.status, response.headers, data
        except (aiohttp.ClientError, OSError, TimeoutError) as exc:
            return 0, None, f"{type(exc).__name__}: {exc}".encode("utf-8", "replace")
        except ValueError:  # a key that no header can hold
            raise ModelError(f"{self.name}: the key in {self.key_variable} cannot be sent in a header") from None
        finally:
            self._gate.finish(refused, self._turns.waiting)

    def _describe_refusal(self, status: int, data: bytes) -> str:
        said = self._hide_key(data[:1000].decode("utf-8", "replace").strip()) or "no reason given"
        if status == 0:
            return f"no answer from {self.url} ({said})"
        if status in (401, 403):
            held = f"the key in {self.key_variable} was refused" if self.key_variable else "it wants a key"
            return f"{held} (HTTP {status}); `key_variable` names the environment variable that holds it"
        if status == 404:
            return f"there is nothing at {self.url} (HTTP 404): it is the whole address, e.g. http://HOST:8000/rerank"
        return f"HTTP {status}: {said}"

    def _hide_key(self, text: str) -> str:
        key = os.environ.get(self.key_variable, "") if self.key_variable else ""
        return redact(text.replace(key, f"<{self.key_variable}>") if key else text)

    def _read_scores(self, data: bytes, count: int, remarks: tuple[str, ...]) -> BatchScores:
        if len(data) > MAX_REPLY_BYTES:
            raise ModelError(f"{self.name}: the answer is longer than {MAX_REPLY_BYTES:,} bytes, and is not read")
        try:
            payload = json.loads(data)
        except (ValueError, RecursionError):
            shown = self._hide_key(data[:100].decode("utf-8", "replace"))
            raise ModelError(f"{self.name}: the answer is no JSON: {shown!r}") from None
        try:
            values = self._protocol.parse_scores(payload, count, self.label)
        except CompletionError as exc:
            servers = self._protocol.servers
            raise ModelError(
                f"{self.name}: the answer does not have the form `{self.form}` ({servers}): {self._hide_key(str(exc))}"
            ) from None
        usage = parse_token_count(payload) if isinstance(payload, dict) else None
        return BatchScores(values, usage, remarks)


async def _read_bounded(response: aiohttp.ClientResponse) -> bytes:
    """The body, or a little more of it than is allowed."""
    parts, size = list[bytes](), 0
    async for part in response.content.iter_chunked(65536):
        parts.append(part)
        size += len(part)
        if size > MAX_REPLY_BYTES:
            break
    return b"".join(parts)
