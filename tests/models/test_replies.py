"""What a server says becomes one meaning: an answer without thoughts, whole or cut, or a failed call."""

import random
from typing import Any

import pytest
from inspect_ai.model import Logprob, Logprobs, ModelOutput, ModelUsage, TopLogprob

from archon_eval.errors import ModelError
from archon_eval.models.call import Reply, Usage, split_usage
from archon_eval.models.openai_replies import (
    CompletionError,
    classify_error,
    is_same_model,
    limit_wait,
    parse_completion,
)
from archon_eval.models.replies import build_reply, get_top_logprobs, to_reply, to_usage
from archon_eval.models.thoughts import split_thoughts


def choice(content: Any, reason: str | None = "stop", **more: Any) -> dict[str, Any]:
    return {"index": 0, "finish_reason": reason, "message": {"role": "assistant", "content": content, **more}}


def payload(*choices: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"id": "1", "object": "chat.completion", "created": 0, "model": "gpt-4o", "choices": list(choices), **more}


ABOUT_TAGS = "Use `<think>` tags:\n```html\n<think>abc</think>\n```\nDone"
ABOUT_MARKS = "Write `<|channel|>analysis<|message|>` first."


@pytest.mark.parametrize(
    ("text", "answer", "thoughts"),
    [
        ("<think>2 + 2</think>\n\n4", "4", "2 + 2"),
        ("so it is 4\n</think>\n4", "4", "so it is 4"),
        ("so it is 4</think>4", "4", "so it is 4"),
        ("<thought>hm</thought>4", "4", "hm"),
        ("<thinking>a</thinking><reasoning>b</reasoning> 4", "4", "a\n\nb"),
        ("Sure. <think>hm</think>4", "Sure. 4", "hm"),
        ("<think>never ends, 4", "", "never ends, 4"),
        ("<think>a tag <think> in it</think> 4", "4", "a tag <think> in it"),
        ("<think>\n\n</think>\n\nreally so</think>4", "4", "really so"),
        ("<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|channel|>final<|message|>4<|return|>", "4", "hm"),
        ("<|channel|>analysis<|message|>cut here", "", "cut here"),
        ("analysisWe add.assistantfinal4", "4", "We add."),
        ("[THINK]hm[/THINK]4", "4", "hm"),
        ("◁think▷hm◁/think▷4", "4", "hm"),
        ("<|START_THINKING|>hm<|END_THINKING|><|START_RESPONSE|>4<|END_RESPONSE|>", "4", "hm"),
        ("4 < 5 \n", "4 < 5 \n", ""),
        ("End with `</think>`.", "End with `</think>`.", ""),
        ('text.replace("</think>", "")', 'text.replace("</think>", "")', ""),
        ("analysis of the data", "analysis of the data", ""),
        ("hm\n</think>\nReplace `</think>`.", "Replace `</think>`.", "hm"),
        ("hm (so).</think> It is **4**", "It is **4**", "hm (so)."),
        ("<think>of `<think>` tags</think>Use:\n```\n</think>\n```", "Use:\n```\n</think>\n```", "of `<think>` tags"),
        ("<think>```py\ncut code\n</think>\n4", "4", "```py\ncut code"),
        (f"<think>t</think>\n{ABOUT_TAGS}", ABOUT_TAGS, "t"),
        (f"t\n</think>\n{ABOUT_TAGS}", ABOUT_TAGS, "t"),
        (f"<|channel|>analysis<|message|>t<|end|><|channel|>final<|message|>{ABOUT_MARKS}", ABOUT_MARKS, "t"),
        ("", "", ""),
    ],
)
def test_thoughts_are_no_part_of_an_answer(text: str, answer: str, thoughts: str) -> None:
    assert split_thoughts(text) == (answer, thoughts)
    assert split_thoughts(answer) == (answer, ""), "what is separated once stays as it is"


