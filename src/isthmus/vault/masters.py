"""All master keys that a machine has: the current one, the next one while a rotation is under way, and earlier ones.

    folder                                  environment
    master.key            current           ISTHMUS_MASTER_KEY
    master.key.next       being rotated to  ISTHMUS_MASTER_KEY_NEXT
    master.key.old-ID     earlier           ISTHMUS_MASTER_KEY_PREVIOUS (several, with commas)

What was wrapped says which key wrapped it, so any of them opens; only the current one (or, under way, the next) wraps.
"""

from __future__ import annotations

import base64
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from isthmus.kernel.failures import ConfigurationFailure, MasterKeyMissing
from isthmus.vault.envelope import KEY_BYTES, DataKey, key_id_of
from isthmus.vault.keys import (
    ENVIRONMENT_NAME,
    FILE_NAME,
    create_key_file,
    decoded,
    load_master_key,
    read_key_file,
    sync_folder,
    unwrap,
)

NEXT_NAME: Final = f"{ENVIRONMENT_NAME}_NEXT"
PREVIOUS_NAME: Final = f"{ENVIRONMENT_NAME}_PREVIOUS"
NEXT_FILE_NAME: Final = f"{FILE_NAME}.next"
_OLD_FILE: Final = f"{FILE_NAME}.old-"

KEYS_MAX: Final = 20
"""Master keys looked at; whoever has more keeps backups for a very long time."""


class MasterKeys:
    """The keys of one machine at one moment. Its repr shows ids alone."""

    def __init__(
        self,
        current: DataKey,
        following: DataKey | None,
        others: Mapping[bytes, DataKey],
        *,
        following_in_folder: bool = False,
    ) -> None:
        self.current = current
        self.following = following
        self.following_in_folder = following_in_folder
        known = dict(others) | {current.id: current}
        if following is not None:
            known[following.id] = following
        self._known = known

    def __repr__(self) -> str:
        return f"MasterKeys({', '.join(self.ids)})"

    @property
    def ids(self) -> list[str]:
        """The ids of all of them, in hexadecimal."""
        return sorted(each.hex() for each in self._known)

    def named(self, identifier: str) -> DataKey | None:
        """The key of this id, if it is here."""
        return next((key for id, key in self._known.items() if id.hex() == identifier), None)

    def unwrap(self, wrapped: bytes, project: str) -> DataKey:
        """Open a project's key with whichever key wrapped it. Raises MasterKeyMissing."""
        master = self._known.get(key_id_of(wrapped))
        if master is None:
            raise MasterKeyMissing
        return unwrap(master, wrapped, project)


def load_master_keys(
    data_folder: Path, *, wrapped_keys_exist: bool, environment: Mapping[str, str] | None = None
) -> MasterKeys:
    """Everything that is here. A first key is made as `load_master_key` does. Raises MasterKeyMissing."""
    given = os.environ if environment is None else environment
    following: DataKey | None = None
    in_folder = False
    if given.get(NEXT_NAME, "").strip():
        following = decoded(given[NEXT_NAME].strip(), NEXT_NAME)
    elif (data_folder / NEXT_FILE_NAME).exists():
        following, in_folder = read_key_file(data_folder / NEXT_FILE_NAME), True
    current = load_master_key(data_folder, wrapped_keys_exist=wrapped_keys_exist, environment=given)
    others: dict[bytes, DataKey] = {}
    for text in given.get(PREVIOUS_NAME, "").split(",")[:KEYS_MAX]:
        if text.strip():
            key = decoded(text.strip(), PREVIOUS_NAME)
            others[key.id] = key
    for path in sorted(data_folder.glob(f"{_OLD_FILE}*"))[:KEYS_MAX]:
        key = read_key_file(path)
        others[key.id] = key
    return MasterKeys(current, following, others, following_in_folder=in_folder)


def in_environment(environment: Mapping[str, str] | None = None) -> bool:
    """True where the current key comes from the environment, so that nothing in the folder is touched."""
    return bool((os.environ if environment is None else environment).get(ENVIRONMENT_NAME, "").strip())


def draft_next(data_folder: Path, environment: Mapping[str, str] | None = None) -> MasterKeys:
    """Make the next key in the folder unless there is one; what is known then.

    Raises ConfigurationFailure where the keys come from the environment and the next one is not there.
    """
    keys = load_master_keys(data_folder, wrapped_keys_exist=True, environment=environment)
    if keys.following is not None:
        return keys
    if in_environment(environment):
        raise ConfigurationFailure(
            f"The master key comes from {ENVIRONMENT_NAME}, and the next one is not given.",
            remedy=f"Make one (`isthmus vault new-key`), set it as {NEXT_NAME} for every server and worker beside the "
            "present one, restart them one by one, then run this again.",
        )
    create_key_file(data_folder / NEXT_FILE_NAME)
    return load_master_keys(data_folder, wrapped_keys_exist=True, environment=environment)


def adopt_next(data_folder: Path) -> Path | None:
    """Make the next key of the folder the current one; where the earlier one lies now. Safe to be killed and repeated.

    At every moment both keys lie in the folder, and `master.key` is one of them.
    """
    current, following = data_folder / FILE_NAME, data_folder / NEXT_FILE_NAME
    if not following.exists():
        return None
    before = read_key_file(current)
    kept = data_folder / f"{_OLD_FILE}{before.id.hex()}"
    if before.id != read_key_file(following).id and not kept.exists():
        kept.hardlink_to(current)
    following.replace(current)
    sync_folder(data_folder)
    return kept if kept.exists() else None


def new_key_text() -> str:
    """A new master key as it is written into a variable: 32 random bytes in base64."""
    return base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode()
