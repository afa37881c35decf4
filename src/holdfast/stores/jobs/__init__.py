"""Jobs that outlive every process: a queue with leases, stories and files.

Needs the extra ``sql``, and ``postgres`` for PostgreSQL.
"""

from __future__ import annotations

from holdfast.stores.jobs.copying import copy
from holdfast.stores.jobs.records import (
    Claim,
    JobEvent,
    JobFile,
    JobState,
    LeaseLostError,
    NewFile,
    NewJob,
    QueueFullError,
    Renewal,
    StoredJob,
    StoreUnavailableError,
    Submitted,
    Upload,
)
from holdfast.stores.jobs.salvaging import Salvaged, salvage
from holdfast.stores.jobs.settling import FILE_KEY
from holdfast.stores.jobs.store import JobStore

__all__ = [
    "FILE_KEY",
    "Claim",
    "JobEvent",
    "JobFile",
    "JobState",
    "JobStore",
    "LeaseLostError",
    "NewFile",
    "NewJob",
    "QueueFullError",
    "Renewal",
    "Salvaged",
    "StoreUnavailableError",
    "StoredJob",
    "Submitted",
    "Upload",
    "copy",
    "salvage",
]
