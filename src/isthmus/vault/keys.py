"""The master key and the project keys wrapped by it."""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import secrets
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from isthmus.kernel.failures import ConfigurationFailure, MasterKeyMissing, SealBroken
from isthmus.vault.envelope import KEY_BYTES, KEY_ID_BYTES, DataKey, Place, key_id_of, open_sealed, seal

ENVIRONMENT_NAME: Final = "ISTHMUS_MASTER_KEY"
FILE_NAME: Final = "master.key"
_OWNER_ONLY: Final = 0o600
_FILE_BYTES_MAX: Final = 1_024


def load_master_key(
    data_folder: Path, *, wrapped_keys_exist: bool, environment: Mapping[str, str] | None = None
) -> DataKey:
    """The master key: from ISTHMUS_MASTER_KEY (32 bytes in base64), else from `master.key` in the data folder.

    A new file is made only when the caller says that the database holds no wrapped key yet; otherwise MasterKeyMissing,
    so that two machines never invent two keys. Two processes that start at once end with the same key.
    """
    text = (os.environ if environment is None else environment).get(ENVIRONMENT_NAME, "").strip()
    if text:
        return decoded(text, ENVIRONMENT_NAME)
    path = data_folder / FILE_NAME
    if not path.exists():
        if wrapped_keys_exist:
            raise MasterKeyMissing
        create_key_file(path)
    return read_key_file(path)


def key_id(key: bytes) -> bytes:
    """A master key's id: the start of its hash, so that every machine names the same key alike."""
    return hashlib.sha256(b"isthmus master key id\0" + key).digest()[:KEY_ID_BYTES]


def wrap(master: DataKey, key: DataKey, project: str) -> bytes:
    """A project's key, sealed with the master key and bound to the project."""
    return seal(master, key.id + key.key, _place(project))


def unwrap(master: DataKey, wrapped: bytes, project: str) -> DataKey:
    """Inverse of `wrap`. Raises MasterKeyMissing when another master key wrapped it."""
    if key_id_of(wrapped) != master.id:
        raise MasterKeyMissing
    plain = open_sealed(master, wrapped, _place(project))
    if len(plain) != KEY_ID_BYTES + KEY_BYTES:
        raise SealBroken
    return DataKey(id=plain[:KEY_ID_BYTES], key=plain[KEY_ID_BYTES:])


def rewrap(old: DataKey, new: DataKey, wrapped: bytes, project: str) -> bytes:
    """The same project key under a new master key (rotation); what it sealed stays as it is."""
    return wrap(new, unwrap(old, wrapped, project), project)


def _place(project: str) -> Place:
    return Place(table="project_keys", column="wrapped", row=project)


def decoded(text: str, source: str) -> DataKey:
    """A key from its base64 text. Raises ConfigurationFailure, which names the source and shows nothing of the text."""
    try:
        key = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != KEY_BYTES:
        raise ConfigurationFailure(
            f"{source} does not hold a master key.",
            remedy="It must be 32 random bytes in base64, for example from `openssl rand -base64 32`.",
        )
    return DataKey(id=key_id(key), key=key)


def create_key_file(path: Path) -> None:
    """Write a new key beside the file and link it into place: whoever comes second keeps the first one's."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _OWNER_ONLY)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(base64.b64encode(secrets.token_bytes(KEY_BYTES)) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        try:
            path.hardlink_to(draft)
        except FileExistsError:
            return
        sync_folder(path.parent)
    finally:
        draft.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """A key that is lost in a power cut would make every secret unreadable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_key_file(path: Path) -> DataKey:
    """The key in a file that is ours and closed to others. Raises ConfigurationFailure."""
    try:
        with path.open("rb") as file:
            _check_owner(path, file.fileno(), os.fstat(file.fileno()))
            text = file.read(_FILE_BYTES_MAX).decode("ascii", errors="replace").strip()
    except OSError as error:
        raise ConfigurationFailure(
            f"{path} cannot be read ({error.strerror}).", remedy="Make it readable for the user that runs isthmus."
        ) from error
    return decoded(text, str(path))


def _check_owner(path: Path, descriptor: int, status: os.stat_result) -> None:
    """Ours and not open to others: repaired when it is ours, refused when it is somebody else's."""
    if not stat.S_ISREG(status.st_mode) or status.st_uid not in (os.geteuid(), 0):
        raise ConfigurationFailure(
            f"{path} belongs to another user.", remedy="Make the user that runs isthmus the owner of the file."
        )
    if status.st_mode & 0o022 and status.st_uid == os.geteuid():
        raise ConfigurationFailure(
            f"{path} can be written by other users, so its key cannot be trusted.",
            remedy=f"Find out who changed it, then run: chmod 600 {path}",
        )
    if status.st_mode & 0o077 and status.st_uid == os.geteuid():
        os.fchmod(descriptor, _OWNER_ONLY)
