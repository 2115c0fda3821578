"""Blanking secrets in whatever is written down: addresses, headers, texts (OA-53).

Names decide, not guesses about values; on top, anything shaped like a bearer token or a JWT is blanked anywhere.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import unquote_plus

BLANK: Final = "[redacted]"

_NAMES: Final = frozenset(
    {
        "access_token", "refresh_token", "id_token", "token", "id_token_hint", "logout_token", "device_code",
        "code", "code_verifier", "state", "session_state", "nonce",
        "client_secret", "secret", "client_assertion", "assertion", "password", "passwd", "pwd", "username_password",
        "sig", "signature", "x-amz-signature", "api_key", "apikey", "api-key", "subscription-key", "key",
        "authorization", "auth", "sessionid", "sid", "session_id", "samlresponse", "clientstate", "private_key",
        "master_key", "connection_string", "webhook_secret",
    }
)  # fmt: skip
_SUFFIXES: Final = (
    "_token",
    "-token",
    "_secret",
    "-secret",
    "_password",
    "_assertion",
    "_signature",
    "secret",
    "password",
)
_ERROR_CODE_NAMES: Final = frozenset({"code", "state", "key", "auth", "sid"})
"""Secrets in an address or a form, ordinary words in JSON (`"code": "BadRequest"`): blanked only before `=`."""

_KEPT: Final = frozenset({"$skiptoken", "$deltatoken"})
"""OData positions: not secrets, and needed to understand a journal."""

_HEADERS: Final = frozenset(
    {
        "authorization", "proxy-authorization", "cookie", "set-cookie", "x-api-key", "api-key",
        "ocp-apim-subscription-key", "x-ms-token-aad-access-token", "webhook-signature", "x-signature",
    }
)  # fmt: skip

_JWT: Final = re.compile(r"eyJ[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_.-]+")
_BEARER: Final = re.compile(r"(?i)\b(bearer|basic)(\s+)[A-Za-z0-9._~+/=-]{8,}")
_PAIR: Final = re.compile(
    r"""(?P<name>[\w$.%-]+)(?P<between>\\*["']?\s*[:=]\s*)"""
    r"""(?:"(?P<double>(?:[^"\\]|\\.)*)"|'(?P<single>[^']*)'|(?:\\+["'])?(?![{\[])(?P<bare>[^\s&,;"'<>}\])\\]+))"""
)
"""`name=value` and `"name": "value"`, also where the quotes are escaped because the text stands inside of JSON."""

_PEM: Final = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL)


def redact_url(url: str) -> str:
    """The address with user information, fragment and the values of secret parameters blanked; the rest untouched."""
    url, _, fragment = url.partition("#")
    address, mark, query = url.partition("?")
    scheme, slashes, rest = address.partition("://")
    if slashes:
        authority, slash, path = rest.partition("/")
        if "@" in authority:
            authority = f"{BLANK}@{authority.rpartition('@')[2]}"
        address = f"{scheme}://{authority}{slash}{path}"
    parts = [_redact_parameter(part) for part in re.split(r"([&;])", query)] if mark else []
    text = _redact_shapes(address) + mark + "".join(parts)
    return f"{text}#{BLANK}" if fragment else text


def redact_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers with credentials blanked; `Location` and other addresses lose their secret parameters."""
    redacted: dict[str, str] = {}
    for name, value in headers.items():
        lower = name.lower()
        if lower in _HEADERS or is_secret_name(lower):
            redacted[name] = BLANK
        else:
            redacted[name] = redact_url(value) if lower in ("location", "content-location") else redact_text(value)
    return redacted


def redact_text(text: str) -> str:
    """Free text, JSON or a form with the values of secret names, tokens and private keys blanked."""
    return _PAIR.sub(_redact_pair, _redact_shapes(_PEM.sub(BLANK, text)))


def is_secret_name(name: str) -> bool:
    """True for a parameter, header or JSON name whose value must not be written down."""
    lower = unquote_plus(name).strip().lower()
    return lower not in _KEPT and (lower in _NAMES or lower.endswith(_SUFFIXES))


def _redact_parameter(part: str) -> str:
    name, equals, value = part.partition("=")
    if equals and is_secret_name(name):
        return f"{name}={BLANK}"
    return name + equals + _redact_shapes(value)


def _redact_pair(match: re.Match[str]) -> str:
    named_so = is_secret_name(match["name"])
    if not named_so or ("=" not in match["between"] and match["name"].lower() in _ERROR_CODE_NAMES):
        return _redact_inside(match)
    quoted = '"' if match["double"] is not None else "'" if match["single"] is not None else ""
    return f"{match['name']}{match['between']}{quoted}{BLANK}{quoted}"


def _redact_inside(match: re.Match[str]) -> str:
    """A harmless name may hold a whole form or JSON in its text."""
    inner = match["double"] or match["single"]
    if not inner or ("=" not in inner and ":" not in inner):
        return match[0]
    return match["name"] + match[0][len(match["name"]) :].replace(inner, _PAIR.sub(_redact_pair, inner), 1)


def _redact_shapes(text: str) -> str:
    if "eyJ" in text:
        text = _JWT.sub(BLANK, text)
    folded = text.casefold()  # as the pattern reads it: some letters outside ASCII fold to those of its words
    if "bearer" in folded or "basic" in folded:
        text = _BEARER.sub(rf"\1\2{BLANK}", text)
    return text