@pytest.mark.parametrize(
    "text",
    [
        "```python\nprint(re.sub(r'<think>.*?</think>', '', s))\n```",
        "```python\np = f'<think>{x}</think>'\n```",
        "```python\nEND = '\\n</think>\\n'\nprint(END)\n```",
        "```\n<think>cut",
        "~~~\nhm\n</think>\n~~~",
        "p = f'<think>{x}</think>'",
        'It says "<think> and </think>".',
        "Use:\n```html\n<think>hello</think>\n```",
        "The model emits `<think>` and then `</think>` first.",
        "Answer: B. (The tag **</think>** ends the thoughts.)",
        "The tag </think> ends the thoughts.",
        "Not <thinking>hm</thinking> but\n</thinking> it is.",
        ABOUT_TAGS,
        ABOUT_MARKS,
    ],
)
def test_an_answer_may_speak_of_the_marks_of_thoughts(text: str) -> None:
    assert split_thoughts(text) == (text, "")


@pytest.mark.parametrize(
    ("text", "answer", "thoughts"),
    [
        ("<think>hm</think>4", "4", "hm"),
        ("<think>a</think>\n<think>b</think>\n4", "4", "a\n\nb"),
        ("<think> is a tag.", "<think> is a tag.", ""),
        ("It is\n</think>\n4", "It is\n</think>\n4", ""),
        ("So <think>hm</think> 4", "So <think>hm</think> 4", ""),
        ("<|channel|>analysis<|message|>hm<|end|><|channel|>final<|message|>4", "4", "hm"),
    ],
)
def test_a_text_whose_thoughts_came_apart_is_searched_at_its_beginning_only(
    text: str, answer: str, thoughts: str
) -> None:
    assert split_thoughts(text, only_leading=True) == (answer, thoughts)
    assert split_thoughts(answer, only_leading=True) == (answer, "")
    (found,) = parse_completion(payload(choice(text, reasoning_content="apart"))).choices
    reply = build_reply("m", found.text, found.stop_reason, thoughts=found.thoughts)
    assert (reply.text, reply.thoughts) == (answer, f"apart\n\n{thoughts}".strip())


def test_no_mixture_of_marks_is_split_twice() -> None:
    marks = [
        "<think>",
        "</think>",
        "</thinking>",
        "```",
        "`",
        '"',
        "\n",
        "a",
        "**",
        "[THINK]",
        "[/THINK]",
        "<th",
        "ink>",
    ]
    marks += ["<|channel|>", "final", "<|message|>", "<|end|>", "analysis", "assistantfinal"]
    source = random.Random(1)
    for _ in range(3000):
        text = "".join(source.choices(marks, k=source.randint(1, 20)))
        answer, _thoughts = split_thoughts(text)
        assert split_thoughts(answer) == split_thoughts(answer, only_leading=True) == (answer, ""), text


