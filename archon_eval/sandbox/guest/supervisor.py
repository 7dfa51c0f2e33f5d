"""Process 1 of the container: takes frames from the host, has them run one by one, clears the slot after each."""

import os
import platform
import select
import signal
import socket
import time
from collections import deque
from typing import Any

from archon_eval.sandbox.guest import wire
from archon_eval.sandbox.guest.meter import ResourceMeter, has_memory_account, hide_accounts, open_first_file
from archon_eval.sandbox.guest.zygote import WARM_MODULES, run_zygote

STDIN = 0
FLUSH_SECONDS = 0.01
"""Replies are held back this long, so that many short tests share one write."""
POLL_SECONDS = 0.1
"""Pause between two looks at a running test's CPU and memory: the error of a limit."""
KILL_SECONDS = 0.02
"""Pause between two blows at a process that has not dropped its privileges yet."""
SWEEP_SECONDS, SWEEP_PAUSE = 10, 0.0005
"""How long the slot may take to become empty, and the pause between two looks."""
ZYGOTE_ENDED, SLOT_NOT_EMPTY = 71, 72
"""Exit codes with which the container gives up; the host replaces it."""
BLOCK_SIZE = 512
"""Bytes of a block in `stat`, whatever the file system."""
CHILDREN_FILES = ("/proc/1/task/1/children",)


def create_memory_file(data: bytes) -> int:
    """A memory file with this content, positioned at its start."""
    fd = os.memfd_create("file")
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


