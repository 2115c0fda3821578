"""Who may see a connect page: whoever holds its link. From then on a cookie speaks for this browser in this session."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

from litestar import Request, Response
from litestar.datastructures import Cookie
from litestar.exceptions import HTTPException

from isthmus.connections.desk import ConnectDesk
from isthmus.connections.sessions import hashed
from isthmus.console.connect.pages import connect_page
from isthmus.console.pages import SECURITY_HEADERS
from isthmus.console.services import Services, Workspace
from isthmus.console.sessions import form_proof, proven
from isthmus.kernel.clock import Clock
from isthmus.kernel.failures import DatabaseUnavailable, Failure
from isthmus.kernel.ids import new_id, short
from isthmus.kernel.statuses import status_of
from isthmus.store import connect_sessions
from isthmus.store.connect_sessions import Door

Plain = Request[Any, Any, Any]

VISIT_LIFE: Final = timedelta(hours=72)
VALUE_CHARACTERS_MAX: Final = 16_000
"""Of one field: a certificate with its key has a few thousand."""

TOKEN_CHARACTERS_MAX: Final = 100

HEADERS: Final = {
    **SECURITY_HEADERS,
    "cross-origin-opener-policy": "unsafe-none",
    "referrer-policy": "no-referrer",
}
"""The console's, but for two: the host's page keeps hold of the popup it opened, and no link leaves in a referrer."""

_log = logging.getLogger(__name__)


class Turned(Exception):
    """A request that is not let through, with what its page says."""

    def __init__(self, title: str, words: str, status: int = 403) -> None:
        super().__init__(title)
        self.title, self.words, self.status = title, words, status


class Guest:
    """A browser in a session: who it is, what it has sent, and what may be done for it."""

    def __init__(
        self, services: Services, here: Workspace, request: Plain, session_id: UUID, visit: str, purpose: str
    ) -> None:
        self.services = services
        self.here = here
        self.request = request
        self.session_id = session_id
        self.visit = visit
        self.purpose = purpose
        self.form: Mapping[str, str] = {}
        self.lists: Mapping[str, list[str]] = {}

    @property
    def desk(self) -> ConnectDesk:
        """Where connecting is done."""
        return self.here.connect

    @property
    def csrf(self) -> str:
        """What every form of this browser carries."""
        return form_proof(self.visit)

    @property
    def base(self) -> str:
        """Where this session's pages are."""
        return f"/connect/s/{self.session_id}"

    def text(self, name: str) -> str:
        """A field of the form without blanks around it."""
        return self.form.get(name, "").strip()

    async def take(self) -> None:
        """Read the form. Raises Turned when it was not made by a page of this browser's."""
        form = await self.request.form()
        lists: dict[str, list[str]] = {}
        for name, value in form.multi_items():
            if isinstance(value, str):
                lists.setdefault(name, []).append(value[:VALUE_CHARACTERS_MAX].replace("\x00", ""))
        self.lists, self.form = lists, {name: values[-1] for name, values in lists.items()}
        elsewhere = self.request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none")
        if elsewhere or not proven(self.visit, self.form.get("csrf", "")):
            raise Turned("This page is too old", "Nothing was done. Go back, load the page again and repeat it.")


class Buckets:
    """How often something may be asked, by whom; `per_s` in the long run, `burst` at once. Bounded in size."""

    KEYS_MAX: Final = 20_000

    def __init__(self, clock: Clock, *, per_s: float, burst: int) -> None:
        self._clock, self._per_s, self._burst = clock, per_s, burst
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, key: str) -> bool:
        """False when it is too often."""
        now_s = self._clock.monotonic_s()
        left, at_s = self._left.pop(key, (float(self._burst), now_s))
        left = min(float(self._burst), left + (now_s - at_s) * self._per_s)
        allowed = left >= 1.0
        self._left[key] = (left - 1.0 if allowed else left, now_s)
        while len(self._left) > self.KEYS_MAX:
            self._left.popitem(last=False)
        return allowed


