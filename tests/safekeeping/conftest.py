"""A database of the module's own, because keys, pauses and backups concern a whole database; and a sandbox."""

from __future__ import annotations

from tests.hub_fixtures import house, master_key
from tests.own_database import database_url
from tests.sandbox_fixtures import sandbox, sandbox_server

__all__ = ["database_url", "house", "master_key", "sandbox", "sandbox_server"]
