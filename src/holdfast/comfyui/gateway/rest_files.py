"""The files of jobs over Holdfast's own interface: listed, and given out as downloads."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import Depends, FastAPI, HTTPException, Path
from fastapi.responses import FileResponse

from holdfast.comfyui.gateway.caller import Caller
from holdfast.comfyui.gateway.rest_terms import COMMON, JobId, caller_of_request, need, own_job
from holdfast.comfyui.gateway.safe_types import headers_for
from holdfast.stores.blobs import BlobStore
from holdfast.stores.jobs import JobFile, JobStore

_ANSWERS: dict[int | str, dict[str, Any]] = {
    404: {"description": "There is no such job of yours, or it has no such file."},
    **COMMON,
}
_BYTES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The file.",
        "content": {"*/*": {"schema": {"type": "string", "format": "binary"}}},
    },
    206: {"description": "The part that was asked for."},
    416: {"description": "There is no such part."},
    **_ANSWERS,
}


class Files:
    """Routes of files."""

    def __init__(self, store: JobStore, blobs: BlobStore) -> None:
        self._store, self._blobs = store, blobs

    def add_to(self, app: FastAPI) -> None:
        """Add them to the application."""
        app.get("/jobs/{job_id}/files", responses=_ANSWERS)(self.listed)
        app.get("/jobs/{job_id}/files/{position}", responses=_BYTES, response_class=FileResponse)(
            self.download
        )

    def listed(
        self, job_id: JobId, caller: Annotated[Caller, Depends(caller_of_request)]
    ) -> list[dict[str, Any]]:
        """List the files of a job."""
        need(caller, "view")
        job = own_job(self._store, job_id, caller)
        return [asdict(each) for each in self._store.files(job.id)]

    def download(
        self,
        job_id: JobId,
        position: Annotated[int, Path(ge=0, lt=2**31, description="As in the list.")],
        caller: Annotated[Caller, Depends(caller_of_request)],
    ) -> FileResponse:
        """Download a file of a job."""
        need(caller, "view")
        job = own_job(self._store, job_id, caller)
        file = next((each for each in self._store.files(job.id) if each.position == position), None)
        path = None if file is None else self._blobs.path(file.sha256)
        if file is None or path is None:
            raise HTTPException(404, "there is no such file")
        return FileResponse(path, headers=_headers(file))


def _headers(file: JobFile) -> dict[str, str]:
    headers = headers_for(file.filename)
    name = headers["content-disposition"].removeprefix("attachment; ")
    return {
        **headers,
        "content-disposition": f"attachment; {name}",
        "etag": f'"{file.sha256}"',
        "cache-control": "private, no-cache",
    }
