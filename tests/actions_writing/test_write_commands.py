"""`isthmus write …` and `isthmus operations …`, typed as a person would."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from tests.hub_fixtures import US, House

from isthmus.actions.writing import Verb, WriteWish
from isthmus.store import connections
from isthmus.store.operations import Planner


@pytest.fixture
def typed(house: House) -> House:
    """A house with a connection made by command."""
    assert house.type_connect().code == 0
    return house


def created(typed: House, *more: str) -> dict[str, Any]:
    """A customer made by command."""
    done = typed.type(
        "write", "create", "customers", "--set", "displayName=Contoso", "--set", "creditLimit=1000.10",
        "--company", US, "--json", *more,
    )  # fmt: skip
    assert done.code == 0, done.words
    found: dict[str, Any] = done.json
    return found


def test_a_record_is_created_changed_and_deleted_by_command(typed: House) -> None:
    made = created(typed)
    assert (made["state"], made["record"]["creditLimit"]) == ("confirmed", 1000.1)
    where = ("--company", US)
    changed = typed.type("write", "update", "customers", made["remote_id"], "--set", "city=Odense", *where)
    assert changed.code == 0, changed.words
    assert "confirmed" in changed.words
    gone = typed.type("write", "delete", "customers", made["remote_id"], *where)
    assert gone.code == 0, gone.words


def test_a_number_where_an_id_belongs_is_told_in_words(typed: House) -> None:
    for words in (("update", "customers", "C00010", "--set", "city=X"), ("delete", "customers", "C00010")):
        wrong = typed.type("write", *words, "--company", US)
        assert wrong.code == 2, wrong.words
        assert "“C00010” is not the id of a record" in wrong.words
        assert "Look for the record by its number" in wrong.words
    assert typed.type("operations", "--json").json == []


def test_a_dry_run_shows_the_request_or_the_problems_and_sends_nothing(typed: House) -> None:
    before = typed.count("customers")
    good = typed.type("write", "create", "customers", "--set", "displayName=X", "--company", US, "--dry-run")
    assert good.code == 0
    assert "POST https://" in good.out
    assert '{"displayName":"X"}' in good.out
    bad = typed.type("write", "create", "customers", "--set", "displayNam=X", "--company", US, "--dry-run")
    assert bad.code == 5
    assert "displayName" in bad.words
    assert typed.count("customers") == before


def test_a_document_comes_from_a_file_and_is_posted(typed: House, tmp_path: Path) -> None:
    rows = json.loads(typed.type("read", "customers", "--company", US, "--limit", "1", "--format", "jsonl").out)
    items = json.loads(typed.type("read", "items", "--company", US, "--limit", "1", "--format", "jsonl").out)
    line = {"lineType": "Item", "lineObjectNumber": items["number"], "quantity": 1}
    body = {"externalDocumentNumber": "F-1", "customerNumber": rows["number"], "salesInvoiceLines": [line]}
    (tmp_path / "invoice.json").write_text(json.dumps(body))
    made = typed.type(
        "write", "create", "salesInvoices", "--body", str(tmp_path / "invoice.json"), "--company", US, "--json"
    )
    assert made.code == 0, made.words
    posted = typed.type("write", "action", "salesInvoices", made.json["remote_id"], "post", "--company", US)
    assert posted.code == 0, posted.words


def test_operations_are_listed_shown_and_reconciled(typed: House) -> None:
    made = created(typed, "--key", "k1")
    assert created(typed, "--key", "k1")["id"] == made["id"]
    listed = typed.type("operations")
    assert "create customers" in listed.words
    shown = typed.type("operations", "show", made["id"][-8:])
    assert made["remote_id"] in shown.words
    assert "k1" in shown.words
    assert typed.type("operations", "reconcile").code == 0
    assert typed.type("operations", "--state", "failed", "--json").json == []
    again = typed.type("operations", "retry", made["id"])
    assert again.code != 0
    assert "confirmed" in again.words


def test_a_write_that_nobody_can_judge_is_settled_by_a_person(typed: House) -> None:
    made = created(typed)
    typed.sandbox.fault("drop", method="POST", path="salesInvoices.*Microsoft.NAV.send$")
    read = typed.type("read", "salesInvoices", "--company", US, "--limit", "1", "--format", "jsonl")
    invoice = json.loads(read.out)["id"]
    asked = typed.type("write", "action", "salesInvoices", invoice, "send", "--company", US)
    assert asked.code == 5, asked.words
    assert "needs person" in asked.words
    waiting = typed.type("operations", "--state", "needs_person", "--json").json
    settled = typed.type("operations", "settle", waiting[0]["id"], "--did-not")
    assert settled.code == 0, settled.words
    assert made["state"] == "confirmed"


def test_an_operation_that_cannot_be_read_does_not_hold_up_the_others(typed: House) -> None:
    made = created(typed)

    async def spoil() -> None:
        async with typed.hub() as hub, hub.db.project(hub.project.id) as tx:
            await tx.execute(
                """UPDATE operations SET state = 'uncertain', next_attempt_at = now(), wish = '{"verb": "no such verb"}'
                   WHERE id = %s""",
                (made["id"],),
            )

    asyncio.run(spoil())
    assert typed.type("operations", "reconcile").code == 0


def test_a_waiting_write_is_looked_at_and_decided_by_command(typed: House) -> None:
    assert typed.type("operations", "require-approval", "--on", "--object", "customers").code == 0
    rules = typed.type("operations", "require-approval", "--json").json
    assert [(rule["required"], rule["object"]) for rule in rules] == [(True, "customers")]
    asyncio.run(_asked(typed, "First", "Second"))
    waiting = typed.type("operations", "--state", "waiting_for_approval", "--json").json
    assert len(waiting) == 2
    allowed = typed.type("operations", "approve", waiting[1]["id"], "--yes")
    assert allowed.code == 0, allowed.words
    assert '"First"' in allowed.out
    ended = typed.type("operations", "refuse", waiting[0]["id"][-6:], "--reason", "Not now.")
    assert "Not now." in ended.words
    states = {row["state"] for row in typed.type("operations", "--json").json}
    assert states == {"confirmed", "failed"}


async def _asked(typed: House, *names: str) -> None:
    """Writes as the API plans them."""
    async with typed.hub() as hub:
        async with hub.db.project(hub.project.id) as tx:
            (connection,) = await connections.every(tx)
        for name in names:
            body = json.dumps({"displayName": name}).encode()
            wish = WriteWish(verb=Verb.CREATE, object="customers", company=US, body=body)
            await hub.writer.submit(hub.project.id, connection.id, wish, planner=Planner(name="key:billing"))


def test_a_file_goes_into_a_record_and_comes_back(typed: House, tmp_path: Path) -> None:
    made = typed.type("write", "create", "items", "--set", "displayName=Thing", "--company", US, "--json").json
    (tmp_path / "thing.png").write_bytes(b"\x89PNG")
    picture = ("items", made["remote_id"], "picture/pictureContent")
    sent = typed.type("write", "upload", *picture, str(tmp_path / "thing.png"), "--company", US)
    assert sent.code == 0, sent.words
    back = typed.type("write", "download", *picture, "--to", str(tmp_path / "back.png"), "--company", US)
    assert back.code == 0, back.words
    assert (tmp_path / "back.png").read_bytes() == b"\x89PNG"
