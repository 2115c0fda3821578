"""Which writes wait for a person: of the project, an integration or a connection, and of single objects there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from isthmus.configuration.ground import Ground
from isthmus.configuration.loading import Loaded
from isthmus.configuration.shape import ConnectionPart, IntegrationPart, ProjectPart
from isthmus.configuration.steps import Shown, Sign, Step, differences
from isthmus.store import approvals, connections, integrations
from isthmus.store.approvals import ApprovalRule

_HOUR_S: Final = 3_600.0
_BY: Final = "isthmus.yaml"
_ACT: Final = "approval_rule.set"


@dataclass(frozen=True, kw_only=True)
class _Part:
    """A part of the project with rules of its own. An integration that a step before makes has no id yet."""

    name: str
    rules: Sequence[ApprovalRule]
    integration: str | None = None
    connection_id: UUID | None = None

    def rule(self, object_name: str | None) -> ApprovalRule | None:
        """The rule for everything here, or for one object."""
        wanted = object_name and object_name.casefold()
        return next((each for each in self.rules if (each.object and each.object.casefold()) == wanted), None)


async def plan_approvals(ground: Ground, loaded: Loaded) -> list[Step]:
    """The steps where the file says something about approvals. Runs after the integrations' steps."""
    configuration, steps = loaded.configuration, []
    async with ground.db.project(ground.project.id) as tx:
        rules = await approvals.rules(tx)
        connection_ids = {each.name: each.id for each in await connections.every(tx)}
        integration_ids = {each.name: each.id for each in await integrations.every(tx)}
    if isinstance(configuration.project, ProjectPart):
        whole = _Part(name=ground.project.name, rules=_rules_of(rules))
        steps += _of_project(ground, whole, configuration.project)
        steps += _of_objects(ground, whole, configuration.project)
    for name, part in (configuration.integrations if isinstance(configuration.integrations, dict) else {}).items():
        known = integration_ids.get(name) or integration_ids.get(str(part.was))
        here = _rules_of(rules, integration_id=known) if known else []
        steps += _of_part(ground, _Part(name=f"integration {name}", rules=here, integration=name), part)
    for name, each in (configuration.connections if isinstance(configuration.connections, dict) else {}).items():
        wanted = connection_ids.get(name)
        here = _rules_of(rules, connection_id=wanted) if wanted else []
        steps += _of_part(ground, _Part(name=f"connection {name}", rules=here, connection_id=wanted), each)
    return steps


def _rules_of(
    rules: Sequence[ApprovalRule], *, integration_id: UUID | None = None, connection_id: UUID | None = None
) -> list[ApprovalRule]:
    return [each for each in rules if (each.integration_id, each.connection_id) == (integration_id, connection_id)]


def _of_project(ground: Ground, whole: _Part, part: ProjectPart) -> list[Step]:
    """The project's own rule: whether writes wait, and for how long."""
    rule = whole.rule(None)
    before = bool(rule and rule.required)
    after = part.require_approval if isinstance(part.require_approval, bool) else before
    kept_s = rule.expires_s if rule else approvals.EXPIRES_S
    hours = part.approval_expires_hours
    waits_s = hours * _HOUR_S if isinstance(hours, int) else kept_s
    found = differences(
        [
            ("require_approval", before, after),
            ("approval_expires_hours", f"{kept_s / _HOUR_S:g}", f"{waits_s / _HOUR_S:g}"),
        ]
    )
    if not found:
        return []

    async def perform() -> Sequence[Shown]:
        async with ground.db.project(ground.project.id) as tx:
            await approvals.set_rule(tx, required=after, expires_s=waits_s, by=_BY)
        return []

    return [Step(sign=Sign.CHANGE, kind="project", name=whole.name, act=_ACT, perform=perform, differences=found)]


def _of_part(ground: Ground, here: _Part, part: IntegrationPart | ConnectionPart) -> list[Step]:
    steps = _of_objects(ground, here, part)
    if isinstance(part.require_approval, bool):
        return [*_set(ground, here, None, part.require_approval), *steps]
    return steps


def _of_objects(ground: Ground, here: _Part, part: ProjectPart | IntegrationPart | ConnectionPart) -> list[Step]:
    """Rules of single objects; the file names them all, once it names one."""
    wanted = part.writes_wait
    if not isinstance(wanted, dict):
        return []
    steps = [step for name, required in wanted.items() for step in _set(ground, here, name, required)]
    named = {name.casefold() for name in wanted}
    return steps + [
        _gone(ground, here, each) for each in here.rules if each.object and each.object.casefold() not in named
    ]


def _set(ground: Ground, here: _Part, object_name: str | None, required: bool) -> list[Step]:
    rule = here.rule(object_name)
    found = differences([("require_approval", rule.required if rule else None, required)])
    if not found:
        return []

    async def perform() -> Sequence[Shown]:
        async with ground.db.project(ground.project.id) as tx:
            row = await integrations.named(tx, here.integration) if here.integration is not None else None
            await approvals.set_rule(
                tx,
                required=required,
                integration_id=row.id if row else None,
                connection_id=here.connection_id,
                object=object_name,
                expires_s=rule.expires_s if rule else approvals.EXPIRES_S,
                by=_BY,
            )
        return []

    name = here.name if object_name is None else f"{here.name} {object_name}"
    return [Step(sign=Sign.CHANGE, kind="approval", name=name, act=_ACT, perform=perform, differences=found)]


def _gone(ground: Ground, here: _Part, rule: ApprovalRule) -> Step:
    async def perform() -> Sequence[Shown]:
        async with ground.db.project(ground.project.id) as tx:
            await approvals.remove_rule(tx, rule.id)
        return []

    waits = "wait" if rule.required else "do not wait"
    return Step(
        sign=Sign.REMOVE,
        kind="approval",
        name=f"{here.name} {rule.object}",
        act="approvals.rule_removed",
        perform=perform,
        loses=f"the rule that writes to {rule.object} {waits} for a person",
        unnamed=True,
    )
