"""The scanner that joins vendor facts and tests."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest
from tests.conformance_ids import FACTS, Side
from tests.conformance_scan import scan_folder, scan_source


def _found(source: str) -> set[tuple[str, str]]:
    return {(carrier.id, carrier.name) for carrier in scan_source(dedent(source), "tests/test_x.py").carriers}


def test_a_decorator_is_found_with_all_its_ids() -> None:
    source = """
        @pytest.mark.conformance("BC-07", "OA-15")
        async def test_one(): ...

        def test_two(): ...
    """
    assert _found(source) == {("BC-07", "test_one"), ("OA-15", "test_one")}


@pytest.mark.parametrize(
    "marks", ['pytest.mark.conformance("BC-07")', '[pytest.mark.slow, pytest.mark.conformance("BC-07")]']
)
def test_a_mark_of_the_module_holds_for_every_test(marks: str) -> None:
    source = f"pytestmark = {marks}\ndef test_one(): ...\ndef helper(): ...\n"
    assert _found(source) == {("BC-07", "test_one")}


def test_a_class_passes_its_marks_on() -> None:
    source = """
        @pytest.mark.conformance("BC-01")
        class TestIt:
            pytestmark = pytest.mark.conformance("BC-02")

            @pytest.mark.conformance("BC-03")
            def test_one(self): ...
    """
    assert _found(source) == {(f"BC-0{number}", "TestIt::test_one") for number in (1, 2, 3)}


def test_marks_of_parameters_count() -> None:
    source = """
        @pytest.mark.parametrize("n", [1, pytest.param(2, marks=pytest.mark.conformance("BC-07"))])
        def test_one(n): ...
    """
    assert _found(source) == {("BC-07", "test_one")}


def test_marks_behind_a_name_count_for_those_who_use_it() -> None:
    source = """
        CASES: list[object] = [pytest.param(2, marks=[pytest.mark.conformance("BC-07")])]
        NAMED = pytest.mark.conformance("BC-08")

        @pytest.mark.parametrize("n", CASES)
        def test_one(n): ...

        @NAMED
        def test_two(): ...
    """
    assert _found(source) == {("BC-07", "test_one"), ("BC-08", "test_two")}


def test_an_id_that_is_not_written_out_is_reported_with_its_place() -> None:
    source = 'ID = "BC-07"\n\n@pytest.mark.conformance(ID)\ndef test_one(): ...\n'
    assert scan_source(source, "tests/test_x.py").unreadable == ("tests/test_x.py:3",)


def test_a_folder_is_walked_and_paths_are_relative(tmp_path: Path) -> None:
    inner = tmp_path / "tests" / "odata"
    inner.mkdir(parents=True)
    (inner / "test_x.py").write_text('@pytest.mark.conformance("BC-37")\ndef test_one(): ...\n', encoding="utf-8")
    (carrier,) = scan_folder(tmp_path).of("BC-37")
    assert (carrier.path, carrier.name) == ("tests/odata/test_x.py", "test_one")


def test_tests_of_the_sandbox_are_told_from_tests_of_the_product(tmp_path: Path) -> None:
    for room in ("sandbox/entra", "auth"):
        folder = tmp_path / "tests" / room
        folder.mkdir(parents=True)
        source = '@pytest.mark.conformance("OA-19")\ndef test_one(): ...\n'
        (folder / "test_x.py").write_text(source, encoding="utf-8")
    scan = scan_folder(tmp_path)
    assert [carrier.path for carrier in scan.of("OA-19", Side.PRODUCT)] == ["tests/auth/test_x.py"]
    assert [carrier.path for carrier in scan.of("OA-19", Side.SANDBOX)] == ["tests/sandbox/entra/test_x.py"]
    assert len(scan.of("OA-19")) == 2


def test_the_checklists_are_complete() -> None:
    expected = [f"BC-{number:02}" for number in range(1, 100)] + [f"OA-{number:02}" for number in range(1, 61)]
    assert list(FACTS) == expected


def test_every_fact_has_a_short_title_and_a_side_or_a_reason() -> None:
    for fact in FACTS.values():
        assert 0 < len(fact.title.split()) <= 12, fact.id
        assert fact.today or fact.later, fact.id


def test_what_is_said_to_come_later_is_carried_by_no_test_of_the_product() -> None:
    scan = scan_folder(Path(__file__).parents[2])
    later = [fact.id for fact in FACTS.values() if fact.later]
    assert later
    stale = {fact_id: scan.of(fact_id, Side.PRODUCT) for fact_id in later if scan.of(fact_id, Side.PRODUCT)}
    assert not stale, "the page says that the product does not keep these yet"
