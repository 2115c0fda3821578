"""OpenID Connect as a client: discovery, the code flow with PKCE, and an id_token that is believed only when everything
about it is right. Any provider; RFC 6749, 7636, 9207, OpenID Connect Core 1.0 and its RP-Initiated
Logout 1.0 are the facts.

I/O goes through `transport`. Nothing of a token is kept or logged; what comes out is who somebody is.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import logging
from collections.abc import Mapping
from typing import Any, Final, TypeVar
from urllib.parse import quote, urlencode, urlsplit

import msgspec
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from isthmus.kernel.clock import Clock
from isthmus.kernel.failures import Failure, IdentityConfiguration, SignInAgain, VendorUnavailable
from isthmus.kernel.messages import Request, Response
from isthmus.settings_oidc import OidcSettings
from isthmus.transport.http import HttpTransport, TransportSettings

ALGORITHMS: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512")
"""Signatures with a public key. `none` and shared secrets are never taken."""

SKEW_MAX_S: Final = 120
"""Clocks may differ by two minutes."""

METADATA_LIFE_S: Final = 3_600.0
REQUEST_TIMEOUT_S: Final = 15.0
ANSWER_BYTES_MAX: Final = 512 * 1024
TOKEN_CHARACTERS_MAX: Final = 64 * 1024
NAME_CHARACTERS_MAX: Final = 80
Kind = TypeVar("Kind")

_log = logging.getLogger(__name__)

_LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")


class Metadata(msgspec.Struct, frozen=True, kw_only=True):
    """What the discovery document says, as far as it is needed."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    end_session_endpoint: str = ""
    token_endpoint_auth_methods_supported: tuple[str, ...] = ("client_secret_basic",)
    authorization_response_iss_parameter_supported: bool = False


class Journey(msgspec.Struct, frozen=True, kw_only=True):
    """The secrets of one sign-in, all made of one random cookie: nothing has to be kept on the server."""

    state: str
    nonce: str
    verifier: str

    @property
    def challenge(self) -> str:
        """PKCE's S256 of the verifier."""
        return _url_safe(hashlib.sha256(self.verifier.encode()).digest())


class Who(msgspec.Struct, frozen=True, kw_only=True):
    """Whom the provider has vouched for. `values` are those of the role claim.

    `email` is to be shown; it says where somebody belongs only when `email_proven`: what people may choose for
    themselves (`preferred_username`, an address that nobody has verified) does not.
    """

    issuer: str
    subject: str
    name: str
    email: str
    email_proven: bool
    values: tuple[str, ...]


def journey(cookie: str) -> Journey:
    """The secrets that belong to a cookie."""

    def part(purpose: str) -> str:
        return _url_safe(hmac.new(cookie.encode(), f"isthmus oidc {purpose}".encode(), hashlib.sha256).digest())

    return Journey(state=part("state"), nonce=part("nonce"), verifier=part("verifier"))


