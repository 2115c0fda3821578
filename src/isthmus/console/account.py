"""Settings → You: your password, and where you are signed in."""

from __future__ import annotations

import re
from typing import Any, Final
from uuid import UUID

from litestar import Response, get, post
from litestar.params import FromPath
from litestar.types import ControllerRouterHandler

from isthmus.console.sessions import (
    FAILURES_FREE,
    PAUSE_S_MAX,
    SESSION_IDLE_HOURS,
    hash_password,
    hashed,
    password_problem,
    right_password,
)
from isthmus.console.visit import Visit, Visiting
from isthmus.store import console_people

_BROWSERS: Final = (("Edg/", "Edge"), ("Firefox/", "Firefox"), ("Chrome/", "Chrome"), ("Safari/", "Safari"))
_SYSTEMS: Final = (
    ("Windows", "Windows"),
    ("Android", "Android"),
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Mac OS", "a Mac"),
    ("Linux", "Linux"),
)


@get("/settings/you")
async def account_page(visit: Visiting) -> Response[str]:
    """Password and sessions."""
    return await _page(visit, {})


@post("/settings/you/password", opt={"role": "viewer"}, status_code=200)
async def change_password(visit: Visiting) -> Response[Any]:
    """A new password; every other session of the person ends."""
    person = await console_people.by_id(visit.services.db, visit.who.person_id)
    assert person is not None
    subject = hashed(f"change:{person.id}")
    wait_s = await console_people.closed_s(visit.services.db, [subject])
    if wait_s > 0:
        words = f"Too many wrong passwords in a row. Try again in {max(1, round(wait_s))} s."
        return await _page(visit, {"current": words}, status=429)
    if not person.has_password or not await right_password(person.password_hash, visit.form.get("current", "")[:1024]):
        await console_people.note_failure(visit.services.db, subject, FAILURES_FREE, PAUSE_S_MAX)
        return await _page(visit, {"current": "That is not your password."}, status=422)
    new = visit.form.get("password", "")
    problem = password_problem(new, visit.form.get("again", ""), person.name)
    if problem:
        return await _page(visit, {"password": problem}, status=422)
    await console_people.forget_failures(visit.services.db, subject)
    await console_people.set_password(visit.services.db, person.id, await hash_password(new))
    ended = await console_people.end_sessions(visit.services.db, person.id, keep=visit.who.session_id)
    await visit.note("person.password_changed", person.name, sessions_ended=ended)
    return visit.go("/console/settings/you", "password-changed")


@post("/settings/you/sessions/{session_id:uuid}/end", opt={"role": "viewer"}, status_code=200)
async def end_session(visit: Visiting, session_id: FromPath[UUID]) -> Response[Any]:
    """Sign out one other browser."""
    await console_people.end_sessions(visit.services.db, visit.who.person_id, only=session_id)
    await visit.note("session.ended", visit.who.name)
    return visit.go("/console/settings/you", "session-ended")


@post("/settings/you/sessions/end", opt={"role": "viewer"}, status_code=200)
async def end_every_other(visit: Visiting) -> Response[Any]:
    """Sign out everywhere but here."""
    ended = await console_people.end_sessions(visit.services.db, visit.who.person_id, keep=visit.who.session_id)
    await visit.note("session.ended_everywhere", visit.who.name, sessions_ended=ended)
    return visit.go("/console/settings/you", "session-ended")


def browser_of(agent: str) -> str:
    """A browser's own long name in a few words: `Firefox on Windows`."""
    name = next((words for sign, words in _BROWSERS if sign in agent), "")
    system = next((words for sign, words in _SYSTEMS if sign in agent), "")
    if name and system:
        return f"{name} on {system}"
    return name or system or re.sub(r"[^\w .-].*", "", agent)[:40] or "an unknown browser"


async def _page(visit: Visit, errors: dict[str, str], *, status: int = 200) -> Response[str]:
    person = await console_people.by_id(visit.services.db, visit.who.person_id)
    return await visit.page(
        "account.html",
        status=status,
        person=person,
        sessions=await console_people.sessions(visit.services.db, visit.who.person_id),
        browser_of=browser_of,
        idle_hours=SESSION_IDLE_HOURS,
        errors=errors,
    )


HANDLERS: Final[list[ControllerRouterHandler]] = [account_page, change_password, end_session, end_every_other]
