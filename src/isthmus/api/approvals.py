"""`/v1/approvals`: writes that wait for a person, and the rules that say which do."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final
from uuid import UUID

import msgspec
from litestar import Response, Router, delete, get, post, put
from litestar.params import FromPath, JSONBody

from isthmus.api.access import Access, Ask, Scope, project_of
from isthmus.api.finding import note, one
from isthmus.api.operation_shapes import (
    OperationPage,
    OperationProblem,
    OperationView,
    ProposalView,
    operation_view,
    proposal_view,
)
from isthmus.api.paging import Cursor, Limit, ends, place
from isthmus.api.services import Services
from isthmus.api.shapes import Input, Text
from isthmus.api.write_answers import Preference, answered, patience_of, planner_of
from isthmus.kernel.failures import RecordNotFound
from isthmus.store import approvals, connections, listing, operations
from isthmus.store.approvals import EXPIRES_S, EXPIRES_S_MAX, REASON_CHARACTERS_MAX, ApprovalRule
from isthmus.store.operations import Operation, OperationState

EXPIRES_S_MIN: Final = 60


class Approval(Input, frozen=True, kw_only=True):
    """A yes. `digest` is that of the proposal which was looked at; without it the stored one is meant."""

    digest: Text | None = None


class Refusal(Input, frozen=True, kw_only=True):
    """A no, with the reason for whoever planned it."""

    reason: Annotated[str, msgspec.Meta(min_length=1, max_length=REASON_CHARACTERS_MAX)]


class NewRule(Input, frozen=True, kw_only=True):
    """Which writes wait. Without `integration`, `connection` and `object` it is the project's own rule."""

    required: bool
    integration: UUID | None = None
    connection: UUID | None = None
    object: Text | None = None
    expires_s: Annotated[
        float, msgspec.Meta(ge=EXPIRES_S_MIN, le=EXPIRES_S_MAX, description="How long a write waits.")
    ] = EXPIRES_S


class RuleView(msgspec.Struct, frozen=True, kw_only=True):
    """A rule; the one that names most holds: an object, then a connection, then an integration."""

    id: UUID
    required: bool
    integration: UUID | None
    connection: UUID | None
    object: str | None
    expires_s: float
    changed_by: str
    changed_at: datetime


class RuleList(msgspec.Struct, frozen=True, kw_only=True):
    """The project's rules. Without any, nothing waits."""

    result: list[RuleView]


class WaitingView(msgspec.Struct, frozen=True, kw_only=True):
    """A waiting write, and what it would send and change at this moment."""

    operation: OperationView
    proposal: ProposalView


def approval_routes(services: Services, access: Access) -> Router:
    """The routes."""
    return Router(
        "/approvals",
        route_handlers=[*_waiting(services, access), *_deciding(services, access), *_rules(services, access)],
        tags=["approvals"],
    )


def _waiting(services: Services, access: Access) -> list[Any]:
    @get("/", guards=[access.needs(Scope.ADMIN)], summary="List writes that wait")
    async def list_approvals(request: Ask, limit: Limit = 50, cursor: Cursor = None) -> OperationPage:
        """Newest first, each with the proposal that is stored."""
        project, at = await project_of(request, services), place(cursor)
        async with project.db.project(project.project.id) as tx:
            state = OperationState.WAITING_FOR_APPROVAL.value
            rows, more = await listing.page(tx, Operation, limit, at, state=state)
        return OperationPage(result=[operation_view(row, whole=True) for row in rows], **ends(rows, more, at))

    @get("/{operation_id:uuid}", guards=[access.needs(Scope.ADMIN)], summary="Show what waits")
    async def show_approval(request: Ask, operation_id: FromPath[UUID]) -> WaitingView:
        """Reads the vendor's data, so that the proposal is true at this moment."""
        project = await project_of(request, services)
        async with project.db.project(project.project.id) as tx:
            await one(operations.get, tx, operation_id, "operation")
        proposal = await project.writer.proposal(project.project.id, operation_id)
        found = await project.writer.get(project.project.id, operation_id)
        return WaitingView(operation=operation_view(found, whole=True), proposal=proposal_view(proposal))

    return [list_approvals, show_approval]


