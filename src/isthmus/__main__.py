"""`python -m isthmus`: the command, where nothing was installed beside the package."""

from __future__ import annotations

import sys

from isthmus.cli import main

if __name__ == "__main__":
    sys.exit(main())
