"""Which Isthmus this is. Rooms below the top take it from here, because the package's own face leads to the library."""

from __future__ import annotations

from typing import Final

VERSION: Final = "0.1.0"
