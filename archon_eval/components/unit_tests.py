"""Unit tests: a generator writes them from the query, an evaluator judges each candidate by them.

v6 section 3.1: the evaluator passes on the candidates that pass every test (`keep: passing`); v1 orders them by the
number of tests passed (`keep: all`). Five to ten tests worked best. The papers' tests are statements in words; with
`form: input_output` and `execute: sandbox` they are inputs with outputs, on which candidates' programs are run.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from archon_eval.architecture.component_types import (
    ComponentType,
    choice_option,
    define_prompt,
    int_option,
    optional_word,
)
from archon_eval.architecture.prompts import render
from archon_eval.architecture.spec import ComponentSpec
from archon_eval.components.base import CandidateScorer, ContextComponent
from archon_eval.components.call_context import CallContext
from archon_eval.components.executed_tests import CandidateProgramRunner
from archon_eval.components.parsing.io_tests import parse_io_tests
from archon_eval.components.parsing.missing_parts import JoiningParser
from archon_eval.components.parsing.test_results import format_verdict_form, parse_test_verdicts
from archon_eval.components.parsing.unit_tests import parse_tests
from archon_eval.components.prompt_parts import make_user_prompt
from archon_eval.components.token_estimates import CountRange, Workload
from archon_eval.models.call import Usage
from archon_eval.types import Candidate, Conversation, State, render_conversation

TESTS_PROMPT = """\
Write unit tests for responses to the query below. Each test is one short statement, in words, that a \
correct and helpful response must satisfy and whose truth can be judged by reading the response. Cover what the query \
asks for; do not repeat a test, and do not answer the query.

<query>
{instruction}
</query>

Write at most {max_tests} tests. Reply only with a list of strings, each a statement about the response: \
["The response states ...", "The response explains ...", ...]"""

IO_TESTS_PROMPT = """\
Write tests for programs that solve the problem below. A program reads standard input and writes standard \
output. Each test is one complete input, in the form that the problem describes, with the output that a right program \
prints for it. Choose small inputs whose output you can work out with certainty: the problem's own examples, edge \
cases, and inputs on which a plausible mistake shows. Do not repeat an input.

<problem>
{instruction}
</problem>

Write at most {max_tests} tests. Reply only with a JSON list of objects, line breaks written as \\n: \
[{"input": "first line\\nsecond line\\n", "output": "..."}, ...]"""

EVALUATE_PROMPT = """Check a response to a query against {count} unit tests, one by one.

<query>
{instruction}
</query>

<response>
{candidate}
</response>

Unit tests:
{tests}

For each test give your reasoning. Then end with one line per test, {count} in all, with nothing else on the line:

