"""What a customer agreed to on the connect page, kept with the connection; and what nobody has asked them for.

It is told, not enforced: the vendor's permission is wider than the list, and a host may need something more tomorrow.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec

from isthmus.connections.integrations import SharedObject, plain_title
from isthmus.store import connections
from isthmus.store.connect_sessions import ConnectSession
from isthmus.store.database import Transaction
from isthmus.store.rows import Connection

KEPT_AS: Final = "agreed"
"""The name in a session's inputs, from the moment of agreeing, and in the connection's settings afterwards."""


class Agreement(msgspec.Struct, frozen=True, kw_only=True):
    """What was on the page when somebody accepted it, when, and in which connect session."""

    at: datetime
    session: UUID
    objects: list[SharedObject]


async def keep_agreement(tx: Transaction, session: ConnectSession, connection: Connection) -> Connection:
    """Keep what was agreed to with the connection that came of it; a later agreement replaces it."""
    if session.accepted_at is None or KEPT_AS not in session.inputs:
        return connection
    agreement = {"at": session.accepted_at, "session": session.id, "objects": session.inputs[KEPT_AS]}
    await connections.update(tx, connection.id, settings={KEPT_AS: msgspec.to_builtins(agreement)})
    return await connections.get(tx, connection.id)


def agreement_of(connection: Connection) -> Agreement | None:
    """What was agreed to; None where nobody was asked on a page, or before this was kept."""
    kept = connection.settings.get(KEPT_AS)
    try:
        return None if kept is None else msgspec.convert(kept, Agreement)
    except msgspec.ValidationError:
        return None


def not_asked_for(connection: Connection, object: str, *, write: bool = False) -> str:
    """What the customer was not asked for, as a sentence; empty where they were, or where the page named no objects."""
    agreement = agreement_of(connection)
    if agreement is None or not agreement.objects:
        return ""
    named = next((each for each in agreement.objects if each.object.casefold() == object.casefold()), None)
    who, words = connection.name, plain_title(object).lower()
    if named is None:
        return f"{who} was not asked for {words if words == object.lower() else f'{words} ({object})'}."
    if write and named.access != "write":
        return f"{who} was asked for {named.shown.lower()} to be read, not to be changed."
    return ""
