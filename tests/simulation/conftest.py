"""Shared by the simulation's tests: made-up questions and an engine over the pool."""

import pytest

from archon_eval.simulation.check import make_question
from archon_eval.simulation.questions import QuestionBank
from archon_eval.simulation.simulator import Simulator


@pytest.fixture(scope="session")
def math_pool() -> Simulator:
    """A pool that knows 300 made-up questions of the MATH family."""
    return Simulator(QuestionBank([make_question("math", number) for number in range(300)]))
