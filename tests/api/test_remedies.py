"""Every surface tells what to do in its own language: an answer of the API never asks its caller to type a command."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import typer
from tests.api_server import Served
from tests.docs.mentioned_commands import mentions, mistakes

from isthmus.api import remedies as api
from isthmus.api.problems import problem_of
from isthmus.api.shapes import failure_view
from isthmus.cli import remedies as command_line
from isthmus.cli.commands import build_app
from isthmus.kernel import failures
from isthmus.kernel.failures import Failure, UnknownObject, every_failure

SOURCE = Path(failures.__file__).resolve().parents[2]
OWN = [cls for cls in every_failure() if cls.__module__.startswith(failures.__name__)]
ROOT: Any = typer.main.get_command(build_app())
COMMAND = re.compile(rf"\bisthmus ({'|'.join(sorted(ROOT.commands))})\b")
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]+\b")
ADDRESS = re.compile(r"\b(GET|POST|PUT|PATCH|DELETE) (/v1/[\w{}/-]+)")

AT_A_TERMINAL = {
    "cli": "the command line itself",
    "configuration": "a file is validated, planned and applied by command alone",
    "client/sandbox.py": "looks for the sandbox of this folder, which a command starts",
    "settings.py": "what a process is started with",
    "settings_oidc.py": "what a process is started with",
    "store/backup.py": "backups are made by command alone",
    "store/own_project.py": "a process's project is chosen before it serves",
    "store/migrate.py": "before a process begins to serve",
    "store/restoring.py": "restores are made by command alone",
    "store/wheel.py": "before a process begins to serve",
    "vault/masters.py": "rotated by command alone",
    "api/openapi_words.py": "the description says how the first key is made, which no key can do",
}
"""Rooms and modules whose texts no answer of the API carries, with the reason."""


def texts(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Every text of a module but its docstrings, with its line."""
    silent = {
        id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in silent:
            yield node.lineno, node.value


def reachable() -> list[Path]:
    """The modules whose texts may reach an answer of the API."""
    outside = [SOURCE / name for name in AT_A_TERMINAL]
    return [each for each in sorted(SOURCE.rglob("*.py")) if not any(each.is_relative_to(place) for place in outside)]


@pytest.mark.parametrize("cls", OWN, ids=lambda cls: cls.__name__)
def test_an_answer_about_a_failure_names_no_command(cls: type[Failure]) -> None:
    failure = cls()
    for view in (problem_of(failure), failure_view(failure), failure_view(failure.to_dict())):
        remedy = msgspec.to_builtins(view)["remedy"]
        assert remedy
        assert not COMMAND.search(remedy)
        assert not OPTION.search(remedy)


def test_no_text_below_the_api_names_a_command() -> None:
    """Remedies that are sharpened for a case are written where the case is known: they are read from the source."""
    wrong = [
        f"{file.relative_to(SOURCE)}:{line}: {text}"
        for file in reachable()
        for line, text in texts(ast.parse(file.read_text(encoding="utf-8")))
        if COMMAND.search(text)
    ]
    assert wrong == []


def test_no_remedy_below_the_api_names_an_option_of_a_command() -> None:
    wrong = [
        f"{file.relative_to(SOURCE)}:{node.lineno}: {text}"
        for file in reachable()
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.keyword) and node.arg == "remedy"
        for _, text in texts(node)
        if OPTION.search(text)
    ]
    assert wrong == []


def test_the_places_that_are_left_out_exist() -> None:
    assert [name for name in AT_A_TERMINAL if not (SOURCE / name).exists()] == []


async def test_every_address_that_a_text_names_is_one_of_the_api(served: Served) -> None:
    paths = (await (await served.client()).get("/openapi.json")).json()["paths"]
    known = {(verb.upper(), shape_of(path)) for path, verbs in paths.items() for verb in verbs}
    named = {
        (verb, path): file.relative_to(SOURCE).as_posix()
        for file in reachable()
        for _, text in texts(ast.parse(file.read_text(encoding="utf-8")))
        for verb, path in ADDRESS.findall(text)
    }
    assert any(place == "api/remedies.py" for place in named.values())
    assert {each: place for each, place in named.items() if (each[0], shape_of(each[1])) not in known} == {}


def shape_of(path: str) -> str:
    """An address whatever its parameters are called."""
    return re.sub(r"\{[^}]*\}", "{}", path).rstrip("/")


@pytest.mark.parametrize("words", [api.WORDS, command_line.WORDS], ids=["api", "command line"])
def test_a_surface_has_words_only_for_remedies_that_it_can_replace(words: dict[type[Failure], str]) -> None:
    for cls, text in words.items():
        assert failures.remedy_in(words, cls.code, cls.remedy_default) == text
        assert failures.remedy_in(words, cls.code, "Look again.") == "Look again."


def test_what_the_command_line_says_can_be_typed() -> None:
    lines = [line for text in command_line.WORDS.values() for line in mentions(text)]
    assert len(lines) >= len(command_line.WORDS)
    assert [mistake for line in lines for mistake in mistakes(ROOT, line)] == []


def test_a_class_below_takes_the_words_of_the_class_whose_remedy_it_has() -> None:
    words: dict[type[Failure], str] = {failures.RequestFailure: "Send another one."}
    assert failures.remedy_in(words, "bad_request", failures.BadRequest().remedy) == "Send another one."
    assert failures.remedy_in(words, "unknown_object", UnknownObject().remedy) == UnknownObject().remedy
    assert failures.remedy_in(words, "no_such_code", "Stay.") == "Stay."


async def test_a_refusal_tells_its_caller_what_to_call(served: Served) -> None:
    client = await served.client()
    connection = await served.connect(client)
    refused = await client.get(f"/v1/connections/{connection['id']}/objects/custmers")
    assert refused.status_code == 404
    assert refused.json()["remedy"] == "GET /v1/connections/{connection_id}/objects lists what this environment offers."
    nobody = await (await served.bearing(None)).get("/v1/connections")
    assert "POST /v1/keys" in nobody.json()["remedy"]
