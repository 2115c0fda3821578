"""A client that goes away in the middle of its request ends it quietly."""

from __future__ import annotations

import asyncio
import logging

import pytest
from tests.patience import eventually
from tests.sandbox.frame.conftest import ProductClient
from tests.sandbox.frame.test_fault_rules import CUSTOMERS
from yarl import URL


async def test_half_a_body_and_a_closed_connection_leave_no_traceback(
    product: ProductClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    origin = URL(product.sandbox.addresses.business_central_url)
    tasks = product.sandbox.running_requests()
    _, writer = await asyncio.open_connection(origin.host, origin.port, ssl=product.sandbox.ssl_context())
    head = f"POST {CUSTOMERS} HTTP/1.1\r\nHost: {origin.host}\r\nAuthorization: Bearer {product.token}\r\n"
    writer.write(f"{head}Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{{".encode())
    await writer.drain()

    async def waited_for() -> bool:
        return product.sandbox.running_requests() > tasks

    async def ended() -> bool:
        return product.sandbox.running_requests() <= tasks

    await eventually(waited_for)
    writer.transport.abort()
    await eventually(ended)
    assert (await product.get())[0] == 200
    told = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert told == []
