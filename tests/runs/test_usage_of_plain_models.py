"""What an answer took where no architecture answered."""

from types import SimpleNamespace

from inspect_ai.model import ModelUsage

from archon_eval.models.prices import load_prices
from archon_eval.models.replies import to_usage
from archon_eval.runs.records import AnswerRecord
from archon_eval.runs.usage import average_cost
from archon_eval.stats.metrics import ScoredAnswer

ANSWERED = AnswerRecord("q", 1, answer=ScoredAnswer(1.0), problem="", unreadable=False, failed=False, accounts=())


def test_cached_input_of_a_plain_model_is_input_and_has_its_price() -> None:
    cached = ModelUsage(input_tokens=10, output_tokens=5, total_tokens=1015, input_tokens_cache_read=1000)
    sample = SimpleNamespace(model_usage={"openai/gpt-4o": cached}, working_time=2.0)
    cost = average_cost([sample], [ANSWERED], "openai/gpt-4o")
    assert cost["tokens"] == 1015 and cost["seconds"] == 2.0
    assert cost["dollars"] == load_prices().compute_cost("openai/gpt-4o", to_usage(cached))


def test_what_a_plain_model_did_not_report_is_unknown() -> None:
    cost = average_cost([SimpleNamespace(model_usage=None, working_time=2.0)], [ANSWERED], "openai/gpt-4o")
    assert cost["tokens"] is None and cost["dollars"] is None
