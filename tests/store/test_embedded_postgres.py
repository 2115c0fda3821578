"""The embedded server: shared by processes, durable, and survivable when it goes away for a while."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import psycopg
import pytest
from tests.patience import WAIT_MAX_S, eventually
from tests.store.conftest import make_place

from isthmus.kernel.failures import DatabaseUnavailable
from isthmus.store import feed, projects, runs
from isthmus.store.database import Database
from isthmus.store.embedded import EmbeddedPostgres
from isthmus.store.migrate import migrate

ROOT = Path(__file__).parents[2]


@pytest.fixture
def folder() -> Iterator[Path]:
    """A data folder in a place that the server's own user can reach."""
    made = Path(tempfile.mkdtemp(prefix="isthmus-data-"))
    yield made / "postgres"
    shutil.rmtree(made, ignore_errors=True)


async def show(url: str, name: str) -> str:
    async with await psycopg.AsyncConnection.connect(url) as connection:
        row = await (await connection.execute(f"SHOW {name}".encode())).fetchone()
        assert row is not None
        return str(row[0])


async def test_what_was_confirmed_is_on_the_disk_by_configuration(folder: Path) -> None:
    async with EmbeddedPostgres(folder) as server:
        for setting in ("fsync", "synchronous_commit", "full_page_writes"):
            assert await show(server.url, setting) == "on"


async def test_another_process_joins_the_running_server_and_leaves_it_running(folder: Path) -> None:
    code = (
        "import asyncio, sys; from pathlib import Path; from isthmus.store.embedded import EmbeddedPostgres\n"
        "async def main():\n"
        "    async with EmbeddedPostgres(Path(sys.argv[1])) as server: print(server.pid)\n"
        "asyncio.run(main())"
    )
    async with EmbeddedPostgres(folder) as server:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-W", "error", "-c", code, str(folder),
            env={**os.environ, "PYTHONPATH": str(ROOT / "src")}, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        output, _ = await process.communicate()
        assert process.returncode == 0
        assert int(output) == server.pid
        assert await show(server.url, "max_wal_size") == "4GB"


async def test_the_last_one_to_leave_stops_the_server_even_after_somebody_was_killed(folder: Path) -> None:
    server = EmbeddedPostgres(folder)
    await server.start()
    url = server.url
    listing = folder / ".handle_pids.json"
    listing.write_text(json.dumps([*json.loads(listing.read_text()), 2**22 - 3]))  # a process that is no more
    await server.stop()
    with pytest.raises(psycopg.OperationalError):
        await show(url, "fsync")


async def test_a_stale_process_file_of_a_former_life_does_not_mislead(folder: Path) -> None:
    async with EmbeddedPostgres(folder):
        leftover = (folder / "postmaster.pid").read_text()
    lines = leftover.splitlines()
    (folder / "postmaster.pid").write_text("\n".join([str(os.getpid()), *lines[1:]]) + "\n")
    async with EmbeddedPostgres(folder) as again:
        assert await show(again.url, "fsync") == "on"


async def test_a_folder_with_a_very_long_path_works(folder: Path) -> None:
    long = folder / ("long-name-" * 5) / ("longer-name-" * 5)
    async with EmbeddedPostgres(long) as server:
        assert await show(server.url, "fsync") == "on"


async def test_a_server_that_is_not_started_has_no_address(folder: Path) -> None:
    with pytest.raises(DatabaseUnavailable):
        _ = EmbeddedPostgres(folder).url


async def test_work_waits_for_a_database_that_is_away_and_stores_everything_once(folder: Path) -> None:
    server = EmbeddedPostgres(folder)
    await server.start()
    await migrate(server.url)
    async with await Database.open(server.url, patience_s=WAIT_MAX_S) as db:
        place = await make_place(db)
        run = await place.begin()
        await place.store(run, {"a": "1"})

        await server.stop()
        storing = asyncio.create_task(place.store(run, {"b": "2"}, number=2, done=True))
        await asyncio.sleep(1.0)
        assert not storing.done()
        await server.start()
        result = await storing

        assert (result.created, result.repeated) == (1, False)
        async with db.project(place.project_id) as tx:
            assert [change.remote_id for change in (await feed.read(tx, 0)).changes] == ["a", "b"]
            assert (await runs.progress(tx, run.id)).seen == 2
    await server.stop()


async def test_patience_has_an_end(folder: Path) -> None:
    server = EmbeddedPostgres(folder)
    await server.start()
    await migrate(server.url)
    async with await Database.open(server.url, patience_s=0.5) as db:
        await projects.every(db)
        await server.stop()
        with pytest.raises(DatabaseUnavailable):
            await projects.every(db)


async def test_a_connection_that_breaks_inside_a_transaction_is_told_and_nothing_stays(
    database: Database, database_url: str
) -> None:
    place = await make_place(database)

    async def break_off() -> None:
        async with database.project(place.project_id) as tx:
            await feed.append(tx, place.stream_id, "c", ["lost"])
            backend = await tx.value("SELECT pg_backend_pid()")
            async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as other:
                await other.execute("SELECT pg_terminate_backend(%s)", (backend,))
            await tx.value("SELECT 1")

    with pytest.raises(DatabaseUnavailable):
        await break_off()
    async with database.project(place.project_id) as tx:
        assert await feed.head(tx) == 0