class Supervisor:
    """Process 1: takes frames from the host, has them run one after the other, answers in order."""

    def __init__(self, uid: int, zygote_pid: int, link: socket.socket) -> None:
        self.uid, self.zygote, self.link = uid, zygote_pid, link
        self.received = bytearray()
        self.queue: deque[tuple[bytes, bytes]] = deque()
        self.replies = bytearray()
        self.flushed = 0.0
        self.program = -1
        self.abandoned = False
        self.children, self.meter = open_first_file(CHILDREN_FILES), ResourceMeter(zygote_pid)
        self.oom_count = self.meter.count_ooms()
        self.compiled = 0
        """Bytes by which the highest mark was above what was in use when the program had been compiled."""
        self.used = False
        """Whether anything but the compilation of one program has run in this container."""

    def send(self, kind: bytes, payload: bytes) -> None:
        self.replies += wire.FRAME.pack(kind, len(payload)) + payload

    def flush(self) -> None:
        view = memoryview(bytes(self.replies))
        while view:
            view = view[os.write(1, view) :]
        self.replies.clear()
        self.flushed = time.monotonic()

    def receive(self) -> None:
        """Read frames from the host into the queue; the end of the stream ends the container."""
        data = os.read(0, wire.MEBI)
        if not data:
            os._exit(0)
        self.received += data
        while len(self.received) >= wire.FRAME.size:
            kind, length = wire.FRAME.unpack_from(self.received)
            end = wire.FRAME.size + length
            if len(self.received) < end:
                return
            payload = bytes(self.received[wire.FRAME.size : end])
            del self.received[:end]
            if kind == b"A":
                self.queue.clear()
                self.abandoned = True
            self.queue.append((kind, payload))

    def kill_all(self) -> None:
        """Kill every process of the slot's uids at once (the saved uid brings this process back)."""
        for uid in (self.uid, self.uid + 1):
            os.setresuid(uid, uid, 0)
            try:
                os.kill(-1, signal.SIGKILL)
            except ProcessLookupError:
                pass
            finally:
                os.setresuid(0, 0, 0)

    def kill_until_reported(self) -> None:
        """Kill until the zygote reports a child: one that has not dropped to the uid yet survives the first blow."""
        self.kill_all()
        while not select.select([self.link.fileno()], [], [], KILL_SECONDS)[0]:
            self.kill_all()

    def sweep(self) -> None:
        """Kill whatever the test left behind and wait until nothing but this process and the zygote is there.

        Orphans become this process's children, so an only child means that nothing is left.
        """
        self.meter.sample_memory()
        self.kill_all()
        if self.reap() == 0 and self.children >= 0 and len(os.pread(self.children, 64, 0).split()) == 1:
            return
        deadline = time.monotonic() + SWEEP_SECONDS
        while any(p.isdigit() and p not in ("1", str(self.zygote)) for p in os.listdir("/proc")):  # noqa: PTH208
            self.kill_all()
            while (gone := self.reap()) > 0:
                if gone == self.zygote:
                    os._exit(ZYGOTE_ENDED)
            if time.monotonic() > deadline:
                os._exit(SLOT_NOT_EMPTY)
            time.sleep(SWEEP_PAUSE)

    def reap(self) -> int:
        """Wait for an orphan of the test that has ended; its process number, or 0 where there is none."""
        pid, _, usage = os.wait4(-1, os.WNOHANG)
        if pid > 0:
            self.meter.sampled = max(self.meter.sampled, usage.ru_maxrss * 1024)
        return pid

    def wait_for_report(self, spec: wire.ProcessSpec, *, started: float, cpu_before: float) -> int:
        """Wait for the zygote's report or for a reason to end the test; meanwhile serve the host.

        The clock's limit is against sleepers: time spent waiting for a core, on a busy machine, does not count.

        Returns:
            0 for a report, else the flag that says why the test must end.
        """
        deadline = started + spec.wall
        while True:
            now = time.monotonic()
            pause = min(POLL_SECONDS, max(0.0, deadline - now))
            if self.replies:
                pause = min(pause, max(0.0, self.flushed + FLUSH_SECONDS - now))
            ready = select.select([self.link.fileno(), STDIN], [], [], pause)[0]
            if self.link.fileno() in ready:
                return 0
            if STDIN in ready:
                self.receive()
            if self.abandoned:
                return wire.ABANDONED
            late = time.monotonic() >= deadline
            if late or not ready:
                self.flush()
                self.meter.sample_memory()
                if self.meter.count_ooms() != self.oom_count:
                    return wire.OOM
                if self.meter.measure_test_cpu(cpu_before) > spec.cpu:
                    return wire.STOPPED
            if late:
                longest = spec.wall * wire.MAX_WAIT_FACTOR
                later = started + min(spec.wall + self.meter.measure_core_wait(), longest)
                if later < deadline + POLL_SECONDS / 10:
                    return wire.STOPPED
                deadline = max(later, time.monotonic() + POLL_SECONDS)
                self.send(b"W", b"")
                self.flush()

    def execute(self, spec: wire.ProcessSpec, fds: list[int]) -> wire.Outcome:
        """Have the zygote run a process, then clear the slot."""
        started, cpu_before = time.monotonic(), self.meter.read_cpu_seconds()
        self.meter.begin_memory()
        socket.send_fds(self.link, [wire.PROCESS_SPEC.pack(*spec)], fds)
        outstanding, flags = 2 if len(fds) == 5 else 1, 0
        cpu, peak, status, testing = 0.0, 0, None, 0
        while status is None or outstanding:
            if not flags and status is None:
                flags = self.wait_for_report(spec, started=started, cpu_before=cpu_before)
            if flags or status is not None:
                self.kill_until_reported()
            role, code, seconds, resident = wire.REAPED.unpack(self.link.recv(64))
            cpu, peak, outstanding = cpu + seconds, max(peak, resident), outstanding - 1
            if role != wire.SERVE:
                status = code
            if role == wire.JUDGE:
                testing = resident
        wall = time.monotonic() - started
        self.sweep()
        count = self.meter.count_ooms()
        if count != self.oom_count:
            flags, self.oom_count = flags | wire.OOM, count
        cpu = max(cpu, self.meter.read_cpu_seconds() - cpu_before)
        together = self.meter.measure_memory(sum(os.fstat(fd).st_blocks * BLOCK_SIZE for fd in fds[1:3]))
        peak = max(peak, together - testing)  # the tests' own process is not the program's
        return wire.Outcome(status=status, flags=flags, cpu=cpu, wall=wall, peak=peak)

    def compile(self, kind: int, source: bytes) -> tuple[int, bytes]:
        """Compile in a child without privileges.

        Returns:
            A descriptor of the code (or -1), and the reply's payload.
        """
        files = [create_memory_file(source), create_memory_file(b""), create_memory_file(b"")]
        outcome = self.execute(wire.ProcessSpec(kind, *wire.COMPILE_LIMITS), files)
        reply = wire.RESULT.pack(*outcome, 0, 0, (size := min(get_file_size(files[2]), wire.STDERR_TAIL)))
        reply += os.pread(files[2], size, max(0, get_file_size(files[2]) - size))
        os.close(files[0])
        os.close(files[2])
        if outcome.status or outcome.flags:
            os.close(files[1])
            return -1, reply
        return files[1], reply

    def run_test(self, payload: bytes) -> bytes:
        """Run one test and return the reply's payload."""
        calls, cpu, wall, memory, cap, length = wire.TEST.unpack_from(payload)
        if self.meter.begin_memory() > memory and (self.used or self.compiled > memory):
            # a program that nothing else has run beside has itself to blame: its compilation counts as its own
            flag, reason = (wire.WORN, b"") if self.used else (wire.OOM, b"compiling took more than the memory limit")
            return wire.RESULT.pack(0, flag, 0.0, 0.0, 0, 0, 0, len(reason)) + reason
        self.used = True
        text = payload[wire.TEST.size : wire.TEST.size + length]
        codes = [self.program]
        if calls:
            harness, reply = self.compile(wire.JUDGE, payload[wire.TEST.size + length :])
            if harness < 0:
                return (
                    wire.RESULT.pack(*flag_harness_failure(wire.RESULT.unpack_from(reply))) + reply[wire.RESULT.size :]
                )
            codes.append(harness)
        files = [create_memory_file(text), create_memory_file(b""), create_memory_file(b"")]
        largest = max(cap, wire.STDERR_CAP)
        spec = wire.ProcessSpec(
            kind=wire.JUDGE if calls else wire.MAIN,
            cpu=cpu,
            wall=wall,
            address_space=memory + wire.ADDRESS_SPACE_MARGIN,
            largest_file=largest + 1,
        )
        outcome = self.execute(spec, files + codes)
        if calls and os.waitstatus_to_exitcode(outcome.status) == wire.UNFIT_EXIT_CODE:
            outcome = wire.Outcome(*flag_harness_failure(outcome))
        out, err = get_file_size(files[1]), get_file_size(files[2])
        sent, tail = 0 if out > cap else out, min(err, wire.STDERR_TAIL)
        reply = wire.RESULT.pack(*outcome, max(out, err if err > largest else 0), sent, tail)
        reply += os.pread(files[1], sent, 0) + os.pread(files[2], tail, err - tail)
        for fd in files + codes[1:]:
            os.close(fd)
        return reply

    def run(self) -> None:
        """Serve frames for ever; the container ends with the host's stream."""
        while True:
            while not self.queue:
                self.flush()
                self.receive()
            kind, payload = self.queue.popleft()
            self.abandoned = self.abandoned and kind != b"A"
            if kind == b"A":
                self.send(b"A", b"")
                continue
            if kind == b"P":
                if self.program >= 0:
                    os.close(self.program)
                    self.used = True
                self.program, reply = self.compile(wire.MAIN, payload)
                self.compiled = self.meter.begin_memory()
            else:
                reply = self.run_test(payload)
            if not self.abandoned:
                self.send(b"R", reply)
                if len(self.replies) > wire.MEBI or time.monotonic() - self.flushed > FLUSH_SECONDS:
                    self.flush()


def get_file_size(fd: int) -> int:
    return os.fstat(fd).st_size


def flag_harness_failure(result: tuple[Any, ...]) -> tuple[Any, ...]:
    """The same result, flagged as the harness's failure."""
    return (result[0], result[1] | wire.HARNESS, *result[2:])


def main(uid: int) -> None:
    """Fork the zygote while nothing has been received, then serve."""
    for name in WARM_MODULES.split():
        __import__(name)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    pid = os.fork()
    if not pid:
        ours.close()
        run_zygote(theirs, uid, memory_files=has_memory_account())
    theirs.close()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a program may send it while this process wears the slot's uid
    supervisor = Supervisor(uid, pid, ours)
    hide_accounts()
    if supervisor.compile(wire.MAIN, b"")[0] < 0:
        raise RuntimeError("the zygote cannot compile an empty program")
    supervisor.meter.drop_useless_account()
    supervisor.send(b"H", platform.python_version().encode())
    supervisor.run()
