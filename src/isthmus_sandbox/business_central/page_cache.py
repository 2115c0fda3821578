"""Encoded pages kept by what they depend on, so that a bench measures the client and not this simulator."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable

PAGE_CACHE_BYTES_MAX = 256 * 1024 * 1024


class PageCache:
    """Least recently used pages leave first once the bytes exceed the limit."""

    def __init__(self, bytes_max: int = PAGE_CACHE_BYTES_MAX) -> None:
        self._pages: OrderedDict[Hashable, bytes] = OrderedDict()
        self._bytes = 0
        self._bytes_max = bytes_max

    def get(self, key: Hashable) -> bytes | None:
        """The page of a key, if it is still held."""
        page = self._pages.get(key)
        if page is not None:
            self._pages.move_to_end(key)
        return page

    def put(self, key: Hashable, page: bytes) -> None:
        """Hold a page."""
        if key in self._pages or len(page) > self._bytes_max:
            return
        self._pages[key] = page
        self._bytes += len(page)
        while self._bytes > self._bytes_max:
            _, dropped = self._pages.popitem(last=False)
            self._bytes -= len(dropped)
