"""`accept: {tests: 1.0}`: a stage's answer stands where it passes so large a share of the stage's unit tests."""

from archon_eval.architecture.component_types import ComponentType, threshold_option
from archon_eval.components.acceptance import GOES_ON, AcceptRule
from archon_eval.components.call_context import CallContext
from archon_eval.types import State


class AcceptTests(AcceptRule):
    """The share of tests that the answer passes; a test without a verdict is not passed."""

    kind = ComponentType(
        "accept_tests",
        place="rule",
        needs_model=False,
        options={"threshold": threshold_option(0, 1, 1.0)},
        reads_critiques=False,
        writes_tests="",
        reads_tests="any",
    )
    outcome_name = "share of passed tests"
    fallback = f"there is no test with a verdict: {GOES_ON}"

    async def measure(self, state: State, ctx: CallContext) -> float | None:
        verdicts = state.candidates[0].tests
        if not any(verdict is not None for verdict in verdicts):
            ctx.record_event("fallback", self.fallback)
            return None
        passed = sum(verdict is True for verdict in verdicts)
        ctx.record_event("measured", f"{passed} of {len(verdicts)} tests passed")
        return passed / len(verdicts)
