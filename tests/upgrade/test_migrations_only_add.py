"""Migrations run while older code is at work, so they only add; what takes away or narrows says why that code goes on.

The note is a comment right above the statement, `-- older code: …`. What older code would not survive is a contract
migration (`migrations/contract`), which waits until that code has left.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib import resources
from typing import Final

import msgspec
import pytest

MIGRATIONS: Final = {
    path.name: path.read_text(encoding="utf-8")
    for path in sorted(resources.files("isthmus.store.migrations.versions").iterdir(), key=lambda path: path.name)
    if path.name.endswith(".sql")
}

_TOKEN: Final = re.compile(r"--[^\n]*|'(?:[^']|'')*'|(\$\w*\$).*?\1|;|[^;'$-]+|.", re.DOTALL)
_CREATED: Final = re.compile(r"\bcreate table (?:if not exists )?(\w+)", re.IGNORECASE)
_UNIQUE_ON: Final = re.compile(r"\bcreate unique index (?:\w+ )?on (\w+)", re.IGNORECASE)
_ALTERED: Final = re.compile(r"\balter table (?:only )?(\w+)", re.IGNORECASE)
_TAKES_AWAY: Final = re.compile(
    r"\b(?:drop (?!not null|default)\w+|rename|set not null|set data type|alter column \w+ type|revoke|truncate)\b",
    re.IGNORECASE,
)
_ADDED: Final = re.compile(r"\badd (?:column )?(?!column)(.*?)(?=, *add |, *alter |;|$)", re.IGNORECASE | re.DOTALL)
_NARROWS: Final = re.compile(r"^(?:constraint|check|unique|primary key|foreign key|exclude)\b", re.IGNORECASE)
NOTE: Final = re.compile(r"^-- older code: \S.{20,}$", re.MULTILINE)


class Statement(msgspec.Struct, frozen=True):
    """One statement with the comments above it; `text` on one line, without comments."""

    text: str
    comments: str


def statements(script: str) -> Iterator[Statement]:
    """Cut a script; quoted text and bodies of functions stay whole."""
    text: list[str] = []
    comments: list[str] = []
    for token in (found.group() for found in _TOKEN.finditer(script)):
        if token.startswith("--"):
            comments.append(token)
        elif token == ";":
            yield Statement(" ".join("".join(text).split()), "\n".join(comments))
            text, comments = [], []
        else:
            text.append(token)


def dangers(script: str) -> list[str]:
    """What older code may not survive, and no note explains."""
    own: set[str] = set()
    found = []
    for each in statements(script):
        own |= {name.lower() for name in _CREATED.findall(each.text)}
        if _dangerous(each.text, own) and not NOTE.search(each.comments):
            found.append(each.text[:100])
    return found


def _dangerous(text: str, own: set[str]) -> bool:
    if text.lower().startswith("comment on "):
        return False
    if any(name.lower() not in own for name in _UNIQUE_ON.findall(text)):
        return True
    tables = {name.lower() for name in _ALTERED.findall(text)}
    if tables and tables <= own:
        return False
    if _TAKES_AWAY.search(text):
        return True
    return bool(tables) and any(_refuses(part) for part in _ADDED.findall(text))


def _refuses(added: str) -> bool:
    """A constraint, or a column that has to be filled by code that does not know it."""
    needed = re.search(r"\bnot null\b", added, re.IGNORECASE) and not re.search(r"\bdefault\b", added, re.IGNORECASE)
    return bool(_NARROWS.search(added.strip()) or needed)


@pytest.mark.parametrize("name", list(MIGRATIONS)[1:])  # before the first there was no older code
def test_a_migration_takes_nothing_away_from_older_code_without_saying_why_it_goes_on(name: str) -> None:
    assert dangers(MIGRATIONS[name]) == []


@pytest.mark.parametrize(
    "statement",
    [
        "ALTER TABLE runs DROP COLUMN total",
        "ALTER TABLE runs\n    DROP CONSTRAINT runs_state_check",
        "DROP TABLE runs",
        "DROP INDEX CONCURRENTLY runs_place",
        "ALTER TABLE runs RENAME COLUMN total TO sum",
        "ALTER TABLE runs RENAME TO reads",
        "ALTER TABLE runs ALTER COLUMN total SET NOT NULL",
        "ALTER TABLE runs ALTER COLUMN total TYPE integer",
        "ALTER TABLE runs ADD COLUMN more text NOT NULL",
        "ALTER TABLE runs ADD COLUMN one text, ADD COLUMN more text NOT NULL",
        "ALTER TABLE runs ADD CONSTRAINT few CHECK (total < 5)",
        "ALTER TABLE runs ADD CHECK (total < 5)",
        "CREATE UNIQUE INDEX runs_total ON runs (total)",
        "REVOKE INSERT ON runs FROM isthmus_app",
        "TRUNCATE runs",
        "DO $$ BEGIN EXECUTE 'ALTER TABLE runs DROP COLUMN total'; END $$",
    ],
)
def test_what_older_code_would_not_survive_is_found_unless_a_note_is_right_above_it(statement: str) -> None:
    assert len(dangers(f"CREATE TABLE things (id uuid);\n{statement};\n")) == 1
    assert dangers(f"-- older code: has never read this column, nor written it.\n{statement};\n") == []
    far = f"-- older code: has never read this column, nor written it.\nCREATE TABLE other (id uuid);\n{statement};\n"
    assert len(dangers(far)) == 1, "the note belongs to another statement"
    assert len(dangers(f"-- older code: fine\n{statement};\n")) == 1, "that is no reason"


@pytest.mark.parametrize(
    "script",
    [
        "CREATE TABLE things (id uuid PRIMARY KEY, n integer NOT NULL CHECK (n > 0), UNIQUE (n));",
        "CREATE TABLE things (id uuid); CREATE UNIQUE INDEX ON things (id); ALTER TABLE things ADD CHECK (true);",
        "ALTER TABLE runs ADD COLUMN notes jsonb NOT NULL DEFAULT '{}', ADD COLUMN word text;",
        "ALTER TABLE runs ALTER COLUMN total DROP NOT NULL;",
        "-- nothing is dropped here; DROP TABLE runs\nCOMMENT ON TABLE runs IS 'never DROP TABLE this';",
    ],
)
def test_what_only_adds_needs_no_note(script: str) -> None:
    assert dangers(script) == []
