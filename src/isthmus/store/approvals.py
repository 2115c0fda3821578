"""Writes that wait for a person: the rules that say which, and the decisions.

The most specific rule holds: one that names an object, then a connection, then an integration, then the project's.
Without a rule nothing waits.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import msgspec
from psycopg.types.json import Jsonb

from isthmus.kernel.failures import InvalidInput
from isthmus.kernel.ids import new_id
from isthmus.store.database import Transaction
from isthmus.store.operations import Operation, OperationState, Planner

EXPIRES_S: Final = 72 * 3_600.0
"""How long a write waits unless a rule says otherwise: over a weekend."""

EXPIRES_S_MAX: Final = 30 * 24 * 3_600.0
RULES_MAX: Final = 1_000
REASON_CHARACTERS_MAX: Final = 1_000


class ApprovalRule(msgspec.Struct, frozen=True, kw_only=True):
    """Whether writes through the API wait for a person. Of what is None, every one is meant."""

    id: UUID
    integration_id: UUID | None
    connection_id: UUID | None
    object: str | None
    required: bool
    expires_s: float
    changed_by: str
    changed_at: datetime


async def rules(tx: Transaction) -> list[ApprovalRule]:
    """The project's rules, oldest first."""
    return await tx.rows(
        ApprovalRule,
        """SELECT id, integration_id, connection_id, object, required, expires_s, changed_by, changed_at
           FROM approval_rules ORDER BY id LIMIT %s""",
        (RULES_MAX,),
    )


def rule_for(
    rules: Iterable[ApprovalRule], *, integration_id: UUID | None, connection_id: UUID, object: str
) -> ApprovalRule | None:
    """The rule that holds for a write; None where there is none."""
    fitting = [
        rule
        for rule in rules
        if rule.integration_id in (None, integration_id)
        and rule.connection_id in (None, connection_id)
        and (rule.object is None or rule.object.casefold() == object.casefold())
    ]

    def specific(rule: ApprovalRule) -> tuple[bool, bool, bool]:
        return rule.object is not None, rule.connection_id is not None, rule.integration_id is not None

    return max(fitting, key=specific, default=None)


def some_wait(rules: Sequence[ApprovalRule], *, integration_id: UUID | None, connection_id: UUID) -> bool:
    """True when any write to the connection may have to wait: for calls that cannot be told apart by their object."""
    for object in {rule.object or "" for rule in rules}:
        rule = rule_for(rules, integration_id=integration_id, connection_id=connection_id, object=object)
        if rule is not None and rule.required:
            return True
    return False


async def set_rule(
    tx: Transaction,
    *,
    required: bool,
    integration_id: UUID | None = None,
    connection_id: UUID | None = None,
    object: str | None = None,
    expires_s: float = EXPIRES_S,
    by: str = "",
) -> ApprovalRule:
    """Make or replace the rule for that part of the project. Raises InvalidInput."""
    if not 60 <= expires_s <= EXPIRES_S_MAX:
        raise InvalidInput("A write waits between a minute and 30 days for its approval.", subject="expires_s")
    if await tx.value("SELECT count(*) FROM approval_rules") >= RULES_MAX:
        raise InvalidInput(f"A project has at most {RULES_MAX:,} rules.")
    row = await tx.row(
        ApprovalRule,
        """INSERT INTO approval_rules (id, project_id, integration_id, connection_id, object, required, expires_s,
                                       changed_by)
           VALUES (%s, %s, %s, %s, %s, %s, %s, %s)
           ON CONFLICT (project_id, coalesce(integration_id, '00000000-0000-0000-0000-000000000000'),
                        coalesce(connection_id, '00000000-0000-0000-0000-000000000000'), coalesce(lower(object), ''))
           DO UPDATE SET object = excluded.object, required = excluded.required, expires_s = excluded.expires_s,
                         changed_by = excluded.changed_by, changed_at = now()
           RETURNING id, integration_id, connection_id, object, required, expires_s, changed_by, changed_at""",
        (new_id(), tx.project_id, integration_id, connection_id, object, required, expires_s, by),
    )
    assert row is not None
    return row


async def remove_rule(tx: Transaction, rule_id: UUID) -> bool:
    """Forget a rule; False when there was none."""
    return await tx.execute("DELETE FROM approval_rules WHERE id = %s", (rule_id,)) == 1


async def approve(
    tx: Transaction, versions: Mapping[UUID, str | None], by: Planner, worker: str, lease_s: float
) -> list[Operation]:
    """Plan writes that wait, held by `worker`; each is bound to the version that is given for it, and
    `bound` in its wish says that this version was not its planner's. Those that do not
    wait any more are left out."""
    return await tx.rows(
        Operation,
        """UPDATE operations o SET state = 'planned', fence = o.fence + 1, decided_by = %s,
                  decided_at = clock_timestamp(), next_attempt_at = NULL, worker = %s,
                  leased_until = clock_timestamp() + make_interval(secs => %s),
                  wish = CASE WHEN n.version IS NULL THEN o.wish
                              ELSE o.wish || jsonb_build_object('if_match', n.version, 'bound', true) END
           FROM unnest(%s::uuid[], %s::text[]) AS n (id, version)
           WHERE o.id = n.id AND o.state = 'waiting_for_approval' AND o.approval_expires_at > clock_timestamp()
           RETURNING o.*""",
        (by.name, worker, lease_s, list(versions), list(versions.values())),
    )


async def renew_proposal(tx: Transaction, operation_id: UUID, proposal: dict[str, Any]) -> None:
    """Keep what a waiting write would send by now."""
    await tx.execute(
        "UPDATE operations SET proposal = %s WHERE id = %s AND state = 'waiting_for_approval'",
        (Jsonb(proposal), operation_id),
    )


async def turn_down(
    tx: Transaction, operation_ids: Sequence[UUID], failure: dict[str, Any], by: Planner | None
) -> list[Operation]:
    """End writes that wait, with the reason; `by` None because nobody came in time."""
    return await tx.rows(
        Operation,
        """UPDATE operations SET state = 'failed', fence = fence + 1, failure = %s, decided_by = %s,
                  decided_at = clock_timestamp(), finished_at = clock_timestamp(), next_attempt_at = NULL
           WHERE id = ANY (%s) AND state = 'waiting_for_approval'
             AND (%s OR approval_expires_at <= clock_timestamp())
           RETURNING *""",
        (Jsonb(failure), by.name if by else None, list(operation_ids), by is not None),
    )


async def waiting(tx: Transaction, *, before: UUID | None = None, limit: int = 50) -> list[Operation]:
    """Writes that wait for a person, newest first; `before` is the id that ended the page before."""
    return await tx.rows(
        Operation,
        """SELECT * FROM operations WHERE state = %s AND (%s::uuid IS NULL OR id < %s) ORDER BY id DESC LIMIT %s""",
        (OperationState.WAITING_FOR_APPROVAL.value, before, before, min(limit, 1_000)),
    )


async def count_waiting(tx: Transaction) -> int:
    """How many writes wait for a person."""
    return int(await tx.value("SELECT count(*) FROM operations WHERE state = 'waiting_for_approval'"))


async def integration_of(tx: Transaction, connection_id: UUID) -> UUID | None:
    """The integration that a connection belongs to."""
    found: UUID | None = await tx.value("SELECT integration_id FROM connections WHERE id = %s", (connection_id,))
    return found


async def has_integration(tx: Transaction, integration_id: UUID) -> bool:
    """Whether the project has that integration."""
    return await tx.value("SELECT 1 FROM integrations WHERE id = %s", (integration_id,)) is not None
