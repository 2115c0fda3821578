"""Cuts the bytes of a page into records: ids, stamps, content hashes and raw JSON, without building dictionaries.

The hash is 16 bytes of XXH3-128 over the business members only. Left out, at every depth: members whose name holds
`@odata.` (etag, context, media links) and the modification stamps. So a mass restamp changes no hash (BC-97), and a
record hashes the same whether it came in a page or alone with its `@odata.context` first.

The cutting works on bytes and is safe with escaped quotes: an unescaped quote that follows `{` or `,` and is itself
followed by a name character can only open a member name.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, Final

import msgspec
from xxhash import xxh3_128_digest

from isthmus.kernel.failures import CorruptResponse, Unsupported, VendorFault
from isthmus.kernel.limits import FAULT_RAW_BYTES_MAX

STAMP_NAMES: Final = ("lastModifiedDateTime", "lastDateTimeModified", "systemModifiedAt")
"""Modification stamps of Business Central (BC-95) and of custom APIs that expose the system field."""

_ANNOTATION: Final = b"@odata."
_ETAG_FIRST: Final = b'{"@odata.etag":"'
_STRING: Final = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
_SCALAR: Final = re.compile(rb"[^,}\]]+")
_STRUCTURE: Final = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[\]{}]', re.DOTALL)
_BACKSLASH, _QUOTE, _COLON, _COMMA, _BRACE = b'\\":,{'
_WHITESPACE: Final = b" \t\r\n"


class SlicedPage(msgspec.Struct, kw_only=True, gc=False):
    """One page as parallel columns; `stamps[i]` is "" where a record has none, `raws[i]` is its JSON verbatim.

    `hashes` is empty when the page was cut without them.
    """

    ids: list[str]
    stamps: list[str]
    hashes: list[bytes]
    raws: list[bytes]
    next_link: str | None = None
    count: int | None = None

    def __len__(self) -> int:
        return len(self.ids)


class _Envelope(msgspec.Struct, gc=False):
    value: list[msgspec.Raw]
    next_link: str | None = msgspec.field(name="@odata.nextLink", default=None)
    count: int | str | None = msgspec.field(name="@odata.count", default=None)


_ENVELOPE: Final = msgspec.json.Decoder(_Envelope)


def slice_page(
    body: bytes,
    *,
    key: tuple[str, ...] = ("id",),
    stamp: str | None = None,
    ignored: tuple[str, ...] = STAMP_NAMES,
    hashed: bool = True,
) -> SlicedPage:
    """Cut a page (`{"value": […]}`) into its records.

    `key` names the key members (empty for API queries: records then get a content id, BC-48), `stamp` the modification
    stamp to report, `ignored` the members that never count as content; without `hashed` the content hashes are left
    out, which is for roads on which nothing is compared. An empty `value` with a link is a page like any other
    (BC-30). Raises CorruptResponse when the body is cut off or is no page (BC-49).
    """
    try:
        envelope = _ENVELOPE.decode(body)
        heads = _heads_decoder(key, stamp).decode(body).value if envelope.value else []
    except msgspec.DecodeError as error:
        raise corrupt(body, error) from error
    raws = [bytes(raw) for raw in envelope.value]
    hashes = content_hashes(raws, ignored, body) if hashed or _lacks_key(heads, key) else []
    return SlicedPage(
        ids=_ids(heads, key, hashes),
        stamps=[head.stamp or "" for head in heads],
        hashes=hashes if hashed else [],
        raws=raws,
        next_link=envelope.next_link or None,
        count=None if envelope.count is None else int(envelope.count),
    )


def slice_children(
    body: bytes,
    navigation: str,
    *,
    key: tuple[str, ...] = ("id",),
    stamp: str | None = None,
    parent_stamp: str | None = None,
    ignored: tuple[str, ...] = STAMP_NAMES,
) -> SlicedPage:
    """Cut the records out of an expanded navigation of every record of a page (lines out of their documents, BC-41).

    A child without a stamp of its own reports its parent's (`parent_stamp`), because it is read again with its parent.
    An expanded object counts as a list of one, null as none. Raises Unsupported when the vendor pages inside an
    expansion: records would be lost silently.
    """
    decoder = _parents_decoder(navigation, parent_stamp)
    raws: list[bytes] = []
    inherited: list[str] = []
    try:
        envelope = decoder.decode(body)
        for parent in envelope.value:
            if parent.inner_link:
                raise Unsupported(f"The vendor pages inside the expanded “{navigation}”, which would lose records.")
            children = _children(parent.children)
            raws += children
            inherited += [parent.stamp or ""] * len(children)
        together = b'{"value":[' + b",".join(raws) + b"]}"
        heads = _heads_decoder(key, stamp).decode(together).value
    except msgspec.DecodeError as error:
        raise corrupt(body, error) from error
    hashes = content_hashes(raws, ignored, together)
    return SlicedPage(
        ids=_ids(heads, key, hashes),
        stamps=[head.stamp or stamp_of_parent for head, stamp_of_parent in zip(heads, inherited, strict=True)],
        hashes=hashes,
        raws=raws,
        next_link=envelope.next_link or None,
        count=None,
    )


def slice_record(
    body: bytes,
    *,
    key: tuple[str, ...] = ("id",),
    stamp: str | None = None,
    ignored: tuple[str, ...] = STAMP_NAMES,
) -> SlicedPage:
    """Cut a single record (a GET by key, not wrapped in `value`, BC-47) as a page of one."""
    try:
        head = _head_decoder(key, stamp).decode(body)
    except msgspec.DecodeError as error:
        raise corrupt(body, error) from error
    raw = bytes(body)
    hashes = content_hashes([raw], ignored)
    return SlicedPage(ids=_ids([head], key, hashes), stamps=[head.stamp or ""], hashes=hashes, raws=[raw])


def content_hashes(raws: list[bytes], ignored: tuple[str, ...] = STAMP_NAMES, page: bytes | None = None) -> list[bytes]:
    """16 bytes per record over its business members only; white space between tokens does not count.

    `page` is the body the records were cut from: counting names once in it spares searching every record for them.
    """
    if raws and _is_spaced(raws[0]):
        raws = [msgspec.json.format(raw, indent=-1) for raw in raws]
        page = None
    members = _quoted(ignored)
    if page is not None:
        members = tuple(member for member in members if member in page)
        if len(members) == 1 and page.count(members[0]) == len(raws):
            return _hashes_of_stamped(raws, members)
        if not members:
            return [xxh3_128_digest(_without_etag(raw)) for raw in raws]
    return [xxh3_128_digest(business_bytes(raw, members)) for raw in raws]


def _hashes_of_stamped(raws: list[bytes], members: tuple[bytes, ...]) -> list[bytes]:
    """The usual page: as many stamps as records. The usual record in it: an etag first, no other annotation, one stamp.

    Gives the same bytes as `business_bytes`. A record without the stamp means that another one holds two: then every
    record is searched.
    """
    member = members[0]
    width = len(member)
    hashes: list[bytes] = []
    for raw in raws:
        start = raw.find(b'","', 16)
        at = raw.rfind(member)
        if at < 0:
            return [xxh3_128_digest(business_bytes(each, members)) for each in raws]
        end = raw.find(b'"', at + width + 2)
        if (
            start > 0
            and raw.startswith(_ETAG_FIRST)
            and raw[start - 1] != _BACKSLASH
            and raw[at - 1] == _COMMA
            and start + 2 < at
            and raw[at + width : at + width + 2] == b':"'
            and raw[end - 1] != _BACKSLASH
            and (raw.find(b"@", start) < 0 or raw.find(_ANNOTATION, start) < 0)
        ):
            hashes.append(xxh3_128_digest(b"{" + raw[start + 2 : at - 1] + raw[end + 1 :]))
        else:
            hashes.append(xxh3_128_digest(_cut(raw, members)))
    return hashes


def _without_etag(raw: bytes) -> bytes:
    """A record without stamps: usually only the leading etag goes."""
    start = raw.find(b'","', 16)
    if start > 0 and raw.startswith(_ETAG_FIRST) and raw[start - 1] != _BACKSLASH and raw.find(_ANNOTATION, start) < 0:
        return b"{" + raw[start + 2 :]
    return _cut(raw, ())


def business_bytes(raw: bytes, members: tuple[bytes, ...]) -> bytes:
    """The record in compact JSON without annotations and without `members` (quoted names), whatever its shape."""
    return _cut(raw, members)


def _cut(raw: bytes, members: tuple[bytes, ...]) -> bytes:
    """Any shape: finds every member to leave out, at every depth, and joins what remains."""
    spans = sorted(_annotation_spans(raw) + [span for member in members for span in _member_spans(raw, member)])
    if not spans:
        return raw
    if any(raw[begin - 1] in _WHITESPACE or raw[end] in _WHITESPACE for begin, end in spans):
        return _cut(msgspec.json.format(raw, indent=-1), members)
    pieces: list[bytes] = []
    position = 0
    for begin, end in spans:
        if begin < position:
            continue  # inside an annotation that is left out already
        if raw[begin - 1] == _COMMA and begin - 1 >= position:
            begin -= 1
        elif raw[end] == _COMMA:
            end += 1
        pieces.append(raw[position:begin])
        position = end
    pieces.append(raw[position:])
    return b"".join(pieces)


def _annotation_spans(raw: bytes) -> list[tuple[int, int]]:
    """Where members lie whose name holds `@odata.`; a text value that mentions it is no member."""
    spans: list[tuple[int, int]] = []
    at = raw.find(_ANNOTATION)
    while at >= 0:
        begin = raw.rfind(b'"', 0, at)
        after = raw.find(b'"', at) + 1
        if begin >= 1 and _opens_name(raw, begin) and b"\\" not in raw[begin:after] and _colon(raw, after) >= 0:
            end = _value_end(raw, _colon(raw, after) + 1)
            spans.append((begin, end))
            at = raw.find(_ANNOTATION, end)
        else:
            at = raw.find(_ANNOTATION, at + len(_ANNOTATION))
    return spans


def _member_spans(raw: bytes, member: bytes) -> list[tuple[int, int]]:
    spans: list[tuple[int, int]] = []
    at = raw.find(member)
    while at >= 0:
        after = at + len(member)
        colon = _colon(raw, after)
        if _opens_name(raw, at) and colon >= 0:
            after = _value_end(raw, colon + 1)
            spans.append((at, after))
        at = raw.find(member, after)
    return spans


def _opens_name(raw: bytes, quote: int) -> bool:
    """True when the quote at that place may open a member's name: the last token before it is `{` or `,`."""
    before = quote - 1
    while before > 0 and raw[before] in _WHITESPACE:
        before -= 1
    return raw[before] in (_COMMA, _BRACE)


