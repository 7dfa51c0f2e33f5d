"""The zygote: a warm interpreter that forks a child per test and never sees a test's data."""

import ctypes
import errno
import gc
import io
import os
import platform
import resource
import socket
import struct
import sys

from archon_eval.sandbox.guest.calls import compile_harness, run_tests, serve
from archon_eval.sandbox.guest.child import (
    LIBC,
    compile_program,
    create_main_namespace,
    drop_privileges,
    finish,
    flush,
    run_program,
)
from archon_eval.sandbox.guest.wire import COMPILE, JUDGE, MAIN, PROCESS_SPEC, REAPED, SERVE, ProcessSpec

STREAMS = (("stdin", "surrogateescape"), ("stdout", "surrogateescape"), ("stderr", "backslashreplace"))
WARM_MODULES = "bisect collections functools heapq itertools math operator random re string threading"
"""Imported once: what most programs import. Each further module makes every fork dearer."""
DENIED_SYSCALLS = {
    "x86_64": "101 29 30 31 67 64 65 66 220 68 69 70 71 240 248 249 250 272 308 298 310 311 321 323 425 426 427"
    " 434 438",
    "aarch64": "117 194 195 196 197 190 191 192 193 186 187 188 189 180 217 218 219 97 268 241 270 271 280 282 425"
    " 426 427 434 438",
}
"""ptrace, System V memory, semaphores and messages, mq_open, keys, unshare, setns, perf, process_vm_*, bpf,
userfaultfd, io_uring, pidfd_open, pidfd_getfd: what could leave state for the next test or reach another process."""
ARCHITECTURE = {"x86_64": (0xC000003E, 41, 56), "aarch64": (0xC00000B7, 198, 220)}
CLONE3, CLONE_PARENT = 435, 0x8000


def filter_calls() -> None:
    """A seccomp filter on top of Docker's: none of DENIED_SYSCALLS, no socket but a Unix one, no foreign call table,
    no process that passes for the zygote's child (clone3, whose flags a filter cannot see, counts as unknown)."""
    machine = platform.machine()
    if machine not in ARCHITECTURE:
        return
    arch, socket_call, clone = ARCHITECTURE[machine]
    denied = [int(n) for n in DENIED_SYSCALLS[machine].split()]
    load, equal, above, some, give = 0x20, 0x15, 0x35, 0x45, 0x06
    program = [(load, 0, 0, 4), (equal, 1, 0, arch), (give, 0, 0, 0x80000000), (load, 0, 0, 0)]
    program += [(above, 0, 1, 0x40000000), (give, 0, 0, 0x00050026)]
    program += [(equal, 0, 1, CLONE3), (give, 0, 0, 0x00050000 | errno.ENOSYS)]
    program += [(equal, 0, 2, clone), (load, 0, 0, 16), (some, len(denied) + 3, len(denied) + 4, CLONE_PARENT)]
    program += [(equal, len(denied) - i + 2, 0, n) for i, n in enumerate(denied)]
    program += [(equal, 0, 3, socket_call), (load, 0, 0, 16), (equal, 1, 0, 1)]
    program += [(give, 0, 0, 0x00050001), (give, 0, 0, 0x7FFF0000)]
    raw = b"".join(struct.pack("=HBBI", *line) for line in program)
    lines = ctypes.create_string_buffer(raw, len(raw))
    header = struct.pack("@HP", len(program), ctypes.addressof(lines))
    LIBC.prctl(38, 1, 0, 0, 0)
    if LIBC.prctl(22, 2, ctypes.create_string_buffer(header, len(header)), 0, 0):
        raise OSError(ctypes.get_errno(), "seccomp filter refused")


def run_child(kind: int, uid: int, order: ProcessSpec, fds: list[int], wire: int) -> None:
    """Never returns. Each kind is given its own code only: the program's process never holds the tests."""
    status = 70
    try:
        code = drop_privileges(uid, order, fds, -1 if kind == COMPILE else fds[4] if kind == JUDGE else fds[3])
        if wire >= 0:
            os.dup2(wire, 3)
        os.closerange(3 + (wire >= 0), 256)
        if kind == COMPILE:
            status = compile_harness() if order[0] == JUDGE else compile_program()
        elif kind == MAIN:
            status = finish(run_program(code, create_main_namespace()))
        else:
            status = serve(code, 3) if kind == SERVE else run_tests(code, 3)
    finally:
        flush(0)
        os._exit(status)


def run_zygote(link: socket.socket, uid: int) -> None:
    """Fork a child (two for function calls) per order; report each as it is reaped. Never returns."""
    null = os.memfd_create("null")
    for fd in range(3):
        os.dup2(null, fd)
    os.close(null)
    for fd, (name, errors) in enumerate(STREAMS):
        setattr(sys, name, stream := open_text_stream(f"<{name}>", fd, errors))
        setattr(sys, f"__{name}__", stream)
    sys.argv[:] = ["main.py"]
    sys.orig_argv[:] = ["python3", "main.py"]
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    for name, value in (("CORE", 0), ("NOFILE", 256), ("MSGQUEUE", 0), ("MEMLOCK", 0)):
        resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (value, value))
    filter_calls()
    gc.collect()
    gc.freeze()
    while True:
        data, fds, _, _ = socket.recv_fds(link, 512, 8)
        if not data:
            os._exit(0)
        order = PROCESS_SPEC.unpack(data)
        calls = order[0] == JUDGE and len(fds) == 5
        roles = (SERVE, JUDGE) if calls else (MAIN,) if len(fds) == 4 else (COMPILE,)
        wires = [s.detach() for s in socket.socketpair()] if calls else [-1]
        pids = {}
        for role, wire in zip(roles, wires, strict=True):
            pid = os.fork()
            if not pid:
                run_child(role, uid + (role == JUDGE), order, fds, wire)
            pids[pid] = role
        for fd in fds + wires:
            if fd >= 0:
                os.close(fd)
        while pids:
            pid, status, usage = os.wait4(-1, 0)
            if pid not in pids:
                continue
            link.send(REAPED.pack(pids.pop(pid), status, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024))


def open_text_stream(name: str, fd: int, errors: str) -> io.TextIOWrapper:
    """A standard stream as the interpreter makes it (modes and names included)."""
    stream = open(fd, "wb" if fd else "rb", closefd=False)  # noqa: SIM115
    stream.raw.name = name  # type: ignore[attr-defined]
    text = io.TextIOWrapper(stream, "utf-8", errors, line_buffering=fd == 2)
    text.mode = "w" if fd else "r"  # type: ignore[misc]
    return text
