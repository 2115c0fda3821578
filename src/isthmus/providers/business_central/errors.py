"""Turns a refusal of Business Central into a failure: by code first, then by status (behaviour.md 10; BC-86, BC-87).

Never by localised text, with one exception that the vendor leaves no choice about: an unknown property is only named in
the message of a plain `BadRequest` (BC-34), a message of the OData library that is not translated.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final
from urllib.parse import urlsplit
from xml.etree.ElementTree import ParseError

import msgspec
from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import fromstring

from isthmus.kernel import failures as f
from isthmus.kernel.limits import FAULT_RAW_BYTES_MAX, RETRY_AFTER_MAX_S
from isthmus.kernel.messages import Request, Response
from isthmus.providers.business_central.addressing import AUTOMATION_ROUTE
from isthmus.providers.business_central.published import GONE_REMEDY, ODATA_ROUTE

_BY_CODE: Final[Mapping[str, type[f.Failure]]] = {
    "NoEnvironment": f.EnvironmentNotFound,
    "Internal_CompanyNotFound": f.CompanyNotFound,
    "Internal_RecordNotFound": f.RecordNotFound,
    "Internal_DataNotFoundFilter": f.RecordNotFound,
    "Internal_EntityWithSameKeyExists": f.Duplicate,
    "Internal_InvalidTableRelation": f.BadRequest,
    "Internal_TenantUnavailable": f.VendorUnavailable,
    "Internal_ServerError": f.VendorError,
    "BadRequest_MethodNotAllowed": f.Unsupported,
    "MethodNotImplemented": f.Unsupported,
    "BadRequest_InvalidOperation": f.BadRequest,
    "BadRequest_InvalidToken": f.BadRequest,
    "BadRequest_RequiredParamNotProvided": f.BadRequest,
    "Request_EntityChanged": f.Conflict,
    "Application_DialogException": f.BusinessRule,
    "Application_FieldValidationException": f.BusinessRule,
    "Application_FilterErrorException": f.FilterRefused,
    "Application_StringExceededLength": f.BadRequest,
    "Application_EvaluateException": f.BadRequest,
    "Application_InvalidGUID": f.BadRequest,
    "Application_CallbackNotAllowed": f.BadRequest,
    "Application_TooManyRequests": f.RateLimited,
}
_BY_STATUS: Final[Mapping[int, type[f.Failure]]] = {
    400: f.BadRequest,
    401: f.AccessTokenRejected,
    403: f.PermissionMissing,
    404: f.RecordNotFound,
    405: f.Unsupported,
    408: f.VendorTimeout,
    409: f.Conflict,
    412: f.Conflict,
    413: f.TooLarge,
    414: f.BadRequest,
    429: f.RateLimited,
    501: f.Unsupported,
    502: f.VendorUnavailable,
    503: f.VendorUnavailable,
    504: f.VendorTimeout,
}
_DECIDED_BY_STATUS: Final = frozenset({408, 413, 429, 502, 503, 504})
"""A time-out or a throttle stays one whatever code the body carries: five outcomes that must not blur (BC-86)."""

_CORRELATION: Final = re.compile(r"CorrelationId:\s*([0-9a-fA-F-]{36})")
_CORRELATION_HEADERS: Final = ("ms-correlation-x", "x-ms-correlation-id", "request-id", "requestid")
_PROPERTY: Final = re.compile(r"Could not find a property named '([^']{1,200})'(?: on type '([^']{1,200})')?")
_KEYED: Final = re.compile(r"\([^()/]+\)(?:/\$value)?/?\Z")
_NOT_FOUND_CODES: Final = frozenset({"BadRequest_NotFound", "BadRequest_ResourceNotFound"})


class _Error(msgspec.Struct):
    code: str | None = None
    message: str | None = None


class _Body(msgspec.Struct):
    error: _Error


def failure_of(request: Request, response: Response) -> f.Failure:
    """Classify a response that is not 2xx."""
    fault = vendor_fault(response)
    retry_after_s = retry_after(response.headers)
    code, status = fault.code or "", response.status
    if status == 401 or code.startswith("Authentication_"):
        return _unauthorised(response, fault)
    if status == 403 or code.startswith("Authorization_"):
        return _forbidden(request, fault)
    if status in _DECIDED_BY_STATUS:
        return _BY_STATUS[status](vendor=fault, retry_after_s=retry_after_s, message=_said(status, fault))
    unknown = _PROPERTY.search(fault.message or "") if code.startswith("BadRequest") or not code else None
    if unknown:
        return f.UnknownField(
            f"The vendor knows no field “{unknown.group(1)}”.", vendor=fault, subject=unknown.group(1)
        )
    if code in _NOT_FOUND_CODES or (status == 404 and code not in _BY_CODE):
        return _not_found(request, fault)
    kind = _BY_CODE.get(code) or _BY_STATUS.get(status) or (f.VendorError if status >= 500 else f.BadRequest)
    subject = environment_of(request.url) if kind is f.EnvironmentNotFound else None
    message = _said(status, fault)
    if kind is f.EnvironmentNotFound:
        message = f"There is no environment “{subject}” in this tenant."
    return kind(message, vendor=fault, retry_after_s=retry_after_s, subject=subject)


def vendor_fault(response: Response) -> f.VendorFault:
    """What the vendor said: code, message, correlation id and the raw body, from JSON, XML or nothing (BC-05,
    BC-06)."""
    code, message = _read_body(response.body)
    found = _CORRELATION.search(message or "")
    correlation = found.group(1) if found else None
    if correlation is None:
        correlation = next((response.headers[name] for name in _CORRELATION_HEADERS if name in response.headers), None)
    return f.VendorFault(
        status=response.status,
        code=code,
        message=message,
        correlation_id=correlation,
        raw=response.body[:FAULT_RAW_BYTES_MAX].decode("utf-8", "replace") or None,
    )


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait as the vendor asks: a number, or a date measured against the answer's own `Date` (BC-84).

    None where the header is missing or unreadable: the caller then backs off by itself.
    """
    text = headers.get("retry-after", "").strip()
    if not text:
        return None
    try:
        if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,3})?", text):
            seconds = float(text)
        else:
            seconds = (_http_date(text) - _http_date(headers["date"])).total_seconds()
    except (ValueError, TypeError, KeyError):
        return None
    return min(max(seconds, 0.0), RETRY_AFTER_MAX_S)


