"""Files that are whole or not there: a full disk leaves no half report under the final name.

write_whole(Path("report.html"), text)
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex
from typing import BinaryIO


def write_whole(path: str | os.PathLike[str], content: str | bytes) -> None:
    """Write a file under a temporary name beside it, then rename it; its folder is made.

    What is there already is kept until then. Through a link the file that it leads to is replaced; what is no regular
    file, such as /dev/stdout, is written to as it is.

    Args:
        content: text is written as UTF-8, what that cannot hold as a question mark.

    Raises:
        OSError: it cannot be written.
    """
    with open_whole(path) as stream:
        stream.write(content if isinstance(content, bytes) else content.encode("utf-8", "replace"))


@contextmanager
def open_whole(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """A stream to a file that is there when the block ends, as by `write_whole`; after an error nothing is."""
    target = Path(os.path.realpath(path))
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists() and not target.is_file():
        with target.open("wb") as stream:
            yield stream
        return
    part = target.with_name(f".{target.name[:100]}.{token_hex(4)}.part")
    try:
        with part.open("wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        if target.exists():
            shutil.copymode(target, part)
        part.replace(target)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def append_whole(path: str | os.PathLike[str], content: str | bytes) -> None:
    """Add to the end of a file all of the content or nothing of it; its folder is made.

    Raises:
        OSError: it cannot be written.
    """
    data = content if isinstance(content, bytes) else content.encode("utf-8", "replace")
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("ab", buffering=0) as stream:
        before = os.fstat(stream.fileno()).st_size
        try:
            while data:
                data = data[stream.write(data) :]
        except BaseException:
            if target.is_file():
                stream.truncate(before)
            raise