{form}"""

_FORMS: Mapping[str, tuple[str, Callable[[str, int, str], tuple[str, ...]]]] = {
    "statements": (TESTS_PROMPT, parse_tests),
    "input_output": (IO_TESTS_PROMPT, lambda reply, max_tests, _: parse_io_tests(reply, max_tests)),
}
"""The prompt and the parser of each form of test."""


class UnitTestGenerator(ContextComponent):
    """One call, at time zero; the fallback is no test at all, which every candidate passes."""

    kind = ComponentType(
        "unit_test_generator",
        options={
            "max_tests": int_option(10, always_shown=True),
            "form": choice_option("statements", "input_output"),
        },
        prompts={"tests": define_prompt("instruction", "max_tests")},
        reads_critiques=False,
        reads_tests="",
    )
    tool_obstacle = "its unit tests are of answers, and say nothing of tool calls"
    outcome_name = "list of tests"
    fallback = "no tests: every candidate passes"

    @classmethod
    def describe_type(cls, spec: ComponentSpec) -> ComponentType:
        return replace(cls.kind, writes_tests=spec.get_option("form"))

    async def prepare(self, conversation: Conversation, ctx: CallContext) -> Mapping[str, Any]:
        max_tests = self.count_tests()
        built_in_prompt, parse = _FORMS[self.spec.get_option("form")]
        query = render_conversation(conversation)
        prompt = render(
            self.spec.get_prompt("tests", built_in_prompt),
            instruction=query,
            max_tests=max_tests,
        )
        tests = await ctx.generate_parsed(
            "tests",
            make_user_prompt(prompt),
            lambda reply: parse(reply, max_tests, query),
            fallback=self.fallback,
        )
        return {"tests": tests or ()}

    def count_tests(self) -> int:
        return int(self.spec.get_option("max_tests"))

    def estimate_tokens(self, work: Workload) -> Mapping[str, Usage]:
        return self._share_calls(work, self.estimate_prompt(work), self.count_tests() * work.assumed.test)

    def describe_values(self, values: Mapping[str, Any]) -> Mapping[str, Sequence[str]]:
        return _list_tests(values)


class UnitTestEvaluator(CandidateScorer):
    """One call per candidate; a test without a readable verdict counts neither for nor against it.

    With `execute: sandbox` no call: candidates' programs are run on the tests, and ordered by tests passed.
    """

    kind = ComponentType(
        "unit_test_evaluator",
        filters=True,
        options={
            "keep": choice_option("passing", "all", always_shown=True),
            "top_k": int_option(None, always_shown=True),
            "stop_after": int_option(None),
            "execute": optional_word("sandbox"),
        },
        prompts={"evaluate": define_prompt("instruction candidate tests", "count form")},
        reads_critiques=False,
        writes_tests="",
        reads_tests="statements",
        follows_tests=True,
    )
    tool_obstacle = "unit tests are of answers, and say nothing of tool calls"
    outcome_name = "test result"
    fallback = "tests without a verdict count neither for nor against the candidate"

    def __init__(self, spec: ComponentSpec) -> None:
        super().__init__(spec)
        self._programs = CandidateProgramRunner() if spec.get_option("execute") else None

    @classmethod
    def describe_type(cls, spec: ComponentSpec) -> ComponentType:
        described = replace(cls.kind, filters=spec.get_option("keep") != "all")
        if not spec.get_option("execute"):
            return described
        return replace(described, needs_model=False, reads_tests="input_output", runs_programs="`execute: sandbox`")

    @classmethod
    def check_options(cls, spec: ComponentSpec) -> Sequence[str]:
        cut = spec.get_option("top_k") is not None or spec.get_option("keep") == "all" or spec.get_option("execute")
        if cut and spec.get_option("stop_after") is not None:
            return ["`stop_after` cancels work that `top_k`, `keep: all` and `execute` must see"]
        return ()

    @property
    def sorts(self) -> bool:  # type: ignore[override]
        return self.spec.get_option("keep") == "all" or self.spec.get_option("top_k") is not None or self._executes

    @property
    def _executes(self) -> bool:
        return self._programs is not None

    def check_requirements(self) -> None:
        if self._programs:
            self._programs.check_requirements()

    async def judge(self, state: State, candidate: Candidate, ctx: CallContext) -> Candidate:
        if not state.tests:
            return candidate
        if self._programs:
            printed = await self._programs.run(candidate, state, ctx, compare=True)
            return _record_results(candidate, tuple(output is not None for output in printed), ctx)
        tests = state.tests
        prompt = render(
            self.spec.get_prompt("evaluate", EVALUATE_PROMPT),
            instruction=state.instruction,
            candidate=candidate.text,
            tests="\n".join(f"Unit Test #{number}: {test}" for number, test in enumerate(tests, 1)),
            count=len(tests),
            form=format_verdict_form(range(1, len(tests) + 1)),
        )
        results = await ctx.generate_parsed(
            "evaluate",
            make_user_prompt(prompt),
            JoiningParser(lambda reply: parse_test_verdicts(reply, len(tests))),
            fallback=self.fallback,
            about=candidate.id,
        )
        return _record_results(candidate, results or (None,) * len(tests), ctx)

    def passes(self, candidate: Candidate) -> bool:
        return self.spec.get_option("keep") == "all" or False not in candidate.tests

    def arrange(self, candidates: tuple[Candidate, ...]) -> tuple[Candidate, ...]:
        if self.spec.get_option("keep") == "all" or self._executes:
            candidates = tuple(sorted(candidates, key=lambda c: -sum(result is True for result in c.tests)))
        passing = tuple(filter(self.passes, candidates)) or candidates
        return passing[: self.spec.get_option("top_k")]

    def count_survivors(self, candidates: CountRange) -> CountRange:
        top_k = self.spec.get_option("top_k")
        least, most = super().count_survivors(candidates)
        return (least, most) if top_k is None else (min(least, top_k), min(most, top_k))

    def estimate_prompt(self, work: Workload) -> int:
        return super().estimate_prompt(work) + work.tests * work.assumed.test

    def estimate_tokens(self, work: Workload) -> Mapping[str, Usage]:
        return self._share_calls(work, self.estimate_prompt(work), work.tests * work.assumed.verdict)

    def describe_values(self, values: Mapping[str, Any]) -> Mapping[str, Sequence[str]]:
        return _list_tests(values)


def _record_results(candidate: Candidate, results: tuple[bool | None, ...], ctx: CallContext) -> Candidate:
    """The candidate with its results; they are a judgment where none is missing."""
    if None not in results:
        ctx.record_judgment("tests", {candidate.id: float(sum(map(bool, results)))})
    return replace(candidate, tests=results)


def _list_tests(values: Mapping[str, Any]) -> Mapping[str, Sequence[str]]:
    tests = values.get("tests", ())
    return {"Unit tests": tests} if tests else {}
