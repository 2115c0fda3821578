"""Finds the commands that a text mentions and says what is wrong with them: no such command, no such option.

A mention is inline code that starts with `isthmus`, or a line of a fenced `console` block that does (after an optional
`$`). Words in capitals stand for something to fill in.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from typing import Any

from typer.core import TyperGroup

_INLINE = re.compile(r"(?<!`)`(isthmus(?: [^`\n]+)?)`(?!`)")
_CONSOLE = re.compile(r"```(?:console|sh|bash)\n(.*?)```", re.DOTALL)


def mentions(text: str) -> list[str]:
    """Every command line that the text shows."""
    lines = [line for block in _CONSOLE.findall(text) for line in _joined(block)]
    typed = [line.strip().removeprefix("$ ").partition("  #")[0].strip() for line in lines]
    return [*_INLINE.findall(text), *(line for line in typed if line == "isthmus" or line.startswith("isthmus "))]


def mistakes(root: Any, line: str) -> list[str]:
    """What the application (`typer.main.get_command(app)`) would not understand of a command line."""
    words = shlex.split(re.split(r"\s[|>&]+\s", line)[0])[1:]
    command, path = root, "isthmus"
    context = root.make_context(path, [], resilient_parsing=True)
    while words and isinstance(command, TyperGroup) and not words[0].startswith("-"):
        child = command.get_command(context, words[0])
        if child is None:
            return [f"{path} has no command {words[0]}"]
        path = f"{path} {words.pop(0)}"
        context = child.make_context(path, [], parent=context, resilient_parsing=True)
        command = child
    known = {"--help", *(option for param in command.params for option in (*param.opts, *param.secondary_opts))}
    given = [word.strip("[]").partition("=")[0] for word in words if re.match(r"\[?--?[a-z]", word)]
    return [f"{path} has no option {option}" for option in given if option not in known]


def _joined(block: str) -> Iterator[str]:
    yield from block.replace("\\\n", " ").splitlines()
