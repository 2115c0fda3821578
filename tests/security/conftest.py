"""A running sandbox for the tests that live through everything."""

from __future__ import annotations

from tests.sandbox_fixtures import sandbox_server

__all__ = ["sandbox_server"]
