"""`POST /v1/destinations`: a signed webhook, or files below the project's own folder on the server."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from litestar import post
from litestar.params import JSONBody

from isthmus.api.access import Access, Ask, Scope, project_of
from isthmus.api.finding import note
from isthmus.api.services import ProjectServices, Services
from isthmus.api.shapes import DestinationView, Input, Text, destination_view
from isthmus.kernel.failures import InvalidInput
from isthmus.kernel.limits import DELIVERY_BYTES_MAX, DELIVERY_BYTES_MIN
from isthmus.store import destinations, feed

Objects = Annotated[list[Text], msgspec.Meta(max_length=200, description="Empty: all.")]
Events = Annotated[
    list[Text],
    msgspec.Meta(max_length=100, description="Types of events, `records.changed` for changes of records. Empty: all."),
]
PayloadBytes = Annotated[
    int,
    msgspec.Meta(
        ge=DELIVERY_BYTES_MIN,
        le=DELIVERY_BYTES_MAX,
        description="The largest body that the receiver takes; a larger record is sent as a link.",
    ),
]
Url = Annotated[str, msgspec.Meta(min_length=1, max_length=2_048, description="Of a webhook: a public https address.")]
Folder = Annotated[
    str,
    msgspec.Meta(
        min_length=1,
        max_length=1_024,
        description="Of files: a folder below the project's own one on the server; made when it is not there.",
    ),
]


class NewDestination(Input, frozen=True, kw_only=True):
    """Where changes go: a `webhook`, signed by the Standard Webhooks scheme, or `files` of JSON lines."""

    name: Text
    kind: Literal["webhook", "files"] = "webhook"
    url: Url | None = None
    folder: Folder | None = None
    objects: Objects = msgspec.field(default_factory=list)
    events: Events = msgspec.field(default_factory=list)
    payload_bytes: PayloadBytes | None = None
    only_new: Annotated[bool, msgspec.Meta(description="Skip what the feed holds already.")] = False


class CreatedDestination(msgspec.Struct, frozen=True, kw_only=True):
    """The destination and its signing secret, which is shown this once. Files are not signed: null."""

    destination: DestinationView
    secret: str | None


def making_handlers(services: Services, access: Access) -> list[Any]:
    """The route."""

    @post("/", guards=[access.needs(Scope.ADMIN)], summary="Send changes to a webhook or to files")
    async def create_destination(request: Ask, data: JSONBody[NewDestination]) -> CreatedDestination:
        """Deliveries start at once while a worker runs. Keep the secret: it is not shown again."""
        project, after = await project_of(request, services), 0
        if data.only_new:
            async with project.db.project(project.project.id) as tx:
                after = await feed.head(tx)
        made, secret = await _made(project, data, after)
        async with project.db.project(project.project.id) as tx:
            await note(tx, request, "destination.create", made, name=data.name)
            row = await destinations.get(tx, made)
            return CreatedDestination(destination=destination_view(row, await feed.head(tx)), secret=secret)

    return [create_destination]


async def _made(project: ProjectServices, data: NewDestination, after: int) -> tuple[UUID, str | None]:
    """The new destination's id, and its secret. Raises InvalidInput for what does not belong to its kind."""
    objects, events = tuple(data.objects), tuple(data.events)
    if data.kind == "files":
        if data.url is not None or data.payload_bytes is not None:
            raise InvalidInput(
                "Files have neither url nor payload_bytes.",
                remedy="Leave them out.",
                subject="url" if data.url is not None else "payload_bytes",
            )
        if data.folder is None:
            raise InvalidInput("Files need a folder.", remedy="Name one, such as changes.", subject="folder")
        files = await project.create_folder_below(data.name, data.folder, objects=objects, events=events, after=after)
        return files.id, None
    if data.folder is not None:
        raise InvalidInput(
            "A webhook has no folder.", remedy="Leave it out, or make it files with kind.", subject="folder"
        )
    if data.url is None:
        raise InvalidInput("A webhook needs a url.", remedy="Give a public https address.", subject="url")
    webhook, secret = await project.create_webhook(
        data.name, data.url, objects=objects, events=events, after=after, bytes_max=data.payload_bytes
    )
    return webhook.id, secret
