"""Memory: ask for less at once. Half the batch, or all of it in parts, one after the other."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Generator, Sequence
from itertools import chain
from typing import Any

from holdfast.error_info import ErrorInfo
from holdfast.errors import BadInputError, HoldfastError
from holdfast.pipeline.streams import kind_of
from holdfast.policies import checks
from holdfast.policies.matching import Condition, compile_condition
from holdfast.system.recovery.arguments import value_of, with_value
from holdfast.system.recovery.asking import settle
from holdfast.system.recovery.context import RecoveryContext
from holdfast.system.recovery.strategy import Strategy


class PartsMissingError(HoldfastError):
    """Work was done in parts, and the results do not add up to the whole."""


Join = Callable[[list[Any]], Any]


def join_in_order(results: list[Any]) -> Any:
    """Lists to one list, tuples to one tuple.

    Raises:
        TypeError: they are something else.
    """
    for kind in (list, tuple):
        if all(isinstance(result, kind) for result in results):
            return kind(chain.from_iterable(results))
    kinds = sorted({type(result).__name__ for result in results})
    raise TypeError(f"only lists and tuples can be joined, got {', '.join(kinds)}: give join=")


class ShrinkBatch(Strategy):
    """Halve the batch argument of the retry, or split its work.

    The argument is a number, or a list or tuple of things to work on. Halving a number gives
    less than was asked for, and is marked so. Splitting gives all of it: the retry makes one call
    for each part, joins the results in order, and fails if they do not add up.
    """

    name = "shrink batch"
    shared = False
    cooldown = 0.0

    def __init__(
        self,
        argument: str = "batch_size",
        *,
        minimum: int = 1,
        split: bool = False,
        join: Join = join_in_order,
        count: Callable[[Any], int] | None = len,
        smaller_on: Condition = MemoryError,
        name: str | None = None,
    ) -> None:
        """Set what to shrink.

        Args:
            argument: of the call.
            minimum: the smallest batch that makes sense.
            split: do all of the work, in parts. A list can only be split.
            join: makes one result of the parts' results, in order.
            count: how many results there are in one part's result, to see that none is missing;
                None: cannot be told, so only that each part was done is known.
            smaller_on: failures of a part after which that part is split once more.
            name: default "shrink batch".

        Raises:
            BadInputError: naming the setting, its value and what is right.
        """
        super().__init__(name=name)
        checks.label("argument", argument)
        checks.whole("minimum", minimum, at_least=1)
        checks.flag("split", split)
        if not callable(join):
            raise BadInputError(f"join must be a function, got {join!r:.100}")
        checks.hook("count", count)
        self.argument, self.minimum, self.split = argument, minimum, split
        self.join, self.count = join, count
        self._smaller = compile_condition("smaller_on", smaller_on)

    def applies(self, error: ErrorInfo, context: RecoveryContext) -> bool:  # noqa: ARG002
        """Whether the batch can be halved without going below the minimum."""
        value = value_of(context, self.argument)
        if self.split and context.operation is None:
            return False
        if not self.split and not _is_number(value):
            return False
        size = size_of(value)
        return size is not None and size // 2 >= self.minimum

    def apply(self, error: ErrorInfo, context: RecoveryContext) -> None:  # noqa: ARG002
        """Change the retry."""
        value = value_of(context, self.argument)
        if not self.split:
            half = value // 2
            context.use_arguments(*with_value(context, self.argument, half))
            context.degrade(f"{self.argument} {value} -> {half}: less at once than was asked for")
            return
        work = _Work(self, context)
        context.use_call(work.call())
        parts = halves(value)
        sizes = " + ".join(str(size_of(part)) for part in parts)
        context.scratch[self] = parts
        context.note(f"{self.argument}: {size_of(value)} as {sizes}, one after the other")

    def verify(self, error: ErrorInfo, context: RecoveryContext) -> bool:  # noqa: ARG002
        """Whether the retry asks for less at once, and in all for what it should."""
        value = value_of(context, self.argument)
        if not self.split:
            twin = context.branch(may_change=False)
            if context.changes.arguments is None:
                return False
            twin.args, twin.kwargs = context.changes.arguments
            asked = value_of(twin, self.argument)
            return bool(self.minimum <= asked < value)
        sizes = [size_of(part) or 0 for part in context.scratch.pop(self)]
        whole = size_of(value) or 0
        return sum(sizes) == whole and all(self.minimum <= size < whole for size in sizes)


class _Work:
    """One call, made in parts."""

    __slots__ = ("context", "fn", "strategy")

    def __init__(self, strategy: ShrinkBatch, context: RecoveryContext) -> None:
        self.strategy = strategy
        # Of the failed call without its exception, which ends with the recovery.
        self.context = context.branch(may_change=False)
        self.context.close()
        self.fn: Callable[..., Any] = context.operation or _nothing

    def call(self) -> Callable[..., Any]:
        """What the retry calls: async if the work is."""

        def in_parts(*args: Any, **kwargs: Any) -> Any | Awaitable[Any]:
            return settle(self._steps(args, kwargs))

        async def in_parts_async(*args: Any, **kwargs: Any) -> Any:
            done = settle(self._steps(args, kwargs))
            return await done if hasattr(done, "__await__") else done

        return in_parts_async if kind_of(self.fn) == "async" else in_parts

    def _steps(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Generator[Any, Any, Any]:
        strategy = self.strategy
        given = self.context.branch(may_change=False)
        given.args, given.kwargs = args, kwargs
        value = value_of(given, strategy.argument)
        todo = deque(halves(value))
        results: list[Any] = []
        while todo:
            part = todo.popleft()
            part_args, part_kwargs = with_value(given, strategy.argument, part)
            size = size_of(part) or 0
            try:
                result = yield self.fn(*part_args, **part_kwargs)
            except Exception as error:
                if size // 2 < strategy.minimum or not strategy._smaller(error):  # noqa: SLF001
                    raise
                todo.extendleft(reversed(halves(part)))
                continue
            self._check(result, size)
            results.append(result)
        return strategy.join(results)

    def _check(self, result: Any, size: int) -> None:
        if self.strategy.count is None:
            return
        there = self.strategy.count(result)
        if there != size:
            raise PartsMissingError(
                f"a part of {size} gave {there} results; the whole would be incomplete"
            )


def size_of(value: Any) -> int | None:
    """How many a batch argument asks for; None if it is no batch."""
    if _is_number(value):
        return int(value)
    return len(value) if isinstance(value, list | tuple) else None


def halves(value: Any) -> list[Any]:
    """Two batches that make up one, the larger first."""
    if _is_number(value):
        return [value - value // 2, value // 2]
    items: Sequence[Any] = value
    middle = len(items) - len(items) // 2
    return [items[:middle], items[middle:]]


def _is_number(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _nothing() -> None:
    return None
