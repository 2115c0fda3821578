"""Writes by the address of the record: the same operations as `/operations`, with the record itself as the body."""

from __future__ import annotations

from typing import Annotated, Any, Final
from uuid import UUID

from litestar import Response, Router, delete, patch, post, put
from litestar.params import FromPath, HeaderParameter, QueryParameter

from isthmus.actions.writing import Under, Verb, WriteWish
from isthmus.api.access import Access, Ask, Scope
from isthmus.api.operation_shapes import BODY_BYTES_MAX, DryRunView, OperationProblem, OperationView
from isthmus.api.operations import carried_out
from isthmus.api.services import Services
from isthmus.api.write_answers import Dry, Key, Preference, version_of
from isthmus.kernel.failures import InvalidInput

Company = Annotated[
    str | None, QueryParameter(max_length=300, description="Id or name; not needed while there is one.")
]
Route = Annotated[
    str, QueryParameter(max_length=300, description="API route: `v2.0`, `automation`, or PUBLISHER/GROUP/VERSION.")
]
IfMatch = Annotated[
    str | None,
    HeaderParameter(
        name="if-match",
        max_length=500,
        description="The version that it relies on; `*` takes whatever version is there. Without it the record is read "
        "first, and its version is used.",
    ),
]
Answer = Response[OperationView | OperationProblem | DryRunView]

RECORD_BODIES: Final = ("create_record", "upsert_record", "update_record", "replace_record")
"""Operations whose body is a record's JSON, for the description."""

RECORD_ACTS: Final = ("delete_record", "act_on_record")
"""Those without a body."""

_MATCH_MAX: Final = 20


def record_write_routes(services: Services, access: Access) -> Router:
    """The routes."""
    return Router(
        "/connections/{connection_id:uuid}/objects/{object_name:str}/records",
        route_handlers=[
            *_collection(services, access),
            *_single(services, access),
            *_ending_and_acting(services, access),
        ],
        tags=["operations"],
        request_max_body_size=BODY_BYTES_MAX,
    )


def _collection(services: Services, access: Access) -> list[Any]:
    @post("/", status_code=200, guards=[access.needs(Scope.WRITE)], summary="Create a record")
    async def create_record(
        request: Ask,
        connection_id: FromPath[UUID],
        object_name: FromPath[str],
        company: Company = None,
        route: Route = "v2.0",
        under: Annotated[
            str | None,
            QueryParameter(max_length=400, description="The record below which it is created: OBJECT/ID."),
        ] = None,
        idempotency_key: Key = None,
        prefer: Preference = None,
        dry_run: Dry = False,
    ) -> Answer:
        """The body is the record, lines of a document included. Answers as `POST …/operations` does."""
        wish = WriteWish(
            verb=Verb.CREATE,
            object=object_name,
            route=route,
            company=company,
            under=_under(under, object_name),
            body=await request.body(),
            idempotency_key=idempotency_key,
        )
        return await carried_out(request, services, connection_id, wish, prefer, dry_run)

    @put("/", status_code=200, guards=[access.needs(Scope.WRITE)], summary="Create or change a record")
    async def upsert_record(
        request: Ask,
        connection_id: FromPath[UUID],
        object_name: FromPath[str],
        match: Annotated[
            str | None,
            QueryParameter(
                max_length=1_000, description="Fields by which it is looked for, separated by commas (else its key)."
            ),
        ] = None,
        company: Company = None,
        route: Route = "v2.0",
        idempotency_key: Key = None,
        prefer: Preference = None,
        dry_run: Dry = False,
    ) -> Answer:
        """Changes the record that matches, or creates it."""
        names = tuple(name.strip() for name in (match or "").split(",") if name.strip())
        if len(names) > _MATCH_MAX:
            raise InvalidInput(f"At most {_MATCH_MAX} fields to match by.", subject="match")
        wish = WriteWish(
            verb=Verb.UPSERT,
            object=object_name,
            route=route,
            company=company,
            match=names,
            body=await request.body(),
            idempotency_key=idempotency_key,
        )
        return await carried_out(request, services, connection_id, wish, prefer, dry_run)

    return [create_record, upsert_record]