def environment_of(url: str) -> str | None:
    """The environment that a Business Central URL addresses: the segment before `api` or `ODataV4`."""
    segments = urlsplit(url).path.split("/")
    for marker in ("api", "ODataV4"):
        if marker in segments[2:]:
            return segments[segments.index(marker, 2) - 1]
    return None


def _read_body(body: bytes) -> tuple[str | None, str | None]:
    text = body.lstrip(b"\xef\xbb\xbf \r\n\t")
    if text.startswith(b"{"):
        try:
            error = msgspec.json.decode(text, type=_Body).error
        except msgspec.DecodeError:
            return None, None
        return error.code, error.message
    if text.startswith(b"<"):
        return _read_xml(text)
    return None, None


def _read_xml(text: bytes) -> tuple[str | None, str | None]:
    try:
        root = fromstring(text, forbid_dtd=True)
    except (ParseError, DefusedXmlException, ValueError):
        return None, None
    found = {str(element.tag).rpartition("}")[2]: (element.text or "").strip() for element in root.iter()}
    return found.get("code") or None, found.get("message") or None


def _unauthorised(response: Response, fault: f.VendorFault) -> f.Failure:
    """401 kinds: Basic is offered (BC-24), the app is unknown inside Business Central (BC-17), anything else."""
    if response.headers.get("www-authenticate", "").lower().startswith("basic"):
        return f.IdentityConfiguration(
            "This server asks for a user name and password: it is not Business Central online.",
            remedy="Check the API host. Business Central online only accepts Entra sign-ins.",
            vendor=fault,
        )
    if fault.code == "Authentication_InvalidCredentials":
        return f.AppNotRegistered(
            "Business Central does not accept the app; most often it is not registered in this environment.",
            vendor=fault,
        )
    return f.AccessTokenRejected(vendor=fault)


def _forbidden(request: Request, fault: f.VendorFault) -> f.Failure:
    """403: the Automation API has its own permission (BC-20), anything else is a permission set (BC-21)."""
    if f"/api/{AUTOMATION_ROUTE.rpartition('/')[0]}/" in request.url:
        return f.PermissionMissing(
            "The app may not use the Automation API (users, extensions, permission sets).",
            remedy="Add the application permission Automation.ReadWrite.All and the permission set D365 AUTOMATION.",
            vendor=fault,
            subject="Automation.ReadWrite.All",
        )
    return f.PermissionMissing(
        "A permission set is missing inside Business Central.",
        remedy="Assign a permission set that covers this object to the app on “Microsoft Entra Applications”.",
        vendor=fault,
        subject=_last_segment(request.url),
    )


def _not_found(request: Request, fault: f.VendorFault) -> f.Failure:
    """One code means an unknown set or an unknown key; the address tells which was asked for."""
    path = urlsplit(request.url).path
    company = re.search(r"/companies\(([^)]*)\)\Z", path.rstrip("/"))
    if company:
        return f.CompanyNotFound(vendor=fault, subject=company.group(1))
    if _KEYED.search(path):
        return f.RecordNotFound(vendor=fault, subject=_last_segment(request.url))
    name = _last_segment(request.url)
    remedy = GONE_REMEDY if f"/{ODATA_ROUTE}/" in path else None
    return f.UnknownObject(f"The vendor knows no object “{name}” here.", remedy=remedy, vendor=fault, subject=name)


def _last_segment(url: str) -> str:
    segment = urlsplit(url).path.rstrip("/").rpartition("/")[2]
    if segment in ("$count", "$metadata"):
        segment = urlsplit(url).path.rstrip("/").split("/")[-2]
    return segment.partition("(")[0]


def _said(status: int, fault: f.VendorFault) -> str | None:
    """The vendor's sentence without its correlation id, for a person to read."""
    if not fault.message:
        return None
    return f"{_CORRELATION.sub('', fault.message).rstrip(' .')}. (HTTP {status})"


def _http_date(text: str) -> datetime:
    value = parsedate_to_datetime(text)
    return value if value.tzinfo else value.replace(tzinfo=UTC)
