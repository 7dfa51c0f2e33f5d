"""Replies that verifiers really write, and the ones nobody can read."""

import pytest

from archon_eval.components.parsing.verdict import parse_verdict
from archon_eval.errors import ParseError

READABLE = {
    "as asked": ("All steps hold.\n\n[Correct]", True),
    "as asked, wrong": ("Step 2 fails.\n\n[Incorrect]", False),
    "lead": ("Verdict: [Incorrect]", False),
    "bold": ("**Final verdict:** **[Correct]**", True),
    "heading": ("## Verdict\n\n### [Incorrect]", False),
    "code": ("`[Correct]`", True),
    "fence": ("```\n[Incorrect]\n```", False),
    "case": ("[CORRECT]", True),
    "spaces": ("[ incorrect ]", False),
    "lenticular": ("【Correct】", True),
    "full width": ("［Ｉｎｃｏｒｒｅｃｔ］", False),
    "entities": ("&#91;Correct&#93;", True),
    "double": ("[[Incorrect]]", False),
    "boxed": (r"$\boxed{\text{Incorrect}}$", False),
    "in a sentence": ("So the response is [Incorrect].", False),
    "reason before": ("It does not match the reference, so my verdict is [Incorrect].", False),
    "denial, then the verdict": ("The answer does not pass. [Incorrect]", False),
    "not correct": ("[Not Correct]", False),
    "no brackets": ("It fails.\n\nVerdict: Incorrect", False),
    "no brackets, sentence": ("The final verdict is: **Correct**.", True),
    "quotes the form": ("I must end with [Correct] or [Incorrect].\n\n[Incorrect]", False),
    "quotes the form on the line": ("Verdict ([Correct] or [Incorrect]): [Correct]", True),
    "form with a slash": ("[Correct/Incorrect]: Incorrect", False),
    "first impression": ("[Correct]\nBut let me check step 3. It is wrong.\n[Incorrect]", False),
    "the reasons are wrong, it is right": ("The reasons are incorrect, yet the result holds.\n[Correct]", True),
    "explains afterwards": ("[Incorrect]\n\nThe correct answer is 5, but 4 was given.", False),
    "explains afterwards, right": ("**Verdict: [Correct]**\n\nExplanation: every step holds.", True),
    "thinking": ("<think>maybe [Incorrect]</think>\n[Correct]", True),
    "json": ('{"verdict": "Incorrect"}', False),
    "json over lines": ('{\n "reasoning": "Step 2 fails",\n "verdict": "Incorrect"\n}', False),
    "json, verdict first": ('{"verdict": "Correct", "reasoning": "holds"}', True),
    "json flag": ('{"reasoning": "no", "correct": false}', False),
    "verdict first": ("Correct. 4 * 3 is 12, as the response says.", True),
    "verdict first, on its line": ("**Incorrect**\n\nThe sum in step 2 is 13, which the response takes for 12.", False),
    "carriage returns": ("Fine.\r\n[Correct]\r\n", True),
    "control characters": ("Fine.\n\x1b[Correct\x00]", True),
}


@pytest.mark.parametrize(("reply", "verdict"), READABLE.values(), ids=READABLE.keys())
def test_reads(reply: str, verdict: bool) -> None:
    assert parse_verdict(reply) is verdict


UNREADABLE = {
    "nothing": "",
    "prose": "I am not sure.",
    "only thinking": "<think>[Correct]",
    "both on a line": "[Correct] [Incorrect]",
    "the form only": "[Correct] or [Incorrect]",
    "negated": "The response is not [Correct]",
    "negated further off": "It isn't fully [Correct].",
    "cannot": "It cannot be called [Correct]",
    "conditional before": "Only if it is [Correct]",
    "conditional after": "It would be [Correct] if the units were right.",
    "not incorrect": "It is not [Incorrect]",
    "partially": "[Partially Correct]",
    "partially, after an impression": "[Correct] at first sight.\n\n[Mostly correct]",
    "taken back": "[Correct]\n\nWait, step 3 is wrong.",
    "taken back the other way": "[Incorrect]\n\nHmm, the result is actually correct.",
    "cut while checking": "I would say [Correct]. However, step 3",
    "verdict first, with a fault": "Correct.\n\nStep 3 should give 12.",
    "verdict first, taken back": "Correct. But step 3 gives 12.",
    "wrong first, then right": "Incorrect. The response is correct after all.",
    "begins with the word": "Correct units are given throughout.",
    "correct as a word": "The correct answer is 5.",
    "mentions both": "It may be correct or incorrect.",
}


@pytest.mark.parametrize("reply", UNREADABLE.values(), ids=UNREADABLE.keys())
def test_does_not_guess(reply: str) -> None:
    with pytest.raises(ParseError):
        parse_verdict(reply)
