"""`/v1/projects`: the workspaces of this hub, for keys with the scope `hub`.

A key belongs to one project, and everything else that it may do ends there. The scope `hub` alone reaches further: it
makes, changes and deletes projects, and gives a new one its first key. It opens nothing that is inside another project.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import msgspec
from litestar import Router, delete, get, patch, post
from litestar.params import FromPath, JSONBody, QueryParameter

from isthmus.api.access import Access, Ask, Scope, caller_of
from isthmus.api.administration import KeyView, key_view
from isthmus.api.finding import note
from isthmus.api.services import Services
from isthmus.api.shapes import Input, Text
from isthmus.kernel.failures import Conflict, InvalidInput
from isthmus.store import api_keys, project_contents, projects
from isthmus.store.project_contents import Contents
from isthmus.store.rows import Project

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=projects.NAME_CHARACTERS_MAX)]
Development = Annotated[
    bool,
    msgspec.Meta(
        description="Webhooks may lead to the hub's own machine and private networks. Needs a hub with "
        "ISTHMUS_DEVELOPMENT=1."
    ),
]


class FirstKey(Input, frozen=True, kw_only=True):
    """A new project's first key; with `admin` it makes the others."""

    name: Text = "first"
    scopes: Annotated[list[Scope], msgspec.Meta(min_length=1, max_length=6)] = msgspec.field(
        default_factory=lambda: [Scope.ADMIN]
    )


class NewProject(Input, frozen=True, kw_only=True):
    """A workspace for one product."""

    name: Name
    development: Development = False
    key: FirstKey = msgspec.field(default_factory=FirstKey)


class ProjectChange(Input, frozen=True, kw_only=True):
    """What is to be different; what is left out stays."""

    name: Name | msgspec.UnsetType = msgspec.UNSET
    development: Development | msgspec.UnsetType = msgspec.UNSET


class ProjectView(msgspec.Struct, frozen=True, kw_only=True):
    """A workspace. Everything that is stored belongs to one."""

    id: UUID
    name: str
    development: bool
    created_at: datetime


class ProjectList(msgspec.Struct, frozen=True, kw_only=True):
    """All projects of the hub, oldest first."""

    result: list[ProjectView]


class ShownProject(msgspec.Struct, frozen=True, kw_only=True):
    """A project and how much it holds, which is what deleting it would lose. Records are counted up to a million."""

    project: ProjectView
    contents: Contents


class CreatedProject(msgspec.Struct, frozen=True, kw_only=True):
    """The project and its first key, which is shown this once."""

    project: ProjectView
    key: KeyView
    secret: str


def project_routes(services: Services, access: Access) -> Router:
    """The routes."""
    return Router(
        "/projects",
        route_handlers=[*_looking(services, access), *_changing(services, access)],
        tags=["projects"],
    )


def _looking(services: Services, access: Access) -> list[Any]:
    @get("/", guards=[access.needs(Scope.HUB)], summary="List projects")
    async def list_projects(request: Ask) -> ProjectList:
        """Of the whole hub, whatever project the key belongs to."""
        return ProjectList(result=[_view(each) for each in await projects.every(services.db)])

    @get("/{project_id:uuid}", guards=[access.needs(Scope.HUB)], summary="Show a project")
    async def show_project(request: Ask, project_id: FromPath[UUID]) -> ShownProject:
        """With how much it holds, and nothing of what."""
        found = await projects.get(services.db, project_id)
        return ShownProject(project=_view(found), contents=await _contents(services, found))

    return [list_projects, show_project]


def _changing(services: Services, access: Access) -> list[Any]:
    @post("/", guards=[access.needs(Scope.HUB)], summary="Make a project")
    async def create_project(request: Ask, data: JSONBody[NewProject]) -> CreatedProject:
        """With its first key, whose `secret` is shown this once."""
        _check_kind(services, data.development)
        made = await projects.create(services.db, data.name, development=data.development)
        async with services.db.project(made.id) as tx:
            first = await api_keys.make(
                tx,
                name=data.key.name,
                scopes={scope.value for scope in data.key.scopes},
                development=made.development,
            )
            await note(tx, request, "project.create", made.id, name=made.name, key=first.key.name)
        return CreatedProject(project=_view(made), key=key_view(first.key), secret=first.text)

    @patch("/{project_id:uuid}", guards=[access.needs(Scope.HUB)], summary="Change a project")
    async def change_project(request: Ask, project_id: FromPath[UUID], data: JSONBody[ProjectChange]) -> ProjectView:
        """Its name, or its kind: deliveries obey from the next one on."""
        before = await projects.get(services.db, project_id)
        development = data.development if isinstance(data.development, bool) else None
        name = data.name if isinstance(data.name, str) else None
        _check_kind(services, development)
        if name is not None and name != before.name == services.settings.project:
            raise InvalidInput(
                f"“{before.name}” is named by this server's ISTHMUS_PROJECT.",
                remedy="Rename it by command on the server, together with that setting.",
                subject="name",
            )
        after = await projects.change(services.db, project_id, name=name, development=development)
        services.forget(project_id)
        async with services.db.project(project_id) as tx:
            await note(tx, request, "project.change", project_id, name=after.name, development=after.development)
        return _view(after)

    @delete("/{project_id:uuid}", status_code=200, guards=[access.needs(Scope.HUB)], summary="Delete a project")
    async def delete_project(
        request: Ask, project_id: FromPath[UUID], name: Annotated[str, QueryParameter(max_length=200)] = ""
    ) -> ShownProject:
        """For good, with everything in it, when its `name` is given; the answer tells what is gone. Without the name,
        and while a server or worker is started for it, nothing is deleted (409).
        """
        found = await projects.get(services.db, project_id)
        caller = caller_of(request)
        if caller.project_id == project_id:
            raise Conflict("A key cannot delete its own project.", remedy="Use a key of another project.")
        await project_contents.refuse_in_use(services.db, found)
        held = await _contents(services, found)
        if name != found.name:
            raise Conflict(
                f"Deleting “{found.name}” would lose: {held.words}.",
                remedy="Give its name to go on: DELETE /v1/projects/{project_id} with `name`.",
                subject="name",
            )
        await projects.delete(services.db, project_id)
        services.forget(project_id)
        async with services.db.project(caller.project_id) as tx:
            await note(tx, request, "project.delete", project_id, name=found.name, lost=held.words)
        return ShownProject(project=_view(found), contents=held)

    return [create_project, change_project, delete_project]


async def _contents(services: Services, project: Project) -> Contents:
    async with services.db.project(project.id) as tx:
        return await project_contents.contents(tx)


def _check_kind(services: Services, development: bool | None) -> None:
    """Raises InvalidInput for a development project on a hub that allows none."""
    if development and not services.settings.development:
        raise InvalidInput(
            "This hub allows no development projects.",
            remedy="Start its processes with ISTHMUS_DEVELOPMENT=1, or make a production project.",
            subject="development",
        )


def _view(project: Project) -> ProjectView:
    return ProjectView(id=project.id, name=project.name, development=project.development, created_at=project.created_at)
