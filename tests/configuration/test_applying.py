"""Files applied to a project beside a sandbox, as a person types it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from textwrap import dedent

import psycopg
import pytest
from tests.hub_fixtures import House, Typed

from isthmus.configuration import NewConnections, Outcome, Plan, Shown, Sign, Step, apply, load, plan, serialised
from isthmus.kernel.failures import Conflict
from isthmus.store import integrations, syncs

SECRET = "whsec_" + "QUJD" * 10
OTHER = "whsec_" + "REVG" * 10

FULL = """\
    version: 1
    project:
      require_approval: true
      retention: {runs: 365, records: forever, changes: forever}
      notices:
        ops@example.com: {kinds: [connection_trouble, secret_expiring]}
        boss@example.com:
      connect_page: {host_name: Ledgerly, accent: "#0a6552", allowed_origins: ["https://app.example.com"]}
    integrations:
      business-central:
        client_id: 5f0e1a52-0000-4000-8000-000000000001
        client_secret: ${BC_SECRET}
        secret_expires: "2027-03-31"
        objects:
          customers: {reason: To match your customers with ours.}
    destinations:
      billing:
        webhook: https://app.example.com/hooks/isthmus
        objects: [customers]
        events: [records.changed, run.failed]
        secret: ${HOOK_SECRET}
      archive: {folder: ., start: now}
    connections:
      cronus:
        require_approval: false
        syncs:
          customers:
            fields: [number, displayName, balanceDue]
            filter: balanceDue ge 0
            companies: [CRONUS USA, Inc.]
            schedule: every 10m
            names: {displayName: name}
            refresh: every 7d
          items: {backfill: 30, deletions: every 2d}
    """.replace("[CRONUS USA, Inc.]", '["CRONUS USA, Inc."]')


@pytest.fixture
def connected(house: House) -> House:
    """A project with one connection."""
    assert house.type_connect().code == 0
    return house


def _write(house: House, text: str) -> Path:
    file = house.settings.home / "isthmus.yaml"
    file.write_text(dedent(text), encoding="utf-8")
    return file


def _type(house: House, verb: str, text: str, *more: str, **environ: str) -> Typed:
    file = _write(house, text)
    return house.type(verb, str(file), *more, **({"BC_SECRET": "s3cret", "HOOK_SECRET": SECRET} | environ))


def test_a_whole_project_is_planned_applied_and_then_there_is_nothing_to_do(connected: House) -> None:
    planned = _type(connected, "plan", FULL)
    assert planned.code == 0, planned.words
    assert "+ integration business-central" in planned.out
    assert "7 to add, 4 to change, 0 to remove" in planned.words

    applied = _type(connected, "apply", FULL, "--json")
    assert applied.code == 0, applied.words
    assert applied.json["changed"] == 11
    assert "s3cret" not in planned.out + applied.out
    assert SECRET not in applied.out

    again = _type(connected, "apply", FULL)
    assert (again.code, again.out) == (0, "")
    assert "Nothing to change" in again.words
    assert _type(connected, "plan", FULL, "--json").json["steps"] == []
    assert _type(connected, "plan", FULL, "--check").code == 0
    assert _type(connected, "plan", FULL.replace("every 10m", "every 20m"), "--check").code == 1

    [sync] = [each for each in connected.type("sync", "list", "--json").json if each["object"] == "customers"]
    assert (sync["fields"], sync["schedule"]) == (["number", "displayName", "balanceDue"], "every 10m")
    hooks = {each["name"]: each for each in connected.type("destination", "list", "--json").json}
    assert hooks["billing"]["url"] == "https://app.example.com/hooks/isthmus"


def test_the_example_of_the_guide_can_be_applied(connected: House) -> None:
    guide = (Path(__file__).resolve().parents[2] / "docs/how-to/config-as-code.md").read_text(encoding="utf-8")
    example = guide.split("```yaml\n")[1].split("```")[0]
    (connected.settings.home / "archive").mkdir()
    (connected.settings.home / "secrets").mkdir()
    (connected.settings.home / "secrets" / "bc").write_text("s3cret\n")

    applied = _type(connected, "apply", example, ACME_HOOK_SECRET=SECRET)
    assert applied.code == 0, applied.words
    assert "Nothing to change" in _type(connected, "apply", example, ACME_HOOK_SECRET=SECRET).words


def test_names_that_the_vendor_does_not_have_are_told_at_their_line_and_change_nothing(connected: House) -> None:
    text = """\
        version: 1
        destinations: {archive: {folder: .}}
        connections:
          cronus:
            syncs:
              customers:
                fields: [number, displayNam]
        """
    applied = _type(connected, "apply", text, "--json")

    [mistake] = applied.json["mistakes"]
    assert applied.code == 2
    assert (mistake["line"], mistake["column"], mistake["nearest"][0]) == (7, 26, "displayName")
    assert connected.type("destination", "list", "--json").json == []


@pytest.mark.parametrize(
    ("text", "line", "near"),
    [
        ("connections:\n  cronos: {}", 3, "cronus"),
        ("connections:\n  cronus:\n    syncs:\n      custmers: {}", 5, "customers"),
        ("connections:\n  cronus:\n    syncs:\n      customers: {companies: [CRONUS US]}", 5, "CRONUS USA, Inc."),
        ("connections:\n  cronus:\n    syncs:\n      customers:\n        filter: balanceDu gt 1", 6, "balanceDue"),
    ],
)
def test_a_plan_finds_wrong_names_of_the_project_and_of_the_vendor(
    connected: House, text: str, line: int, near: str
) -> None:
    planned = _type(connected, "plan", f"version: 1\n{text}\n", "--json")

    [mistake] = planned.json["mistakes"]
    assert mistake["line"] == line
    assert near in mistake["nearest"] or near in mistake["message"] + mistake["remedy"]


def test_what_the_file_does_not_name_stays_until_leave_is_given_and_its_loss_is_told_in_numbers(
    connected: House,
) -> None:
    assert _type(connected, "apply", FULL).code == 0
    assert connected.type("sync", "run", "customers").code == 0
    less = (
        "version: 1\ndestinations: {}\nconnections: {cronus: {syncs: {items: {backfill: 30, deletions: every 2d}}}}\n"
    )

    kept = _type(connected, "apply", less, "--json").json
    assert (kept["changed"], sorted(each["name"] for each in kept["kept"])) == (
        0,
        ["archive", "billing", "cronus › customers"],
    )
    planned = _type(connected, "plan", less, "--destroy")
    lost = next(line for line in planned.out.splitlines() if "stored record" in line)
    assert int(lost.split("loses ")[1].split(" ")[0].replace(",", "")) > 1
    assert _type(connected, "apply", less, "--destroy", "--json").error["code"] == "invalid_input"
    asked = _type(connected, "apply", less, "--destroy")
    assert asked.code == 2
    assert "nobody is there to answer" in asked.words
    assert _type(connected, "apply", less, "--destroy", "--yes", "--json").json["changed"] == 3
    assert [each["object"] for each in connected.type("sync", "list", "--json").json] == ["items"]


def test_a_narrower_sync_needs_leave_and_is_read_again_from_the_start(connected: House) -> None:
    wide = (
        "version: 1\nconnections: {cronus: {syncs: {customers: "
        "{companies: ['CRONUS USA, Inc.'], fields: [number, displayName]}}}}\n"
    )
    assert _type(connected, "apply", wide).code == 0
    assert connected.type("sync", "run", "customers").code == 0
    narrow = wide.replace("number, displayName", "number")

    refused = _type(connected, "apply", narrow, "--json")
    assert refused.code == 2
    assert "displayName of" in refused.error["message"]
    assert "--destroy" in refused.error["remedy"]
    assert _type(connected, "apply", narrow, "--destroy", "--yes").code == 0
    ran = connected.type("sync", "run", "customers", "--json").lines[-1]
    assert ran["updated"] > 0


def test_own_names_of_fields_change_without_reading_again_and_a_wrong_one_is_told_at_its_place(
    connected: House,
) -> None:
    text = "version: 1\nconnections: {cronus: {syncs: {customers: {fields: [number, displayName], names: {NAMES}}}}}\n"
    assert _type(connected, "apply", text.replace("{NAMES}", "{displayname: name}")).code == 0
    renamed = _type(connected, "apply", text.replace("{NAMES}", "{displayName: title}"), "--json").json
    assert [each["name"] for each in renamed["done"][0]["differences"]] == ["names"]
    assert _type(connected, "apply", text.replace("{NAMES}", "{displayName: title}"), "--json").json["changed"] == 0

    wrong = _type(connected, "plan", text.replace("{NAMES}", "{displayNam: title}"), "--json").json
    assert (wrong["mistakes"][0]["line"], wrong["mistakes"][0]["nearest"][0]) == (2, "displayName")


def test_shorter_retention_needs_leave(connected: House) -> None:
    text = "version: 1\nproject: {retention: {runs: 7}}\n"
    refused = _type(connected, "apply", text, "--json")
    assert (refused.code, "runs beyond 7 days" in refused.error["message"]) == (2, True)
    assert _type(connected, "apply", text, "--destroy", "--yes").code == 0
    assert "Nothing to change" in _type(connected, "apply", text).words


def test_a_connection_that_stands_still_holds_up_only_what_names_it(connected: House, database_url: str) -> None:
    text = "version: 1\nintegrations: {bc: {client_id: x, syncs: {customers: {}}}}\ndestinations: {a: {folder: .}}\n"
    assert _type(connected, "apply", text).code == 0
    _through(connected, database_url)
    connected.sandbox.advance(4_000)
    connected.sandbox.switch("secret-expired")

    planned = _type(connected, "plan", text, "--json").json
    assert (planned["steps"], len(planned["remarks"])) == ([], 1)
    assert "cronus stands still" in planned["remarks"][0]
    named = _type(connected, "plan", text + "connections: {cronus: {syncs: {vendors: {}}}}\n", "--json")
    assert named.error["code"] == "secret_expired"


def _through(house: House, database_url: str) -> None:
    """The project's connection was made through its integration."""
    with psycopg.connect(database_url, autocommit=True) as direct:
        direct.execute(
            """UPDATE isthmus.connections c SET integration_id = i.id FROM isthmus.integrations i
               WHERE i.project_id = c.project_id AND c.project_id = (
                   SELECT id FROM isthmus.projects WHERE name = %s)""",
            (house.settings.project,),
        )


