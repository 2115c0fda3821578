"""Commands in processes of their own, which end with the test however it ends: no orphan, no pipe left open."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final

from tests.patience import WAIT_MAX_S

ISTHMUS: Final = (sys.executable, "-c", "import sys; from isthmus.cli import main; sys.exit(main())")
"""The command line, to be followed by its arguments."""


@contextmanager
def started(command: Sequence[str], **how: Any) -> Iterator[subprocess.Popen[str]]:
    """A process with text pipes for both outputs (unless `how` says otherwise), gone at the end of the block."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process: subprocess.Popen[str] = subprocess.Popen(list(command), **(pipes | how))
    try:
        yield process
    finally:
        end(process)


def end(process: subprocess.Popen[Any]) -> None:
    """Kill it if it lives, wait for it, close its pipes."""
    if process.poll() is None:
        process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None:
            with suppress(BrokenPipeError):
                pipe.close()


def finished(process: subprocess.Popen[str]) -> tuple[str, str]:
    """What it still says on both outputs, once it has ended by itself."""
    return process.communicate(timeout=WAIT_MAX_S)


def completed(command: Sequence[str], **how: Any) -> subprocess.CompletedProcess[str]:
    """The process from its start to its end, with what it said."""
    wanted = {"capture_output": True, "text": True, "timeout": WAIT_MAX_S, "check": False}
    done: subprocess.CompletedProcess[str] = subprocess.run(list(command), **(wanted | how))
    return done
