"""The console: server-rendered pages for the people who run Isthmus. Look and words: DESIGN.md.

In: HTTP requests of signed-in people. Out: HTML, which works without JavaScript; live numbers come as server-sent
events. A page asks `store` for rows and the hub (as the protocol `services.Services`) for acts. Never in here: vendor
knowledge, SQL, the HTTP client, or another surface.
"""

from __future__ import annotations

from isthmus.console.lost import unknown_address
from isthmus.console.room import create_console
from isthmus.console.sign_in import first_administrator_link, invitation_link

__all__ = ["create_console", "first_administrator_link", "invitation_link", "unknown_address"]