def _deciding(services: Services, access: Access) -> list[Any]:
    @post("/{operation_id:uuid}/approve", status_code=200, guards=[access.needs(Scope.ADMIN)], summary="Approve")
    async def approve_operation(
        request: Ask, operation_id: FromPath[UUID], data: JSONBody[Approval], prefer: Preference = None
    ) -> Response[OperationView | OperationProblem]:
        """Sends it, and answers as the write itself would have been answered. The key that planned a write cannot
        approve it (403); what would send something else by now is a conflict (409). Rows of an all-or-nothing batch are
        approved together."""
        project = await project_of(request, services)
        async with project.db.project(project.project.id) as tx:
            await one(operations.get, tx, operation_id, "operation")
        done = await project.writer.approve(
            project.project.id, operation_id, planner_of(request), seen=data.digest, wait_s=patience_of(prefer)
        )
        return answered(request, done, prefer=prefer)

    @post("/{operation_id:uuid}/refuse", status_code=200, guards=[access.needs(Scope.ADMIN)], summary="Refuse")
    async def refuse_operation(request: Ask, operation_id: FromPath[UUID], data: JSONBody[Refusal]) -> OperationView:
        """Nothing is sent; whoever planned it reads the reason."""
        project = await project_of(request, services)
        async with project.db.project(project.project.id) as tx:
            await one(operations.get, tx, operation_id, "operation")
        ended = await project.writer.refuse(project.project.id, operation_id, planner_of(request), data.reason)
        return operation_view(ended, whole=True)

    return [approve_operation, refuse_operation]


def _rules(services: Services, access: Access) -> list[Any]:
    @get("/rules", guards=[access.needs(Scope.READ)], summary="List rules")
    async def list_approval_rules(request: Ask) -> RuleList:
        """Which writes wait for a person."""
        project = await project_of(request, services)
        async with project.db.project(project.project.id) as tx:
            return RuleList(result=[_rule_view(rule) for rule in await approvals.rules(tx)])

    @put("/rules", guards=[access.needs(Scope.ADMIN)], summary="Set a rule")
    async def set_approval_rule(request: Ask, data: JSONBody[NewRule]) -> RuleView:
        """For the whole project, or for one integration, connection or object; holds for the next write on."""
        project = await project_of(request, services)
        async with project.db.project(project.project.id) as tx:
            if data.connection is not None:
                await one(connections.get, tx, data.connection, "connection")
            if data.integration is not None and not await approvals.has_integration(tx, data.integration):
                raise RecordNotFound(f"There is no integration {data.integration}.", subject="integration")
            rule = await approvals.set_rule(
                tx,
                required=data.required,
                integration_id=data.integration,
                connection_id=data.connection,
                object=data.object,
                expires_s=data.expires_s,
                by=planner_of(request).name,
            )
            await note(tx, request, "approvals.rule_set", rule.id, required=rule.required, object=rule.object)
        return _rule_view(rule)

    @delete("/rules/{rule_id:uuid}", guards=[access.needs(Scope.ADMIN)], summary="Remove a rule")
    async def remove_approval_rule(request: Ask, rule_id: FromPath[UUID]) -> None:
        """What waits already goes on waiting."""
        project = await project_of(request, services)
        async with project.db.project(project.project.id) as tx:
            if not await approvals.remove_rule(tx, rule_id):
                raise RecordNotFound(f"There is no rule {rule_id}.", remedy="List them: GET /v1/approvals/rules")
            await note(tx, request, "approvals.rule_removed", rule_id)

    return [list_approval_rules, set_approval_rule, remove_approval_rule]


def _rule_view(rule: ApprovalRule) -> RuleView:
    return RuleView(
        id=rule.id,
        required=rule.required,
        integration=rule.integration_id,
        connection=rule.connection_id,
        object=rule.object,
        expires_s=rule.expires_s,
        changed_by=rule.changed_by,
        changed_at=rule.changed_at,
    )
