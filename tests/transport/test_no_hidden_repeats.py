"""What is sent is sent once: no repeat that the journal does not see."""

from __future__ import annotations

import asyncio

import pytest

from isthmus.kernel.failures import ConnectionBroken
from isthmus.kernel.messages import Request
from isthmus.transport.http import HttpTransport


@pytest.mark.parametrize("method", ["GET", "DELETE", "PUT", "POST"])
async def test_a_kept_connection_that_was_closed_is_not_answered_by_a_second_request(method: str) -> None:
    received: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            received.append(line)
            while await reader.readline() not in (b"\r\n", b""):
                continue
            if len(received) > 1:  # the second request on the kept connection is read, and then the line goes dead
                writer.close()
                return
            writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
            await writer.drain()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/x"
    async with server, HttpTransport() as transport:
        await transport.send(Request(method="GET", url=url))
        with pytest.raises(ConnectionBroken):
            await transport.send(Request(method=method, url=url))
    assert len(received) == 2
