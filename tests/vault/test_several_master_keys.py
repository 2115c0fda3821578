"""Several master keys at once: any of them opens, one wraps, and a machine is never without."""

from __future__ import annotations

from pathlib import Path

import pytest

from isthmus.kernel.failures import ConfigurationFailure, MasterKeyMissing
from isthmus.vault.envelope import new_data_key
from isthmus.vault.keys import ENVIRONMENT_NAME, FILE_NAME, wrap
from isthmus.vault.masters import (
    NEXT_FILE_NAME,
    NEXT_NAME,
    PREVIOUS_NAME,
    adopt_next,
    draft_next,
    load_master_keys,
    new_key_text,
)


def test_every_key_that_is_here_opens_what_it_wrapped(tmp_path: Path) -> None:
    present, following, earlier = new_key_text(), new_key_text(), new_key_text()
    environment = {ENVIRONMENT_NAME: present, NEXT_NAME: following, PREVIOUS_NAME: f" {earlier} ,"}
    keys = load_master_keys(tmp_path, wrapped_keys_exist=True, environment=environment)
    assert len(keys.ids) == 3
    assert keys.following is not None
    for text in (present, following, earlier):
        alone = load_master_keys(tmp_path, wrapped_keys_exist=True, environment={ENVIRONMENT_NAME: text})
        data_key = new_data_key()
        wrapped = wrap(alone.current, data_key, "project")
        assert keys.unwrap(wrapped, "project") == data_key
    stranger = load_master_keys(tmp_path, wrapped_keys_exist=True, environment={ENVIRONMENT_NAME: new_key_text()})
    with pytest.raises(MasterKeyMissing):
        keys.unwrap(wrap(stranger.current, new_data_key(), "project"), "project")
    assert present not in repr(keys)


def test_a_key_of_the_environment_is_followed_by_one_of_the_environment(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationFailure) as lacking:
        draft_next(tmp_path, {ENVIRONMENT_NAME: new_key_text()})
    assert NEXT_NAME in lacking.value.remedy
    assert list(tmp_path.iterdir()) == [], "nothing is written beside keys that are kept elsewhere"
    with pytest.raises(ConfigurationFailure, match=NEXT_NAME):
        load_master_keys(
            tmp_path, wrapped_keys_exist=True, environment={ENVIRONMENT_NAME: new_key_text(), NEXT_NAME: "not a key"}
        )


def test_the_next_key_is_made_once_and_taken_over_at_whatever_moment_it_was_cut_short(tmp_path: Path) -> None:
    before = load_master_keys(tmp_path, wrapped_keys_exist=False, environment={}).current
    drafted = draft_next(tmp_path, {})
    assert draft_next(tmp_path, {}).following == drafted.following, "a second try finds the first one's key"
    assert (tmp_path / NEXT_FILE_NAME).stat().st_mode & 0o777 == 0o600
    (tmp_path / f"{FILE_NAME}.old-{before.id.hex()}").hardlink_to(tmp_path / FILE_NAME)  # killed right here
    assert load_master_keys(tmp_path, wrapped_keys_exist=True, environment={}).current == before
    kept = adopt_next(tmp_path)
    assert kept is not None
    assert kept.name.endswith(before.id.hex())
    after = load_master_keys(tmp_path, wrapped_keys_exist=True, environment={})
    assert after.current == drafted.following
    assert after.following is None
    assert before.id.hex() in after.ids, "for backups that were made before"
    assert adopt_next(tmp_path) is None
