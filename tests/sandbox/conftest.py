"""Every test of the sandbox runs against a real one."""

from __future__ import annotations

from tests.sandbox_fixtures import empty_sandbox, sandbox, sandbox_server

__all__ = ["empty_sandbox", "sandbox", "sandbox_server"]
