"""A recovery strategy: the model that a failed call spoke of is repaired, and seen to be whole.

::

    procedure.register(ErrorCategory.MODEL, RepairModel(manager))
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable

from holdfast.comfyui.models.errors import ModelDamagedError
from holdfast.comfyui.models.keeper import ModelManager
from holdfast.comfyui.models.repair import RepairResult
from holdfast.error_info import ErrorInfo
from holdfast.policies import checks
from holdfast.system.recovery import RecoveryContext, Strategy

NameOf = Callable[[ErrorInfo, RecoveryContext], str | None]

_ENDS = r"\.(?:safetensors|sft|gguf|ckpt|pt2?|pth|bin|pkl)"
_QUOTED = re.compile(rf"""(['"`])([^'"`\r\n]{{1,300}}{_ENDS})\1""")
_BARE = re.compile(rf"""[^\s'"`:;,(){{}}\[\]<>|]{{1,300}}{_ENDS}(?![\w.])""")


def named_in_message(error: ErrorInfo, context: RecoveryContext) -> str | None:  # noqa: ARG001
    """The one model file that an error's message names; None if it names none, or several."""
    message = error.error_message[:20_000]
    # Only quotes say where a name with a space in it begins.
    found = {each for _, each in _QUOTED.findall(message)} or set(_BARE.findall(message))
    return found.pop() if len(found) == 1 else None


class RepairModel(Strategy):
    """Look at the model an error is about, put it aside if damaged, and fetch it anew."""

    name = "repair_model"
    timeout = 3_600.0
    cooldown = 60.0

    def __init__(
        self,
        manager: ModelManager,
        *,
        folder: str | None = None,
        name_of: NameOf = named_in_message,
        name: str | None = None,
        timeout: float | None = None,
        cooldown: float | None = None,
    ) -> None:
        """Set whose models.

        Args:
            manager: with a folder, and sources to fetch from.
            folder: the kind of model; None: wherever a file of the name lies.
            name_of: says which model an error is about; by default the one its message names.
            name: default "repair_model".
            timeout: seconds for looking, fetching and checking.
            cooldown: seconds between runs.

        Raises:
            BadInputError: naming the setting, its value and what is right.
        """
        checks.instance("manager", manager, ModelManager, optional=False)
        checks.hook("name_of", name_of)
        super().__init__(name=name, timeout=timeout, cooldown=cooldown)
        self.manager, self.folder, self._name_of = manager, folder, name_of
        self._last: RepairResult | None = None

    def applies(self, error: ErrorInfo, context: RecoveryContext) -> bool:
        """Whether it is known which model the error is about."""
        return self._name_of(error, context) is not None

    async def apply(self, error: ErrorInfo, context: RecoveryContext) -> None:
        """Repair it."""
        name = self._name_of(error, context) or ""
        self._last = None
        result = await self.manager.repair(name, folder=self.folder)
        context.note(result.words)
        self._last = result

    async def verify(self, error: ErrorInfo, context: RecoveryContext) -> bool:  # noqa: ARG002
        """Whether something was wrong, and the file that lies there now is whole."""
        result = self._last
        if result is None or not result.mended or result.check is None:
            return False
        folder, _, name = result.model.partition("/")
        try:
            check = await asyncio.to_thread(self.manager.check, name, folder=folder)
        except ModelDamagedError:  # pragma: no cover - `check` reports, it does not raise this
            return False
        return check.ok
