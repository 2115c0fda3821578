"""A sign-in in the browser that comes back to this machine: one request to a free loopback port, then closed."""

from __future__ import annotations

import asyncio
import webbrowser
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

from isthmus.cli.output import say
from isthmus.kernel.failures import Failure, SignInAgain

if TYPE_CHECKING:
    from isthmus.app import Hub
    from isthmus.connections.making import Wish
    from isthmus.store.rows import Connection
    from isthmus.vault.secrets import Secret

WAIT_S = 900.0
"""As long as the sign-in itself is good."""

_REQUEST_BYTES_MAX = 64 * 1024

_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark"><title>{title}</title>
<style>body{{font:16px/1.5 system-ui,sans-serif;max-width:36rem;margin:15vh auto;padding:0 1rem}}</style>
<h1>{title}</h1><p>{text}</p>"""


class CallbackListener:
    """Listens on a free port of 127.0.0.1 for one callback."""

    def __init__(self) -> None:
        self._parameters: asyncio.Future[dict[str, str]] = asyncio.get_running_loop().create_future()
        self._server: asyncio.Server | None = None
        self.redirect_uri = ""

    async def __aenter__(self) -> CallbackListener:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=_REQUEST_BYTES_MAX)
        port = self._server.sockets[0].getsockname()[1]
        self.redirect_uri = f"http://localhost:{port}/"
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        if self._server is not None:
            self._server.close()

    async def parameters(self, wait_s: float = WAIT_S) -> dict[str, str]:
        """The callback's parameters. Raises SignInAgain when nobody comes back in time (OA-26)."""
        from isthmus.auth.entra.authorization import NEVER_RETURNED_HINT

        try:
            return await asyncio.wait_for(self._parameters, wait_s)
        except TimeoutError as error:
            raise SignInAgain(remedy=NEVER_RETURNED_HINT) from error

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            line = (await reader.readuntil(b"\r\n")).decode("latin-1")
            parts = line.split(" ")
            query = parse_qs(urlsplit(parts[1]).query) if len(parts) > 1 else {}
            parameters = {name: values[0] for name, values in query.items()}
            known = "state" in parameters and ("code" in parameters or "error" in parameters)
            if known and not self._parameters.done():
                self._parameters.set_result(parameters)
            title, text = _words(parameters, known)
            body = _PAGE.format(title=title, text=text).encode()
            writer.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nCache-Control: no-store\r\n"
                b"Referrer-Policy: no-referrer\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
            )
            await writer.drain()
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError):
            return  # not a browser that came back from a sign-in
        finally:
            writer.close()


def _words(parameters: dict[str, str], known: bool) -> tuple[str, str]:
    if not known:
        return "Nothing to see here", "This page only receives the end of a sign-in."
    if "error" in parameters:
        return "The sign-in was refused", "Go back to the terminal: it says why and what to do."
    return "Signed in", "You can close this window and go back to the terminal."


async def sign_in(hub: Hub, wish: Wish, *, client_id: str, secret: Secret | None) -> Connection:
    """Open the browser, wait for it to come back, and keep what it brings."""
    from isthmus.app import ForgetfulJournal

    async with CallbackListener() as listener:
        started = await hub.signing_in.start(
            wish, client_id=client_id, secret=secret, redirect_uri=listener.redirect_uri
        )
        say("Sign in in the browser. If none opens, follow this address:")
        say(f"  {started.url}")
        await asyncio.to_thread(webbrowser.open, started.url)
        parameters = await listener.parameters()
    try:
        return await hub.signing_in.finish(parameters, ForgetfulJournal())
    except Failure as failure:
        failure.remedy = f"{failure.remedy} The redirect address used was {listener.redirect_uri}."
        raise
