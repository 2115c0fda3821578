"""Readers over the small vendor of `numbers_vendor`."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import pytest
from tests.kernel.numbers_vendor import NUMBERS, TARGET, NumbersProvider, Vendor

from isthmus.client.reading import SliceReader
from isthmus.providers.base import Provider, ReadSpec, Slice


@pytest.fixture
def vendor() -> Vendor:
    """Twenty-five numbers, served in pages of any size."""
    return Vendor()


@pytest.fixture
def provider() -> NumbersProvider:
    """How its pages are asked for and read."""
    return NumbersProvider()


@pytest.fixture
def reader(vendor: Vendor, provider: NumbersProvider) -> Callable[..., SliceReader]:
    """Builds a reader of all numbers."""

    def build(
        page_records: int = 10,
        limit: int | None = None,
        remember: Callable[[int], None] | None = None,
        page_records_usual: int | None = None,
    ) -> SliceReader:
        return SliceReader(
            vendor.call,
            cast("Provider", provider),  # reading a slice uses no more of a provider
            TARGET,
            NUMBERS,
            ReadSpec(limit=limit),
            Slice(company_id=None),
            page_records=page_records,
            page_records_usual=page_records_usual,
            remember=remember,
        )

    return build
