"""When to give up an endpoint that takes no connections, so that an eval or a search ends with its name.

Inspect sends a call again for as long as it takes, unless `max_retries` or `timeout` say otherwise: right for an
endpoint that is busy, and for one that is not there a command that hangs.

    outage = find_outage(model.api)
    outage.is_over(error)          # after each failed attempt: whether nothing is to be sent again
    outage.note_answer()           # after each reply
"""

import socket
import time
from typing import Any

import httpx

NEW_SECONDS = 60.0
"""Patience with an endpoint that never answered this process: its address may be wrong, its server not started."""
KNOWN_SECONDS = 300.0
"""Patience with one that did: its server may start again, and load a large model."""
_ATTRIBUTE = "_archon_outage"


class Outage:
    """Since when an endpoint takes no connections; shared by all calls to it, so that not each waits for itself."""

    def __init__(self) -> None:
        self._since: float | None = None
        self._has_answered = False

    @property
    def patience(self) -> float:
        """Seconds after which it is given up."""
        return KNOWN_SECONDS if self._has_answered else NEW_SECONDS

    @property
    def seconds(self) -> float:
        """How long it has taken no connection."""
        return 0.0 if self._since is None else time.monotonic() - self._since

    def note_answer(self) -> None:
        """It has replied."""
        self._since, self._has_answered = None, True

    def is_over(self, error: BaseException) -> bool:
        """Whether an attempt that failed so was the last: no connection was taken for as long as patience lasts."""
        if not is_refused(error):
            self._since = None  # it takes connections
            return False
        if self._since is None:
            self._since = time.monotonic()
        return self.seconds >= self.patience


def find_outage(api: Any) -> Outage:
    """The one of a provider's endpoint."""
    outage = getattr(api, _ATTRIBUTE, None)
    if not isinstance(outage, Outage):
        outage = Outage()
        setattr(api, _ATTRIBUTE, outage)
    return outage


def is_refused(error: BaseException) -> bool:
    """Whether no connection came about: refused, no such host, no way there, or nobody who takes it.

    >>> is_refused(ConnectionRefusedError()), is_refused(TimeoutError())
    (True, False)
    """
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        if isinstance(cause, httpx.ConnectError | httpx.ConnectTimeout | ConnectionRefusedError | socket.gaierror):
            return True
        seen.add(id(cause))
        cause = cause.__cause__ or cause.__context__
    return False
