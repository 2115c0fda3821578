"""What needs somebody: the worst first, each with its reason, since when, whose turn, and a way out of here."""

from __future__ import annotations

import inspect
import re

from tests.api_server import Served
from tests.console_people import Visitor, words

from isthmus.configuration import NewConnections
from isthmus.connections.integrations import IntegrationWish
from isthmus.console.remedies import COMMAND, HERE, remedy_here
from isthmus.console.words import plain, who
from isthmus.kernel import failures
from isthmus.kernel.failures import Failure
from isthmus.store import default_syncs, integrations, syncs
from isthmus.store.audit import Author
from isthmus.store.rows import Connection, RunKind, RunState
from isthmus_sandbox.worlds import identities

RUN_ON_THE_MACHINE = {"configuration", "master_key_missing", "seal_broken", "database_unavailable", "storage_full"}
"""What nobody can mend from a page: `isthmus doctor` is the right advice."""


def every_failure() -> list[type[Failure]]:
    """The whole tree."""
    found = [each for _, each in inspect.getmembers(failures, inspect.isclass) if issubclass(each, Failure)]
    assert len(found) > 30
    return found


def test_no_remedy_in_the_console_sends_people_to_the_command_line() -> None:
    told = {each.code: remedy_here(each().to_dict()) for each in every_failure()}
    assert {code for code, remedy in told.items() if COMMAND in remedy} <= RUN_ON_THE_MACHINE
    assert {code for code in HERE if code not in told} == set(), "a code that no failure has"


async def lacking(served: Served, wanted: str = "No Such Company") -> Connection:
    """A connection whose integration wants a sync that does not fit it, and one that does."""
    hub = served.hub
    wish = IntegrationWish(name="BC", cloud=served.house.cloud, client_id=identities.WEB_APP_ID)
    made = await hub.connect.integrations.create(wish, by=Author(actor="test"))
    connection = await served.house.connect(hub)
    async with hub.db.project(hub.project.id) as tx:
        await default_syncs.replace(tx, made.id, {"customers": {"companies": [wanted]}, "items": {}})
        await integrations.assign(tx, connection.id, made.id)
    await NewConnections(hub.db, hub.opener).work()
    return connection


async def test_a_default_sync_that_does_not_fit_is_told_with_its_reason_and_a_button(
    admin: Visitor, served: Served
) -> None:
    connection = await lacking(served)
    home = words(await admin.text("/console"))
    assert "cronus lacks 1 sync of its integration: customers" in home
    assert "There is no company “No Such Company”" in home
    assert "Your turn just now" in home or "Your turn since" in home
    base = f"/console/connections/{connection.id}"
    page = await admin.text(base)
    assert "This connection lacks 1 sync of its integration" in words(page)
    assert "Try again now" in words(page)
    assert "isthmus check" not in page
    async with served.hub.db.project(served.hub.project.id) as tx:
        assert [each.object for each in await syncs.every(tx, connection.id)] == ["items"]
        (integration,) = await integrations.every(tx)
        await tx.execute(
            "UPDATE integrations SET default_syncs = '{\"customers\": {}}' WHERE id = %s", (integration.id,)
        )
    again = await admin.send(f"{base}/default-syncs/again")
    assert again.headers["location"].endswith("notice=default-syncs-again")
    await NewConnections(served.hub.db, served.hub.opener).work()
    async with served.hub.db.project(served.hub.project.id) as tx:
        assert {each.object for each in await syncs.every(tx, connection.id)} == {"items", "customers"}
        assert await default_syncs.refused(tx) == []
    assert "lacks" not in words(await admin.text("/console"))


async def test_a_connection_may_do_without_what_does_not_fit(admin: Visitor, served: Served) -> None:
    connection = await lacking(served)
    left = await admin.send(f"/console/connections/{connection.id}/default-syncs/leave")
    assert left.status_code == 303
    assert "lacks" not in words(await admin.text("/console"))
    await admin.send(f"/console/connections/{connection.id}/default-syncs/again")
    await NewConnections(served.hub.db, served.hub.opener).work()
    async with served.hub.db.project(served.hub.project.id) as tx:
        assert await default_syncs.refused(tx) == [], "nobody tries again"


