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
"""Modules that most programs import, imported once. Each further module makes every fork dearer."""
DENIED_SYSCALLS = {
    "x86_64": "101 29 30 31 67 64 65 66 220 68 69 70 71 221 240 248 249 250 272 308 298 310 311 321 323 425 426 427"
    " 434 438",
    "aarch64": "117 194 195 196 197 190 191 192 193 186 187 188 189 223 180 217 218 219 97 268 241 270 271 280 282 425"
    " 426 427 434 438",
}
"""Numbers of system calls that could leave state for the next test or reach another process: ptrace, System V memory,
semaphores and messages, fadvise (which could lower the account of memory), mq_open, keys, unshare, setns, perf,
process_vm_*, bpf, userfaultfd, io_uring, pidfd_open, pidfd_getfd."""
MEMFD_CREATE = {"x86_64": 319, "aarch64": 279}
"""Denied, too, where no account would show the memory of such files."""
ARCHITECTURE = {"x86_64": (0xC000003E, 41, 56, 228), "aarch64": (0xC00000B7, 198, 220, 113)}
"""Audit number of the architecture, and its numbers of `socket`, `clone` and `clock_gettime`."""
FOREIGN_CLOCK = 1 << 31
"""Set in the numbers of clocks that count the CPU time of a given process."""
CLONE3, CLONE_PARENT = 435, 0x8000
"""Number of `clone3` (the same on both), and the flag that makes a child the caller's sibling."""
X32_BIT = 0x40000000
"""Set in the numbers of x86's other call table, which would pass by the list."""
AF_UNIX = 1
BPF_LOAD, BPF_EQUAL, BPF_ABOVE, BPF_ANY_BIT, BPF_RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
"""The filter's instructions, from <linux/bpf_common.h>: load; jump if equal, not below, sharing a bit; return."""
CALL_NUMBER, CALL_ARCHITECTURE, FIRST_ARGUMENT = 0, 4, 16
"""Offsets in `struct seccomp_data`."""
ALLOW, KILL_PROCESS, FAIL = 0x7FFF0000, 0x80000000, 0x00050000
"""The filter's answers, from <linux/seccomp.h>; FAIL is or-ed with the error number."""
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2
LANDLOCK_CREATE_RULESET, LANDLOCK_ADD_RULE, LANDLOCK_RESTRICT_SELF = 444, 445, 446
"""Numbers of Landlock's calls, the same on every architecture."""
LANDLOCK_VERSION, LANDLOCK_PATH_BENEATH = 1, 1
READ_FILE = struct.pack("=Q", 1 << 2)
"""From <linux/landlock.h>: the right to read files, as the attribute of a rule set and of a rule."""
READABLE_ACCOUNTS = (
    "/proc/cpuinfo /proc/meminfo /proc/stat /proc/sys /proc/sysvipc /proc/uptime /sys/devices /sys/kernel"
)
"""What programs may read of the machine. Each rule makes every fork dearer."""
CHILD_FAILED = 70
"""Exit code of a child that ended before it ran anything."""
MAX_DESCRIPTORS = 256
"""Open files of one process: far below what could exhaust the container."""


def filter_calls(memory_files: bool) -> None:
    """Install a seccomp filter on top of Docker's.

    It denies DENIED_SYSCALLS, every socket but a Unix one, foreign call tables, other processes' CPU clocks, and
    processes that pass for the zygote's children (clone3, whose flags a filter cannot see, counts as unknown).
    """
    machine = platform.machine()
    if machine not in ARCHITECTURE:
        return
    arch, socket_call, clone, clock = ARCHITECTURE[machine]
    denied = [int(n) for n in DENIED_SYSCALLS[machine].split()] + ([] if memory_files else [MEMFD_CREATE[machine]])
    count = len(denied)
    # Each instruction is (code, jump if true, jump if false, value); jumps count the instructions to skip.
    program = [(BPF_LOAD, 0, 0, CALL_ARCHITECTURE), (BPF_EQUAL, 1, 0, arch), (BPF_RETURN, 0, 0, KILL_PROCESS)]
    program += [(BPF_LOAD, 0, 0, CALL_NUMBER)]
    program += [(BPF_ABOVE, 0, 1, X32_BIT), (BPF_RETURN, 0, 0, FAIL | errno.ENOSYS)]
    program += [(BPF_EQUAL, 0, 1, CLONE3), (BPF_RETURN, 0, 0, FAIL | errno.ENOSYS)]
    program += [(BPF_EQUAL, 0, 4, clock), (BPF_LOAD, 0, 0, FIRST_ARGUMENT), (BPF_ABOVE, 0, 1, FOREIGN_CLOCK)]
    program += [(BPF_RETURN, 0, 0, FAIL | errno.EPERM), (BPF_RETURN, 0, 0, ALLOW)]
    program += [(BPF_EQUAL, 0, 2, clone), (BPF_LOAD, 0, 0, FIRST_ARGUMENT)]
    program += [(BPF_ANY_BIT, count + 3, count + 4, CLONE_PARENT)]
    program += [(BPF_EQUAL, count - i + 2, 0, number) for i, number in enumerate(denied)]
    program += [(BPF_EQUAL, 0, 3, socket_call), (BPF_LOAD, 0, 0, FIRST_ARGUMENT), (BPF_EQUAL, 1, 0, AF_UNIX)]
    program += [(BPF_RETURN, 0, 0, FAIL | errno.EPERM), (BPF_RETURN, 0, 0, ALLOW)]
    raw = b"".join(struct.pack("=HBBI", *line) for line in program)
    lines = ctypes.create_string_buffer(raw, len(raw))
    header = struct.pack("@HP", len(program), ctypes.addressof(lines))
    LIBC.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    if LIBC.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.create_string_buffer(header, len(header)), 0, 0):
        raise OSError(ctypes.get_errno(), "seccomp filter refused")


