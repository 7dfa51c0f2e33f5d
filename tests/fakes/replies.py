"""Bodies of the fake server's replies: texts in the form that each prompt asks for, and the providers' JSON."""

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Request:
    """One request as it was on the wire, and the answer to it."""

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
    prompt = read_text(messages[-1]["content"])
    if match := re.search(r"Write (\d+) sections, one for each response", prompt):
        return "\n\n".join(f"[{n}]\nStrengths:\n- clear\nWeaknesses:\n- short" for n in range(1, int(match[1]) + 1))
    if match := re.search(r"Rank all (\d+) responses", prompt):
        return " > ".join(f"[{n}]" for n in range(int(match[1]), 0, -1))
    if "Write unit tests for responses" in prompt:
        return '["The response names a number.", "The response is short."]'
    if match := re.match(r"Check a response to a query against (\d+) unit tests", prompt):
        return "\n".join(f"Unit Test #{n}: [Passed]" for n in range(1, int(match[1]) + 1))
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


def read_text(content: Any) -> str:
    """The text of a message, also where it comes in parts."""
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content or [])


def tokens(*texts: str) -> int:
    """What the server reports as usage: a token per four characters, and three per text."""
    return sum(3 + len(text) // 4 for text in texts)


TOOL_CALL = re.compile(r"^CALL (\w+) (.*)$", re.MULTILINE)


def split_tool_calls(text: str, number: int) -> tuple[str, list[dict[str, Any]]]:
    """An answer's lines `CALL name {"argument": 1}` as tool calls, and the rest as its text."""
    calls = [
        {"id": f"call_{number}_{place}", "type": "function", "function": {"name": name, "arguments": arguments}}
        for place, (name, arguments) in enumerate(TOOL_CALL.findall(text))
    ]
    return TOOL_CALL.sub("", text).strip() if calls else text, calls


def build_completion(body: dict[str, Any], request: Request, answer: Answerer) -> dict[str, Any]:
    """A chat completion as OpenAI sends it."""
    name = body["model"]
    count = 1 if request.fault == "one-choice" else int(body.get("n") or 1)
    texts = [answer(name, body["messages"], request.number * 1000 + index) for index in range(count)]
    reason = {"filter": "content_filter", "length": "length"}.get(request.fault, "stop")
    choices: list[dict[str, Any]] = []
    for index, text in enumerate(texts):
        said, calls = split_tool_calls(text, request.number * 1000 + index)
        content = None if request.fault == "null" else said
        message: dict[str, Any] = {"role": "assistant", "content": content, "refusal": None, "annotations": []}
        choice: dict[str, Any] = {
            "index": index,
            "message": message | ({"tool_calls": calls} if calls else {}),
            "logprobs": None,
            "finish_reason": "tool_calls" if calls and reason == "stop" else reason,
        }
        if body.get("logprobs"):
            top = [{"token": text[:4], "logprob": -0.25, "bytes": None}]
            token = {"token": text[:4], "logprob": -0.25, "bytes": None, "top_logprobs": top}
            choice["logprobs"] = {"content": [token], "refusal": None}
        choices.append(choice)
    reply: dict[str, Any] = {
        "id": f"chatcmpl-{request.number}",
        "object": "chat.completion",
        "created": 1730000000,
        "model": name,
        "choices": [] if request.fault == "empty" else choices,
        "system_fingerprint": "fp_fake",
    }
    if request.fault != "no-usage":
        prompt_tokens = tokens(*(read_text(message["content"]) for message in body["messages"]))
        completion_tokens = sum(tokens(text) for text in texts)
        reply["usage"] = {
            "prompt_tokens": prompt_tokens,
            "completion_tokens": completion_tokens,
            "total_tokens": prompt_tokens + completion_tokens,
        }
    return reply


def build_message(body: dict[str, Any], request: Request, answer: Answerer) -> dict[str, Any]:
    """A message as Anthropic sends it."""
    text = answer(body["model"], body["messages"], request.number * 1000)
    reason = {"filter": "refusal", "length": "max_tokens"}.get(request.fault, "end_turn")
    prompt_tokens = tokens(
        *(read_text(message["content"]) for message in body["messages"]), read_text(body.get("system", ""))
    )
    return {
        "id": f"msg_{request.number}",
        "type": "message",
        "role": "assistant",
        "model": body["model"],
        "content": [] if request.fault in ("empty", "null") else [{"type": "text", "text": text}],
        "stop_reason": reason,
        "stop_sequence": None,
        "usage": {"input_tokens": prompt_tokens, "output_tokens": tokens(text)},
    }
