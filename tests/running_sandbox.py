"""The sandbox in a thread of its own, for tests: started once, reset before each test that asks for it.

The sandbox has its own event loop, so tests may block while it answers. Whatever touches its state runs in that loop
(`call`); everything else goes over real HTTPS to `addresses`.
"""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import uvloop
from tests.patience import WAIT_MAX_S

from isthmus_sandbox.entra.directory import Directory
from isthmus_sandbox.entra.switches import ANY, NextError, SwitchValue
from isthmus_sandbox.estate import Estate
from isthmus_sandbox.faults import FaultRule
from isthmus_sandbox.serve import RunningSandbox, SandboxAddresses, SandboxOptions, run_sandbox
from isthmus_sandbox.throttle import Limits

T = TypeVar("T")


class SandboxThread:
    """A running sandbox and the levers that tests pull."""

    def __init__(self, options: SandboxOptions | None = None) -> None:
        self._options = options or SandboxOptions()
        self._ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._running: RunningSandbox | None = None
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="sandbox", daemon=True)

    def start(self) -> SandboxThread:
        """Start serving; returns when every port answers."""
        self._thread.start()
        if not self._ready.wait(WAIT_MAX_S):
            raise TimeoutError("the sandbox did not start in time")
        if self._failure is not None:
            raise RuntimeError("the sandbox failed to start") from self._failure
        return self

    def stop(self) -> None:
        """Stop serving and wait for the thread."""
        if self._loop is not None and self._stop is not None:
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(WAIT_MAX_S)

    @property
    def running(self) -> RunningSandbox:
        """The running sandbox; its state belongs to the sandbox's loop."""
        assert self._running is not None, "start the sandbox first"
        return self._running

    @property
    def addresses(self) -> SandboxAddresses:
        """Where the servers are."""
        return self.running.addresses

    @property
    def estate(self) -> Estate:
        """The state, for use inside `call`."""
        return self.running.estate

    @property
    def directory(self) -> Directory:
        """The directory of the present generation, for use inside `call`."""
        return self.estate.directory

    def ssl_context(self) -> ssl.SSLContext:
        """A TLS context that trusts the sandbox's authority and nobody else."""
        return ssl.create_default_context(cafile=self.addresses.ca_file)

    def call(self, function: Callable[[], T]) -> T:
        """Run a function inside the sandbox's loop and return its result."""

        async def run() -> T:
            return function()

        return self.run(run())

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine inside the sandbox's loop and return its result."""
        assert self._loop is not None, "start the sandbox first"
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(WAIT_MAX_S)

    def running_requests(self) -> int:
        """How much runs in the sandbox's loop: one more for each request that is being answered."""
        return self.call(lambda: len(asyncio.all_tasks()))

    def reset(self, world: str | None = None) -> None:
        """Fresh data from a world, no faults, no switches, default limits, empty journal, real time."""
        self.call(lambda: self.estate.reset(world))

    def advance(self, seconds: float) -> None:
        """Move the sandbox clock."""
        self.run(self.estate.advance_clock(seconds))

    def switch(
        self, name: str, value: SwitchValue = True, *, tenant: str = ANY, app: str = ANY, times: int | None = None
    ) -> None:
        """Set a switch of the Entra simulator."""
        self.call(lambda: self.directory.switches.set(name, value, tenant_id=tenant, client_id=app, times=times))

    def clear_switch(self, name: str) -> None:
        """Clear a switch everywhere."""
        self.call(lambda: self.directory.switches.clear(name))

    def next_error(self, code: int, *, endpoint: str = "token", times: int = 1, **settings: Any) -> None:
        """Let an Entra endpoint answer with an AADSTS code."""
        planned = NextError(endpoint=endpoint, code=code, times_left=times, **settings)
        self.call(lambda: self.directory.switches.add_next_error(planned))

    def fault(self, action: str, **settings: Any) -> FaultRule:
        """Set a fault rule."""
        return self.call(lambda: self.estate.faults.add({"action": action, **settings}))

    def limits(self, **settings: Any) -> Limits:
        """Replace the Business Central limits (fields of `Limits`) and forget the counters."""

        def change() -> Limits:
            self.estate.throttle.limits = Limits(**settings)
            self.estate.throttle.clear()
            return self.estate.throttle.limits

        return self.call(change)

    def journal(self, **filters: Any) -> list[dict[str, Any]]:
        """The requests received, oldest first (`server`, `path_contains`, `limit`)."""
        return self.call(lambda: self.estate.journal.entries(**filters))

    def token_requests(self, client_id: str) -> dict[tuple[str, str], int]:
        """How often an app used each grant, by (grant, outcome)."""
        counts = self.call(lambda: dict(self.estate.entra.token_requests))
        return {(key[1], key[2]): count for key, count in counts.items() if key[0] == client_id.lower()}

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        try:
            async with run_sandbox(self._options) as running:
                self._running = running
                self._ready.set()
                await self._stop.wait()
        except BaseException as failure:
            self._failure = failure
            raise
        finally:
            self._ready.set()