def _single(services: Services, access: Access) -> list[Any]:
    @patch("/{remote_id:str}", status_code=200, guards=[access.needs(Scope.WRITE)], summary="Change a record")
    async def update_record(
        request: Ask,
        connection_id: FromPath[UUID],
        object_name: FromPath[str],
        remote_id: FromPath[str],
        company: Company = None,
        route: Route = "v2.0",
        if_match: IfMatch = None,
        idempotency_key: Key = None,
        prefer: Preference = None,
        dry_run: Dry = False,
    ) -> Answer:
        """The body holds what shall be different; only what differs is sent. A version that is out of date is a
        conflict (409) that carries the record as it is."""
        wish = await _change(request, object_name, remote_id, company, route, if_match, idempotency_key)
        return await carried_out(request, services, connection_id, wish, prefer, dry_run)

    @put("/{remote_id:str}", status_code=200, guards=[access.needs(Scope.WRITE)], summary="Put a record's values")
    async def replace_record(
        request: Ask,
        connection_id: FromPath[UUID],
        object_name: FromPath[str],
        remote_id: FromPath[str],
        company: Company = None,
        route: Route = "v2.0",
        if_match: IfMatch = None,
        idempotency_key: Key = None,
        prefer: Preference = None,
        dry_run: Dry = False,
    ) -> Answer:
        """As PATCH: a whole record that was read and changed may be sent back. What the body leaves out stays as it is,
        because the vendor knows no other way."""
        wish = await _change(request, object_name, remote_id, company, route, if_match, idempotency_key)
        return await carried_out(request, services, connection_id, wish, prefer, dry_run)

    return [update_record, replace_record]


def _ending_and_acting(services: Services, access: Access) -> list[Any]:
    @delete("/{remote_id:str}", status_code=200, guards=[access.needs(Scope.WRITE)], summary="Delete a record")
    async def delete_record(
        request: Ask,
        connection_id: FromPath[UUID],
        object_name: FromPath[str],
        remote_id: FromPath[str],
        company: Company = None,
        route: Route = "v2.0",
        if_match: IfMatch = None,
        idempotency_key: Key = None,
        prefer: Preference = None,
        dry_run: Dry = False,
    ) -> Answer:
        """What is not there cannot be deleted (404)."""
        version, _ = version_of(if_match)
        wish = WriteWish(
            verb=Verb.DELETE,
            object=object_name,
            route=route,
            company=company,
            record_id=remote_id,
            if_match=version,
            idempotency_key=idempotency_key,
        )
        return await carried_out(request, services, connection_id, wish, prefer, dry_run)

    @post(
        "/{remote_id:str}/actions/{action:str}",
        status_code=200,
        guards=[access.needs(Scope.WRITE)],
        summary="Do something with a record",
    )
    async def act_on_record(
        request: Ask,
        connection_id: FromPath[UUID],
        object_name: FromPath[str],
        remote_id: FromPath[str],
        action: FromPath[str],
        company: Company = None,
        route: Route = "v2.0",
        idempotency_key: Key = None,
        prefer: Preference = None,
        dry_run: Dry = False,
    ) -> Answer:
        """An action that the object offers, such as `post`, `cancel` or `makeInvoice`."""
        wish = WriteWish(
            verb=Verb.ACTION,
            object=object_name,
            route=route,
            company=company,
            record_id=remote_id,
            action=action,
            idempotency_key=idempotency_key,
        )
        return await carried_out(request, services, connection_id, wish, prefer, dry_run)

    return [delete_record, act_on_record]


async def _change(
    request: Ask,
    object_name: str,
    remote_id: str,
    company: str | None,
    route: str,
    if_match: str | None,
    idempotency_key: str | None,
) -> WriteWish:
    version, overwrite = version_of(if_match)
    return WriteWish(
        verb=Verb.UPDATE,
        object=object_name,
        route=route,
        company=company,
        record_id=remote_id,
        body=await request.body(),
        if_match=version,
        overwrite=overwrite,
        idempotency_key=idempotency_key,
    )


def _under(text: str | None, object_name: str) -> Under | None:
    if text is None:
        return None
    parent, slash, record_id = text.partition("/")
    if not (parent and slash and record_id):
        raise InvalidInput("The record above is named as OBJECT/ID.", subject="under")
    return Under(object=parent, record_id=record_id, navigation=object_name)
