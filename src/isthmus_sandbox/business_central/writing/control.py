"""What only the control API can do to documents: approval states, which no API page lets a client write (BC-75)."""

from __future__ import annotations

from isthmus_sandbox.business_central.errors import ODataError
from isthmus_sandbox.business_central.render import ReadContext
from isthmus_sandbox.business_central.service import BusinessCentralService, Place
from isthmus_sandbox.business_central.writing.documents import draft_state
from isthmus_sandbox.business_central.writing.kinds import BY_SET
from isthmus_sandbox.business_central.writing.session import Session


def set_draft_state(service: BusinessCentralService, place: Place, row_id: str, state: str) -> str:
    """Make a draft `draft`, `review` (approval pending) or `released`; returns the status that it shows then.

    Raises ValueError for another set, an unknown record, a posted document, or a state that the set does not have.
    """
    kind = BY_SET.get(place.entity.set_name)
    row = service.table(place.company, place.entity).get(row_id)
    if kind is None or row is None:
        raise ValueError(f"{place.entity.set_name} has no draft {row_id}")
    context = ReadContext(service, place.environment, place.company, place.entity.route, "", "", "en-US")
    status = place.entity.by_name["status"]
    try:
        draft_state(Session(context, place.company), kind, row, state, service.enums[status.enum or ""])
    except ODataError as error:
        raise ValueError(error.message) from error
    changed = service.table(place.company, place.entity).get(row_id)
    assert changed is not None
    return str(changed.values["status"])
