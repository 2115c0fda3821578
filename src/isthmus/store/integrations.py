"""Integrations: what a project sets up once per provider, and how its connect pages look."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import msgspec
import psycopg
from psycopg.types.json import Jsonb

from isthmus.kernel.failures import Duplicate, RecordNotFound
from isthmus.kernel.ids import new_id
from isthmus.store.database import Transaction
from isthmus.store.rows import Grant

INTEGRATIONS_MAX: Final = 200
"""Listed at once."""


class Integration(msgspec.Struct, frozen=True, kw_only=True):
    """A provider as a project uses it. `client_id` is the host's own app, empty when every consumer brings its own;
    `tenant` is the only organization that this app serves, empty for any;
    `objects` are {object, access, reason, title}; `modes` are the allowed ways to connect. A `staged` credential waits
    beside the one in use.
    """

    id: UUID
    project_id: UUID
    provider: str
    name: str
    client_id: str
    secret_sealed: bytes | None
    secret_expires_at: datetime | None
    certificate_sealed: bytes | None
    cloud: dict[str, Any]
    scopes: list[str]
    objects: list[dict[str, Any]]
    modes: list[str]
    created_at: datetime
    updated_at: datetime
    tenant: str = ""
    staged_secret_sealed: bytes | None = None
    staged_certificate_sealed: bytes | None = None
    staged_expires_at: datetime | None = None
    staged_from: datetime | None = None
    staged_at: datetime | None = None
    warned_days: int | None = None

    @property
    def has_credential(self) -> bool:
        """True when the host's app can prove itself."""
        return self.secret_sealed is not None or self.certificate_sealed is not None


class ConnectPage(msgspec.Struct, frozen=True, kw_only=True):
    """How a project's connect pages look and where they may lead back to. `accent` is `#rrggbb` or empty."""

    host_name: str = ""
    accent: str = ""
    logo: bytes | None = None
    logo_type: str = ""
    support: str = ""
    privacy_url: str = ""
    allowed_origins: list[str] = []


async def create(
    tx: Transaction,
    *,
    provider: str,
    name: str,
    client_id: str,
    cloud: dict[str, Any],
    scopes: Sequence[str] = (),
    objects: Sequence[dict[str, Any]] = (),
    modes: Sequence[str] = (),
    integration_id: UUID | None = None,
    tenant: str = "",
) -> Integration:
    """A new integration without a secret; seal it for its id and store it with `app_secrets.put_in_use`.

    Raises Duplicate.
    """
    try:
        made = await tx.row(
            Integration,
            """INSERT INTO integrations (id, project_id, provider, name, client_id, cloud, scopes, objects, modes,
                                         tenant)
               VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s) RETURNING *""",
            (
                integration_id or new_id(),
                tx.project_id,
                provider,
                name,
                client_id,
                Jsonb(cloud),
                list(scopes),
                Jsonb(list(objects)),
                list(modes),
                tenant,
            ),
        )
    except psycopg.errors.UniqueViolation as error:
        raise Duplicate(f"There is an integration named “{name}” already.", subject=name) from error
    assert made is not None
    return made


async def get(tx: Transaction, integration_id: UUID, *, lock: bool = False) -> Integration:
    """One integration, with `lock` held until the transaction ends. Raises RecordNotFound."""
    query = "SELECT * FROM integrations WHERE id = %s"
    found = await tx.row(Integration, query + " FOR NO KEY UPDATE" if lock else query, (integration_id,))
    if found is None:
        raise RecordNotFound(
            f"There is no integration {integration_id}.", remedy="List the integrations again.", subject="integration"
        )
    return found


async def named(tx: Transaction, name: str) -> Integration | None:
    """The integration of that name."""
    return await tx.row(Integration, "SELECT * FROM integrations WHERE name = %s", (name,))


async def every(tx: Transaction) -> list[Integration]:
    """The project's integrations, oldest first."""
    return await tx.rows(Integration, "SELECT * FROM integrations ORDER BY id LIMIT %s", (INTEGRATIONS_MAX,))


