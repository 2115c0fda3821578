"""A real `isthmus worker` in a process of its own, to be killed, paused and woken."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from tests.patience import WAIT_MAX_S

ROOT = Path(__file__).parents[2]
_MAIN = "import sys; from isthmus.cli import main; sys.exit(main())"
_READY = b"Working as"


def start_command(arguments: list[str], environment: Mapping[str, str], log: Path) -> subprocess.Popen[bytes]:
    """Start the command line in another process; everything it says goes to `log`."""
    env = {**os.environ, "PYTHONPATH": str(ROOT / "src"), **environment}
    with log.open("ab") as file:
        return subprocess.Popen(
            [sys.executable, "-c", _MAIN, *arguments], env=env, cwd=log.parent, stdout=file, stderr=file
        )


class WorkerProcess:
    """One worker. `kill` is SIGKILL; `pause` and `wake` are SIGSTOP and SIGCONT; `stop` is what a person does."""

    def __init__(self, environment: Mapping[str, str], log: Path) -> None:
        self.log = log
        self.killed = False
        self._process = start_command(["worker"], environment, log)

    def __enter__(self) -> WorkerProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    @property
    def alive(self) -> bool:
        """True until the process has ended."""
        return self._process.poll() is None

    @property
    def ready(self) -> bool:
        """True once it takes jobs."""
        return _READY in self.log.read_bytes()

    def wait_until_ready(self) -> None:
        """Wait until it takes jobs."""
        deadline_s = time.monotonic() + WAIT_MAX_S
        while not self.ready:
            assert self.alive, f"the worker ended: {self.log.read_text()[-2000:]}"
            assert time.monotonic() < deadline_s, "the worker does not start"
            time.sleep(0.02)

    def kill(self) -> None:
        """Gone, without a chance to say good-bye."""
        if self.alive:
            self.killed = True
            self._process.kill()
        self._process.wait()

    def pause(self) -> None:
        """Asleep in the middle of whatever it does."""
        self._process.send_signal(signal.SIGSTOP)

    def wake(self) -> None:
        """Goes on where it was, as if nothing had happened."""
        self._process.send_signal(signal.SIGCONT)

    def stop(self) -> int:
        """Ctrl-C; its exit code."""
        self._process.send_signal(signal.SIGINT)
        return self._process.wait(timeout=WAIT_MAX_S)
