"""Preflight checks, packaged hints, the declaration, the registry."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

from isthmus.kernel.failures import (
    AppNotRegistered,
    CompanyNotFound,
    EnvironmentNotFound,
    InvalidInput,
    PermissionMissing,
)
from isthmus.kernel.messages import Response
from isthmus.odata.metadata import parse_metadata
from isthmus.providers.base import Check, Target
from isthmus.providers.business_central import BUSINESS_CENTRAL
from isthmus.providers.business_central.facts import facts_for, packaged_facts
from isthmus.providers.business_central.preflight import checks, find
from isthmus.providers.registry import PROVIDERS, provider_named

COMPANY = "be3a6b9c-f6f9-ef11-9344-6045bdc8c234"


@pytest.fixture
def listed(target: Target) -> dict[str, Check]:
    return {check.name: check for check in checks(target, [COMPANY], COMPANY)}


def answer(body: object, status: int = 200) -> Response:
    return Response(status=status, body=json.dumps(body).encode())


def test_checks_run_from_the_environment_to_a_first_record(listed: dict[str, Check]) -> None:
    assert list(listed) == ["environment", "companies", "metadata", "read", "automation"]


def test_without_a_company_only_the_environment_is_checked(target: Target) -> None:
    assert [check.name for check in checks(target)] == ["environment", "companies", "metadata"]


@pytest.mark.conformance("BC-01", "BC-15")
def test_the_environment_is_found_whatever_its_case(listed: dict[str, Check]) -> None:
    rows = [{"name": "PRODUCTION", "type": "Production", "countryCode": "US"}]
    assert find(listed["environment"], answer({"value": rows})).passed


@pytest.mark.conformance("BC-15")
def test_a_wrong_environment_is_answered_with_those_there_are(listed: dict[str, Check]) -> None:
    finding = find(listed["environment"], answer({"value": [{"name": "Sandbox"}]}))
    assert not finding.passed
    assert isinstance(finding.failure, EnvironmentNotFound)
    assert finding.failure.nearest == ("Sandbox",)


@pytest.mark.conformance("BC-17")
def test_an_app_unknown_inside_business_central_stops_the_list_with_a_remedy(listed: dict[str, Check]) -> None:
    refusal = {"error": {"code": "Authentication_InvalidCredentials", "message": "Rejected."}}
    finding = find(listed["companies"], answer(refusal, 401))
    assert listed["companies"].stops
    assert isinstance(finding.failure, AppNotRegistered)
    assert finding.failure.remedy


def test_a_chosen_company_that_is_gone_is_named(listed: dict[str, Check]) -> None:
    finding = find(listed["companies"], answer({"value": [{"id": "other", "name": "CRONUS"}]}))
    assert isinstance(finding.failure, CompanyNotFound)
    assert finding.failure.subject == COMPANY


def test_companies_pass_whatever_the_case_of_their_ids(listed: dict[str, Check]) -> None:
    assert find(listed["companies"], answer({"value": [{"id": COMPANY.upper(), "name": "CRONUS"}]})).passed


def test_an_answer_that_cannot_be_read_is_a_finding_and_not_a_crash(listed: dict[str, Check]) -> None:
    for check in listed.values():
        if check.name != "automation":
            assert not find(check, Response(status=200, body=b"<html>")).passed


@pytest.mark.conformance("BC-20")
def test_the_user_directory_is_optional(listed: dict[str, Check]) -> None:
    refusal = {"error": {"code": "Authorization_RequestDenied", "message": "x"}}
    finding = find(listed["automation"], answer(refusal, 403))
    assert listed["automation"].optional
    assert isinstance(finding.failure, PermissionMissing)
    assert finding.failure.subject == "Automation.ReadWrite.All"


def test_a_first_record_is_read_in_the_chosen_company(listed: dict[str, Check]) -> None:
    assert listed["read"].request.url.endswith(f"companies({COMPANY})/companyInformation?$top=1")
    assert find(listed["read"], answer({"value": [{"id": "1"}]})).detail == "1 record read"


def test_the_packaged_hints_are_what_the_reference_data_says() -> None:
    script = Path(__file__).with_name("make_facts.py")
    spec = importlib.util.spec_from_file_location("make_facts", script)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.FACTS.read_text("utf-8") == module.text()


@pytest.mark.conformance("BC-07")
def test_fifty_six_standard_sets_are_known_to_need_version_29() -> None:
    standard = packaged_facts()["v2.0"]
    assert sum(1 for facts in standard.values() if facts.since_version == 29) == 56


@pytest.mark.conformance("BC-40", "BC-62")
def test_the_hints_count_what_the_reference_counts() -> None:
    standard, automation = packaged_facts()["v2.0"], packaged_facts()["microsoft/automation/v2.0"]
    assert sum(1 for facts in standard.values() if facts.parent_required) == 16
    assert sum(1 for facts in automation.values() if facts.parent_required) == 2
    assert sum(1 for facts in standard.values() if facts.write == "") == 91


def test_nothing_is_assumed_about_a_custom_api() -> None:
    assert facts_for("contoso/fleet/v1.0", "customers").write is None


@pytest.mark.conformance("BC-23")
def test_the_declaration_names_the_permission_of_a_sign_in() -> None:
    assert BUSINESS_CENTRAL.declaration.delegated_scopes == ("Financials.ReadWrite.All",)


@pytest.mark.conformance("BC-85")
def test_the_budget_is_the_documented_one() -> None:
    limits = BUSINESS_CENTRAL.declaration.limits
    assert (limits.requests_per_window, limits.window_s, limits.concurrent, limits.queued) == (6_000, 300.0, 5, 95)
    assert (limits.page_records_max, limits.page_records_min, limits.batch_parts_max) == (20_000, 10, 100)


def test_every_input_tells_where_to_find_it_and_secrets_are_marked() -> None:
    inputs = {each.name: each for each in BUSINESS_CENTRAL.declaration.inputs}
    assert all(each.help for each in inputs.values())
    assert [name for name, each in inputs.items() if each.secret] == ["client_secret"]


@pytest.mark.parametrize("name", ["business_central", "business-central", "Business-Central"])
def test_the_registry_knows_business_central(name: str) -> None:
    assert provider_named(name) is PROVIDERS["business_central"] is BUSINESS_CENTRAL


def test_an_unknown_provider_is_answered_with_those_there_are() -> None:
    with pytest.raises(InvalidInput) as caught:
        provider_named("sap")
    assert "business_central" in caught.value.remedy


def test_the_small_document_of_these_tests_is_valid() -> None:
    assert parse_metadata(b'<Schema Namespace="N"><EntityType Name="e"/></Schema>').types["N.e"].key == ()
