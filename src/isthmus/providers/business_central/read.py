"""Reading an object page by page: requests out of wishes, pages out of responses (behaviour.md 5 and 12)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from difflib import get_close_matches
from typing import Final
from urllib.parse import unquote, urlsplit

import msgspec

from isthmus.kernel.failures import InvalidInput, UnknownField, Unsupported
from isthmus.kernel.messages import Request, Response
from isthmus.odata import pages
from isthmus.odata.dialects import BUSINESS_CENTRAL, render
from isthmus.odata.filter_schema import field_named, resolve
from isthmus.odata.filters import parse_filter
from isthmus.odata.keys import key_text, split_composite, typed_key
from isthmus.odata.links import same_origin
from isthmus.odata.literals import literal, stamp_literal
from isthmus.odata.query import Query, keep_selected, with_query
from isthmus.providers.base import ObjectInfo, Page, ParentLink, Reading, ReadSpec, Slice, Target
from isthmus.providers.business_central.addressing import below, object_url, set_url
from isthmus.providers.business_central.declaration import PAGE_RECORDS_MAX, URL_BYTES_MAX
from isthmus.providers.business_central.facts import facts_for
from isthmus.providers.business_central.headers import read_headers
from isthmus.providers.business_central.published import ODATA_ROUTE, without_empty_rows

DATE_FILTERS: Final = ("dateFilter", "dateFilter_FilterOnly")
"""How report sets and API queries take a date window (BC-43, BC-48)."""

_ID_EXAMPLE: Final = "652545c1-f6f9-4ac8-8d4f-17a1d2a4b3c7"
_ID_SHOWN: Final = 80
"""Characters of a wrong id that are repeated."""

_NEEDS_21: Final = re.compile(
    r"\bin\s*\(|\b(?:contains|startswith|endswith)\s*\(\s*(?:tolower|toupper)\s*\(", re.IGNORECASE
)
_TEXT: Final = re.compile(r"'(?:[^']|'')*'")


def first_page(
    target: Target,
    obj: ObjectInfo,
    spec: ReadSpec,
    part: Slice,
    page_records: int,
    *,
    replica: bool = True,
) -> Request:
    """The request for the first page of a slice. Later pages come by the vendor's own links.

    A first sync passes no `since`, so that records without a stamp are not lost (BC-97). For an id sweep pass the
    largest page size: its records are tiny. Raises Unsupported for what this object cannot do, before anything is sent.
    """
    _check(obj, spec)
    if obj.reading is Reading.THROUGH_PARENT:
        base, query = _through_parent(target, obj, spec, part)
    else:
        base = object_url(target, obj, part.company_id)
        query = _direct(obj, spec, part)
    return Request(
        method="GET",
        url=fitting_url(base, query),
        headers=read_headers(page_records=min(page_records, PAGE_RECORDS_MAX), replica=replica),
        purpose="ids" if spec.ids_only else "page",
    )


def next_page(target: Target, link: str, page_records: int, *, replica: bool = True) -> Request:
    """The page behind a vendor link: followed byte for byte (BC-28), to the same origin only (BC-29)."""
    return Request(
        method="GET",
        url=same_origin(target.api_url, link),
        headers=read_headers(page_records=page_records, replica=replica),
        purpose="page",
    )


def page(obj: ObjectInfo, response: Response, *, hashed: bool = True) -> Page:
    """Slice a page; without `hashed` content hashes are left out where they cost time.

    Raises CorruptResponse when the body is incomplete (BC-49).
    """
    if obj.reading is Reading.THROUGH_PARENT:
        sliced = _children(obj, response)
    else:
        sliced = pages.slice_page(response.body, key=obj.key, stamp=obj.stamp, hashed=hashed)
    if obj.route == ODATA_ROUTE:
        sliced = without_empty_rows(sliced)
    return Page(
        ids=sliced.ids,
        stamps=sliced.stamps,
        hashes=sliced.hashes,
        raws=sliced.raws,
        next_link=sliced.next_link,
        count=sliced.count,
    )


def record_request(target: Target, obj: ObjectInfo, company_id: str | None, record_id: str) -> Request:
    """One record by its key, fresh from the primary database (BC-46, BC-47)."""
    if not obj.key or obj.reading is Reading.QUERY:
        raise Unsupported(f"“{obj.name}” has no key, so one record cannot be asked for.")
    return Request(
        method="GET",
        url=below(object_url(target, obj, company_id), record_key(obj, record_id)),
        headers=read_headers(replica=False),
        purpose="record",
    )


def record_key(obj: ObjectInfo, record_id: str) -> str:
    """The parenthesised key for a record id as pages report it. Raises InvalidInput for what is no such id."""
    types = {field.name: field.type for field in obj.fields}
    try:
        if len(obj.key) == 1:
            return key_text(typed_key(record_id, types.get(obj.key[0], "Edm.Guid")))
        parts = split_composite(record_id)
        return key_text(
            {name: typed_key(part, types.get(name, "Edm.String")) for name, part in zip(obj.key, parts, strict=True)}
        )
    except ValueError as error:
        raise InvalidInput(
            f"“{record_id[:_ID_SHOWN]}” is not the id of a record of “{obj.name}”: {_id_looks(obj, types)}.",
            remedy="Look for the record by its number or name in the data that was read, or with a filter: its id "
            "stands beside them.",
            subject="record_id",
        ) from error


def _id_looks(obj: ObjectInfo, types: Mapping[str, str]) -> str:
    """What an id of the object looks like, in words."""
    if len(obj.key) != 1:
        return f"an id is {', '.join(obj.key)} with commas between them" if obj.key else "its records have none"
    if types.get(obj.key[0], "Edm.Guid") == "Edm.Guid":
        return f"an id looks like {_ID_EXAMPLE}"
    return "an id is a whole number"


def record(obj: ObjectInfo, response: Response) -> Page:
    """Read a single record, which comes without `value` (BC-47), as a page of one."""
    sliced = pages.slice_record(response.body, key=obj.key, stamp=obj.stamp)
    return Page(ids=sliced.ids, stamps=sliced.stamps, hashes=sliced.hashes, raws=sliced.raws)


def count_request(target: Target, obj: ObjectInfo, spec: ReadSpec, part: Slice) -> Request | None:
    """The request for the number of records; None where it cannot be told cheaply (reports, queries, lines)."""
    if obj.reading is not Reading.DIRECT or obj.tenant_level:
        return None
    _check(obj, spec)
    terms = _terms(obj, spec, part)
    base = below(object_url(target, obj, part.company_id), "/$count")
    return Request(
        method="GET",
        url=with_query(base, Query(filter=terms, schema_version=_schema_version(terms))),
        headers=read_headers(accept="text/plain, application/json"),
        purpose="count",
    )


def count(response: Response) -> int:
    """Read `/$count`: a bare number, with or without a byte-order mark."""
    text = response.body.removeprefix(b"\xef\xbb\xbf").strip()
    try:
        return msgspec.json.decode(text, type=int)
    except msgspec.DecodeError as error:
        raise pages.corrupt(response.body, error) from error


def checked_filter(obj: ObjectInfo, text: str) -> str:
    """A filter that a person typed, checked against the object's fields and written for Business Central.

    Raises FilterRefused, UnknownField or Unsupported before anything is sent (BC-33 to BC-39).
    """
    return render(resolve(parse_filter(text), obj.fields), BUSINESS_CENTRAL).text


def checked_select(obj: ObjectInfo, names: Sequence[str]) -> tuple[str, ...]:
    """Field names as the vendor spells them; raises UnknownField with the nearest names (BC-34).

    Streams are never selected: their bytes come by their own link (BC-58).
    """
    by_name = {field.name: field for field in obj.fields}
    found = [field_named(name, by_name) for name in names]
    return tuple(dict.fromkeys(field.name for field in found if field.type != "Edm.Stream"))


def checked_expand(obj: ObjectInfo, expansions: Sequence[str]) -> None:
    """Raises for a navigation that is not there, and for parts that cost a report run per record (BC-42)."""
    by_name = {navigation.name: navigation for navigation in obj.navigation}
    for text in expansions:
        name = re.split(r"[(/]", text.strip(), maxsplit=1)[0]
        navigation = by_name.get(name)
        if navigation is None:
            nearest = get_close_matches(name, by_name, n=3)
            raise UnknownField(f"“{obj.name}” has no related records “{name}”.", nearest=nearest, subject=name)
        facts = facts_for(obj.route, navigation.target)
        if facts.one_at_a_time or facts.reading == "report":
            raise Unsupported(
                f"“{name}” is calculated for every single record, so it is not expanded in bulk.",
                remedy="Read it for one record at a time.",
                subject=name,
            )


def ids_filter(obj: ObjectInfo, ids: Sequence[str]) -> str | None:
    """`or` over the one key field, which is the only `or` that every version takes (BC-35)."""
    if len(obj.key) != 1 or obj.reading is not Reading.DIRECT:
        return None
    key = obj.key[0]
    kind = next((field.type for field in obj.fields if field.name == key), "Edm.Guid")
    return " or ".join(f"{key} eq {literal(typed_key(each, kind))}" for each in ids)


def newest_request(target: Target, obj: ObjectInfo, spec: ReadSpec, part: Slice) -> Request:
    """The most recently modified record: its stamp is where a sync without a past starts (BC-96: data, not a clock)."""
    _check(obj, spec)
    if obj.stamp is None or obj.reading is not Reading.DIRECT:
        raise Unsupported(f"“{obj.name}” has no modification stamp of its own.")
    query = Query(filter=_terms(obj, spec, part), order_by=(f"{obj.stamp} desc",), select=(*obj.key, obj.stamp), top=1)
    url = with_query(object_url(target, obj, part.company_id), query)
    return Request(method="GET", url=url, headers=read_headers(page_records=1, replica=False), purpose="newest")


def fitting_url(base: str, query: Query) -> str:
    """The URL, without `$select` when naming every column would make it too long for the service (BC-14)."""
    url = with_query(base, query)
    if len(url) > URL_BYTES_MAX and query.select:
        url = with_query(base, query.without_select())
    if len(url) > URL_BYTES_MAX:
        raise InvalidInput(
            f"The request would be {len(url):,} bytes long; Business Central takes about {URL_BYTES_MAX:,}.",
            remedy="Shorten the filter, or split its list of values into several reads.",
        )
    return url


def _check(obj: ObjectInfo, spec: ReadSpec) -> None:
    if not obj.bulk or (obj.reading is Reading.THROUGH_PARENT and not obj.parents):
        raise Unsupported(
            f"“{obj.name}” is not offered for bulk reading.",
            remedy="Read it for one parent at a time through the proxy.",
        )
    dated = obj.reading in (Reading.REPORT, Reading.QUERY)
    if (spec.since or spec.until) and not obj.incremental and not (dated and date_filter(obj)):
        raise Unsupported(
            f"“{obj.name}” has no modification stamp, so it cannot be read since a point in time.",
            remedy="Read it in full; unchanged records are recognised by their content.",
        )
    if dated and (spec.ids_only or spec.expand):
        raise Unsupported(f"“{obj.name}” is calculated for each request: no id sweep, no related records.")
    if obj.navigation:
        checked_expand(obj, spec.expand)


def date_filter(obj: ObjectInfo) -> str | None:
    """The name of the date window's filter, when the object has one."""
    names = {field.name for field in obj.fields}
    return next((name for name in DATE_FILTERS if name in names), None)


