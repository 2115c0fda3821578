"""The nouns as they go over the wire, in the words of the command line's `--json`. Built here from stored rows."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec

from isthmus.api.paging import Ends
from isthmus.api.problems import VendorProblem
from isthmus.api.remedies import WORDS
from isthmus.connections.health import health_of
from isthmus.kernel.failures import Failure, remedy_in
from isthmus.kernel.limits import DELIVERY_BATCH_BYTES_MAX
from isthmus.kernel.naming import renamed
from isthmus.store.retention import FORGOTTEN
from isthmus.store.rows import CompanyRow, Destination, Progress, RecordRow, Run, RunKind, RunState, Sync
from isthmus.store.rows import Connection as ConnectionRow

Text = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
LongText = Annotated[str, msgspec.Meta(max_length=4_000)]
ConnectionState = Literal["pending", "connected", "degraded", "needs_reauth", "blocked", "disconnected"]


class Input(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A request's body. A field that is not known is refused, so that a typing error is found at once."""


class FailureView(msgspec.Struct, frozen=True, kw_only=True):
    """Why something does not work: what happened, whose turn it is, what to do."""

    code: str
    message: str
    remedy: str
    turn: str
    retryable: bool = False
    retry_after: float | None = None
    nearest: list[str] = []
    subject: str | None = None
    vendor: VendorProblem | None = None


def failure_view(stored: dict[str, Any] | Failure | None) -> FailureView | None:
    """A stored failure without the vendor's raw body."""
    if stored is None:
        return None
    plain = stored.to_dict() if isinstance(stored, Failure) else stored
    plain = plain | {"remedy": remedy_in(WORDS, plain.get("code"), str(plain.get("remedy") or ""))}
    known = {name: plain[name] for name in FailureView.__struct_fields__ if plain.get(name) is not None}
    return msgspec.convert({"code": "failure", "message": "", "remedy": "", "turn": ""} | known, FailureView)


class CompanyView(msgspec.Struct, frozen=True, kw_only=True):
    """A legal entity of a connection. Syncs read the selected ones."""

    id: str
    name: str
    display_name: str
    selected: bool
    missing_since: datetime | None = None


class HealthView(msgspec.Struct, frozen=True, kw_only=True):
    """How a connection is: why (`reason` is a word that programs can rely on), since when, whose turn, and the one
    `fix`, whose words are `button`. Of one that works, everything but `state` and `since` is null.
    """

    state: ConnectionState
    since: datetime
    reason: str | None
    title: str | None
    turn: str | None
    message: str | None
    remedy: str | None
    fix: (
        Literal[
            "sign_in_again",
            "new_secret",
            "admin_consent",
            "register_app",
            "grant_permission",
            "choose_environment",
            "wait",
            "contact_support",
        ]
        | None
    )
    button: str | None


class ConnectionView(msgspec.Struct, frozen=True, kw_only=True):
    """A consumer's link to one environment of a provider. `since` is when it entered its state."""

    id: UUID
    name: str
    provider: str
    environment: str
    state: ConnectionState
    reason: str | None
    turn: str | None
    since: datetime
    failure: FailureView | None
    health: HealthView
    consumer: UUID | None
    companies: list[CompanyView]
    created_at: datetime


class ConnectionPage(Ends, frozen=True, kw_only=True):
    """Connections, oldest first."""

    result: list[ConnectionView]


def company_view(row: CompanyRow) -> CompanyView:
    """A stored company."""
    return CompanyView(
        id=row.remote_id,
        name=row.name,
        display_name=row.display_name,
        selected=row.selected,
        missing_since=row.missing_since,
    )


def health_view(row: ConnectionRow) -> HealthView:
    """How a stored connection is."""
    health = msgspec.structs.asdict(health_of(row))
    if row.failure is not None and health["remedy"] is not None:
        health["remedy"] = remedy_in(WORDS, row.failure.get("code"), health["remedy"])
    return msgspec.convert(health, HealthView)


def connection_view(row: ConnectionRow, companies: list[CompanyRow]) -> ConnectionView:
    """A stored connection."""
    return ConnectionView(
        id=row.id,
        name=row.name,
        provider=row.provider,
        environment=row.environment,
        state=row.state,  # type: ignore[arg-type]  # the table's own words
        reason=row.reason,
        turn=row.turn,
        since=row.since,
        failure=failure_view(row.failure),
        health=health_view(row),
        consumer=row.consumer_id,
        companies=[company_view(each) for each in companies],
        created_at=row.created_at,
    )


