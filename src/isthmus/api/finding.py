"""Looking rows up for a request: what the caller's project does not have does not exist (404), whoever else has it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar
from uuid import UUID

from litestar import Request

from isthmus.api.access import caller_of
from isthmus.kernel.failures import InvalidInput, RecordNotFound
from isthmus.store.audit import Author
from isthmus.store.database import Transaction

T = TypeVar("T")


async def one(get: Callable[[Transaction, UUID], Awaitable[T]], tx: Transaction, identifier: UUID, what: str) -> T:
    """The row with this id. Raises RecordNotFound."""
    try:
        return await get(tx, identifier)
    except InvalidInput as error:
        raise RecordNotFound(
            f"There is no {what} {identifier}.", remedy=f"List what there is: GET /v1/{what}s", subject=what
        ) from error


def author_of(request: Request[Any, Any, Any]) -> Author:
    """Whom the audit log names for what this request does."""
    scope: Any = request.scope
    return Author(actor=caller_of(request).actor, request_id=scope.get("isthmus.request_id"))


async def note(tx: Transaction, request: Request[Any, Any, Any], action: str, subject: object, **detail: Any) -> None:
    """Write an act down in the audit log, in its own transaction's company."""
    await author_of(request).note(tx, action, subject, **detail)
