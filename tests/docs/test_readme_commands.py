"""The README's command tour is run, line by line, against the sandbox."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
from tests.running_sandbox import SandboxThread
from tests.sandbox_fixtures import sandbox, sandbox_server

from isthmus.cli import main

__all__ = ["sandbox", "sandbox_server"]

README = Path(__file__).resolve().parents[2] / "README.md"
_BLOCK = re.compile(r"^```console\n(.*?)^```", re.MULTILINE | re.DOTALL)
_NOT_RUN = ("isthmus sandbox up", "isthmus worker", "make ")
"""Commands that run until they are stopped, and what runs this very test."""


def commands() -> list[str]:
    """Every `isthmus …` line of the README's console blocks, without its remark."""
    lines = [line for block in _BLOCK.findall(README.read_text(encoding="utf-8")) for line in block.splitlines()]
    wanted = [line.split("   #")[0].strip() for line in lines if line.startswith("isthmus ")]
    return [line for line in wanted if not line.startswith(_NOT_RUN)]


def test_every_command_of_the_tour_works(
    sandbox: SandboxThread, open_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    home = open_folder / "home"
    home.mkdir()
    (home / "sandbox.json").write_text(json.dumps(sandbox.call(sandbox.running.summary)), encoding="utf-8")
    monkeypatch.setenv("ISTHMUS_HOME", str(home))
    monkeypatch.chdir(open_folder)
    assert len(commands()) >= 8
    for line in commands():
        code = main(shlex.split(line)[1:])
        said = capsys.readouterr()
        assert code == 0, f"{line}\n{said.out}\n{said.err}"
