"""Up to which instant a run has certainly seen the vendor's data: the cap of its watermarks.

The watermark comes from the data (BC-96). The largest stamp in it alone says too much, though: only one read in the
order of the stamps, page after page, may conclude that it has everything older. A first read goes in the order of keys,
in several key ranges, companies or parents at once, perhaps over hours and resumed twice. A record that changes after
its page was read has a stamp that lies below the one of a record which another page brings later; were that one the
watermark, the next increment would begin above the change, and nothing would ever bring it.

Whatever changes behind a reader changes after the run's first request left. So the watermark may be at most the
vendor's time of that moment, the *horizon*: all pages, of all slices and all attempts, were read later, and the next
increment begins at or below everything that they can have missed. The horizon is the `Date` of the first answer, less
what went by since the first request was given to the call (its waits and repeats included), so it is told by the
vendor's clock. It is kept with the run before the first page is committed, and a resumed run keeps it. An answer
without a usable `Date` leaves the run's start by the database's clock.

This does not make a clock the watermark (BC-96 stays true): the horizon only ever lowers what the data says, and a
clock that is behind makes the next increment larger, never smaller. The provider's overlap covers what commits later
than its stamp says and replicas that lag. It is one rule for all ways of reading: an increment in the order of stamps
would not need it, but then gives up no more than what changed while it ran.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from isthmus.client.access import Access
from isthmus.client.reading import Call
from isthmus.kernel.clock import Clock
from isthmus.kernel.messages import Request, Response
from isthmus.store import runs
from isthmus.store.database import Database
from isthmus.store.rows import Run

NOTE = "horizon"
"""The name under which a run's options keep it; `runs.advance_watermarks` reads it."""

_DATE_STEP = timedelta(seconds=1)
"""A `Date` counts whole seconds."""


class Horizon:
    """Watches the first answer of a run's attempt. `watching` gives the access to read through."""

    def __init__(self, clock: Clock, run: Run) -> None:
        self._clock = clock
        self._run = run
        self._asked_s: float | None = None
        self._found: datetime | None = None
        self._kept = NOTE in run.options

    def watching(self, access: Access) -> Access:
        """The same access, whose answers are watched."""
        call = access.call

        async def watched(request: Request) -> Response:
            if self._asked_s is None:
                self._asked_s = self._clock.monotonic_s()
            response = await call(request)
            self._look(response, self._asked_s)
            return response

        return _with_call(access, watched)

    def _look(self, response: Response, asked_s: float) -> None:
        if self._found is not None:
            return
        told = date_of(response)
        if told is not None:
            gone_s = max(0.0, self._clock.monotonic_s() - asked_s)
            self._found = told - timedelta(seconds=gone_s) - _DATE_STEP

    async def keep(self, db: Database) -> None:
        """Keep it with the run, once; the horizon of an earlier attempt stays. Raises RunSuperseded.

        Called before a page is committed. Where no answer had a `Date`, the run's start is what stays.
        """
        if self._kept:
            return
        async with db.project(self._run.project_id) as tx:
            await runs.keep_first(
                tx, self._run.id, self._run.epoch, NOTE, None if self._found is None else self._found.isoformat()
            )
        self._kept = True


def _with_call(access: Access, call: Call) -> Access:
    return Access(
        provider=access.provider, target=access.target, call=call, sliced_records_min=access.sliced_records_min
    )


def date_of(response: Response) -> datetime | None:
    """The vendor's time, from the `Date` of its answer; None without a usable one."""
    try:
        moment = parsedate_to_datetime(response.headers.get("date", ""))
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
