"""Hints that `$metadata` does not give, from a packaged file. They never decide whether an object exists (BC-07)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from importlib.resources import files
from typing import Final

import msgspec


class SetFacts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is known about one entity set. `identity` names what tells a query's rows apart, although it is no key.
    `write` holds the letters of insert, modify, delete; None is unknown.

    `writable` names its writable properties, `calculated` those that change without a new stamp (BC-98),
    `since_version` the application version that brought it, `stamp_is_creation` a stamp that never moves (BC-95),
    `modified_with_parent` lines that are rewritten with their document, `one_at_a_time` documents that cost a report
    run each (BC-42).
    """

    write: str | None = None
    writable: tuple[str, ...] | None = None
    reading: str | None = None
    parent_required: bool = False
    one_at_a_time: bool = False
    stamp_is_creation: bool = False
    modified_with_parent: bool = False
    since_version: int | None = None
    calculated: tuple[str, ...] = ()
    identity: tuple[str, ...] = ()


class _File(msgspec.Struct, frozen=True):
    about: str
    routes: Mapping[str, Mapping[str, SetFacts]]


UNKNOWN: Final = SetFacts()


@lru_cache(maxsize=1)
def packaged_facts() -> Mapping[str, Mapping[str, SetFacts]]:
    """All hints by route and set, read once from the package."""
    text = files("isthmus.providers.business_central").joinpath("data/facts.json").read_bytes()
    return msgspec.json.decode(text, type=_File).routes


def facts_for(route: str, name: str) -> SetFacts:
    """The hints for one set; nothing known for custom APIs."""
    return packaged_facts().get(route, {}).get(name, UNKNOWN)
