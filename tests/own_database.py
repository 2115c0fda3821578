"""A database for tests that cannot share one: workers take every job they find, first starts happen once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.database_copies import copied

from isthmus.store.embedded import EmbeddedPostgres


@pytest.fixture(scope="module")
def database_url(postgres: EmbeddedPostgres, migrated: str) -> Iterator[str]:
    """A migrated database of the module's own on the shared server, for rooms whose conftest imports it."""
    with copied(postgres, migrated) as url:
        yield url
