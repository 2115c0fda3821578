"""Cutting pages into records: ids, stamps, hashes, raw bytes."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus.kernel.failures import CorruptResponse, Unsupported
from isthmus.odata.pages import business_bytes, content_hashes, slice_children, slice_page, slice_record

STAMP = "lastModifiedDateTime"


def body_of(*records: bytes, extra: bytes = b"") -> bytes:
    return b'{"@odata.context":"https://host/$metadata#customers","value":[' + b",".join(records) + b"]" + extra + b"}"


def customer(number: str = "10000", etag: str = 'W/\\"a;1;\\"', stamp: str = "2026-03-01T10:00:00.5Z") -> bytes:
    return (
        f'{{"@odata.etag":"{etag}","id":"5de5","number":"{number}","balance":72893.84000000000001,"lastModifiedDateTime":"{stamp}"}}'
    ).encode()


def test_a_page_becomes_parallel_columns_with_the_raw_bytes_untouched() -> None:
    record = customer()
    page = slice_page(body_of(record, extra=b',"@odata.nextLink":"https://host/c?a=1&$skiptoken=x"'), stamp=STAMP)
    assert page.ids == ["5de5"]
    assert page.stamps == ["2026-03-01T10:00:00.5Z"]
    assert page.raws == [record]
    assert [len(digest) for digest in page.hashes] == [16]
    assert page.next_link == "https://host/c?a=1&$skiptoken=x"
    assert page.count is None


def test_the_total_is_read_from_the_count_annotation() -> None:
    assert slice_page(body_of(customer(), extra=b',"@odata.count":41')).count == 41


@pytest.mark.conformance("BC-30")
def test_an_empty_page_with_a_link_is_not_the_end() -> None:
    page = slice_page(body_of(extra=b',"@odata.nextLink":"https://host/next"'), stamp=STAMP)
    assert (len(page), page.next_link) == (0, "https://host/next")


@pytest.mark.conformance("BC-30")
def test_an_empty_page_without_a_link_is_the_end() -> None:
    page = slice_page(body_of(), stamp=STAMP)
    assert (len(page), page.next_link) == (0, None)


@pytest.mark.conformance("BC-49")
@pytest.mark.parametrize("lost", [1, 2, 20, 90, 150])
def test_a_truncated_body_is_a_retryable_failure_and_yields_no_partial_page(lost: int) -> None:
    whole = body_of(customer(), customer("20000"))
    with pytest.raises(CorruptResponse) as caught:
        slice_page(whole[:-lost], stamp=STAMP)
    assert caught.value.retryable
    assert caught.value.vendor is not None
    assert (caught.value.vendor.raw or "").startswith('{"@odata.context"')


@pytest.mark.parametrize("body", [b"", b"null", b"[]", b"{}", b'{"value":1}', b'{"value":[1]}', b"<html></html>"])
def test_a_body_that_is_no_page_is_a_corrupt_response(body: bytes) -> None:
    with pytest.raises(CorruptResponse):
        slice_page(body, stamp=STAMP)


@pytest.mark.conformance("BC-97")
def test_a_restamp_changes_no_hash() -> None:
    before = slice_page(body_of(customer(etag='W/\\"1\\"', stamp="2025-01-01T00:00:00Z")), stamp=STAMP)
    after = slice_page(body_of(customer(etag='W/\\"2\\"', stamp="2026-06-06T06:06:06.66Z")), stamp=STAMP)
    assert before.hashes == after.hashes
    assert before.stamps != after.stamps


def test_a_business_change_changes_the_hash() -> None:
    before, after = slice_page(body_of(customer("1"))), slice_page(body_of(customer("2")))
    assert before.hashes != after.hashes


@pytest.mark.conformance("BC-53")
def test_digits_beyond_a_float_count_as_content() -> None:
    left = content_hashes([b'{"id":"1","amount":1234567890123456.78}'])
    right = content_hashes([b'{"id":"1","amount":1234567890123456.79}'])
    assert left != right


@pytest.mark.conformance("BC-47")
def test_a_record_hashes_the_same_alone_and_in_a_page() -> None:
    in_page = customer()
    alone = b'{"@odata.context":"https://host/$metadata#customers/$entity",' + in_page[1:]
    assert slice_record(alone, stamp=STAMP).hashes == slice_page(body_of(in_page), stamp=STAMP).hashes
    assert slice_record(alone, stamp=STAMP).ids == ["5de5"]


@pytest.mark.parametrize(
    "variant",
    [
        b'{"id":"5","name":"N","lastModifiedDateTime":"2026-01-01T00:00:00Z","@odata.etag":"W/\\"1\\""}',
        b'{"lastModifiedDateTime":null,"@odata.etag":"x","id":"5","name":"N"}',
        b'{"@odata.etag":"","id":"5","name":"N"}',
        b'{"@odata.etag":"a\\",\\"b","id":"5","lastModifiedDateTime":"2026-01-01T00:00:00Z","name":"N"}',
        b'{"@odata.context":"c","@odata.etag":"e","@odata.id":7,"id":"5","name":"N","picture@odata.mediaReadLink":"l"}',
        b'{"id":"5","x@odata.type":{"deep":["]","}\\"",{"a":1}]},"name":"N","systemModifiedAt":"2026-01-01T00:00:00Z"}',
        b'{ "@odata.etag" : "e",\n "id": "5",\r\n\t"name" :"N" , "lastModifiedDateTime" : "2026" }',
        b'{"lastDateTimeModified":"2026-01-01T00:00:00Z","id":"5","name":"N"}',
        b'{"@odata.etag":"a\\",","id":"5","lastModifiedDateTime":"2026","name":"N"}',
        b'{"@odata.etag":"e","id":"5","name":"N","lastModifiedDateTime":"2026","picture@odata.mediaReadLink":"l"}',
        b'{"@odata.etag":"e","lastModifiedDateTime":"2026","id":"5","name":"N"}',
        b'{"@odata.etag":"e","id":"5","name":"N","lastModifiedDateTime":"2026"}',
        b'{"@odata.etag":"e","id":"5","lastModifiedDateTime":"20\\"26","name":"N"}',
        b'{"@odata.etag":"e","id":"5","lastModifiedDateTime":null,"name":"N"}',
    ],
)
def test_annotations_and_stamps_do_not_count_wherever_they_stand(variant: bytes) -> None:
    assert content_hashes([variant]) == content_hashes([b'{"id":"5","name":"N"}'])
    assert slice_page(body_of(variant), stamp=STAMP).hashes == content_hashes([b'{"id":"5","name":"N"}'])


@pytest.mark.parametrize(
    "text",
    [
        '"@odata.etag":"W/1",',
        ',"lastModifiedDateTime":"2026"',
        "mail@odata.example",
        'x\\","@odata.etag":"y',
        "lastModifiedDateTime",
        "\\",
        '{"lastModifiedDateTime":"1"}',
    ],
)
def test_text_that_looks_like_an_annotation_or_a_stamp_stays_content(text: str) -> None:
    with_text = json.dumps({"@odata.etag": "e", "id": "5", "note": text, STAMP: "2026"}, separators=(",", ":")).encode()
    other = json.dumps(
        {"@odata.etag": "e", "id": "5", "note": text + "!", STAMP: "2026"}, separators=(",", ":")
    ).encode()
    plain = json.dumps({"id": "5", "note": text}, separators=(",", ":")).encode()
    assert slice_page(body_of(with_text)).hashes == content_hashes([plain])
    assert slice_page(body_of(with_text)).hashes != slice_page(body_of(other)).hashes


def test_stamps_and_etags_inside_expanded_children_do_not_count() -> None:
    def invoice(tag: str, stamp: str, quantity: int) -> bytes:
        return (
            f'{{"@odata.etag":"{tag}","id":"1","lastModifiedDateTime":"{stamp}","lines@odata.context":"{tag}",'
            f'"lines":[{{"@odata.etag":"{tag}","id":"2","lastModifiedDateTime":"{stamp}","quantity":{quantity}}},'
            f'{{"lastModifiedDateTime":"{stamp}"}}]}}'
        ).encode()

    before, restamped = slice_page(body_of(invoice("a", "2025", 1))), slice_page(body_of(invoice("b", "2026", 1)))
    assert before.hashes == restamped.hashes
    assert before.hashes != slice_page(body_of(invoice("a", "2025", 2))).hashes


def test_a_page_with_as_many_stamps_as_records_unevenly_spread_is_still_cut_right() -> None:
    twice = b'{"@odata.etag":"e","id":"1","lastModifiedDateTime":"2026","c":{"x":1,"lastModifiedDateTime":"2026"}}'
    none = b'{"@odata.etag":"e","id":"2","c":{}}'
    assert slice_page(body_of(twice, none)).hashes == content_hashes([b'{"id":"1","c":{"x":1}}', b'{"id":"2","c":{}}'])


@pytest.mark.conformance("BC-48")
def test_rows_without_a_key_get_their_content_as_id_and_equal_rows_stay_apart() -> None:
    row, other = b'{"customerNumber":"1","sales":5}', b'{"customerNumber":"2","sales":5}'
    ids = slice_page(body_of(row, other, row), key=()).ids
    assert len(set(ids)) == 3
    assert slice_page(body_of(row), key=()).ids == ids[:1]


def test_a_page_cut_without_hashes_is_the_same_otherwise() -> None:
    body = b'{"value":[{"id":"a","lastModifiedDateTime":"2026-01-01T00:00:00Z","n":1},{"id":"b","n":2}]}'
    hashed = slice_page(body, stamp="lastModifiedDateTime")
    bare = slice_page(body, stamp="lastModifiedDateTime", hashed=False)
    assert (bare.ids, bare.stamps, bare.raws, bare.hashes) == (hashed.ids, hashed.stamps, hashed.raws, [])


@pytest.mark.conformance("BC-48")
def test_rows_without_a_key_have_the_same_ids_without_hashes() -> None:
    body = b'{"value":[{"n":1},{"n":1},{"n":2}]}'
    for key in ((), ("id",)):
        assert slice_page(body, key=key, hashed=False).ids == slice_page(body, key=key).ids


def test_composite_keys_are_joined_without_ambiguity() -> None:
    page = slice_page(body_of(b'{"code":"A,B","user":"1"}', b'{"code":"A","user":"B,1"}'), key=("code", "user"))
    assert page.ids == ["A%2CB,1", "A,B%2C1"]


def test_a_key_that_is_a_number_becomes_text() -> None:
    assert slice_page(body_of(b'{"entryNumber":17}'), key=("entryNumber",)).ids == ["17"]


@pytest.mark.conformance("BC-41")
def test_children_are_cut_out_of_their_parents_with_the_parents_stamp() -> None:
    body = body_of(
        b'{"id":"1","lastModifiedDateTime":"2026-01-01T00:00:00Z","lines":[{"id":"11","q":1},{"id":"12","q":2}]}',
        b'{"id":"2","lastModifiedDateTime":"2026-02-02T00:00:00Z","lines":[]}',
        b'{"id":"3","lastModifiedDateTime":"2026-03-03T00:00:00Z","lines":[{"id":"31","q":1}]}',
        extra=b',"@odata.nextLink":"https://host/next"',
    )
    page = slice_children(body, "lines", parent_stamp=STAMP)
    assert page.ids == ["11", "12", "31"]
    assert page.stamps == ["2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z", "2026-03-03T00:00:00Z"]
    assert page.raws[0] == b'{"id":"11","q":1}'
    assert page.next_link == "https://host/next"


@pytest.mark.conformance("BC-50")
def test_a_single_expanded_record_comes_as_an_object_and_a_missing_one_as_null() -> None:
    body = body_of(b'{"id":"1","picture":{"id":"p"}}', b'{"id":"2","picture":null}', b'{"id":"3"}')
    assert slice_children(body, "picture").ids == ["p"]


def test_paging_inside_an_expansion_is_refused_rather_than_losing_records() -> None:
    body = body_of(b'{"id":"1","lines":[],"lines@odata.nextLink":"https://host/inner"}')
    with pytest.raises(Unsupported):
        slice_children(body, "lines")


NAMES = st.sampled_from(["id", "name", "note", STAMP, "systemModifiedAt", "@odata.etag", "picture@odata.mediaReadLink"])
TEXTS = st.text(alphabet='ab"\\{}[],: @odata.lastModifiedDateTimeé\n', max_size=30)
SCALARS = st.none() | st.booleans() | st.integers() | TEXTS
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4), max_leaves=8
)


def business_only(value: Any) -> Any:
    if isinstance(value, dict):
        skipped = {STAMP, "systemModifiedAt"}
        return {k: business_only(v) for k, v in value.items() if k not in skipped and "@odata." not in k}
    return [business_only(each) for each in value] if isinstance(value, list) else value


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(NAMES, VALUES, max_size=7), st.booleans())
def test_cutting_bytes_equals_removing_members_from_the_parsed_record(record: dict[str, Any], ascii_only: bool) -> None:
    raw = json.dumps(record, separators=(",", ":"), ensure_ascii=ascii_only).encode()
    members = tuple(f'"{name}"'.encode() for name in (STAMP, "systemModifiedAt"))
    cut = json.dumps(business_only(record), separators=(",", ":"), ensure_ascii=ascii_only).encode()
    assert business_bytes(raw, members) == cut
    assert content_hashes([raw]) == content_hashes([cut])


@settings(max_examples=100, deadline=None)
@given(st.lists(st.dictionaries(NAMES, VALUES, max_size=7), min_size=1, max_size=6))
def test_every_fast_road_gives_the_hash_of_the_slow_one(records: list[dict[str, Any]]) -> None:
    raws = [json.dumps({"@odata.etag": 'W/"1"', **record}, separators=(",", ":")).encode() for record in records]
    assert content_hashes(raws, page=body_of(*raws)) == [content_hashes([raw])[0] for raw in raws]


MEMBERS = st.lists(
    st.tuples(st.sampled_from(["id", "name", "note", "x@odata.y"]), TEXTS), max_size=4, unique_by=lambda m: m[0]
)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(MEMBERS, TEXTS, st.integers(0, 4), TEXTS), min_size=1, max_size=4))
def test_a_page_of_stamped_records_hashes_like_each_record_alone(
    records: list[tuple[list[tuple[str, str]], str, int, str]],
) -> None:
    raws = []
    for members, etag, place, stamp in records:
        members = [*members[:place], (STAMP, stamp), *members[place:]]
        raws.append(json.dumps({"@odata.etag": etag, **dict(members)}, separators=(",", ":")).encode())
    alone = [json.dumps(business_only(json.loads(raw)), separators=(",", ":")).encode() for raw in raws]
    assert slice_page(body_of(*raws), stamp=STAMP).hashes == [content_hashes([raw])[0] for raw in alone]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.dictionaries(st.sampled_from(["name", "note"]), SCALARS), max_size=5))
def test_raw_records_survive_slicing_byte_for_byte(records: list[dict[str, Any]]) -> None:
    raws = [msgspec.json.encode(record) for record in records]
    assert slice_page(body_of(*raws)).raws == raws
