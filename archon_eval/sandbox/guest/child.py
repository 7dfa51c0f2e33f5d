"""The process of one test: drop every privilege, then behave like plain `python main.py`."""
# ruff: noqa: BLE001 (whatever a program raises is its own)

import atexit
import builtins
import ctypes
import gc
import marshal
import os
import resource
import signal
import sys
import threading
import types

from archon_eval.sandbox.guest.wire import BACKSTOP_SECONDS, MAX_PROCESSES, ProcessSpec

INTERRUPTED = 256
"""Stands for an uncaught KeyboardInterrupt: beyond every exit code."""
PR_SET_DUMPABLE = 4
"""From <linux/prctl.h>; a process that has changed its user cannot open files of its own in /proc without it."""
LIBC = ctypes.CDLL(None, use_errno=True)


def drop_privileges(uid: int, spec: ProcessSpec, files: list[int], *, code: int) -> bytes:
    """Take the test's files as 0, 1, 2, set its limits, drop to `uid`; return the content of descriptor `code`."""
    adjust = os.open("/proc/self/oom_score_adj", os.O_WRONLY)
    os.write(adjust, b"1000")
    os.setsid()
    for target in range(3):
        os.dup2(files[target], target)
    blob = os.pread(code, os.fstat(code).st_size, 0) if code >= 0 else b""
    seconds = int(spec.cpu) + BACKSTOP_SECONDS  # the supervisor watches the exact limit
    space, largest_file = spec.address_space, spec.largest_file
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
    resource.setrlimit(resource.RLIMIT_AS, (space, space))
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))
    os.setresuid(uid, uid, uid)
    resource.setrlimit(resource.RLIMIT_NPROC, (MAX_PROCESSES, MAX_PROCESSES))
    LIBC.prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)
    return blob


def compile_program() -> int:
    """Compile the source on descriptor 0; the marshalled code goes to descriptor 1, an error's text to stderr."""
    try:
        code = compile(os.pread(0, os.fstat(0).st_size, 0), "main.py", "exec", dont_inherit=True)
        os.write(1, marshal.dumps(code))
    except BaseException as e:
        sys.excepthook(type(e), e.with_traceback(None), None)
        return 1
    return 0


def run_program(code: bytes, namespace: dict[str, object]) -> int:
    """Run the code as `__main__`; return the exit code that plain `python main.py` would give."""
    try:
        try:
            exec(marshal.loads(code), namespace)
        finally:
            sys.settrace(None)
    except SystemExit as e:
        if e.code is None or isinstance(e.code, int):
            return (e.code or 0) & 0xFF
        sys.stderr.write(f"{e.code}\n")
        return 1
    except BaseException as e:
        own = e.with_traceback(e.__traceback__ and e.__traceback__.tb_next)
        sys.excepthook(type(e), own, own.__traceback__)
        return INTERRUPTED if isinstance(e, KeyboardInterrupt) else 1
    return 0


def create_main_namespace(name: str = "__main__") -> dict[str, object]:
    """A fresh `__main__`, as the interpreter sets one up for a script; under another name its demo does not run."""
    main = types.ModuleType(name)
    main.__dict__.update(__builtins__=builtins, __file__="main.py", __cached__=None, __annotations__={})
    sys.modules["__main__"] = sys.modules[name] = main
    return main.__dict__


def finish(status: int) -> int:
    """The interpreter's own end: wait for threads, atexit, flush, finalizers with the globals intact, flush."""
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    status = flush(status)
    sys.modules.pop("__main__", None)
    gc.collect()
    status = flush(status)
    if status == INTERRUPTED:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    return status


def flush(status: int) -> int:
    """Flush the standard streams; a stdout that cannot be flushed makes exit code 120, as in the interpreter."""
    for name in ("stdout", "__stdout__", "stderr"):
        stream = getattr(sys, name, None)
        try:
            if stream is not None and not getattr(stream, "closed", False):
                stream.flush()
        except BaseException:
            status = status if name == "stderr" else 120
    return status
