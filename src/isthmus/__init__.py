"""Isthmus: a self-hosted integration hub for Dynamics 365 Business Central and its neighbours.

The library face is small on purpose: `BusinessCentral` reads without a hub or a database. Everything else is reached
through the command `isthmus`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from isthmus.kernel.version import VERSION

if TYPE_CHECKING:
    from isthmus.client.business_central import BusinessCentral

__all__ = ["BusinessCentral", "__version__"]

__version__ = VERSION


def __getattr__(name: str) -> Any:
    # Loaded on first use: `isthmus --help` must not pay for an HTTP client.
    if name == "BusinessCentral":
        from isthmus.client.business_central import BusinessCentral

        return BusinessCentral
    raise AttributeError(f"module 'isthmus' has no attribute {name!r}")
