"""Nobody waits for minutes in front of a silent terminal."""

from __future__ import annotations

import random
import socket

import pytest

from isthmus.auth.entra.errors import token_failure
from isthmus.cli.interactive import CALL_MAX_S, waiting
from isthmus.client.call import RetryingCall
from isthmus.client.protocols import JournalEntry
from isthmus.kernel.clock import SystemClock
from isthmus.kernel.failures import ConnectionBroken
from isthmus.kernel.messages import Request
from isthmus.transport.http import HttpTransport


class NoJournal:
    """Forgets."""

    def note(self, entry: JournalEntry) -> None:
        """Nothing is kept."""


async def test_an_address_that_nobody_answers_is_told_soon_and_repetitions_are_shown(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"https://127.0.0.1:{unused.getsockname()[1]}/token"
        async with HttpTransport() as transport:
            clock = SystemClock()
            call = RetryingCall(
                errors=token_failure, transport=transport, journal=NoJournal(), clock=clock, rng=random.Random(3)
            )
            with waiting(1.5), pytest.raises(ConnectionBroken):
                await call(Request(method="GET", url=url, purpose="token"))
    assert "token: asking 127.0.0.1 (again, attempt 2)" in capsys.readouterr().err


def test_one_question_takes_a_third_of_a_minute_at_most() -> None:
    assert CALL_MAX_S <= 20.0
