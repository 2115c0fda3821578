"""A sandbox, and a database that no other test uses: real workers would take other tests' jobs."""

from __future__ import annotations

import pytest
from tests.database_copies import EMPTY, new_copy
from tests.hub_fixtures import house, master_key
from tests.own_database import database_url
from tests.sandbox_fixtures import sandbox, sandbox_server

from isthmus.store.embedded import EmbeddedPostgres

__all__ = ["database_url", "house", "master_key", "sandbox", "sandbox_server"]


@pytest.fixture
def empty_url(postgres: EmbeddedPostgres) -> str:
    """A new database without a schema."""
    return new_copy(postgres, EMPTY)
