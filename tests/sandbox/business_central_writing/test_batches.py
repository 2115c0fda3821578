"""`$batch`: order, ids, stopping, going on, undoing, limits; JSON and multipart."""

from __future__ import annotations

from typing import Any

import pytest
from tests.sandbox.business_central_writing.conftest import Reply, Writer

JSON = {"Content-Type": "application/json"}
SNAPSHOT = {"Isolation": "snapshot"}
GO_ON = {"Prefer": "odata.continue-on-error"}


def create(writer: Writer, name: str, part_id: str | None = None, **more: Any) -> dict[str, Any]:
    """A part that creates a customer."""
    part = {
        "method": "POST",
        "url": f"{writer.company}/customers",
        "headers": JSON,
        "body": {"displayName": name, **more},
    }
    return part if part_id is None else {"id": part_id, **part}


def broken(writer: Writer, part_id: str | None = None) -> dict[str, Any]:
    """A part that fails: no name."""
    return create(writer, "", part_id)


async def names(writer: Writer) -> set[str]:
    """The names of all customers."""
    return {row["displayName"] for row in await writer.rows("customers?$select=displayName")}


def responses(reply: Reply) -> list[dict[str, Any]]:
    """The parts of a batch answer."""
    assert reply.status == 200, reply.body
    found: list[dict[str, Any]] = reply.json["responses"]
    return found


@pytest.mark.conformance("BC-79")
async def test_a_batch_answers_200_and_each_part_has_its_own_status_and_id(writer: Writer) -> None:
    parts = [
        create(writer, "One", "first"),
        {"id": "second", "method": "GET", "url": f"{writer.company}/customers?$top=1"},
        broken(writer, "third"),
    ]
    found = responses(await writer.batch(parts))
    assert [(part["id"], part["status"]) for part in found] == [("first", 201), ("second", 200), ("third", 400)]
    assert found[0]["body"]["displayName"] == "One"
    assert found[0]["headers"]["Location"].endswith(f"customers({found[0]['body']['id']})")
    assert len(found[1]["body"]["value"]) == 1
    assert found[2]["body"]["error"]["code"] == "BadRequest_RequiredParamNotProvided"
    assert "CorrelationId:" in found[2]["body"]["error"]["message"]


@pytest.mark.conformance("BC-79")
async def test_an_absent_id_is_null_in_the_answer(writer: Writer) -> None:
    found = responses(await writer.batch([create(writer, "One"), create(writer, "Two")]))
    assert [part["id"] for part in found] == [None, None]


@pytest.mark.conformance("BC-79")
async def test_parts_run_in_order_and_see_each_other(writer: Writer) -> None:
    url = f"{writer.company}/customers?$filter=displayName%20eq%20'One'"
    parts = [{"method": "GET", "url": url}, create(writer, "One"), {"method": "GET", "url": url}]
    found = responses(await writer.batch(parts))
    assert [len(found[index]["body"]["value"]) for index in (0, 2)] == [0, 1]


@pytest.mark.conformance("BC-80")
async def test_a_failing_part_ends_the_batch_and_earlier_parts_stay(writer: Writer) -> None:
    found = responses(await writer.batch([create(writer, "One", "1"), broken(writer, "2"), create(writer, "Two", "3")]))
    assert [(part["id"], part["status"]) for part in found] == [("1", 201), ("2", 400)]
    after = await names(writer)
    assert "One" in after
    assert "Two" not in after


@pytest.mark.conformance("BC-81")
async def test_continue_on_error_runs_every_part(writer: Writer) -> None:
    parts = [create(writer, "One"), broken(writer), create(writer, "Two")]
    found = responses(await writer.batch(parts, **GO_ON))
    assert [part["status"] for part in found] == [201, 400, 201]
    assert {"One", "Two"} <= await names(writer)


