"""What all judged benchmarks share: the model that judges, its replies, and the verdicts read from them.

The judge is the model role `judge` (`--model-role judge=openai/gpt-4-turbo`; an architecture can be one: `archon/...`).
A reply without a usable verdict is followed by one more request; if that has none either, it is an error, and no
verdict is made up. The replies are kept in the score's metadata under `judgments`, so that `inspect score LOG` scores
again without a call:

    judge = Judge("arena_hard", GenerateConfig(temperature=0), cache="reuse")
    judged = await judge.ask(state, "game 1", prompt.render(question="Why?"), parse=parse, remind="Reply with [[A]].")
"""

import re
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Generic, Literal, TypeVar, get_args

from inspect_ai.event import ScoreEvent
from inspect_ai.log import transcript
from inspect_ai.model import (
    ChatMessage,
    ChatMessageAssistant,
    ChatMessageUser,
    GenerateConfig,
    Model,
    ModelOutput,
    get_model,
    model_roles,
)
from inspect_ai.solver import Generate, Solver, TaskState, solver
from inspect_ai.util import collect

from archon_eval.components.parsing.final_answer import stops_midway
from archon_eval.engine.engine import select_error
from archon_eval.errors import DataError, JudgeError, ParseError, did_you_mean, quote, raise_plainly
from archon_eval.models.call import CUT_REASONS
from archon_eval.models.judge_client import JudgeClient, ask_judge
from archon_eval.models.replies import get_top_logprobs, to_reply
from archon_eval.runs.account import parse_accounts
from archon_eval.scorers._account import get_account_metadata

VerdictT = TypeVar("VerdictT")
JudgeCachePolicy = Literal["reuse", "only", "never"]
"""Which stored judgments are used: `reuse` those of the same prompt (and the same judge, if one is bound) and ask for
the others; `only` stored ones, whatever their prompt, without any call; or `never`."""
JUDGE_ROLE = "judge"

_FINAL = re.compile(
    r"\b(?:final(?:ly)?|verdict|conclusions?|conclude|therefore|thus|hence|overall|decision|rating|rate|score|chosen|choice)\b",
    re.IGNORECASE,
)
"""Words by which a judge says that what follows is its verdict."""
_HEDGED = re.compile(
    r"\b(?:or|perhaps|maybe|not|no|n[o']t|rather|first|initially|if|would have)\b[^.!?\n]*$", re.IGNORECASE
)
_DENIED = re.compile(
    r"(?:\b(?:not|never|no|nor|neither|rather than|instead of|perhaps|maybe|possibly|(?:might|may|could) be)|n['’]t)\s+"
    r"(?:(?:the|a|an|my|to|of|be|is|as|option|choose|chose|pick|select|give|say|deserve|verdict|rating|score|answer|final)"
    r"\s+){0,4}[\"'“`*(]*\Z",
    re.IGNORECASE,
)
"""What stands right before a verdict that is none: `It is not [[A]]`, `rather than [[A]]`, `maybe [[A]]`."""
_REPORTED = re.compile(r"\b(?:says?|said|saying|writes?|wrote|claims?|claimed|reads?|quotes?|prints?)\b", re.IGNORECASE)
"""Words by which a judge tells what another text says."""
_SUPPOSED = re.compile(r"\b(?:if|unless|would have)\b", re.IGNORECASE)
_SUPPOSED_AFTER = re.compile(
    r"[\"'”`*)]*,?\s*(?:(?:only )?if|unless|provided|would (?:be|have)|(?:is|was) (?:not|wrong|incorrect))\b",
    re.IGNORECASE,
)
_LEADS_ON = re.compile(rf"is|are|of|as|be|a|option|{_FINAL.pattern}", re.IGNORECASE)
_LIST = re.compile(r"[\s,;/&*]*(?:and|or|perhaps)?[\s*]*")


