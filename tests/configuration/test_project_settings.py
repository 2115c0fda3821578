"""What of a project's settings can be set by API can be set by file too; what the file leaves out stays as it is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.hub_fixtures import House

from isthmus.app import Hub
from isthmus.configuration import Difference, Mistaken, Plan, apply, load, plan
from isthmus.store import approvals, destinations, integrations, proxy_limits
from isthmus.store.approvals import ApprovalRule
from isthmus.store.proxy_limits import ProxyLimits


def planned(hub: Hub, text: str) -> Any:
    """A file's plan; awaits."""
    file: Path = hub.settings.home / "isthmus.yaml"
    file.write_text(f"version: 1\n{text}\n", encoding="utf-8")
    return plan(hub, load(file, {}))


async def applied(hub: Hub, text: str, *, destroy: bool = False) -> list[str]:
    """What applying has changed, and that a second time there is nothing to do."""
    first: Plan = await planned(hub, text)
    done = await apply(hub, first, destroy=destroy)
    again: Plan = await planned(hub, text)
    assert again.chosen(destroy=destroy) == ()
    return [f"{step.sign.value} {step.kind} {step.name}" for step in done.done]


async def limits(hub: Hub) -> ProxyLimits:
    """The project's limits as they are kept."""
    async with hub.db.project(hub.project.id) as tx:
        return await proxy_limits.get(tx)


async def test_the_proxys_limits_are_set_and_what_is_left_out_keeps_its_limit(house: House) -> None:
    async with house.hub() as hub:
        assert await applied(hub, "project: {proxy_limits: {request_bytes: 1_000_000, timeout_s: 30}}") == [
            f"~ proxy limits {hub.project.name}"
        ]
        assert await limits(hub) == ProxyLimits(request_bytes=1_000_000, timeout_s=30)
        await applied(hub, "project: {proxy_limits: {pages: 3}}")
        assert await limits(hub) == ProxyLimits(request_bytes=1_000_000, timeout_s=30, pages=3)
        (step,) = (await planned(hub, "project: {proxy_limits: {response_bytes: 1_000_000}}")).steps
        assert step.differences == (Difference(name="response_bytes", before="268,435,456", after="1,000,000"),)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("project: {proxy_limits: {request_bytes: 5}}", "project › proxy_limits › request_bytes is 5"),
        ("project: {proxy_limits: {pagess: 5}}", "nothing named “pagess”"),
        ("project: {proxy_limits: {timeout_s: soon}}", "a whole number"),
        ("project: {writes_wait: {customers: perhaps}}", "true or false"),
        ("destinations: {a: {folder: ., payload_bytes: 100_000}}", "A folder takes records of any size"),
        ("destinations: {a: {webhook: 'https://a.example/h', payload_bytes: 1}}", "payload_bytes is 1"),
    ],
)
async def test_what_cannot_be_set_is_told(house: House, text: str, says: str) -> None:
    async with house.hub() as hub:
        with pytest.raises(Mistaken) as caught:
            await planned(hub, text)
    assert says in caught.value.mistakes[0].message


async def rules(hub: Hub) -> Sequence[ApprovalRule]:
    """The rules as they are kept."""
    async with hub.db.project(hub.project.id) as tx:
        return await approvals.rules(tx)


async def test_writes_to_single_objects_wait_in_the_project_an_integration_or_a_connection(house: House) -> None:
    async with house.hub() as hub:
        connection = await house.connect(hub)
        await applied(
            hub,
            """
project: {writes_wait: {salesInvoices: true}}
integrations: {bc: {client_id: x, require_approval: true, writes_wait: {customers: false}}}
connections: {cronus: {writes_wait: {items: true, salesinvoices: false}}}
""",
        )
        async with hub.db.project(hub.project.id) as tx:
            bc = await integrations.named(tx, "bc")
        assert bc is not None

        async def waits(name: str, integration: Any) -> bool:
            found = approvals.rule_for(
                await rules(hub), integration_id=integration, connection_id=connection.id, object=name
            )
            return bool(found and found.required)

        assert [await waits(name, None) for name in ("items", "salesInvoices", "customers")] == [True, False, False]
        assert [await waits(name, bc.id) for name in ("vendors", "customers")] == [True, False]


async def test_a_rule_that_the_file_does_not_name_goes_only_with_leave_and_a_change_keeps_how_long_a_write_waits(
    house: House,
) -> None:
    async with house.hub() as hub:
        async with hub.db.project(hub.project.id) as tx:
            await approvals.set_rule(tx, required=True, object="items", expires_s=120.0)
            await approvals.set_rule(tx, required=True, object="vendors")
        text = "project: {writes_wait: {items: false}}"
        assert await applied(hub, text) == [f"~ approval {hub.project.name} items"]
        changed, untouched = await rules(hub)
        assert (changed.object, changed.required, changed.expires_s) == ("items", False, 120.0)
        assert (untouched.object, untouched.required) == ("vendors", True)
        assert await applied(hub, text, destroy=True) == [f"− approval {hub.project.name} vendors"]
        assert [each.object for each in await rules(hub)] == ["items"]


async def test_how_much_a_receiver_takes_is_set_and_changed(house: House) -> None:
    text = "destinations: {a: {webhook: 'https://app.example.com/h', payload_bytes: 100_000}}"
    async with house.hub() as hub:

        async def kept() -> Any:
            async with hub.db.project(hub.project.id) as tx:
                (row,) = await destinations.every(tx)
            return row.settings.get("bytes_max")

        await applied(hub, text)
        assert await kept() == 100_000
        assert await applied(hub, text.replace("100_000", "200_000")) == ["~ destination a"]
        assert await kept() == 200_000
        assert await applied(hub, text.replace(", payload_bytes: 100_000", "")) == []
