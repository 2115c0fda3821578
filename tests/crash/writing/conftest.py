"""A connection to write through, over a database of the module's own: killed servers and workers are left in it."""

from __future__ import annotations

from tests.actions_writing.conftest import described, pen
from tests.hub_fixtures import house, master_key
from tests.own_database import database_url

__all__ = ["database_url", "described", "house", "master_key", "pen"]
