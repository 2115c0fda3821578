"""The library as somebody meets it who has never seen it: defaults, the sandbox by name, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.running_sandbox import SandboxThread
from tests.sandbox_fixtures import sandbox, sandbox_server

from isthmus import BusinessCentral
from isthmus.connections.given import cloud_named
from isthmus.kernel.failures import ConfigurationFailure, InvalidInput

__all__ = ["sandbox", "sandbox_server"]


@pytest.fixture
def home(sandbox: SandboxThread, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder with a running sandbox."""
    (tmp_path / "sandbox.json").write_text(json.dumps(sandbox.call(sandbox.running.summary)), encoding="utf-8")
    monkeypatch.setenv("ISTHMUS_HOME", str(tmp_path))
    return tmp_path


async def test_the_sandbox_of_the_data_folder_is_a_cloud_that_brings_its_own_tenant_and_app(home: Path) -> None:
    async with BusinessCentral(cloud="sandbox") as client:
        assert "CRONUS USA, Inc." in [company.name for company in await client.companies()]


async def test_the_sandbox_also_answers_an_app_that_is_named(home: Path) -> None:
    app = json.loads((home / "sandbox.json").read_text(encoding="utf-8"))["apps"][0]
    async with BusinessCentral(
        cloud="sandbox", tenant=app["tenant_id"], client_id=app["client_id"], client_secret=app["secrets"][0]["value"]
    ) as client:
        assert await client.companies()


def test_hub_and_library_mean_the_same_sandbox(home: Path) -> None:
    assert cloud_named("sandbox", home) == BusinessCentral(cloud="sandbox")._cloud


def test_without_a_running_sandbox_the_way_to_one_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ISTHMUS_HOME", str(tmp_path))
    with pytest.raises(ConfigurationFailure, match="isthmus sandbox up"):
        BusinessCentral(cloud="sandbox")


def test_a_missing_tenant_is_named_before_anything_is_sent() -> None:
    with pytest.raises(InvalidInput, match="tenant is missing"):
        BusinessCentral(client_id="1", client_secret="2")


def test_a_client_shows_where_it_leads_and_no_secret() -> None:
    client = BusinessCentral(tenant="contoso.com", client_id="1", client_secret="hush", environment="UAT")
    assert repr(client) == "BusinessCentral(tenant='contoso.com', environment='UAT', cloud='public')"


@pytest.mark.parametrize("option", ["select", "expand"])
async def test_a_text_where_a_list_belongs_is_refused_with_the_list_that_was_meant(home: Path, option: str) -> None:
    given: dict[str, Any] = {option: "number,displayName"}
    async with BusinessCentral(cloud="sandbox") as client:
        with pytest.raises(InvalidInput) as refused:
            await anext(client.read("customers", **given))
    assert refused.value.remedy == f"Pass a list: {option}=['number', 'displayName']."
