"""Commands in processes of their own: start, interruption, pipes, full disks, databases that are not there."""

from __future__ import annotations

import json
import os
import resource
import shlex
import signal
import subprocess
import sys
from contextlib import AbstractContextManager
from pathlib import Path

import httpx
import pytest
from tests.child_process import ISTHMUS, completed, finished, started
from tests.hub_fixtures import US, House
from tests.own_database import database_url
from tests.patience import WAIT_MAX_S, until

from isthmus.cli.demo.story import OBJECTS

HEAVY = ("aiohttp", "psycopg", "pyarrow", "duckdb", "sqlalchemy", "procrastinate", "alembic", "cryptography", "joserfc")

__all__ = ["database_url"]


def typed(house: House, *arguments: str, **environ: str) -> AbstractContextManager[subprocess.Popen[str]]:
    return started([*ISTHMUS, *arguments], env=house.environ(**environ))


@pytest.mark.parametrize("arguments", [["--help"], ["sync", "--help"], ["read", "--help"], ["--version"]], ids=" ".join)
def test_help_loads_nothing_heavy(arguments: list[str]) -> None:
    program = (
        "import sys, json; from isthmus.cli import main; "
        f"code = main({arguments!r}); print(json.dumps([code, sorted(sys.modules)]), file=sys.stderr)"
    )
    ended = completed([sys.executable, "-c", program], check=True)
    code, modules = json.loads(ended.stderr.splitlines()[-1])
    assert code == 0
    assert [name for name in HEAVY if name in modules] == []


def test_an_interrupted_run_is_resumable_and_the_next_command_goes_on(house: House) -> None:
    assert house.type_connect().code == 0
    house.seed("customers", 1_000)
    house.switch(page_records_max=50)
    assert house.type("sync", "create", "customers", "--company", US).code == 0
    house.sandbox.fault("delay", path="/customers$", delay_s=0.1, count=None)
    before = len(house.requests("/customers"))
    with typed(house, "sync", "run") as command:
        until(lambda: len(house.requests("/customers")) - before >= 6, "the run never began")
        command.send_signal(signal.SIGINT)
        _, words = finished(command)
    assert command.returncode == 130, words
    assert "run the same command again" in words
    assert "Traceback" not in words
    (left,) = house.type("runs", "--json").json
    assert left["state"] == "queued"
    assert 0 < left["read"] < 1_005
    house.sandbox.call(house.sandbox.estate.faults.clear)
    ended = house.type("sync", "run", "--json").json
    assert (ended["id"], ended["state"], ended["created"]) == (left["id"], "succeeded", 1_005)
    pages = [each for each in house.requests("/customers") if each["path"].endswith("/customers")]
    assert len(pages) <= 21 + 4, "pages that were committed are not read again"


def test_a_worker_stops_cleanly_when_told(house: House) -> None:
    house.type_connect()
    house.type("sync", "create", "vendors", "--company", US, "--schedule", "every 10m")
    with typed(house, "worker") as command:
        assert command.stderr is not None
        assert "Working as" in command.stderr.readline()
        command.send_signal(signal.SIGTERM)
        _, words = finished(command)
    assert command.returncode == 0, words
    assert "Stopped." in words


def test_a_pipe_that_closes_early_is_no_failure(house: House) -> None:
    house.type_connect()
    house.seed("customers", 3_000)
    house.switch(page_records_max=200)
    with typed(house, "read", "customers", "--company", US, "--format", "jsonl") as command:
        assert command.stdout is not None
        assert command.stdout.readline().startswith("{")
        command.stdout.close()
        assert command.stderr is not None
        words = command.stderr.read()
        assert command.wait(timeout=WAIT_MAX_S) == 0, words
    assert "defect" not in words
    assert "Traceback" not in words


def test_a_full_disk_ends_an_export_with_a_remedy_and_without_a_file(house: House, tmp_path: Path) -> None:
    house.type_connect()
    house.seed("customers", 2_000)
    target = tmp_path / "out" / "customers.jsonl"
    target.parent.mkdir()

    def small_files_only() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    ended = completed(
        [*ISTHMUS, "export", "customers", "--company", US, "--to", str(target), "--json"],
        env=house.environ(), preexec_fn=small_files_only,
    )  # fmt: skip
    assert ended.returncode == 1, ended
    assert json.loads(ended.stdout)["error"]["code"] == "storage_full"
    assert list(target.parent.iterdir()) == []


def test_a_database_that_is_not_there_is_named(house: House) -> None:
    answer = house.type("connections", "--json", ISTHMUS_DATABASE_URL="postgresql://nobody@127.0.0.1:9/none")
    assert answer.code == 3
    assert answer.error["code"] == "database_unavailable"
    assert "ISTHMUS_DATABASE_URL" in answer.error["remedy"]


