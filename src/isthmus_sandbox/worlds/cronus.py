"""The `cronus` world: two CRONUS companies with linked demo data, an empty one, and a larger one for the demo."""

from __future__ import annotations

from isthmus_sandbox.business_central.service import BusinessCentralService
from isthmus_sandbox.entra.directory import Directory
from isthmus_sandbox.worlds.identities import DemoTenant, add_demo_tenant


def build_cronus(directory: Directory, service: BusinessCentralService) -> None:
    """Fill the demo tenant."""
    add_cronus(directory, service)


def add_cronus(directory: Directory, service: BusinessCentralService) -> DemoTenant:
    """The demo tenant with its data, for worlds that add to it."""
    demo = add_demo_tenant(directory, service)
    return demo
