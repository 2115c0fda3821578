"""Bytes of records: attachments, pictures, documents as PDF. They pass through in parts, never held as a whole."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Annotated, Any, Final
from uuid import UUID

from litestar import Response, Router, get, put
from litestar.params import FromPath, HeaderParameter
from litestar.response import Stream
from litestar.types import ControllerRouterHandler

from isthmus.actions.writing import STREAM_BYTES_MAX, DownloadWish, UploadWish
from isthmus.api.access import Access, Ask, Scope, project_of
from isthmus.api.operation_shapes import OperationProblem, OperationView
from isthmus.api.record_writes import Company, Route
from isthmus.api.services import Services
from isthmus.api.write_answers import Key, answered, planner_of
from isthmus.kernel.failures import TooLarge

_TYPE: Final = re.compile(r"[\w!#$&^.+-]{1,100}/[\w!#$&^.+-]{1,100}(?:;[\x20-\x7e]{0,200})?")


def stream_routes(services: Services, access: Access) -> Router:
    """The routes."""
    handlers = [*_downloading(services, access), *_uploading(services, access)]
    return Router(
        "/connections/{connection_id:uuid}/objects/{object_name:str}/records/{remote_id:str}/streams",
        route_handlers=handlers,
        tags=["streams"],
    )


def _downloading(services: Services, access: Access) -> list[ControllerRouterHandler]:
    @get("/{stream:path}", guards=[access.needs(Scope.READ)], summary="Download bytes", include_in_schema=False)
    async def download_stream(
        request: Ask,
        connection_id: FromPath[UUID],
        object_name: FromPath[str],
        remote_id: FromPath[str],
        stream: FromPath[str],
        company: Company = None,
        route: Route = "v2.0",
    ) -> Stream:
        """An attachment, a picture, a document as PDF, with the content type that the vendor gives."""
        project = await project_of(request, services)
        wish = DownloadWish(object=object_name, record_id=remote_id, stream=stream, route=route, company=company)
        stack = AsyncExitStack()
        try:
            answer = await stack.enter_async_context(
                project.writer.streams.download(project.project.id, connection_id, wish)
            )
            if answer.size is not None and answer.size > STREAM_BYTES_MAX:
                raise TooLarge(f"The stream is larger than {STREAM_BYTES_MAX // (1024 * 1024)} MiB.")
        except BaseException:
            await stack.aclose()
            raise

        async def parts() -> AsyncIterator[bytes]:
            async with stack:
                async for part in answer.parts():
                    yield part

        kind = answer.headers.get("content-type", "")
        headers = {"content-disposition": "attachment"}
        if answer.size is not None:
            headers["content-length"] = str(answer.size)
        return Stream(
            parts(), media_type=kind if _TYPE.fullmatch(kind) else "application/octet-stream", headers=headers
        )

    return [download_stream]


def _uploading(services: Services, access: Access) -> list[ControllerRouterHandler]:
    @put(
        "/{stream:path}",
        status_code=200,
        guards=[access.needs(Scope.WRITE)],
        summary="Upload bytes",
        request_max_body_size=STREAM_BYTES_MAX,
        include_in_schema=False,
    )
    async def upload_stream(
        request: Ask,
        connection_id: FromPath[UUID],
        object_name: FromPath[str],
        remote_id: FromPath[str],
        stream: FromPath[str],
        company: Company = None,
        route: Route = "v2.0",
        idempotency_key: Key = None,
        content_length: Annotated[int | None, HeaderParameter(name="content-length", ge=0)] = None,
    ) -> Response[OperationView | OperationProblem]:
        """The body is the bytes. An operation as any other: its answer is stored with its key, and a lost one is looked
        for."""
        if content_length is not None and content_length > STREAM_BYTES_MAX:
            raise TooLarge(f"The stream is larger than {STREAM_BYTES_MAX // (1024 * 1024)} MiB.")
        project = await project_of(request, services)
        wish = UploadWish(
            object=object_name,
            record_id=remote_id,
            stream=stream,
            route=route,
            company=company,
            idempotency_key=idempotency_key,
        )
        done = await project.writer.streams.upload(
            project.project.id, connection_id, wish, request.stream(), planner=planner_of(request)
        )
        return answered(request, done)

    return [upload_stream]


def stream_paths() -> dict[str, Any]:
    """Both operations for the API's description: their path goes on below the name of a stream."""
    text = {"type": "string", "minLength": 1}
    where = [
        {"name": "connection_id", "in": "path", "required": True, "schema": {"type": "string", "format": "uuid"}},
        {"name": "object_name", "in": "path", "required": True, "schema": text},
        {"name": "remote_id", "in": "path", "required": True, "schema": text},
        {
            "name": "stream",
            "in": "path",
            "required": True,
            "description": "`attachmentContent`, `picture/pictureContent`, `pdfDocument/pdfDocumentContent`.",
            "schema": text,
        },
        {"name": "company", "in": "query", "description": "Id or name.", "schema": {"type": "string"}},
    ]
    whatever = {"*/*": {"schema": {"description": "The bytes, with the vendor's content type."}}}
    problem = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    refusal = {"default": {"description": "A refusal.", "content": problem}}
    operation = {"application/json": {"schema": {"$ref": "#/components/schemas/OperationView"}}}
    limit = f"At most {STREAM_BYTES_MAX // (1024 * 1024)} MiB, in parts both ways."
    return {
        "/v1/connections/{connection_id}/objects/{object_name}/records/{remote_id}/streams/{stream}": {
            "get": {
                "tags": ["operations"],
                "operationId": "download_stream",
                "summary": "Download bytes",
                "description": f"An attachment, a picture, a document as PDF. {limit}",
                "parameters": where,
                "responses": {"200": {"description": "The bytes.", "content": whatever}, **refusal},
            },
            "put": {
                "tags": ["operations"],
                "operationId": "upload_stream",
                "summary": "Upload bytes",
                "description": "The body is the bytes. The upload is an operation: with an Idempotency-Key its answer "
                f"is stored, and one whose answer was lost is looked for. {limit}",
                "parameters": [
                    *where,
                    {"name": "idempotency-key", "in": "header", "schema": {"type": "string", "maxLength": 255}},
                ],
                "requestBody": {"required": True, "content": {"*/*": {"schema": {}}}},
                "responses": {
                    "200": {"description": "Done.", "content": operation},
                    "202": {"description": "Nobody knows yet: ask for the operation.", "content": operation},
                    **refusal,
                },
            },
        }
    }
