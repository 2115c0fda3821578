"""What every way of making a connection needs: where it shall lead, who is asked first, and the row of that name."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec

from isthmus.auth.entra.clouds import Cloud
from isthmus.connections.credentials import GrantKind
from isthmus.kernel.failures import InvalidInput
from isthmus.store import connections, events, grants
from isthmus.store.database import Transaction
from isthmus.store.rows import Connection, Grant

SHARED_TENANT: Final = "organizations"
"""Where a person signs in whose tenant is not known yet; the id_token then names it."""

Guard = Callable[[Transaction], Awaitable[object]]
"""Asked in the transaction that is going to change a connection; raises when that may not be done any more."""


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """Where a connection shall lead. `name` is how people will call it."""

    provider: str
    cloud: Cloud
    tenant: str
    environment: str
    name: str


async def ask(guard: Guard | None, tx: Transaction) -> None:
    """Let the guard speak, where there is one."""
    if guard is not None:
        await guard(tx)


async def ensure_connection(tx: Transaction, wish: Wish, kind: str, client_id: str) -> tuple[Connection, Grant]:
    """The connection of that name, made when it is missing; another place under the same name is refused."""
    cloud: dict[str, Any] = msgspec.to_builtins(wish.cloud)
    present = next((each for each in await connections.every(tx) if each.name == wish.name), None)
    if present is None:
        grant = await grants.create(
            tx, provider=wish.provider, kind=kind, cloud=cloud, tenant=wish.tenant, client_id=client_id
        )
        created = await connections.create(
            tx, grant_id=grant.id, provider=wish.provider, environment=wish.environment, name=wish.name
        )
        await events.append(
            tx,
            type="connection.created",
            subject={"connection_id": str(created.id)},
            data={"name": created.name, "provider": created.provider},
        )
        return created, grant
    grant = await grants.get(tx, present.grant_id)
    # A person's tenant is told by the sign-in itself, whatever name of it was typed.
    same_tenant = kind == GrantKind.PERSON or grant.tenant.casefold() == wish.tenant.casefold()
    same_place = present.environment.casefold() == wish.environment.casefold() and same_tenant
    if not same_place or grant.kind != kind:
        raise InvalidInput(
            f"There is a connection named “{wish.name}” already, and it leads elsewhere or signs in differently.",
            remedy="Choose another name, or disconnect that one first. Where only its environment is another, change "
            "that: the connection keeps what it has read.",
            subject=wish.name,
        )
    return present, grant
