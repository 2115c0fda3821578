"""How an action whose answer was lost is recognised: by what it does to the record (behaviour.md 7; BC-73 to BC-76).

Each action declares its sign. What was true before sending is read first; afterwards the record is looked at again. An
action without a sign leaves nothing to look for, so a person is asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final

import msgspec

from isthmus.kernel.failures import Failure
from isthmus.kernel.messages import Request, Response
from isthmus.odata import pages
from isthmus.odata.query import Query, with_query
from isthmus.providers.base import ObjectInfo, Target
from isthmus.providers.business_central.addressing import STANDARD_ROUTE, set_url
from isthmus.providers.business_central.headers import read_headers
from isthmus.providers.business_central.read import record_request
from isthmus.providers.writing import Outcome, Sighting, Verdict, WriteSpec

IDS_MAX: Final = 5_000


class Sign(StrEnum):
    """What tells that an action took place."""

    POSTED = "posted"
    """The number changes, or the status leaves the draft's (BC-74, BC-75)."""
    CANCELED = "canceled"
    """The status becomes `Canceled`, which it can only once."""
    GONE = "gone"
    """The document becomes another one and is no longer there."""
    EMPTIED = "emptied"
    """The journal's lines are posted away."""
    CREDITED = "credited"
    """A credit memo for the invoice appears."""
    STATUS = "status"
    """The status becomes a certain one."""


SIGNS: Final[Mapping[tuple[str, str], Sign]] = {
    ("salesInvoices", "post"): Sign.POSTED,
    ("salesInvoices", "postAndSend"): Sign.POSTED,
    ("salesInvoices", "cancel"): Sign.CANCELED,
    ("salesInvoices", "cancelAndSend"): Sign.CANCELED,
    ("salesInvoices", "makeCorrectiveCreditMemo"): Sign.CREDITED,
    ("salesCreditMemos", "post"): Sign.POSTED,
    ("salesCreditMemos", "postAndSend"): Sign.POSTED,
    ("salesCreditMemos", "cancel"): Sign.CANCELED,
    ("salesCreditMemos", "cancelAndSend"): Sign.CANCELED,
    ("purchaseInvoices", "post"): Sign.POSTED,
    ("purchaseCreditMemos", "post"): Sign.POSTED,
    ("purchaseCreditMemos", "cancel"): Sign.CANCELED,
    ("salesQuotes", "makeInvoice"): Sign.GONE,
    ("salesQuotes", "makeOrder"): Sign.GONE,
    ("salesQuotes", "send"): Sign.STATUS,
    ("salesOrders", "shipAndInvoice"): Sign.GONE,
    ("purchaseOrders", "receiveAndInvoice"): Sign.GONE,
    ("journals", "post"): Sign.EMPTIED,
    ("jobQueueEntries", "restart"): Sign.STATUS,
}
"""Actions of API v2.0. `send` of an invoice sends an e-mail and leaves nothing to be seen."""

ONCE: Final = frozenset({"post", "cancel"})
"""What the service itself refuses to do twice, so that repeating it at once does no harm."""

COMMITTING: Final = frozenset({"post", "postAndSend", "cancel", "cancelAndSend", "shipAndInvoice", "receiveAndInvoice"})
"""Actions that commit by themselves and so break a batch's rollback (BC-82)."""

_REACHED: Final = {("salesQuotes", "send"): "Sent", ("jobQueueEntries", "restart"): "Ready"}
_DRAFT: Final = ("Draft", "In_x0020_Review")
_FINAL: Final = ("Paid", "Canceled", "Corrective")


def sign_of(obj: ObjectInfo, action: str | None) -> Sign | None:
    """The declared sign of an action; None for actions of custom APIs and others that leave no trace."""
    return SIGNS.get((obj.name, action or "")) if obj.route == STANDARD_ROUTE else None


def request(target: Target, obj: ObjectInfo, spec: WriteSpec) -> Request | None:
    """The look that is taken before and after an action; None without a sign."""
    assert spec.record_id is not None
    match sign_of(obj, spec.action):
        case None:
            return None
        case Sign.EMPTIED:
            base = set_url(target, obj.route, obj.name, spec.company_id)
            return _ids(f"{base}({spec.record_id})/journalLines", ())
        case Sign.CREDITED:
            base = set_url(target, obj.route, "salesCreditMemos", spec.company_id)
            return _ids(base, (f"invoiceId eq {spec.record_id}",))
    return record_request(target, obj, spec.company_id, spec.record_id)


