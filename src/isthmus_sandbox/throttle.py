"""Business Central's operational limits, enforced per (tenant, environment, app user) (`BC` behaviour, section 9).

6,000 requests in a sliding 5-minute window; 5 at once; 95 more wait; beyond that 429; 8 minutes of waiting end in 503.
The scale divides the window and the requests alike: the same rate, in shorter windows, for benches.
"""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any, Literal

from starlette.types import ASGIApp, Receive, Scope, Send

from isthmus_sandbox.clock import SandboxClock
from isthmus_sandbox.principal import Authenticate, Principal

RetryAfter = Literal["none", "seconds", "date"]
REPORTED_WINDOWS_MAX = 2_000
LANES_MAX = 10_000
ROUTE_MARKS = ("api", "odatav4", "ws")


@dataclass(slots=True)
class Limits:
    """The limits in force. The documented numbers are the defaults; the divisors scale them.

    `service_time_s` makes every request hold its place for that long, as work at the vendor would.
    """

    enabled: bool = True
    requests_per_window: int = 6_000
    window_s: float = 300.0
    concurrent_max: int = 5
    queued_max: int = 95
    queue_timeout_s: float = 480.0
    requests_divisor: float = 1.0
    window_divisor: float = 1.0
    retry_after: RetryAfter = "seconds"
    service_time_s: float = 0.0

    @property
    def scaled_requests(self) -> int:
        """Requests allowed in one scaled window."""
        return max(1, int(self.requests_per_window / self.requests_divisor))

    @property
    def scaled_window_s(self) -> float:
        """Length of one scaled window in seconds."""
        return self.window_s / self.window_divisor


class Refused(Exception):
    """A request beyond the limits: 429, or 503 after too long a wait."""

    def __init__(self, status: int, code: str, message: str, wait_s: float) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.wait_s = wait_s


@dataclass(slots=True)
class Lane:
    """The traffic of one app user in one environment."""

    started_s: float
    arrivals: deque[float] = field(default_factory=deque)
    running: int = 0
    waiting: deque[tuple[float, asyncio.Future[None]]] = field(default_factory=deque)
    allowed: int = 0
    refused_rate: int = 0
    refused_queue: int = 0
    timed_out: int = 0
    running_seen_max: int = 0
    waiting_seen_max: int = 0
    windows: OrderedDict[int, list[int]] = field(default_factory=OrderedDict)


