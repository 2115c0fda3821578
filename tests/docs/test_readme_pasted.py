"""The README's Python examples can be pasted into an interactive Python, where a blank line ends a block."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.docs.readme_blocks import Example, examples_of, same_output
from tests.patience import WAIT_MAX_S
from tests.running_sandbox import SandboxThread

README = Path(__file__).resolve().parents[2] / "README.md"


def pasted(example: Example, folder: Path, environ: dict[str, str]) -> str:
    """What a person sees who pastes the example; the prompts are on stderr."""
    ended = subprocess.run(
        [sys.executable, "-i", "-q"],
        input=example.code + "\n",
        cwd=folder,
        env={**os.environ, "ISTHMUS_HOME": str(folder), **environ},
        capture_output=True, text=True, timeout=WAIT_MAX_S, check=False,
    )  # fmt: skip
    assert "Error" not in ended.stderr, ended.stderr
    return ended.stdout


def test_every_example_works_pasted_alone_and_prints_what_it_promises(sandbox: SandboxThread, tmp_path: Path) -> None:
    facts = sandbox.call(sandbox.running.summary)
    (tmp_path / "sandbox.json").write_text(json.dumps(facts), encoding="utf-8")
    app = facts["apps"][0]
    environ = {
        "BC_TENANT": app["tenant_id"],
        "BC_CLIENT_ID": app["client_id"],
        "BC_CLIENT_SECRET": app["secrets"][0]["value"],
    }
    for example in examples_of(README.read_text(encoding="utf-8")):
        printed = pasted(example, tmp_path, environ)
        if example.prints is not None:
            assert same_output(example.prints, printed), f"README.md:{example.line} printed:\n{printed}"
