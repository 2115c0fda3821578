"""`multipart/mixed` batches: requests out of the body, answers into one.

A change set may hold only one request (microsoft/AL issue 5553).
"""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass
from http import HTTPStatus

from isthmus_sandbox.business_central.writing.refusals import bad_body

_BOUNDARY = re.compile(r'boundary="?([^";]+)"?', re.IGNORECASE)
_REQUEST_LINE = re.compile(r"^(?P<method>[A-Z]+) (?P<url>\S+)(?: HTTP/\d\.\d)?$")


@dataclass(frozen=True, slots=True)
class PartRequest:
    """One request out of a multipart body; header names in lower case."""

    content_id: str | None
    method: str
    url: str
    headers: dict[str, str]
    body: bytes


def boundary_of(content_type: str) -> str | None:
    """The boundary of a multipart content type, None for another type."""
    if not content_type.lower().startswith("multipart/"):
        return None
    found = _BOUNDARY.search(content_type)
    if found is None:
        raise bad_body("the multipart content type has no boundary")
    return found[1].strip()


def decode(content: bytes, boundary: str) -> list[PartRequest]:
    """The requests of a batch body in order. Raises `ODataError` 400."""
    requests = []
    for block in _blocks(content, boundary):
        headers, body = _headers(block)
        inner = boundary_of(headers.get("content-type", ""))
        if inner is None:
            requests.append(_request(headers, body))
            continue
        inside = _blocks(body, inner)
        if len(inside) != 1:
            raise bad_body("a change set may hold only one request")
        requests.append(_request(*_headers(inside[0])))
    return requests


def encode(answers: list[tuple[int, dict[str, str], bytes]]) -> tuple[str, bytes]:
    """Content type and body of a batch answer."""
    boundary = f"batchresponse_{uuid.uuid4()}"
    blocks = bytearray()
    for status, headers, body in answers:
        try:
            reason = HTTPStatus(status).phrase
        except ValueError:
            reason = ""
        lines = [
            "Content-Type: application/http",
            "Content-Transfer-Encoding: binary",
            "",
            f"HTTP/1.1 {status} {reason}",
        ]
        lines.extend(f"{name}: {value}" for name, value in headers.items())
        blocks += f"--{boundary}\r\n".encode() + "\r\n".join(lines).encode() + b"\r\n\r\n" + body + b"\r\n"
    return f"multipart/mixed; boundary={boundary}", bytes(blocks) + f"--{boundary}--\r\n".encode()


def _blocks(content: bytes, boundary: str) -> list[bytes]:
    mark = b"--" + boundary.encode()
    pieces = (b"\r\n" + content.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")).split(b"\r\n" + mark)
    if len(pieces) < 2 or not any(piece.startswith(b"--") for piece in pieces[1:]):
        raise bad_body("the multipart body does not end with its boundary")
    return [piece.removeprefix(b"\r\n") for piece in pieces[1:] if not piece.startswith(b"--")]


def _headers(block: bytes) -> tuple[dict[str, str], bytes]:
    head, _, body = (b"\r\n" + block).partition(b"\r\n\r\n")
    headers = {}
    for line in head.decode("utf-8", "replace").split("\r\n"):
        name, colon, value = line.partition(":")
        if colon:
            headers[name.strip().lower()] = value.strip()
    return headers, body


def _request(outer: dict[str, str], block: bytes) -> PartRequest:
    line, _, rest = block.lstrip(b"\r\n").partition(b"\r\n")
    found = _REQUEST_LINE.match(line.decode("utf-8", "replace").strip())
    if found is None:
        raise bad_body("a part of the batch does not start with a request line")
    headers, body = _headers(rest)
    content_id = outer.get("content-id") or headers.get("content-id")
    return PartRequest(content_id, found["method"], found["url"], headers, body.rstrip(b"\r\n"))
