"""The page of commands, made from the typer application itself."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from enum import Enum
from typing import Any

from rich.markup import render
from tests.markdown_page import page_stamp, page_table
from typer.core import TyperGroup

from isthmus.cli.output import EXIT_CODES


def commands_page(root: Any, name: str = "isthmus") -> str:
    """Every command with its arguments and options. `root` is `typer.main.get_command(app)`."""
    leaves = list(_leaves(root, name, None))
    lines = [
        page_stamp("the command itself (isthmus.cli)"),
        "# Commands",
        "",
        *([] if root.invoke_without_command else [_help(root), ""]),
        *page_table(("command", ""), ((f"`{path}`", _help(command).partition("\n")[0]) for path, command in leaves)),
        "",
    ]
    for path, command in leaves:
        lines += _section(path, command)
    return "\n".join([*lines, *_exit_codes()])


def _exit_codes() -> list[str]:
    rows = ((str(code), meaning) for code, meaning in EXIT_CODES.items())
    return ["## Exit codes", "", *page_table(("code", "meaning"), rows), ""]


def _leaves(command: Any, path: str, parent: Any) -> Iterator[tuple[str, Any]]:
    """(full name, command) of everything that can be run, in the order in which help shows it."""
    if not isinstance(command, TyperGroup):
        yield path, command
        return
    if command.invoke_without_command:
        yield path, command
    context = command.make_context(path, [], parent=parent, resilient_parsing=True)
    for name in command.list_commands(context):
        child = command.get_command(context, name)
        if child is not None and not child.hidden:
            yield from _leaves(child, f"{path} {name}", context)


def _section(path: str, command: Any) -> list[str]:
    shown = [param for param in command.params if not param.hidden and param.name != "help"]
    arguments = [param for param in shown if param.param_type_name == "argument"]
    options = [param for param in shown if param.param_type_name == "option"]
    usage = " ".join([path, *(_placeholder(param) for param in arguments), *(["[OPTIONS]"] if options else [])])
    rows = [(_spelling(param), _meaning(param)) for param in (*arguments, *options)]
    table = [*page_table(("", "meaning"), rows), ""] if rows else []
    return [f"## `{path}`", "", _help(command), "", "```text", usage, "```", "", *table]


def _placeholder(param: Any) -> str:
    word = (param.metavar or param.name).upper() + ("…" if param.nargs == -1 or param.multiple else "")
    return word if param.required else f"[{word}]"


def _spelling(param: Any) -> str:
    if param.param_type_name == "argument":
        return f"`{_placeholder(param)}`"
    spelling = ", ".join(f"`{option}`" for option in (*param.opts, *param.secondary_opts))
    return spelling if param.is_flag else f"{spelling} *{param.metavar or param.name}*"


def _meaning(param: Any) -> str:
    words = [_sentence(_unmarked(param.help or ""))]
    choices = param.type_descriptor.choices
    if choices:
        words.append("One of " + ", ".join(f"`{_plain(choice)}`" for choice in choices) + ".")
    if param.multiple:
        words.append("May be given several times.")
    if param.required and param.param_type_name == "option":
        words.append("Required.")
    default = param.default
    if default not in (None, False, "", (), []) and not callable(default) and not getattr(param, "is_flag", False):
        words.append(f"Default: `{_plain(default)}`.")
    if param.envvar:
        words.append(f"Also from `{param.envvar}`.")
    return " ".join(word for word in words if word)


def _help(command: Any) -> str:
    return _unmarked(inspect.cleandoc(command.help or ""))


def _unmarked(text: str) -> str:
    """Help without the terminal's markup (`[bold]…[/]`)."""
    return render(text).plain


def _sentence(text: str) -> str:
    return text if not text or text.endswith((".", "?", ")")) else f"{text}."


def _plain(value: object) -> str:
    return str(value.value) if isinstance(value, Enum) else str(value)