def _direct(obj: ObjectInfo, spec: ReadSpec, part: Slice) -> Query:
    terms = _terms(obj, spec, part)
    ordered = spec.since is not None and obj.stamp is not None and obj.reading is Reading.DIRECT
    return Query(
        filter=terms,
        order_by=(f"{obj.stamp} asc",) if ordered else (),
        select=_select(obj, spec),
        expand=spec.expand,
        top=spec.limit,
        schema_version=_schema_version(terms),
    )


def _select(obj: ObjectInfo, spec: ReadSpec) -> tuple[str, ...]:
    """The columns to ask for: always with key and stamp, because pages are cut by them."""
    if spec.ids_only:
        return obj.key
    own_stamp = (obj.stamp,) if obj.stamp and not obj.stamp_of_parent else ()
    wanted = checked_select(obj, spec.select) if obj.fields else spec.select
    return keep_selected(wanted, (*obj.key, *own_stamp))


def _terms(obj: ObjectInfo, spec: ReadSpec, part: Slice) -> tuple[str, ...]:
    terms = [spec.filter] if spec.filter else []
    if obj.reading is Reading.DIRECT:
        terms += stamp_terms(obj.stamp, spec.since, spec.until)
        terms += _range_terms(obj, part)
    else:
        terms += _date_terms(obj, spec)
    return tuple(terms)


