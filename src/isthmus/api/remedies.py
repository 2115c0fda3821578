"""Remedies in the words of the API: whoever calls it is told what to call, never what to type."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from isthmus.kernel import failures as f
from isthmus.kernel.failures import Failure

WORDS: Final[Mapping[type[Failure], str]] = {
    f.CredentialFailure: "POST /v1/connections/{connection_id}/check tells which step fails.",
    f.SignInAgain: (
        "Somebody has to sign in again: make a link with POST /v1/connect-sessions that names the `connection`; its "
        "data and its place are kept."
    ),
    f.EnvironmentNotFound: (
        "POST /v1/connections/{connection_id}/check names the environments that this sign-in can see; "
        "PUT /v1/connections/{connection_id}/environment chooses one."
    ),
    f.CompanyNotFound: "GET /v1/connections/{connection_id} lists the companies.",
    f.UnknownObject: "GET /v1/connections/{connection_id}/objects lists what this environment offers.",
    f.UnknownField: "GET /v1/connections/{connection_id}/objects/{name} lists the object's fields.",
    f.PausedAfterRestore: (
        "GET /readyz tells what waits. Whoever runs this hub has to see what may have happened since the backup, and "
        "let it go on: the console's first page leads there."
    ),
    f.SchemaDrift: (
        "GET /v1/connections/{connection_id}/objects/{name} lists the fields that there are; "
        "PATCH /v1/syncs/{sync_id} changes those that the sync selects."
    ),
    f.OutcomeUnknown: (
        "Look in the vendor's system. Then say what you found with POST /v1/operations/{operation_id}/decide, or have "
        "it sent again with POST /v1/operations/{operation_id}/retry."
    ),
}
"""What to call about a class of failure. A test compares the addresses with the API's description."""
