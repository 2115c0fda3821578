"""`python -m isthmus_sandbox up` in a process of its own."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import requests

from isthmus_sandbox.serve import SandboxOptions, run_sandbox

START_TIMEOUT_S = 20.0


@pytest.mark.parametrize("stop_signal", [signal.SIGINT, signal.SIGTERM])
def test_it_says_where_it_is_and_stops_cleanly(tmp_path: Path, stop_signal: signal.Signals) -> None:
    ready = tmp_path / "ready.json"
    command = [sys.executable, "-m", "isthmus_sandbox", "up", "--world", "empty", "--port-base", "0"]
    command += ["--data", str(tmp_path / "data"), "--ready-file", str(ready)]
    source = Path(__file__).resolve().parents[3] / "src"
    environment = {**os.environ, "PYTHONPATH": str(source)}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        try:
            addresses = wait_for(ready, process)
            with requests.Session() as http:
                http.trust_env = False
                state = http.get(f"{addresses['control_url']}/state", verify=addresses["ca_file"], timeout=10).json()
            assert state["world"] == "empty"
        finally:
            process.send_signal(stop_signal)
        output, problems = process.communicate(timeout=START_TIMEOUT_S)
    assert process.returncode == 0, problems
    assert problems == ""
    assert addresses["business_central_url"] in output


def test_a_second_one_for_the_same_folder_says_where_the_first_is_and_leaves_its_files_alone(tmp_path: Path) -> None:
    ready = tmp_path / "ready.json"
    command = [sys.executable, "-m", "isthmus_sandbox", "up", "--world", "empty", "--port-base", "0"]
    command += ["--data", str(tmp_path / "data"), "--ready-file", str(ready)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[3] / "src")}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        try:
            addresses = wait_for(ready, process)
            kept = ready.read_bytes(), Path(addresses["ca_file"]).read_bytes()
            second = subprocess.run(
                command, capture_output=True, text=True, timeout=START_TIMEOUT_S, env=environment, check=False
            )
            assert second.returncode == 1
            assert second.stdout == ""
            assert f"already running for this folder at {addresses['business_central_url']}" in second.stderr
            assert (ready.read_bytes(), Path(addresses["ca_file"]).read_bytes()) == kept
        finally:
            process.send_signal(signal.SIGINT)
        process.communicate(timeout=START_TIMEOUT_S)
    assert not ready.exists()


def test_one_whose_predecessor_was_killed_starts(tmp_path: Path) -> None:
    ready = tmp_path / "ready.json"
    ready.write_text('{"business_central_url": "https://gone"}')
    command = [sys.executable, "-m", "isthmus_sandbox", "up", "--world", "empty", "--port-base", "0"]
    command += ["--data", str(tmp_path / "data"), "--ready-file", str(ready)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[3] / "src")}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        assert "is up" in process.stdout.readline()
        assert "gone" not in ready.read_text()
        process.send_signal(signal.SIGTERM)


def test_an_unknown_world_is_explained_without_a_traceback() -> None:
    command = [sys.executable, "-m", "isthmus_sandbox", "up", "--world", "atlantis", "--port-base", "0"]
    source = Path(__file__).resolve().parents[3] / "src"
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=START_TIMEOUT_S, env={**os.environ, "PYTHONPATH": str(source)}
    )
    assert done.returncode == 1
    assert "cronus" in done.stderr
    assert "Traceback" not in done.stderr


def wait_for(path: Path, process: subprocess.Popen[str]) -> dict[str, str]:
    """The ready file's content, once it is there."""
    deadline_s = time.monotonic() + START_TIMEOUT_S
    while not path.exists():
        assert process.poll() is None, "the sandbox ended early"
        assert time.monotonic() < deadline_s, "the sandbox did not start in time"
        time.sleep(0.02)
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
