"""Looking after a call store: what is in it, what is whole, what may go, and moving entries between stores.

compute_stats(store).replies            # 12034
export(store, "calls.jsonl")    # (12034, 0); one entry per line; `import_` reads it back, also into another store
"""

import base64
import json
import math
import os
import struct
import time
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO, TypeVar

from archon_eval.errors import StoreError, quote
from archon_eval.models.store_base import ProgressCallback, Row, Store
from archon_eval.models.store_entry import FORMAT_VERSION, decode, decode_verified, hash_name

T = TypeVar("T")
SECONDS_PER_DAY = 86_400


@dataclass(frozen=True, slots=True)
class StoreStats:
    """What a store holds."""

    replies: int
    failures: int
    """Calls that failed for good, kept for replays; not among `replies`."""
    unreadable: int
    """Replies in damaged parts of the file, not among `replies`."""
    bytes: int
    """On disk: of the file and its write-ahead log, or of the tables."""
    input_tokens: int
    output_tokens: int
    """Tokens that the replies cost once, and cost nothing when reused."""
    endpoints: dict[str, int]
    """Replies by endpoint."""
    oldest: int
    newest: int
    """Unix times; 0 for an empty store."""


def compute_stats(store: Store) -> StoreStats:
    """Count what is in the store; damaged replies are counted without tokens."""
    endpoints: dict[str, int] = {}
    input_tokens = output_tokens = lost = failures = 0
    times: list[int] = []
    names = store.read_names() or {}
    for row in store.read_rows():
        if row is None:
            lost += 1
            continue
        reply = decode_verified(row[0], row[7], row[8])
        if reply is not None and reply.failure:
            failures += 1
            continue
        name = names.get(row[1], "unknown")
        endpoints[name] = endpoints.get(name, 0) + 1
        times.append(row[6])
        if reply is not None and reply.usage:
            input_tokens += reply.usage.input_tokens
            output_tokens += reply.usage.output_tokens
    return StoreStats(
        replies=len(times),
        failures=failures,
        unreadable=lost,
        bytes=store.measure_size(),
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        endpoints=dict(sorted(endpoints.items())),
        oldest=min(times, default=0),
        newest=max(times, default=0),
    )


def prune(store: Store, *, days: float | None = None, endpoint: str | None = None, damaged: bool = False) -> int:
    """Delete replies and give the space back; the number deleted.

    Args:
        store: opened for writing.
        days: those older than so many days.
        endpoint: those whose endpoint contains this text, e.g. `openai/gpt-4o`.
        damaged: those that are damaged.

    Raises:
        StoreError: no condition is given (an empty store is a new file) or one that is none, or the store is read-only
            or damaged in more than single replies.
    """
    if days is not None and not 0 <= days < math.inf:
        raise StoreError(f"prune: replies older than a number of days, 0 or more, not {days!r}")
    if endpoint is not None and not endpoint.strip():
        raise StoreError("prune: an empty endpoint would mean every reply; give part of its name, e.g. openai/gpt-4o")
    if days is None and endpoint is None and not damaged:
        raise StoreError("prune needs to know what may go: older than so many days, of an endpoint, or damaged")
    before = time.time() - days * SECONDS_PER_DAY if days is not None else None
    names = store.read_names() or {}

    def choose(row: Row) -> bool:
        return (
            (before is None or (isinstance(row[6], int) and row[6] < before))
            and (endpoint is None or endpoint in names.get(row[1], ""))
            and (not damaged or decode_verified(row[0], row[7], row[8]) is None)
        )

    return store.delete_rows(choose)


def verify(store: Store, on_progress: ProgressCallback = lambda done, total: None) -> list[str]:
    """Everything that is wrong with the store, a line each; nothing is changed.

    Raises:
        StoreError: it cannot be read at all.
    """
    lost, problems, known = 0, store.check(), store.read_names()
    if known is None:
        problems.append("the names of endpoints and settings cannot be read: an export can be reused, not replayed")
    for row in store.read_rows(on_progress):
        if row is None:
            lost += 1
            continue
        where = f"reply {row[0].hex()[:12]}"
        if decode_verified(row[0], row[7], row[8]) is None:
            problems.append(f"{where} is damaged: it counts as not stored")
        if known is not None and not {row[1], row[2]} <= known.keys():
            problems.append(f"{where} has lost the name of its endpoint or settings")
    if lost:
        problems.append(f"a damaged part of the store holds at least {lost:,} replies that cannot be read")
    return problems


