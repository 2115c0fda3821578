"""What is read before a create by a name: the records that have it already, so that none is taken for the new one.

It is read right before the sending and noted with it; the rows of a batch are read for in one request. A vendor that
refuses this look does not keep the write back: a person is asked then, should its answer be lost.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from isthmus.actions.writing.desk import Desk
from isthmus.actions.writing.prepare import Prepared
from isthmus.actions.writing.settings import WriterSettings
from isthmus.kernel.failures import Failure, RequestFailure
from isthmus.kernel.messages import Request
from isthmus.odata.batch import Fate, PartOutcome
from isthmus.providers.writing import Verb


def _wanted(desk: Desk, prepared: Prepared) -> Request | None:
    """The look for a write that is ready but for its baseline; None where it needs none, or has one."""
    if prepared.request is None or prepared.spec.verb is not Verb.CREATE or prepared.baseline:
        return None
    return desk.provider.before_request(desk.target, prepared.obj, prepared.spec)


async def with_baseline(desk: Desk, prepared: Prepared, settings: WriterSettings) -> Prepared:
    """The write with what was there before it. Raises TransientFailure and CredentialFailure: nothing was sent."""
    request = _wanted(desk, prepared)
    if request is None:
        return prepared
    try:
        response = await desk.call(request, settings.deadline_s)
    except RequestFailure:
        return prepared
    seen = desk.provider.baseline(prepared.obj, prepared.spec, response)
    return msgspec.structs.replace(prepared, baseline=seen)


async def with_baselines(desk: Desk, rows: Sequence[Prepared], settings: WriterSettings) -> list[Prepared | Failure]:
    """The same for rows that go out together, with one look for all of them; in order."""
    looks = {place: request for place, row in enumerate(rows) if (request := _wanted(desk, row)) is not None}
    found: list[Prepared | Failure] = list(rows)
    answers = await _asked(desk, looks, rows[0].obj.route, settings) if len(looks) > 1 else {}
    for place in looks:
        row, answer = rows[place], answers.get(place)
        try:
            if answer is None or answer.fate is not Fate.DONE or answer.response is None:
                found[place] = await with_baseline(desk, row, settings)
            else:
                seen = desk.provider.baseline(row.obj, row.spec, answer.response)
                found[place] = msgspec.structs.replace(row, baseline=seen)
        except Failure as failure:
            found[place] = failure
    return found


async def _asked(desk: Desk, looks: dict[int, Request], route: str, settings: WriterSettings) -> dict[int, PartOutcome]:
    """One batch of reads; nothing where that fails as a whole: then each row asks by itself, and learns why."""
    places = list(looks)
    try:
        parts = [desk.provider.batch_part(desk.target, str(place), looks[place]) for place in places]
        request = desk.provider.batch_request(desk.target, route, parts, isolated=False)
        response = await desk.call(request, settings.batch_deadline_s)
        outcomes = desk.provider.batch_outcomes(parts, response, isolated=False, commits=False)
    except Failure:
        return {}
    return dict(zip(places, outcomes, strict=True))
