"""What the other rooms ask of a transport."""

from __future__ import annotations

from typing import Protocol

from isthmus.kernel.messages import Request, Response


class Transport(Protocol):
    """Sends one request once."""

    async def send(self, request: Request) -> Response:
        """One attempt: no redirects, no retries. Any status is a response; raises a TransientFailure or TooLarge."""
        ...