def export(
    store: Store, path: str | os.PathLike[str], on_progress: ProgressCallback = lambda done, total: None
) -> tuple[int, int]:
    """Write every whole reply as a line of JSON, readable and complete; how many, and how many are damaged.

    A file that is there stays as it is until the export is complete.

    Raises:
        StoreError: it cannot be written, or it is the store itself.
    """
    target = Path(path)
    device = target.exists() and not target.is_file()
    target = target if device else target.resolve()
    if store.owns_file(target):
        raise StoreError(f"cannot export {store.address} onto itself: give another file")
    part = target if device else target.with_name(f"{target.name}.{os.getpid()}.part")
    try:
        try:
            with part.open("w", encoding="utf-8") as out:
                counts = _write_lines(store, out, on_progress)
            if not device:
                part.replace(target)
        finally:
            if not device:
                part.unlink(missing_ok=True)
    except OSError as exc:
        raise StoreError(f"cannot write {os.fspath(path)}: {exc}") from exc
    return counts


def _write_lines(store: Store, out: TextIO, on_progress: ProgressCallback) -> tuple[int, int]:
    written = damaged = 0
    names = store.read_names() or {}
    for row in store.read_rows(on_progress):
        if row is None or decode_verified(row[0], row[7], row[8]) is None:
            damaged += 1
        else:
            out.write(json.dumps(_format_line(row, names), ensure_ascii=False) + "\n")
            written += 1
    return written, damaged


def _format_line(row: Row, names: dict[bytes, str]) -> dict[str, Any]:
    reply = decode(row[8])
    return {
        "format": FORMAT_VERSION,
        "key": row[0].hex(),
        "endpoint": names.get(row[1], ""),
        "settings": names.get(row[2], ""),
        "messages": row[3].hex(),
        "epoch": row[4],
        "draw": row[5],
        "made": row[6],
        "text": reply.text,
        "stop_reason": reply.stop_reason,
        "data": base64.b64encode(row[8]).decode(),
    }


def import_(
    store: Store,
    path: str | os.PathLike[str],
    *,
    replace: bool = False,
    on_progress: ProgressCallback = lambda done, total: None,
) -> int:
    """Read an export; replies that are there already stay unless `replace`. All of it or nothing; how many were new.

    Raises:
        StoreError: a line that is not an entry of an export, or the store is read-only.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").removesuffix("\n").split("\n")
    except (OSError, UnicodeDecodeError) as exc:
        raise StoreError(f"cannot read {os.fspath(path)}: {exc}") from exc
    entries = (
        [_parse_entry(line, f"{os.fspath(path)}:{number}") for number, line in _report_progress(lines, on_progress)]
        if any(lines)
        else []
    )
    return store.insert_rows((entry for _, entry in _report_progress(entries, on_progress)), replace=replace)


def _report_progress(items: Sequence[T], on_progress: ProgressCallback) -> Iterator[tuple[int, T]]:
    """The items with their numbers from 1."""
    for number, item in enumerate(items, 1):
        on_progress(number - 1, len(items))
        yield number, item
    on_progress(len(items), len(items))


def _parse_entry(line: str, where: str) -> tuple[tuple[str, str], Row]:
    try:
        entry = json.loads(line)
        if entry["format"] != FORMAT_VERSION:
            raise ValueError(f"format {entry['format']}")
        key, data = bytes.fromhex(entry["key"]), base64.b64decode(entry["data"], validate=True)
        if entry["text"] not in (decode(data).text, decode(data, as_written=True).text):
            raise ValueError("text and data differ")
        texts = (str(entry["endpoint"]), str(entry["settings"]))
        places = (bytes.fromhex(entry["messages"]), int(entry["epoch"]), int(entry["draw"]), int(entry["made"]))
        struct.pack("32s8s3q", key, *places)  # what a row has room for
        return texts, (key, hash_name(texts[0]), hash_name(texts[1]), *places, zlib.crc32(key + data), data)
    except (KeyError, TypeError, ValueError, ArithmeticError, RecursionError, struct.error, zlib.error) as exc:
        raise StoreError(f"{where}: not an entry of an export ({exc!r}): {quote(line, 80)}") from exc
