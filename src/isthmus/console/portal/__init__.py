"""A consumer's own page: their connections in the host's name and colours, open to whoever holds the signed link.

In: a link's token, then a cookie that speaks for this browser. Out: plain HTML that works without JavaScript. It shows
one consumer's connections and nothing of anybody else's; acts go through `connections`. Never in here: vendor
knowledge, SQL, console sessions.
"""

from __future__ import annotations

from isthmus.console.portal.room import create_portal_pages

__all__ = ["create_portal_pages"]
