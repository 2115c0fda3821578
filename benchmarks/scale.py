"""Memory of a worker, and cost per record, as a table grows."""

from __future__ import annotations

import statistics

from benchmarks.samples import Measure, figure
from benchmarks.servers import page_server
from benchmarks.setting import Setting
from benchmarks.worker import Report, in_own_process

MEMORY_MIB_MAX = 200.0
FLAT_RATIO_MAX = 1.25
"""“Flat” with some room for a noisy machine: ten times the records may cost a quarter more each."""

SAME_MEMORY_RATIO_MAX = 1.15


async def measure(setting: Setting) -> list[Measure]:
    """Workers over tables of three sizes, each in a process and a database of its own, in turns."""
    sizes = tuple(dict.fromkeys((setting.small_table, setting.records, setting.large_table)))
    reports: dict[int, list[Report]] = {size: [] for size in sizes}
    for number in range(1, setting.rounds + 1):
        for size in sizes:
            async with page_server(size, page_records=setting.page_records) as server:
                report = await in_own_process(server)
            reports[size].append(report)
            setting.tell(
                f"scale {number}/{setting.rounds}: {size:,} records, first load {report.first_load_s:.2f} s, "
                f"re-run {report.rerun_s:.2f} s, peak {report.peak_mib:.0f} MiB"
            )
    return _measures(setting, reports)


def _measures(setting: Setting, reports: dict[int, list[Report]]) -> list[Measure]:
    small, usual, large = (reports[size] for size in (setting.small_table, setting.records, setting.large_table))
    measures = [
        figure(
            f"worker memory, {each[0].records:,} records",
            "MiB",
            [report.peak_mib for report in each],
            target=MEMORY_MIB_MAX,
            wanted="at most",
        )
        for each in (usual, large)
    ]
    measures.append(
        _growth(
            "memory, large beside usual table",
            [report.peak_mib for report in usual],
            [report.peak_mib for report in large],
            target=SAME_MEMORY_RATIO_MAX,
        )
    )
    for name, cost in (("first load", _first_load_us), ("re-run", _rerun_us)):
        for each in (small, large):
            measures.append(
                figure(f"{name}, {each[0].records:,} records", "us/record", [cost(report) for report in each])
            )
        measures.append(
            _growth(
                f"{name}: cost per record, large / small",
                [cost(report) for report in small],
                [cost(report) for report in large],
                target=FLAT_RATIO_MAX,
            )
        )
    return measures


def _first_load_us(report: Report) -> float:
    return report.first_load_s / report.records * 1e6


def _rerun_us(report: Report) -> float:
    return report.rerun_s / report.records * 1e6


def _growth(name: str, before: list[float], after: list[float], *, target: float) -> Measure:
    return Measure(
        name=name,
        unit="x",
        samples=[large / small for small, large in zip(before, after, strict=True)],
        value=statistics.median(after) / statistics.median(before),
        target=target,
        wanted="at most",
    )
