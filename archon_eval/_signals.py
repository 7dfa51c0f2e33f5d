"""SIGTERM, with which a supervisor, a batch system or a CI ends a command, as what Ctrl-C does."""

import signal
import threading
from typing import Any


def interrupt_on_sigterm() -> None:
    """Let SIGTERM interrupt this process as Ctrl-C does, where nothing else handles it; from the main thread only."""
    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _interrupt)


def _interrupt(*_: Any) -> None:
    if signal.getsignal(signal.SIGINT) in (signal.SIG_IGN, signal.SIG_DFL, None):  # started in the background
        signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.raise_signal(signal.SIGINT)  # whoever handles an interrupt now, such as a running event loop
