"""Writing: one intended write is one operation, which is made once and only once.

In: a wish (`WriteWish`), or up to 1,000 of them. Out: operations, confirmed, failed, uncertain for the time being, or
waiting for a person. The way of an operation is told in `store.operations`; what is safe to repeat is decided here, and
how a lost write is found again belongs to the provider.
"""

from isthmus.actions.writing.proposing import Proposal
from isthmus.actions.writing.settings import BATCH_ROWS_MAX, WriterSettings
from isthmus.actions.writing.uploading import STREAM_BYTES_MAX, DownloadWish, UploadWish
from isthmus.actions.writing.wishes import BatchWish, DryRun, PlannedRequest, WriteWish
from isthmus.actions.writing.writer import Writer
from isthmus.providers.writing import Problem, Under, Verb

__all__ = [
    "BATCH_ROWS_MAX",
    "STREAM_BYTES_MAX",
    "BatchWish",
    "DownloadWish",
    "DryRun",
    "PlannedRequest",
    "Problem",
    "Proposal",
    "Under",
    "UploadWish",
    "Verb",
    "WriteWish",
    "Writer",
    "WriterSettings",
]
