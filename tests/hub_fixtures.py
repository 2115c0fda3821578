"""A hub over the test database and the sandbox, and the command line as a person uses it; rooms import what they want.

Every test has a project of its own in one shared database, so nothing has to be cleaned up between tests.
"""

from __future__ import annotations

import base64
import contextlib
import io
import itertools
import json
import os
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urljoin, urlsplit

import msgspec
import psycopg
import pytest
from tests.running_sandbox import SandboxThread

from isthmus.actions.reading.setup import SyncWish
from isthmus.app import ForgetfulJournal, Hub
from isthmus.auth.entra.clouds import Cloud
from isthmus.cli import main
from isthmus.connections.credentials import AppCredentials
from isthmus.connections.making import Wish
from isthmus.kernel.ids import new_id
from isthmus.kernel.messages import Request, Response
from isthmus.settings import Settings
from isthmus.store import connections, feed, runs, syncs
from isthmus.store.rows import Change, Connection, Progress, Run, RunKind, Sync
from isthmus.vault.keys import key_id
from isthmus.vault.secrets import Secret
from isthmus_sandbox.business_central import changes
from isthmus_sandbox.business_central.service import BusinessCentralService, Place
from isthmus_sandbox.worlds import identities

__all__ = ["House", "Typed", "house", "master_key"]

MASTER_KEY = base64.b64encode(bytes(range(32))).decode()
MASTER_KEY_ID = key_id(bytes(range(32))).hex()
US, W1 = identities.US_COMPANY, identities.W1_COMPANY
US_ID, W1_ID = identities.US_COMPANY_ID, identities.W1_COMPANY_ID
_REDIRECTS_MAX = 6
_NAMES = itertools.count(1)


class Typed(msgspec.Struct, frozen=True, kw_only=True):
    """What a command answered: exit code and both outputs."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one JSON document on stdout."""
        return json.loads(self.out)

    @property
    def lines(self) -> list[Any]:
        """The JSON documents on stdout, one a line."""
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def words(self) -> str:
        """Everything a person sees, with line breaks and runs of blanks as one blank."""
        return " ".join((self.out + " " + self.err).split())

    @property
    def error(self) -> dict[str, Any]:
        """The failure that `--json` prints."""
        found: dict[str, Any] = self.json["error"]
        return found


