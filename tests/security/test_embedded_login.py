"""The embedded PostgreSQL is closed to every other user of the machine."""

from __future__ import annotations

import asyncio
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from tests.postgres_programs import program

from isthmus.cli.examination import examine
from isthmus.kernel.failures import DatabaseUnavailable, InvalidInput
from isthmus.settings import Settings
from isthmus.store import local_access
from isthmus.store.database import Database
from isthmus.store.embedded import EmbeddedPostgres

LONG = "a-folder-whose-path-is-too-long-for-a-socket-" * 3

TRUST = "local all all trust\nhost all all 127.0.0.1/32 trust\n"


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    """A data folder in a place that the server's own user can reach, with a server that was set up once.

    Each test writes the rules that it wants to begin with.
    """
    made = Path(tempfile.mkdtemp(prefix="isthmus-closed-"))

    async def set_up() -> None:
        async with EmbeddedPostgres(made / "postgres"):
            pass

    asyncio.run(set_up())
    yield made
    shutil.rmtree(made, ignore_errors=True)


async def rules(url: str) -> list[tuple[str, str, str | None]]:
    async with await psycopg.AsyncConnection.connect(url) as connection:
        found = await connection.execute("SELECT type, auth_method, error FROM pg_hba_file_rules")
        return [(str(kind), str(method), error) for kind, method, error in await found.fetchall()]


def log_in_as_somebody_else(url: str) -> str:
    """What another system user is answered who tries to be the owner; run as root that is a real other user, else a
    name that the map does not know.
    """
    if os.geteuid() == 0:  # the server's own user can reach the socket, which is more than anybody else can
        command = [program("psql"), "--no-password", "-c", "SELECT 1", url]
        return subprocess.run(command, user="pgserver", capture_output=True, text=True, check=False, cwd="/").stderr
    known = (Path(str(conninfo_to_dict(url)["host"])) / "pg_ident.conf").read_text()
    assert '"pgserver"' not in known
    return "Peer authentication failed"


async def test_only_the_kernels_word_counts_for_who_logs_in(database_url: str) -> None:
    assert await rules(database_url) == [("local", "peer", None)]


@pytest.mark.parametrize("role", ["postgres", "isthmus_app"])
def test_another_system_user_is_refused(database_url: str, role: str) -> None:
    assert "Peer authentication failed" in log_in_as_somebody_else(make_conninfo(database_url, user=role))


async def test_the_application_role_logs_in_by_itself_and_is_nobody_elses_session(database: Database) -> None:
    async with database.unscoped() as tx:
        assert await tx.value("SELECT session_user || ' ' || current_user") == "isthmus_app isthmus_app"


async def test_a_folder_of_an_earlier_version_is_closed_at_its_next_start(home: Path) -> None:
    folder = home / "postgres"
    (folder / "pg_hba.conf").write_text(TRUST)
    (folder / "pg_ident.conf").write_text("")
    async with EmbeddedPostgres(folder) as server:
        assert await rules(server.url) == [("local", "peer", None)]


async def test_a_running_server_of_an_earlier_version_is_closed_by_the_next_process_that_joins(home: Path) -> None:
    folder = home / "postgres"
    code = (
        "import asyncio, sys; from pathlib import Path; from isthmus.store.embedded import EmbeddedPostgres\n"
        "async def main():\n"
        "    async with EmbeddedPostgres(Path(sys.argv[1])): pass\n"
        "asyncio.run(main())"
    )
    async with EmbeddedPostgres(folder) as server:
        (folder / "pg_hba.conf").write_text(TRUST)
        joined = await asyncio.create_subprocess_exec(sys.executable, "-W", "error", "-c", code, str(folder))
        assert await joined.wait() == 0
        answer = ""
        for _ in range(100):  # the server reads the rules again a moment after it was told
            answer = await asyncio.to_thread(log_in_as_somebody_else, server.url)
            if answer:
                break
            await asyncio.sleep(0.05)
        assert "Peer authentication failed" in answer


async def test_rules_that_a_person_wrote_are_kept(home: Path) -> None:
    folder = home / "postgres"
    own = "local all all peer map=isthmus\nhost all backup 127.0.0.1/32 scram-sha-256\n"
    (folder / "pg_hba.conf").write_text(own)
    async with EmbeddedPostgres(folder) as server:
        assert [method for _, method, _ in await rules(server.url)] == ["peer", "scram-sha-256"]
    assert (folder / "pg_hba.conf").read_text() == own