@dataclass(frozen=True)
class JudgeReply:
    """One completion of a judge."""

    text: str
    top_logprobs: tuple[tuple[str, float], ...] | None = None
    """Token and log probability of the candidates for the first token; None if the provider gave none."""
    fingerprint: str = ""
    """The architecture's, where one judged."""
    reused: bool = False
    """Whether it came from a call store (of an architecture: every call did), so that no model was asked."""
    is_cut: bool = False
    """Whether it ended at a limit: what it says so far is no verdict, unless its first token was all that counts."""

    @classmethod
    def parse_output(cls, output: ModelOutput) -> "JudgeReply":
        """The reply in a model's output; ModelError where there is none."""
        if accounts := parse_accounts(output.metadata):
            last, is_cut = accounts[-1], output.stop_reason in CUT_REASONS
            return cls(output.completion, fingerprint=last.fingerprint, reused=last.is_replay, is_cut=is_cut)
        reply = to_reply(output, output.model, output.time or 0.0)
        return cls(reply.text, get_top_logprobs(output), is_cut=reply.cut)

    def dump(self) -> dict[str, Any]:
        """The reply as it is stored in the score's metadata."""
        logprobs = {"top_logprobs": [list(p) for p in self.top_logprobs]} if self.top_logprobs else {}
        return {"text": self.text} | logprobs | ({"cut": True} if self.is_cut else {})

    @classmethod
    def load(cls, stored: Mapping[str, Any]) -> "JudgeReply":
        """The reply from what `dump` gave."""
        logprobs = _parse_logprobs(stored.get("top_logprobs"))
        return cls(stored["text"], logprobs, is_cut=bool(stored.get("cut")))


@dataclass(frozen=True)
class Judgment(Generic[VerdictT]):
    """A verdict and the record of the replies it was read from."""

    verdict: VerdictT
    record: dict[str, Any]
    """For `metadata["judgments"]`: name, judge, digest of the prompt, the replies in order; also `fingerprint` where an
    architecture judged, and `reused` where all replies came from a call store."""


