"""Files that are either there whole or not there: written under a temporary name, synchronised, renamed."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from isthmus.kernel.failures import InvalidInput, StorageFull

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_FULL_WORDS: Final = ("no space left", "disk quota exceeded", "file too large", "out of disk space")
_UNWRITABLE: Final = frozenset({errno.EACCES, errno.EPERM, errno.ENOENT, errno.ENOTDIR, errno.EROFS, errno.EISDIR})


def is_full(error: Exception) -> bool:
    """True when an error says that the disk, the quota or the allowed file size is used up.

    Libraries that write by themselves wrap the number away, so the words count too.
    """
    if isinstance(error, OSError) and error.errno in _FULL:
        return True
    return any(words in str(error).lower() for words in _FULL_WORDS)


@contextmanager
def storage_failures(destination: Path) -> Iterator[None]:
    """Turn the operating system's refusals into failures with a remedy: StorageFull, InvalidInput."""
    try:
        yield
    except Exception as error:
        if is_full(error):
            raise StorageFull(
                f"There is no space left on the disk for {destination.name}.",
                remedy="Free some space and run the command again; no partial file was left behind.",
                subject=str(destination),
            ) from error
        if isinstance(error, OSError) and error.errno in _UNWRITABLE:
            raise InvalidInput(
                f"{destination} cannot be written: {error.strerror or error}.",
                remedy="Choose a file in an existing folder that you may write to.",
                subject=str(destination),
            ) from error
        raise


def temporary_name(destination: Path) -> Path:
    """A hidden neighbour of the destination: same folder, hence same file system, hence an atomic rename."""
    return destination.with_name(f".{destination.name}.{secrets.token_hex(4)}.part")


def publish(temporary: Path, destination: Path) -> None:
    """Synchronise the temporary file, give it its name, synchronise the folder: safe against a power cut."""
    synchronise(temporary)
    temporary.replace(destination)
    synchronise(destination.parent)


def synchronise(path: Path) -> None:
    """fsync a file or folder."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_whole(destination: Path, content: bytes) -> None:
    """Write a small file atomically, replacing one of the same name."""
    temporary = temporary_name(destination)
    with storage_failures(destination):
        try:
            temporary.write_bytes(content)
            publish(temporary, destination)
        finally:
            temporary.unlink(missing_ok=True)


class PlainFile:
    """A file for large appends without a buffer of its own: what was refused is never written later by surprise."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("xb", buffering=0)

    def write(self, content: bytes) -> None:
        """Write all of it."""
        rest = memoryview(content)
        while rest:
            rest = rest[self._file.write(rest) :]

    def close(self) -> None:
        """Let go of the file; a second time does nothing."""
        self._file.close()
