"""Three ways to a picture: the big model, the small one, a stored one."""

from __future__ import annotations

import asyncio

from holdfast import FallbackChain, FallbackChainExhaustedError


async def big_model(prompt: str) -> str:
    if not prompt:
        raise ValueError("an empty prompt")
    raise MemoryError("24 GB needed")


async def small_model(prompt: str) -> str:
    await asyncio.sleep(5)  # stalled
    return f"small picture of {prompt}"


def stored(prompt: str) -> str:
    return f"stored picture of {prompt}"


async def main() -> None:
    chain = FallbackChain("picture", stop_on=ValueError)
    chain.add_fallback(big_model, {"circuit_breaker": {"failure_threshold": 2, "timeout": 30}})
    chain.add_fallback(small_model, {"timeout": 0.1})
    chain.add_fallback(stored)

    for _ in range(3):
        outcome = await chain.outcome("a cat")
        print(outcome.value, "after", outcome.attempts, "calls")
    for name, told in chain.get_stats()["targets"].items():
        print(f"    {name}: {told['failures']} failed, {told['skipped']} skipped, {told['state']}")

    try:
        await chain.execute("")
    except ValueError as error:
        print("no other target is asked:", error)

    try:
        await FallbackChain("short").add_fallback(big_model).execute("a dog")
    except FallbackChainExhaustedError as error:
        for name, reason in error.errors.items():
            print(f"{name}: {reason!r}")


asyncio.run(main())