class OidcProvider:
    """One provider, with its discovery document and keys remembered for an hour. One per process."""

    def __init__(self, settings: OidcSettings, clock: Clock) -> None:
        self.settings = settings
        self._clock = clock
        self._metadata: tuple[float, Metadata] | None = None
        self._keys: tuple[float, KeySet] | None = None

    async def sign_in_url(self, redirect_uri: str, made: Journey) -> str:
        """Where the browser goes. Raises IdentityConfiguration, VendorUnavailable."""
        async with self._transport() as transport:
            metadata = await self._discovered(transport)
        parameters = {
            "response_type": "code",
            "client_id": self.settings.client_id,
            "redirect_uri": redirect_uri,
            "scope": " ".join(self.settings.scopes),
            "state": made.state,
            "nonce": made.nonce,
            "code_challenge": made.challenge,
            "code_challenge_method": "S256",
        }
        joint = "&" if urlsplit(metadata.authorization_endpoint).query else "?"
        return f"{metadata.authorization_endpoint}{joint}{urlencode(parameters)}"

    async def sign_out_url(self, back: str) -> str | None:
        """Where the browser ends the provider's own session, and comes back from; None where that cannot be done.

        No token is kept, so there is none to hint with: a provider may ask the person first. Raises nothing
        foreseeable: whoever signs out is signed out here already.
        """
        if not self.settings.sign_out:
            return None
        try:
            async with self._transport() as transport:
                endpoint = (await self._discovered(transport)).end_session_endpoint
        except Failure as failure:
            _log.warning("the identity provider cannot be asked where people sign out: %s", failure)
            return None
        if not endpoint or not _secure(endpoint, self.settings.issuer):
            return None
        joint = "&" if urlsplit(endpoint).query else "?"
        asked = urlencode({"client_id": self.settings.client_id, "post_logout_redirect_uri": back})
        return f"{endpoint}{joint}{asked}"

    async def who(self, code: str, redirect_uri: str, made: Journey, *, answered_by: str = "") -> Who:
        """Trade the code for an id_token and check it. `answered_by` is the `iss` of the redirect, where it has one.

        Raises SignInAgain, IdentityConfiguration, VendorUnavailable.
        """
        async with self._transport() as transport:
            metadata = await self._discovered(transport)
            if answered_by and answered_by != metadata.issuer:
                raise _refused("another provider answered")
            if metadata.authorization_response_iss_parameter_supported and not answered_by:
                raise _refused("the provider's answer does not say who made it")
            token = await self._redeemed(transport, metadata, code, redirect_uri, made)
            claims = await self._verified(transport, metadata, token)
        _check(claims, metadata.issuer, self.settings.client_id, made.nonce, self._clock.now().timestamp())
        return _who(claims, self.settings.role_claim)

    # -- the provider's pages ------------------------------------------------------------------------------------

    def _transport(self) -> HttpTransport:
        return HttpTransport(
            TransportSettings(ca_file=self.settings.ca_file, connections_max=4, response_bytes_max=ANSWER_BYTES_MAX)
        )

    async def _discovered(self, transport: HttpTransport) -> Metadata:
        if self._metadata is not None and self._clock.monotonic_s() - self._metadata[0] < METADATA_LIFE_S:
            return self._metadata[1]
        address = f"{self.settings.issuer.rstrip('/')}/.well-known/openid-configuration"
        found = _decoded(await _got(transport, address, "sign-in discovery"), Metadata)
        if found.issuer.rstrip("/") != self.settings.issuer.rstrip("/"):
            raise IdentityConfiguration(
                f"The identity provider calls itself {found.issuer}.",
                remedy="Set ISTHMUS_OIDC_ISSUER to exactly that, if it is the one you mean.",
            )
        for address in (found.authorization_endpoint, found.token_endpoint, found.jwks_uri):
            if not _secure(address, self.settings.issuer):
                raise IdentityConfiguration("The identity provider names an address without TLS.")
        self._metadata = (self._clock.monotonic_s(), found)
        return found

    async def _redeemed(
        self, transport: HttpTransport, metadata: Metadata, code: str, redirect_uri: str, made: Journey
    ) -> str:
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect_uri,
            "code_verifier": made.verifier,
        }
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
        methods = metadata.token_endpoint_auth_methods_supported
        if self.settings.client_secret and ("client_secret_basic" in methods or "client_secret_post" not in methods):
            pair = f"{quote(self.settings.client_id, safe='')}:{quote(self.settings.client_secret, safe='')}"
            headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        else:
            form["client_id"] = self.settings.client_id
            if self.settings.client_secret:
                form["client_secret"] = self.settings.client_secret
        request = Request(
            method="POST",
            url=metadata.token_endpoint,
            headers=headers,
            body=urlencode(form).encode(),
            timeout_s=REQUEST_TIMEOUT_S,
            purpose="sign-in",
        )
        response = await transport.send(request)
        if not response.ok:
            raise _token_failure(response)
        token = _decoded(response, _Tokens).id_token
        if not token:
            raise IdentityConfiguration("The identity provider sent no id_token.", remedy="Ask for the scope openid.")
        return token

    async def _verified(self, transport: HttpTransport, metadata: Metadata, token: str) -> dict[str, Any]:
        """The claims of a token whose signature is right; keys are fetched again once for a key that is not known."""
        if len(token) > TOKEN_CHARACTERS_MAX:
            raise _refused("its token is too long")
        fresh = self._keys is None or self._clock.monotonic_s() - self._keys[0] > METADATA_LIFE_S
        keys = await self._fetched_keys(transport, metadata) if fresh or self._keys is None else self._keys[1]
        try:
            return _opened(token, keys)
        except (JoseError, ValueError, KeyError, TypeError) as error:
            if fresh:
                raise _refused("its signature is not right") from error
        keys = await self._fetched_keys(transport, metadata)
        try:
            return _opened(token, keys)
        except (JoseError, ValueError, KeyError, TypeError) as error:
            raise _refused("its signature is not right") from error

    async def _fetched_keys(self, transport: HttpTransport, metadata: Metadata) -> KeySet:
        response = await _got(transport, metadata.jwks_uri, "signing keys")
        try:
            keys = KeySet.import_key_set(msgspec.json.decode(response.body))
        except (JoseError, ValueError, KeyError, TypeError) as error:
            raise VendorUnavailable("The identity provider's keys cannot be read.") from error
        self._keys = (self._clock.monotonic_s(), keys)
        return keys


