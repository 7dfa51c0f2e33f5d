"""The exception tree: one type per boundary, so that callers can catch what they can mend.

Each message says where the problem is, what was given and what is legal; `did_you_mean` adds the nearest legal name:

>>> ArchitectureError(f"layer 2: unknown component 'fusor'{did_you_mean('fusor', ['fuser', 'ranker'])}")
ArchitectureError("layer 2: unknown component 'fusor'; did you mean 'fuser'? (legal: fuser, ranker)")

No other module defines an exception. Inspect's own error for a user's mistakes is in `_inspect_compat`.
"""

import re
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import Any, Literal, NoReturn

FailureKind = Literal["transient", "rate_limit", "permanent"]
"""Whether a call that failed may succeed when it is sent again: at once, after the wait that is asked for, or never."""
CONTROL_CHARS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
CI_COMMAND_START = re.compile(r"^[^\S\n]*::|##\[", re.MULTILINE)
"""How a line begins that GitHub's runner obeys, e.g. `::add-mask::`."""


class ArchonError(Exception):
    """Everything this package raises on purpose."""


class ArchitectureError(ArchonError, ValueError):
    """An architecture file, preset name or mapping that cannot be used."""


class ParseError(ArchonError, ValueError):
    """A model's reply that does not have the form its prompt asked for; quotes the reply."""

    def __init__(self, message: str, partial: Any = None, request: str = "") -> None:
        super().__init__(message)
        self.partial = partial
        """What could be read without guessing, for the fallback after the last repeated request; None for nothing."""
        self.request = request
        """What the model is told then, where it need not reply from the start again: which lines are missing."""


class MissingPartsError(ParseError):
    """A reply of which parts can be read, each for certain, and others are not there."""

    def __init__(self, message: str, partial: Any, request: str, missing: Sequence[int]) -> None:
        super().__init__(message, partial, request)
        self.missing = tuple(missing)
        """The parts' numbers, from 1."""


class ModelError(ArchonError):
    """A model that cannot be used, or a call that failed for good."""


class NoCandidateError(ModelError):
    """Every call of a layer was dropped, or lost its candidate."""


class BatchRefusedError(ModelError):
    """A source of scores refused a batch for what is in it, so that each of its inputs is tried alone."""


class ContextOverflowError(ModelError):
    """A prompt that is longer than the model's context window."""

    trail: Any = None
    """What the engine did until then, as `archon_eval.engine.trace.Trace`."""


class CompletionError(ArchonError):
    """A success by its status that is no reply; never leaves the package's model layer."""

    def __init__(self, message: str, kind: FailureKind = "permanent", *, hopeless: bool = False) -> None:
        """
        Args:
            message: the server's words.
            kind: whether to ask again.
            hopeless: nothing that can be changed about the request, or waited for, mends it.
        """
        super().__init__(message)
        self.kind, self.hopeless = kind, hopeless


class SimulationError(ModelError):
    """The simulated pool was asked something it cannot answer honestly."""


class SolverError(ArchonError):
    """A solver of Inspect's, or of a user's own, that failed by itself while it made a candidate; names it."""


class BudgetError(ArchonError):
    """A limit on calls, tokens or dollars was reached."""


class StoreError(ArchonError):
    """The call store cannot be read or written, or a replayed call is not in it."""


class DataError(ArchonError, ValueError):
    """A benchmark file that is missing or not in its official format."""


class NoValuesError(DataError):
    """A metric that has no value per question, so that two systems cannot be compared by it."""


class JudgeError(ArchonError):
    """A judge or grader that gave no usable verdict: an error, never a default score."""


class SandboxError(ArchonError):
    """The sandbox cannot run programs (no Docker, no image, a container beyond repair)."""


class ContainerLostError(ArchonError):
    """A sandbox container died or went silent: its program is run again in a fresh one."""


class HostLostError(SandboxError):
    """A Docker daemon does not answer, or cannot start a container: its programs are run anew on another host."""


class SearchError(ArchonError, ValueError):
    """A search that cannot be run as it was asked for."""


class ProposalError(SearchError):
    """A reply that holds no architecture which may be tried; says why, for the model that wrote it."""


class RepeatedProposalError(ProposalError):
    """What was proposed has been tried."""


class BudgetSpentError(ArchonError):
    """A trial does not fit into what is left of a search's budget; says what it may take and what is left."""


class WorkerLostError(ArchonError):
    """A worker process died in the middle of an eval."""


def raise_plainly(error: Exception) -> NoReturn:
    """Raise an error whose message says all, so that Inspect shows it in a line, without the frames it came through.

    Inspect shows tracebacks with rich, which leaves out every frame up to the last that has this local variable.
    """
    _rich_traceback_guard = True
    raise error.with_traceback(None) from None


def did_you_mean(name: str, legal: Iterable[str]) -> str:
    """The end of a message about an unknown name: the nearest legal name, if one is near, and all of them.

    >>> did_you_mean("xyz", ["fuser", "ranker"])
    ' (legal: fuser, ranker)'
    """
    names = sorted(legal)
    near = get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return f"{hint} (legal: {', '.join(names)})"


def sanitize_text(text: str) -> str:
    """Text from elsewhere for a terminal or a CI's log, with U+FFFD for what would control either of them.

    That is control characters, changes of the reading direction, and the beginning of a line that a CI runner obeys.
    """
    return CI_COMMAND_START.sub("\ufffd", CONTROL_CHARS.sub("\ufffd", text))


def quote(text: str, limit: int = 200) -> str:
    """A reply shortened for a message, control characters made visible.

    >>> quote("abcdefgh", limit=4)
    "'ab … gh'"
    """
    shown = text if len(text) <= limit else f"{text[: limit // 2]} … {text[-limit // 2 :]}"
    return repr(shown)


def select_error(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    """One exception of a group, since hosts know no groups: the host's own (a limit) before this package's."""
    single = [select_error(exc) if isinstance(exc, BaseExceptionGroup) else exc for exc in errors.exceptions]
    return next((exc for exc in single if not isinstance(exc, ArchonError)), single[0])