def test_a_renamed_destination_keeps_its_place_and_its_secret(connected: House) -> None:
    text = "version: 1\ndestinations:\n  {0}webhook: https://app.example.com/h, secret: '${{HOOK_SECRET}}'}}\n"
    assert _type(connected, "apply", text.format("old: {")).code == 0
    [before] = connected.type("destination", "list", "--json").json
    renamed = text.format("new: {was: old, ")

    planned = _type(connected, "plan", renamed, "--json").json
    assert [(each["sign"], each["differences"][0]) for each in planned["steps"]] == [
        ("~", {"name": "name", "before": "old", "after": "new"})
    ]
    assert _type(connected, "apply", renamed).code == 0
    [after] = connected.type("destination", "list", "--json").json
    assert (after["id"], after["name"]) == (before["id"], "new")
    assert "Nothing to change" in _type(connected, "apply", renamed).words


def test_a_renamed_integration_keeps_its_secret_and_a_new_secret_is_noticed_without_being_shown(house: House) -> None:
    text = "version: 1\nintegrations: {old: {client_id: x, client_secret: '${BC_SECRET}'}}\n"
    assert _type(house, "apply", text).code == 0
    renamed = text.replace("old: {", "new: {was: old, ")

    first = _type(house, "apply", renamed, "--json").json
    assert [(each["sign"], [d["name"] for d in each["differences"]]) for each in first["done"]] == [("~", ["name"])]
    assert _type(house, "apply", renamed, "--json").json["changed"] == 0
    second = _type(house, "apply", renamed, "--json", BC_SECRET="canary-2")
    assert [d["name"] for d in second.json["done"][0]["differences"]] == ["secret"]
    assert "canary-2" not in second.out
    assert _type(house, "apply", renamed, "--json", BC_SECRET="canary-2").json["changed"] == 0
    gone = _type(house, "apply", "version: 1\nintegrations: {}\n", "--destroy", "--yes", "--json").json
    assert gone["done"][0]["loses"].startswith("its secret")


