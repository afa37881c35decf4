"""What the engines for plain code have in common: one portal, and the engine behind it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any, ClassVar, Generic, Self, TypeVar

from holdfast.comfyui.engines.engine import Engine
from holdfast.comfyui.failures import ComfyUIError
from holdfast.comfyui.portal import Portal

R = TypeVar("R")


class SyncEngine(Generic[R]):
    """An engine that lives in a portal's thread."""

    engine_class: ClassVar[type[Engine[Any]]]

    def __init__(self, *urls: str, **settings: Any) -> None:
        self.engine: Engine[R] = self.engine_class(*urls, **settings)
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

    def generate(self, prompt: str, **settings: Any) -> R:
        """As the engine's own `generate`. Ctrl-C takes the job back from its server."""
        return self._portal.call(self.engine.generate, prompt, **settings)

    def generate_many(
        self, prompts: Iterable[str | Mapping[str, Any]], **settings: Any
    ) -> list[R | ComfyUIError]:
        """As the engine's own `generate_many`."""
        return self._portal.call(self.engine.generate_many, prompts, **settings)

    def close(self) -> None:
        """As leaving does. Closing twice does no harm."""
        if not self._portal.is_open:
            return
        try:
            self._portal.call(self.engine.__aexit__, None, None, None)
        finally:
            self._portal.close()
