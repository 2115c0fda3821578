"""A whole object into one file, page by page: Parquet, JSONL, CSV or DuckDB by the file's suffix.

In: an asynchronous iterator of pages with raw records, and the object's fields. Out: one complete file, or none. Values
are typed on the way (money exact, blanks null) except in JSONL, which keeps the vendor's bytes.
"""

from isthmus.delivery.export.entry import check_destination, export_pages
from isthmus.delivery.export.shapes import CompanyPage, ExportOptions, ExportReport

__all__ = ["CompanyPage", "ExportOptions", "ExportReport", "check_destination", "export_pages"]