def test_a_new_secret_is_told_as_another_one_and_both_sign(connected: House) -> None:
    text = "version: 1\ndestinations: {a: {webhook: 'https://app.example.com/h', secret: '${HOOK_SECRET}'}}\n"
    assert _type(connected, "apply", text).code == 0

    changed = _type(connected, "apply", text, "--json", HOOK_SECRET=OTHER)
    assert [each["name"] for each in changed.json["done"][0]["differences"]] == ["secret"]
    assert OTHER not in changed.out
    assert _type(connected, "apply", text, "--json", HOOK_SECRET=OTHER).json["changed"] == 0


async def test_what_was_done_before_a_failure_is_known_and_its_secret_was_told_at_once(house: House) -> None:
    told: list[Shown] = []

    async def made() -> list[Shown]:
        return [Shown(label="secret", value="canary")]

    async def refused() -> list[Shown]:
        raise Conflict("the second step")

    async def hear(step: Step, shown: Sequence[Shown]) -> None:
        told.extend(shown)

    steps = [
        Step(sign=Sign.ADD, kind="thing", name=name, act="thing.make", perform=perform)
        for name, perform in (("one", made), ("two", refused), ("three", made))
    ]
    outcome = Outcome()
    async with house.hub() as hub:
        with pytest.raises(Conflict, match="the second step"):
            await apply(hub, Plan(steps=tuple(steps)), outcome=outcome, on_step=hear)

    assert [step.name for step in outcome.done] == ["one"]
    assert [each.value for each in told] == ["canary"]


