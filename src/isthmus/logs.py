"""What a process writes to its log: lines for people, or one JSON object a line for programs.

In both forms a line names the request (or the run) that it goes back to and, where traces are taken, the trace: from
the API through the queue to the vendor call. Nothing secret is written: messages have neither tokens nor addresses.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import MutableMapping
from typing import Any, Final, TextIO

import msgspec
import structlog

from isthmus.kernel.tracing import request_now, trace_now

FORMATS: Final = ("plain", "json")

Event = MutableMapping[str, Any]


def set_up_logs(level: str, form: str, stream: TextIO | None = None) -> None:
    """Send the log of this process to stderr in that form. Does nothing where logs have been set up already."""
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False  # none of our forms names them
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(json_lines() if form == "json" else _Plain())
    logging.basicConfig(level=level.upper(), handlers=[handler])


class _Plain(logging.Formatter):
    """`19:34:46 WARNING isthmus.engine: …`, with the request it goes back to at its end. What is logged as an object
    with words of its own (`plain`) is told in those.
    """

    def __init__(self) -> None:
        super().__init__()
        self._second, self._time = -1, ""

    def _said(self, record: logging.LogRecord, words: str) -> str:
        second = int(record.created)
        if second != self._second:
            self._second, self._time = second, time.strftime("%H:%M:%S", time.localtime(second))
        return f"{self._time} {record.levelname} {record.name}: {words}"

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  (the library's name)
        return self._said(record, record.message)

    def format(self, record: logging.LogRecord) -> str:
        plain = getattr(record.msg, "plain", None)
        if plain is not None:
            return self._said(record, plain)
        line = super().format(record)
        behalf = request_now()
        return f"{line} [{behalf}]" if behalf and behalf not in line else line


def json_lines() -> logging.Formatter:
    """One object a line: timestamp, level, logger, event, request_id, trace_id, and what the line has of its own."""
    before: list[Any] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _related,
        structlog.processors.format_exc_info,
    ]
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=before,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.JSONRenderer(serializer=_as_json),
        ],
    )


def _related(_: object, __: str, event: Event) -> Event:
    """What the line goes back to; a line that is an object already (the API's own) becomes part of this one."""
    text = event.get("event")
    if isinstance(text, str) and text.startswith("{"):
        try:
            event.update(msgspec.json.decode(text, type=dict[str, Any]))
        except msgspec.DecodeError:
            event["event"] = text
    for name, value in (("request_id", request_now()), ("trace_id", trace_now())):
        if value:
            event.setdefault(name, value)
    return event


def _as_json(event: Event, **_: Any) -> str:
    return msgspec.json.encode(event, enc_hook=str).decode()
