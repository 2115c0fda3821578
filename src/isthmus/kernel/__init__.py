"""The few plain values that every room speaks: messages, failures, limits, ids, cursors, time.

Pure: no I/O, no HTTP client, no driver, nothing that knows a provider.
"""
