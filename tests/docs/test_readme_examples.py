"""Every Python example of the README runs against the sandbox and prints what it says."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.docs.readme_blocks import examples_of, run_page, same_output
from tests.running_sandbox import SandboxThread

README = Path(__file__).resolve().parents[2] / "README.md"


async def test_the_readmes_python_examples_run_and_print_what_they_promise(
    sandbox: SandboxThread, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    text = README.read_text(encoding="utf-8")
    examples = examples_of(text)
    assert examples
    for example, printed in zip(examples, await run_page(text, "README.md", {"sandbox": sandbox}), strict=True):
        if example.prints is not None:
            assert same_output(example.prints, printed), f"README.md:{example.line} printed:\n{printed}"