class ConnectAdmission:
    """Lets browsers in. One per server."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._guesses = Buckets(services.clock, per_s=0.5, burst=40)
        self._polls = Buckets(services.clock, per_s=3.0, burst=30)
        self._acts = Buckets(services.clock, per_s=10.0, burst=150)

    async def door(self, request: Plain, token: str) -> Door:
        """Where a link leads. Raises Turned for one that is not known, and soon when somebody tries many of those."""
        found = None
        if 20 <= len(token) <= TOKEN_CHARACTERS_MAX:
            found = await connect_sessions.find_link(self._services.db, hashed(token))
        if found is None:
            self.guessed(request)
            raise Turned(
                "This link does not work",
                "It may be cut off, or be from an earlier time. Ask for a new one where you found it.",
                404,
            )
        return found

    def guessed(self, request: Plain) -> None:
        """Somebody came with a link that is not known. Raises Turned when they do so often."""
        if not self._guesses.take(request.client.host if request.client else ""):
            raise Turned("Too many tries", "Wait a minute, then open your link again.", 429)

    def poll(self, token: str) -> bool:
        """False when a link's state is asked for too often."""
        return self._polls.take(token)

    async def guest(self, request: Plain, session_id: UUID) -> Guest:
        """The browser that asks. Raises Turned when it is not in this session."""
        visit = request.cookies.get(cookie_name(session_id), "")
        door = await connect_sessions.find_visit(self._services.db, hashed(visit)) if visit else None
        if door is None or door.session_id != session_id:
            raise Turned(
                "Open your link again",
                "This browser is not in that session any more, or it keeps no cookies. The link that you were given "
                "leads you back to where you were.",
            )
        if not self._acts.take(session_id.hex):
            raise Turned("That was too fast", "Wait a few seconds, then load the page again.", 429)
        here = await self._services.of(door.project_id)
        return Guest(self._services, here, request, session_id, visit, door.purpose)

    async def known(self, request: Plain, door: Door) -> bool:
        """True when this browser is in that session already."""
        visit = request.cookies.get(cookie_name(door.session_id), "")
        found = await connect_sessions.find_visit(self._services.db, hashed(visit)) if visit else None
        return found is not None and found.session_id == door.session_id

    def cookie(self, session_id: UUID, visit: str) -> Cookie:
        """What speaks for the browser: not readable by scripts, sent to connect pages alone."""
        return Cookie(
            key=cookie_name(session_id),
            value=visit,
            path="/connect",
            httponly=True,
            samesite="lax",
            secure=self._services.public_url.startswith("https://"),
            max_age=int(VISIT_LIFE.total_seconds()),
        )


def cookie_name(session_id: UUID) -> str:
    """One cookie per session, so that two of them do not disturb each other."""
    return f"isthmus_connect_{session_id.hex}"


def secured(response: Response[Any]) -> Response[Any]:
    """Put the headers on an answer that does not bring its own."""
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    return response


def turned(request: Plain, error: Turned) -> Response[str]:
    """The page of a request that was not let through."""
    return secured(connect_page("connect/stop.html", status=error.status, title=error.title, words=error.words))


def failed(request: Plain, error: Failure) -> Response[str]:
    """The page of a foreseeable failure that no other page shows."""
    if isinstance(error, DatabaseUnavailable):  # a customer sees this page: the remedy is for whoever runs the hub
        words = "Nothing is lost. Load the page again in a moment; should it last, tell whoever sent you the link."
        page = connect_page("connect/stop.html", status=503, title="This page has to wait a moment", words=words)
    else:
        page = connect_page("connect/stop.html", status=status_of(error), title=error.message, words=error.remedy)
    if error.retry_after_s is not None:
        page.headers.setdefault("retry-after", str(max(1, round(error.retry_after_s))))
    return secured(page)


def not_served(request: Plain, error: HTTPException) -> Response[str]:
    """No such page."""
    if error.status_code >= 500:
        return crashed(request, error)
    title = "There is no such page" if error.status_code == 404 else "That cannot be done here"
    return secured(
        connect_page(
            "connect/stop.html", status=error.status_code, title=title, words="Open the link that you were given again."
        )
    )


def crashed(request: Plain, error: Exception) -> Response[str]:
    """A fault of ours, with a reference for the log."""
    reference = short(new_id())
    _log.error("connect page %s failed, reference %s", request.url.path, reference, exc_info=error)
    words = f"Nothing is lost: load the page again. If it happens again, report the reference {reference}."
    return secured(connect_page("connect/stop.html", status=500, title="Something went wrong on our side", words=words))
