"""The hosted connect pages: what a host's customer sees when they connect, open to whoever holds the link.

In: a link's token, then a cookie that speaks for one browser in one session. Out: plain HTML that works without
JavaScript, in the host's name and colour. A page asks `connections.desk` for every act. Never in here: vendor
knowledge, SQL, console sessions.
"""

from __future__ import annotations

from isthmus.console.connect.room import create_connect_pages

__all__ = ["create_connect_pages"]
