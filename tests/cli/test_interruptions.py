"""Ctrl-C: at a question nothing was changed; while reading, what was committed is kept."""

from __future__ import annotations

import os
import pty
import signal
import time
from pathlib import Path

import pytest
from tests.child_process import ISTHMUS, finished, started
from tests.hub_fixtures import US, House
from tests.patience import until


@pytest.fixture
def connected(house: House) -> House:
    """A house with a sync that has not run."""
    assert house.type_connect().code == 0
    assert house.type("sync", "create", "vendors", "--company", US).code == 0
    return house


def test_at_a_question_ctrl_c_ends_at_once_and_nothing_was_changed(connected: House) -> None:
    master, slave = pty.openpty()
    try:
        with started([*ISTHMUS, "sync", "delete", "vendors"], env=connected.environ(), stdin=slave) as command:
            assert command.stderr is not None
            words = b""
            while b"Type vendors" not in words:
                read = os.read(command.stderr.fileno(), 4096)
                assert read, f"it ended without a question: {words!r}"
                words += read
            time.sleep(0.3)
            command.send_signal(signal.SIGINT)
            _, rest = finished(command)
    finally:
        os.close(master)
        os.close(slave)
    assert command.returncode == 130, rest
    assert "Interrupted. Nothing was changed." in rest
    assert len(connected.type("sync", "list", "--json").json) == 1


@pytest.mark.parametrize("arguments", [("read", "vendors", "--json"), ("export", "vendors", "--to", "out.jsonl")])
def test_an_interrupted_read_or_export_says_that_it_can_be_repeated(
    connected: House, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    connected.seed("vendors", 600)
    connected.switch(page_records_max=20)
    connected.sandbox.fault("delay", path="/vendors$", delay_s=0.3, count=None)
    before = len(connected.requests("/vendors"))
    with started([*ISTHMUS, *arguments], cwd=tmp_path, env=connected.environ()) as command:
        until(lambda: len(connected.requests("/vendors")) - before >= 3, "the command read nothing")
        command.send_signal(signal.SIGINT)
        _, words = finished(command)
    assert command.returncode == 130
    assert words.splitlines()[-1].startswith("Interrupted. What was committed is kept")
    assert "psycopg.pool" not in words
