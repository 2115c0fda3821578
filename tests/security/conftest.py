"""A running sandbox for the tests that live through everything, and a database that may be filled with anything."""

from __future__ import annotations

from tests.own_database import database_url
from tests.sandbox_fixtures import sandbox_server

__all__ = ["database_url", "sandbox_server"]
