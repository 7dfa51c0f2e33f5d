"""The price table: the papers' figures, patterns, the user's own file, and what is not known."""

from pathlib import Path

import pytest

from archon_eval.errors import DataError
from archon_eval.models.call import Usage
from archon_eval.models.prices import Price, load_prices
from archon_eval.simulation import pool_names


@pytest.mark.parametrize(
    ("model", "price"),
    [
        ("openai/gpt-4o", Price(5, 15)),
        ("openai/gpt-4o-2024-05-13", Price(5, 15)),
        ("openai/gpt-4-turbo-2024-04-09", Price(10, 30)),
        ("anthropic/claude-3-5-sonnet-20240620", Price(3, 15)),
        ("anthropic/claude-3-opus-20240229", Price(15, 75)),
        ("together/meta-llama/Meta-Llama-3.1-405B-Instruct-Turbo", Price(5, 5)),
        ("together/meta-llama/Meta-Llama-3.1-70B-Instruct-Turbo", Price(0.88, 0.88)),
        ("together/Qwen/Qwen2-72B-Instruct", Price(0.9, 0.9)),
        ("together/microsoft/WizardLM-2-8x22B", Price(0.9, 0.9)),
        ("sim/gpt-4o", Price(5, 15)),
        ("openai/gpt-4o-mini", Price(0.15, 0.60)),
    ],
)
def test_published_prices(model: str, price: Price) -> None:
    assert load_prices().get_price(model) == price


@pytest.mark.parametrize("model", ["openai/gpt-4o-minimal", "ollama/llama3.1-70b", "$1", "", "openai/o9"])
def test_unknown_is_none_and_not_zero(model: str) -> None:
    prices = load_prices()
    assert prices.get_price(model) is None
    assert prices.compute_cost(model, Usage(1000, 1000)) is None


def test_cost_is_dollars_per_million_and_unknown_without_usage() -> None:
    prices = load_prices()
    assert prices.compute_cost("openai/gpt-4o", Usage(1_000_000, 200_000)) == pytest.approx(8.0)
    assert prices.compute_cost("openai/gpt-4o", Usage()) == 0
    assert prices.compute_cost("openai/gpt-4o", None) is None


def test_own_file_comes_first_and_the_rest_stays(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("version: mine\nprices:\n  - {models: openai/gpt-4o, input: 1, output: 2}\n")
    prices = load_prices(path)
    assert prices.get_price("openai/gpt-4o") == Price(1, 2)
    assert prices.get_price("openai/gpt-4-turbo") == Price(10, 30)
    assert prices.version == "mine over 2024-11"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[", "not readable as YAML"),
        ("- 1", "a mapping with `version`"),
        ("prices: []", "a mapping with `version`"),
        ("prices: [{models: [a/b], input: 1, output: 2}]\nverison: x", "did you mean 'version'"),
        ("prices: [7]", "entry 1 must be"),
        ("prices: [{model: a/b, input: 1, output: 2}]", "did you mean 'models'"),
        ("prices: [{models: [], input: 1, output: 2}]", "`models` must be a list"),
        ("prices: [{models: [a/b], input: 1}]", "`output` must be dollars"),
        ("prices: [{models: [a/b], input: -1, output: 2}]", "`input` must be dollars"),
        ("prices: [{models: [a/b], input: .nan, output: 2}]", "`input` must be dollars"),
        ("prices: [{models: [a/b], input: true, output: 2}]", "`input` must be dollars"),
    ],
)
def test_malformed_files_say_where(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(DataError, match=r"bad\.yaml") as caught:
        load_prices(path)
    assert says in str(caught.value)


def test_unreadable_files(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot read price file"):
        load_prices(tmp_path / "none.yaml")
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe")
    with pytest.raises(DataError, match="cannot read price file"):
        load_prices(tmp_path / "bytes.yaml")


def test_every_simulated_model_costs_what_it_simulates() -> None:
    prices = load_prices()
    assert all(prices.get_price(name) for name in pool_names())
    assert prices.get_price("sim/llama-3.1-405b-instruct") == Price(5, 5)
    assert prices.get_price("sim/claude-3.5-sonnet") == Price(3, 15)


def test_a_file_may_set_windows_with_and_without_prices(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(
        "prices:\n"
        "  - {models: [openai/gpt-4o, local/a], context: 4096}\n"
        "  - {models: local/*, context: unlimited}\n"
        "  - {models: openai/gpt-4-turbo, input: 1, output: 2, context: 8192}\n"
    )
    prices = load_prices(path)
    assert prices.get_price("openai/gpt-4o") == Price(5, 15) and prices.get_context("OpenAI/gpt-4o") == 4096
    assert prices.get_price("local/a") is None and prices.get_context("local/a") == 4096
    assert prices.get_context("local/b") == float("inf")
    assert (prices.get_price("openai/gpt-4-turbo"), prices.get_context("openai/gpt-4-turbo")) == (Price(1, 2), 8192)
    assert prices.get_context("openai/gpt-4o-mini") == 128_000


@pytest.mark.parametrize("value", ["0", "-1", "true", "8k", "8192.5", "null", ".inf"])
def test_a_window_that_is_none_is_refused(tmp_path: Path, value: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(f"prices: [{{models: a/x, context: {value}}}]")
    with pytest.raises(DataError, match="entry 1: `context` must be tokens, a whole number from 1, or unlimited"):
        load_prices(path)