@pytest.mark.conformance("BC-82")
async def test_a_snapshot_is_undone_by_a_failing_part_and_still_reports_2xx(writer: Writer) -> None:
    customer = await writer.customer()
    change = {
        "method": "PATCH",
        "url": f"{writer.company}/customers({customer['id']})",
        "headers": {**JSON, "If-Match": customer["@odata.etag"]},
        "body": {"city": "Lyon"},
    }
    vendor = await writer.create("vendors", {"displayName": "Contoso"})
    remove = {"method": "DELETE", "url": f"{writer.company}/vendors({vendor['id']})"}
    parts = [create(writer, "One"), change, remove, broken(writer)]
    found = responses(await writer.batch(parts, **SNAPSHOT))
    assert [part["status"] for part in found] == [201, 200, 204, 400]
    assert "One" not in await names(writer)
    assert (await writer.customer())["@odata.etag"] == customer["@odata.etag"]
    assert (await writer.get(f"vendors({vendor['id']})")).status == 200
    assert (await writer.create("customers", {"displayName": "Next"}))["number"] == "C00010"


@pytest.mark.conformance("BC-82")
async def test_a_snapshot_without_failures_stays(writer: Writer) -> None:
    found = responses(await writer.batch([create(writer, "One"), create(writer, "Two")], **SNAPSHOT))
    assert [part["status"] for part in found] == [201, 201]
    assert {"One", "Two"} <= await names(writer)


@pytest.mark.conformance("BC-82")
async def test_what_a_part_of_a_snapshot_committed_by_posting_stays(writer: Writer) -> None:
    invoice = await writer.purchase_invoice()
    post = {"method": "POST", "url": f"{writer.company}/purchaseInvoices({invoice['id']})/Microsoft.NAV.post"}
    parts = [create(writer, "Before"), post, create(writer, "After"), broken(writer)]
    found = responses(await writer.batch(parts, **SNAPSHOT))
    assert [part["status"] for part in found] == [201, 204, 201, 400]
    after = await names(writer)
    assert "Before" in after
    assert "After" not in after
    assert (await writer.record(f"purchaseInvoices({invoice['id']})"))["status"] == "Open"


@pytest.mark.conformance("BC-83")
async def test_more_than_100_parts_are_refused_and_none_runs(writer: Writer) -> None:
    parts = [create(writer, f"Customer {index}") for index in range(101)]
    reply = await writer.batch(parts)
    assert (reply.status, reply.code) == (400, "Unknown")
    assert "Customer 0" not in await names(writer)


@pytest.mark.conformance("BC-83")
async def test_100_parts_are_accepted(writer: Writer) -> None:
    parts = [{"method": "GET", "url": f"{writer.company}/customers/$count"} for _ in range(100)]
    assert len(responses(await writer.batch(parts))) == 100


async def test_a_batch_that_does_not_parse_is_refused_as_a_whole(writer: Writer) -> None:
    for data in (b"{", b"[]", b"{}", b'{"requests":[{"url":"x"}]}'):
        reply = await writer.send("POST", f"{writer.root}/$batch", headers=JSON, data=data)
        assert reply.status == 400


async def test_parts_need_their_own_content_type_and_if_match(writer: Writer) -> None:
    customer = await writer.customer()
    url = f"{writer.company}/customers({customer['id']})"
    parts = [
        {"method": "POST", "url": f"{writer.company}/customers", "body": {"displayName": "One"}},
        {"method": "PATCH", "url": url, "headers": JSON, "body": {"city": "Lyon"}},
    ]
    found = responses(await writer.batch(parts, **GO_ON))
    assert [part["status"] for part in found] == [400, 400]
    assert found[1]["body"]["error"]["code"] == "BadRequest_InvalidToken"


async def test_a_part_may_name_its_company_in_a_header(writer: Writer) -> None:
    part = {
        "method": "POST",
        "url": "customers",
        "headers": {**JSON, "Company": "CRONUS USA, Inc."},
        "body": {"displayName": "One"},
    }
    assert [found["status"] for found in responses(await writer.batch([part]))] == [201]
    assert "One" in await names(writer)


