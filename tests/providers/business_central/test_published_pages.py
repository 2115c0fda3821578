"""ODataV4 published pages: the secondary path."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from isthmus.kernel.failures import InvalidInput, UnknownObject
from isthmus.kernel.messages import Request, Response
from isthmus.providers.base import ObjectInfo, Reading, ReadSpec, Slice, Target
from isthmus.providers.business_central import BUSINESS_CENTRAL
from isthmus.providers.business_central.addressing import environment_url
from isthmus.providers.business_central.published import published_url


@pytest.fixture
def cards(describe: Callable[..., dict[str, ObjectInfo]]) -> ObjectInfo:
    return describe("ODataV4", Customer_Card="customer")["Customer_Card"]


@pytest.mark.conformance("BC-13")
@pytest.mark.parametrize(
    ("name", "key"),
    [("CRONUS USA, Inc.", "'CRONUS%20USA%2C%20Inc.'"), ("O'Neil & Co/1", "'O''Neil%20%26%20Co%2F1'")],
)
def test_a_company_name_is_escaped_as_a_key(name: str, key: str) -> None:
    assert published_url("https://h/v2.0/t/P", "Customer_Card", name) == (
        f"https://h/v2.0/t/P/ODataV4/Company({key})/Customer_Card"
    )


@pytest.mark.conformance("BC-13")
def test_a_published_page_is_read_counted_and_addressed_by_key_within_its_company(
    cards: ObjectInfo, target: Target, part: Slice
) -> None:
    root = f"{environment_url(target)}/ODataV4"
    spec = ReadSpec(limit=5)
    count = BUSINESS_CENTRAL.count_request(target, cards, ReadSpec(), part)
    record = BUSINESS_CENTRAL.record_request(target, cards, part.company_id, "55e5d8e1-0000-4000-8000-000000000001")
    assert count is not None
    assert [
        BUSINESS_CENTRAL.object_requests(target, BUSINESS_CENTRAL.parse_route("odatav4"))[0].url,
        BUSINESS_CENTRAL.first_page(target, cards, spec, part, 10).url,
        count.url,
        record.url,
    ] == [
        f"{root}/$metadata",
        f"{root}/Customer_Card?company={part.company_id}&$top=5",
        f"{root}/Customer_Card/$count?company={part.company_id}",
        f"{root}/Customer_Card(55e5d8e1-0000-4000-8000-000000000001)?company={part.company_id}",
    ]
    assert cards.reading is Reading.DIRECT


@pytest.mark.conformance("BC-13")
def test_rows_in_which_every_value_is_empty_are_dropped(cards: ObjectInfo) -> None:
    body = (
        b'{"value":[{"@odata.etag":"e","id":"1","number":"10000"},'
        b'{"@odata.etag":"e","id":"","number":"","balanceDue":0,"on":"0001-01-01"}],"@odata.nextLink":"L"}'
    )
    page = BUSINESS_CENTRAL.page(cards, Response(status=200, body=body))
    assert (page.ids, len(page.hashes), len(page.stamps), len(page.raws)) == (["1"], 1, 1, 1)
    assert page.next_link == "L"


def test_an_api_page_keeps_its_rows_as_they_are(objects: dict[str, ObjectInfo]) -> None:
    body = b'{"value":[{"id":"","number":""}]}'
    assert len(BUSINESS_CENTRAL.page(objects["customers"], Response(status=200, body=body))) == 1


@pytest.mark.conformance("BC-13", "BC-06")
def test_a_page_that_is_not_published_any_more_is_explained(target: Target) -> None:
    url = published_url(environment_url(target), "Customer_Card", "CRONUS USA, Inc.")
    failure = BUSINESS_CENTRAL.failure(Request(method="GET", url=url), Response(status=404, body=b""))
    assert isinstance(failure, UnknownObject)
    assert "version 30" in failure.remedy


def test_a_published_page_needs_a_company(target: Target) -> None:
    with pytest.raises(InvalidInput):
        published_url(environment_url(target), "Customer_Card", None)
