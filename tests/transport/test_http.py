"""One attempt on the wire: what arrives, what is refused, and what every trouble is called."""

from __future__ import annotations

import asyncio
import gzip
import socket
import zlib

import pytest
from aiohttp import web
from tests.transport.conftest import Serve, ServeWeb

from isthmus.kernel.failures import (
    ConfigurationFailure,
    ConnectionBroken,
    CorruptResponse,
    InvalidInput,
    TooLarge,
    Turn,
    VendorTimeout,
)
from isthmus.kernel.messages import Request
from isthmus.transport.http import HttpTransport, TransportSettings


def get(url: str, **more: object) -> Request:
    return Request(method="GET", url=url, **{"timeout_s": 60.0, **more})  # type: ignore[arg-type]  # keywords of a Struct


def saying(*parts: bytes, pause_s: float = 0.0):  # type: ignore[no-untyped-def]  # a closure for the fixture
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for part in parts:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(pause_s)

    return talk


@pytest.mark.conformance("BC-28")
async def test_an_address_goes_over_the_wire_byte_for_byte(transport: HttpTransport, serve: Serve) -> None:
    heard: list[bytes] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")

    async def listening(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append((await reader.readline()).split()[1])
        await reader.readuntil(b"\r\n\r\n")
        await talk(reader, writer)
        writer.close()

    server = await asyncio.start_server(listening, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    path = "/v2.0/x/api/v2.0/companies(1)/items?$filter=a%20eq%20%27b%2Bc%27&aid=FIN&$skiptoken=%2522x,'y'%c3%BC"
    await transport.send(get(f"http://127.0.0.1:{port}{path}"))
    server.close()
    assert heard == [path.encode()]


async def test_a_response_has_lower_case_headers_and_its_body(transport: HttpTransport, serve_web: ServeWeb) -> None:
    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        body = await request.read()
        return web.Response(
            status=418, body=b"<error>" + body, headers={"X-Some-Thing": "1", "Content-Type": "text/xml"}
        )

    address = await serve_web(answer)
    response = await transport.send(Request(method="POST", url=f"{address}/", body=b"sent"))
    assert (response.status, response.body, response.headers["x-some-thing"]) == (418, b"<error>sent", "1")


async def test_an_empty_body_is_a_response(transport: HttpTransport, serve: Serve) -> None:
    address = await serve(saying(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"))
    response = await transport.send(get(address + "/"))
    assert (response.status, response.body) == (404, b"")


async def test_a_redirect_is_not_followed(transport: HttpTransport, serve: Serve) -> None:
    address = await serve(saying(b"HTTP/1.1 302 Found\r\nLocation: http://evil.example/\r\nContent-Length: 0\r\n\r\n"))
    assert (await transport.send(get(address + "/"))).headers["location"] == "http://evil.example/"


@pytest.mark.parametrize(
    ("encoding", "packed"),
    [
        ("gzip", gzip.compress(b"page" * 1000)),
        ("gzip", gzip.compress(b"page" * 500) + gzip.compress(b"page" * 500)),
        ("deflate", zlib.compress(b"page" * 1000)),
        ("deflate", zlib.compress(b"page" * 1000)[2:-4]),
    ],
    ids=["gzip", "gzip-in-two-members", "deflate", "deflate-without-header"],
)
async def test_compressed_bodies_are_unpacked(
    transport: HttpTransport, serve: Serve, encoding: str, packed: bytes
) -> None:
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: {encoding}\r\nContent-Length: {len(packed)}\r\n\r\n".encode()
    address = await serve(saying(head, packed[:10], packed[10:]))
    assert (await transport.send(get(address + "/"))).body == b"page" * 1000


@pytest.mark.parametrize("cut", [len(gzip.compress(b"page" * 1000)) - 5, 12])
async def test_a_compressed_body_that_ends_early_is_corrupt(transport: HttpTransport, serve: Serve, cut: int) -> None:
    packed = gzip.compress(b"page" * 1000)[:cut]
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {cut}\r\n\r\n".encode()
    address = await serve(saying(head + packed))
    with pytest.raises(CorruptResponse):
        await transport.send(get(address + "/"))


async def test_a_damaged_or_unknown_packing_is_corrupt(transport: HttpTransport, serve: Serve) -> None:
    for encoding in (b"gzip", b"br"):
        head = b"HTTP/1.1 200 OK\r\nContent-Encoding: " + encoding + b"\r\nContent-Length: 8\r\n\r\n"
        address = await serve(saying(head + b"notgzip!"))
        with pytest.raises(CorruptResponse):
            await transport.send(get(address + "/"))


async def test_a_small_answer_that_unpacks_to_an_enormous_one_is_stopped(
    transport: HttpTransport, serve: Serve
) -> None:
    bomb = gzip.compress(b"\0" * 50_000_000)
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {len(bomb)}\r\n\r\n".encode()
    address = await serve(saying(head + bomb))
    with pytest.raises(TooLarge):
        await transport.send(get(address + "/"))


async def test_an_endless_answer_is_stopped_at_the_limit(transport: HttpTransport, serve: Serve) -> None:
    address = await serve(saying(b"HTTP/1.1 200 OK\r\n\r\n", *[b"x" * 100_000] * 40))
    with pytest.raises(TooLarge):
        await transport.send(get(address + "/"))


@pytest.mark.conformance("BC-49")
@pytest.mark.parametrize(
    "truncated",
    [
        b'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"value":[',
        b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na\r\n{"value":[\r\n',
    ],
    ids=["content-length", "chunked"],
)
async def test_a_truncated_body_is_a_corrupt_response(transport: HttpTransport, serve: Serve, truncated: bytes) -> None:
    address = await serve(saying(truncated))
    with pytest.raises(CorruptResponse):
        await transport.send(get(address + "/"))


async def test_something_that_is_not_http_is_a_corrupt_response(transport: HttpTransport, serve: Serve) -> None:
    address = await serve(saying(b"220 mail.example ESMTP\r\n\r\n"))
    with pytest.raises(CorruptResponse):
        await transport.send(get(address + "/"))


async def test_a_connection_that_closes_without_an_answer_may_have_been_heard(
    transport: HttpTransport, serve: Serve
) -> None:
    address = await serve(saying())
    with pytest.raises(ConnectionBroken) as broken:
        await transport.send(Request(method="POST", url=address + "/", body=b"x"))
    assert not broken.value.unsent


async def test_a_reset_connection_is_a_broken_connection(transport: HttpTransport, serve: Serve) -> None:
    async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        writer.transport.abort()

    address = await serve(reset)
    with pytest.raises(ConnectionBroken) as broken:
        await transport.send(Request(method="POST", url=address + "/", body=b"x"))
    assert not broken.value.unsent


async def test_a_refused_connection_was_certainly_not_sent(transport: HttpTransport) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    with pytest.raises(ConnectionBroken) as broken:
        await transport.send(get(f"http://127.0.0.1:{port}/"))
    assert broken.value.unsent
    assert "127.0.0.1 cannot be reached" in broken.value.message


async def test_a_server_that_does_not_finish_the_handshake_has_heard_nothing(serve: Serve) -> None:
    address = await serve(saying())
    async with HttpTransport(TransportSettings(connect_timeout_s=0.1)) as transport:
        with pytest.raises(ConnectionBroken, match="did not take the connection") as broken:
            await transport.send(get(address.replace("http:", "https:") + "/"))
    assert broken.value.unsent


async def test_an_unknown_name_is_explained(transport: HttpTransport) -> None:
    with pytest.raises(ConnectionBroken) as broken:
        await transport.send(get("http://no-such-host.invalid/"))
    assert broken.value.unsent
    assert "no-such-host.invalid cannot be found" in broken.value.message


HALF_AN_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab"


@pytest.mark.parametrize("parts", [(), (HALF_AN_ANSWER,)], ids=["silent", "half-way"])
async def test_a_slow_answer_is_a_time_out(transport: HttpTransport, serve: Serve, parts: tuple[bytes, ...]) -> None:
    address = await serve(saying(*(parts or (b"",)), pause_s=1.0))
    with pytest.raises(VendorTimeout):
        await transport.send(get(address + "/", timeout_s=0.1))


@pytest.mark.conformance("OA-23")
async def test_a_clouds_own_authority_is_trusted_where_it_is_named_and_nowhere_else(
    transport: HttpTransport, tls_server: str, ca_file: str
) -> None:
    with pytest.raises(ConnectionBroken) as distrust:
        await transport.send(get(tls_server + "/"))
    assert distrust.value.unsent
    assert distrust.value.whose_turn is Turn.YOU
    assert "certificate" in distrust.value.message
    assert (await transport.trusting(ca_file).send(get(tls_server + "/"))).body == b"ok"
    with pytest.raises(ConnectionBroken):
        await transport.send(get(tls_server + "/"))


async def test_the_authority_can_be_set_for_the_whole_transport(tls_server: str, ca_file: str) -> None:
    async with HttpTransport(TransportSettings(ca_file=ca_file)) as transport:
        assert (await transport.send(get(tls_server + "/"))).ok


async def test_an_authority_file_that_cannot_be_read_is_named(transport: HttpTransport) -> None:
    with pytest.raises(ConfigurationFailure, match=r"no-such\.pem"):
        await transport.trusting("no-such.pem").send(get("https://127.0.0.1:1/"))


@pytest.mark.parametrize(
    "address",
    ["/relative", "ftp://host/", "https://user:pass@host/", "https://host\\@evil/", "https://ho st/", "https://", "x"],
)
async def test_an_address_that_could_mean_two_things_is_refused(transport: HttpTransport, address: str) -> None:
    with pytest.raises(InvalidInput):
        await transport.send(get(address))


async def test_a_header_cannot_smuggle_another_one(transport: HttpTransport, serve: Serve) -> None:
    address = await serve(saying(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"))
    with pytest.raises(InvalidInput):
        await transport.send(get(address + "/", headers={"X-A": "1\r\nX-B: 2"}))
