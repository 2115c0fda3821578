"""Canary scan: what the sandbox issues as secrets is found nowhere but sealed, whatever happened meanwhile.

A whole life is lived first: app credentials and a sign-in in the browser, good and bad secrets, refusals that echo what
was sent, tokens that die, timeouts, webhooks, a worker, a defect, all of it at debug level. Then everything that stays
behind is searched: a backup, every file of the data folder (heap, write-ahead log, server log), everything that was
printed.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
import pytest_asyncio
from tests.crash.scene import until
from tests.crash.webhook_receiver import WebhookReceiver
from tests.crash.worker_process import ROOT, WorkerProcess
from tests.patience import WAIT_MAX_S
from tests.postgres_programs import program
from tests.running_sandbox import SandboxThread
from tests.security.canaries import files_under, leaks, spellings
from yarl import URL

from isthmus.app import ForgetfulJournal, Hub
from isthmus.auth.entra.clouds import Cloud
from isthmus.cli.demo.sandbox import DemoSandbox
from isthmus.connections.making import Wish
from isthmus.kernel.messages import Request, Response
from isthmus.settings import Settings
from isthmus.store import connections, grants
from isthmus.store.embedded import EmbeddedPostgres
from isthmus.vault.secrets import Secret
from isthmus_sandbox.business_central import changes
from isthmus_sandbox.worlds.identities import (
    CONFIDENTIAL_APP_ID,
    CONFIDENTIAL_APP_SECRET,
    TENANT_ID,
    US_COMPANY,
    WEB_APP_ID,
    WEB_APP_SECRET,
    add_demo_tenant,
)

WRONG_SECRET = "canary-secret~typed-wrongly"
REPEATED = f"Bearer canary-access-echoed0123456789 was sent with client_secret={CONFIDENTIAL_APP_SECRET}"
ECHO = json.dumps({"error": {"code": "BadRequest", "message": REPEATED}})
TOKEN_ECHO = json.dumps(
    {"error": "invalid_client", "error_description": f"AADSTS7000215: {REPEATED}", "error_codes": [7000215]}
)
"""Errors of the vendor that repeat what it was sent."""

DEFECT = """
import sys
from isthmus.transport import http

async def broken(self, request, ca_file):
    raise RuntimeError(f"a defect with {request!r} and {self!r}")

http.HttpTransport._send = broken
from isthmus.cli import main
sys.exit(main(sys.argv[1:]))
"""


class Life:
    """What happened and what it left behind."""

    def __init__(self, home: Path, url: str) -> None:
        self.home = home
        self.url = url
        self.printed: dict[str, bytes] = {}
        self.secrets: list[str | bytes] = []
        self.shown_once = b""

    def run(self, *arguments: str, code: str | None = None, secret: str = CONFIDENTIAL_APP_SECRET) -> str:
        """One command at debug level; everything it printed is kept, its standard output is the answer."""
        environment = {**os.environ, **self.environment, "ISTHMUS_CLIENT_SECRET": secret}
        source = code or "import sys; from isthmus.cli import main; sys.exit(main(sys.argv[1:]))"
        done = subprocess.run(
            [sys.executable, "-c", source, *arguments], env=environment, cwd=self.home, capture_output=True, check=False
        )
        name = f"{len(self.printed)} isthmus {' '.join(arguments[:3])}"
        self.printed[name] = done.stdout + done.stderr
        return done.stdout.decode()

    @property
    def environment(self) -> dict[str, str]:
        """What every process of this life is started with."""
        return {
            "PYTHONPATH": str(ROOT / "src"),
            "ISTHMUS_HOME": str(self.home),
            "ISTHMUS_DEVELOPMENT": "1",
            "ISTHMUS_LOG_LEVEL": "debug",
            "ISTHMUS_SILENT_S": "2",
        }

    def backup(self) -> bytes:
        """What `pg_dump` writes; as the owner, so nothing is hidden from it."""
        done = subprocess.run([program("pg_dump"), "--dbname", self.url], capture_output=True, check=True)
        return done.stdout

    def everything(self) -> dict[str, bytes]:
        """All that stays behind, by where it stays."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute("CHECKPOINT")  # what is in memory only goes to the files
        return {**self.printed, "backup": self.backup(), **files_under(self.home)}


@contextmanager
def logged(into: dict[str, bytes]) -> Iterator[None]:
    """This process's log at debug level is a place to look at, too."""
    lines: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(self.format(record))

    root, keep = logging.getLogger(), Keep(logging.DEBUG)
    before = root.level
    root.addHandler(keep)
    root.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        root.removeHandler(keep)
        root.setLevel(before)
        into["log of this process"] = "\n".join(lines).encode()


