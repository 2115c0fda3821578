"""The files of the pages: style, script, sign. Their address carries their hash, so browsers may keep them."""

from __future__ import annotations

from typing import Final

from litestar import Response, get
from litestar.exceptions import NotFoundException
from litestar.params import FromPath

from isthmus.console.admission import OPEN
from isthmus.console.pages import STATIC, static_bytes

_FILES: Final = {name: static_bytes(name) for name in STATIC}


@get("/static/{name:str}", opt={OPEN: True}, sync_to_thread=False)
def static_file(name: FromPath[str]) -> Response[bytes]:
    """One of the files."""
    if name not in _FILES:
        raise NotFoundException
    return Response(
        content=_FILES[name],
        media_type=STATIC[name],
        headers={"cache-control": "public, max-age=31536000, immutable"},
    )
