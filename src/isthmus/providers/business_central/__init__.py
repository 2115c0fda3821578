"""Business Central as values: a declaration, and pure functions from wishes to requests and from responses to pages.

In: a target, an object, what to read, and the bytes that came back. Out: requests and values. Never in here: I/O,
tokens, the database, a hard-coded list of objects (`data/facts.json` only adds hints to what discovery finds).
Vendor facts carry their id in `reference/business-central/behaviour.md` (BC-..).
"""

from isthmus.providers.business_central.provider import BUSINESS_CENTRAL, BusinessCentralProvider

__all__ = ["BUSINESS_CENTRAL", "BusinessCentralProvider"]