async def test_a_part_may_carry_a_whole_url_or_a_path_from_the_root(writer: Writer) -> None:
    absolute = writer.url("customers/$count")
    path = absolute[absolute.index("/v2.0/") :]
    parts = [{"method": "GET", "url": url} for url in (absolute, path, f"/{writer.company}/customers/$count")]
    assert [found["status"] for found in responses(await writer.batch(parts))] == [200, 200, 200]


async def test_lines_of_one_parent_in_one_batch_meet_no_lock(writer: Writer) -> None:
    invoice = await writer.create("salesInvoices", {"customerNumber": "10000"})
    part = {
        "method": "POST",
        "url": f"{writer.company}/salesInvoices({invoice['id']})/salesInvoiceLines",
        "headers": JSON,
        "body": {"lineObjectNumber": "1896-S", "quantity": 1},
    }
    assert [found["status"] for found in responses(await writer.batch([part] * 3))] == [201] * 3


@pytest.mark.conformance("BC-65")
async def test_a_deep_insert_works_in_a_batch(writer: Writer) -> None:
    part = {
        "method": "POST",
        "url": f"{writer.company}/salesOrders",
        "headers": JSON,
        "body": {"customerNumber": "10000", "salesOrderLines": [{"lineObjectNumber": "1896-S", "quantity": 2}]},
    }
    found = responses(await writer.batch([part]))
    order = found[0]["body"]
    assert len(await writer.rows(f"salesOrders({order['id']})/salesOrderLines")) == 1


async def test_a_batch_in_a_batch_is_refused(writer: Writer) -> None:
    part = {"method": "POST", "url": "$batch", "headers": JSON, "body": {"requests": []}}
    assert responses(await writer.batch([part]))[0]["status"] == 400


# -- multipart ---------------------------------------------------------------------------------------------------------


def changeset(*requests: str) -> str:
    """A change set of requests."""
    inner = "".join(
        f"--c\r\nContent-Type: application/http\r\nContent-ID: {index}\r\n\r\n{request}\r\n"
        for index, request in enumerate(requests, 1)
    )
    return f"Content-Type: multipart/mixed; boundary=c\r\n\r\n{inner}--c--\r\n"


async def multipart(writer: Writer, *blocks: str) -> Reply:
    """Send a multipart batch."""
    body = "".join(f"--b\r\n{block}\r\n" for block in blocks) + "--b--\r\n"
    headers = {"Content-Type": "multipart/mixed; boundary=b"}
    return await writer.send("POST", f"{writer.root}/$batch", headers=headers, data=body.encode())


async def test_a_multipart_batch_answers_with_the_statuses_in_order(writer: Writer) -> None:
    post = f'POST {writer.company}/customers HTTP/1.1\r\nContent-Type: application/json\r\n\r\n{{"displayName": "One"}}'
    get = f"Content-Type: application/http\r\n\r\nGET {writer.company}/customers/$count HTTP/1.1\r\n"
    reply = await multipart(writer, changeset(post), get)
    assert reply.status == 200
    assert reply.headers["Content-Type"].startswith("multipart/mixed; boundary=")
    assert [line for line in reply.body.decode().splitlines() if line.startswith("HTTP/1.1")] == [
        "HTTP/1.1 201 Created",
        "HTTP/1.1 200 OK",
    ]
    assert "One" in await names(writer)


@pytest.mark.conformance("BC-80")
async def test_a_multipart_batch_stops_at_the_first_failure_too(writer: Writer) -> None:
    post = f"POST {writer.company}/customers HTTP/1.1\r\nContent-Type: application/json\r\n\r\n"
    reply = await multipart(writer, changeset(post + "{}"), changeset(post + '{"displayName": "Two"}'))
    assert [line for line in reply.body.decode().splitlines() if line.startswith("HTTP/1.1")] == [
        "HTTP/1.1 400 Bad Request"
    ]
    assert "Two" not in await names(writer)


async def test_a_change_set_of_two_requests_is_refused(writer: Writer) -> None:
    post = f'POST {writer.company}/customers HTTP/1.1\r\nContent-Type: application/json\r\n\r\n{{"displayName": "A"}}'
    reply = await multipart(writer, changeset(post, post))
    assert reply.status == 400
    assert "A" not in await names(writer)
