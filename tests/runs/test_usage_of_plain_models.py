"""What a count of Inspect's means where no architecture answered."""

from types import SimpleNamespace
from typing import Any

from inspect_ai.model import ModelUsage

from archon_eval.models.prices import load_prices
from archon_eval.models.replies import to_usage
from archon_eval.runs.answer_usage import read_answer_usage
from archon_eval.runs.usage import average_usages


def build_sample(model_usage: Any) -> Any:
    facts = {
        "metadata": {},
        "scores": {},
        "output": SimpleNamespace(metadata=None),
        "role_usage": {},
    }
    return SimpleNamespace(model_usage=model_usage, working_time=2.0, **facts)


def test_cached_input_of_a_plain_model_is_input_and_has_its_price() -> None:
    cached = ModelUsage(input_tokens=10, output_tokens=5, total_tokens=1015, input_tokens_cache_read=1000)
    cost = average_usages([read_answer_usage(build_sample({"openai/gpt-4o": cached}), ())]).cost
    assert (cost["input_tokens"], cost["output_tokens"], cost["seconds"]) == (1010, 5, 2.0)
    assert cost["dollars"] == load_prices().compute_cost("openai/gpt-4o", to_usage(cached))


def test_what_a_plain_model_did_not_report_is_unknown() -> None:
    found = average_usages([read_answer_usage(build_sample(None), ())])
    assert found.cost["tokens"] is None and found.cost["dollars"] is None
    assert found.unknown_costs["tokens"] == "the log holds no model events, and no usage"


def test_without_an_answer_every_cost_is_unknown() -> None:
    found = average_usages([])
    assert set(found.cost.values()) == {None} and set(found.unknown_costs.values()) == {"no answer without an error"}
