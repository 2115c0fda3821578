"""The table of vendor facts is up to date, and every promised fact is carried by a test."""

from __future__ import annotations

from tests.conformance_scan import scan_folder
from tests.generate_docs import REFERENCE, ROOT, conformance_page, missing


def test_the_committed_table_is_what_make_docs_writes() -> None:
    committed = (REFERENCE / "conformance.md").read_text(encoding="utf-8")
    assert committed == conformance_page(scan_folder(ROOT)), "run `make docs` and commit the result"


def test_every_promised_fact_is_carried_by_a_test() -> None:
    assert missing(scan_folder(ROOT)) == []
