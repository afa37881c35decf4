"""Where models can be fetched from: addresses that somebody declared, looked up by model.

A `Source` is one file at one address. `Sources` holds many, and answers for a
folder and a name. Nothing is fetched here, and nothing is searched for on the
net: a model that nobody has declared a source for has none.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from holdfast.comfyui.failures import clip
from holdfast.comfyui.model_inputs import slashed
from holdfast.comfyui.models.errors import ModelPlaceError
from holdfast.comfyui.models.lists import Listed, read_hints, read_model_list
from holdfast.comfyui.models.names import (
    PLAIN_SUFFIXES,
    base_name,
    is_generic,
    safe_folder,
    safe_path,
)
from holdfast.errors import BadInputError

MAX_LIST_BYTES = 32 * 2**20
"""A list of models larger than this is not read; the largest known one has 400 KB."""

_SHA256 = re.compile(r"[0-9a-fA-F]{64}")


@dataclass(frozen=True, slots=True)
class Source:
    """One model file at one address.

    Raises:
        BadInputError: a field is not what it must be; the message says which and what is right.
    """

    url: str
    """``https://...``, or ``hf://owner/repository/path/in/it.safetensors``."""
    name: str = ""
    """Path below its folder; by default the last part of the address."""
    folder: str | None = None
    """Such as ``checkpoints``; None if it is for whichever asks for the name."""
    size: int | None = None
    """Bytes, if known exactly."""
    limit: int | None = None
    """Bytes that it certainly does not exceed; None if nothing is known."""
    sha256: str | None = None
    """In hex, if known."""
    from_workflow: bool = False
    """Whether only a workflow says so: then it may bring no file that can hold code."""

    def __post_init__(self) -> None:
        """Check every field."""
        try:
            parts = urlsplit(self.url)
            path, scheme = unquote(parts.path), parts.scheme
        except (ValueError, AttributeError):
            raise BadInputError(f"url must be an address, got {clip(repr(self.url), 80)}") from None
        if scheme not in {"https", "http", "hf"}:
            raise BadInputError(
                f"url must begin with https:// or hf://, got {clip(repr(self.url), 80)}"
            )
        if parts.username or parts.password:
            raise BadInputError("url must hold no password; give it as tokens={host: token}")
        if self.sha256 is not None and not _SHA256.fullmatch(self.sha256):
            raise BadInputError(f"sha256 must be 64 hexadecimal digits, got {self.sha256!r:.80}")
        for field in ("size", "limit"):
            value = getattr(self, field)
            if value is not None and (not isinstance(value, int) or value < 1):
                raise BadInputError(f"{field} must be a number of bytes above 0, got {value!r:.40}")
        try:
            given = str(safe_path(self.name or path.rpartition("/")[2]))
            if self.folder is not None:
                safe_folder(self.folder)
        except ModelPlaceError as error:
            raise BadInputError(f"name or folder of a source: {error}") from None
        if self.from_workflow and Path(given).suffix.lower() not in PLAIN_SUFFIXES:
            raise BadInputError(
                f"{given!r} can hold code, and only the workflow says where it comes from; "
                "declare it yourself, or use a .safetensors file"
            )
        object.__setattr__(self, "name", given)
        object.__setattr__(self, "sha256", self.sha256 and self.sha256.lower())

    @property
    def shown(self) -> str:
        """The address without what may be secret in it."""
        return shown_url(self.url)


