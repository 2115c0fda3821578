"""Streams: a record first, its bytes afterwards."""

from __future__ import annotations

from typing import Any

import pytest
from tests.sandbox.business_central_writing.conftest import Reply, Writer

BYTES = b"\x00\x01scan\xff"


async def upload(writer: Writer, path: str, data: bytes = BYTES, **changes: str) -> Reply:
    """PATCH raw bytes as the vendor asks for it, with changed headers; an empty one is left out."""
    headers = {"Content_Type": "application/octet-stream", "If_Match": "*", **changes}
    sent = {name: value for name, value in headers.items() if value}
    return await writer.send("PATCH", path, headers=sent, data=data)


async def attachment(writer: Writer, set_name: str = "attachments", **changes: Any) -> dict[str, Any]:
    """An attachment of a draft purchase invoice, still without bytes."""
    invoice = await writer.purchase_invoice()
    body = {"parentId": invoice["id"], "parentType": "Purchase_x0020_Invoice", "fileName": "scan.pdf", **changes}
    return await writer.create(set_name, body)


@pytest.mark.conformance("BC-77")
@pytest.mark.parametrize("set_name", ["attachments", "documentAttachments"])
async def test_an_attachment_is_created_and_then_gets_its_bytes(writer: Writer, set_name: str) -> None:
    made = await attachment(writer, set_name)
    assert made["byteSize"] == 0
    path = f"{set_name}({made['id']})/attachmentContent"
    reply = await upload(writer, path)
    assert (reply.status, reply.body) == (204, b"")
    read_back = await writer.get(path)
    assert (read_back.body, read_back.headers["Content-Type"]) == (BYTES, "application/octet-stream")
    assert (await writer.record(f"{set_name}({made['id']})"))["byteSize"] == len(BYTES)


@pytest.mark.conformance("BC-58", "BC-77")
async def test_the_edit_link_of_an_attachment_takes_the_bytes(writer: Writer) -> None:
    made = await attachment(writer)
    assert (await upload(writer, made["attachmentContent@odata.mediaEditLink"])).status == 204
    assert (await writer.get(made["attachmentContent@odata.mediaReadLink"])).body == BYTES


@pytest.mark.conformance("BC-77")
@pytest.mark.parametrize("set_name", ["attachments", "documentAttachments"])
async def test_an_upload_in_one_step_is_refused(writer: Writer, set_name: str) -> None:
    invoice = await writer.purchase_invoice()
    body = {
        "parentId": invoice["id"],
        "parentType": "Purchase_x0020_Invoice",
        "fileName": "scan.pdf",
        "attachmentContent": "AAFzY2Fu",
    }
    before = len(await writer.rows(set_name))
    assert (await writer.post(set_name, body)).status == 400
    assert len(await writer.rows(set_name)) == before


@pytest.mark.conformance("BC-77")
async def test_bytes_without_if_match_or_as_json_are_refused(writer: Writer) -> None:
    made = await attachment(writer)
    path = f"attachments({made['id']})/attachmentContent"
    reply = await upload(writer, path, If_Match="")
    assert (reply.status, reply.code) == (400, "BadRequest_InvalidToken")
    assert (await upload(writer, path, Content_Type="application/json")).status == 400
    assert (await writer.get(path)).status == 404


@pytest.mark.conformance("BC-77", "BC-88")
async def test_bytes_over_the_limit_are_refused(writer: Writer) -> None:
    writer.switches(body_bytes_max=1000)
    made = await attachment(writer)
    path = f"attachments({made['id']})/attachmentContent"
    assert (await upload(writer, path, b"x" * 1001)).status == 413
    assert (await upload(writer, path, b"x" * 1000)).status == 204


@pytest.mark.conformance("BC-77")
async def test_masters_take_only_the_newer_kind_of_attachment(writer: Writer) -> None:
    customer = await writer.customer()
    body = {"parentId": customer["id"], "parentType": "Customer", "fileName": "contract.pdf"}
    reply = await writer.post("attachments", body)
    assert (reply.status, reply.code) == (400, "Application_DialogException")
    made = await writer.create("documentAttachments", body)
    below = await writer.rows(f"customers({customer['id']})/documentAttachments")
    assert [row["id"] for row in below] == [made["id"]]


@pytest.mark.conformance("BC-77")
@pytest.mark.parametrize("missing", ["parentId", "parentType", "fileName"])
async def test_an_attachment_needs_parent_and_name(writer: Writer, missing: str) -> None:
    invoice = await writer.purchase_invoice()
    body = {"parentId": invoice["id"], "parentType": "Purchase_x0020_Invoice", "fileName": "scan.pdf"}
    del body[missing]
    reply = await writer.post("attachments", body)
    assert (reply.status, reply.code) == (400, "BadRequest_RequiredParamNotProvided")


async def test_an_attachment_created_below_its_document_needs_no_parent_in_the_body(writer: Writer) -> None:
    invoice = await writer.sales_invoice()
    made = await writer.create(f"salesInvoices({invoice['id']})/attachments", {"fileName": "scan.pdf"})
    assert (made["parentId"], made["parentType"]) == (invoice["id"], "Sales_x0020_Invoice")


async def test_an_attachment_stays_with_its_invoice_when_that_is_posted(writer: Writer) -> None:
    made = await attachment(writer)
    invoice_id = made["parentId"]
    await writer.done(f"purchaseInvoices({invoice_id})", "post")
    assert [row["id"] for row in await writer.rows(f"purchaseInvoices({invoice_id})/attachments")] == [made["id"]]


async def test_a_deleted_attachment_has_no_bytes_any_more(writer: Writer) -> None:
    made = await attachment(writer)
    path = f"attachments({made['id']})"
    await upload(writer, f"{path}/attachmentContent")
    assert (await writer.delete(path)).status == 204
    assert (await writer.get(f"{path}/attachmentContent")).status == 404


@pytest.mark.conformance("BC-77")
@pytest.mark.parametrize("set_name", ["items", "customers"])
async def test_a_picture_is_uploaded_below_its_record(writer: Writer, set_name: str) -> None:
    record = (await writer.rows(f"{set_name}?$top=1"))[0]
    path = f"{set_name}({record['id']})/picture/pictureContent"
    assert (await upload(writer, path, Content_Type="image/png")).status == 204
    read_back = await writer.get(path)
    assert (read_back.body, read_back.headers["Content-Type"]) == (BYTES, "image/png")
    assert (await writer.record(f"{set_name}({record['id']})/picture"))["contentType"] == "image/png"
    assert (await writer.delete(f"{set_name}({record['id']})/picture")).status == 204
    assert (await writer.get(path)).status == 404


@pytest.mark.conformance("BC-58")
async def test_the_pdf_of_an_invoice_is_a_pdf_and_cannot_be_written(writer: Writer) -> None:
    invoice = await writer.posted_sales_invoice()
    path = f"salesInvoices({invoice['id']})/pdfDocument/pdfDocumentContent"
    reply = await writer.get(path)
    assert reply.status == 200
    assert reply.headers["Content-Type"] == "application/pdf"
    assert reply.body.startswith(b"%PDF-1.")
    assert reply.body.rstrip().endswith(b"%%EOF")
    assert (await upload(writer, path)).status == 405
