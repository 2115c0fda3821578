"""The providers there are: an explicit dictionary, one line each."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from isthmus.kernel.failures import InvalidInput
from isthmus.providers.base import Provider
from isthmus.providers.business_central import BUSINESS_CENTRAL

PROVIDERS: Final[Mapping[str, Provider]] = MappingProxyType({"business_central": BUSINESS_CENTRAL})


def provider_named(name: str) -> Provider:
    """The provider of that name; hyphens and case do not matter. Raises InvalidInput with the names there are."""
    found = PROVIDERS.get(name.strip().lower().replace("-", "_"))
    if found is None:
        raise InvalidInput(f"There is no provider “{name}”.", remedy=f"Use one of: {', '.join(PROVIDERS)}.")
    return found
