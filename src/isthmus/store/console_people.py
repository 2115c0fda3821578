"""The console's people: who may sign in, their sessions, invitations, and wrong passwords in a row.

They belong to the installation, not to a project, so every function takes the database and walks the system road; a
project's transaction sees none of these tables. Tokens arrive as hashes: what is stored opens nothing.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec
import psycopg

from isthmus.kernel.failures import InvalidInput
from isthmus.kernel.ids import new_id
from isthmus.store.database import Database, Transaction

PEOPLE_MAX: Final = 500
"""Listed at once; larger companies sign in by their identity provider."""

SESSIONS_SHOWN_MAX: Final = 100
ADDRESS_CHARACTERS_MAX: Final = 60
AGENT_CHARACTERS_MAX: Final = 300


class Person(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody who may sign in. `role` is admin, operator or viewer; an empty `password_hash` is no password.

    `issuer` and `subject` name who comes through an identity provider.
    """

    id: UUID
    name: str
    role: str
    password_hash: str
    created_at: datetime
    last_seen_at: datetime | None
    issuer: str | None = None
    subject: str | None = None
    email: str | None = None

    @property
    def has_password(self) -> bool:
        """True when a password can be tried at all."""
        return bool(self.password_hash)

    def __repr__(self) -> str:
        return f"Person({self.name!r}, {self.role!r})"


class SignedIn(msgspec.Struct, frozen=True, kw_only=True):
    """A living session and whose it is; `chosen_project` is what the switcher was set to."""

    person_id: UUID
    name: str
    role: str
    chosen_project: UUID | None
    expires_at: datetime
    session_id: UUID
    way: str = "password"


class OpenSession(msgspec.Struct, frozen=True, kw_only=True):
    """A living session as its owner sees it. `way` is password or the identity provider's."""

    id: UUID
    created_at: datetime
    seen_at: datetime
    expires_at: datetime
    address: str
    agent: str
    way: str


class Invitation(msgspec.Struct, frozen=True, kw_only=True):
    """A link that makes one person of a role; `first` makes the first administrator."""

    role: str
    first: bool
    expires_at: datetime


async def every(db: Database) -> list[Person]:
    """All people by name."""
    async with db.system() as tx:
        return await tx.rows(Person, "SELECT * FROM console_people ORDER BY lower(name) LIMIT %s", (PEOPLE_MAX,))


async def count(db: Database) -> int:
    """How many people there are; none means that the first administrator is still to come."""
    async with db.system() as tx:
        return int(await tx.value("SELECT count(*) FROM console_people"))


async def named(db: Database, name: str) -> Person | None:
    """The person of that name; case does not matter."""
    async with db.system() as tx:
        return await tx.row(Person, "SELECT * FROM console_people WHERE lower(name) = lower(%s)", (name,))


async def by_id(db: Database, person_id: UUID) -> Person | None:
    """One person."""
    async with db.system() as tx:
        return await tx.row(Person, "SELECT * FROM console_people WHERE id = %s", (person_id,))


async def identified(db: Database, issuer: str, subject: str) -> Person | None:
    """Whoever an identity provider calls so."""
    async with db.system() as tx:
        return await tx.row(
            Person, "SELECT * FROM console_people WHERE issuer = %s AND subject = %s", (issuer, subject)
        )


async def provision(db: Database, *, issuer: str, subject: str, name: str, email: str, role: str) -> Person:
    """Make or refresh whoever comes through an identity provider. A name that another person has gets a number.

    A role that would take the last administrator away is not taken over.
    """
    async with db.system() as tx:
        await tx.execute("LOCK TABLE console_people IN SHARE ROW EXCLUSIVE MODE")
        present = await tx.row(
            Person, "SELECT * FROM console_people WHERE issuer = %s AND subject = %s", (issuer, subject)
        )
        if present is None:
            made = await tx.row(
                Person,
                """INSERT INTO console_people (id, name, role, password_hash, issuer, subject, email)
                   VALUES (%s, %s, %s, '', %s, %s, %s) RETURNING *""",
                (new_id(), await _free_name(tx, name), role, issuer, subject, email),
            )
        else:
            last = role != "admin" and await _last_administrator(tx, present.id)
            made = await tx.row(
                Person,
                "UPDATE console_people SET role = %s, email = %s WHERE id = %s RETURNING *",
                (present.role if last else role, email, present.id),
            )
        assert made is not None
        return made


