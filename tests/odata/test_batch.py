"""`$batch`, JSON and multipart."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.kernel.failures import CorruptResponse, InvalidInput
from isthmus.odata.batch import (
    BatchPart,
    Fate,
    decode_json,
    decode_multipart,
    encode_json,
    encode_multipart,
    split_batches,
)


def parts(count: int, group: str | None = None) -> list[BatchPart]:
    return [BatchPart(id=str(n), method="POST", url=f"x{n}", body=b'{"n":1}', group=group) for n in range(count)]


def answer(*statuses: tuple[str | None, int]) -> bytes:
    return json.dumps(
        {"responses": [{"id": i, "status": s, "headers": {}, "body": {"s": s}} for i, s in statuses]}
    ).encode()


def test_bodies_are_embedded_without_being_rewritten() -> None:
    body = encode_json([BatchPart(id="1", method="POST", url="a", body=b'{"amount":123456789012345.678}')])
    assert b'"amount":123456789012345.678' in body
    assert json.loads(body)["requests"][0]["headers"] == {"Content-Type": "application/json"}


def test_a_part_without_a_body_sends_none() -> None:
    body = encode_json([BatchPart(id="1", method="DELETE", url="a", headers={"If-Match": "*"})])
    assert json.loads(body)["requests"] == [{"id": "1", "method": "DELETE", "url": "a", "headers": {"If-Match": "*"}}]


@pytest.mark.conformance("BC-79")
def test_every_inner_status_counts_and_answers_are_matched_by_id() -> None:
    outcomes = decode_json(answer(("2", 201), ("0", 400), ("1", 204)), parts(3))
    assert [each.fate for each in outcomes] == [Fate.FAILED, Fate.DONE, Fate.DONE]
    assert outcomes[2].response is not None
    assert outcomes[2].response.body == b'{"s": 201}'


@pytest.mark.conformance("BC-79")
@pytest.mark.parametrize("statuses", [[(None, 200)], [("0", 200), ("0", 200)], [("stranger", 200)]])
def test_answers_that_cannot_be_matched_are_corrupt(statuses: list[tuple[str | None, int]]) -> None:
    with pytest.raises(CorruptResponse):
        decode_json(answer(*statuses), parts(2))


@pytest.mark.conformance("BC-80")
def test_missing_trailing_parts_were_not_executed_and_earlier_ones_stay() -> None:
    outcomes = decode_json(answer(("0", 201), ("1", 400)), parts(4))
    assert [each.fate for each in outcomes] == [Fate.DONE, Fate.FAILED, Fate.NOT_EXECUTED, Fate.NOT_EXECUTED]


@pytest.mark.conformance("BC-81")
def test_with_continue_on_error_each_part_has_its_own_outcome() -> None:
    outcomes = decode_json(answer(("0", 400), ("1", 201), ("2", 409)), parts(3))
    assert [each.fate for each in outcomes] == [Fate.FAILED, Fate.DONE, Fate.FAILED]


@pytest.mark.conformance("BC-82")
def test_a_failing_part_undoes_a_snapshot_despite_inner_2xx() -> None:
    outcomes = decode_json(answer(("0", 201), ("1", 400)), parts(3), snapshot=True)
    assert [each.fate for each in outcomes] == [Fate.UNDONE, Fate.FAILED, Fate.NOT_EXECUTED]


@pytest.mark.conformance("BC-82")
def test_a_part_that_commits_makes_the_rest_of_a_failed_snapshot_unknown() -> None:
    outcomes = decode_json(answer(("0", 201), ("1", 400)), parts(2), snapshot=True, commits=True)
    assert [each.fate for each in outcomes] == [Fate.UNKNOWN, Fate.FAILED]


@pytest.mark.conformance("BC-82")
def test_a_snapshot_without_failures_is_done() -> None:
    outcomes = decode_json(answer(("0", 201), ("1", 204)), parts(2), snapshot=True)
    assert [each.fate for each in outcomes] == [Fate.DONE, Fate.DONE]


@pytest.mark.conformance("BC-83")
def test_more_than_a_hundred_parts_are_split_without_splitting_what_depends() -> None:
    single, family = parts(99), [BatchPart(id=f"f{n}", method="POST", url="x", group="invoice-1") for n in range(5)]
    batches = split_batches([*single, *family])
    assert [len(batch) for batch in batches] == [99, 5]


@pytest.mark.conformance("BC-83")
def test_a_family_larger_than_a_batch_and_an_oversized_batch_are_refused() -> None:
    with pytest.raises(InvalidInput):
        split_batches(parts(101, group="g"))
    with pytest.raises(InvalidInput):
        encode_json(parts(101))


def test_repeated_ids_are_refused() -> None:
    with pytest.raises(InvalidInput):
        split_batches([*parts(1), *parts(1)])


@given(st.lists(st.sampled_from([None, "a", "b"]), max_size=60), st.integers(20, 60))
def test_splitting_keeps_order_and_loses_nothing(groups: list[str | None], size: int) -> None:
    given_parts = [
        BatchPart(id=str(n), method="GET", url="x", group=f"{g}{n // 5}" if g else None) for n, g in enumerate(groups)
    ]
    batches = split_batches(given_parts, size)
    assert [part for batch in batches for part in batch] == given_parts
    assert all(len(batch) <= size for batch in batches)


MULTIPART = (
    b"--outer\r\nContent-Type: multipart/mixed; boundary=inner\r\n\r\n"
    b"--inner\r\nContent-Type: application/http\r\nContent-ID: 0\r\n\r\n"
    b'HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nETag: W/"1"\r\n\r\n{"id":1}\r\n'
    b"--inner--\r\n"
    b"--outer\r\nContent-Type: application/http\r\n\r\nHTTP/1.1 404 Not Found\r\n\r\n\r\n"
    b"--outer--\r\n"
)


@pytest.mark.conformance("BC-79", "BC-80")
def test_a_multipart_answer_is_read_with_its_change_sets() -> None:
    outcomes = decode_multipart(MULTIPART, "multipart/mixed; boundary=outer", parts(3))
    assert [each.fate for each in outcomes] == [Fate.DONE, Fate.FAILED, Fate.NOT_EXECUTED]
    assert outcomes[0].response is not None
    assert outcomes[0].response.body == b'{"id":1}'
    assert outcomes[0].response.headers["etag"] == 'W/"1"'


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (MULTIPART[:-12], "multipart/mixed; boundary=outer"),
        (MULTIPART, "application/json"),
        (b"", "multipart/mixed; boundary=outer"),
    ],
)
def test_a_cut_off_multipart_answer_is_corrupt(body: bytes, kind: str) -> None:
    with pytest.raises(CorruptResponse):
        decode_multipart(body, kind, parts(2))


def test_writes_get_a_change_set_each_and_reads_none() -> None:
    body = encode_multipart([*parts(1), BatchPart(id="g", method="GET", url="customers")], "outer")
    assert body.count(b"boundary=outer_0") == 1
    assert b'POST x0 HTTP/1.1\r\nContent-Type: application/json\r\n\r\n{"n":1}\r\n--outer_0--' in body
    assert b"GET customers HTTP/1.1\r\n\r\n\r\n--outer--\r\n" in body


def test_headers_and_boundaries_cannot_break_out() -> None:
    with pytest.raises(InvalidInput):
        encode_multipart([BatchPart(id="1", method="GET", url="x", headers={"A": "b\r\nEvil: 1"})], "outer")
    with pytest.raises(InvalidInput):
        encode_multipart(parts(1), "bad boundary\r\n")
