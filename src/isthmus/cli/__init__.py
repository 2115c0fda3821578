"""The command line: nouns, then verbs, in the words of the house. The only synchronous surface.

Results go to stdout, progress and errors to stderr. Every foreseeable failure is three lines: what, why, what to do.
Heavy imports happen inside commands, so that `isthmus --help` is instant.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Sequence
from typing import Final

GARBAGE_THRESHOLDS: Final = (50_000, 20, 20)
"""Python's own were chosen for small programs: they cost a start a tenth of its time, and more while serving."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code. Nothing foreseeable ends in a traceback."""
    gc.set_threshold(*GARBAGE_THRESHOLDS)
    from isthmus.cli.commands import command_line
    from isthmus.cli.running import guarded

    return guarded(command_line(), list(sys.argv[1:] if arguments is None else arguments), dict(os.environ))


__all__ = ["main"]
