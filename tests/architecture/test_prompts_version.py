"""Answers depend on the built-in wordings, and fingerprints on answers: who changes one must raise PROMPTS_VERSION."""

import hashlib

from archon_eval.architecture.spec import PROMPTS_VERSION
from archon_eval.components import critic, fuser, ranker, unit_tests, verifier
from archon_eval.engine.call_context import REASK_PROMPT


def test_wordings_are_those_of_the_stated_version() -> None:
    texts = (
        critic.CRITIQUE_PROMPT,
        fuser.FUSE_PROMPT,
        fuser.LENGTH_PROMPT,
        ranker.RANK_PROMPT,
        verifier.REASONS_PROMPT,
        verifier.VERDICT_PROMPT,
        unit_tests.TESTS_PROMPT,
        unit_tests.EVALUATE_PROMPT,
        REASK_PROMPT,
    )
    found = hashlib.sha256("\0".join(texts).encode()).hexdigest()[:12]
    assert (PROMPTS_VERSION, found) == (1, "07112dc5fb5a"), "raise PROMPTS_VERSION and pin the new hash"
