"""docs/quickstart.md, walked through as a newcomer would: an empty folder, three terminals, curl."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from tests.docs.readme_blocks import same_output
from tests.patience import WAIT_MAX_S

PAGE = Path(__file__).resolve().parents[2] / "docs" / "quickstart.md"
PORTS = ("8080", "8090")
MARK = "=== end of block ==="

_BLOCK = re.compile(r"(<!-- terminal -->\n)?```sh\n(.*?)```\n(?:\n```text\n(.*?)```\n)?", re.DOTALL)


def free_port() -> int:
    """A port that nobody uses at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Walk:
    """The page's commands with ports that are free here, in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        ports = {port: str(free_port()) for port in PORTS}
        text = PAGE.read_text(encoding="utf-8")
        for port, instead in ports.items():
            text = text.replace(port, instead)
        blocks = _BLOCK.findall(text)
        self.folder = folder
        self.port = ports["8080"]
        self.terminals = [command for terminal, command, _ in blocks if terminal]
        self.steps = [(command, prints) for terminal, command, prints in blocks if not terminal]
        self._started: list[subprocess.Popen[str]] = []

    def environ(self) -> dict[str, str]:
        """As in a new shell, with `isthmus` and `python3` of this environment."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("ISTHMUS_", "KEY"))}
        return kept | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "no_proxy": "*"}

    def start(self) -> None:
        """Both terminals; returns when both say that they are ready."""
        sandbox, serve = self.terminals
        self._open(sandbox.strip() + " --port-base 0")
        self._until(lambda: (self.folder / ".isthmus" / "sandbox.json").exists())
        self._open(f"{serve.strip()} --port {self.port}")
        self._until(self._answers)

    def stop(self) -> None:
        """Close the terminals."""
        for process in self._started:
            os.killpg(process.pid, signal.SIGINT)
        for process in self._started:
            try:
                process.wait(WAIT_MAX_S)
            finally:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)

    def rest(self) -> list[str]:
        """What each of the other blocks printed, run in one shell."""
        script = "".join(f"{command}\necho '{MARK}'\n" for command, _ in self.steps)
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=self.folder,
            env=self.environ(),
            capture_output=True,
            text=True,
            timeout=2 * WAIT_MAX_S,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return [part.strip() for part in done.stdout.split(MARK)[:-1]]

    def _open(self, command: str) -> None:
        self._started.append(
            subprocess.Popen(
                ["bash", "-c", command],
                cwd=self.folder,
                env=self.environ(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                text=True,
                start_new_session=True,
            )
        )

    def _answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", int(self.port))) == 0

    def _until(self, ready: object) -> None:
        assert callable(ready)
        ends_s = time.monotonic() + WAIT_MAX_S
        while not ready():
            assert time.monotonic() < ends_s, "a terminal did not come up"
            time.sleep(0.05)


@pytest.fixture
def walk(open_folder: Path) -> Iterator[Walk]:
    """Both terminals open."""
    walking = Walk(open_folder)
    try:
        walking.start()
        yield walking
    finally:
        walking.stop()


@pytest.mark.timeout(600)
def test_a_newcomer_gets_from_nothing_to_a_posted_invoice_and_a_webhook(walk: Walk) -> None:
    printed = walk.rest()
    assert len(printed) == len(walk.steps)
    for (command, prints), said in zip(walk.steps, printed, strict=True):
        if prints:
            assert same_output(prints, said), f"{command}\nprinted:\n{said}"