def test_an_address_that_is_none_is_named(house: House) -> None:
    answer = house.type("connections", "--json", ISTHMUS_DATABASE_URL="nonsense")
    assert answer.code == 3
    assert answer.error["code"] == "configuration"


def test_another_master_key_is_refused_with_where_to_find_the_right_one(house: House, tmp_path: Path) -> None:
    import base64

    house.type("connections")
    answer = house.type("connections", ISTHMUS_MASTER_KEY=base64.b64encode(os.urandom(32)).decode())
    assert answer.code == 3
    assert "master key" in answer.words
    assert "→" in answer.words
    nowhere = tmp_path / "fresh"
    missing = house.type("connections", "--json", ISTHMUS_MASTER_KEY="", ISTHMUS_HOME=str(nowhere))
    assert missing.error["code"] == "master_key_missing"
    assert not (nowhere / "master.key").exists(), "a second machine never invents a second key"


def test_a_folder_that_cannot_be_used_is_named(house: House, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    answer = house.type("connections", ISTHMUS_DATABASE_URL="", ISTHMUS_HOME=str(blocked / "below"))
    assert answer.code == 3, answer
    assert "ISTHMUS_HOME" in answer.words


@pytest.mark.parametrize(
    ("name", "value"), [("ISTHMUS_WORKERS", "many"), ("ISTHMUS_LOG_LEVEL", "loud"), ("ISTHMUS_MASTER_KEY", "short")]
)
def test_a_setting_that_cannot_be_used_is_named(house: House, name: str, value: str) -> None:
    answer = house.type("connections", **{name: value})
    assert answer.code == 3, answer
    assert name in answer.words


def test_the_demo_works_twice_in_a_row_in_the_same_folder_and_its_console_and_data_can_be_looked_at(
    house: House, open_folder: Path
) -> None:
    environ = house.environ() | {"PATH": "/usr/bin:/bin", "PYTHONUNBUFFERED": "1"}
    first = completed([*ISTHMUS, "demo", "--keep"], cwd=open_folder, env=environ)
    assert first.returncode == 0, first.stderr
    assert "Stopped cleanly" in first.stdout
    assert "Traceback" not in first.stderr
    with started([*ISTHMUS, "demo", "--serve"], cwd=open_folder, env=environ) as second:
        assert second.stdout is not None
        said = "".join(iter(lambda: _until_the_end_of_the_invitation(second), ""))
        link = next(line.strip() for line in said.splitlines() if "/console/welcome/" in line)
        assert httpx.get(link, trust_env=False, timeout=WAIT_MAX_S).status_code == 200
        second.send_signal(signal.SIGINT)
        more, words = finished(second)
    assert second.returncode == 0, words
    assert "Stopped." in words
    assert "Traceback" not in words
    ended = first
    ended.stdout = said + more
    assert f"source {sys.prefix}/bin/activate" in ended.stdout
    look, _, _ = ended.stdout.partition("Look at what was kept")[2].partition("unset")
    exported = next(line for line in look.splitlines() if line.startswith("  export "))
    exported_as = dict(part.split("=", 1) for part in shlex.split(exported)[1:])
    commands = [line.strip() for line in look.splitlines() if line.startswith("  isthmus ")]
    assert len(commands) == 3
    for line in commands:
        usual = {"ISTHMUS_DATABASE_URL": "", "ISTHMUS_MASTER_KEY": ""}
        answer = house.type(*shlex.split(line.split("   ")[0])[1:], **usual, **exported_as)
        assert answer.code == 0, answer
        assert any(name in answer.words for name in OBJECTS), answer


def _until_the_end_of_the_invitation(command: subprocess.Popen[str]) -> str:
    """The next line, empty after the one that says how to stop."""
    assert command.stdout is not None
    line = command.stdout.readline()
    return "" if line.startswith("Ctrl-C stops everything") else line


def test_the_sandbox_command_serves_a_cloud_to_connect_to(house: House, tmp_path: Path) -> None:
    home = str(tmp_path / "home")
    assert house.type("connect", "business-central", "--cloud", "sandbox", ISTHMUS_HOME=home).code == 3
    ready = Path(home) / "sandbox.json"
    with typed(house, "sandbox", "up", "--port-base", "0", "--world", "cronus", ISTHMUS_HOME=home) as command:
        until(lambda: ready.exists() or command.poll() is not None, "the sandbox did not start")
        answer = house.type("connect", "business-central", "--cloud", "sandbox", ISTHMUS_HOME=home)
        assert answer.code == 0, answer
        assert "● connected" in answer.words
        command.send_signal(signal.SIGINT)
        printed, _ = finished(command)
    assert printed.index("is up") < printed.index("Then, in another terminal:")
    assert not ready.exists(), "a sandbox that has stopped is not offered"
