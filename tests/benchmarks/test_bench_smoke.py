"""Every benchmark runs end to end on a tiny table. Figures are not looked at: only that they are there and add up."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from benchmarks.page_server import COMPANY_ID, Pages, record_id
from benchmarks.samples import Measure, figure, ratio
from benchmarks.setting import Setting, expect
from rich.console import Console

from benchmarks import delivering, latency, limits, report, scale, startup, throughput, writes
from isthmus.odata.pages import slice_page

TINY = Setting(
    records=600,
    page_records=100,
    rounds=1,
    small_table=600,
    large_table=900,
    latency_ms=1.0,
    windows=2,
    limits_scale=1000.0,
    starts=1,
    writes=20,
)


def test_pages_of_the_server_hold_every_record_once() -> None:
    pages = Pages(250)
    cut = [slice_page(pages.body(start, 250, 100, "http://x/api")) for start in (0, 100, 200)]
    seen = [remote_id for page in cut for remote_id in page.ids]
    assert [f"$skiptoken={record_id(99)}&" in (page.next_link or "") for page in cut] == [True, False, False]
    assert cut[2].next_link is None
    assert seen == [record_id(index) for index in range(250)]
    assert f"companies({COMPANY_ID})".encode() in pages.body(0, 250, 100, "http://x/api")


def test_a_ratio_is_the_median_of_one_side_over_the_median_of_the_other() -> None:
    found = ratio("x", [1.0, 2.0, 9.0], [4.0, 4.0, 4.0], target=0.6)
    assert found.value == 0.5
    assert found.met is False
    assert found.spread == (0.25, 2.25)


def test_a_figure_that_must_stay_below_its_target_meets_it_from_below() -> None:
    assert figure("x", "MiB", [100.0], target=200.0, wanted="at most").met is True
    assert figure("x", "MiB", [100.0]).met is None


def test_a_bench_that_does_less_than_it_claims_is_refused() -> None:
    with pytest.raises(RuntimeError, match="599 instead of 600"):
        expect(599, 600, "records")


async def test_the_whole_road_is_measured_beside_the_bare_loop() -> None:
    measures = {each.name: each for each in await throughput.measure(TINY)}
    assert {"first load into the database", "straight to Parquet"} <= measures.keys()
    assert all(each.value > 0 and len(each.samples) == 1 for each in measures.values())


async def test_waiting_pages_are_measured_with_one_reader_and_with_several() -> None:
    assert [len(each.seconds) for each in await latency.measure(TINY)] == [1, 1, 1]


async def test_a_worker_tells_its_memory_and_its_cost_per_record() -> None:
    measures = await scale.measure(TINY)
    assert {each.unit for each in measures} == {"MiB", "us/record", "x"}
    assert all(each.value > 0 for each in measures)


async def test_the_vendors_limits_are_measured_with_one_worker_and_with_two() -> None:
    measures = await limits.measure(TINY)
    assert [each.wanted for each in measures] == ["at least", "at most"] * 2
    assert all(len(each.samples) == TINY.windows for each in measures if each.wanted == "at least")


async def test_writes_are_measured_one_by_one_with_keys_and_in_batches() -> None:
    measures = await writes.measure(TINY)
    assert [each.unit for each in measures] == ["operations/s"] * 4 + ["x"] + ["operations/s"] * 2
    assert [each.name for each in measures if each.target == 300.0] == [
        "writes, one operation each",
        "writes with idempotency keys",
        "writes, rows of batches",
        "writes over HTTP with keys",
    ]
    assert all(each.value > 0 for each in measures)


async def test_a_cold_start_is_measured() -> None:
    (found,) = await startup.measure(TINY)
    assert found.value > 0


async def test_results_are_printed_and_kept_with_every_sample(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "RESULTS", tmp_path / "results")
    measures = [ratio("first load", [1.0], [2.0], target=0.3), Measure(name="m", unit="MiB", samples=[], value=1.0)]
    console = Console(record=True, width=160)
    report.print_table(console, measures)
    facts = await report.machine()
    path = report.write_json(measures, TINY, facts, [], datetime.now(UTC))
    kept = msgspec.json.decode(path.read_bytes())
    assert "✓" in console.export_text()
    assert kept["measures"][0]["seconds"] == [2.0]
    assert kept["machine"]["postgresql"]


async def test_deliveries_are_counted_when_a_receiver_has_verified_them() -> None:
    (found,) = await delivering.measure(msgspec.structs.replace(TINY, deliveries=300))
    assert found.value > 0
    assert "signed requests/s" in found.note
