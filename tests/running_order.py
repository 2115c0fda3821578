"""In which order test files run: the longest first, by how long they took when that was last recorded.

`make weights` records again; a file that nobody has recorded yet counts as a middling one.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

import pytest

WEIGHTS: Final = Path(__file__).with_name("weights.json")
UNKNOWN_S: Final = 3.0


def ordered(items: list[pytest.Item]) -> list[pytest.Item]:
    """The tests, files whole and in themselves as written, longest file first."""
    weights: dict[str, float] = json.loads(WEIGHTS.read_text(encoding="utf-8"))

    def place(item: pytest.Item) -> tuple[float, str]:
        file = item.nodeid.partition("::")[0]
        return -weights.get(file, UNKNOWN_S), file

    return sorted(items, key=place)


class Recorder:
    """Sums up what each file takes and keeps it; registered by `--record-weights` in the process that reports."""

    def __init__(self) -> None:
        self.took_s: dict[str, float] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Setup, call and teardown of one test, from whichever process."""
        file = report.nodeid.partition("::")[0]
        self.took_s[file] = self.took_s.get(file, 0.0) + report.duration

    def pytest_sessionfinish(self) -> None:
        """Keep it, for the next runs to be ordered by."""
        kept = {file: round(took_s, 1) for file, took_s in sorted(self.took_s.items())}
        WEIGHTS.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
