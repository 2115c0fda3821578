"""Entra's refusals as failures with a remedy: JSON at the token endpoint, parameters on a redirect, HTML in between.

The known code decides the fix (a policy under `invalid_grant` is not cured by signing in again, OA-34), else
`suberror`, else `error`, else the status (OA-40). The text is never read, except for the code's number on a redirect,
which has no other place for it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files
from typing import Final

import msgspec

from isthmus.auth.entra.remedies import REMEDY_BY_CODE, REMEDY_BY_FIX, Fix, Remedy
from isthmus.kernel import limits
from isthmus.kernel.failures import (
    ConsentMissing,
    CredentialFailure,
    Failure,
    IdentityConfiguration,
    RateLimited,
    SecretExpired,
    SecretWrong,
    SignInAgain,
    TransientFailure,
    Turn,
    VendorError,
    VendorFault,
    VendorTimeout,
    VendorUnavailable,
)
from isthmus.kernel.messages import Request, Response
from isthmus.transport.redaction import redact_text

THROTTLED_S_DEFAULT: Final = 5.0
"""The wait after a 429 without Retry-After (OA-20, as MSAL does)."""

LOOP_PAUSE_S: Final = 300.0
"""After 50196 Entra wants minutes of silence (OA-20)."""

CONSENT_SPREADS_S: Final = 120.0
"""Consent reaches all of Entra's servers within seconds to minutes [verify] (OA-36)."""

_LOOP: Final = 50196
_CLOCK: Final = 500133
_SECRET_EXPIRED: Final = frozenset({7000222, 700027})
_CONSENT_CODES: Final = frozenset({65001, 65004, 90094, 90095})
_CONSENT_WORDS: Final = frozenset({"consent_required", "permission_denied", "access_denied"})
_CODE_IN_TEXT: Final = re.compile(r"\s*AADSTS(\d{4,10})\b")


class KnownCode(msgspec.Struct, frozen=True, rename="camel"):
    """One entry of the package's copy of entra-errors.json."""

    code: int
    id: str
    name: str
    oauth_error: str
    meaning: str
    fix: str
    retryable: bool
    note: str | None = None


class _KnownWord(msgspec.Struct, frozen=True):
    fix: str
    error: str = ""
    suberror: str = ""


class _Catalogue(msgspec.Struct, frozen=True, rename="camel"):
    codes: list[KnownCode]
    oauth_errors: list[_KnownWord]
    suberrors: list[_KnownWord]


class EntraError(msgspec.Struct, frozen=True, kw_only=True):
    """What Entra said. `claims` is the step-up to echo on the next authorize (OA-32); `at` is Entra's own clock
    (OA-40)."""

    error: str
    error_description: str = ""
    error_codes: tuple[int, ...] = ()
    suberror: str = ""
    claims: str | None = None
    trace_id: str | None = None
    correlation_id: str | None = None
    timestamp: str | None = None

    @property
    def at(self) -> datetime | None:
        """The timestamp, which is not ISO: `2026-01-31 09:15:00Z`."""
        return parse_timestamp(self.timestamp or "")


def token_failure(request: Request, response: Response) -> Failure:
    """Why the token endpoint refused. Fits a `RetryingCall` as its errors function."""
    said = read_error(response.body)
    if response.status == 429:
        known = _explain(said, response) if said else None
        wait_s = LOOP_PAUSE_S if said and _LOOP in said.error_codes else THROTTLED_S_DEFAULT
        vendor = known.vendor if known else _vendor(said, response)
        return RateLimited("Entra limits the token requests of this app.", vendor=vendor, retry_after_s=wait_s)
    if said is None or response.status >= 500:
        return _transport_fault(said, response)
    return _explain(said, response)


def redirect_failure(parameters: Mapping[str, str]) -> Failure:
    """Why a sign-in or a consent came back with `error` (OA-35: both spellings of a refusal)."""
    description = parameters.get("error_description", "")
    number = _CODE_IN_TEXT.match(description)
    said = EntraError(
        error=parameters.get("error", ""),
        error_description=description,
        error_codes=(int(number[1]),) if number else (),
        suberror=parameters.get("error_subcode", "") or parameters.get("suberror", ""),
        claims=parameters.get("claims"),
    )
    return _explain(said, None)


def not_a_token_answer(response: Response) -> Failure:
    """A 200 without tokens in it: a proxy or a maintenance page, not a decision about the grant (OA-49)."""
    return VendorUnavailable(
        "The token endpoint answered with something that is not a token.", vendor=_vendor(None, response)
    )


def read_error(body: bytes) -> EntraError | None:
    """Entra's error body, or None when this is not one (HTML, empty, cut off)."""
    try:
        said = msgspec.json.decode(body, type=EntraError, strict=False)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return said if said.error else None


def parse_timestamp(text: str) -> datetime | None:
    """`YYYY-MM-DD HH:mm:ssZ` as an aware date-time; None when it is something else."""
    try:
        return datetime.strptime(text.strip(), "%Y-%m-%d %H:%M:%SZ").replace(tzinfo=UTC)
    except ValueError:
        return None


def claims_of(failure: Failure) -> str | None:
    """The claims that the next sign-in must carry (OA-32), when the refusal named some."""
    if failure.vendor is None or not failure.vendor.raw:
        return None
    said = read_error(failure.vendor.raw.encode())
    return said.claims if said else None