def test_a_secret_that_isthmus_makes_is_shown_once(connected: House) -> None:
    text = "version: 1\ndestinations: {a: {webhook: 'https://app.example.com/h'}}\n"

    first = _type(connected, "apply", text, "--json").json
    assert first["shown_once"][0]["value"].startswith("whsec_")
    assert _type(connected, "apply", text, "--json").json["shown_once"] == []


def test_an_integrations_syncs_are_read_from_each_of_its_connections(connected: House, database_url: str) -> None:
    text = """\
        version: 1
        integrations:
          bc: {client_id: x, syncs: {customers: {schedule: every 1h}, items: {}}}
        connections:
          cronus: {syncs: {items: {schedule: every 2h}}}
        """
    assert _type(connected, "apply", text).code == 0
    _through(connected, database_url)
    assert _type(connected, "apply", text).code == 0
    syncs = {each["object"]: each["schedule"] for each in connected.type("sync", "list", "--json").json}
    assert syncs == {"customers": "every 1h", "items": "every 2h"}
    assert _type(connected, "apply", text, "--json").json["changed"] == 0


async def test_a_connection_that_is_made_later_gets_its_integrations_syncs_once(house: House) -> None:
    wanted = "{customers: {schedule: every 1h}, items: {paused: true}}"
    text = f"version: 1\nintegrations: {{bc: {{client_id: x, syncs: {wanted}}}}}\n"
    loaded = load(_write(house, text), {})
    async with house.hub() as hub:
        await apply(hub, await plan(hub, loaded))
        connection = await house.connect(hub)
        async with hub.db.project(hub.project.id) as tx:
            [bc] = await integrations.every(tx)
            await integrations.assign(tx, connection.id, bc.id)
        newcomers = NewConnections(hub.db, hub.opener)
        assert await newcomers.work() >= 2
        async with hub.db.project(hub.project.id) as tx:
            made = {each.object: (each.schedule, each.state) for each in await syncs.every(tx, connection.id)}
            gone = next(each.id for each in await syncs.every(tx, connection.id) if each.object == "items")
        assert made == {"customers": ("every 1h", "active"), "items": (None, "paused")}
        assert (await plan(hub, loaded)).steps == ()

        async with hub.db.project(hub.project.id) as tx:
            await syncs.delete(tx, gone)
        await newcomers.work()
        async with hub.db.project(hub.project.id) as tx:
            left = [each.object for each in await syncs.every(tx, connection.id)]
        assert left == ["customers"], "what somebody took away stays away"


