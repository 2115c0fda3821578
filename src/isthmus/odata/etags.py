"""ETags: opaque values, taken out of JSON unescaped (BC-56)."""

from __future__ import annotations

from typing import Final

import msgspec

from isthmus.odata.pages import corrupt

ANY: Final = "*"
"""`If-Match: *`, the last writer wins: only on explicit request (BC-61)."""


class _Tagged(msgspec.Struct, gc=False):
    etag: str | None = msgspec.field(name="@odata.etag", default=None)


_DECODER: Final = msgspec.json.Decoder(_Tagged)


def etag_of(raw: bytes) -> str | None:
    """The record's etag as `If-Match` wants it: `W/"…"`, without JSON's backslashes. None where there is none."""
    try:
        return _DECODER.decode(raw).etag
    except msgspec.DecodeError as error:
        raise corrupt(raw, error) from error


def if_match(etag: str) -> dict[str, str]:
    """The header for a conditional write. The value is opaque: it goes back as it came."""
    return {"If-Match": etag}
