"""Streams: by their link, with the token, never inline."""

from __future__ import annotations

import pytest

from isthmus.kernel.failures import CorruptResponse, UnsafeLink
from isthmus.providers.base import Target
from isthmus.providers.business_central.media import media_links, media_request

RAW = (
    b'{"id":"1","pictureContent@odata.mediaEditLink":"https://api.example.com/e",'
    b'"pictureContent@odata.mediaReadLink":"https://api.example.com/v2.0/pictureContent?x=%27a%27","note":"n"}'
)


@pytest.mark.conformance("BC-58")
def test_a_stream_is_downloaded_by_its_read_link_verbatim(target: Target) -> None:
    links = media_links(RAW)
    assert links == {"pictureContent": "https://api.example.com/v2.0/pictureContent?x=%27a%27"}
    request = media_request(target, links["pictureContent"])
    assert (request.url, request.headers["Accept"]) == (links["pictureContent"], "*/*")


@pytest.mark.conformance("BC-29", "BC-58")
def test_a_stream_on_another_host_never_gets_the_token(target: Target) -> None:
    with pytest.raises(UnsafeLink):
        media_request(target, "https://cdn.example.net/picture")


def test_a_broken_record_is_corrupt() -> None:
    with pytest.raises(CorruptResponse):
        media_links(RAW[:-5])
