"""Reading: first pages, links, pages, counts, key ranges."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from urllib.parse import parse_qsl, urlsplit

import msgspec
import pytest

from isthmus.kernel.failures import (
    CorruptResponse,
    Failure,
    FilterRefused,
    InvalidInput,
    TooLarge,
    UnknownField,
    UnsafeLink,
    Unsupported,
    VendorTimeout,
    VendorUnavailable,
)
from isthmus.kernel.messages import Repeat, Response
from isthmus.providers.base import Field, ObjectInfo, ReadSpec, Slice, Target
from isthmus.providers.business_central import BUSINESS_CENTRAL, BusinessCentralProvider
from isthmus.providers.business_central.declaration import LIMITS, URL_BYTES_MAX
from isthmus.providers.business_central.headers import write_headers
from isthmus.providers.business_central.paging import smaller_size, starting_size

SINCE = datetime(2026, 1, 1, 8, 30, 0, 250_000, UTC)
UNTIL = datetime(2026, 2, 1, tzinfo=UTC)


def options(url: str) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(url).query))


@pytest.fixture
def first(target: Target, objects: dict[str, ObjectInfo], part: Slice) -> Callable[..., str]:
    """The URL of an object's first page."""

    def url(name: str, spec: ReadSpec | None = None, where: Slice | None = None) -> str:
        return BUSINESS_CENTRAL.first_page(target, objects[name], spec or ReadSpec(), where or part, 5_000).url

    return url


@pytest.mark.conformance("BC-25", "BC-26")
@pytest.mark.parametrize(("asked", "sent"), [(5_000, 5_000), (20_000, 20_000), (50_000, 20_000), (0, 1)])
def test_the_page_size_is_always_sent_and_never_above_the_limit(
    asked: int, sent: int, target: Target, objects: dict[str, ObjectInfo], part: Slice
) -> None:
    request = BUSINESS_CENTRAL.first_page(target, objects["customers"], ReadSpec(), part, asked)
    following = BUSINESS_CENTRAL.next_page(target, request.url, asked)
    assert request.headers["Prefer"] == following.headers["Prefer"] == f"odata.maxpagesize={sent}"
    assert request.repeat is Repeat.SAFE


@pytest.mark.conformance("BC-45")
def test_the_language_is_pinned_on_every_request(target: Target, objects: dict[str, ObjectInfo], part: Slice) -> None:
    provider, obj = BUSINESS_CENTRAL, objects["customers"]
    count = provider.count_request(target, obj, ReadSpec(), part)
    assert count is not None
    requests = [
        provider.environments_request(target),
        provider.companies_request(target),
        *provider.object_requests(target, "v2.0"),
        provider.first_page(target, obj, ReadSpec(), part, 10),
        provider.next_page(target, f"{target.api_url}/x", 10),
        provider.record_request(target, obj, part.company_id, "55e5d8e1-0000-4000-8000-000000000001"),
        count,
    ]
    assert {request.headers["Accept-Language"] for request in requests} == {"en-US"}
    assert write_headers()["Accept-Language"] == "en-US"


@pytest.mark.conformance("BC-46")
def test_bulk_reads_use_the_replica_and_fresh_reads_and_writes_never_do(
    target: Target, objects: dict[str, ObjectInfo], part: Slice
) -> None:
    obj = objects["customers"]
    record = BUSINESS_CENTRAL.record_request(target, obj, part.company_id, "55e5d8e1-0000-4000-8000-000000000001")
    primary = BusinessCentralProvider(replica=False).first_page(target, obj, ReadSpec(), part, 10)
    bulk = BUSINESS_CENTRAL.first_page(target, obj, ReadSpec(), part, 10)
    assert bulk.headers["Data-Access-Intent"] == "ReadOnly"
    for headers in (record.headers, primary.headers, write_headers(etag='W/"1"')):
        assert "Data-Access-Intent" not in headers


@pytest.mark.conformance("BC-97")
def test_the_first_read_is_unfiltered_so_that_unstamped_records_come_too(first: Callable[..., str]) -> None:
    assert options(first("customers")) == {}


