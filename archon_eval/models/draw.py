"""Which sample of a prompt is being asked for: a context variable, so that the request does not change; and how epochs
are numbered where the last layer is drawn several times.

A real provider draws afresh each time; the simulated pool reads this so that the i-th sample is the same in every run:

    with set_draw(draw=3, epoch=1):
        await model.generate(messages)
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

LAST_DRAW_STRIDE = 1_000_000_000
"""How far the epochs of two last draws are apart: more than the epochs of a thousand further runs of a question."""

_current_draw: ContextVar[tuple[int, int] | None] = ContextVar("archon_draw", default=None)


@contextmanager
def set_draw(draw: int, epoch: int) -> Iterator[None]:
    """Calls made inside are this draw (from 0) of this epoch (from 1).

    >>> with set_draw(draw=3, epoch=1):
    ...     current_draw()
    (3, 1)
    """
    token = _current_draw.set((draw, epoch))
    try:
        yield
    finally:
        _current_draw.reset(token)


def current_draw() -> tuple[int, int] | None:
    """(draw, epoch) of the call under way, or None when it was not made by an architecture."""
    return _current_draw.get()


def split_epoch(epoch: int, last_draws: int) -> tuple[int, int]:
    """Which set of draws (from 0), and which draw of the last layer (from 0), an eval's epoch (from 1) is.

    >>> [split_epoch(epoch, last_draws=2) for epoch in (1, 2, 3)]
    [(0, 0), (0, 1), (1, 0)]
    """
    return divmod(epoch - 1, last_draws)


def number_last_draw(epoch: int, last_draw: int) -> int:
    """The epoch of a call of the last layer: that of all others for draw 0, and for further draws one that nothing has.

    >>> number_last_draw(3, 0), number_last_draw(3, 2)
    (3, 2000000003)
    """
    return epoch + LAST_DRAW_STRIDE * last_draw
