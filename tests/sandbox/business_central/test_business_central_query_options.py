"""Query options: what is ignored, what is refused, and how literals must be written."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

if TYPE_CHECKING:
    from .conftest import Bench


def where(expression: str, more: str = "") -> str:
    """Customers under a filter, percent-encoded."""
    return f"/customers?$filter={quote(expression, safe='')}{more}"


async def numbers(bench: Bench, url: str) -> list[str]:
    """The numbers of the customers behind a URL."""
    reply = await bench.get(url)
    assert reply.status == 200, reply.body
    return [record["number"] for record in reply.value]


ALL = ["10000", "20000", "30000", "40000", "50000"]


@pytest.mark.conformance("BC-33")
@pytest.mark.parametrize("option", ["$apply=aggregate($count%20as%20n)", "$search=Adatum", "$xyz=1"])
async def test_unsupported_options_are_silently_ignored(bench: Bench, option: str) -> None:
    assert await numbers(bench, f"/customers?{option}") == ALL


@pytest.mark.conformance("BC-33")
async def test_a_lambda_is_ignored_or_refused(bench: Bench) -> None:
    lambda_filter = where("defaultDimensions/any(d: d/dimensionCode eq 'AREA')")
    assert await numbers(bench, lambda_filter) == ALL
    await bench.control("switches", lambda_filter="refuse")
    assert (await bench.get(lambda_filter)).status == 400


@pytest.mark.conformance("BC-34")
@pytest.mark.parametrize(
    "option", ["$select=nope", "$filter=nope%20eq%201", "$orderby=nope", "$expand=nope", "$filter=contains(nope,'x')"]
)
async def test_an_unknown_field_is_named_with_a_correlation_id(bench: Bench, option: str) -> None:
    reply = await bench.get(f"/customers?{option}")
    assert (reply.status, reply.error["code"]) == (400, "BadRequest")
    message = reply.error["message"]
    assert message.startswith(
        "Could not find a property named 'nope' on type 'Microsoft.NAV.customer'.  CorrelationId:  "
    )
    assert message.endswith(".")


@pytest.mark.conformance("BC-35")
async def test_or_works_on_one_field_and_is_refused_over_two(bench: Bench) -> None:
    assert await numbers(bench, where("number eq '10000' or number eq '30000'")) == ["10000", "30000"]
    refused = await bench.get(where("number eq '10000' or displayName eq 'Relecloud'"))
    assert refused.status == 400
    assert "'OR' operator is not supported on distinct fields" in refused.error["message"]


@pytest.mark.conformance("BC-36")
@pytest.mark.parametrize("expression", ["number in ('10000','30000')", "contains(tolower(displayName),'adatum')"])
async def test_in_and_nested_functions_need_schema_version_2_1(bench: Bench, expression: str) -> None:
    assert (await bench.get(where(expression))).status == 400
    assert "10000" in await numbers(bench, where(expression, "&$schemaversion=2.1"))


@pytest.mark.conformance("BC-37")
async def test_quotes_are_doubled_and_a_raw_plus_is_a_blank(bench: Bench) -> None:
    place = {"company": bench.us.name, "set": "customers"}
    ids = [record["id"] for record in (await bench.get("/customers")).value]
    await bench.control("change", **place, ids=ids[:1], values={"displayName": "O'Brien"})
    await bench.control("change", **place, ids=ids[1:2], values={"displayName": "Fifty 50%"})
    assert await numbers(bench, where("displayName eq 'O''Brien'")) == ["10000"]
    assert (await bench.get(where("displayName eq 'O'Brien'"))).status == 400
    assert await numbers(bench, "/customers?$filter=displayName+eq+'Fifty+50%25'") == ["20000"]
    moment = "2020-01-01T00:00:00"
    assert await numbers(bench, where(f"lastModifiedDateTime gt {moment}+02:00")) == ALL[:4]
    assert (await bench.get(f"/customers?$filter=lastModifiedDateTime%20gt%20{moment}+02:00")).status == 400


@pytest.mark.conformance("BC-37")
async def test_guids_and_dates_stand_without_quotes(bench: Bench) -> None:
    customer = (await bench.get("/customers?$top=1")).value[0]
    assert await numbers(bench, where(f"id eq {customer['id']}")) == ["10000"]
    assert (await bench.get(where(f"id eq '{customer['id']}'"))).status == 400
    invoices = "/salesInvoices?$filter=" + quote("postingDate ge 2025-03-01", safe="")
    assert len((await bench.get(invoices)).value) == 3
    assert (await bench.get("/salesInvoices?$filter=" + quote("postingDate ge '2025-03-01'", safe=""))).status == 400


@pytest.mark.conformance("BC-38")
@pytest.mark.parametrize("text", ["a*", "a..b", "a|b", "a&b", "me@home"])
async def test_characters_of_the_inner_filter_language_are_refused(bench: Bench, text: str) -> None:
    reply = await bench.get(where(f"displayName eq '{text}'"))
    assert (reply.status, reply.error["code"]) == (400, "Application_FilterErrorException")


@pytest.mark.conformance("BC-38")
async def test_an_apostrophe_is_refused_too_where_the_switch_says_so(bench: Bench) -> None:
    await bench.control("switches", filter_characters=["'"])
    reply = await bench.get(where("displayName eq 'O''Brien'"))
    assert reply.error["code"] == "Application_FilterErrorException"


@pytest.mark.conformance("BC-38")
async def test_a_value_longer_than_its_field_is_refused(bench: Bench) -> None:
    assert await numbers(bench, where(f"number eq '{'1' * 20}'")) == []
    reply = await bench.get(where(f"number eq '{'1' * 21}'"))
    assert (reply.status, reply.error["code"]) == (400, "Application_FilterErrorException")


@pytest.mark.conformance("BC-39")
async def test_enumerations_are_filtered_by_escaped_name_and_sometimes_by_caption(bench: Bench) -> None:
    async def invoices(member: str) -> int | None:
        reply = await bench.get("/salesInvoices?$filter=" + quote(f"status eq '{member}'", safe=""))
        return len(reply.value) if reply.status == 200 else None

    assert await invoices("In_x0020_Review") == 1
    assert await invoices("In Review") is None
    await bench.control("switches", caption_filter="accept")
    assert await invoices("In Review") == 1
    assert await invoices("No Such Member") is None


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("startswith(displayName,'A')", ["10000", "40000"]),
        ("endswith(displayName,'Research')", ["20000"]),
        ("contains(displayName,'Fine')", ["30000"]),
        ("not startswith(displayName,'A')", ["20000", "30000", "50000"]),
        ("tolower(displayName) eq 'relecloud'", ["50000"]),
        ("substring(displayName,0,3) eq 'Ada'", ["10000"]),
        ("balanceDue gt 3000", ["20000"]),
        ("balanceDue eq 3036.60", ["20000"]),
        ("taxLiable eq true and number gt '40000'", ["50000"]),
        ("(number eq '10000' or number eq '20000') and displayName eq 'Trey Research'", ["20000"]),
        ("number eq null", []),
    ],
)
async def test_the_working_part_of_the_grammar(bench: Bench, expression: str, expected: list[str]) -> None:
    assert await numbers(bench, where(expression)) == expected


@pytest.mark.parametrize(
    "expression",
    [
        "number eq",
        "number eq '1' and",
        "((number eq '1')",
        "concat(number,'x') eq 'y'",
        "trim(displayName) eq 'x'",
        "balanceDue eq '1'",
        "taxLiable eq 'true'",
        "number eq 10000",
        "contains(balanceDue,'1')",
        "number like 'x'",
        "(" * 150 + "taxLiable" + ")" * 150,
    ],
)
async def test_what_the_grammar_does_not_know_is_refused(bench: Bench, expression: str) -> None:
    assert (await bench.get(where(expression))).status == 400


@pytest.mark.conformance("BC-45", "BC-87")
async def test_texts_follow_the_language_and_codes_do_not(bench: Bench) -> None:
    texts = {}
    for language in ("en-US", "de-DE", "da-DK", "xx-XX"):
        reply = await bench.get("/customers?$select=nope", Accept_Language=language)
        assert reply.error["code"] == "BadRequest"
        assert "  CorrelationId:  " in reply.error["message"]
        texts[language] = reply.error["message"].partition("  Corr")[0]
    assert texts["en-US"] == texts["xx-XX"]
    assert len({texts["en-US"], texts["de-DE"], texts["da-DK"]}) == 3
