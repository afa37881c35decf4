"""Named things that are expensive to make and can go bad: models, sessions, sockets, handles.

Each is loaded when it is first asked for, by one caller for all; its lock is held while it is
loaded, and no other resource waits for that.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

from holdfast.errors import BadInputError
from holdfast.outcome import describe
from holdfast.pipeline.streams import kind_of
from holdfast.policies import checks

logger = logging.getLogger("holdfast.recovery")

_EMPTY: Any = object()


class _Resource:
    __slots__ = ("check", "close", "load", "loads", "lock", "value")

    def __init__(
        self,
        load: Callable[[], Any],
        close: Callable[[Any], object] | None,
        check: Callable[[Any], bool] | None,
    ) -> None:
        self.load, self.close, self.check = load, close, check
        self.value = _EMPTY
        self.loads = 0
        self.lock = threading.RLock()


class ResourceRegistry:
    """Resources by name. Safe across threads; all functions given to it are sync."""

    def __init__(self, max_resources: int = 1_000) -> None:
        """Start empty.

        Args:
            max_resources: names at most.

        Raises:
            BadInputError: ``max_resources`` is no whole number of at least 1.
        """
        checks.whole("max_resources", max_resources, at_least=1)
        self._most = max_resources
        self._resources: dict[str, _Resource] = {}
        self._stands_in: dict[str, str] = {}
        self._lock = threading.Lock()

    def register(
        self,
        name: str,
        load: Callable[[], Any],
        *,
        close: Callable[[Any], object] | None = None,
        check: Callable[[Any], bool] | None = None,
    ) -> None:
        """Say how a resource is made; it is not made yet.

        Args:
            name: not used before.
            load: makes it.
            close: gets rid of it.
            check: answers True if it is well. Without it, nothing can be verified, and so no
                recovery of it is ever claimed.

        Raises:
            BadInputError: naming the argument, its value and what is right.
        """
        checks.label("name", name)
        for field, value in (("load", load), ("close", close), ("check", check)):
            if (field == "load" or value is not None) and (
                not callable(value) or kind_of(value) != "sync"
            ):
                raise BadInputError(f"{field} must be a plain function, got {value!r:.100}")
        with self._lock:
            if name in self._resources:
                raise BadInputError(f"name must be new, and there is a resource {name!r} already")
            if len(self._resources) >= self._most:
                raise BadInputError(f"{self._most} resources are registered; there is no room")
            self._resources[name] = _Resource(load, close, check)

    def get(self, name: str) -> Any:
        """The resource, or what stands in for it; loaded if need be.

        Raises:
            BadInputError: it is not registered.
            Exception: what its loader raised.
        """
        with self._lock:
            used = self._stands_in.get(name, name)
        resource = self._find(used)
        with resource.lock:
            if resource.value is _EMPTY:
                self._load(resource)
            return resource.value

    def healthy(self, name: str) -> bool:
        """Whether the resource itself is loaded and its check answers True."""
        resource = self._find(name)
        with resource.lock:
            if resource.check is None or resource.value is _EMPTY:
                return False
            return resource.check(resource.value) is True

    def reload(self, name: str) -> None:
        """Close the resource and load it anew; the old one goes first, to make room.

        Raises:
            BadInputError: it is not registered.
            Exception: what its loader raised; it is then loaded at the next `get`.
        """
        resource = self._find(name)
        with resource.lock:
            self._close(name, resource)
            self._load(resource)

    def swap(self, name: str, other: str) -> None:
        """Have `get` of ``name`` give ``other`` until `restore`; loads neither and closes ``name``.

        Raises:
            BadInputError: one of them is not registered, or they are the same.
        """
        resource = self._find(name)
        self._find(other)
        if other == name:
            raise BadInputError(f"other must be another resource, got {other!r}")
        with self._lock:
            self._stands_in[name] = other
        with resource.lock:
            self._close(name, resource)

    def restore(self, name: str) -> bool:
        """Let `get` give the resource itself again; False if nothing stood in for it."""
        self._find(name)
        with self._lock:
            return self._stands_in.pop(name, None) is not None

    def in_use(self, name: str) -> str:
        """The name of what `get` gives."""
        self._find(name)
        with self._lock:
            return self._stands_in.get(name, name)

    def close(self) -> None:
        """Close all that is loaded."""
        with self._lock:
            everything = list(self._resources.items())
        for name, resource in everything:
            with resource.lock:
                self._close(name, resource)

    def snapshot(self) -> dict[str, dict[str, Any]]:
        """By name: whether it is loaded, how often it was, and what stands in for it."""
        with self._lock:
            return {
                name: {
                    "loaded": resource.value is not _EMPTY,
                    "loads": resource.loads,
                    "stands_in": self._stands_in.get(name),
                }
                for name, resource in self._resources.items()
            }

    def _find(self, name: str) -> _Resource:
        with self._lock:
            resource = self._resources.get(name)
            known = list(self._resources)
        if resource is None:
            raise BadInputError(
                f"name must be that of a resource ({', '.join(known)[:200] or 'there is none'}), "
                f"got {name!r:.100}"
            )
        return resource

    def _load(self, resource: _Resource) -> None:
        resource.value = resource.load()
        resource.loads += 1

    def _close(self, name: str, resource: _Resource) -> None:
        value, resource.value = resource.value, _EMPTY
        if value is _EMPTY or resource.close is None:
            return
        try:
            resource.close(value)
        except Exception as error:  # noqa: BLE001  # what is bad often cannot be closed well
            logger.warning("resource %s did not close: %s", name, describe(error))
