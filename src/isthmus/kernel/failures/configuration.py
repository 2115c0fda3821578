"""Isthmus itself is set up wrongly: failures that whoever runs it ends."""

from __future__ import annotations

from isthmus.kernel.failures.base import Failure, Turn


class ConfigurationFailure(Failure):
    """Isthmus is set up wrongly."""

    code, turn = "configuration", Turn.YOU
    message_default = "Isthmus is not set up correctly."
    remedy_default = "Correct what the message names; the server's log tells more."


class MasterKeyMissing(ConfigurationFailure):
    """The database holds wrapped keys, but the master key that opens them is not here."""

    code = "master_key_missing"
    message_default = "This database was encrypted with a master key that is not on this machine."
    remedy_default = (
        "Copy master.key from the machine that created the database into the data folder, or set ISTHMUS_MASTER_KEY."
    )


class SealBroken(ConfigurationFailure):
    """A sealed value that does not open: another key, another row, or damage."""

    code = "seal_broken"
    message_default = "A stored secret cannot be opened."
    remedy_default = (
        "It was written with another key or moved between rows. Enter the secret again, or restore the backup together "
        "with its master key."
    )


class DatabaseUnavailable(ConfigurationFailure):
    """PostgreSQL cannot be reached."""

    code, retryable = "database_unavailable", True
    message_default = "The database does not answer."
    remedy_default = "Check that PostgreSQL runs and that ISTHMUS_DATABASE_URL is right. Work resumes by itself."


class InvalidInput(ConfigurationFailure):
    """What was typed cannot be used."""

    code = "invalid_input"
    message_default = "The input cannot be used."
    remedy_default = "Correct the input and try again."
