"""`isthmus demo`: the whole road on one machine, against the sandbox, in under a minute.

sandbox.py    the simulators in a process of their own, and a browser that answers their pages
receiver.py   a webhook receiver that verifies signatures
story.py      what is shown, in order
"""

from __future__ import annotations

from isthmus.cli.demo.story import run_demo

__all__ = ["run_demo"]
