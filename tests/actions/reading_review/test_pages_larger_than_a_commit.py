"""A page of documents with very many lines is committed in pieces."""

from __future__ import annotations

import pytest
from tests.hub_fixtures import US, House

from isthmus.actions.reading.pieces import pieces_of
from isthmus.app import Hub
from isthmus.client.reading import FetchedPage, ReadPosition
from isthmus.providers.base import Page
from isthmus.store.pages import PAGE_RECORDS_MAX
from isthmus.store.rows import Connection, RunState


def page_of(count: int, link: str | None) -> FetchedPage:
    ids = [str(number) for number in range(count)]
    page = Page(ids=ids, stamps=ids, hashes=[b""] * count, raws=[b""] * count, next_link=link)
    return FetchedPage(page=page, next=ReadPosition(link=link, records=count), page_records=1_000)


@pytest.mark.conformance("BC-41")
async def test_a_page_of_documents_with_very_many_lines_is_stored_whole(
    house: House, hub: Hub, connection: Connection
) -> None:
    house.seed("salesInvoices", 420, lines=50)
    sync = await house.sync(hub, connection, "salesInvoiceLines", companies=(US,))
    requested, _ = await hub.begin_run(sync.id)
    ended = await hub.perform(requested)
    assert ended.state is RunState.SUCCEEDED, ended.failure
    stored = await house.stored(hub, sync)
    assert stored == house.count("salesInvoiceLines", US) > PAGE_RECORDS_MAX


@pytest.mark.parametrize("link", [None, "next"])
def test_only_the_last_piece_of_a_page_moves_on(link: str | None) -> None:
    fetched = page_of(2 * PAGE_RECORDS_MAX + 1, link)
    pieces = list(pieces_of(fetched, "own"))
    assert [len(each.page) for each in pieces] == [PAGE_RECORDS_MAX, PAGE_RECORDS_MAX, 1]
    assert [each.link for each in pieces] == ["own", "own", link]
    assert [each.done for each in pieces] == [False, False, link is None]
    assert [name for each in pieces for name in each.page.ids] == fetched.page.ids


@pytest.mark.parametrize("count", [0, 1, PAGE_RECORDS_MAX])
def test_a_page_that_fits_is_one_piece(count: int) -> None:
    fetched = page_of(count, "next")
    (piece,) = pieces_of(fetched, "own")
    assert (piece.page, piece.link, piece.done) == (fetched.page, "next", False)
