"""The one HTTP client: one attempt at a time, every network trouble turned into a failure in plain words."""

from __future__ import annotations

import asyncio
import os
import ssl
import time
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Final

import aiohttp
import msgspec
from yarl import URL

from isthmus.kernel import limits
from isthmus.kernel.failures import (
    ConfigurationFailure,
    ConnectionBroken,
    CorruptResponse,
    Failure,
    InvalidInput,
    Turn,
    VendorTimeout,
)
from isthmus.kernel.messages import Request, Response
from isthmus.transport.bodies import ACCEPTED_ENCODINGS, Body
from isthmus.transport.origins import parse_address
from isthmus.transport.public import NotPublic, public_socket
from isthmus.transport.streaming import Content, StreamedAnswer, headers_of

_READ_BUFFER_BYTES: Final = 256 * 1024
"""Pages are megabytes: a larger buffer than aiohttp's 64 KiB means fewer turns of the loop."""

STREAM_IDLE_S: Final = 60.0
"""How long the body of a streamed answer may stand still. Until its head comes the whole call's time counts: vendors
think for minutes before they answer.
"""

_HEADER_BYTES_MAX: Final = 32 * 1024
"""Longest header line accepted; identity providers send long ones, nobody sends this much."""


class TransportSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How the client behaves. `ca_file` (PEM) replaces the machine's certificate authorities, for a gateway or a
    sandbox."""

    ca_file: str | None = None
    connections_max: int = 200
    """All tenants share the vendor's one host, so there is no smaller limit per host: the budgets do that."""
    connect_timeout_s: float = 15.0
    response_bytes_max: int = limits.RESPONSE_BYTES_MAX
    user_agent: str = "isthmus"
    public_only: bool = False
    """Refuse to connect to an address inside the machine or its networks, whatever its name resolved to (webhooks)."""


class HttpTransport:
    """One aiohttp session with a lifetime: `async with HttpTransport(TransportSettings()) as transport`."""

    def __init__(self, settings: TransportSettings | None = None) -> None:
        self._settings = settings or TransportSettings()
        self._session: aiohttp.ClientSession | None = None
        self._contexts: dict[str | None, ssl.SSLContext] = {}

    async def __aenter__(self) -> HttpTransport:
        connector = aiohttp.TCPConnector(
            limit=self._settings.connections_max,
            socket_factory=public_socket if self._settings.public_only else None,
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            read_bufsize=_READ_BUFFER_BYTES,
            max_line_size=_HEADER_BYTES_MAX,
            max_field_size=_HEADER_BYTES_MAX,
            headers={"User-Agent": self._settings.user_agent, "Accept-Encoding": ACCEPTED_ENCODINGS},
        )
        # aiohttp would repeat a GET, PUT or DELETE by itself when a kept connection turns out to be closed, unseen by
        # the journal and the budget. It has no public switch; whether to repeat is decided in `transport.retry` alone.
        self._session._retry_connection = False
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def send(self, request: Request) -> Response:
        """One attempt. Any status is a response (redirects too).

        Raises VendorTimeout, ConnectionBroken (with `unsent` where nothing can have left), CorruptResponse, TooLarge,
        and InvalidInput for an address or header that cannot be sent.
        """
        return await self._send(request, self._settings.ca_file)

    def open(
        self, request: Request, content: Content | None, bytes_max: int
    ) -> AbstractAsyncContextManager[StreamedAnswer]:
        """One attempt whose bodies come and go in parts. Raises as `send` does."""
        return self._open(request, content, bytes_max, self._settings.ca_file)

    def _open(
        self, request: Request, content: Content | None, bytes_max: int, ca_file: str | None
    ) -> AbstractAsyncContextManager[StreamedAnswer]:
        if self._session is None:
            raise RuntimeError("HttpTransport is used outside its `async with` block")
        address = parse_address(request.url)
        timeout = aiohttp.ClientTimeout(total=request.timeout_s, sock_connect=self._settings.connect_timeout_s)
        headers = {**request.headers, "Accept-Encoding": "identity"}
        if content is not None and content.size is not None:
            headers["Content-Length"] = str(content.size)
        sending = self._session.request(
            request.method,
            address,
            headers=headers,
            data=content.parts() if content is not None else request.body,
            timeout=timeout,
            allow_redirects=False,
            ssl=self._vouched(address, ca_file),
        )
        return _Exchange(sending, request, address.host or "", bytes_max)

    def trusting(self, ca_file: str | None) -> TrustingTransport:
        """The same session, but checking servers against another certificate authority (a cloud's own, OA-23)."""
        return TrustingTransport(self, ca_file)

    async def _send(self, request: Request, ca_file: str | None) -> Response:
        if self._session is None:
            raise RuntimeError("HttpTransport is used outside its `async with` block")
        address = parse_address(request.url)
        # `sock_connect` covers name, TCP and TLS; waiting for a free connection counts towards the whole attempt only.
        timeout = aiohttp.ClientTimeout(total=request.timeout_s, sock_connect=self._settings.connect_timeout_s)
        started_s = time.monotonic()
        try:
            async with self._session.request(
                request.method,
                address,
                headers=request.headers,
                data=request.body,
                timeout=timeout,
                allow_redirects=False,
                ssl=self._vouched(address, ca_file),
            ) as answer:
                body = Body(answer.headers.get("Content-Encoding", ""), self._settings.response_bytes_max)
                async for part in answer.content.iter_any():
                    body.add(part)
                return Response(
                    status=answer.status,
                    headers=headers_of(answer),
                    body=body.finish(),
                    url=request.url,
                    elapsed_s=time.monotonic() - started_s,
                )
        except (aiohttp.ClientError, OSError, ValueError) as error:  # TimeoutError is an OSError
            raise _explain(error, request, address.host or "") from error

    def _vouched(self, address: URL, ca_file: str | None) -> ssl.SSLContext | bool:
        """Who vouches for a server; nobody for `http`, where reading the machine's authorities would be for nothing."""
        return self._context(ca_file) if address.scheme == "https" else True

    def _context(self, ca_file: str | None) -> ssl.SSLContext:
        context = self._contexts.get(ca_file)
        if context is None:
            try:
                context = ssl.create_default_context(cafile=ca_file)
            except (OSError, ssl.SSLError) as error:
                raise ConfigurationFailure(
                    f"The certificate authority file {ca_file} cannot be read.",
                    remedy="Check the path and that the file holds certificates in PEM form.",
                ) from error
            self._contexts[ca_file] = context
        return context