async def test_the_socket_of_a_long_path_lies_in_a_folder_that_only_the_server_may_enter(home: Path) -> None:
    async with EmbeddedPostgres(home / LONG / "postgres") as server:
        place = str(conninfo_to_dict(server.url)["host"])
        assert place != str(home / LONG / "postgres")
        assert stat.S_IMODE((await asyncio.to_thread(os.stat, place)).st_mode) == 0o700
        assert local_access.open_doors(home / LONG / "postgres") == []


@pytest.mark.parametrize("name", ["a b", "ü日", "(one) & 'two'; #3, ~"])
async def test_a_data_folder_with_an_unusual_name_works_and_keeps_its_socket_closed(home: Path, name: str) -> None:
    folder = home / name / "postgres"
    async with EmbeddedPostgres(folder) as server, await psycopg.AsyncConnection.connect(server.url) as connection:
        assert (await (await connection.execute("SELECT 1")).fetchone()) == (1,)
        place = str(conninfo_to_dict(server.url)["host"])
        assert place != str(folder)
        assert stat.S_IMODE((await asyncio.to_thread(os.stat, place)).st_mode) == 0o700
        assert local_access.open_doors(folder) == []


async def test_a_data_folder_that_a_shell_would_misread_is_refused_before_anything_is_made(home: Path) -> None:
    with pytest.raises(InvalidInput, match="cannot live in"):
        await EmbeddedPostgres(home / "$(touch x)" / "postgres").start()
    assert not (home / "$(touch x)").exists()


async def test_a_locale_that_this_machine_does_not_have_is_no_hindrance(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LC_ALL", "xx_YY.UTF-8")
    started = EmbeddedPostgres(home / "foreign" / "postgres")
    async with started as server, await psycopg.AsyncConnection.connect(server.url) as connection:
        assert (await (await connection.execute("SELECT lower('Ü')")).fetchone()) == ("ü",)
    assert os.environ["LC_ALL"] == "xx_YY.UTF-8"


def test_a_server_that_cannot_start_says_why_in_one_failure_and_in_no_log_lines(home: Path) -> None:
    folder = home / "not empty" / "postgres"
    (folder / "something").mkdir(parents=True)
    code = (
        "import asyncio, logging, sys; from pathlib import Path; from isthmus.store.embedded import EmbeddedPostgres\n"
        "from isthmus.kernel.failures import DatabaseUnavailable\n"
        "logging.basicConfig(level=logging.WARNING)\n"
        "try: asyncio.run(EmbeddedPostgres(Path(sys.argv[1])).start())\n"
        "except DatabaseUnavailable as failure: print(failure.message)"
    )
    ran = subprocess.run([sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=True)
    assert "exists but is not empty" in ran.stdout
    assert ran.stderr == ""


async def test_a_client_refuses_a_socket_that_somebody_else_serves(database_url: str) -> None:
    with pytest.raises(psycopg.OperationalError, match="requirepeer"):
        await psycopg.AsyncConnection.connect(make_conninfo(database_url, requirepeer="nobody"))


def test_a_folder_for_sockets_that_is_not_ours_is_refused(tmp_path: Path) -> None:
    real = tmp_path / "real"
    real.mkdir()
    (tmp_path / "planted").symlink_to(real)
    with pytest.raises(DatabaseUnavailable, match="belongs to another user"):
        local_access.own_folder(tmp_path / "planted")


async def test_doctor_says_when_the_embedded_database_is_open_to_others(home: Path) -> None:
    settings = Settings(home=home)
    title = "The embedded database is closed to other users of this machine"

    async def finding() -> tuple[bool, str]:
        (found,) = [each for each in await examine(settings) if each.title == title]
        return found.passed, found.remedy

    (home / "postgres" / "pg_hba.conf").write_text(TRUST)  # closed at the start that doctor makes
    assert await finding() == (True, "")
    (home / "postgres").chmod(0o750)  # PostgreSQL itself accepts this much, and nothing wider
    passed, remedy = await finding()
    (home / "postgres").chmod(0o700)
    assert not passed
    assert "chmod 700" in remedy


async def test_two_users_in_one_process_share_the_server_until_the_last_one_leaves(home: Path) -> None:
    async with EmbeddedPostgres(home / "postgres") as outer:
        async with EmbeddedPostgres(home / "postgres") as inner:
            assert inner.pid == outer.pid
        async with await psycopg.AsyncConnection.connect(outer.url) as connection:
            assert (await (await connection.execute("SELECT 1")).fetchone()) == (1,)
        url = outer.url
    with pytest.raises(psycopg.OperationalError):
        await psycopg.AsyncConnection.connect(url)