def stamp_terms(stamp: str | None, since: datetime | None, until: datetime | None) -> list[str]:
    """`ge` and `le`: both ends belong to the window, so equal stamps are not lost (BC-96)."""
    terms = []
    if stamp and since is not None:
        terms.append(f"{stamp} ge {stamp_literal(since)}")
    if stamp and until is not None:
        terms.append(f"{stamp} le {stamp_literal(until)}")
    return terms


def _range_terms(obj: ObjectInfo, part: Slice) -> list[str]:
    """Bounds of a key range, GUIDs bare. That the service orders and compares them alike is [verify]."""
    if part.lower is None and part.upper is None:
        return []
    if len(obj.key) != 1:
        raise Unsupported(f"“{obj.name}” has no single key, so it cannot be read in key ranges.")
    terms = []
    if part.lower is not None:
        terms.append(f"{obj.key[0]} ge {part.lower}")
    if part.upper is not None:
        terms.append(f"{obj.key[0]} lt {part.upper}")
    return terms


def _date_terms(obj: ObjectInfo, spec: ReadSpec) -> list[str]:
    name = date_filter(obj)
    terms = []
    if name and spec.since is not None:
        terms.append(f"{name} ge {spec.since.astimezone(UTC).date().isoformat()}")
    if name and spec.until is not None:
        terms.append(f"{name} le {spec.until.astimezone(UTC).date().isoformat()}")
    return terms