@pytest.mark.conformance("BC-96")
def test_an_incremental_read_is_inclusive_at_both_ends_and_ordered_by_stamp(first: Callable[..., str]) -> None:
    assert options(first("customers", ReadSpec(since=SINCE, until=UNTIL))) == {
        "$filter": (
            "lastModifiedDateTime ge 2026-01-01T08:30:00.250Z and lastModifiedDateTime le 2026-02-01T00:00:00.000Z"
        ),
        "$orderby": "lastModifiedDateTime asc",
    }


@pytest.mark.conformance("BC-95")
def test_an_incremental_read_uses_the_stamp_that_the_set_has(first: Callable[..., str]) -> None:
    assert options(first("approvalEntries", ReadSpec(since=SINCE)))["$orderby"] == "lastDateTimeModified asc"


@pytest.mark.parametrize("name", ["salesShipmentLines", "attachments", "pictures", "balanceSheets", "customers"])
@pytest.mark.conformance("BC-43", "BC-95")
def test_no_stamp_filter_is_ever_sent_to_a_set_without_a_stamp(
    name: str, first: Callable[..., str], objects: dict[str, ObjectInfo]
) -> None:
    if objects[name].incremental:
        assert "lastModifiedDateTime ge" in options(first(name, ReadSpec(since=SINCE)))["$filter"]
    elif name == "balanceSheets":
        assert "lastModified" not in first(name, ReadSpec(since=SINCE))
    else:
        with pytest.raises(Unsupported):
            first(name, ReadSpec(since=SINCE))


def test_a_filter_with_or_is_put_in_parentheses_beside_the_stamp(first: Callable[..., str]) -> None:
    spec = ReadSpec(filter="number eq '1' or number eq '2'", since=SINCE)
    assert options(first("customers", spec))["$filter"].startswith("(number eq '1' or number eq '2') and last")


@pytest.mark.conformance("BC-37")
def test_literals_survive_the_address(first: Callable[..., str]) -> None:
    url = first("customers", ReadSpec(filter="displayName eq 'A+B & C%''s #1'"))
    assert "displayName%20eq%20'A%2BB%20%26%20C%25''s%20%231'" in url


@pytest.mark.conformance("BC-36")
@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("number in ('1','2')", "2.1"),
        ("contains(tolower(displayName),'x')", "2.1"),
        ("contains(displayName,'in (x)')", None),
        ("number eq '1'", None),
    ],
)
def test_the_schema_version_is_asked_for_only_where_needed(
    text: str, version: str | None, first: Callable[..., str]
) -> None:
    assert options(first("customers", ReadSpec(filter=text))).get("$schemaversion") == version


def test_a_selection_always_holds_key_and_stamp(first: Callable[..., str]) -> None:
    chosen = options(first("customers", ReadSpec(select=("displayname",))))["$select"]
    assert chosen == "id,lastModifiedDateTime,displayName"


@pytest.mark.conformance("BC-34")
def test_a_selected_field_that_is_gone_is_named_before_sending(first: Callable[..., str]) -> None:
    with pytest.raises(UnknownField) as caught:
        first("customers", ReadSpec(select=("displayNam",)))
    assert (caught.value.subject, caught.value.nearest) == ("displayNam", ("displayName",))


@pytest.mark.conformance("BC-58")
def test_streams_are_never_selected(objects: dict[str, ObjectInfo]) -> None:
    assert BUSINESS_CENTRAL.checked_select(objects["pictures"], ["id", "pictureContent"]) == ("id",)


@pytest.mark.conformance("BC-14")
def test_a_selection_that_makes_the_address_too_long_is_left_out(
    target: Target, objects: dict[str, ObjectInfo], part: Slice
) -> None:
    names = tuple(f"someVeryLongFieldNameOfAnExtension{n}" for n in range(500))
    wide = msgspec.structs.replace(
        objects["customers"], fields=tuple(Field(name=name, type="Edm.String") for name in (*names, "id"))
    )
    url = BUSINESS_CENTRAL.first_page(target, wide, ReadSpec(select=names, since=SINCE), part, 10).url
    assert len(url) <= URL_BYTES_MAX
    assert "$select" not in options(url)
    assert "$filter" in options(url)