async def test_held_deletions_stay_in_sight_when_later_runs_succeed(admin: Visitor, served: Served) -> None:
    connection = await served.house.connect(served.hub)
    sync = await served.house.sync(served.hub, connection, "customers", schedule="every 1d")
    await served.house.run(served.hub, sync)
    served.house.delete("customers", served.house.count("customers", "CRONUS USA, Inc."))
    held, _ = await served.house.run(served.hub, sync, RunKind.SWEEP)
    later, _ = await served.house.run(served.hub, sync)
    assert (held.state, later.state) == (RunState.HELD, RunState.SUCCEEDED)
    home = await admin.text("/console")
    assert re.search(r"[\d,]+ deletions of customers of cronus are held back", words(home))
    assert f'href="/console/syncs/{sync.id}#held"' in home
    assert "1 with deletions held back" in words(home)


async def test_the_worst_comes_first_whatever_kind_it_is(admin: Visitor, served: Served) -> None:
    connection = await lacking(served)
    await served.house.connect(served.hub, name="locked out", secret="wrong")
    home = await admin.text("/console")
    assert home.index("locked out: the sign-in is not accepted") < home.index("cronus lacks 1 sync")
    assert f"/console/connections/{connection.id}#default-syncs" in home


async def test_an_app_of_one_organization_is_told_to_lead_customers_nowhere(admin: Visitor, served: Served) -> None:
    form = {"name": "BC", "client_id": identities.WEB_APP_ID, "tenant": identities.TENANT_ID, "cloud": "public"}
    new = "/console/apps/business_central/integrations/new"
    assert "nobody else can sign in through it" in words(await admin.text(new))
    made = await admin.send(new, **form)
    assert made.status_code == 303, words(made.text)
    page = words(await admin.text(made.headers["location"]))
    assert "Customers cannot sign in through this app" in page
    assert "AADSTS50020" in page
    base = made.headers["location"].partition("?")[0]
    assert "Customers cannot sign in through this app" in words(await admin.text(f"{base}/change"))
    own = await admin.send(f"{base}/change", **form, modes=["own_app"])
    assert own.status_code == 303
    assert "Customers cannot sign in" not in words(await admin.text(base))
    refused = await admin.send(f"{base}/change", **(form | {"tenant": "not/a/tenant"}))
    assert (refused.status_code, "is not a tenant" in words(refused.text)) == (422, True)


async def test_a_failing_sync_offers_what_mends_it_wherever_it_is_told(admin: Visitor, served: Served) -> None:
    connection = await served.house.connect(served.hub)
    sync = await served.house.sync(served.hub, connection, "items")
    async with served.hub.db.project(served.hub.project.id) as tx:
        await tx.execute("UPDATE syncs SET filter = %s WHERE id = %s", ("colour eq 'red'", sync.id))
    run, _ = await served.house.run(served.hub, sync)
    assert run.state is RunState.FAILED
    change = f'href="/console/syncs/{sync.id}/change">Change what is read</a>'
    assert f'href="/console/syncs/{sync.id}">Look at the sync</a>' in await admin.text("/console")
    for path in (f"/console/syncs/{sync.id}", f"/console/runs/{run.id}"):
        page = await admin.text(path)
        assert change in page, path
        assert "isthmus describe" not in page
    assert "Nothing was read" in words(await admin.text(f"/console/runs/{run.id}"))


async def test_an_integration_whose_app_has_no_secret_asks_for_it(admin: Visitor, served: Served) -> None:
    wish = IntegrationWish(name="BC", cloud=served.house.cloud, client_id=identities.WEB_APP_ID)
    made = await served.hub.connect.integrations.create(wish, by=Author(actor="test"))
    page = words(await admin.text(f"/console/apps/integrations/{made.id}"))
    assert "Your app has no secret here" in page
    assert "Enter the secret" in page


def test_the_audit_log_speaks_plainly() -> None:
    assert plain({"objects": [], "required": True, "name": None}) == "objects none, required yes, name none"
    assert plain(["a", "019aa3c2-0000-7000-8000-0000a1b2c3d4"]) == "a, …a1b2c3d4"
    assert [who(each) for each in ("user:Anna", "key:billing", "integration", None)] == [
        "Anna", "key billing", "integration", "",
    ]  # fmt: skip
