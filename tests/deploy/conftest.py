"""A served hub, for what is deployed around it."""

from __future__ import annotations

from tests.api_server import served
from tests.hub_fixtures import house, master_key
from tests.own_database import database_url
from tests.sandbox_fixtures import sandbox, sandbox_server

__all__ = ["database_url", "house", "master_key", "sandbox", "sandbox_server", "served"]
