"""Durable jobs on PostgreSQL: queues, runs with heartbeats, the schedule, and recovery. Knows no provider.

In come tasks by name and a handler for runs; what goes out is their execution, at least once, in as many processes as
are started over one database.

    engine.py      Engine: defer a job, request a run, run a worker
    queue.py       the job queue (Procrastinate) behind a few functions
    held_jobs.py   ending and retrying a job, only by the attempt that holds it
    outage_log.py  what the log says while the database is away
    running.py     one run in a worker: claim, heartbeat, end
    loops.py       the worker's side work: schedule, recovery, whatever else the hub wants done regularly
"""

from __future__ import annotations

from isthmus.engine.engine import Engine, EngineSettings
from isthmus.engine.loops import Periodic
from isthmus.engine.running import RunHandler

__all__ = ["Engine", "EngineSettings", "Periodic", "RunHandler"]
