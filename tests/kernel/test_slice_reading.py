"""Reading one slice: one page ahead, sizes that adapt, a limit, a place to resume from."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import cast

import pytest
from tests.kernel.numbers_vendor import ORIGIN, SIZE_MIN, NumbersProvider, Vendor, link_of

from isthmus.client.reading import EMPTY_PAGES_MAX, FetchedPage, ReadPosition, SliceReader
from isthmus.kernel.failures import (
    CorruptResponse,
    Failure,
    PermissionMissing,
    TooLarge,
    UnsafeLink,
    VendorTimeout,
    VendorUnavailable,
)
from isthmus.kernel.messages import Response

ReaderOf = Callable[..., SliceReader]


async def _numbers(reader: SliceReader, start: ReadPosition | None = None) -> list[int]:
    return [int(name) async for fetched in reader.pages(start) for name in fetched.page.ids]


async def _collect(reader: SliceReader, seen: list[int]) -> None:
    async for fetched in reader.pages():
        seen.extend(int(name) for name in fetched.page.ids)


def _closable(reader: SliceReader) -> AsyncGenerator[FetchedPage, None]:
    return cast("AsyncGenerator[FetchedPage, None]", reader.pages())


async def _settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_every_record_comes_once_and_in_order(reader: ReaderOf) -> None:
    assert await _numbers(reader()) == list(range(25))


async def test_the_last_page_says_so(reader: ReaderOf) -> None:
    assert [fetched.last async for fetched in reader().pages()] == [False, False, True]


async def test_the_next_page_is_on_the_wire_while_the_current_one_is_used(reader: ReaderOf, vendor: Vendor) -> None:
    async with aclosing(_closable(reader())) as pages:
        await anext(pages)
        await _settle()
        assert vendor.asked == [(0, 10), (10, 10)]


async def test_never_more_than_one_page_is_fetched_ahead(reader: ReaderOf, vendor: Vendor) -> None:
    vendor.total = 1_000
    async with aclosing(_closable(reader())) as pages:
        await anext(pages)
        await _settle()
        await anext(pages)
        await _settle()
        assert len(vendor.asked) == 3


async def test_who_waits_has_the_next_request_on_the_wire_before_the_page_is_cut_up(
    reader: ReaderOf, vendor: Vendor, provider: NumbersProvider
) -> None:
    on_the_wire: list[int] = []
    provider.on_page = lambda: on_the_wire.append(len(vendor.asked))
    assert await _numbers(reader()) == list(range(25))
    assert on_the_wire == [2, 3, 3]
    assert vendor.asked == [(0, 10), (10, 10), (20, 10)]


@pytest.mark.parametrize("wrong", [f"{ORIGIN}/numbers?from=20", "https://elsewhere.test/numbers?from=10"])
async def test_the_page_has_the_last_word_about_its_link(
    reader: ReaderOf, provider: NumbersProvider, wrong: str
) -> None:
    provider.guess = lambda response: wrong
    assert await _numbers(reader()) == list(range(25))


async def test_a_vendor_whose_links_cannot_be_told_early_is_read_all_the_same(
    reader: ReaderOf, vendor: Vendor, provider: NumbersProvider
) -> None:
    provider.guess = lambda response: None
    assert await _numbers(reader()) == list(range(25))
    assert len(vendor.asked) == 3


async def test_under_a_limit_nothing_is_asked_for_that_may_not_be_wanted(reader: ReaderOf, vendor: Vendor) -> None:
    assert await _numbers(reader(limit=10)) == list(range(10))
    assert vendor.asked == [(0, 10)]


async def test_closing_while_a_request_has_left_early_takes_it_off_the_wire(
    reader: ReaderOf, vendor: Vendor, provider: NumbersProvider
) -> None:
    def guess(response: Response) -> str | None:
        vendor.gate.clear()
        return link_of(response)

    provider.guess = guess
    async with aclosing(_closable(reader())) as pages:
        await anext(pages)
    assert vendor.cancelled == 1


async def test_closing_early_takes_the_page_ahead_off_the_wire(
    reader: ReaderOf, vendor: Vendor, provider: NumbersProvider
) -> None:
    provider.guess = lambda response: None
    async with aclosing(_closable(reader())) as pages:
        await anext(pages)
        vendor.gate.clear()
        await _settle()
        assert vendor.cancelled == 0
    assert vendor.cancelled == 1


async def test_a_failure_of_the_page_ahead_comes_after_the_page_before_it(reader: ReaderOf, vendor: Vendor) -> None:
    vendor.fail_at[10] = CorruptResponse()
    seen: list[int] = []
    with pytest.raises(CorruptResponse):
        await _collect(reader(), seen)
    assert seen == list(range(10))


async def test_closing_early_forgets_a_failure_of_the_page_ahead(reader: ReaderOf, vendor: Vendor) -> None:
    vendor.fail_at[10] = CorruptResponse()
    async with aclosing(_closable(reader())) as pages:
        await anext(pages)
        await _settle()
    assert len(vendor.asked) == 2


@pytest.mark.conformance("BC-30")
async def test_an_empty_page_with_a_next_link_is_not_the_end(reader: ReaderOf, vendor: Vendor) -> None:
    vendor.gaps = {0, 10}
    assert await _numbers(reader()) == list(range(25))


@pytest.mark.conformance("BC-30")
async def test_an_empty_page_without_a_next_link_is_the_end(reader: ReaderOf, vendor: Vendor) -> None:
    vendor.total = 0
    pages = [fetched async for fetched in reader().pages()]
    assert [(len(one.page), one.last) for one in pages] == [(0, True)]
    assert len(vendor.asked) == 1


@pytest.mark.conformance("BC-31")
@pytest.mark.parametrize("refusal", [VendorTimeout, TooLarge, VendorUnavailable])
async def test_a_page_too_wide_is_halved_until_it_works(
    reader: ReaderOf, vendor: Vendor, refusal: type[Failure]
) -> None:
    vendor.total, vendor.size_max, vendor.refusal = 60, 30, refusal
    assert await _numbers(reader(page_records=100)) == list(range(60))
    assert vendor.asked == [(0, 100), (0, 50), (0, 25), (25, 25), (50, 25)]


@pytest.mark.conformance("BC-31")
async def test_the_size_that_works_is_remembered_once(reader: ReaderOf, vendor: Vendor) -> None:
    vendor.total, vendor.size_max, vendor.refusal = 60, 30, VendorTimeout
    remembered: list[int] = []
    await _numbers(reader(page_records=100, remember=remembered.append))
    assert remembered == [25]


async def test_a_size_that_worked_at_once_is_not_news(reader: ReaderOf) -> None:
    remembered: list[int] = []
    await _numbers(reader(remember=remembered.append))
    assert remembered == []


@pytest.mark.conformance("BC-31")
async def test_shrinking_stops_at_the_vendors_smallest_page(reader: ReaderOf, vendor: Vendor) -> None:
    vendor.size_max, vendor.refusal = SIZE_MIN - 1, VendorTimeout
    with pytest.raises(VendorTimeout):
        await _numbers(reader(page_records=35))
    assert [size for _, size in vendor.asked] == [35, 17, SIZE_MIN]


@pytest.mark.conformance("BC-31")
async def test_the_call_is_told_whether_a_smaller_page_is_still_possible(reader: ReaderOf, vendor: Vendor) -> None:
    vendor.size_max, vendor.refusal = SIZE_MIN, VendorTimeout
    await _numbers(reader(page_records=2 * SIZE_MIN, limit=1))
    assert list(zip(vendor.asked, vendor.shrinkable, strict=True)) == [((0, 20), True), ((0, 10), False)]


@pytest.mark.conformance("BC-21")
async def test_a_refusal_that_no_size_cures_is_not_shrunk(reader: ReaderOf, vendor: Vendor) -> None:
    vendor.fail_at[0] = PermissionMissing()
    with pytest.raises(PermissionMissing):
        await _numbers(reader(page_records=100))
    assert vendor.asked == [(0, 100)]


@pytest.mark.parametrize("limit", [1, 9, 10, 11, 24, 25, 26])
async def test_a_limit_cuts_the_slice_exactly(reader: ReaderOf, limit: int) -> None:
    assert await _numbers(reader(limit=limit)) == list(range(min(limit, 25)))


async def test_nothing_is_fetched_beyond_a_limit(reader: ReaderOf, vendor: Vendor) -> None:
    await _numbers(reader(limit=10))
    assert vendor.asked == [(0, 10)]


async def test_a_page_cut_by_a_limit_is_the_last(reader: ReaderOf) -> None:
    pages = [fetched async for fetched in reader(limit=12).pages()]
    assert [len(one.page) for one in pages] == [10, 2]
    assert pages[-1].last
    assert pages[-1].next.records == 12
    assert len(pages[-1].page.raws) == len(pages[-1].page.hashes) == len(pages[-1].page.stamps) == 2


async def test_a_slice_resumes_from_the_position_after_any_page(reader: ReaderOf) -> None:
    positions = [fetched.next async for fetched in reader().pages()]
    assert await _numbers(reader(), positions[0]) == list(range(10, 25))
    assert await _numbers(reader(), positions[1]) == list(range(20, 25))


async def test_a_resumed_slice_counts_what_came_before_against_the_limit(reader: ReaderOf) -> None:
    positions = [fetched.next async for fetched in reader(limit=15).pages()]
    assert await _numbers(reader(limit=15), positions[0]) == [10, 11, 12, 13, 14]


@pytest.mark.conformance("BC-28")
async def test_the_vendors_link_is_asked_for_byte_for_byte(reader: ReaderOf, vendor: Vendor) -> None:
    vendor.link_flavour = "aid=FIN&$skiptoken=a%2Fb%2bc'd%20e"
    await _numbers(reader())
    assert vendor.urls[1:] == [f"{ORIGIN}/numbers?{vendor.link_flavour}&from={offset}" for offset in (10, 20)]


@pytest.mark.conformance("BC-29")
async def test_a_position_on_another_host_is_refused_before_anything_is_sent(reader: ReaderOf, vendor: Vendor) -> None:
    with pytest.raises(UnsafeLink):
        await _numbers(reader(), ReadPosition(link="https://elsewhere.test/numbers?from=0"))
    assert vendor.asked == []


@pytest.mark.conformance("BC-31")
async def test_a_size_that_was_found_during_an_outage_is_not_remembered(reader: ReaderOf, vendor: Vendor) -> None:
    vendor.total, vendor.size_max, vendor.refusal = 60, 30, VendorUnavailable
    remembered: list[int] = []
    await _numbers(reader(page_records=100, remember=remembered.append))
    assert remembered == []


@pytest.mark.conformance("BC-84")
@pytest.mark.parametrize("refusal", [VendorUnavailable(retry_after_s=60.0), VendorTimeout(unsent=True)])
async def test_who_names_a_time_or_was_never_asked_is_not_asked_for_less(
    reader: ReaderOf, vendor: Vendor, refusal: Failure
) -> None:
    vendor.fail_at[0] = refusal
    with pytest.raises(type(refusal)):
        await _numbers(reader(page_records=100))
    assert vendor.asked == [(0, 100)]


async def test_a_small_page_grows_again_after_good_pages_up_to_the_usual_size(reader: ReaderOf, vendor: Vendor) -> None:
    vendor.total = 1_000
    remembered: list[int] = []
    assert await _numbers(reader(page_records=10, page_records_usual=35, remember=remembered.append)) == list(
        range(1_000)
    )
    sizes = [size for _, size in vendor.asked]
    assert sizes == sorted(sizes)
    assert list(dict.fromkeys(sizes)) == [10, 20, 35]
    assert remembered == [20, 35]


async def test_a_size_that_fails_again_is_tried_more_seldom(reader: ReaderOf, vendor: Vendor) -> None:
    vendor.total, vendor.size_max, vendor.refusal = 1_000, 15, VendorTimeout
    assert await _numbers(reader(page_records=10, page_records_usual=20)) == list(range(1_000))
    assert [size for _, size in vendor.asked].count(20) <= 4


@pytest.mark.parametrize("target", [0, 10], ids=["the first page", "itself"])
async def test_links_that_go_round_end_the_slice(reader: ReaderOf, vendor: Vendor, target: int) -> None:
    vendor.rounds[20] = target
    seen: list[int] = []
    with pytest.raises(CorruptResponse):
        await _collect(reader(), seen)
    assert len(vendor.asked) <= 6


@pytest.mark.conformance("BC-30")
async def test_empty_pages_that_lead_to_themselves_are_not_followed_for_ever(reader: ReaderOf, vendor: Vendor) -> None:
    vendor.gaps, vendor.gaps_stay = {10}, True
    seen: list[int] = []
    with pytest.raises(CorruptResponse):
        await _collect(reader(), seen)
    assert seen == list(range(10))
    assert EMPTY_PAGES_MAX <= len(vendor.asked) <= EMPTY_PAGES_MAX + 4
