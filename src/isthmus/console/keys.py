"""Settings → API keys: make one (shown once), see when it was last used, revoke it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from litestar import Response, get, post
from litestar.params import FromPath
from litestar.types import ControllerRouterHandler

from isthmus.console.pages import status_here
from isthmus.console.visit import Visit, Visiting
from isthmus.kernel.failures import InvalidInput
from isthmus.kernel.key_text import SCOPES, Scope
from isthmus.settings import REQUESTS_PER_S_MAX, REQUESTS_PER_S_MIN
from isthmus.store import api_keys
from isthmus.store.api_keys import ApiKey

NAME_CHARACTERS_MAX: Final = 120
LIVES: Final = (("", "never"), ("30", "in 30 days"), ("90", "in 90 days"), ("365", "in a year"))
"""How long a key may be good, in days."""

ORDER: Final = ("expired", "good", "revoked")


@get("/settings/keys")
async def keys_page(visit: Visiting) -> Response[str]:
    """The API keys, never the keys themselves, and the form for another."""
    return await _page(visit, {}, {})


@post("/settings/keys", status_code=200)
async def make_key(visit: Visiting) -> Response[Any]:
    """Make a key; the page that follows shows it this once."""
    name, life = visit.text("name"), visit.text("life")
    chosen = sorted({each for each in visit.lists.get("scope", []) if each in {scope.value for scope in Scope}})
    errors: dict[str, str] = {}
    if not name or len(name) > NAME_CHARACTERS_MAX:
        errors["name"] = "Say what the key is for, so that you know later which one to revoke."
    if not chosen:
        errors["scope"] = "Tick what it may do. Give it no more than it needs."
    if life not in {key for key, _ in LIVES}:
        errors["life"] = "Choose when it ends."
    typed_limit = visit.text("requests_per_s")
    try:
        requests_per_s = _limit(typed_limit)
    except InvalidInput as failure:
        errors["requests_per_s"] = f"{failure.message} {failure.remedy}"
    if errors:
        typed = {"name": name, "life": life, "requests_per_s": typed_limit}
        return await _page(visit, errors, typed, chosen=set(chosen), status=422)
    ends = visit.services.clock.now() + timedelta(days=int(life)) if life else None
    async with visit.services.db.project(visit.project.id) as tx:
        made = await api_keys.make(
            tx,
            name=name,
            scopes=chosen,
            development=visit.here.development,
            expires_at=ends,
            requests_per_s=requests_per_s,
        )
    await visit.note("key.create", str(made.key.id), name=name, scopes=chosen)
    return await _page(visit, {}, {}, made=made.key, secret=made.text)


@post("/settings/keys/{key_id:uuid}/limit", status_code=200)
async def change_limit(visit: Visiting, key_id: FromPath[UUID]) -> Response[Any]:
    """How many requests a key may send; an empty field is the server's own limit."""
    try:
        requests_per_s = _limit(visit.text("requests_per_s"))
    except InvalidInput as failure:
        return await _page(visit, {"": f"{failure.message} {failure.remedy}"}, {}, status=status_here(failure))
    async with visit.services.db.project(visit.project.id) as tx:
        changed = await api_keys.limit(tx, key_id, requests_per_s)
    await visit.note("key.limit", str(key_id), name=changed.name, requests_per_s=requests_per_s)
    return visit.go("/console/settings/keys", "saved")


@post("/settings/keys/{key_id:uuid}/revoke", status_code=200)
async def revoke_key(visit: Visiting, key_id: FromPath[UUID]) -> Response[Any]:
    """End a key for good."""
    async with visit.services.db.project(visit.project.id) as tx:
        revoked = await api_keys.revoke(tx, key_id)
    await visit.note("key.revoke", str(key_id), name=revoked.name)
    return visit.go("/console/settings/keys", "key-revoked")


def _limit(text: str) -> float | None:
    """Requests a second as they were typed; None for the server's own limit. Raises InvalidInput."""
    if not text:
        return None
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not REQUESTS_PER_S_MIN <= number <= REQUESTS_PER_S_MAX:
        raise InvalidInput(
            f"“{text[:40]}” is no number of requests a second.",
            remedy=f"Give a number from {REQUESTS_PER_S_MIN:g} to {REQUESTS_PER_S_MAX:,.0f}, or nothing.",
        )
    return number


def state_of(key: ApiKey, now: datetime) -> str:
    """`good`, `expired` or `revoked`."""
    if key.revoked_at is not None:
        return "revoked"
    return "expired" if key.expires_at is not None and key.expires_at <= now else "good"


async def _page(
    visit: Visit,
    errors: dict[str, str],
    typed: dict[str, str],
    *,
    chosen: set[str] | None = None,
    made: ApiKey | None = None,
    secret: str = "",
    status: int = 200,
) -> Response[str]:
    async with visit.services.db.project(visit.project.id) as tx:
        every = await api_keys.every(tx)
    now = visit.services.clock.now()
    shown = [(each, state_of(each, now)) for each in every]
    shown.sort(key=lambda each: ORDER.index(each[1]))
    return await visit.page(
        "keys.html",
        status=status,
        shown=shown,
        errors=errors,
        typed=typed,
        chosen=chosen if chosen is not None else {"read"},
        scopes=[(scope.value, words) for scope, words in SCOPES.items()],
        lives=LIVES,
        usual=visit.services.settings.requests_per_s,
        made=made,
        secret=secret,
        example=f"curl -H 'Authorization: Bearer $KEY' {visit.services.public_url}/v1/connections",
    )


HANDLERS: Final[list[ControllerRouterHandler]] = [keys_page, make_key, change_limit, revoke_key]