async def _free_name(tx: Transaction, name: str) -> str:
    taken = await tx.tuples(
        "SELECT lower(name) FROM console_people WHERE lower(name) LIKE lower(%s) || '%%'",
        (name.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_"),),
    )
    names = {str(found) for (found,) in taken}
    if name.lower() not in names:
        return name
    return next(each for number in range(2, PEOPLE_MAX + 10) if (each := f"{name} ({number})").lower() not in names)


async def _last_administrator(tx: Transaction, person_id: UUID) -> bool:
    """True when this person is an administrator and nobody else is."""
    found = await tx.value(
        """SELECT role = 'admin' AND NOT EXISTS (
               SELECT 1 FROM console_people other WHERE other.role = 'admin' AND other.id <> p.id)
           FROM console_people p WHERE p.id = %s""",
        (person_id,),
    )
    return bool(found)


async def set_role(db: Database, person_id: UUID, role: str) -> bool:
    """Another role, from the next click on. The last administrator stays one: False."""
    async with db.system() as tx:
        await tx.execute("LOCK TABLE console_people IN SHARE ROW EXCLUSIVE MODE")
        if role != "admin" and await _last_administrator(tx, person_id):
            return False
        return await tx.execute("UPDATE console_people SET role = %s WHERE id = %s", (role, person_id)) == 1


async def provided_administrator(db: Database, issuer: str) -> bool:
    """True when an administrator has come through this identity provider."""
    async with db.system() as tx:
        return bool(
            await tx.value(
                """SELECT 1 FROM console_people WHERE issuer = %s AND role = 'admin' AND last_seen_at IS NOT NULL
                   LIMIT 1""",
                (issuer,),
            )
        )


async def remove(db: Database, person_id: UUID) -> bool:
    """Take away a person's access, sessions included. The last administrator stays: False."""
    async with db.system() as tx:
        await tx.execute("LOCK TABLE console_people IN SHARE ROW EXCLUSIVE MODE")
        touched = await tx.execute(
            """DELETE FROM console_people p WHERE p.id = %s AND (p.role <> 'admin' OR EXISTS (
                   SELECT 1 FROM console_people other WHERE other.role = 'admin' AND other.id <> p.id))""",
            (person_id,),
        )
        return touched == 1


async def set_password(db: Database, person_id: UUID, password_hash: str) -> None:
    """Replace a password (or its hash by a stronger one) and nothing else."""
    async with db.system() as tx:
        await tx.execute("UPDATE console_people SET password_hash = %s WHERE id = %s", (password_hash, person_id))


async def invite(db: Database, token_hash: bytes, role: str, hours: int, *, first: bool = False) -> bool:
    """Keep an invitation. A first one replaces earlier first ones, and is refused (False) once there are people."""
    async with db.system() as tx:
        if first:
            await tx.execute("LOCK TABLE console_people IN SHARE ROW EXCLUSIVE MODE")
            if await tx.value("SELECT 1 FROM console_people LIMIT 1"):
                return False
            await tx.execute("DELETE FROM console_invitations WHERE first")
        await tx.execute("DELETE FROM console_invitations WHERE expires_at < now()")
        await tx.execute(
            """INSERT INTO console_invitations (token_hash, role, first, expires_at)
               VALUES (%s, %s, %s, now() + make_interval(hours => %s))""",
            (token_hash, role, first, hours),
        )
        return True


async def invitation(db: Database, token_hash: bytes) -> Invitation | None:
    """An invitation that is still good."""
    async with db.system() as tx:
        return await tx.row(
            Invitation,
            """SELECT role, first, expires_at FROM console_invitations
               WHERE token_hash = %s AND used_at IS NULL AND expires_at > now()""",
            (token_hash,),
        )


async def accept(db: Database, token_hash: bytes, name: str, password_hash: str) -> Person | None:
    """Use an invitation up and make the person; None when it is not good any more. Raises InvalidInput for a name that
    is taken."""
    try:
        async with db.system() as tx:
            role = await tx.value(
                """UPDATE console_invitations SET used_at = now()
                   WHERE token_hash = %s AND used_at IS NULL AND expires_at > now() RETURNING role""",
                (token_hash,),
            )
            if role is None:
                return None
            return await tx.row(
                Person,
                "INSERT INTO console_people (id, name, role, password_hash) VALUES (%s, %s, %s, %s) RETURNING *",
                (new_id(), name, role, password_hash),
            )
    except psycopg.errors.UniqueViolation as error:
        raise InvalidInput(f"There is a person named “{name}” already.", subject="name") from error


async def begin_session(
    db: Database,
    token_hash: bytes,
    person_id: UUID,
    hours: int,
    *,
    address: str = "",
    agent: str = "",
    way: str = "password",
) -> None:
    """Keep a new session; the ones that have ended go. `address` and `agent` tell it from others on a page."""
    async with db.system() as tx:
        await tx.execute("DELETE FROM console_sessions WHERE expires_at < now()")
        await tx.execute(
            """INSERT INTO console_sessions (token_hash, person_id, expires_at, address, agent, way)
               VALUES (%s, %s, now() + make_interval(hours => %s), %s, %s, %s)""",
            (token_hash, person_id, hours, address[:ADDRESS_CHARACTERS_MAX], agent[:AGENT_CHARACTERS_MAX], way),
        )
        await tx.execute("UPDATE console_people SET last_seen_at = now() WHERE id = %s", (person_id,))


async def session(db: Database, token_hash: bytes, idle_hours: int) -> SignedIn | None:
    """The living session of a token: neither ended nor idle for too long. Being seen is noted once a minute."""
    async with db.system() as tx:
        found = await tx.row(
            SignedIn,
            """SELECT s.person_id, p.name, p.role, s.chosen_project, s.expires_at, s.id AS session_id, s.way
               FROM console_sessions s JOIN console_people p ON p.id = s.person_id
               WHERE s.token_hash = %s AND s.expires_at > now() AND s.seen_at > now() - make_interval(hours => %s)""",
            (token_hash, idle_hours),
        )
        if found is not None:
            await tx.execute(
                """UPDATE console_sessions SET seen_at = now()
                   WHERE token_hash = %s AND seen_at < now() - interval '1 minute'""",
                (token_hash,),
            )
        return found


async def choose_project(db: Database, token_hash: bytes, project_id: UUID) -> None:
    """Remember which project a session looks at."""
    async with db.system() as tx:
        await tx.execute(
            "UPDATE console_sessions SET chosen_project = %s WHERE token_hash = %s", (project_id, token_hash)
        )


async def end_session(db: Database, token_hash: bytes) -> None:
    """Sign out."""
    async with db.system() as tx:
        await tx.execute("DELETE FROM console_sessions WHERE token_hash = %s", (token_hash,))


async def sessions(db: Database, person_id: UUID) -> list[OpenSession]:
    """A person's living sessions, the one seen last first."""
    async with db.system() as tx:
        return await tx.rows(
            OpenSession,
            """SELECT id, created_at, seen_at, expires_at, address, agent, way FROM console_sessions
               WHERE person_id = %s AND expires_at > now() ORDER BY seen_at DESC LIMIT %s""",
            (person_id, SESSIONS_SHOWN_MAX),
        )


async def end_sessions(db: Database, person_id: UUID, *, only: UUID | None = None, keep: UUID | None = None) -> int:
    """Sign a person out: everywhere, in `only` one session, or everywhere but in `keep`; how many ended."""
    async with db.system() as tx:
        return await tx.execute(
            """DELETE FROM console_sessions WHERE person_id = %(person)s
               AND (%(only)s::uuid IS NULL OR id = %(only)s) AND (%(keep)s::uuid IS NULL OR id <> %(keep)s)""",
            {"person": person_id, "only": only, "keep": keep},
        )


async def closed_s(db: Database, subjects: list[bytes]) -> float:
    """How many seconds sign-in stays closed for any of these subjects; 0 when it is open."""
    async with db.system() as tx:
        found = await tx.value(
            """SELECT extract(epoch FROM max(closed_until) - now()) FROM console_throttles
               WHERE subject = ANY (%s) AND closed_until > now()""",
            (subjects,),
        )
        return float(found or 0.0)


async def note_failure(db: Database, subject: bytes, free: int, longest_s: float) -> None:
    """A wrong password: after `free` of them the pause doubles with each, up to `longest_s`. A quiet day forgets."""
    async with db.system() as tx:
        await tx.execute(
            """INSERT INTO console_throttles AS t (subject, failures, closed_until) VALUES (%(subject)s, 1, now())
               ON CONFLICT (subject) DO UPDATE SET
                   failures = CASE WHEN t.updated_at < now() - interval '1 day' THEN 1 ELSE t.failures + 1 END,
                   updated_at = now()""",
            {"subject": subject},
        )
        await tx.execute(
            """UPDATE console_throttles SET closed_until = now() + make_interval(
                   secs => CASE WHEN failures < %(free)s THEN 0
                                ELSE least(%(longest)s, power(2, least(failures - %(free)s, 20))) END)
               WHERE subject = %(subject)s""",
            {"subject": subject, "free": free, "longest": longest_s},
        )
        await tx.execute("DELETE FROM console_throttles WHERE updated_at < now() - interval '2 days'")


async def forget_failures(db: Database, subject: bytes) -> None:
    """The right password: start counting anew."""
    async with db.system() as tx:
        await tx.execute("DELETE FROM console_throttles WHERE subject = %s", (subject,))