class House:
    """One project over the shared database, next to a sandbox in the `cronus` world."""

    def __init__(self, settings: Settings, sandbox: SandboxThread, environ: dict[str, str]) -> None:
        self.settings = settings
        self.sandbox = sandbox
        self._environ = environ

    # -- places --------------------------------------------------------------------------------------------------

    @property
    def cloud(self) -> Cloud:
        """The sandbox as a cloud."""
        return self.cloud_named("public")

    def cloud_named(self, name: str) -> Cloud:
        """One of the sandbox's clouds; all of them know the one Business Central."""
        addresses = self.sandbox.addresses
        return Cloud(
            name="sandbox",
            title="The sandbox",
            login_url=addresses.login_urls[name],
            business_central_url=addresses.business_central_url,
            ca_file=addresses.ca_file,
        )

    def cloud_file(self) -> Path:
        """The sandbox's cloud as a file for `--cloud`."""
        path = self.settings.home / "cloud.json"
        path.write_bytes(msgspec.json.encode(self.cloud))
        return path

    def wish(self, **changed: str) -> Wish:
        """Where most tests connect to."""
        plain = {"tenant": identities.TENANT_ID, "environment": "Production", "name": "cronus"} | changed
        return Wish(provider="business_central", cloud=self.cloud, **plain)

    @asynccontextmanager
    async def hub(self) -> AsyncIterator[Hub]:
        """An opened hub, as another process would open it."""
        async with Hub.open(self.settings) as opened:
            yield opened

    async def connect(
        self,
        hub: Hub,
        *,
        client_id: str = identities.CONFIDENTIAL_APP_ID,
        secret: str = identities.CONFIDENTIAL_APP_SECRET,
        **place: str,
    ) -> Connection:
        """A checked connection of an app."""
        app = AppCredentials(client_id=client_id, secret=Secret(secret))
        connection = await hub.connecting.with_app(self.wish(**place), app)
        return (await hub.check(connection)).connection

    # -- the sandbox's business central --------------------------------------------------------------------------

    def place(self, set_name: str, company: str = US, *, route: str = "v2.0", environment: str = "Production") -> Place:
        """A table of the sandbox."""
        return self.service.place(company, set_name, environment=environment, tenant=None, route=route)

    @property
    def service(self) -> BusinessCentralService:
        """The simulator, for use inside `sandbox.call`."""
        return self.sandbox.estate.business_central

    def switch(self, *, environment: str = "Production", **values: Any) -> None:
        """Set switches of an environment."""
        self.sandbox.call(lambda: self.service.environment_named(environment, None).switches.change(**values))

    def insert(self, set_name: str, count: int = 1, company: str = US, **how: Any) -> list[str]:
        """Add records in the sandbox; their ids."""
        return self.sandbox.call(
            lambda: changes.insert(self.service, self.place(set_name, company), count=count, **how)
        )

    def change(self, set_name: str, count: int = 1, company: str = US, **how: Any) -> list[str]:
        """Change records in the sandbox; their ids."""
        wanted = how if "ids" in how else {"count": count, **how}
        return self.sandbox.call(lambda: changes.change(self.service, self.place(set_name, company), **wanted))

    def delete(self, set_name: str, count: int = 1, company: str = US, **how: Any) -> list[str]:
        """Delete records in the sandbox; their ids."""
        wanted = how if "ids" in how else {"count": count}
        return self.sandbox.call(lambda: changes.delete(self.service, self.place(set_name, company), **wanted))

    def restamp(self, set_name: str, company: str = US) -> int:
        """Give every record a new stamp and no new content."""
        return self.sandbox.call(lambda: changes.restamp(self.service, self.place(set_name, company)))

    def seed(self, set_name: str, count: int, company: str = US, **how: Any) -> int:
        """Many generated records at once."""
        return self.sandbox.call(lambda: changes.seed(self.service, self.place(set_name, company), count, **how))

    def count(self, set_name: str, *companies: str, route: str = "v2.0") -> int:
        """How many records the sandbox has of a set."""

        def counted() -> int:
            places = [self.place(set_name, company, route=route) for company in companies or (US, W1)]
            return sum(len(self.service.table(place.company, place.entity)) for place in places)

        return self.sandbox.call(counted)

    def requests(self, containing: str = "") -> list[dict[str, Any]]:
        """The requests that Business Central received."""
        return self.sandbox.journal(server="business-central", path_contains=containing, limit=10_000)

    # -- reading -------------------------------------------------------------------------------------------------

    async def sync(self, hub: Hub, connection: Connection, name: str, **wish: Any) -> Sync:
        """A sync, checked and kept."""
        sync, _ = await hub.create_sync(connection, SyncWish(object=name, **wish))
        return sync

    async def run(self, hub: Hub, sync: Sync, kind: RunKind | None = None, **options: Any) -> tuple[Run, Progress]:
        """A run from its request to its end, in this process."""
        requested, _ = await hub.begin_run(sync.id, kind, options)
        ended = await hub.perform(requested)
        async with hub.db.project(hub.project.id) as tx:
            return ended, await runs.progress(tx, ended.id)

    async def changes_after(self, hub: Hub, number: int) -> list[Change]:
        """The feed after a number."""
        async with hub.db.project(hub.project.id) as tx:
            return (await feed.read(tx, number, 5_000)).changes

    async def head(self, hub: Hub) -> int:
        """The feed's last number."""
        async with hub.db.project(hub.project.id) as tx:
            return await feed.head(tx)

    async def stored(self, hub: Hub, sync: Sync) -> int:
        """Present records of a sync."""
        async with hub.db.project(hub.project.id) as tx:
            return sum((await syncs.stream_counts(tx, sync.id)).values())

    async def state(self, hub: Hub, connection: Connection) -> Connection:
        """The connection as it is now."""
        async with hub.db.project(hub.project.id) as tx:
            return await connections.get(tx, connection.id)

    # -- a person ------------------------------------------------------------------------------------------------

    def type(self, *arguments: str, **environ: str) -> Typed:
        """Run a command in this process, as `isthmus …` would."""
        out, err = io.TextIOWrapper(io.BytesIO(), "utf-8"), io.StringIO()
        with _environment(self._environ | environ), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main(list(arguments))
        out.flush()
        buffer = out.buffer
        assert isinstance(buffer, io.BytesIO)
        return Typed(code=code, out=buffer.getvalue().decode(), err=err.getvalue())

    def environ(self, **more: str) -> dict[str, str]:
        """The environment of a command in a process of its own."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("ISTHMUS_")}
        return kept | self._environ | more

    def type_connect(self, *more: str) -> Typed:
        """Connect the demo app by command."""
        given = {
            "--tenant": identities.TENANT_ID,
            "--client-id": identities.CONFIDENTIAL_APP_ID,
            "--client-secret": identities.CONFIDENTIAL_APP_SECRET,
            "--name": "cronus",
        }
        given |= dict(zip(more[::2], more[1::2], strict=True))
        arguments = [part for pair in given.items() for part in pair if pair[1]]
        return self.type("connect", "business-central", "--cloud", str(self.cloud_file()), *arguments)

    async def browse(self, hub: Hub, url: str, *, answer: str = "accept", user: str = "") -> dict[str, str]:
        """Do what a person does in the browser; the parameters that come back to the redirect address.

        Empty when the vendor's page never redirects there.
        """
        transport = hub.opener.transport.trusting(self.cloud.ca_file)
        back = dict(parse_qsl(urlsplit(url).query))["redirect_uri"]
        address = f"{url}&sandbox_auto={answer}" + (f"&login_hint={user}" if user else "")
        for _ in range(_REDIRECTS_MAX):
            response: Response = await transport.send(Request(method="GET", url=address))
            location = response.headers.get("location")
            if location is None:
                return {}
            address = urljoin(address, location)
            if address.startswith(back):
                return dict(parse_qsl(urlsplit(address).query))
        return {}

    async def sign_in(self, hub: Hub, *, user: str = "", answer: str = "accept", **place: str) -> Connection:
        """A person's whole sign-in; not checked yet."""
        started = await hub.signing_in.start(
            self.wish(**{"tenant": "", **place}),
            client_id=identities.WEB_APP_ID,
            secret=Secret(identities.WEB_APP_SECRET),
            redirect_uri="http://localhost:1/",
        )
        came_back = await self.browse(hub, started.url, answer=answer, user=user)
        return await hub.signing_in.finish(came_back, ForgetfulJournal())

    def token_requests(self, client_id: str = identities.CONFIDENTIAL_APP_ID) -> int:
        """How often an app asked for tokens, whatever came of it."""
        return sum(self.sandbox.token_requests(client_id).values())