@dataclass(frozen=True)
class Judge:
    """Asks the model in role `judge` under one benchmark's protocol."""

    benchmark: str
    protocol: GenerateConfig
    """Temperature and lengths. Settings bound with the role come first (`judge={model: ..., temperature: 0}`)."""
    cache: JudgeCachePolicy = "reuse"
    allow_main_model: bool = False
    """Let the evaluated model judge itself if no judge is bound."""
    _client: JudgeClient = field(default_factory=JudgeClient, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.cache not in get_args(JudgeCachePolicy):
            legal = get_args(JudgeCachePolicy)
            raise DataError(f"judge_cache={self.cache!r}{did_you_mean(str(self.cache), legal)}")

    async def ask(
        self,
        state: TaskState,
        name: str,
        messages: Sequence[ChatMessage],
        *,
        parse: Callable[[JudgeReply], VerdictT],
        remind: str,
    ) -> Judgment[VerdictT]:
        """The judge's verdict on these messages; `name` tells the judgments of a sample apart.

        A reply that `parse` rejects (ParseError) is followed by `remind` and one more reply.

        Raises:
            JudgeError: no verdict in the second reply either; no judge bound; no stored judgment under the policy
                `only`.
        """
        name, digest = f"{self.benchmark}/{name}", _hash_messages(messages)
        if record := self._find_stored(state, name, digest):
            replies = [JudgeReply.load(reply) for reply in record["replies"]]
        else:
            protocol = _drop_unsupported_logprobs(self.protocol)
            model = get_judge_model(self.allow_main_model, protocol)
            config = GenerateConfig() if JUDGE_ROLE in model_roles() else protocol

            async def answer(*more: ChatMessage) -> JudgeReply:
                asked = [*messages, *more]
                reply = None
                if self.cache != "never":
                    reply = await self._client.generate(model, asked, config, epoch=state.epoch)
                if reply is None:
                    return JudgeReply.parse_output(await ask_judge(model, asked, config))
                return JudgeReply(reply.text, reply.top_logprobs, reused=reply.reused, is_cut=reply.cut)

            replies = [await answer()]
            if isinstance(_try_parse(parse, replies[0]), ParseError):
                again = ChatMessageAssistant(content=replies[0].text), ChatMessageUser(content=remind)
                replies.append(await answer(*again))
            record = {"name": name, "judge": str(model), "prompt": digest, "replies": [r.dump() for r in replies]}
            if replies[0].fingerprint:
                record["fingerprint"] = replies[0].fingerprint
            if all(r.reused for r in replies):
                record["reused"] = True
        for reply in replies:
            result = _try_parse(parse, reply)
            if not isinstance(result, ParseError):
                return Judgment(result, record)
        tries = f"judge {record['judge']} gave no verdict in {len(replies)} replies"
        raise JudgeError(f"{name}, sample {state.sample_id}: {tries}: {result}")

    def _find_stored(self, state: TaskState, name: str, digest: str) -> dict[str, Any] | None:
        if self.cache == "never":
            return None
        bound = model_roles().get(JUDGE_ROLE)
        records = [r for r in _read_stored_records(state) if r.get("name") == name]
        if self.cache == "reuse":
            judge = str(bound[0] if isinstance(bound, list) else bound) if bound else None
            records = [r for r in records if r.get("prompt") == digest and judge in (None, r.get("judge"))]
        elif not records:
            raise JudgeError(f"{name}, sample {state.sample_id}: no stored judgment; judge_cache=only makes no calls")
        return records[-1] if records else None


def _drop_unsupported_logprobs(protocol: GenerateConfig) -> GenerateConfig:
    """The protocol without log probabilities where the judge is an architecture, which has none."""
    bound = model_roles().get(JUDGE_ROLE)
    names = [str(judge) for judge in (bound if isinstance(bound, list) else [bound])]
    if not all(name.startswith("archon/") for name in names):
        return protocol
    return protocol.model_copy(update={"logprobs": None, "top_logprobs": None})


def get_judge_model(allow_main_model: bool, protocol: GenerateConfig) -> Model:
    """The model bound to the role `judge`.

    Raises:
        JudgeError: the role is unbound (Inspect would use the evaluated model) and that is not allowed.
    """
    if JUDGE_ROLE not in model_roles() and not allow_main_model:
        text = (
            "no judge: give one with --model-role judge=PROVIDER/MODEL, or let the evaluated model judge itself with "
        )
        raise_plainly(JudgeError(f"{text}-T allow_main_model=true"))
    return get_model(role=JUDGE_ROLE, config=protocol)


@solver
def needs_judge(allow_main_model: bool = False) -> Solver:
    """A task's `setup`: fails before anything is generated (and paid) if there is no judge."""

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        get_judge_model(allow_main_model, GenerateConfig())
        return state

    return solve


def parse_bracketed(reply: JudgeReply, legal: str, example: str) -> str:
    """The one verdict in double brackets that matches the pattern `legal`; repeated equal verdicts count once.

    Of several different ones the last counts if the judge calls it final. What it quotes is no verdict.

    Raises:
        ParseError: no such verdict, several different ones, or a reply that was cut.
    """
    groups = find_bracketed(reply, legal)
    verdicts = sorted({verdict for group in groups for verdict in group})
    if len(verdicts) == 1:
        return verdicts[0]
    if len(groups) > 1 and len(set(groups[-1])) == 1 and _is_called_final(reply.text, legal):
        return groups[-1][0]
    problem = f"different verdicts {verdicts}" if verdicts else f"no verdict such as {example}"
    raise ParseError(f"{problem} in {quote(reply.text[-400:])}")


def find_bracketed(reply: JudgeReply, legal: str) -> list[list[str]]:
    """What stands in double brackets, in order; those that are listed together (`[[A]] and [[B]]`) in one group.

    Left out are quotations, what is denied or only supposed (`not [[A]]`, `[[A]] if ...`), and
    brackets that belong to a word (`nums[[1]]`).

    Raises:
        ParseError: the reply was cut: by its provider's word, or because it stops in the middle of a sentence.
    """
    text = reply.text
    if reply.is_cut or (stops_midway(text) and not text.rstrip(" \n*`_.:\"'").endswith("]]")):
        raise ParseError(f"the reply is cut, so what stands in it is no verdict: {quote(text[-400:])}")
    groups: list[list[str]] = []
    last_end = -1
    for match in re.finditer(rf"\[\[\s*({legal})\s*\]\]", text):
        word = re.search(r"\w+\Z", text[max(0, match.start() - 30) : match.start()])
        if _is_quoted(text, match) or _is_taken_back(text, match) or (word and not _LEADS_ON.fullmatch(word[0])):
            continue
        if last_end >= 0 and _LIST.fullmatch(text, last_end, match.start()):
            groups[-1].append(match[1])
        else:
            groups.append([match[1]])
        last_end = match.end()
    return groups


def _is_quoted(text: str, match: re.Match[str]) -> bool:
    """Whether a verdict stands in quotation marks or code inside a sentence that calls nothing final before them."""
    line = text[: match.start()].rsplit("\n", 1)[-1]
    after = text[match.end() :]
    rest = after.split("\n", 1)[0]
    for opening, closing in (('"', '"'), ("“", "”"), ("`", "`"), ("'", "'")):
        if opening == "'":
            is_open = line.endswith("'") and rest.startswith("'")
        elif opening == closing:
            is_open = line.count(opening) % 2 == 1 and closing in rest
        else:
            is_open = line.rfind(opening) > line.rfind(closing) and closing in rest
        if is_open:
            lead = _get_lead(text, match.start() - len(line) + line.rfind(opening))
            is_alone = line.endswith(opening) and rest.startswith(closing)
            said = _REPORTED.search(lead) or (is_alone and re.search(r"\w", after))
            return bool(said) and not _FINAL.search(lead)
    return False


def _is_taken_back(text: str, match: re.Match[str]) -> bool:
    """Whether a verdict is denied, or would be given only under a condition."""
    lead = re.sub(r"\"[^\"]*\"|“[^”]*”", " ", _get_lead(text, match.start()))
    supposed = list(_SUPPOSED.finditer(lead))
    if supposed and not _FINAL.search(lead, supposed[-1].end()):
        return True
    return bool(_DENIED.search(lead) or _SUPPOSED_AFTER.match(text, match.end()))


def _is_called_final(text: str, legal: str) -> bool:
    """Whether the last verdict of a text follows words that call it final, without a hedge."""
    last = list(re.finditer(rf"\[\[\s*(?:{legal})\s*\]\]", text))[-1]
    lead = _get_lead(text, last.start())
    finals = list(_FINAL.finditer(lead))
    return bool(finals) and not _HEDGED.search(lead[finals[-1].end() :])


def _get_lead(text: str, end: int) -> str:
    """The sentence up to a place, from the last verdict in it."""
    return re.split(r"[.!?]\s|\n\s*\n|\]\]", text[max(0, end - 200) : end])[-1]


async def gather(*asks: Awaitable[VerdictT]) -> list[VerdictT]:
    """The results of concurrent requests. If several fail, one failure is raised: a limit of Inspect before others."""
    try:
        return await collect(*asks)
    except ExceptionGroup as group:
        raise select_error(group) from group


def build_score_metadata(state: TaskState, judgments: Sequence[Judgment[Any]], **facts: Any) -> dict[str, Any]:
    """Metadata of a judged score: its facts, the epoch, the judgments, and the architecture's account if any."""
    records = [judgment.record for judgment in judgments]
    return {**facts, "epoch": state.epoch, **get_account_metadata(state), "judgments": records}


def require_metadata_text(state: TaskState, key: str) -> str:
    """A text that the task must have put into the sample's metadata; DataError names the key."""
    value = state.metadata.get(key)
    if not isinstance(value, str):
        raise DataError(f"sample {state.sample_id}: metadata has no text {key!r}, which the scorer needs")
    return value


def _try_parse(parse: Callable[[JudgeReply], VerdictT], reply: JudgeReply) -> VerdictT | ParseError:
    if reply.is_cut and not reply.top_logprobs:  # what it has quoted or weighed up to there is no verdict
        return ParseError(f"the reply was cut at its token limit: {quote(reply.text[-400:])}")
    try:
        return parse(reply)
    except ParseError as error:
        return error


def _read_stored_records(state: TaskState) -> Iterator[dict[str, Any]]:
    """Judgments of earlier scorings: in the log's events (kept when scores are overwritten) and in its scores."""
    scores = [event.score for event in transcript().events if isinstance(event, ScoreEvent)]
    for score in [*scores, *(state.scores or {}).values()]:
        for record in (score.metadata or {}).get("judgments", ()):
            if isinstance(record, Mapping):
                yield dict(record)


def _parse_logprobs(stored: Sequence[Sequence[Any]] | None) -> tuple[tuple[str, float], ...] | None:
    return tuple((str(token), float(logprob)) for token, logprob in stored) if stored else None


def _hash_messages(messages: Sequence[ChatMessage]) -> str:
    return sha256("\x1f".join(f"{m.role}\x1e{m.text}" for m in messages).encode()).hexdigest()[:16]
