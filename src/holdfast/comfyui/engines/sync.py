"""What the engines for plain code have in common: one portal, and the engine behind it."""

from __future__ import annotations

from types import TracebackType
from typing import Any, ClassVar, Generic, Self, TypeVar

from holdfast.comfyui.engines.engine import Engine
from holdfast.comfyui.portal import Portal

E = TypeVar("E", bound=Engine)


class SyncEngine(Generic[E]):
    """An engine that lives in a portal's thread."""

    engine_class: ClassVar[type[Any]]

    def __init__(self, *urls: str, **settings: Any) -> None:
        self.engine: E = self.engine_class(*urls, **settings)
        """The engine itself; its coroutines run in the portal's loop only."""
        self._portal = Portal(type(self).__name__)

    def __enter__(self) -> Self:
        """Start the thread and open the engine in it."""
        self._portal.__enter__()
        try:
            self._portal.call(self.engine.__aenter__)
        except BaseException:
            self._portal.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Take back what was left on servers, as far as they answer, and end the thread."""
        self.close()

    def close(self) -> None:
        """As leaving does. Closing twice does no harm."""
        if not self._portal.is_open:
            return
        try:
            self._portal.call(self.engine.__aexit__, None, None, None)
        finally:
            self._portal.close()
