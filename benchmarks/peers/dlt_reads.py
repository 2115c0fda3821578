# mypy: disable-error-code="import-not-found, misc, untyped-decorator"
# Its packages live in the peer's own environment, so here they have no types.
"""The customers through dlt into Parquet files: `python dlt_reads.py URL FOLDER`. Runs in dlt's own environment."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dlt
from dlt.sources.helpers import requests


def main(url: str, folder: str) -> None:
    """Read pages, yield them whole (dlt's own advice), write Parquet."""
    seen = 0

    @dlt.resource(name="customers", primary_key="id", write_disposition="replace")
    def customers() -> Iterator[list[dict[str, Any]]]:
        nonlocal seen
        link: str | None = url
        while link:
            page = requests.get(link).json()
            seen += len(page["value"])
            yield page["value"]
            link = page.get("@odata.nextLink")

    began_s = time.perf_counter()
    pipeline = dlt.pipeline(
        pipeline_name="bench",
        pipelines_dir=str(Path(folder) / "pipelines"),
        destination=dlt.destinations.filesystem(Path(folder).as_uri()),
        dataset_name="bench",
    )
    pipeline.run(customers(), loader_file_format="parquet")
    seconds = time.perf_counter() - began_s
    sys.stdout.write(json.dumps({"records": seen, "seconds": seconds}) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