def fix_of(failure: Failure) -> Fix | None:
    """The fix class of a failure; None when it does not concern the sign-in."""
    match failure:
        case SecretWrong() | SecretExpired():
            return Fix.NEW_SECRET
        case ConsentMissing():
            return Fix.CONSENT
        case SignInAgain():
            return Fix.REAUTHORISE
        case TransientFailure():
            return Fix.RETRY
        case CredentialFailure():
            return Fix.CONFIG
        case _:
            return None


def consent_may_be_spreading(failure: Failure, *, consented_at: datetime | None, now: datetime) -> bool:
    """True for a refusal that may pass because consent was given less than two minutes ago (OA-36).

    Covers missing consent, an app that the tenant does not know yet, and the API's 401.
    """
    if consented_at is None or (now - consented_at).total_seconds() > CONSENT_SPREADS_S:
        return False
    code = failure.vendor.code if failure.vendor else None
    status = failure.vendor.status if failure.vendor else None
    late = isinstance(failure, ConsentMissing) or code in ("AADSTS700016", "AADSTS7000112", "AADSTS700011")
    return late or (isinstance(failure, CredentialFailure) and status == 401 and fix_of(failure) is Fix.CONFIG)


@cache
def known_codes() -> Mapping[int, KnownCode]:
    """All AADSTS codes this package knows, by number."""
    return {entry.code: entry for entry in _catalogue().codes}


@cache
def _catalogue() -> _Catalogue:
    text = files("isthmus.auth.entra").joinpath("entra-errors.json").read_bytes()
    return msgspec.json.decode(text, type=_Catalogue)


def _explain(said: EntraError, response: Response | None) -> Failure:
    known = next((known_codes()[code] for code in said.error_codes if code in known_codes()), None)
    fix = _fix(said, known)
    special = REMEDY_BY_CODE.get(known.code) if known else None
    message = special.message if special else _message(said, known)
    remedy = special.remedy if special else _remedy(fix, known)
    return _failure(fix, known, Remedy(message, remedy, special.turn if special else None), _vendor(said, response))


def _fix(said: EntraError, known: KnownCode | None) -> Fix:
    """Code, then suberror, then error; consent is a fix class of its own here."""
    if (known and known.code in _CONSENT_CODES) or (
        known is None and (said.suberror == "consent_required" or said.error in _CONSENT_WORDS)
    ):
        return Fix.CONSENT
    if known is not None:
        return Fix(known.fix)
    catalogue = _catalogue()
    by_suberror = {word.suberror: word.fix for word in catalogue.suberrors}
    by_error = {word.error: word.fix for word in catalogue.oauth_errors}
    return Fix(by_suberror.get(said.suberror) or by_error.get(said.error) or Fix.CONFIG)


def _failure(fix: Fix, known: KnownCode | None, words: Remedy, vendor: VendorFault) -> Failure:
    code = known.code if known else 0
    if code == _LOOP:
        return RateLimited(words.message, remedy=words.remedy, vendor=vendor, retry_after_s=LOOP_PAUSE_S)
    kinds: dict[Fix, type[Failure]] = {
        Fix.NEW_SECRET: SecretExpired if code in _SECRET_EXPIRED else SecretWrong,
        Fix.REAUTHORISE: SignInAgain,
        Fix.CONSENT: ConsentMissing,
        Fix.CONFIG: IdentityConfiguration,
        Fix.RETRY: VendorError if code in (50000, _CLOCK) else VendorUnavailable,
    }
    turn = Turn.YOU if code == _CLOCK else words.turn
    return kinds[fix](words.message, remedy=words.remedy, vendor=vendor, turn=turn)


def _message(said: EntraError, known: KnownCode | None) -> str:
    if known is not None:
        return f"{known.meaning[:1].upper()}{known.meaning[1:]}."
    return f"Entra refuses the sign-in ({said.error or 'no reason given'})."


def _remedy(fix: Fix, known: KnownCode | None) -> str:
    """The class's sentence, with what the catalogue adds for the code."""
    note = f" Hint: {known.note}." if known and known.note else ""
    return REMEDY_BY_FIX[fix] + note


def _transport_fault(said: EntraError | None, response: Response) -> Failure:
    """HTML or 5xx: nothing was decided about the grant, the connection keeps its state (OA-49)."""
    vendor = _vendor(said, response)
    match response.status:
        case 408 | 504:
            return VendorTimeout("Entra did not answer in time.", vendor=vendor)
        case 500:
            return VendorError("Entra reports an internal error.", vendor=vendor)
        case _:
            return VendorUnavailable("Entra's token endpoint is not available right now.", vendor=vendor)


def _vendor(said: EntraError | None, response: Response | None) -> VendorFault:
    number = said.error_codes[0] if said and said.error_codes else None
    raw = response.body[: limits.FAULT_RAW_BYTES_MAX].decode("utf-8", errors="replace") if response else None
    correlation = said.correlation_id if said else None
    if correlation is None and response is not None:
        correlation = response.headers.get("client-request-id") or response.headers.get("x-ms-request-id")
    if response is None and said is not None and said.claims:
        raw = msgspec.json.encode({"error": said.error, "claims": said.claims}).decode()
    return VendorFault(
        status=response.status if response else None,
        code=f"AADSTS{number}" if number else (said.error if said else None),
        message=redact_text(said.error_description) if said else None,
        correlation_id=correlation or (said.trace_id if said else None),
        raw=redact_text(raw) if raw is not None else None,
    )