async def sign_in(life: Life, sandbox: SandboxThread, cloud: Cloud) -> None:
    """A person signs in through the browser, and the token is renewed once."""
    settings = Settings(home=life.home, development=True)
    async with Hub.open(settings) as hub:
        browser = DemoSandbox(sandbox.running.summary(), hub.opener.transport.trusting(cloud.ca_file))
        wish = Wish(provider="business_central", cloud=cloud, tenant="", environment="Production", name="person")
        arrived: asyncio.Future[dict[str, str]] = asyncio.get_running_loop().create_future()

        async def called_back(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            line = (await reader.readuntil(b"\r\n\r\n")).split(b" ")[1].decode()
            arrived.set_result(dict(URL(line).query))
            writer.write(b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(called_back, "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            started = await hub.signing_in.start(
                wish,
                client_id=WEB_APP_ID,
                secret=Secret(WEB_APP_SECRET),
                redirect_uri=f"http://127.0.0.1:{port}/callback",
            )
            await browser.answer_sign_in(started.url)
            parameters = await asyncio.wait_for(arrived, WAIT_MAX_S)
        life.secrets += [parameters["code"], parameters["state"]]
        connection = await hub.signing_in.finish(parameters, ForgetfulJournal())
        assert (await hub.check(connection, just_consented=True)).failure is None
        async with hub.db.project(hub.project.id) as tx:
            await grants.forget_access_token(tx, (await connections.get(tx, connection.id)).grant_id)
        assert (await hub.check(connection)).failure is None


async def live(life: Life, sandbox: SandboxThread, receiver: WebhookReceiver) -> None:
    """Everything that can happen to a secret, good and bad."""
    addresses = sandbox.addresses
    cloud = Cloud(
        name="sandbox",
        title="Sandbox",
        login_url=addresses.login_url,
        business_central_url=addresses.business_central_url,
        ca_file=addresses.ca_file,
    )
    cloud_file = life.home / "cloud.json"
    cloud_file.write_text(json.dumps({name: getattr(cloud, name) for name in cloud.__struct_fields__}))
    run = life.run
    connect = ("connect", "business-central", "--cloud", str(cloud_file), "--tenant", TENANT_ID,
               "--client-id", CONFIDENTIAL_APP_ID)  # fmt: skip
    await asyncio.to_thread(run, *connect, "--name", "good", "--json")
    await asyncio.to_thread(run, *connect, "--name", "bad", secret=WRONG_SECRET)
    await sign_in(life, sandbox, cloud)
    await asyncio.to_thread(run, "sync", "create", "customers", "-c", "good", "--company", US_COMPANY)
    shown = await asyncio.to_thread(run, "destination", "webhook", "host", receiver.url, "--json")
    life.shown_once = life.printed.popitem()[1]
    receiver.secret = json.loads(shown)["secret"]
    life.secrets.append(receiver.secret.removeprefix("whsec_"))

    sandbox.fault("status", path="/customers", status=500, body=ECHO, count=1)
    sandbox.fault("status", path="/customers", status=400, body=ECHO, count=None)
    await asyncio.to_thread(run, "sync", "run", "customers", "--json")
    await asyncio.to_thread(run, "read", "customers", "-c", "good")
    await asyncio.to_thread(run, "vault", "rotate", "data")
    await asyncio.to_thread(run, "vault", "rotate", "master")
    sandbox.call(sandbox.estate.faults.reset)
    sandbox.fault("status", path="/companies", status=401, body=ECHO, count=None)
    await asyncio.to_thread(run, "check", "good", "--json")
    sandbox.call(sandbox.estate.faults.reset)
    sandbox.fault("status", path="/token", status=400, body=TOKEN_ECHO, count=1)
    await asyncio.to_thread(run, "check", "bad")
    sandbox.call(sandbox.estate.faults.reset)
    await asyncio.to_thread(run, "check", "good", "--json")
    sandbox.fault("drop", path="/token", count=1)
    await asyncio.to_thread(run, "check", "person")
    sandbox.call(sandbox.estate.faults.reset)
    with WorkerProcess(life.environment, life.home / "worker.log") as worker:
        await asyncio.to_thread(worker.wait_until_ready)
        sandbox.fault("lose_answer", path="/customers", count=1)
        await asyncio.to_thread(run, "sync", "run", "customers", "--json")

        async def delivered() -> bool:
            return bool(receiver.changes)

        await until(delivered, "nothing was delivered")
        worker.stop()
    listed = await asyncio.to_thread(run, "runs", "--json")
    for looking in (("connections",), ("requests", json.loads(listed)[0]["id"]), ("doctor",)):
        await asyncio.to_thread(run, *looking, "--json")
    await asyncio.to_thread(run, "check", "good", code=DEFECT)
    life.secrets.append((life.home / "master.key").read_text().strip())


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def life(sandbox_server: SandboxThread) -> AsyncIterator[Life]:
    """A life that has been lived once for all tests of this module; its database still runs."""
    sandbox_server.reset("empty")

    def prepare() -> None:
        service = sandbox_server.estate.business_central
        add_demo_tenant(sandbox_server.directory, service)
        changes.seed(service, service.place(US_COMPANY, "customers"), 50)

    sandbox_server.call(prepare)
    home = Path(tempfile.mkdtemp(prefix="isthmus-canary-"))
    async with EmbeddedPostgres(home / "postgres") as server, WebhookReceiver() as receiver:
        lived = Life(home, server.url)
        with logged(lived.printed):
            await live(lived, sandbox_server, receiver)
        yield lived
    shutil.rmtree(home, ignore_errors=True)


def found(life: Life, places: dict[str, bytes]) -> list[str]:
    """Leaks, but for the master key in its own file."""
    return [leak for leak in leaks(places, life.secrets) if not leak.startswith("master.key:")]


async def test_life_was_full_enough_to_mean_something(life: Life) -> None:
    printed = b"".join(life.printed.values())
    assert b"DEBUG" in printed
    assert b"7000215" in printed
    assert b"RuntimeError" in printed
    assert printed.count(b"was sent with client_secret=") >= 2
    assert b"whsec_" in life.shown_once
    with psycopg.connect(life.url) as connection:
        sealed = connection.execute(
            """SELECT count(secret_sealed), count(access_token_sealed), count(refresh_token_sealed)
               FROM isthmus.grants"""
        ).fetchone()
        journal = connection.execute("SELECT count(*) FROM isthmus.request_journal").fetchone()
        records = connection.execute("SELECT count(*) FROM isthmus.records").fetchone()
    assert sealed is not None
    assert all(count > 0 for count in sealed)
    assert journal is not None
    assert journal[0] > 2
    assert records == (50,)


@pytest.mark.conformance("OA-53")
async def test_nothing_that_was_printed_or_logged_holds_a_secret(life: Life) -> None:
    assert found(life, life.printed) == []


@pytest.mark.conformance("OA-53")
async def test_a_backup_holds_no_secret(life: Life) -> None:
    assert found(life, {"backup": life.backup()}) == []


@pytest.mark.conformance("OA-53")
async def test_no_file_of_the_data_folder_holds_a_secret(life: Life) -> None:
    assert found(life, life.everything()) == []


async def test_the_key_file_is_for_its_owner_only(life: Life) -> None:
    assert (life.home / "master.key").stat().st_mode & 0o077 == 0


async def test_a_secret_that_leaks_into_a_table_a_log_or_a_file_is_found(life: Life) -> None:
    assert leaks({"log": b"DEBUG sent " + WEB_APP_SECRET.encode()})
    for spelling in spellings(CONFIDENTIAL_APP_SECRET.encode()):
        assert leaks({"log": b"xx" + spelling + b"yy"}), spelling
    with psycopg.connect(life.url, autocommit=True) as connection:
        connection.execute(
            "UPDATE isthmus.grants SET settings = settings || jsonb_build_object('leak', %s::text)",
            (CONFIDENTIAL_APP_SECRET,),
        )
    places = life.everything()
    assert found(life, {"backup": places["backup"]})
    assert [leak for leak in found(life, places) if leak.startswith("postgres/base/")]
    assert [leak for leak in found(life, places) if leak.startswith("postgres/pg_wal/")]


@pytest.mark.conformance("OA-53")
def test_messages_keep_headers_forms_and_bodies_out_of_their_repr() -> None:
    request = Request(
        method="POST",
        url=f"https://login.example/token?code={WRONG_SECRET}",
        headers={"Authorization": f"Bearer {WRONG_SECRET}"},
        body=f"client_secret={WRONG_SECRET}".encode(),
        purpose="token",
    )
    answer: Any = Response(status=200, headers={"x-secret": WRONG_SECRET}, body=WRONG_SECRET.encode())
    assert leaks({"repr": f"{request!r} {answer!r} {[request, answer]}".encode()}) == []
    assert repr(request) == "Request(POST https://login.example/token, token)"
