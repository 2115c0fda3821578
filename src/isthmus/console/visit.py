"""One request of a signed-in person: who, in which project, and the ways to answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlencode
from uuid import UUID

from litestar import Request, Response
from litestar.datastructures import FormMultiDict
from litestar.di import NamedDependency
from litestar.params import SkipValidation
from litestar.response import Redirect

from isthmus.console.pages import Theme, html, render
from isthmus.console.services import Services, Workspace
from isthmus.console.words import NOTICES
from isthmus.kernel.failures import InvalidInput
from isthmus.store import audit, projects
from isthmus.store.console_people import SignedIn
from isthmus.store.operations import Planner
from isthmus.store.paused import paused
from isthmus.store.rows import Project

ROLES: Final = ("viewer", "operator", "admin")
"""Each may do what the one before may: look; run, retry and pause; connect, delete and invite."""

TEXT_CHARACTERS_MAX: Final = 4_000

Plain = Request[Any, Any, Any]


class Visit:
    """Who asks, in which project, and how to answer. Made once per request, after it has been admitted."""

    def __init__(self, services: Services, here: Workspace, request: Plain, who: SignedIn, csrf: str) -> None:
        self.services = services
        self.here = here
        self._project = here.project
        self.request = request
        self.who = who
        self.csrf = csrf
        self.form: Mapping[str, str] = {}
        self.lists: Mapping[str, list[str]] = {}

    @property
    def project(self) -> Project:
        """The project whose pages are shown."""
        return self._project

    @property
    def planner(self) -> Planner:
        """How operations and approvals name the person."""
        return Planner(name=f"user:{self.who.name}")

    @property
    def author(self) -> audit.Author:
        """How the audit log names the person."""
        return audit.Author(actor=f"user:{self.who.name}")

    @property
    def query(self) -> Mapping[str, str]:
        """The address's parameters, each bounded."""
        return {name: value[:TEXT_CHARACTERS_MAX] for name, value in self.request.query_params.items()}

    def may(self, role: str) -> bool:
        """True when the person has this role or a higher one."""
        return may(self.who.role, role)

    def take(self, form: FormMultiDict) -> None:
        """Keep what was sent, bounded: text only, several values of a name as a list."""
        lists: dict[str, list[str]] = {}
        for name, value in form.multi_items():
            if isinstance(value, str):
                lists.setdefault(name, []).append(value[: 4 * TEXT_CHARACTERS_MAX])
        self.lists = lists
        self.form = {name: values[-1] for name, values in lists.items()}

    def text(self, name: str) -> str:
        """A field of the form without blanks around it."""
        return self.form.get(name, "").strip()

    def uuid(self, text: str) -> UUID:
        """An id out of an address or a form. Raises InvalidInput."""
        try:
            return UUID(text)
        except ValueError as error:
            raise InvalidInput("That is not an id.", remedy="Go back and follow a link of the page.") from error

    async def note(self, action: str, subject: str, **detail: Any) -> None:
        """Write an act into the audit log. `detail` never holds a secret."""
        async with self.services.db.project(self.project.id) as tx:
            await audit.note(tx, actor=f"user:{self.who.name}", action=action, subject=subject, detail=detail)

    async def page(self, template: str, *, status: int = 200, **values: Any) -> Response[str]:
        """A page inside the frame."""
        notice = NOTICES.get(self.request.query_params.get("notice", ""))
        every = await projects.every(self.services.db)
        async with self.services.db.unscoped() as tx:
            stopped = sorted(await paused(tx))
        self._project = next((each for each in every if each.id == self._project.id), self._project)
        values |= {name: Blanks(values[name]) for name in ("errors", "typed") if name in values}
        return html(
            render(
                template,
                visit=self,
                csrf=self.csrf,
                path=self.request.url.path,
                notice=notice,
                projects=every,
                stopped=stopped,
                theme=Theme.of(self.request),
                development=self._project.development,
                **values,
            ),
            status=status,
        )

    def go(self, path: str, notice: str = "", **parameters: str) -> Redirect:
        """On to another page after an act, which may say what was done."""
        given = {**parameters, **({"notice": notice} if notice else {})}
        query = f"?{urlencode(given)}" if given else ""
        return Redirect(path=f"{path}{query}", status_code=303)


class Blanks(dict[str, str]):
    """Fields of a form, or what is wrong with them: one that is not there is empty."""

    def __missing__(self, name: str) -> str:
        return ""


def may(role: str, needed: str) -> bool:
    """True when `role` reaches `needed`."""
    return role in ROLES and ROLES.index(role) >= ROLES.index(needed)


Visiting = NamedDependency[SkipValidation[Visit]]
"""How a page asks for the visit."""
