"""A page of the vendor's as commits of ours: what is too large for one transaction becomes several.

Documents whose lines come along make pages of any size: a thousand documents with forty lines each are forty thousand
records (BC-41). The pieces of such a page are committed one after another under growing numbers. Until the last one the
checkpoint keeps the link by which the page itself came, so that whoever resumes in between reads the page again; what
is stored already is told by its hash, only the count of records seen then runs ahead.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from isthmus.client.reading import FetchedPage
from isthmus.providers.base import Page
from isthmus.store.pages import PAGE_RECORDS_MAX


class Piece(msgspec.Struct, frozen=True, kw_only=True):
    """What one transaction commits: `link` is where the slice goes on after it, `done` that it is complete."""

    page: Page
    link: str | None
    done: bool


def pieces_of(fetched: FetchedPage, own_link: str | None) -> Iterator[Piece]:
    """The pieces of a page that came by `own_link` (None: it is the slice's first)."""
    page = fetched.page
    for start in range(0, max(len(page), 1), PAGE_RECORDS_MAX):
        end = start + PAGE_RECORDS_MAX
        last = end >= len(page)
        yield Piece(
            page=page if last and start == 0 else _cut(page, slice(start, end)),
            link=fetched.next.link if last else own_link,
            done=fetched.last and last,
        )


def _cut(page: Page, part: slice) -> Page:
    return Page(ids=page.ids[part], stamps=page.stamps[part], hashes=page.hashes[part], raws=page.raws[part])
