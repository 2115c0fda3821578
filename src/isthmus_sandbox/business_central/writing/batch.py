"""`$batch`: several requests in one, in order, one after another (behaviour.md section 8; BC-79 to BC-83).

The outer status is 200 once the body parses. By default the first failing part ends the batch: later parts are missing
from the answer, earlier ones stay. `Prefer: odata.continue-on-error` runs all; `Isolation: snapshot` undoes all when a
part fails, except what a part committed, and still reports the earlier parts as done.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from isthmus_sandbox.business_central.addressing import parse_address, parse_query
from isthmus_sandbox.business_central.answers import Answer, Call
from isthmus_sandbox.business_central.errors import ODataError, error_body, unknown_segment
from isthmus_sandbox.business_central.render import ReadContext
from isthmus_sandbox.business_central.writing import multipart
from isthmus_sandbox.business_central.writing.refusals import bad_body, method_not_allowed, too_large
from isthmus_sandbox.business_central.writing.transaction import Transaction

PARTS_MAX = 100
"""Operations of one batch (BC-83)."""

_INHERITED = ("accept-language", "data-access-intent")
_METHODS = ("GET", "POST", "PATCH", "PUT", "DELETE")

Dispatch = Callable[[Call], Answer]


@dataclass(frozen=True, slots=True)
class Part:
    """One request of a batch; `id` is None when the caller gave none (BC-79)."""

    id: str | None
    method: str
    url: str
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class PartAnswer:
    """What one part was answered with."""

    id: str | None
    status: int
    headers: dict[str, str]
    body: bytes


def answer_batch(context: ReadContext, call: Call, dispatch: Dispatch) -> Answer:
    """Run the parts of a batch through `dispatch` and put their answers together. Raises `ODataError`."""
    if call.method != "POST":
        raise method_not_allowed(call.method, "$batch")
    if call.in_batch:
        raise bad_body("a batch cannot be part of a batch")
    limit = context.environment.switches.body_bytes_max
    if len(call.body) > limit:
        raise too_large(limit)
    content_type = call.headers.get("content-type", "")
    boundary = multipart.boundary_of(content_type)
    parts = _json_parts(call.body) if boundary is None else _multipart_parts(call.body, boundary)
    if len(parts) > PARTS_MAX:
        text = f"The batch request contains {len(parts)} parts; a batch may have at most {PARTS_MAX}."
        raise ODataError(400, "Unknown", text)
    answers, delay_s = _run(context, call, parts, dispatch)
    if boundary is None:
        return _json_answer(answers, delay_s)
    outer, body = multipart.encode([(a.status, a.headers, a.body) for a in answers])
    return Answer(200, body, content_type=outer, delay_s=delay_s)


def _run(context: ReadContext, call: Call, parts: list[Part], dispatch: Dispatch) -> tuple[list[PartAnswer], float]:
    go_on = "continue-on-error" in call.headers.get("prefer", "").lower()
    isolation = call.headers.get("isolation", call.headers.get("odata-isolation", "")).lower()
    answers: list[PartAnswer] = []
    delay_s = 0.0
    with contextlib.ExitStack() as stack:
        whole = (
            stack.enter_context(Transaction(context.service, context.environment)) if isolation == "snapshot" else None
        )
        for part in parts:
            answer, part_delay_s = _run_part(context, call, part, dispatch)
            answers.append(answer)
            delay_s += part_delay_s
            if answer.status >= 400 and not go_on:
                break
        if whole is not None and any(answer.status >= 400 for answer in answers):
            whole.rollback()
    return answers, delay_s


def _run_part(context: ReadContext, call: Call, part: Part, dispatch: Dispatch) -> tuple[PartAnswer, float]:
    try:
        answer = dispatch(_inner_call(call, part))
        if answer.then is not None:
            raise bad_body("subscriptions cannot be written in a batch")
    except ODataError as error:
        headers = {"Content-Type": "application/json; odata.metadata=minimal", **error.headers}
        return PartAnswer(part.id, error.status, headers, error_body(error, context.language)), 0.0
    headers = dict(answer.headers)
    if answer.body:
        headers["Content-Type"] = answer.content_type
    return PartAnswer(part.id, answer.status, headers, answer.body), answer.delay_s


def _inner_call(call: Call, part: Part) -> Call:
    """The part as a request of its own: relative to the root of the route, or with the whole path."""
    if part.method not in _METHODS:
        raise method_not_allowed(part.method, part.url)
    if part.body and "content-type" not in part.headers:
        raise bad_body("a part with a body needs a Content-Type of its own")
    path, _, query = part.url.removeprefix(call.origin).partition("?")
    if not path.startswith("/v2.0/"):
        path = f"{call.address.base}/{path.lstrip('/')}"
    address = parse_address(path)
    if address is None:
        raise unknown_segment(path.rsplit("/", 1)[-1])
    inherited = {name: call.headers[name] for name in _INHERITED if name in call.headers}
    return replace(
        call,
        method=part.method,
        address=address,
        query=parse_query(query),
        headers={**inherited, **part.headers},
        raw_path=path,
        body=part.body,
        in_batch=True,
    )


def _json_parts(content: bytes) -> list[Part]:
    try:
        raw = msgspec.json.decode(content, type=dict[str, msgspec.Raw])
        requests = msgspec.json.decode(raw.get("requests", b""), type=list[dict[str, msgspec.Raw]])
        return [_json_part(item) for item in requests]
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError) as error:
        raise bad_body(f"the batch cannot be read: {error}") from error


def _json_part(raw: dict[str, msgspec.Raw]) -> Part:
    method = msgspec.json.decode(raw.get("method", b""), type=str).upper()
    url = msgspec.json.decode(raw.get("url", b""), type=str)
    headers = msgspec.json.decode(raw.get("headers", b"{}"), type=dict[str, str])
    given_id: Any = msgspec.json.decode(raw.get("id", b"null"))
    body = bytes(raw.get("body", b""))
    if body.startswith(b'"'):
        body = msgspec.json.decode(body, type=str).encode()
    lowered = {name.lower(): value for name, value in headers.items()}
    return Part(None if given_id is None else str(given_id), method, url, lowered, b"" if body == b"null" else body)


def _multipart_parts(content: bytes, boundary: str) -> list[Part]:
    return [
        Part(request.content_id, request.method, request.url, request.headers, request.body)
        for request in multipart.decode(content, boundary)
    ]


def _json_answer(answers: list[PartAnswer], delay_s: float) -> Answer:
    responses = []
    for answer in answers:
        shown: dict[str, Any] = {"id": answer.id, "status": answer.status, "headers": answer.headers}
        if answer.body:
            is_json = "json" in answer.headers.get("Content-Type", "")
            shown["body"] = msgspec.Raw(answer.body) if is_json else answer.body.decode("utf-8", "replace")
        responses.append(shown)
    return Answer(200, msgspec.json.encode({"responses": responses}), delay_s=delay_s)
