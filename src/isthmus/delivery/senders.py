"""The transports that carry webhooks."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from isthmus.delivery.ports import Sender
from isthmus.transport.http import HttpTransport, TransportSettings

ANSWER_BYTES_MAX: Final = 1024 * 1024
"""Receivers are asked for a status; whoever answers with more than a megabyte is cut off."""


@asynccontextmanager
async def webhook_senders(*, ca_file: str | None = None) -> AsyncIterator[tuple[Sender, Sender]]:
    """`(public, local)`: one that connects to public addresses only, and one for development projects."""
    public = TransportSettings(
        ca_file=ca_file, response_bytes_max=ANSWER_BYTES_MAX, user_agent="isthmus-webhooks", public_only=True
    )
    local = TransportSettings(ca_file=ca_file, response_bytes_max=ANSWER_BYTES_MAX, user_agent="isthmus-webhooks")
    async with HttpTransport(public) as outside, HttpTransport(local) as inside:
        yield outside, inside
