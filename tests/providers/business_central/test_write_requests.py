"""Requests, answers, and what a look at the vendor's data says about a write whose answer was lost."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import msgspec
import pytest

from isthmus.kernel.failures import InvalidInput, RecordNotFound, Unsupported
from isthmus.kernel.messages import Repeat, Response
from isthmus.odata.batch import Fate
from isthmus.providers.base import Field, ObjectInfo, Reading, Target
from isthmus.providers.business_central import BUSINESS_CENTRAL
from isthmus.providers.business_central.lookup import CLOCKS_APART, NOTED_MAX
from isthmus.providers.writing import Sighting, Under, Verb, WriteSpec, writable

COMPANY = "be3a6b9c-f6f9-ef11-9344-6045bdc8c234"
RECORD = "6b4f0c5e-0000-4000-8000-000000000001"
SENT = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
OLD = "2026-01-30T00:00:00Z"
STAMP = "2026-01-31T12:00:01Z"
TARGET = Target(api_url="https://api.example", tenant="t", environment="Production")


def obj(name: str = "salesInvoices", **more: Any) -> ObjectInfo:
    """An object with a few fields."""
    fields = {
        "id": "Edm.Guid",
        "number": "Edm.String",
        "externalDocumentNumber": "Edm.String",
        "customerNumber": "Edm.String",
        "displayName": "Edm.String",
        "documentId": "Edm.Guid",
        "sequence": "Edm.Int32",
        "city": "Edm.String",
        "lastModifiedDateTime": "Edm.DateTimeOffset",
    }
    known: dict[str, Any] = {
        "entity": name,
        "route": "v2.0",
        "key": ("id",),
        "fields": tuple(Field(name=each, type=kind, max_length=50) for each, kind in fields.items()),
        "actions": ("post", "send", "makeCorrectiveCreditMemo"),
        "stamp": "lastModifiedDateTime",
    }
    return ObjectInfo(name=name, **(known | more))


def spec(verb: Verb, body: dict[str, Any] | None = None, **more: Any) -> WriteSpec:
    """A write in CRONUS."""
    text = None if body is None else msgspec.json.encode(body)
    return WriteSpec(verb=verb, company_id=COMPANY, body=text, **more)


def response(*rows: dict[str, Any], status: int = 200) -> Response:
    """A page of rows."""
    return Response(status=status, body=msgspec.json.encode({"value": list(rows)}))


def row(**values: Any) -> dict[str, Any]:
    """A record as the service shows it."""
    return {"@odata.etag": 'W/"2"', "id": RECORD, "lastModifiedDateTime": STAMP, **values}


@pytest.mark.conformance("BC-46", "BC-59", "BC-60", "BC-73")
@pytest.mark.parametrize(
    ("wish", "method", "tail", "headers"),
    [
        (spec(Verb.CREATE, {"number": "1"}), "POST", "", {"Content-Type"}),
        (spec(Verb.UPDATE, {}, record_id=RECORD, etag='W/"1"'), "PATCH", f"({RECORD})", {"Content-Type", "If-Match"}),
        (spec(Verb.DELETE, record_id=RECORD), "DELETE", f"({RECORD})", set()),
        (spec(Verb.DELETE, record_id=RECORD, etag='W/"1"'), "DELETE", f"({RECORD})", {"If-Match"}),
        (spec(Verb.ACTION, record_id=RECORD, action="post"), "POST", f"({RECORD})/Microsoft.NAV.post", set()),
    ],
)  # fmt: skip
def test_each_write_is_the_documented_request(wish: WriteSpec, method: str, tail: str, headers: set[str]) -> None:
    request = BUSINESS_CENTRAL.write_request(TARGET, obj(), wish)
    root = "https://api.example/v2.0/t/Production/api/v2.0"
    assert (request.method, request.url) == (method, f"{root}/companies({COMPANY})/salesInvoices{tail}")
    assert set(request.headers) == headers | {"Accept", "Accept-Language"}
    assert request.repeat is Repeat.UNSENT_ONLY
    assert (request.body is None) is ("Content-Type" not in headers)


@pytest.mark.conformance("BC-60")
def test_a_change_without_a_version_is_never_made() -> None:
    with pytest.raises(InvalidInput, match="If-Match"):
        BUSINESS_CENTRAL.write_request(TARGET, obj(), spec(Verb.UPDATE, {"city": "x"}, record_id=RECORD))


def test_a_child_may_be_created_below_its_parent() -> None:
    under = Under(object="salesInvoices", record_id=RECORD, navigation="dimensionSetLines")
    request = BUSINESS_CENTRAL.write_request(TARGET, obj("dimensionSetLines"), spec(Verb.CREATE, {}, under=under))
    assert request.url.endswith(f"/salesInvoices({RECORD})/dimensionSetLines")


@pytest.mark.parametrize("identifier", ["abc", "../x", "", f"{RECORD})/x("])
def test_an_id_that_is_none_is_refused(identifier: str) -> None:
    with pytest.raises(InvalidInput):
        BUSINESS_CENTRAL.write_request(TARGET, obj(), spec(Verb.DELETE, record_id=identifier))


@pytest.mark.conformance("BC-62", "BC-73", "BC-48")
@pytest.mark.parametrize(
    ("thing", "verb", "action"),
    [
        (obj(insertable=False), Verb.CREATE, None),
        (obj(updatable=False), Verb.UPDATE, None),
        (obj(updatable=False), Verb.UPSERT, None),
        (obj(deletable=False), Verb.DELETE, None),
        (obj(reading=Reading.QUERY, key=()), Verb.UPDATE, None),
        (obj(route="ODataV4"), Verb.CREATE, None),
        (obj("purchaseInvoices", actions=("post",)), Verb.ACTION, "cancel"),
    ],
)
def test_what_is_not_offered_is_refused(thing: ObjectInfo, verb: Verb, action: str | None) -> None:
    with pytest.raises(Unsupported):
        BUSINESS_CENTRAL.refuse(thing, verb, action)


@pytest.mark.conformance("BC-56", "BC-59")
def test_answers_with_and_without_a_record_are_read() -> None:
    wish = spec(Verb.CREATE, {})
    full = BUSINESS_CENTRAL.outcome(obj(), wish, Response(status=201, body=msgspec.json.encode(row())))
    assert (full.remote_id, full.etag) == (RECORD, 'W/"2"')
    headers = {"location": f"https://api.example/x/salesInvoices({RECORD})"}
    bare = BUSINESS_CENTRAL.outcome(obj(), wish, Response(status=204, headers=headers))
    assert (bare.remote_id, bare.record) == (RECORD, None)
    acted = BUSINESS_CENTRAL.outcome(obj(), spec(Verb.ACTION, record_id=RECORD), Response(status=204))
    assert acted.remote_id == RECORD


@pytest.mark.conformance("BC-79", "BC-81", "BC-82")
def test_a_batch_carries_relative_parts_with_headers_of_their_own() -> None:
    wishes = [spec(Verb.CREATE, {"number": "1"}), spec(Verb.UPDATE, {"city": "x"}, record_id=RECORD, etag='W/"1"')]
    requests = [BUSINESS_CENTRAL.write_request(TARGET, obj(), wish) for wish in wishes]
    parts = [BUSINESS_CENTRAL.batch_part(TARGET, str(n), each) for n, each in enumerate(requests)]
    assert parts[0].url == f"companies({COMPANY})/salesInvoices"
    assert parts[1].headers == {"Content-Type": "application/json", "If-Match": 'W/"1"'}
    loose = BUSINESS_CENTRAL.batch_request(TARGET, "v2.0", parts, isolated=False)
    tight = BUSINESS_CENTRAL.batch_request(TARGET, "v2.0", parts, isolated=True)
    assert loose.url.endswith("/api/v2.0/$batch")
    assert (loose.headers["Prefer"], tight.headers["Isolation"]) == ("odata.continue-on-error", "snapshot")
    assert "Data-Access-Intent" not in loose.headers
    body = b'{"responses":[{"id":"0","status":201,"headers":{},"body":{}},{"id":"1","status":400,"headers":{}}]}'
    fates = BUSINESS_CENTRAL.batch_outcomes(parts, Response(status=200, body=body), isolated=True, commits=False)
    assert [each.fate for each in fates] == [Fate.UNDONE, Fate.FAILED]


def look(thing: ObjectInfo, wish: WriteSpec) -> dict[str, str]:
    """The query of the look for a lost write."""
    request = BUSINESS_CENTRAL.sight_request(TARGET, thing, wish, SENT)
    assert request is not None
    assert "Data-Access-Intent" not in request.headers
    return dict(parse_qsl(urlsplit(request.url).query))


@pytest.mark.conformance("BC-46", "BC-67")
def test_a_lost_create_is_looked_for_by_its_declared_key_on_the_primary() -> None:
    body = {"externalDocumentNumber": "E-1", "customerNumber": "10000", "city": "x"}
    assert (
        look(obj(), spec(Verb.CREATE, body))["$filter"]
        == "externalDocumentNumber eq 'E-1' and customerNumber eq '10000'"
    )
    line = {"documentId": RECORD, "sequence": 10_000}
    lines = obj("salesInvoiceLines", reading=Reading.THROUGH_PARENT)
    assert look(lines, spec(Verb.CREATE, line))["$filter"] == f"documentId eq {RECORD} and sequence eq 10000"


@pytest.mark.conformance("BC-38", "BC-67")
def test_a_name_that_filters_would_misread_is_looked_for_by_time() -> None:
    found = look(obj("customers"), spec(Verb.CREATE, {"displayName": "A & B"}))["$filter"]
    assert found == "lastModifiedDateTime ge 2026-01-31T11:55:00.000Z"


@pytest.mark.conformance("BC-38", "BC-67")
@pytest.mark.parametrize(
    ("body", "asked"),
    [
        ({"displayName": "Adatum"}, "displayName eq 'Adatum'"),
        ({"displayName": "Müller & Söhne (GmbH)"}, "startswith(displayName,'Müller')"),
        ({"displayName": "(old) Adatum"}, "contains(displayName,'Adatum')"),
        ({"displayName": "*"}, None),
        ({"displayName": "Adatum", "number": "10"}, None),
    ],
)
def test_before_a_create_by_a_name_all_that_have_it_are_looked_for(body: dict[str, Any], asked: str | None) -> None:
    wish = spec(Verb.CREATE, body)
    request = BUSINESS_CENTRAL.before_request(TARGET, obj("customers"), wish)
    assert (dict(parse_qsl(urlsplit(request.url).query))["$filter"] if request else None) == asked
    seen = BUSINESS_CENTRAL.baseline(obj("customers"), wish, response(row(**body), row(displayName="Another")))
    assert len(seen["ids"]) == 1


@pytest.mark.conformance("BC-67")
def test_of_more_records_than_are_noted_nobody_but_a_person_finds_the_new_one() -> None:
    wish = spec(Verb.CREATE, {"displayName": "Adatum"})
    many = [row(displayName="Adatum") for _ in range(NOTED_MAX + 1)]
    before = BUSINESS_CENTRAL.baseline(obj("customers"), wish, response(*many))
    verdict = BUSINESS_CENTRAL.sight(obj("customers"), wish, before, response(row(displayName="Adatum")), SENT)
    assert (before, verdict.sighting) == ({}, Sighting.OTHERWISE)


@pytest.mark.conformance("BC-67")
def test_a_create_without_a_key_cannot_be_looked_for() -> None:
    assert BUSINESS_CENTRAL.sight_request(TARGET, obj(), spec(Verb.CREATE, {"city": "x"}), SENT) is None
    assert (
        BUSINESS_CENTRAL.sight_request(TARGET, obj(), spec(Verb.ACTION, record_id=RECORD, action="send"), SENT) is None
    )


@pytest.mark.conformance("BC-57", "BC-67")
@pytest.mark.parametrize(
    ("rows", "sighting"),
    [
        ([row(externalDocumentNumber="E-1", city="Odense")], Sighting.DONE),
        ([row(externalDocumentNumber="e-1", city="Odense")], Sighting.DONE),
        ([row(externalDocumentNumber="E-1", city="Vejle")], Sighting.OTHERWISE),
        ([row(externalDocumentNumber="E-12", city="Odense")], Sighting.NOT_DONE),
        ([row(externalDocumentNumber="E-1", city="Odense", lastModifiedDateTime=OLD)], Sighting.NOT_DONE),
        ([], Sighting.NOT_DONE),
    ],
)  # fmt: skip
def test_a_look_for_a_create_is_judged_by_key_values_and_age(rows: list[dict[str, Any]], sighting: Sighting) -> None:
    wish = spec(Verb.CREATE, {"externalDocumentNumber": "E-1", "city": "Odense"})
    verdict = BUSINESS_CENTRAL.sight(obj(), wish, {}, response(*rows), SENT)
    assert verdict.sighting is sighting
    assert not verdict.harmless
    assert timedelta(0) < CLOCKS_APART


@pytest.mark.parametrize(
    ("etag", "city", "sighting", "harmless"),
    [
        ('W/"1"', "Odense", Sighting.DONE, False),
        ('W/"2"', "Vejle", Sighting.NOT_DONE, True),
        ('W/"1"', "Vejle", Sighting.SUPERSEDED, False),
        ("*", "Vejle", Sighting.NOT_DONE, False),
    ],
)
def test_a_lost_change_is_judged_by_values_and_version(
    etag: str, city: str, sighting: Sighting, harmless: bool
) -> None:
    wish = spec(Verb.UPDATE, {"city": "Odense"}, record_id=RECORD, etag=etag)
    seen = Response(status=200, body=msgspec.json.encode(row(city=city)))
    verdict = BUSINESS_CENTRAL.sight(obj(), wish, {}, seen, SENT)
    assert (verdict.sighting, verdict.harmless) == (sighting, harmless)


def test_a_lost_deletion_is_done_when_the_record_is_gone() -> None:
    wish = spec(Verb.DELETE, record_id=RECORD)
    assert BUSINESS_CENTRAL.sight(obj(), wish, {}, RecordNotFound(), SENT).sighting is Sighting.DONE
    there = Response(status=200, body=msgspec.json.encode(row()))
    assert BUSINESS_CENTRAL.sight(obj(), wish, {}, there, SENT).harmless


@pytest.mark.conformance("BC-74", "BC-75")
@pytest.mark.parametrize(
    ("name", "now", "sighting"),
    [
        ("salesInvoices", {"status": "Open", "number": "108001"}, Sighting.DONE),
        ("salesInvoices", {"status": "Paid", "number": "107001"}, Sighting.DONE),
        ("salesInvoices", {"status": "Draft", "number": "107001"}, Sighting.NOT_DONE),
        ("salesInvoices", {"status": "In_x0020_Review", "number": "107001"}, Sighting.NOT_DONE),
        ("salesInvoices", {"status": "Open", "number": "107001"}, Sighting.OTHERWISE),
        ("purchaseInvoices", {"status": "Open", "number": "107001"}, Sighting.DONE),
    ],
)
def test_a_posting_is_known_by_number_and_status(name: str, now: dict[str, Any], sighting: Sighting) -> None:
    wish = spec(Verb.ACTION, record_id=RECORD, action="post")
    before = {"status": "Draft", "number": "107001", "etag": 'W/"1"'}
    seen = Response(status=200, body=msgspec.json.encode(row(**now)))
    assert BUSINESS_CENTRAL.sight(obj(name), wish, before, seen, SENT).sighting is sighting


def test_a_journal_is_posted_when_its_lines_are_gone() -> None:
    wish = spec(Verb.ACTION, record_id=RECORD, action="post")
    journals = obj("journals")
    before = BUSINESS_CENTRAL.baseline(journals, wish, response({"id": "a"}, {"id": "b"}))
    judged = [
        BUSINESS_CENTRAL.sight(journals, wish, before, response(*({"id": each} for each in now)), SENT).sighting
        for now in ("", "ab", "a", "abc")
    ]
    assert judged == [Sighting.DONE, Sighting.NOT_DONE, Sighting.OTHERWISE, Sighting.OTHERWISE]


@pytest.mark.conformance("BC-66")
def test_lines_of_one_parent_share_a_lock_with_their_parent() -> None:
    lines = obj("salesInvoiceLines", reading=Reading.THROUGH_PARENT)
    header = BUSINESS_CENTRAL.lock_key(obj(), spec(Verb.UPDATE, {"city": "x"}, record_id=RECORD))
    first = BUSINESS_CENTRAL.lock_key(lines, spec(Verb.CREATE, {"documentId": RECORD, "sequence": 1}))
    second = BUSINESS_CENTRAL.lock_key(
        lines, spec(Verb.DELETE, record_id="x"), msgspec.json.encode({"documentId": RECORD})
    )
    assert header == first == second
    assert BUSINESS_CENTRAL.lock_key(obj(), spec(Verb.CREATE, {"city": "x"})) is None


def test_business_central_can_be_written_to() -> None:
    assert writable(BUSINESS_CENTRAL) is BUSINESS_CENTRAL