class _Tokens(msgspec.Struct, frozen=True):
    id_token: str = ""


class _Refusal(msgspec.Struct, frozen=True):
    error: str = ""
    error_description: str = ""


async def _got(transport: HttpTransport, address: str, purpose: str) -> Response:
    request = Request(
        method="GET",
        url=address,
        headers={"Accept": "application/json"},
        purpose=purpose,
        timeout_s=REQUEST_TIMEOUT_S,
    )
    response = await transport.send(request)
    if not response.ok:
        raise IdentityConfiguration(
            f"The identity provider answers {response.status} for its {purpose}.",
            remedy="Check ISTHMUS_OIDC_ISSUER: its address with /.well-known/openid-configuration has to open.",
        )
    return response


def _decoded(response: Response, kind: type[Kind]) -> Kind:
    try:
        return msgspec.json.decode(response.body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise IdentityConfiguration(
            "The identity provider's answer cannot be read.", remedy="Check ISTHMUS_OIDC_ISSUER."
        ) from error


def _token_failure(response: Response) -> Failure:
    """Why a code was not traded: ours to mend (the client), or the person's (a code that is used up)."""
    try:
        refusal = msgspec.json.decode(response.body, type=_Refusal)
    except (msgspec.DecodeError, UnicodeDecodeError):
        refusal = _Refusal()
    if refusal.error in ("invalid_client", "unauthorized_client"):
        return IdentityConfiguration(
            "The identity provider does not accept this client.",
            remedy="Check ISTHMUS_OIDC_CLIENT_ID and ISTHMUS_OIDC_CLIENT_SECRET.",
        )
    if response.status >= 500:
        return VendorUnavailable(f"The identity provider answers {response.status}.")
    return _refused(f"the provider says {refusal.error[:60] or response.status}")


def _opened(token: str, keys: KeySet) -> dict[str, Any]:
    """The claims. Raises what joserfc and the decoder raise."""
    header = jws.extract_compact(token.encode()).headers()
    if header.get("alg") not in ALGORITHMS:
        raise ValueError("not an algorithm that is taken")
    found = [key for key in keys.keys if key.kid == header.get("kid")] or (keys.keys if "kid" not in header else [])
    if not found:
        raise KeyError("no such key")
    for place, key in enumerate(found):
        try:
            claims = msgspec.json.decode(jws.deserialize_compact(token, key, algorithms=[header["alg"]]).payload)
        except (JoseError, ValueError, TypeError):
            if place == len(found) - 1:
                raise
            continue
        break
    if not isinstance(claims, dict):
        raise TypeError("no claims")
    return claims


def _check(claims: Mapping[str, Any], issuer: str, client_id: str, nonce: str, now_s: float) -> None:
    """OpenID Connect Core 3.1.3.7, in its order."""
    if claims.get("iss") != issuer:
        raise _refused("another issuer made it")
    audience = claims.get("aud")
    audiences = audience if isinstance(audience, list) else [audience]
    if client_id not in audiences:
        raise _refused("it is meant for another client")
    party = claims.get("azp")
    if (len(audiences) > 1 or party is not None) and party != client_id:
        raise _refused("it was made for another client")
    expires, issued, starts = claims.get("exp"), claims.get("iat"), claims.get("nbf", 0)
    if not all(isinstance(each, (int, float)) and not isinstance(each, bool) for each in (expires, issued, starts)):
        raise _refused("it has no times")
    assert isinstance(expires, (int, float))
    assert isinstance(issued, (int, float))
    if now_s > expires + SKEW_MAX_S:
        raise _refused("it has expired; check this machine's clock")
    if now_s < max(issued, starts) - SKEW_MAX_S:
        raise _refused("it is not valid yet; check this machine's clock")
    given = claims.get("nonce")
    if not isinstance(given, str) or not hmac.compare_digest(given.encode(), nonce.encode()):
        raise _refused("it belongs to another sign-in")
    if not isinstance(claims.get("sub"), str) or not claims["sub"]:
        raise _refused("it names nobody")


def _who(claims: Mapping[str, Any], role_claim: str) -> Who:
    email = next((str(claims[each]) for each in ("email", "preferred_username", "upn") if _is_email(claims, each)), "")
    names = ("name", "preferred_username", "email", "upn", "sub")
    name = next(text for each in names if (text := _printable(claims.get(each))))
    return Who(
        issuer=str(claims["iss"]),
        subject=str(claims["sub"]),
        name=name,
        email=email,
        email_proven=_is_email(claims, "email") and _is_proven(claims),
        values=_values(claims, role_claim),
    )


def _is_email(claims: Mapping[str, Any], name: str) -> bool:
    value = claims.get(name)
    return isinstance(value, str) and value.count("@") == 1 and len(value) <= 254


def _is_proven(claims: Mapping[str, Any]) -> bool:
    """Whether the provider vouches for the address. What `email_verified` says counts, a no included.

    Microsoft Entra sends none; there the optional claim `xms_edov` tells that the owner of the address's domain has
    proven it (learn.microsoft.com, optional claims reference). It is documented as a Boolean; `1` and texts are seen
    too [verify].
    """
    said = claims["email_verified"] if "email_verified" in claims else claims.get("xms_edov")
    return said is True or str(said).lower() in ("true", "1")


def _printable(value: object) -> str:
    text = " ".join(value.split()) if isinstance(value, str) else ""
    return text[:NAME_CHARACTERS_MAX] if text.isprintable() else ""


def _values(claims: Mapping[str, Any], name: str) -> tuple[str, ...]:
    """The values of a claim: by its whole name, else along the dots."""
    value: Any = claims.get(name)
    if value is None and "." in name:
        value = claims
        for part in name.split("."):
            value = value.get(part) if isinstance(value, dict) else None
    if isinstance(value, str):
        return (value,)
    return tuple(each for each in value if isinstance(each, str)) if isinstance(value, list) else ()


def _secure(address: str, issuer: str) -> bool:
    """HTTPS, or this machine where the issuer is this machine too."""
    parts, own = urlsplit(address), urlsplit(issuer)
    return parts.scheme == "https" or (own.scheme == "http" and parts.hostname in _LOOPBACK)


def _url_safe(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _refused(reason: str) -> SignInAgain:
    return SignInAgain(f"This sign-in cannot be trusted: {reason}.", remedy="Start the sign-in again.")
