"""Who may log in to the embedded PostgreSQL: the system user that keeps the data folder, and nobody else.

The wheel sets a new server up with `trust`, under which every local user who reaches the socket is the owner. Here that
becomes `peer`: the kernel tells the server who is at the other end, and a map lets in the user that runs isthmus (and
root, who could become that user anyway). No password exists, so none can leak. The other way round `requirepeer` makes
clients refuse a socket that somebody else serves.
"""

from __future__ import annotations

import os
import pwd
import stat
from pathlib import Path
from typing import Final

from isthmus.kernel.failures import DatabaseUnavailable

_MAP: Final = "isthmus"
_RULE: Final = f"local all all peer map={_MAP}"
_HEAD: Final = "# Written by isthmus: only the user that runs it may log in, told apart by the kernel.\n"
_OPEN_METHODS: Final = frozenset({"trust"})
_FILE_MODE: Final = 0o600
_FOLDER_MODE: Final = 0o700
_OTHERS_MAY: Final = 0o077
_SOCKET_LINE: Final = 4


def own_user() -> str:
    """The name of the system user of this process."""
    return pwd.getpwuid(os.geteuid()).pw_name


def close_to_others(folder: Path) -> bool:
    """Let only this user in; True when the rules had to be written, so that a running server must read them again.

    Rules without `trust` are somebody's own and stay; whoever starts the server is added to the map.
    """
    rules, users = folder / "pg_hba.conf", folder / "pg_ident.conf"
    changed = False
    lines = _lines(rules)
    if not lines or _is_open(lines):
        _write(rules, _HEAD + _RULE + "\n")
        lines, changed = [_RULE], True
    if _RULE in lines:
        known = _lines(users)
        wanted = [f'{_MAP} "{name}" all' for name in dict.fromkeys((own_user(), "root"))]
        missing = [line for line in wanted if line not in known]
        if missing:
            _write(users, _HEAD + "\n".join([*known, *missing]) + "\n")
            changed = True
    return changed


def own_folder(path: Path) -> Path:
    """Make a folder for sockets in a place that others can write to. Raises DatabaseUnavailable when it is not ours."""
    path.mkdir(mode=_FOLDER_MODE, exist_ok=True)
    status = path.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
        raise DatabaseUnavailable(
            f"{path} belongs to another user, so the database's socket cannot be kept there.",
            remedy=f"Find out who made {path} and remove it, or set TMPDIR to a folder of your own.",
        )
    return path


def close_socket_folder(folder: Path, server_user: str) -> None:
    """The socket's folder belongs to the server's user alone (the wheel opens it to everybody when run as root)."""
    if os.geteuid() == 0:
        user = pwd.getpwnam(server_user)
        os.chown(folder, user.pw_uid, user.pw_gid)
    folder.chmod(_FOLDER_MODE)


def open_doors(folder: Path) -> list[str]:
    """What would let another local user into a running server, in words; empty when all is closed. For `doctor`."""
    found = []
    running = (folder / "postmaster.pid").read_text().splitlines()
    socket_folder = Path(running[_SOCKET_LINE])
    if _is_open(_lines(folder / "pg_hba.conf")):
        found.append(f"{folder / 'pg_hba.conf'} lets every local user in (`trust`)")
    found += [
        f"{place} is open to other users"
        for place in dict.fromkeys((folder, socket_folder))
        if place.stat().st_mode & _OTHERS_MAY
    ]
    return found


def _is_open(lines: list[str]) -> bool:
    return any(not _OPEN_METHODS.isdisjoint(line.split()[3:]) for line in lines)


def _lines(path: Path) -> list[str]:
    """The lines that mean something."""
    text = path.read_text(errors="replace") if path.exists() else ""
    return [line.strip() for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]


def _write(path: Path, text: str) -> None:
    """Replace the file in one piece: half a file would keep the server from starting."""
    draft = path.with_name(f".{path.name}.isthmus")
    draft.unlink(missing_ok=True)
    owner = path.parent.stat()
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _FILE_MODE)
    with os.fdopen(descriptor, "w") as file:
        if os.geteuid() == 0:
            os.fchown(file.fileno(), owner.st_uid, owner.st_gid)
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
