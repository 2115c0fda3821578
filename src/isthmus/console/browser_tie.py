"""The cookie that ties a sign-in at the vendor's to this browser."""

from __future__ import annotations

from typing import Any

from litestar import Request
from litestar.datastructures import Cookie

from isthmus.connections.browsers import COOKIE_S, cookie_name
from isthmus.console.services import Services


def tie_cookie(services: Services, state: str, token: str) -> Cookie:
    """Not readable by scripts, gone with the sign-in. It has to reach `/oauth/callback`, so it is sent everywhere."""
    secure = services.public_url.startswith("https://")
    return Cookie(
        key=cookie_name(state, secure=secure),
        value=token,
        path="/",
        httponly=True,
        samesite="lax",
        secure=secure,
        max_age=COOKIE_S,
    )


def tie_of(services: Services, request: Request[Any, Any, Any], state: str) -> str:
    """What this browser brings for a sign-in, or nothing."""
    return request.cookies.get(cookie_name(state, secure=services.public_url.startswith("https://")), "")
