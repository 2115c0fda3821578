"""Bytes in and out over HTTP: attachments, pictures, PDF; once, whole, in parts, and looked for when lost."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator

import httpx
import pytest
from tests.api_server import Served
from tests.hub_fixtures import US

from isthmus.actions.writing.uploading import spooled
from isthmus.kernel.failures import TooLarge

CONTENT = b"%PDF-1.4 " + bytes(range(256)) * 40_000
"""Ten megabytes: many parts."""


@pytest.fixture
async def writing(served: Served) -> tuple[Served, httpx.AsyncClient, str]:
    """A server, a client that may write, and the address of the connection's objects."""
    connection = await served.connect(await served.client())
    return served, await served.client("write", "read"), f"/v1/connections/{connection['id']}/objects"


async def made(client: httpx.AsyncClient, base: str, name: str, body: dict[str, object]) -> str:
    """A new record's id."""
    answer = await client.post(f"{base}/{name}/records", params={"company": US}, json=body)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["remote_id"])


async def attachment(client: httpx.AsyncClient, base: str) -> str:
    """The address of the bytes of a new attachment of a new invoice."""
    customer = await made(client, base, "customers", {"displayName": "Payer"})
    invoice = await made(client, base, "salesInvoices", {"customerId": customer})
    body: dict[str, object] = {"parentId": invoice, "parentType": "Sales Invoice", "fileName": "scan.pdf"}
    found = await made(client, base, "attachments", body)
    return f"{base}/attachments/records/{found}/streams/attachmentContent"


async def parts(content: bytes = CONTENT) -> AsyncIterator[bytes]:
    """The bytes without a length that is known before."""
    for place in range(0, len(content), 100_000):
        yield content[place : place + 100_000]


async def claimed(client: httpx.AsyncClient, path: str, size: int) -> bytes:
    """The status line for an upload that says how long it will be, and sends nothing."""
    reader, writer = await asyncio.open_connection(client.base_url.host, client.base_url.port)
    head = f"PUT {path} HTTP/1.1\r\nhost: here\r\nauthorization: {client.headers['authorization']}\r\n"
    writer.write(f"{head}content-length: {size}\r\n\r\n".encode())
    try:
        async with asyncio.timeout(60):
            return await reader.readline()
    finally:
        writer.close()


@pytest.mark.conformance("BC-77", "BC-58")
async def test_an_attachment_goes_up_once_and_comes_back_byte_for_byte(
    writing: tuple[Served, httpx.AsyncClient, str],
) -> None:
    served, client, base = writing
    address, us = await attachment(client, base), {"company": US}
    for _ in range(2):
        sent = await client.put(address, params=us, content=parts(), headers={"idempotency-key": "u1"})
        assert (sent.status_code, sent.json()["verb"], sent.json()["state"]) == (200, "upload", "confirmed")
    uploads = [each for each in served.house.requests() if each["method"] == "PATCH"]
    assert len(uploads) == 1
    other = await client.put(address, params=us, content=b"other", headers={"idempotency-key": "u1"})
    assert other.status_code == 422
    async with client.stream("GET", address, params=us) as answer:
        assert answer.headers["content-type"] == "application/octet-stream"
        digest = hashlib.sha256()
        async for part in answer.aiter_bytes():
            digest.update(part)
    assert digest.digest() == hashlib.sha256(CONTENT).digest()


async def test_who_leaves_in_the_middle_of_a_download_holds_no_place(
    writing: tuple[Served, httpx.AsyncClient, str],
) -> None:
    _, client, base = writing
    address, us = await attachment(client, base), {"company": US}
    assert (await client.put(address, params=us, content=parts())).status_code == 200
    for _ in range(7):  # the vendor takes five at a time
        async with client.stream("GET", address, params=us) as answer:
            async for _ in answer.aiter_bytes():
                break
    whole = await client.get(address, params=us)
    assert hashlib.sha256(whole.content).digest() == hashlib.sha256(CONTENT).digest()


