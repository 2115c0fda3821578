"""`$batch` in JSON and multipart form: parts in, one body out; one body in, outcomes per part out (BC-79 to BC-83)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, Final

import msgspec

from isthmus.kernel.failures import CorruptResponse, InvalidInput
from isthmus.kernel.messages import Response
from isthmus.odata.pages import corrupt

PARTS_MAX: Final = 100
"""More is refused as a whole (BC-83)."""

CONTINUE_ON_ERROR: Final = {"Prefer": "odata.continue-on-error"}
"""Runs all parts, for those that do not depend on each other (BC-81)."""

SNAPSHOT: Final = {"Isolation": "snapshot"}
"""One transaction, unless application code commits in between (BC-82)."""

_BOUNDARY: Final = re.compile(r'boundary="?([^";,]{1,70})"?', re.IGNORECASE)
_STATUS_LINE: Final = re.compile(rb"HTTP/1\.[01] (\d{3})[^\r\n]*\r?\n")


class BatchPart(msgspec.Struct, frozen=True, kw_only=True):
    """One request of a batch. `url` is relative to the service root; `group` ties parts that must not be split."""

    id: str
    method: str
    url: str
    headers: Mapping[str, str] = {}
    body: bytes | None = None
    group: str | None = None


class Fate(StrEnum):
    """What became of a part."""

    DONE = "done"
    FAILED = "failed"
    NOT_EXECUTED = "not executed"
    """The batch stopped at an earlier part, so this one has no answer (BC-80)."""
    UNDONE = "undone"
    """It ran, but the snapshot was rolled back because another part failed, whatever its status says (BC-82)."""
    UNKNOWN = "unknown"
    """It may have been committed or rolled back: a part of the snapshot commits by itself (BC-82)."""


class PartOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """The fate of one part; `response` is None when it was not executed."""

    id: str
    fate: Fate
    response: Response | None = None


def split_batches(parts: Sequence[BatchPart], parts_max: int = PARTS_MAX) -> list[list[BatchPart]]:
    """Cut into batches of at most `parts_max` in order; parts of one group, next to each other, stay together.

    Raises InvalidInput for a group that is too large or for ids that repeat: answers are matched by id (BC-79).
    """
    if len({part.id for part in parts}) != len(parts):
        raise InvalidInput("Two parts of the batch have the same id.")
    batches: list[list[BatchPart]] = []
    current: list[BatchPart] = []
    for unit in _units(parts):
        if len(unit) > parts_max:
            raise InvalidInput(f"{len(unit)} parts depend on each other; a batch holds {parts_max}.")
        if len(current) + len(unit) > parts_max:
            batches.append(current)
            current = []
        current.extend(unit)
    return [*batches, current] if current else batches


def encode_json(parts: Sequence[BatchPart]) -> bytes:
    """The JSON form. Bodies are embedded as they are: no number is read and written again."""
    _check_count(parts)
    requests: list[dict[str, Any]] = []
    for part in parts:
        item: dict[str, Any] = {"id": part.id, "method": part.method, "url": part.url, "headers": dict(part.headers)}
        if part.body is not None:
            item["body"] = msgspec.Raw(part.body)
            item["headers"].setdefault("Content-Type", "application/json")
        requests.append(item)
    return msgspec.json.encode({"requests": requests})


def decode_json(
    body: bytes, parts: Sequence[BatchPart], *, snapshot: bool = False, commits: bool = False
) -> list[PartOutcome]:
    """Outcomes in the order of `parts`, matched by id; every inner status counts, the outer one says nothing (BC-79).

    `snapshot`: one failing part undoes all. `commits`: some part commits by itself, so what ran before it is unknown.
    Raises CorruptResponse for a body that cannot be read or that answers parts nobody sent.
    """
    try:
        answers = msgspec.json.decode(body, type=_Answers).responses
    except msgspec.DecodeError as error:
        raise corrupt(body, error) from error
    by_id: dict[str, Response] = {}
    for answer in answers:
        if answer.id is None or answer.id in by_id:
            raise CorruptResponse("The batch answer has a part without an id, or two with the same.")
        headers = {name.lower(): value for name, value in answer.headers.items()}
        by_id[answer.id] = Response(status=answer.status, headers=headers, body=_body(answer.body))
    return _outcomes(parts, by_id, snapshot=snapshot, commits=commits)


def encode_multipart(parts: Sequence[BatchPart], boundary: str) -> bytes:
    """The multipart form. Writes get a change set each, because one may hold a single request only."""
    _check_count(parts)
    if not re.fullmatch(r"[A-Za-z0-9'()+_,./:=?-]{1,60}", boundary):
        raise InvalidInput("That is no multipart boundary.")
    lines: list[bytes] = []
    for number, part in enumerate(parts):
        lines.append(f"--{boundary}\r\n".encode())
        if part.method.upper() == "GET":
            lines.append(_http_part(part))
            continue
        inner = f"{boundary}_{number}"
        lines.append(f"Content-Type: multipart/mixed; boundary={inner}\r\n\r\n--{inner}\r\n".encode())
        lines.append(_http_part(part))
        lines.append(f"--{inner}--\r\n".encode())
    lines.append(f"--{boundary}--\r\n".encode())
    return b"".join(lines)


def decode_multipart(
    body: bytes, content_type: str, parts: Sequence[BatchPart], *, snapshot: bool = False, commits: bool = False
) -> list[PartOutcome]:
    """Outcomes of a multipart answer; answers without a Content-ID are matched by position."""
    found = _flatten(body, content_type, depth=0)
    by_id: dict[str, Response] = {}
    for position, (identifier, response) in enumerate(found):
        if identifier is None and position >= len(parts):
            raise CorruptResponse("The batch answer has more parts than were sent.")
        by_id[identifier if identifier is not None else parts[position].id] = response
    return _outcomes(parts, by_id, snapshot=snapshot, commits=commits)


class _Answer(msgspec.Struct):
    status: int
    id: str | None = None
    headers: dict[str, str] = {}
    body: msgspec.Raw = msgspec.Raw(b"")


class _Answers(msgspec.Struct):
    responses: list[_Answer]


def _units(parts: Sequence[BatchPart]) -> list[list[BatchPart]]:
    units: list[list[BatchPart]] = []
    for part in parts:
        if units and part.group is not None and units[-1][-1].group == part.group:
            units[-1].append(part)
        else:
            units.append([part])
    return units


def _check_count(parts: Sequence[BatchPart]) -> None:
    if not 1 <= len(parts) <= PARTS_MAX:
        raise InvalidInput(f"A batch holds 1 to {PARTS_MAX} parts, not {len(parts)}.")


def _body(raw: msgspec.Raw) -> bytes:
    text = bytes(raw)
    return b"" if text == b"null" else text


def _outcomes(
    parts: Sequence[BatchPart], answers: Mapping[str, Response], *, snapshot: bool, commits: bool
) -> list[PartOutcome]:
    strangers = set(answers) - {part.id for part in parts}
    if strangers:
        raise CorruptResponse(f"The batch answer has parts that were not sent: {', '.join(sorted(strangers)[:5])}.")
    incomplete = len(answers) < len(parts) or any(not response.ok for response in answers.values())
    outcomes = []
    for part in parts:
        response = answers.get(part.id)
        if response is None:
            fate = Fate.NOT_EXECUTED
        elif not response.ok:
            fate = Fate.FAILED
        elif snapshot and incomplete:
            fate = Fate.UNKNOWN if commits else Fate.UNDONE
        else:
            fate = Fate.DONE
        outcomes.append(PartOutcome(id=part.id, fate=fate, response=response))
    return outcomes


def _http_part(part: BatchPart) -> bytes:
    headers = dict(part.headers)
    if part.body is not None:
        headers.setdefault("Content-Type", "application/json")
    for name, value in headers.items():
        if "\r" in f"{name}{value}" or "\n" in f"{name}{value}":
            raise InvalidInput("A header of a batch part holds a line break.")
    inner = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    head = (
        "Content-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n"
        f"Content-ID: {part.id}\r\n\r\n{part.method} {part.url} HTTP/1.1\r\n{inner}\r\n"
    )
    return head.encode() + (part.body or b"") + b"\r\n"


def _flatten(body: bytes, content_type: str, depth: int) -> list[tuple[str | None, Response]]:
    found = _BOUNDARY.search(content_type)
    if found is None or depth > 1:
        raise CorruptResponse("The batch answer is not multipart.")
    marker = b"--" + found.group(1).encode()
    pieces = re.split(rb"(?:^|\r?\n)" + re.escape(marker), body)
    if not pieces[-1].startswith(b"--"):
        raise CorruptResponse("The batch answer is cut off.")
    answers: list[tuple[str | None, Response]] = []
    for piece in pieces[1:-1]:
        headers, content = _headers(piece.lstrip(b"\r\n"))
        kind = headers.get("content-type", "")
        if kind.lower().startswith("multipart/"):
            answers.extend(_flatten(content, kind, depth + 1))
        else:
            answers.append((headers.get("content-id"), _http_response(content)))
    return answers


def _http_response(content: bytes) -> Response:
    status = _STATUS_LINE.match(content.lstrip(b"\r\n"))
    if status is None:
        raise CorruptResponse("A part of the batch answer has no status.")
    headers, body = _headers(content.lstrip(b"\r\n")[status.end() :])
    return Response(status=int(status.group(1)), headers=headers, body=body.rstrip(b"\r\n"))


def _headers(piece: bytes) -> tuple[dict[str, str], bytes]:
    if piece.startswith((b"\r\n", b"\n")):
        return {}, piece.lstrip(b"\r\n")
    parts = re.split(rb"\r?\n\r?\n", piece, maxsplit=1)
    headers: dict[str, str] = {}
    for line in re.split(rb"\r?\n", parts[0]):
        name, colon, value = line.decode("latin-1").partition(":")
        if colon:
            headers[name.strip().lower()] = value.strip()
    return headers, parts[1] if len(parts) > 1 else b""
