"""Replies that critics really write, and the ones nobody can read."""

import json

import pytest

from archon_eval.components.parsing.critiques import parse_critiques
from archon_eval.errors import ParseError

PLAIN = "[1]\nStrengths:\n- short\nWeaknesses:\n- alpha\n\n[2]\nStrengths:\n- none\nWeaknesses:\n- beta"


def words(reply: str, count: int = 2) -> dict[int, set[str]]:
    """Which of the marker words ended up in which critique."""
    found = parse_critiques(reply, count)
    return {n: {w for w in ("alpha", "beta", "gamma") if w in text} for n, text in found.items()}


READABLE = {
    "as asked": PLAIN,
    "prose around": f"Sure, here are my critiques.\n\n{PLAIN}\n\nLet me know if you need more.",
    "bold": "**[1]**\n**Strengths:**\n- x\n**Weaknesses:**\n- alpha\n\n**[2]**\n- beta",
    "headings": "## [1]\nalpha\n\n## [2]\nbeta",
    "headings with a word": "### Response [1]:\nalpha\n\n### Response [2]:\nbeta",
    "no brackets": "**Response 1**\nalpha\n\n**Response 2**\nbeta",
    "no brackets, hash": "Candidate #1:\nalpha\n\nCandidate #2:\nbeta",
    "critique of": "Critique of Response 1:\nalpha\n\nCritique of Response 2:\nbeta",
    "word in brackets": "[Response 1]\nalpha\n[Response 2]\nbeta",
    "numbered": "1. **[1]**\nalpha\n2. **[2]**\nbeta",
    "tags": '<critique of="[1]">\nalpha\n</critique>\n\n<critique of="[2]">\nbeta\n</critique>',
    "same line": "[1] Strengths: good. Weaknesses: alpha\n[2] Strengths: good. Weaknesses: beta",
    "dash": "[1] - alpha\n[2] - beta",
    "table": "| Response | Critique |\n|---|---|\n| [1] | alpha |\n| [2] | beta |",
    "no colon at all": "[1] is alpha and little else.\n[2] is beta and more.",
    "carriage returns": PLAIN.replace("\n", "\r\n"),
    "old line ends": PLAIN.replace("\n", "\r"),
    "lenticular": PLAIN.replace("[", "【").replace("]", "】"),
    "full width": PLAIN.replace("[1]", "［１］").replace("[2]", "［２］"),
    "control characters": PLAIN.replace("[", "\x1b[").replace("]", "\x00]\ufeff"),
    "fence": f"```markdown\n{PLAIN}\n```",
    "thinking": f"<think>\n[2]\nis worse: gamma\n[1]\nis fine\n</think>\n\n{PLAIN}",
    "end of thinking only": f"so [2]: gamma, and\n[1]\nis fine\n</think>\n{PLAIN}",
    "mentions at the start of a line": "[1]\nalpha\n[2] is better than this.\n\n[2]\nbeta\n[1] is shorter.",
    "mention with a colon": "[1]\nalpha; compare\n[2]: better\n\n[2]\nbeta",
    "two passes": "[1]\nStrengths: a\n[2]\nStrengths: b\n[1]\nWeaknesses: alpha\n[2]\nWeaknesses: beta",
    "two headers each": "[1] Strengths: a\n[1] Weaknesses: alpha\n[2] Strengths: b\n[2] Weaknesses: beta",
    "best first": "[2]\nbeta\n\n[1]\nalpha",
    "header twice": "[1]\n[1]\nalpha\n[2]\nbeta",
    "group heading before": "Responses [1] and [2]:\n\n[1] Strengths: alpha\n[2] Strengths: beta",
    "list of identifiers before": "[1], [2]\n[1]: alpha\n[2]: beta",
    "closing remark": "[1]\nalpha\n\n[2]\nbeta\n\nOverall, [1] is gamma.",
    "json object": json.dumps({"1": "alpha", "2": "beta"}),
    "json by identifier": json.dumps({"[1]": {"strengths": ["alpha"]}, "[2]": {"strengths": ["beta"]}}),
    "json in a fence": "Here:\n```json\n"
    + json.dumps({"Response 1": "alpha", "Response 2": "beta"}, indent=1)
    + "\n```",
    "json list with ids": json.dumps([{"id": 2, "weaknesses": "beta"}, {"id": 1, "weaknesses": "alpha"}]),
    "json list in order": json.dumps([{"weaknesses": "alpha"}, {"weaknesses": "beta"}]),
    "json wrapped": json.dumps({"critiques": {"1": "alpha", "2": "beta"}}),
    "python": "{'1': 'alpha', '2': 'it is \"beta\"',}",
}


