"""An export is there whole or not at all."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from isthmus.delivery.atomic import temporary_name
from isthmus.delivery.export import CompanyPage, export_pages
from isthmus.delivery.export.entry import SUFFIXES
from isthmus.kernel.failures import ConnectionBroken, InvalidInput, StorageFull
from isthmus.providers.base import Field

FIELDS = [Field(name="id", type="Edm.Guid"), Field(name="memo", type="Edm.String")]


def records(count: int) -> list[bytes]:
    return [
        b'{"id":"%b","memo":"%b"}' % (os.urandom(16).hex().encode(), os.urandom(400).hex().encode())
        for _ in range(count)
    ]


async def many(pages: int) -> AsyncIterator[CompanyPage]:
    for _ in range(pages):
        yield CompanyPage(records(1_000))


@contextmanager
def small_files_only(limit_bytes: int) -> Iterator[None]:
    """The kernel refuses to let any file of this process grow beyond the limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)


def names_in(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


@pytest.mark.parametrize("suffix", SUFFIXES)
async def test_a_full_disk_is_told_with_a_remedy_and_leaves_no_half_file(suffix: str, tmp_path: Path) -> None:
    destination = tmp_path / f"out{suffix}"
    with small_files_only(1_000_000), pytest.raises(StorageFull) as failure:
        await export_pages(many(8), FIELDS, destination)
    assert names_in(tmp_path) == []
    assert "run the command again" in failure.value.remedy


@pytest.mark.parametrize("suffix", SUFFIXES)
async def test_a_failed_export_leaves_the_older_file_untouched(suffix: str, tmp_path: Path) -> None:
    destination = tmp_path / f"out{suffix}"
    await export_pages(many(1), FIELDS, destination)
    before = destination.read_bytes()

    async def breaking() -> AsyncIterator[CompanyPage]:
        yield CompanyPage(records(100))
        raise ConnectionBroken

    with pytest.raises(ConnectionBroken):
        await export_pages(breaking(), FIELDS, destination)
    assert names_in(tmp_path) == [destination.name]
    assert destination.read_bytes() == before


@pytest.mark.parametrize("name", ["out.xlsx", "out", "out.parquet.gz"])
async def test_an_unknown_suffix_names_the_four_that_work(name: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput) as refusal:
        await export_pages(many(1), FIELDS, tmp_path / name)
    assert all(suffix in refusal.value.remedy for suffix in SUFFIXES)


async def test_the_suffix_may_be_in_upper_case(tmp_path: Path) -> None:
    report = await export_pages(many(1), FIELDS, tmp_path / "OUT.CSV")
    assert report.records == 1_000


async def test_a_missing_folder_is_told_before_anything_is_read(tmp_path: Path) -> None:
    async def unread() -> AsyncIterator[CompanyPage]:
        pytest.fail("a page was read")
        yield CompanyPage([])

    with pytest.raises(InvalidInput, match="no folder"):
        await export_pages(unread(), FIELDS, tmp_path / "missing" / "out.csv")


async def test_a_folder_cannot_be_the_destination(tmp_path: Path) -> None:
    (tmp_path / "out.csv").mkdir()
    with pytest.raises(InvalidInput, match="is a folder"):
        await export_pages(many(1), FIELDS, tmp_path / "out.csv")


def test_the_room_is_entered_without_loading_the_heavy_libraries() -> None:
    code = "import sys, isthmus.delivery.export; print({'pyarrow', 'duckdb'} & set(sys.modules))"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "set()"


@pytest.mark.parametrize("suffix", SUFFIXES)
async def test_what_a_killed_export_left_is_removed_by_the_next_one_of_that_name(suffix: str, tmp_path: Path) -> None:
    destination = tmp_path / f"out [1]{suffix}"
    code = (
        "import os, sys; from pathlib import Path; from isthmus.delivery.atomic import temporary_name\n"
        "left = temporary_name(Path(sys.argv[1])); left.write_text('half')\n"
        "left.with_name(left.name + '.parquet').write_text('half'); os.kill(os.getpid(), 9)"
    )
    killed = await asyncio.create_subprocess_exec(sys.executable, "-c", code, str(destination))
    assert await killed.wait() == -signal.SIGKILL
    working = temporary_name(destination)
    other = temporary_name(tmp_path / f"out [2]{suffix}")
    for kept in (working, other):
        await asyncio.to_thread(kept.write_text, "somebody is at it")
    assert len(names_in(tmp_path)) == 4
    await export_pages(many(1), FIELDS, destination)
    assert names_in(tmp_path) == sorted([destination.name, working.name, other.name])


async def test_a_refusal_speaks_of_the_file_that_was_named_in_plain_words(tmp_path: Path) -> None:
    destination = tmp_path / ("n" * 300 + ".jsonl")
    with pytest.raises(InvalidInput) as refused:
        await export_pages(many(1), FIELDS, destination)
    assert refused.value.message == f"{destination} cannot be written: the name is too long."


async def test_a_long_name_that_the_file_system_allows_can_be_exported_to(tmp_path: Path) -> None:
    destination = tmp_path / ("ü" * 120 + ".jsonl")
    await export_pages(many(1), FIELDS, destination)
    assert names_in(tmp_path) == [destination.name]
