"""The Microsoft Entra simulator: three clouds over one directory.

In: what an OAuth client sends to `login.microsoftonline.com` and its national siblings. Out: what Entra would answer,
with the errors of `data/entra-errors.json` (`reference/oauth/behaviour.md` sections 3 to 5 and 8).

Must never be in it: an import of `isthmus`, or anything about a resource's own data.
"""

from __future__ import annotations

from isthmus_sandbox.entra.directory import Directory
from isthmus_sandbox.entra.records import BUSINESS_CENTRAL_RESOURCE, CLOUDS, Cloud

__all__ = ["BUSINESS_CENTRAL_RESOURCE", "CLOUDS", "Cloud", "Directory"]
