"""How a write whose answer was lost is found again (behaviour.md 7; BC-67, BC-74).

A create is looked up by the first of its object's natural keys that its body fills, and where several records may have
that key, those that had it before are noted; an update by comparing what was written; a deletion by asking for the
record; an action by what it does to the record. Where nothing can be seen, a person is asked: a write is never repeated
blindly.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec

from isthmus.kernel.failures import Failure, InvalidInput
from isthmus.kernel.messages import Request, Response
from isthmus.odata import pages
from isthmus.odata.etags import ANY, etag_of
from isthmus.odata.literals import Value, literal, stamp_literal
from isthmus.odata.query import Query, with_query
from isthmus.odata.values import decode_value
from isthmus.providers.base import Field, ObjectInfo, Reading, Target
from isthmus.providers.business_central import lookup_actions
from isthmus.providers.business_central.addressing import object_url
from isthmus.providers.business_central.check import PARENT_FIELDS, members_of, same_value
from isthmus.providers.business_central.headers import read_headers
from isthmus.providers.business_central.incremental import instant_of
from isthmus.providers.business_central.natural_keys import BLANK, belongs_to_one, natural_key
from isthmus.providers.business_central.read import record_request
from isthmus.providers.business_central.write import under_url
from isthmus.providers.writing import Outcome, Sighting, Verb, Verdict, WriteSpec

LOOKED_AT_MAX: Final = 5_000
"""Records compared at most; more of one key is a case for a person."""

CLOCKS_APART: Final = timedelta(minutes=5)
"""How far the vendor's clock may be behind ours: an older stamp belongs to a record that was there before."""

NOTED_MAX: Final = 500
"""Records of one key that are noted before a create; of more, nobody but a person finds the new one."""

_RISKY: Final = re.compile(r"[@*|&'()<>?=\"%\\]|\.\.|^\s|\s$")
"""In a value these collide with AL filter syntax (BC-38): such records are found by their time instead."""


def match_request(
    target: Target,
    obj: ObjectInfo,
    company_id: str | None,
    key: Mapping[str, bytes],
    *,
    since: datetime | None = None,
    under: WriteSpec | None = None,
) -> Request | None:
    """Look for records by key on the primary database (BC-46); None where the service cannot filter that way.

    A value that AL filters would read as an expression is replaced by everything modified `since`, or by a piece of it.
    """
    fields = {field.name: field for field in obj.fields}
    terms = [f"{name} eq {_literal(fields[name], raw)}" for name, raw in key.items() if not _unsafe(raw)]
    if any(_unsafe(raw) for raw in key.values()):
        rescue = _rescue(obj, fields, key, since)
        if rescue is None and not any(name in PARENT_FIELDS for name in key):
            return None
        terms += [rescue] if rescue else []
    base = under_url(target, obj, under) if under is not None and under.under else object_url(target, obj, company_id)
    return Request(
        method="GET",
        url=with_query(base, Query(filter=tuple(terms))),
        headers=read_headers(page_records=LOOKED_AT_MAX, replica=False),
        purpose="look",
    )


def _rescue(
    obj: ObjectInfo, fields: Mapping[str, Field], key: Mapping[str, bytes], since: datetime | None
) -> str | None:
    """A wider filter in place of a value that cannot be sent; what it brings is compared here."""
    if obj.stamp is not None and since is not None and obj.reading is Reading.DIRECT:
        return f"{obj.stamp} ge {stamp_literal(since)}"
    for name, raw in key.items():
        if fields[name].type != "Edm.String" or not _unsafe(raw):
            continue
        text = _plain(raw)
        piece = max(_RISKY.split(text), key=len).strip()
        if piece:
            function = "startswith" if text.startswith(piece) else "contains"
            return f"{function}({name},{literal(piece)})"
    return None


def found_records(obj: ObjectInfo, response: Response) -> list[Outcome]:
    """The records of a look."""
    page = pages.slice_page(response.body, key=obj.key, stamp=obj.stamp)
    if page.next_link is not None:
        raise InvalidInput(f"More than {len(page.ids):,} records of “{obj.name}” have this key.")
    return [
        Outcome(remote_id=identifier, etag=etag_of(raw), record=raw)
        for identifier, raw in zip(page.ids, page.raws, strict=True)
    ]


