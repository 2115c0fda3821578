"""Checking a connection from a page: what the steps said is kept, so that the result has an address."""

from __future__ import annotations

from isthmus.connections.checking import Report
from isthmus.console.visit import Visit
from isthmus.kernel.failures import Failure
from isthmus.store.rows import Connection


async def check_and_keep(visit: Visit, connection: Connection) -> Report | None:
    """Check, and keep the steps with the connection. None when no step could be taken at all; that is kept too."""
    try:
        return await visit.here.check(connection)
    except Failure:
        return None
