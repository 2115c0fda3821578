"""The rows that repositories hand out, as plain values.

Sealed columns hold what `vault` sealed; nothing here opens them.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

import msgspec


class Project(msgspec.Struct, frozen=True, kw_only=True):
    """One host product's workspace. `development`: its webhooks may lead to this machine and private networks, where
    the process allows that.
    """

    id: UUID
    name: str
    created_at: datetime
    development: bool = False


class ProjectKey(msgspec.Struct, frozen=True, kw_only=True):
    """A project's data key, wrapped by the master key that `master_key_id` names. It seals from `seals_since` on."""

    project_id: UUID
    id: UUID
    wrapped: bytes
    master_key_id: str
    created_at: datetime
    retired_at: datetime | None = None
    seals_since: datetime | None = None


class Grant(msgspec.Struct, frozen=True, kw_only=True):
    """One consent or one set of app credentials. `kind` is `client_credentials`, `certificate` or `authorization_code`.

    `fence` grows with every change of the tokens: a result that was fetched under an older fence is not stored (OA-29).
    A `staged` credential waits beside the one in use; from `staged_from` on it is tried first.
    """

    id: UUID
    project_id: UUID
    provider: str
    kind: str
    cloud: dict[str, Any]
    tenant: str
    client_id: str
    scopes: list[str]
    secret_sealed: bytes | None
    secret_expires_at: datetime | None
    certificate_sealed: bytes | None
    refresh_token_sealed: bytes | None
    access_token_sealed: bytes | None
    access_expires_at: datetime | None
    settings: dict[str, Any]
    fence: int
    created_at: datetime
    updated_at: datetime
    staged_secret_sealed: bytes | None = None
    staged_certificate_sealed: bytes | None = None
    staged_expires_at: datetime | None = None
    staged_from: datetime | None = None
    staged_at: datetime | None = None
    warned_days: int | None = None


class Authorization(msgspec.Struct, frozen=True, kw_only=True):
    """A sign-in under way. `sealed` holds the PKCE verifier and nonce; `context` what may be read."""

    id: UUID
    project_id: UUID
    sealed: bytes
    context: dict[str, Any]
    expires_at: datetime
    used_at: datetime | None = None


class Connection(msgspec.Struct, frozen=True, kw_only=True):
    """A consumer's link to one environment, with its state, the reason for it, and whose turn it is."""

    id: UUID
    project_id: UUID
    grant_id: UUID
    provider: str
    environment: str
    name: str
    state: str
    reason: str | None
    turn: str | None
    failure: dict[str, Any] | None
    since: datetime
    settings: dict[str, Any]
    created_at: datetime
    consumer_id: UUID | None = None
    integration_id: UUID | None = None


class CompanyRow(msgspec.Struct, frozen=True, kw_only=True):
    """A legal entity of a connection; `missing_since` is set while the vendor does not list it."""

    connection_id: UUID
    remote_id: str
    name: str
    display_name: str
    selected: bool
    missing_since: datetime | None = None


class ObjectSchema(msgspec.Struct, frozen=True, kw_only=True):
    """A cached discovery of one API route: `document` is JSON, `hash` tells drift."""

    connection_id: UUID
    route: str
    document: bytes
    hash: bytes
    fetched_at: datetime


class Sync(msgspec.Struct, frozen=True, kw_only=True):
    """A configured read of an object. `companies` None means every selected one; `fields` () means all.

    `backfill_days`: None reads the full history, 0 nothing older than the sync, N the last N days. `names`: vendor's
    field name → the host's, for what leaves the house; the store keeps the vendor's bytes.
    """

    id: UUID
    project_id: UUID
    connection_id: UUID
    object: str
    route: str
    companies: list[str] | None
    fields: list[str]
    filter: str | None
    expand: list[str]
    backfill_days: int | None
    schedule: str | None
    sweep_schedule: str | None
    state: str
    page_records: int | None
    known_fields: dict[str, Any] | None
    created_at: datetime
    names: dict[str, str] = {}
    refresh_schedule: str | None = None


