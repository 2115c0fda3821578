"""What the host's page asks for while a popup is open: the state of a link, told to the allowed origin alone."""

from __future__ import annotations

from typing import Any

import msgspec

from isthmus.connections.sessions_end import failure_of
from isthmus.store.connect_sessions import ConnectSession


class LinkStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The public part of a session. `failure` has code, message and remedy."""

    session: str
    status: str
    step: str
    connection: str | None
    failure: dict[str, str] | None


def link_status(session: ConnectSession) -> LinkStatus:
    """What whoever holds the link may know."""
    failure: dict[str, Any] | None = failure_of(session)
    return LinkStatus(
        session=str(session.id),
        status=session.status,
        step=session.step,
        connection=str(session.connection_id) if session.status == "connected" else None,
        failure=None if failure is None else {name: str(failure[name]) for name in ("code", "message", "remedy")},
    )
