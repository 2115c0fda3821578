"""What the vendors' systems are: one declaration and a handful of pure functions per provider.

In: plain values (target, object, slice, cursor) and responses as bytes. Out: requests, pages, object descriptions and
failures. Must never be in it: I/O, an HTTP client, the store, or an import from one provider to another.
"""
