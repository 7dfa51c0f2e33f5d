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
    owner = os.getpid()

    def interrupt(*_: Any) -> None:
        if os.getpid() != owner:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.raise_signal(signal.SIGTERM)  # which ends the process
        if signal.getsignal(signal.SIGINT) in (signal.SIG_IGN, signal.SIG_DFL, None):  # started in the background
            signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.raise_signal(signal.SIGINT)  # whoever handles an interrupt now, such as a running event loop

    signal.signal(signal.SIGTERM, interrupt)
