"""From a wish to the exact request: names, checks, and what has to be read before something is sent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from isthmus.actions.writing.desk import Desk
from isthmus.actions.writing.settings import WriterSettings
from isthmus.actions.writing.wishes import WriteWish, refusal
from isthmus.kernel.failures import BadRequest, Conflict, Duplicate
from isthmus.kernel.messages import Request
from isthmus.odata.etags import ANY
from isthmus.providers.base import ObjectInfo, Reading
from isthmus.providers.writing import NOTHING_THERE, CheckedBody, Outcome, Verb, WriteSpec
from isthmus.store.operations import Operation

CURABLE = frozenset({"read_only", "two_identifiers"})
"""Problems of an update that vanish where the value is the one that is there already (BC-63)."""


class Prepared(msgspec.Struct, frozen=True, kw_only=True):
    """A write that can be sent. `nothing` is the record as it is when there is nothing to change."""

    obj: ObjectInfo
    spec: WriteSpec
    request: Request | None = None
    baseline: Mapping[str, Any] = {}
    nothing: Outcome | None = None


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    """A wish with its names resolved: what can be told without reading the record. `ready` where that is all it takes:
    a create by a number that belongs to one record, or a change of a version that the caller names."""

    obj: ObjectInfo
    company_id: str | None
    lock_key: str | None
    ready: Prepared | None = None


async def draft(desk: Desk, wish: WriteWish, settings: WriterSettings) -> Draft:
    """Resolve and check as far as possible without the record.

    Raises InvalidInput, UnknownObject, CompanyNotFound, Unsupported, UnknownField, BadRequest.
    """
    obj = await desk.describe(wish.object, desk.provider.parse_route(wish.route))
    desk.provider.refuse(obj, wish.verb, wish.action)
    if wish.record_id is not None:
        desk.provider.check_record_id(obj, wish.record_id)
    company_id = desk.company(obj, wish.company)
    spec, checked = _spec(wish, company_id), None
    if wish.body is not None:
        checked = await checked_body(desk, obj, wish.verb, wish.body, below=wish.under is not None)
        lasting = [each for each in checked.problems if wish.verb is not Verb.UPDATE or each.code not in CURABLE]
        if lasting:
            raise refusal(lasting)
    record = None
    if wish.record_id is not None and obj.reading is Reading.THROUGH_PARENT and wish.under is None:
        record = (await read_record(desk, obj, spec, settings)).record  # whose line it is decides who has to wait
    ready = None
    if checked is not None and (wish.verb is Verb.CREATE or (wish.verb is Verb.UPDATE and spec.etag is not None)):
        ready = _at_once(desk, obj, spec, checked)
    return Draft(obj=obj, company_id=company_id, lock_key=desk.provider.lock_key(obj, spec, record), ready=ready)


def _at_once(desk: Desk, obj: ObjectInfo, spec: WriteSpec, checked: CheckedBody) -> Prepared | None:
    """The request, unless the record or what is like it has to be read first."""
    if checked.problems:
        return None
    spec = msgspec.structs.replace(spec, body=checked.body)
    if spec.verb is Verb.CREATE and desk.provider.before_request(desk.target, obj, spec) is not None:
        return None
    return _ready(desk, obj, spec)


async def checked_body(desk: Desk, obj: ObjectInfo, verb: Verb, body: bytes, *, below: bool = False) -> CheckedBody:
    """A body as it will be sent, or what is wrong with it; an unknown field is looked for in a fresh description before
    it is refused."""
    checked = desk.provider.check(obj, await desk.objects(obj.route), verb, body, below=below)
    if any(problem.code == "unknown_field" for problem in checked.problems):
        anew = await desk.described_anew(obj)
        if anew is not None:
            return desk.provider.check(anew, await desk.objects(obj.route), verb, body, below=below)
    return checked


async def prepare(desk: Desk, operation: Operation, settings: WriterSettings) -> Prepared:
    """The request of a planned operation. Raises RequestFailure for what cannot be, TransientFailure for not now."""
    wish = wish_of(operation)
    obj = await desk.describe(operation.object, operation.route)
    desk.provider.refuse(obj, wish.verb, wish.action)
    bound = bool(operation.wish.get("bound"))
    return await prepare_wish(desk, obj, wish, operation.company, settings, bound=bound)


async def prepare_wish(
    desk: Desk,
    obj: ObjectInfo,
    wish: WriteWish,
    company_id: str | None,
    settings: WriterSettings,
    *,
    bound: bool = False,
) -> Prepared:
    """The request of a wish whose names are resolved. `bound`: its version is that of the record which was read when it
    was approved, so it is read again, and only what differs is sent, as it was shown."""
    spec = _spec(wish, company_id)
    match wish.verb:
        case Verb.CREATE:
            return await _create(desk, obj, spec)
        case Verb.UPDATE:
            return await _update(desk, obj, wish, spec, settings, bound=bound)
        case Verb.UPSERT:
            return await _upsert(desk, obj, wish, spec, settings)
        case Verb.DELETE:
            present = await read_record(desk, obj, spec, settings)  # afterwards, not found means gone
            if spec.etag is not None and spec.etag != present.etag:
                raise Conflict(subject=present.remote_id)
            return _ready(desk, obj, spec)
    before = desk.provider.before_request(desk.target, obj, spec)
    if before is None:
        return _ready(desk, obj, spec)
    seen = desk.provider.baseline(obj, spec, await desk.call(before, settings.deadline_s))
    return msgspec.structs.replace(_ready(desk, obj, spec), baseline=seen)


def wish_of(operation: Operation) -> WriteWish:
    """The wish that an operation was made of."""
    wish = msgspec.convert(operation.wish, WriteWish)
    return msgspec.structs.replace(wish, body=operation.body)


def spec_of(operation: Operation) -> WriteSpec:
    """What was last sent for an operation."""
    spec = msgspec.convert(operation.resolved or {}, WriteSpec)
    return msgspec.structs.replace(spec, body=operation.sent_body)


def _spec(wish: WriteWish, company_id: str | None) -> WriteSpec:
    return WriteSpec(
        verb=wish.verb,
        company_id=company_id,
        record_id=wish.record_id,
        under=wish.under,
        action=wish.action,
        body=wish.body,
        etag=ANY if wish.overwrite and wish.verb is Verb.UPDATE else wish.if_match,
        match=wish.match,
    )


def _ready(desk: Desk, obj: ObjectInfo, spec: WriteSpec) -> Prepared:
    return Prepared(obj=obj, spec=spec, request=desk.provider.write_request(desk.target, obj, spec))


async def _create(desk: Desk, obj: ObjectInfo, spec: WriteSpec) -> Prepared:
    checked = desk.provider.check(
        obj, await desk.objects(obj.route), Verb.CREATE, spec.body or b"", below=spec.under is not None
    )
    if checked.problems:
        raise refusal(checked.problems)
    return _ready(desk, obj, msgspec.structs.replace(spec, verb=Verb.CREATE, body=checked.body))


async def _update(
    desk: Desk, obj: ObjectInfo, wish: WriteWish, spec: WriteSpec, settings: WriterSettings, *, bound: bool
) -> Prepared:
    """A change relies on a version: the caller's, or the one that is read here (BC-60, BC-61)."""
    body, objects = wish.body or b"", await desk.objects(obj.route)
    checked = desk.provider.check(obj, objects, Verb.UPDATE, body)
    if spec.etag is not None and not checked.problems and not bound:
        return _ready(desk, obj, msgspec.structs.replace(spec, body=checked.body))
    present = await read_record(desk, obj, spec, settings)
    if wish.if_match is not None and present.etag != wish.if_match:
        raise Conflict(subject=present.remote_id)
    return await _change(desk, obj, body, spec, present)


