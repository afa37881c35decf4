"""Every way in which a model cannot be had, in words.

::

    ModelError                      (a HoldfastError; its category is `model`)
    ├── ModelMissingError           no server has it, and nothing says where to get it
    ├── ModelPlaceError             a name that leads out of the models folder, or none that is safe
    ├── ModelDamagedError           what is there, or came, is not the model it claims to be
    ├── ModelNotSeenError           it lies where it should, and the server does not list it
    └── DownloadError               it could not be fetched
        ├── DownloadRefusedError    it must not be: not https, a private address, too large, a login
        ├── DownloadBrokenError     the connection or the server failed; trying again is right
        └── NoSpaceError            the disk has no room for it

No message holds a token: addresses are shown without what follows their `?`.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from holdfast.comfyui.failures import clip
from holdfast.errors import ErrorCategory, HoldfastError
from holdfast.scrub import scrub


class ModelError(HoldfastError):
    """A model that cannot be had, or used."""

    category = ErrorCategory.MODEL

    def __init__(self, message: str, *, model: str | None = None) -> None:
        super().__init__(clip(scrub(message)))
        self.model = model
        """The model's name as it was asked for, if one is known."""

    def __reduce__(self) -> tuple[Any, ...]:
        # Errors cross process pools; the default forgets arguments given by name.
        return partial(type(self), model=self.model), (str(self),)


class ModelMissingError(ModelError):
    """No server has the model, and nothing says where to get it."""


class ModelPlaceError(ModelError):
    """The name leads out of the models folder, or is none that every system can hold."""


class ModelDamagedError(ModelError):
    """The file is not the model it claims to be: cut off, a web page, of another hash."""


class ModelNotSeenError(ModelError):
    """The file lies where it should, and no server lists it."""


class DownloadError(ModelError):
    """The model could not be fetched."""


class DownloadRefusedError(DownloadError):
    """The model must not be fetched from there, or there it is not to be had."""


class NoSpaceError(DownloadError):
    """The disk has no room for the model."""


class DownloadBrokenError(DownloadError):
    """The way to the model or its server failed; what has come so far is kept."""

    def __init__(
        self, message: str, *, model: str | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(message, model=model)
        self.retry_after = retry_after
        """Seconds the server asked us to wait."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Keep what was given by name."""
        return partial(type(self), model=self.model, retry_after=self.retry_after), (str(self),)
