"""One master key per database: from the environment, from a file, never invented twice."""

from __future__ import annotations

import base64
import multiprocessing
import os
import secrets
import stat
from pathlib import Path

import pytest
from tests.patience import WAIT_MAX_S

from isthmus.kernel.failures import ConfigurationFailure, MasterKeyMissing, SealBroken
from isthmus.vault.envelope import new_data_key
from isthmus.vault.keys import ENVIRONMENT_NAME, load_master_key, rewrap, unwrap, wrap

NOTHING: dict[str, str] = {}


def _environment() -> dict[str, str]:
    return {ENVIRONMENT_NAME: base64.b64encode(secrets.token_bytes(32)).decode()}


def test_the_first_start_makes_a_key_file_for_the_owner_alone(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    key = load_master_key(folder, wrapped_keys_exist=False, environment=NOTHING)
    path = folder / "master.key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in folder.iterdir()] == ["master.key"]
    assert load_master_key(folder, wrapped_keys_exist=True, environment=NOTHING) == key


def test_a_second_machine_does_not_invent_a_key(tmp_path: Path) -> None:
    with pytest.raises(MasterKeyMissing) as missing:
        load_master_key(tmp_path, wrapped_keys_exist=True, environment=NOTHING)
    assert "master.key" in missing.value.remedy
    assert list(tmp_path.iterdir()) == []


def test_the_environment_comes_first_and_writes_no_file(tmp_path: Path) -> None:
    environment = _environment()
    key = load_master_key(tmp_path, wrapped_keys_exist=False, environment=environment)
    assert key.key == base64.b64decode(environment[ENVIRONMENT_NAME])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", ["short", "not base64 at all !!!", base64.b64encode(b"x" * 31).decode()])
def test_an_unusable_key_in_the_environment_is_refused_without_repeating_it(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigurationFailure) as refusal:
        load_master_key(tmp_path, wrapped_keys_exist=False, environment={ENVIRONMENT_NAME: text})
    assert text not in f"{refusal.value.message} {refusal.value.remedy}"


def test_a_key_file_that_others_can_read_is_repaired(tmp_path: Path) -> None:
    load_master_key(tmp_path, wrapped_keys_exist=False, environment=NOTHING)
    path = tmp_path / "master.key"
    path.chmod(0o644)
    load_master_key(tmp_path, wrapped_keys_exist=True, environment=NOTHING)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_key_file_that_others_can_write_is_refused(tmp_path: Path) -> None:
    load_master_key(tmp_path, wrapped_keys_exist=False, environment=NOTHING)
    (tmp_path / "master.key").chmod(0o666)
    with pytest.raises(ConfigurationFailure, match="cannot be trusted"):
        load_master_key(tmp_path, wrapped_keys_exist=True, environment=NOTHING)


def test_a_mounted_secret_may_be_a_link_to_a_key_file(tmp_path: Path) -> None:
    key = load_master_key(tmp_path / "a", wrapped_keys_exist=False, environment=NOTHING)
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "master.key").symlink_to(tmp_path / "a" / "master.key")
    assert load_master_key(tmp_path / "b", wrapped_keys_exist=True, environment=NOTHING) == key


def test_something_else_in_place_of_the_key_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "master.key").mkdir()
    with pytest.raises(ConfigurationFailure, match="cannot be read"):
        load_master_key(tmp_path, wrapped_keys_exist=True, environment=NOTHING)


def test_a_damaged_key_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "master.key"
    path.write_bytes(os.urandom(20))
    path.chmod(0o600)
    with pytest.raises(ConfigurationFailure, match=r"master\.key"):
        load_master_key(tmp_path, wrapped_keys_exist=True, environment=NOTHING)


def _start(folder: Path, barrier, answers) -> None:  # type: ignore[no-untyped-def]  # multiprocessing's own types
    barrier.wait()
    answers.put(load_master_key(folder, wrapped_keys_exist=False, environment=NOTHING).id)


def test_processes_that_start_at_once_end_with_one_key(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    barrier, answers = context.Barrier(3), context.Queue()
    processes = [context.Process(target=_start, args=(tmp_path / "data", barrier, answers)) for _ in range(3)]
    for process in processes:
        process.start()
    ids = {answers.get(timeout=WAIT_MAX_S) for _ in processes}
    for process in processes:
        process.join()
    assert len(ids) == 1


def test_a_project_key_is_wrapped_for_its_project_and_its_master_key(tmp_path: Path) -> None:
    master = load_master_key(tmp_path, wrapped_keys_exist=False, environment=NOTHING)
    other = load_master_key(tmp_path, wrapped_keys_exist=True, environment=_environment())
    key = new_data_key()
    wrapped = wrap(master, key, "project-1")
    assert key.key not in wrapped
    assert unwrap(master, wrapped, "project-1") == key
    with pytest.raises(SealBroken):
        unwrap(master, wrapped, "project-2")
    with pytest.raises(MasterKeyMissing):
        unwrap(other, wrapped, "project-1")


def test_a_new_master_key_takes_over_without_sealing_again(tmp_path: Path) -> None:
    old = load_master_key(tmp_path, wrapped_keys_exist=False, environment=NOTHING)
    new = load_master_key(tmp_path, wrapped_keys_exist=True, environment=_environment())
    key = new_data_key()
    moved = rewrap(old, new, wrap(old, key, "p"), "p")
    assert unwrap(new, moved, "p") == key
    with pytest.raises(MasterKeyMissing):
        unwrap(old, moved, "p")
