"""SIGTERM, with which a supervisor, a batch system or a CI ends a command, as what Ctrl-C does."""

import os
import signal
import threading
from typing import Any


def interrupt_on_sigterm() -> None:
    """Let SIGTERM interrupt this process as Ctrl-C does, where nothing else handles it; from the main thread only.

    A process that is forked from this one, such as a worker of a `multiprocessing.Pool`, which its pool ends with
    SIGTERM, ends at once as by default.
    """
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        return
    signal.signal(signal.SIGTERM, _interrupt)


def _interrupt(*_: Any) -> None:
    if signal.getsignal(signal.SIGINT) in (signal.SIG_IGN, signal.SIG_DFL, None):  # started in the background
        signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.raise_signal(signal.SIGINT)  # whoever handles an interrupt now, such as a running event loop


_forking = threading.local()


def _hold_back() -> None:
    """Before a fork: SIGTERM waits until the new process has its own way with it."""
    if signal.getsignal(signal.SIGTERM) is _interrupt:
        _forking.mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})


def _let_through() -> None:
    if (mask := _forking.__dict__.pop("mask", None)) is not None:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _restore_default() -> None:
    """In a forked process: a handler in Python would not run where the signal comes just before a lock is waited for,
    and whoever waits for the end of the process would wait for ever."""
    if signal.getsignal(signal.SIGTERM) is _interrupt:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _let_through()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_hold_back, after_in_parent=_let_through, after_in_child=_restore_default)
