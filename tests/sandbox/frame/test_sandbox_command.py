"""`python -m isthmus_sandbox up` in a process of its own."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
import requests
from tests.child_process import completed, finished, started
from tests.patience import WAIT_MAX_S, until

from isthmus_sandbox.serve import SandboxOptions, run_sandbox


def up(folder: Path) -> AbstractContextManager[subprocess.Popen[str]]:
    """`python -m isthmus_sandbox up` for a data folder below `folder`."""
    return started(command(folder), env=environment())


def command(folder: Path, world: str = "empty") -> list[str]:
    """Ports are free ones; the ready file tells which."""
    line = [sys.executable, "-m", "isthmus_sandbox", "up", "--world", world, "--port-base", "0"]
    return [*line, "--data", str(folder / "data"), "--ready-file", str(folder / "ready.json")]


def environment() -> dict[str, str]:
    """With the sandbox of this work tree."""
    return {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[3] / "src")}


@pytest.mark.parametrize("stop_signal", [signal.SIGINT, signal.SIGTERM])
def test_it_says_where_it_is_and_stops_cleanly(tmp_path: Path, stop_signal: signal.Signals) -> None:
    with up(tmp_path) as process:
        addresses = ready(tmp_path, process)
        with requests.Session() as http:
            http.trust_env = False
            url = f"{addresses['control_url']}/state"
            state = http.get(url, verify=addresses["ca_file"], timeout=WAIT_MAX_S).json()
        assert state["world"] == "empty"
        process.send_signal(stop_signal)
        output, problems = finished(process)
    assert process.returncode == 0, problems
    assert problems == ""
    assert addresses["business_central_url"] in output


def test_a_second_one_for_the_same_folder_says_where_the_first_is_and_leaves_its_files_alone(tmp_path: Path) -> None:
    with up(tmp_path) as process:
        addresses = ready(tmp_path, process)
        ready_file = tmp_path / "ready.json"
        kept = ready_file.read_bytes(), Path(addresses["ca_file"]).read_bytes()
        second = completed(command(tmp_path), env=environment())
        assert second.returncode == 1
        assert second.stdout == ""
        assert f"already running for this folder at {addresses['business_central_url']}" in second.stderr
        assert (ready_file.read_bytes(), Path(addresses["ca_file"]).read_bytes()) == kept
        process.send_signal(signal.SIGINT)
        finished(process)
    assert not ready_file.exists()


def test_one_whose_predecessor_was_killed_starts(tmp_path: Path) -> None:
    ready_file = tmp_path / "ready.json"
    ready_file.write_text('{"business_central_url": "https://gone"}')
    with up(tmp_path) as process:
        assert process.stdout is not None
        assert "is up" in process.stdout.readline()
        assert "gone" not in ready_file.read_text()


def test_an_unknown_world_is_explained_without_a_traceback(tmp_path: Path) -> None:
    done = completed(command(tmp_path, world="atlantis"), env=environment())
    assert done.returncode == 1
    assert "cronus" in done.stderr
    assert "Traceback" not in done.stderr


def ready(folder: Path, process: subprocess.Popen[str]) -> dict[str, str]:
    """The ready file's content, once it is there."""
    path = folder / "ready.json"
    until(lambda: path.exists() or process.poll() is not None, "the sandbox did not start in time")
    assert process.poll() is None, "the sandbox ended early"
    content: dict[str, str] = json.loads(path.read_text("utf-8"))
    return content


async def test_a_taken_port_is_named(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=f"port {port} cannot be used"):
            async with run_sandbox(SandboxOptions(port_base=port, data_dir=tmp_path)):
                raise AssertionError("it must not start")
    assert await asyncio.to_thread(os.listdir, tmp_path) == []
