"""Runs the Python examples of a Markdown page, so that they cannot rot.

An example is a fenced block that starts with ```` ```python ````. What a reader has and a test has not — addresses of
the sandbox, its certificate authority, a secret in the environment — is set up by a hidden comment right before it:

    <!-- before the example:
    os.environ["BC_SECRET"] = sandbox.…
    -->

The comment is Python and runs in the same namespace, which holds the names that the test passes (`sandbox`) and `os`.
Examples of a page run in order and share that namespace, as they would in one session; `await`, `async with` and
`async for` may stand at the top level, as in `python -m asyncio`. A fenced block right after the example that starts
with ```` ```text ```` is what it prints; `…` in it stands for any text.
"""

from __future__ import annotations

import ast
import asyncio
import contextlib
import inspect
import io
import os
import re
from collections.abc import Mapping
from typing import NamedTuple

_EXAMPLE = re.compile(
    r"(?:<!-- before the example:\n(?P<before>.*?)-->\n+)?"
    r"```python\n(?P<code>.*?)```\n"
    r"(?:\n```text\n(?P<prints>.*?)```\n)?",
    re.DOTALL,
)


class Example(NamedTuple):
    """One example: `line` is where its code starts, `prints` what the page promises, if it does."""

    line: int
    before: str
    code: str
    prints: str | None


def examples_of(markdown: str) -> list[Example]:
    """All Python examples of a page, in order."""
    return [
        Example(
            line=markdown.count("\n", 0, found.start("code")) + 1,
            before=found["before"] or "",
            code=found["code"],
            prints=found["prints"],
        )
        for found in _EXAMPLE.finditer(markdown)
    ]


async def run_page(markdown: str, page: str, given: Mapping[str, object]) -> list[str]:
    """Run every example; gives what each printed. Raises whatever an example raises.

    Runs beside the event loop of the caller: a sandbox that lives on that loop goes on answering. Environment variables
    that an example sets are gone afterwards.
    """
    namespace: dict[str, object] = {"__name__": "__example__", "os": os, **given}
    printed = []
    environment = dict(os.environ)
    try:
        for example in examples_of(markdown):
            name = f"{page}:{example.line}"
            await asyncio.to_thread(_run, example.before, f"{name} (before)", namespace)
            printed.append(await asyncio.to_thread(_run, example.code, name, namespace))
    finally:
        os.environ.clear()
        os.environ.update(environment)
    return printed


def same_output(promised: str, printed: str) -> bool:
    """Whether a printed text is what the page promises; `…` in the promise matches anything within a line or more."""
    pattern = ".*?".join(re.escape(part) for part in promised.strip().split("…"))
    return re.fullmatch(pattern, printed.strip(), re.DOTALL) is not None


def _run(source: str, name: str, namespace: dict[str, object]) -> str:
    code = compile(source, name, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        # The examples are the project's own text; running them is what this module is for.
        outcome = eval(code, namespace)  # noqa: S307
        if inspect.iscoroutine(outcome):
            asyncio.run(outcome)
    return out.getvalue()
