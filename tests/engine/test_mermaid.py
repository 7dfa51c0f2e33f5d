"""Flowcharts of layers beside the candidates' way, and of names that are no plain words."""

from collections.abc import Mapping
from typing import Any

from archon_eval.architecture.load import load_architecture
from archon_eval.components import CallContext, ComponentType, ContextComponent, Conversation, ListComponent, State
from archon_eval.engine.mermaid import render_mermaid
from archon_eval.engine.plan import plan
from archon_eval.report.html.diagram import draw_diagram, estimate_layer_usage

HERE = __name__
GENERATE = {"generator": ["a/x", "a/y"]}


class Notes(ContextComponent):
    kind = ComponentType("notes", needs_model=False)

    async def prepare(self, conversation: Conversation, ctx: CallContext) -> Mapping[str, Any]:
        return {}


class Silent(Notes):
    leaves = ""  # type: ignore[assignment]


class Marked(Notes):
    leaves = 'a "b" --> <i>'  # type: ignore[assignment]


class Side(ListComponent):
    """On the way, whatever it calls what it leaves."""

    kind = ComponentType("side", needs_model=False)
    leaves = "something"  # type: ignore[assignment]

    async def run(self, state: State, ctx: CallContext) -> State:
        return state


def render(*kinds: str) -> str:
    layers = [GENERATE, *({f"{HERE}:{kind}": {}} for kind in kinds), {"fuser": "a/x"}]
    architecture = load_architecture({"layers": layers})
    text = render_mermaid(plan(architecture))
    assert draw_diagram(estimate_layer_usage(architecture)).count("layer side") == text.count("Q --> L") - 1
    return text


def test_each_of_two_layers_that_leave_the_same_has_its_arrow() -> None:
    text = render("Notes", "Notes")
    assert "L2 -. notes .-> L4" in text and "L3 -. notes .-> L4" in text


def test_a_layer_stands_beside_the_way_as_its_class_says() -> None:
    assert "L2 -.-> L3" in render("Silent") and "L1 -->|2| L3" in render("Silent")
    assert "L1 -->|2| L2" in render("Side") and "L2 -->|2| L3" in render("Side")


def test_what_a_layer_leaves_is_escaped() -> None:
    assert 'L2 -. "a #quot;b#quot; --#gt; #lt;i#gt;" .-> L3' in render("Marked")


def test_a_models_name_ends_no_box_and_is_no_markup() -> None:
    text = render_mermaid(plan(load_architecture({"layers": [{"generator": 'a/b"]\n  X-->Y<img src=x>'}]})))
    assert 'L1["1 generator<br/>a/b#quot;] X--#gt;Y#lt;img src=x#gt;"]' in text
