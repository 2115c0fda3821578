"""New credentials tried at the identity provider before anything is stored: a mistyped secret replaces nothing."""

from __future__ import annotations

from typing import Final

from isthmus.auth.entra.grants import client_credentials
from isthmus.client.protocols import Journal
from isthmus.client.tokens import run_grant
from isthmus.connections.credentials import AppCredentials
from isthmus.connections.making import Wish
from isthmus.connections.opening import Opener
from isthmus.kernel.clock import Clock
from isthmus.kernel.failures import (
    AppNotRegistered,
    ConsentMissing,
    Failure,
    InvalidInput,
    PermissionMissing,
    TransientFailure,
)

SOMEBODY_ELSE: Final = (ConsentMissing, AppNotRegistered, PermissionMissing)
"""What was typed is right as far as it goes; somebody else has to do something first."""


def worth_keeping(failure: Failure) -> bool:
    """True when the same credentials will do later: somebody else has to act, or a trouble passes."""
    return isinstance(failure, (*SOMEBODY_ELSE, TransientFailure))


async def try_app(opener: Opener, clock: Clock, wish: Wish, app: AppCredentials, journal: Journal) -> None:
    """Ask the identity provider for a token and forget it. Raises what it answers, as a Failure with its remedy."""
    credential = app.credential()
    if credential is None:
        raise InvalidInput("An app signs in with a client secret or with a certificate: give one of them.")
    await run_grant(
        client_credentials(
            wish.cloud.authority(wish.tenant),
            client_id=app.client_id,
            credential=credential,
            resource=wish.cloud.business_central_resource,
            now=clock.now(),
        ),
        opener.token_call(wish.cloud, journal),
    )
