"""Settings: API keys, the project, people's roles, one's own password and sessions."""

from __future__ import annotations

import re

from tests.api_server import Served
from tests.console.conftest import SignedIn
from tests.console_people import PASSWORD, Visitor, words
from tests.plain_http import plain_client

from isthmus.kernel.ids import new_id
from isthmus.store import approvals, console_people, integrations, listing, projects
from isthmus.store.audit import AuditEntry

KEY = re.compile(r"isth_dev_[0-9A-Za-z]{43}")
PNG = b"\x89PNG\r\n\x1a\n" + b"0" * 40


async def acts(served: Served) -> list[str]:
    """What the audit log says, newest first."""
    async with served.hub.db.project(served.hub.project.id) as tx:
        return [each.action for each in (await listing.page(tx, AuditEntry, 50))[0]]


async def test_a_key_is_shown_once_works_and_stops_when_it_is_revoked(admin: Visitor, served: Served) -> None:
    made = await admin.send("/console/settings/keys", name="billing backend", scope=["read", "write"], life="90")
    found = KEY.search(made.text)
    assert found is not None, words(made.text)
    async with plain_client(served.address) as client:
        client.headers["Authorization"] = f"Bearer {found.group()}"
        assert (await client.get("/v1/connections")).status_code == 200
        assert (await client.get("/v1/keys")).status_code == 403
    page = await admin.text("/console/settings/keys")
    assert KEY.search(page) is None
    assert "billing backend" in page
    assert "read, write" in words(page)
    revoke = re.search(r'action="(/console/settings/keys/[^"]+/revoke)"', page)
    assert revoke is not None
    assert (await admin.send(revoke.group(1))).headers["location"].endswith("notice=key-revoked")
    assert "revoked" in words(await admin.text("/console/settings/keys"))
    log = await acts(served)
    assert log[:2] == ["key.revoke", "key.create"]


async def test_a_key_needs_a_purpose_and_a_scope(admin: Visitor) -> None:
    refused = await admin.send("/console/settings/keys", name="", life="7")
    assert refused.status_code == 422
    told = words(refused.text)
    assert "Say what the key is for" in told
    assert "Tick what it may do" in told
    assert "Choose when it ends" in told


async def test_the_project_keeps_how_its_customers_pages_look(admin: Visitor, served: Served) -> None:
    proof = await admin.proof()
    answer = await admin.client.post(
        "/console/settings/look",
        data={
            "csrf": proof,
            "host_name": "Acme Billing",
            "accent": "#AA3300",
            "allowed_origins": "https://app.acme.example",
        },
        files={"logo": ("logo.png", PNG, "image/png")},
    )
    assert answer.status_code == 303, words(answer.text)
    async with served.hub.db.project(served.hub.project.id) as tx:
        page = await integrations.connect_page(tx)
    assert (page.host_name, page.accent, page.logo, page.logo_type) == ("Acme Billing", "#aa3300", PNG, "image/png")
    assert page.allowed_origins == ["https://app.acme.example"]
    assert "Your logo" in await admin.text("/console/settings")
    for field, value, said in (
        ("accent", "greenish", "The accent colour is no colour"),
        ("allowed_origins", "ftp://x", "is not an address that can be used here"),
    ):
        wrong = await admin.send("/console/settings/look", **{field: value})
        assert wrong.status_code == 422
        assert said in words(wrong.text)
    too_much = await admin.client.post(
        "/console/settings/look", data={"csrf": proof}, files={"logo": ("x.png", PNG + b"0" * 210_000, "image/png")}
    )
    assert "more than 200 KB" in words(too_much.text)


async def test_approval_is_switched_for_the_whole_project(admin: Visitor, served: Served) -> None:
    assert (await admin.send("/console/settings/approval", required="1")).status_code == 303
    async with served.hub.db.project(served.hub.project.id) as tx:
        assert [rule.required for rule in await approvals.rules(tx)] == [True]
    assert "wait until somebody has approved them" in words(await admin.text("/console/settings"))


async def test_a_project_that_the_installation_is_told_to_use_keeps_its_name(admin: Visitor, served: Served) -> None:
    refused = await admin.send("/console/settings/name", name="another")
    assert "ISTHMUS_PROJECT" in words(refused.text)
    other = await projects.create(served.hub.db, f"other {new_id().hex}")
    await admin.send("/console/project", project=str(other.id))
    name = f"renamed {new_id().hex}"
    assert (await admin.send("/console/settings/name", name=name)).status_code == 303
    assert name in await admin.text("/console/settings")