async def test_a_sync_that_does_not_fit_a_new_connection_keeps_the_others_from_nothing(house: House) -> None:
    wanted = "{customers: {companies: ['No Such Company']}, items: {}}"
    loaded = load(_write(house, f"version: 1\nintegrations: {{bc: {{client_id: x, syncs: {wanted}}}}}\n"), {})
    async with house.hub() as hub:
        await apply(hub, await plan(hub, loaded))
        connection = await house.connect(hub)
        async with hub.db.project(hub.project.id) as tx:
            [bc] = await integrations.every(tx)
            await integrations.assign(tx, connection.id, bc.id)
        await NewConnections(hub.db, hub.opener).work()
        async with hub.db.project(hub.project.id) as tx:
            assert [each.object for each in await syncs.every(tx, connection.id)] == ["items"]


async def test_two_applies_at_once_follow_each_other_and_do_the_work_once(connected: House) -> None:
    text = "version: 1\ndestinations: {a: {webhook: 'https://app.example.com/h'}, b: {folder: .}}\n"
    loaded = load(_write(connected, text), {})

    async def one() -> int:
        async with connected.hub() as hub, serialised(hub):
            return len((await apply(hub, await plan(hub, loaded))).done)

    assert sorted(await asyncio.gather(one(), one())) == [0, 2]


async def test_an_apply_that_waits_too_long_for_another_one_says_so(house: House) -> None:
    async with house.hub() as hub, serialised(hub):
        with pytest.raises(Conflict, match="Another apply"):
            async with serialised(hub, wait_s=0.0):
                pytest.fail("two applies at once")


def test_every_step_is_in_the_audit_log_without_secrets(connected: House, database_url: str) -> None:
    assert _type(connected, "apply", FULL).code == 0
    with psycopg.connect(database_url) as direct:
        rows = direct.execute(
            """SELECT action, detail::text FROM isthmus.audit_log WHERE actor = 'isthmus.yaml' AND project_id = (
                   SELECT id FROM isthmus.projects WHERE name = %s)""",
            (connected.settings.project,),
        ).fetchall()
    assert {"integration.create", "destination.create", "sync.create", "notice_address.add"} <= {row[0] for row in rows}
    assert not any("s3cret" in row[1] or SECRET in row[1] for row in rows)


def test_validate_needs_neither_project_nor_secrets(house: House) -> None:
    file = _write(house, FULL)
    checked = house.type("validate", str(file), ISTHMUS_DATABASE_URL="postgresql://127.0.0.1:1/none")

    assert checked.code == 0
    assert "BC_SECRET is not set here" in checked.words
    assert house.type("validate", "--schema").json["title"] == "isthmus.yaml"


async def test_an_app_of_one_organization_is_applied_with_a_remark(house: House) -> None:
    text = "version: 1\nintegrations: {bc: {client_id: x, tenant: contoso.onmicrosoft.com}}\n"
    loaded = load(_write(house, text), {})
    async with house.hub() as hub:
        planned = await plan(hub, loaded)
        (remark,) = planned.remarks
        assert remark.startswith("integration bc: The app serves the organization contoso.onmicrosoft.com only.")
        await apply(hub, planned)
        async with hub.db.project(hub.project.id) as tx:
            assert [each.tenant for each in await integrations.every(tx)] == ["contoso.onmicrosoft.com"]
        assert (await plan(hub, loaded)).steps == ()
