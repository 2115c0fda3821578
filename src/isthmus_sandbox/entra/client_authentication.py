"""Who is calling the token endpoint: client secrets and certificate assertions (OA-14, OA-15, OA-38, OA-39)."""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Mapping
from urllib.parse import unquote_plus

from joserfc import jws, jwt
from joserfc.errors import JoseError
from joserfc.jwk import RSAKey

from isthmus_sandbox.entra.directory import Directory
from isthmus_sandbox.entra.errors import EntraError
from isthmus_sandbox.entra.records import App, Certificate

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
ASSERTION_LIFETIME_MAX_S = 3_600
"""A client assertion lives at most an hour (`oauth/behaviour.md` section 3)."""
ASSERTION_HEADER_BYTES_MAX = 16 * 1024
CLOCK_SKEW_S = 300
"""Tolerated difference between the client's clock and Entra's [verify]."""


def basic_credentials(header: str) -> tuple[str, str] | None:
    """Client id and secret of an HTTP Basic header, both form-decoded; None when it is another scheme."""
    scheme, _, encoded = header.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        client_id, _, secret = base64.b64decode(encoded.strip(), validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError) as error:
        raise EntraError(9002313, "The Authorization header cannot be read.") from error
    return unquote_plus(client_id), unquote_plus(secret)


def authenticate_client(
    directory: Directory, app: App, form: Mapping[str, str], *, public: bool, tenant_id: str, audiences: frozenset[str]
) -> None:
    """Check the client's credentials.

    `public` says that the sign-in came by a redirect URI of a public or single-page platform, where none may be sent
    (700025). Raises EntraError 7000218, 7000215, 7000222, 700027, 500133 or 50013.
    """
    secret, assertion = form.get("client_secret"), form.get("client_assertion")
    if public:
        if secret or assertion:
            raise EntraError(
                700025, "Client is public so neither 'client_assertion' nor 'client_secret' should be presented."
            )
    elif assertion:
        if form.get("client_assertion_type") != ASSERTION_TYPE:
            raise EntraError(50013, f"client_assertion_type must be '{ASSERTION_TYPE}'.")
        _check_assertion(directory, app, assertion, audiences)
    elif secret:
        _check_secret(directory, app, secret, tenant_id)
    else:
        raise EntraError(
            7000218, "The request body must contain the following parameter: 'client_assertion' or 'client_secret'."
        )


def _check_secret(directory: Directory, app: App, secret: str, tenant_id: str) -> None:
    now_s = directory.clock.time_s()
    switches = directory.switches
    two_secrets = switches.peek("two-secrets", tenant_id, app.client_id)
    accepted = app.secrets[-1:] if two_secrets is not None and two_secrets.value is False else app.secrets
    matching = [known for known in accepted if hmac.compare_digest(known.value.encode(), secret.encode())]
    if not matching or switches.use("secret-wrong", tenant_id, app.client_id):
        raise EntraError(
            7000215,
            "Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, "
            f"not the client secret ID, for a secret added to app '{app.client_id}'.",
        )
    if all(known.expires_at_s <= now_s for known in matching) or switches.use(
        "secret-expired", tenant_id, app.client_id
    ):
        raise EntraError(7000222, f"The provided client secret keys for app '{app.client_id}' are expired.")


def _check_assertion(directory: Directory, app: App, assertion: str, audiences: frozenset[str]) -> None:
    now_s = directory.clock.time_s()
    certificate = _certificate_of(app, assertion)
    if not certificate.starts_at_s <= now_s < certificate.expires_at_s:
        raise EntraError(700027, "Client assertion failed signature validation: the certificate is not valid now.")
    try:
        key = RSAKey.import_key(certificate.pem)
        claims = jwt.decode(assertion, key, registry=_assertion_registry()).claims
    except (JoseError, ValueError) as error:
        raise EntraError(700027, "Client assertion failed signature validation.") from error
    audience = claims.get("aud")
    if audience not in audiences:
        raise EntraError(50013, f"Assertion audience '{audience}' is not this token endpoint.")
    if claims.get("iss") != app.client_id or claims.get("sub") != app.client_id:
        raise EntraError(50013, "Assertion issuer and subject must both be the client id.")
    expires, starts = claims.get("exp"), claims.get("nbf")
    if not isinstance(expires, int | float):
        raise EntraError(50013, "Assertion has no expiry.")
    if expires < now_s - CLOCK_SKEW_S or (isinstance(starts, int | float) and starts > now_s + CLOCK_SKEW_S):
        raise EntraError(500133, "Assertion is not within its valid time range. Check the clock of the client.")
    if expires > now_s + ASSERTION_LIFETIME_MAX_S + CLOCK_SKEW_S:
        raise EntraError(50013, f"Assertion lives longer than {ASSERTION_LIFETIME_MAX_S} seconds.")


def _assertion_registry() -> jws.JWSRegistry:
    """PS256 only; headers may carry a whole certificate chain (`x5c`), as MSAL sends it."""
    registry = jws.JWSRegistry(algorithms=["PS256"])
    registry.max_header_length = ASSERTION_HEADER_BYTES_MAX
    return registry


def _certificate_of(app: App, assertion: str) -> Certificate:
    try:
        header = jws.extract_compact(assertion.encode(), registry=_assertion_registry()).protected
    except (JoseError, ValueError) as error:
        raise EntraError(50013, "Assertion is not a signed JSON Web Token.") from error
    thumbprint = str(header.get("x5t#S256", "")).rstrip("=")
    if header.get("alg") != "PS256" or not thumbprint:
        raise EntraError(700027, "Client assertion must be signed with PS256 and name its certificate in x5t#S256.")
    for certificate in app.certificates:
        if certificate.thumbprint_s256 == thumbprint:
            return certificate
    raise EntraError(700027, f"The certificate with thumbprint '{thumbprint}' is not registered for the app.")
