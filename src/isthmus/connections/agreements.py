"""What a customer agreed to on the connect page, kept with the connection; and what nobody has asked them for.

The vendor's permission is wider than the list. Where the integration said so on that page, the agreement *binds*: what
is not on the list is refused, before anything is sent. Else it is told: a host may need something more tomorrow. Which
of the two it is belongs to the agreement, so that a host cannot take it back without being accepted anew.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec

from isthmus.connections.integrations import SharedObject, plain_title
from isthmus.kernel.failures import NotAgreed
from isthmus.providers.base import ObjectInfo
from isthmus.store import connections
from isthmus.store.connect_sessions import ConnectSession
from isthmus.store.database import Transaction
from isthmus.store.rows import Connection

KEPT_AS: Final = "agreed"
"""The name in a session's inputs, from the moment of agreeing, and in the connection's settings afterwards."""

BINDS_AS: Final = "agreement_binds"
"""The name in a session's inputs of whether the page said that the list binds."""


class Agreement(msgspec.Struct, frozen=True, kw_only=True):
    """What was on the page when somebody accepted it, when, and in which connect session."""

    at: datetime
    session: UUID
    objects: list[SharedObject]
    binding: bool = False

    def covers(self, obj: ObjectInfo, *, write: bool = False) -> bool:
        """Whether it names the object, or everything that the object is a part of: lines come with their documents."""
        if self.names(obj.name, obj.entity, write=write):
            return True
        return bool(obj.parents) and all(self.names(each.object, write=write) for each in obj.parents)

    def called(self, obj: ObjectInfo) -> str:
        """How the page called an object, or would have."""
        named = next((each for each in self.objects if self._means(each, obj.name, obj.entity)), None)
        return named.shown if named is not None else plain_title(obj.name)

    def names(self, *names: str, write: bool = False) -> bool:
        """Whether one of these names is on the list."""
        return any(self._means(each, *names) and (each.access == "write" or not write) for each in self.objects)

    @staticmethod
    def _means(shared: SharedObject, *names: str) -> bool:
        return shared.object.casefold() in {name.casefold() for name in names}


async def keep_agreement(tx: Transaction, session: ConnectSession, connection: Connection) -> Connection:
    """Keep what was agreed to with the connection that came of it; a later agreement replaces it."""
    agreement = accepted_in(session)
    if agreement is None:
        return connection
    await connections.update(tx, connection.id, settings={KEPT_AS: msgspec.to_builtins(agreement)})
    return await connections.get(tx, connection.id)


def accepted_in(session: ConnectSession) -> Agreement | None:
    """What was accepted in a session; None before that."""
    if session.accepted_at is None or KEPT_AS not in session.inputs:
        return None
    return Agreement(
        at=session.accepted_at,
        session=session.id,
        objects=msgspec.convert(session.inputs[KEPT_AS], list[SharedObject]),
        binding=session.inputs.get(BINDS_AS) is True,
    )


def agreement_of(connection: Connection) -> Agreement | None:
    """What was agreed to; None where nobody was asked on a page, or before this was kept."""
    kept = connection.settings.get(KEPT_AS)
    try:
        return None if kept is None else msgspec.convert(kept, Agreement)
    except msgspec.ValidationError:
        return None


def binding_on(connection: Connection) -> Agreement | None:
    """The agreement that bounds what may be done with the connection; None where none binds."""
    agreement = agreement_of(connection)
    return agreement if agreement is not None and agreement.binding else None


def refuse_not_agreed(connection: Connection, obj: ObjectInfo, *, write: bool = False, below: str = "") -> None:
    """Raises NotAgreed for an object that a binding agreement does not cover; `below` names the object whose own part
    it is here.
    """
    agreement = binding_on(connection)
    if agreement is None or agreement.covers(obj, write=write):
        return
    if any(each.object == below for each in obj.parents):
        return  # what it is a part of was looked at
    what = f"reading {obj.name}"
    if write:
        what = f"changing {obj.name}" + (", only reading them" if agreement.covers(obj) else "")
    raise NotAgreed(
        f"{connection.name} is bound to what its customer accepted, and that does not include {what}.",
        subject=obj.name,
    )


def refuse_raw(connection: Connection) -> None:
    """Raises NotAgreed where an agreement binds: nobody could say what a raw call touches."""
    if binding_on(connection) is not None:
        raise NotAgreed(
            f"{connection.name} is bound to what its customer accepted, and nobody could say what a raw call touches.",
            remedy="Read it by a sync and write it as an operation: those are checked against the list.",
            subject="connection",
        )


def not_asked_for(connection: Connection, obj: ObjectInfo, *, write: bool = False) -> str:
    """What the customer was not asked for, as a sentence; empty where they were, or where the page named no objects."""
    agreement = agreement_of(connection)
    if agreement is None or not agreement.objects or agreement.covers(obj, write=write):
        return ""
    who, words = connection.name, agreement.called(obj).lower()
    if agreement.covers(obj):
        return f"{who} was asked for {words} to be read, not to be changed."
    return f"{who} was not asked for {words if words == obj.name.lower() else f'{words} ({obj.name})'}."