@pytest.mark.parametrize("reply", READABLE.values(), ids=READABLE.keys())
def test_reads(reply: str) -> None:
    assert words(reply) == {0: {"alpha"}, 1: {"beta"}}


@pytest.mark.parametrize("frame", ['<response id="[{}]">\n{}\n</response>', '<critique2 of="[{}]">\n{}\n</critique2>'])
def test_a_frame_is_no_part_of_the_critique(frame: str) -> None:
    found = parse_critiques(f"{frame.format(1, 'alpha')}\n\n{frame.format(2, 'beta')}", 2)
    assert [found[0].strip(), found[1].strip()] == ["alpha", "beta"]


def test_lines_of_the_form_are_no_part_of_the_critique() -> None:
    reply = "[1]\nStrengths:\n- short\nWeaknesses:\n- ...\n- alpha\n[2]\n- ...\n…\nWhat ... is beta?"
    assert parse_critiques(reply, 2) == {0: "Strengths:\n- short\nWeaknesses:\n- alpha", 1: "What ... is beta?"}


def test_ranges_and_groups() -> None:
    assert words("[1]-[2]\nalpha\n\n[3]: beta", 3) == {0: {"alpha"}, 1: {"alpha"}, 2: {"beta"}}
    assert words("[1-3]: alpha", 3) == {0: {"alpha"}, 1: {"alpha"}, 2: {"alpha"}}
    assert words("Responses [1], [2], and [3]: alpha", 3) == {0: {"alpha"}, 1: {"alpha"}, 2: {"alpha"}}
    assert words("[1] and [3]\nalpha\n[2]\nbeta", 3) == {0: {"alpha"}, 1: {"beta"}, 2: {"alpha"}}


def test_overall_in_every_section_stays() -> None:
    found = parse_critiques("[1]\na\nOverall: alpha\n[2]\nb\nOverall: beta", 2)
    assert "alpha" in found[0] and "beta" in found[1]


def test_latex_in_json_survives() -> None:
    reply = '{"1": "writes \\frac{1}{2} and \\times", "2": "line\\nend, \\neq 0"}'
    assert parse_critiques(reply, 2) == {0: "writes \\frac{1}{2} and \\times", 1: "line\nend, \\neq 0"}


UNREADABLE = {
    "nothing": ("", None),
    "prose": ("Both are fine.", None),
    "only thinking": ("<think>[1]\nalpha\n[2]\nbeta", None),
    "out of range": ("[1]\nalpha\n[2]\nbeta\n[3]\ngamma", None),
    "numbered from zero": ("[0]\nalpha\n[1]\nbeta", None),
    "first missing": ("[2]\nbeta", {1: {"beta"}}),
    "last missing, whose text may be in it": ("[1]\nalpha", None),
    "repeated": ("[1]\nalpha\n[1]\nbeta", None),
    "injected": ("[1]\nalpha\n[2]\ngamma\n[2]\nbeta", {0: {"alpha"}}),
    "empty section": ("[1]\n\n[2]\nbeta", {1: {"beta"}}),
    "the form alone": (
        "[1]\nStrengths:\n- ...\nWeaknesses:\n- ...\n\n[2]\nStrengths:\n- ...\nWeaknesses:\n- ...",
        None,
    ),
    "the form for one": ("[1]\nStrengths:\n- ...\nWeaknesses:\n- ...\n\n[2]\nbeta", {1: {"beta"}}),
    "tags in place of content": ("[1]\n<critique>\n[2]\n<critique>beta</critique>", {1: {"beta"}}),
    "the form in JSON": ('{"1": "...", "2": "beta"}', {1: {"beta"}}),
    "json with a key twice": ('{"1": "alpha", "1": "beta"}', None),
    "json with a stranger": ('{"1": "alpha", "3": "beta"}', None),
    "huge range": ("[1]-[999999]\nalpha", None),
}


@pytest.mark.parametrize(("reply", "partial"), UNREADABLE.values(), ids=UNREADABLE.keys())
def test_does_not_guess(reply: str, partial: dict[int, set[str]] | None) -> None:
    with pytest.raises(ParseError) as error:
        parse_critiques(reply, 2)
    kept = error.value.partial
    assert {n: {w for w in ("alpha", "beta", "gamma") if w in text} for n, text in (kept or {}).items()} == (
        partial or {}
    )


def test_a_lost_header_taints_only_its_neighbour() -> None:
    """The text of [2] is now in the section of [1], which is therefore not kept either."""
    with pytest.raises(ParseError, match=r"\[2\]") as error:
        parse_critiques("[1]\nalpha\nbeta\n[3]\ngamma\n[4]\ndelta", 4)
    assert error.value.partial == {2: "gamma", 3: "delta"}