def _colon(raw: bytes, at: int) -> int:
    """Where the colon after a name is, or -1 when what was found is a text value."""
    while at < len(raw) and raw[at] in _WHITESPACE:
        at += 1
    return at if at < len(raw) and raw[at] == _COLON else -1


def _value_end(raw: bytes, at: int) -> int:
    """The place after the JSON value that begins at `at`."""
    while raw[at] in _WHITESPACE:
        at += 1
    if raw[at] == _QUOTE:
        text = _STRING.match(raw, at)
        return text.end() if text else len(raw)
    if raw[at] not in b"{[":
        scalar = _SCALAR.match(raw, at)
        return scalar.end() if scalar else len(raw)
    depth = 0
    for token in _STRUCTURE.finditer(raw, at):
        first = raw[token.start()]
        if first in b"{[":
            depth += 1
        elif first in b"}]":
            depth -= 1
            if depth == 0:
                return token.end()
    return len(raw)


def _is_spaced(raw: bytes) -> bool:
    """True when the vendor sends indented JSON: white space after the first token or after the first colon."""
    colon = raw.find(b'":')
    return raw[1:2] in (b" ", b"\n", b"\r", b"\t") or (colon >= 0 and raw[colon + 2 : colon + 3] in (b" ", b"\n"))


@lru_cache(maxsize=64)
def _quoted(names: tuple[str, ...]) -> tuple[bytes, ...]:
    return tuple(b'"' + name.encode() + b'"' for name in names)


