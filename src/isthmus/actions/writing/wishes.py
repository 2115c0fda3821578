"""What a caller asks for, and what a dry run answers."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

import msgspec

from isthmus.actions.writing.settings import KEY_CHARACTERS_MAX
from isthmus.kernel.failures import BadRequest, Failure, InvalidInput, UnknownField
from isthmus.providers.writing import Problem, Under, Verb

_ANY: Final = msgspec.json.Decoder(Any, float_hook=Decimal)
_FIELDS_SHOWN: Final = 10


class WriteWish(msgspec.Struct, frozen=True, kw_only=True):
    """One write as a caller asks for it.

    `body` is a JSON object as text: numbers stay exact. `company` is a name or an id, not needed where there is one.
    `if_match` is the version that a change relies on; without it the record is read first and its version is used.
    `overwrite` takes whatever version is there. `match` names the fields by which an upsert looks for its record.
    """

    verb: Verb
    object: str
    route: str = ""
    company: str | None = None
    record_id: str | None = None
    under: Under | None = None
    action: str | None = None
    body: bytes | None = None
    match: tuple[str, ...] = ()
    if_match: str | None = None
    overwrite: bool = False
    idempotency_key: str | None = None


class BatchWish(msgspec.Struct, frozen=True, kw_only=True):
    """Up to 1,000 writes on one API route. `all_or_nothing`: one vendor batch of which no row lasts if one fails."""

    rows: tuple[WriteWish, ...]
    all_or_nothing: bool = False
    idempotency_key: str | None = None


class PlannedRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A request exactly as it would be sent, but for the credentials."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: str | None


class DryRun(msgspec.Struct, frozen=True, kw_only=True):
    """What a write would do. With problems there are no requests; without both there is nothing to change."""

    problems: tuple[Problem, ...] = ()
    requests: tuple[PlannedRequest, ...] = ()


def check_shape(wish: WriteWish) -> None:
    """Raise InvalidInput for a wish that contradicts itself, before anybody is asked."""
    needs_record = wish.verb in (Verb.UPDATE, Verb.DELETE, Verb.ACTION)
    needs_body = wish.verb in (Verb.CREATE, Verb.UPDATE, Verb.UPSERT)
    if needs_record != (wish.record_id is not None):
        raise InvalidInput(
            f"{'An' if wish.verb is not Verb.DELETE else 'A'} {wish.verb.value} "
            f"{'needs the id of a record' if needs_record else 'takes no id: the vendor gives it'}."
        )
    if needs_body != (wish.body is not None):
        raise InvalidInput(f"“{wish.verb.value}” {'needs' if needs_body else 'takes no'} body.")
    if (wish.verb is Verb.ACTION) != (wish.action is not None):
        raise InvalidInput("The name of an action goes with the verb “action”.")
    if wish.if_match is not None and (wish.overwrite or wish.verb not in (Verb.UPDATE, Verb.DELETE)):
        raise InvalidInput("A version to rely on (if_match) goes with an update or a delete that does not overwrite.")
    if wish.if_match == "*":
        raise InvalidInput("“*” is no version.", remedy="Ask for overwriting explicitly.")
    if wish.if_match is not None and ("\r" in wish.if_match or "\n" in wish.if_match):
        raise InvalidInput("A version holds no line break.")
    if wish.match and wish.verb is not Verb.UPSERT:
        raise InvalidInput("Fields to match by go with an upsert.")
    check_key(wish.idempotency_key)


def check_key(key: str | None) -> None:
    """Raise InvalidInput for an idempotency key that cannot be used."""
    if key is not None and not (0 < len(key) <= KEY_CHARACTERS_MAX and key.isprintable()):
        raise InvalidInput(f"An idempotency key has 1 to {KEY_CHARACTERS_MAX} printable characters.")


def fingerprint(connection_id: UUID, wish: WriteWish, *more: bytes) -> bytes:
    """What makes two wishes the same write: everything but the key; white space in the body does not count."""
    bare = msgspec.structs.replace(wish, idempotency_key=None, body=None)
    digest = hashlib.blake2b(connection_id.bytes + msgspec.json.encode(bare), digest_size=16)
    for part in (_compact(wish.body), *more):
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.digest()


def _compact(body: bytes | None) -> bytes:
    if body is None:
        return b""
    try:
        return msgspec.json.format(body, indent=-1)
    except msgspec.DecodeError:
        return body


def refusal(problems: Sequence[Problem]) -> Failure:
    """The failure that names every problem of a body; its class is that of the first."""
    first = problems[0]
    shown = [problem.message for problem in problems[:_FIELDS_SHOWN]]
    more = len(problems) - len(shown)
    text = " ".join(shown) + (f" And {more} more." if more else "")
    if first.code == "unknown_field":
        return UnknownField(text, nearest=first.nearest, subject=first.field)
    return BadRequest(text, remedy="Correct the fields that are named.", nearest=first.nearest, subject=first.field)
