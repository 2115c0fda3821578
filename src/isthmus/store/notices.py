"""Notices to people: whom to tell, what waits to be told, and the outbox of mails.

A notice is written in the transaction of what it tells about. It waits a little for others of its kind, then becomes
one mail per address; the same trouble of the same connection is told at most once an hour.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import msgspec
import psycopg
from psycopg.types.json import Jsonb

from isthmus.kernel.failures import Duplicate, InvalidInput, RecordNotFound
from isthmus.kernel.ids import new_id
from isthmus.store.database import Database, Transaction

KINDS: Final[Mapping[str, str]] = {
    "connection_trouble": "A connection stands still, or works in part only, and somebody has to act.",
    "connection_recovered": "A connection that people were told about works again.",
    "secret_expiring": "A client secret or certificate ends in 30, 14, 7 or 1 days, or has ended.",
    "connection_disconnected": "A connection was ended.",
    "destination_paused": "A destination gets no deliveries until a person resumes it.",
    "writes_waiting": "Writes wait for a person: to be approved, or to be looked into.",
    "sync_held": "A run found suspiciously many deletions and waits for a person.",
}
"""Every kind that an address can choose, with one sentence."""

DIGEST_S: Final = 60.0
"""A notice waits so long for others of its kind: one outage of fifty connections is one mail."""

QUIET_S: Final = 900.0
"""After a mail of a kind, the next of that kind comes a quarter of an hour later at the earliest."""

REPEAT_S: Final = 3_600.0
"""The same connection and reason are told again after an hour at the earliest."""

ADDRESSES_MAX: Final = 50
DIGEST_NOTICES_MAX: Final = 500
KEPT_DAYS: Final = 90

_ADDRESS: Final = re.compile(
    r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
    r"(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?)+"
)
FROM_EVENTS: Final[Mapping[str, tuple[str, str, str]]] = {
    "destination.paused": ("destination_paused", "destination_id", "A destination is paused"),
    "operation.uncertain": ("writes_waiting", "operation_id", "A write has to be looked into"),
    "operation.approval_needed": ("writes_waiting", "operation_id", "A write waits for approval"),
    "sync.held": ("sync_held", "sync_id", "Suspiciously many deletions"),
}
"""Events for the host that are for people too: the kind of notice, what tells two of them apart, and a title."""


class NoticeAddress(msgspec.Struct, frozen=True, kw_only=True):
    """An address and the kinds that it wants; none named means all."""

    id: UUID
    address: str
    kinds: list[str]
    created_at: datetime


class Notice(msgspec.Struct, frozen=True, kw_only=True):
    """Something that people are told. `outcome`: mailed, passed, nobody or no_mail; None while it waits."""

    id: UUID
    kind: str
    connection_id: UUID | None
    reason: str
    detail: dict[str, Any]
    at: datetime
    due_at: datetime
    told_at: datetime | None
    outcome: str | None


class Mail(msgspec.Struct, frozen=True, kw_only=True):
    """A mail to one address. `next_attempt_at` None: sent, or given up."""

    id: UUID
    project_id: UUID
    address: str
    subject: str
    plain: str
    html: str
    at: datetime
    attempts: int
    next_attempt_at: datetime | None
    sent_at: datetime | None
    given_up_at: datetime | None
    failure: str | None


_NOTICE: Final = "id, kind, connection_id, reason, detail, at, due_at, told_at, outcome"

# -- whom to tell ----------------------------------------------------------------------------------------------------


def checked_address(text: str) -> str:
    """A mail address as it will be used. Raises InvalidInput."""
    address = text.strip()
    if len(address) > 254 or not _ADDRESS.fullmatch(address):
        raise InvalidInput(f"“{text}” is no mail address.", remedy="Write it as name@example.com.", subject="address")
    return address


def checked_kinds(kinds: Sequence[str]) -> list[str]:
    """Kinds without repeats. Raises InvalidInput for one that there is not."""
    for kind in kinds:
        if kind not in KINDS:
            raise InvalidInput(
                f"There is no kind of notice “{kind}”.", remedy=f"Choose of {', '.join(KINDS)}.", subject="kinds"
            )
    return sorted(set(kinds))


async def addresses(tx: Transaction) -> list[NoticeAddress]:
    """Whom the project tells, oldest first."""
    return await tx.rows(
        NoticeAddress,
        "SELECT id, address, kinds, created_at FROM notice_addresses ORDER BY id LIMIT %s",
        (ADDRESSES_MAX,),
    )


async def add_address(tx: Transaction, address: str, kinds: Sequence[str] = ()) -> NoticeAddress:
    """Tell this address too. Raises Duplicate, InvalidInput."""
    wanted, chosen = checked_address(address), checked_kinds(kinds)
    if len(await addresses(tx)) >= ADDRESSES_MAX:
        raise InvalidInput(f"A project tells at most {ADDRESSES_MAX} addresses.", remedy="Use a distribution list.")
    try:
        made = await tx.row(
            NoticeAddress,
            """INSERT INTO notice_addresses (id, project_id, address, kinds) VALUES (%s, %s, %s, %s)
               RETURNING id, address, kinds, created_at""",
            (new_id(), tx.project_id, wanted, chosen),
        )
    except psycopg.errors.UniqueViolation as error:
        raise Duplicate(f"{wanted} is told already.", remedy="Change its kinds instead.", subject="address") from error
    assert made is not None
    return made


async def change_address(tx: Transaction, address_id: UUID, kinds: Sequence[str]) -> NoticeAddress:
    """Other kinds for an address. Raises RecordNotFound, InvalidInput."""
    found = await tx.row(
        NoticeAddress,
        "UPDATE notice_addresses SET kinds = %s WHERE id = %s RETURNING id, address, kinds, created_at",
        (checked_kinds(kinds), address_id),
    )
    if found is None:
        raise RecordNotFound(f"There is no notice address {address_id}.", remedy="List them again.", subject="address")
    return found


async def remove_address(tx: Transaction, address_id: UUID) -> NoticeAddress:
    """Tell this address no more. Raises RecordNotFound."""
    found = await tx.row(
        NoticeAddress,
        "DELETE FROM notice_addresses WHERE id = %s RETURNING id, address, kinds, created_at",
        (address_id,),
    )
    if found is None:
        raise RecordNotFound(f"There is no notice address {address_id}.", remedy="List them again.", subject="address")
    return found


# -- what is to be told ----------------------------------------------------------------------------------------------


async def add(
    tx: Transaction,
    *,
    kind: str,
    reason: str,
    connection_id: UUID | None = None,
    detail: Mapping[str, Any] | None = None,
    about: str = "",
) -> bool:
    """Have people told, if this transaction commits; False when the same was told within the hour.

    `detail` is what the mail says, without anything secret; `about` tells notices apart that concern no connection.
    """
    if kind not in KINDS:
        raise ValueError(f"{kind} is no kind of notice")
    added = await tx.execute(
        """INSERT INTO notices (id, project_id, kind, connection_id, reason, detail, due_at)
           SELECT %(id)s, %(project)s, %(kind)s, %(connection)s, %(reason)s, %(detail)s,
                  greatest(now() + make_interval(secs => %(digest)s),
                           (SELECT max(told_at) FROM notices WHERE kind = %(kind)s AND outcome = 'mailed')
                           + make_interval(secs => %(quiet)s))
           WHERE NOT EXISTS (
               SELECT 1 FROM notices WHERE kind = %(kind)s AND reason = %(reason)s
                 AND connection_id IS NOT DISTINCT FROM %(connection)s AND coalesce(detail ->> 'about', '') = %(about)s
                 AND at > now() - make_interval(secs => %(repeat)s) AND outcome IS DISTINCT FROM 'passed')""",
        {
            "id": new_id(),
            "project": tx.project_id,
            "kind": kind,
            "connection": connection_id,
            "reason": reason,
            "detail": Jsonb({**(detail or {}), "about": about}),
            "about": about,
            "digest": DIGEST_S,
            "quiet": QUIET_S,
            "repeat": REPEAT_S,
        },
    )
    return added == 1


async def recovered(tx: Transaction, connection_id: UUID, name: str) -> None:
    """Tell that a connection works again, if its trouble was mailed and nobody has been told since."""
    last = await tx.value(
        """SELECT kind FROM notices WHERE connection_id = %s AND outcome = 'mailed'
             AND kind IN ('connection_trouble', 'connection_recovered') ORDER BY told_at DESC, id DESC LIMIT 1""",
        (connection_id,),
    )
    if last == "connection_trouble":
        await add(
            tx,
            kind="connection_recovered",
            reason="connected",
            connection_id=connection_id,
            detail={"connection": name, "title": "It works again"},
        )


async def from_event(tx: Transaction, type: str, subject: Mapping[str, Any], data: Mapping[str, Any]) -> None:
    """The notice that goes with one of FROM_EVENTS."""
    kind, key, title = FROM_EVENTS[type]
    connection_id = subject.get("connection_id")
    await add(
        tx,
        kind=kind,
        reason=type,
        connection_id=UUID(str(connection_id)) if connection_id else None,
        about=str(subject.get(key, "")),
        detail={
            "title": title,
            "what": str(data.get("name") or subject.get("object") or ""),
            "remedy": str(data.get("reason") or ""),
            "id": str(subject.get(key, "")),
        },
    )


async def projects_with_due(db: Database, limit: int = 100) -> list[UUID]:
    """The projects that have something to tell now."""
    async with db.system() as tx:
        rows = await tx.tuples(
            "SELECT DISTINCT project_id FROM notices WHERE told_at IS NULL AND due_at <= now() LIMIT %s", (limit,)
        )
    return [row[0] for row in rows]


async def take_digest(tx: Transaction) -> list[Notice]:
    """Everything that waits of the kinds of which something is due, oldest first; nobody else takes it meanwhile."""
    return await tx.rows(
        Notice,
        f"""SELECT {_NOTICE} FROM notices
            WHERE told_at IS NULL AND kind IN (SELECT kind FROM notices WHERE told_at IS NULL AND due_at <= now())
            ORDER BY id LIMIT %s FOR UPDATE SKIP LOCKED""",  # noqa: S608  (a constant)
        (DIGEST_NOTICES_MAX,),
    )


async def told(tx: Transaction, ids: Sequence[UUID], outcome: str) -> None:
    """Say what became of notices."""
    await tx.execute("UPDATE notices SET told_at = now(), outcome = %s WHERE id = ANY (%s)", (outcome, list(ids)))


async def still_in_trouble(tx: Transaction, connection_ids: Sequence[UUID]) -> set[UUID]:
    """Those of the connections that do not work as they should."""
    rows = await tx.tuples(
        "SELECT id FROM connections WHERE id = ANY (%s) AND state IN ('needs_reauth', 'blocked', 'degraded')",
        (list(connection_ids),),
    )
    return {row[0] for row in rows}


async def history(tx: Transaction, limit: int = 100) -> list[Notice]:
    """Notices, newest first."""
    return await tx.rows(
        Notice,
        f"SELECT {_NOTICE} FROM notices ORDER BY id DESC LIMIT %s",  # noqa: S608  (a constant)
        (max(1, min(limit, 500)),),
    )


# -- the outbox ------------------------------------------------------------------------------------------------------


async def post(tx: Transaction, *, address: str, subject: str, plain: str, html: str) -> Mail:
    """Put a mail into the outbox; it is due at once."""
    made = await tx.row(
        Mail,
        """INSERT INTO mails (id, project_id, address, subject, plain, html, next_attempt_at)
           VALUES (%s, %s, %s, %s, %s, %s, now()) RETURNING *""",
        (new_id(), tx.project_id, address, subject, plain, html),
    )
    assert made is not None
    return made


async def due_mails(db: Database, limit: int) -> list[tuple[UUID, UUID]]:
    """(project, mail) of the mails that are due, longest waiting first."""
    async with db.system() as tx:
        rows = await tx.tuples(
            """SELECT project_id, id FROM mails WHERE next_attempt_at <= now() ORDER BY next_attempt_at LIMIT %s""",
            (limit,),
        )
    return [(row[0], row[1]) for row in rows]


async def claim(tx: Transaction, mail_id: UUID, lease_s: float) -> Mail | None:
    """Take a mail that is due for one attempt; None when somebody else has. A process that dies gives it back."""
    return await tx.row(
        Mail,
        """UPDATE mails SET attempts = attempts + 1, next_attempt_at = now() + make_interval(secs => %s)
           WHERE id = %s AND next_attempt_at <= now() RETURNING *""",
        (lease_s, mail_id),
    )


async def sent(tx: Transaction, mail_id: UUID) -> None:
    """It has left."""
    await tx.execute(
        "UPDATE mails SET sent_at = now(), next_attempt_at = NULL, failure = NULL WHERE id = %s", (mail_id,)
    )


async def not_sent(tx: Transaction, mail_id: UUID, failure: str, again_s: float | None) -> None:
    """An attempt failed: again after `again_s`, or (None) never."""
    await tx.execute(
        """UPDATE mails SET failure = %(failure)s,
               next_attempt_at = now() + make_interval(secs => %(again)s),
               given_up_at = CASE WHEN %(again)s::float8 IS NULL THEN now() END
           WHERE id = %(id)s""",
        {"id": mail_id, "failure": failure[:500], "again": again_s},
    )


async def mails(tx: Transaction, limit: int = 100) -> list[Mail]:
    """The outbox, newest first."""
    return await tx.rows(Mail, "SELECT * FROM mails ORDER BY id DESC LIMIT %s", (max(1, min(limit, 500)),))


async def forget_old(tx: Transaction) -> None:
    """Drop notices and mails that are older than KEPT_DAYS."""
    await tx.execute("DELETE FROM notices WHERE at < now() - make_interval(days => %s)", (KEPT_DAYS,))
    await tx.execute("DELETE FROM mails WHERE at < now() - make_interval(days => %s)", (KEPT_DAYS,))
