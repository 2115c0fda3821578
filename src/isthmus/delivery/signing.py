"""Signatures by the Standard Webhooks scheme, so that receivers can verify with a library they already have.

Verifying on the receiver's side, in Python:

    from standardwebhooks import Webhook

    event = Webhook("whsec_…").verify(body, headers)   # raises when the body is not ours, changed, or five minutes old
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from standardwebhooks import Webhook

from isthmus.kernel.failures import InvalidInput

SECRETS_MAX: Final = 5
"""Secrets of one destination that sign at the same time: one in use and a few on their way out."""

_PREFIX: Final = "whsec_"
_SECRET_BYTES: Final = 32
_SECRET_BYTES_MIN: Final = 24
_SECRET_BYTES_MAX: Final = 64
"""24 to 64 bytes, as the scheme prescribes."""


def new_secret() -> str:
    """A fresh signing secret, `whsec_…`."""
    return _PREFIX + base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()


def check_secret(secret: str) -> str:
    """A secret that somebody brings along, if it can be used. Raises InvalidInput without repeating it."""
    try:
        size = len(base64.b64decode(secret.removeprefix(_PREFIX), validate=True))
    except ValueError:
        size = 0
    if not secret.startswith(_PREFIX) or not _SECRET_BYTES_MIN <= size <= _SECRET_BYTES_MAX:
        raise InvalidInput(
            "This is no signing secret of the Standard Webhooks scheme.",
            remedy="Use whsec_ followed by 24 to 64 random bytes in base64, or let isthmus make one.",
        )
    return secret


def signed_headers(signing_secrets: Sequence[str], message_id: str, at: datetime, body: bytes) -> dict[str, str]:
    """`webhook-id`, `webhook-timestamp`, `webhook-signature`: one signature per active secret, so that a receiver may
    change over to a new secret at any time during a rotation.
    """
    if not 1 <= len(signing_secrets) <= SECRETS_MAX:
        raise InvalidInput(f"A destination needs one to {SECRETS_MAX} signing secrets.")
    text = body.decode()
    signatures = [Webhook(secret).sign(message_id, at, text) for secret in signing_secrets]
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": " ".join(signatures),
    }
