"""The door: who asks, for which connection, and what is told when nothing comes of it.

A body towards the vendor is read whole only while it is small, so that the call can be repeated; a larger one passes by
part after part and is never sent twice. Answers are passed on as fast as the caller takes them. When the caller goes
away, the vendor's call ends.
"""

from __future__ import annotations

import logging
from typing import Any, Final

from isthmus.actions.proxying.call import Calling, CallNotes, RawAnswer, RawCall
from isthmus.actions.proxying.paging import Form, Pages
from isthmus.api.access import Access, Scope
from isthmus.api.metrics import Metrics
from isthmus.api.problems import Refused, wire_problem
from isthmus.api.proxying.incoming import PREFIX, Incoming
from isthmus.api.proxying.known import KnownConnections
from isthmus.api.proxying.passing import Departure, Outgoing, Watch
from isthmus.api.services import Services
from isthmus.connections.opening import OpenConnection
from isthmus.kernel.failures import Failure, VendorTimeout
from isthmus.store.proxy_limits import ProxyLimits

ROUTE: Final = PREFIX + "{path:path}"
"""What logs and measurements call it."""

METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")

READING: Final = ("GET", "HEAD")
"""What changes nothing, and passes where writes wait for an approval."""

CALLER_GONE: Final = 499
"""What the log says of a call whose caller went away."""

_log = logging.getLogger(__name__)


class ProxyDoor:
    """The ASGI application of everything below `/v1/proxy/`."""

    def __init__(self, services: Services, access: Access, metrics: Metrics) -> None:
        self._services = services
        self._access = access
        self._metrics = metrics
        self._known = KnownConnections(services.clock)
        self._watch = Watch()

    def takes(self, scope: Any) -> bool:
        """True for a request that belongs here."""
        return bool(scope["path"].startswith(PREFIX))

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request."""
        scope["path_template"] = ROUTE
        incoming, outgoing = Incoming(scope, receive), Outgoing(send, scope["method"])
        try:
            async with Departure(incoming, outgoing, self._watch) as departure:
                await self._proxied(scope, incoming, outgoing, departure)
            if departure.gone:
                if not outgoing.begun:
                    await outgoing.whole(CALLER_GONE, (), b"")
            elif departure.late and not outgoing.begun:
                raise VendorTimeout("The answer did not come within the time that this project's proxy allows.")
        except Exception as error:  # noqa: BLE001  (the last stop: what is no failure is told as a defect)
            if outgoing.begun:
                _log.warning(
                    "an answer of the proxy was broken off: %s",
                    getattr(error, "code", type(error).__name__),
                    exc_info=None if isinstance(error, Failure) else error,
                )
                return  # the server sees that the answer has no end, and closes the connection
            await outgoing.whole(*wire_problem(error, str(scope.get("isthmus.request_id", ""))))

    async def _proxied(self, scope: Any, incoming: Incoming, outgoing: Outgoing, departure: Departure) -> None:
        """Raises Refused and Failure."""
        if incoming.method not in METHODS:
            raise _not_a_method()
        caller = await self._access.admit(scope, incoming.headers.get("authorization", ""), Scope.PROXY)
        form, connection_id = incoming.form, incoming.connection
        project = await self._services.of(caller.project_id)
        writing = incoming.method not in READING
        opened, limits = await self._known.opened(project, connection_id, writing=writing)
        call = await incoming.call(limits)
        departure.listen_from(call.stream)
        notes = CallNotes()
        try:
            if form is None:
                await _answered(opened, call, notes, limits, outgoing, departure)
            else:
                again = await project.opener.put_together(opened.connection, opened.grant, [], notes)
                await _paged(Pages(again, call, notes, limits), form, limits, outgoing, departure)
        finally:
            self._metrics.proxied(notes.attempts)


async def _answered(
    opened: OpenConnection,
    call: RawCall,
    notes: CallNotes,
    limits: ProxyLimits,
    outgoing: Outgoing,
    departure: Departure,
) -> None:
    async with Calling(opened, call, notes, limits) as answer:
        departure.ends_in(limits.timeout_s)
        headers = answer.headers + _told(notes, answer.remaining)
        if answer.size is not None:
            headers.append((b"content-length", b"%d" % answer.size))
        await outgoing.stream(answer.status, headers, answer.size, answer.parts())


async def _paged(pages: Pages, form: Form, limits: ProxyLimits, outgoing: Outgoing, departure: Departure) -> None:
    refusal = await pages.first()
    departure.ends_in(limits.timeout_s)
    told = _told(pages.notes, pages.remaining)
    if refusal is not None:
        answer = RawAnswer(refusal, pages.notes, pages.remaining)
        await outgoing.whole(answer.status, answer.headers + told, refusal.body)
    else:
        headers = [(b"content-type", form.media_type.encode()), *told]
        await outgoing.stream(200, headers, None, pages.stream(form))


def _told(notes: CallNotes, remaining: int) -> list[tuple[bytes, bytes]]:
    return [
        (b"x-isthmus-attempts", b"%d" % notes.attempts),
        (b"x-isthmus-retries", b"%d" % max(0, notes.attempts - 1)),
        (b"x-isthmus-waited-ms", b"%d" % round(notes.waited_s * 1_000)),
        (b"x-isthmus-budget-remaining", b"%d" % remaining),
    ]


def _not_a_method() -> Refused:
    return Refused(
        405,
        "method_not_allowed",
        "This address does not take that method",
        "The proxy does not pass this method on.",
        "The Allow header names the methods.",
        headers={"allow": ", ".join(METHODS)},
    )
