"""The life of a child process that evaluates, from both ends: started in a session of its own, ended with its parent.

Inspect's evals cannot run in threads, and what a killed parent left running would go on to pay for calls. So the child
watches its standard input, whose other end is the parent's: it ends with the parent, whatever ends that.
"""

import os
import re
import shlex
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress

LOG_GRACE_SECONDS = 20.0
"""Seconds that an eval which must end has to write its log: a large one takes some on a slow disk."""
_SECRET_NAME = r"(?:key|token|secret|password|passwd|credential|authorization)[\w-]*"
_OPTION_PATTERN = re.compile(rf"(?is)[\w.-]*{_SECRET_NAME}=(.+)")
"""An option whose value is a secret: all the rest of its word."""
_FIELD_PATTERN = re.compile(
    rf"""(?isx) {_SECRET_NAME} ["']? \s* [:=] \s*
    ( "(?:[^"\\]|\\.)*" | '(?:[^']|'')*' | (?: (?! ,\s*["']?[\w-]+["']?\s*[:=] ) [^}}\]\n] )+ )"""
)
"""A secret within a word, as JSON, YAML or a header has it: in quotes, or up to the next field."""
_URL_PATTERN = re.compile(r"(://)[^\s/\"']+@")
_BEARER_PATTERN = re.compile(r"(?i)\b(bearer\s+)[\w.~+/=-]{8,}")
MIN_SECRET_LENGTH = 8
"""`output_tokens: 10000000` has a secret's form, and hiding it costs little; hiding each `max_tokens=512` would."""


class ChildProcess:
    """A Python process. It never outlives this one; what it prints is kept for messages."""

    def __init__(
        self,
        words: Sequence[str],
        *,
        replies: bool = False,
        env: Mapping[str, str] | None = None,
        folder: str | os.PathLike[str] | None = None,
    ) -> None:
        """
        Args:
            words: of its command line, after Python's own path.
            replies: whether its standard output answers `ask`; else that is printed text as its standard error is.
            env: environment variables besides this process's.
            folder: its working directory, where it is not this process's.
        """
        self._printed = tempfile.TemporaryFile()  # noqa: SIM115 (closed by `close`)
        self._process = subprocess.Popen(
            [sys.executable, *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE if replies else self._printed,
            stderr=self._printed,
            start_new_session=True,  # Ctrl-C reaches this process alone, which then ends its children
            creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),  # the same on Windows
            env={**os.environ, **(env or {})},
            cwd=folder,
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    def ask(self, line: str) -> str:
        """The line with which it answers a line; empty if it ends before."""
        return self.read_line() if self.send(line) else ""

    def send(self, line: str) -> bool:
        """Give it a line; False where it has ended."""
        assert self._process.stdin
        try:
            self._process.stdin.write(line.encode() + b"\n")
            self._process.stdin.flush()
        except (BrokenPipeError, ValueError):  # its end, or ours is closed
            return False
        return True

    def read_line(self) -> str:
        """The next line of its standard output; empty if it ends before."""
        assert self._process.stdout
        answer = self._process.stdout.readline()
        return answer.decode() if answer.endswith(b"\n") else ""

    def wait(self, seconds: float | None = None) -> bool:
        """Whether it has ended, after that many seconds at the latest; None for however long it takes."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)
        return self._process.returncode is not None

    def stop(self, seconds: float = LOG_GRACE_SECONDS) -> None:
        """End it; while an eval is under way, it has so many seconds to write a log of the answers it has."""
        assert self._process.stdin
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self.wait(seconds)
        finally:
            self.kill()

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()
        self._process.wait()

    def read_printed(self) -> str:
        """What it printed so far."""
        self._printed.seek(0)
        return self._printed.read().decode("utf-8", errors="replace")

    def describe_end(self, words: Sequence[str] = ()) -> str:
        """How it ended: its exit code, and the end of what it printed, without secrets; words as of `hide_secrets`."""
        code = self._process.wait()
        last_words = hide_secrets(self.read_printed().strip(), words)[-500:]
        return f"ended with code {code}{': ' + last_words if last_words else ''}"

    def close(self) -> None:
        """Release what is left of a process that has ended."""
        self._process.wait()
        for stream in (self._process.stdout, self._process.stdin, self._printed):
            if stream:
                with suppress(BrokenPipeError):  # a line that it did not take
                    stream.close()


def follow_parent(on_end: Callable[[], None], on_line: Callable[[str], None] = lambda line: None) -> None:
    """In the child: take over standard input, which is empty for everything else that runs here.

    Args:
        on_end: called in a thread of its own when the parent has closed its end, or has ended.
        on_line: called there with each line before.
    """
    source = os.dup(0)
    with open(os.devnull, "rb") as nothing:  # noqa: PTH123 (a descriptor is wanted)
        os.dup2(nothing.fileno(), 0)

    def listen() -> None:
        rest = b""
        while chunk := os.read(source, 65536):
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                on_line(line.decode())
        on_end()

    threading.Thread(target=listen, daemon=True).start()


def join_words(words: Sequence[str]) -> str:
    """A command's words as a shell takes them, without secrets: quoting first would hide a secret from the search."""
    return shlex.join(hide_secrets(word, [word]) for word in words)


def hide_secrets(text: str, words: Sequence[str] = ()) -> str:
    """The text without credentials of URLs and headers, without what `redact` leaves out, and without secrets of words.

    >>> hide_secrets("it's-a-key is wrong: https://user:pass@host", ["api_key=it's-a-key"])
    '<secret> is wrong: https://<secret>@host'

    Args:
        words: of a command; what they give as a key, token, secret, password, credential or authorization is left out.
    """
    from archon_eval.models.conversion import redact

    secrets = {secret for word in words for secret in _find_secrets(word)}
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, "<secret>")
    return redact(_BEARER_PATTERN.sub(r"\1<secret>", _URL_PATTERN.sub(r"\1<secret>@", text)))


def _find_secrets(word: str) -> Iterator[str]:
    """What to leave out for a word: each secret as it is there, without its quotes, and its parts."""
    option = _OPTION_PATTERN.fullmatch(word)
    for value in [option[1]] if option else _FIELD_PATTERN.findall(word):
        bare = value.strip().strip("\"'")
        if len(bare) >= MIN_SECRET_LENGTH:
            yield from (value.strip(), bare)
            yield from (part for part in re.split(r"[\s,;]+", bare) if len(part) >= MIN_SECRET_LENGTH)