@pytest.mark.conformance("BC-14")
def test_a_filter_that_makes_the_address_too_long_is_refused(first: Callable[..., str]) -> None:
    either = " or ".join(f"number eq '{n:020}'" for n in range(600))
    with pytest.raises(InvalidInput):
        first("customers", ReadSpec(filter=either))


@pytest.mark.conformance("BC-27")
def test_a_limit_is_a_total_and_not_a_page_size(target: Target, objects: dict[str, ObjectInfo], part: Slice) -> None:
    request = BUSINESS_CENTRAL.first_page(target, objects["customers"], ReadSpec(limit=25_000), part, 5_000)
    assert options(request.url) == {"$top": "25000"}
    assert request.headers["Prefer"] == "odata.maxpagesize=5000"
    assert "$top" not in options(BUSINESS_CENTRAL.first_page(target, objects["customers"], ReadSpec(), part, 10).url)


@pytest.mark.conformance("BC-32")
def test_no_page_is_ever_asked_for_by_skip(first: Callable[..., str]) -> None:
    for name in ("customers", "salesInvoiceLines", "balanceSheets", "customerSales"):
        assert "$skip=" not in first(name)


@pytest.mark.conformance("BC-28")
@pytest.mark.parametrize(
    "tail",
    [
        "?aid=FIN&$skiptoken=5de545bc-f6f9-ef11-9344-6045bdc8c234",
        "?tenant=msweua1234t56&aid=FIN&$skiptoken='A%20%2B%27x',%27b%27&$filter=a%20eq%20'%C3%A9'",
    ],
)
def test_a_next_link_is_followed_byte_for_byte(tail: str, target: Target) -> None:
    link = f"{target.api_url}/v2.0/t/Production/api/v2.0/companies(1)/customers{tail}"
    assert BUSINESS_CENTRAL.next_page(target, link, 100).url == link


@pytest.mark.conformance("BC-29")
def test_a_next_link_to_another_host_fails_the_read(target: Target) -> None:
    with pytest.raises(UnsafeLink):
        BUSINESS_CENTRAL.next_page(target, "https://api.example.com.evil.org/x?aid=FIN", 100)


@pytest.mark.conformance("BC-30", "BC-49")
def test_pages_are_sliced_and_truncated_ones_refused(objects: dict[str, ObjectInfo]) -> None:
    record = b'{"@odata.etag":"e","id":"1","lastModifiedDateTime":"2026-01-01T00:00:00Z"}'
    body = b'{"value":[' + record + b'],"@odata.nextLink":"L"}'
    page = BUSINESS_CENTRAL.page(objects["customers"], Response(status=200, body=body))
    assert (page.ids, page.stamps, page.next_link) == (["1"], ["2026-01-01T00:00:00Z"], "L")
    with pytest.raises(CorruptResponse):
        BUSINESS_CENTRAL.page(objects["customers"], Response(status=200, body=body[:-10]))


@pytest.mark.conformance("BC-98")
def test_an_id_sweep_asks_for_ids_only_at_the_largest_page(
    first: Callable[..., str], objects: dict[str, ObjectInfo]
) -> None:
    sweep = ReadSpec(ids_only=True)
    assert options(first("customers", sweep)) == {"$select": "id"}
    assert starting_size(objects["customers"], sweep, remembered=50) == 20_000
    assert options(first("salesInvoiceLines", sweep))["$expand"] == "salesInvoiceLines($select=id)"


@pytest.mark.conformance("BC-40", "BC-41")
def test_lines_are_read_by_expanding_their_documents(first: Callable[..., str]) -> None:
    url = first("salesInvoiceLines", ReadSpec(since=SINCE, filter="quantity gt 1"))
    assert urlsplit(url).path.endswith("/salesInvoices")
    assert options(url) == {
        "$filter": "lastModifiedDateTime ge 2026-01-01T08:30:00.250Z",
        "$orderby": "lastModifiedDateTime asc",
        "$select": "id,lastModifiedDateTime",
        "$expand": "salesInvoiceLines($filter=quantity gt 1)",
    }


@pytest.mark.conformance("BC-41")
def test_lines_with_a_stamp_of_their_own_are_filtered_inside_the_expansion(first: Callable[..., str]) -> None:
    url = first("journalLines", ReadSpec(since=SINCE))
    assert options(url) == {
        "$select": "id",
        "$expand": "journalLines($filter=lastModifiedDateTime ge 2026-01-01T08:30:00.250Z)",
    }


