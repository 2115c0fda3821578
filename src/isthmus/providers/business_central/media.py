"""Streams of a record: pictures, attachments, PDFs. Their bytes never travel inside JSON, only by a link (BC-58)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from isthmus.kernel.messages import Request
from isthmus.odata.links import same_origin
from isthmus.odata.pages import corrupt
from isthmus.providers.base import Target
from isthmus.providers.business_central.headers import read_headers

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
