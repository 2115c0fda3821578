"""Settings → Approval: which writes wait for a person, in the whole project or in parts of it, and how long."""

from __future__ import annotations

from typing import Any, Final
from uuid import UUID

from litestar import Response, get, post
from litestar.params import FromPath
from litestar.response import Redirect
from litestar.types import ControllerRouterHandler

from isthmus.console.asking import errors_of
from isthmus.console.connections import COMMON
from isthmus.console.pages import status_here
from isthmus.console.visit import Visit, Visiting, may
from isthmus.kernel.failures import Failure, InvalidInput
from isthmus.store import approvals, connections, console_people, integrations
from isthmus.store.approvals import ApprovalRule

PATH: Final = "/console/settings/approval"
HOUR_S: Final = 3_600
HOURS_DEFAULT: Final = int(approvals.EXPIRES_S // HOUR_S)
HOURS_MAX: Final = int(approvals.EXPIRES_S_MAX // HOUR_S)
OBJECT_CHARACTERS_MAX: Final = 200


@get("/settings/approval")
async def rules_page(visit: Visiting) -> Response[str]:
    """The rules, the widest first."""
    return await _page(visit, {}, {})


@post("/settings/approval", status_code=200)
async def set_rule(visit: Visiting) -> Response[Any]:
    """Make or replace the rule for a part of the project; without a part it is the project's own."""
    typed = {name: visit.text(name) for name in ("required", "object", "connection", "integration", "hours")}
    try:
        rule = await _set(visit, typed)
    except Failure as failure:
        return await _page(visit, errors_of(failure, failure.subject or ""), typed, status=status_here(failure))
    detail = {"required": rule.required, "object": rule.object, "connection": str(rule.connection_id or "")}
    await visit.note("approvals.rule_set", str(rule.id), integration=str(rule.integration_id or ""), **detail)
    return visit.go(PATH, "saved")


@post("/settings/approval/{rule_id:uuid}/remove", status_code=303)
async def remove_rule(visit: Visiting, rule_id: FromPath[UUID]) -> Redirect:
    """The next wider rule holds again; what waits goes on waiting."""
    async with visit.services.db.project(visit.project.id) as tx:
        removed = await approvals.remove_rule(tx, rule_id)
    if removed:
        await visit.note("approvals.rule_removed", str(rule_id))
    return visit.go(PATH, "saved")


def whole_project(rules: list[ApprovalRule]) -> ApprovalRule | None:
    """The rule that names no part."""
    return next((rule for rule in rules if not _parts(rule)), None)


async def _set(visit: Visit, typed: dict[str, str]) -> ApprovalRule:
    """Raises InvalidInput, RecordNotFound."""
    hours = typed["hours"] or str(HOURS_DEFAULT)
    if not (hours.isascii() and hours.isdigit() and 1 <= int(hours[:6]) <= HOURS_MAX):
        raise InvalidInput(f"A write waits for 1 to {HOURS_MAX} hours.", subject="hours")
    if len(typed["object"]) > OBJECT_CHARACTERS_MAX:
        raise InvalidInput("That is no name of an object.", subject="object")
    connection = visit.uuid(typed["connection"]) if typed["connection"] else None
    integration = visit.uuid(typed["integration"]) if typed["integration"] else None
    async with visit.services.db.project(visit.project.id) as tx:
        if connection is not None:
            await connections.get(tx, connection)
        if integration is not None:
            await integrations.get(tx, integration)
        return await approvals.set_rule(
            tx,
            required=typed["required"] == "1",
            integration_id=integration,
            connection_id=connection,
            object=typed["object"] or None,
            expires_s=float(int(hours) * HOUR_S),
            by=visit.planner.name,
        )


def _parts(rule: ApprovalRule) -> int:
    """How narrow a rule is."""
    return sum(part is not None for part in (rule.object, rule.connection_id, rule.integration_id))


async def _alone(visit: Visit) -> bool:
    """True when nobody but this person could approve anything in the console."""
    people = await console_people.every(visit.services.db)
    return visit.may("operator") and sum(may(each.role, "operator") for each in people) < 2


async def _page(visit: Visit, errors: dict[str, str], typed: dict[str, str], *, status: int = 200) -> Response[str]:
    async with visit.services.db.project(visit.project.id) as tx:
        rules = await approvals.rules(tx)
        waiting = await approvals.count_waiting(tx)
        places = {each.id: each.name for each in await connections.every(tx)}
        origins = {each.id: each.name for each in await integrations.every(tx)}
    whole = whole_project(rules)
    return await visit.page(
        "approval.html",
        status=status,
        whole=whole is not None and whole.required,
        rules=sorted(rules, key=_parts),
        alone=await _alone(visit),
        waiting=waiting,
        places=places,
        origins=origins,
        connections=[("", "every connection"), *((str(key), name) for key, name in places.items())],
        integrations=[("", "every integration"), *((str(key), name) for key, name in origins.items())],
        objects=COMMON,
        hours_default=HOURS_DEFAULT,
        hour_s=HOUR_S,
        typed={"required": "1", "hours": str(HOURS_DEFAULT), **typed},
        errors=errors,
    )


HANDLERS: Final[list[ControllerRouterHandler]] = [rules_page, set_rule, remove_rule]
