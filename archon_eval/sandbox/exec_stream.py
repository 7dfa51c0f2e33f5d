"""The stream of a command that Docker runs in a container: its input, and its two outputs in one stream of records."""

import socket
from collections.abc import Callable
from typing import Any

from archon_eval.sandbox.container import RECEIVE_SIZE, pop_records


def send_input(link: Any, data: bytes) -> None:
    """Send everything and close the writing half; a command that does not read its input is no error."""
    try:
        link.sendall(data)
        link.shutdown(socket.SHUT_WR)
    except OSError:
        pass


def receive_output(read: Callable[[int], bytes], limit: int) -> tuple[dict[int, bytearray], bool, bool]:
    """Read stdout (1) and stderr (2) up to `limit` bytes each.

    Returns:
        The streams, whether one was longer, and whether the engine went silent.
    """
    streams, pending = {0: bytearray(), 1: bytearray(), 2: bytearray()}, bytearray()
    while True:
        try:
            data = read(RECEIVE_SIZE)
        except TimeoutError:
            return streams, False, True
        if not data:
            return streams, False, False
        pending += data
        for stream, record in pop_records(pending):
            streams[stream] += record
        if max(map(len, streams.values())) > limit:
            return {k: v[:limit] for k, v in streams.items()}, True, False
