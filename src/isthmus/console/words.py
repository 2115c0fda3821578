"""How the console speaks: relative times, numbers with units, and the word, tone and icon of every state."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

import msgspec

from isthmus.kernel.ids import short

VENDOR_WORDS_MAX: Final = 300

_REFERENCES: Final = re.compile(r"\s+(?:Trace ID|CorrelationId):")
"""Where a vendor's message begins to repeat the ids that are shown beside it."""

_LONG_ID: Final = re.compile(r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}")


class Tone(msgspec.Struct, frozen=True):
    """A state as people see it. The word carries the meaning; tone (one of five) and icon only support it."""

    word: str
    tone: str
    icon: str


CONNECTION_TONES: Final = {
    "connected": Tone("connected", "good", "check"),
    "pending": Tone("pending", "attention", "clock"),
    "degraded": Tone("degraded", "attention", "alert"),
    "needs_reauth": Tone("needs reauthorisation", "bad", "cross"),
    "blocked": Tone("blocked", "bad", "cross"),
    "disconnected": Tone("disconnected", "neutral", "minus"),
}

RUN_TONES: Final = {
    "succeeded": Tone("succeeded", "good", "check"),
    "running": Tone("running", "working", "turn"),
    "queued": Tone("queued", "neutral", "clock"),
    "failed": Tone("failed", "bad", "cross"),
    "held": Tone("held", "attention", "pause"),
    "cancelled": Tone("cancelled", "neutral", "minus"),
}

SYNC_TONES: Final = {
    "active": Tone("active", "good", "check"),
    "paused": Tone("paused", "neutral", "pause"),
}

FRESHNESS_TONES: Final = {
    "fresh": Tone("fresh", "good", "check"),
    "held": Tone("deletions held", "attention", "pause"),
    "late": Tone("late", "attention", "clock"),
    "failing": Tone("failing", "bad", "cross"),
    "reading": Tone("reading", "working", "turn"),
    "never": Tone("never read", "neutral", "minus"),
    "paused": Tone("paused", "neutral", "pause"),
    "by hand": Tone("by hand", "neutral", "check"),
}

DESTINATION_TONES: Final = {
    "good": Tone("good", "good", "check"),
    "retrying": Tone("retrying", "attention", "clock"),
    "paused": Tone("paused", "bad", "pause"),
}

OPERATION_TONES: Final = {
    "planned": Tone("planned", "neutral", "clock"),
    "waiting_for_approval": Tone("waits for approval", "attention", "person"),
    "sent": Tone("sent", "working", "turn"),
    "uncertain": Tone("uncertain", "attention", "alert"),
    "needs_person": Tone("needs a person", "bad", "person"),
    "confirmed": Tone("confirmed", "good", "check"),
    "failed": Tone("failed", "bad", "cross"),
}

CHANGE_TONES: Final = {
    "created": Tone("created", "good", "plus"),
    "updated": Tone("updated", "working", "edit"),
    "deleted": Tone("deleted", "attention", "minus"),
}

TONES: Final = {
    "connection": CONNECTION_TONES,
    "run": RUN_TONES,
    "sync": SYNC_TONES,
    "freshness": FRESHNESS_TONES,
    "destination": DESTINATION_TONES,
    "change": CHANGE_TONES,
    "operation": OPERATION_TONES,
}

KINDS: Final = {
    "backfill": "The first reading: everything that the sync asks for.",
    "incremental": "Only what changed since the last run, by modification time.",
    "sweep": "Compares all ids, to find what was deleted.",
}
"""What a run does, one hover away from its name."""

PURPOSES: Final = {
    "count": "How many records there are.",
    "ids": "All ids, to find deletions.",
    "page": "A page of records.",
    "newest": "The newest modification time, to begin there.",
    "boundary": "Where to cut a large company into parts that are read side by side.",
    "metadata": "Which objects and fields there are.",
    "captions": "How fields are called on the vendor’s pages.",
    "preflight": "A step of the check.",
    "look": "Whether a write whose answer was lost took place.",
    "token": "A new access token.",
}
"""What a request was made for, where its short name does not say so by itself."""

