"""A sync's other ways to run, its names, held deletions; and what a record was before it changed."""

from __future__ import annotations

import re

from tests.api_server import Served
from tests.console.conftest import SignedIn
from tests.console_people import Visitor, words

from isthmus.store import runs, syncs, versions
from isthmus.store.rows import RunKind, RunState


async def test_a_record_shows_what_each_change_did_and_which_run_brought_it(admin: Visitor, served: Served) -> None:
    connection = await served.house.connect(served.hub)
    sync = await served.house.sync(served.hub, connection, "customers")
    await served.house.run(served.hub, sync)
    (changed,) = served.house.change("customers", 1, values={"displayName": "Second name"})
    run, _ = await served.house.run(served.hub, sync)
    served.house.change("customers", ids=[changed], values={"displayName": "Third name", "city": "Ulm"})
    await served.house.run(served.hub, sync)
    page = await admin.text("/console/search", q="customers")
    listed = await admin.text(f"/console/data/{sync.id}", q="Third name")
    record = re.search(r'href="(/console/data/[^"]+/record\?[^"]+)"', listed)
    assert record is not None, words(page)
    shown = await admin.text(record.group(1).replace("&amp;", "&"))
    told = words(shown)
    assert "What changed" in told
    assert "− Second name" in told
    assert "+ Third name" in told
    assert "+ Ulm" in told
    assert told.index("Third name") < told.index("Before that")
    assert f"/console/runs/{run.id}" in shown
    served.house.delete("customers", ids=[changed])
    await served.house.run(served.hub, sync, RunKind.SWEEP)
    async with served.hub.db.project(served.hub.project.id) as tx:
        streams = await syncs.streams(tx, sync.id)
        gone = [await versions.of_record(tx, sync.id, each.company, changed) for each in streams]
    assert all(each == [] for each in gone), "a deleted record loses its earlier versions with its content"


async def test_only_the_newest_versions_stay(served: Served) -> None:
    connection = await served.house.connect(served.hub)
    sync = await served.house.sync(served.hub, connection, "customers")
    await served.house.run(served.hub, sync)
    (changed,) = served.house.change("customers", 1, values={"displayName": "Other"})
    async with served.hub.db.project(served.hub.project.id) as tx:
        stream = (await syncs.streams(tx, sync.id))[0]
        await tx.execute(
            """INSERT INTO record_versions (project_id, stream_id, remote_id, replaced_at, since, raw)
               SELECT %s, id, 'old', now() - interval '31 days', now() - interval '40 days', '{}' FROM streams
               WHERE sync_id = %s""",
            (tx.project_id, sync.id),
        )
    await served.house.run(served.hub, sync)
    async with served.hub.db.project(served.hub.project.id) as tx:
        rows = await tx.tuples(
            "SELECT remote_id FROM record_versions v JOIN streams t ON t.id = v.stream_id WHERE t.sync_id = %s",
            (sync.id,),
        )
    assert (changed,) in rows
    assert rows.count(("old",)) < 4, f"the stream {stream.id} that changed has let its oldest go"


async def test_a_run_is_asked_for_in_the_way_that_was_chosen(admin: Visitor, served: Served) -> None:
    connection = await served.house.connect(served.hub)
    sync = await served.house.sync(served.hub, connection, "customers")
    base = f"/console/syncs/{sync.id}"
    assert "What should this run of customers read?" in words(await admin.text(f"{base}/run"))

    async def asked(**form: str) -> tuple[RunKind, dict[str, object]]:
        answer = await admin.send(f"{base}/run", **form)
        assert answer.status_code == 303, words(answer.text)
        async with served.hub.db.project(served.hub.project.id) as tx:
            active = await runs.active(tx, sync.id)
            assert active is not None
            await runs.cancel(tx, active.id)
        return active.kind, active.options

    kind, options = await asked(way="range", since="2026-01-01T00:00", until="2026-02-01T12:30")
    assert kind is RunKind.INCREMENTAL
    assert options["since"] == "2026-01-01T00:00:00+00:00"
    assert options["until"] == "2026-02-01T12:30:00+00:00"
    assert (await asked(way="sweep"))[0] is RunKind.SWEEP
    assert (await asked(way="full"))[1]["full"] is True
    for form, said in (
        ({"way": "range"}, "Say from when."),
        ({"way": "range", "since": "yesterday"}, "“yesterday” is no time."),
        ({"way": "range", "since": "2026-03-01T00:00", "until": "2026-02-01T00:00"}, "is later than"),
    ):
        refused = await admin.send(f"{base}/run", **form)
        assert refused.status_code == 422
        assert said in words(refused.text)


async def test_fields_get_the_hosts_names_and_wrong_ones_are_refused(admin: Visitor, served: Served) -> None:
    connection = await served.house.connect(served.hub)
    sync = await served.house.sync(served.hub, connection, "customers")
    base = f"/console/syncs/{sync.id}"
    saved = await admin.send(f"{base}/names", names="displayName = name\n city = town ")
    assert saved.status_code == 303, words(saved.text)
    async with served.hub.db.project(served.hub.project.id) as tx:
        assert (await syncs.get(tx, sync.id)).names == {"displayName": "name", "city": "town"}
    assert "displayName = name" in await admin.text(base)
    for names, said in (("displayNam = x", "displayName"), ("displayName", "is no renaming")):
        refused = await admin.send(f"{base}/names", names=names)
        assert refused.status_code == 422
        assert said in words(refused.text)


async def test_held_deletions_are_released_by_name_only(admin: Visitor, signed_in: SignedIn, served: Served) -> None:
    connection = await served.house.connect(served.hub)
    sync = await served.house.sync(served.hub, connection, "customers")
    await served.house.run(served.hub, sync)
    stored = await served.house.stored(served.hub, sync)
    served.house.delete("customers", served.house.count("customers", "CRONUS USA, Inc."))
    held, _ = await served.house.run(served.hub, sync, RunKind.SWEEP)
    assert held.state is RunState.HELD
    base = f"/console/syncs/{sync.id}"
    page = words(await admin.text(base))
    assert "deletions are held back" in page
    operator = await signed_in("operator")
    assert (await operator.send(f"{base}/release", release="customers")).status_code == 403
    assert (await admin.send(f"{base}/release", release="customer")).status_code == 422
    released = await admin.send(f"{base}/release", release="customers")
    assert released.status_code == 303, words(released.text)
    async with served.hub.db.project(served.hub.project.id) as tx:
        active = await runs.active(tx, sync.id)
    assert active is not None
    await served.hub.perform(active)
    assert await served.house.stored(served.hub, sync) < stored
    assert "deletions are held back" not in words(await admin.text(base))
    again = await admin.send(f"{base}/release", release="customers")
    assert "No deletions are held back any more." in words(again.text)
