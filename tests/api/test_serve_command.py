"""`isthmus keys` and `isthmus serve`, as a person runs them."""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
from collections.abc import Iterator

import httpx
import pytest
from tests.child_process import ISTHMUS, finished, started
from tests.hub_fixtures import House
from tests.own_database import database_url
from tests.patience import WAIT_MAX_S, until

__all__ = ["database_url"]


@pytest.fixture
def address(house: House) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """A served project in a process of its own."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [*ISTHMUS, "serve", "--port", str(port)]
    with started(command, env=house.environ(), stdout=subprocess.DEVNULL) as process:
        yield f"http://127.0.0.1:{port}", process


def ready(address: str) -> None:
    """Wait until the server answers."""

    def answers() -> bool:
        with contextlib.suppress(httpx.TransportError):
            return httpx.get(f"{address}/readyz", trust_env=False, timeout=WAIT_MAX_S).status_code == 200
        return False

    until(answers, "the server did not start")


def test_a_served_project_answers_to_its_key_and_stops_in_order(
    house: House, address: tuple[str, subprocess.Popen[str]]
) -> None:
    url, process = address
    made = house.type("keys", "create", "mine", "--scope", "admin", "--json")
    assert made.code == 0, made.err
    ready(url)
    headers = {"authorization": f"Bearer {made.json['secret']}"}
    listed = httpx.get(f"{url}/v1/connections", headers=headers, trust_env=False, timeout=WAIT_MAX_S)
    assert (listed.status_code, listed.json()["result"]) == (200, [])
    process.send_signal(signal.SIGTERM)
    _, words = finished(process)
    assert process.returncode == 0, words
    assert "Redirect URI" in words
    assert "Stopped." in words
    assert made.json["secret"] not in words


def test_a_key_is_shown_once_and_listed_by_its_beginning(house: House) -> None:
    made = house.type("keys", "create", "reader", "--scope", "read", "--json")
    listed = house.type("keys", "list")
    assert made.json["secret"] not in listed.out
    assert made.json["prefix"] in listed.out
    assert "read" in listed.out


def test_a_revoked_key_is_listed_as_such(house: House) -> None:
    house.type("keys", "create", "gone")
    assert house.type("keys", "revoke", "gone").code == 0
    assert "revoked" in house.type("keys", "list").out


def test_a_scope_that_is_not_known_is_refused_with_the_names(house: House) -> None:
    refused = house.type("keys", "create", "mine", "--scope", "everything", "--json")
    assert refused.code == 2
    assert "admin" in refused.error["remedy"]


def test_a_port_that_is_taken_is_told_in_words(house: House) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        refused = house.type("serve", "--port", str(taken.getsockname()[1]))
    assert refused.code == 3
    assert "--port" in refused.words
