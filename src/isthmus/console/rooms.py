"""The rail: the rooms that exist. Flows and Expenses join it with their pages; an empty door helps nobody."""

from __future__ import annotations

from typing import Final

import msgspec


class Room(msgspec.Struct, frozen=True):
    """An entry of the rail. `within` are the addresses that belong to the room."""

    title: str
    path: str
    icon: str
    within: tuple[str, ...]

    def holds(self, path: str) -> bool:
        """True when a page of this address belongs to the room."""
        if self.path == "/console":
            return path.rstrip("/") == "/console"
        return any(path == each or path.startswith(each + "/") for each in self.within)


ROOMS: Final = (
    Room("Home", "/console", "home", ()),
    Room("Apps", "/console/apps", "apps", ("/console/apps",)),
    Room("Connections", "/console/connections", "connections", ("/console/connections", "/console/syncs")),
    Room("Data", "/console/data", "data", ("/console/data", "/console/changes")),
    Room("Writes", "/console/writes", "edit", ("/console/writes",)),
    Room("Deliveries", "/console/deliveries", "deliveries", ("/console/deliveries",)),
    Room("Activity", "/console/activity", "activity", ("/console/activity", "/console/runs")),
    Room("Settings", "/console/settings", "settings", ("/console/settings",)),
)
