"""The HTTP API: one module per noun, values in and values out, every refusal a problem with a remedy.

In: requests that carry a project's key. Out: JSON with records verbatim, or `application/problem+json`. Never in here:
a provider, the database driver, an HTTP client, or a rule of the business: those live in the rooms below and are asked
through `services`.
"""

from __future__ import annotations

from isthmus.api.access import Scope
from isthmus.api.application import Api, create_api
from isthmus.api.deprecation import Deprecation, deprecated
from isthmus.api.forwarded import ProxyTrust
from isthmus.api.frame import Frame
from isthmus.api.rates import UNKNOWN, Rate, rate_of

__all__ = [
    "UNKNOWN",
    "Api",
    "Deprecation",
    "Frame",
    "ProxyTrust",
    "Rate",
    "Scope",
    "create_api",
    "deprecated",
    "rate_of",
]
