"""The generated pages are what the code says today, and the ids that tests carry exist."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.conformance_ids import FACTS
from tests.conformance_scan import Scan, scan_folder
from tests.generate_docs import PAGES, REFERENCE, ROOT, write_pages


@pytest.fixture(scope="module")
def scan() -> Scan:
    """The marks of this repository."""
    return scan_folder(ROOT)


@pytest.mark.parametrize("name", [name for name in PAGES if name != "conformance.md"])
def test_a_committed_page_is_what_make_docs_writes(name: str) -> None:
    assert (REFERENCE / name).read_text(encoding="utf-8") == PAGES[name](), "run `make docs` and commit the result"


def test_writing_pages_names_the_changed_ones_only(tmp_path: Path) -> None:
    assert {file.name for file in write_pages(tmp_path)} == set(PAGES)
    (tmp_path / "settings.md").write_text("stale", encoding="utf-8")
    assert [file.name for file in write_pages(tmp_path)] == ["settings.md"]


def test_every_id_that_a_test_carries_is_known(scan: Scan) -> None:
    assert {carrier.id for carrier in scan.carriers} - set(FACTS) == set()


def test_every_id_is_written_out_where_the_scan_can_read_it(scan: Scan) -> None:
    assert scan.unreadable == ()
