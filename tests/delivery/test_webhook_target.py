"""Where webhooks may lead."""

from __future__ import annotations

import pytest

from isthmus.delivery.target import check_target
from isthmus.kernel.failures import InvalidInput
from isthmus.transport.public import is_public, public_socket

INSIDE = [
    "127.0.0.1", "127.8.9.10", "0.1.2.3", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1",
    "192.0.2.1", "198.18.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255", "::1", "::", "fe80::1", "fe80::1%eth0",
    "fc00::1", "fd00:ec2::254", "fec0::1", "ff02::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "2002:7f00:1::",
    "64:ff9b::a00:1", "64:ff9b:1::1", "2001:db8::1", "3fff::1", "168.63.129.16", "192.0.0.192", "not an address", "",
]  # fmt: skip


@pytest.mark.parametrize("address", INSIDE)
def test_addresses_inside_are_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(
    "address", ["93.184.215.14", "8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]
)
def test_addresses_of_the_internet_are_public(address: str) -> None:
    assert is_public(address)


def test_no_socket_is_opened_to_an_address_inside() -> None:
    with pytest.raises(OSError, match="not public"):
        public_socket((2, 1, 6, "", ("169.254.169.254", 80)))


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/hook", "https://127.0.0.1/", "https://[::1]/", "https://10.0.0.8:8443/x", "https://localhost/",
        "https://LOCALHOST./", "https://db.internal/", "https://printer.local", "ftp://example.com/", "https://",
        "https://user:word@example.com/", "https://example.com/#part", "https://exa mple.com/", "https://example.com:99999/",
        "//example.com", "example.com", "", "https://example.com/" + "a" * 3_000,
    ],
)  # fmt: skip
def test_a_production_project_delivers_to_public_https_addresses_only(url: str) -> None:
    with pytest.raises(InvalidInput) as refusal:
        check_target(url, development=False)
    assert "https" in refusal.value.remedy


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8080/hook", "https://localhost/", "http://10.0.0.1/", "https://example.com/"]
)
def test_a_development_project_may_deliver_to_its_own_machine(url: str) -> None:
    assert check_target(url, development=True) == url


def test_a_public_https_address_is_taken() -> None:
    assert check_target("https://hooks.example.com:8443/a?b=c", development=False)
