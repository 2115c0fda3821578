"""What a worker's log says while the database is away: a line now and then instead of tracebacks and floods.

Procrastinate logs a traceback, and psycopg's pool a warning for each try to reconnect, several times a second. An
outage is foreseeable, so a person reads what happened, and how often, not where.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import psycopg
from procrastinate.exceptions import ConnectorException

from isthmus.kernel.failures import DatabaseUnavailable

SAID_AGAIN_S: Final = 30.0

_LOGGERS: Final = ("procrastinate.utils", "procrastinate.worker", "psycopg.pool")


class OutageFilter(logging.Filter):
    """Takes the traceback off a lost database, and lets each logger say it once in a while only."""

    def __init__(self) -> None:
        super().__init__()
        self._said_s: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """False for a record that would only repeat what was said a moment ago."""
        raised = record.exc_info[1] if record.exc_info else None
        lost = isinstance(raised, ConnectorException | psycopg.OperationalError | DatabaseUnavailable)
        if not lost and record.name != "psycopg.pool":
            return True
        if lost:
            reason = " ".join(str(raised.__cause__ or raised).split()) if raised is not None else ""
            record.msg, record.args = f"{record.getMessage().partition(':')[0]}: {reason}", ()
            record.exc_info, record.exc_text = None, None
        now_s = time.monotonic()
        if now_s - self._said_s.get(record.name, -SAID_AGAIN_S) < SAID_AGAIN_S:
            return False
        self._said_s[record.name] = now_s
        return True


@contextmanager
def calm_outages(worker_name: str) -> Iterator[None]:
    """While the block runs, the libraries underneath speak of a lost database calmly."""
    calm = OutageFilter()
    loggers = [logging.getLogger(name) for name in (*_LOGGERS, f"procrastinate.worker.{worker_name}")]
    for logger in loggers:
        logger.addFilter(calm)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeFilter(calm)
