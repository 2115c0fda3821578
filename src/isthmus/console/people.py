"""Settings → People: who may sign in, inviting somebody, taking access away."""

from __future__ import annotations

from typing import Any, Final
from uuid import UUID

from litestar import Response, get, post
from litestar.params import FromPath
from litestar.types import ControllerRouterHandler

from isthmus.console.sessions import INVITATION_HOURS, hashed, new_token
from isthmus.console.visit import ROLES, Visit, Visiting
from isthmus.store import console_people


@get("/settings/people", opt={"role": "admin"})
async def people_page(visit: Visiting) -> Response[str]:
    """Everybody, and the invitation form."""
    return await _page(visit, {})


@post("/settings/people/invite", status_code=200)
async def invite(visit: Visiting) -> Response[Any]:
    """A one-time link for a role, shown this once."""
    role = visit.text("role")
    if role not in ROLES:
        return await _page(visit, {"role": "Choose a role."}, status=422)
    token = new_token()
    await console_people.invite(visit.services.db, hashed(token), role, INVITATION_HOURS)
    await visit.note("person.invited", role)
    return await _page(visit, {}, link=f"{visit.services.public_url}/console/welcome/{token}", role=role)


@post("/settings/people/{person_id:uuid}/role", status_code=200)
async def change_role(visit: Visiting, person_id: FromPath[UUID]) -> Response[Any]:
    """Another role, from that person's next click on; the last administrator stays one."""
    role = visit.text("role")
    person = await console_people.by_id(visit.services.db, person_id)
    if person is None:
        return visit.go("/console/settings/people")
    if role not in ROLES:
        return await _page(visit, {"": "Choose a role."}, status=422)
    if not await console_people.set_role(visit.services.db, person_id, role):
        return await _page(visit, {"": "The last administrator stays one: invite another first."}, status=422)
    await visit.note("person.role_changed", person.name, before=person.role, role=role)
    here = person_id == visit.who.person_id and role != "admin"
    return visit.go("/console/settings" if here else "/console/settings/people", "saved")


@post("/settings/people/{person_id:uuid}/remove", status_code=200)
async def remove(visit: Visiting, person_id: FromPath[UUID]) -> Response[Any]:
    """End somebody's access, sessions included; the last administrator stays."""
    everybody = await console_people.every(visit.services.db)
    person = next((each for each in everybody if each.id == person_id), None)
    if person is None:
        return visit.go("/console/settings/people")
    if not await console_people.remove(visit.services.db, person_id):
        return await _page(visit, {"": "The last administrator stays: invite another one first."}, status=422)
    await visit.note("person.removed", person.name, role=person.role)
    return visit.go("/console/settings/people", "person-removed")


async def _page(
    visit: Visit, errors: dict[str, str], *, status: int = 200, link: str = "", role: str = ""
) -> Response[str]:
    return await visit.page(
        "people.html",
        status=status,
        everybody=await console_people.every(visit.services.db),
        errors=errors,
        link=link,
        role=role,
        roles=ROLES,
        provider=visit.services.settings.oidc,
    )


HANDLERS: Final[list[ControllerRouterHandler]] = [people_page, invite, change_role, remove]
