"""Refusals become failures with a remedy: by code, then by status."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.kernel import failures as f
from isthmus.kernel.messages import Request, Response
from isthmus.providers.business_central import BUSINESS_CENTRAL
from isthmus.providers.business_central.errors import retry_after

ROOT = "https://api.example.com/v2.0/t/Production/api"
CUSTOMERS = f"{ROOT}/v2.0/companies(be3a6b9c-f6f9-ef11-9344-6045bdc8c234)/customers"
CORRELATION = "dc2339ce-e28a-475a-b4da-85606c7625fa"


def failed(
    status: int,
    code: str | None = None,
    text: str = "Something.",
    *,
    url: str = CUSTOMERS,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
) -> f.Failure:
    if body is None:
        message = f"{text}  CorrelationId:  {CORRELATION}."
        body = json.dumps({"error": {"code": code, "message": message}}).encode() if code else b""
    return BUSINESS_CENTRAL.failure(
        Request(method="GET", url=url), Response(status=status, body=body, headers=headers or {}, url=url)
    )


@pytest.mark.conformance("BC-05")
@pytest.mark.parametrize(
    "body",
    [
        b'<error xmlns:i="urn:instance"><code>NoEnvironment</code><message>None.</message></error>',
        b'\xef\xbb\xbf<?xml version="1.0" encoding="utf-8"?><m:error xmlns:m="urn:m">'
        b"<m:code>NoEnvironment</m:code></m:error>",
        b'{"error":{"code":"NoEnvironment","message":"None."}}',
    ],
)
def test_a_wrong_environment_is_recognised_in_xml_and_json(body: bytes) -> None:
    failure = failed(404, body=body)
    assert isinstance(failure, f.EnvironmentNotFound)
    assert failure.subject == "Production"


@pytest.mark.conformance("BC-06")
def test_an_empty_404_is_not_found_without_a_crash() -> None:
    assert isinstance(failed(404, body=b""), f.UnknownObject)
    assert isinstance(failed(404, body=b"", url=f"{CUSTOMERS}(5)"), f.RecordNotFound)


@pytest.mark.conformance("BC-34")
def test_a_missing_field_is_named_and_not_retried() -> None:
    failure = failed(400, "BadRequest", "Could not find a property named 'colour' on type 'Microsoft.NAV.customer'.")
    assert isinstance(failure, f.UnknownField)
    assert failure.subject == "colour"
    assert not failure.retryable
    assert failure.vendor is not None
    assert failure.vendor.correlation_id == CORRELATION


@pytest.mark.conformance("BC-17")
def test_a_valid_token_without_a_record_inside_names_the_missing_step() -> None:
    failure = failed(401, "Authentication_InvalidCredentials", "The server has rejected the client credentials.")
    assert isinstance(failure, f.AppNotRegistered)
    assert "Microsoft Entra Applications" in failure.remedy
    assert not failure.retryable


@pytest.mark.conformance("BC-24")
def test_an_offer_of_basic_authentication_means_the_wrong_kind_of_server() -> None:
    failure = failed(401, "Unauthorized", headers={"www-authenticate": 'Basic realm=""'})
    assert isinstance(failure, f.IdentityConfiguration)


@pytest.mark.conformance("BC-18")
def test_any_other_401_is_a_rejected_token() -> None:
    assert isinstance(failed(401, body=b""), f.AccessTokenRejected)


@pytest.mark.conformance("BC-20")
def test_a_403_of_the_automation_api_names_its_permission() -> None:
    url = f"{ROOT}/microsoft/automation/v2.0/companies(1)/users"
    failure = failed(403, "Authorization_RequestDenied", url=url)
    assert isinstance(failure, f.PermissionMissing)
    assert failure.subject == "Automation.ReadWrite.All"


@pytest.mark.conformance("BC-21")
@pytest.mark.parametrize("code", ["Authorization_RequestDenied", "Authorization_SomethingNew", None])
def test_a_missing_permission_set_is_named_and_not_retried(code: str | None) -> None:
    failure = failed(403, code)
    assert isinstance(failure, f.PermissionMissing)
    assert failure.subject == "customers"
    assert not failure.retryable


@pytest.mark.conformance("BC-86")
@pytest.mark.parametrize(
    ("status", "code", "kind", "retryable"),
    [
        (408, "Unknown", f.VendorTimeout, True),
        (409, "Request_EntityChanged", f.Conflict, False),
        (412, "Request_EntityChanged", f.Conflict, False),
        (412, None, f.Conflict, False),
        (429, "Application_TooManyRequests", f.RateLimited, True),
        (429, None, f.RateLimited, True),
        (502, None, f.VendorUnavailable, True),
        (503, "Internal_TenantUnavailable", f.VendorUnavailable, True),
        (503, "Application_DialogException", f.VendorUnavailable, True),
        (504, None, f.VendorTimeout, True),
        (500, "Internal_ServerError", f.VendorError, True),
        (599, None, f.VendorError, True),
    ],
)
def test_each_outcome_has_its_own_class(status: int, code: str | None, kind: type[f.Failure], retryable: bool) -> None:
    failure = failed(status, code)
    assert type(failure) is kind
    assert failure.retryable is retryable


@pytest.mark.conformance("BC-26", "BC-88")
def test_a_413_is_too_large_and_not_retried_as_it_is() -> None:
    failure = failed(413, None)
    assert isinstance(failure, f.TooLarge)
    assert not failure.retryable


@pytest.mark.conformance("BC-87")
@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (400, "BadRequest", f.BadRequest),
        (400, "BadRequest_InvalidRequestUrl", f.BadRequest),
        (400, "BadRequest_NotFound", f.UnknownObject),
        (404, "BadRequest_ResourceNotFound", f.UnknownObject),
        (400, "BadRequest_InvalidOperation", f.BadRequest),
        (400, "BadRequest_InvalidToken", f.BadRequest),
        (400, "BadRequest_RequiredParamNotProvided", f.BadRequest),
        (405, "BadRequest_MethodNotAllowed", f.Unsupported),
        (501, "MethodNotImplemented", f.Unsupported),
        (404, "Internal_RecordNotFound", f.RecordNotFound),
        (400, "Internal_DataNotFoundFilter", f.RecordNotFound),
        (400, "Internal_EntityWithSameKeyExists", f.Duplicate),
        (400, "Internal_InvalidTableRelation", f.BadRequest),
        (404, "Internal_CompanyNotFound", f.CompanyNotFound),
        (400, "Application_DialogException", f.BusinessRule),
        (400, "Application_FieldValidationException", f.BusinessRule),
        (400, "Application_FilterErrorException", f.FilterRefused),
        (400, "Application_StringExceededLength", f.BadRequest),
        (400, "Unknown", f.BadRequest),
        (500, "Unknown", f.VendorError),
        (400, "Something_Brand_New", f.BadRequest),
        (302, None, f.BadRequest),
    ],
)
def test_the_code_decides_whatever_the_language_of_the_text(
    status: int, code: str | None, kind: type[f.Failure]
) -> None:
    danish = failed(status, code, "Der skete en fejl i firmaet.")
    english = failed(status, code, "An error occurred.")
    assert type(danish) is type(english) is kind


@pytest.mark.conformance("BC-38")
def test_a_filter_that_the_service_cannot_run_is_the_callers_error() -> None:
    failure = failed(400, "Application_FilterErrorException")
    assert isinstance(failure, f.FilterRefused)
    assert failure.whose_turn is f.Turn.YOU
    assert not failure.retryable


@pytest.mark.conformance("BC-40")
def test_a_bare_read_of_lines_is_a_business_rule_with_the_vendors_sentence() -> None:
    failure = failed(400, "Application_DialogException", "You must specify an Id or a Document Id")
    assert isinstance(failure, f.BusinessRule)
    assert failure.message == "You must specify an Id or a Document Id. (HTTP 400)"


@pytest.mark.conformance("BC-87")
def test_code_status_correlation_and_raw_body_are_kept() -> None:
    vendor = failed(400, "BadRequest", "Wrong.").vendor
    assert vendor is not None
    assert (vendor.status, vendor.code, vendor.correlation_id) == (400, "BadRequest", CORRELATION)
    assert vendor.raw is not None
    assert vendor.raw.startswith('{"error"')


@pytest.mark.conformance("BC-87")
def test_the_correlation_id_may_come_in_a_header() -> None:
    vendor = failed(500, body=b"<html>oops", headers={"ms-correlation-x": CORRELATION}).vendor
    assert vendor is not None
    assert vendor.correlation_id == CORRELATION


def test_a_deleted_company_and_a_missing_record_are_told_apart() -> None:
    company = f"{ROOT}/v2.0/companies(be3a6b9c-f6f9-ef11-9344-6045bdc8c234)"
    assert isinstance(failed(404, "BadRequest_ResourceNotFound", url=company), f.CompanyNotFound)
    assert isinstance(failed(404, "BadRequest_ResourceNotFound", url=f"{CUSTOMERS}(5)"), f.RecordNotFound)
    unknown = failed(404, "BadRequest_ResourceNotFound", url=f"{CUSTOMERS}/$count")
    assert isinstance(unknown, f.UnknownObject)
    assert unknown.subject == "customers"


@pytest.mark.conformance("BC-84")
@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "17"}, 17.0),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after": "Fri, 20 Nov 2026 16:00:30 GMT", "date": "Fri, 20 Nov 2026 16:00:00 GMT"}, 30.0),
        ({"retry-after": "Fri, 20 Nov 2026 15:00:00 GMT", "date": "Fri, 20 Nov 2026 16:00:00 GMT"}, 0.0),
        ({"retry-after": "Fri, 20 Nov 2026 16:00:30 GMT"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": ""}, None),
        ({}, None),
        ({"retry-after": "999999"}, 3600.0),
    ],
)
def test_the_wait_is_read_in_seconds_and_as_a_date(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers) == seconds


@pytest.mark.conformance("BC-84")
@pytest.mark.parametrize("status", [429, 502, 503])
def test_the_wait_travels_with_the_failure(status: int) -> None:
    assert failed(status, headers={"retry-after": "12"}).retry_after_s == 12.0
    assert failed(status).retry_after_s is None


@given(st.integers(300, 599), st.binary(max_size=200), st.sampled_from([b"", b"{", b"<", b'{"error":', b"<error>"]))
def test_no_body_makes_classification_fail(status: int, rest: bytes, start: bytes) -> None:
    failure = failed(status, body=start + rest)
    assert failure.message
    assert failure.remedy
