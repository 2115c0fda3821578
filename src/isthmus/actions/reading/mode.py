"""What a run has to do, decided from the object, the sync and what is known already."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

import msgspec

from isthmus.providers.base import ObjectInfo, ReadSpec
from isthmus.store.rows import RunKind, Stream, Sync


class Mode(StrEnum):
    """How the records of one company are read in one run."""

    FULL = "full"
    """Everything (or the backfill window), because nothing is known yet."""

    SINCE = "since"
    """What changed since the watermark, with an overlap."""

    COMPARE = "compare"
    """Everything, compared by content and id: the object has no usable stamp, so each run is a snapshot (BC-95)."""

    IDS = "ids"
    """Ids only, to find deletions and arrivals without a fresh stamp."""

    RANGE = "range"
    """What changed between two times, whatever is known; the watermark stays where it is."""

    PRESENT = "present"
    """Nothing: the sync starts at the newest stamp that there is (no backfill)."""


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """The mode of one company and what to ask for."""

    mode: Mode
    spec: ReadSpec

    @property
    def staged(self) -> bool:
        """True when the run may find deletions at its end."""
        return self.mode in (Mode.COMPARE, Mode.IDS)


class Stretch(msgspec.Struct, frozen=True, kw_only=True):
    """A stretch of time by the vendor's modification stamps, both ends included; None is open."""

    since: datetime | None = None
    until: datetime | None = None

    @classmethod
    def of_run(cls, options: Mapping[str, Any]) -> Stretch | None:
        """What a run was asked for, if it was asked for a stretch."""
        given = {name: options[name] for name in ("since", "until") if options.get(name)}
        return msgspec.convert(given, cls) if given else None


def reading_of(
    sync: Sync,
    obj: ObjectInfo,
    stream: Stream,
    kind: RunKind,
    *,
    since: Callable[[datetime | None], datetime | None],
    now: datetime,
    full: bool = False,
    stretch: Stretch | None = None,
) -> Reading:
    """Decide. `since` is the provider's watermark arithmetic; `full` compares everything whatever is known; `stretch`
    reads what changed in that time and nothing else.

    The first read of a full history is never filtered by the stamp: untouched records carry `0001-01-01` (BC-97). The
    clock serves only to cut a backfill window, never as a watermark (BC-96); the window stays where it was cut first,
    so that a long pause before anything was found loses nothing.
    """
    base = ReadSpec(select=tuple(sync.fields), filter=sync.filter, expand=tuple(sync.expand))
    if stretch is not None:
        return Reading(mode=Mode.RANGE, spec=msgspec.structs.replace(base, since=stretch.since, until=stretch.until))
    if not obj.incremental or full:
        return Reading(mode=Mode.COMPARE, spec=base)
    if kind is RunKind.SWEEP:
        return Reading(mode=Mode.IDS, spec=ReadSpec(filter=sync.filter, ids_only=True))
    start = since(stream.watermark)
    if start is not None:
        return Reading(mode=Mode.SINCE, spec=msgspec.structs.replace(base, since=start))
    if sync.backfill_days is None:
        return Reading(mode=Mode.FULL, spec=base)
    if sync.backfill_days == 0:
        # Only at first: whoever resets such a sync wants everything read, as the command says.
        return Reading(mode=Mode.FULL if stream.resets else Mode.PRESENT, spec=base)
    begins = stream.read_since or now - timedelta(days=sync.backfill_days)
    window = msgspec.structs.replace(base, since=begins)
    return Reading(mode=Mode.FULL, spec=window)
