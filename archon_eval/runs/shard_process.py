"""A process that runs parts of an eval, `archon_eval.runs.shard_worker`, as the one sees it that started it.

shard = ShardProcess(words, on_message)
done = shard.run({"do": "look", "folder": "..."})
"""

import json
import queue
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from archon_eval.errors import WorkerLostError
from archon_eval.runs.child_process import ChildProcess

ANSWER_REQUEST = "archon_eval.runs.shard_worker:answer_request"
NOTE_PATTERN = re.compile(r"(?:note|warning): |.*\bWARNING\b")


class ShardProcess:
    """Runs one request at a time; never outlives this process."""

    def __init__(
        self,
        words: Sequence[str],
        on_message: Callable[[Mapping[str, Any]], None],
    ) -> None:
        """
        Args:
            words: of `inspect eval`, after these two.
            on_message: called with what it says while it runs a request, in the thread that waits for that.
        """
        self._words, self.on_message = tuple(words), on_message
        # Inspect cannot read a word of its command line that another locale could not decode
        env = {"PYTHONUTF8": "1"}
        self._child = ChildProcess(["-P", "-m", "archon_eval.runs.worker_loop"], replies=True, env=env)
        self._outbox: queue.SimpleQueue[Mapping[str, Any] | None] = queue.SimpleQueue()
        threading.Thread(target=self._send_all, daemon=True).start()  # whoever reads its lines never waits for it

    @property
    def pid(self) -> int:
        return self._child.pid

    def run(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        """What came of a request.

        Raises:
            WorkerLostError: the process died.
        """
        self._outbox.put({"function": ANSWER_REQUEST, "args": {**request, "words": self._words}})
        while line := self._child.read_line():
            reply = json.loads(line)
            if "value" in reply:
                return dict(reply["value"])
            self.on_message(reply["message"])
        raise WorkerLostError(f"a shard {self._child.describe_end(self._words)}")

    def send(self, message: Mapping[str, Any]) -> None:
        """Give it a message, from any thread."""
        self._outbox.put({"message": message})

    def interrupt(self) -> None:
        """End the part under way as Ctrl-C does; its log keeps what was answered."""
        self.send({"do": "interrupt"})

    @property
    def has_ended(self) -> bool:
        return self._child.wait(0)

    def stop(self) -> None:
        """End it; a part under way has some seconds to write its log."""
        self._outbox.put(None)
        self._child.stop()

    def read_printed(self) -> str:
        """What it printed, after its end."""
        return self._child.read_printed()

    def list_notes(self) -> list[str]:
        """The notes and warnings among what it printed, after its end."""
        lines = (line.strip() for line in self.read_printed().splitlines())
        return [line for line in lines if NOTE_PATTERN.match(line)]

    def close(self) -> None:
        """Release what is left of it after its end."""
        self._child.close()

    def _send_all(self) -> None:
        while (message := self._outbox.get()) is not None:
            if not self._child.send(json.dumps(message)):
                return
