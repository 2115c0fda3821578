"""A sandbox, and a database that no other test uses: real workers would take other tests' jobs."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.database_copies import copied
from tests.sandbox_fixtures import sandbox, sandbox_server

from isthmus.store.embedded import EmbeddedPostgres

__all__ = ["sandbox", "sandbox_server"]


@pytest.fixture
def own_database_url(postgres: EmbeddedPostgres, migrated: str) -> Iterator[str]:
    """A database of this test alone."""
    with copied(postgres, migrated) as url:
        yield url


@pytest.fixture
def home() -> Iterator[Path]:
    """A data folder in a place that the embedded server's own user can reach."""
    made = Path(tempfile.mkdtemp(prefix="isthmus-crash-"))
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)
