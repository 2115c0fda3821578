"""A project as a file: what `isthmus.yaml` asks for, what is there, and the steps from one to the other.

In: the text of a file, the variables of the environment, and the house of one project (`ground.Ground`, which the hub
fits). Out: mistakes with line and column, a plan that people can read, or the plan carried out. Applying twice changes
nothing. Never in here: a secret in the file itself (references only), HTTP, SQL, or the words of one surface.

    text → document (nodes with places) → decoding (values of `shape`) → checking → planning → applying
"""

from __future__ import annotations

from isthmus.configuration.applying import Outcome, apply, serialised
from isthmus.configuration.document import Mistake, Mistaken, Spot
from isthmus.configuration.loading import FILE_NAME, Loaded, load
from isthmus.configuration.new_connections import NewConnections
from isthmus.configuration.planning import Plan, plan
from isthmus.configuration.published import json_schema
from isthmus.configuration.steps import Difference, Shown, Sign, Step

__all__ = [
    "FILE_NAME",
    "Difference",
    "Loaded",
    "Mistake",
    "Mistaken",
    "NewConnections",
    "Outcome",
    "Plan",
    "Shown",
    "Sign",
    "Spot",
    "Step",
    "apply",
    "json_schema",
    "load",
    "plan",
    "serialised",
]