TURNS: Final = {
    "you": "Your turn",
    "your customer's administrator": "Your customer's administrator's turn",
    "the vendor": "The vendor's turn",
    "isthmus": "Isthmus's turn",
}

NOTICES: Final = {
    "connected": "Connected. Everything the check tried works.",
    "saved": "Saved.",
    "project-made": "The project is made, and you are in it. Its first key comes next.",
    "project-deleted": "The project is gone, with everything in it. Nothing changed at the vendors.",
    "erased": "Erased. The audit log keeps one entry, with numbers and no name.",
    "erasing": "The customer is stopped, and workers erase what is left. This page tells when it is finished.",
    "companies-saved": "Saved. The next run reads exactly the chosen companies.",
    "checked": "Checked just now: everything works.",
    "disconnected-kept": "Disconnected. Its credentials are forgotten, its data was kept.",
    "secret-staged": "The new secret waits and takes over by itself when the old one ends.",
    "test-mail-sent": "The mail server has taken the test mail. Look into the mailbox, and into its junk folder.",
    "disconnected": "The connection is gone, with its syncs and records. Nothing changed at the vendor's side.",
    "sync-created": "The sync is set up. One record was read as a sample, so fields and filter are known to work.",
    "shared-kept": "What the customer agreed to is kept in step. The first runs read it in full.",
    "default-syncs-again": "A worker tries again within seconds. Load the page again in a moment.",
    "default-syncs-left": "Noted: this connection does without them.",
    "sync-reading-changed": "Saved. The next run reads everything again; records that are the same emit nothing.",
    "sync-deleted": "The sync is gone, with its stored records.",
    "run-requested": "A run was asked for. A worker picks it up within seconds.",
    "run-active": "A run of this sync is active already: here it is.",
    "run-cancelled": "Cancelled. What was stored stays; the next run goes on from there.",
    "sync-paused": "Paused: the schedule starts nothing until you resume it.",
    "sync-resumed": "Resumed.",
    "sync-reset": "Reset: the next run reads everything again. Unchanged records emit nothing.",
    "destination-resumed": "Resumed: what waits is sent now.",
    "destination-retried": "It is tried again now.",
    "nothing-to-replay": "Nothing came in that time, so nothing was sent.",
    "destination-paused": "Paused: changes wait in the feed, nothing is lost.",
    "destination-deleted": "The destination is gone, with its history. The change feed is untouched.",
    "replayed": "Delivered again.",
    "write-confirmed": "Done: the vendor has confirmed it.",
    "write-open": "It is on its way. This page tells how it stands; load it again in a moment.",
    "write-looked": "Looked just now.",
    "write-refused": "Refused. It was not sent; whoever planned it sees your reason.",
    "write-decided": "Noted. Nothing was sent.",
    "app-secret-used": "The new secret was accepted. Every connection through your app uses it; those that stood still "
    "because of the old one are being checked.",
    "app-secret-untried": "Saved. Nobody has connected through your app yet, so the secret could not be tried.",
    "integration-made": "The integration is set up. Next: a link for a customer, or connect one yourself.",
    "integration-deleted": "The integration is gone. Connections that were made through it stay.",
    "link-revoked": "Nobody can use that link any more.",
    "key-revoked": "Revoked. Programs that use the key are refused within five seconds.",
    "password-changed": "The password is changed. Every other browser is signed out.",
    "session-ended": "Signed out there.",
    "signed-out": "You are signed out.",
    "person-removed": "That person can no longer sign in.",
}
"""What a page says after an act; the address carries only the key, so nobody can put words into our mouth."""


def tone(kind: str, state: str) -> Tone:
    """The word, tone and icon of a state; an unknown one is neutral under its own name."""
    return TONES[kind].get(str(state), Tone(str(state), "neutral", "minus"))


