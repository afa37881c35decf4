"""Whether a failure is of the kind that goes away: what profiles retry.

- The types say so (a refused or lost connection, a timeout), or the HTTP status
  does, or the error is a known library's word for a connection that broke. Of
  these libraries only the names are known here; none is imported.
- A status decides over the type: a 404 is not repeated, whatever carries it.
- A missing file, a forbidden one and their like are `OSError`, too, and are
  never repeated: they are the same in a second.
- A rejection by Holdfast itself is not repeated; see `holdfast.policies.matching`.
"""

from __future__ import annotations

from holdfast.errors import ErrorCategory, RejectedError

PASSING = frozenset({408, 425, 429, 500, 502, 503, 504, 529})
"""HTTP statuses after which the same request may succeed."""
_LASTING = (
    FileNotFoundError,
    FileExistsError,
    IsADirectoryError,
    NotADirectoryError,
    PermissionError,
)
_LIBRARIES = {
    "httpx": {"TransportError"},
    "httpcore": {"NetworkError", "TimeoutException", "RemoteProtocolError"},
    "aiohttp": {"ClientConnectionError", "ClientPayloadError"},
    "urllib3": {"ProtocolError", "TimeoutError"},
    "openai": {"APIConnectionError"},
    "anthropic": {"APIConnectionError"},
}


def transient(error: BaseException) -> bool:
    """Whether repeating the call can help, as far as the error tells."""
    if isinstance(error, RejectedError):
        return False
    status = status_of(error)
    if status is not None:
        return status in PASSING
    if isinstance(error, OSError):
        return not isinstance(error, _LASTING)
    if getattr(error, "category", None) is ErrorCategory.NETWORK:
        return True
    return any(
        kind.__name__ in _LIBRARIES.get(kind.__module__.partition(".")[0], ())
        for kind in type(error).__mro__
    )


def transient_or_memory(error: BaseException) -> bool:
    """The same, or the server ran out of memory: on a shared GPU it comes free again."""
    return (
        transient(error)
        or isinstance(error, MemoryError)
        or getattr(error, "category", None) in (ErrorCategory.MEMORY, ErrorCategory.SYSTEM)
        or type(error).__name__ == "OutOfMemoryError"
    )


def status_of(error: BaseException) -> int | None:
    """The HTTP status an error carries, on itself or on its response; None without one."""
    for holder in (error, getattr(error, "response", None)):
        for name in ("status_code", "status", "code"):
            status = getattr(holder, name, None)
            if isinstance(status, int) and not isinstance(status, bool) and 100 <= status < 600:
                return status
    return None
