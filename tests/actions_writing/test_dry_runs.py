"""A dry run: the exact request, every problem, nothing stored and nothing written."""

from __future__ import annotations

import msgspec
import pytest
from tests.actions_writing.conftest import Pen, confirmed, record

from isthmus.actions.writing import DryRun
from isthmus.kernel.failures import Conflict, RecordNotFound, Unsupported


async def dry(pen: Pen, *wish: object, **more: object) -> DryRun:
    """What a write would do."""
    return await pen.writer.dry_run(pen.project_id, pen.connection.id, pen.wish(*wish, **more))  # type: ignore[arg-type]  # handed on


@pytest.mark.conformance("BC-52", "BC-60", "BC-63")
async def test_a_create_shows_its_request_with_everything_encoded(pen: Pen) -> None:
    (request,) = (
        await dry(pen, "create", "customers", b'{"displayName":"A","creditLimit":10.10,"blocked":"all"}')
    ).requests
    assert (request.method, request.body) == ("POST", '{"displayName":"A","creditLimit":10.10,"blocked":"All"}')
    assert "Authorization" not in request.headers
    assert pen.rows("customers", displayName="A") == []
    assert await pen.writer.list(pen.project_id) == []
    assert pen.sent("POST") == []


@pytest.mark.conformance("BC-52", "BC-63", "BC-64", "BC-68", "BC-72")
async def test_every_problem_is_named_at_once(pen: Pen) -> None:
    body = {"id": "x", "displayName": "y" * 101, "blocked": "Sometimes", "adress": "z", "address": {"city": "q"}}
    result = await dry(pen, "create", "customers", body)
    assert result.requests == ()
    assert [problem.code for problem in result.problems] == [
        "read_only",
        "too_long",
        "wrong_member",
        "unknown_field",
        "unknown_field",
    ]


@pytest.mark.conformance("BC-60", "BC-63")
async def test_a_change_shows_the_version_it_relies_on_and_only_what_differs(pen: Pen) -> None:
    made = confirmed(await pen.submit("create", "customers", {"displayName": "A", "city": "Aarhus"}))
    whole = msgspec.json.Encoder(decimal_format="number").encode(record(made) | {"city": "Odense"})
    (request,) = (await dry(pen, "update", "customers", whole, record_id=made.remote_id)).requests
    assert (request.method, request.body) == ("PATCH", '{"city":"Odense"}')
    assert request.headers["If-Match"] == made.etag
    assert (await dry(pen, "update", "customers", {"city": "Aarhus"}, record_id=made.remote_id)) == DryRun()


async def test_a_changed_read_only_field_is_a_problem(pen: Pen) -> None:
    made = confirmed(await pen.submit("create", "customers", {"displayName": "A"}))
    result = await dry(pen, "update", "customers", {"balanceDue": 5}, record_id=made.remote_id)
    assert [problem.code for problem in result.problems] == ["read_only"]


async def test_an_upsert_shows_whether_it_creates_or_changes(pen: Pen) -> None:
    body = {"number": "UP-9", "displayName": "A"}
    (first,) = (await dry(pen, "upsert", "customers", body)).requests
    made = confirmed(await pen.submit("create", "customers", body))
    (second,) = (await dry(pen, "upsert", "customers", body | {"city": "X"})).requests
    assert (first.method, second.method) == ("POST", "PATCH")
    assert (made.remote_id or "?") in second.url


async def test_what_cannot_be_is_told_before_it_is_tried(pen: Pen) -> None:
    made = confirmed(await pen.submit("create", "customers", {"displayName": "A"}))
    with pytest.raises(Unsupported):
        await dry(pen, "action", "customers", record_id=made.remote_id, action="post")
    with pytest.raises(Conflict):
        await dry(pen, "delete", "customers", record_id=made.remote_id, if_match='W/"old"')
    with pytest.raises(RecordNotFound):
        await dry(pen, "delete", "customers", record_id="00000000-0000-0000-0000-00000000abcd")
    (posting,) = (
        await dry(pen, "action", "salesInvoices", record_id=pen.rows("salesInvoices")[0]["id"], action="post")
    ).requests
    assert posting.url.endswith("/Microsoft.NAV.post")
    assert posting.body is None


async def test_upserts_that_come_at_once_make_one_record(pen: Pen) -> None:
    import asyncio

    writers = [pen.another() for _ in range(4)]
    wish = pen.wish("upsert", "customers", {"displayName": "Same", "email": "a@b.example"}, match=("email",))
    done = await asyncio.gather(*(each.submit(pen.project_id, pen.connection.id, wish) for each in writers))
    assert len({confirmed(each).remote_id for each in done}) == 1
    assert len(pen.rows("customers", displayName="Same")) == 1
