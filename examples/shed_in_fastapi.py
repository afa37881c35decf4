"""A FastAPI app with room for two renders at once: the rest are told when to come back."""

from __future__ import annotations

import asyncio

import httpx
from fastapi import FastAPI

from holdfast import Bulkhead
from holdfast.integrations.starlette import ResilienceMiddleware

app = FastAPI()
app.add_middleware(
    ResilienceMiddleware,
    pipeline=Bulkhead(2, max_queue=1),
    deadline_header="X-Request-Timeout",
    exempt=["/healthz"],
)


@app.get("/render")
async def render() -> dict[str, str]:
    await asyncio.sleep(0.2)
    return {"picture": "done"}


@app.get("/healthz")
async def healthz() -> dict[str, bool]:
    return {"ok": True}


async def main() -> None:
    # A real app runs under uvicorn; this talks to it without a socket.
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app=app), base_url="http://app"
    ) as client:
        *renders, health = await asyncio.gather(
            *(client.get("/render") for _ in range(5)), client.get("/healthz")
        )
        for number, response in enumerate(renders, 1):
            after = response.headers.get("Retry-After")
            print(
                f"render {number}:", response.status_code, f"(come back in {after} s)" * bool(after)
            )
        print("healthz:", health.status_code)
        late = await client.get("/render", headers={"X-Request-Timeout": "0.05"})
        print("a client that waits 0.05 s:", late.status_code)


asyncio.run(main())
