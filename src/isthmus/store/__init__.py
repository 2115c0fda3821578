"""PostgreSQL: tables, migrations, repositories, bulk loading, row-level security.

In come plain columns and values, out come plain values (`store.rows`). One module per noun, each a few functions that
take an open `Transaction`; what spans transactions or repeats itself takes the `Database`. There must never be a
provider, an HTTP client or a plain-text secret in here.

    embedded → database → projects, grants, connections, syncs, runs, pages, records, sweeps, feed, destinations,
                          schedules, leases
"""
