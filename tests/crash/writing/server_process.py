"""`isthmus serve` to be killed again and again: `python -m tests.crash.writing.server_process PORT`.

Started once, it imports everything; every line on its input forks a child that is the whole server, console and worker
and all, until it is killed.
"""

from __future__ import annotations

import os
import sys

import isthmus.app
import isthmus.server
from isthmus.cli import main as command


def main() -> None:
    """Fork a server for every line, and say when it is gone."""
    assert isthmus.app
    assert isthmus.server
    for _ in sys.stdin:
        child = os.fork()
        if child == 0:
            nothing = os.open(os.devnull, os.O_RDWR)
            os.dup2(nothing, 0)
            os.dup2(nothing, 1)
            os._exit(command(["serve", "--port", sys.argv[1]]))
        print("serving", child, flush=True)
        os.waitpid(child, 0)
        print("ended", flush=True)


if __name__ == "__main__":
    main()