@contextlib.contextmanager
def _environment(wanted: dict[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    for name in [name for name in os.environ if name.startswith("ISTHMUS_")]:
        del os.environ[name]
    os.environ.update(wanted)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@pytest.fixture(scope="session")
def master_key() -> str:
    """One key for all projects of the test database."""
    return MASTER_KEY


def make_project(connection: psycopg.Connection[Any], name: str, *, development: bool = True) -> None:
    """A project in a database where others may be; a development project, as receivers of tests are on this machine."""
    made = new_id()
    connection.execute(
        "INSERT INTO isthmus.projects (id, name, development) VALUES (%s, %s, %s)", (made, name, development)
    )
    connection.execute("INSERT INTO isthmus.feed_counters (project_id) VALUES (%s)", (made,))


@pytest.fixture
def house(sandbox: SandboxThread, database_url: str, master_key: str, tmp_path: Path) -> House:
    """A project of its own, with nothing in it. The vendor has forgotten what earlier tests asked for: so must we.

    Keys that tests without a hub have left are forgotten too: a database has one master key.
    """
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("DELETE FROM isthmus.budgets")
        connection.execute("DELETE FROM isthmus.project_keys WHERE master_key_id <> %s", (MASTER_KEY_ID,))
        project = f"p{next(_NAMES)}-{uuid.uuid4().hex[:8]}"
        make_project(connection, project)
    environ = {
        "ISTHMUS_HOME": str(tmp_path),
        "ISTHMUS_DATABASE_URL": database_url,
        "ISTHMUS_MASTER_KEY": master_key,
        "ISTHMUS_PROJECT": project,
        "ISTHMUS_DEVELOPMENT": "1",
        "COLUMNS": "200",
    }
    settings = Settings(
        home=tmp_path, database_url=database_url, master_key=master_key, project=project, development=True
    )
    return House(settings, sandbox, environ)