def ago(moment: datetime | None, now: datetime | None = None) -> str:
    """Relative time in the command line's words: `3 min ago`, `in 2 h`, `never`."""
    if moment is None:
        return "never"
    seconds = ((now or datetime.now(UTC)) - moment).total_seconds()
    ahead, seconds = seconds < 0, abs(seconds)
    if seconds < 5:
        return "just now"
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")):
        if seconds >= size:
            return f"in {max(1, round(seconds / size))} {unit}" if ahead else f"{int(seconds // size)} {unit} ago"
    return "just now"


def lasted(moment: datetime, now: datetime | None = None) -> str:
    """How long something has been so: `21 s`, `3 min`."""
    return ago(moment, now).removesuffix(" ago")


def exact(moment: datetime | None) -> str:
    """The exact time with its zone, for hovering: `2026-11-20 17:09:32 UTC`."""
    return "" if moment is None else f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def duration(seconds: float | None) -> str:
    """How long something took, with the unit that fits: `85 ms`, `4.2 s`, `3 min 20 s`."""
    if seconds is None:
        return "–"
    if seconds < 1:
        return f"{seconds * 1000:,.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(int(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def number(value: float | None) -> str:
    """A count with thousands separated; nothing known is a dash."""
    return "–" if value is None else f"{value:,.0f}"


def size(count: int | None) -> str:
    """Bytes with the unit that fits."""
    if count is None:
        return "–"
    amount = float(count)
    for unit in ("B", "KB", "MB"):
        if amount < 1_000:
            return f"{amount:,.0f} {unit}" if unit == "B" else f"{amount:,.1f} {unit}"
        amount /= 1_000
    return f"{amount:,.1f} GB"


def plural(count: int, one: str, many: str | None = None) -> str:
    """A number with its noun: `1 company`, `2 companies`."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def short_id(identifier: UUID | str) -> str:
    """The end of an id, enough to tell rows apart."""
    return short(identifier) if isinstance(identifier, UUID) else str(identifier)[-8:]


def is_id(text: str) -> bool:
    """True for nothing but one of our ids."""
    return _LONG_ID.fullmatch(str(text)) is not None


def request_line(url: str) -> str:
    """An address short enough for a table: the part below the API, long ids by their end."""
    return _LONG_ID.sub(lambda found: f"{found.group()[:4]}…{found.group()[-4:]}", url.partition("/api/")[2] or url)


def vendor_said(vendor: Mapping[str, Any] | None) -> str:
    """The vendor's own words, once: without the code said twice and the numbers that stand elsewhere."""
    code, message = str((vendor or {}).get("code") or ""), str((vendor or {}).get("message") or "")
    message = _REFERENCES.split(message, maxsplit=1)[0].strip()[:VENDOR_WORDS_MAX]
    return message if code in message else f"{code} {message}".strip()


def kind(name: str) -> str:
    """A run's or request's short name, explained; empty where the name says it all."""
    return KINDS.get(str(name)) or PURPOSES.get(str(name), "")


def who(actor: str | None) -> str:
    """Who did something, without the prefixes of the audit log: `Anna`, `key billing backend`."""
    told = (actor or "").removeprefix("user:").replace("key:", "key ", 1)
    return told.replace("consumer:", "customer ", 1).replace("portal:", "customer ", 1)


def plain(value: object) -> str:
    """A detail of the audit log as people write it."""
    match value:
        case bool():
            return "yes" if value else "no"
        case None | "":
            return "none"
        case list() | tuple():
            return ", ".join(plain(each) for each in value) or "none"
        case dict():
            return ", ".join(f"{name} {plain(each)}" for name, each in value.items()) or "none"
    return _LONG_ID.sub(lambda found: f"…{found.group()[-8:]}", str(value))


def turn(name: str | None) -> str:
    """Whose turn it is, as a sentence."""
    return TURNS.get(name or "", "")
