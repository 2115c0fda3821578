"""Reading `application/x-www-form-urlencoded` bodies, bounded."""

from __future__ import annotations

from urllib.parse import parse_qsl

from starlette.requests import Request

from isthmus_sandbox.entra.errors import EntraError

FORM_BYTES_MAX = 128 * 1024
FORM_FIELDS_MAX = 100


async def read_form(request: Request) -> dict[str, str]:
    """The decoded fields (OA-14). Raises EntraError 9002313 for anything that is no such form."""
    if not request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        raise EntraError(9002313, "The request body must be application/x-www-form-urlencoded.")
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > FORM_BYTES_MAX:
            raise EntraError(9002313, f"The request body is larger than {FORM_BYTES_MAX} bytes.")
    try:
        return dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=FORM_FIELDS_MAX))
    except (UnicodeDecodeError, ValueError) as error:
        raise EntraError(9002313, "The request body cannot be read as a form.") from error