def with_key(obj: ObjectInfo, found: Sequence[Outcome], key: Mapping[str, bytes]) -> list[Outcome]:
    """Those whose key fields have the wanted values."""
    fields = {field.name: field for field in obj.fields}
    return [each for each in found if _equal(fields, key, each.record or b"{}")]


def before_request(target: Target, obj: ObjectInfo, spec: WriteSpec) -> Request | None:
    """What has this key already, to be noted before a create; None where that says nothing, or cannot be asked."""
    key = natural_key(obj, spec.body or b"{}", spec.match)
    if key is None or belongs_to_one(key):
        return None
    return match_request(target, obj, spec.company_id, key, under=spec)


def baseline(obj: ObjectInfo, spec: WriteSpec, response: Response) -> Mapping[str, Any]:
    """The ids of what has the key already; nothing where they are too many."""
    key = natural_key(obj, spec.body or b"{}", spec.match) or {}
    try:
        ids = [each.remote_id for each in with_key(obj, found_records(obj, response), key)]
    except InvalidInput:
        return {}
    return {"ids": ids} if len(ids) <= NOTED_MAX else {}


def sight_request(target: Target, obj: ObjectInfo, spec: WriteSpec, first_sent_at: datetime) -> Request | None:
    """The look after a lost answer; None where nothing could be seen."""
    if spec.verb is Verb.ACTION:
        return lookup_actions.request(target, obj, spec)
    if spec.verb is not Verb.CREATE:
        return record_request(target, obj, spec.company_id, spec.record_id or "")
    key = natural_key(obj, spec.body or b"{}", spec.match)
    if key is None:
        return None
    return match_request(target, obj, spec.company_id, key, since=first_sent_at - CLOCKS_APART, under=spec)


def sight(
    obj: ObjectInfo,
    spec: WriteSpec,
    baseline: Mapping[str, Any],
    seen: Response | Failure,
    first_sent_at: datetime,
) -> Verdict:
    """Judge that look; a failure is RecordNotFound."""
    match spec.verb:
        case Verb.ACTION:
            return lookup_actions.sight(obj, spec, baseline, seen)
        case Verb.DELETE:
            return sight_delete(seen, spec)
    if isinstance(seen, Failure):
        return Verdict(sighting=Sighting.SUPERSEDED, detail="The record, or its parent, is no longer there.")
    if spec.verb is Verb.UPDATE:
        return sight_update(obj, spec, seen.body)
    return sight_create(obj, spec, baseline, seen, first_sent_at)


def sight_create(
    obj: ObjectInfo, spec: WriteSpec, before: Mapping[str, Any], response: Response, first_sent_at: datetime
) -> Verdict:
    """Whether a record that was created is there: same key, same values, and not there before (BC-67).

    A stamp tells when a record was modified last: an old one that somebody has just changed has a new stamp, too.
    """
    body = {name: bytes(raw) for name, raw in members_of(spec.body or b"{}").items()}
    key = natural_key(obj, spec.body or b"{}", spec.match) or {}
    fields = {field.name: field for field in obj.fields}
    noted = before.get("ids")
    fresh = [
        each
        for each in with_key(obj, found_records(obj, response), key)
        if each.remote_id not in (noted or ()) and _is_new(obj, each, first_sent_at)
    ]
    own = {name: raw for name, raw in body.items() if name in fields}
    same = [each for each in fresh if _equal(fields, own, each.record or b"{}")]
    if same and noted is None and not belongs_to_one(key):
        return Verdict(
            sighting=Sighting.OTHERWISE,
            candidates=tuple(same),
            detail=f"A record with {_described(key)} is there, but it may have been there before.",
        )
    if same:
        return Verdict(sighting=Sighting.DONE, candidates=tuple(same))
    if fresh:
        return Verdict(
            sighting=Sighting.OTHERWISE,
            candidates=tuple(fresh),
            detail=f"A record with {_described(key)} is there, but with other values than were sent.",
        )
    return Verdict(sighting=Sighting.NOT_DONE)


