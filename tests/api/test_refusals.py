"""Every refusal is a problem with a code, a remedy and the request's id; never a traceback."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
from tests.api_server import Served, serving
from tests.hub_fixtures import House

from isthmus.kernel import failures
from isthmus.kernel.failures import Failure, VendorFault, every_failure
from isthmus.kernel.statuses import STATUSES, status_of

MEMBERS = {"type", "title", "status", "code", "message", "remedy", "turn", "retryable", "retry_after", "request_id"}


def problem(answer: Any) -> dict[str, Any]:
    """The problem in an answer, with everything that one has to have."""
    assert answer.headers["content-type"] == "application/problem+json"
    told: dict[str, Any] = answer.json()
    assert set(told) >= MEMBERS
    assert told["status"] == answer.status_code
    assert told["request_id"] == answer.headers["x-request-id"]
    assert told["message"]
    assert told["remedy"]
    assert "Traceback" not in answer.text
    return told


UNUSABLE: list[tuple[str, str, bytes | None, int, str]] = [
    ("GET", "/nothing/here", None, 404, "no_such_route"),
    ("GET", "/v1/connections/not-an-id", None, 404, "no_such_route"),
    ("PUT", "/v1/connections", None, 405, "method_not_allowed"),
    ("POST", "/v1/consumers", b"{", 400, "malformed_request"),
    ("POST", "/v1/consumers", b'{"name": "A"}', 422, "invalid_input"),
    ("POST", "/v1/consumers", b'{"external_id": "a", "name": "A", "nmae": "B"}', 422, "invalid_input"),
    ("POST", "/v1/consumers", b'{"external_id": "a\\u0000", "name": "A"}', 422, "invalid_input"),
    ("POST", "/v1/consumers", b'"' + b"x" * 2_000_000 + b'"', 413, "too_large"),
    ("GET", "/v1/connections?limit=0", None, 422, "invalid_input"),
    ("GET", "/v1/connections?cursor=made-up", None, 422, "invalid_input"),
    ("GET", "/v1/changes?cursor=made-up", None, 422, "invalid_input"),
    ("GET", "/v1/syncs?connection=nonsense", None, 422, "invalid_input"),
    ("GET", "/v1/consumers?external_id=%00", None, 422, "invalid_input"),
    ("GET", "/v1/connections?lmit=1", None, 422, "invalid_input"),
    ("POST", "/v1/consumers", b'{"external_id": "a", "name": "\xed\xa0\xbd"}', 400, "malformed_request"),
]


async def test_input_that_cannot_be_used(served: Served) -> None:
    client = await served.client()
    for method, path, content, status, code in UNUSABLE:
        answer = await client.request(method, path, content=content, headers={"content-type": "application/json"})
        assert (answer.status_code, problem(answer)["code"]) == (status, code), path


SOME_ID = "019353d4-8c5e-7b1a-9f3e-2a6b7c8d9e0f"
WRITES = f"/v1/connections/{SOME_ID}/operations"
SYNC = json.dumps({"connection": SOME_ID, "object": "customers", "rename": {"a": ""}})

IN_WORDS: list[tuple[str, str, str, str, str | None, list[str]]] = [
    ("GET", "/v1/changes?limit=5001", "", "“limit” is at most 5000.", "limit", []),
    ("GET", "/v1/connections?limit=0", "", "“limit” is at least 1.", "limit", []),
    ("GET", "/v1/connections?limit=many", "", "“limit” has to be a whole number.", "limit", []),
    (
        "GET",
        "/v1/operations?state=faild",
        "",
        "“state” is one of waiting_for_approval, planned, sent, uncertain, confirmed, failed, needs_person.",
        "state",
        ["failed"],
    ),
    ("GET", "/v1/syncs?connection=Cronus", "", f"“connection” is no id: an id looks like {SOME_ID}.", "connection", []),
    (
        "GET",
        "/v1/connections?lmit=1",
        "",
        "“lmit” is no parameter of this address; did you mean “limit”?",
        "lmit",
        ["limit"],
    ),
    (
        "GET",
        f"/v1/connections/{SOME_ID}?fresh=1",
        "",
        "“fresh” is no parameter of this address: it takes none.",
        "fresh",
        [],
    ),
    ("POST", "/v1/consumers", '{"name": "A"}', "“external_id” is missing.", "external_id", []),
    ("POST", "/v1/consumers", "[]", "The body has to be an object, not a list.", None, []),
    (
        "POST",
        "/v1/consumers",
        '{"external_id": 7, "name": "A"}',
        "“external_id” has to be text, not a whole number.",
        "external_id",
        [],
    ),
    (
        "POST",
        "/v1/consumers",
        '{"external_id": "a", "name": "A", "nmae": "B"}',
        "“nmae” is not known here; did you mean “name”?",
        "nmae",
        ["name"],
    ),
    ("POST", "/v1/syncs", SYNC, "A value of “rename” is empty.", "rename", []),
    (
        "POST",
        WRITES,
        '{"verb": "updat", "object": "customers"}',
        "“verb” is one of action, create, delete, update, upsert.",
        "verb",
        ["update"],
    ),
    (
        "POST",
        WRITES,
        '{"verb": "update", "object": "customers", "record_id": ""}',
        "“record_id” is empty.",
        "record_id",
        [],
    ),
    (
        "POST",
        WRITES + "/batch",
        '{"rows": [{"verb": "delete", "objct": "customers"}]}',
        "“rows[0].objct” is not known here; did you mean “object”?",
        "rows[0].objct",
        ["object"],
    ),
]


@pytest.mark.parametrize("kind", ["application/json", "application/json; charset=utf-8"])
async def test_input_that_does_not_fit_is_told_by_the_names_and_kinds_of_the_api(served: Served, kind: str) -> None:
    client = await served.client()
    for method, path, content, message, subject, nearest in IN_WORDS:
        answer = await client.request(method, path, content=content or None, headers={"content-type": kind})
        told = problem(answer)
        assert (answer.status_code, told["code"], told["message"]) == (422, "invalid_input", message)
        assert (told["subject"], told["nearest"]) == (subject, nearest), path


@pytest.mark.parametrize(
    ("path", "begun"), [("/v1/consumers", '{"name": "A",'), (WRITES, '{"verb": "del')], ids=["a body", "a write"]
)
async def test_a_body_that_is_no_json_is_told_with_the_place(served: Served, path: str, begun: str) -> None:
    client = await served.client()
    for content, told in (
        (begun, "it ends too early, at character 13"),
        ("{'verb': 1}", "object keys must be strings at character 2"),
        ("verb=update", "invalid character at character 1"),
        ('{"object": "a"} B', "trailing characters at character 17"),
    ):
        if content.startswith('{"object') and path == WRITES:
            continue  # it is read in one go, and what it lacks is found first
        answer = await client.post(path, content=content, headers={"content-type": "application/json"})
        assert problem(answer)["message"] == f"The body is not JSON: {told}."
    nothing = await client.post(path, content=b"", headers={"content-type": "application/json"})
    assert problem(nothing)["message"] in (
        "A body is missing: send a JSON object.",
        "The body is not JSON: it is empty.",
    )


@pytest.mark.parametrize("path", ["/v1/consumers", WRITES])
async def test_a_form_is_told_what_to_send_instead(served: Served, path: str) -> None:
    answer = await (await served.client()).post(path, data={"name": "A"})
    told = problem(answer)
    assert (answer.status_code, told["message"]) == (400, "The body is a form, not JSON.")
    assert "Content-Type: application/json" in told["remedy"]


async def test_a_name_where_an_id_belongs_is_told_as_such(served: Served) -> None:
    client = await served.client()
    for method, path, place in (
        ("GET", "/v1/connections/Cronus", "/v1/connections"),
        ("POST", "/v1/connections/Cronus/operations", "/v1/connections"),
        ("DELETE", "/v1/syncs/Cronus", "/v1/syncs"),
        ("GET", "/v1/connections/Cronus/objects/customers", "/v1/connections"),
    ):
        told = problem(await client.request(method, path))
        assert (told["status"], told["subject"]) == (404, "Cronus")
        assert told["message"].startswith("“Cronus” is not an id")
        assert f"GET {place} lists" in told["remedy"]
    nothing = problem(await client.get("/v1/conections/Cronus"))
    assert nothing["message"] == "There is nothing at this address."


async def test_a_wrong_field_names_the_ones_that_were_meant(served: Served) -> None:
    client = await served.client()
    connection = await served.connect(client)
    answer = await client.post(
        "/v1/syncs", json={"connection": connection["id"], "object": "customers", "fields": ["displayNmae"]}
    )
    told = problem(answer)
    assert (told["code"], told["subject"], told["nearest"][0]) == ("unknown_field", "displayNmae", "displayName")


async def test_the_vendors_words_are_passed_on(served: Served) -> None:
    client = await served.client()
    connection = await served.connect(client)
    served.house.sandbox.fault(
        "status", status=403, code="Authorization_RequestDenied", message="No.", path="customers", count=None
    )
    answer = await client.post("/v1/syncs", json={"connection": connection["id"], "object": "customers"})
    told = problem(answer)
    assert (answer.status_code, told["code"]) == (424, "permission_missing")
    assert told["vendor"]["status"] == 403
    assert told["vendor"]["message"]
    assert "raw" not in told["vendor"]


async def test_a_defect_is_told_with_its_reference_and_without_its_traceback(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    client = await served.client()
    await client.get("/v1/connections")
    served.hub.db.project = None  # type: ignore[assignment, method-assign]  # a defect, on purpose
    try:
        with caplog.at_level(logging.ERROR):
            answer = await client.get("/v1/connections")
    finally:
        del served.hub.db.project
    told = problem(answer)
    assert (answer.status_code, told["code"], told["turn"]) == (500, "defect", "isthmus")
    assert told["request_id"] in caplog.text
    assert "NoneType" not in answer.text


async def test_every_answer_carries_its_id_and_the_log_has_it(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    client = await served.client()
    with caplog.at_level(logging.INFO, logger="isthmus.http"):
        answer = await client.get("/v1/connections")
    line = json.loads(next(record.message for record in caplog.records if record.name == "isthmus.http"))
    assert line["request_id"] == answer.headers["x-request-id"]
    assert (line["route"], line["status"]) == ("/v1/connections", 200)
    assert line["project"] == str(served.hub.project.id)


async def test_every_answer_is_safe_in_a_browser(served: Served) -> None:
    client = await served.client()
    for path in ("/v1/connections", "/healthz", "/v1/nothing", "/openapi.json", "/oauth/callback"):
        answer = await client.get(path)
        assert answer.headers["x-content-type-options"] == "nosniff", path
        assert answer.headers["x-frame-options"] == "DENY", path
        assert answer.headers["referrer-policy"] == "no-referrer", path
        assert "default-src 'none'" in answer.headers["content-security-policy"], path
        assert answer.headers["cache-control"] == "no-store", path


EVERYWHERE = (
    "/v1/connections", "/v1/proxy/x", "/healthz", "/v1/nothing", "/openapi.json", "/console/sign-in",
    "/console/nothing", "/connect/nothing", "/portal/nothing",
)  # fmt: skip


async def test_browsers_are_told_to_come_back_over_tls_alone_where_people_reach_the_server_so(house: House) -> None:
    async with serving(house, public_url="https://hub.example.com") as served:
        client = await served.client()
        for path in EVERYWHERE:
            told = (await client.get(path)).headers.get("strict-transport-security")
            assert told == "max-age=31536000", path


async def test_a_server_that_is_reached_over_http_says_nothing_about_tls(served: Served) -> None:
    client = await served.client()
    for path in EVERYWHERE:
        assert "strict-transport-security" not in (await client.get(path)).headers, path


def test_every_failure_has_a_status_of_an_error() -> None:
    for cls in every_failure():
        assert 400 <= status_of(cls()) < 600


def test_a_class_takes_its_parents_status_where_it_has_none() -> None:
    assert failures.SecretExpired not in STATUSES
    assert status_of(failures.SecretExpired()) == 424


def test_a_retry_time_becomes_a_header() -> None:
    from isthmus.api.problems import answer, problem_of

    failure: Failure = failures.RateLimited(retry_after_s=7.2, vendor=VendorFault(status=429, raw="secret body"))
    made = answer(problem_of(failure, "req_1"))
    assert made.headers["retry-after"] == "7"
    assert b"secret body" not in made.content


async def test_measurements_are_for_this_machine_or_an_admin(served: Served) -> None:
    client = await served.bearing(None)
    await client.get("/healthz")
    here = await client.get("/metrics")
    assert here.status_code == 200
    assert 'isthmus_http_requests_total{method="GET",route="/healthz",status="200"}' in here.text
    passed_on = {"x-forwarded-for": "203.0.113.7"}
    assert (await client.get("/metrics", headers=passed_on)).status_code == 401
    assert (await (await served.client("read")).get("/metrics", headers=passed_on)).status_code == 403
    assert (await (await served.client("admin")).get("/metrics", headers=passed_on)).status_code == 200


async def test_readiness_tells_the_databases_version(served: Served) -> None:
    answer = await (await served.bearing(None)).get("/readyz")
    assert answer.status_code == 200
    assert answer.json()["schema"] >= answer.json()["expected"]
