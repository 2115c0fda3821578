"""Where changes go: signed webhooks, files, and exports of whole objects.

In: changes of the feed, in order, from the store; pages of records, raw. Out: signed deliveries at least once, ordered
per record (docs/explanation/delivery-contract.md), JSONL segments, and Parquet, JSONL, CSV or DuckDB files. Never in
here: SQL, an HTTP client, a provider, or a number that went through a float.
"""
