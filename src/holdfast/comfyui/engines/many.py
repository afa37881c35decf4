"""Many wishes at once: bounded, in order, and one failure does not take the others along."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, TypeVar

from holdfast.comfyui.failures import ComfyUIError
from holdfast.errors import BadInputError

T = TypeVar("T")

MOST = 100_000
"""Wishes in one call."""
AT_ONCE = 64
"""Under way together; each server gets one at a time, the others wait for their turn."""


async def make_many(
    make: Callable[..., Awaitable[T]],
    prompts: Iterable[str | Mapping[str, Any]],
    settings: Mapping[str, Any],
) -> list[T | ComfyUIError]:
    """Make one thing for each prompt.

    Raises:
        BadInputError: one of them is wrong; those under way are cancelled.
    """
    calls = [_call(each, settings) for each in _some(prompts)]
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(call: Mapping[str, Any]) -> T | ComfyUIError:
        async with gate:
            try:
                return await make(**call)
            except ComfyUIError as error:
                return error

    tasks = [asyncio.create_task(one(each)) for each in calls]
    try:
        return list(await asyncio.gather(*tasks))
    except BaseException:
        for each in tasks:
            each.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise


def _some(prompts: Iterable[str | Mapping[str, Any]]) -> list[str | Mapping[str, Any]]:
    if isinstance(prompts, str | Mapping):
        raise BadInputError(f"prompts must be several, got one: {prompts!r:.100}; use generate")
    found = list(prompts)
    if len(found) > MOST:
        raise BadInputError(f"prompts has {len(found):,} entries; at most {MOST:,} are taken")
    return found


def _call(given: Any, settings: Mapping[str, Any]) -> Mapping[str, Any]:
    if isinstance(given, str):
        return {**settings, "prompt": given}
    if isinstance(given, Mapping) and all(isinstance(key, str) for key in given):
        return {**settings, **given}
    raise BadInputError(f"prompts has {given!r:.100}; each is a prompt or arguments of generate")
