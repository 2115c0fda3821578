"""Telling people: what waits becomes one mail per kind and address, and the outbox is emptied with patience."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from itertools import groupby
from typing import Final
from uuid import UUID

from isthmus.delivery import wording
from isthmus.delivery.mail import Letter, NotAccepted, postman
from isthmus.kernel.clock import Clock
from isthmus.kernel.failures import ConfigurationFailure, DestinationFailure, Failure
from isthmus.kernel.ids import new_id
from isthmus.settings import MailServer
from isthmus.store import notices
from isthmus.store.database import Database, Transaction
from isthmus.store.notices import Mail, Notice
from isthmus.store.paused import Pause, paused

BACKOFF_S: Final = (60.0, 300.0, 900.0, 3_600.0, 10_800.0, 21_600.0, 43_200.0, 86_400.0)
"""Between the attempts for one mail; after the last it is given up: two days."""

MAILS_MAX: Final = 50
"""Sent in one round."""

CLAIM_S: Final = 300.0
"""How long an attempt may take before another process may try the mail again."""

_log = logging.getLogger(__name__)


class Notifier:
    """Composes and sends the notices of all projects. `server` None: nothing is mailed, and notices say so."""

    def __init__(self, db: Database, clock: Clock, server: MailServer | None, public_url: str | None) -> None:
        self._db = db
        self._clock = clock
        self.server = server
        self.public_url = public_url

    @property
    def can_mail(self) -> bool:
        """True when a mail server is set."""
        return self.server is not None

    async def work(self) -> int:
        """One round: compose what is due, send what waits; how many mails left."""
        async with self._db.system() as tx:
            if Pause.DELIVERIES in await paused(tx):
                return 0  # restored from a backup: what waits may have been mailed before
        for project_id in await notices.projects_with_due(self._db):
            async with self._db.project(project_id) as tx:
                await self._compose(tx)
        return await self._send_due()

    async def send_trial(self, project_id: UUID, address: str) -> None:
        """Send a test mail now. Raises InvalidInput, ConfigurationFailure without a mail server, DestinationFailure."""
        if self.server is None:
            raise ConfigurationFailure(
                "No mail server is set.", remedy="Set ISTHMUS_SMTP_HOST and its neighbours, then restart isthmus."
            )
        wanted = notices.checked_address(address)
        async with self._db.project(project_id) as tx:
            text = wording.trial(await _project_name(tx))
        letter = Letter(id=str(new_id()), address=wanted, subject=text.subject, plain=text.plain, html=text.html)
        try:
            async with postman(self.server, self._clock) as carrier:
                await carrier.send(letter)
        except NotAccepted as error:
            raise DestinationFailure(
                f"The test mail was not accepted. {error.words}",
                remedy="Check ISTHMUS_SMTP_HOST, its port, TLS mode, user and password, and the address.",
            ) from error

    async def _compose(self, tx: Transaction) -> None:
        """Make mails out of what waits; say what became of each notice."""
        waiting = sorted(await notices.take_digest(tx), key=lambda each: (each.kind, each.id))
        addresses = await notices.addresses(tx)
        name = await _project_name(tx)
        for kind, group in groupby(waiting, key=lambda each: each.kind):
            every = list(group)
            current = await _current(tx, kind, every)
            passed = [each.id for each in every if each not in current]
            await notices.told(tx, passed, "passed")
            readers = [each.address for each in addresses if not each.kinds or kind in each.kinds]
            outcome = "no_mail" if self.server is None else "mailed" if readers else "nobody"
            if current and outcome == "mailed":
                text = wording.worded(kind, current, name, self.public_url)
                for reader in readers:
                    await notices.post(tx, address=reader, subject=text.subject, plain=text.plain, html=text.html)
            await notices.told(tx, [each.id for each in current], outcome)
        await notices.forget_old(tx)

    async def _send_due(self) -> int:
        if self.server is None:
            return 0
        due = await notices.due_mails(self._db, MAILS_MAX)
        if not due:
            return 0
        left = 0
        try:
            async with postman(self.server, self._clock) as carrier:
                for project_id, mail_id in due:
                    async with self._db.project(project_id) as tx:
                        mail = await notices.claim(tx, mail_id, CLAIM_S)
                    if mail is None:
                        continue
                    try:
                        await carrier.send(_letter(mail))
                    except NotAccepted as error:
                        await self._failed(mail, error)
                        if error.whole:
                            break
                    else:
                        async with self._db.project(project_id) as tx:
                            await notices.sent(tx, mail_id)
                        left += 1
        except (NotAccepted, Failure) as error:
            await self._nobody_there(due, str(error))
        return left

    async def _failed(self, mail: Mail, error: NotAccepted) -> None:
        again = None if error.lasting or mail.attempts > len(BACKOFF_S) else BACKOFF_S[mail.attempts - 1]
        _log.warning("a mail to %s was not accepted: %s", mail.address, error.words)
        async with self._db.project(mail.project_id) as tx:
            await notices.not_sent(tx, mail.id, error.words, again)

    async def _nobody_there(self, due: Sequence[tuple[UUID, UUID]], words: str) -> None:
        """The mail server itself does not work: each mail that was due has had an attempt."""
        _log.warning("no mail can be sent: %s", words)
        for project_id, mail_id in due:
            async with self._db.project(project_id) as tx:
                mail = await notices.claim(tx, mail_id, CLAIM_S)
            if mail is not None:
                await self._failed(mail, NotAccepted(words, whole=True))


async def _current(tx: Transaction, kind: str, every: list[Notice]) -> list[Notice]:
    """Those that still hold: a trouble that is over before its mail leaves is not mailed."""
    if kind != "connection_trouble":
        return every
    ill = await notices.still_in_trouble(tx, [each.connection_id for each in every if each.connection_id])
    newest = {each.connection_id: each.id for each in every}  # of one connection the latest reason counts
    return [each for each in every if each.connection_id in ill and newest[each.connection_id] == each.id]


async def _project_name(tx: Transaction) -> str:
    return str(await tx.value("SELECT name FROM projects WHERE id = %s", (tx.project_id,)) or "")


def _letter(mail: Mail) -> Letter:
    return Letter(id=str(mail.id), address=mail.address, subject=mail.subject, plain=mail.plain, html=mail.html)