@pytest.mark.conformance("BC-41", "BC-98")
def test_lines_come_out_as_records_with_their_documents_stamp(
    objects: dict[str, ObjectInfo], first: Callable[..., str]
) -> None:
    body = (
        b'{"value":[{"@odata.etag":"e","id":"d","lastModifiedDateTime":"2026-01-01T00:00:00Z",'
        b'"salesInvoiceLines":[{"@odata.etag":"f","id":"1","quantity":2}]}]}'
    )
    page = BUSINESS_CENTRAL.page(
        objects["salesInvoiceLines"], Response(status=200, body=body, url=first("salesInvoiceLines"))
    )
    assert (page.ids, page.stamps) == (["1"], ["2026-01-01T00:00:00Z"])
    assert page.raws == [b'{"@odata.etag":"f","id":"1","quantity":2}']


@pytest.mark.conformance("BC-41")
def test_pages_of_documents_with_lines_are_smaller(objects: dict[str, ObjectInfo]) -> None:
    assert starting_size(objects["salesInvoiceLines"], ReadSpec()) < LIMITS.page_records_default
    spec = ReadSpec(expand=("salesInvoiceLines",))
    assert starting_size(objects["salesInvoices"], spec) < LIMITS.page_records_default


@pytest.mark.conformance("BC-40")
def test_a_set_with_several_parents_is_read_through_each(
    first: Callable[..., str], objects: dict[str, ObjectInfo], company_id: str
) -> None:
    slices = BUSINESS_CENTRAL.parts(objects["defaultDimensions"], [company_id])
    paths = [urlsplit(first("defaultDimensions", None, each)).path.rpartition("/")[2] for each in slices]
    assert paths == ["customers", "vendors"]
    with pytest.raises(InvalidInput):
        first("defaultDimensions", None, Slice(company_id=company_id, parent="items"))


@pytest.mark.conformance("BC-50")
def test_single_parts_come_as_objects(objects: dict[str, ObjectInfo], first: Callable[..., str]) -> None:
    body = b'{"value":[{"id":"c","picture":{"id":"p"}},{"id":"d","picture":null}]}'
    page = BUSINESS_CENTRAL.page(objects["pictures"], Response(status=200, body=body, url=first("pictures")))
    assert page.ids == ["p"]


def test_a_parent_with_another_key_is_selected_by_it(
    target: Target, part: Slice, describe: Callable[..., dict[str, ObjectInfo]]
) -> None:
    jobs = describe("microsoft/automation/v2.0", users="user", scheduledJobs="scheduledJob")["scheduledJobs"]
    url = BUSINESS_CENTRAL.first_page(target, jobs, ReadSpec(), part, 10).url
    assert options(url) == {"$select": "userSecurityId", "$expand": "scheduledJobs"}


@pytest.mark.conformance("BC-42")
@pytest.mark.parametrize(
    ("name", "expand"), [("salesInvoices", "pdfDocument"), ("customers", "agedAccountsReceivable($select=x)")]
)
def test_parts_that_cost_a_report_run_are_never_expanded_in_bulk(
    name: str, expand: str, first: Callable[..., str]
) -> None:
    with pytest.raises(Unsupported):
        first(name, ReadSpec(expand=(expand,)))


@pytest.mark.conformance("BC-42")
def test_documents_made_one_at_a_time_are_no_bulk_object(
    first: Callable[..., str], objects: dict[str, ObjectInfo], company_id: str
) -> None:
    assert not objects["pdfDocument"].bulk
    assert len(BUSINESS_CENTRAL.parts(objects["pdfDocument"], [company_id])) == 1
    with pytest.raises(Unsupported):
        first("pdfDocument")


def test_an_unknown_expansion_is_named_with_its_nearest(first: Callable[..., str]) -> None:
    with pytest.raises(UnknownField) as caught:
        first("salesInvoices", ReadSpec(expand=("salesInvoiceLine",)))
    assert caught.value.nearest[0] == "salesInvoiceLines"


