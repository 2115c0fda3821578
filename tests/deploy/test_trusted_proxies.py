"""Headers about where a request came from are believed from named proxies alone; secrets may stand in files."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from isthmus.api.forwarded import ProxyTrust
from isthmus.kernel.failures import InvalidInput
from isthmus.settings import load_settings

TRUST = ProxyTrust([ip_network("10.0.0.0/8"), ip_network("fd00::/8")])


def _scope(peer: str, *headers: tuple[str, str]) -> dict[str, Any]:
    pairs = [(name.encode(), value.encode()) for name, value in headers]
    scope: dict[str, Any] = {"type": "http", "client": (peer, 5), "scheme": "http", "headers": pairs}
    TRUST.apply(scope)
    return scope


def _client(peer: str, forwarded: str) -> str:
    client: str = _scope(peer, ("x-forwarded-for", forwarded))["client"][0]
    return client


@pytest.mark.parametrize(
    ("forwarded", "client"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("203.0.113.9:4711", "203.0.113.9"),
        ("[2001:db8::7]:4711", "2001:db8::7"),
        ("6.6.6.6, 203.0.113.9", "203.0.113.9"),
        ("6.6.6.6, 203.0.113.9, 10.0.0.2", "203.0.113.9"),
        ("10.0.0.3, 10.0.0.2", "10.0.0.3"),
        ("203.0.113.9, unknown", "10.0.0.1"),
        ("", "10.0.0.1"),
        (", ".join(["1.1.1.1"] * 50), "10.0.0.1"),
        ("1" * 5_000, "10.0.0.1"),
    ],
)
def test_the_client_is_the_last_address_that_is_no_proxy_of_ours(forwarded: str, client: str) -> None:
    assert _client("10.0.0.1", forwarded) == client


def test_headers_of_anybody_else_mean_nothing() -> None:
    scope = _scope("203.0.113.5", ("x-forwarded-for", "1.1.1.1"), ("x-forwarded-proto", "https"))
    assert (scope["client"][0], scope["scheme"]) == ("203.0.113.5", "http")


def test_a_proxy_tells_the_scheme_and_repeated_headers_are_read_as_one() -> None:
    scope = _scope(
        "::ffff:10.0.0.1",
        ("x-forwarded-for", "6.6.6.6"),
        ("x-forwarded-for", "203.0.113.9"),
        ("x-forwarded-proto", "gopher, https"),
    )
    assert (scope["client"][0], scope["scheme"]) == ("203.0.113.9", "https")


def test_a_peer_without_an_address_is_left_alone() -> None:
    scope: dict[str, Any] = {"client": None, "scheme": "http", "headers": [(b"x-forwarded-proto", b"https")]}
    TRUST.apply(scope)
    assert scope["scheme"] == "http"


def test_proxies_are_set_as_addresses_or_networks(tmp_path: Path) -> None:
    loaded = load_settings({"ISTHMUS_TRUSTED_PROXIES": "10.0.0.7, 172.30.0.9/24"}, home=tmp_path)
    assert loaded.trusted_proxies == ("10.0.0.7/32", "172.30.0.0/24")
    assert load_settings({}, home=tmp_path).trusted_proxies == ()


@pytest.mark.parametrize("text", ["*", "proxy.example.com", "0.0.0.0/0", "10.0.0.0/33", ",".join(["10.0.0.1"] * 51)])
def test_trusting_everybody_or_nobody_knows_whom_is_refused(text: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="ISTHMUS_TRUSTED_PROXIES"):
        load_settings({"ISTHMUS_TRUSTED_PROXIES": text}, home=tmp_path)


def test_a_secret_may_stand_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "url").write_text("postgresql://u:pw@h/d\n")
    loaded = load_settings({"ISTHMUS_DATABASE_URL_FILE": str(tmp_path / "url")}, home=tmp_path)
    assert loaded.database_url == "postgresql://u:pw@h/d"


@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe"])
def test_a_secret_file_that_cannot_be_used_is_named(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "key"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InvalidInput, match="ISTHMUS_MASTER_KEY_FILE"):
        load_settings({"ISTHMUS_MASTER_KEY_FILE": str(path)}, home=tmp_path)


def test_a_secret_and_its_file_at_once_are_refused_without_repeating_either(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="both set") as caught:
        load_settings({"ISTHMUS_MASTER_KEY": "canary", "ISTHMUS_MASTER_KEY_FILE": "x"}, home=tmp_path)
    assert "canary" not in str(caught.value)