def baseline(obj: ObjectInfo, spec: WriteSpec, response: Response) -> Mapping[str, Any]:
    """What to remember: status, number and version of the record, or the ids of what hangs on it."""
    if sign_of(obj, spec.action) in (Sign.EMPTIED, Sign.CREDITED):
        return {"ids": _found(response)}
    seen = _decode(response.body)
    return {"status": seen.status, "number": seen.number, "etag": seen.etag}


def sight(obj: ObjectInfo, spec: WriteSpec, before: Mapping[str, Any], seen: Response | Failure) -> Verdict:
    """Judge the look afterwards; a failure is RecordNotFound."""
    sign = sign_of(obj, spec.action)
    here = Outcome(remote_id=spec.record_id)
    if isinstance(seen, Failure):
        if sign is Sign.GONE:
            return Verdict(sighting=Sighting.DONE, outcome=here)
        return Verdict(sighting=Sighting.OTHERWISE, detail="The record is no longer there.")
    if sign is Sign.EMPTIED:
        return _emptied(before, _found(seen), here)
    if sign is Sign.CREDITED:
        appeared = set(_found(seen)) - set(before.get("ids", ()))
        return Verdict(sighting=Sighting.DONE if appeared else Sighting.NOT_DONE, outcome=here)
    now = _decode(seen.body)
    here = Outcome(remote_id=spec.record_id, etag=now.etag, record=bytes(seen.body))
    untouched = now.etag is not None and now.etag == before.get("etag")
    again = Verdict(sighting=Sighting.NOT_DONE, outcome=here, harmless=spec.action in ONCE)
    match sign:
        case Sign.POSTED:
            return _posted(obj, before, now, here, again)
        case Sign.CANCELED:
            return Verdict(sighting=Sighting.DONE, outcome=here) if now.status == "Canceled" else again
        case Sign.STATUS:
            reached = _REACHED[(obj.name, spec.action or "")]
            if before.get("status") == reached:
                return Verdict(sighting=Sighting.UNSEEABLE, detail=f"The status was {reached} before already.")
            return Verdict(sighting=Sighting.DONE, outcome=here) if now.status == reached else again
        case Sign.GONE if now.status == "Accepted" and before.get("status") != "Accepted":
            return Verdict(sighting=Sighting.DONE, outcome=here)
    if untouched:
        return again
    return Verdict(sighting=Sighting.OTHERWISE, detail="The document is still there, but it was changed meanwhile.")


def _posted(obj: ObjectInfo, before: Mapping[str, Any], now: _Seen, here: Outcome, again: Verdict) -> Verdict:
    """A purchase draft is always `Draft`; a sales draft may be released, which is `Open` too (BC-75)."""
    done = Verdict(sighting=Sighting.DONE, outcome=here)
    if now.status in _FINAL or (now.number and now.number != before.get("number")):
        return done
    if now.status in _DRAFT:
        return again
    if not obj.name.startswith("sales"):
        return done
    if now.status == before.get("status") and now.etag == before.get("etag"):
        return again
    return Verdict(sighting=Sighting.OTHERWISE, detail="The document is Open: released or posted, nobody can tell.")


def _emptied(before: Mapping[str, Any], now: list[str], here: Outcome) -> Verdict:
    then = set(before.get("ids", ()))
    if then and not then & set(now):
        return Verdict(sighting=Sighting.DONE, outcome=here)
    if then and then == set(now):
        return Verdict(sighting=Sighting.NOT_DONE, outcome=here)
    return Verdict(sighting=Sighting.OTHERWISE, detail="The journal's lines were changed meanwhile.")


class _Seen(msgspec.Struct):
    etag: str | None = msgspec.field(name="@odata.etag", default=None)
    status: str | None = None
    number: str | None = None


def _decode(body: bytes) -> _Seen:
    try:
        return msgspec.json.decode(body, type=_Seen)
    except msgspec.DecodeError as error:
        raise pages.corrupt(body, error) from error


def _ids(url: str, terms: tuple[str, ...]) -> Request:
    return Request(
        method="GET",
        url=with_query(url, Query(filter=terms, select=("id",))),
        headers=read_headers(page_records=IDS_MAX, replica=False),
        purpose="look",
    )


def _found(response: Response) -> list[str]:
    return pages.slice_page(response.body).ids