async def test_changing_the_password_signs_every_other_browser_out(
    signed_in: SignedIn, anybody: Visitor, served: Served
) -> None:
    person = await signed_in("operator")
    page = words(await person.text("/console/settings/you"))
    name = re.search(r"(operator \d+ [0-9a-f]{6}) operator", page)
    assert name is not None, page
    await anybody.sign_in(name.group(1))
    assert "Sign out everywhere else" in words(await person.text("/console/settings/you"))
    wrong = await person.send("/console/settings/you/password", current="not it", password="x" * 20, again="x" * 20)
    assert "That is not your password" in words(wrong.text)
    short = await person.send("/console/settings/you/password", current=PASSWORD, password="short", again="short")
    assert "at least 12 characters" in words(short.text)
    new = "a better battery horse"
    done = await person.send("/console/settings/you/password", current=PASSWORD, password=new, again=new)
    assert done.headers["location"].endswith("notice=password-changed")
    assert (await anybody.get("/console")).status_code == 303, "the other browser is out"
    assert (await person.get("/console")).status_code == 200
    assert (await anybody.sign_in(name.group(1))).status_code == 401
    assert (await anybody.sign_in(name.group(1), new)).status_code == 303


async def test_sessions_are_listed_and_ended_one_by_one_or_all(
    signed_in: SignedIn, anybody: Visitor, served: Served
) -> None:
    person = await signed_in("viewer")
    name = re.search(r"(viewer \d+ [0-9a-f]{6}) viewer", words(await person.text("/console/settings/you")))
    assert name is not None
    anybody.client.headers["user-agent"] = "Mozilla/5.0 (Windows NT 10.0; rv:131.0) Gecko/20100101 Firefox/131.0"
    await anybody.sign_in(name.group(1))
    page = await person.text("/console/settings/you")
    assert "Firefox on Windows" in page
    one = re.search(r'action="(/console/settings/you/sessions/[0-9a-f-]{36}/end)"', page)
    assert one is not None
    await person.send(one.group(1))
    assert (await anybody.get("/console")).status_code == 303
    await anybody.sign_in(name.group(1))
    await person.send("/console/settings/you/sessions/end")
    assert (await anybody.get("/console")).status_code == 303
    assert (await person.get("/console")).status_code == 200


async def test_roles_change_from_the_next_click_on(admin: Visitor, signed_in: SignedIn, served: Served) -> None:
    viewer = await signed_in("viewer")
    name = re.search(r"(viewer \d+ [0-9a-f]{6}) viewer", words(await viewer.text("/console/settings/you")))
    assert name is not None
    mine = await console_people.named(served.hub.db, name.group(1))
    assert mine is not None
    assert (await viewer.get("/console/settings/people")).status_code == 403
    await admin.send(f"/console/settings/people/{mine.id}/role", role="admin")
    assert (await viewer.get("/console/settings/people")).status_code == 200
    assert (await admin.send(f"/console/settings/people/{mine.id}/role", role="emperor")).status_code == 422
    assert "person.role_changed" in await acts(served)


async def test_the_last_administrator_can_be_neither_lowered_nor_removed(served: Served) -> None:
    db = served.hub.db
    name = f"only {new_id().hex}"
    async with db.system() as tx:
        others = await tx.tuples("SELECT id FROM console_people WHERE role = 'admin'")
        await tx.execute("UPDATE console_people SET role = 'viewer' WHERE role = 'admin'")
    try:
        await console_people.invite(db, b"t" + name.encode(), "admin", 1)
        person = await console_people.accept(db, b"t" + name.encode(), name, "")
        assert person is not None
        assert not await console_people.set_role(db, person.id, "viewer")
        assert not await console_people.remove(db, person.id)
        again = await console_people.provision(db, issuer="i", subject="s", name=name, email="", role="viewer")
        assert again.name == f"{name} (2)"
        assert await console_people.set_role(db, again.id, "admin")
        assert await console_people.set_role(db, person.id, "viewer")
        lowered = await console_people.provision(db, issuer="i", subject="s", name=name, email="", role="viewer")
        assert lowered.role == "admin", "the last administrator stays one, whatever the provider says"
    finally:
        async with db.system() as tx:
            await tx.execute("DELETE FROM console_people WHERE name LIKE %s", (f"{name}%",))
            await tx.execute(
                "UPDATE console_people SET role = 'admin' WHERE id = ANY (%s)", ([each for (each,) in others],)
            )
