"""What all policies are: settings, and one flow that decides and never acts.

Every policy can be used alone as well as in a `Pipeline`: it then becomes a
pipeline of one. Who performs the flows is not known here; `holdfast.pipeline`
puts itself in place when it is imported.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, fields
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, ParamSpec, Protocol, TypeVar, overload

from holdfast.outcome import Outcome
from holdfast.policies.sealed import Sealed

if TYPE_CHECKING:
    from holdfast.policies.call import Call
    from holdfast.policies.effects import Flow, Step

P = ParamSpec("P")
T = TypeVar("T")


class Performer(Protocol):
    """What a pipeline offers; see `holdfast.Pipeline`."""

    def __call__(self, fn: Callable[P, T], /) -> Callable[P, T]:
        """Decorate."""
        ...

    def call(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a sync function."""
        ...

    def execute(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Awaitable[Any]:
        """Call a sync or async function."""
        ...

    def call_outcome(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Outcome[T]:
        """Call a sync function; a failure is returned."""
        ...

    def outcome(
        self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any
    ) -> Awaitable[Outcome[Any]]:
        """Call a sync or async function; a failure is returned."""
        ...


@dataclass(frozen=True, slots=True)
class Bound:
    """The worst that can happen."""

    seconds: float = math.inf
    """How long it can take; infinite without a limit."""
    calls: float = 1
    """How often the protected function can be called."""


class Policy(Sealed):
    """One thing to do about failure."""

    __slots__ = ("_pipeline",)
    _pipeline: Performer
    passes_rejections: ClassVar[bool] = False
    """Whether a rejection from inside goes through this policy unchanged, and at once."""
    idle_on_success: ClassVar[bool] = False
    """Whether it has nothing to do with a call that succeeds at once, and leaves no trace of it."""
    perform_with: ClassVar[Callable[[Policy], Performer]]

    def flow(self, call: Call, inner: Step) -> Flow:
        """Run ``inner`` in the way of this policy, for one call."""
        raise NotImplementedError

    def describe(self) -> str:
        """The policy and its settings in one line, for `Pipeline.explain`."""
        return repr(self)

    def bound(self, inner: Bound) -> Bound:
        """The worst case with this policy around what has the worst case ``inner``."""
        return inner

    def snapshot(self) -> dict[str, Any]:
        """The state, as plain data; empty for a policy that has none."""
        return {}

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Policies that are settings alone can be pickled; one with state belongs to its process.

        Raises:
            TypeError: it has state.
        """
        if not hasattr(self, "__dataclass_fields__"):
            raise TypeError(
                f"a {type(self).__name__} cannot be pickled or copied: its state is shared by all "
                "who use it; make one in each process"
            )
        own: Any = self
        given = {one.name: getattr(own, one.name) for one in fields(own) if one.init}
        return partial(type(self), **given), ()

    def _alone(self) -> Performer:
        try:
            return self._pipeline
        except AttributeError:
            # Policies are frozen; this is a cache, not a setting.
            object.__setattr__(self, "_pipeline", Policy.perform_with(self))
            return self._pipeline

    def __call__(self, fn: Callable[P, T], /) -> Callable[P, T]:
        """Decorate ``fn``, a `def` or an `async def`."""
        return self._alone()(fn)

    def call(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a sync function under this policy alone."""
        return self._alone().call(fn, *args, **kwargs)

    @overload
    def execute(
        self, fn: Callable[..., Awaitable[T]], /, *args: Any, **kwargs: Any
    ) -> Awaitable[T]: ...
    @overload
    def execute(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Awaitable[T]: ...
    def execute(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Awaitable[Any]:
        """Call a sync or async function under this policy alone; await the result."""
        return self._alone().execute(fn, *args, **kwargs)

    def call_outcome(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Outcome[T]:
        """Like `call`, but a failure is returned, not raised."""
        return self._alone().call_outcome(fn, *args, **kwargs)

    @overload
    def outcome(
        self, fn: Callable[..., Awaitable[T]], /, *args: Any, **kwargs: Any
    ) -> Awaitable[Outcome[T]]: ...
    @overload
    def outcome(
        self, fn: Callable[..., T], /, *args: Any, **kwargs: Any
    ) -> Awaitable[Outcome[T]]: ...
    def outcome(
        self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any
    ) -> Awaitable[Outcome[Any]]:
        """Like `execute`, but a failure is returned, not raised."""
        return self._alone().outcome(fn, *args, **kwargs)