@pytest.mark.conformance("BC-77")
async def test_an_upload_that_would_have_to_wait_is_refused_before_its_bytes_are_taken(
    writing: tuple[Served, httpx.AsyncClient, str],
) -> None:
    served, client, base = writing
    path = await attachment(client, base)
    admin = await served.client("admin")
    assert (await admin.put("/v1/approvals/rules", json={"required": True})).status_code == 200
    answer = await client.put(path, params={"company": US}, content=b"%PDF")
    assert (answer.status_code, answer.json()["code"]) == (403, "not_approved")
    assert "at a terminal of the server" in answer.json()["remedy"]
    assert '{"object": "attachments", "required": false}' in answer.json()["remedy"]
    status = await claimed(client, f"{path}?company={US.replace(' ', '%20')}", 300 * 1024 * 1024)
    assert b" 403 " in status, "nobody sends hundreds of megabytes for nothing"
    exempt = {"required": False, "object": "attachments"}
    assert (await admin.put("/v1/approvals/rules", json=exempt)).status_code == 200
    assert (await client.put(path, params={"company": US}, content=b"%PDF")).status_code == 200, "as the remedy says"


async def test_an_upload_whose_answer_is_lost_is_looked_for(writing: tuple[Served, httpx.AsyncClient, str]) -> None:
    served, client, base = writing
    address, us = await attachment(client, base), {"company": US}
    served.house.sandbox.fault("lose_answer", method="PATCH", path="attachmentContent$")
    lost = await client.put(address, params=us, content=b"bytes")
    assert (lost.status_code, lost.json()["state"]) == (202, "uncertain"), lost.text
    found = await client.post(f"/v1/operations/{lost.json()['id']}/reconcile")
    assert found.json()["state"] == "confirmed", found.text
    served.house.sandbox.fault("drop", method="PATCH", path="attachmentContent$")
    dropped = await client.put(address, params=us, content=b"others")
    missing = await client.post(f"/v1/operations/{dropped.json()['id']}/reconcile")
    assert missing.json()["state"] == "uncertain", "it may arrive yet"
    assert (await client.post(f"/v1/operations/{lost.json()['id']}/retry")).status_code == 422


async def test_a_picture_and_a_pdf_are_streams_below_their_record(
    writing: tuple[Served, httpx.AsyncClient, str],
) -> None:
    _, client, base = writing
    us = {"company": US}
    item = await made(client, base, "items", {"displayName": "Thing"})
    picture = f"{base}/items/records/{item}/streams/picture/pictureContent"
    assert (await client.get(picture, params=us)).status_code == 404
    assert (await client.put(picture, params=us, content=b"\x89PNG")).status_code == 200
    assert (await client.get(picture, params=us)).content == b"\x89PNG"
    customer = await made(client, base, "customers", {"displayName": "Payer"})
    invoice = await made(client, base, "salesInvoices", {"customerId": customer})
    pdf = await client.get(f"{base}/salesInvoices/records/{invoice}/streams/pdfDocument/pdfDocumentContent", params=us)
    assert (pdf.status_code, pdf.headers["content-type"]) == (200, "application/pdf")
    assert pdf.content.startswith(b"%PDF")
    wrong = await client.get(f"{base}/salesInvoices/records/{invoice}/streams/pdf", params=us)
    assert (wrong.status_code, wrong.json()["nearest"]) == (422, ["pdfDocument/pdfDocumentContent"])
    assert b" 413 " in await claimed(client, picture, 400 * 1024 * 1024)
    empty = await client.put(picture, params=us, content=b"")
    assert empty.status_code == 422


async def test_an_upload_that_is_throttled_or_finds_an_old_token_is_sent_again(
    writing: tuple[Served, httpx.AsyncClient, str],
) -> None:
    served, client, base = writing
    address, us = await attachment(client, base), {"company": US}
    served.house.sandbox.fault("status", method="PATCH", path="attachmentContent$", status=429, retry_after_s=0)
    sent = await client.put(address, params=us, content=b"bytes")
    assert (sent.status_code, sent.json()["attempts"]) == (200, 1), sent.text
    assert [entry["status"] for entry in sent.json()["requests"]] == [429, 204]
    assert (await client.get(address, params=us)).content == b"bytes"


async def test_bytes_beyond_the_limit_are_refused_before_they_are_kept() -> None:
    with pytest.raises(TooLarge):
        async with spooled(parts(), bytes_max=1_000_000):
            raise AssertionError("it was kept")
    async with spooled(parts(), bytes_max=len(CONTENT)) as content:
        assert (content.size, b"".join([part async for part in content.parts()])) == (len(CONTENT), CONTENT)