class Throttle:
    """The counters of every lane and the decision who may pass."""

    def __init__(self, clock: SandboxClock, limits: Limits) -> None:
        self._clock = clock
        self.limits = limits
        self._lanes: OrderedDict[tuple[str, str, str], Lane] = OrderedDict()
        self._jump = asyncio.Event()

    def now_s(self) -> float:
        """Monotonic seconds, moved by the sandbox clock's offset."""
        return time.monotonic() + self._clock.offset_s

    @asynccontextmanager
    async def admit(self, key: tuple[str, str, str]) -> AsyncIterator[None]:
        """Hold one of the concurrent places of a lane. Raises Refused."""
        lane = self._lane(key)
        self._count_arrival(lane)
        if lane.running >= self.limits.concurrent_max:
            await self._wait(lane)
        else:
            lane.running += 1
        lane.running_seen_max = max(lane.running_seen_max, lane.running)
        try:
            yield
        finally:
            self._leave(lane)

    async def work(self) -> None:
        """Take the time that work takes at the vendor, by the sandbox clock."""
        ends_s = self.now_s() + self.limits.service_time_s
        while (left_s := ends_s - self.now_s()) > 0:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._jump.wait(), left_s)

    def expire_waiting(self) -> None:
        """End the waits that a jump of the clock made too long, and the work that it carried past its end."""
        self._jump.set()
        self._jump = asyncio.Event()
        now_s = self.now_s()
        for lane in self._lanes.values():
            for deadline_s, place in lane.waiting:
                if deadline_s <= now_s and not place.done():
                    place.set_exception(self._queue_timeout())

    def clear(self) -> None:
        """Forget all counters; requests that are running finish in their old lanes."""
        self._lanes.clear()

    def report(self) -> list[dict[str, Any]]:
        """What each lane has seen, with the share of the allowance used per window."""
        allowance = self.limits.scaled_requests
        return [
            {
                "tenant_id": key[0],
                "environment": key[1],
                "principal": key[2],
                "allowed": lane.allowed,
                "refused": lane.refused_rate + lane.refused_queue,
                "refused_rate": lane.refused_rate,
                "refused_queue": lane.refused_queue,
                "queue_timeouts": lane.timed_out,
                "running": lane.running,
                "waiting": len(lane.waiting),
                "running_max": lane.running_seen_max,
                "waiting_max": lane.waiting_seen_max,
                "window_s": self.limits.scaled_window_s,
                "requests_per_window": allowance,
                "windows": _window_report(lane, allowance),
            }
            for key, lane in self._lanes.items()
        ]

    def _lane(self, key: tuple[str, str, str]) -> Lane:
        lane = self._lanes.get(key)
        if lane is None:
            lane = self._lanes[key] = Lane(started_s=self.now_s())
            while len(self._lanes) > LANES_MAX:
                self._lanes.popitem(last=False)
        return lane

    def _count_arrival(self, lane: Lane) -> None:
        """Let the request into the window and the queue, or raise Refused. A refused one does not fill the window."""
        limits, now_s = self.limits, self.now_s()
        while lane.arrivals and lane.arrivals[0] <= now_s - limits.scaled_window_s:
            lane.arrivals.popleft()
        counts = lane.windows.setdefault(int((now_s - lane.started_s) // limits.scaled_window_s), [0, 0])
        while len(lane.windows) > REPORTED_WINDOWS_MAX:
            lane.windows.popitem(last=False)
        places = limits.concurrent_max + limits.queued_max
        present = lane.running + len(lane.waiting)
        if len(lane.arrivals) >= limits.scaled_requests:
            lane.refused_rate += 1
            counts[1] += 1
            wait_s = lane.arrivals[0] + limits.scaled_window_s - now_s
            raise _too_many(len(lane.arrivals) + 1, limits.scaled_requests, wait_s)
        if present >= places:
            lane.refused_queue += 1
            counts[1] += 1
            raise _too_many(present + 1, places, 1.0)
        lane.arrivals.append(now_s)
        lane.allowed += 1
        counts[0] += 1

    async def _wait(self, lane: Lane) -> None:
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        entry = (self.now_s() + self.limits.queue_timeout_s, place)
        lane.waiting.append(entry)
        lane.waiting_seen_max = max(lane.waiting_seen_max, len(lane.waiting))
        try:
            await asyncio.wait_for(place, self.limits.queue_timeout_s)
        except TimeoutError as error:
            lane.timed_out += 1
            raise self._queue_timeout() from error
        except Refused:
            lane.timed_out += 1
            raise
        except asyncio.CancelledError:
            if place.done() and not place.cancelled() and place.exception() is None:
                self._leave(lane)
            raise
        finally:
            if entry in lane.waiting:
                lane.waiting.remove(entry)

    def _leave(self, lane: Lane) -> None:
        """Hand the place to the next one waiting, else give it back."""
        while lane.waiting:
            _, place = lane.waiting.popleft()
            if not place.done():
                place.set_result(None)
                return
        lane.running -= 1

    def _queue_timeout(self) -> Refused:
        return Refused(503, "Internal_TenantUnavailable", "The request waited too long for a free session.", 1.0)


class ThrottleMiddleware:
    """Applies the limits to the API routes of the Business Central server."""

    def __init__(self, app: ASGIApp, throttle: Throttle, authenticate: Authenticate) -> None:
        self._app = app
        self._throttle = throttle
        self._authenticate = authenticate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Admit, delay or refuse one request."""
        principal = bearer_principal(scope, self._authenticate)
        key = None if principal is None else lane_key(scope["path"], principal)
        if key is None or not self._throttle.limits.enabled:
            await self._app(scope, receive, send)
            return
        try:
            async with self._throttle.admit(key):
                if self._throttle.limits.service_time_s > 0:
                    await self._throttle.work()
                await self._app(scope, receive, send)
        except Refused as refused:
            await self._refuse(refused, send)

    async def _refuse(self, refused: Refused, send: Send) -> None:
        body = json.dumps({"error": {"code": refused.code, "message": refused.message}}, separators=(",", ":")).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        wait_s = max(1, math.ceil(refused.wait_s))
        style: RetryAfter = "seconds" if refused.status == 503 else self._throttle.limits.retry_after
        if style == "seconds":
            headers.append((b"retry-after", str(wait_s).encode()))
        elif style == "date":
            headers.append((b"retry-after", http_date(wait_s).encode()))
        await send({"type": "http.response.start", "status": refused.status, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def bearer_principal(scope: Scope, authenticate: Callable[[str], Principal | None]) -> Principal | None:
    """The principal of the request's bearer token, if it is a live one."""
    for name, value in scope["headers"]:
        if name == b"authorization":
            scheme, _, token = value.decode("latin-1").partition(" ")
            return authenticate(token.strip()) if scheme.lower() == "bearer" else None
    return None


def lane_key(path: str, principal: Principal) -> tuple[str, str, str] | None:
    """(tenant, environment, app user) of an API path; None for routes without limits of their own.

    The environment is the segment before `api`, `ODataV4` or `WS`; without one the limits of production apply.
    """
    segments = [segment for segment in path.split("/") if segment]
    lowered = [segment.lower() for segment in segments]
    mark = next((index for index, segment in enumerate(lowered) if segment in ROUTE_MARKS), None)
    if mark is None or not lowered or lowered[0] != "v2.0":
        return None
    environment = lowered[mark - 1] if mark > 1 else "production"
    return principal.tenant_id, environment, principal.user_id or principal.app_id


def http_date(after_s: float) -> str:
    """An HTTP date some seconds ahead, for Retry-After: by the real clock, as the answer's own Date header."""
    return format_datetime(datetime.now(UTC) + timedelta(seconds=after_s), usegmt=True)


def _window_report(lane: Lane, allowance: int) -> list[dict[str, float]]:
    return [
        {"window": index, "allowed": counts[0], "refused": counts[1], "share": round(counts[0] / allowance, 4)}
        for index, counts in lane.windows.items()
    ]


def _too_many(actual: int, maximum: int, wait_s: float) -> Refused:
    text = f"Too many requests reached. Actual ({actual}). Maximum ({maximum})."
    return Refused(429, "Application_TooManyRequests", text, wait_s)
