"""The house's state as measurements: looked at when Prometheus asks, and not more often than every few seconds."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator
from typing import Final

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from isthmus.kernel.failures import DatabaseUnavailable
from isthmus.store.database import Database
from isthmus.store.vitals import Vitals, vitals

FRESH_S: Final = 5.0
"""Several scrapers share one look."""

ANSWER_S_MAX: Final = 2.0
"""A database that does not answer for so long is away, which is a measurement too."""

LOOK_S_MAX: Final = 5.0
"""One that answers may take longer to tell everything. Prometheus gives up after ten seconds by default, and would
then take the server for dead.
"""

_log = logging.getLogger(__name__)

_STATES_OF_CONNECTIONS: Final = ("pending", "connected", "degraded", "needs_reauth", "blocked", "disconnected")


class VitalsCollector(Collector):
    """Gives the last look to the registry. `look` first, then `collect`."""

    def __init__(self) -> None:
        self._latest: Vitals | None = None
        self.database_up = False
        self._looked_s = -FRESH_S
        self._took_s = 0.0
        self._one_at_a_time = asyncio.Lock()

    async def look(self, db: Database) -> None:
        """Look at the database unless somebody has just done so. Never fails: a database that is away is told."""
        async with self._one_at_a_time:
            started_s = time.monotonic()
            if started_s - self._looked_s < FRESH_S:
                return
            try:
                self._latest, self.database_up = None, await _answers(db)
                if self.database_up:
                    async with asyncio.timeout(LOOK_S_MAX):
                        self._latest = await vitals(db)
            except TimeoutError:
                _log.warning("the house's state could not be measured within %g s", LOOK_S_MAX)
            except DatabaseUnavailable:
                self.database_up = False
            self._looked_s = time.monotonic()
            self._took_s = self._looked_s - started_s

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """What the last look found; of a database that is away only that it is."""
        yield _one("isthmus_database_up", "1 while the database answers.", float(self.database_up))
        yield _one("isthmus_vitals_seconds", "How long looking at the database took.", self._took_s)
        if self._latest is not None:
            yield from _of_the_house(self._latest)
            yield from _of_projects(self._latest)


async def _answers(db: Database) -> bool:
    try:
        async with asyncio.timeout(ANSWER_S_MAX), db.unscoped() as tx:
            await tx.value("SELECT 1")
    except (DatabaseUnavailable, TimeoutError):
        return False
    return True


def _of_the_house(found: Vitals) -> Iterator[GaugeMetricFamily]:
    singles: list[tuple[str, str, float]] = [
        ("isthmus_schedule_lag_seconds", "How late the schedule is that has been due longest.", found.schedule_lag_s),
        ("isthmus_runs_queued", "Runs that wait for a worker.", found.runs_queued),
        ("isthmus_run_queue_age_seconds", "How long the oldest run has waited for a worker.", found.run_queue_age_s),
        (
            "isthmus_operation_queue_age_seconds",
            "How long the write has been due that waits longest.",
            found.operation_queue_age_s,
        ),
        ("isthmus_mails_waiting", "Mails that are not sent yet.", found.mails_waiting),
        ("isthmus_mail_queue_age_seconds", "How long the oldest of them has waited.", found.mail_queue_age_s),
        (
            "isthmus_vendor_budget_held_requests",
            "Requests of a vendor's window that its busiest app user has used or holds.",
            found.budget_held_requests,
        ),
        ("isthmus_vendor_budgets_paused", "App users that a vendor has told to wait.", found.budgets_paused),
    ]
    for name, text, value in singles:
        yield _one(name, text, value)
    processes = GaugeMetricFamily("isthmus_processes", "Processes with a fresh sign of life.", labels=["kind"])
    processes.add_metric(["server"], found.servers)
    processes.add_metric(["worker"], found.workers)
    yield processes
    paused = GaugeMetricFamily("isthmus_paused_after_restore", "1 while a restored hub waits.", labels=["what"])
    for what in ("writes", "tokens", "deliveries"):
        paused.add_metric([what], float(what in found.paused))
    yield paused


def _of_projects(found: Vitals) -> Iterator[GaugeMetricFamily]:
    connections = GaugeMetricFamily(
        "isthmus_connections", "Connections by state and reason.", labels=["project", "state", "reason"]
    )
    seen = {(each.project, each.state) for each in found.connections}
    for counted in found.connections:
        connections.add_metric([counted.project, counted.state, counted.reason], counted.count)
    for project in found.projects:
        for state in _STATES_OF_CONNECTIONS:
            if (project.project, state) not in seen:
                connections.add_metric([project.project, state, ""], 0)
    yield connections
    syncs = GaugeMetricFamily(
        "isthmus_syncs", "Active syncs by how their last run ended.", labels=["project", "last_run"]
    )
    for counted in found.syncs:
        syncs.add_metric([counted.project, counted.state], counted.count)
    yield syncs
    operations = GaugeMetricFamily(
        "isthmus_operations_open", "Writes that are not at their end.", labels=["project", "state"]
    )
    for counted in found.operations:
        operations.add_metric([counted.project, counted.state], counted.count)
    yield operations
    of_each: list[tuple[str, str, dict[str, float | None]]] = [
        (
            "isthmus_destinations_paused",
            "Destinations that wait for a person.",
            {each.project: each.destinations_paused for each in found.projects},
        ),
        (
            "isthmus_destinations_failing",
            "Destinations whose receiver refuses, or does not answer.",
            {each.project: each.destinations_failing for each in found.projects},
        ),
        (
            "isthmus_delivery_behind_numbers",
            "How many numbers of the feed the slowest active destination has before it.",
            {each.project: each.behind for each in found.projects},
        ),
        (
            "isthmus_delivery_behind_seconds",
            "How old the oldest change is that an active destination has not got.",
            {each.project: each.behind_s or 0.0 for each in found.projects},
        ),
        (
            "isthmus_dead_letters_waiting",
            "Batches that were given up and not replayed.",
            {each.project: each.dead_letters for each in found.projects},
        ),
        (
            "isthmus_secret_ends_seconds",
            "Time until the next client secret ends; negative when it has.",
            {each.project: each.secret_ends_s for each in found.projects},
        ),
    ]
    for name, text, values in of_each:
        family = GaugeMetricFamily(name, text, labels=["project"])
        for label, value in values.items():
            if value is not None:
                family.add_metric([label], value)
        yield family


def _one(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, value=value)
