"""How long a request may wait for a vendor: a person or a gateway is at the other end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from isthmus.kernel.failures import VendorTimeout

PATIENCE_S: Final = 50.0
"""Below the minute after which common gateways give up; runs have all the time they need."""


@asynccontextmanager
async def patience(seconds: float = PATIENCE_S) -> AsyncIterator[None]:
    """Raises VendorTimeout when what is inside takes longer."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError as error:
        raise VendorTimeout(
            f"The vendor did not answer within {seconds:g} s.", remedy="Ask again in a moment; nothing was lost."
        ) from error
