"""From a file's bytes to a checked configuration: everything that can be told without a database is told here."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from isthmus.configuration.checking import check
from isthmus.configuration.decoding import Decoder, Places
from isthmus.configuration.document import BYTES_MAX, Mistake, Mistaken, Spot, parsed
from isthmus.configuration.references import Surroundings
from isthmus.configuration.shape import Configuration
from isthmus.kernel.failures import InvalidInput

FILE_NAME: Final = "isthmus.yaml"


class Loaded(msgspec.Struct, frozen=True, kw_only=True):
    """A configuration with its text and the places of everything in it.

    `missing` names the references that lead nowhere here (only of a lenient look).
    """

    name: str
    text: str
    folder: Path
    configuration: Configuration
    places: Places
    missing: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"Loaded({self.name!r})"  # the configuration holds secrets by now

    def refused(self, spot: Spot, message: str, remedy: str, nearest: tuple[str, ...] = ()) -> Mistaken:
        """A mistake that only the project or the vendor can tell, at its place in the file."""
        return Mistaken(self.name, self.text, [Mistake(message=message, remedy=remedy, spot=spot, nearest=nearest)])


def load(file: Path, environ: Mapping[str, str], *, lenient: bool = False) -> Loaded:
    """Read and check a file. With `lenient`, references need not lead anywhere on this machine.

    Raises Mistaken with every mistake found, InvalidInput when there is no such file.
    """
    try:
        with file.open("rb") as opened:
            content = opened.read(BYTES_MAX + 1)
    except OSError as error:
        raise InvalidInput(
            f"{file}: {error.strerror}.", remedy=f"Create {FILE_NAME}, or name another file.", subject=str(file)
        ) from error
    text, root = parsed(file.name, content)
    surroundings = Surroundings(environ, file.resolve().parent, lenient=lenient)
    decoder = Decoder(surroundings)
    configuration = decoder.decode(root, Configuration)
    if configuration is not None:
        decoder.mistakes += check(configuration, decoder.places)
    if configuration is None or decoder.mistakes:
        raise Mistaken(file.name, text, decoder.mistakes)
    return Loaded(
        name=file.name,
        text=text,
        folder=file.resolve().parent,
        configuration=configuration,
        places=decoder.places,
        missing=tuple(dict.fromkeys(surroundings.missing)),
    )