@pytest.mark.conformance("BC-43")
def test_a_report_set_takes_a_date_window_and_is_never_incremental(
    first: Callable[..., str], objects: dict[str, ObjectInfo]
) -> None:
    url = first("balanceSheets", ReadSpec(since=SINCE, until=UNTIL))
    assert options(url) == {"$filter": "dateFilter ge 2026-01-01 and dateFilter le 2026-02-01"}
    assert not objects["balanceSheets"].incremental
    assert not objects["balanceSheets"].deletions


@pytest.mark.conformance("BC-43")
def test_an_aged_set_takes_its_period_length_as_a_filter(first: Callable[..., str]) -> None:
    spec = ReadSpec(filter="periodLengthFilter eq '30D'")
    assert options(first("agedAccountsReceivables", spec)) == {"$filter": "periodLengthFilter eq '30D'"}
    with pytest.raises(Unsupported):
        first("agedAccountsReceivables", ReadSpec(since=SINCE))


@pytest.mark.conformance("BC-48")
def test_a_query_is_filtered_by_its_filter_only_date_and_never_ordered(
    first: Callable[..., str], objects: dict[str, ObjectInfo], target: Target
) -> None:
    url = first("customerSales", ReadSpec(since=SINCE, until=UNTIL))
    assert options(url) == {"$filter": "dateFilter_FilterOnly ge 2026-01-01 and dateFilter_FilterOnly le 2026-02-01"}
    with pytest.raises(Unsupported):
        BUSINESS_CENTRAL.record_request(target, objects["customerSales"], None, "1")
    page = BUSINESS_CENTRAL.page(objects["customerSales"], Response(status=200, body=b'{"value":[{"a":1},{"a":2}]}'))
    assert len(set(page.ids)) == 2


@pytest.mark.conformance("BC-47")
def test_the_count_is_asked_for_with_the_same_filter(
    target: Target, objects: dict[str, ObjectInfo], part: Slice
) -> None:
    spec = ReadSpec(since=SINCE, filter="number eq '1'", select=("number",), limit=3)
    request = BUSINESS_CENTRAL.count_request(target, objects["customers"], spec, part)
    assert request is not None
    assert urlsplit(request.url).path.endswith("/customers/$count")
    assert options(request.url) == {"$filter": "number eq '1' and lastModifiedDateTime ge 2026-01-01T08:30:00.250Z"}
    assert BUSINESS_CENTRAL.count(Response(status=200, body=b"\xef\xbb\xbf41")) == 41
    with pytest.raises(CorruptResponse):
        BUSINESS_CENTRAL.count(Response(status=200, body=b""))


@pytest.mark.parametrize("name", ["salesInvoiceLines", "balanceSheets", "customerSales", "companies"])
def test_no_count_is_asked_for_where_it_cannot_be_told(
    name: str, target: Target, objects: dict[str, ObjectInfo], part: Slice
) -> None:
    assert BUSINESS_CENTRAL.count_request(target, objects[name], ReadSpec(), part) is None


@pytest.mark.conformance("BC-47")
def test_a_single_record_is_read_without_value(target: Target, objects: dict[str, ObjectInfo], part: Slice) -> None:
    key = "55e5d8e1-0000-4000-8000-000000000001"
    request = BUSINESS_CENTRAL.record_request(target, objects["customers"], part.company_id, key)
    assert request.url.endswith(f"/customers({key})")
    body = b'{"@odata.context":"https://x/$metadata#c/$entity","@odata.etag":"e","id":"5","number":"1"}'
    page = BUSINESS_CENTRAL.record(objects["customers"], Response(status=200, body=body))
    listed = BUSINESS_CENTRAL.page(
        objects["customers"], Response(status=200, body=b'{"value":[{"@odata.etag":"f","id":"5","number":"1"}]}')
    )
    assert (page.ids, page.hashes) == (listed.ids, listed.hashes)


def test_a_record_with_a_composite_key_is_addressed_by_its_parts(
    target: Target, part: Slice, describe: Callable[..., dict[str, ObjectInfo]]
) -> None:
    obj = describe("microsoft/automation/v2.0", securityGroupMembers="securityGroupMember")["securityGroupMembers"]
    key = "A%2CB,55e5d8e1-0000-4000-8000-000000000001"
    request = BUSINESS_CENTRAL.record_request(target, obj, part.company_id, key)
    assert request.url.endswith("(securityGroupCode='A,B',userSecurityId=55e5d8e1-0000-4000-8000-000000000001)")


