"""References to what must not stand in a file: `${NAME}` is an environment variable, `file:PATH` a file's text."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

SECRET_BYTES_MAX: Final = 64 * 1024
"""A certificate with its chain fits."""

_NAME: Final = re.compile(r"\$\{([^}]*)\}")
_GOOD_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")


class Unresolved(Exception):
    """A reference that leads nowhere. `remedy` says how to give it a value."""

    def __init__(self, message: str, remedy: str) -> None:
        self.message = message
        self.remedy = remedy
        super().__init__(message)


class Surroundings:
    """Where references lead: the environment's variables, and files next to the configuration file.

    With `lenient`, variables that are not set and files that are not there are noted instead of refused: the text of a
    file can be checked where its secrets are not.
    """

    def __init__(self, environ: Mapping[str, str], folder: Path, *, lenient: bool = False) -> None:
        self._environ = environ
        self._folder = folder
        self._lenient = lenient
        self.missing: list[str] = []

    def filled_in(self, text: str) -> str:
        """The text with every `${NAME}` replaced; `$${` is a literal `${`. Raises Unresolved."""
        literal = text.replace("$${", "\0")
        return _NAME.sub(lambda found: self._variable(found[1]), literal).replace("\0", "${")

    def secret(self, text: str) -> str:
        """What a reference leads to. Raises Unresolved; call it only with what `is_reference` accepts."""
        if text.startswith("file:"):
            return self._file(text.removeprefix("file:"))
        return self._variable(text[2:-1])

    def _variable(self, name: str) -> str:
        if not _GOOD_NAME.fullmatch(name):
            raise Unresolved(
                f"“${{{name[:40]}}}” names no variable.", "Write ${NAME} with letters, digits and underscores."
            )
        value = self._environ.get(name, "")
        if not value:
            if self._lenient:
                self.missing.append(name)
                return f"${{{name}}}"
            raise Unresolved(f"The variable {name} is not set.", f"Set it where the command runs: export {name}=…")
        return value

    def _file(self, path: str) -> str:
        place = self._folder / path.strip()
        try:
            with place.open("rb") as file:
                content = file.read(SECRET_BYTES_MAX + 1)
            if len(content) > SECRET_BYTES_MAX:
                raise Unresolved(f"{place} is larger than {SECRET_BYTES_MAX // 1024} KiB.", "Name the secret's file.")
            text = content.decode().rstrip("\r\n")
        except OSError as error:
            if self._lenient:
                self.missing.append(f"file:{path.strip()}")
                return text_of_reference(path)
            raise Unresolved(
                f"{place} cannot be read ({error.strerror}).", "Create the file, readable for this user."
            ) from error
        except UnicodeDecodeError as error:
            raise Unresolved(f"{place} is no text.", "Put the secret's value into it, nothing else.") from error
        if not text:
            raise Unresolved(f"{place} is empty.", "Put the secret's value into it.")
        return text


def text_of_reference(path: str) -> str:
    """What stands for a file's text while it is not there."""
    return f"file:{path.strip()}"


def is_reference(text: str) -> bool:
    """Whether the whole text is one reference."""
    return bool(_NAME.fullmatch(text)) or (text.startswith("file:") and len(text.strip()) > len("file:"))
