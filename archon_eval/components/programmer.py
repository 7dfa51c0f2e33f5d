"""Programmer: writes a program for the question, runs it in the sandbox and answers with what it prints.

    - programmer: {model: $1, samples: 5}       # program-aided answers (Gao et al., 2023)
    - vote: {top_k: 1}

Behind other candidates its answers join them (the operator of AFlow, Zhang et al., 2025). A program that fails goes
back to the model with what went wrong, up to `repairs` times.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from archon_eval.architecture.component_types import ComponentType, define_prompt, int_option
from archon_eval.architecture.prompts import render
from archon_eval.architecture.spec import ComponentSpec
from archon_eval.components.base import CandidateGenerator
from archon_eval.components.call_context import CallContext
from archon_eval.components.executed_tests import CandidateProgramRunner
from archon_eval.components.prompt_parts import make_user_prompt
from archon_eval.components.token_estimates import CountRange, Workload, cap_tokens
from archon_eval.models.call import Reply, Usage
from archon_eval.types import Candidate, Message, State

if TYPE_CHECKING:
    from archon_eval.sandbox import ProgramRun

PROGRAM_PROMPT = """\
Write a Python program that finds the answer to the query below by computing it. It uses the standard library alone, \
reads no input, needs no network, and ends within {seconds} seconds. It prints the answer and nothing else, in the \
form that the query asks for; its last line is the answer.

<query>
{instruction}
</query>

Reply with the complete program in one fenced code block."""

REPAIR_PROMPT = """\
The program did not give an answer: {problem}

Find the cause and reply with the complete corrected program in one fenced code block."""

MAX_OUTPUT_CHARS = 8000
"""Characters of a program's output that are its answer; the end of a longer one, where the answer stands."""
MAX_PROBLEM_CHARS = 2000
"""Characters of an error message that the model is shown: the end, which names the error."""


class Programmer(CandidateGenerator):
    """One call per sample, and one for each repair."""

    kind = ComponentType(
        "programmer",
        place="any",
        adds=True,
        options={"samples": int_option(1), "repairs": int_option(2, least=0, always_shown=True)},
        prompts={"program": define_prompt("instruction", "seconds"), "repair": define_prompt("problem")},
        reads_critiques=False,
        writes_tests="",
        reads_tests="",
        runs_programs="its program",
    )

    candidates_read = "none"
    tool_obstacle = "it answers with a program's output, and tool calls are none"
    outcome_name = "answer"
    fallback = "no program gave an answer: none is added, or in the first layer the last reply stands"

    def __init__(self, spec: ComponentSpec) -> None:
        super().__init__(spec)
        self._programs = CandidateProgramRunner()

    def check_requirements(self) -> None:
        self._programs.check_requirements()

    @property
    def attempts(self) -> int:
        """Programs that are written at most."""
        return 1 + int(self.spec.get_option("repairs"))

    async def produce(self, state: State, id: str, draw: int, ctx: CallContext) -> Candidate | None:
        from archon_eval.components.executed_tests import PROGRAM_CPU_SECONDS

        asked = render(
            self.spec.get_prompt("program", PROGRAM_PROMPT),
            instruction=state.instruction,
            seconds=f"{PROGRAM_CPU_SECONDS:g}",
        )
        messages, reply, problem = make_user_prompt(asked), None, ""
        for attempt in range(self.attempts):
            purpose = "program" if attempt == 0 else "repair"
            reply = await ctx.generate(purpose, messages, draw=draw, about=id)
            if reply is None:
                return None
            output, problem = await self._run(reply, ctx, id)
            if output:
                ctx.record_event("program_output", f"attempt {attempt + 1} of {self.attempts}", id)
                return Candidate(id, output, self.spec.model, values={"program": reply.text})
            repair = render(self.spec.get_prompt("repair", REPAIR_PROMPT), problem=problem)
            messages = (*messages, Message("assistant", reply.text.strip() or "(no text)"), Message("user", repair))
        ctx.record_event("fallback", f"program: {problem.splitlines()[-1]}; {self.fallback}", id)
        return None if state.candidates else self.make_candidate(id, reply)

    async def _run(self, reply: Reply, ctx: CallContext, id: str) -> tuple[str, str]:
        """What the program of a reply prints, or else what went wrong."""
        from archon_eval.sandbox import extract_program

        program = extract_program(reply.text)
        if program is None:
            return "", "there was no complete program in a fenced code block"
        return _read_output(await self._programs.run_alone(program, ctx, id))

    def count_calls(self, candidates: CountRange) -> CountRange:
        return self.candidate_count, self.candidate_count * self.attempts

    def count_survivors(self, candidates: CountRange) -> CountRange:
        least, most = super().count_survivors(candidates)
        return (candidates[0] if candidates[1] else least), most

    def estimate_prompt(self, work: Workload) -> int:
        return work.assumed.wording + work.assumed.query

    def estimate_tokens(self, work: Workload) -> Mapping[str, Usage]:
        first, reply = self.estimate_prompt(work), cap_tokens(work.assumed.answer, self.spec)
        attempts = work.calls // self.candidate_count
        prompts = sum(first + number * (reply + work.assumed.wording) for number in range(attempts))
        return {self.spec.model: Usage(self.candidate_count * prompts, work.calls * reply)}


def _read_output(done: "ProgramRun") -> tuple[str, str]:
    """What a run printed, or else what went wrong."""
    if done.compile_error is not None:
        return "", f"it does not compile.\n{done.compile_error[-MAX_PROBLEM_CHARS:]}"
    run = done.runs[0]
    if not done.passed:
        return "", f"it ended with: {run.verdict.value}.\n{run.stderr[-MAX_PROBLEM_CHARS:]}".strip()
    output = (run.output or b"").decode("utf-8", "replace").strip()[-MAX_OUTPUT_CHARS:].strip()
    return output, "" if output else "it printed nothing."