def build_rules() -> list[bytes]:
    """What programs may read, as rules for `confine_reading`: all but the container's accounts and others' processes.

    None where the kernel or the engine has no Landlock.
    """
    if LIBC.syscall(LANDLOCK_CREATE_RULESET, None, 0, LANDLOCK_VERSION) < 1:
        return []
    folders = [f"/{name}" for name in os.listdir("/") if name not in ("proc", "sys")]  # noqa: PTH208
    folders = [p for p in folders if os.path.isdir(p) and not os.path.islink(p) and os.listdir(p)]  # noqa: PTH112, PTH114, PTH208
    paths = folders + [path for path in READABLE_ACCOUNTS.split() if os.path.exists(path)]  # noqa: PTH110
    return [READ_FILE + struct.pack("=i", os.open(path, os.O_PATH)) for path in paths]


def confine_reading(rules: list[bytes]) -> None:
    """Let this process and what it starts read files only by these rules and in its own folder in /proc (Landlock).

    The container's accounts, and those of process 1 and the zygote, would tell a test what earlier ones did.
    """
    if not rules:
        return
    call = LIBC.syscall
    ruleset = call(LANDLOCK_CREATE_RULESET, READ_FILE, len(READ_FILE), 0)
    own = os.open("/proc/self", os.O_PATH)
    for rule in (*rules, READ_FILE + struct.pack("=i", own)):
        call(LANDLOCK_ADD_RULE, ruleset, LANDLOCK_PATH_BENEATH, rule, 0)
    if call(LANDLOCK_RESTRICT_SELF, ruleset, 0):
        raise OSError(ctypes.get_errno(), "Landlock refused")


def run_child(role: int, uid: int, spec: ProcessSpec, *, fds: list[int], wire: int, readable: list[bytes]) -> None:
    """Do the work of one role and never return.

    Each role gets its own code only: the program's process never holds the tests.

    Args:
        role: `COMPILE`, `MAIN`, `SERVE` or `JUDGE`.
        uid: the user to become.
        spec: the limits, and for a compilation the kind of code.
        fds: input, output, errors, then the program's code, then the tests' code.
        wire: the socket between program and tests, or -1.
        readable: see `confine_reading`.
    """
    status = CHILD_FAILED
    try:
        code = -1 if role == COMPILE else fds[4] if role == JUDGE else fds[3]
        content = drop_privileges(uid, spec, fds, code=code)
        confine_reading(readable)
        if wire >= 0:
            os.dup2(wire, 3)
        os.closerange(3 + (wire >= 0), MAX_DESCRIPTORS)
        if role == COMPILE:
            status = compile_harness() if spec.kind == JUDGE else compile_program()
        elif role == MAIN:
            status = finish(run_program(content, create_main_namespace()))
        else:
            status = serve(content, 3) if role == SERVE else run_tests(content, 3)
    finally:
        flush(0)
        os._exit(status)


def run_zygote(link: socket.socket, uid: int, memory_files: bool) -> None:
    """Fork a child (two for function calls) per `ProcessSpec`; report each as it is reaped. Never returns."""
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
    for name, value in (("CORE", 0), ("NOFILE", MAX_DESCRIPTORS), ("MSGQUEUE", 0), ("MEMLOCK", 0)):
        resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (value, value))
    readable = build_rules()
    filter_calls(memory_files)
    gc.collect()
    gc.freeze()
    while True:
        data, fds, _, _ = socket.recv_fds(link, 512, 8)
        if not data:
            os._exit(0)
        spec = ProcessSpec(*PROCESS_SPEC.unpack(data))
        calls = spec.kind == JUDGE and len(fds) == 5  # a compilation has three descriptors, a program four
        roles = (SERVE, JUDGE) if calls else (MAIN,) if len(fds) == 4 else (COMPILE,)
        wires = [s.detach() for s in socket.socketpair()] if calls else [-1]
        pids = {}
        for role, wire in zip(roles, wires, strict=True):
            pid = os.fork()
            if not pid:
                run_child(role, uid + (role == JUDGE), spec, fds=fds, wire=wire, readable=readable)
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
    """A standard stream as the interpreter makes it, modes and names included."""
    stream = open(fd, "wb" if fd else "rb", closefd=False)  # noqa: SIM115
    stream.raw.name = name  # type: ignore[attr-defined]
    text = io.TextIOWrapper(stream, "utf-8", errors, line_buffering=fd == 2)
    text.mode = "w" if fd else "r"  # type: ignore[misc]
    return text