def _through_parent(target: Target, obj: ObjectInfo, spec: ReadSpec, part: Slice) -> tuple[str, Query]:
    """Parents with the children expanded: there is no bulk read of lines (BC-40, BC-41).

    Children with a stamp of their own are filtered by it inside the expansion; children that change with their
    document are reached by the document's stamp.
    """
    link = parent_link(obj, part)
    inner = [spec.filter] if spec.filter else []
    outer: tuple[str, ...] = ()
    if obj.stamp_of_parent:
        outer = tuple(stamp_terms(link.stamp, spec.since, spec.until))
    else:
        inner += stamp_terms(obj.stamp, spec.since, spec.until)
    child = Query(
        filter=tuple(inner),
        select=_select(obj, spec),
        expand=spec.expand,
    )
    parent_stamp = (link.stamp,) if link.stamp and obj.stamp_of_parent else ()
    query = Query(
        filter=outer,
        order_by=(f"{link.stamp} asc",) if outer else (),
        select=(*link.key, *parent_stamp),
        expand=(child.as_expansion(link.navigation),),
        schema_version=_schema_version(tuple(inner)),
    )
    return set_url(target, obj.route, link.object, part.company_id), query


def parent_link(obj: ObjectInfo, part: Slice) -> ParentLink:
    """The parent that a slice reads through. Raises InvalidInput for one that does not lead to the object."""
    if part.parent is None:
        return obj.parents[0]
    for link in obj.parents:
        if link.object == part.parent:
            return link
    raise InvalidInput(f"“{part.parent}” does not lead to “{obj.name}”.")


def parts(obj: ObjectInfo, company_ids: Sequence[str]) -> list[Slice]:
    """The slices that together hold the whole object: one per company, and per parent where it has several."""
    if obj.tenant_level:
        return [Slice(company_id=None)]
    if obj.reading is Reading.THROUGH_PARENT and obj.bulk and obj.parents:
        return [Slice(company_id=each, parent=link.object) for each in company_ids for link in obj.parents]
    return [Slice(company_id=each) for each in company_ids]


def _children(obj: ObjectInfo, response: Response) -> pages.SlicedPage:
    link = _link_of(obj, response)
    return pages.slice_children(
        response.body,
        link.navigation,
        key=obj.key,
        stamp=None if obj.stamp_of_parent else obj.stamp,
        parent_stamp=link.stamp if obj.stamp_of_parent else None,
    )


def _link_of(obj: ObjectInfo, response: Response) -> ParentLink:
    """Which parent a page was read through: its address tells."""
    path = unquote(urlsplit(response.url).path)
    name = path.rstrip("/").rpartition("/")[2]
    for link in obj.parents:
        if link.object == name:
            return link
    return obj.parents[0]


def boundary_requests(
    target: Target, obj: ObjectInfo, spec: ReadSpec, company_id: str | None, *, records: int, slices: int
) -> list[Request]:
    """Requests that find where to cut an object into `slices` key ranges of about equal size.

    `$skip` serves here to find a boundary only, never to page (BC-32): rows that move meanwhile make ranges uneven, but
    the ranges still cover every key once. Each asks for one id at a position in key order [verify].
    """
    if slices < 2 or records < slices or len(obj.key) != 1 or obj.reading is not Reading.DIRECT:
        return []
    key = obj.key[0]
    terms = _terms(obj, spec, Slice(company_id=company_id))
    requests = []
    for n in range(1, slices):
        query = Query(filter=terms, order_by=(key,), select=(key,), top=1, skip=records * n // slices)
        url = with_query(object_url(target, obj, company_id), query)
        requests.append(Request(method="GET", url=url, headers=read_headers(page_records=1), purpose="boundary"))
    return requests


def boundary(obj: ObjectInfo, response: Response) -> str | None:
    """Read one boundary; None when the object has become shorter."""
    ids = pages.slice_page(response.body, key=obj.key).ids
    return ids[0] if ids else None


def ranges(company_id: str | None, boundaries: Sequence[str | None]) -> list[Slice]:
    """Key ranges between the boundaries, in the order they were found, open at both ends; equal ones are merged.

    The boundaries are the vendor's, in the vendor's order: sorting GUIDs here would follow another order than its.
    """
    cuts = list(dict.fromkeys(each for each in boundaries if each))
    lowers: list[str | None] = [None, *cuts]
    uppers: list[str | None] = [*cuts, None]
    return [Slice(company_id=company_id, lower=lower, upper=upper) for lower, upper in zip(lowers, uppers, strict=True)]


def _schema_version(terms: Sequence[str]) -> str | None:
    """2.1 when the filter uses `in` or nested functions, which older versions refuse (BC-36)."""
    bare = " ".join(_TEXT.sub("''", term) for term in terms)
    return "2.1" if _NEEDS_21.search(bare) else None
