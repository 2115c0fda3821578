"""Streams of a record: pictures, attachments, PDFs. Their bytes never travel inside JSON, only by a link (BC-58)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any, Final

import msgspec

from isthmus.kernel.failures import RecordNotFound, UnknownField
from isthmus.kernel.messages import Repeat, Request, Response
from isthmus.odata.links import same_origin
from isthmus.odata.literals import encode_path
from isthmus.odata.pages import corrupt
from isthmus.providers.base import ObjectInfo, Target
from isthmus.providers.business_central.addressing import below, object_url
from isthmus.providers.business_central.headers import read_headers, write_headers
from isthmus.providers.business_central.read import record_key
from isthmus.providers.writing import StreamPlace

READ_LINK: Final = "@odata.mediaReadLink"
_RECORD: Final = msgspec.json.Decoder(dict[str, Any])


def media_links(raw: bytes) -> Mapping[str, str]:
    """The read link of each stream of a record, by the stream's name, verbatim."""
    try:
        members = _RECORD.decode(raw)
    except msgspec.DecodeError as error:
        raise corrupt(raw, error) from error
    return {
        name.removesuffix(READ_LINK): link
        for name, link in members.items()
        if name.endswith(READ_LINK) and isinstance(link, str)
    }


def media_request(target: Target, link: str) -> Request:
    """The request for a stream's bytes: with the token, so only to the vendor's own origin (BC-29)."""
    return Request(
        method="GET",
        url=same_origin(target.api_url, link),
        headers=read_headers(replica=False, accept="*/*"),
        purpose="media",
    )


UPLOAD_S_MAX: Final = 65.0
"""The service ends an upload that takes longer (behaviour.md 7)."""


def stream_place(obj: ObjectInfo, available: Sequence[ObjectInfo], path: str) -> StreamPlace:
    """`attachmentContent` is a field of the record, `picture/pictureContent` one of its single part `picture`."""
    part, slash, name = path.strip("/").rpartition("/")
    holder = obj
    if slash:
        found = next((nav.target for nav in obj.navigation if nav.name == part and not nav.many), None)
        holder = next((each for each in available if each.name == found), obj) if found else obj
    streams = [field.name for field in holder.fields if field.type == "Edm.Stream"]
    if (slash and holder is obj) or name not in streams:
        offered = _offered(obj, available)
        told = f"It has {', '.join(offered)}." if offered else "It has none."
        raise UnknownField(
            f"“{obj.name}” has no stream “{path}”. {told}",
            nearest=get_close_matches(path, offered, n=3, cutoff=0.3) or offered[:3],
            subject=path,
        )
    return StreamPlace(field=name, part=part or None)


def _offered(obj: ObjectInfo, available: Sequence[ObjectInfo]) -> list[str]:
    """Every stream of a record, as paths."""
    by_name = {each.name: each for each in available}
    own = [field.name for field in obj.fields if field.type == "Edm.Stream"]
    for nav in obj.navigation:
        target = by_name.get(nav.target)
        if target is not None and not nav.many:
            own += [f"{nav.name}/{field.name}" for field in target.fields if field.type == "Edm.Stream"]
    return own


def holder_request(
    target: Target, obj: ObjectInfo, company_id: str | None, record_id: str, place: StreamPlace
) -> Request:
    """The record with the links of its streams, from the primary database (BC-46, BC-58)."""
    return Request(
        method="GET",
        url=_holder_url(target, obj, company_id, record_id, place),
        headers=read_headers(replica=False),
        purpose="record",
    )


def content_request(target: Target, holder: Response, place: StreamPlace) -> Request:
    """The bytes by the link that the record gives, verbatim and only to the vendor's own origin (BC-29, BC-58)."""
    link = media_links(holder.body).get(place.field)
    if link is None:
        raise RecordNotFound(f"The record has no “{place.field}”.", subject=place.field)
    return media_request(target, link)


def upload_request(
    target: Target, obj: ObjectInfo, company_id: str | None, record_id: str, place: StreamPlace
) -> Request:
    """Bytes replace what is there, whatever version that is: the service asks for `If-Match: *` (BC-77)."""
    url = f"{_holder_url(target, obj, company_id, record_id, place)}/{encode_path(place.field)}"
    headers = write_headers(etag="*") | {"Content-Type": "application/octet-stream"}
    return Request(
        method="PATCH", url=url, headers=headers, repeat=Repeat.UNSENT_ONLY, timeout_s=UPLOAD_S_MAX, purpose="upload"
    )


def _holder_url(target: Target, obj: ObjectInfo, company_id: str | None, record_id: str, place: StreamPlace) -> str:
    url = below(object_url(target, obj, company_id), record_key(obj, record_id))
    return f"{url}/{encode_path(place.part)}" if place.part else url
