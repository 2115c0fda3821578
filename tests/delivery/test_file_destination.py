"""Segments of JSONL in a folder."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import msgspec
import pytest
from tests.delivery.conftest import PROJECT, Crash, HandClock, MemoryStore

from isthmus.delivery.atomic import PlainFile, storage_failures, write_whole
from isthmus.delivery.drain import Drain
from isthmus.delivery.files import FileCarrier
from isthmus.delivery.ports import Destination, DestinationKind, Progress
from isthmus.delivery.replay import replay_range
from isthmus.kernel.failures import InvalidInput, StorageFull
from isthmus.kernel.ids import new_id
from isthmus.kernel.limits import DELIVERY_AGE_MAX_S


def segments(folder: Path) -> dict[str, bytes]:
    """Every file by name."""
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def write_to_a_full_device() -> None:
    descriptor = os.open("/dev/full", os.O_WRONLY)
    try:
        os.write(descriptor, b"x")
    finally:
        os.close(descriptor)


@pytest.fixture
def folder(tmp_path: Path) -> Destination:
    return Destination(id=new_id(), project=PROJECT, kind=DestinationKind.FILES, address=str(tmp_path))


@pytest.fixture
def drain(store: MemoryStore, clock: HandClock) -> Drain:
    return Drain(store, FileCarrier(clock), clock, uniform=lambda: 0.0)


async def test_changes_are_written_one_a_line_in_order(
    drain: Drain, store: MemoryStore, folder: Destination, tmp_path: Path
) -> None:
    store.append(3)
    await drain.run(folder)
    (segment,) = segments(tmp_path).values()
    lines = [msgspec.json.decode(line) for line in segment.splitlines()]
    assert [line["number"] for line in lines] == [1, 2, 3]


@pytest.mark.conformance("BC-53")
async def test_a_record_in_a_segment_keeps_the_vendors_bytes(
    drain: Drain, store: MemoryStore, folder: Destination, tmp_path: Path
) -> None:
    raw = b'{"balance":123456789012345678.10}'
    store.append(raw=raw)
    await drain.run(folder)
    (segment,) = segments(tmp_path).values()
    assert raw in segment


async def test_a_repeat_after_a_crash_replaces_the_same_file(
    drain: Drain, store: MemoryStore, folder: Destination, tmp_path: Path
) -> None:
    store.append(2)
    store.crash_before_saving = True
    with pytest.raises(Crash):
        await drain.run(folder)
    store.append(1)
    await drain.run(folder)
    (segment,) = segments(tmp_path).values()
    assert len(segment.splitlines()) == 3


async def test_a_replay_leaves_every_file_that_is_there_alone(
    drain: Drain, store: MemoryStore, folder: Destination, tmp_path: Path, clock: HandClock
) -> None:
    store.append(22)
    await drain.run(folder)
    before = segments(tmp_path)
    for _ in range(2):
        report = await replay_range(store, FileCarrier(clock), folder, 1, 2)
        clock.move(1.0)
    after = segments(tmp_path)
    assert (report.changes, {name: after[name] for name in before}) == (2, before)
    added = [content for name, content in after.items() if name not in before]
    assert [len(content.splitlines()) for content in added] == [2, 2]
    assert next(iter(after)) in before, "replays sort behind the segments"


@pytest.mark.parametrize("record_bytes", [10, 600_000])
async def test_a_segment_never_replaces_one_that_goes_further(
    drain: Drain, store: MemoryStore, folder: Destination, tmp_path: Path, record_bytes: int
) -> None:
    store.append(3, raw=b'{"name":"%s"}' % (b"x" * record_bytes))
    await drain.run(folder)
    store.kept[folder.id] = Progress(pending_last=2)  # the same way again, in smaller steps
    await drain.run(folder)
    lines = [len(content.splitlines()) for content in segments(tmp_path).values()]
    assert lines == [2, 3, 1]


async def test_segments_sort_in_the_order_of_the_feed(
    drain: Drain, store: MemoryStore, folder: Destination, tmp_path: Path
) -> None:
    for _ in range(12):
        store.append(1)
        await drain.run(folder)
    assert list(segments(tmp_path)) == [f"changes-{after:020d}.jsonl" for after in range(12)]


async def test_a_missing_folder_is_tried_again_for_ever_and_makes_no_dead_letter(
    drain: Drain, store: MemoryStore, folder: Destination, tmp_path: Path, clock: HandClock
) -> None:
    store.append(1)
    gone = msgspec.structs.replace(folder, address=str(tmp_path / "gone"))
    for _ in range(3):
        report = await drain.run(gone)
        clock.move(DELIVERY_AGE_MAX_S)
    assert report.failure is not None
    assert not store.letters
    (tmp_path / "gone").mkdir()
    assert (await drain.run(gone)).delivered_changes == 1


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_is_a_failure_with_a_remedy(number: int, tmp_path: Path) -> None:
    with pytest.raises(StorageFull) as failure, storage_failures(tmp_path / "file"):
        raise OSError(number, os.strerror(number))
    assert "Free some space" in failure.value.remedy


def test_what_the_kernel_says_of_a_full_device_is_understood(tmp_path: Path) -> None:
    with pytest.raises(StorageFull), storage_failures(tmp_path / "file"):
        write_to_a_full_device()


def test_a_folder_that_may_not_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput):
        write_whole(tmp_path / "missing" / "file", b"x")


def test_writing_whole_leaves_no_temporary_file(tmp_path: Path) -> None:
    write_whole(tmp_path / "file", b"one")
    write_whole(tmp_path / "file", b"two")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("file", b"two")]


def test_a_plain_file_never_writes_over_another(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"mine")
    with pytest.raises(FileExistsError):
        PlainFile(tmp_path / "file")
