"""What a write would send, or every problem of its body; nothing is stored, and nothing is sent but reads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import msgspec

from isthmus.actions.writing.desk import Desk
from isthmus.actions.writing.prepare import checked_body, prepare_wish
from isthmus.actions.writing.settings import WriterSettings
from isthmus.actions.writing.splitting import may_be_deep, split
from isthmus.actions.writing.wishes import BatchWish, DryRun, PlannedRequest, WriteWish
from isthmus.kernel.failures import RequestFailure
from isthmus.providers.writing import Problem, Verb


async def dry_run(desk: Desk, wish: WriteWish, settings: WriterSettings) -> DryRun:
    """Of a record together with nested ones: the requests of all of them, with the problems of each in its place.

    Raises what names and capabilities meet: UnknownObject, CompanyNotFound, Unsupported, RecordNotFound, Conflict.
    """
    parts = await split(desk, wish) if may_be_deep(wish) else None
    if parts is None:
        return await _single(desk, wish, settings)
    return await _several(desk, parts, settings)


async def _several(desk: Desk, parts: BatchWish, settings: WriterSettings) -> DryRun:
    problems: list[Problem] = []
    requests: list[PlannedRequest] = []
    seen: Counter[str] = Counter()
    for row in parts.rows:
        found = await _single(desk, row, settings)
        place = ""
        if row.under is not None:
            place = f"{row.under.navigation}[{seen[row.under.navigation]}]."
            seen[row.under.navigation] += 1
        problems += [msgspec.structs.replace(each, field=place + each.field) for each in found.problems]
        requests += found.requests
    return DryRun(problems=tuple(problems)) if problems else DryRun(requests=tuple(requests))


async def _single(desk: Desk, wish: WriteWish, settings: WriterSettings) -> DryRun:
    obj = await desk.describe(wish.object, desk.provider.parse_route(wish.route))
    desk.provider.refuse(obj, wish.verb, wish.action)
    company_id = desk.company(obj, wish.company)
    problems: Sequence[Problem] = ()
    if wish.body is not None:
        problems = (await checked_body(desk, obj, wish.verb, wish.body, below=wish.under is not None)).problems
        if problems and wish.verb is not Verb.UPDATE:
            return DryRun(problems=tuple(problems))
    try:
        prepared = await prepare_wish(desk, obj, wish, company_id, settings)
    except RequestFailure:
        if problems:
            return DryRun(problems=tuple(problems))
        raise
    request = prepared.request
    if request is None:
        return DryRun()
    text = request.body.decode() if request.body is not None else None
    planned = PlannedRequest(method=request.method, url=request.url, headers=dict(request.headers), body=text)
    return DryRun(requests=(planned,))