def test_key_ranges_cover_every_key_once(target: Target, objects: dict[str, ObjectInfo], company_id: str) -> None:
    obj = objects["customers"]
    requests = BUSINESS_CENTRAL.boundary_requests(target, obj, ReadSpec(), company_id, records=1_000, slices=4)
    assert [options(each.url)["$skip"] for each in requests] == ["250", "500", "750"]
    assert options(requests[0].url)["$orderby"] == "id"
    answers = [Response(status=200, body=b'{"value":[{"id":"%d"}]}' % n) for n in (3, 3, 7)]
    found = [BUSINESS_CENTRAL.boundary(obj, each) for each in answers]
    gone = BUSINESS_CENTRAL.boundary(obj, Response(status=200, body=b'{"value":[]}'))
    slices = BUSINESS_CENTRAL.ranges(company_id, [*found, gone])
    assert [(each.lower, each.upper) for each in slices] == [(None, "3"), ("3", "7"), ("7", None)]


def test_a_key_range_is_read_with_bare_bounds(first: Callable[..., str], company_id: str) -> None:
    where = Slice(company_id=company_id, lower="55e5d8e1-0000-4000-8000-000000000001", upper="66e5")
    assert options(first("customers", None, where))["$filter"] == (
        "id ge 55e5d8e1-0000-4000-8000-000000000001 and id lt 66e5"
    )


@pytest.mark.parametrize("name", ["salesInvoiceLines", "balanceSheets", "customerSales"])
def test_what_has_no_plain_key_is_not_cut_into_ranges(
    name: str, target: Target, objects: dict[str, ObjectInfo], company_id: str
) -> None:
    spec = ReadSpec()
    assert not BUSINESS_CENTRAL.boundary_requests(target, objects[name], spec, company_id, records=10_000, slices=4)


@pytest.mark.conformance("BC-31", "BC-26")
@pytest.mark.parametrize("failure", [VendorTimeout(), VendorUnavailable(), TooLarge()])
def test_the_page_size_halves_down_to_ten(failure: Failure) -> None:
    sizes = []
    size: int | None = 5_000
    while size is not None:
        sizes.append(size)
        size = smaller_size(size, failure)
    assert sizes[:3] == [5_000, 2_500, 1_250]
    assert sizes[-1] == 10


@pytest.mark.conformance("BC-31")
def test_a_size_that_worked_is_where_the_next_run_starts(objects: dict[str, ObjectInfo]) -> None:
    assert starting_size(objects["customers"], ReadSpec(), remembered=312) == 312
    assert starting_size(objects["customers"], ReadSpec()) == 5_000


def test_other_failures_do_not_shrink_the_page() -> None:
    assert smaller_size(5_000, FilterRefused()) is None


@pytest.mark.conformance("BC-35", "BC-36", "BC-39")
def test_a_typed_filter_is_checked_and_written_for_business_central(objects: dict[str, ObjectInfo]) -> None:
    customers = objects["customers"]
    assert BUSINESS_CENTRAL.checked_filter(customers, "Blocked eq 'all' and number in ('1','2')") == (
        "blocked eq 'All' and (number eq '1' or number eq '2')"
    )
    with pytest.raises(FilterRefused):
        BUSINESS_CENTRAL.checked_filter(customers, "number eq '1' or displayName eq 'x'")


@pytest.mark.conformance("BC-35", "BC-37")
def test_chosen_records_are_asked_for_by_or_on_their_key_with_bare_guids(objects: dict[str, ObjectInfo]) -> None:
    ids = ["55e5d8e1-0000-4000-8000-000000000001", "55e5d8e1-0000-4000-8000-000000000002"]
    assert BUSINESS_CENTRAL.ids_filter(objects["customers"], ids) == f"id eq {ids[0]} or id eq {ids[1]}"
    assert BUSINESS_CENTRAL.ids_filter(objects["salesInvoiceLines"], ids) is None
