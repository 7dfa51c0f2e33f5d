"""Whether what a component must read can exceed its model's context window, before anything is paid.

    for check in plan(architecture, prices=prices).windows:
        check.warning      # "layer 2 (ranker) can need up to 18,752 tokens for its prompt and reply, more than ..."

Only components whose prompts show candidates are checked. Their lengths are those of the plan: at most `max_tokens` of
whoever writes a candidate, a critique or tests, and `TokenAssumptions` for the rest, a question of 200 tokens among it.
"""

import math
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from archon_eval.architecture.component_types import OverflowPolicy, describe_component, list_overflow_policies
from archon_eval.architecture.spec import Architecture, find_reply_limit
from archon_eval.components.component import Component
from archon_eval.components.token_estimates import NO_LIMIT, PlanFlow, TokenAssumptions
from archon_eval.models.prices import PriceTable

WHAT_FOLLOWS = {
    "fail": "a prompt that does not fit fails (on_overflow: fail)",
    "truncate": "candidates are shortened until the prompt fits (on_overflow: truncate)",
    "drop_longest": "the longest candidates are left out until the prompt fits (on_overflow: drop_longest)",
}


@dataclass(frozen=True, slots=True)
class WindowCheck:
    """One component's longest prompt and its reply, in tokens, next to a model's context window."""

    layer: int
    kind: str
    model: str
    expected: int
    """With lengths as the plan assumes them, and the fewest candidates; a reply counts as `max_tokens`."""
    most: int | None
    """With everything as long as its `max_tokens`; None where one of them is null, so that there is no limit."""
    window: int | None
    """None where the price table does not know it."""
    on_overflow: OverflowPolicy

    @property
    def verdict(self) -> Literal["fits", "can exceed", "exceeds", "unknown"]:
        """What the estimates say."""
        if self.window is None:
            return "unknown"
        if self.expected > self.window:
            return "exceeds"
        return "fits" if self.most is not None and self.most <= self.window else "can exceed"

    @property
    def warning(self) -> str:
        """A sentence on a prompt that may not fit; empty where it does, or where the window is unknown."""
        if self.verdict in ("fits", "unknown"):
            return ""
        likely = self.verdict == "exceeds"
        tokens = self.expected if likely else self.most
        amount = "any number of" if tokens is None else f"about {tokens:,}" if likely else f"up to {tokens:,}"
        return (
            f"layer {self.layer} ({self.kind}) {'is expected to' if likely else 'can'} need {amount} tokens for its "
            f"prompt and reply, more than the {self.window:,} of {self.model}'s context window: "
            f"{WHAT_FOLLOWS[self.on_overflow]}"
        )

    def to_mapping(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {**asdict(self), "verdict": self.verdict}


def check_windows(
    number: int, component: Component, flow: PlanFlow, assumed: TokenAssumptions, prices: PriceTable
) -> list[WindowCheck]:
    """A check per model of a component whose prompts show candidates; none for placeholders and simulated models.

    Args:
        flow: what comes in.
    """
    spec = component.spec
    if len(list_overflow_policies(spec, spec.kind)) == 1 or not component.count_calls(flow.candidates)[1]:
        return []
    windows = {model: prices.get_context(model) for model in spec.models if not model.startswith("$")}
    if not any(window != math.inf for window in windows.values()):
        return []
    limit = find_reply_limit(spec)
    reply = assumed.answer if limit is None else limit
    expected = component.estimate_longest_prompt(component.make_workload(flow, assumed, place=0)) + reply
    longest = replace(
        assumed,
        reasons=NO_LIMIT,  # cut at `max_tokens` where the component writes them itself
        critique=-(-flow.longest_critiques // max(1, flow.candidates[1])),
        test=-(-flow.longest_tests // max(1, flow.tests)),
    )
    work = component.make_workload(replace(flow, answer=flow.longest_answer), longest, place=1)
    most = component.estimate_longest_prompt(work) + reply
    return [
        WindowCheck(
            layer=number,
            kind=spec.kind,
            model=model,
            expected=expected,
            most=most if most < NO_LIMIT else None,
            window=None if window is None else int(window),
            on_overflow=spec.on_overflow,
        )
        for model, window in windows.items()
        if window != math.inf
    ]


def describe_judge(architecture: Architecture, judge: str, prices: PriceTable) -> str:
    """A sentence on a judge whose prompt, with two answers of the architecture's, may not fit; empty where it does.

    Benchmarks compare an answer with another one, or show the answers to two turns.
    """
    stages = [architecture.layers[span.first - 1 : span.last] for span in architecture.spans]
    last = (
        next((layer for layer in reversed(own) if describe_component(layer[0], "").writes_answers), ())
        for own in stages
    )
    writers = [spec for layer in last for spec in layer]
    limits = [find_reply_limit(spec) for spec in writers]
    window = prices.get_context(judge)
    if window is None or window == math.inf:
        return ""
    limit = max((limit for limit in limits if limit is not None), default=0)
    fixed = TokenAssumptions().wording + TokenAssumptions().query
    if None not in limits and 2 * limit + fixed <= window:
        return ""
    amount = (
        "answers without a limit (max_tokens: null)" if None in limits else f"two answers of up to {limit:,} tokens"
    )
    return (
        f"the judge {judge} has a context window of {window:,} tokens and may have to read {amount}: a prompt that "
        "does not fit is an error of the score"
    )