async def _change(desk: Desk, obj: ObjectInfo, body: bytes, spec: WriteSpec, present: Outcome) -> Prepared:
    """Only what differs from the record as it is."""
    changed = desk.provider.only_changes(obj, body, present.record or b"{}")
    checked = desk.provider.check(obj, await desk.objects(obj.route), Verb.UPDATE, changed)
    if checked.problems:
        raise refusal(checked.problems)
    spec = msgspec.structs.replace(
        spec, verb=Verb.UPDATE, record_id=present.remote_id, body=checked.body, etag=spec.etag or present.etag
    )
    if checked.body == b"{}":
        return Prepared(obj=obj, spec=spec, nothing=present)
    return _ready(desk, obj, spec)


async def _upsert(desk: Desk, obj: ObjectInfo, wish: WriteWish, spec: WriteSpec, settings: WriterSettings) -> Prepared:
    """Look for the record by the fields to match, then create or change it. What is created was not there before."""
    body = wish.body or b""
    request = desk.provider.match_request(desk.target, obj, spec.company_id, body, wish.match)
    if request is None:
        raise BadRequest(
            f"“{obj.name}” cannot be looked for by what the body holds.",
            remedy="Name fields to match by whose values are plain text, numbers or ids.",
        )
    response = await desk.call(request, settings.deadline_s)
    found = desk.provider.matches(obj, response, body, wish.match)
    if len(found) > 1:
        raise Duplicate(
            f"{len(found)} records of “{obj.name}” match.", remedy="Match by a field that is unique, or give an id."
        )
    if not found:
        return msgspec.structs.replace(await _create(desk, obj, spec), baseline=NOTHING_THERE)
    return await _change(desk, obj, body, spec, found[0])


async def read_record(desk: Desk, obj: ObjectInfo, spec: WriteSpec, settings: WriterSettings) -> Outcome:
    """The record as it is in the primary database (BC-46)."""
    request = desk.provider.record_request(desk.target, obj, spec.company_id, spec.record_id or "")
    page = desk.provider.record(obj, await desk.call(request, settings.deadline_s))
    return Outcome(remote_id=page.ids[0], etag=desk.provider.etag(page.raws[0]), record=page.raws[0])
