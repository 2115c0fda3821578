"""Fixtures with a running sandbox; a room's conftest imports the ones it wants."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.running_sandbox import SandboxThread

__all__ = ["empty_sandbox", "sandbox", "sandbox_server"]


@pytest.fixture(scope="session")
def sandbox_server() -> Iterator[SandboxThread]:
    """One sandbox for the whole session, in whatever state the last test left it; most tests want `sandbox`."""
    server = SandboxThread().start()
    yield server
    server.stop()


@pytest.fixture
def sandbox(sandbox_server: SandboxThread) -> SandboxThread:
    """The sandbox with the `cronus` world, as new."""
    sandbox_server.reset("cronus")
    return sandbox_server


@pytest.fixture
def empty_sandbox(sandbox_server: SandboxThread) -> SandboxThread:
    """The sandbox with nothing in it, as new; quicker than `sandbox`."""
    sandbox_server.reset("empty")
    return sandbox_server
