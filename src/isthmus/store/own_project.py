"""The project that a process works on, chosen by its name before anything is served.

What is told here is told at a terminal: nobody else is there yet.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Final

from isthmus.kernel.failures import ConfigurationFailure
from isthmus.store import projects
from isthmus.store.database import Database
from isthmus.store.rows import Project

FEW: Final = 5
"""So many names are told when none is near."""


async def begin(db: Database, name: str, *, development: bool = False) -> Project:
    """The project that a process shall work on. Of a database that has none, the first one is made by this.

    Raises ConfigurationFailure for a name that no project has: a slip of the pen makes no project.
    """
    found = await projects.named(db, name)
    if found is not None:
        return found
    async with db.system() as tx:  # processes that start at once agree on who is the first
        await tx.execute("SELECT pg_advisory_xact_lock(hashtextextended('isthmus first project', 0))")
        found = await projects.named_in(tx, name)
        if found is not None:
            return found
        names = [
            str(each) for (each,) in await tx.tuples("SELECT name FROM projects LIMIT %s", (projects.PROJECTS_MAX,))
        ]
        if not names:
            return await projects.insert(tx, projects.usable_name(name), development=development)
    raise _unknown(name, names)


def _unknown(name: str, names: Sequence[str]) -> ConfigurationFailure:
    near = get_close_matches(name, names, 1)
    several = ", ".join(sorted(names)[:FEW]) + (", …" if len(names) > FEW else "")
    meant = near[0] if near else several
    return ConfigurationFailure(
        f"There is no project “{name}” here.",
        remedy=f"Set ISTHMUS_PROJECT to {meant}, or make the project: isthmus projects create {shlex.quote(name)}",
        nearest=near,
        subject=name,
    )
