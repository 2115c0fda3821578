"""README examples run against a real sandbox."""

from __future__ import annotations

from tests.sandbox_fixtures import sandbox, sandbox_server

__all__ = ["sandbox", "sandbox_server"]
