"""A provider's reply means the same whichever way it came: directly, or through Inspect's own functions."""

from typing import Any

import pytest
from inspect_ai.model import Logprob, Logprobs, ModelOutput, ModelUsage, TopLogprob, get_model

from archon_eval.errors import ModelError
from archon_eval.models.call import Reply, Usage
from archon_eval.models.openai_replies import parse_choices, parse_plain_choice, parse_usage, parse_with_inspect
from archon_eval.models.replies import get_top_logprobs, split_usage, to_reply, to_usage


def choice(content: str, reason: str | None = "stop", **more: Any) -> dict[str, Any]:
    return {"index": 0, "finish_reason": reason, "message": {"role": "assistant", "content": content, **more}}


def payload(*choices: dict[str, Any]) -> dict[str, Any]:
    return {"id": "1", "object": "chat.completion", "created": 0, "model": "gpt-4o", "choices": list(choices)}


@pytest.fixture
def api() -> Any:
    return get_model("openai/gpt-4o", api_key="key", memoize=False).api


@pytest.mark.parametrize("reason", ["stop", "length", "content_filter"])
@pytest.mark.parametrize("text", ["Hi.", "", "a\x00b", "ä\ud83d", " padded \n"])
def test_both_ways_read_the_same_reply(api: Any, reason: str, text: str) -> None:
    direct = parse_plain_choice(choice(text, reason))
    assert direct is not None
    assert parse_with_inspect(api, payload(choice(text, reason))) == [direct]


def test_what_is_more_than_text_is_read_by_inspect_with_its_neighbours(api: Any) -> None:
    thinking = choice("<think>why</think>Because.")
    assert parse_plain_choice(thinking) is None and parse_plain_choice(choice("x", "tool_calls")) is None
    replies = parse_choices(api, payload(), [choice("Plain."), thinking | {"index": 1}])
    assert [reply.text for reply in replies] == ["Plain.", "Because."]


def test_usage_that_nobody_reported_is_unknown_and_cached_tokens_are_input() -> None:
    assert to_usage(parse_usage(None)) is None and split_usage(None, [1, 2]) == [None, None]
    counted = parse_usage(
        {
            "prompt_tokens": 10,
            "completion_tokens": 3,
            "total_tokens": 13,
            "prompt_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 1},
        }
    )
    assert counted is not None and counted.input_tokens == 5 and counted.input_tokens_cache_read == 4
    assert to_usage(counted) == Usage(10, 3)


@pytest.mark.parametrize("lengths", [[0, 0], [5, 1, 4], [7]])
def test_a_shared_request_is_paid_once(lengths: list[int]) -> None:
    shares = split_usage(Usage(10, 8), lengths)
    assert sum((share for share in shares if share), Usage()) == Usage(10, 8)
    assert [share.input_tokens for share in shares if share] == [10, *[0] * (len(lengths) - 1)]


def test_an_output_that_failed_or_is_empty_is_an_error() -> None:
    with pytest.raises(ModelError, match="m: overloaded"):
        to_reply(ModelOutput(error="overloaded"), "m", 0.0)
    with pytest.raises(ModelError, match="no choice"):
        to_reply(ModelOutput(), "m", 0.0)
    usage = ModelUsage(input_tokens=1, output_tokens=2, total_tokens=3)
    output = ModelOutput.from_content("m", "Hi.", "max_tokens").model_copy(update={"usage": usage})
    assert to_reply(output, "m", 0.5) == Reply("Hi.", "max_tokens", Usage(1, 2), 0.5)


def test_log_probabilities_are_of_the_first_token_and_can_be_stored() -> None:
    output = ModelOutput.from_content("m", "A")
    assert get_top_logprobs(output) is None and get_top_logprobs(ModelOutput()) is None
    first = Logprob(token="A", logprob=-0.1, top_logprobs=[TopLogprob(token="\ud83d", logprob=-3.0)])
    output.choices[0].logprobs = Logprobs(content=[first, Logprob(token="B", logprob=-1.0)])
    assert get_top_logprobs(output) == (("\ufffd", -3.0),)
    output.choices[0].logprobs = Logprobs(content=[Logprob(token="A", logprob=-0.1)])
    assert get_top_logprobs(output) == (("A", -0.1),)
