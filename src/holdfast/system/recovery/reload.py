"""Models and other resources: load anew, use another one, or fetch what is missing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from holdfast.error_info import ErrorInfo
from holdfast.errors import BadInputError
from holdfast.outcome import describe
from holdfast.policies import checks
from holdfast.system.recovery.context import RecoveryContext
from holdfast.system.recovery.probing import required
from holdfast.system.recovery.resources import ResourceRegistry
from holdfast.system.recovery.strategy import Strategy


class ReloadResource(Strategy):
    """Close a resource, load it anew, and check its health."""

    def __init__(
        self,
        registry: ResourceRegistry,
        resource: str,
        *,
        name: str | None = None,
        timeout: float | None = None,
        cooldown: float | None = None,
    ) -> None:
        """Set which one.

        Args:
            registry: that knows it.
            resource: its name there.
            name: default "reload" and the resource's name.
            timeout: seconds for loading, and again for the check.
            cooldown: seconds between runs.

        Raises:
            BadInputError: naming the setting, its value and what is right.
        """
        checks.instance("registry", registry, ResourceRegistry, optional=False)
        checks.label("resource", resource)
        super().__init__(name=name or f"reload {resource}", timeout=timeout, cooldown=cooldown)
        self.registry, self.resource = registry, resource

    def apply(self, error: ErrorInfo, context: RecoveryContext) -> None:  # noqa: ARG002
        """Close and load."""
        self.registry.reload(self.resource)
        context.note(f"loaded {self.resource} anew")

    def verify(self, error: ErrorInfo, context: RecoveryContext) -> bool:  # noqa: ARG002
        """Whether it is well, and what the calls get."""
        registry, name = self.registry, self.resource
        return registry.in_use(name) == name and registry.healthy(name)


class SwapResource(Strategy):
    """Have another resource stand in, the first of the fallbacks that is well."""

    def __init__(
        self,
        registry: ResourceRegistry,
        resource: str,
        fallbacks: Sequence[str],
        *,
        name: str | None = None,
        timeout: float | None = None,
        cooldown: float | None = None,
    ) -> None:
        """Set what may stand in for what.

        Args:
            registry: that knows them all.
            resource: the name of the one that fails.
            fallbacks: names of others, the best first.
            name: default "swap" and the resource's name.
            timeout: seconds for loading.
            cooldown: seconds between runs.

        Raises:
            BadInputError: naming the setting, its value and what is right.
        """
        checks.instance("registry", registry, ResourceRegistry, optional=False)
        checks.label("resource", resource)
        if isinstance(fallbacks, str) or not fallbacks or resource in fallbacks:
            raise BadInputError(
                f"fallbacks must be a list of other resources, got {fallbacks!r:.100}"
            )
        super().__init__(name=name or f"swap {resource}", timeout=timeout, cooldown=cooldown)
        self.registry, self.resource, self.fallbacks = registry, resource, tuple(fallbacks)

    def apply(self, error: ErrorInfo, context: RecoveryContext) -> None:  # noqa: ARG002
        """Try the fallbacks after the one in use, each with its own check."""
        registry = self.registry
        used = registry.in_use(self.resource)
        # One that already stands in has failed just now.
        after = self.fallbacks.index(used) + 1 if used in self.fallbacks else 0
        reasons = []
        for fallback in self.fallbacks[after:]:
            try:
                registry.get(fallback)
                if context.over:
                    return
                if registry.healthy(fallback):
                    registry.swap(self.resource, fallback)
                    context.note(f"{fallback} stands in for {used}")
                    return
                reasons.append(f"{fallback} is not well")
            except Exception as raised:  # noqa: BLE001  # the next one may load
                reasons.append(f"{fallback}: {describe(raised)}")
        raise LookupError(f"nothing can stand in: {'; '.join(reasons) or 'all have failed'}"[:1000])

    def verify(self, error: ErrorInfo, context: RecoveryContext) -> bool:  # noqa: ARG002
        """Whether what the calls get now is another one, and well."""
        used = self.registry.in_use(self.resource)
        return used in self.fallbacks and self.registry.healthy(used)

    def adjust(self, error: ErrorInfo, context: RecoveryContext) -> None:  # noqa: ARG002
        """Say that the result comes of something else."""
        used = self.registry.in_use(self.resource)
        context.degrade(f"made with {used} in place of {self.resource}")


Step = Callable[[ErrorInfo, RecoveryContext], Any]


class FetchResource(Strategy):
    """Fetch what is missing, a file or a model, and check that it has come whole."""

    name = "fetch"
    timeout = 600.0

    def __init__(
        self,
        fetch: Step,
        check: Callable[[ErrorInfo, RecoveryContext], bool | Awaitable[bool]],
        *,
        applies: Callable[[ErrorInfo, RecoveryContext], bool] | None = None,
        name: str | None = None,
        timeout: float | None = None,
        cooldown: float | None = None,
    ) -> None:
        """Set the functions; each gets the error and the context.

        Args:
            fetch: brings it; sync or async.
            check: answers True if it is there and whole; sync or async.
            applies: whether this error is about something that can be fetched; None: always.
            name: default "fetch".
            timeout: seconds for each of them.
            cooldown: seconds between runs.

        Raises:
            BadInputError: naming the setting, its value and what is right.
        """
        super().__init__(name=name, timeout=timeout, cooldown=cooldown)
        required("fetch", fetch)
        required("check", check)
        checks.hook("applies", applies)
        self.fetch, self.check, self._applies = fetch, check, applies

    def applies(self, error: ErrorInfo, context: RecoveryContext) -> bool:
        """Whether it can be fetched."""
        return self._applies is None or self._applies(error, context)

    def apply(self, error: ErrorInfo, context: RecoveryContext) -> Any:
        """Fetch."""
        return self.fetch(error, context)

    def verify(self, error: ErrorInfo, context: RecoveryContext) -> bool | Awaitable[bool]:
        """Check."""
        return self.check(error, context)