class TrustingTransport:
    """A view of an `HttpTransport` with its own certificate authority; made by `HttpTransport.trusting`."""

    def __init__(self, transport: HttpTransport, ca_file: str | None) -> None:
        self._transport = transport
        self._ca_file = ca_file

    async def send(self, request: Request) -> Response:
        """As `HttpTransport.send`."""
        return await self._transport._send(request, self._ca_file)

    def open(
        self, request: Request, content: Content | None, bytes_max: int
    ) -> AbstractAsyncContextManager[StreamedAnswer]:
        """As `HttpTransport.open`."""
        return self._transport._open(request, content, bytes_max, self._ca_file)


class _Exchange:
    """One attempt under way: entered when the head of its answer is there, left when nobody wants the rest. A class,
    because a proxy makes one a call.
    """

    def __init__(
        self, sending: AbstractAsyncContextManager[aiohttp.ClientResponse], request: Request, host: str, bytes_max: int
    ) -> None:
        self._sending = sending
        self._request = request
        self._host = host
        self._bytes_max = bytes_max

    async def __aenter__(self) -> StreamedAnswer:
        try:
            answer = await self._sending.__aenter__()
        except (aiohttp.ClientError, OSError, ValueError) as error:  # TimeoutError is an OSError
            raise _explain(error, self._request, self._host) from error
        _must_move(answer)
        return StreamedAnswer(answer, self._bytes_max)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._sending.__aexit__(kind, error, trace)


def _must_move(answer: aiohttp.ClientResponse) -> None:
    """From here on a body that stands still is given up. One that came with its head has given its connection back."""
    protocol = answer.connection.protocol if answer.connection is not None else None
    if protocol is not None:
        protocol.read_timeout = STREAM_IDLE_S
        if answer.content.total_bytes <= _READ_BUFFER_BYTES:  # else it is we who have stopped reading
            protocol.start_timeout()


def _explain(error: Exception, request: Request, host: str) -> Failure:
    """The failure that a person understands, most specific first."""
    match error:
        case aiohttp.ConnectionTimeoutError():
            return ConnectionBroken(f"{host} did not take the connection in time.", unsent=True)
        case TimeoutError() | asyncio.TimeoutError():
            return VendorTimeout(f"{host} did not answer within {request.timeout_s:g} s.")
        case aiohttp.ClientConnectorCertificateError() | aiohttp.ClientConnectorSSLError():
            return ConnectionBroken(
                f"No secure connection to {host}: {_tls_reason(error)}.",
                remedy="Check the address, the machine's clock and the certificate authority of this cloud.",
                turn=Turn.YOU,
                unsent=True,
            )
        case aiohttp.ClientConnectorDNSError():
            return ConnectionBroken(
                f"The name {host} cannot be found.",
                remedy="Check the address and this machine's network; isthmus repeats it by itself.",
                unsent=True,
            )
        case aiohttp.ClientConnectorError():
            reason = _system_words(error.os_error)
            return ConnectionBroken(f"{host} cannot be reached ({reason}).", unsent=True)
        case aiohttp.ClientPayloadError():
            return CorruptResponse(f"The answer of {host} ends too early.")
        case aiohttp.ServerDisconnectedError() | ConnectionResetError() | BrokenPipeError():
            return ConnectionBroken(f"{host} closed the connection without an answer.")
        case aiohttp.ClientResponseError():
            return CorruptResponse(f"{host} does not answer in HTTP.")
        case aiohttp.InvalidURL() | ValueError():
            return InvalidInput("The address or a header cannot be sent as it is.", remedy="Check the address.")
        case _:
            return ConnectionBroken(f"The connection to {host} broke ({type(error).__name__}).")


def _system_words(error: OSError) -> str:
    """The system's reason, or our own where we have refused the socket; asyncio puts addresses into its texts."""
    if isinstance(error, NotPublic):
        return NotPublic.reason
    return os.strerror(error.errno).lower() if error.errno else "no connection"


def _tls_reason(error: BaseException) -> str:
    cause = getattr(error, "certificate_error", None) or getattr(error, "os_error", None)
    text = getattr(cause, "verify_message", "") or getattr(cause, "reason", "") or "the handshake failed"
    return str(text).lower().replace("_", " ")
