"""Serving: one TLS port per vendor server, a throw-away certificate authority, addresses as plain data."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import trustme
import uvicorn
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Receive, Scope, Send

from isthmus_sandbox.connection import SandboxProtocol
from isthmus_sandbox.control import CONTROL_PREFIX, create_control_app
from isthmus_sandbox.entra.records import CLOUDS, Cloud
from isthmus_sandbox.estate import BUSINESS_CENTRAL_SERVER, EMPTY_WORLD, ENTRA_SERVERS, Estate
from isthmus_sandbox.throttle import Limits

STARTUP_TIMEOUT_S = 60.0
SHUTDOWN_TIMEOUT_S = 2
BACKLOG_CONNECTIONS = 512
KEEP_ALIVE_S = 75


@dataclass(frozen=True, slots=True)
class SandboxOptions:
    """What to serve. `port_base` 0 takes free ports, N takes N, N+1, …; `data_dir` None is a temporary folder."""

    world: str = EMPTY_WORLD
    clouds: tuple[Cloud, ...] = CLOUDS
    host: str = "localhost"
    port_base: int = 0
    data_dir: Path | None = None
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True, slots=True)
class SandboxAddresses:
    """Where everything is: `login_urls` per cloud, without a slash at the end; `ca_file` is a PEM file to trust."""

    login_urls: dict[str, str]
    business_central_url: str
    control_url: str
    ca_file: str

    @property
    def login_url(self) -> str:
        """The sign-in host of the first cloud served, normally the public one."""
        return next(iter(self.login_urls.values()))


class RunningSandbox:
    """A sandbox that answers: its addresses, and its state for code in the same event loop."""

    def __init__(self, estate: Estate, addresses: SandboxAddresses) -> None:
        self.estate = estate
        self.addresses = addresses

    def summary(self) -> dict[str, Any]:
        """Everything another process needs to connect: addresses, demo tenants, apps with secrets, users."""
        return {"world": self.estate.world, **asdict(self.addresses), **self.estate.directory.summary()}


@contextlib.asynccontextmanager
async def run_sandbox(options: SandboxOptions | None = None) -> AsyncIterator[RunningSandbox]:
    """Serve a sandbox in the running event loop until the block ends."""
    chosen = options or SandboxOptions()
    with contextlib.ExitStack() as stack:
        data_dir = chosen.data_dir or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="isthmus-sandbox-")))
        estate = Estate(world=chosen.world, limits=chosen.limits)
        names = [ENTRA_SERVERS[cloud] for cloud in chosen.clouds] + [BUSINESS_CENTRAL_SERVER]
        sockets: dict[str, list[socket.socket]] = {}
        for index, name in enumerate(names):
            sockets[name] = _listen(chosen.port_base + index if chosen.port_base else 0)
            for opened in sockets[name]:
                stack.callback(opened.close)
        files = _write_certificates(data_dir)  # after the ports: one that cannot start leaves a running one's files
        urls = {name: f"https://{chosen.host}:{found[0].getsockname()[1]}" for name, found in sockets.items()}
        addresses = SandboxAddresses(
            login_urls={cloud: urls[ENTRA_SERVERS[cloud]] for cloud in chosen.clouds},
            business_central_url=urls[BUSINESS_CENTRAL_SERVER],
            control_url=f"{next(iter(urls.values()))}{CONTROL_PREFIX}",
            ca_file=str(files.ca),
        )
        control = create_control_app(estate, asdict(addresses))
        servers = [(_EmbeddedServer(_config(_Front(estate, control, name), files)), sockets[name]) for name in names]
        tasks = [asyncio.create_task(server.serve(sockets=listening)) for server, listening in servers]
        try:
            await _wait_until_started([server for server, _ in servers], tasks)
            yield RunningSandbox(estate, addresses)
        finally:
            for server, _ in servers:
                server.should_exit = True
            await asyncio.gather(*tasks)


class _EmbeddedServer(uvicorn.Server):
    """uvicorn without its signal handlers: the process belongs to whoever embeds the sandbox."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class _Front:
    """The application on one port: the control API under its prefix, the vendor's server for the rest."""

    def __init__(self, estate: Estate, control: ASGIApp, server: str) -> None:
        self._estate = estate
        self._control = control
        self._server = server

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope["path"]
        inside = path == CONTROL_PREFIX or path.startswith(f"{CONTROL_PREFIX}/")
        # Who goes away in the middle of a request wants no answer any more, and is no error of the server's.
        with contextlib.suppress(ClientDisconnect):
            await (self._control if inside else self._estate.app(self._server))(scope, receive, send)


@dataclass(frozen=True, slots=True)
class _TlsFiles:
    ca: Path
    certificate: Path
    key: Path


def _write_certificates(data_dir: Path) -> _TlsFiles:
    """Make a certificate authority that nobody else trusts and a certificate for this machine's own names."""
    data_dir.mkdir(parents=True, exist_ok=True)
    files = _TlsFiles(data_dir / "sandbox-ca.pem", data_dir / "sandbox-server.pem", data_dir / "sandbox-server.key")
    authority = trustme.CA(organization_name="Isthmus sandbox")
    issued = authority.issue_cert("localhost", "127.0.0.1", "::1")
    authority.cert_pem.write_to_path(files.ca)
    files.key.touch(mode=0o600)
    issued.private_key_pem.write_to_path(files.key)
    files.certificate.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    return files


def _listen(port: int) -> list[socket.socket]:
    """Listen on this machine only, on IPv4 and where there is one on IPv6.

    The protocol is named because asyncio turns Nagle's algorithm off for sockets of that number only; with it, every
    answer with a body takes 40 ms.
    """
    first = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    first.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        first.bind(("127.0.0.1", port))
    except OSError as error:
        first.close()
        raise OSError(f"port {port} cannot be used ({error.strerror}); choose another with --port-base") from error
    listening = [first]
    if socket.has_ipv6:
        second = socket.socket(socket.AF_INET6, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        try:
            second.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            second.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            second.bind(("::1", first.getsockname()[1]))
            listening.append(second)
        except OSError:
            second.close()
    for opened in listening:
        opened.setblocking(False)
    return listening


def _config(app: ASGIApp, files: _TlsFiles) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=SandboxProtocol,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        backlog=BACKLOG_CONNECTIONS,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=SHUTDOWN_TIMEOUT_S,
        ssl_certfile=files.certificate,
        ssl_keyfile=files.key,
    )


async def _wait_until_started(servers: list[_EmbeddedServer], tasks: list[asyncio.Task[None]]) -> None:
    async with asyncio.timeout(STARTUP_TIMEOUT_S):
        while not all(server.started for server in servers):
            for task in tasks:
                if task.done():
                    await task
            await asyncio.sleep(0.005)
