"""Routers that are built for one application: what `create_api`, `create_console` and their like hand over.

Litestar copies a router deeply when it is mounted, handlers and all, for whoever mounts one twice. That costs a start a
fifth of the time it takes to put the application together.
"""

from __future__ import annotations

from typing import Any

from litestar import Router


class SoleRouter(Router):
    """A router that is mounted once, as it is."""

    def __deepcopy__(self, memo: dict[int, Any]) -> SoleRouter:
        """Itself: nobody else has it."""
        return self
