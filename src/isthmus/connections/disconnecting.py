"""Ending a connection: its credentials go, its work stops, its data stays or goes as asked.

Entra offers an app no way to hand a refresh token back: what can be revoked is revoked here, by forgetting every secret
and token for good. The consent itself is taken back by an administrator (`AT_THE_VENDOR` says where).
"""

from __future__ import annotations

from typing import Final
from uuid import UUID

import msgspec

from isthmus.connections.opening import Opener
from isthmus.store import audit, connections, disconnecting, events, notices, staging
from isthmus.store.database import Database, Transaction
from isthmus.store.disconnecting import Losses

AT_THE_VENDOR: Final = (
    "Isthmus has forgotten its secrets and tokens. To take the consent back as well, an administrator removes the app "
    "in Entra (Enterprise applications → the app → Properties → Delete) and on “Microsoft Entra Applications” inside "
    "Business Central."
)


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a connection. `forgotten`: no other connection uses its sign-in, so the secrets are gone."""

    name: str
    erased: bool
    forgotten: bool
    losses: Losses
    at_the_vendor: str = AT_THE_VENDOR


async def losses(db: Database, project_id: UUID, connection_id: UUID) -> Losses:
    """What ending the connection stops, and what erasing it would lose."""
    async with db.project(project_id) as tx:
        return await disconnecting.losses(tx, connection_id)


async def disconnect(
    db: Database, opener: Opener, project_id: UUID, connection_id: UUID, *, erase: bool, actor: str
) -> Ended:
    """End the connection. Runs stop, writes that were not sent yet fail; with `erase` records, syncs, history and the
    connection itself go, otherwise they stay and connecting again under the same name goes on with them.

    Changes that were found before are still delivered when the data is kept: the host's copy stays like ours.
    """

    async def work(tx: Transaction) -> Ended:
        connection = await connections.get(tx, connection_id)
        lost = await disconnecting.losses(tx, connection_id)
        forgotten = await disconnecting.only_user(tx, connection.grant_id, connection_id)
        await disconnecting.stop_work(tx, connection_id)
        if forgotten:
            await staging.forget_everything(tx, connection.grant_id)
        data = {"name": connection.name, "data": "erased" if erase else "kept"}
        await events.append(
            tx, type="connection.disconnected", subject={"connection_id": str(connection_id)}, data=data
        )
        await notices.add(
            tx,
            kind="connection_disconnected",
            reason="disconnected",
            connection_id=None if erase else connection_id,
            about=str(connection_id),
            detail={
                "connection": connection.name,
                "title": "Disconnected",
                "remedy": "Its data was erased." if erase else "Its data was kept.",
            },
        )
        await audit.note(
            tx,
            actor=actor,
            action="connection.disconnect",
            subject=str(connection_id),
            detail={**data, **msgspec.to_builtins(lost)},
        )
        if erase:
            await connections.delete(tx, connection_id)
        else:
            await connections.set_state(tx, connection_id, "disconnected")
        return Ended(name=connection.name, erased=erase, forgotten=forgotten, losses=lost)

    ended = await db.transact(project_id, work)
    async with db.project(project_id) as tx:
        grant_id = await tx.value("SELECT grant_id FROM connections WHERE id = %s", (connection_id,))
    if grant_id is not None and ended.forgotten:
        opener.forget_tokens(grant_id)
    return ended
