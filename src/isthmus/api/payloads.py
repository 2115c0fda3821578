"""`/v1/payloads/{token}`: one record that was too large for a delivery, under the link that the delivery carried."""

from __future__ import annotations

from typing import Annotated

from litestar import Response, Router, get
from litestar.params import PathParameter

from isthmus.api.services import Services
from isthmus.delivery.payloads import TOKEN_CHARACTERS_MAX


class RecordBytes(Response[bytes]):
    """A vendor's JSON as it came."""


def payload_routes(services: Services) -> Router:
    """The route. The link itself is the permission: it is sealed, names one record, and ends after an hour."""

    @get("/{token:str}", summary="Fetch a record by its link")
    async def fetch_payload(
        token: Annotated[str, PathParameter(max_length=TOKEN_CHARACTERS_MAX, description="As the delivery has it.")],
    ) -> Response[bytes]:
        """The record as it is now, byte for byte. Needs no key: a delivery carried the link as `record_url`."""
        record = await services.deliveries.payloads.open(token)
        headers = {"cache-control": "no-store", "referrer-policy": "no-referrer"}
        return RecordBytes(record, media_type="application/json", headers=headers)

    return Router("/payloads", route_handlers=[fetch_payload], tags=["destinations"])