@pytest.mark.parametrize("text", ["<think></think>", "<think>", "</think>", "<|channel|>a<|message|>", "<thought>"])
def test_a_megabyte_of_tags_is_read(text: str) -> None:
    split_thoughts(text * (1_000_000 // len(text)))


@pytest.mark.parametrize(
    ("content", "more", "text", "thoughts"),
    [
        ([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], {}, "ab", ""),
        ([{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}, {"text": "a"}], {}, "a", "hm"),
        (["a", "b"], {}, "ab", ""),
        ("a", {"reasoning_content": "hm"}, "a", "hm"),
        ("a", {"reasoning": "hm"}, "a", "hm"),
        ("a", {"reasoning_details": [{"type": "reasoning.text", "text": "hm"}]}, "a", "hm"),
        (None, {"reasoning_content": "hm"}, "", "hm"),
        (None, {}, "", ""),
    ],
)
def test_content_and_thoughts_are_read_wherever_they_are(
    content: Any, more: dict[str, Any], text: str, thoughts: str
) -> None:
    (found,) = parse_completion(payload(choice(content, **more))).choices
    assert (found.text, found.thoughts) == (text, thoughts)


def test_a_refusal_in_the_models_words_is_a_filtered_reply() -> None:
    (found,) = parse_completion(payload(choice(None, refusal="I cannot."))).choices
    assert build_reply("m", found.text, found.stop_reason, Usage(3, 2)).status == "filtered"


@pytest.mark.parametrize(("content", "text"), [(7, "7"), (0.5, "0.5"), ({"text": 7}, "")])
def test_content_that_is_a_number_is_its_text(content: Any, text: str) -> None:
    assert parse_completion(payload(choice(content))).choices[0].text == text


@pytest.mark.parametrize("content", [[7], True])
def test_content_of_no_known_form_is_an_error(content: Any) -> None:
    with pytest.raises(CompletionError, match="neither text nor parts"):
        parse_completion(payload(choice(content)))


@pytest.mark.parametrize("broken", [None, "x", {"index": 0}, choice([7])])
def test_one_broken_choice_is_one_failed_draw(broken: Any) -> None:
    found = parse_completion(payload(broken, choice("Hi.")), n=2)
    assert ([one.text for one in found.choices], found.failed) == (["Hi."], 1)
    assert found.remarks[0].startswith("1 of 2 choices failed: ")


def test_a_wait_of_an_hour_is_cut() -> None:
    assert [limit_wait(one) for one in (None, 0.5, 3599.0, 3600.0, 1e9)] == [None, 0.5, 3599.0, 60.0, 60.0]


@pytest.mark.parametrize(
    ("sent", "meant"),
    [
        *[("length", "max_tokens"), ("max_tokens", "max_tokens"), ("MAX_TOKENS", "max_tokens"), ("STOP", "stop")],
        *[("sensitive", "content_filter"), ("SAFETY", "content_filter"), ("RECITATION", "content_filter")],
        *[("context_length_exceeded", "model_length"), ("model_context_window_exceeded", "model_length")],
        *[("eos_token", "unknown"), ("stop_sequence", "unknown"), ("tool_calls", "tool_calls")],
        *[(["stop"], "unknown"), ({"a": 1}, "unknown"), (7, "unknown"), (None, "unknown")],
    ],
)
def test_why_a_reply_ended_is_known_by_many_names(sent: Any, meant: str) -> None:
    assert parse_completion(payload(choice("Hi.", sent))).choices[0].stop_reason == meant


@pytest.mark.parametrize(
    "reason", ["error", "Error", "network_error", "insufficient_system_resource", "cancelled", "canceled"]
)
def test_a_reply_that_the_server_gave_up_is_none(reason: str) -> None:
    with pytest.raises(CompletionError, match=f"finish_reason '{reason}'") as caught:
        parse_completion(payload(choice("Hi", reason)))
    assert caught.value.kind == "transient"


USAGE = {"prompt_tokens": 10, "completion_tokens": 3, "total_tokens": 13}


@pytest.mark.parametrize(
    ("usage", "known"),
    [
        (USAGE, (10, 3)),
        (USAGE | {"total_tokens": 20}, (10, 10)),
        (USAGE | {"total_tokens": 5}, (10, 3)),
        ({"prompt_tokens": "10", "completion_tokens": "3", "total_tokens": "13"}, (10, 3)),
        ({"prompt_tokens": 10.0, "completion_tokens": 3.0}, (10, 3)),
        ({"prompt_tokens": 10, "total_tokens": 13}, (10, 3)),
        (dict.fromkeys(USAGE, 0), None),
        (USAGE | {"completion_tokens": 0, "total_tokens": 10}, None),
        (USAGE | {"prompt_tokens": -1}, None),
        ({"total_tokens": 13}, None),
        ({"completion_tokens": 13}, None),
        (dict.fromkeys(USAGE), None),
        ({}, None),
        ("many", None),
        (None, None),
    ],
)
def test_usage_is_a_pair_of_counts_or_unknown(usage: Any, known: tuple[int, int] | None) -> None:
    counts = parse_completion(payload(choice("Hi."), usage=usage)).usage
    assert (counts and (counts.prompt, counts.completion)) == known


def test_inspects_counts_mean_the_same() -> None:
    assert to_usage(None) is None and to_usage(ModelUsage()) is None
    assert to_usage(ModelUsage(input_tokens=10, output_tokens=3, total_tokens=20)) == Usage(10, 10)
    cached = ModelUsage(input_tokens=5, input_tokens_cache_read=4, input_tokens_cache_write=1, output_tokens=3)
    assert to_usage(cached) == Usage(10, 3)


@pytest.mark.parametrize("lengths", [[0, 0], [5, 1, 4], [7]])
def test_a_shared_request_is_paid_once(lengths: list[int]) -> None:
    shares = split_usage(Usage(10, 8), lengths)
    assert sum((share for share in shares if share), Usage()) == Usage(10, 8)
    assert [share.input_tokens for share in shares if share] == [10, *[0] * (len(lengths) - 1)]
    assert split_usage(None, lengths) == [None] * len(lengths)


@pytest.mark.parametrize(
    ("error", "kind", "hopeless"),
    [
        ({"message": "no", "code": 502}, "transient", False),
        ({"message": "no", "type": "server_error"}, "transient", False),
        ({"message": "no", "code": "429"}, "rate_limit", False),
        ({"message": "no", "type": "rate_limit_error"}, "rate_limit", False),
        ({"message": "no", "code": 400}, "permanent", False),
        ({"message": "You exceeded your current quota", "code": 429}, "permanent", True),
        ({"message": "no", "code": "insufficient_quota"}, "permanent", True),
        ({"message": "no", "code": "context_length_exceeded"}, "permanent", True),
        ("no", "permanent", False),
    ],
)
def test_an_error_says_whether_asking_again_helps(error: Any, kind: str, hopeless: bool) -> None:
    found = classify_error(error)
    assert (found.kind, found.hopeless) == (kind, hopeless) and ("no" in str(found) or "quota" in str(found))


def test_names_of_one_model_are_told_from_another_model() -> None:
    same = [("gpt-4o", "gpt-4o-2024-08-06"), ("llama-3.1-70b", "meta/Llama-3.1-70B"), ("a-latest", "a-20250101")]
    assert is_same_model("gpt-4o", None) and all(is_same_model(*pair) for pair in same[:2])
    assert not any(is_same_model("gpt-4o", other) for other in ("gpt-4o-mini", "gpt-4", "gpt-4o-audio-preview"))


@pytest.mark.parametrize(
    ("text", "reason", "usage", "status"),
    [
        ("Hi.", "stop", None, "complete"),
        ("Hi.", "unknown", None, "complete"),
        ("Hi", "max_tokens", None, "cut"),
        ("Hi", "model_length", Usage(9, 1), "cut"),
        ("", "max_tokens", Usage(9, 50), "cut"),
        ("Hi", "content_filter", Usage(9, 1), "filtered"),
    ],
)
def test_a_reply_says_whether_it_is_whole(text: str, reason: str, usage: Usage | None, status: str) -> None:
    assert build_reply("m", text, reason, usage).status == status


@pytest.mark.parametrize(
    ("text", "reason", "usage"),
    [
        ("The prompt is too long.", "model_length", None),
        ("The prompt was filtered.", "content_filter", None),
        ("The prompt was filtered.", "content_filter", Usage(9, 0)),
        ("", "content_filter", Usage(9, 4)),
        ("", "model_length", Usage(9, 4)),
    ],
)
def test_a_text_for_which_no_token_was_generated_is_a_failed_call(text: str, reason: str, usage: Usage | None) -> None:
    with pytest.raises(ModelError, match=f"^m: .*{text}"):
        build_reply("m", text, reason, usage)


def test_an_output_that_failed_or_is_empty_is_an_error() -> None:
    with pytest.raises(ModelError, match="m: overloaded"):
        to_reply(ModelOutput(error="overloaded"), "m", 0.0)
    with pytest.raises(ModelError, match="no choice"):
        to_reply(ModelOutput(), "m", 0.0)
    output = ModelOutput.from_content("m", "<think>hm</think>Hi.", "max_tokens")
    output.usage = ModelUsage(input_tokens=1, output_tokens=2, total_tokens=3)
    assert to_reply(output, "m", 0.5) == Reply("Hi.", "max_tokens", Usage(1, 2), 0.5, thoughts="hm")


def test_log_probabilities_are_of_the_first_token_and_can_be_stored() -> None:
    output = ModelOutput.from_content("m", "A")
    assert get_top_logprobs(output) is None and get_top_logprobs(ModelOutput()) is None
    first = Logprob(token="A", logprob=-0.1, top_logprobs=[TopLogprob(token="\ud83d", logprob=-3.0)])
    output.choices[0].logprobs = Logprobs(content=[first, Logprob(token="B", logprob=-1.0)])
    assert get_top_logprobs(output) == (("\ufffd", -3.0),)
    output.choices[0].logprobs = Logprobs(content=[Logprob(token="A", logprob=-0.1)])
    assert get_top_logprobs(output) == (("A", -0.1),)