_Key = str | int | float | None


def _head_type(key: tuple[str, ...], stamp: str | None) -> type[msgspec.Struct]:
    columns: list[Any] = [(f"key{n}", _Key, msgspec.field(name=name, default=None)) for n, name in enumerate(key)]
    columns.append(("stamp", str | None, msgspec.field(name=stamp or "@isthmus.none", default=None)))
    return msgspec.defstruct("Head", columns, gc=False)


@lru_cache(maxsize=512)
def _head_decoder(key: tuple[str, ...], stamp: str | None) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(_head_type(key, stamp))


@lru_cache(maxsize=512)
def _heads_decoder(key: tuple[str, ...], stamp: str | None) -> msgspec.json.Decoder[Any]:
    value: Any = list[_head_type(key, stamp)]  # type: ignore[misc]  # a type made at run time
    return msgspec.json.Decoder(msgspec.defstruct("Heads", [("value", value)], gc=False))


@lru_cache(maxsize=512)
def _parents_decoder(navigation: str, parent_stamp: str | None) -> msgspec.json.Decoder[Any]:
    columns: list[Any] = [
        ("children", msgspec.Raw, msgspec.field(name=navigation, default=msgspec.Raw(b"null"))),
        ("inner_link", str | None, msgspec.field(name=f"{navigation}@odata.nextLink", default=None)),
        ("stamp", str | None, msgspec.field(name=parent_stamp or "@isthmus.none", default=None)),
    ]
    parent = msgspec.defstruct("Parent", columns, gc=False)
    return msgspec.json.Decoder(
        msgspec.defstruct(
            "Parents",
            [
                ("value", list[parent]),  # type: ignore[valid-type]  # a type made at run time
                ("next_link", str | None, msgspec.field(name="@odata.nextLink", default=None)),
            ],
            gc=False,
        )
    )


