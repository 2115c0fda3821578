"""Ready-made worlds: tenants, apps, users, environments and companies with data, built in one call.

`cronus` is the demo company set of the vendor, `large` adds a company with up to a million rows, `messy` exaggerates
every quirk that the reference names.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from isthmus_sandbox.business_central.service import BusinessCentralService
from isthmus_sandbox.entra.directory import Directory
from isthmus_sandbox.worlds.cronus import build_cronus
from isthmus_sandbox.worlds.large import build_large
from isthmus_sandbox.worlds.messy import build_messy

Builder = Callable[[Directory, BusinessCentralService], None]

WORLDS: Mapping[str, Builder] = {"cronus": build_cronus, "large": build_large, "messy": build_messy}


def build_world(name: str, directory: Directory, service: BusinessCentralService) -> None:
    """Fill a directory and a Business Central service with a named world. Raises ValueError for an unknown name."""
    builder = WORLDS.get(name)
    if builder is None:
        raise ValueError(f"no world is called {name!r}; there are: {', '.join(WORLDS)}")
    builder(directory, service)
    service.settle()
