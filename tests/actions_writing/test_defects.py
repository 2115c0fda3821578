"""A wrong id is refused before anything is written down; a write that meets a defect of ours comes to a safe end."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import msgspec
import pytest
from tests.actions_writing.conftest import QUICK, Pen, confirmed, record, refused
from tests.actions_writing.test_events_of_writes import told
from tests.own_database import database_url

from isthmus.actions.writing import UploadWish, Writer
from isthmus.client.protocols import Journal
from isthmus.connections.opening import OpenConnection
from isthmus.kernel.failures import InvalidInput
from isthmus.providers.business_central.provider import BusinessCentralProvider
from isthmus.store.operations import OperationState

__all__ = ["database_url"]
"""What is due is looked for in all projects, so nobody else's may be there."""

WISHES = [
    pytest.param("update", {"city": "Odense"}, {}, id="a change"),
    pytest.param("update", {"city": "Odense"}, {"if_match": 'W/"1"'}, id="a change of a version"),
    pytest.param("delete", None, {}, id="a deletion"),
    pytest.param("action", None, {"object": "salesInvoices", "action": "post"}, id="an action"),
]


@pytest.mark.parametrize(("verb", "body", "more"), WISHES)
@pytest.mark.parametrize("wrong", ["C00010", "not-a-guid", "a,b"])
async def test_what_is_no_id_is_refused_before_anything_is_written_down(
    pen: Pen, verb: str, body: Any, more: dict[str, Any], wrong: str
) -> None:
    wish = pen.wish(verb, **{"object": "customers", "body": body, "record_id": wrong, **more})
    for asked in (pen.writer.submit, pen.writer.dry_run):
        with pytest.raises(InvalidInput, match=f"“{wrong}” is not the id of a record") as refusal:
            await asked(pen.project_id, pen.connection.id, wish)
        assert refusal.value.subject == "record_id"
        assert "looks like 652545c1-" in refusal.value.message
        assert "number" in refusal.value.remedy
    assert await pen.writer.list(pen.project_id) == []


async def test_a_row_with_what_is_no_id_fails_alone(pen: Pen) -> None:
    good = pen.wish("create", "customers", {"displayName": "A"})
    bad, other = await pen.batch(pen.wish("delete", "customers", record_id="C00010"), good)
    assert (refused(bad)["code"], refused(bad)["subject"]) == ("invalid_input", "record_id")
    confirmed(other)


async def test_bytes_for_what_is_no_id_are_refused(pen: Pen) -> None:
    async def parts() -> AsyncIterator[bytes]:
        yield b"x"

    wish = UploadWish(
        object="items", record_id="1000", stream="picture/pictureContent", company=pen.wish("delete", "items").company
    )
    with pytest.raises(InvalidInput, match="“1000” is not the id"):
        await pen.writer.streams.upload(pen.project_id, pen.connection.id, wish, parts())
    assert await pen.writer.list(pen.project_id) == []


def stumbling(pen: Pen, *at: str) -> Writer:
    """A writer whose provider meets a defect at these steps."""

    def stumble(*_: Any, **__: Any) -> Any:
        raise ValueError("nobody foresaw this")

    broken = type("Stumbling", (BusinessCentralProvider,), dict.fromkeys(at, stumble), frozen=True, kw_only=True)

    @asynccontextmanager
    async def opening(project_id: UUID, connection_id: UUID, journal: Journal) -> AsyncIterator[OpenConnection]:
        async with pen.hub.opener.open(project_id, connection_id, journal) as opened:
            yield OpenConnection(
                pen.hub.db,
                opened.connection,
                opened.grant,
                opened.cloud,
                opened.companies,
                msgspec.structs.replace(opened.access, provider=broken()),
                opened.tokens,
                pen.hub.clock,
                opened.budget,
                opened.streams,
            )

    return Writer(pen.hub.db, opening, pen.hub.clock, QUICK)


@pytest.mark.parametrize("batch", [False, True], ids=["by itself", "rows of a batch"])
async def test_a_defect_before_anything_was_sent_ends_the_write_as_failed_and_the_host_is_told(
    pen: Pen, batch: bool
) -> None:
    made = confirmed(await pen.submit("create", "customers", {"displayName": "A", "city": "Aarhus"}))
    pen.writer = stumbling(pen, "record_request")
    wish = pen.wish("update", "customers", {"city": "Odense"}, record_id=made.remote_id)
    if batch:
        (broken,) = await pen.batch(wish)
    else:
        broken = await pen.writer.submit(pen.project_id, pen.connection.id, wish)
    failure = refused(broken)
    assert (failure["code"], failure["turn"]) == ("defect", "isthmus")
    assert str(broken.id) in failure["remedy"]
    assert pen.sent("PATCH") == []
    (event,) = [each for each in await told(pen) if each.subject["operation_id"] == str(broken.id)]
    assert (event.type, event.data["failure"]["code"]) == ("operation.failed", "defect")
    mended = pen.another()
    again = confirmed(await mended.retry(pen.project_id, broken.id))
    assert record(again)["city"] == "Odense"


@pytest.mark.parametrize("batch", [False, True], ids=["by itself", "rows of a batch"])
async def test_a_defect_after_the_sending_leaves_it_uncertain_and_it_is_looked_for(pen: Pen, batch: bool) -> None:
    pen.writer = stumbling(pen, "outcome")
    wish = pen.wish("create", "customers", {"displayName": "Sent once", "number": "MINE-1"})
    if batch:
        (broken,) = await pen.batch(wish)
    else:
        broken = await pen.writer.submit(pen.project_id, pen.connection.id, wish)
    assert (broken.state, (broken.failure or {})["code"]) == (OperationState.UNCERTAIN, "defect")
    found = confirmed(await pen.settled(broken, pen.another()))
    assert len(pen.rows("customers", displayName="Sent once")) == found.attempts == 1


async def test_a_person_is_asked_when_the_look_meets_the_defect_too(pen: Pen) -> None:
    pen.writer = stumbling(pen, "outcome", "sight")
    broken = await pen.submit("create", "customers", {"displayName": "Sent once", "number": "MINE-2"})
    assert await pen.writer.reconcile_due() == 1
    asked = await pen.stored(broken.id)
    assert asked.state is OperationState.NEEDS_PERSON
    assert (asked.failure or {})["code"] == "outcome_unknown"
    assert await pen.writer.reconcile_due() == 0
    assert await pen.stored(broken.id) == asked, "nobody but a person goes on with it"
