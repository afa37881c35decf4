"""Settings that stay as they were given, on objects whose state changes.

A policy is checked when it is built, and so is the pipeline around it. A setting
that could be assigned later would escape both.
"""

from __future__ import annotations

from typing import Any, ClassVar


class Sealed:
    """Refuses to assign a setting a second time."""

    __slots__ = ()
    settings: ClassVar[frozenset[str]] = frozenset()
    """The attributes that are settings."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name in self.settings and hasattr(self, name):
            raise AttributeError(
                f"{name} is a setting of this {type(self).__name__} and stays as it was given: "
                "make another one, or reload its configuration"
            )
        object.__setattr__(self, name, value)

    def __delattr__(self, name: str) -> None:
        if name in self.settings:
            raise AttributeError(f"{name} is a setting of this {type(self).__name__} and stays")
        object.__delattr__(self, name)
