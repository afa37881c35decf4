"""Copying what a job has made to where its owner wants it; done again, nothing comes twice."""

from __future__ import annotations

import itertools
from pathlib import Path

from holdfast.comfyui.outputs import prepare_folder, safe_name
from holdfast.errors import BadInputError
from holdfast.stores.blobs import BlobStore
from holdfast.stores.jobs import JobStore

_TRIES = 10_000


def export_job(
    store: JobStore, blobs: BlobStore, job_id: str, folder: Path | None = None
) -> list[Path]:
    """Copy the saved files of a delivered job.

    Args:
        store: where the job is.
        blobs: where its files are.
        job_id: which job.
        folder: where to; None: where the job itself says, if it does.

    Returns:
        Where they lie now, those too that were there already.

    Raises:
        BadInputError: the folder cannot be written, or a content is missing.
    """
    outcome = store.outcome(job_id) or {}
    export = (store.body(job_id) or {}).get("export")
    if folder is None:
        if not isinstance(export, dict) or not isinstance(export.get("folder"), str):
            return []
        folder = Path(export["folder"])
    target = prepare_folder(folder)
    names = outcome.get("names")
    listed = names if isinstance(names, list) else []
    found: list[Path] = []
    saved = store.files(job_id)
    if any(each.type == "output" for each in saved):
        saved = [each for each in saved if each.type == "output"]
    for file in saved:
        own = listed[file.position] if file.position < len(listed) else file.filename
        found.append(_copy(blobs, file.sha256, target, str(own)))
    return found


def _copy(blobs: BlobStore, sha256: str, folder: Path, name: str) -> Path:
    stem, dot, suffix = name.rpartition(".")
    plain = safe_name(stem if dot else name)
    end = f".{safe_name(suffix, 10)}" if dot else ""
    for number in itertools.count(1):
        target = folder / (f"{plain}{end}" if number == 1 else f"{plain}-{number}{end}")
        try:
            blobs.export(sha256, target)
        except FileExistsError:
            if number > _TRIES:
                raise BadInputError(f"folder {str(folder)!r} is full of files {plain!r}") from None
            continue
        except FileNotFoundError:
            raise BadInputError(
                f"the content {sha256[:12]}... of {name} is no longer in the store"
            ) from None
        except OSError as error:
            raise BadInputError(
                f"output folder {str(folder)!r}: cannot write there: {error.strerror}"
            ) from None
        return target
    raise AssertionError("never reached")  # pragma: no cover
