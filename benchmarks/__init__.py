"""What Isthmus promises to reach, measured: `make bench`, or `python -m benchmarks [--only NAME] [--quick] [--peers]`.

The ratios compare with a **bare loop** (aiohttp and orjson, records dropped) over the same page server in the same run;
both sides take turns in every round, and the medians are compared. The page server and the sandbox are processes of
their own on 127.0.0.1.

- `throughput`: first load, re-run and Parquet through the product's own road (`road.py`: all of it but TLS and sign-in)
- `latency`: the same reader when every page takes 50 ms
- `scale`: memory of a worker process and cost per record for tables of 10⁵ to 10⁶ records
- `limits`: one and two worker processes against a sandbox that enforces the vendor's limits
- `startup`: how long `isthmus --help` takes
- `first_load.py`, `parquet.py`: closer looks at the store and at the Parquet writer, run by themselves

Figures depend on what else the machine is doing: the load average stands in every result.
"""
