"""Handing mails to a mail server, and what its refusals mean.

In: a subject and a text, plain and as simple HTML. Out: accepted, or a failure that says whether trying again can help.
What is handed in never holds a secret: notices are written from names, reasons and remedies alone.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.message import EmailMessage
from email.utils import format_datetime, make_msgid
from typing import Final

import aiosmtplib
import msgspec

from isthmus.kernel.clock import Clock
from isthmus.kernel.failures import InvalidInput
from isthmus.settings import MailServer

MAIL_TIMEOUT_S: Final = 30.0
"""For each step of the conversation with the mail server."""

SUBJECT_CHARACTERS_MAX: Final = 200
PERMANENT_FROM: Final = 500
"""SMTP answers from here on are final for this mail; 4xx ask to come back."""


class Letter(msgspec.Struct, frozen=True, kw_only=True):
    """What is mailed, and under which id: a repeat carries the same, so that mail programs show it once."""

    id: str
    address: str
    subject: str
    plain: str
    html: str


class NotAccepted(Exception):
    """A mail that the server did not take. `lasting`: trying again does not help. `whole`: no mail can be sent now."""

    def __init__(self, words: str, *, lasting: bool = False, whole: bool = False) -> None:
        super().__init__(words)
        self.words, self.lasting, self.whole = words, lasting, whole


class Postman:
    """One conversation with the mail server: `send` several letters in it."""

    def __init__(self, server: MailServer, client: aiosmtplib.SMTP, clock: Clock) -> None:
        self._server = server
        self._client = client
        self._clock = clock

    async def send(self, letter: Letter) -> None:
        """Hand in one letter. Raises NotAccepted."""
        message = composed(letter, self._server.sender, self._clock)
        try:
            await self._client.send_message(message, sender=self._server.sender, recipients=[letter.address])
        except aiosmtplib.SMTPRecipientsRefused as error:
            refused = error.recipients[0] if error.recipients else None
            code = refused.code if refused is not None else 0
            raise NotAccepted(f"{letter.address} was refused ({code}).", lasting=code >= PERMANENT_FROM) from error
        except aiosmtplib.SMTPResponseException as error:
            lasting = error.code >= PERMANENT_FROM and not isinstance(error, aiosmtplib.SMTPSenderRefused)
            raise NotAccepted(f"The mail server answered {error.code} {error.message}.", lasting=lasting) from error
        except (aiosmtplib.SMTPException, OSError) as error:
            raise NotAccepted(f"The mail server broke off: {error}", whole=True) from error


@asynccontextmanager
async def postman(server: MailServer, clock: Clock) -> AsyncIterator[Postman]:
    """Connected and signed in. Raises NotAccepted (`whole`) when that does not succeed, InvalidInput for the CA file.

    The server's certificate is checked; with `starttls` a server that does not offer it gets nothing.
    """
    context = _tls(server)
    client = aiosmtplib.SMTP(
        hostname=server.host,
        port=server.port,
        username=server.user,
        password=server.password,
        timeout=MAIL_TIMEOUT_S,
        use_tls=server.tls == "tls",
        start_tls=server.tls == "starttls",
        tls_context=context,
    )
    try:
        await client.connect()
    except aiosmtplib.SMTPAuthenticationError as error:
        raise NotAccepted(f"The mail server does not accept user and password ({error.code}).", whole=True) from error
    except (aiosmtplib.SMTPException, OSError) as error:
        raise NotAccepted(f"The mail server cannot be used: {error}", whole=True) from error
    try:
        yield Postman(server, client, clock)
    finally:
        await _leave(client)


def composed(letter: Letter, sender: str, clock: Clock) -> EmailMessage:
    """The letter as a message: plain text first, HTML as its alternative, marked as sent by a program."""
    message = EmailMessage()
    message["From"] = sender
    message["To"] = letter.address
    message["Subject"] = " ".join(letter.subject.split())[:SUBJECT_CHARACTERS_MAX]
    message["Date"] = format_datetime(clock.now())
    message["Message-ID"] = f"<{letter.id}@{sender.rpartition('@')[2]}>" if letter.id else make_msgid()
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(letter.plain)
    message.add_alternative(letter.html, subtype="html")
    return message


def _tls(server: MailServer) -> ssl.SSLContext | None:
    if server.tls == "none":
        return None
    try:
        return ssl.create_default_context(cafile=server.ca_file)
    except OSError as error:
        raise InvalidInput(
            f"ISTHMUS_SMTP_CA_FILE {server.ca_file} cannot be read.", remedy="Name a PEM file."
        ) from error


async def _leave(client: aiosmtplib.SMTP) -> None:
    """Say goodbye; a server that is gone already does not mind."""
    try:
        await client.quit()
    except (aiosmtplib.SMTPException, OSError):
        client.close()
