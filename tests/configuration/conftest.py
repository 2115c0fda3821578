"""Files applied to a hub over a real database and a real sandbox."""

from __future__ import annotations

from tests.hub_fixtures import house, master_key
from tests.sandbox_fixtures import sandbox, sandbox_server

__all__ = ["house", "master_key", "sandbox", "sandbox_server"]
