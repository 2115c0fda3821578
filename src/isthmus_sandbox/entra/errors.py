"""AADSTS errors: the catalogue of `data/entra-errors.json` and the shapes in which Entra sends them.

Microsoft asks clients to branch on `error` and `suberror`; the number and text only help people. The `oauthError` per
code is the typical value [verify].
"""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from importlib import resources

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from isthmus_sandbox.clock import SandboxClock

RETRY_AFTER_S = 5
"""What a throttled answer asks for when nothing else is set; MSAL falls back to the same number."""
CLAIMS_CHALLENGE = '{"access_token":{"capolids":{"essential":true,"values":["c21c2b0e-canary-policy"]}}}'
"""The claims that a step-up asks the client to echo on authorize (a JSON *string*, OA-32)."""

NO_STORE = {"Cache-Control": "no-store, no-cache", "Pragma": "no-cache"}

_ON_REDIRECT = {65001: "consent_required", 50076: "interaction_required", 50079: "interaction_required"}
_SUBERRORS = {65001: "consent_required", 50076: "basic_action", 50079: "basic_action", 50173: "bad_token"}


@dataclass(frozen=True, slots=True)
class CatalogueEntry:
    """One AADSTS code as the data file has it."""

    code: int
    name: str
    oauth_error: str
    meaning: str
    retryable: bool


@dataclass(slots=True, eq=False)
class EntraError(Exception):
    """A refusal by Entra. `code` names the catalogue entry; the rest overrides what the entry says."""

    code: int
    detail: str = ""
    suberror: str | None = None
    claims: str | None = None
    status: int | None = None
    retry_after_s: int | None = None


def load_catalogue() -> dict[int, CatalogueEntry]:
    """All codes of the data file (101)."""
    text = resources.files("isthmus_sandbox").joinpath("data/entra-errors.json").read_text("utf-8")
    return {
        row["code"]: CatalogueEntry(row["code"], row["name"], row["oauthError"], row["meaning"], row["retryable"])
        for row in json.loads(text)["codes"]
    }


class ErrorAnswers:
    """Turns an EntraError into the bodies and redirects that a client sees (OA-40)."""

    def __init__(self, clock: SandboxClock) -> None:
        self._clock = clock
        self.catalogue = load_catalogue()

    def oauth_error(self, error: EntraError, *, on_redirect: bool = False) -> str:
        """The value of `error`: on a redirect, `invalid_grant` does not exist and refusals read `access_denied`."""
        value = self.catalogue[error.code].oauth_error
        if on_redirect and value == "invalid_grant":
            return _ON_REDIRECT.get(error.code, "access_denied")
        return value

    def description(self, error: EntraError, trace_id: str, correlation_id: str) -> str:
        """`AADSTS<code>: <text> Trace ID: … Correlation ID: … Timestamp: …`, as Entra writes it."""
        meaning = self.catalogue[error.code].meaning
        text = error.detail or f"{meaning[0].upper()}{meaning[1:]}."
        return (
            f"AADSTS{error.code}: {text} Trace ID: {trace_id} Correlation ID: {correlation_id} "
            f"Timestamp: {self.timestamp()}"
        )

    def timestamp(self) -> str:
        """Entra's own form of a time, which is not ISO: `2026-01-31 09:05:00Z`."""
        return self._clock.now().strftime("%Y-%m-%d %H:%M:%SZ")

    def status(self, error: EntraError) -> int:
        """401 for invalid_client, 429 for throttling, 5xx for faults on Entra's side, 400 for the rest."""
        if error.status is not None:
            return error.status
        if error.code == 90055 or error.retry_after_s is not None:
            return 429
        by_error = {"invalid_client": 401, "temporarily_unavailable": 503, "server_error": 500}
        return by_error.get(self.catalogue[error.code].oauth_error, 400)

    def as_json(self, error: EntraError, request: Request) -> Response:
        """The full error body of the token endpoint."""
        trace_id, correlation_id = str(uuid.uuid4()), correlation_id_of(request)
        body: dict[str, object] = {
            "error": self.oauth_error(error),
            "error_description": self.description(error, trace_id, correlation_id),
            "error_codes": [error.code],
            "timestamp": self.timestamp(),
            "trace_id": trace_id,
            "correlation_id": correlation_id,
            "error_uri": f"https://{request.headers.get('host', 'localhost')}/error?code={error.code}",
        }
        suberror = error.suberror or _SUBERRORS.get(error.code)
        if suberror:
            body["suberror"] = suberror
        claims = error.claims or (CLAIMS_CHALLENGE if error.code == 50076 else None)
        if claims:
            body["claims"] = claims
        headers = {**NO_STORE, "x-ms-request-id": trace_id, "client-request-id": correlation_id}
        status = self.status(error)
        retry_after_s = error.retry_after_s
        if retry_after_s is None and error.code == 90055:
            retry_after_s = RETRY_AFTER_S
        if retry_after_s:
            headers["Retry-After"] = str(retry_after_s)
        return JSONResponse(body, status, headers)

    def as_redirect_parameters(self, error: EntraError, request: Request) -> dict[str, str]:
        """What the redirect URI is called with."""
        trace_id, correlation_id = str(uuid.uuid4()), correlation_id_of(request)
        parameters = {
            "error": self.oauth_error(error, on_redirect=True),
            "error_description": self.description(error, trace_id, correlation_id),
            "error_uri": f"https://{request.headers.get('host', 'localhost')}/error?code={error.code}",
        }
        claims = error.claims or (CLAIMS_CHALLENGE if error.code == 50076 else None)
        if claims:
            parameters["claims"] = claims
        return parameters


def answers_challenge(sent: str | None) -> bool:
    """Whether a `claims` parameter holds the sandbox's challenge, in whatever spelling of the JSON."""
    try:
        asked = json.loads(sent or "null")
    except ValueError:
        return False
    if not isinstance(asked, dict) or not isinstance(asked.get("access_token"), dict):
        return False
    wanted: dict[str, object] = json.loads(CLAIMS_CHALLENGE)["access_token"]
    return all(asked["access_token"].get(name) == value for name, value in wanted.items())


def correlation_id_of(request: Request) -> str:
    """The client's own correlation id where it sent one, else a new one."""
    sent = request.headers.get("client-request-id") or request.query_params.get("client-request-id") or ""
    try:
        return str(uuid.UUID(sent))
    except ValueError:
        return str(uuid.uuid4())
