"""What processes use: processor seconds of a process, and of PostgreSQL's, from /proc."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

_TICK_S: Final = 1 / os.sysconf("SC_CLK_TCK")


def cpu_s(pid: int) -> float:
    """Processor seconds that a process has used; 0 for one that is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0.0
    members = text.rpartition(")")[2].split()
    return (int(members[11]) + int(members[12])) * _TICK_S


def family_cpu_s(parent: int) -> float:
    """Processor seconds of a process and its children, those that have ended included (PostgreSQL's backends)."""
    total = cpu_s(parent)
    try:
        members = Path(f"/proc/{parent}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return total
    total += (int(members[13]) + int(members[14])) * _TICK_S
    for path in Path("/proc").iterdir():
        if path.name.isdigit() and _parent_of(int(path.name)) == parent:
            total += cpu_s(int(path.name))
    return total


def postmaster_of(data_folder: Path) -> int:
    """The embedded server's main process."""
    return int((data_folder / "postmaster.pid").read_text().split()[0])


def _parent_of(pid: int) -> int | None:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except (OSError, IndexError, ValueError):
        return None
