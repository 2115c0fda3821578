"""The life of a connection: credentials kept sealed, tokens renewed once for all processes, discovery, health.

In: what a person typed or accepted. Out: an `OpenConnection` that `actions` reads through, or a failure that says whose
turn it is. Never in here: reading or writing records, schedules, surfaces.
"""
