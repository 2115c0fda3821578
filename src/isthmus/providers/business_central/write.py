"""Writing one record: requests out of wishes, outcomes out of answers (behaviour.md 7 and 8; BC-59 to BC-62, BC-73).

Writes never carry the read-only intent, and look-ups after them read the primary database (BC-46).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Final

from isthmus.kernel.failures import InvalidInput, Unsupported
from isthmus.kernel.messages import Repeat, Request, Response
from isthmus.odata import batch, pages
from isthmus.odata.batch import BatchPart, PartOutcome
from isthmus.odata.etags import etag_of
from isthmus.odata.literals import encode_path
from isthmus.providers.base import ObjectInfo, Reading, Target
from isthmus.providers.business_central.addressing import below, object_url, route_url, set_url
from isthmus.providers.business_central.headers import write_headers
from isthmus.providers.business_central.published import ODATA_ROUTE
from isthmus.providers.business_central.read import record_key
from isthmus.providers.writing import Outcome, Verb, WriteSpec

ACTION_PREFIX: Final = "Microsoft.NAV."
_LOCATION_KEY: Final = re.compile(r"\(([^()]+)\)/?\Z")
_NAMES: Final = {Verb.CREATE: "created", Verb.UPDATE: "changed", Verb.UPSERT: "changed", Verb.DELETE: "deleted"}


def refuse(obj: ObjectInfo, verb: Verb, action: str | None) -> None:
    """Raise Unsupported for what the object does not offer, as it describes itself, before anything is sent (BC-62)."""
    if obj.route == ODATA_ROUTE:
        raise Unsupported(
            "Published pages are read, not written.",
            remedy="Write through an API page of the same table, or a custom API.",
        )
    if verb is Verb.ACTION:
        if action not in obj.actions:
            nearest = get_close_matches(action or "", obj.actions, n=3)
            offered = f"It offers {', '.join(obj.actions)}." if obj.actions else "It offers none."
            raise Unsupported(f"“{obj.name}” has no action “{action}”. {offered}", nearest=nearest, subject=action)
        return
    wanted = {
        Verb.CREATE: (obj.insertable,),
        Verb.UPDATE: (obj.updatable,),
        Verb.UPSERT: (obj.insertable, obj.updatable),
        Verb.DELETE: (obj.deletable,),
    }[verb]
    if False in wanted or (verb is not Verb.CREATE and (not obj.key or obj.reading is Reading.QUERY)):
        raise Unsupported(f"Records of “{obj.name}” cannot be {_NAMES[verb]} through this API.", subject=obj.name)


def write_request(target: Target, obj: ObjectInfo, spec: WriteSpec) -> Request:
    """The exact request, but for the credentials. It may be repeated only when it certainly did nothing."""
    match spec.verb:
        case Verb.CREATE:
            method, url = "POST", _collection(target, obj, spec)
        case Verb.UPDATE:
            method, url = "PATCH", _record_url(target, obj, spec)
        case Verb.DELETE:
            method, url = "DELETE", _record_url(target, obj, spec)
        case Verb.ACTION:
            method, url = "POST", f"{_record_url(target, obj, spec)}/{ACTION_PREFIX}{encode_path(spec.action or '')}"
        case _:
            raise InvalidInput("An upsert is sent as a create or an update.")
    if spec.verb is Verb.UPDATE and not spec.etag:
        raise InvalidInput("A change needs the version that it relies on (If-Match).")
    headers = write_headers(etag=spec.etag)
    body = spec.body if spec.verb in (Verb.CREATE, Verb.UPDATE) else None
    if body is None:
        del headers["Content-Type"]
    return Request(
        method=method, url=url, headers=headers, body=body, repeat=Repeat.UNSENT_ONLY, purpose=spec.verb.value
    )


def outcome(obj: ObjectInfo, spec: WriteSpec, response: Response) -> Outcome:
    """Read a 2xx answer: 200, 201 or 204, with a record or without (`return=minimal`) (BC-59)."""
    if spec.verb in (Verb.DELETE, Verb.ACTION):
        return Outcome(remote_id=spec.record_id)
    if not response.body.strip():
        found = _LOCATION_KEY.search(response.headers.get("location", ""))
        return Outcome(remote_id=spec.record_id or (found.group(1) if found else None))
    page = pages.slice_record(response.body, key=obj.key, stamp=obj.stamp)
    return Outcome(remote_id=page.ids[0], etag=etag_of(page.raws[0]), record=page.raws[0])


def batch_part(target: Target, part_id: str, request: Request) -> BatchPart:
    """One write as a part: relative to the route's root, with headers of its own (BC-79)."""
    path = request.url.removeprefix(f"{target.api_url}/")
    relative = path.partition("/api/")[2]
    route, _, tail = relative.partition("/companies(")
    if not tail:
        raise InvalidInput("Only writes below a company can be sent in a batch.", subject=route)
    headers = {name: value for name, value in request.headers.items() if name in ("If-Match", "Content-Type")}
    return BatchPart(id=part_id, method=request.method, url=f"companies({tail}", headers=headers, body=request.body)


def batch_request(target: Target, route: str, parts: Sequence[BatchPart], *, isolated: bool) -> Request:
    """The request that carries the parts: all of them run, or none lasts (BC-81, BC-82)."""
    headers = write_headers() | (batch.SNAPSHOT if isolated else batch.CONTINUE_ON_ERROR)
    return Request(
        method="POST",
        url=f"{route_url(target, route)}/$batch",
        headers=headers,
        body=batch.encode_json(parts),
        repeat=Repeat.UNSENT_ONLY,
        purpose="batch",
    )


def batch_outcomes(
    parts: Sequence[BatchPart], response: Response, *, isolated: bool, commits: bool
) -> list[PartOutcome]:
    """The fate of every part: the outer status says nothing (BC-79, BC-80, BC-82)."""
    return batch.decode_json(response.body, parts, snapshot=isolated, commits=commits)


def _collection(target: Target, obj: ObjectInfo, spec: WriteSpec) -> str:
    if spec.under is None:
        return object_url(target, obj, spec.company_id)
    return under_url(target, obj, spec)


def under_url(target: Target, obj: ObjectInfo, spec: WriteSpec) -> str:
    """The collection below a record: some children are created nowhere else (`dimensionSetLines`)."""
    assert spec.under is not None
    parent = set_url(target, obj.route, spec.under.object, spec.company_id)
    return f"{parent}({encode_path(spec.under.record_id)})/{encode_path(spec.under.navigation)}"


def _record_url(target: Target, obj: ObjectInfo, spec: WriteSpec) -> str:
    if not spec.record_id:
        raise InvalidInput("The record's id is missing.")
    return below(object_url(target, obj, spec.company_id), record_key(obj, spec.record_id))