class SyncView(msgspec.Struct, frozen=True, kw_only=True):
    """A configured, scheduled read. `rename` is your own names by the vendor's; `next_due` the next scheduled read.
    `records` is counted where one sync is asked for, not in lists."""

    id: UUID
    connection: UUID
    object: str
    route: str
    companies: list[str] | None
    fields: list[str]
    filter: str | None
    expand: list[str]
    backfill_days: int | None
    schedule: str | None
    sweep_schedule: str | None
    refresh_schedule: str | None = None
    rename: dict[str, str] = {}
    state: Literal["active", "paused"]
    next_due: datetime | None = None
    records: int | None = None
    created_at: datetime


class SyncPage(Ends, frozen=True, kw_only=True):
    """Syncs, oldest first."""

    result: list[SyncView]


def sync_view(row: Sync, *, next_due: datetime | None = None, records: int | None = None) -> SyncView:
    """A stored sync."""
    return SyncView(
        id=row.id,
        connection=row.connection_id,
        object=row.object,
        route=row.route,
        companies=row.companies,
        fields=row.fields,
        filter=row.filter,
        expand=row.expand,
        backfill_days=row.backfill_days,
        schedule=row.schedule,
        sweep_schedule=row.sweep_schedule,
        refresh_schedule=row.refresh_schedule,
        rename=row.names,
        state=row.state,  # type: ignore[arg-type]  # the table's own words
        next_due=next_due,
        records=records,
        created_at=row.created_at,
    )


class RunView(msgspec.Struct, frozen=True, kw_only=True):
    """One execution of a sync with its progress. `total` is known once the vendor has told it."""

    id: UUID
    sync: UUID
    object: str
    kind: RunKind
    state: RunState
    requested_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    total: int | None
    read: int
    created: int
    updated: int
    deleted: int
    slices: int
    slices_done: int
    notes: dict[str, Any]
    failure: FailureView | None


class RunPage(Ends, frozen=True, kw_only=True):
    """Runs, newest first."""

    result: list[RunView]


def run_view(row: Run, object_name: str, done: Progress) -> RunView:
    """A stored run."""
    return RunView(
        id=row.id,
        sync=row.sync_id,
        object=object_name,
        kind=row.kind,
        state=row.state,
        requested_at=row.requested_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
        total=row.total,
        read=done.seen,
        created=done.created,
        updated=done.updated,
        deleted=done.deleted,
        slices=done.slices,
        slices_done=done.slices_done,
        notes=row.options,
        failure=failure_view(row.failure),
    )


class RecordView(msgspec.Struct, frozen=True, kw_only=True):
    """A stored record. `record` is the vendor's JSON, values byte for byte, under your own names where the sync gives
    some; null when it is deleted."""

    company: str
    remote_id: str
    stamp: str
    deleted: bool
    changed_at: datetime
    record: msgspec.Raw | None


class RecordPage(Ends, frozen=True, kw_only=True):
    """Records by company and id."""

    result: list[RecordView]


def record_view(row: RecordRow, names: Mapping[str, str]) -> RecordView:
    """A stored record, with the sync's names for its fields."""
    return RecordView(
        company=row.company,
        remote_id=row.remote_id,
        stamp=row.stamp,
        deleted=row.deleted,
        changed_at=row.changed_at,
        record=None if row.deleted or row.raw == FORGOTTEN else msgspec.Raw(renamed(row.raw, names)),
    )


class DestinationView(msgspec.Struct, frozen=True, kw_only=True):
    """Where changes and events go. `behind` counts the numbers of the feed that follow its cursor; `objects` and
    `events` null mean all."""

    id: UUID
    name: str
    kind: str
    url: str
    objects: list[str] | None
    events: list[str] | None = None
    payload_bytes: int
    cursor: int
    behind: int
    paused: str | None
    failing_since: datetime | None
    next_attempt_at: datetime | None
    failure: FailureView | None
    created_at: datetime


class DestinationPage(Ends, frozen=True, kw_only=True):
    """Destinations, oldest first."""

    result: list[DestinationView]


def destination_view(row: Destination, head: int) -> DestinationView:
    """A stored destination."""
    return DestinationView(
        id=row.id,
        name=row.name,
        kind=row.kind,
        url=row.url,
        objects=row.filter.get("objects"),
        events=row.filter.get("events"),
        payload_bytes=row.settings.get("bytes_max") or DELIVERY_BATCH_BYTES_MAX,
        cursor=row.cursor,
        behind=max(0, head - row.cursor),
        paused=row.paused,
        failing_since=row.failing_since,
        next_attempt_at=row.next_attempt_at,
        failure=failure_view(row.failure),
        created_at=row.created_at,
    )