_RAWS: Final = msgspec.json.Decoder(list[msgspec.Raw])


def _children(raw: msgspec.Raw) -> list[bytes]:
    text = bytes(raw)
    if text.startswith(b"["):
        return [bytes(child) for child in _RAWS.decode(text)]
    return [] if text == b"null" else [text]


def _lacks_key(heads: list[Any], key: tuple[str, ...]) -> bool:
    """True when ids must be made of the content."""
    return not key or (len(key) == 1 and any(head.key0 is None for head in heads))


def _ids(heads: list[Any], key: tuple[str, ...], hashes: list[bytes]) -> list[str]:
    if len(key) == 1:
        return [hashes[place].hex() if head.key0 is None else _text(head.key0) for place, head in enumerate(heads)]
    if key:
        names = [f"key{n}" for n in range(len(key))]
        return [",".join(_part(getattr(head, name)) for name in names) for head in heads]
    return _content_ids(hashes)


def _text(value: str | int | float) -> str:
    return value if isinstance(value, str) else str(value)


def _part(value: str | int | float | None) -> str:
    """One part of a composite id, so written that the joining comma stays unambiguous."""
    return "" if value is None else _text(value).replace("%", "%25").replace(",", "%2C")


def _content_ids(hashes: list[bytes]) -> list[str]:
    """Ids for rows without a key: their content, numbered where one page holds the same row several times."""
    seen: dict[bytes, int] = {}
    ids: list[str] = []
    for digest in hashes:
        times = seen[digest] = seen.get(digest, 0) + 1
        ids.append(digest.hex() if times == 1 else f"{digest.hex()}-{times}")
    return ids


def corrupt(body: bytes, error: Exception) -> CorruptResponse:
    """The failure for a body that cannot be read, with its beginning kept for support."""
    return CorruptResponse(
        f"The vendor's answer is incomplete or unreadable ({error}).",
        vendor=VendorFault(raw=body[:FAULT_RAW_BYTES_MAX].decode("utf-8", "replace")),
    )
