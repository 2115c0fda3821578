"""What a person is asked to approve: the exact request, and what it changes.

Nothing is sent but reads. The digest is over what would be sent, and over the version of the record that it is done to:
nobody approves one thing and another takes place.
"""

from __future__ import annotations

import hashlib
from typing import Final

import msgspec

from isthmus.actions.writing.desk import Desk
from isthmus.actions.writing.prepare import Prepared, prepare_wish, read_record
from isthmus.actions.writing.settings import WriterSettings
from isthmus.actions.writing.wishes import PlannedRequest, WriteWish
from isthmus.kernel.failures import Failure
from isthmus.providers.base import ObjectInfo
from isthmus.providers.writing import Outcome, Verb

SHOWN_BYTES_MAX: Final = 256 * 1024
"""Of a body or record inside a proposal; longer ones are cut for the eye, what is sent is not."""

CHANGES_MAX: Final = 500
_RAW: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One field before and after, as JSON text; `before` None where the record is new."""

    field: str
    before: str | None
    after: str


class Proposal(msgspec.Struct, frozen=True, kw_only=True):
    """A write as it would be sent now. `record` is the record as it is, where there is one; `nothing` when the record
    has the wanted values already. `digest` names exactly this request."""

    digest: str
    request: PlannedRequest | None
    changes: tuple[Change, ...] = ()
    record: str | None = None
    etag: str | None = None
    nothing: bool = False


async def propose(
    desk: Desk, obj: ObjectInfo, wish: WriteWish, company_id: str | None, settings: WriterSettings
) -> Proposal:
    """The proposal for a wish whose names are resolved. Raises what preparing it meets."""
    prepared = await prepare_wish(desk, obj, wish, company_id, settings)
    present = await _present(desk, obj, prepared, settings)
    record = present.record if present else None
    return Proposal(
        digest=_digest(prepared, present),
        request=_planned(prepared),
        changes=_changes(prepared, record),
        record=_text(record),
        etag=prepared.spec.etag or (present.etag if present else None),
        nothing=prepared.nothing is not None,
    )


async def _present(desk: Desk, obj: ObjectInfo, prepared: Prepared, settings: WriterSettings) -> Outcome | None:
    if prepared.nothing is not None:
        return prepared.nothing
    if prepared.spec.record_id is None or prepared.spec.verb is Verb.CREATE:
        return None
    try:
        return await read_record(desk, obj, prepared.spec, settings)
    except Failure:
        return None  # the request is shown without the record then


def _planned(prepared: Prepared) -> PlannedRequest | None:
    request = prepared.request
    if request is None:
        return None
    return PlannedRequest(
        method=request.method, url=request.url, headers=dict(request.headers), body=_text(request.body)
    )


def _digest(prepared: Prepared, present: Outcome | None) -> str:
    digest = hashlib.blake2b(digest_size=16)
    request = prepared.request
    if request is not None:
        version = request.headers.get("If-Match") or (present.etag if present else None) or ""
        for part in (request.method.encode(), request.url.encode(), version.encode(), request.body or b""):
            digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()


def _changes(prepared: Prepared, record: bytes | None) -> tuple[Change, ...]:
    """Field by field, as JSON text: numbers stay as they are written."""
    if prepared.spec.body is None or prepared.nothing is not None:
        return ()
    before = _RAW.decode(record) if record else {}
    return tuple(
        Change(field=name, before=bytes(before[name]).decode() if name in before else None, after=bytes(raw).decode())
        for name, raw in list(_RAW.decode(prepared.spec.body).items())[:CHANGES_MAX]
    )


def _text(body: bytes | None) -> str | None:
    if body is None:
        return None
    text = body[:SHOWN_BYTES_MAX].decode("utf-8", "replace")
    return text if len(body) <= SHOWN_BYTES_MAX else f"{text} … ({len(body):,} bytes)"