class Stream(msgspec.Struct, frozen=True, kw_only=True):
    """The records of one sync in one company. `watermark` is the largest stamp seen in the data (BC-96).

    `resets` counts how often it was told to start over; `read_since` is where its backfill window began.
    """

    id: int
    sync_id: UUID
    company: str
    leaf: int
    watermark: datetime | None
    born_run: UUID | None
    resets: int = 0
    read_since: datetime | None = None


class RunKind(StrEnum):
    """What a run does."""

    BACKFILL = "backfill"
    INCREMENTAL = "incremental"
    SWEEP = "sweep"


class RunState(StrEnum):
    """Where a run stands. `held` waits for a person: a sweep that would delete too much."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    HELD = "held"


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """One execution of a sync. `epoch` grows each time a worker takes it; only the newest epoch may commit."""

    id: UUID
    project_id: UUID
    sync_id: UUID
    kind: RunKind
    state: RunState
    epoch: int
    worker: str | None
    heartbeat_at: datetime | None
    requested_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    total: int | None
    options: dict[str, Any]
    failure: dict[str, Any] | None


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """The sums over a run's checkpoints."""

    seen: int
    created: int
    updated: int
    deleted: int
    slices: int
    slices_done: int


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True):
    """Durable progress of one slice: `link` is the page to fetch next (None = the first, or none left when `done`).

    `left_out`: its company was not there, so it was not read to its end and nothing may be concluded from it.
    """

    run_id: UUID
    slice: str
    stream_id: int
    company: str
    lower: str | None
    upper: str | None
    link: str | None
    pages: int
    seen: int
    created: int
    updated: int
    deleted: int
    watermark: datetime | None
    done: bool
    left_out: bool = False


class RecordRow(msgspec.Struct, frozen=True, kw_only=True):
    """A stored record: its JSON byte for byte."""

    company: str
    remote_id: str
    stamp: str
    hash: bytes
    deleted: bool
    changed_at: datetime
    raw: bytes


class ChangeKind(StrEnum):
    """What happened to a record."""

    CREATED = "created"
    UPDATED = "updated"
    DELETED = "deleted"


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of the feed. `raw` is the record as it is *now*; None when it is deleted by now.

    `id` is stable: the same change carries it at every delivery, so that a receiver can drop repeats.
    """

    number: int
    id: str
    kind: ChangeKind
    sync_id: UUID
    connection_id: UUID
    object: str
    company: str
    remote_id: str
    at: datetime
    raw: bytes | None


class Destination(msgspec.Struct, frozen=True, kw_only=True):
    """Where changes go. Everything up to and including `cursor` is delivered or a dead letter.

    While a batch fails, `attempts`, `failing_since`, `next_attempt_at`, `failure` and `pending_last` (its last change)
    tell about it. `paused` is the reason why the destination waits for a person, None when it is active. `fence` grows
    with every claim.
    """

    id: UUID
    project_id: UUID
    kind: str
    name: str
    url: str
    secret_sealed: bytes | None
    filter: dict[str, Any]
    settings: dict[str, Any]
    paused: str | None
    cursor: int
    attempts: int
    refusals: int
    failing_since: datetime | None
    next_attempt_at: datetime | None
    pending_last: int | None
    failure: dict[str, Any] | None
    fence: int
    drainer: str | None
    drained_until: datetime | None
    created_at: datetime


class DeliveryAttempt(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt to deliver changes `first_number` to `last_number`, or an event of that `type`."""

    id: int
    destination_id: UUID
    first_number: int
    last_number: int
    changes: int
    attempt: int
    delivered: bool
    status: int | None
    elapsed_s: float
    error: str | None
    at: datetime
    type: str | None = None


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """Changes that a destination did not take in three days, kept for replay."""

    id: UUID
    destination_id: UUID
    first_number: int
    last_number: int
    changes: int
    attempts: int
    failure: dict[str, Any]
    at: datetime
    replayed_at: datetime | None


class Schedule(msgspec.Struct, frozen=True, kw_only=True):
    """When a sync is due next. `full`: everything is read and compared, also fields that change without a stamp."""

    sync_id: UUID
    kind: RunKind
    project_id: UUID
    spec: str
    next_due: datetime
    last_due: datetime | None
    full: bool = False
