"""Many connections in a fresh data folder, made by SQL in one go: as if a thousand consumers had connected long ago.

Each has its own tenant, grant, company and description of its objects, and syncs whose first load is over. Tokens are
sealed in their rows as a sign-in would leave them. Nothing else is special: `isthmus worker` works on them.
"""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from psycopg.types.json import Jsonb

from benchmarks.page_server import record
from isthmus.actions.reading.drift import fields_of
from isthmus.app import Hub
from isthmus.connections.credentials import seal_token
from isthmus.kernel.ids import new_id
from isthmus.providers.base import Field, ObjectInfo
from isthmus.settings import Settings

OBJECTS: Final = (
    "customers", "vendors", "items", "salesInvoices", "salesOrders", "purchaseInvoices", "purchaseOrders",
    "generalLedgerEntries", "accounts", "employees",
)  # fmt: skip
_OTHER_OBJECTS: Final = 70
"""Described beside those that are read: a real environment has about eighty."""

COMPANY_ID: Final = "00000000-0000-0000-0000-00000000c0de"


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that signs itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "isthmus bench")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=2))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    certificate_file, key_file = folder / "bench.pem", folder / "bench.key"
    certificate_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return certificate_file, key_file


def described(name: str) -> ObjectInfo:
    """An object with the fields of the page server's records."""
    fields = [Field(name=each, type="Edm.String") for each in record(0) if "@odata" not in each]
    return ObjectInfo(
        name=name, entity=name, route="v2.0", key=("id",), fields=tuple(fields), stamp="lastModifiedDateTime"
    )


class Crowd:
    """The connections of one hub. `first_due_s` of `add` spreads the syncs over their first interval."""

    def __init__(self, hub: Hub, origin: str, certificate: Path) -> None:
        self.hub = hub
        self._origin = origin
        self._certificate = certificate

    async def add(
        self, connections: int, objects: int, *, schedule: str | None, spread_s: float = 0.0, loaded: bool = True
    ) -> list[tuple[UUID, UUID]]:
        """So many connections with so many syncs each; (connection, sync) of all. `loaded`: nothing but increments."""
        cloud = {
            "name": "bench",
            "title": "bench",
            "login_url": self._origin,
            "business_central_url": self._origin,
            "ca_file": str(self._certificate),
        }
        names = OBJECTS[:objects]
        every = [described(name) for name in (*OBJECTS, *(f"other{n}" for n in range(_OTHER_OBJECTS)))]
        document = msgspec.json.encode(every)
        made: list[tuple[UUID, UUID]] = []
        for start in range(0, connections, 100):
            made += await self._some(min(100, connections - start), names, document, cloud, loaded=loaded)
        if schedule is not None:
            await self._plan(schedule, spread_s)
        return made

    async def _some(
        self, count: int, names: tuple[str, ...], document: bytes, cloud: dict[str, Any], *, loaded: bool
    ) -> list[tuple[UUID, UUID]]:
        project = self.hub.project.id
        made: list[tuple[UUID, UUID]] = []
        known = Jsonb(fields_of(described(names[0])))
        async with self.hub.db.project(project) as tx, tx.connection.cursor() as cursor:
            for _ in range(count):
                grant, connection = new_id(), new_id()
                token = seal_token(self.hub.keyring, grant, "access_token_sealed", f"bench-{grant.hex}")
                await cursor.execute(
                    """INSERT INTO grants (id, project_id, provider, kind, cloud, tenant, client_id,
                                           access_token_sealed, access_expires_at, settings)
                       VALUES (%s, %s, 'business_central', 'client_credentials', %s, %s, 'bench', %s,
                               now() + interval '12 hours', %s)""",
                    (grant, project, Jsonb(cloud), f"t{grant.hex}", token, Jsonb({"tenant_id": grant.hex})),
                )
                await cursor.execute(
                    """INSERT INTO connections (id, project_id, grant_id, provider, environment, name, state)
                       VALUES (%s, %s, %s, 'business_central', 'Production', %s, 'connected')""",
                    (connection, project, grant, f"consumer {connection.hex}"),
                )
                await cursor.execute(
                    "INSERT INTO companies (project_id, connection_id, remote_id, name) VALUES (%s, %s, %s, 'One')",
                    (project, connection, COMPANY_ID),
                )
                await cursor.execute(
                    """INSERT INTO object_schemas (project_id, connection_id, route, document, hash, fetched_at)
                       VALUES (%s, %s, 'v2.0', %s, 'bench', now() + interval '12 hours')""",
                    (project, connection, document),
                )
                for name in names:
                    sync = new_id()
                    made.append((connection, sync))
                    await cursor.execute(
                        """INSERT INTO syncs (id, project_id, connection_id, object, route, known_fields)
                           VALUES (%s, %s, %s, %s, 'v2.0', %s)""",
                        (sync, project, connection, name, known),
                    )
                    if loaded:
                        await cursor.execute(
                            """INSERT INTO streams (project_id, sync_id, company, watermark, born_run)
                               VALUES (%s, %s, %s, now() - interval '1 day', %s)""",
                            (project, sync, COMPANY_ID, new_id()),
                        )
        return made

    async def _plan(self, schedule: str, spread_s: float) -> None:
        async with self.hub.db.project(self.hub.project.id) as tx:
            await tx.execute(
                """INSERT INTO schedules (sync_id, kind, project_id, spec, next_due)
                   SELECT id, 'incremental', project_id, %s, now() + make_interval(secs => random() * %s) FROM syncs""",
                (schedule, spread_s),
            )


@asynccontextmanager
async def crowd(folder: Path, origin: str, certificate: Path) -> AsyncIterator[Crowd]:
    """A fresh hub in the folder; its database runs until the block ends."""
    settings = Settings(home=folder, development=True)
    async with Hub.open(settings) as hub:
        yield Crowd(hub, origin, certificate)
