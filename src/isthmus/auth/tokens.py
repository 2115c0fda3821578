"""What every grant returns."""

from __future__ import annotations

from collections.abc import Generator
from datetime import datetime

import msgspec

from isthmus.kernel.messages import Request, Response


class TokenSet(msgspec.Struct, frozen=True, kw_only=True):
    """The tokens of one grant for one resource. Its repr names no token.

    `expires_at` is counted from before the request, so it errs towards early. `refresh_token` is the newest known one
    (None for app-only grants). `scope` is what was granted, None when the server does not say;
    `missing_scopes` lists what was asked for and not granted (OA-42).
    """

    access_token: str
    expires_at: datetime
    obtained_at: datetime
    refresh_token: str | None = None
    id_token: str | None = None
    scope: str | None = None
    missing_scopes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        kept = "with" if self.refresh_token else "without"
        return f"TokenSet(expires_at={self.expires_at.isoformat()}, {kept} refresh token, scope={self.scope!r})"


Grant = Generator[Request, Response, TokenSet]
"""One way to get tokens: `next(grant)`, then `grant.send(response)` until StopIteration carries the TokenSet."""
