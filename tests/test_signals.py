"""SIGTERM as Ctrl-C: in the process that asked for it, and in no worker that it forks."""

import subprocess
import sys

PROGRAM = """
import os, signal, sys
from archon_eval._signals import interrupt_on_sigterm

interrupt_on_sigterm()
child = os.fork()
if child == 0:
    try:
        os.kill(os.getpid(), signal.SIGTERM)
        os._exit(3)
    except KeyboardInterrupt:
        os._exit(4)
_, status = os.waitpid(child, 0)
print(os.waitstatus_to_exitcode(status))
try:
    os.kill(os.getpid(), signal.SIGTERM)
except KeyboardInterrupt:
    print("interrupted")
"""


def test_a_forked_worker_ends_by_sigterm_and_its_parent_is_interrupted() -> None:
    found = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, timeout=60)
    assert found.stdout.split() == ["-15", "interrupted"], found.stderr
