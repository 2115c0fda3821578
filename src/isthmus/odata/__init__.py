"""OData v4 as text ↔ values: literals, filters, keys, queries, `$metadata`, pages, links, `$batch`, ETags, names.

In: what a person or another room wants to ask, and the bytes a vendor answered. Out: URL text, and values. Pure: no
I/O, no HTTP client, and nothing that knows a provider: where vendors differ, the difference is data.
"""