async def update(
    tx: Transaction,
    integration_id: UUID,
    *,
    name: str | None = None,
    client_id: str | None = None,
    cloud: dict[str, Any] | None = None,
    scopes: Sequence[str] | None = None,
    objects: Sequence[dict[str, Any]] | None = None,
    modes: Sequence[str] | None = None,
    tenant: str | None = None,
) -> Integration:
    """Change what is not None. Raises Duplicate for a name that is taken, RecordNotFound."""
    try:
        await tx.execute(
            """UPDATE integrations SET name = coalesce(%s, name), client_id = coalesce(%s, client_id),
                   cloud = coalesce(%s, cloud), scopes = coalesce(%s::text[], scopes),
                   objects = coalesce(%s, objects), modes = coalesce(%s::text[], modes),
                   tenant = coalesce(%s, tenant), updated_at = now()
               WHERE id = %s""",
            (
                name,
                client_id,
                None if cloud is None else Jsonb(cloud),
                None if scopes is None else list(scopes),
                None if objects is None else Jsonb(list(objects)),
                None if modes is None else list(modes),
                tenant,
                integration_id,
            ),
        )
    except psycopg.errors.UniqueViolation as error:
        raise Duplicate(f"There is an integration named “{name}” already.", subject=name) from error
    return await get(tx, integration_id)


async def delete(tx: Transaction, integration_id: UUID) -> None:
    """Forget an integration and its connect sessions; connections that were made through it stay."""
    await tx.execute("DELETE FROM integrations WHERE id = %s", (integration_id,))


async def connections_by_integration(tx: Transaction) -> dict[UUID, int]:
    """How many connections were made through each."""
    rows = await tx.tuples(
        "SELECT integration_id, count(*) FROM connections WHERE integration_id IS NOT NULL GROUP BY 1"
    )
    return {row[0]: int(row[1]) for row in rows}


async def names_by_connection(tx: Transaction) -> dict[UUID, str]:
    """The name of the integration through which each connection was made."""
    rows = await tx.tuples("SELECT c.id, i.name FROM connections c JOIN integrations i ON i.id = c.integration_id")
    return {row[0]: str(row[1]) for row in rows}


async def grants_of(tx: Transaction, integration_id: UUID, client_id: str) -> list[Grant]:
    """The grants of its connections that sign in with this app."""
    return await tx.rows(
        Grant,
        """SELECT * FROM grants WHERE client_id = %s AND id IN (
               SELECT grant_id FROM connections WHERE integration_id = %s) ORDER BY id""",
        (client_id, integration_id),
    )


async def assign(tx: Transaction, connection_id: UUID, integration_id: UUID | None) -> None:
    """Say through which integration a connection was made."""
    await tx.execute("UPDATE connections SET integration_id = %s WHERE id = %s", (integration_id, connection_id))


async def integration_of(tx: Transaction, connection_id: UUID) -> Integration | None:
    """The integration through which a connection was made."""
    return await tx.row(
        Integration,
        "SELECT i.* FROM integrations i JOIN connections c ON c.integration_id = i.id WHERE c.id = %s",
        (connection_id,),
    )


async def connect_page(tx: Transaction) -> ConnectPage:
    """How this project's connect pages look; the plain page when nobody has said anything."""
    found = await tx.row(
        ConnectPage,
        "SELECT host_name, accent, logo, logo_type, support, privacy_url, allowed_origins FROM connect_pages",
    )
    return found or ConnectPage()


async def save_connect_page(tx: Transaction, page: ConnectPage) -> None:
    """Keep how the pages look, as a whole."""
    await tx.execute(
        """INSERT INTO connect_pages (project_id, host_name, accent, logo, logo_type, support, privacy_url,
                                      allowed_origins)
           VALUES (%s, %s, %s, %s, %s, %s, %s, %s)
           ON CONFLICT (project_id) DO UPDATE SET host_name = excluded.host_name, accent = excluded.accent,
               logo = excluded.logo, logo_type = excluded.logo_type, support = excluded.support,
               privacy_url = excluded.privacy_url, allowed_origins = excluded.allowed_origins, updated_at = now()""",
        (
            tx.project_id,
            page.host_name,
            page.accent,
            page.logo,
            page.logo_type,
            page.support,
            page.privacy_url,
            page.allowed_origins,
        ),
    )
