"""Settings → Projects: the workspaces of this hub, another one, their kind, and deleting one."""

from __future__ import annotations

from typing import Any, Final
from uuid import UUID

from litestar import Response, get, post
from litestar.params import FromPath
from litestar.types import ControllerRouterHandler

from isthmus.console.asking import errors_of
from isthmus.console.pages import status_here
from isthmus.console.sessions import SESSION_COOKIE, hashed
from isthmus.console.visit import Visit, Visiting
from isthmus.kernel.failures import Failure
from isthmus.store import audit, console_people, project_contents, projects
from isthmus.store.rows import Project

PATH: Final = "/console/settings/projects"
KINDS: Final = ("production", "development")


@get("/settings/projects", opt={"role": "admin"})
async def projects_page(visit: Visiting) -> Response[str]:
    """All projects, and the form for another."""
    return await _page(visit)


@post("/settings/projects", status_code=200)
async def make_project(visit: Visiting) -> Response[Any]:
    """Make a project and go there: its first key comes next."""
    name, kind = visit.text("name"), visit.text("kind") or KINDS[0]
    if kind not in _kinds(visit):
        return await _page(visit, {"kind": "This hub allows no development projects."}, name=name, status=422)
    try:
        made = await projects.create(visit.services.db, name, development=kind == "development")
    except Failure as failure:
        return await _page(visit, errors_of(failure, "name"), name=name, kind=kind, status=status_here(failure))
    await _note(visit, made, "project.create", kind=kind)
    token = visit.request.cookies.get(SESSION_COOKIE, "")
    await console_people.choose_project(visit.services.db, hashed(token), made.id)
    return visit.go("/console/settings/keys", "project-made")


@post("/settings/projects/{project_id:uuid}/kind", status_code=200)
async def change_kind(visit: Visiting, project_id: FromPath[UUID]) -> Response[Any]:
    """Production or development; deliveries obey from the next one on."""
    kind = visit.text("kind")
    if kind not in _kinds(visit):
        return await _page(visit, {"": "This hub allows no development projects."}, status=422)
    changed = await projects.change(visit.services.db, project_id, development=kind == "development")
    visit.services.forget(project_id)
    await _note(visit, changed, "project.change", kind=kind)
    return visit.go(PATH, "saved")


@get("/settings/projects/{project_id:uuid}", opt={"role": "admin"})
async def project_page(visit: Visiting, project_id: FromPath[UUID]) -> Response[str]:
    """One project: what deleting it would lose."""
    return await _one(visit, await projects.get(visit.services.db, project_id))


@post("/settings/projects/{project_id:uuid}/delete", status_code=200)
async def delete_project(visit: Visiting, project_id: FromPath[UUID]) -> Response[Any]:
    """Delete it for good, when its name was typed and nothing works for it."""
    project = await projects.get(visit.services.db, project_id)
    if visit.text("confirm") != project.name:
        return await _one(visit, project, {"confirm": f"Type exactly “{project.name}”"}, status=422)
    if project.id == visit.project.id:
        return await _one(visit, project, {"confirm": "You are in this project: switch to another one first."}, 422)
    try:
        await project_contents.refuse_in_use(visit.services.db, project)
    except Failure as failure:
        return await _one(visit, project, errors_of(failure, "confirm"), status=409)
    async with visit.services.db.project(project.id) as tx:
        held = await project_contents.contents(tx)
    await projects.delete(visit.services.db, project.id)
    visit.services.forget(project.id)
    await visit.note("project.delete", str(project.id), name=project.name, lost=held.words)
    return visit.go(PATH, "project-deleted")


async def _note(visit: Visit, project: Project, action: str, **detail: str) -> None:
    """Write an act into the audit log of the project that it is about."""
    async with visit.services.db.project(project.id) as tx:
        await audit.note(tx, actor=f"user:{visit.who.name}", action=action, subject=project.name, detail=detail)


def _kinds(visit: Visit) -> tuple[str, ...]:
    """The kinds that there may be on this hub."""
    return KINDS if visit.services.settings.development else KINDS[:1]


async def _one(
    visit: Visit, project: Project, errors: dict[str, str] | None = None, status: int = 200
) -> Response[str]:
    async with visit.services.db.project(project.id) as tx:
        held = await project_contents.contents(tx)
    return await visit.page(
        "project.html",
        status=status,
        shown=project,
        losses=held.words if held.words != "nothing" else "",
        errors=errors or {},
    )


async def _page(
    visit: Visit, errors: dict[str, str] | None = None, *, name: str = "", kind: str = "", status: int = 200
) -> Response[str]:
    return await visit.page(
        "projects.html", status=status, errors=errors or {}, typed={"name": name, "kind": kind}, kinds=_kinds(visit)
    )


HANDLERS: Final[list[ControllerRouterHandler]] = [
    projects_page,
    make_project,
    change_kind,
    project_page,
    delete_project,
]
