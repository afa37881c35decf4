"""Files on a Hugging Face hub: found, and their hash known, before a byte is fetched.

`huggingface_hub` knows repositories, revisions, logins and gates; it is asked
where a file is, how large, and which hash it has. The bytes then come the same
way as all others here, so that the same limits and checks hold for them.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from holdfast.comfyui.failures import clip
from holdfast.comfyui.models.errors import (
    DownloadBrokenError,
    DownloadError,
    DownloadRefusedError,
)
from holdfast.comfyui.models.sources import Source, shown_url

HUB = "https://huggingface.co"
_PART = r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}"
_HF = re.compile(rf"(?P<repo>{_PART}/{_PART})(?:@(?P<revision>[\w.%-]{{1,100}}))?/(?P<path>.+)")
_RESOLVE = re.compile(
    rf"/(?P<repo>{_PART}/{_PART})/(?:resolve|blob)/(?P<revision>[^/]{{1,100}})/(?P<path>.+)"
)
_HEX64 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class HubFile:
    """One file in a repository."""

    repo: str
    path: str
    revision: str = "main"


@dataclass(frozen=True, slots=True)
class Found:
    """Where a file is, and what is known of it."""

    url: str
    size: int | None = None
    sha256: str | None = None
    host: str | None = None
    """The hub's own host, where it is not the public one: the user has named it."""
    token: str | None = None
    """The hub's login; for its own host alone."""


def endpoint() -> str:
    """The hub's address: the public one, or what ``HF_ENDPOINT`` says."""
    return os.environ.get("HF_ENDPOINT", "").rstrip("/") or HUB


def hub_file(url: str) -> HubFile | None:
    """What ``hf://owner/repo/path`` or a link to a hub's file means; None: neither of them.

    Raises:
        DownloadRefusedError: it begins with ``hf://``, and does not go on as it must.
    """
    if url.startswith("hf://"):
        found = _HF.fullmatch(url[5:])
        if found is None:
            raise DownloadRefusedError(
                f"{clip(url, 200)} must be written hf://owner/repository@revision/path/of/the/file "
                "(the revision may be left out; a slash in it is written %2F)"
            )
        revision = unquote(found["revision"] or "main")
        return HubFile(found["repo"], unquote(found["path"]), revision)
    parts = urlsplit(url)
    if f"{parts.scheme}://{parts.netloc}" not in (HUB, endpoint()):
        return None
    found = _RESOLVE.fullmatch(unquote(parts.path))
    return HubFile(found["repo"], found["path"], found["revision"]) if found else None


async def locate(source: Source, token: str | None = None, *, seconds: float = 10.0) -> Found:
    """Where a source's bytes are to be had.

    Args:
        source: any; one that is not on a hub is found where it says.
        token: the hub's login; None: the one `huggingface_hub` knows, if any.
        seconds: for the hub to answer.

    Raises:
        DownloadRefusedError: there is no such file, or it wants a login or a consent.
        DownloadBrokenError: the hub cannot be reached.
        DownloadError: `huggingface_hub` is needed, and not installed.
    """
    file = hub_file(source.url)
    if file is None:
        return Found(source.url)
    if importlib.util.find_spec("huggingface_hub") is None:
        if not source.url.startswith("hf://"):
            return Found(source.url)  # an open file can be had without it
        raise DownloadError(f"{source.url} needs huggingface_hub: pip install 'holdfast[models]'")
    return await asyncio.to_thread(_ask, file, source.shown, token, seconds)


def _ask(file: HubFile, shown: str, token: str | None, seconds: float) -> Found:
    import huggingface_hub  # noqa: PLC0415 - an extra, loaded by those who need it
    from huggingface_hub import errors  # noqa: PLC0415

    home = endpoint()
    login = token or huggingface_hub.get_token()
    where = quote(file.revision, safe="")
    url = f"{home}/{file.repo}/resolve/{where}/{quote(file.path)}"
    try:
        said: Any = huggingface_hub.get_hf_file_metadata(
            url, token=login or False, timeout=seconds, endpoint=home
        )
    except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError) as error:
        gated = isinstance(error, errors.GatedRepoError)
        why = "asks for its terms to be accepted on its page" if gated else "is not there"
        raise DownloadRefusedError(
            f"{shown}: {file.repo} at {file.revision} {why}, or wants a login (HF_TOKEN)"
        ) from None
    except errors.EntryNotFoundError:
        raise DownloadRefusedError(f"{shown}: {file.repo} has no file {file.path}") from None
    except Exception as error:  # noqa: BLE001 - of whichever HTTP library it uses today
        status = getattr(getattr(error, "response", None), "status_code", None)
        what = f"HTTP {status}" if status else type(error).__name__
        kind = DownloadRefusedError if status in (400, 401, 403, 404) else DownloadBrokenError
        raise kind(f"{shown}: {shown_url(home)} could not be asked ({what})") from None
    etag = said.etag if isinstance(said.etag, str) else ""
    size = said.size if isinstance(said.size, int) and said.size > 0 else None
    host = urlsplit(home).netloc
    return Found(
        url,
        size,
        etag if _HEX64.fullmatch(etag) else None,
        None if home == HUB else host,
        login or None,
    )
