"""Files that are either there whole or not there: written under a temporary name, synchronised, renamed."""

from __future__ import annotations

import errno
import glob
import hashlib
import os
import re
import secrets
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from isthmus.kernel.failures import InvalidInput, StorageFull

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_FULL_WORDS: Final = ("no space left", "disk quota exceeded", "file too large", "out of disk space")
_UNWRITABLE: Final = {
    errno.EACCES: "you may not write there",
    errno.EPERM: "you may not write there",
    errno.ENOENT: "the folder does not exist",
    errno.ENOTDIR: "what should be its folder is a file",
    errno.EROFS: "the disk is read-only",
    errno.EISDIR: "it is a folder",
    errno.ENAMETOOLONG: "the name is too long",
    errno.ELOOP: "its links lead round in a circle",
}
_NAME_BYTES_MAX: Final = 180
"""Of the destination's name inside the temporary one; file systems allow 255 for all of it."""

_ABANDONED_AFTER_S: Final = 24 * 3_600.0
"""A part from another machine that nobody has touched for so long belongs to nobody."""

_OWNER: Final = re.compile(r"\.(?:(?P<machine>[0-9a-f]{8})-(?P<pid>\d{1,10})\.)?[0-9a-f]{8}\.part(\.\w+)?")


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
        if isinstance(error, OSError) and error.errno is not None and error.errno in _UNWRITABLE:
            raise InvalidInput(
                f"{destination} cannot be written: {_UNWRITABLE[error.errno]}.",
                remedy="Choose a file in an existing folder that you may write to.",
                subject=str(destination),
            ) from error
        raise


def temporary_name(destination: Path) -> Path:
    """A hidden neighbour of the destination: same folder, hence same file system, hence an atomic rename.

    It says which process of which machine writes it, so that what a killed process left can be told.
    """
    return destination.with_name(f"{_stem(destination)}.{_machine()}-{os.getpid()}.{secrets.token_hex(4)}.part")


def forget_abandoned(destination: Path) -> None:
    """Remove the temporary files that killed processes left for this destination."""
    for found in destination.parent.glob(f"{glob.escape(_stem(destination))}.*.part*"):
        owner = _OWNER.fullmatch(found.name[len(_stem(destination)) :])
        if owner is not None and _abandoned(found, owner["machine"], owner["pid"]):
            found.unlink(missing_ok=True)


def _abandoned(found: Path, machine: str | None, pid: str | None) -> bool:
    if machine == _machine() and pid is not None:
        return not _alive(int(pid))
    try:
        return time.time() - found.stat().st_mtime > _ABANDONED_AFTER_S
    except OSError:  # gone meanwhile
        return False


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def _stem(destination: Path) -> str:
    return "." + os.fsencode(destination.name)[:_NAME_BYTES_MAX].decode(errors="ignore")


def _machine() -> str:
    return hashlib.sha256(socket.gethostname().encode()).hexdigest()[:8]


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