def shown_url(url: str) -> str:
    """An address without login, query and fragment: those hold tokens and signatures."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return "an address that cannot be read"
    return clip(f"{parts.scheme}://{host}{port}{parts.path}", 300)


SourceLike = str | Source | Mapping[str, Any] | Path | Iterable[Any]


class Sources:
    """Many sources, looked up by folder and name. A value: nothing changes it."""

    def __init__(self, sources: Iterable[Source] = ()) -> None:
        self._all = tuple(dict.fromkeys(sources))
        self._by_base: dict[str, list[Source]] = {}
        for each in self._all:
            self._by_base.setdefault(base_name(each.name).casefold(), []).append(each)

    @classmethod
    def of(cls, given: SourceLike | Sources | None) -> Sources:
        """Sources, whichever way they are given.

        Args:
            given: a `Source`; an address; ``{model name: address or Source}``; a parsed model
                list in ComfyUI-Manager's format, or the path of a file of one; a workflow in the
                web page's format, which may say where its models come from; or a list of these.

        Raises:
            BadInputError: it is none of these, or an address or name in it is wrong.
        """
        return given if isinstance(given, Sources) else cls(_read(given))

    def __len__(self) -> int:
        """How many there are."""
        return len(self._all)

    def __add__(self, other: Sources) -> Sources:
        """These first, then the others."""
        return Sources((*self._all, *other._all))

    def find(self, name: str, folder: str | None = None) -> Source | None:
        """Where a model can be fetched from, to be put where it was asked for.

        One whose path below the folder is the very one comes first; then one with the file's
        name, if it is the only one and says which model it is.

        Args:
            name: as a workflow has it.
            folder: None if any will do.
        """
        wanted = slashed(name).casefold()
        fitting = [
            each
            for each in self._by_base.get(base_name(name).casefold(), ())
            if folder is None or each.folder in {None, folder}
        ]
        exact = [each for each in fitting if each.name.casefold() == wanted]
        if exact:
            return exact[0]
        urls = {each.url for each in fitting}
        if len(urls) == 1 and not is_generic(name):
            return fitting[0]
        return None


def _read(given: Any) -> list[Source]:
    if given is None:
        return []
    if isinstance(given, Source):
        return [given]
    if isinstance(given, str | Path):
        if isinstance(given, str) and "://" in given:
            return [Source(given)]
        return _read_mapping(_load(Path(given)))
    if isinstance(given, Mapping):
        return _read_mapping(given)
    if isinstance(given, Iterable) and not isinstance(given, bytes):
        return [source for each in given for source in _read(each)]
    raise BadInputError(
        f"sources must be addresses, a model list or a mapping of names to addresses, "
        f"got {given!r:.100}"
    )


def _read_mapping(given: Mapping[str, Any]) -> list[Source]:
    if isinstance(given.get("nodes"), list):
        return _made(read_hints(given), from_workflow=True)
    if isinstance(given.get("models"), list):
        return _made(read_model_list(given), from_workflow=False)
    return [_named(name, each) for name, each in given.items()]


def _named(name: Any, given: Any) -> Source:
    if isinstance(given, Source):
        return replace(given, name=str(name))
    if not isinstance(given, str):
        raise BadInputError(f"sources[{name!r:.80}] must be an address, got {given!r:.80}")
    return Source(given, str(name))


def _made(listed: Iterable[Listed], *, from_workflow: bool) -> list[Source]:
    # Lists and workflows come from strangers: an entry that is no safe file is left out.
    found = []
    for each in listed:
        try:
            found.append(
                Source(
                    each.url,
                    each.name,
                    each.folder,
                    limit=each.limit,
                    sha256=each.sha256,
                    from_workflow=from_workflow,
                )
            )
        except BadInputError:
            continue
    return found


def _load(path: Path) -> Any:
    try:
        if path.stat().st_size > MAX_LIST_BYTES:
            raise BadInputError(f"{path}: too large for a list of models")
        loaded = json.loads(path.read_bytes())
    except OSError as error:
        reason = error.strerror or str(error)
        raise BadInputError(f"{path}: cannot read the list of models: {reason}") from None
    except (ValueError, RecursionError) as error:
        raise BadInputError(f"{path}: not JSON: {clip(str(error), 200)}") from None
    if not isinstance(loaded, Mapping):
        raise BadInputError(f'{path}: a list of models is an object with "models"')
    return loaded
