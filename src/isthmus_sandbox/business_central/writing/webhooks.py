"""Notifications: what is pending for whom, how it is sent, when a subscription dies (behaviour.md section 11).

Time is the sandbox clock: `deliver` (called by a task, by `advance_clock` and by the control API) sends what is due by
it, 30 s after the first change and later after failures. A receiver that answers anything but 2xx, 408, 429 or
5xx loses its subscription at once (BC-91); from 1,000 changes on one `collection` notification stands for all,
deletions inside it are not told (BC-93).
"""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import aiohttp

from isthmus_sandbox.business_central.service import Environment, RecordChange
from isthmus_sandbox.business_central.values import now_ms, stamp_text
from isthmus_sandbox.clock import SandboxClock

DELAY_S = 30.0
COLLECTION_MIN = 1_000
COLLECTION_MARGIN_MS = 50
RETRY_MINUTES = (1, 1, 10, 100, 1000)
POLL_S = 0.5
"""How often the clock is looked at for notifications that became due."""

ANSWER_TIMEOUT_S = 5.0
ANSWER_BYTES_MAX = 4096


@dataclass(eq=False, slots=True)
class Subscription:
    """One subscription with the changes that it has not told yet, by record: kind and time."""

    id: str
    url: str
    resource: str
    client_state: str
    route: str
    company_id: str
    set_name: str
    record_id: str
    user_id: str
    created_s: float
    modified_s: float
    expires_s: float
    version: int = 1
    pending: dict[str, tuple[str, float]] = field(default_factory=dict)
    changes: int = 0
    first_change_s: float = 0.0
    due_s: float = 0.0
    attempts: int = 0

    def note(self, change: RecordChange) -> None:
        """Remember a change; several changes of one record collapse."""
        if not self.pending:
            self.first_change_s, self.changes, self.due_s = change.time_s, 0, change.time_s + DELAY_S
        self.changes += 1
        before = self.pending.get(change.row_id)
        kind = "created" if before is not None and before[0] == "created" and change.kind == "updated" else change.kind
        self.pending[change.row_id] = (kind, change.time_s)

    def forget(self, told: dict[str, tuple[str, float]]) -> None:
        """Drop what was told; what changed meanwhile is told the next time."""
        self.pending = {row_id: change for row_id, change in self.pending.items() if told.get(row_id) != change}
        self.attempts = 0
        if self.pending:
            self.first_change_s = min(time_s for _, time_s in self.pending.values())
            self.changes, self.due_s = len(self.pending), self.first_change_s + DELAY_S

    def notifications(self) -> list[dict[str, Any]]:
        """The notifications of what is pending."""
        common = {
            "subscriptionId": self.id,
            "clientState": self.client_state,
            "expirationDateTime": stamp_text(now_ms(self.expires_s)),
        }
        if self.changes >= COLLECTION_MIN:
            since = stamp_text(now_ms(self.first_change_s) - COLLECTION_MARGIN_MS)
            resource = f"{self.resource}?$filter=lastModifiedDateTime gt {since}"
            stamp = stamp_text(now_ms(max(time_s for _, time_s in self.pending.values())))
            return [{**common, "resource": resource, "changeType": "collection", "lastModifiedDateTime": stamp}]
        return [
            {
                **common,
                "resource": self.resource if self.record_id else f"{self.resource}({row_id})",
                "changeType": kind,
                "lastModifiedDateTime": stamp_text(now_ms(time_s)),
            }
            for row_id, (kind, time_s) in self.pending.items()
        ]


