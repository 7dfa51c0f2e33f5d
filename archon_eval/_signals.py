"""SIGTERM, with which a supervisor, a batch system or a CI ends a command, as what Ctrl-C does."""

import os
import signal
import threading
from typing import Any


def interrupt_on_sigterm() -> None:
    """Let SIGTERM interrupt this process as Ctrl-C does, where nothing else handles it; from the main thread only.

    Processes that it forks end by SIGTERM as ever: a pool of workers ends its own so, and waits for them.
    """
    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _interrupt)
        os.register_at_fork(after_in_child=_restore_default)


def _restore_default() -> None:
    if signal.getsignal(signal.SIGTERM) is _interrupt:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _interrupt(*_: Any) -> None:
    if signal.getsignal(signal.SIGINT) in (signal.SIG_IGN, signal.SIG_DFL, None):  # started in the background
        signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.raise_signal(signal.SIGINT)  # whoever handles an interrupt now, such as a running event loop