def sight_update(obj: ObjectInfo, spec: WriteSpec, record: bytes) -> Verdict:
    """Whether the written fields have the written values; else whether the record is still the version before."""
    fields = {field.name: field for field in obj.fields}
    present = Outcome(remote_id=spec.record_id, etag=etag_of(record), record=record)
    written = {name: bytes(raw) for name, raw in members_of(spec.body or b"{}").items()}
    if _equal(fields, written, record):
        return Verdict(sighting=Sighting.DONE, outcome=present)
    if spec.etag == ANY:
        return Verdict(sighting=Sighting.NOT_DONE, outcome=present)
    if spec.etag == present.etag:
        return Verdict(sighting=Sighting.NOT_DONE, outcome=present, harmless=True)
    return Verdict(
        sighting=Sighting.SUPERSEDED,
        outcome=present,
        detail="The record was changed meanwhile and does not have the values that were sent.",
    )


def sight_delete(seen: Response | Failure, spec: WriteSpec) -> Verdict:
    """Gone is done; deleting again what is still there does no harm."""
    if isinstance(seen, Failure):
        return Verdict(sighting=Sighting.DONE, outcome=Outcome(remote_id=spec.record_id))
    return Verdict(sighting=Sighting.NOT_DONE, harmless=True)


def parent_id(body: bytes | None, record: bytes | None) -> str | None:
    """The document, journal or record that a child belongs to, from what is sent or from what is there."""
    for text in (body, record):
        members = members_of(text) if text else {}
        for name in PARENT_FIELDS:
            raw = bytes(members[name]) if name in members else b""
            if raw and raw not in BLANK:
                return _plain(raw)
    return None


def lock_key(obj: ObjectInfo, spec: WriteSpec, record: bytes | None = None) -> str | None:
    """What two writes must not touch at once: the parent of lines, the record itself, a natural key (BC-66)."""
    company = spec.company_id or ""
    child = obj.reading is Reading.THROUGH_PARENT or spec.under is not None or obj.name.endswith("Lines")
    if child:
        parent = spec.under.record_id if spec.under else parent_id(spec.body, record)
        return f"{company}/{(parent or obj.name).casefold()}"
    if spec.record_id is not None:
        return f"{company}/{spec.record_id.casefold()}"
    key = natural_key(obj, spec.body or b"{}", spec.match) if spec.verb in (Verb.CREATE, Verb.UPSERT) else None
    if key is None:
        return None
    values = "|".join(f"{name}={_plain(raw).strip().casefold()}" for name, raw in key.items())
    return f"{company}/{obj.name}/{values}"[:500]


def _is_new(obj: ObjectInfo, found: Outcome, first_sent_at: datetime) -> bool:
    """Not modified since long before it was sent: then it was there already. Without a stamp nobody can tell."""
    if obj.stamp is None or obj.stamp_of_parent or found.record is None:
        return True
    raw = members_of(found.record).get(obj.stamp)
    instant = instant_of(_plain(bytes(raw))) if raw is not None else None
    return instant is None or instant >= first_sent_at - CLOCKS_APART


def _equal(fields: Mapping[str, Field], wanted: Mapping[str, bytes], record: bytes) -> bool:
    present = members_of(record)
    return all(
        name in present and same_value(fields[name], raw, bytes(present[name]))
        for name, raw in wanted.items()
        if name in fields
    )


def _literal(field: Field, raw: bytes) -> str:
    """A JSON value as a filter literal of its field's type (BC-37, BC-39)."""
    if field.members or not field.type.startswith("Edm."):
        return literal(_plain(raw))
    if not raw.startswith(b'"'):
        return _plain(raw)
    if field.type == "Edm.String":
        return literal(_plain(raw))
    value = decode_value(_plain(raw), field.type)
    typed: Value = None if isinstance(value, (list, dict)) else value
    return literal(typed)


def _plain(raw: bytes) -> str:
    return str(msgspec.json.decode(raw, type=str)) if raw.startswith(b'"') else raw.decode()


def _unsafe(raw: bytes) -> bool:
    return raw.startswith(b'"') and _RISKY.search(_plain(raw)) is not None


def _described(key: Mapping[str, bytes]) -> str:
    return " and ".join(f"{name} {raw.decode()}" for name, raw in key.items()) or "this content"