class Webhooks:
    """All subscriptions, by environment; while there are any, a task sends what becomes due."""

    def __init__(self, clock: SandboxClock) -> None:
        self._clock = clock
        self._subscriptions: dict[Environment, list[Subscription]] = {}
        self._delivering = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    def alive(self, environment: Environment) -> list[Subscription]:
        """The subscriptions of an environment that have not expired (BC-90)."""
        now_s = self._clock.time_s()
        kept = [s for s in self._subscriptions.get(environment, []) if s.expires_s > now_s]
        self._subscriptions[environment] = kept
        return list(kept)

    def add(self, environment: Environment, subscription: Subscription) -> None:
        """Keep a new subscription. Needs a running event loop."""
        self._subscriptions.setdefault(environment, []).append(subscription)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._deliver_while_subscribed())

    def close(self) -> None:
        """Forget everything and send nothing more."""
        self._subscriptions.clear()
        if self._task is not None:
            self._task.cancel()

    async def _deliver_while_subscribed(self) -> None:
        while any(self.alive(environment) for environment in list(self._subscriptions)):
            await asyncio.sleep(POLL_S)
            await self.deliver()

    def remove(self, environment: Environment, subscription: Subscription) -> None:
        """Forget a subscription."""
        kept = self._subscriptions.get(environment, [])
        if subscription in kept:
            kept.remove(subscription)

    def observe(self, change: RecordChange) -> None:
        """Note a committed change for whoever subscribed to it."""
        place = change.place
        for subscription in self.alive(place.environment):
            wanted = (subscription.route, subscription.company_id, subscription.set_name)
            if wanted != (place.entity.route, place.company.id, place.entity.set_name):
                continue
            if subscription.record_id in ("", change.row_id):
                subscription.note(change)

    async def deliver(self) -> list[dict[str, Any]]:
        """Send what is due; one POST per notification URL. Returns what was sent and how it was answered."""
        async with self._delivering:
            return await self._deliver_due()

    async def _deliver_due(self) -> list[dict[str, Any]]:
        report = []
        for environment in list(self._subscriptions):
            now_s = self._clock.time_s()
            due = [s for s in self.alive(environment) if s.pending and s.due_s <= now_s]
            for url in dict.fromkeys(s.url for s in due):
                together = [s for s in due if s.url == url]
                value = [note for s in together for note in s.notifications()]
                told = [(s, dict(s.pending)) for s in together]
                status = await _post(url, json.dumps({"value": value}).encode())
                self._settle(environment, told, status)
                report.append({"url": url, "notifications": len(value), "status": status})
        return report

    def _settle(
        self,
        environment: Environment,
        told: Iterable[tuple[Subscription, dict[str, tuple[str, float]]]],
        status: int,
    ) -> None:
        for subscription, changes in told:
            if 200 <= status < 300:
                subscription.forget(changes)
            elif status in (0, 408, 429) or status >= 500:
                if subscription.attempts >= len(RETRY_MINUTES):
                    self.remove(environment, subscription)
                    continue
                subscription.due_s = self._clock.time_s() + 60 * RETRY_MINUTES[subscription.attempts]
                subscription.attempts += 1
            else:
                self.remove(environment, subscription)


async def shake_hands(url: str) -> bool:
    """Call the receiver with a validation token; it must answer 200 with the token as its body (BC-89)."""
    token = uuid.uuid4().hex
    target = f"{url}{'&' if '?' in url else '?'}validationToken={quote(token)}"
    try:
        async with _session() as session, session.post(target, allow_redirects=False) as answer:
            content = await answer.content.read(ANSWER_BYTES_MAX)
            return answer.status == 200 and content.decode("utf-8", "replace").strip() == token
    except (aiohttp.ClientError, TimeoutError, ValueError):
        return False


async def _post(url: str, body: bytes) -> int:
    """The status of the answer; 0 when there was none."""
    headers = {
        "Content-Type": "application/json",
        "clientRequestId": str(uuid.uuid4()),
        "x-ms-correlation-id": str(uuid.uuid4()),
    }
    try:
        async with (
            _session() as session,
            session.post(url, data=body, headers=headers, allow_redirects=False) as answer,
        ):
            return answer.status
    except (aiohttp.ClientError, TimeoutError, ValueError):
        return 0


def _session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=ANSWER_TIMEOUT_S))
