"""Log lines that programs read, which name the request they go back to; and how a server stops."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import yaml
from tests.api_server import serving
from tests.child_process import ISTHMUS, completed, finished, started
from tests.hub_fixtures import House
from tests.own_database import database_url
from tests.patience import WAIT_MAX_S, until

from isthmus.kernel.tracing import on_behalf_of
from isthmus.logs import json_lines, set_up_logs
from isthmus.settings import load_settings

__all__ = ["database_url"]

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """A handler's stream; `isthmus` logs into it as JSON."""
    text = io.StringIO()
    handler = logging.StreamHandler(text)
    handler.setFormatter(json_lines())
    logger = logging.getLogger("isthmus")
    logger.addHandler(handler)
    before = logger.level
    logger.setLevel(logging.DEBUG)  # loggers below remember what is let through until this is called
    yield text
    logger.removeHandler(handler)
    logger.setLevel(before)


def _objects(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_is_one_object_with_time_level_logger_and_the_request_it_goes_back_to(stream: io.StringIO) -> None:
    with on_behalf_of("req_1"):
        logging.getLogger("isthmus.engine").warning("run %s\nfailed", 7)
    logging.getLogger("isthmus.http").info('{"request_id": "req_2", "event": "request", "status": 200}')
    first, second = _objects(stream)

    assert (first["event"], first["level"], first["logger"]) == ("run 7\nfailed", "warning", "isthmus.engine")
    assert first["request_id"] == "req_1"
    assert str(first["timestamp"]).endswith("Z")
    assert (second["event"], second["status"], second["request_id"]) == ("request", 200, "req_2")


def test_an_exception_stays_in_its_line(stream: io.StringIO) -> None:
    try:
        raise ValueError("canary")
    except ValueError:
        logging.getLogger("isthmus.engine").exception("failed by a defect")
    [line] = _objects(stream)
    assert "ValueError: canary" in str(line["exception"])


async def test_a_run_and_its_vendor_calls_name_the_request_that_asked_for_it(house: House, stream: io.StringIO) -> None:
    async with house.hub() as hub:
        connection = await house.connect(hub)
        sync = await house.sync(hub, connection, "customers")
        async with hub.engine() as engine:
            with on_behalf_of("req_canary"):
                run, _ = await hub.request_run(engine, sync.id)
        stream.seek(0)
        stream.truncate()
        await hub.perform(run)
    calls = [line for line in _objects(stream) if str(line["event"]).startswith("vendor call")]
    assert calls
    assert {line["request_id"] for line in calls} == {"req_canary"}
    assert not any("https://" in str(line["event"]) or "?" in str(line["event"]) for line in calls)


def test_the_form_is_a_setting(capsys: pytest.CaptureFixture[str]) -> None:
    assert load_settings({"ISTHMUS_LOG_FORMAT": "json"}).log_format == "json"
    set_up_logs("warning", "plain", io.StringIO())


@pytest.fixture
def pipe() -> Iterator[io.StringIO]:
    """Where the only log handler of the process writes to."""
    root = logging.getLogger()
    before, level, root.handlers = root.handlers, root.level, []
    stream = io.StringIO()
    set_up_logs("info", "plain", stream)
    yield stream
    root.handlers = before
    root.setLevel(level)


def timeless(lines: str) -> str:
    """The lines without the time of day, which each of them begins with."""
    assert all(re.match(r"[0-2]\d:[0-5]\d:[0-5]\d ", line) for line in lines.splitlines()), lines
    return re.sub(r"(?m)^\d\d:\d\d:\d\d ", "", lines)


async def test_people_read_a_request_as_a_line_and_programs_as_an_object(
    house: House, pipe: io.StringIO, stream: io.StringIO
) -> None:
    async with serving(house) as served:
        logging.getLogger("isthmus.http").setLevel(logging.INFO)
        client = await served.client()
        answer = await client.post("/v1/destinations", json={})
        assert (await client.get("/healthz")).status_code == 200
        metrics = await client.get("/metrics")
    logging.getLogger("isthmus.http").setLevel(logging.NOTSET)

    lines = [line for line in timeless(pipe.getvalue()).splitlines() if "isthmus.http" in line]
    (line,) = [each for each in lines if each.startswith("INFO isthmus.http: ")]
    request_id = answer.headers["x-request-id"]
    assert re.fullmatch(rf"INFO isthmus.http: POST /v1/destinations 422 \d+\.\d ms {request_id}", line)
    assert metrics.headers["content-type"].count("charset") == 1
    (told,) = [each for each in _objects(stream) if each.get("request_id") == request_id and "status" in each]
    assert (told["event"], told["method"], told["route"], told["status"]) == (
        "request",
        "POST",
        "/v1/destinations",
        422,
    )


@contextlib.contextmanager
def _serving(house: House, **environ: str) -> Iterator[tuple[int, subprocess.Popen[str]]]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [*ISTHMUS, "serve", "--port", str(port)]
    with started(command, env=house.environ(**environ), stdout=subprocess.DEVNULL) as process:

        def answers() -> bool:
            with contextlib.suppress(httpx.TransportError):
                return httpx.get(f"http://127.0.0.1:{port}/readyz", trust_env=False, timeout=WAIT_MAX_S).is_success
            return False

        until(answers, "the server did not start")
        yield port, process


def test_a_server_with_its_secrets_in_files_is_healthy_and_a_second_signal_ends_it(
    house: House, tmp_path: Path
) -> None:
    environ = house.environ()
    for name in ("ISTHMUS_DATABASE_URL", "ISTHMUS_MASTER_KEY"):
        (tmp_path / name).write_text(environ[name] + "\n")
    in_files = dict.fromkeys(("ISTHMUS_DATABASE_URL", "ISTHMUS_MASTER_KEY"), "")
    in_files |= {f"{name}_FILE": str(tmp_path / name) for name in in_files}

    with _serving(house, ISTHMUS_LOG_FORMAT="json", **in_files) as (port, process), socket.socket() as slow:
        compose = yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text(encoding="utf-8"))
        _, _, flag, program = compose["services"]["hub"]["healthcheck"]["test"]
        assert completed([sys.executable, flag, program.replace(":8080", f":{port}")]).returncode == 0
        slow.connect(("127.0.0.1", port))
        slow.sendall(b"POST /v1/consumers HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
        answer = httpx.get(f"http://127.0.0.1:{port}/v1/connections", trust_env=False, timeout=WAIT_MAX_S)
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGINT)
        _, words = finished(process)

    assert process.returncode == 130, words
    assert environ["ISTHMUS_MASTER_KEY"] not in words
    assert "Ending at once" in words
    told = [json.loads(line) for line in words.splitlines() if line.startswith("{")]
    assert answer.headers["x-request-id"] in {line.get("request_id") for line in told}
