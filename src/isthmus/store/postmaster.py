"""The embedded server's own process, as its file in the data folder names it: whether it lives, and what it left."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

import psutil  # type: ignore[import-untyped]  # it brings no types

from isthmus.kernel.failures import DatabaseUnavailable

LEFTOVERS_S_MAX: Final = 10.0
"""Processes of a server that was killed see it at their next wait and end."""

_FILE: Final = "postmaster.pid"
_FILE_LINES: Final = 8
_LOOK_S: Final = 0.1


def lives(folder: Path) -> bool:
    """True while the process that the file names is a PostgreSQL that runs."""
    pid = _recorded(folder)
    return pid is not None and _is_server(pid)


def died(folder: Path) -> bool:
    """True when the server ended without a goodbye: its file is there and it is not. One that was stopped has none."""
    pid = _recorded(folder)
    return pid is not None and not _is_server(pid)


def forget_dead_server(folder: Path) -> None:
    """After a restart of the machine or container the recorded process id may belong to somebody else; then the file
    goes. Where there is no such process PostgreSQL sees that itself, and whether something of the dead server is still
    at work: its file tells it. Raises DatabaseUnavailable when something is, and does not end.
    """
    pid = _recorded(folder)
    if pid is None or not psutil.pid_exists(pid) or _is_server(pid):
        return
    if len((folder / _FILE).read_text().splitlines()) < _FILE_LINES:  # being written, or cut short: PostgreSQL decides
        return
    deadline_s = time.monotonic() + LEFTOVERS_S_MAX
    while _at_work(folder):
        if time.monotonic() > deadline_s:
            raise DatabaseUnavailable(f"Processes of the PostgreSQL that has stopped are still at work in {folder}.")
        time.sleep(_LOOK_S)
    (folder / _FILE).unlink(missing_ok=True)


def _recorded(folder: Path) -> int | None:
    try:
        return int((folder / _FILE).read_text().splitlines()[0])
    except (OSError, ValueError, IndexError):
        return None


def _is_server(pid: int) -> bool:
    with suppress(ChildProcessError):  # where isthmus is the container's first process, it has to bury the dead
        os.waitpid(pid, os.WNOHANG)
    try:
        process = psutil.Process(pid)
        return "postgres" in process.name() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def _at_work(folder: Path) -> bool:
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if "postgres" in process.name() and process.cwd() == str(folder):
                return True
    return False
