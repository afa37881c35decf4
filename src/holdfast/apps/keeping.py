"""Where `holdfast` keeps jobs on disk: one folder with the store and the files."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from holdfast.errors import BadInputError
from holdfast.stores.blobs import BlobStore
from holdfast.stores.jobs import JobState, JobStore, StoredJob, StoreUnavailableError

DATA = "holdfast-data"
PAGE = 1_000
"""Jobs that are read at a time."""
PATIENT_SECONDS = 10.0**7
"""How long all servers may be away: jobs that are kept wait for them, and nothing is lost by it."""


@dataclass(frozen=True, slots=True)
class Kept:
    """An opened store, with the files beside it."""

    store: JobStore
    blobs: BlobStore
    data: Path


def data_folder(given: Path | None) -> Path:
    """The folder that was named, or that ``$HOLDFAST_DATA`` names, or ``holdfast-data`` here."""
    return given if given is not None else Path(os.environ.get("HOLDFAST_DATA") or DATA)


def open_kept(data: Path, store: str | None, *, make: bool = True, **settings: Any) -> Kept:
    """Open what is kept in a folder.

    Args:
        data: the folder.
        store: where the jobs are, if elsewhere: a path or ``postgresql://...``.
        make: whether one that is not there is made.
        settings: further ones of `JobStore`.

    Raises:
        BadInputError: there is none, or it cannot be used.
    """
    url = store or os.environ.get("HOLDFAST_STORE") or data / "jobs.db"
    if not make and isinstance(url, Path) and not url.is_file():
        raise BadInputError(
            f"no jobs are kept in {str(data)!r}; name the folder with --data, or the store with "
            "--store"
        )
    try:
        return Kept(JobStore(url, **settings), BlobStore(data / "files"), data)
    except StoreUnavailableError as error:
        raise BadInputError(str(error)) from None


def every_job(
    store: JobStore,
    *,
    states: Collection[JobState] | None = None,
    order: str | None = None,
    search: str = "",
    newest_first: bool = True,
) -> Iterator[StoredJob]:
    """All jobs that `JobStore.jobs` would list, page by page, never in memory together."""
    last: int | None = None
    while page := store.jobs(
        states=states,
        order=order,
        search=search,
        limit=PAGE,
        before=last,
        newest_first=newest_first,
    ):
        yield from page
        last = page[-1].number
