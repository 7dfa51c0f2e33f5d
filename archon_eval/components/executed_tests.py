"""Unit tests that are run: a generator writes inputs with outputs, each candidate's program is tried on them in Docker.

    layers:
      - generator: {model: $1, samples: 20}
      - unit_test_generator: {model: $1, form: input_output}
      - unit_test_evaluator: {execute: sandbox}

Beyond the papers, whose tests are statements that a model judges (`unit_tests.py`). Tests a model writes are often
wrong themselves, so candidates are ordered by tests passed. `vote: {by: outputs}` needs the inputs alone.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from archon_eval.architecture.spec import ComponentSpec
from archon_eval.components.base import CallContext, CountRange
from archon_eval.components.parsing.structured import iter_json_values, normalize_reply
from archon_eval.components.unit_tests import UnitTestEvaluator, UnitTestGenerator
from archon_eval.errors import ParseError, quote
from archon_eval.types import Candidate, State

TEST_CPU_SECONDS = 2.0
"""CPU seconds a program may take on a test that a model wrote, which is small; times the machine's factor."""
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


def parse_io_tests(reply: str, max_tests: int) -> tuple[str, ...]:
    """The tests of a reply, each as a JSON object with the texts `input` and `output`; at most `max_tests`.

    Raises:
        ParseError: no list of such objects, or two outputs for the same input.
    """
    for value in _iter_json_lists(normalize_reply(reply)):
        pairs = [_parse_io_test(item) for item in value]
        if not pairs or None in pairs:
            continue
        found: dict[str, str] = {}
        for given, wanted in filter(None, pairs):
            if found.setdefault(given, wanted).split() != wanted.split():
                raise ParseError(f"two different outputs for the input {quote(given)}")
        tests = [json.dumps({"input": given, "output": wanted}) for given, wanted in found.items()]
        return tuple(tests[:max_tests])
    raise ParseError(f"no list of objects with the texts 'input' and 'output' in {quote(reply)}")


def _iter_json_lists(text: str) -> Iterator[list[Any]]:
    """Strict JSON first: the tolerant reader takes a line break before some letters for a LaTeX command."""
    start, end = text.find("["), text.rfind("]") + 1
    for spot in (text, text[start:end]):
        try:
            value = json.loads(spot, strict=False)
        except (ValueError, RecursionError):
            continue
        yield from _unwrap_lists(value)
    for value in iter_json_values(text):
        yield from _unwrap_lists(value)


def _unwrap_lists(value: Any) -> Iterator[list[Any]]:
    yield from (entry for entry in [value, *(value.values() if isinstance(value, dict) else ())] if type(entry) is list)


def _parse_io_test(item: Any) -> tuple[str, str] | None:
    if not isinstance(item, Mapping):
        return None
    texts = [item.get(key) for key in ("input", "output")]
    given, wanted = (str(t) if type(t) in (int, float) else t for t in texts)
    return (given, wanted) if isinstance(given, str) and isinstance(wanted, str) else None


class IOTestGenerator(UnitTestGenerator):
    """`form: input_output`. One call, at time zero; without tests every candidate goes on."""

    wording = IO_TESTS_PROMPT
    parse = staticmethod(parse_io_tests)


class CandidateProgramRunner:
    """Candidates' programs in the sandbox, on the inputs of a state's tests; the containers are shared by questions."""

    def __init__(self) -> None:
        from archon_eval.sandbox import SandboxPool
        from archon_eval.sandbox.shared_pool import SharedRunner

        self._shared = SharedRunner(SandboxPool)

    def check_requirements(self) -> None:
        """Raises SandboxError, which names `archon sandbox doctor`, where no program can be run."""
        from archon_eval.sandbox.image import check_docker

        check_docker()

    async def run(self, candidate: Candidate, state: State, compare: bool) -> list[bytes | None]:
        """What the candidate's program prints on each input; None where it fails, or, with `compare`, prints other
        than the test says."""
        from archon_eval.sandbox import Case, ProgramVerdict, SandboxLimits, extract_program

        pairs = [tuple(map(_encode_text, json.loads(test).values())) for test in state.tests]
        program = extract_program(candidate.text)
        if program is None:
            return [None] * len(pairs)
        cases = [Case(given, wanted if compare else None) for given, wanted in pairs]
        async with self._shared.borrow() as runner:
            found = await runner.run(
                program,
                cases,
                limits=SandboxLimits(TEST_CPU_SECONDS * await self._shared.measure_time_factor(runner)),
                stop_at_first_failure=False,
                keep_output=True,
            )
        printed = [run.output if run.verdict is ProgramVerdict.ACCEPTED else None for run in found.runs]
        return printed or [None] * len(pairs)


def _encode_text(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


class IOTestEvaluator(UnitTestEvaluator):
    """`execute: sandbox`. No model call; ordered by tests passed, with `keep: passing` cut to those that pass all."""

    sorts = True

    def __init__(self, spec: ComponentSpec) -> None:
        super().__init__(spec)
        self._programs = CandidateProgramRunner()

    def check_requirements(self) -> None:
        self._programs.check_requirements()

    async def judge(self, state: State, candidate: Candidate, desk: CallContext) -> Candidate:
        printed = await self._programs.run(candidate, state, compare=True) if state.tests else []
        return replace(candidate, tests=tuple(output is not None for output in printed))

    def count_calls(self, candidates: CountRange) -> CountRange:
        return (0, 0)
