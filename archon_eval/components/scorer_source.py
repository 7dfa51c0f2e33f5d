"""Where scores come from, for every component that scores answers: a model of the pool, an endpoint, a pipeline, or a
function.

    - reward: {model: $1}
    - reward: {endpoint: "http://localhost:8000/rerank", served_model: bge-reranker-v2-m3, key_variable: RERANK_KEY}
    - reward: {pipeline: OpenAssistant/reward-model-deberta-v3-large-v2}
    - reward: {function: "my_rewards:score"}
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from archon_eval.architecture.component_types import (
    ComponentOption,
    ComponentType,
    bool_option,
    choice_option,
    function_option,
    number_option,
    text_option,
)
from archon_eval.architecture.prompts import render
from archon_eval.architecture.spec import ComponentSpec
from archon_eval.components.component import Component
from archon_eval.components.token_estimates import Workload
from archon_eval.models.call import Usage
from archon_eval.models.score_forms import SCORE_FORMS, guess_form
from archon_eval.models.scorer import ScoreInput, Scorer, build_score_call
from archon_eval.types import Conversation

SOURCES = ("endpoint", "pipeline", "function")
"""The options of which one takes the place of `model`."""
_NEEDS: Mapping[str, tuple[str, ...]] = {
    "form": ("endpoint",),
    "served_model": ("endpoint",),
    "key_variable": ("endpoint",),
    "label": ("endpoint", "pipeline"),
    "batch": ("function",),
    "dollars": SOURCES,
}
"""Options that say more of a source, and of which."""
SOURCE_OPTIONS: Mapping[str, ComponentOption] = {
    "endpoint": replace(
        text_option("an address such as http://localhost:8000/rerank"), is_valid=lambda value: isinstance(value, str)
    ),
    "form": replace(choice_option("", *SCORE_FORMS), default=None, legal=" or ".join(SCORE_FORMS)),
    "served_model": text_option("the name of a model that the endpoint serves", r"\S+"),
    "key_variable": replace(
        text_option("the name of an environment variable"), is_valid=lambda value: isinstance(value, str)
    ),
    "pipeline": text_option("a text-classification model of Hugging Face", r"\S+"),
    "function": function_option(),
    "batch": bool_option(False),
    "label": text_option("a label of the classifier"),
    "dollars": number_option(None, 0),
}
"""Options of every component that has a source of scores. What may hold a key is looked at in `check_options`, whose
messages do not quote it."""
INPUT_PROMPT = "input"
"""The prompt that makes one text for a classifier."""


class ScoredComponent(Component):
    """A component that a model, or another source of scores, works for; comes first among the bases."""

    pairwise: bool = False
    """Whether an input of the source is two answers."""

    def __init__(self, spec: ComponentSpec) -> None:
        super().__init__(spec)
        self.scorer = _build_scorer(spec, pairwise=self.pairwise)

    @classmethod
    def describe_type(cls, spec: ComponentSpec) -> ComponentType:
        return replace(cls.kind, needs_model=False) if _find_source(spec) else cls.kind

    @classmethod
    def check_options(cls, spec: ComponentSpec) -> Sequence[str]:
        return [*_check_sources(spec), *_check_endpoint(spec, cls.pairwise), *_check_wording(spec)]

    def build_score_prompt(self, texts: ScoreInput, names: Sequence[str], default: str) -> Conversation:
        """What the source is sent: the texts, each apart, or one text made of them.

        Args:
            texts: the question and the answers.
            names: the fields that stand for them in the prompt `input`.
            default: that prompt where the user has none.
        """
        assert self.scorer is not None
        if self.scorer.takes_text:
            fields: dict[str, Any] = dict(zip(names, texts, strict=True))
            texts = (render(self.spec.get_prompt(INPUT_PROMPT, default), **fields),)
        return build_score_call(self.scorer, texts).messages

    def estimate_scores(self, work: Workload, reply: int) -> Mapping[str, Usage]:
        """Tokens of all calls: of a model with replies of so many tokens, of a source that counts them without."""
        if self.scorer is None:
            return self._share_calls(work, self.estimate_prompt(work), reply)
        read = self.estimate_prompt(work) - work.assumed.wording
        return {self.scorer.name: Usage(work.calls * read, 0)} if self.scorer.counts_tokens else {}


def _find_source(spec: ComponentSpec) -> str:
    """The option that takes the place of `model`; empty for none."""
    return next((name for name in SOURCES if spec.get_option(name)), "")


def _build_scorer(spec: ComponentSpec, *, pairwise: bool) -> Scorer | None:
    source, dollars, label = _find_source(spec), spec.get_option("dollars"), spec.get_option("label")
    has_wording = INPUT_PROMPT in dict(spec.prompts)
    if source == "endpoint":
        from archon_eval.models.score_endpoint import ScoreEndpoint  # it imports Inspect

        form = _find_form(spec)
        return ScoreEndpoint(
            spec.get_option("endpoint"),
            form=form,
            served_model=spec.get_option("served_model") or "",
            key_variable=spec.get_option("key_variable") or "",
            label=label,
            dollars=dollars,
            takes_text=SCORE_FORMS[form].takes_text or pairwise or has_wording,
        )
    if not source:
        return None
    from archon_eval.models.score_function import ScoreFunction, ScorePipeline  # it imports Inspect

    if source == "pipeline":
        model = spec.get_option("pipeline")
        return ScorePipeline(model, label=label, dollars=dollars, takes_text=pairwise or has_wording)
    path, batch = spec.get_option("function"), bool(spec.get_option("batch"))
    return ScoreFunction(path, batch=batch, dollars=dollars, takes_text=has_wording, where=spec.kind)


def get_midpoint(spec: ComponentSpec) -> float:
    """Of a source that compares two answers: the value above which the first is the better one."""
    if spec.get_option("label") is not None:
        return 0.5
    return SCORE_FORMS[_find_form(spec)].midpoint if _find_source(spec) == "endpoint" else 0.0


def _find_form(spec: ComponentSpec) -> str:
    return str(spec.get_option("form") or guess_form(urlsplit(spec.get_option("endpoint")).path))


def _check_sources(spec: ComponentSpec) -> Sequence[str]:
    given = [name for name in SOURCES if spec.get_option(name)]
    problems = []
    if len(given) > 1:
        problems.append(f"`{given[0]}` and `{given[1]}` are two sources of scores: leave one out")
    if given and spec.model:
        also = "; a model that the endpoint serves is `served_model`" if "endpoint" in given else ""
        problems.append(f"`{given[0]}` takes the place of `model`: leave one out{also}")
    for name, sources in _NEEDS.items():
        if spec.get_option(name) not in (None, False) and not set(sources) & set(given):
            problems.append(f"`{name}` says more of {' or '.join(f'`{s}`' for s in sources)}, which is not there")
    return problems


def _check_endpoint(spec: ComponentSpec, pairwise: bool) -> Sequence[str]:
    if not spec.get_option("endpoint"):
        return ()
    problems, variable = [], spec.get_option("key_variable")
    if variable is not None and not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,99}", variable):
        problems.append(
            "`key_variable` is the name of an environment variable, such as RERANK_KEY, never the key itself"
        )
    try:
        address = urlsplit(spec.get_option("endpoint"))
        legal = address.scheme in ("http", "https") and bool(address.hostname) and (address.port or 1) > 0
    except ValueError:
        legal = False
    if not legal or re.search(r"\s", spec.get_option("endpoint")):
        return [*problems, "`endpoint` must be a whole address, such as http://localhost:8000/rerank"]
    if address.username or address.password or address.query or address.fragment:
        problems.append(
            "`endpoint` holds credentials or a query, which may be a secret: name the environment variable that holds "
            "the key with `key_variable`"
        )
    form = _find_form(spec)
    if not form:
        problems.append(f"`form` must say what {address.path or '/'} takes: {' or '.join(SCORE_FORMS)}")
    elif pairwise and not SCORE_FORMS[form].may_take_text:
        problems.append(
            f"an endpoint of form {form} scores each answer alone, so it compares none: use `reward`, or a classifier "
            "of pairs (classify, predict)"
        )
    elif INPUT_PROMPT in dict(spec.prompts) and not SCORE_FORMS[form].may_take_text:
        problems.append(f"prompt `{INPUT_PROMPT}` makes one text, and an endpoint of form {form} takes two")
    return problems


def _check_wording(spec: ComponentSpec) -> Sequence[str]:
    own, source = dict(spec.prompts), _find_source(spec)
    unused = [name for name in own if (name == INPUT_PROMPT) != bool(source)]
    asked = f"`{source}` is not asked with" if source else "a model is not asked with"
    return [f"{asked} prompt `{name}`" for name in unused]
