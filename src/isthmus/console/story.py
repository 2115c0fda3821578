"""The story of a run, told from its row, checkpoints and requests: what came in, what was done, how it ended."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import Any, Final

import msgspec

from isthmus.console.words import RUN_TONES, Tone, duration, number, plural, size
from isthmus.store.rows import Checkpoint, Run, RunKind, RunState
from isthmus.store.runs import JournalRow

KIND_WORDS: Final = {
    RunKind.BACKFILL: "First load: everything the sync asks for",
    RunKind.INCREMENTAL: "Increment: what changed since the last run",
    RunKind.SWEEP: "Sweep: which records were deleted at the vendor’s side",
}


BEGAN: Final = Tone("began", "working", "play")
ASKED: Final = Tone("asked", "working", "deliveries")
STORED: Final = Tone("stored", "working", "data")


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """A sentence of the story."""

    look: Tone
    title: str
    words: str = ""
    at: datetime | None = None
    link: str = ""


class CompanyPart(msgspec.Struct, frozen=True, kw_only=True):
    """What was read of one company."""

    company: str
    slices: int
    done: int
    pages: int
    seen: int
    created: int
    updated: int
    deleted: int


def tell(run: Run, checkpoints: list[Checkpoint], journal: list[JournalRow]) -> list[Event]:
    """The events in order."""
    events = [Event(look=RUN_TONES["queued"], title="Asked for", words=KIND_WORDS[run.kind], at=run.requested_at)]
    if run.started_at is not None:
        waited = (run.started_at - run.requested_at).total_seconds()
        words = f"after waiting {duration(waited)}" if waited >= 1 else "at once"
        if run.epoch > 1:
            words += f"; taken over {plural(run.epoch - 1, 'time')} since, each time from where it stood"
        events.append(Event(look=BEGAN, title="A worker began", words=words, at=run.started_at))
    events += _asking(journal)
    events += _reading(run, checkpoints)
    events += _remarks(run.options)
    events += _end(run, checkpoints)
    return events


def by_company(checkpoints: list[Checkpoint]) -> list[CompanyPart]:
    """The checkpoints added up per company."""
    found: dict[str, list[Checkpoint]] = {}
    for each in checkpoints:
        found.setdefault(each.company, []).append(each)
    return [
        CompanyPart(
            company=company,
            slices=len(parts),
            done=sum(each.done for each in parts),
            pages=sum(each.pages for each in parts),
            seen=sum(each.seen for each in parts),
            created=sum(each.created for each in parts),
            updated=sum(each.updated for each in parts),
            deleted=sum(each.deleted for each in parts),
        )
        for company, parts in found.items()
    ]


def _asking(journal: list[JournalRow]) -> list[Event]:
    if not journal:
        return []
    purposes = Counter(str(each.entry.get("purpose", "request")) for each in journal)
    received = sum(int(each.entry.get("bytes_received") or 0) for each in journal)
    refused = sum(1 for each in journal if each.entry.get("failure"))
    spent = sum(float(each.entry.get("elapsed_s") or 0.0) for each in journal)
    words = ", ".join(f"{count} for {purpose}" for purpose, count in purposes.most_common(6))
    events = [
        Event(
            look=ASKED,
            title=f"{plural(len(journal), 'request')} to the vendor",
            words=f"{words}; {size(received)} received in {duration(spent)} of waiting for answers",
            at=journal[0].at,
            link="#requests",
        )
    ]
    if refused:
        first = next(each for each in journal if each.entry.get("failure"))
        events.append(
            Event(
                look=Tone("refused", "attention", "alert"),
                title=f"{plural(refused, 'request')} met trouble",
                words="Passing trouble is repeated with pauses; the rest ends the run.",
                at=first.at,
                link=f"requests/{first.number}",
            )
        )
    return events


def _reading(run: Run, checkpoints: list[Checkpoint]) -> list[Event]:
    if not checkpoints:
        return []
    parts = by_company(checkpoints)
    seen, pages = sum(each.seen for each in parts), sum(each.pages for each in parts)
    created, updated = sum(each.created for each in parts), sum(each.updated for each in parts)
    deleted = sum(each.deleted for each in parts)
    if run.state is RunState.FAILED and not pages:
        return [Event(look=STORED, title="Nothing was read", words="What is stored is as it was before.")]
    of_total = f" of {number(run.total)}" if run.total and run.state is RunState.RUNNING else ""
    events = [
        Event(
            look=STORED,
            title=f"{number(seen)}{of_total} records read",
            words=f"{plural(pages, 'page')} in {plural(len(parts), 'company', 'companies')}, each stored with its "
            "checkpoint in one transaction",
        )
    ]
    changed = created + updated + deleted
    words = f"{number(created)} created, {number(updated)} updated, {number(deleted)} deleted"
    title = f"{plural(changed, 'change')} put into the feed" if changed else "Nothing had changed"
    events.append(
        Event(
            look=Tone("changes", "good" if changed else "neutral", "edit" if changed else "minus"),
            title=title,
            words=words if changed else "Every record was the same as the stored one, so nothing is delivered.",
            link="/console/changes" if changed else "",
        )
    )
    return events


def _remarks(options: dict[str, Any]) -> list[Event]:
    events = []
    drift = options.get("drift")
    if drift:
        words = "; ".join(
            f"{name}: {', '.join(map(str, value))}"
            for name, value in drift.items()
            if isinstance(value, list) and value
        )
        events.append(
            Event(look=Tone("drift", "attention", "alert"), title="The object’s fields have changed", words=words)
        )
    retries = options.get("retries")
    if retries:
        last = options.get("last_failure") or {}
        events.append(
            Event(
                look=Tone("retries", "attention", "clock"),
                title=f"Put off and tried again {plural(int(retries), 'time')}",
                words=str(last.get("message", "")),
            )
        )
    held = options.get("held")
    if held:
        events.append(
            Event(
                look=RUN_TONES["held"],
                title=f"{number(float(held))} deletions are held back",
                words="So many at once look like a mistake, so a person has to decide.",
            )
        )
    return events


def _end(run: Run, checkpoints: list[Checkpoint]) -> list[Event]:
    if run.finished_at is None:
        return []
    look = RUN_TONES.get(run.state.value, RUN_TONES["cancelled"])
    took = duration((run.finished_at - (run.started_at or run.requested_at)).total_seconds())
    words = {
        RunState.SUCCEEDED: f"after {took}; the next run begins where this one ended",
        RunState.FAILED: f"after {took}; what was stored stays, and the next run goes on from there",
        RunState.CANCELLED: f"after {took}; what was stored stays",
        RunState.HELD: f"after {took}",
    }.get(run.state, "")
    return [Event(look=look, title=look.word.capitalize(), words=words, at=run.finished_at)]
