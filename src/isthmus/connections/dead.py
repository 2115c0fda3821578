"""A sign-in that the identity provider has declared dead is not tried again until somebody signs in anew (OA-19)."""

from __future__ import annotations

import msgspec

from isthmus.kernel.failures import SignInAgain, VendorFault
from isthmus.store.rows import Connection


def refuse_dead(connection: Connection) -> None:
    """Raise the SignInAgain that ended the connection, before anything is sent. A check still tries, unless somebody
    has disconnected it."""
    if connection.state == "disconnected":
        raise SignInAgain(
            f"“{connection.name}” is disconnected.", remedy="Connect it again under the same name to go on."
        )
    failure = connection.failure or {}
    if connection.state == "needs_reauth" and failure.get("code") == SignInAgain.code:
        vendor = failure.get("vendor")
        raise SignInAgain(
            failure.get("message"),
            remedy=failure.get("remedy"),
            vendor=msgspec.convert(vendor, VendorFault) if vendor else None,
        )