async def test_connections_that_keep_breaking_lose_no_page_and_tell_no_change_twice(
    database: Database, database_url: str
) -> None:
    pages = 30
    place = await make_place(database)
    run = await place.begin(slices=2)

    async def write(slice: str) -> None:
        for number in range(1, pages + 1):
            await place.store(run, {f"{slice}-{number}-{i}": "x" for i in range(20)}, number=number, slice=slice)

    writing = asyncio.gather(write("s0"), write("s1"))
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as killer:
        for _ in range(15):
            if writing.done():
                break
            await killer.execute(
                """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                   WHERE usename = 'isthmus_app' AND pid <> pg_backend_pid()"""
            )
            await asyncio.sleep(0.04)
    await writing
    async with database.project(place.project_id) as tx:
        changes = (await feed.read(tx, 0)).changes
        assert (await runs.progress(tx, run.id)).seen == 2 * pages * 20
    assert [change.number for change in changes] == list(range(1, 2 * pages * 20 + 1))
    assert len({change.remote_id for change in changes}) == 2 * pages * 20


async def ended(pid: int) -> bool:
    """The process is gone, or waits for somebody to bury it."""
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


STARTED_AGAIN = "The embedded PostgreSQL had stopped; it was started again."


async def told(caplog: pytest.LogCaptureFixture) -> bool:
    """The log says that the server was started again."""
    return STARTED_AGAIN in caplog.messages


async def killed(server: EmbeddedPostgres) -> int:
    """The server without a goodbye, as the machine's memory keeper kills it; who it was."""
    pid = server.pid
    os.kill(pid, signal.SIGKILL)
    await eventually(lambda: ended(pid), "the server outlived its killing")
    return pid


async def test_a_server_that_was_killed_is_started_again_by_whoever_needs_it_and_nothing_is_lost(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with EmbeddedPostgres(folder) as server:
        await migrate(server.url)
        async with await Database.open(server.url, patience_s=WAIT_MAX_S, reviver=server) as db:
            place = await make_place(db)
            run = await place.begin()
            await place.store(run, {"a": "1"})
            former = await killed(server)

            result = await place.store(run, {"b": "2"}, number=2, done=True)

            assert (result.created, result.repeated) == (1, False)
            # It answers a moment before whoever started it has heard of that.
            await eventually(lambda: told(caplog), "nobody learnt of the server that was started")
            assert server.pid != former
            async with db.project(place.project_id) as tx:
                assert [change.remote_id for change in (await feed.read(tx, 0)).changes] == ["a", "b"]
        assert caplog.messages.count(STARTED_AGAIN) == 1


async def test_two_processes_that_miss_the_server_start_one(folder: Path) -> None:
    code = (
        "import asyncio, sys; from pathlib import Path; from isthmus.store.embedded import EmbeddedPostgres\n"
        "from isthmus.store.database import Database\n"
        "async def main():\n"
        "    async with EmbeddedPostgres(Path(sys.argv[1])) as server:\n"
        "        async with await Database.open(server.url, reviver=server) as db:\n"
        "            print('here', flush=True); sys.stdin.readline()\n"
        "            async with db.unscoped() as tx: print(await tx.value('SELECT pg_postmaster_start_time()::text'))\n"
        "asyncio.run(main())"
    )
    async with EmbeddedPostgres(folder) as server:
        await migrate(server.url)
        async with await Database.open(server.url, patience_s=WAIT_MAX_S, reviver=server) as db:
            other = await asyncio.create_subprocess_exec(
                sys.executable, "-c", code, str(folder), env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
            )  # fmt: skip
            assert other.stdout is not None
            assert await other.stdout.readline() == b"here\n"
            await killed(server)

            async def started_at() -> str:
                async with db.unscoped() as tx:
                    return str(await tx.value("SELECT pg_postmaster_start_time()::text"))

            (here, (there, _)) = await asyncio.gather(started_at(), other.communicate(b"\n"))
        assert other.returncode == 0
        assert there.decode().strip() == here
    assert not (folder / "postmaster.pid").exists(), "the last one to leave stops the server that was started again"


async def test_a_server_that_cannot_be_started_again_is_told_in_words_that_fit(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with EmbeddedPostgres(folder) as server:
        await migrate(server.url)
        async with await Database.open(server.url, patience_s=3.0, reviver=server) as db:
            await projects.every(db)
            await killed(server)
            (folder / "isthmus.conf").write_text("max_connections = many\n")
            with pytest.raises(DatabaseUnavailable) as refused:
                await projects.every(db)
            assert "ISTHMUS_DATABASE_URL" not in refused.value.remedy
            assert "embedded PostgreSQL is started again by itself" in refused.value.remedy

            async def told() -> bool:
                return any("cannot be started again" in each for each in caplog.messages)

            await eventually(told)
            (folder / "isthmus.conf").write_text("max_connections = 50\n")
            async with await Database.open(server.url, patience_s=WAIT_MAX_S, reviver=server) as again:
                await projects.every(again)
