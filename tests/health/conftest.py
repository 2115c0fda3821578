"""A hub and a server over the sandbox, and a mail server that keeps what it gets."""

from __future__ import annotations

import asyncio
import email
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.policy import default
from typing import Any

import msgspec
import pytest
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from tests.api_server import Served, served
from tests.hub_fixtures import House, house, master_key
from tests.own_database import database_url
from tests.sandbox_fixtures import sandbox, sandbox_server

from isthmus.app import Hub
from isthmus.settings import MailServer

__all__ = ["Mailbox", "Served", "database_url", "house", "master_key", "sandbox", "sandbox_server", "served"]


class Mailbox:
    """What the mail server got, and how it behaves: `refuse` maps an address to the answer that it gets."""

    def __init__(self) -> None:
        self.mails: list[Envelope] = []
        self.refuse: dict[str, str] = {}
        self.users: list[str] = []
        self.password = "post"
        self.server: MailServer | None = None

    async def handle_RCPT(  # noqa: N802  (aiosmtpd's name)
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """Take a recipient, or not."""
        if address in self.refuse:
            return self.refuse[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802  (likewise)
        """Keep the mail."""
        self.mails.append(envelope)
        return "250 OK"

    def authenticate(self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any) -> AuthResult:
        """Look at user and password."""
        assert isinstance(data, LoginPassword)
        self.users.append(data.login.decode())
        return AuthResult(success=data.password.decode() == self.password, handled=False)

    @property
    def texts(self) -> list[str]:
        """The mails as text, decoded: subject, address, plain text, HTML."""
        found = []
        for mail in self.mails:
            content = mail.original_content
            assert content is not None
            message = email.message_from_bytes(content, policy=default)
            parts = [str(part.get_content()) for part in message.walk() if not part.is_multipart()]
            found.append("\n".join([f"Subject: {message['Subject']}", f"To: {message['To']}", *parts]))
        return found


@asynccontextmanager
async def mail_server(context: ssl.SSLContext | None = None, **known: Any) -> AsyncIterator[Mailbox]:
    """A mail server on this machine; with `context` it wants STARTTLS and a sign-in before it takes anything."""
    box = Mailbox()

    def protocol() -> SMTP:
        if context is None:
            return SMTP(box)
        return SMTP(box, tls_context=context, require_starttls=True, auth_required=True, authenticator=box.authenticate)

    listening = await asyncio.get_running_loop().create_server(protocol, "127.0.0.1", 0)
    plain = {"host": "127.0.0.1", "port": listening.sockets[0].getsockname()[1], "tls": "none"}
    box.server = msgspec.convert({**plain, "sender": "isthmus@hub.example", **known}, MailServer)
    try:
        yield box
    finally:
        listening.close()
        await listening.wait_closed()


@pytest.fixture
async def post() -> AsyncIterator[Mailbox]:
    """A mail server without TLS."""
    async with mail_server() as box:
        yield box


@pytest.fixture
async def hub(house: House) -> AsyncIterator[Hub]:
    """An opened hub."""
    async with house.hub() as opened:
        yield opened
