"""Vendor links: verbatim and same origin only."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.kernel.failures import UnsafeLink
from isthmus.odata.links import link_at_the_end, origin, same_origin

BASE = "https://api.example.com"


@pytest.mark.conformance("BC-28")
@pytest.mark.parametrize(
    "link",
    [
        "https://api.example.com/v2.0/t/P/api/v2.0/companies(1)/customers?aid=FIN&$skiptoken=5de5",
        "https://api.example.com/x?tenant=msweua1&aid=FIN&$skiptoken='A%20%2B',5",
        "https://API.example.com:443/x?%24skiptoken=%27a%27",
    ],
)
def test_a_link_to_the_same_origin_comes_back_byte_for_byte(link: str) -> None:
    assert same_origin(BASE, link) == link


@pytest.mark.conformance("BC-29")
@pytest.mark.parametrize(
    "link",
    [
        "https://evil.example.org/x",
        "https://api.example.com.evil.org/x",
        "https://api.example.com@evil.org/x",
        "https://user:pass@api.example.com/x",
        "http://api.example.com/x",
        "https://api.example.com:8443/x",
        "//api.example.com/x",
        "/v2.0/x",
        "v2.0/x",
        "",
        "https:api.example.com/x",
        "https://api.example.com\\@evil.org/x",
        "https://api.example.com\t.evil.org/x",
        " https://api.example.com/x",
        "https://api.example.com/x\r\nHost: evil.org",
        "javascript:alert(1)",
        "https://api.example.com:99999999/x",
        "https://api.example.com/" + "x" * 40_000,
    ],
)
def test_any_other_link_is_refused_before_a_token_is_sent(link: str) -> None:
    with pytest.raises(UnsafeLink):
        same_origin(BASE, link)


def test_a_port_belongs_to_the_origin() -> None:
    assert same_origin("https://localhost:8443", "https://localhost:8443/x") == "https://localhost:8443/x"
    with pytest.raises(UnsafeLink):
        same_origin("https://localhost:8443", "https://localhost/x")


def test_an_ipv6_host_is_understood() -> None:
    assert origin("https://[::1]:8443/x") == ("https", "[::1]", 8443)


@given(st.text(max_size=60))
def test_only_links_that_begin_with_the_base_pass(text: str) -> None:
    try:
        same_origin(BASE, text)
    except UnsafeLink:
        return
    assert text.lower().startswith(BASE)


@pytest.mark.conformance("BC-28")
@pytest.mark.parametrize(
    ("body", "link"),
    [
        (b'{"value":[],"@odata.nextLink":"https://h/a?b=1&c=%20"}', "https://h/a?b=1&c=%20"),
        (b'{"value":[],"@odata.nextLink" : "https:\\/\\/h\\u002Fa" }\n', "https://h/a"),
        (b'{"@odata.nextLink":"https://h/a","value":[{"n":1}]}', None),
        (b'{"value":[{"text":"\\"@odata.nextLink\\":\\"https://evil/\\"}"}]}', None),
        (b'{"value":[{"lines@odata.nextLink":"https://h/a"}]}', None),
        (b'{"value":[],"@odata.nextLink":null}', None),
        (b'{"value":[],"@odata.nextLink":"\\x"}', None),
        (b"", None),
    ],
)
def test_a_link_at_the_end_of_a_page_is_found_without_reading_the_page(body: bytes, link: str | None) -> None:
    assert link_at_the_end(body) == link
